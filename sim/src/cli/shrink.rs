//! `simvisor shrink`: the smallest case that still breaks the same rule.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use simvisor_sim::case::Case;
use simvisor_sim::scenario::to_short_toml;
use simvisor_sim::search::{ShrinkError, ShrinkOptions, ShrinkProgress, Shrunk, shrink};

use super::Started;
use super::args::{Format, positive};
use super::exit::{Exit, Trouble};
use super::file;
use super::interrupt;
use super::summary::{BAD, DIM, GOOD, line, sentence};
use super::sweep::replay_line;
use simvisor_sim::page::Page;

/// Arguments of `simvisor shrink`.
#[derive(Debug, clap::Args)]
pub(crate) struct Shrink {
    /// A case file, as a sweep or `simvisor run --save` writes it
    file: PathBuf,
    /// Where the small case goes [default: beside CASE, with `-shrunk` in its name]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Stop after about this many runs
    #[arg(long, value_name = "N", value_parser = positive, default_value = "20000")]
    max_replays: u64,
    /// A summary, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Shrink {
    pub(crate) fn carry_out(&self, page: &Page, started: Started) -> Result<Exit, Trouble> {
        let case = file::case(&self.file)?;
        let out = self.out.clone().unwrap_or_else(|| beside(&self.file));
        make_small(&case, &self.file, &out, self.max_replays, self.format, page, started)
    }
}

/// Shrinks the case that came from `file`, writes the small one to `out` and shows it.
pub(super) fn make_small(
    case: &Case,
    file: &Path,
    out: &Path,
    replays_max: u64,
    format: Format,
    page: &Page,
    started: Started,
) -> Result<Exit, Trouble> {
    let stop = interrupt::flag()?;
    let options = ShrinkOptions { replays_max, ..ShrinkOptions::default() };
    let bar = bar();
    let shrunk = shrink(case, &options, &stop, |progress| advance(&bar, progress));
    bar.finish_and_clear();
    let shrunk = match shrunk {
        Ok(shrunk) => shrunk,
        Err(error @ ShrinkError::Clean) => {
            match format {
                Format::Text => line(page, "result", &format!("{GOOD}{error}{GOOD:#}")),
                Format::Json => writeln!(page, "{}", json!({ "rule": null })),
            }
            return Ok(Exit::Clean);
        }
        Err(error) => return Err(Trouble::Input(format!("{}: {error}", file.display()))),
    };
    file::save(&shrunk.case, out)?;
    match format {
        Format::Text => tell(&shrunk, out, started, page),
        Format::Json => writeln!(page, "{}", as_json(&shrunk, out, started)),
    }
    Ok(Exit::Violation)
}

/// Where a small case goes: beside the large one.
pub(super) fn beside(case: &Path) -> PathBuf {
    let stem = case.file_stem().unwrap_or_default().to_string_lossy();
    case.with_file_name(format!("{stem}-shrunk.json"))
}

/// Shows a small case: rule, scenario, and how to run it.
pub(super) fn tell(shrunk: &Shrunk, out: &Path, started: Started, page: &Page) {
    let Shrunk { case, rule, replays, operations, choices, is_minimal } = shrunk;
    let message = case.shown.message.as_deref().unwrap_or_default();
    writeln!(page, "{BAD}{rule}{BAD:#}: {message}");
    writeln!(page, "  {DIM}{}{DIM:#}", sentence(rule));
    let tasks = case.scenario.tasks.len();
    let rest = if *is_minimal { "no simpler case shows it" } else { "stopped; a simpler case may show it" };
    writeln!(
        page,
        "  {}, {}, {} that the plain schedule would not make; {replays} runs, {rest}",
        plural(tasks, "task"),
        plural(*operations, "operation"),
        plural(*choices, "choice"),
    );
    for text in to_short_toml(&case.scenario).unwrap_or_default().lines() {
        if text.is_empty() { writeln!(page) } else { writeln!(page, "    {text}") }
    }
    writeln!(page, "  {}", out.display());
    writeln!(page, "  {}", replay_line(out, started));
}

/// A small case for programs.
pub(super) fn as_json(shrunk: &Shrunk, out: &Path, started: Started) -> Value {
    json!({
        "rule": shrunk.rule,
        "message": shrunk.case.shown.message,
        "case": out.display().to_string(),
        "replay": replay_line(out, started),
        "tasks": shrunk.case.scenario.tasks.len(),
        "operations": shrunk.operations,
        "choices": shrunk.choices,
        "replays": shrunk.replays,
        "minimal": shrunk.is_minimal,
        "scenario": to_short_toml(&shrunk.case.scenario).ok(),
    })
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Tells how far it is.
pub(super) fn advance(bar: &ProgressBar, ShrinkProgress { replays, items, choices }: ShrinkProgress) {
    if !bar.is_hidden() {
        bar.set_position(replays);
        bar.set_message(format!("{items} parts, {choices} choices"));
    }
}

/// Progress, for somebody who watches.
pub(super) fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} runs, {msg}")
        .expect("the template is well formed");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}
