//! What a finding leaves behind: a case file beside the artifact, and how to go on.

use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};
use simvisor_sim::case::beside;
use simvisor_sim::fuzz::Found;

/// Writes the case and says where. libFuzzer writes the artifact itself, when the process ends.
pub fn tell(bytes: &[u8], found: &Found) {
    let artifact = artifact(bytes);
    let case = beside(&artifact);
    eprintln!("\n{found}");
    match write(found, &case) {
        Ok(()) => eprintln!("case: {}", case.display()),
        Err(error) => eprintln!("{}: the case cannot be written: {error}", case.display()),
    }
    eprintln!("look at it:    cargo run --release -- replay {}", artifact.display());
    eprintln!("make it small: cargo run --release -- replay --shrink {}\n", artifact.display());
}

fn write(found: &Found, case: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(case.parent().unwrap_or(Path::new("")))?;
    std::fs::write(case, found.case.to_json()?)
}

/// Where libFuzzer will write these bytes: it names them by their SHA-1.
fn artifact(bytes: &[u8]) -> PathBuf {
    let hash: String = Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut prefix = String::new();
    for argument in std::env::args() {
        if let Some(path) = argument.strip_prefix("-exact_artifact_path=") {
            return PathBuf::from(path);
        }
        if let Some(given) = argument.strip_prefix("-artifact_prefix=") {
            given.clone_into(&mut prefix);
        }
    }
    let artifact = PathBuf::from(format!("{prefix}crash-{hash}"));
    // cargo-fuzz gives the whole path.
    let here = std::env::current_dir().unwrap_or_default();
    artifact.strip_prefix(here).map(Path::to_owned).unwrap_or(artifact)
}
