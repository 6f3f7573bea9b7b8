//! `simvisor check`: a trace of any runtime, held against the contract.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::json;
use simvisor_sim::case::read_text;
use simvisor_sim::conform::{Checked, Departure, Dialect, Judge, Oddity, Switches, check};
use simvisor_sim::report::nanos_text;

use super::args::Format;
use super::exit::{Exit, Trouble};
use super::summary::{BAD, DIM, GOOD, line, sentence};
use simvisor_sim::page::Page;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 1 << 18;

/// Arguments of `simvisor check`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Check {
    /// A trace (JSON lines, docs/trace.md); `-` reads standard input
    #[arg(value_name = "TRACE.jsonl")]
    trace: PathBuf,
    /// What the runtime's events mean: a built-in dialect, or a file (TOML, docs/reference-model.md)
    #[arg(long, value_name = "NAME|FILE", default_value = "contract")]
    dialect: String,
    /// Let this deviation of the dialect pass
    #[arg(long, value_name = "ID")]
    allow: Vec<String>,
    /// Do not let this deviation of the dialect pass; `all` for every one that is not allowed
    #[arg(long, value_name = "ID")]
    deny: Vec<String>,
    /// How the judgement is printed: for people, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const AFTER_HELP: &str = "\
Examples:
  simvisor check mine.jsonl
  mine | simvisor check -                             as it runs, line by line
  simvisor check mine.jsonl --dialect taskvisor-0.9
  simvisor check mine.jsonl --dialect mine.toml --deny all
  simvisor dialect taskvisor-0.9 > mine.toml          a start for a dialect of your own";

impl Check {
    pub(crate) fn carry_out(&self, page: &Page) -> Result<Exit, Trouble> {
        let input = |text: String| Trouble::Input(text);
        let dialect = dialect(&self.dialect)?;
        let switches = Switches { on: self.allow.clone(), off: self.deny.clone() };
        let name = dialect.name.clone();
        let mut judge = Judge::new(dialect, &switches).map_err(|error| input(error.to_string()))?;
        let shown = self.trace.display().to_string();
        let checked = if self.trace == Path::new("-") {
            check("standard input", stdin(), &mut judge)
        } else {
            let file = File::open(&self.trace)
                .map_err(|error| input(format!("{shown}: the file cannot be read: {error}")))?;
            check(&shown, BufReader::with_capacity(BUFFER_BYTES, file), &mut judge)
        };
        let checked = checked.map_err(|error| input(error.to_string()))?;
        match self.format {
            Format::Text => tell(page, &checked, &name),
            Format::Json => writeln!(page, "{}", as_json(&checked, &name)),
        }
        match (checked.judgement.conforms(), checked.judgement.is_empty()) {
            (false, _) => Ok(Exit::Violation),
            (true, false) => Ok(Exit::Clean),
            (true, true) => Err(input(format!(
                "{shown}: nothing was judged, because nothing in it puts a rule to the test; are its events those \
                 of dialect `{name}`?"
            ))),
        }
    }
}

fn stdin() -> impl BufRead {
    BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock())
}

/// A built-in dialect, or that of a file.
fn dialect(name: &str) -> Result<Dialect, Trouble> {
    if let Some(dialect) = Dialect::named(name) {
        return Ok(dialect);
    }
    let path = Path::new(name);
    if !path.exists() {
        let names = Dialect::names().join(", ");
        return Err(Trouble::Input(format!(
            "`{name}` is neither a built-in dialect ({names}) nor a file that there is"
        )));
    }
    let text = read_text(path).map_err(|error| Trouble::Input(error.to_string()))?;
    Dialect::from_toml(&text).map_err(|error| Trouble::Input(format!("{name}: {error}")))
}

fn tell(page: &Page, checked: &Checked, dialect: &str) {
    let Checked { runtime, lines, oddities, judgement, .. } = checked;
    let coverage = &judgement.coverage;
    line(
        page,
        "trace",
        &format!("{runtime}: {lines} lines, {} records, {} events", judgement.records, judgement.events),
    );
    line(page, "dialect", dialect);
    for Oddity { line: at, what, times, .. } in oddities.seen() {
        let times = if *times > 1 { format!(" ({times} times)") } else { String::new() };
        line(page, "odd", &format!("line {at}: {what}{times}"));
    }
    if oddities.more() > 0 {
        line(page, "odd", &format!("and {} more", oddities.more()));
    }
    for departure in &judgement.departures {
        tell_departure(page, departure);
    }
    for excused in &judgement.excused {
        let (id, times) = (&excused.deviation, excused.times);
        line(page, "except", &format!("{id} ({times} times): {}", excused.sentence));
    }
    let (tested, untested): (Vec<_>, Vec<_>) = (coverage.tested().collect(), coverage.untested().collect());
    let all = coverage.rules.len();
    let without = if untested.is_empty() { String::new() } else { format!("; not {}", untested.join(", ")) };
    line(page, "rules", &format!("{} of {all} were put to the test{without}", tested.len()));
    let unvisited: Vec<_> = coverage.unvisited().collect();
    let visited = coverage.states.len() - unvisited.len();
    let never =
        if unvisited.is_empty() { String::new() } else { format!("; never: {}", unvisited.join("; ")) };
    line(page, "states", &format!("{visited} of {} were visited{never}", coverage.states.len()));
    for (rule, because) in &coverage.not_judged {
        line(page, "leaves", &format!("{rule}: {because}"));
    }
    if judgement.is_empty() {
        return;
    }
    let verdict = match (judgement.conforms(), judgement.excused.is_empty()) {
        (true, true) => format!("{GOOD}conforms{GOOD:#}"),
        (true, false) => {
            let except: Vec<_> = judgement.excused.iter().map(|excused| excused.sentence.as_str()).collect();
            format!("{GOOD}conforms{GOOD:#}, except that {}", except.join("; and that "))
        }
        (false, _) => {
            let rules: Vec<_> = judgement.departures.iter().map(|departure| departure.rule).collect();
            format!("{BAD}departs{BAD:#} from the contract: {}", rules.join(", "))
        }
    };
    line(page, "verdict", &verdict);
}

fn tell_departure(page: &Page, departure: &Departure) {
    let Departure { rule, message, at_ns, line: at_line, .. } = departure;
    let place = at_line.map_or_else(String::new, |line| format!(" line {line},"));
    line(page, "departs", &format!("{BAD}{rule}{BAD:#} at{place} {}: {message}", nanos_text(*at_ns)));
    for before in &departure.before {
        line(page, "", &format!("{DIM}just before{DIM:#}  {before}"));
    }
    for instead in &departure.instead {
        line(page, "", &format!("{DIM}might come{DIM:#}   {instead}"));
    }
    if departure.involved.is_empty() {
        line(page, "", &format!("{DIM}{}{DIM:#}", sentence(rule)));
    }
    for rule in &departure.involved {
        line(page, "", &format!("{DIM}{rule:<3} {}{DIM:#}", sentence(rule)));
    }
}

fn as_json(checked: &Checked, dialect: &str) -> serde_json::Value {
    let Checked { runtime, scenario, lines, oddities, judgement } = checked;
    let coverage = &judgement.coverage;
    let counts = |pairs: &[(&'static str, u64)]| {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), json!(count)))
            .collect::<serde_json::Map<_, _>>()
    };
    let not_judged: Vec<_> = coverage
        .not_judged
        .iter()
        .map(|(rule, because)| json!({ "rule": rule, "because": because }))
        .collect();
    json!({
        "runtime": runtime,
        "scenario": scenario,
        "dialect": dialect,
        "conforms": judgement.conforms(),
        "judged": !judgement.is_empty(),
        "lines": lines,
        "records": judgement.records,
        "events": judgement.events,
        "end": judgement.end,
        "oddities": oddities.seen(),
        "more_oddities": oddities.more(),
        "departures": judgement.departures,
        "except": judgement.excused,
        "unneeded": judgement.unneeded,
        "witnesses": counts(&coverage.rules),
        "visits": counts(&coverage.states),
        "not_judged": not_judged,
    })
}
