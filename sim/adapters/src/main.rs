//! `simvisor-adapters`: scenarios on runtimes as they are published, judged.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use simvisor_adapters::judge::{Terms, judge};
use simvisor_adapters::play::{PLAY, play_from_stdin};
use simvisor_adapters::sweep::{
    DepartureJson, Distinct, SweepJson, SweepOptions, SweepReport, key, matters, sweep,
};
use simvisor_adapters::{Departure, Outcome, Play, Subject, subject, subjects};
use simvisor_sim::case::{Case, FORMAT, Origin, Shown, VERSION};
use simvisor_sim::conform::{Dialect, Switches};
use simvisor_sim::oracle::RULES;
use simvisor_sim::page::{Page, progress};
use simvisor_sim::search::shrink_scenario;

/// Runs scenarios on runtimes as they are published and says where they leave the contract.
#[derive(Parser)]
#[command(
    name = "simvisor-adapters",
    version,
    after_help = "\
Examples:
  simvisor-adapters sweep --subject taskvisor@0.1.0 --seeds 2000
  simvisor-adapters replay target/departures/taskvisor@0.1.0/01-D6.json --trace
  simvisor-adapters shrink CASE --out smaller.json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the runtimes, and what of each is not judged
    Subjects,
    /// Runs many seeds and lists where a runtime leaves the contract
    Sweep(Sweep),
    /// Runs a case and says what the judges say
    Replay(Replay),
    /// Makes a case as small as it gets
    Shrink(Shrink),
    /// Plays one case from standard input; what the others start
    #[command(name = PLAY, hide = true)]
    Play,
}

/// In which words a trace is judged, and with what let pass.
#[derive(Parser)]
struct Speech {
    /// The dialect: `contract`, another built-in one, or a file [default: the runtime's]
    #[arg(long)]
    dialect: Option<String>,
    /// A deviation that is let pass
    #[arg(long, value_name = "DEVIATION")]
    on: Vec<String>,
    /// A deviation that is not, or `all`
    #[arg(long, value_name = "DEVIATION")]
    off: Vec<String>,
}

impl Speech {
    fn terms(&self, subject: &dyn Subject) -> Result<Terms> {
        let name = self.dialect.as_deref().unwrap_or(subject.dialect());
        let dialect = match Dialect::named(name) {
            Some(dialect) => dialect,
            None if Path::new(name).exists() => Dialect::from_toml(&std::fs::read_to_string(name)?)?,
            None => {
                let known = Dialect::names().join(", ");
                return Err(
                    format!("there is no dialect `{name}`, and no such file; built in are {known}").into()
                );
            }
        };
        Ok(Terms { dialect, switches: Switches { on: self.on.clone(), off: self.off.clone() } })
    }
}

#[derive(Parser)]
struct Sweep {
    #[command(flatten)]
    speech: Speech,
    /// The runtime
    #[arg(long)]
    subject: String,
    /// How many seeds
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many interleavings of each seed's scenario
    #[arg(long, default_value_t = 1)]
    interleavings: u64,
    /// Runs at once [default: one for each core]
    #[arg(long)]
    jobs: Option<usize>,
    /// Where the cases go [default: target/departures/SUBJECT]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Runs that may be spent to shrink each case; 0 leaves them as they are
    #[arg(long, default_value_t = 600)]
    shrink_runs: u64,
    /// Real time after which a run is given up, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    patience_ms: u64,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Parser)]
struct Replay {
    #[command(flatten)]
    speech: Speech,
    /// The case
    case: PathBuf,
    /// Prints the trace, one record a line
    #[arg(long)]
    trace: bool,
    /// Another runtime than the case's
    #[arg(long)]
    subject: Option<String>,
    /// Real time after which the run is given up, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    patience_ms: u64,
}

#[derive(Parser)]
struct Shrink {
    #[command(flatten)]
    speech: Speech,
    /// The case
    case: PathBuf,
    /// Where the smaller case goes [default: over the case]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Runs that may be spent
    #[arg(long, default_value_t = 5_000)]
    runs: u64,
    /// Real time after which a run is given up, in milliseconds
    #[arg(long, default_value_t = 5_000)]
    patience_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// One object
    Json,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let page = Page::stdout();
    let result = match Cli::parse().command {
        Command::Subjects => list(&page),
        Command::Sweep(options) => options.run(&page),
        Command::Replay(options) => options.run(&page),
        Command::Shrink(options) => options.run(&page),
        Command::Play => play_from_stdin().map(|()| ExitCode::SUCCESS).map_err(Into::into),
    };
    let printed = page.finish();
    result.and_then(|code| Ok(printed.map(|()| code)?)).unwrap_or_else(|error| {
        eprintln!("simvisor-adapters: {error}");
        ExitCode::from(2)
    })
}

fn list(page: &Page) -> Result<ExitCode> {
    for subject in subjects() {
        writeln!(page, "{}, in the dialect `{}`. Not judged:", subject.name(), subject.dialect());
        for text in subject.not_judged() {
            writeln!(page, "  - {text}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The example of a departure, as small as it got.
struct Example {
    play: Play,
    outcome: Outcome,
    seed: u64,
}

impl Example {
    fn case(&self, rule: &str) -> Case {
        let message = self.outcome.departures.first().map(|first| first.message.clone());
        let mut scenario = self.play.scenario.clone();
        if scenario.name.is_empty() {
            scenario.name = format!("{}, seed {:#x}", self.play.subject, self.seed);
        }
        Case {
            format: FORMAT.to_owned(),
            version: VERSION,
            origin: Origin {
                simvisor: env!("CARGO_PKG_VERSION").to_owned(),
                seed: Some(self.play.seed),
                strategy: self.play.subject.clone(),
                found_in: None,
            },
            shown: Shown {
                verdict: self.outcome.verdict.to_owned(),
                rule: Some(rule.to_owned()),
                message,
                trace_hash: Some(format!("{:#018x}", self.outcome.trace_hash)),
            },
            scenario,
            tape: Vec::new(),
        }
    }
}

/// Makes a play smaller while it departs in the same way.
fn shrink(
    me: &Path,
    play: &Play,
    terms: &Terms,
    key_of: &(String, String),
    runs: u64,
) -> Result<(Play, bool)> {
    let mut play = play.clone();
    let subject = subject(&play.subject).ok_or("the subject is gone")?;
    let mut trouble = None;
    let mut shows = |play: &Play| match judge(me, play, terms, |_| {}) {
        Ok(outcome) => key(&outcome).as_ref() == Some(key_of),
        Err(error) => {
            trouble = Some(error);
            false
        }
    };
    let mut is_minimal = runs == 0;
    // Without yields, if it shows there: before and after, for a smaller scenario may need none.
    for round in 0..2 {
        if play.seed != 0 && shows(&Play { seed: 0, ..play.clone() }) {
            play.seed = 0;
        } else if round > 0 {
            break;
        }
        let smaller = shrink_scenario(&play.scenario, runs, |scenario| {
            // As a replay would run it.
            let mut scenario = scenario.clone();
            subject.fit(&mut scenario);
            shows(&Play { scenario, ..play.clone() })
        });
        play.scenario = smaller.scenario;
        is_minimal = smaller.is_minimal;
        if play.seed == 0 {
            break;
        }
    }
    match trouble {
        Some(error) => Err(error.into()),
        None => Ok((play, is_minimal)),
    }
}

impl Sweep {
    fn run(self, page: &Page) -> Result<ExitCode> {
        let subject = subject(&self.subject)
            .ok_or_else(|| format!("there is no subject `{}`; `subjects` lists them", self.subject))?;
        let terms = self.speech.terms(&*subject)?;
        let me = std::env::current_exe()?;
        let jobs = match self.jobs {
            Some(jobs) => jobs,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let options = SweepOptions {
            from: self.from,
            seeds: self.seeds,
            interleavings: self.interleavings,
            jobs,
            patience_ms: self.patience_ms,
        };
        let seeds = progress(self.seeds, "{bar:40} {human_pos}/{human_len} seeds, {eta} left");
        let report = sweep(&me, &*subject, &terms, &options, &|done| seeds.set_position(done))?;
        seeds.finish_and_clear();
        let out = self.out.clone().unwrap_or_else(|| Path::new("target/departures").join(subject.name()));
        std::fs::create_dir_all(&out)?;
        let mut rows = Vec::new();
        let kinds = report.departures.len() as u64;
        let shrunk = progress(kinds, "{bar:40} {human_pos}/{human_len} departures shrunk, {eta} left");
        for (number, distinct) in (1..).zip(&report.departures) {
            rows.push(self.example(&me, &terms, &out, number, distinct)?);
            shrunk.inc(1);
        }
        shrunk.finish_and_clear();
        match self.format {
            Format::Json => {
                let json = SweepJson {
                    subject: subject.name(),
                    seeds: self.seeds,
                    seconds: report.seconds,
                    departures: rows,
                };
                writeln!(page, "{}", serde_json::to_string_pretty(&json)?);
            }
            Format::Text => print(subject.name(), self.seeds, &report, &rows, page),
        }
        Ok(if report.departing == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn example(
        &self,
        me: &Path,
        terms: &Terms,
        out: &Path,
        number: u32,
        distinct: &Distinct,
    ) -> Result<DepartureJson> {
        let key_of = (distinct.rule.clone(), simvisor_adapters::sweep::shape(&distinct.departure.message));
        let (play, _) = match self.shrink_runs {
            0 => (distinct.play.clone(), false),
            runs => shrink(me, &distinct.play, terms, &key_of, runs)?,
        };
        let mut outcome = judge(me, &play, terms, |_| {})?;
        if key(&outcome).as_ref() != Some(&key_of) {
            // It does not repeat; then what was seen once is kept.
            outcome.departures.insert(0, distinct.departure.clone());
        }
        let message = outcome.departures[0].message.clone();
        let file = out.join(format!("{number:02}-{}.json", distinct.rule));
        let matters = matters(&play.scenario);
        let case = Example { play, outcome, seed: distinct.seed }.case(&distinct.rule);
        std::fs::write(&file, case.to_json()?)?;
        Ok(DepartureJson { rule: distinct.rule.clone(), seeds: distinct.seeds, message, case: file, matters })
    }
}

fn print(name: &str, seeds: u64, report: &SweepReport, rows: &[DepartureJson], page: &Page) {
    writeln!(
        page,
        "{name}: {seeds} seeds, {} runs, {} lines of trace in {:.1} s",
        report.runs, report.lines, report.seconds
    );
    let verdicts: Vec<_> =
        report.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
    writeln!(page, "ended      {}", verdicts.join(", "));
    writeln!(page, "lossy      {} runs lost events to the bus, and are judged up to there", report.lossy);
    let (repeated, same) = report.repeated;
    writeln!(page, "repeats    {same} of {repeated} runs that were repeated gave the same trace");
    let untested: Vec<_> = RULES
        .iter()
        .zip(&report.witnesses)
        .filter(|(_, count)| **count == 0)
        .map(|(rule, _)| rule.id)
        .collect();
    writeln!(
        page,
        "untested   {}",
        if untested.is_empty() { "no rule".to_owned() } else { untested.join(", ") }
    );
    for (deviation, runs) in &report.excused {
        writeln!(page, "let pass   {deviation}, in {runs} runs");
    }
    for (oddity, runs) in &report.oddities {
        writeln!(page, "odd        {oddity}, in {runs} runs");
    }
    writeln!(page, "departures {} kinds, in {} seeds\n", rows.len(), report.departing);
    writeln!(
        page,
        "{:<8} {:>5}  first departure of a run (shrunk), what has a part in it, case",
        "rule", "seeds"
    );
    for row in rows {
        writeln!(page, "{:<8} {:>5}  {}", row.rule, row.seeds, row.message);
        let parts =
            if row.matters.is_empty() { "nothing but tasks".to_owned() } else { row.matters.join(", ") };
        writeln!(page, "{:15} {parts}", "");
        writeln!(page, "{:15} {}", "", row.case.display());
    }
}

/// The play of a case file.
fn play_of(path: &Path, other: Option<&str>, patience_ms: u64) -> Result<(Case, Play)> {
    let case = Case::read(path)?;
    let name = other.unwrap_or(&case.origin.strategy).to_owned();
    let subject = subject(&name).ok_or_else(|| {
        format!(
            "{}: `origin.strategy` is `{name}`, which is no subject; `subjects` lists them",
            path.display()
        )
    })?;
    let mut scenario = case.scenario.clone();
    subject.fit(&mut scenario);
    let seed = case.origin.seed.unwrap_or(0);
    Ok((case, Play { subject: name, scenario, seed, patience_ms }))
}

impl Replay {
    fn run(self, page: &Page) -> Result<ExitCode> {
        let (case, play) = play_of(&self.case, self.subject.as_deref(), self.patience_ms)?;
        let terms = self.speech.terms(&*subject(&play.subject).ok_or("the subject is gone")?)?;
        let me = std::env::current_exe()?;
        let outcome = judge(&me, &play, &terms, |line| {
            if self.trace {
                writeln!(page, "{line}");
            }
        })?;
        let out = if self.trace { Page::stderr() } else { page.clone() };
        let detail = outcome.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
        writeln!(out, "subject  {}", play.subject);
        writeln!(out, "verdict  {}{detail}", outcome.verdict);
        writeln!(out, "trace    {:#018x}, {} lines", outcome.trace_hash, outcome.lines);
        for Departure { rule, message, at_ns, instead, involved } in &outcome.departures {
            writeln!(out, "{rule:<8} at {} ms: {message}", at_ns / 1_000_000);
            for text in instead {
                writeln!(out, "{:8} what could have come: {text}", "");
            }
            if !involved.is_empty() {
                writeln!(out, "{:8} rules: {}", "", involved.join(", "));
            }
        }
        if outcome.verdict != "done" {
            writeln!(out, "the last lines:");
            for line in &outcome.tail {
                writeln!(out, "  {line}");
            }
        }
        let then = case.shown.rule.as_deref();
        let now = outcome.departures.first().map(|departure| departure.rule);
        let same = match (then, now) {
            (None, None) => "nothing, as then",
            (Some(then), Some(now)) if then == now => "the same departure as then",
            (_, None) => "nothing: the departure is no longer shown",
            _ => "another departure than then",
        };
        writeln!(out, "now      {same}");
        out.finish()?;
        Ok(if outcome.departures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

impl Shrink {
    fn run(self, page: &Page) -> Result<ExitCode> {
        let (case, play) = play_of(&self.case, None, self.patience_ms)?;
        let terms = self.speech.terms(&*subject(&play.subject).ok_or("the subject is gone")?)?;
        let me = std::env::current_exe()?;
        let first = judge(&me, &play, &terms, |_| {})?;
        let Some(key_of) = key(&first) else {
            return Err("the case departs from nothing, so there is nothing to shrink".into());
        };
        let (smaller, is_minimal) = shrink(&me, &play, &terms, &key_of, self.runs)?;
        let outcome = judge(&me, &smaller, &terms, |_| {})?;
        let message = outcome.departures.first().map_or("", |departure| &departure.message).to_owned();
        let out = self.out.unwrap_or(self.case);
        let seed = case.origin.seed.unwrap_or(0);
        let smaller = Example { play: smaller, outcome, seed }.case(&key_of.0);
        std::fs::write(&out, smaller.to_json()?)?;
        writeln!(page, "{:<8} {message}", key_of.0);
        let how = if is_minimal {
            "no edit makes it smaller"
        } else {
            "stopped before it was known to be the smallest"
        };
        writeln!(
            page,
            "{} tasks, {} operations, {} subscribers; {how}",
            smaller.scenario.tasks.len(),
            smaller.scenario.operations.len(),
            smaller.scenario.subscribers.len()
        );
        writeln!(page, "case     {}", out.display());
        Ok(ExitCode::SUCCESS)
    }
}
