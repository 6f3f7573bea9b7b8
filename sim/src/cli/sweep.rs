//! `simvisor sweep`: many seeds, what was put to the test, and what broke.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use simvisor_sim::oracle::RULES;
use simvisor_sim::report::nanos_text;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{
    CANARY, ConfirmOptions, HANG, NONDETERMINISM, SeedFailure, ShrinkOptions, Shrunk, SweepOptions,
    SweepReport, UNNOTICED, Verdict, has_canary, shrink, sweep,
};

use super::Started;
use super::args::{Format, confidence, jobs, number, positive, seconds, strategy};
use super::confirm;
use super::coverage;
use super::exit::{Exit, Trouble};
use super::file;
use super::interrupt;
use super::shrink::{self, beside};
use super::summary::{BAD, BOLD, DIM, GOOD, line, sentence};
use simvisor_sim::page::{Page, progress};

/// A rule that was put to the test less often than this in a whole sweep is named. Of the default 10,000 seeds every
/// rule gets more.
const WITNESSES_WANTED: u64 = 100;

/// Runs for each case that a sweep shrinks by itself; `simvisor shrink` goes on for longer.
const REPLAYS_MAX: u64 = 4_000;

/// Arguments of `simvisor sweep`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sweep {
    /// How many seeds [default: 10000; with --confirm as many as it takes]
    #[arg(long, value_name = "N", value_parser = positive)]
    seeds: Option<u64>,
    /// The first seed, like 42 or 0x2a
    #[arg(long, value_name = "SEED", value_parser = number, default_value = "0")]
    first_seed: u64,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "J", value_parser = jobs)]
    jobs: Option<usize>,
    /// How choices are drawn
    #[arg(long, value_parser = strategy(), default_value = StrategyKind::default().name())]
    strategy: StrategyKind,
    /// Where case files go
    #[arg(long, value_name = "DIR", default_value = "simvisor-cases")]
    out: PathBuf,
    /// A summary, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Stop after this many failing seeds
    #[arg(long, value_name = "N", value_parser = positive, default_value = "100")]
    max_failures: u64,
    /// Seconds of real time after which a seed, or with --confirm a run, counts as hung
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    hang_after: Duration,
    /// Fail if a rule was put to the test fewer than this many times
    #[arg(long, value_name = "N", value_parser = number, default_value = "0")]
    require_witnesses: u64,
    /// Leave cases as they were found
    #[arg(long)]
    no_shrink: bool,
    /// Plant a violation in about 1 of 100 seeds: the proof that one reaches the judges, the report, the case file, the
    /// replay line and the exit code
    #[arg(long)]
    canary: bool,
    /// Is the bug of this case gone? Run it again, then its neighbourhood (its choices up to some place and others from
    /// there on, its scenario under other schedules, other scenarios of its family) until a bug as likely as this one
    /// was would have shown
    #[arg(long, value_name = "CASE", conflicts_with_all = ["canary", "first_seed", "require_witnesses"])]
    confirm: Option<PathBuf>,
    /// With --confirm: the bug was found in one of so many runs [default: as the case says]
    #[arg(long, value_name = "N", value_parser = positive, requires = "confirm")]
    found_in: Option<u64>,
    /// With --confirm: how sure to be, in percent
    #[arg(long, value_name = "PERCENT", value_parser = confidence, default_value = "95")]
    confidence: f64,
}

impl Sweep {
    pub(crate) fn carry_out(&self, page: &Page, started: Started) -> Result<Exit, Trouble> {
        if let Some(case) = &self.confirm {
            let default = ConfirmOptions::default();
            let options = ConfirmOptions {
                jobs: self.jobs.unwrap_or(default.jobs),
                strategy: self.strategy,
                found_in: self.found_in,
                runs: self.seeds,
                confidence: self.confidence,
                hang_after: self.hang_after,
                ..default
            };
            return confirm::carry_out(case, &options, &self.out, self.format, page, started);
        }
        let options = self.options()?;
        let bar = self.bar();
        let result = sweep(&options, |progress| {
            bar.set_position(progress.seeds);
            if progress.failures > 0 {
                bar.set_message(format!("{} failing", progress.failures));
            }
        });
        bar.finish_and_clear();
        let report = result.map_err(|error| Trouble::Input(error.to_string()))?;
        let untested = wanting(rules_of(&report), self.witnesses_wanted());
        let too_few = self.require_witnesses > 0 && !untested.is_empty();
        let shrunk = self.shrink(&report)?;
        match self.format {
            Format::Text => self.tell(&report, &untested, &shrunk, started, page),
            Format::Json => writeln!(page, "{}", self.json(&report, &untested, &shrunk, started)),
        }
        Ok(if report.failures.iter().any(SeedFailure::is_engine_fault) {
            Exit::EngineFault
        } else if report.failures.is_empty() && !too_few {
            Exit::Clean
        } else {
            Exit::Violation
        })
    }

    /// How many seeds.
    fn seeds(&self) -> u64 {
        self.seeds.unwrap_or(SweepOptions::default().seeds)
    }

    fn options(&self) -> Result<SweepOptions, Trouble> {
        let default = SweepOptions::default();
        if self.canary && !(0..self.seeds()).any(|number| has_canary(self.first_seed.wrapping_add(number))) {
            let text = "none of these seeds has a canary, for about 1 in 100 has: ask for more --seeds";
            return Err(Trouble::Input(text.to_owned()));
        }
        if self.out.exists() && !self.out.is_dir() {
            let text = format!("{}: is no directory, and case files go there", self.out.display());
            return Err(Trouble::Input(text));
        }
        Ok(SweepOptions {
            first_seed: self.first_seed,
            seeds: self.seeds(),
            jobs: self.jobs.unwrap_or(default.jobs),
            strategy: self.strategy,
            out: self.out.clone(),
            failures_max: usize::try_from(self.max_failures).unwrap_or(usize::MAX),
            hang_after: self.hang_after,
            canary: self.canary,
            ..default
        })
    }

    /// The smallest case for the first seed that broke each rule. Ctrl-C keeps what there is by then.
    fn shrink(&self, report: &SweepReport) -> Result<Vec<(Shrunk, PathBuf)>, Trouble> {
        let mut rules = BTreeSet::from([HANG, NONDETERMINISM, CANARY, UNNOTICED]);
        let firsts: Vec<_> =
            report.failures.iter().filter(|failure| !self.no_shrink && rules.insert(&failure.rule)).collect();
        let mut all = Vec::new();
        if firsts.is_empty() {
            return Ok(all);
        }
        let stop = interrupt::flag()?;
        let options = ShrinkOptions { replays_max: REPLAYS_MAX, ..ShrinkOptions::default() };
        for SeedFailure { case: path, .. } in firsts {
            let case = file::case(path)?;
            let bar = shrink::bar();
            let shrunk = shrink(&case, &options, &stop, |progress| shrink::advance(&bar, progress));
            bar.finish_and_clear();
            // What does not show it again is told by the finding itself.
            let Ok(shrunk) = shrunk else { continue };
            let out = beside(path);
            file::save(&shrunk.case, &out)?;
            all.push((shrunk, out));
        }
        Ok(all)
    }

    /// How often each rule should be put to the test.
    fn witnesses_wanted(&self) -> u64 {
        if self.require_witnesses > 0 { self.require_witnesses } else { WITNESSES_WANTED }
    }

    /// A progress bar, for somebody who watches.
    fn bar(&self) -> ProgressBar {
        progress(self.seeds(), "{bar:40} {human_pos}/{human_len} seeds, {eta} left {msg:.red}")
    }

    fn tell(
        &self,
        report: &SweepReport,
        untested: &[&str],
        shrunk: &[(Shrunk, PathBuf)],
        started: Started,
        page: &Page,
    ) {
        let rate = per_second(report);
        let of = if report.seeds == self.seeds() { String::new() } else { format!(" of {}", self.seeds()) };
        line(
            page,
            "seeds",
            &format!("{}{of} in {:.2} s, {rate:.0}/s", report.seeds, report.elapsed.as_secs_f64()),
        );
        line(page, "events", &report.events.to_string());
        line(page, "choices", &report.choices.to_string());
        if report.runs > report.seeds {
            line(page, "runs", &format!("{}, as a seed of this strategy is a campaign", report.runs));
        }
        let verdicts = Verdict::ALL.iter().zip(report.verdicts);
        let verdicts: Vec<_> =
            verdicts.map(|(verdict, count)| format!("{} {count}", verdict.name())).collect();
        line(page, "verdicts", &verdicts.join(", "));
        line(page, "rechecked", &format!("{} seeds were run twice and compared", report.rechecked));
        if report.judges_differ > 0 {
            let text = format!("{} seeds were judged differently by rules and monitor", report.judges_differ);
            line(page, "judges", &text);
        }
        if self.canary {
            line(page, "canaries", &format!("planted in {} seeds", report.canaries));
        }
        tell_rules(report, page);
        if self.require_witnesses == 0 && !untested.is_empty() {
            line(page, "witnesses", &format!("fewer than {WITNESSES_WANTED} for {}", untested.join(", ")));
        }
        coverage::tell(&report.novelty, page);
        tell_failures(report, started, page);
        for (small, path) in shrunk {
            write!(page, "{BOLD}the smallest case{BOLD:#} for ");
            shrink::tell(small, path, started, page);
        }
        let required = self.require_witnesses > 0;
        for rule in untested.iter().filter(|_| required) {
            let fewer = format!("fewer than {} times", self.require_witnesses);
            writeln!(page, "{BAD}{rule}{BAD:#} was put to the test {fewer}: {}", sentence(rule));
        }
        if report.stopped_early {
            writeln!(page, "stopped after {} failing seeds (--max-failures)", report.failures.len());
        }
        if report.failures.is_empty() && (untested.is_empty() || !required) {
            writeln!(page, "{GOOD}nothing found{GOOD:#}");
        }
    }

    fn json(
        &self,
        report: &SweepReport,
        untested: &[&str],
        shrunk: &[(Shrunk, PathBuf)],
        started: Started,
    ) -> Value {
        let verdicts = Verdict::ALL.iter().zip(report.verdicts);
        let verdicts: Map<_, _> =
            verdicts.map(|(verdict, count)| (verdict.name().to_owned(), json!(count))).collect();
        let rules: Map<_, _> = rules_of(report)
            .map(|(id, witnesses, violations)| {
                (id.to_owned(), json!({ "witnesses": witnesses, "violations": violations }))
            })
            .collect();
        let violations: Vec<_> = report
            .failures
            .iter()
            .map(|failure| {
                json!({
                    "seed": failure.seed,
                    "seed_hex": format!("{:#x}", failure.seed),
                    "rule": failure.rule,
                    "message": failure.message,
                    "at_ns": failure.at_ns,
                    "case": failure.case.display().to_string(),
                })
            })
            .collect();
        json!({
            "first_seed": self.first_seed,
            "seeds": report.seeds,
            "seeds_asked_for": self.seeds(),
            "strategy": self.strategy.name(),
            "seconds": report.elapsed.as_secs_f64(),
            "seeds_per_second": per_second(report),
            "events": report.events,
            "choices": report.choices,
            "runs": report.runs,
            "rechecked": report.rechecked,
            "judges_differ": report.judges_differ,
            "canaries": report.canaries,
            "verdicts": verdicts,
            "coverage": coverage::as_json(&report.novelty),
            "rules": rules,
            "witnesses_wanted": self.witnesses_wanted(),
            "rules_short_of_witnesses": untested,
            "violations": violations,
            "shrunk": shrunk.iter().map(|(small, path)| shrink::as_json(small, path, started)).collect::<Vec<_>>(),
            "stopped_early": report.stopped_early,
        })
    }
}

/// Each rule with its witnesses and the number of seeds that broke it.
fn rules_of(report: &SweepReport) -> impl Iterator<Item = (&'static str, u64, u64)> {
    let counts = report.witnesses.iter().zip(&report.broken);
    RULES.iter().zip(counts).map(|(rule, (&witnesses, &broken))| (rule.id, witnesses, broken))
}

/// The rules with fewer than `least` witnesses.
fn wanting<'a>(rules: impl Iterator<Item = (&'a str, u64, u64)>, least: u64) -> Vec<&'a str> {
    rules.filter(|(_, witnesses, _)| *witnesses < least).map(|(id, ..)| id).collect()
}

fn per_second(report: &SweepReport) -> f64 {
    report.seeds as f64 / report.elapsed.as_secs_f64().max(1e-9)
}

fn tell_rules(report: &SweepReport, page: &Page) {
    writeln!(page, "\n{BOLD}{:<5} {:>14} {:>10}{BOLD:#}", "rule", "witnesses", "broken");
    for (id, witnesses, broken) in rules_of(report) {
        let style = if broken > 0 { BAD } else { anstyle::Style::new() };
        writeln!(page, "{style}{id:<5} {witnesses:>14} {broken:>10}{style:#}");
    }
    writeln!(page);
}

fn tell_failures(report: &SweepReport, started: Started, page: &Page) {
    for SeedFailure { seed, rule, message, at_ns, case } in &report.failures {
        let at = at_ns.map_or_else(String::new, |at_ns| format!(" at {}", nanos_text(at_ns)));
        writeln!(page, "{BAD}{rule}{BAD:#} in seed {BOLD}{seed:#x}{BOLD:#}{at}: {message}");
        writeln!(page, "  {DIM}{}{DIM:#}", sentence(rule));
        writeln!(page, "  {}", case.display());
        writeln!(page, "  {}", replay_line(case, started));
    }
}

/// One line to copy that runs the case again.
pub(super) fn replay_line(case: &Path, started: Started) -> String {
    line_to_copy("replay", case, started)
}

/// One line to copy that does something with the case.
pub(super) fn line_to_copy(what: &str, case: &Path, started: Started) -> String {
    let program = match started {
        Started::ByCargo => "cargo run --release --",
        Started::Directly => "simvisor",
    };
    format!("{program} {what} {}", quoted(&case.display().to_string()))
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    if path.chars().all(|c| c.is_ascii_alphanumeric() || "_-./+:@%,".contains(c)) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_short_of_witnesses_are_named() {
        let rules = [("A1", 5, 0), ("A2", 0, 0), ("A3", 4, 1)];
        assert_eq!(wanting(rules.into_iter(), 5), ["A2", "A3"]);
        assert_eq!(wanting(rules.into_iter(), 1), ["A2"]);
        assert!(wanting(rules.into_iter(), 0).is_empty());
    }

    #[test]
    fn the_line_to_copy_survives_a_shell() {
        let line = |path: &str, started| replay_line(Path::new(path), started);
        assert_eq!(line("cases/A1-0x2a.json", Started::Directly), "simvisor replay cases/A1-0x2a.json");
        assert_eq!(line("it's here/x", Started::ByCargo), r"cargo run --release -- replay 'it'\''s here/x'");
    }
}
