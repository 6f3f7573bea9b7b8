//! Every schedule of a small world, on all cores, judged like any run.
//!
//! A thread works on a part of all schedules and gives half of what is left away when another has nothing to do. What
//! is counted does not depend on who did what. An exploration can be stopped and gone on with later.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::judge::{CaseRun, Finding, Judged, Runner, Seen};
pub use super::odometer::{Bounds, Reduction};
use super::odometer::{Contested, Frontier, Odometer};
use super::outcome::Outcome;
use super::replayed;
use super::sweep::{NONDETERMINISM, PANIC, panic_message};
use super::unseen::Unseen;
use crate::case::Case;
use crate::choice::{Fit, Source};
use crate::rng::{Numbers, Stream};
use crate::scenario::Scenario;
use crate::world::Limits;

/// How to explore.
#[derive(Debug, Clone, Copy)]
pub struct ExploreOptions {
    /// How far schedules may be from the plain one.
    pub bounds: Bounds,
    /// Whether orders that come to the same are left out.
    pub reduction: Reduction,
    /// Threads.
    pub jobs: usize,
    /// When a world is given up.
    pub limits: Limits,
    /// Stop after about this many runs.
    pub runs_max: u64,
}

impl Default for ExploreOptions {
    fn default() -> Self {
        Self {
            bounds: Bounds::default(),
            reduction: Reduction::default(),
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            limits: Limits::default(),
            runs_max: u64::MAX,
        }
    }
}

/// Format name of a state file.
const FORMAT: &str = "simvisor-exploration";

/// Version of the state format.
const VERSION: u32 = 2;

/// How far an exploration has come, and what it showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exploration {
    /// Format name.
    pub format: String,
    /// Version of the format.
    pub version: u32,
    /// Version of simvisor that made it.
    pub simvisor: String,
    /// Hash of the scenario.
    pub scenario: u64,
    /// What was bounded.
    pub bounds: Bounds,
    /// What was left out.
    pub reduction: Reduction,
    /// Schedules that were run to their end.
    pub schedules: u64,
    /// Runs that were given up, because all that they could still come to is that of another.
    pub pruned: u64,
    /// Turns of the executor in all.
    pub turns: u64,
    /// How many schedules broke each rule.
    pub broken: BTreeMap<String, u64>,
    /// For each rule that was broken, the plainest case so far.
    pub cases: BTreeMap<String, Case>,
    /// The final states, hashed.
    pub states: FxHashSet<u64>,
    /// The behaviours, hashed.
    pub behaviours: FxHashSet<u64>,
    /// Timers that may be late.
    contested: Contested,
    /// What is left to do.
    left: Vec<Frontier>,
}

/// Why an exploration cannot be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another format or version.
    #[error("format `{format}`, version {version}; expected `{FORMAT}`, version {VERSION}")]
    Format {
        /// Its format.
        format: String,
        /// Its version.
        version: u32,
    },
    /// Another simvisor made it, for which choices may mean something else.
    #[error("simvisor {0} made it, and this is {version}", version = env!("CARGO_PKG_VERSION"))]
    Simvisor(String),
    /// It is of another scenario.
    #[error("it is of another scenario, or the scenario has changed")]
    Scenario,
    /// It has other bounds.
    #[error("it has other bounds, or leaves out other orders")]
    Bounds,
}

impl Exploration {
    /// Nothing explored so far.
    #[must_use]
    pub fn new(scenario: &Scenario, options: &ExploreOptions) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            simvisor: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: identity(scenario),
            bounds: options.bounds,
            reduction: options.reduction,
            schedules: 0,
            pruned: 0,
            turns: 0,
            broken: BTreeMap::new(),
            cases: BTreeMap::new(),
            states: FxHashSet::default(),
            behaviours: FxHashSet::default(),
            contested: Contested::default(),
            left: vec![Frontier::default()],
        }
    }

    /// Begins again, because more timers may be late than was known. Gives false if there are none.
    fn begin_again(&mut self, scenario: &Scenario, options: &ExploreOptions, shares: &[Share]) -> bool {
        let mut contested = self.contested.clone();
        shares.iter().for_each(|share| contested.add_all(&share.contested));
        let is_more = contested != self.contested;
        if is_more {
            *self = Self { contested, ..Self::new(scenario, options) };
        }
        is_more
    }

    /// Whether there is nothing left to do.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether it can be gone on with.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&self, scenario: &Scenario, options: &ExploreOptions) -> Result<(), StateError> {
        if self.format != FORMAT || self.version != VERSION {
            return Err(StateError::Format { format: self.format.clone(), version: self.version });
        }
        if self.simvisor != env!("CARGO_PKG_VERSION") {
            return Err(StateError::Simvisor(self.simvisor.clone()));
        }
        if self.scenario != identity(scenario) {
            return Err(StateError::Scenario);
        }
        if self.bounds != options.bounds || self.reduction != options.reduction {
            return Err(StateError::Bounds);
        }
        Ok(())
    }

    fn add(&mut self, share: Share) {
        self.schedules += share.schedules;
        self.pruned += share.pruned;
        self.turns += share.turns;
        for (rule, count) in share.broken {
            *self.broken.entry(rule).or_default() += count;
        }
        for (rule, case) in share.cases {
            keep_plainest(&mut self.cases, rule, case);
        }
        self.states.extend(share.states);
        self.behaviours.extend(share.behaviours);
    }
}

fn identity(scenario: &Scenario) -> u64 {
    xxh3_64(&serde_json::to_vec(scenario).expect("a scenario is plain data"))
}

/// Of two cases for a rule, the one with the fewer choices that are not zero, then the shorter one.
fn keep_plainest(cases: &mut BTreeMap<String, Case>, rule: String, case: Case) {
    let plainness = |case: &Case| {
        let values: Vec<u32> = case.tape.iter().map(|choice| choice.value).collect();
        (values.iter().filter(|&&value| value > 0).count(), values.len(), values)
    };
    match cases.get(&rule) {
        Some(kept) if plainness(kept) <= plainness(&case) => {}
        _ => {
            cases.insert(rule, case);
        }
    }
}

/// How far an exploration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExploreProgress {
    /// Runs, those that were given up included.
    pub runs: u64,
}

/// An estimate of how many runs an exploration takes, from `dives` random ones. It is right on average and can be far
/// off for one world.
#[must_use]
pub fn estimate(scenario: &Scenario, options: &ExploreOptions, dives: u32) -> f64 {
    let mut runner = Runner::new(options.limits);
    let odometer =
        Arc::new(Mutex::new(Odometer::new(options.bounds, options.reduction, Frontier::default())));
    // What steps touch is learned first, for an order that is left out is not counted.
    let learning = dives / 4;
    let mut sum = 0.0;
    for dive in 0..learning + dives {
        lock(&odometer).dive(Numbers::new(u64::from(dive), Stream::Schedule));
        let run = catch_unwind(AssertUnwindSafe(|| runner.judge(scenario, Source::Guided(odometer.clone()))));
        match run {
            Ok(judged) => runner.recycle(judged.tape),
            Err(_) => runner = Runner::new(options.limits),
        }
        let estimate = lock(&odometer).surface();
        sum += if dive < learning { 0.0 } else { estimate };
    }
    sum / f64::from(dives.max(1))
}

/// Goes on with an exploration until it is complete, `stop` is set or enough was run. `watch` is called now and then
/// from the calling thread.
pub fn explore(
    scenario: &Scenario,
    options: &ExploreOptions,
    exploration: &mut Exploration,
    stop: &AtomicBool,
    mut watch: impl FnMut(ExploreProgress),
) {
    let runs = AtomicU64::new(0);
    loop {
        let pool = Pool {
            work: Mutex::new(Work { parts: std::mem::take(&mut exploration.left), busy: 0 }),
            change: Condvar::new(),
            hungry: AtomicUsize::new(0),
            runs: &runs,
            stop,
            runs_max: options.runs_max,
            contested: exploration.contested.clone(),
            is_outdated: AtomicBool::new(false),
        };
        let shares = pool.share_out(scenario, options, &mut watch);
        if exploration.begin_again(scenario, options, &shares) {
            continue;
        }
        shares.into_iter().for_each(|share| exploration.add(share));
        exploration.left = pool.work.into_inner().unwrap_or_else(PoisonError::into_inner).parts;
        return;
    }
}

/// What is left to do, for all threads.
struct Pool<'a> {
    work: Mutex<Work>,
    change: Condvar,
    /// How many threads wait for work.
    hungry: AtomicUsize,
    runs: &'a AtomicU64,
    stop: &'a AtomicBool,
    runs_max: u64,
    contested: Contested,
    /// More timers may be late than was known.
    is_outdated: AtomicBool,
}

struct Work {
    parts: Vec<Frontier>,
    /// How many threads have a part in hand.
    busy: usize,
}

/// What one thread adds.
#[derive(Default)]
struct Share {
    schedules: u64,
    pruned: u64,
    turns: u64,
    broken: BTreeMap<String, u64>,
    cases: BTreeMap<String, Case>,
    states: FxHashSet<u64>,
    behaviours: FxHashSet<u64>,
    contested: Contested,
}

impl Share {
    fn count(&mut self, pruned: bool) {
        *if pruned { &mut self.pruned } else { &mut self.schedules } += 1;
    }
}

/// A thread that works. The last that leaves wakes whoever watches.
struct AtWork<'a> {
    count: &'a AtomicUsize,
    watcher: &'a std::thread::Thread,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::Release) == 1 {
            self.watcher.unpark();
        }
    }
}

/// How long an exploration goes on before it is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// A thread looks this often whether another wants work.
const RUNS_PER_LOOK: u64 = 64;

impl Pool<'_> {
    /// All threads work until there is nothing more to do.
    fn share_out(
        &self,
        scenario: &Scenario,
        options: &ExploreOptions,
        watch: &mut impl FnMut(ExploreProgress),
    ) -> Vec<Share> {
        let (watcher, jobs) = (std::thread::current(), options.jobs.max(1));
        let at_work = AtomicUsize::new(jobs);
        std::thread::scope(|scope| {
            let labour = || {
                let _leave = AtWork { count: &at_work, watcher: &watcher };
                self.labour(scenario, options)
            };
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(labour)).collect();
            while at_work.load(Ordering::Acquire) > 0 {
                std::thread::park_timeout(WATCH_EVERY);
                watch(ExploreProgress { runs: self.runs.load(Ordering::Relaxed) });
            }
            threads.into_iter().map(|thread| thread.join().expect("what runs do is caught")).collect()
        })
    }

    fn is_over(&self) -> bool {
        self.is_outdated.load(Ordering::Relaxed)
            || self.stop.load(Ordering::Relaxed)
            || self.runs.load(Ordering::Relaxed) >= self.runs_max
    }

    /// The next part, once there is one; `None` when all is done.
    fn take(&self) -> Option<Frontier> {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        self.hungry.fetch_add(1, Ordering::Relaxed);
        let part = loop {
            if self.is_over() {
                break None;
            }
            if let Some(part) = work.parts.pop() {
                work.busy += 1;
                break Some(part);
            }
            if work.busy == 0 {
                break None;
            }
            work = self.change.wait(work).unwrap_or_else(PoisonError::into_inner);
        };
        self.hungry.fetch_sub(1, Ordering::Relaxed);
        part
    }

    fn give(&self, part: Frontier) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).parts.push(part);
        self.change.notify_one();
    }

    /// A part is done, or given back.
    fn put_down(&self, rest: Option<Frontier>) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.busy -= 1;
        work.parts.extend(rest);
        self.change.notify_all();
    }

    fn labour(&self, scenario: &Scenario, options: &ExploreOptions) -> Share {
        let mut worker = Worker::new(options);
        let scenario = Rc::new(scenario.clone());
        lock(&worker.odometer).contested = self.contested.clone();
        while let Some(part) = self.take() {
            lock(&worker.odometer).frontier = part;
            let (mut runs, mut is_new) = (0, true);
            let rest = loop {
                worker.run(&scenario, options);
                runs += 1;
                let mut odometer = lock(&worker.odometer);
                if odometer.has_news {
                    self.is_outdated.store(true, Ordering::Relaxed);
                    break None;
                }
                if !odometer.frontier.advance() {
                    break None;
                }
                if runs == RUNS_PER_LOOK || is_new {
                    is_new = false;
                    self.runs.fetch_add(std::mem::take(&mut runs), Ordering::Relaxed);
                    if self.is_over() {
                        break Some(std::mem::take(&mut odometer.frontier));
                    }
                    if self.hungry.load(Ordering::Relaxed) > 0
                        && let Some(part) = odometer.frontier.split()
                    {
                        self.give(part);
                    }
                }
            };
            self.runs.fetch_add(runs, Ordering::Relaxed);
            self.put_down(rest);
        }
        worker.share.contested = lock(&worker.odometer).contested.clone();
        worker.share
    }
}

struct Worker {
    runner: Runner,
    odometer: Arc<Mutex<Odometer>>,
    outcome: Rc<RefCell<Outcome>>,
    unseen: Rc<RefCell<Unseen>>,
    share: Share,
}

impl Worker {
    fn new(options: &ExploreOptions) -> Self {
        let odometer = Odometer::new(options.bounds, options.reduction, Frontier::default());
        Self::on(&Arc::new(Mutex::new(odometer)), options)
    }

    fn on(odometer: &Arc<Mutex<Odometer>>, options: &ExploreOptions) -> Self {
        let (runner, outcome) = (Runner::new(options.limits), Rc::<RefCell<Outcome>>::default());
        let unseen = runner.unseen(Rc::clone(&outcome) as _);
        Self { runner, odometer: Arc::clone(odometer), outcome, unseen, share: Share::default() }
    }

    fn run(&mut self, scenario: &Rc<Scenario>, options: &ExploreOptions) {
        lock(&self.odometer).rewind();
        let source = Source::Guided(self.odometer.clone());
        let run = catch_unwind(AssertUnwindSafe(|| self.runner.judge_unseen(scenario, source, &self.unseen)));
        let (pruned, diverged) = {
            let odometer = lock(&self.odometer);
            (odometer.pruned, odometer.diverged)
        };
        let seen = match run {
            Ok(seen) => seen,
            Err(payload) => {
                // The old one is in an unknown state.
                *self = Self { share: std::mem::take(&mut self.share), ..Self::on(&self.odometer, options) };
                self.share.schedules += 1;
                let message = format!("the run panicked: {}", panic_message(&*payload));
                let case = Case::unfinished(Scenario::clone(scenario), 0, "explore", PANIC, &message);
                *self.share.broken.entry(PANIC.to_owned()).or_default() += 1;
                keep_plainest(&mut self.share.cases, PANIC.to_owned(), case);
                return;
            }
        };
        let (Seen::First(Judged { turns, stray_wake, .. }) | Seen::Before { turns, stray_wake, .. }) = &seen;
        self.share.turns += turns;
        let is_nondeterministic = diverged || *stray_wake;
        let mut judged = match seen {
            Seen::First(judged) => judged,
            Seen::Before { tape, .. } if is_nondeterministic => {
                self.runner.judge(scenario, replayed(tape, Fit::Lenient))
            }
            Seen::Before { tape, .. } => {
                self.share.count(pruned);
                self.runner.recycle(tape);
                return;
            }
        };
        if is_nondeterministic {
            let message = "a run did not offer the choices that it offered before".to_owned();
            judged.findings.insert(0, Finding { rule: NONDETERMINISM, message, at_ns: judged.time_ns });
        } else if pruned {
            self.share.count(pruned);
            self.runner.recycle(judged.tape);
            return;
        }
        self.share.count(false);
        let outcome = self.outcome.borrow();
        self.share.states.insert(outcome.state());
        self.share.behaviours.insert(outcome.behaviour());
        drop(outcome);
        match judged.findings.first() {
            None => {
                self.unseen.borrow_mut().keep_clean();
                self.runner.recycle(judged.tape);
            }
            Some(finding) => self.broken(finding.rule.to_owned(), scenario, judged),
        }
    }

    fn broken(&mut self, rule: String, scenario: &Scenario, judged: Judged) {
        *self.share.broken.entry(rule.clone()).or_default() += 1;
        let case = CaseRun { scenario: scenario.clone(), judged }.into_case(None, "explore");
        keep_plainest(&mut self.share.cases, rule, case);
    }
}

fn lock(odometer: &Mutex<Odometer>) -> std::sync::MutexGuard<'_, Odometer> {
    odometer.lock().unwrap_or_else(PoisonError::into_inner)
}
