//! What `replay` says of a violation beside what it was: the choices that led there in words, the last events before
//! it, and what to do next.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use simvisor_sim::case::Case;
use simvisor_sim::report::{FailureReport, Marked, last_rows};
use simvisor_sim::scenario::Scenario;
use simvisor_sim::search::{Judged, SHRUNK, ToldChoice, told_choices};

use super::args::{Format, View};
use super::guard::{Broken, guarded};
use super::run_by_cargo;
use super::summary::line;
use super::sweep::line_to_copy;
use simvisor_sim::page::Page;

/// Rows of the timeline that lead up to a violation.
const ROWS_MAX: usize = 10;

/// What `simvisor` has to be told about a file to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// A case file, or an artifact with the name of one.
    ByItself,
    /// An artifact under another name: only `replay` reads it, and only with this option.
    As(&'static str),
}

/// Says how a run came to its violation, if it has one. `file` is where `case` is.
pub(crate) fn account(
    file: &Path,
    known: Known,
    case: &Case,
    outcome: &Result<Judged, Broken>,
    view: View,
    page: &Page,
) {
    let Ok(judged) = outcome else { return };
    if judged.findings.is_empty() {
        return;
    }
    let (choices, timeline) = trail(&case.scenario, judged, view);
    let copy = |what: &str| line_to_copy(what, file, run_by_cargo());
    let mut next = Vec::new();
    let (replay, shrink) = match known {
        Known::ByItself => ("replay".to_owned(), "shrink".to_owned()),
        Known::As(option) => (format!("replay {option}"), format!("replay {option} --shrink")),
    };
    if case.origin.strategy != SHRUNK {
        next.push(("smaller".to_owned(), copy(&shrink)));
    }
    if known == Known::ByItself {
        next.push(("why".to_owned(), copy("why")));
    }
    if view.format == Format::Text && !view.all {
        next.push(("more".to_owned(), copy(&format!("{replay} --all"))));
    }
    let report = FailureReport { choices, timeline, next, ..FailureReport::default() };
    for (what, how) in report.trail() {
        line(page, &what, &how);
    }
}

/// The choices of a run, and the last rows of its timeline up to what it broke. Nothing where the run, made once more,
/// does not end.
fn trail(scenario: &Scenario, judged: &Judged, view: View) -> (Option<Vec<ToldChoice>>, Vec<String>) {
    let (scenario, tape) = (scenario.clone(), judged.tape.clone());
    let told = guarded(view.hang_after, move |_| {
        let marked = Rc::new(RefCell::new(Marked::default()));
        let choices = told_choices(&scenario, tape, Rc::clone(&marked) as _);
        (choices, marked.take().finish())
    });
    match told {
        Ok((choices, timeline)) => (Some(choices), last_rows(&timeline, ROWS_MAX, |row| row.contains('✗'))),
        Err(_) => (None, Vec::new()),
    }
}
