//! The environment variables: read in one place, strictly.
//!
//! A value that cannot be understood is an error that names the variable, and so is a variable that begins with
//! `SIMVISOR_` and is none of ours: a typing error never silently means the default.
//!
//! ```
//! use simvisor_sim::env::Env;
//!
//! let env = Env::from_vars([("SIMVISOR_SEED", "0x2a")]).expect("a number");
//! assert_eq!(env.seed, Some(42));
//! let error = Env::from_vars([("SIMVISOR_SEDE", "42")]).expect_err("no such variable");
//! assert!(error.to_string().contains("did you mean SIMVISOR_SEED?"));
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::report::Detail;
use crate::schedule::StrategyKind;

/// A variable and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What its value is, as errors say it.
    pub value: &'static str,
    /// What it does, in one sentence. `docs/testing.md` has the same.
    pub does: &'static str,
}

/// One seed.
pub const SEED: &str = "SIMVISOR_SEED";
/// How many seeds.
pub const SEEDS: &str = "SIMVISOR_SEEDS";
/// A case file.
pub const CASE: &str = "SIMVISOR_CASE";
/// The strategy.
pub const STRATEGY: &str = "SIMVISOR_STRATEGY";
/// Every seed twice.
pub const CHECK_DETERMINISM: &str = "SIMVISOR_CHECK_DETERMINISM";
/// How much of a run is shown.
pub const LOG: &str = "SIMVISOR_LOG";
/// When a run hangs.
pub const HANG_AFTER: &str = "SIMVISOR_HANG_AFTER";
/// Golden files are written anew.
pub const BLESS: &str = "SIMVISOR_BLESS";

/// Every variable.
pub const VARIABLES: [Variable; 8] = [
    Variable {
        name: SEED,
        value: "a seed, in decimal like 42 or in hexadecimal like 0x2a",
        does: "Runs this one seed alone, without regressions.",
    },
    Variable {
        name: SEEDS,
        value: "a number of seeds from 1 to 2^64 - 1, like 1000 or 1_000_000",
        does: "Runs this many seeds, whatever the test says.",
    },
    Variable {
        name: CASE,
        value: "the path of a case file, from the current directory, its package or its workspace",
        does: "Runs this case alone.",
    },
    Variable {
        name: STRATEGY,
        value: "a strategy: fifo, random, pct, pos, urw, surw, mutate or mix",
        does: "Draws schedules by this strategy, whatever the test says.",
    },
    Variable {
        name: CHECK_DETERMINISM,
        value: "0 or 1",
        does: "With 1, runs every seed twice and fails where choices, trace or result differ.",
    },
    Variable {
        name: LOG,
        value: "off, events, usual or all",
        does: "Says how much of a failing run is shown; a run of one seed or one case is then shown though it passes.",
    },
    Variable {
        name: HANG_AFTER,
        value: "a number of seconds, or 0 for never",
        does: "Gives up a run that has kept its thread busy for this many seconds of real time, 0 for never.",
    },
    Variable {
        name: BLESS,
        value: "0 or 1",
        does: "With 1, simvisor's own tests write their golden files anew.",
    },
];

/// What the environment asks for. `None` where it asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Env {
    /// Run this seed alone.
    pub seed: Option<u64>,
    /// Run this many seeds.
    pub seeds: Option<u64>,
    /// Run this case alone.
    pub case: Option<PathBuf>,
    /// Draw schedules so.
    pub strategy: Option<StrategyKind>,
    /// Run every seed twice.
    pub check_determinism: Option<bool>,
    /// Show this much.
    pub log: Option<Shown>,
    /// A run hangs after this much real time; [`Duration::MAX`] for never.
    pub hang_after: Option<Duration>,
    /// Write golden files anew.
    pub bless: bool,
}

/// How much of a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Nothing but why it failed.
    Nothing,
    /// Its timeline, in this detail.
    Timeline(Detail),
}

/// Why the environment cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvError {
    /// The value makes no sense.
    #[error("{name}={found} makes no sense: expected {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// Its value.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// There is no such variable.
    #[error("{name} is no variable of simvisor{hint}; there are {}", names())]
    Unknown {
        /// The variable.
        name: String,
        /// The nearest name, as a question.
        hint: String,
    },
    /// Two variables contradict each other.
    #[error("{0} and {1} cannot both be set: each says what is to be run")]
    Both(&'static str, &'static str),
}

fn names() -> String {
    VARIABLES.map(|variable| variable.name).join(", ")
}

impl Env {
    /// The environment of this process.
    ///
    /// # Errors
    /// Names the variable, its value and what was expected.
    pub fn read() -> Result<Self, EnvError> {
        Self::from_vars(std::env::vars_os())
    }

    /// As [`Env::read`], of these variables; those that do not begin with `SIMVISOR_` are left alone.
    ///
    /// # Errors
    /// As [`Env::read`].
    pub fn from_vars<K: Into<OsString>, V: Into<OsString>>(
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, EnvError> {
        let mut env = Self::default();
        for (name, value) in vars {
            let (name, value): (OsString, OsString) = (name.into(), value.into());
            let name = name.to_string_lossy();
            if !name.starts_with("SIMVISOR_") {
                continue;
            }
            let Some(variable) = VARIABLES.iter().find(|variable| *variable.name == *name) else {
                return Err(EnvError::Unknown { hint: nearest(&name), name: name.into_owned() });
            };
            let found = value.to_string_lossy().into_owned();
            let is_text = value.to_str().is_some();
            if env.set(variable.name, value).is_none() || !(is_text || variable.name == CASE) {
                let Variable { name, value: expected, .. } = *variable;
                return Err(EnvError::Malformed { name, found, expected });
            }
        }
        match (env.seed, env.seeds, &env.case) {
            (Some(_), Some(_), _) => Err(EnvError::Both(SEED, SEEDS)),
            (Some(_), _, Some(_)) => Err(EnvError::Both(SEED, CASE)),
            (_, Some(_), Some(_)) => Err(EnvError::Both(SEEDS, CASE)),
            _ => Ok(env),
        }
    }

    /// Takes a variable; nothing comes back where its value makes no sense.
    fn set(&mut self, name: &str, value: OsString) -> Option<()> {
        if name == CASE {
            self.case = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
            return self.case.as_ref().map(|_| ());
        }
        let text = value.to_str()?;
        match name {
            SEED => self.seed = Some(number(text)?),
            SEEDS => self.seeds = Some(number(text).filter(|&seeds| seeds > 0)?),
            STRATEGY => self.strategy = Some(StrategyKind::from_name(text)?),
            CHECK_DETERMINISM => self.check_determinism = Some(switch(text)?),
            LOG => self.log = Some(shown(text)?),
            HANG_AFTER => self.hang_after = Some(patience(text)?),
            BLESS => self.bless = switch(text)?,
            _ => unreachable!("every variable is read"),
        }
        Some(())
    }
}

/// A number in decimal or hexadecimal, with underscores where they help: `42`, `0x2a`, `1_000_000`.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(|&c| c != '_').collect();
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None => (&*digits, 10),
    };
    // Rust's own reader takes a sign.
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn patience(text: &str) -> Option<Duration> {
    match number(text)? {
        0 => Some(Duration::MAX),
        seconds => Some(Duration::from_secs(seconds)),
    }
}

fn shown(text: &str) -> Option<Shown> {
    match text {
        "off" => Some(Shown::Nothing),
        "events" => Some(Shown::Timeline(Detail::Events)),
        "usual" => Some(Shown::Timeline(Detail::Usual)),
        "all" => Some(Shown::Timeline(Detail::All)),
        _ => None,
    }
}

fn nearest(name: &str) -> String {
    let near = VARIABLES
        .iter()
        .map(|variable| (strsim::damerau_levenshtein(name, variable.name), variable.name))
        .min()
        .filter(|(distance, _)| *distance <= 4);
    near.map_or_else(String::new, |(_, name)| format!(", did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Env, EnvError> {
        Env::from_vars([(name, value)])
    }

    #[test]
    fn every_variable_is_read() {
        let env = Env::from_vars([
            ("SIMVISOR_SEEDS", "1_000"),
            ("SIMVISOR_STRATEGY", "pct"),
            ("SIMVISOR_CHECK_DETERMINISM", "1"),
            ("SIMVISOR_LOG", "all"),
            ("SIMVISOR_HANG_AFTER", "30"),
            ("SIMVISOR_BLESS", "0"),
            ("HOME", "/root"),
        ]);
        let expected = Env {
            seeds: Some(1_000),
            strategy: Some(StrategyKind::Pct),
            check_determinism: Some(true),
            log: Some(Shown::Timeline(Detail::All)),
            hang_after: Some(Duration::from_secs(30)),
            ..Env::default()
        };
        assert_eq!(env, Ok(expected));
        assert_eq!(read(SEED, "0x2A"), Ok(Env { seed: Some(42), ..Env::default() }));
        assert_eq!(read(CASE, "a.json"), Ok(Env { case: Some("a.json".into()), ..Env::default() }));
        assert_eq!(Env::from_vars([("PATH", "")]), Ok(Env::default()));
        assert_eq!(read(HANG_AFTER, "0").map(|env| env.hang_after), Ok(Some(Duration::MAX)));
    }

    #[test]
    fn a_malformed_value_is_an_error_that_names_the_variable_and_what_was_expected() {
        let malformed: [(&str, &[&str]); 8] = [
            (SEED, &["", "x", "-1", "+1", "0x", "0x+1", "1.5", "18446744073709551616", " 1"]),
            (SEEDS, &["", "0", "0x0", "many"]),
            (CASE, &[""]),
            (STRATEGY, &["", "PCT", "fast"]),
            (CHECK_DETERMINISM, &["", "2", "true", "yes"]),
            (LOG, &["", "1", "debug", "ALL"]),
            (HANG_AFTER, &["", "-1", "10s", "0.5", "never"]),
            (BLESS, &["", "yes"]),
        ];
        assert_eq!(malformed.map(|(name, _)| name), VARIABLES.map(|variable| variable.name));
        for ((name, values), variable) in malformed.iter().zip(VARIABLES) {
            for value in *values {
                let error = read(name, value).expect_err(value).to_string();
                assert!(error.starts_with(&format!("{name}={value} makes no sense")), "{error}");
                assert!(error.contains(variable.value), "{error}");
            }
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_text_is_malformed_and_a_path_need_not_be_text() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = OsString::from_vec(vec![b'1', 0xff]);
        let error = Env::from_vars([(SEED, bytes.clone())]).expect_err("not UTF-8");
        assert!(error.to_string().starts_with("SIMVISOR_SEED=1\u{fffd} makes no sense"), "{error}");
        assert!(Env::from_vars([(CASE, bytes)]).is_ok());
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_nearest_one() {
        let error = read("SIMVISOR_SEDE", "1").expect_err("unknown").to_string();
        assert!(error.contains("SIMVISOR_SEDE") && error.contains("did you mean SIMVISOR_SEED?"), "{error}");
        let error = read("SIMVISOR_WHATEVER_ELSE", "1").expect_err("unknown").to_string();
        assert!(!error.contains("did you mean") && error.contains("SIMVISOR_CASE"), "{error}");
    }

    #[test]
    fn two_answers_to_what_is_to_be_run_are_an_error() {
        for pair in [[(SEED, "1"), (SEEDS, "2")], [(SEED, "1"), (CASE, "a")], [(SEEDS, "1"), (CASE, "a")]] {
            let error = Env::from_vars(pair).expect_err("a contradiction").to_string();
            assert!(error.contains(pair[0].0) && error.contains(pair[1].0), "{error}");
        }
    }
}
