//! Where a run came from, and the line that brings it back.

use std::path::PathBuf;

use super::place::{Caller, quoted};
use crate::env::{CASE, SEED, STRATEGY};
use crate::schedule::StrategyKind;

/// Where a run came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Whence {
    /// The plain run, before any seed.
    #[default]
    Plain,
    /// A seed.
    Seed(u64),
    /// A case that failed before.
    Case {
        /// Its file, as reports write it.
        path: PathBuf,
        /// The seed that once brought it.
        seed: Option<u64>,
        /// The strategy that drew it.
        strategy: String,
    },
}

/// The way back to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Back {
    /// The line to copy.
    pub(super) command: String,
    /// The seed, if one brought it.
    pub(super) seed: Option<u64>,
    /// The strategy that drew it.
    pub(super) strategy: String,
}

/// Knows the way back to every run of a check.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) caller: Caller,
    /// The test, and which of its checks.
    pub(super) program: String,
    /// How seeds are drawn.
    pub(super) strategy: StrategyKind,
    /// How they are drawn if nobody asks for anything else.
    pub(super) usual: StrategyKind,
}

impl Way {
    /// The way back, with `first` before the other variables.
    pub(super) fn back(&self, whence: &Whence, first: &str) -> Back {
        let (seed, strategy) = match whence {
            Whence::Plain => (0, StrategyKind::Fifo),
            Whence::Seed(seed) => (*seed, self.strategy),
            Whence::Case { path, seed, strategy } => {
                let variable = format!("{first}{CASE}={}", quoted(&path.display().to_string()));
                let command = self.caller.command(&variable);
                return Back { command, seed: *seed, strategy: strategy.clone() };
            }
        };
        let mut variables = format!("{first}{SEED}={seed:#x}");
        if strategy != self.usual {
            variables += &format!(" {STRATEGY}={}", strategy.name());
        }
        let command = self.caller.command(&variables);
        Back { command, seed: Some(seed), strategy: strategy.name().to_owned() }
    }

    /// The first line of a report.
    pub(super) fn title(&self, whence: &Whence, strategy: &str) -> String {
        let program = &self.program;
        match whence {
            Whence::Plain => format!("{program} failed in the plain run"),
            Whence::Seed(seed) => format!("{program} failed under seed {seed:#x} ({strategy})"),
            Whence::Case { path, .. } => format!("{program} failed as it did in {}", path.display()),
        }
    }
}
