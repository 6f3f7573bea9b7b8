//! Cases of programs: which test, and the choices that were not the plain ones, by stable names.
//!
//! A program cannot be written to a file, so its case names the test and its package. Choices are told by where they are
//! made: the site, who runs, and how many choices of this kind it had before. So most of them keep their meaning when
//! the program is edited; those that do not are told, see `docs/testing.md`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CaseError, Head, Origin, Shown, explain, read_text};
use crate::choice::Site;
use crate::search::deviations::{Deviation, Place, To, Who};
use crate::world::LaneKind;

/// The kind of a case of a program.
pub const PROGRAM: &str = "program";

/// Version of the format of cases of programs.
pub const PROGRAM_VERSION: u32 = 1;

/// A run of a user's test, to be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramCase {
    /// [`super::FORMAT`].
    pub format: String,
    /// [`PROGRAM`].
    pub kind: String,
    /// [`PROGRAM_VERSION`].
    pub version: u32,
    /// Which test.
    pub program: Program,
    /// Where it came from.
    pub origin: Origin,
    /// What it showed.
    pub shown: Shown,
    /// The choices that were not the plain ones, in the order in which they were made.
    pub choices: Vec<NamedChoice>,
}

/// Which test of which package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The package; empty where it was not known.
    pub package: String,
    /// The test, as the test harness names it; its second check and so on has a `#2` behind it.
    pub test: String,
    /// What runs it, with `SIMVISOR_CASE` set in front.
    pub command: String,
}

/// A choice that was not the plain one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedChoice {
    /// Where it was made, by the name of a [`Site`].
    pub site: String,
    /// Who ran, or would have run; or, for a fault, its name.
    pub who: Someone,
    /// How many choices at this site `who` had before.
    pub nth: u32,
    /// Who ran instead. Either this or `value` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<Someone>,
    /// What it came out as, above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u32>,
}

/// A future by role and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Someone {
    /// The role, by the word of a [`LaneKind`].
    pub role: String,
    /// The name within the role.
    pub name: String,
    /// Tells those of one role and name apart.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub twin: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // what serde passes
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl ProgramCase {
    /// Reads and checks a case of a program.
    ///
    /// # Errors
    /// Names the file, the place in it and what was expected.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        Self::parse(&path.display().to_string(), &read_text(path)?)
    }

    /// Reads a case from its text; `path` is for messages.
    ///
    /// # Errors
    /// As [`ProgramCase::read`].
    pub fn parse(path: &str, text: &str) -> Result<Self, CaseError> {
        let path = path.to_owned();
        let head = Head::read(&path, text)?;
        let malformed = |why: String| CaseError::Malformed { path: path.clone(), why };
        if !head.is_of_program() {
            let is = format!(
                "a case of a scenario, which `simvisor replay {path}` runs; expected one of a program"
            );
            return Err(CaseError::OtherKind { path, is });
        }
        match head.version.as_ref().and_then(serde_json::Value::as_u64) {
            Some(version) if version > u64::from(PROGRAM_VERSION) => {
                return Err(CaseError::FutureProgram { path, found: version });
            }
            Some(version) if version == u64::from(PROGRAM_VERSION) => {}
            _ => return Err(malformed(format!("`version` must be a number from 1 to {PROGRAM_VERSION}"))),
        }
        let case: Self = serde_json::from_str(text).map_err(|error| malformed(explain(&error)))?;
        for (number, choice) in (1..).zip(&case.choices) {
            choice.deviation().map_err(|why| malformed(format!("choice {number}: {why}")))?;
        }
        Ok(case)
    }

    /// The case as it is written to a file.
    ///
    /// # Errors
    /// If a number does not fit JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What it is and what runs it, in words; `path` is where it is.
    #[must_use]
    pub fn how_to_run(&self, path: &str) -> String {
        let Program { package, test, command } = &self.program;
        let of = if package.is_empty() { String::new() } else { format!(" of the package `{package}`") };
        format!("a case of the test `{test}`{of}; run it by `SIMVISOR_CASE={path} {command}`")
    }

    pub(crate) fn deviations(&self) -> Vec<Deviation> {
        self.choices.iter().map(|choice| choice.deviation().expect("cases are checked when read")).collect()
    }
}

impl NamedChoice {
    pub(crate) fn of(Deviation { at: Place { site, who, nth }, to }: &Deviation) -> Self {
        let (runs, value) = match to {
            To::Runs(who) => (Some(Someone::of(who)), None),
            To::Value(value) => (None, Some(*value)),
        };
        Self { site: site.name().to_owned(), who: Someone::of(who), nth: *nth, runs, value }
    }

    fn deviation(&self) -> Result<Deviation, String> {
        let site = Site::from_name(&self.site).ok_or_else(|| format!("there is no site `{}`", self.site))?;
        let to = match (&self.runs, self.value) {
            (Some(who), None) if site == Site::Schedule => To::Runs(who.who()?),
            (None, Some(value)) if site != Site::Schedule && value > 0 => To::Value(value),
            _ if site == Site::Schedule => return Err("expected `runs`, and no `value`".to_owned()),
            _ => return Err("expected a `value` above 0, and no `runs`".to_owned()),
        };
        Ok(Deviation { at: Place { site, who: self.who.who()?, nth: self.nth }, to })
    }
}

impl Someone {
    fn of(Who { kind, name, twin }: &Who) -> Self {
        Self { role: kind.as_str().to_owned(), name: name.to_string(), twin: *twin }
    }

    fn who(&self) -> Result<Who, String> {
        let kind =
            LaneKind::from_name(&self.role).ok_or_else(|| format!("there is no role `{}`", self.role))?;
        Ok(Who { kind, name: self.name.as_str().into(), twin: self.twin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> ProgramCase {
        let someone = |name: &str, twin| Someone { role: "actor".to_owned(), name: name.to_owned(), twin };
        ProgramCase {
            format: super::super::FORMAT.to_owned(),
            kind: PROGRAM.to_owned(),
            version: PROGRAM_VERSION,
            program: Program {
                package: "shop".to_owned(),
                test: "orders::are_paid".to_owned(),
                command: "cargo test -p shop".to_owned(),
            },
            origin: Origin {
                simvisor: "0.1.0".to_owned(),
                seed: Some(7),
                strategy: "pct".to_owned(),
                found_in: None,
            },
            shown: Shown { verdict: "panic".to_owned(), rule: None, message: None, trace_hash: None },
            choices: vec![
                NamedChoice {
                    site: "schedule".to_owned(),
                    who: someone("a", 0),
                    nth: 3,
                    runs: Some(someone("b", 1)),
                    value: None,
                },
                NamedChoice {
                    site: "random".to_owned(),
                    who: someone("a", 0),
                    nth: 0,
                    runs: None,
                    value: Some(5),
                },
            ],
        }
    }

    #[test]
    fn a_case_is_read_as_it_was_written() {
        let case = case();
        let text = case.to_json().expect("it fits JSON");
        assert_eq!(ProgramCase::parse("it.json", &text).expect("it was just written"), case);
        let again: Vec<_> = case.deviations().iter().map(NamedChoice::of).collect();
        assert_eq!(again, case.choices);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_place() {
        let text = case().to_json().expect("it fits JSON");
        for (from, to, expected) in [
            ("\"version\": 1", "\"version\": 2", "version 2 is newer than version 1"),
            ("\"version\": 1", "\"version\": 0", "`version` must be a number from 1 to 1"),
            ("\"kind\": \"program\"", "\"kind\": \"scenario\"", "simvisor replay it.json"),
            ("simvisor-case", "shuttle", "this is no case file"),
            ("\"site\": \"random\"", "\"site\": \"dice\"", "choice 2: there is no site `dice`"),
            ("\"role\": \"actor\"", "\"role\": \"king\"", "choice 1: there is no role `king`"),
            ("\"value\": 5", "\"value\": 0", "choice 2: expected a `value` above 0"),
            ("\"site\": \"schedule\"", "\"site\": \"random\"", "choice 1: expected a `value` above 0"),
            ("\"nth\": 3", "\"nth\": -3", "line"),
            ("\"nth\": 3", "\"nht\": 3", "unknown field `nht`"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = ProgramCase::parse("it.json", &text.replacen(from, to, 1)).expect_err(to).to_string();
            assert!(error.starts_with("it.json: ") && error.contains(expected), "{error}");
        }
        for text in ["", " \n", "{", "[]", "7", &text[..text.len() / 2]] {
            assert!(ProgramCase::parse("it.json", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_case_of_a_program_is_not_taken_for_one_of_a_scenario() {
        let text = case().to_json().expect("it fits JSON");
        let error = super::super::Case::parse("it.json", &text).expect_err("it has no scenario").to_string();
        assert!(error.contains("`orders::are_paid` of the package `shop`"), "{error}");
        assert!(error.contains("SIMVISOR_CASE=it.json cargo test -p shop"), "{error}");
    }
}
