//! One record as rows of cells: their columns, widths and colours.

use anstyle::{AnsiColor, Style};

use super::words::{answer_words, call_name, call_words, count, event_words, name_text, shown, spec_words};
use crate::report::nanos_text;
use crate::trace::{BodyEnd, EndNote, HandlerEnd, Record, Text, Texts, Waiter, What};

/// Widths of the columns, in characters. A longer cell pushes the row to the right.
pub(in crate::report) const TIME_WIDTH: usize = 14;
const MARK_WIDTH: usize = 6;
const WHO_WIDTH: usize = 14;

/// What a row is about, for its colour.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tone {
    Plain,
    Quiet,
    Asked,
    Good,
    Warning,
    Bad,
}

pub(super) const QUIET: Style = Style::new().dimmed();
pub(super) const STRONG: Style = Style::new().bold();

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Quiet => QUIET,
            Self::Asked => AnsiColor::Cyan.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub(super) colour: bool,
}

impl Paint {
    pub(super) fn cell(self, style: Style, text: &str) -> String {
        if self.colour && !text.trim().is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

pub(super) enum Column {
    Time,
    Mark,
    Who,
    What,
}

/// One row of cells, padded and then painted.
pub(super) fn columns(
    time: &str,
    mark: &str,
    who: &str,
    what: &str,
    paint: impl Fn(&str, Column) -> String,
) -> String {
    format!(
        "{}  {}  {}  {}",
        paint(&format!("{time:>TIME_WIDTH$}"), Column::Time),
        paint(&format!("{mark:<MARK_WIDTH$}"), Column::Mark),
        paint(&format!("{who:<WHO_WIDTH$}"), Column::Who),
        paint(what, Column::What),
    )
}

/// What is shown of a record.
pub(super) struct Row {
    pub(super) mark: String,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) tone: Tone,
    /// Rows below it: who and what.
    pub(super) more: Vec<(String, String)>,
}

impl Row {
    pub(super) fn text(&self, time: &str, paint: Paint) -> String {
        let style = self.tone.style();
        let row = |time: &str, mark: &str, who: &str, what: &str| {
            let row = columns(time, mark, who, what, |cell, column| match column {
                Column::Time | Column::Mark => paint.cell(QUIET, cell),
                Column::Who if matches!(self.tone, Tone::Quiet) => paint.cell(QUIET, cell),
                Column::Who => cell.to_owned(),
                Column::What => paint.cell(style, cell),
            });
            format!("{}\n", row.trim_end())
        };
        let more = self.more.iter().map(|(who, what)| row("", "", who, what));
        std::iter::once(row(time, &self.mark, &self.who, &self.what)).chain(more).collect()
    }

    pub(super) fn of(record: &Record, texts: &Texts) -> Self {
        let name = |name: Text| name_text(texts, name);
        let text = |text: Text| shown(texts.get(text));
        let other = |tone: Tone, who: String, what: String| Self {
            mark: "·".to_owned(),
            who,
            what,
            tone,
            more: Vec::new(),
        };
        match &record.what {
            What::Event(note) => {
                let who = note.task.map_or_else(String::new, name);
                let (what, tone) = event_words(note, texts);
                Self { mark: format!("#{}", note.seq), who, what, tone, more: Vec::new() }
            }
            What::Call { op, call } => {
                let (what, specs) = call_words(call);
                let who = call_name(call).1.map_or_else(String::new, name);
                let more = specs.iter().map(|spec| (name(spec.task), spec_words(spec)));
                Self { mark: format!("→{op}"), who, what, tone: Tone::Asked, more: more.collect() }
            }
            What::Answer { op, answer } => {
                let (what, tone) = answer_words(answer, texts);
                Self { mark: format!("←{op}"), who: String::new(), what, tone, more: Vec::new() }
            }
            What::BodyEntered { task, attempt, .. } => {
                other(Tone::Quiet, name(*task), format!("body {attempt} entered"))
            }
            What::BodyLeft { task, attempt, how } => {
                let how = match *how {
                    BodyEnd::Ok => "returned".to_owned(),
                    BodyEnd::Canceled => "returned as canceled".to_owned(),
                    BodyEnd::Fail(why) => format!("failed: {}", text(why)),
                    BodyEnd::Fatal(why) => format!("failed for good: {}", text(why)),
                    BodyEnd::Panic(why) => format!("panicked: {}", text(why)),
                    BodyEnd::Dropped => "dropped".to_owned(),
                };
                other(Tone::Quiet, name(*task), format!("body {attempt} {how}"))
            }
            What::BodyCancelled { task, attempt } => {
                other(Tone::Quiet, name(*task), format!("body {attempt} sees that it is cancelled"))
            }
            What::ReceiverOpened { receiver } => {
                other(Tone::Quiet, name(*receiver), "listens from here on".to_owned())
            }
            What::Received { receiver, seq } => {
                other(Tone::Quiet, name(*receiver), format!("receives #{seq}"))
            }
            What::Delivered { seq } => other(Tone::Quiet, String::new(), format!("#{seq} is put on the bus")),
            What::AliveSeen { receiver, alive } => {
                let alive: Vec<_> = alive.iter().map(|&task| name(task)).collect();
                let alive = if alive.is_empty() { "nobody".to_owned() } else { alive.join(", ") };
                other(Tone::Quiet, name(*receiver), format!("holds for alive: {alive}"))
            }
            What::Lagged { receiver, lost } => {
                other(Tone::Warning, name(*receiver), format!("lags: {} lost", count(*lost, "event")))
            }
            What::ReceiverClosed { receiver } => {
                other(Tone::Quiet, name(*receiver), "listens no longer".to_owned())
            }
            What::HandlerEntered { subscriber, seq } => {
                other(Tone::Quiet, name(*subscriber), format!("handles #{seq}"))
            }
            What::HandlerLeft { subscriber, seq, how } => {
                let (what, tone) = match *how {
                    HandlerEnd::Done => (format!("is done with #{seq}"), Tone::Quiet),
                    HandlerEnd::Panic(why) => (format!("panicked on #{seq}: {}", text(why)), Tone::Bad),
                    HandlerEnd::Dropped => (format!("was dropped while it handled #{seq}"), Tone::Warning),
                };
                other(tone, name(*subscriber), what)
            }
            What::Counters { subscriber, handled, panicked, dropped, lagged } => {
                let what = format!(
                    "in all: handled {handled}, panicked on {panicked}, dropped {dropped}, lost to lag {lagged}"
                );
                let lossless = [panicked, dropped, lagged].iter().all(|&&count| count == 0);
                other(if lossless { Tone::Quiet } else { Tone::Warning }, name(*subscriber), what)
            }
            What::Leftovers { futures: 0, timers: 0, permits: 0 } => {
                other(Tone::Quiet, String::new(), "nothing is left behind".to_owned())
            }
            What::Leftovers { futures, timers, permits } => {
                let parts = [(*futures, "future"), (*timers, "timer"), (*permits, "permit")];
                let parts = parts.into_iter().filter(|(number, _)| *number > 0);
                let parts: Vec<_> = parts.map(|(number, noun)| count(number, noun)).collect();
                other(Tone::Bad, String::new(), format!("left behind: {}", parts.join(", ")))
            }
            What::WallSet { by_ns } => {
                let way = if *by_ns < 0 { "back" } else { "forth" };
                let by = nanos_text(by_ns.unsigned_abs());
                other(Tone::Warning, String::new(), format!("wall clock set {way} by {by}"))
            }
            What::Calm => {
                other(Tone::Asked, String::new(), "calm: nothing goes wrong from here on".to_owned())
            }
            What::End(end) => Self::end(end, record.at_ns, texts),
        }
    }

    fn end(end: &EndNote, at_ns: u64, texts: &Texts) -> Self {
        let list = |waiters: &[Waiter], verb: &str| -> Vec<_> {
            let of = |waiter: &Waiter| {
                let what = shown(texts.get(waiter.what));
                let since = nanos_text(waiter.since_ns);
                let span = match at_ns.saturating_sub(waiter.since_ns) {
                    0 => String::new(),
                    span_ns => format!(", for {}", nanos_text(span_ns)),
                };
                (name_text(texts, waiter.who), format!("{verb} {what}, since {since}{span}"))
            };
            waiters.iter().map(of).collect()
        };
        let (what, tone, more) = match end {
            EndNote::Done => ("everything came to its end".to_owned(), Tone::Good, Vec::new()),
            EndNote::Livelock(waiters) => {
                let what = "livelock: time cannot advance, something keeps running at this instant";
                (what.to_owned(), Tone::Bad, list(waiters, "keeps running, last for"))
            }
            EndNote::Deadlock(waiters) => {
                let what = "deadlock: nothing can run and no timer is set";
                (what.to_owned(), Tone::Bad, list(waiters, "waits for"))
            }
            EndNote::Limit(limit) => {
                (format!("given up after {}", shown(texts.get(*limit))), Tone::Bad, Vec::new())
            }
        };
        Self { mark: "end".to_owned(), who: String::new(), what, tone, more }
    }
}
