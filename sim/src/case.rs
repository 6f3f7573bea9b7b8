//! Case files: one JSON document with all that a run needs, where it came from and what it showed.
//!
//! There are two kinds. A case of a scenario ([`Case`]) has the scenario in it and is all that its run needs. A case of
//! a program ([`ProgramCase`], `"kind": "program"`) names a test of a user's and the choices under which it failed.

mod program;

mod bytes;

pub use bytes::{INPUT_BYTES_MAX, Input, beside, is_artifact};

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::choice::{Choice, Site, Tape};
use crate::files::{nearest, shown};
use crate::scenario::{Scenario, ScenarioError};

pub use program::{NamedChoice, PROGRAM, PROGRAM_VERSION, Program, ProgramCase, Someone};

/// Format name of a case file.
pub const FORMAT: &str = "simvisor-case";

/// Version of the case format.
pub const VERSION: u32 = 1;

/// Most bytes that a case or scenario file may have.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A run to be repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Where it came from.
    pub origin: Origin,
    /// What it showed.
    pub shown: Shown,
    /// Everything about the run that is not a choice.
    pub scenario: Scenario,
    /// The choices, each as `[site, arity, value]`. Past the end every choice is zero.
    #[serde(serialize_with = "write_tape", deserialize_with = "read_tape")]
    pub tape: Tape,
}

/// Where a case came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Version of simvisor that made it.
    pub simvisor: String,
    /// The seed that drew the tape, and wrote the scenario unless that came from a file; `None` if no seed did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The strategy that drew the tape.
    pub strategy: String,
    /// The sweep that found it had run this many seeds, this one included: it shows in about one of so many runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_in: Option<u64>,
}

/// What a case showed when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// How the world ended.
    pub verdict: String,
    /// The rule that was broken, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Hash of the trace, as `0x…`; absent where the run did not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_hash: Option<String>,
}

/// Why a case file cannot be read. The text names what was expected.
#[derive(Debug, Error)]
pub enum CaseError {
    /// The file cannot be read at all.
    #[error("{path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// It is not UTF-8.
    #[error("{path}: is no text (byte {at} is not UTF-8); expected a case (JSON) or a scenario (TOML)")]
    NoText {
        /// The file.
        path: String,
        /// The first byte that is no text.
        at: usize,
    },
    /// It is no JSON, or not this shape.
    #[error("{path}: {why}")]
    Malformed {
        /// The file.
        path: String,
        /// Where and why.
        why: String,
    },
    /// It is another format's file.
    #[error("{path}: this is no case file: `format` is {found}, expected \"{FORMAT}\"")]
    Foreign {
        /// The file.
        path: String,
        /// What it says it is.
        found: String,
    },
    /// It was made by a later version.
    #[error(
        "{path}: case format version {found} is newer than version {VERSION}, which this simvisor reads; update simvisor"
    )]
    Future {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
    },
    /// As `Future`, for a case of a program.
    #[error(
        "{path}: version {found} is newer than version {PROGRAM_VERSION} of cases of programs, which this simvisor reads; \
         update simvisor"
    )]
    FutureProgram {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
    },
    /// It is of the other kind.
    #[error("{path}: this is {is}")]
    OtherKind {
        /// The file.
        path: String,
        /// What it is, and what runs it.
        is: String,
    },
    /// Its scenario makes no sense.
    #[error("{path}: {why}")]
    Scenario {
        /// The file.
        path: String,
        /// Why.
        why: ScenarioError,
    },
}

impl Case {
    /// A case of a run that did not end (`verdict` is `panic` or `hang`), and so has no tape: its choices are drawn
    /// anew from the seed.
    #[must_use]
    pub fn unfinished(scenario: Scenario, seed: u64, strategy: &str, verdict: &str, message: &str) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            origin: Origin {
                simvisor: env!("CARGO_PKG_VERSION").to_owned(),
                seed: Some(seed),
                strategy: strategy.to_owned(),
                found_in: None,
            },
            shown: Shown {
                verdict: verdict.to_owned(),
                rule: None,
                message: Some(message.to_owned()),
                trace_hash: None,
            },
            scenario,
            tape: Tape::new(),
        }
    }

    /// Reads and checks a case file.
    ///
    /// # Errors
    /// Names the file, the place in it and what was expected.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        Self::parse(&path.display().to_string(), &read_text(path)?)
    }

    /// Reads a case from its text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Case::read`].
    pub fn parse(path: &str, text: &str) -> Result<Self, CaseError> {
        let path = path.to_owned();
        let head = Head::read(&path, text)?;
        let malformed = |why: String| CaseError::Malformed { path: path.clone(), why };
        if head.is_of_program() {
            let is = ProgramCase::parse(&path, text)?.how_to_run(&path);
            return Err(CaseError::OtherKind { path, is });
        }
        match head.version.as_ref().and_then(serde_json::Value::as_u64) {
            Some(version) if version > u64::from(VERSION) => {
                return Err(CaseError::Future { path, found: version });
            }
            Some(version) if version == u64::from(VERSION) => {}
            _ => return Err(malformed(format!("`version` must be a number from 1 to {VERSION}"))),
        }
        let case: Self = serde_json::from_str(text).map_err(|error| malformed(explain(&error)))?;
        case.scenario.check().map_err(|why| CaseError::Scenario { path, why })?;
        Ok(case)
    }

    /// The case as it is written to a file.
    ///
    /// # Errors
    /// If a number does not fit JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[derive(Deserialize)]
struct Head {
    format: Option<serde_json::Value>,
    kind: Option<serde_json::Value>,
    version: Option<serde_json::Value>,
}

impl Head {
    /// Format, kind and version come first: what follows may have another shape.
    fn read(path: &str, text: &str) -> Result<Self, CaseError> {
        let path = path.to_owned();
        if text.trim().is_empty() {
            let why = "the file is empty; expected a case file (one JSON object)".to_owned();
            return Err(CaseError::Malformed { path, why });
        }
        let head: Self = match serde_json::from_str(text) {
            Ok(head) => head,
            Err(error) => return Err(CaseError::Malformed { path, why: explain(&error) }),
        };
        match &head.format {
            Some(serde_json::Value::String(format)) if format == FORMAT => Ok(head),
            Some(other) => Err(CaseError::Foreign { path, found: shown(&other.to_string(), 80) }),
            None => Err(CaseError::Foreign { path, found: "missing".to_owned() }),
        }
    }

    fn is_of_program(&self) -> bool {
        self.kind.as_ref().and_then(serde_json::Value::as_str) == Some(PROGRAM)
    }
}

/// Most characters of somebody else's text in a message.
const SHOWN_CHARS_MAX: usize = 800;

/// serde's message, which names line and column, with the nearest known name or a word on truncation.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.is_eof() {
        return format!("the file is truncated: {text}");
    }
    let hint = nearest(&text);
    // The place is at the end, and must not be cut off.
    let place = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&place).unwrap_or(&text);
    format!("{}{place}{hint}", shown(what, SHOWN_CHARS_MAX))
}

/// The text of a file of bounded size.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_text(path: &Path) -> Result<String, CaseError> {
    String::from_utf8(read_bytes(path, FILE_BYTES_MAX)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        CaseError::NoText { path: path.display().to_string(), at }
    })
}

/// The bytes of a file that has at most this many.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn read_bytes(path: &Path, bytes_max: u64) -> Result<Vec<u8>, CaseError> {
    let shown = path.display().to_string();
    let unreadable = |why: String| CaseError::Unreadable { path: shown.clone(), why };
    let failed = |error: std::io::Error| unreadable(format!("cannot be read: {error}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(unreadable("is a directory, expected a file".to_owned()));
    }
    let mut bytes = Vec::new();
    // What is no regular file does not tell its size beforehand.
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(unreadable(format!("has more than the {bytes_max} bytes that are read")));
    }
    Ok(bytes)
}

fn write_tape<S: Serializer>(tape: &Tape, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(tape.iter().map(|choice| (choice.site.name(), choice.arity, choice.value)))
}

fn read_tape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tape, D::Error> {
    /// Choices one by one: a tape of a million must not take a million strings.
    struct Choices;

    impl<'de> de::Visitor<'de> for Choices {
        type Value = Tape;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of choices, each as [site, arity, value]")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<Tape, A::Error> {
            let mut tape = Tape::new();
            while let Some((NamedSite(site), arity, value)) =
                entries.next_element::<(NamedSite, u32, u32)>()?
            {
                let number = tape.len();
                let site = site.map_err(|name| {
                    let name = shown(&name, 80);
                    de::Error::custom(format!("choice {number} of the tape is at an unknown site `{name}`"))
                })?;
                if value >= arity {
                    return Err(de::Error::custom(format!(
                        "choice {number} of the tape has value {value} of {arity}; values are below the arity"
                    )));
                }
                tape.push(Choice { site, arity, value });
            }
            Ok(tape)
        }
    }

    deserializer.deserialize_seq(Choices)
}

/// A site by its name, or the name that no site has.
struct NamedSite(Result<Site, String>);

impl<'de> Deserialize<'de> for NamedSite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl de::Visitor<'_> for Name {
            type Value = NamedSite;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a site, such as \"schedule\"")
            }

            fn visit_str<E>(self, name: &str) -> Result<NamedSite, E> {
                Ok(NamedSite(Site::from_name(name).ok_or_else(|| name.to_owned())))
            }
        }

        deserializer.deserialize_str(Name)
    }
}
