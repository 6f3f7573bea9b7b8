//! When did it become inevitable?
//!
//! A case is run again up to one of its choices, and from there on at random, many times. The share of these runs that
//! still break the rule is the chance that it breaks, given all choices so far. Where the share jumps is the choice
//! that matters. (The idea of asking this along the time of a run is that of FoundationDB's and Antithesis' branching
//! histories; here it is asked choice by choice.)

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::deviations::{Deviation, Pilot, Rest};
use super::judge::Runner;
use super::shrink::{ShrinkError, source_of};
use super::sweep::PANIC;
use crate::case::Case;
use crate::choice::{Source, Tape};
use crate::rng::{Numbers, Stream};
use crate::scenario::Scenario;
use crate::world::Limits;

/// How to ask.
#[derive(Debug, Clone, Copy)]
pub struct WhyOptions {
    /// When a world is given up.
    pub limits: Limits,
    /// Runs from each choice. Default 200.
    pub runs: u32,
    /// Choices at which is asked, at most; those in between are told by the nearest before them. Default 64.
    pub places_max: usize,
}

impl Default for WhyOptions {
    fn default() -> Self {
        Self { limits: Limits::default(), runs: 200, places_max: 64 }
    }
}

/// The chance after some choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chance {
    /// How many choices were kept.
    pub kept: usize,
    /// The last of them, in words; `None` before the first.
    pub choice: Option<String>,
    /// How many of the runs broke the rule.
    pub broke: u32,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The rule.
    pub rule: String,
    /// Runs from each choice.
    pub runs: u32,
    /// Choices of the case.
    pub choices: usize,
    /// The chances, by the number of choices kept.
    pub chances: Vec<Chance>,
    /// The place in `chances` before which the chance rose the most; `None` if it never rose.
    pub turning: Option<usize>,
    /// It was stopped before all was asked.
    pub is_partial: bool,
}

/// Asks from which choice on a case had to break its rule. `watch` is told how many places of how many are done.
///
/// # Errors
/// As [`super::shrink`].
pub fn why(
    case: &Case,
    options: &WhyOptions,
    stop: &AtomicBool,
    watch: impl FnMut(usize, usize),
) -> Result<Why, ShrinkError> {
    why_with(case, options, &|limits| Runner::for_case(case, limits), stop, watch)
}

/// As [`why`], for runners that hold runs against rules of one's own. `runner` is called at the beginning, and again
/// after a run that panicked.
///
/// # Errors
/// As [`super::shrink`].
pub fn why_with(
    case: &Case,
    options: &WhyOptions,
    runner: &dyn Fn(Limits) -> Runner,
    stop: &AtomicBool,
    mut watch: impl FnMut(usize, usize),
) -> Result<Why, ShrinkError> {
    let mut asker = Asker {
        make: runner,
        runner: runner(options.limits),
        pilot: Arc::new(Mutex::new(Pilot::new())),
        limits: options.limits,
        runs: options.runs.max(1),
    };
    let (rule, tape) = asker.run(&case.scenario, source_of(case)?);
    let rule = rule.ok_or(ShrinkError::Clean)?;
    let log = asker.log(&case.scenario, &tape);
    let choices = log.len().min(tape.len());
    let words = |kept: usize| kept.checked_sub(1).map(|last| log[last].to_string());

    let mut chances: Vec<Chance> = Vec::new();
    let places = options.places_max.max(2);
    let coarse: Vec<usize> = if choices < places {
        (0..=choices).collect()
    } else {
        // Half of the places are spread, the others look where it jumps.
        let spread = places / 2;
        (0..=spread).map(|place| place * choices / spread).collect()
    };
    for kept in coarse {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let broke = asker.ask(&case.scenario, &tape, kept, &rule);
        chances.push(Chance { kept, choice: words(kept), broke });
        watch(chances.len(), places.min(choices + 1));
    }
    while let Some(place) = turning(&chances) {
        let (low, high) = (chances[place - 1].kept, chances[place].kept);
        if high - low < 2 || chances.len() >= places + 16 || stop.load(Ordering::Relaxed) {
            break;
        }
        let kept = low.midpoint(high);
        let broke = asker.ask(&case.scenario, &tape, kept, &rule);
        chances.insert(place, Chance { kept, choice: words(kept), broke });
        watch(chances.len(), places.min(choices + 1).max(chances.len()));
    }
    let is_partial = stop.load(Ordering::Relaxed);
    Ok(Why { rule, runs: asker.runs, choices, turning: turning(&chances), chances, is_partial })
}

/// Where the chance rises the most, and how far: the place after the rise.
fn turning(chances: &[Chance]) -> Option<usize> {
    let rise = |&place: &usize| chances[place].broke.saturating_sub(chances[place - 1].broke);
    let place = (1..chances.len()).rev().max_by_key(rise)?;
    (rise(&place) > 0).then_some(place)
}

struct Asker<'a> {
    make: &'a dyn Fn(Limits) -> Runner,
    runner: Runner,
    pilot: Arc<Mutex<Pilot>>,
    limits: Limits,
    runs: u32,
}

impl Asker<'_> {
    fn pilot(&self) -> std::sync::MutexGuard<'_, Pilot> {
        self.pilot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first rule that a run broke, and its choices.
    fn run(&mut self, scenario: &Scenario, source: Source) -> (Option<String>, Tape) {
        match catch_unwind(AssertUnwindSafe(|| self.runner.judge(scenario, source))) {
            Ok(judged) => (judged.findings.first().map(|finding| finding.rule.to_owned()), judged.tape),
            Err(_) => {
                let rule = self.runner.first_violation().map_or(PANIC, |finding| finding.rule).to_owned();
                let runner = std::mem::replace(&mut self.runner, (self.make)(self.limits));
                (Some(rule), runner.cut_off())
            }
        }
    }

    fn follow(&mut self, scenario: &Scenario, tape: Tape, rest: Rest, log: bool) -> Option<String> {
        let mut pilot = self.pilot();
        pilot.follow(tape, rest);
        if log {
            pilot.keep_log();
        }
        drop(pilot);
        let (rule, tape) = self.run(scenario, Source::Guided(Arc::clone(&self.pilot) as _));
        self.runner.recycle(tape);
        rule
    }

    fn log(&mut self, scenario: &Scenario, tape: &Tape) -> Vec<Deviation> {
        self.follow(scenario, tape.clone(), Rest::Plain, true);
        self.pilot().log()
    }

    /// How many of the runs that begin with `kept` choices break the rule.
    fn ask(&mut self, scenario: &Scenario, tape: &Tape, kept: usize, rule: &str) -> u32 {
        let mut broke = 0;
        for run in 0..self.runs {
            let numbers = Box::new(Numbers::new(u64::from(run), Stream::Schedule));
            let found = self.follow(scenario, tape[..kept].to_vec(), Rest::Random(numbers), false);
            broke += u32::from(found.as_deref() == Some(rule));
        }
        broke
    }
}
