//! The command line: `sweep`, `explore`, `run`, `replay`, `shrink`, `why`, `check`, `dialect`, `corpus`, `rules`. One file each; what they share is beside them.

mod account;
mod args;
mod artifact;
mod check;
mod confirm;
mod corpus;
mod coverage;
mod dialect;
mod exit;
mod explore;
mod file;
mod guard;
mod interrupt;
mod replay;
mod rules;
mod run;
mod shrink;
mod summary;
mod sweep;
mod viewer;
mod why;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::{Exit, Trouble};
use simvisor_sim::page::Page;

/// Deterministic simulation of task supervision: virtual clock, seeded schedules, replay.
#[derive(Debug, Parser)]
#[command(name = "simvisor", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  nothing was found
  1  a violation was found
  2  bad usage or input: an unknown option, a file that cannot be read or written
  3  the engine itself is at fault: nondeterminism, an internal error

Examples:
  simvisor sweep                              10000 seeds on all cores
  simvisor sweep --seeds 1000000 --format json
  simvisor explore small.toml                 every schedule of a small world
  simvisor run --seed 0x2a                    one seed, event by event
  simvisor run scenario.toml --save it.json   a scenario of your own, kept as a case
  simvisor replay simvisor-cases/A1-0x2a.json the same run again
  simvisor shrink simvisor-cases/A1-0x2a.json the smallest case that shows it
  simvisor why simvisor-cases/A1-0x2a.json    the choice from which on it had to
  simvisor sweep --confirm simvisor-cases/A1-0x2a.json   after a change: is it fixed?
  simvisor check trace.jsonl                  a trace of your own runtime";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run many seeds on all cores and write a case file for each that breaks a rule.
    Sweep(sweep::Sweep),
    /// Run every schedule of a small scenario.
    Explore(explore::Explore),
    /// Run one seed or one scenario file and print its events.
    Run(run::Run),
    /// Run a case file or a fuzz artifact again, choice by choice.
    Replay(replay::Replay),
    /// Find the smallest case that breaks the same rule.
    Shrink(shrink::Shrink),
    /// Show from which choice on a case had to break its rule.
    Why(why::Why),
    /// Judge a trace that any runtime wrote.
    Check(check::Check),
    /// List or print the built-in dialects of `check`.
    Dialect(dialect::ShowDialect),
    /// Write the inputs that the fuzz targets begin with.
    Corpus(corpus::Corpus),
    /// List the rules that every run is held against.
    Rules(rules::Rules),
}

/// Carries out the command line of this process.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let page = Page::stdout();
    let done = catch_unwind(AssertUnwindSafe(|| carry_out(&cli.command, &page)));
    let result = done.unwrap_or_else(|payload| {
        let what = simvisor_sim::search::panic_message(&*payload);
        Err(Trouble::Engine(format!("internal error: {what}; please report it with the command line")))
    });
    // What was printed so far comes before the error.
    let printed = page.finish().map_err(Trouble::from);
    match result.and_then(|exit| printed.map(|()| exit)) {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            trouble.tell();
            trouble.exit().into()
        }
    }
}

fn carry_out(command: &Command, page: &Page) -> Result<Exit, Trouble> {
    match command {
        Command::Sweep(sweep) => sweep.carry_out(page, run_by_cargo()),
        Command::Explore(explore) => explore.carry_out(page, run_by_cargo()),
        Command::Run(run) => run.carry_out(page),
        Command::Replay(replay) => replay.carry_out(page, run_by_cargo()),
        Command::Shrink(shrink) => shrink.carry_out(page, run_by_cargo()),
        Command::Why(why) => why.carry_out(page),
        Command::Check(check) => check.carry_out(page),
        Command::Dialect(dialect) => dialect.carry_out(page),
        Command::Corpus(corpus) => corpus.carry_out(page),
        Command::Rules(rules) => rules.carry_out(page),
    }
}

/// How the user started this program, and so will start it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Started {
    ByCargo,
    Directly,
}

/// Cargo tells the programs that it runs which package they are from.
fn run_by_cargo() -> Started {
    let of_cargo = std::env::var_os("CARGO_PKG_NAME");
    if of_cargo == Some(OsString::from(env!("CARGO_PKG_NAME"))) {
        Started::ByCargo
    } else {
        Started::Directly
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }
}
