//! Cases from bytes: the artifacts and the corpus of the fuzz target `world`.
//!
//! The bytes begin with a scenario, in instructions ([`crate::scenario::Instruction`]); what follows its end are choices,
//! one byte for most of them. Only single bytes are taken, in order, so that the meaning depends on this version of
//! simvisor alone. It is not kept from version to version: the fuzzer writes a case file beside each artifact
//! ([`beside`]), and that is read as long as case files are.
//!
//! ```
//! use simvisor_sim::case::Input;
//! use simvisor_sim::choice::Fit;
//! use simvisor_sim::search::{Runner, replayed};
//!
//! // A task whose attempts fail, one step, the end of the scenario, and one choice.
//! let input = Input::from_bytes(&[0x01, 0, 3, 0, 0, 0x14, 2, 0, 0x00, 0x80]).expect("no JSON");
//! let judged = Runner::default().judge(&input.scenario, replayed(input.tape, Fit::Lenient));
//! assert!(judged.findings.is_empty());
//! ```

use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary, Unstructured};

use crate::choice::{Choice, Site, Tape};
use crate::scenario::Scenario;

/// What a run is made from: a case without its history.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Everything about the run that is not a choice.
    pub scenario: Scenario,
    /// The choices, to be taken in order whatever they are asked for.
    pub tape: Tape,
}

/// Most bytes that an artifact may have. The fuzzer itself makes at most 4096 unless it is told otherwise.
pub const INPUT_BYTES_MAX: usize = 1 << 20;

/// Most choices of an input; more are left out.
const CHOICES_MAX: usize = 4096;

/// A choice byte below this is 0, the dullest outcome: so half of random choices are dull.
const FIRST_VALUE: u8 = 0x80;
/// From this byte on the value is in the four bytes that follow.
const WIDE: u8 = 0xf8;

impl Input {
    /// The input that these bytes are. `None` if they begin like a JSON object, as case files do: so no file can be
    /// taken for the other kind.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.trim_ascii_start().first() == Some(&b'{') {
            return None;
        }
        // The bytes cannot run out: past their end there are zeros.
        Self::arbitrary(&mut Unstructured::new(bytes)).ok()
    }
}

impl Arbitrary<'_> for Input {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let scenario = Scenario::arbitrary(bytes)?;
        let mut tape = Tape::new();
        while !bytes.is_empty() && tape.len() < CHOICES_MAX {
            let value = match bytes.arbitrary::<u8>()? {
                dull if dull < FIRST_VALUE => 0,
                byte if byte < WIDE => u32::from(byte - FIRST_VALUE) + 1,
                _ => {
                    let mut value = [0; 4];
                    bytes.fill_buffer(&mut value)?;
                    u32::from_le_bytes(value).min(u32::MAX - 1)
                }
            };
            // Nobody knows yet where it will be asked for.
            tape.push(Choice { site: Site::Schedule, arity: value.saturating_add(1).max(2), value });
        }
        Ok(Self { scenario, tape })
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (0, None)
    }
}

/// Where the fuzzer puts the case file of an artifact: in a folder of its own, for cargo-fuzz takes every new file beside
/// an artifact for a failing input.
#[must_use]
pub fn beside(artifact: &Path) -> PathBuf {
    let mut name = artifact.file_name().unwrap_or_default().to_owned();
    name.push(".json");
    artifact.with_file_name("cases").join(name)
}

/// How libFuzzer begins the names of what it leaves behind.
const ARTIFACTS: [&str; 6] = ["crash-", "leak-", "timeout-", "oom-", "slow-unit-", "minimized-from-"];

/// Whether a file has the name of an artifact: one of these beginnings and a SHA-1. Nothing in its bytes could tell.
#[must_use]
pub fn is_artifact(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hash = ARTIFACTS.iter().find_map(|beginning| name.strip_prefix(beginning));
    hash.is_some_and(|hash| hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(bytes: &[u8]) -> Vec<u32> {
        let input = Input::from_bytes(bytes).expect("no JSON");
        input.tape.iter().map(|choice| choice.value).collect()
    }

    #[test]
    fn half_of_the_bytes_are_dull_and_four_more_make_a_wide_choice() {
        assert_eq!(values(&[0x00, 0x00, 0x7f, 0x80, 0xf7]), [0, 0, 1, 120]);
        assert_eq!(values(&[0x00, 0xf8, 1, 2, 0, 0, 0x81]), [513, 2]);
        assert_eq!(values(&[0x00, 0xff, 0xff, 0xff, 0xff, 0xff]), [u32::MAX - 1]);
        assert_eq!(values(&[0x00, 0xff, 7]), [7], "past the end there are zeros");
    }

    #[test]
    fn every_choice_is_below_its_arity_and_there_are_not_too_many() {
        let bytes: Vec<u8> = [0].into_iter().chain((0..40_000_u32).map(|n| (n * 7) as u8)).collect();
        let input = Input::from_bytes(&bytes).expect("no JSON");
        assert_eq!(input.tape.len(), CHOICES_MAX);
        assert!(input.tape.iter().all(|choice| choice.value < choice.arity && choice.arity >= 2));
    }

    #[test]
    fn what_begins_like_a_case_file_is_no_input() {
        assert!(Input::from_bytes(b"{").is_none() && Input::from_bytes(b" \n{\"format\":1}").is_none());
        assert!(Input::from_bytes(b"").is_some() && Input::from_bytes(b" x{").is_some());
    }

    #[test]
    fn an_artifact_is_known_by_its_name() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        for name in ["crash-", "a/timeout-", "/x/slow-unit-", "minimized-from-"] {
            assert!(is_artifact(Path::new(&format!("{name}{hash}"))), "{name}");
            for other in [".json", "0", "/case"] {
                assert!(!is_artifact(Path::new(&format!("{name}{hash}{other}"))), "{name}, {other}");
            }
        }
        for name in ["case.json", "crash-loop.toml", "seed-1", "crash-", hash] {
            assert!(!is_artifact(Path::new(name)), "{name}");
        }
        assert_eq!(beside(Path::new("a/crash-1.x")), Path::new("a/cases/crash-1.x.json"));
    }
}
