//! `simvisor replay`: a case file or a fuzz artifact again, choice by choice.
//!
//! A tape is first replayed strictly and without printing. If it does not fit and the case is of this very version,
//! the engine is at fault. If the case is of another version, its choices are taken in order for what they are worth.

use std::path::PathBuf;

use simvisor_sim::case::{Case, Shown};
use simvisor_sim::choice::{Fit, Source};
use simvisor_sim::fuzz::TARGETS;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{CANARY, CaseRun, HANG, Judged, PANIC, Runner, replayed, seeded};

use super::Started;
use super::account::{Known, account};
use super::args::{Format, View};
use super::artifact::{self, Artifact};
use super::exit::{Exit, Trouble};
use super::file;
use super::guard::Broken;
use super::shrink::{beside, make_small};
use super::summary::{GOOD, conclude, line, margin};
use super::viewer::{rehearse, watch_by};
use simvisor_sim::page::Page;

/// Arguments of `simvisor replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// A case file, as a sweep or `simvisor run --save` writes it, or an artifact of a fuzz target, such as
    /// fuzz/artifacts/world/crash-…
    file: PathBuf,
    /// Read FILE as the bytes of a fuzz artifact of the target `world`, whatever its name is
    #[arg(long)]
    artifact: bool,
    /// Take the recorded choices in order even where they no longer fit, as for a case of another version
    #[arg(long)]
    lenient: bool,
    /// Refuse a case whose recorded choices do not fit, whatever version it is of
    #[arg(long, conflicts_with = "lenient")]
    strict: bool,
    /// Find the smallest case that breaks the same rule, and write it beside FILE, with `-shrunk` in its name
    #[arg(long)]
    shrink: bool,
    /// Write the run to this file, as a case of this version
    #[arg(long, value_name = "CASE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    view: View,
}

/// The fuzz target whose artifacts are cases.
const WORLD: &str = TARGETS[0];

/// Most runs of `--shrink`, as of `simvisor shrink`.
const REPLAYS_MAX: u64 = 20_000;

/// What is replayed.
struct Given {
    case: Case,
    /// It is known what the case showed when it was made.
    is_known: bool,
    /// It is known that the program has changed since.
    has_changed: bool,
}

/// Where the choices of a case come from.
enum Choices {
    Tape(Fit),
    /// The run did not end, so it has no tape.
    Seed(u64, StrategyKind),
}

impl Choices {
    fn source(&self, case: &Case) -> Source {
        match *self {
            Self::Tape(fit) => replayed(case.tape.clone(), fit),
            Self::Seed(seed, strategy) => seeded(seed, strategy),
        }
    }
}

impl Replay {
    pub(crate) fn carry_out(&self, page: &Page, started: Started) -> Result<Exit, Trouble> {
        let margin = margin(self.view.format, page);
        let named = artifact::target_of(&self.file);
        let target = named.or(self.artifact.then_some(WORLD));
        let known = if named == target { Known::ByItself } else { Known::As("--artifact") };
        let given = match target {
            None => Given { case: file::case(&self.file)?, is_known: true, has_changed: false },
            Some(WORLD) => self.artifact(&margin)?,
            Some(other) => return self.repeat(other, &margin),
        };
        let case = &given.case;
        if target.is_none() {
            line(&margin, "case", &format!("{}, {}", self.file.display(), came_from(case)));
        }
        if given.is_known {
            line(&margin, "then", &then(&case.shown));
        }
        let choices =
            if given.has_changed { Choices::Tape(Fit::Lenient) } else { self.choices(case, &margin)? };
        if self.view.format == Format::Text {
            writeln!(page);
        }
        let outcome = watch_by(runner_for(case), &case.scenario, choices.source(case), self.view, page);
        let exit = conclude(&margin, &outcome);
        if given.is_known {
            line(&margin, "now", now(&case.shown, &outcome));
        }
        account(&self.file, known, case, &outcome, self.view, &margin);
        if let (Choices::Tape(Fit::Strict), Ok(judged)) = (choices, &outcome)
            && is_of_this_version(case)
        {
            margin.finish()?;
            self.same_trace(case, judged)?;
        }
        let case = as_run(given.case, outcome);
        if let Some(path) = &self.save {
            file::save(&case, path)?;
            line(&margin, "saved", &path.display().to_string());
        }
        if self.shrink && exit == Exit::Violation {
            writeln!(&margin);
            let out = beside(&self.file);
            make_small(&case, &self.file, &out, REPLAYS_MAX, Format::Text, &margin, started)?;
        }
        margin.finish()?;
        Ok(exit)
    }

    /// The case that an artifact is, and what is known about it.
    fn artifact(&self, margin: &Page) -> Result<Given, Trouble> {
        let Artifact { case, bytes, has_case, changed } = artifact::case(&self.file, self.view.hang_after)?;
        let file = self.file.display();
        let beside = simvisor_sim::case::beside(&self.file);
        let from = match has_case {
            true => format!(", with the case beside it, {}", came_from(&case)),
            false => String::new(),
        };
        line(margin, "artifact", &format!("{file}: {bytes} bytes of the fuzz target `{WORLD}`{from}"));
        if !has_case {
            let text = format!(
                "not known, for there is no {}: another version of simvisor may have read the bytes otherwise",
                beside.display()
            );
            line(margin, "then", &text);
        }
        if let Some(changed) = &changed {
            let since = match is_of_this_version(&case) {
                true => "the program was changed since".to_owned(),
                false => format!("this is simvisor {}", env!("CARGO_PKG_VERSION")),
            };
            line(margin, "changed", &format!("{changed} ({since}); what follows is the case, not the bytes"));
        }
        Ok(Given { case, is_known: has_case, has_changed: changed.is_some() })
    }

    /// What a target found that runs no world.
    fn repeat(&self, target: &'static str, margin: &Page) -> Result<Exit, Trouble> {
        if self.shrink || self.save.is_some() {
            let file = self.file.display();
            let text = format!(
                "{file}: this is an artifact of the fuzz target `{target}`, which runs no case; \
                 `cargo fuzz tmin {target} {file}` makes it small"
            );
            return Err(Trouble::Input(text));
        }
        line(margin, "artifact", &format!("{}: of the fuzz target `{target}`", self.file.display()));
        let exit = match artifact::repeat(target, &self.file, self.view.hang_after)? {
            Ok(()) => {
                line(margin, "found", &format!("{GOOD}nothing{GOOD:#}"));
                Exit::Clean
            }
            Err(broken) => conclude(margin, &Err(broken)),
        };
        margin.finish()?;
        Ok(exit)
    }

    /// Which choices to make, and whether they are owed to fit.
    fn choices(&self, case: &Case, margin: &Page) -> Result<Choices, Trouble> {
        let file = self.file.display();
        if case.tape.is_empty() && [PANIC, HANG].contains(&case.shown.verdict.as_str()) {
            let verdict = &case.shown.verdict;
            let Some(seed) = case.origin.seed else {
                let text =
                    format!("{file}: a {verdict} leaves no tape; expected `origin.seed`, to draw it anew");
                return Err(Trouble::Input(text));
            };
            let name = &case.origin.strategy;
            let Some(strategy) = StrategyKind::from_name(name) else {
                let known = StrategyKind::ALL.map(StrategyKind::name).join(", ");
                let text = format!("{file}: `origin.strategy` is `{name}`, expected one of {known}");
                return Err(Trouble::Input(text));
            };
            return Ok(Choices::Seed(seed, strategy));
        }
        if self.lenient {
            return Ok(Choices::Tape(Fit::Lenient));
        }
        let strict = Choices::Tape(Fit::Strict);
        match rehearse(&case.scenario, strict.source(case), self.view) {
            Ok(Judged { misfit: Some(misfit), .. }) if is_of_this_version(case) => {
                margin.finish()?;
                Err(Trouble::Engine(format!("{file}: the run left its tape at {misfit}; {CHANGED}")))
            }
            Ok(Judged { misfit: Some(misfit), .. }) if self.strict => {
                margin.finish()?;
                let version = &case.origin.simvisor;
                Err(Trouble::Input(format!(
                    "{file}: the run left its tape at {misfit}; the case is of simvisor {version}, and this one makes \
                     other choices (without --strict its values are taken in order)"
                )))
            }
            Ok(Judged { misfit: Some(misfit), .. }) => {
                line(
                    margin,
                    "tape",
                    &format!("left at {misfit}; from there on its values are taken in order"),
                );
                Ok(Choices::Tape(Fit::Lenient))
            }
            // A run that does not end is shown as far as it goes.
            Ok(_) | Err(_) => Ok(strict),
        }
    }

    /// The same choices give the same trace.
    fn same_trace(&self, case: &Case, judged: &Judged) -> Result<(), Trouble> {
        let hash = format!("{:#018x}", judged.trace_hash);
        match &case.shown.trace_hash {
            Some(then) if *then != hash => {
                let file = self.file.display();
                let text =
                    format!("{file}: the same choices gave trace {then} then and {hash} now; {CHANGED}");
                Err(Trouble::Engine(text))
            }
            _ => Ok(()),
        }
    }
}

/// The case as it was run just now. A run that did not end has shown nothing new.
fn as_run(case: Case, outcome: Result<Judged, Broken>) -> Case {
    match outcome {
        Ok(judged) => {
            let run = CaseRun { scenario: case.scenario, judged };
            run.into_case(case.origin.seed, &case.origin.strategy)
        }
        Err(_) => case,
    }
}

/// What was planted is planted again.
fn runner_for(case: &Case) -> fn() -> Runner {
    match case.shown.rule.as_deref() {
        Some(CANARY) => || Runner::default().with_canary(),
        _ => Runner::default,
    }
}

/// What a replay that differs within one version means.
const CHANGED: &str = "the case is of this very version, so the run is not deterministic, or the program was \
                       changed without a new version (then try --lenient)";

fn is_of_this_version(case: &Case) -> bool {
    case.origin.simvisor == env!("CARGO_PKG_VERSION")
}

fn came_from(case: &Case) -> String {
    let seed = case.origin.seed.map_or_else(String::new, |seed| format!("seed {seed:#x}, "));
    format!("{seed}{}, simvisor {}", case.origin.strategy, case.origin.simvisor)
}

/// What the case showed when it was made.
fn then(shown: &Shown) -> String {
    let trace = shown.trace_hash.as_ref().map_or_else(String::new, |hash| format!(", trace {hash}"));
    let message = shown.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
    let rule = shown.rule.as_deref().unwrap_or("nothing found");
    match shown.verdict.as_str() {
        PANIC | HANG => format!("{}{message}", shown.verdict),
        verdict => format!("{rule}{message} (verdict {verdict}{trace})"),
    }
}

/// What it shows now, next to then.
fn now(shown: &Shown, outcome: &Result<Judged, Broken>) -> &'static str {
    let then = match shown.verdict.as_str() {
        verdict @ (PANIC | HANG) => Some(verdict),
        _ => shown.rule.as_deref(),
    };
    let found: Vec<_> = match outcome {
        Ok(judged) => judged.findings.iter().map(|finding| finding.rule).collect(),
        Err(broken) => vec![broken.rule],
    };
    match then {
        None if found.is_empty() => "nothing, as then",
        None => "a violation, where there was none then",
        Some(rule) if found.contains(&rule) => "the same violation as then",
        Some(_) if found.is_empty() => "nothing: the violation is no longer shown",
        Some(_) => "another violation than then",
    }
}
