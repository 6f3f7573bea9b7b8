//! Is it fixed, and may I stop looking?
//!
//! After a change the case is run again, and then its neighbourhood: the case's choices up to some place and others from
//! there on; its scenario under other schedules; other scenarios of its family. Clean runs bound the chance `p` that a
//! run still shows the bug: if `p` were higher, as many clean runs in a row would be less likely than `1 - c`. So
//! with `n` clean runs `p < 1 - (1 - c)^(1/n)` with confidence `c`, and a bug that showed in one of `1/p` runs needs
//! `n >= ln(1 - c) / ln(1 - p)` clean ones before it may be called gone. For `c = 95 %` that is the rule of three,
//! `n ≈ 3/p` (Hanley and Lippman-Hand, JAMA 1983).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::deviations::{Pilot, Rest};
use super::judge::{CaseRun, Finding, Runner, seeded};
use super::posts::{Posts, hang_message};
use super::shrink::{ShrinkError, source_of};
use super::sweep::{HANG, PANIC, panic_message};
use crate::case::Case;
use crate::choice::{Source, Tape};
use crate::rng::{Numbers, Stream};
use crate::scenario::{Disorder, Mode, Scenario, generate};
use crate::schedule::StrategyKind;
use crate::world::Limits;

/// How to confirm.
#[derive(Debug, Clone, Copy)]
pub struct ConfirmOptions {
    /// When a world is given up.
    pub limits: Limits,
    /// Threads.
    pub jobs: usize,
    /// How choices are drawn.
    pub strategy: StrategyKind,
    /// The bug was found in one of so many runs. Absent: as the case says.
    pub found_in: Option<u64>,
    /// Runs of each neighbourhood. Absent: as many as it takes.
    pub runs: Option<u64>,
    /// Between 0 and 1. Default 0.95.
    pub confidence: f64,
    /// A run that takes longer than this in real time hangs. Default 30 s.
    pub hang_after: Duration,
}

impl Default for ConfirmOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            strategy: StrategyKind::default(),
            found_in: None,
            runs: None,
            confidence: 0.95,
            hang_after: Duration::from_secs(30),
        }
    }
}

/// Runs near a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbourhood {
    /// The choices of the case up to some place, and others from there on.
    Prefixes,
    /// The scenario of the case, other choices.
    Schedules,
    /// Other scenarios of its family.
    Family,
}

impl Neighbourhood {
    /// All of them, the nearest first.
    pub const ALL: [Self; 3] = [Self::Prefixes, Self::Schedules, Self::Family];

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefixes => "prefixes",
            Self::Schedules => "schedules",
            Self::Family => "family",
        }
    }

    /// In words.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Prefixes => "the choices of the case up to some place, others from there on",
            Self::Schedules => "the scenario of the case, other choices",
            Self::Family => "other scenarios of its family",
        }
    }
}

/// What the runs of one neighbourhood showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// Which one.
    pub neighbourhood: Neighbourhood,
    /// Runs that showed nothing.
    pub clean: u64,
    /// With the confidence that was asked for, a run here shows a violation with less than this chance. 1 if one did.
    pub chance_below: f64,
    /// The first run that showed something, and its case. One that hangs has a case if a seed brings it back.
    pub broken: Option<(Finding, Option<Case>)>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmation {
    /// The rule that the case broke when it was made, if it says so.
    pub rule: Option<String>,
    /// What it breaks now.
    pub replay: Option<Finding>,
    /// The bug was found in one of so many runs, if that is known.
    pub found_in: Option<u64>,
    /// Clean runs that it takes in each neighbourhood, if it is known how rare the bug was.
    pub runs_needed: Option<u64>,
    /// The neighbourhoods, if the case is clean.
    pub surveyed: Vec<Surveyed>,
    /// Why some neighbourhood is missing.
    pub missing: Option<&'static str>,
    /// It was stopped before all was run.
    pub is_partial: bool,
}

impl Confirmation {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.replay.is_none() && self.surveyed.iter().all(|surveyed| surveyed.broken.is_none())
    }

    /// Whether every neighbourhood had as many clean runs as it takes.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        let enough = |needed| self.surveyed.iter().all(|surveyed| surveyed.clean >= needed);
        self.is_clean() && !self.surveyed.is_empty() && self.runs_needed.is_some_and(enough)
    }
}

/// Clean runs after which a bug that shows in one of `found_in` runs is ruled out with this confidence.
///
/// ```
/// assert_eq!(simvisor_sim::search::runs_needed(100, 0.95), 299); // the rule of three: about 3 times 100
/// ```
#[must_use]
pub fn runs_needed(found_in: u64, confidence: f64) -> u64 {
    if found_in < 2 {
        return 1; // a bug that every run shows is ruled out by one that does not
    }
    let chance = 1.0 / found_in as f64;
    let runs = (-confidence).ln_1p() / (-chance).ln_1p();
    if runs < 9e18 { runs.ceil().max(1.0) as u64 } else { u64::MAX }
}

/// The chance that is ruled out by so many clean runs.
///
/// ```
/// assert!(simvisor_sim::search::chance_below(299, 0.95) < 0.01);
/// assert!(simvisor_sim::search::chance_below(298, 0.95) > 0.01);
/// ```
#[must_use]
pub fn chance_below(clean: u64, confidence: f64) -> f64 {
    if clean == 0 {
        return 1.0;
    }
    -((-confidence).ln_1p() / clean as f64).exp_m1()
}

/// Runs of a neighbourhood where nothing says how many it takes.
const RUNS: u64 = 10_000;
/// And never more than this unless they are asked for.
const RUNS_MAX: u64 = 10_000_000;

/// Runs a case again and then its neighbourhoods. `watch` is told now and then which one is at how many of how many runs.
///
/// # Errors
/// If the choices of the case are not known, or it never ended.
pub fn confirm(
    case: &Case,
    options: &ConfirmOptions,
    stop: &AtomicBool,
    mut watch: impl FnMut(Neighbourhood, u64, u64),
) -> Result<Confirmation, ShrinkError> {
    if case.shown.verdict == HANG {
        return Err(ShrinkError::Hangs);
    }
    let found_in = options.found_in.or(case.origin.found_in);
    let (tape, replay) = match rerun(case, source_of(case)?, options) {
        Ok(tape) => (tape, None),
        Err(finding) => (Tape::new(), Some(finding)),
    };
    let mut confirmation = Confirmation {
        rule: case.shown.rule.clone(),
        replay,
        found_in,
        runs_needed: found_in.map(|found_in| runs_needed(found_in, options.confidence)),
        surveyed: Vec::new(),
        missing: None,
        is_partial: false,
    };
    if confirmation.replay.is_some() {
        return Ok(confirmation);
    }
    let enough = confirmation.runs_needed.unwrap_or(RUNS).min(RUNS_MAX);
    let runs = options.runs.unwrap_or(enough);
    // A tape that fits no more says nothing beyond the choices that were made of it.
    let tape = Arc::new(if tape.len() < case.tape.len() { tape } else { case.tape.clone() });
    let case = Arc::new(case.clone());
    for neighbourhood in Neighbourhood::ALL {
        let seeds = match (neighbourhood, family_seed(&case)) {
            (Neighbourhood::Family, None) => {
                confirmation.missing =
                    Some("the case does not come from a sweep, so it has no family of scenarios");
                continue;
            }
            (Neighbourhood::Family, Some(seed)) => of_family(seed, runs, stop),
            _ => Vec::new(),
        };
        let runs = if neighbourhood == Neighbourhood::Family { seeds.len() as u64 } else { runs };
        let (case, tape) = (Arc::clone(&case), Arc::clone(&tape));
        let survey = Survey { case, tape, neighbourhood, seeds, options: *options, runs };
        confirmation.surveyed.push(survey.carry_out(stop, |done| watch(neighbourhood, done, runs)));
        if stop.load(Ordering::Relaxed) {
            confirmation.is_partial = true;
            break;
        }
    }
    Ok(confirmation)
}

/// Runs a case again, on a thread that is left behind if the run hangs. Gives its choices, or what it breaks.
fn rerun(case: &Case, source: Source, options: &ConfirmOptions) -> Result<Tape, Finding> {
    let Case { origin, scenario, .. } = case;
    let (scenario, seed, strategy) = (scenario.clone(), origin.seed, origin.strategy.clone());
    let (sender, result) = mpsc::channel();
    let limits = options.limits;
    let case = case.clone();
    std::thread::spawn(move || {
        let mut ground = Ground { runner: Runner::for_case(&case, limits), ..Ground::new(limits) };
        let run = ground.run(scenario, source, seed, &strategy);
        // The receiver is gone only when the run counts as one that hangs.
        let _ = sender.send(run.map_err(|broken| broken.0));
    });
    match result.recv_timeout(options.hang_after) {
        Ok(run) => run,
        Err(RecvTimeoutError::Timeout) => Err(hang(options)),
        Err(RecvTimeoutError::Disconnected) => unreachable!("a panic of a run is caught"),
    }
}

fn hang(options: &ConfirmOptions) -> Finding {
    Finding { rule: HANG, message: hang_message(options.hang_after), at_ns: 0 }
}

/// The seed that wrote the scenario of a case, whatever shrinking has made of it.
fn family_seed(case: &Case) -> Option<u64> {
    let seed = case.origin.seed?;
    (case.origin.found_in.is_some() || generate(seed) == case.scenario).then_some(seed)
}

/// What scenarios of one family have in common: how they end, who takes part, and what happens to events.
#[derive(Debug, PartialEq, Eq)]
struct Family {
    mode: Mode,
    is_calm_at_last: bool,
    has_controller: bool,
    has_permits: bool,
    disorder: Disorder,
}

impl Family {
    fn of(scenario: &Scenario) -> Self {
        Self {
            mode: scenario.mode,
            is_calm_at_last: scenario.calm_at.is_some(),
            has_controller: scenario.config.controller.is_some(),
            has_permits: scenario.config.max_concurrent > 0,
            disorder: scenario.config.disorder,
        }
    }
}

/// The next seeds of the family of this one.
fn of_family(seed: u64, count: u64, stop: &AtomicBool) -> Vec<u64> {
    let family = Family::of(&generate(seed));
    let others = (1..).map(|further: u64| seed.wrapping_add(further));
    others
        .take_while(|_| !stop.load(Ordering::Relaxed))
        .filter(|&other| Family::of(&generate(other)) == family)
        .take(usize::try_from(count).unwrap_or(usize::MAX))
        .collect()
}

/// The runs of one neighbourhood.
struct Survey {
    case: Arc<Case>,
    tape: Arc<Tape>,
    neighbourhood: Neighbourhood,
    /// Of a family.
    seeds: Vec<u64>,
    options: ConfirmOptions,
    runs: u64,
}

/// A survey on all threads. It outlives them, for one that hangs cannot be waited for.
struct Shared {
    survey: Survey,
    next: AtomicU64,
    done: AtomicU64,
    /// The first run that showed something.
    first: AtomicU64,
    broken: Mutex<Option<(u64, Finding, Option<Case>)>>,
    stop: AtomicBool,
    posts: Posts,
}

impl Shared {
    fn work(&self, job: usize) {
        let mut ground = Ground::new(self.survey.options.limits);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let is_over = number >= self.survey.runs || number > self.first.load(Ordering::Relaxed);
            if is_over || self.stop.load(Ordering::Relaxed) {
                return;
            }
            match self.posts.at(job, number, || self.survey.one(&mut ground, number)) {
                Some((finding, case)) => self.found(number, finding, Some(case)),
                None => drop(self.done.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    fn found(&self, number: u64, finding: Finding, case: Option<Case>) {
        self.first.fetch_min(number, Ordering::Relaxed);
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.as_ref().is_none_or(|(known, ..)| number < *known) {
            *broken = Some((number, finding, case));
        }
    }
}

impl Survey {
    /// Every run before the first that shows something is run, on however many threads.
    fn carry_out(self, stop: &AtomicBool, mut watch: impl FnMut(u64)) -> Surveyed {
        let (neighbourhood, options) = (self.neighbourhood, self.options);
        let jobs = options.jobs.max(1);
        let shared = Arc::new(Shared {
            survey: self,
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            first: AtomicU64::new(u64::MAX),
            broken: Mutex::new(None),
            stop: AtomicBool::new(false),
            posts: Posts::new(jobs),
        });
        let (sender, ended) = mpsc::channel();
        for job in 0..jobs {
            let (shared, sender) = (Arc::clone(&shared), sender.clone());
            std::thread::spawn(move || {
                shared.work(job);
                // The receiver is gone only when this thread counts as one that hangs.
                let _ = sender.send(job);
            });
        }
        let mut working: Vec<usize> = (0..jobs).collect();
        while !working.is_empty() {
            if let Ok(job) = ended.recv_timeout(Duration::from_millis(5)) {
                working.retain(|&other| other != job);
            }
            shared.stop.fetch_or(stop.load(Ordering::Relaxed), Ordering::Relaxed);
            for (job, number) in shared.posts.hanging(&working, options.hang_after) {
                let finding = hang(&options);
                let case = shared.survey.case_of_hang(number, &finding.message);
                shared.found(number, finding, case);
                working.retain(|&other| other != job);
            }
            watch(shared.done.load(Ordering::Relaxed));
        }
        let broken = shared.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Those behind the first one that broke were luck of the threads.
        let clean = broken.as_ref().map_or(shared.done.load(Ordering::Relaxed), |(number, ..)| *number);
        watch(clean);
        Surveyed {
            neighbourhood,
            clean,
            chance_below: if broken.is_some() { 1.0 } else { chance_below(clean, options.confidence) },
            broken: broken.map(|(_, finding, case)| (finding, case)),
        }
    }

    /// The case of a run that hangs, if a seed brings it back: its choices are lost with its thread.
    fn case_of_hang(&self, number: u64, message: &str) -> Option<Case> {
        let strategy = self.options.strategy.name();
        match self.neighbourhood {
            Neighbourhood::Prefixes => None,
            Neighbourhood::Schedules => {
                Some(Case::unfinished(self.case.scenario.clone(), number, strategy, HANG, message))
            }
            Neighbourhood::Family => {
                let seed = self.seed_of_family(number);
                Some(Case::unfinished(generate(seed), seed, strategy, HANG, message))
            }
        }
    }

    fn seed_of_family(&self, number: u64) -> u64 {
        self.seeds[usize::try_from(number).expect("a place in a list")]
    }

    /// One run, and its case if it shows something.
    fn one(&self, ground: &mut Ground, number: u64) -> Option<(Finding, Case)> {
        let strategy = self.options.strategy;
        let (scenario, source, seed, name) = match self.neighbourhood {
            Neighbourhood::Prefixes => {
                let mut numbers = Numbers::new(number, Stream::Schedule);
                let length = u32::try_from(self.tape.len()).unwrap_or(u32::MAX - 1);
                let kept = numbers.below(length + 1) as usize;
                let rest = Rest::Random(Box::new(numbers));
                let source = ground.following(self.tape[..kept].to_vec(), rest);
                (self.case.scenario.clone(), source, None, "prefix")
            }
            Neighbourhood::Schedules => {
                (self.case.scenario.clone(), seeded(number, strategy), Some(number), strategy.name())
            }
            Neighbourhood::Family => {
                let seed = self.seed_of_family(number);
                (generate(seed), seeded(seed, strategy), Some(seed), strategy.name())
            }
        };
        ground.broken(scenario, source, seed, name)
    }
}

/// Where runs are made.
struct Ground {
    runner: Runner,
    pilot: Arc<Mutex<Pilot>>,
    limits: Limits,
}

impl Ground {
    fn new(limits: Limits) -> Self {
        Self { runner: Runner::new(limits), pilot: Arc::new(Mutex::new(Pilot::new())), limits }
    }

    fn following(&self, tape: Tape, rest: Rest) -> Source {
        self.pilot.lock().unwrap_or_else(PoisonError::into_inner).follow(tape, rest);
        Source::Guided(Arc::clone(&self.pilot) as _)
    }

    /// What a run breaks first, and its case; of a clean run, its choices.
    fn run(
        &mut self,
        scenario: Scenario,
        source: Source,
        seed: Option<u64>,
        strategy: &str,
    ) -> Result<Tape, Box<(Finding, Case)>> {
        match catch_unwind(AssertUnwindSafe(|| self.runner.judge(&scenario, source))) {
            Ok(judged) => match judged.findings.first().cloned() {
                None => Ok(judged.tape),
                Some(finding) => {
                    Err(Box::new((finding, CaseRun { scenario, judged }.into_case(seed, strategy))))
                }
            },
            Err(payload) => {
                let message = format!("the run panicked: {}", panic_message(&*payload));
                let mut case =
                    Case::unfinished(scenario, seed.unwrap_or_default(), strategy, PANIC, &message);
                let violation = self.runner.first_violation();
                case.tape = std::mem::replace(&mut self.runner, Runner::new(self.limits)).cut_off();
                Err(Box::new((violation.unwrap_or(Finding { rule: PANIC, message, at_ns: 0 }), case)))
            }
        }
    }

    /// As [`Ground::run`], where only what is broken matters.
    fn broken(
        &mut self,
        scenario: Scenario,
        source: Source,
        seed: Option<u64>,
        strategy: &str,
    ) -> Option<(Finding, Case)> {
        match self.run(scenario, source, seed, strategy) {
            Ok(tape) => {
                self.runner.recycle(tape);
                None
            }
            Err(broken) => Some(*broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_runs_as_needed_bound_the_chance_and_one_fewer_does_not() {
        for found_in in [2_u64, 3, 10, 1_000, 123_456] {
            for confidence in [0.5, 0.9, 0.95, 0.999] {
                let runs = runs_needed(found_in, confidence);
                let chance = 1.0 / found_in as f64;
                assert!(chance_below(runs, confidence) <= chance * (1.0 + 1e-9), "{found_in} {confidence}");
                assert!(runs == 1 || chance_below(runs - 1, confidence) > chance, "{found_in} {confidence}");
            }
        }
        assert_eq!(runs_needed(1, 0.95), 1);
        assert_eq!(chance_below(0, 0.95), 1.0);
    }

    #[test]
    fn a_family_is_many_seeds_and_not_all() {
        let stop = AtomicBool::new(false);
        let seeds = of_family(7, 50, &stop);
        assert_eq!(seeds.len(), 50);
        let family = Family::of(&generate(7));
        assert!(seeds.iter().all(|&seed| Family::of(&generate(seed)) == family));
        let span = seeds[49] - 7;
        assert!(span > 50, "other families are left out");
    }

    /// A run of these takes far longer than anybody has patience for: no time passes, and nobody calls that a livelock.
    fn endless() -> (Case, ConfirmOptions) {
        let text =
            "[[task]]\nname = \"a\"\nstart = true\nrestart = { always = {} }\nscript = [{ run = \"0s\" }]\n";
        let scenario = crate::scenario::from_toml(text).expect("a scenario");
        let limits = Limits { turns_per_instant_max: 4_000_000, turns_max: 4_000_000, ..Limits::default() };
        let hang_after = Duration::from_millis(40);
        let options =
            ConfirmOptions { limits, jobs: 2, runs: Some(4), hang_after, ..ConfirmOptions::default() };
        (Case::unfinished(scenario, 0, StrategyKind::Fifo.name(), PANIC, "on purpose"), options)
    }

    #[test]
    fn a_case_that_hangs_is_told_and_its_neighbourhood_is_left_alone() {
        let (case, options) = endless();
        let stop = AtomicBool::new(false);
        let found = confirm(&case, &options, &stop, |_, _, _| ()).expect("it can be run");
        assert_eq!(found.replay, Some(hang(&options)));
        assert!(found.surveyed.is_empty() && !found.is_clean());
    }

    #[test]
    fn a_run_that_hangs_ends_a_survey_and_is_brought_back_by_its_seed() {
        let (case, options) = endless();
        let survey = |neighbourhood| Survey {
            case: Arc::new(case.clone()),
            tape: Arc::default(),
            neighbourhood,
            seeds: Vec::new(),
            options,
            runs: 4,
        };
        let surveyed = |neighbourhood| survey(neighbourhood).carry_out(&AtomicBool::new(false), |_| ());
        let Surveyed { clean, chance_below, broken, .. } = surveyed(Neighbourhood::Schedules);
        let (finding, kept) = broken.expect("it hangs");
        assert_eq!((clean, chance_below, finding), (0, 1.0, hang(&options)));
        let kept = kept.expect("a seed brings it back");
        assert_eq!((kept.origin.seed, kept.shown.verdict.as_str()), (Some(0), HANG));
        assert_eq!(kept.scenario, case.scenario);
        let (_, kept) = surveyed(Neighbourhood::Prefixes).broken.expect("it hangs");
        assert_eq!(kept, None, "its choices are lost");
    }
}
