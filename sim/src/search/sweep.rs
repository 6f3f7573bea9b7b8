//! A sweep: seed after seed on all cores, one world per thread, no state in common.
//!
//! What a seed shows does not depend on the sweep it is part of. A sample of the seeds is run twice and compared,
//! choices, trace and verdict. A panic and a hang are findings like any other: the seed is known, so the case is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::canary::{UNNOTICED, has_canary};
use super::judge::{Finding, Judged, Runner, Verdict};
use super::novelty::Novelty;
use super::posts::{Posts, hang_message};
use super::replayed;
use crate::case::Case;
use crate::choice::{Fit, Tape};
use crate::oracle::RULES;
use crate::scenario::generate;
use crate::schedule::StrategyKind;
use crate::world::Limits;

/// What to sweep, and how.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// How choices are drawn.
    pub strategy: StrategyKind,
    /// Where case files go.
    pub out: PathBuf,
    /// The sweep stops after this many failing seeds.
    pub failures_max: usize,
    /// One in this many seeds is run twice and compared; 0 for none.
    pub recheck_every: u64,
    /// A seed that takes longer than this in real time is a hang.
    pub hang_after: Duration,
    /// When a world is given up.
    pub limits: Limits,
    /// Whether the report lists the trace hash of every seed.
    pub keep_hashes: bool,
    /// A violation is planted in the seeds that [have a canary](has_canary): the proof that one reaches the judges,
    /// the report, the case file and the exit code.
    pub canary: bool,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            first_seed: 0,
            seeds: 10_000,
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            strategy: StrategyKind::default(),
            out: PathBuf::from("simvisor-cases"),
            failures_max: 100,
            recheck_every: 64,
            hang_after: Duration::from_secs(30),
            limits: Limits::default(),
            keep_hashes: false,
            canary: false,
        }
    }
}

/// A seed that showed something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedFailure {
    /// The seed.
    pub seed: u64,
    /// The rule that was broken first, or `panic`, `hang`, `nondeterminism`.
    pub rule: String,
    /// What happened.
    pub message: String,
    /// Virtual time of the violation in nanoseconds, if there is one.
    pub at_ns: Option<u64>,
    /// The case file.
    pub case: PathBuf,
}

impl SeedFailure {
    /// Whether the engine itself is at fault.
    #[must_use]
    pub fn is_engine_fault(&self) -> bool {
        [NONDETERMINISM, UNNOTICED].contains(&&*self.rule)
    }
}

/// Rule and verdict of a run that panicked.
pub const PANIC: &str = "panic";
/// Rule and verdict of a run that did not come back to the executor.
pub const HANG: &str = "hang";
/// Rule of a seed whose runs differ.
pub const NONDETERMINISM: &str = "nondeterminism";

/// What a sweep found.
#[derive(Debug, Clone, Default)]
pub struct SweepReport {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that were run twice and compared.
    pub rechecked: u64,
    /// Real time.
    pub elapsed: Duration,
    /// Events that were published.
    pub events: u64,
    /// Choices that were made.
    pub choices: u64,
    /// Runs: more than seeds where a seed is a campaign. Those that only counted steps are not among them.
    pub runs: u64,
    /// How worlds ended, in the order of [`Verdict::ALL`].
    pub verdicts: [u64; 4],
    /// Seeds in which only one of the two judges, rules and monitor, found something.
    pub judges_differ: u64,
    /// Seeds in which a violation was planted.
    pub canaries: u64,
    /// How often each rule was put to the test, in the order of [`RULES`].
    pub witnesses: Vec<u64>,
    /// What the seeds have shown.
    pub novelty: Novelty,
    /// How many seeds broke each rule.
    pub broken: Vec<u64>,
    /// Seeds that showed something, by seed.
    pub failures: Vec<SeedFailure>,
    /// The sweep stopped because of `failures_max`.
    pub stopped_early: bool,
    /// Trace hash of each seed, by seed, if they were asked for.
    pub hashes: Vec<(u64, u64)>,
}

/// Why a sweep could not be carried out.
#[derive(Debug, Error)]
pub enum SweepError {
    /// A case file could not be written; what it would have shown is in the text.
    #[error("seed {seed:#x} showed `{rule}` ({message}), but its case cannot be written to {path}: {why}")]
    Write {
        /// The seed.
        seed: u64,
        /// The rule that was broken.
        rule: String,
        /// What happened.
        message: String,
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
}

/// How far a sweep has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Seeds done.
    pub seeds: u64,
    /// Failing seeds.
    pub failures: usize,
}

/// Seeds are handed out in blocks of this many.
const BLOCK: u64 = 16;

/// Runs a sweep. `watch` is called now and then from the calling thread.
///
/// # Errors
/// If a case file cannot be written.
pub fn sweep(options: &SweepOptions, mut watch: impl FnMut(Progress)) -> Result<SweepReport, SweepError> {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let jobs = options.jobs.max(1);
    // Threads that hang can neither be joined nor borrow from this frame, so they share what outlives it.
    let shared =
        std::sync::Arc::new(Shared { options: options.clone(), next, done, stop, posts: Posts::new(jobs) });
    let (sender, results) = mpsc::channel();
    for job in 0..jobs {
        let (shared, sender) = (std::sync::Arc::clone(&shared), sender.clone());
        std::thread::spawn(move || sender.send(Message::Share(job, Box::new(shared.work(job, &sender)))));
    }
    drop(sender);

    let mut report = SweepReport {
        witnesses: vec![0; RULES.len()],
        broken: vec![0; RULES.len()],
        ..SweepReport::default()
    };
    let mut working: Vec<usize> = (0..jobs).collect();
    while !working.is_empty() {
        match results.recv_timeout(Duration::from_millis(100)) {
            Ok(Message::Share(job, share)) => {
                report.add(&share);
                working.retain(|&other| other != job);
            }
            Ok(Message::Failure(failure)) => {
                report.failures.push(write_case(options, *failure)?);
                if report.failures.len() >= options.failures_max {
                    shared.stop.store(true, Ordering::Relaxed);
                    report.stopped_early = true;
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        for (job, number) in shared.posts.hanging(&working, options.hang_after) {
            report.failures.push(write_case(options, hang(options, shared.seed_of(number)))?);
            working.retain(|&other| other != job);
        }
        watch(Progress { seeds: shared.done.load(Ordering::Relaxed), failures: report.failures.len() });
    }
    while let Ok(message) = results.try_recv() {
        match message {
            Message::Share(_, share) => report.add(&share),
            Message::Failure(failure) => report.failures.push(write_case(options, *failure)?),
        }
    }
    report.failures.sort_by_key(|failure| failure.seed);
    report.hashes.sort_unstable();
    for failure in &report.failures {
        if let Some(rule) = RULES.iter().position(|rule| rule.id == failure.rule) {
            report.broken[rule] += 1;
        }
    }
    report.elapsed = began.elapsed();
    Ok(report)
}

/// What is added to a seed's own run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Nothing,
    Canary,
}

struct Shared {
    options: SweepOptions,
    next: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
    posts: Posts,
}

enum Message {
    Failure(Box<Failure>),
    Share(usize, Box<Share>),
}

/// A failing seed before its case is written.
struct Failure {
    seed: u64,
    rule: String,
    message: String,
    at_ns: Option<u64>,
    case: Case,
}

/// What one thread adds to the report.
#[derive(Default)]
struct Share {
    seeds: u64,
    rechecked: u64,
    events: u64,
    choices: u64,
    runs: u64,
    verdicts: [u64; 4],
    judges_differ: u64,
    canaries: u64,
    witnesses: Vec<u64>,
    novelty: Novelty,
    hashes: Vec<(u64, u64)>,
}

impl SweepReport {
    fn add(&mut self, share: &Share) {
        self.seeds += share.seeds;
        self.rechecked += share.rechecked;
        self.events += share.events;
        self.choices += share.choices;
        self.runs += share.runs;
        self.judges_differ += share.judges_differ;
        self.canaries += share.canaries;
        self.novelty.merge(&share.novelty);
        self.verdicts.iter_mut().zip(share.verdicts).for_each(|(sum, count)| *sum += count);
        self.witnesses.iter_mut().zip(&share.witnesses).for_each(|(sum, count)| *sum += count);
        self.hashes.extend(&share.hashes);
    }
}

impl Shared {
    fn seed_of(&self, number: u64) -> u64 {
        self.options.first_seed.wrapping_add(number)
    }

    fn work(&self, job: usize, sender: &mpsc::Sender<Message>) -> Share {
        let mut share = Share { witnesses: vec![0; RULES.len()], ..Share::default() };
        let mut runner = self.runner(Planted::Nothing);
        let mut liar = self.runner(Planted::Canary);
        loop {
            let block = self.next.fetch_add(BLOCK, Ordering::Relaxed);
            for number in block..(block.saturating_add(BLOCK)).min(self.options.seeds) {
                if self.stop.load(Ordering::Relaxed) {
                    return share;
                }
                let planted = self.planted(number);
                let runner = match planted {
                    Planted::Nothing => &mut runner,
                    Planted::Canary => &mut liar,
                };
                let failure = self.posts.at(job, number, || self.one(number, planted, runner, &mut share));
                if let Some(failure) = failure {
                    // The receiver is gone only when the sweep itself has failed.
                    let _ = sender.send(Message::Failure(Box::new(failure)));
                }
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            if block >= self.options.seeds {
                return share;
            }
        }
    }

    fn planted(&self, number: u64) -> Planted {
        match self.options.canary && has_canary(self.seed_of(number)) {
            true => Planted::Canary,
            false => Planted::Nothing,
        }
    }

    fn runner(&self, planted: Planted) -> Runner {
        let runner = Runner::new(self.options.limits).with_coverage();
        match planted {
            Planted::Nothing => runner,
            Planted::Canary => runner.with_canary(),
        }
    }

    /// Runs one seed.
    fn one(&self, number: u64, planted: Planted, runner: &mut Runner, share: &mut Share) -> Option<Failure> {
        let seed = self.seed_of(number);
        let strategy = self.options.strategy;
        share.seeds += 1;
        let run = match catch_unwind(AssertUnwindSafe(|| runner.seed(seed, strategy))) {
            Ok(run) => run,
            Err(payload) => {
                // The old one is in an unknown state.
                let tape = std::mem::replace(runner, self.runner(planted)).cut_off();
                let violation = self.found_before_panic(seed, planted, &tape);
                let mut failure = panicked(&self.options, seed, &*payload, violation);
                failure.case.tape = tape;
                return Some(failure);
            }
        };
        share.events += run.judged.events;
        share.choices += run.judged.tape.len() as u64;
        share.runs += runner.runs();
        share.verdicts[run.judged.verdict as usize] += 1;
        match planted {
            Planted::Nothing => share.judges_differ += u64::from(run.judged.judges_differ),
            Planted::Canary => share.canaries += 1,
        }
        runner.add_witnesses(&mut share.witnesses);
        runner.add_coverage(&mut share.novelty);
        if self.options.keep_hashes {
            share.hashes.push((seed, run.judged.trace_hash));
        }

        let recheck = self.options.recheck_every > 0 && number.is_multiple_of(self.options.recheck_every);
        let differs = recheck.then(|| runner.seed(seed, strategy)).and_then(|again| {
            share.rechecked += 1;
            first_difference(&run.judged, &again.judged)
        });
        let (rule, message, at_ns) = match (differs, run.judged.findings.first()) {
            (Some(difference), _) => (NONDETERMINISM, difference, None),
            (None, _) if run.judged.stray_wake => {
                let message = "a waker of this world was used on another thread".to_owned();
                (NONDETERMINISM, message, None)
            }
            (None, Some(Finding { rule, message, at_ns })) => (*rule, message.clone(), Some(*at_ns)),
            (None, None) => {
                runner.recycle(run.judged.tape);
                return None;
            }
        };
        let rule = rule.to_owned();
        Some(Failure { seed, rule, message, at_ns, case: run.into_case(Some(seed), strategy.name()) })
    }

    /// What the judges find in a run that panics, before it does. They are asked in a run of its own: the first may have
    /// panicked while it counted steps for its strategy, when nobody judges.
    fn found_before_panic(&self, seed: u64, planted: Planted, tape: &Tape) -> Option<Finding> {
        let mut runner = self.runner(planted);
        let again = || runner.judge(&generate(seed), replayed(tape.clone(), Fit::Lenient));
        let _ = catch_unwind(AssertUnwindSafe(again));
        runner.first_violation()
    }
}

/// How two runs of one input differ: choices, trace and verdict.
pub(crate) fn first_difference(one: &Judged, other: &Judged) -> Option<String> {
    if let Some(index) =
        (0..one.tape.len().max(other.tape.len())).find(|&i| one.tape.get(i) != other.tape.get(i))
    {
        let shown = |judged: &Judged| match judged.tape.get(index) {
            Some(choice) => format!("{} = {} of {}", choice.site.name(), choice.value, choice.arity),
            None => "no more choices".to_owned(),
        };
        return Some(format!(
            "two runs of this input differ at choice {index}: {}, then {}",
            shown(one),
            shown(other)
        ));
    }
    if one.trace_hash != other.trace_hash {
        let (one, other) = (one.trace_hash, other.trace_hash);
        return Some(format!(
            "two runs of this input made the same choices and other traces: {one:#018x}, {other:#018x}"
        ));
    }
    if one.verdict != other.verdict || one.findings != other.findings {
        return Some("two runs of this input made the same trace and were judged differently".to_owned());
    }
    None
}

/// A case that has no tape: the seed writes it anew.
fn case_of_seed(options: &SweepOptions, seed: u64, verdict: &str, message: &str) -> Case {
    Case::unfinished(generate(seed), seed, options.strategy.name(), verdict, message)
}

/// The message of a panic, as far as it has one.
#[must_use]
pub fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// A rule that was broken before the panic says more than the panic.
fn panicked(
    options: &SweepOptions,
    seed: u64,
    payload: &(dyn std::any::Any + Send),
    violation: Option<Finding>,
) -> Failure {
    let panic = format!("the run panicked: {}", panic_message(payload));
    let (rule, message, at_ns) = match violation {
        Some(Finding { rule, message, at_ns }) => (rule, format!("{message}; then {panic}"), Some(at_ns)),
        None => (PANIC, panic, None),
    };
    let case = case_of_seed(options, seed, PANIC, &message);
    Failure { seed, rule: rule.to_owned(), message, at_ns, case }
}

fn hang(options: &SweepOptions, seed: u64) -> Failure {
    let message = hang_message(options.hang_after);
    let case = case_of_seed(options, seed, HANG, &message);
    Failure { seed, rule: HANG.to_owned(), message, at_ns: None, case }
}

fn write_case(options: &SweepOptions, failure: Failure) -> Result<SeedFailure, SweepError> {
    let Failure { seed, rule, message, at_ns, mut case } = failure;
    case.origin.found_in = Some(seed.wrapping_sub(options.first_seed).saturating_add(1));
    let path = options.out.join(format!("{rule}-{seed:#x}.json"));
    let write = |path: &Path| {
        std::fs::create_dir_all(&options.out)?;
        std::fs::write(path, case.to_json()?)
    };
    if let Err(why) = write(&path) {
        return Err(SweepError::Write { seed, rule, message, path, why });
    }
    Ok(SeedFailure { seed, rule, message, at_ns, case: path })
}

const _: () = assert!(Verdict::ALL.len() == 4);
