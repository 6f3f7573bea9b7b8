//! Reading and writing the two kinds of file, and telling one from the other.

use std::path::Path;

use simvisor_sim::case::{Case, read_text};
use simvisor_sim::scenario::{Scenario, from_toml};

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

/// Reads a case file (JSON).
///
/// # Errors
/// Names the file, the place in it, what was expected; for a scenario, the command that takes it.
pub(crate) fn case(path: &Path) -> Result<Case, Trouble> {
    let shown = path.display();
    let text = read_text(path).map_err(|error| Trouble::Input(error.to_string()))?;
    if !text.trim().is_empty() && !looks_like_json(&text) {
        return Err(Trouble::Input(format!(
            "{shown}: line 1: this is no JSON, expected a case file; a scenario (TOML) is run by `simvisor run {shown}`"
        )));
    }
    Case::parse(&shown.to_string(), &text).map_err(|error| Trouble::Input(error.to_string()))
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
