//! A check from its beginning to its end: what is run in which order, and what becomes of a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::determinism::difference;
use super::place::{Caller, quoted};
use super::regressions::Shelf;
use super::run::{Body, Ran, Worlds};
use super::shrink::{Points, Tried, shrink};
use super::stage::{Failure, FailureKind, Logged, Setup, Tally};
use super::watchdog::{Post, Watchdog};
use super::whence::{Back, Way, Whence};
use super::{Check, CheckError, Failed, Passed, Regressions};
use crate::case::{
    FORMAT, NamedChoice, Origin, PROGRAM, PROGRAM_VERSION, Program, ProgramCase, Shown as WasShown,
};
use crate::env::{CASE, Env, Shown};
use crate::report::{Detail, FailureReport, last_rows};
use crate::search::deviations::Deviation;

/// Rows of the timeline that a report shows.
const ROWS_MAX: usize = 40;

/// About how many turns of the executor are spent to make a failure simple, in all: some seconds.
const SHRINK_TURNS_MAX: u64 = 10_000_000;

/// Runs that are spent in any case.
const SHRINK_RUNS_MIN: u64 = 20;

pub(super) struct Session<'a> {
    env: Env,
    way: Way,
    shelf: Option<Shelf>,
    worlds: Worlds<'a>,
    check: &'a Check,
    post: Arc<Post>,
    _watchdog: Watchdog,
    /// Detail of a timeline that is shown; nothing to show none.
    detail: Option<Detail>,
    sometimes: BTreeMap<String, Tally>,
    remarks: Vec<String>,
    timeline: Option<String>,
}

/// A failure that was made simple.
struct Simple {
    failure: Failure,
    deviations: Vec<Deviation>,
    choices_found: usize,
    shrink_runs: u64,
    remark: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(check: &'a Check, setup: Rc<Setup>, env: Env, caller: Caller, body: Body<'a>) -> Self {
        let program = caller.program();
        let shelf = match &check.regressions {
            Regressions::Beside => Some(Shelf::of(&caller, &program, None)),
            Regressions::In(directory) => Some(Shelf::of(&caller, &program, Some(directory))),
            Regressions::Nowhere => None,
        };
        let detail = match env.log {
            None => Some(Detail::Usual),
            Some(Shown::Nothing) => None,
            Some(Shown::Timeline(detail)) => Some(detail),
        };
        let strategy = env.strategy.unwrap_or(check.strategy);
        let way = Way { caller, program, strategy, usual: check.strategy };
        let post = Arc::<Post>::default();
        let patience = env.hang_after.unwrap_or(check.hang_after);
        Self {
            worlds: Worlds::new(setup, check.limits, body, &post),
            _watchdog: Watchdog::of(&post, &way, patience),
            env,
            way,
            shelf,
            check,
            post,
            detail,
            sometimes: BTreeMap::new(),
            remarks: Vec::new(),
            timeline: None,
        }
    }

    pub(super) fn carry_out(mut self) -> Result<Passed, CheckError> {
        if let Some(path) = self.env.case.clone() {
            self.one_case(&path)?;
        } else if let Some(seed) = self.env.seed {
            self.one_seed(seed)?;
        } else {
            self.regressions()?;
            self.all_seeds()?;
        }
        Ok(Passed {
            runs: self.worlds.runs,
            sometimes: self.sometimes.into_iter().map(|(name, tally)| (name, tally.held)).collect(),
            remarks: self.remarks,
            timeline: self.timeline,
        })
    }

    /// The case that was asked for, alone.
    fn one_case(&mut self, path: &Path) -> Result<(), CheckError> {
        let case = ProgramCase::read(&self.way.caller.find(path))?;
        if !self.is_own(&case, path)? {
            return Ok(());
        }
        self.replay(&case, path)?;
        self.show_alone(|session| session.worlds.deviate(&case.deviations(), session.to_show()));
        Ok(())
    }

    /// Whether a case is of this check; false for another check of the same test.
    fn is_own(&self, case: &ProgramCase, path: &Path) -> Result<bool, CheckError> {
        let Program { package, test, .. } = &case.program;
        let is_foreign =
            self.way.caller.package.as_ref().is_some_and(|own| !package.is_empty() && own != package);
        let name = |program: &str| program.split('#').next().unwrap_or(program).to_owned();
        if is_foreign || name(test) != name(&self.way.program) {
            let path = path.display().to_string();
            let text = format!(
                "{path}: this is {}; the test that reads it is `{}`{}",
                case.how_to_run(&path),
                self.way.caller.test,
                self.way
                    .caller
                    .package
                    .as_ref()
                    .map_or_else(String::new, |own| format!(" of the package `{own}`")),
            );
            return Err(CheckError::OtherTest(text));
        }
        Ok(*test == self.way.program)
    }

    /// The seed that was asked for, alone.
    fn one_seed(&mut self, seed: u64) -> Result<(), CheckError> {
        // What the strategies learn from it is part of what a seed means.
        self.post.come_from(Whence::Plain);
        let _ = self.worlds.plain(self.in_case());
        self.seed(seed)?;
        let strategy = self.way.strategy;
        self.show_alone(|session| session.worlds.seed(seed, strategy, session.to_show()));
        Ok(())
    }

    /// The log of a run that is shown.
    fn to_show(&self) -> Option<Logged> {
        self.detail.map(Logged::ToShow)
    }

    /// A run that was asked for alone keeps its log, for it may be one that has no end and cannot be repeated.
    fn in_case(&self) -> Option<Logged> {
        let is_alone = self.env.seed.is_some() || self.env.case.is_some();
        self.detail.filter(|_| is_alone).map(Logged::InCase)
    }

    /// A run that was asked for alone is shown though it passes, if the log is asked for too.
    fn show_alone(&mut self, run: impl FnOnce(&mut Self) -> Ran) {
        if self.env.log.is_some() && self.detail.is_some() {
            self.timeline = run(self).log;
        }
    }

    /// What failed once.
    fn regressions(&mut self) -> Result<(), CheckError> {
        let Some(shelf) = self.shelf.clone() else { return Ok(()) };
        let files = shelf.files().map_err(|why| CheckError::Regressions {
            path: shelf.shown(Path::new("")).display().to_string(),
            why,
        })?;
        for file in files {
            let case = ProgramCase::read(&file)?;
            let shown = shelf.shown(&file);
            if self.is_own(&case, &shown)? {
                self.replay(&case, &shown)?;
            }
        }
        Ok(())
    }

    /// Replays a case as far as it fits.
    fn replay(&mut self, case: &ProgramCase, path: &Path) -> Result<(), CheckError> {
        let deviations = case.deviations();
        let whence = Whence::Case {
            path: path.to_owned(),
            seed: case.origin.seed,
            strategy: case.origin.strategy.clone(),
        };
        self.post.come_from(whence.clone());
        let ran = self.worlds.deviate(&deviations, self.in_case());
        let fit = self.fit(&deviations);
        self.count(&ran);
        let shown = path.display();
        let Some(failure) = ran.failure else {
            self.remarks.push(format!("{shown}: {fit}; the failure does not come any more"));
            return Ok(());
        };
        let same = is_same_kind(case, &failure);
        let now = if same { "the same failure comes" } else { "another failure comes than then" };
        let choices_found = deviations.len();
        let remark = Some(format!("{fit}; {now}"));
        let simple = Simple { failure, deviations, choices_found, shrink_runs: 0, remark };
        Err(self.failed(&whence, simple))
    }

    /// How far the last run followed these deviations.
    fn fit(&self, deviations: &[Deviation]) -> String {
        let pilot = self.worlds.pilot();
        let made = pilot.made();
        let total = deviations.len();
        let fitting = deviations.iter().filter(|deviation| made.contains(deviation)).count();
        let choices = if total == 1 { "choice" } else { "choices" };
        match deviations.iter().position(|deviation| !made.contains(deviation)) {
            None if total == 0 => "there was no choice to fit".to_owned(),
            None => format!("the recorded {choices} fitted, {total} of {total}"),
            Some(first) => {
                let why = if pilot.came_to(&deviations[first].at) {
                    "it was not possible there"
                } else {
                    "the run did not come to it"
                };
                format!(
                    "{fitting} of {total} recorded {choices} fitted; the first that did not was no. {}, `{}`: {why}",
                    first + 1,
                    deviations[first]
                )
            }
        }
    }

    fn all_seeds(&mut self) -> Result<(), CheckError> {
        self.post.come_from(Whence::Plain);
        let plain = self.worlds.plain(None);
        self.count(&plain);
        if plain.failure.is_some() {
            let (again, _) = self.worlds.follow(&plain.tape);
            return Err(self.found(&Whence::Plain, &plain, &again, Vec::new()));
        }
        let seeds = self.env.seeds.unwrap_or(self.check.seeds);
        for number in 0..seeds {
            self.seed(self.check.first_seed.wrapping_add(number))?;
        }
        let never: Vec<_> = self.sometimes.iter().filter(|(_, tally)| tally.held == 0).collect();
        if never.is_empty() {
            return Ok(());
        }
        let each = never.iter().map(|(name, tally)| {
            let times = if tally.asked == 1 { "time" } else { "times" };
            format!("  `{name}` never held; it was asked for {} {times}\n", tally.asked)
        });
        let command = self.way.caller.command(&format!("SIMVISOR_SEEDS={}", seeds.saturating_mul(10)));
        Err(CheckError::NeverHeld(format!(
            "{} did not see in {} runs what it should see sometimes:\n{}  more seeds   {command}",
            self.way.program,
            self.worlds.runs,
            each.collect::<String>(),
        )))
    }

    fn seed(&mut self, seed: u64) -> Result<(), CheckError> {
        self.post.come_from(Whence::Seed(seed));
        let twice = self.env.check_determinism == Some(true);
        let log = if twice { Some(Logged::InCase(Detail::All)) } else { self.in_case() };
        let ran = self.worlds.seed(seed, self.way.strategy, log);
        self.count(&ran);
        if twice {
            let again = self.worlds.seed(seed, self.way.strategy, log);
            if let Some(text) = difference(&ran, &again) {
                return Err(self.nondeterministic(&Whence::Seed(seed), text));
            }
        }
        if ran.failure.is_none() {
            return Ok(());
        }
        let (again, made) = self.worlds.follow(&ran.tape);
        Err(self.found(&Whence::Seed(seed), &ran, &again, made))
    }

    fn count(&mut self, ran: &Ran) {
        for (name, Tally { asked, held }) in &ran.sometimes {
            let sum = self.sometimes.entry(name.clone()).or_default();
            sum.asked += asked;
            sum.held += held;
        }
    }

    /// A run failed; `again` is the same run, told by its deviations.
    fn found(&mut self, whence: &Whence, ran: &Ran, again: &Ran, made: Vec<Deviation>) -> CheckError {
        let failure = ran.failure.clone().expect("it failed");
        if failure.kind == FailureKind::StrayWake {
            return self.nondeterministic(whence, failure.message);
        }
        if again.failure.as_ref().map(|failure| &failure.kind) != Some(&failure.kind) {
            let came = match &again.failure {
                Some(other) => format!("another failure came: {}", other.message),
                None => "it did not come".to_owned(),
            };
            let text = format!(
                "{}\nwhen the same choices were made again, {came}; a run that cannot be repeated is told apart by \
                 SIMVISOR_CHECK_DETERMINISM=1",
                failure.message
            );
            return self.nondeterministic(whence, text);
        }
        self.post.look_into(&failure);
        let choices_found = made.len();
        let (deviations, shrink_runs) = self.simplify(ran, &failure.kind, made);
        let last = self.worlds.deviate(&deviations, None);
        let failure = last.failure.unwrap_or(failure);
        self.failed(whence, Simple { failure, deviations, choices_found, shrink_runs, remark: None })
    }

    fn simplify(&mut self, ran: &Ran, kind: &FailureKind, made: Vec<Deviation>) -> (Vec<Deviation>, u64) {
        let limits = self.worlds.limits;
        if ran.turns > 0 && !matches!(kind, FailureKind::Limit | FailureKind::Livelock) {
            // What is taken away may be what ends a run.
            self.worlds.limits.turns_max = limits.turns_max.min(2 * ran.turns + 1_000);
        }
        let affordable = (SHRINK_TURNS_MAX / (ran.turns + 1)).max(SHRINK_RUNS_MIN);
        let runs_max = self.check.shrink_runs_max.min(affordable);
        let worlds = &mut self.worlds;
        let simple = shrink(made, runs_max, |deviations, points| {
            let (ran, points) = match points {
                Points::Unwanted => (worlds.deviate(deviations, None), Vec::new()),
                Points::Wanted => worlds.look_around(deviations),
            };
            let fails = ran.failure.is_some_and(|failure| failure.kind == *kind);
            Tried { fails, made: worlds.pilot().made().to_vec(), points }
        });
        self.worlds.limits = limits;
        simple
    }

    /// A run that cannot be repeated: nothing of it can be shown but what it said.
    fn nondeterministic(&mut self, whence: &Whence, text: String) -> CheckError {
        let failure = Failure { kind: FailureKind::StrayWake, message: text, at_ns: 0 };
        let Back { command, seed, strategy } = self.way.back(whence, "SIMVISOR_CHECK_DETERMINISM=1 ");
        let report = FailureReport {
            broken: failure.kind.verdict().to_owned(),
            message: failure.message.clone(),
            at_ns: None,
            choices: None,
            timeline: Vec::new(),
            next: vec![("again".to_owned(), command.clone())],
        };
        CheckError::Failed(Box::new(Failed {
            seed,
            verdict: failure.kind.verdict().to_owned(),
            rule: None,
            message: failure.message,
            choices: Vec::new(),
            choices_found: 0,
            runs: self.worlds.runs,
            shrink_runs: 0,
            command,
            case: None,
            report: format!("{}\n\n{report}", self.way.title(whence, &strategy)),
            strategy,
        }))
    }

    /// Keeps a failure, and tells of it.
    fn failed(&mut self, whence: &Whence, simple: Simple) -> CheckError {
        let Simple { failure, deviations, choices_found, shrink_runs, remark } = simple;
        let runs = self.worlds.runs;
        // The run once more, to be seen. Its schedule does not know that it is watched.
        let shown = self.worlds.deviate(&deviations, self.to_show());
        let choices = self.worlds.pilot().told();
        let Back { command, seed, strategy } = self.way.back(whence, "");
        let mut next = Vec::new();
        if choices_found > deviations.len() {
            next.push((
                "shrunk".to_owned(),
                format!("from {choices_found} choices to {}, in {shrink_runs} runs", deviations.len()),
            ));
        }
        next.extend(remark.map(|remark| ("replay".to_owned(), remark)));
        next.push(("again".to_owned(), command.clone()));
        let case = match whence {
            Whence::Case { path, .. } => {
                next.push(("kept".to_owned(), format!("{}: it stays until it is deleted", path.display())));
                Some(path.clone())
            }
            Whence::Plain | Whence::Seed(_) => self.keep(whence, &failure, &deviations, &shown, &mut next),
        };
        if self.detail < Some(Detail::All) {
            next.push(("more".to_owned(), "with SIMVISOR_LOG=all the timeline has every record".to_owned()));
        }
        let report = FailureReport {
            broken: failure.kind.broken().unwrap_or(failure.kind.verdict()).to_owned(),
            message: failure.message_with_place(),
            at_ns: Some(failure.at_ns),
            choices: Some(choices.clone()),
            timeline: last_rows(shown.log.as_deref().unwrap_or_default(), ROWS_MAX, |row| row.contains('✗')),
            next,
        };
        CheckError::Failed(Box::new(Failed {
            seed,
            verdict: failure.kind.verdict().to_owned(),
            rule: failure.kind.broken().map(str::to_owned),
            message: failure.message_with_place(),
            choices: choices.into_iter().map(|choice| choice.text).collect(),
            choices_found,
            runs,
            shrink_runs,
            command,
            case,
            report: format!("{}\n\n{report}", self.way.title(whence, &strategy)),
            strategy,
        }))
    }

    /// Writes the case of a failure, and says so.
    fn keep(
        &self,
        whence: &Whence,
        failure: &Failure,
        deviations: &[Deviation],
        shown: &Ran,
        next: &mut Vec<(String, String)>,
    ) -> Option<PathBuf> {
        let shelf = self.shelf.as_ref()?;
        let Back { seed, strategy, .. } = self.way.back(whence, "");
        let case = ProgramCase {
            format: FORMAT.to_owned(),
            kind: PROGRAM.to_owned(),
            version: PROGRAM_VERSION,
            program: Program {
                package: self.way.caller.package.clone().unwrap_or_default(),
                test: self.way.program.clone(),
                command: self.way.caller.command(""),
            },
            origin: Origin { simvisor: env!("CARGO_PKG_VERSION").to_owned(), seed, strategy, found_in: None },
            shown: WasShown {
                verdict: failure.kind.verdict().to_owned(),
                rule: failure.kind.broken().map(str::to_owned),
                message: Some(failure.message.clone()),
                trace_hash: Some(format!("{:#018x}", shown.trace_hash)),
            },
            choices: deviations.iter().map(NamedChoice::of).collect(),
        };
        match shelf.keep(&case) {
            Ok(path) => {
                let text = format!("{}: it is replayed first from now on; commit it", path.display());
                next.push(("kept".to_owned(), text));
                let variable = format!("{CASE}={}", quoted(&path.display().to_string()));
                next.push(("case".to_owned(), self.way.caller.command(&variable)));
                Some(path)
            }
            Err(error) => {
                next.push(("kept".to_owned(), format!("not at all: the case cannot be written: {error}")));
                None
            }
        }
    }
}

/// Whether a failure is what the case showed. The place of a panic may have moved with an edit.
fn is_same_kind(case: &ProgramCase, failure: &Failure) -> bool {
    case.shown.verdict == failure.kind.verdict() && case.shown.rule.as_deref() == failure.kind.broken()
}
