//! `simvisor why`: from which choice on a case had to break its rule.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use simvisor_sim::search::{Chance, ShrinkError, Why as Found, WhyOptions, why};

use super::args::{Format, positive};
use super::exit::{Exit, Trouble};
use super::file;
use super::interrupt;
use super::summary::{BAD, BOLD, DIM, GOOD, line, sentence};
use simvisor_sim::page::Page;

/// Arguments of `simvisor why`.
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// A case file; a shrunk one has fewer choices to ask about
    file: PathBuf,
    /// Runs from each choice
    #[arg(long, value_name = "N", value_parser = positive, default_value = "200")]
    runs: u64,
    /// A graph, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Why {
    pub(crate) fn carry_out(&self, page: &Page) -> Result<Exit, Trouble> {
        let case = file::case(&self.file)?;
        let stop = interrupt::flag()?;
        let runs = u32::try_from(self.runs)
            .map_err(|_| Trouble::Input(format!("--runs {} is more than {}", self.runs, u32::MAX)))?;
        let bar = bar();
        let found = why(&case, &WhyOptions { runs, ..WhyOptions::default() }, &stop, |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        let found = match found {
            Ok(found) => found,
            Err(ShrinkError::Clean) => {
                match self.format {
                    Format::Text => line(page, "result", &format!("{GOOD}the case breaks no rule{GOOD:#}")),
                    Format::Json => writeln!(page, "{}", json!({ "rule": null })),
                }
                return Ok(Exit::Clean);
            }
            Err(error) => return Err(Trouble::Input(format!("{}: {error}", self.file.display()))),
        };
        match self.format {
            Format::Text => tell(&found, page),
            Format::Json => writeln!(page, "{}", as_json(&found)),
        }
        Ok(Exit::Violation)
    }
}

fn tell(found: &Found, page: &Page) {
    let Found { rule, runs, choices, chances, turning, is_partial } = found;
    writeln!(page, "{BAD}{rule}{BAD:#} {DIM}{}{DIM:#}", sentence(rule));
    let count = if *choices == 1 { "1 choice".to_owned() } else { format!("{choices} choices") };
    writeln!(page, "{count}; the share of {runs} runs that break the rule if the rest is drawn anew after\n");
    for (place, Chance { kept, choice, broke }) in chances.iter().enumerate() {
        let style = if *turning == Some(place) { BAD } else { anstyle::Style::new() };
        let what = choice.as_deref().unwrap_or("no choice at all");
        let percent = percent(*broke, *runs);
        writeln!(page, "{kept:>6} {style}{}{style:#} {percent:>5} %  {what}", graph(*broke, *runs));
    }
    writeln!(page);
    let first = chances.first().map_or(0, |chance| chance.broke);
    match turning {
        _ if first == *runs => writeln!(page, "it breaks whatever is chosen: the scenario alone decides"),
        Some(place) => {
            let (before, after) = (&chances[place - 1], &chances[*place]);
            let (from, to) = (percent(before.broke, *runs), percent(after.broke, *runs));
            let what = after.choice.as_deref().unwrap_or_default();
            writeln!(
                page,
                "choice {BOLD}{}{BOLD:#} decides: {BOLD}{what}{BOLD:#} raises it from {from} % to {to} %",
                after.kept
            );
        }
        None => writeln!(page, "no choice makes it more likely than it was before the first"),
    }
    if *is_partial {
        writeln!(page, "stopped before every choice was asked about");
    }
}

/// A bar of 20 places.
fn graph(broke: u32, runs: u32) -> String {
    let full = (u64::from(broke) * 20).div_ceil(u64::from(runs.max(1))) as usize;
    format!("{}{}", "█".repeat(full), "·".repeat(20 - full))
}

fn percent(broke: u32, runs: u32) -> String {
    format!("{:.1}", f64::from(broke) * 100.0 / f64::from(runs.max(1)))
}

fn as_json(found: &Found) -> serde_json::Value {
    let chances: Vec<_> = found
        .chances
        .iter()
        .map(|chance| json!({ "kept": chance.kept, "choice": chance.choice, "broke": chance.broke }))
        .collect();
    json!({
        "rule": found.rule,
        "runs": found.runs,
        "choices": found.choices,
        "chances": chances,
        "decided_by": found.turning.map(|place| found.chances[place].kept),
        "complete": !found.is_partial,
    })
}

/// Progress, for somebody who watches.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} choices").expect("the template is well formed");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_drawn_in_twentieths() {
        assert_eq!(graph(0, 200), "·".repeat(20));
        assert_eq!(graph(200, 200), "█".repeat(20));
        assert_eq!(graph(1, 200).matches('█').count(), 1, "something is not nothing");
        assert_eq!(percent(1, 3), "33.3");
    }
}
