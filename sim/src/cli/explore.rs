//! `simvisor explore`: every schedule of a small world.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::json;
use simvisor_sim::case::read_text;
use simvisor_sim::scenario::Scenario;
use simvisor_sim::search::{
    Bounds, Exploration, ExploreOptions, NONDETERMINISM, Reduction, estimate, explore,
};

use super::Started;
use super::args::{Format, jobs, number, positive};
use super::exit::{Exit, Trouble};
use super::file;
use super::interrupt;
use super::summary::{BAD, BOLD, DIM, GOOD, line, sentence};
use super::sweep::replay_line;
use simvisor_sim::page::{Page, progress};

/// Arguments of `simvisor explore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Explore {
    /// A scenario (TOML)
    #[arg(value_name = "SCENARIO.toml")]
    file: PathBuf,
    /// At most this many delays: passing over a ready future that is older, an interruption, or a late timer
    #[arg(long, value_name = "N", value_parser = count)]
    delays: Option<u32>,
    /// At most this many interruptions at preemption points
    #[arg(long, value_name = "N", value_parser = count)]
    preemptions: Option<u32>,
    /// At most this many timers that wait for their own turn while others of their instant have fired
    #[arg(long, value_name = "N", value_parser = count)]
    late_timers: Option<u32>,
    /// Run orders of steps that come to the same as well
    #[arg(long)]
    no_reduction: bool,
    /// Go on from this file if it is there, and write what is left to it on Ctrl-C or at --stop-after
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Stop after about this many runs
    #[arg(long, value_name = "N", value_parser = positive)]
    stop_after: Option<u64>,
    /// Refuse to start if more runs than this are expected
    #[arg(long, value_name = "N", value_parser = number, default_value = "100_000_000")]
    limit: u64,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "J", value_parser = jobs)]
    jobs: Option<usize>,
    /// Where case files go
    #[arg(long, value_name = "DIR", default_value = "simvisor-cases")]
    out: PathBuf,
    /// A summary, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn count(text: &str) -> Result<u32, String> {
    u32::try_from(number(text)?).map_err(|_| format!("{text} is more than {}", u32::MAX))
}

/// Random runs that estimate the number of all.
const DIVES: u32 = 1_000;

impl Explore {
    pub(crate) fn carry_out(&self, page: &Page, started: Started) -> Result<Exit, Trouble> {
        let scenario = file::scenario(&self.file)?;
        let options = self.options();
        let mut exploration = self.earlier(&scenario, &options)?;
        let expected = estimate(&scenario, &options, DIVES);
        if expected > self.limit as f64 && self.stop_after.is_none() {
            return Err(Trouble::Input(format!(
                "{}: about {} schedules are expected, more than --limit {}; bound them (--delays 3, --preemptions 2, --late-timers 0), make the world smaller, run a part (--stop-after N --state FILE), or raise --limit",
                self.file.display(),
                rounded(expected),
                self.limit
            )));
        }
        let stop = interrupt::flag()?;
        let bar = bar(expected);
        let (began, before) = (Instant::now(), exploration.schedules + exploration.pruned);
        explore(&scenario, &options, &mut exploration, &stop, |progress| {
            bar.set_position(before + progress.runs);
        });
        bar.finish_and_clear();
        let elapsed = began.elapsed();
        self.save(&exploration)?;
        let cases = self.write_cases(&exploration)?;
        let runs = exploration.schedules + exploration.pruned - before;
        let rate = runs as f64 / elapsed.as_secs_f64().max(1e-9);
        match self.format {
            Format::Text => self.tell(&exploration, &cases, expected, (elapsed, rate), started, page),
            Format::Json => writeln!(page, "{}", self.json(&exploration, &cases, expected, elapsed)),
        }
        Ok(if exploration.broken.contains_key(NONDETERMINISM) {
            Exit::EngineFault
        } else if exploration.broken.is_empty() {
            Exit::Clean
        } else {
            Exit::Violation
        })
    }

    fn options(&self) -> ExploreOptions {
        let default = ExploreOptions::default();
        ExploreOptions {
            bounds: Bounds {
                delays: self.delays,
                preemptions: self.preemptions,
                late_timers: self.late_timers,
            },
            reduction: if self.no_reduction { Reduction::Off } else { Reduction::SleepSets },
            jobs: self.jobs.unwrap_or(default.jobs),
            runs_max: self.stop_after.unwrap_or(u64::MAX),
            ..default
        }
    }

    /// What was explored before, if there is a state file.
    fn earlier(&self, scenario: &Scenario, options: &ExploreOptions) -> Result<Exploration, Trouble> {
        let Some(path) = self.state.as_ref().filter(|path| path.exists()) else {
            return Ok(Exploration::new(scenario, options));
        };
        let text = read_text(path).map_err(|error| Trouble::Input(error.to_string()))?;
        let shown = path.display();
        let exploration: Exploration = serde_json::from_str(&text)
            .map_err(|error| Trouble::Input(format!("{shown}: no state of an exploration: {error}")))?;
        exploration
            .check(scenario, options)
            .map_err(|error| Trouble::Input(format!("{shown}: cannot be gone on with: {error}")))?;
        Ok(exploration)
    }

    fn save(&self, exploration: &Exploration) -> Result<(), Trouble> {
        let Some(path) = &self.state else { return Ok(()) };
        let write = || {
            // A state that is cut off would be worse than the old one.
            let next = path.with_extension("next");
            std::fs::write(&next, serde_json::to_vec(exploration)?)?;
            std::fs::rename(&next, path)
        };
        write().map_err(|error: std::io::Error| {
            Trouble::Input(format!("{}: the state cannot be written: {error}", path.display()))
        })
    }

    fn write_cases(&self, exploration: &Exploration) -> Result<Vec<PathBuf>, Trouble> {
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut paths = Vec::new();
        for (rule, case) in &exploration.cases {
            std::fs::create_dir_all(&self.out).map_err(|error| {
                Trouble::Input(format!("{}: cannot be made: {error}", self.out.display()))
            })?;
            let path = self.out.join(format!("{rule}-{name}.json"));
            file::save(case, &path)?;
            paths.push(path);
        }
        Ok(paths)
    }

    /// How far the result reaches, in words.
    fn reach(&self, exploration: &Exploration) -> String {
        if !exploration.is_complete() {
            return "not complete".to_owned();
        }
        let bounds =
            [(self.delays, "delay"), (self.preemptions, "preemption"), (self.late_timers, "late timer")];
        let bounds: Vec<_> =
            bounds.into_iter().filter_map(|(bound, what)| bound.map(|bound| plural(bound, what))).collect();
        if bounds.is_empty() {
            "complete".to_owned()
        } else {
            format!("complete up to {}", bounds.join(" and "))
        }
    }

    fn tell(
        &self,
        exploration: &Exploration,
        cases: &[PathBuf],
        expected: f64,
        (elapsed, rate): (Duration, f64),
        started: Started,
        page: &Page,
    ) {
        let Exploration { schedules, pruned, turns, .. } = exploration;
        line(page, "expected", &format!("about {} runs", rounded(expected)));
        line(page, "schedules", &format!("{schedules} run, {pruned} pruned"));
        line(page, "time", &format!("{:.2} s, {rate:.0} runs/s", elapsed.as_secs_f64()));
        line(page, "turns", &format!("{:.1} a run", *turns as f64 / (schedules + pruned).max(1) as f64));
        let (states, behaviours) = (exploration.states.len(), exploration.behaviours.len());
        line(page, "distinct", &format!("{states} final states, {behaviours} behaviours"));
        let reach = self.reach(exploration);
        let style = if exploration.is_complete() { GOOD } else { BAD };
        line(page, "result", &format!("{style}{reach}{style:#}"));
        for ((rule, count), path) in exploration.broken.iter().zip(cases) {
            let message = exploration.cases[rule].shown.message.as_deref().unwrap_or_default();
            writeln!(page, "{BAD}{rule}{BAD:#} in {BOLD}{count}{BOLD:#} schedules: {message}");
            writeln!(page, "  {DIM}{}{DIM:#}", sentence(rule));
            writeln!(page, "  {}", path.display());
            writeln!(page, "  {}", replay_line(path, started));
        }
        if let (Some(path), false) = (&self.state, exploration.is_complete()) {
            writeln!(page, "the same command goes on from {}", path.display());
        }
        if exploration.broken.is_empty() {
            writeln!(page, "{GOOD}nothing found{GOOD:#}");
        }
    }

    fn json(
        &self,
        exploration: &Exploration,
        cases: &[PathBuf],
        expected: f64,
        elapsed: Duration,
    ) -> serde_json::Value {
        let violations: Vec<_> = exploration
            .broken
            .iter()
            .zip(cases)
            .map(|((rule, count), path)| {
                let message = exploration.cases[rule].shown.message.as_deref();
                json!({ "rule": rule, "schedules": count, "message": message, "case": shown(path) })
            })
            .collect();
        json!({
            "scenario": shown(&self.file),
            "delays": self.delays,
            "preemptions": self.preemptions,
            "late_timers": self.late_timers,
            "reduction": !self.no_reduction,
            "expected": expected,
            "schedules": exploration.schedules,
            "pruned": exploration.pruned,
            "turns": exploration.turns,
            "final_states": exploration.states.len(),
            "behaviours": exploration.behaviours.len(),
            "complete": exploration.is_complete(),
            "reach": self.reach(exploration),
            "seconds": elapsed.as_secs_f64(),
            "violations": violations,
        })
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn plural(count: u32, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// An estimate, as far as it can be trusted.
fn rounded(estimate: f64) -> String {
    if estimate < 1_000.0 { format!("{estimate:.0}") } else { format!("{estimate:.1e}") }
}

/// Progress, for somebody who watches. The end is an estimate.
fn bar(expected: f64) -> ProgressBar {
    let expected = if expected.is_finite() { expected as u64 } else { u64::MAX };
    progress(expected, "{bar:40} {human_pos} runs of about {human_len}, {per_sec}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_not_more_exact_than_they_are() {
        assert_eq!((rounded(12.3), rounded(123_456.0)), ("12".to_owned(), "1.2e5".to_owned()));
        assert_eq!((plural(1, "delay"), plural(3, "delay")), ("1 delay".to_owned(), "3 delays".to_owned()));
    }
}
