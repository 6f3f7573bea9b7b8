//! A test of your own in worlds under many seeds.
//!
//! [`check()`] runs an async closure again and again: each time on a virtual clock, under another schedule, with other
//! faults. Where it fails the schedule is made as simple as it gets, the run is repeated with its timeline, the case
//! is kept beside the test, and one line to copy brings it back. `docs/testing.md` is the guide.
//!
//! ```
//! use std::time::Duration;
//!
//! simvisor_sim::check(|sim| async move {
//!     let supervisor = sim.supervisor().build();
//!     supervisor.start(vec![sim.task("worker", {
//!         let sim = sim.clone();
//!         move |ctx| {
//!             let sim = sim.clone();
//!             async move {
//!                 sim.sleep(Duration::from_millis(10)).await;
//!                 sim.sometimes(ctx.is_cancelled(), "a worker is cancelled at work");
//!                 Ok(())
//!             }
//!         }
//!     })]);
//!     sim.sleep(Duration::from_millis(sim.random(1..=20))).await;
//!     supervisor.stop().await.expect("it ends within grace");
//! });
//! ```

mod determinism;
mod hook;
mod place;
mod regressions;
mod run;
mod session;
mod shrink;
mod sim;
mod stage;
mod supervised;
mod watchdog;
mod whence;

use std::panic::Location;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};
use thiserror::Error;

pub use sim::{Elapsed, Sim, Spawned, WallJump};
pub use supervised::{Supervised, SupervisedBuilder};

use self::place::Caller;
use self::session::Session;
use self::stage::Setup;
use crate::case::CaseError;
use crate::env::{Env, EnvError};
use crate::schedule::StrategyKind;
use crate::world::{Disorder, Limits};

/// Seeds of a check that says nothing else.
pub const SEEDS: u64 = 256;

/// Real time after which a run of such a check hangs.
pub const HANG_AFTER: Duration = Duration::from_secs(10);

/// Runs a test in a world for each of 256 seeds, after the cases that failed before.
///
/// # Panics
/// If the test fails: the panic's message is the report.
#[track_caller]
pub fn check<F, Fut>(body: F)
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output: Outcome> + 'static,
{
    Check::new().run(body);
}

/// How to check.
///
/// ```
/// use simvisor_sim::Check;
/// use simvisor_sim::schedule::StrategyKind;
///
/// Check::new().seeds(20).strategy(StrategyKind::Pct).run(|sim| async move {
///     sim.always(sim.random(1..=6) < 7, "a die has six faces");
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Check {
    seeds: u64,
    first_seed: u64,
    strategy: StrategyKind,
    limits: Limits,
    setup: Setup,
    shrink_runs_max: u64,
    hang_after: Duration,
    regressions: Regressions,
    env: Option<Env>,
}

/// Faults that are played by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// [`Sim::buggify`] may say yes. Default true.
    pub buggify: bool,
    /// What may happen to an event of a supervisor between its stamp and the bus. Default nothing.
    pub disorder: Disorder,
    /// An attempt of a supervised task may fail before its body has run. Default false.
    pub attempts_fail: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self { buggify: true, disorder: Disorder::None, attempts_fail: false }
    }
}

/// What a panic in the body of a supervised task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskPanics {
    /// What the contract says: the attempt fails, and the policy decides what follows.
    #[default]
    Supervised,
    /// A failure of the test, as a panic anywhere else.
    Fail,
}

/// Where failing cases are kept, to be replayed first on the next run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Regressions {
    /// In `simvisor-regressions/` beside the test's source.
    #[default]
    Beside,
    /// In this directory.
    In(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// What a test may give back: nothing, or a result whose error fails it.
pub trait Outcome {
    /// The error, in words.
    ///
    /// # Errors
    /// If it is one.
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: std::fmt::Debug> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// A check that found nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passed {
    /// Worlds that were run.
    pub runs: u64,
    /// How often each `sometimes` held, by name.
    pub sometimes: Vec<(String, u64)>,
    /// What was seen and is no failure: regressions that do not fail any more, and how far they still fit.
    pub remarks: Vec<String>,
    /// The timeline of the one run that was asked for, if that was asked for.
    pub timeline: Option<String>,
}

/// Why a check did not pass.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The environment makes no sense.
    #[error("{0}")]
    Env(#[from] EnvError),
    /// A case cannot be read, or is another test's.
    #[error("{0}")]
    Case(#[from] CaseError),
    /// A case is another test's.
    #[error("{0}")]
    OtherTest(String),
    /// The directory of regressions cannot be read.
    #[error("{path}: cannot be read: {why}")]
    Regressions {
        /// The directory.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// A run failed.
    #[error("{0}")]
    Failed(Box<Failed>),
    /// What should hold sometimes never held.
    #[error("{0}")]
    NeverHeld(String),
}

/// A run that failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{report}")]
pub struct Failed {
    /// The seed, if one brought it.
    pub seed: Option<u64>,
    /// The strategy that drew it.
    pub strategy: String,
    /// In one word: `panic`, `error`, `always`, `rule`, `deadlock`, `livelock`, `limit`, `nondeterminism`.
    pub verdict: String,
    /// The rule, or the name of what always holds.
    pub rule: Option<String>,
    /// What happened.
    pub message: String,
    /// The choices that were not the plain ones, in words.
    pub choices: Vec<String>,
    /// How many there were before they were made fewer.
    pub choices_found: usize,
    /// Worlds that were run until it failed.
    pub runs: u64,
    /// Worlds that were run to make it simpler.
    pub shrink_runs: u64,
    /// The line that runs it again.
    pub command: String,
    /// Where the case is kept, as the report writes it.
    pub case: Option<PathBuf>,
    /// All that is shown.
    pub report: String,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            seeds: SEEDS,
            first_seed: 0,
            strategy: StrategyKind::default(),
            limits: Limits::default(),
            setup: Setup::default(),
            shrink_runs_max: 2_000,
            hang_after: HANG_AFTER,
            regressions: Regressions::default(),
            env: None,
        }
    }
}

impl Check {
    /// A check of 256 seeds from 0 on, by the strategy `mix`, with all rules on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many seeds. Default 256. `SIMVISOR_SEEDS` overrules it.
    #[must_use]
    pub fn seeds(mut self, seeds: u64) -> Self {
        self.seeds = seeds;
        self
    }

    /// The first of the seeds. Default 0.
    #[must_use]
    pub fn first_seed(mut self, seed: u64) -> Self {
        self.first_seed = seed;
        self
    }

    /// How schedules are drawn. Default `mix`. `SIMVISOR_STRATEGY` overrules it.
    #[must_use]
    pub fn strategy(mut self, strategy: StrategyKind) -> Self {
        self.strategy = strategy;
        self
    }

    /// Which faults are played.
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.setup.faults = faults;
        self
    }

    /// When a world is given up; that is a failure.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The rule of this id does not count; `monitor` is the reference monitor.
    #[must_use]
    pub fn without_rule(mut self, id: &str) -> Self {
        self.setup.rules_off.push(id.to_owned());
        self
    }

    /// No rule counts: only the test itself is judged.
    #[must_use]
    pub fn without_rules(mut self) -> Self {
        self.setup.no_rules = true;
        self
    }

    /// What a panic in the body of a supervised task is. Default: an attempt that fails.
    #[must_use]
    pub fn task_panics(mut self, panics: TaskPanics) -> Self {
        self.setup.task_panics = panics;
        self
    }

    /// Most runs that make a failure simpler. Default 2,000; with 0 it is shown as it was found.
    #[must_use]
    pub fn shrink_runs_max(mut self, runs: u64) -> Self {
        self.shrink_runs_max = runs;
        self
    }

    /// How long a future may keep its thread busy, in real time, before the run counts as one that hangs. Default 10 s;
    /// [`Duration::MAX`] is for ever, as a debugger wants it. `SIMVISOR_HANG_AFTER` overrules it.
    ///
    /// A run that hangs can be neither ended nor given back as a failure: its report goes to stderr, and the process
    /// exits with code 101. No schedule depends on this.
    #[must_use]
    pub fn hang_after(mut self, patience: Duration) -> Self {
        self.hang_after = patience;
        self
    }

    /// Where failing cases are kept.
    #[must_use]
    pub fn regressions(mut self, regressions: Regressions) -> Self {
        self.regressions = regressions;
        self
    }

    /// Asks this instead of the environment of the process.
    #[must_use]
    pub fn with_env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Runs a test.
    ///
    /// # Panics
    /// If it fails: the panic's message is the report.
    #[track_caller]
    pub fn run<F, Fut>(self, body: F)
    where
        F: Fn(Sim) -> Fut,
        Fut: Future<Output: Outcome> + 'static,
    {
        match self.outcome(body) {
            Ok(passed) => {
                for remark in passed.remarks {
                    eprintln!("simvisor: {remark}");
                }
                if let Some(timeline) = passed.timeline {
                    eprintln!("simvisor: nothing was found\n\n{timeline}");
                }
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs a test and gives back what was found. Prints nothing, unless a run hangs ([`Check::hang_after`]).
    ///
    /// # Errors
    /// If the test fails, or something that was to be read makes no sense.
    #[track_caller]
    pub fn outcome<F, Fut>(self, body: F) -> Result<Passed, CheckError>
    where
        F: Fn(Sim) -> Fut,
        Fut: Future<Output: Outcome> + 'static,
    {
        let caller = Caller::of::<F>(Location::caller());
        let body = |sim: Sim| -> LocalBoxFuture<'static, Result<(), String>> {
            body(sim).map(Outcome::into_result).boxed_local()
        };
        let env = match &self.env {
            Some(env) => env.clone(),
            None => Env::read()?,
        };
        Session::new(&self, Rc::new(self.setup.clone()), env, caller, &body).carry_out()
    }
}
