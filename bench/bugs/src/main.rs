//! Runs to first bug, for each strategy of simvisor and its counterpart in shuttle, on programs with one known bug.
//!
//! `cargo run --release -p simvisor-bugs` prints the table of `docs/strategies.md`. Seeds are fixed, so it prints the
//! same numbers every time.

mod host;
mod ours;
mod programs;
mod table;
mod theirs;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Parser, ValueEnum};
use simvisor_sim::schedule::StrategyKind;

use programs::{PROGRAMS, Program};
use table::Cell;
use theirs::Shuttle;

/// Runs to first bug, ours and shuttle's strategies side by side.
#[derive(Debug, Parser)]
struct Args {
    /// How often each search is made anew; the table shows the median
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
    /// Runs after which a search gives up
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    runs: u32,
    /// 20 trials of 1,000 runs
    #[arg(long)]
    quick: bool,
    /// Only programs whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Only these searchers, such as `pct` or `shuttle pct`, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    by: Vec<String>,
    /// Threads
    #[arg(long, value_name = "J", default_value_t = 2)]
    jobs: usize,
    /// A table, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Who searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Searcher {
    Ours(StrategyKind),
    /// Ours for bugs of one depth, that of shuttle's, where a seed of ours draws its own.
    PctOfDepth(u32),
    Shuttle(Shuttle),
}

impl Searcher {
    /// All of them; what bears one name stands side by side.
    fn all() -> Vec<Self> {
        let ours = StrategyKind::ALL.into_iter().filter(|&kind| kind != StrategyKind::Fifo);
        let both = ours.flat_map(|kind| {
            let deep = (kind == StrategyKind::Pct).then_some(Self::PctOfDepth(Shuttle::PCT_DEPTH));
            let theirs = Shuttle::ALL.into_iter().find(|shuttle| shuttle.name() == kind.name());
            std::iter::once(Self::Ours(kind)).chain(deep).chain(theirs.map(Self::Shuttle))
        });
        both.collect()
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Ours(kind) => kind.name().to_owned(),
            Self::PctOfDepth(depth) => format!("pct of depth {depth}"),
            Self::Shuttle(shuttle) => format!("shuttle {}", shuttle.name()),
        }
    }

    /// Runs to the first bug, over all trials.
    fn search(self, program: Program, trials: u64, runs_max: u32) -> Cell {
        let mut cell = Cell::new(trials, runs_max);
        for trial in 0..trials {
            cell.add(match self {
                Self::Ours(kind) => ours::trial(program, kind, None, trial, runs_max),
                Self::PctOfDepth(depth) => {
                    ours::trial(program, StrategyKind::Pct, Some(depth), trial, runs_max)
                }
                Self::Shuttle(shuttle) => theirs::trial(program, shuttle, trial, runs_max),
            });
            if cell.is_decided() {
                break;
            }
        }
        cell
    }
}

fn main() {
    let args = Args::parse();
    let (trials, runs_max) = if args.quick { (20, 1_000) } else { (args.trials, args.runs) };
    let programs: Vec<_> =
        PROGRAMS.into_iter().filter(|program| program.name().contains(&args.only)).collect();
    let searchers: Vec<_> = Searcher::all()
        .into_iter()
        .filter(|searcher| args.by.is_empty() || args.by.contains(&searcher.name()))
        .collect();
    let places: Vec<_> = programs
        .iter()
        .flat_map(|&program| searchers.iter().map(move |&searcher| (program, searcher)))
        .collect();
    let (next, cells) = (AtomicUsize::new(0), Mutex::new(vec![None; places.len()]));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(program, searcher)) = places.get(place) else { return };
                    let cell = searcher.search(program, trials, runs_max);
                    cells.lock().expect("no thread panics while it writes")[place] = Some(cell);
                }
            });
        }
    });
    let cells: Vec<Cell> = cells
        .into_inner()
        .expect("as above")
        .into_iter()
        .map(|cell| cell.expect("every cell was filled"))
        .collect();
    let rows: Vec<_> = programs.into_iter().zip(cells.chunks(searchers.len())).collect();
    match args.format {
        Format::Text => table::print(&searchers, &rows, trials, runs_max),
        Format::Json => table::print_json(&searchers, &rows, trials, runs_max),
    }
}
