//! Reading and writing the two kinds of file, and telling one from the other.

use std::path::Path;
use std::time::Duration;

use simvisor_sim::case::{Case, CaseError, is_artifact, read_text};
use simvisor_sim::scenario::{Scenario, from_toml};

use super::artifact;
use super::exit::Trouble;

/// Reads a scenario (TOML).
///
/// # Errors
/// Names the file, the place in it, what was expected; for a case file, the command that takes it.
pub(crate) fn scenario(path: &Path) -> Result<Scenario, Trouble> {
    let shown = path.display();
    let input = |text: String| Err(Trouble::Input(text));
    let text = read_text(path).map_err(|error| Trouble::Input(error.to_string()))?;
    if text.trim().is_empty() {
        return input(format!("{shown}: the file is empty; expected a scenario (TOML)"));
    }
    if looks_like_json(&text) {
        return input(format!(
            "{shown}: line 1: this is JSON, expected a scenario (TOML); a case file is run by `simvisor replay {shown}`"
        ));
    }
    from_toml(&text).map_err(|error| Trouble::Input(format!("{shown}: {error}")))
}

/// Reads a case: a case file (JSON), or an artifact of the fuzz target `world`, which is known by its name.
///
/// # Errors
/// Names the file, the place in it, what was expected; for a scenario, the command that takes it.
pub(crate) fn case(path: &Path) -> Result<Case, Trouble> {
    if is_artifact(path) {
        return artifact::case(path, PATIENCE).map(|artifact| artifact.case);
    }
    let shown = path.display();
    let text =
        read_text(path).map_err(|error| Trouble::Input(format!("{error}{}", or_artifact(&error, path))))?;
    if !text.trim().is_empty() && !looks_like_json(&text) {
        return Err(Trouble::Input(format!(
            "{shown}: line 1: this is no JSON, expected a case file; a scenario (TOML) is run by `simvisor run {shown}`, \
             the bytes of a fuzz artifact by `simvisor replay --artifact {shown}`"
        )));
    }
    Case::parse(&shown.to_string(), &text).map_err(|error| Trouble::Input(error.to_string()))
}

/// How long the run of an artifact may go on without a sign of life.
const PATIENCE: Duration = Duration::from_secs(30);

/// What else a file could be that is no text.
fn or_artifact(error: &CaseError, path: &Path) -> String {
    match error {
        CaseError::NoText { .. } => {
            format!(
                "; the bytes of a fuzz artifact are run by `simvisor replay --artifact {}`",
                path.display()
            )
        }
        _ => String::new(),
    }
}

/// Writes a case file.
///
/// # Errors
/// Names the file.
pub(crate) fn save(case: &Case, path: &Path) -> Result<(), Trouble> {
    let write = || std::fs::write(path, case.to_json()?);
    write().map_err(|error: std::io::Error| {
        Trouble::Input(format!("{}: the case cannot be written: {error}", path.display()))
    })
}

/// No TOML document begins with a brace, and every case does.
fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}
