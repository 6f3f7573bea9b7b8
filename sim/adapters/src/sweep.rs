//! Many seeds on one subject, and where it leaves the contract.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use serde::Serialize;
use simvisor_sim::scenario::{Behaviour, Scenario, generate};

use crate::judge::{Departure, JudgeError, Outcome, Terms, judge};
use crate::machine::mix;
use crate::play::Play;
use crate::subject::Subject;

/// One seed in so many is run twice.
const REPEAT_EVERY: u64 = 16;

/// What to sweep.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub seeds: u64,
    /// How many interleavings of each scenario.
    pub interleavings: u64,
    /// Runs at once.
    pub jobs: usize,
    /// Real time after which a run is given up, in milliseconds.
    pub patience_ms: u64,
}

/// A kind of departure, and how often it was the first of a run.
#[derive(Debug, Clone)]
pub struct Distinct {
    /// The rule.
    pub rule: String,
    /// In how many seeds a run began to depart so.
    pub seeds: u64,
    /// The example: the run of the lowest seed.
    pub play: Play,
    /// Its seed.
    pub seed: u64,
    /// What happened in it.
    pub departure: Departure,
    /// How the example ended.
    pub verdict: &'static str,
    /// Why, in words.
    pub detail: Option<String>,
}

/// What a sweep found.
#[derive(Debug)]
pub struct SweepReport {
    /// Kinds of departures, the most frequent first.
    pub departures: Vec<Distinct>,
    /// Seeds of which some run departed.
    pub departing: u64,
    /// Runs.
    pub runs: u64,
    /// Lines of all traces.
    pub lines: u64,
    /// Runs that were repeated, and how many of them gave the same trace.
    pub repeated: (u64, u64),
    /// How often each verdict was given.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Runs of which the bus lost events, so that only a part could be judged.
    pub lossy: u64,
    /// Deviations of the dialect that were needed, and in how many runs.
    pub excused: BTreeMap<String, u64>,
    /// How often each rule was put to the test, in the order of the rules.
    pub witnesses: Vec<u64>,
    /// What was odd about traces, and in how many runs.
    pub oddities: BTreeMap<String, u64>,
    /// Real time that it took, in seconds.
    pub seconds: f64,
}

/// The play of a seed.
#[must_use]
pub fn play_of(subject: &dyn Subject, seed: u64, interleaving: u64, patience_ms: u64) -> Play {
    let mut scenario = generate(seed);
    subject.fit(&mut scenario);
    let yields = mix(seed ^ interleaving.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1);
    Play { subject: subject.name().to_owned(), scenario, seed: yields, patience_ms }
}

/// What is the same in two messages about the same thing: names and numbers are left out.
#[must_use]
pub fn shape(message: &str) -> String {
    let mut shape = String::new();
    let mut in_name = false;
    for c in message.chars() {
        match c {
            '`' => {
                in_name = !in_name;
                if in_name {
                    shape.push('·');
                }
            }
            _ if in_name => {}
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            c => shape.push(c),
        }
    }
    let shape = shape.replace("·, ", "");
    // Of lists and of what follows in detail the beginning is enough.
    let head = shape.split([':', ';', '[', '(']).next().unwrap_or_default();
    head.trim_end().to_owned()
}

/// What a run is known by: the rule that it broke first, and how.
#[must_use]
pub fn key(outcome: &Outcome) -> Option<(String, String)> {
    outcome.departures.first().map(|first| (first.rule.to_owned(), shape(&first.message)))
}

/// What in a scenario has a part in what it shows: operations, limits, subscribers.
#[must_use]
pub fn matters(scenario: &Scenario) -> Vec<String> {
    let mut parts = Vec::new();
    for operation in &scenario.operations {
        let action = serde_json::to_value(&operation.action).unwrap_or_default();
        let name = match &action {
            serde_json::Value::String(name) => name.clone(),
            other => other.as_object().and_then(|fields| fields.keys().next().cloned()).unwrap_or_default(),
        };
        parts.push(name);
    }
    let config = &scenario.config;
    let default = simvisor_sim::scenario::Config::default();
    if config.bus_capacity != default.bus_capacity {
        parts.push(format!("bus of {}", config.bus_capacity));
    }
    if config.max_concurrent > 0 {
        parts.push("permits".to_owned());
    }
    if scenario.calm_at.is_some() {
        parts.push("calm".to_owned());
    }
    for subscriber in &scenario.subscribers {
        let how = match subscriber.behaviour {
            Behaviour::Quick => "quick subscriber",
            Behaviour::Slow { .. } => "slow subscriber",
            Behaviour::Stuck { .. } => "stuck subscriber",
            Behaviour::Panics { .. } => "panicking subscriber",
        };
        parts.push(how.to_owned());
    }
    parts
}

#[derive(Default)]
struct Sums {
    found: BTreeMap<(String, String), Distinct>,
    departing: u64,
    runs: u64,
    lines: u64,
    repeated: (u64, u64),
    verdicts: BTreeMap<&'static str, u64>,
    lossy: u64,
    excused: BTreeMap<String, u64>,
    witnesses: Vec<u64>,
    oddities: BTreeMap<String, u64>,
}

/// Runs the seeds; `watch` is told how many are done.
///
/// # Errors
/// If runs cannot be started.
pub fn sweep(
    program: &Path,
    subject: &dyn Subject,
    terms: &Terms,
    options: &SweepOptions,
    watch: &(dyn Fn(u64) + Sync),
) -> Result<SweepReport, JudgeError> {
    let begun = Instant::now();
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let sums = Mutex::new(Sums::default());
    let work = || -> Result<(), JudgeError> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= options.seeds {
                return Ok(());
            }
            let seed = options.from + index;
            let mut runs = Vec::new();
            for interleaving in 0..options.interleavings.max(1) {
                let play = play_of(subject, seed, interleaving, options.patience_ms);
                let outcome = judge(program, &play, terms, |_| {})?;
                runs.push((play, outcome));
            }
            let repeat = match index % REPEAT_EVERY == 0 {
                true => Some(judge(program, &runs[0].0, terms, |_| {})?.trace_hash == runs[0].1.trace_hash),
                false => None,
            };
            let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
            sums.add(seed, runs);
            if let Some(is_same) = repeat {
                sums.repeated.0 += 1;
                sums.repeated.1 += u64::from(is_same);
            }
            drop(sums);
            watch(done.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("workers do not panic"))
    })?;
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut departures: Vec<_> = sums.found.into_values().collect();
    departures.sort_by(|a, b| b.seeds.cmp(&a.seeds).then(a.seed.cmp(&b.seed)));
    Ok(SweepReport {
        departures,
        departing: sums.departing,
        runs: sums.runs,
        lines: sums.lines,
        repeated: sums.repeated,
        verdicts: sums.verdicts,
        lossy: sums.lossy,
        excused: sums.excused,
        witnesses: sums.witnesses,
        oddities: sums.oddities,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

impl Sums {
    fn add(&mut self, seed: u64, runs: Vec<(Play, Outcome)>) {
        let mut seen = Vec::new();
        for (play, outcome) in runs {
            self.runs += 1;
            self.lines += outcome.lines;
            self.lossy += u64::from(outcome.lost_from.is_some());
            for excused in &outcome.excused {
                *self.excused.entry(excused.deviation.clone()).or_default() += 1;
            }
            self.witnesses.resize(outcome.witnesses.len(), 0);
            for (sum, count) in self.witnesses.iter_mut().zip(&outcome.witnesses) {
                *sum += count;
            }
            for oddity in &outcome.oddities {
                *self.oddities.entry(shape(oddity)).or_default() += 1;
            }
            *self.verdicts.entry(outcome.verdict).or_default() += 1;
            let (Some(key), Some(departure)) = (key(&outcome), outcome.departures.into_iter().next()) else {
                continue;
            };
            if seen.contains(&key) {
                continue;
            }
            let distinct = self.found.entry(key.clone()).or_insert_with(|| Distinct {
                rule: key.0.clone(),
                seeds: 0,
                play: play.clone(),
                seed,
                departure: departure.clone(),
                verdict: outcome.verdict,
                detail: outcome.detail.clone(),
            });
            distinct.seeds += 1;
            if seed < distinct.seed {
                // Whichever thread came first, the example is the same.
                let (verdict, detail) = (outcome.verdict, outcome.detail);
                let seeds = distinct.seeds;
                *distinct = Distinct { rule: key.0.clone(), seeds, play, seed, departure, verdict, detail };
            }
            seen.push(key);
        }
        self.departing += u64::from(!seen.is_empty());
    }
}

/// A sweep's result for programs.
#[derive(Debug, Serialize)]
pub struct SweepJson<'a> {
    /// The subject's name.
    pub subject: &'a str,
    /// Seeds that were run.
    pub seeds: u64,
    /// Real time, in seconds.
    pub seconds: f64,
    /// Kinds of departures.
    pub departures: Vec<DepartureJson>,
}

/// A kind of departure, for programs.
#[derive(Debug, Serialize)]
pub struct DepartureJson {
    /// The rule.
    pub rule: String,
    /// In how many seeds it was the first.
    pub seeds: u64,
    /// What happens in the case.
    pub message: String,
    /// The case file.
    pub case: PathBuf,
    /// What has a part in it.
    pub matters: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_make_no_difference() {
        let one = shape("attempt 2 of `a` started 500000 ns before its delay was over");
        assert_eq!(one, shape("attempt 13 of `web` started 1 ns before its delay was over"));
        assert_eq!(one, "attempt # of · started # ns before its delay was over");
        assert_ne!(one, shape("attempt 2 of `a` was given no permit"));
        assert_eq!(shape("while `a`, `b`, `c` were there"), shape("while `a` were there"));
    }
}
