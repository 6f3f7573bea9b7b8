//! The targets for readers: whatever the bytes are, a reader returns, and what it read is written and read as the same.
//! A reader must not panic, nor take memory or time out of proportion to its input; the fuzzer watches the latter two.

use crate::case::Case;
use crate::scenario::{from_toml, to_short_toml, to_toml};
use crate::trace::{JsonLines, TraceReader};

/// Reads bytes as a case file. True if they are one.
///
/// # Panics
/// If a case that was read is not read again as it was written, or an error is no short line of text.
pub fn case_file(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    match Case::parse("case.json", text) {
        Ok(case) => {
            let written = case.to_json().expect("what was JSON is JSON");
            let again = Case::parse("case.json", &written).expect("what is written is read");
            // Not every factor equals itself, so texts are compared.
            assert_eq!(again.to_json().expect("JSON"), written, "a case changes when it is written and read");
            true
        }
        Err(error) => refused("case.json", &error.to_string()),
    }
}

/// Reads bytes as a scenario. True if they are one.
///
/// # Panics
/// If a scenario that was read is not read again as it was written, or an error is no short text.
pub fn scenario_toml(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    match from_toml(text) {
        Ok(scenario) => {
            let written = to_toml(&scenario).expect("what was TOML is TOML");
            for text in [&written, &to_short_toml(&scenario).expect("TOML")] {
                let again = from_toml(text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
                let again = to_toml(&again).expect("TOML");
                assert_eq!(again, written, "a scenario changes when it is written and read");
            }
            true
        }
        Err(error) => refused("", &error.to_string()),
    }
}

/// Reads bytes as a trace. True if they are one.
///
/// # Panics
/// If a trace that was read is not read again as it was written, or an error is no short line of text.
pub fn trace_jsonl(bytes: &[u8]) -> bool {
    match rewritten(bytes) {
        Ok(written) => {
            let again = rewritten(&written).expect("what is written is read");
            assert!(again == written, "a trace changes when it is written and read");
            true
        }
        Err(error) => refused("trace.jsonl", &error),
    }
}

fn rewritten(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut lines = JsonLines::new(Vec::new());
    let mut reader = TraceReader::open("trace.jsonl", bytes).map_err(|error| error.to_string())?;
    reader.feed(&mut lines).map_err(|error| error.to_string())?;
    Ok(lines.finish().expect("memory does not fail"))
}

/// Most characters of an error.
const ERROR_CHARS_MAX: usize = 2_000;

/// False; the error is fit to be printed.
fn refused(file: &str, error: &str) -> bool {
    assert!(error.starts_with(file), "the error does not name the file: {error}");
    assert!(error.chars().count() < ERROR_CHARS_MAX, "an error of {} characters", error.chars().count());
    let unprintable = |c: char| c.is_control() && c != '\n';
    assert!(!error.contains(unprintable), "control characters in {error:?}");
    false
}
