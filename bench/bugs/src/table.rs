//! The table: a row for each program, a column for each searcher.

use serde_json::{Map, Value, json};

use crate::Searcher;
use crate::programs::Program;

/// What the trials of one searcher on one program came to.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    trials: u64,
    runs_max: u32,
    /// Runs to the first bug; those that gave up count as more than any.
    runs: Vec<u32>,
}

const GAVE_UP: u32 = u32::MAX;

/// After so many trials that all gave up no further one is made.
const HOPELESS: u64 = 8;

impl Cell {
    pub(crate) fn new(trials: u64, runs_max: u32) -> Self {
        Self { trials, runs_max, runs: Vec::new() }
    }

    pub(crate) fn add(&mut self, runs: Option<u32>) {
        self.runs.push(runs.unwrap_or(GAVE_UP));
    }

    fn given_up(&self) -> u64 {
        self.runs.iter().filter(|&&runs| runs == GAVE_UP).count() as u64
    }

    /// More than half have given up: the median will not be a number, whatever comes. Or so have all of the first few:
    /// if half of the trials found it, that would happen in less than one cell of 200.
    pub(crate) fn is_decided(&self) -> bool {
        let all = self.runs.len() as u64;
        self.given_up() > self.trials / 2 || all >= HOPELESS.min(self.trials) && self.given_up() == all
    }

    /// The lower median; `None` if that trial gave up.
    fn median(&self) -> Option<u32> {
        if self.is_decided() {
            return None;
        }
        let mut runs = self.runs.clone();
        runs.sort_unstable();
        runs.get((runs.len() - 1) / 2).copied().filter(|&runs| runs != GAVE_UP)
    }

    fn text(&self) -> String {
        let given_up = self.given_up();
        match self.median() {
            None => format!(">{}", self.runs_max),
            Some(median) if given_up > 0 => format!("{median} ({}/{})", self.trials - given_up, self.trials),
            Some(median) => median.to_string(),
        }
    }

    fn json(&self) -> Value {
        let found = self.runs.iter().filter(|&&runs| runs != GAVE_UP).collect::<Vec<_>>();
        json!({ "median": self.median(), "trials": self.runs.len(), "found": found.len(), "runs": found })
    }
}

type Row<'a> = (Program, &'a [Cell]);

/// For people: Markdown.
pub(crate) fn print(searchers: &[Searcher], rows: &[Row<'_>], trials: u64, runs_max: u32) {
    println!(
        "Runs to first bug: median of {trials} trials of at most {runs_max} runs; (found/trials) where some gave up.\n"
    );
    let mut lines = vec![vec!["program".to_owned()]];
    lines[0].extend(searchers.iter().map(|searcher| searcher.name()));
    for (program, cells) in rows {
        lines.push(std::iter::once(program.name()).chain(cells.iter().map(Cell::text)).collect());
    }
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<_> = line
            .iter()
            .enumerate()
            .map(|(column, cell)| match column {
                0 => format!("{cell:<0$}", width(0)),
                _ => format!("{cell:>0$}", width(column)),
            })
            .collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            let rules: Vec<_> = (0..line.len())
                .map(|column| match column {
                    0 => "-".repeat(width(0)),
                    _ => format!("{}:", "-".repeat(width(column) - 1)),
                })
                .collect();
            println!("| {} |", rules.join(" | "));
        }
    }
}

/// For programs.
pub(crate) fn print_json(searchers: &[Searcher], rows: &[Row<'_>], trials: u64, runs_max: u32) {
    let programs: Map<_, _> = rows
        .iter()
        .map(|(program, cells)| {
            let cells: Map<_, _> =
                searchers.iter().zip(*cells).map(|(searcher, cell)| (searcher.name(), cell.json())).collect();
            (program.name(), Value::Object(cells))
        })
        .collect();
    println!("{}", json!({ "trials": trials, "runs_max": runs_max, "programs": programs }));
}
