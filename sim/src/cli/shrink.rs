//! `simvisor shrink`: the smallest case that still breaks the same rule.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use simvisor_sim::scenario::to_short_toml;
use simvisor_sim::search::{ShrinkError, ShrinkOptions, Shrunk, shrink};

use super::Started;
use super::args::{Format, positive};
use super::exit::{Exit, Trouble};
use super::file;
use super::page::Page;
use super::summary::{BAD, DIM, GOOD, line, sentence};
use super::sweep::replay_line;

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
        let stop = Arc::new(AtomicBool::new(false));
        let on_signal = Arc::clone(&stop);
        ctrlc::set_handler(move || on_signal.store(true, Ordering::Relaxed))
            .map_err(|error| Trouble::Input(format!("Ctrl-C cannot be caught: {error}")))?;
        let options = ShrinkOptions { replays_max: self.max_replays, ..ShrinkOptions::default() };
        let bar = bar();
        let shrunk = shrink(&case, &options, &stop, |progress| {
            bar.set_position(progress.replays);
            bar.set_message(format!("{} parts, {} choices", progress.items, progress.choices));
        });
        bar.finish_and_clear();
        let shrunk = match shrunk {
            Ok(shrunk) => shrunk,
            Err(error @ ShrinkError::Clean) => {
                match self.format {
                    Format::Text => line(page, "result", &format!("{GOOD}{error}{GOOD:#}")),
                    Format::Json => writeln!(page, "{}", json!({ "rule": null })),
                }
                return Ok(Exit::Clean);
            }
            Err(error) => return Err(Trouble::Input(format!("{}: {error}", self.file.display()))),
        };
        let out = self.out.clone().unwrap_or_else(|| beside(&self.file));
        file::save(&shrunk.case, &out)?;
        match self.format {
            Format::Text => tell(&shrunk, &out, started, page),
            Format::Json => writeln!(page, "{}", as_json(&shrunk, &out)),
        }
        Ok(Exit::Violation)
    }
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
pub(super) fn as_json(shrunk: &Shrunk, out: &Path) -> Value {
    json!({
        "rule": shrunk.rule,
        "message": shrunk.case.shown.message,
        "case": out.display().to_string(),
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

/// Progress, for somebody who watches.
fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} runs, {msg}")
        .expect("the template is well formed");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
}
