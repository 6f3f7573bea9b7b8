//! A failure in words: what was broken, when, what came just before it, which choices led there, and what to do next.
//! The same for a test of a user's ([`crate::check()`]) and for the command line.

use std::fmt;

use super::nanos_text;
use crate::oracle::RULES;
use crate::search::{CANARY, HANG, MONITOR, NONDETERMINISM, PANIC, ToldChoice, UNNOTICED};

/// A failure, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailureReport {
    /// What broke: the id of a rule, or one word such as `panic`.
    pub broken: String,
    /// What happened.
    pub message: String,
    /// When, in nanoseconds of virtual time.
    pub at_ns: Option<u64>,
    /// The choices that were not the plain ones; `None` where they are not known.
    pub choices: Option<Vec<ToldChoice>>,
    /// Rows of the timeline, with the failure in the last one.
    pub timeline: Vec<String>,
    /// What to do next: what for, and the line to copy.
    pub next: Vec<(String, String)>,
}

/// Most choices that are listed.
const CHOICES_MAX: usize = 20;

impl FailureReport {
    /// The report as rows of two columns: what, and how it is. A row without a left column goes with the one before.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |what: &str, how: String| rows.push((what.to_owned(), how));
        let mut lines = self.message.lines();
        row("broken", format!("{}: {}", self.broken, lines.next().unwrap_or_default()));
        lines.for_each(|line| row("", line.to_owned()));
        let sentence = sentence(&self.broken);
        // Of a panic its message says all.
        if !sentence.is_empty() && self.broken != PANIC {
            row("rule", sentence.to_owned());
        }
        if let Some(at_ns) = self.at_ns {
            row("at", format!("{} of virtual time", nanos_text(at_ns)));
        }
        rows.extend(self.trail());
        rows
    }

    /// The rows that say how it came to that, and what to do next: choices, events, lines to copy.
    #[must_use]
    pub fn trail(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |what: &str, how: String| rows.push((what.to_owned(), how));
        for (number, text) in self.choices_in_words().into_iter().enumerate() {
            row(if number == 0 { "choices" } else { "" }, text);
        }
        for (number, text) in self.timeline.iter().enumerate() {
            row(if number == 0 { "events" } else { "" }, text.clone());
        }
        for (what, line) in &self.next {
            row(what, line.clone());
        }
        rows
    }

    fn choices_in_words(&self) -> Vec<String> {
        let Some(choices) = &self.choices else { return Vec::new() };
        let count = choices.len();
        if count == 0 {
            return vec![
                "none: it fails in the plain run, first in, first out, without any chance".to_owned(),
            ];
        }
        let mut words = vec![match count {
            1 => "1 choice that is not the plain one".to_owned(),
            _ => format!("{count} choices that are not the plain ones"),
        }];
        words.extend(
            choices
                .iter()
                .take(CHOICES_MAX)
                .map(|ToldChoice { at_ns, text }| format!("  at {}: {text}", nanos_text(*at_ns))),
        );
        if count > CHOICES_MAX {
            words.push(format!("  and {} more", count - CHOICES_MAX));
        }
        words
    }
}

impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (what, how) in rows {
            writeln!(f, "{}", format!("  {what:<width$}  {how}").trim_end())?;
        }
        Ok(())
    }
}

/// The sentence of a rule, or of what takes a rule's place; empty where there is none.
#[must_use]
pub fn sentence(rule: &str) -> &'static str {
    match rule {
        PANIC => "A run never panics.",
        HANG => "A run comes to its end.",
        NONDETERMINISM => "The same input gives the same choices, trace and verdict.",
        MONITOR => "Every event must be one that the contract allows in a state that the runtime may be in.",
        CANARY => "Planted, to prove that a violation reaches the exit code.",
        UNNOTICED => "A planted violation is noticed by some judge.",
        "deadlock" => {
            "Until a test has ended, something can run or some timer is set. Threads and I/O are not waited for."
        }
        "livelock" => "Time advances: nothing runs at one instant for ever.",
        _ => RULES.iter().find(|known| known.id == rule).map_or("", |known| known.sentence),
    }
}

/// The last rows of a timeline, at most `max` besides the names of its columns, up to the first that `is_last`.
#[must_use]
pub fn last_rows(timeline: &str, max: usize, is_last: impl Fn(&str) -> bool) -> Vec<String> {
    const TIME_WIDTH: usize = super::timeline::TIME_WIDTH;
    let mut lines = timeline.lines();
    let names: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).map(str::to_owned).collect();
    let mut rows: Vec<_> = lines.collect();
    if let Some(last) = rows.iter().position(|row| is_last(row)) {
        rows.truncate(last + 1);
    }
    let left_out = rows.len().saturating_sub(max);
    let mut kept: Vec<_> = names;
    if left_out > 0 {
        kept.push(format!("{:>TIME_WIDTH$}  {left_out} rows before", "…"));
    }
    // The time is left blank where it is that of the row above.
    let time = |row: &str| row.chars().take(TIME_WIDTH).collect::<String>();
    let known = rows[..left_out].iter().map(|row| time(row)).rfind(|time| !time.trim().is_empty());
    for (number, row) in rows[left_out..].iter().enumerate() {
        kept.push(match &known {
            Some(known) if number == 0 && time(row).trim().is_empty() => {
                known.clone() + &row.chars().skip(TIME_WIDTH).collect::<String>()
            }
            _ => (*row).to_owned(),
        });
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_broke_when_by_which_choices_and_what_to_do() {
        let report = FailureReport {
            broken: "G1".to_owned(),
            message: "`a` is registered twice\nby two calls".to_owned(),
            at_ns: Some(100_000_000),
            choices: Some(vec![ToldChoice {
                at_ns: 100_000_000,
                text: "actor b runs before actor a".to_owned(),
            }]),
            timeline: vec!["row".to_owned()],
            next: vec![("again".to_owned(), "do it".to_owned())],
        };
        let text = report.to_string();
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "  broken   G1: `a` is registered twice",
                "           by two calls",
                "  rule     No name is registered twice, and list_tasks is exactly the registered names, sorted.",
                "  at       100ms of virtual time",
                "  choices  1 choice that is not the plain one",
                "             at 100ms: actor b runs before actor a",
                "  events   row",
                "  again    do it",
            ]
        );
    }

    #[test]
    fn many_choices_are_counted_and_not_listed() {
        let choice = ToldChoice { at_ns: 0, text: "x".to_owned() };
        let report = FailureReport { choices: Some(vec![choice; 25]), ..FailureReport::default() };
        let text = report.to_string();
        assert_eq!(text.matches("at 0s: x").count(), 20);
        assert!(text.contains("25 choices") && text.contains("and 5 more"), "{text}");
    }

    #[test]
    fn the_last_rows_end_with_the_failure_and_begin_with_a_time() {
        let row = |time: &str, what: &str| format!("{time:>14}  {what}\n");
        let timeline = format!(
            "          time  seq\n\n{}{}{}{}{}",
            row("0s", "a"),
            row("1ms", "b"),
            row("", "c"),
            row("", "✗ d"),
            row("2ms", "e")
        );
        let rows = last_rows(&timeline, 2, |row| row.contains('✗'));
        assert_eq!(
            rows,
            [
                "          time  seq",
                "             …  2 rows before",
                "           1ms  c",
                "                ✗ d",
            ]
        );
        assert_eq!(last_rows(&timeline, 9, |_| false).len(), 6);
        assert_eq!(last_rows("", 9, |_| false), Vec::<String>::new());
    }
}
