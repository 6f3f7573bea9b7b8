//! The smallest case that still breaks the same rule.
//!
//! A case is a scenario and a schedule, and both are made simpler in turn: tasks, operations, subscribers, receivers,
//! steps and settings are taken away ([`edits`]), values are lowered ([`dials`]), names and orders become the first
//! ones, and the schedule is brought back to the plain one choice by choice ([`super::deviations`]). Each candidate is
//! run; it is kept if the first rule that it breaks is the same and it is simpler by one total order ([`cost`]). The
//! result is a local minimum: no single edit makes it simpler.
//!
//! Chunks are halved as in delta debugging (Zeller, Hildebrandt, TSE 2002); shrinking towards one total order, so
//! that different seeds of one bug meet in one case, follows Hypothesis (MacIver, Donaldson, ECOOP 2020). What is
//! ours: choices that are told by their future and not by their place; a *second look* ([`looks`]), for in a smaller world
//! the same bug shows at another instant; and that the *simplest worlds* ([`simplest`]) are searched themselves, as in
//! bounded exhaustive testing (Jackson, Damon, TSE 1996). At last the scenario is held against others of its shape with
//! at most two settings, and the schedule against all others with as few deviations ([`normal`]); the first that shows
//! the violation is taken. So a bug that small has one case, whatever seed found it.

mod cost;
mod descent;
mod dials;
mod edits;
mod looks;
mod normal;
mod plain;
mod simplest;

pub use self::plain::{Smaller, shrink_scenario};

use std::hash::{BuildHasher as _, Hash};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::{FxBuildHasher, FxHashSet};
use thiserror::Error;

use self::cost::{Cost, with_steps, without_steps};
use self::descent::Descent;
use self::edits::Edit;
use self::looks::in_first_attempts;
use super::deviations::{Deviation, Pilot, Point, Rest, To};
use super::judge::{CaseRun, Finding, Judged, Runner, Verdict};
use super::sweep::{HANG, PANIC, panic_message};
use super::{replayed, seeded};
use crate::case::Case;
use crate::choice::{Fit, Source, Tape};
use crate::scenario::{Action, Operation, Scenario, Span};
use crate::schedule::StrategyKind;
use crate::world::Limits;

/// How to shrink.
#[derive(Debug, Clone, Copy)]
pub struct ShrinkOptions {
    /// When a world is given up.
    pub limits: Limits,
    /// Stop after about this many runs. Default 20,000.
    pub replays_max: u64,
}

impl Default for ShrinkOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), replays_max: 20_000 }
    }
}

/// Why a case cannot be shrunk.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShrinkError {
    /// It breaks no rule.
    #[error("the case breaks no rule, so there is nothing to shrink")]
    Clean,
    /// Its run does not end, so no candidate could be told from one that does not end either.
    #[error("the case does not end, and what hangs cannot be shrunk; `simvisor run` shows how far it goes")]
    Hangs,
    /// It has no tape and its strategy is not known.
    #[error("the case has no tape, and its strategy `{0}` is unknown")]
    Strategy(String),
}

/// How far a shrink has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShrinkProgress {
    /// Runs so far.
    pub replays: u64,
    /// Tasks, subscribers, receivers and operations that are left.
    pub items: usize,
    /// Choices that are not zero and are left.
    pub choices: usize,
}

/// What a shrink came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// The smallest case.
    pub case: Case,
    /// The rule that it breaks, as the case that was given.
    pub rule: String,
    /// Runs that it took.
    pub replays: u64,
    /// Operations in it.
    pub operations: usize,
    /// Choices that are not zero.
    pub choices: usize,
    /// No edit makes it simpler. False if it was stopped before that was known.
    pub is_minimal: bool,
}

/// Makes a case as small as it gets. `stop` keeps the best so far; `watch` is called after each run.
///
/// # Errors
/// If there is nothing to shrink.
pub fn shrink(
    case: &Case,
    options: &ShrinkOptions,
    stop: &AtomicBool,
    watch: impl FnMut(ShrinkProgress),
) -> Result<Shrunk, ShrinkError> {
    shrink_with(case, options, &|limits| Runner::for_case(case, limits), stop, watch)
}

/// As [`shrink`], for runners that hold runs against rules of one's own. `runner` is called at the beginning, and
/// again after a run that panicked.
///
/// # Errors
/// As [`shrink`].
pub fn shrink_with(
    case: &Case,
    options: &ShrinkOptions,
    runner: &dyn Fn(Limits) -> Runner,
    stop: &AtomicBool,
    watch: impl FnMut(ShrinkProgress),
) -> Result<Shrunk, ShrinkError> {
    if case.shown.verdict == HANG {
        return Err(ShrinkError::Hangs);
    }
    let mut shrinker = Shrinker::new(case, options, runner, stop, watch)?;
    let is_minimal = shrinker.work();
    Ok(shrinker.finish(case, is_minimal))
}

/// What a run showed, without regard to its deviations.
struct Plainly {
    rule: Option<String>,
    tape: Tape,
    turns: u64,
    time_ns: u64,
    /// When the rule was broken.
    broken_at_ns: u64,
    /// It came to a limit, or panicked.
    is_cut_short: bool,
}

/// What one run showed.
struct Run {
    /// The first rule that it broke.
    rule: Option<String>,
    made: Vec<Deviation>,
    points: Vec<Point>,
    /// Turns, and virtual time at the end.
    size: (u64, u64),
}

struct Shrinker<'a, W> {
    runner: Runner,
    make: &'a dyn Fn(Limits) -> Runner,
    pilot: Arc<Mutex<Pilot>>,
    options: &'a ShrinkOptions,
    limits: Limits,
    /// Only runs that come to their end count, as the one that was given did.
    must_end: bool,
    /// Larger steps are being taken, as long as there are runs for them.
    takes_steps: bool,
    looks_twice: bool,
    stop: &'a AtomicBool,
    watch: W,
    rule: String,
    replays: u64,
    scenario: Scenario,
    deviations: Vec<Deviation>,
    cost: Cost,
    /// Candidates that were run, by their cost, which tells them all apart, and hashed.
    tried: FxHashSet<u64>,
    /// The scenario whose schedule is the first of its kind, and how many deviations that has.
    settled: Option<(Scenario, usize)>,
}

/// After so many runs the simplest worlds are tried, though simple edits still help.
const EARLY: u64 = 500;
/// A schedule with more deviations is not worked off before the simplest worlds were tried.
const LONG: usize = 400;

impl<W: FnMut(ShrinkProgress)> Descent for Shrinker<'_, W> {
    fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    fn edit(&mut self, Edit { scenario, renaming, is_large }: &Edit) -> bool {
        if self.takes_steps && self.is_tired() {
            return false;
        }
        let kept = renaming.apply(&self.deviations);
        // A candidate that cannot win, or makes no sense, is not run.
        let least: &[Deviation] = if *is_large { &[] } else { &kept };
        if Cost::new(scenario, least) >= self.cost || scenario.check().is_err() {
            return false;
        }
        self.offer(scenario, &kept)
            || self.offer(scenario, &in_first_attempts(&kept))
            || *is_large && self.offer(scenario, &[])
            || self.looks_twice && self.second_look(scenario, &kept, *is_large)
    }
}

impl<'a, W: FnMut(ShrinkProgress)> Shrinker<'a, W> {
    fn new(
        case: &Case,
        options: &'a ShrinkOptions,
        make: &'a dyn Fn(Limits) -> Runner,
        stop: &'a AtomicBool,
        watch: W,
    ) -> Result<Self, ShrinkError> {
        let scenario = with_steps(case.scenario.clone());
        let cost = Cost::new(&scenario, &[]);
        let mut shrinker = Self {
            runner: make(options.limits),
            make,
            pilot: Arc::new(Mutex::new(Pilot::new())),
            options,
            limits: options.limits,
            must_end: false,
            takes_steps: false,
            looks_twice: false,
            stop,
            watch,
            rule: String::new(),
            replays: 0,
            scenario,
            deviations: Vec::new(),
            cost,
            tried: FxHashSet::default(),
            settled: None,
        };
        // What an older program wrote may not fit; what was chosen instead does.
        let mut first = shrinker.plainly(&case.scenario, source_of(case)?);
        shrinker.rule = first.rule.take().ok_or(ShrinkError::Clean)?;
        shrinker.pilot().follow(std::mem::take(&mut first.tape), Rest::Plain);
        let run = shrinker.run(&case.scenario);
        if run.rule.as_ref() != Some(&shrinker.rule) {
            return Err(ShrinkError::Clean);
        }
        shrinker.deviations = run.made;
        if first.is_cut_short {
            first = shrinker.ended(first);
        }
        // A world without the operation that ends it might go on for years.
        let turns_max = 2 * first.turns + 1_000;
        shrinker.limits.turns_max = turns_max.min(options.limits.turns_max);
        shrinker.must_end = !first.is_cut_short;
        drop(shrinker.renew());
        shrinker.cost = Cost::new(&shrinker.scenario, &shrinker.deviations);
        Ok(shrinker)
    }

    /// Ends a run that came to a limit by a shutdown after the violation, if that shows it as well.
    fn ended(&mut self, first: Plainly) -> Plainly {
        let mut ended = self.scenario.clone();
        let at = Span::from_millis(first.broken_at_ns / 1_000_000 + 1);
        ended.operations.push(Operation { at, action: Action::Shutdown });
        let deviations = self.deviations.clone();
        self.pilot().deviate(&deviations, false);
        self.replays += 1;
        let mut run = self.plainly(&ended, Source::Guided(Arc::clone(&self.pilot) as _));
        if run.is_cut_short || run.rule.as_ref() != Some(&self.rule) {
            return first;
        }
        self.runner.recycle(std::mem::take(&mut run.tape));
        self.scenario = ended;
        let made = self.pilot().made().to_vec();
        self.deviations = made;
        run
    }

    fn pilot(&self) -> std::sync::MutexGuard<'_, Pilot> {
        self.pilot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on choices of `source`.
    fn plainly(&mut self, scenario: &Scenario, source: Source) -> Plainly {
        let run = catch_unwind(AssertUnwindSafe(|| self.runner.judge(scenario, source)));
        match run {
            Ok(judged) => {
                let first = judged.findings.first();
                let broken_at_ns = first.map_or(0, |finding| finding.at_ns);
                let rule = first.map(|finding| finding.rule.to_owned());
                let is_cut_short = match judged.verdict {
                    Verdict::Limit => true,
                    Verdict::Livelock => rule.as_deref() != Some("R6"),
                    Verdict::Done | Verdict::Deadlock => false,
                };
                let rule = rule.filter(|_| !(is_cut_short && self.must_end));
                let Judged { turns, time_ns, tape, .. } = judged;
                Plainly { rule, turns, time_ns, broken_at_ns, tape, is_cut_short }
            }
            Err(_) => {
                let rule = self.runner.first_violation().map_or(PANIC, |finding| finding.rule).to_owned();
                let tape = self.renew().cut_off();
                Plainly { rule: Some(rule), turns: 0, time_ns: 0, broken_at_ns: 0, tape, is_cut_short: true }
            }
        }
    }

    fn renew(&mut self) -> Runner {
        std::mem::replace(&mut self.runner, (self.make)(self.limits))
    }

    /// Runs as the pilot was told.
    fn run(&mut self, scenario: &Scenario) -> Run {
        self.replays += 1;
        let source = Source::Guided(Arc::clone(&self.pilot) as _);
        let Plainly { rule, tape, turns, time_ns, .. } = self.plainly(scenario, source);
        self.runner.recycle(tape);
        let mut pilot = self.pilot();
        let size = (turns, time_ns);
        let run = Run { rule, made: pilot.made().to_vec(), points: pilot.points(), size };
        drop(pilot);
        let (items, choices) = (self.cost.items(), self.deviations.len());
        (self.watch)(ShrinkProgress { replays: self.replays, items, choices });
        run
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.replays >= self.options.replays_max
    }

    /// Whether this was not asked before.
    fn is_new(&mut self, question: &impl Hash) -> bool {
        self.tried.insert(FxBuildHasher.hash_one(question))
    }

    /// Runs a scenario on a schedule; true if it shows the violation and is the best so far.
    fn offer(&mut self, scenario: &Scenario, deviations: &[Deviation]) -> bool {
        if self.is_over() || !self.is_new(&Cost::new(scenario, deviations)) {
            return false;
        }
        self.pilot().deviate(deviations, false);
        let run = self.run(scenario);
        run.rule.as_ref() == Some(&self.rule) && self.accept(scenario, run.made)
    }

    fn accept(&mut self, scenario: &Scenario, deviations: Vec<Deviation>) -> bool {
        let cost = Cost::new(scenario, &deviations);
        if cost >= self.cost || self.is_settled(scenario, &deviations) {
            return false;
        }
        self.scenario.clone_from(scenario);
        self.cost = cost;
        self.deviations = deviations;
        true
    }

    /// Whether the schedule of this scenario is settled and this one has no fewer deviations. What was settled is the
    /// simplest of its kind, whatever its cost, or it would be undone and settled again for ever.
    fn is_settled(&self, scenario: &Scenario, deviations: &[Deviation]) -> bool {
        self.settled
            .as_ref()
            .is_some_and(|(settled, count)| deviations.len() >= *count && settled == scenario)
    }

    /// Simplifies until nothing helps; false if it was stopped before.
    fn work(&mut self) -> bool {
        // A schedule is cheaper to simplify in a small world, and a world with a plain schedule.
        if self.deviations.len() > LONG {
            self.begin_smallest();
        }
        self.straighten((self.deviations.len() / 16).max(1));
        self.simplify();
        while !self.is_over() {
            let before = self.cost.clone();
            self.straighten(1);
            self.simplify();
            if self.replays > EARLY {
                self.begin_alone();
            }
            // What costs more comes when nothing else helps.
            self.takes_steps = true;
            for step in Self::NORMALISING {
                if self.cost.is_as_large_as(&before) && !self.is_tired() {
                    step(self);
                }
            }
            self.takes_steps = false;
            if self.cost == before {
                return !self.is_over();
            }
        }
        false
    }

    /// Takes deviations away, in runs that are halved down to `finest`, and makes what is left smaller.
    fn straighten(&mut self, finest: usize) {
        let scenario = self.scenario.clone();
        if self.deviations.is_empty() || self.offer(&scenario, &[]) {
            return;
        }
        let mut size = self.deviations.len().div_ceil(2);
        loop {
            let mut start = 0;
            while start < self.deviations.len() && !self.is_over() {
                let mut fewer = self.deviations.clone();
                fewer.drain(start..(start + size).min(fewer.len()));
                if !self.offer(&scenario, &fewer) {
                    start += size;
                }
            }
            if size <= finest {
                break;
            }
            size = (size / 2).max(finest);
        }
        for index in 0..self.deviations.len() {
            while self.lower_value(index, &scenario) {}
        }
    }

    /// Makes the value of one deviation smaller, by large steps first and at last by one.
    fn lower_value(&mut self, index: usize, scenario: &Scenario) -> bool {
        let Some(To::Value(value)) = self.deviations.get(index).map(|deviation| deviation.to.clone()) else {
            return false;
        };
        // Steps of all sizes, for a value may be large, and by one alone there would be no end.
        let steps = (3..u32::BITS).step_by(3).map(|size| value - (value >> size));
        let lower = [1, value / 2].into_iter().chain(steps).chain([value - 1]);
        lower.filter(|&lower| lower > 0 && lower < value).any(|lower| {
            let mut other = self.deviations.clone();
            other[index].to = To::Value(lower);
            self.offer(scenario, &other)
        })
    }

    /// As [`Self::straighten`], by places on the tape: a choice is taken away, or comes out as the plain one, and all
    /// others stay as they are in order. This helps where who is the oldest depends on every choice before.
    fn straighten_tape(&mut self) {
        let scenario = self.scenario.clone();
        let mut tape = self.tape(&scenario);
        let mut index = tape.len();
        while index > 0 && !self.is_tired() {
            index -= 1;
            if index >= tape.len() || tape[index].value == 0 {
                continue;
            }
            let mut zeroed = tape.clone();
            zeroed[index].value = 0;
            let mut without = tape.clone();
            without.remove(index);
            for other in [zeroed, without] {
                self.pilot().follow(other, Rest::Plain);
                let run = self.run(&scenario);
                if run.rule.as_ref() == Some(&self.rule) && self.accept(&scenario, run.made) {
                    tape = self.tape(&scenario);
                    break;
                }
            }
        }
    }

    /// The choices of the best so far.
    fn tape(&mut self, scenario: &Scenario) -> Tape {
        let deviations = self.deviations.clone();
        self.pilot().deviate(&deviations, false);
        self.replays += 1;
        let mut tape = self.plainly(scenario, Source::Guided(Arc::clone(&self.pilot) as _)).tape;
        trim(&mut tape);
        tape
    }

    fn finish(mut self, case: &Case, is_minimal: bool) -> Shrunk {
        let scenario = without_steps(self.scenario.clone());
        let deviations = std::mem::take(&mut self.deviations);
        self.pilot().deviate(&deviations, false);
        let source = Source::Guided(Arc::clone(&self.pilot) as _);
        let run = catch_unwind(AssertUnwindSafe(|| self.runner.judge(&scenario, source)));
        let operations = scenario.operations.len();
        let mut shrunk = match run {
            Ok(mut judged) => {
                trim(&mut judged.tape);
                // A case shows the rule for which it was kept.
                let place = judged.findings.iter().position(|finding| finding.rule == self.rule);
                judged.findings.rotate_left(place.unwrap_or(0));
                CaseRun { scenario, judged }.into_case(case.origin.seed, SHRUNK)
            }
            Err(payload) => {
                let message = match self.runner.first_violation() {
                    Some(Finding { message, .. }) => format!("{message}; then the run panicked"),
                    None => format!("the run panicked: {}", panic_message(&*payload)),
                };
                let seed = case.origin.seed.unwrap_or_default();
                let mut shrunk = Case::unfinished(scenario, seed, SHRUNK, PANIC, &message);
                shrunk.tape = self.renew().cut_off();
                trim(&mut shrunk.tape);
                if shrunk.tape.is_empty() {
                    // Choices that are not there are drawn anew, and these are all zero.
                    StrategyKind::Fifo.name().clone_into(&mut shrunk.origin.strategy);
                }
                shrunk
            }
        };
        shrunk.origin.simvisor = env!("CARGO_PKG_VERSION").to_owned();
        shrunk.origin.found_in = case.origin.found_in;
        let choices = shrunk.tape.iter().filter(|choice| choice.value > 0).count();
        Shrunk { case: shrunk, rule: self.rule, replays: self.replays, operations, choices, is_minimal }
    }
}

/// Stands for the strategy of a case that was shrunk.
pub const SHRUNK: &str = "shrunk";

/// What stands past the end of a tape is zero anyway.
fn trim(tape: &mut Tape) {
    let end = tape.iter().rposition(|choice| choice.value > 0).map_or(0, |last| last + 1);
    tape.truncate(end);
}

/// Where the choices of a case come from.
pub(super) fn source_of(case: &Case) -> Result<Source, ShrinkError> {
    if case.shown.verdict != PANIC || !case.tape.is_empty() {
        return Ok(replayed(case.tape.clone(), Fit::Lenient));
    }
    let name = &case.origin.strategy;
    let strategy = StrategyKind::from_name(name).ok_or_else(|| ShrinkError::Strategy(name.clone()))?;
    Ok(seeded(case.origin.seed.unwrap_or_default(), strategy))
}
