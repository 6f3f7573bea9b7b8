//! Artifacts of the fuzz targets: raw bytes, turned into the case that they are.
//!
//! Nothing in the bytes says which version made them. The target `world` leaves a case file beside an artifact when it
//! finds something; that one is replayed, and what this version makes of the bytes is held against it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use simvisor_sim::case::{Case, INPUT_BYTES_MAX, Input, beside, is_artifact, read_bytes};
use simvisor_sim::fuzz::{self, TARGETS, World};
use simvisor_sim::search::Runner;

use super::exit::Trouble;
use super::guard::{Broken, guarded};

/// A case that came from an artifact.
#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) case: Case,
    /// How many bytes it had.
    pub(crate) bytes: usize,
    /// Whether there was a case file beside it, which tells what was shown then.
    pub(crate) has_case: bool,
    /// How what this version makes of the bytes differs from the case beside them.
    pub(crate) changed: Option<String>,
}

/// The fuzz target whose artifact this is, if its name is that of an artifact: each target has a folder of its own.
pub(crate) fn target_of(path: &Path) -> Option<&'static str> {
    if !is_artifact(path) {
        return None;
    }
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    Some(TARGETS.into_iter().find(|target| folder == *target).unwrap_or(TARGETS[0]))
}

/// Does what a target other than `world` does with these bytes.
///
/// # Errors
/// What the target found.
pub(crate) fn repeat(
    target: &'static str,
    path: &Path,
    patience: Duration,
) -> Result<Result<(), Broken>, Trouble> {
    let bytes = read(path)?;
    Ok(guarded(patience, move |_| match target {
        "case_file" => drop(fuzz::case_file(&bytes)),
        "scenario_toml" => drop(fuzz::scenario_toml(&bytes)),
        "trace_jsonl" => drop(fuzz::trace_jsonl(&bytes)),
        _ => {
            if let Err(difference) = fuzz::differential(&mut Runner::default(), &bytes) {
                // As the target does, without the words of the panic hook.
                std::panic::resume_unwind(Box::new(difference));
            }
        }
    }))
}

/// Reads an artifact of the target `world`. Its run must show a sign of life within `patience`.
///
/// # Errors
/// Names the file and what was expected.
pub(crate) fn case(path: &Path, patience: Duration) -> Result<Artifact, Trouble> {
    let bytes = read(path)?;
    let Some(input) = Input::from_bytes(&bytes) else {
        return Err(Trouble::Input(format!(
            "{}: this is JSON, expected the bytes of a fuzz artifact; a case file is replayed under a name of another kind",
            path.display()
        )));
    };
    let beside = beside(path);
    let kept = match beside.try_exists() {
        Ok(true) => Some(Case::read(&beside).map_err(|error| Trouble::Input(error.to_string()))?),
        _ => None,
    };
    let made = guarded(patience, move |_| World::default().case(&input));
    let (case, has_case, changed) = match (made, kept) {
        (Ok(made), None) => (made, false, None),
        (Ok(made), Some(kept)) => {
            let changed = difference(&kept, &made);
            (kept, true, changed)
        }
        (Err(_), Some(kept)) => (kept, true, Some("the bytes give a run that does not end".to_owned())),
        (Err(Broken { rule, message }), None) => {
            return Err(Trouble::Engine(format!("{}: {rule}: {message}", path.display())));
        }
    };
    Ok(Artifact { case, bytes: bytes.len(), has_case, changed })
}

fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    read_bytes(path, INPUT_BYTES_MAX as u64).map_err(|error| Trouble::Input(error.to_string()))
}

/// What this version makes of the bytes, where it is not what was kept.
fn difference(kept: &Case, made: &Case) -> Option<String> {
    let json = |case: &Case| serde_json::to_value(&case.scenario).expect("a scenario is plain data");
    if let Some(place) = first_difference(&json(kept), &json(made), "") {
        return Some(format!("the bytes are read as another scenario, {place}"));
    }
    let choice = |case: &Case, index: usize| match case.tape.get(index) {
        Some(choice) => format!("{} = {} of {}", choice.site.name(), choice.value, choice.arity),
        None => "no more choices".to_owned(),
    };
    let differs = |index: &usize| kept.tape.get(*index) != made.tape.get(*index);
    if let Some(index) = (0..kept.tape.len().max(made.tape.len())).find(differs) {
        let (then, now) = (choice(kept, index), choice(made, index));
        return Some(format!("the run goes another way from choice {index} on: {then} then, {now} now"));
    }
    let rule = |case: &Case| case.shown.rule.clone().unwrap_or_else(|| case.shown.verdict.clone());
    if rule(kept) != rule(made) {
        return Some(format!("the same choices show {} then, {} now", rule(kept), rule(made)));
    }
    let trace = |case: &Case| case.shown.trace_hash.clone().unwrap_or_else(|| "none".to_owned());
    (trace(kept) != trace(made))
        .then(|| format!("the same choices give trace {} then, {} now", trace(kept), trace(made)))
}

/// The first place at which two documents differ, with what is there.
fn first_difference(then: &Value, now: &Value, place: &str) -> Option<String> {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => then.keys().chain(now.keys()).find_map(|key| {
            let inside =
                |object: &serde_json::Map<String, Value>| object.get(key).cloned().unwrap_or_default();
            let dot = if place.is_empty() { "" } else { "." };
            first_difference(&inside(then), &inside(now), &format!("{place}{dot}{key}"))
        }),
        (Value::Array(then), Value::Array(now)) => (0..then.len().max(now.len())).find_map(|index| {
            let inside = |list: &Vec<Value>| list.get(index).cloned().unwrap_or_default();
            first_difference(&inside(then), &inside(now), &format!("{place}[{index}]"))
        }),
        _ => (then != now).then(|| format!("`{place}` was {then} and is {now}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_has_a_place_and_both_values() {
        let then = json!({ "config": { "grace": "5ms" }, "task": [{ "name": "a" }] });
        let mut now = then.clone();
        assert_eq!(first_difference(&then, &now, ""), None);
        now["task"][0]["start"] = json!(true);
        let place = first_difference(&then, &now, "");
        assert_eq!(place.as_deref(), Some("`task[0].start` was null and is true"));
    }

    #[test]
    fn the_target_of_an_artifact_is_its_folder() {
        let target = |folder: &str| target_of(Path::new(&format!("{folder}crash-{}", "0a".repeat(20))));
        assert_eq!(target("fuzz/artifacts/trace_jsonl/"), Some("trace_jsonl"));
        assert_eq!(target("fuzz/artifacts/world/"), Some("world"));
        assert_eq!(target(""), Some("world"));
        assert_eq!(target_of(Path::new("fuzz/artifacts/world/case.json")), None);
    }
}
