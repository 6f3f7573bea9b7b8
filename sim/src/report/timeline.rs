//! The timeline of a run, as text: one row for each record, in columns for when, which, who and what.
//!
//! ```text
//!           time  seq     who             what
//!
//!             0s  #2      web             attempt 1 starts
//!                 ·       web             body 1 entered
//!           10ms  ·       web             body 1 failed: boom
//!                 #3      web             attempt 1 failed: boom
//! ```
//!
//! The time is left blank while it stays the same, so that what happened at one instant stands together. `#3` is an
//! event by its number, `→1` and `←1` are the call and the answer of operation 1, `·` is anything else. Delays and
//! timeouts of events are whole milliseconds, as events have them; all other times are exact.

use std::collections::BTreeMap;
use std::io;

use anstyle::{AnsiColor, Style};
use simvisor::{BackoffSource, EventKind};

use super::nanos_text;
use crate::trace::{
    Admission, Answer, BodyEnd, Call, EndNote, EventNote, HandlerEnd, Header, Jitter, Record, Restart, Sink,
    SpecNote, Text, Texts, Waiter, What, kind_name,
};

/// How much of a run is shown. Each level shows what those before it show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Detail {
    /// Events, and how the run ended.
    Events,
    /// Calls and answers, bodies, and whatever goes wrong in handlers and receivers as well. The default.
    #[default]
    Usual,
    /// Every record, each event that a handler or a receiver got included.
    All,
}

/// Widths of the columns, in characters. A longer cell pushes the row to the right.
pub(super) const TIME_WIDTH: usize = 14;
const MARK_WIDTH: usize = 6;
const WHO_WIDTH: usize = 14;

/// Writes the timeline of one run to `W` as it goes. Each row is one call of `write_all`.
///
/// A sink cannot fail, so the first error is kept, nothing is written after it, and [`Timeline::finish`] returns it.
#[derive(Debug)]
pub struct Timeline<W> {
    output: W,
    detail: Detail,
    colour: bool,
    /// The instant of the last row.
    now_ns: Option<u64>,
    /// Operations that have no answer yet.
    open: BTreeMap<u32, OpenCall>,
    error: Option<io::Error>,
}

#[derive(Debug)]
struct OpenCall {
    name: &'static str,
    task: Option<Text>,
    at_ns: u64,
}

impl<W: io::Write> Timeline<W> {
    /// A timeline of usual detail, without colour.
    #[must_use]
    pub fn new(output: W) -> Self {
        let (detail, open) = (Detail::default(), BTreeMap::new());
        Self { output, detail, colour: false, now_ns: None, open, error: None }
    }

    /// Shows this much.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// Writes in colour, by ANSI escape sequences, or not.
    #[must_use]
    pub fn with_colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    /// Flushes, and gives the output back.
    ///
    /// # Errors
    /// The first error of the output.
    pub fn finish(mut self) -> io::Result<W> {
        match self.error {
            Some(error) => Err(error),
            None => self.output.flush().map(|()| self.output),
        }
    }

    /// Writes the names of the columns. A trace's beginning does so too.
    pub fn heading(&mut self) {
        let paint = Paint { colour: self.colour };
        let names = columns("time", "seq", "who", "what", |cell, _| paint.cell(QUIET, cell));
        self.write(&format!("{names}\n\n"));
    }

    /// Writes a row that is no record of the trace.
    pub fn note(&mut self, at_ns: u64, mark: &str, who: &str, what: &str) {
        let tone = Tone::Plain;
        let row =
            Row { mark: mark.to_owned(), who: who.to_owned(), what: shown(what), tone, more: Vec::new() };
        self.row(at_ns, &row);
    }

    fn row(&mut self, at_ns: u64, row: &Row) {
        let time = if self.now_ns == Some(at_ns) { String::new() } else { nanos_text(at_ns) };
        self.now_ns = Some(at_ns);
        let text = row.text(&time, Paint { colour: self.colour });
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = self.output.write_all(text.as_bytes()).err();
        }
    }

    /// An answer says what it answers, and how long that took.
    fn complete(&mut self, row: &mut Row, record: &Record, texts: &Texts) {
        match &record.what {
            What::Call { op, call } => {
                let (name, task) = call_name(call);
                self.open.insert(*op, OpenCall { name, task, at_ns: record.at_ns });
            }
            What::Answer { op, .. } => {
                let Some(OpenCall { name, task, at_ns }) = self.open.remove(op) else { return };
                row.who = task.map_or_else(String::new, |task| name_text(texts, task));
                row.what = format!("{name}: {}", row.what);
                if record.at_ns > at_ns {
                    row.what += &format!(" ({} after the call)", nanos_text(record.at_ns - at_ns));
                }
            }
            _ => {}
        }
    }
}

impl<W: io::Write> Sink for Timeline<W> {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.now_ns = None;
        self.open.clear();
        let paint = Paint { colour: self.colour };
        let mut text = format!("{}\n", paint.cell(STRONG, &title(header)));
        text += &format!("{}\n\n", limits(header, texts));
        self.write(&text);
        self.heading();
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        if detail_of(&record.what) > self.detail {
            return;
        }
        let mut row = Row::of(record, texts);
        self.complete(&mut row, record, texts);
        self.row(record.at_ns, &row);
    }
}

/// A record as one or more rows of a timeline, without colour and without a newline at the end; `None` where `detail`
/// leaves it out. The time is always given. An answer does not say which call it belongs to: a [`Timeline`] knows.
#[must_use]
pub fn timeline_line(record: &Record, texts: &Texts, detail: Detail) -> Option<String> {
    (detail_of(&record.what) <= detail).then(|| {
        let text = Row::of(record, texts).text(&nanos_text(record.at_ns), Paint { colour: false });
        text.trim_end().to_owned()
    })
}

/// The least detail at which this is shown.
fn detail_of(what: &What) -> Detail {
    match what {
        What::Event(_) | What::End(_) => Detail::Events,
        What::Call { .. }
        | What::Answer { .. }
        | What::BodyEntered { .. }
        | What::BodyLeft { .. }
        | What::BodyCancelled { .. }
        | What::Lagged { .. }
        | What::HandlerLeft { how: HandlerEnd::Panic(_) | HandlerEnd::Dropped, .. }
        | What::Counters { .. }
        | What::WallSet { .. }
        | What::Calm => Detail::Usual,
        What::Leftovers { futures: 0, timers: 0, permits: 0 }
        | What::ReceiverOpened { .. }
        | What::Delivered { .. }
        | What::AliveSeen { .. }
        | What::Received { .. }
        | What::ReceiverClosed { .. }
        | What::HandlerEntered { .. }
        | What::HandlerLeft { how: HandlerEnd::Done, .. } => Detail::All,
        What::Leftovers { .. } => Detail::Usual,
    }
}

/// What a row is about, for its colour.
#[derive(Debug, Clone, Copy)]
enum Tone {
    Plain,
    Quiet,
    Asked,
    Good,
    Warning,
    Bad,
}

const QUIET: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

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
struct Paint {
    colour: bool,
}

impl Paint {
    fn cell(self, style: Style, text: &str) -> String {
        if self.colour && !text.trim().is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

enum Column {
    Time,
    Mark,
    Who,
    What,
}

/// One row of cells, padded and then painted.
fn columns(time: &str, mark: &str, who: &str, what: &str, paint: impl Fn(&str, Column) -> String) -> String {
    format!(
        "{}  {}  {}  {}",
        paint(&format!("{time:>TIME_WIDTH$}"), Column::Time),
        paint(&format!("{mark:<MARK_WIDTH$}"), Column::Mark),
        paint(&format!("{who:<WHO_WIDTH$}"), Column::Who),
        paint(what, Column::What),
    )
}

/// What is shown of a record.
struct Row {
    mark: String,
    who: String,
    what: String,
    tone: Tone,
    /// Rows below it: who and what.
    more: Vec<(String, String)>,
}

impl Row {
    fn text(&self, time: &str, paint: Paint) -> String {
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

    fn of(record: &Record, texts: &Texts) -> Self {
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

/// What an event says, by its kind. A field that the kind needs and that is missing shows as `?`; one that it should
/// not have is shown in brackets.
fn event_words(note: &EventNote, texts: &Texts) -> (String, Tone) {
    let mut rest = *note;
    let mut attempt =
        || rest.attempt.take().map_or_else(|| "attempt ?".to_owned(), |number| format!("attempt {number}"));
    let because = |reason: Option<Text>| {
        reason.map_or_else(|| ": ?".to_owned(), |reason| format!(": {}", shown(texts.get(reason))))
    };
    let millis = |ms: Option<u32>| match ms {
        Some(0) => "under 1ms".to_owned(),
        Some(ms) => nanos_text(u64::from(ms) * 1_000_000),
        None => "?".to_owned(),
    };
    let (words, tone) = match note.kind {
        EventKind::SubscriberPanicked => {
            (format!("handler panicked{}", because(rest.reason.take())), Tone::Bad)
        }
        EventKind::SubscriberOverflow => (format!("overflow{}", because(rest.reason.take())), Tone::Warning),
        EventKind::ShutdownRequested => ("shutdown requested".to_owned(), Tone::Asked),
        EventKind::AllStoppedWithinGrace => ("all stopped within grace".to_owned(), Tone::Good),
        EventKind::GraceExceeded => ("grace exceeded".to_owned(), Tone::Bad),
        EventKind::TaskStarting => (format!("{} starts", attempt()), Tone::Plain),
        EventKind::TaskStopped => ("stopped".to_owned(), Tone::Good),
        EventKind::TaskFailed => {
            let attempt = attempt();
            (format!("{attempt} failed{}", because(rest.reason.take())), Tone::Bad)
        }
        EventKind::TimeoutHit => {
            let attempt = attempt();
            let timeout = millis(rest.timeout_ms.take());
            (format!("{attempt} timed out after {timeout}"), Tone::Warning)
        }
        EventKind::BackoffScheduled => {
            let attempt = attempt();
            let delay = millis(rest.delay_ms.take());
            let after = match rest.source.take() {
                Some(BackoffSource::Success) => format!("{attempt} succeeded"),
                Some(BackoffSource::Failure) => {
                    format!("{attempt} failed{}", because(rest.reason.take()))
                }
                None => format!("{attempt} ?"),
            };
            (format!("next attempt in {delay}, because {after}"), Tone::Plain)
        }
        EventKind::TaskAddRequested => ("add requested".to_owned(), Tone::Plain),
        EventKind::TaskAdded => ("added".to_owned(), Tone::Plain),
        EventKind::TaskRemoveRequested => {
            let why = rest.reason.take().map(|why| because(Some(why))).unwrap_or_default();
            (format!("removal requested{why}"), Tone::Plain)
        }
        EventKind::TaskRemoved => ("removed".to_owned(), Tone::Plain),
        EventKind::ActorExhausted => {
            let attempt = attempt();
            (format!("exhausted after {attempt}{}", because(rest.reason.take())), Tone::Warning)
        }
        EventKind::ActorDead => {
            let attempt = attempt();
            (format!("dead after {attempt}{}", because(rest.reason.take())), Tone::Bad)
        }
        EventKind::ControllerRejected => {
            (format!("submission rejected{}", because(rest.reason.take())), Tone::Warning)
        }
        EventKind::ControllerSubmitted => (format!("submission{}", because(rest.reason.take())), Tone::Plain),
        EventKind::ControllerSlotTransition => (format!("slot{}", because(rest.reason.take())), Tone::Plain),
    };
    let odd: Vec<_> = [
        rest.attempt.map(|number| format!("attempt {number}")),
        rest.timeout_ms.map(|ms| format!("timeout {}", millis(Some(ms)))),
        rest.delay_ms.map(|ms| format!("delay {}", millis(Some(ms)))),
        rest.source.map(|source| format!("source {source:?}")),
        rest.reason.map(|reason| format!("reason{}", because(Some(reason)))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if odd.is_empty() {
        (words, tone)
    } else {
        (format!("{words} [not of a {}: {}]", kind_name(note.kind), odd.join(", ")), tone)
    }
}

/// A call's name and the task it is about.
fn call_name(call: &Call) -> (&'static str, Option<Text>) {
    match call {
        Call::Run(_) => ("run", None),
        Call::Serve => ("serve", None),
        Call::Add(spec) => ("add_task", Some(spec.task)),
        Call::Remove(task) => ("remove_task", Some(*task)),
        Call::Cancel { task, .. } => ("cancel", Some(*task)),
        Call::List => ("list_tasks", None),
        Call::Snapshot => ("snapshot", None),
        Call::IsAlive(task) => ("is_alive", Some(*task)),
        Call::WaitReady => ("wait_ready", None),
        Call::Shutdown => ("shutdown", None),
        Call::Submit { spec, wait, .. } => (if *wait { "submit" } else { "try_submit" }, Some(spec.task)),
    }
}

/// A call in words, and the specs to list below it.
fn call_words(call: &Call) -> (String, &[SpecNote]) {
    let name = call_name(call).0;
    match call {
        Call::Run(specs) if specs.is_empty() => (format!("{name} with no tasks"), &[]),
        Call::Run(specs) => (format!("{name} with {}", count(specs.len() as u64, "task")), specs),
        Call::Add(spec) => (format!("{name}: {}", spec_words(spec)), &[]),
        Call::Submit { spec, admission, .. } => {
            let admission = match admission {
                Admission::Queue => "queue",
                Admission::Replace => "replace",
                Admission::DropIfRunning => "drop if running",
            };
            (format!("{name}, {admission}: {}", spec_words(spec)), &[])
        }
        Call::Cancel { wait_ns, .. } => (format!("{name}, waiting at most {}", nanos_text(*wait_ns)), &[]),
        Call::Serve
        | Call::Remove(_)
        | Call::List
        | Call::Snapshot
        | Call::IsAlive(_)
        | Call::WaitReady
        | Call::Shutdown => (name.to_owned(), &[]),
    }
}

fn spec_words(spec: &SpecNote) -> String {
    let mut words = match spec.restart {
        Restart::Never => "never restarts".to_owned(),
        Restart::OnFailure => "restarts on failure".to_owned(),
        Restart::Always { interval_ns: None } => "always restarts, at once after a success".to_owned(),
        Restart::Always { interval_ns: Some(interval_ns) } => {
            format!("always restarts, {} after a success", nanos_text(interval_ns))
        }
    };
    if spec.restart != Restart::Never {
        let backoff = spec.backoff;
        words += &format!("; backoff {}", nanos_text(backoff.first_ns));
        if backoff.factor.to_bits() != 1.0_f64.to_bits() {
            words += &format!(" × {}", backoff.factor);
        }
        words += &format!(" up to {}", nanos_text(backoff.max_ns));
        words += match backoff.jitter {
            Jitter::None => "",
            Jitter::Full => ", full jitter",
            Jitter::Equal => ", equal jitter",
            Jitter::Decorrelated => ", decorrelated jitter",
        };
    }
    if spec.timeout_ns > 0 {
        words += &format!("; timeout {}", nanos_text(spec.timeout_ns));
    }
    words
}

fn answer_words(answer: &Answer, texts: &Texts) -> (String, Tone) {
    let list = |names: &[Text]| {
        let names: Vec<_> = names.iter().map(|&name| name_text(texts, name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    match answer {
        Answer::Done => ("done".to_owned(), Tone::Asked),
        Answer::Bool(value) => (value.to_string(), Tone::Asked),
        Answer::Names(names) => (list(names), Tone::Asked),
        Answer::AlreadyExists => ("refused, the name is taken".to_owned(), Tone::Warning),
        Answer::NotFound => ("refused, there is no such task".to_owned(), Tone::Warning),
        Answer::RemoveTimeout => {
            ("waited in vain, the task is still being removed".to_owned(), Tone::Warning)
        }
        Answer::ShuttingDown => ("refused, shutting down".to_owned(), Tone::Warning),
        Answer::GraceExceeded(stuck) => (format!("grace exceeded, stuck: {}", list(stuck)), Tone::Bad),
        Answer::Full => ("refused, the controller's queue is full".to_owned(), Tone::Warning),
        Answer::NotConfigured => ("refused, there is no controller".to_owned(), Tone::Warning),
        Answer::Closed => ("refused, the controller is closed".to_owned(), Tone::Warning),
        Answer::Error(why) => (format!("error: {}", shown(texts.get(*why))), Tone::Bad),
    }
}

fn title(header: &Header) -> String {
    let runtime = shown(&header.runtime);
    match &header.scenario {
        Some(scenario) => format!("{runtime}: {}", shown(scenario)),
        None => runtime,
    }
}

fn limits(header: &Header, texts: &Texts) -> String {
    let config = header.config;
    let attempts = match config.max_concurrent {
        0 => "any number of attempts at once".to_owned(),
        limit => format!("at most {} at once", count(limit, "attempt")),
    };
    let grace = nanos_text(config.grace_ns);
    let mut words = format!("grace {grace}, {attempts}, bus of {}", count(config.bus_capacity, "event"));
    if config.timer_late_ns > 0 {
        words += &format!(", timers up to {} late", nanos_text(config.timer_late_ns));
    }
    let subscribers = header.subscribers.iter();
    let subscribers: Vec<_> = subscribers
        .map(|&(name, capacity)| format!("{} (queue of {capacity})", name_text(texts, name)))
        .collect();
    if !subscribers.is_empty() {
        words += &format!("\nsubscribers: {}", subscribers.join(", "));
    }
    words
}

fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A name; an empty one can be seen.
fn name_text(texts: &Texts, name: Text) -> String {
    match texts.get(name) {
        "" => "\"\"".to_owned(),
        name => shown(name),
    }
}

/// Somebody else's text, with everything escaped that would break the row, turn it around or speak to a terminal.
fn shown(text: &str) -> String {
    let breaks = |c: char| {
        c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(breaks) {
        return text.to_owned();
    }
    let escape = |c: char| if breaks(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::trace::json::samples;
    use crate::trace::{BackoffNote, ConfigNote};

    const MS: u64 = 1_000_000;

    /// A web server that fails once, is removed, and does not go.
    fn story() -> (Header, Vec<Record>, Texts) {
        let mut texts = Texts::default();
        let [web, s1, boom, ouch] = ["web", "s1", "boom", "ouch\nand more"].map(|text| texts.intern(text));
        let [actor, body] = ["actor web", "its body"].map(|text| texts.intern(text));
        let config = ConfigNote {
            grace_ns: 60_000 * MS,
            max_concurrent: 1,
            bus_capacity: 1024,
            timer_late_ns: 0,
            controller: None,
            disorder: false,
        };
        let header = Header {
            runtime: "simvisor 0.1.0".to_owned(),
            scenario: Some("a web server that fails once".to_owned()),
            config,
            subscribers: vec![(s1, 8)],
        };
        let spec = SpecNote {
            task: web,
            restart: Restart::OnFailure,
            backoff: BackoffNote {
                first_ns: 2_000_001,
                max_ns: 30_000 * MS,
                factor: 2.0,
                jitter: Jitter::Full,
            },
            timeout_ns: 5_000 * MS,
        };
        let seq = std::cell::Cell::new(0);
        let event = |kind, attempt, reason| {
            let note = EventNote {
                seq: seq.replace(seq.get() + 1),
                wall_ns: 0,
                kind,
                task: Some(web),
                reason,
                attempt,
                timeout_ms: None,
                delay_ms: (kind == EventKind::BackoffScheduled).then_some(2),
                source: (kind == EventKind::BackoffScheduled).then_some(BackoffSource::Failure),
            };
            What::Event(note)
        };
        let waiter = Waiter { who: actor, task: Some(web), what: body, since_ns: 30 * MS };
        let records = [
            (0, What::Call { op: 0, call: Call::Run(vec![spec]) }),
            (0, event(EventKind::TaskAddRequested, None, None)),
            (0, event(EventKind::TaskAdded, None, None)),
            (0, event(EventKind::TaskStarting, Some(1), None)),
            (0, What::BodyEntered { task: web, attempt: 1, op: None }),
            (0, What::HandlerEntered { subscriber: s1, seq: 0 }),
            (0, What::HandlerLeft { subscriber: s1, seq: 0, how: HandlerEnd::Panic(ouch) }),
            (10 * MS, What::BodyLeft { task: web, attempt: 1, how: BodyEnd::Fail(boom) }),
            (10 * MS, event(EventKind::TaskFailed, Some(1), Some(boom))),
            (10 * MS, event(EventKind::BackoffScheduled, Some(1), Some(boom))),
            (12 * MS + 1, event(EventKind::TaskStarting, Some(2), None)),
            (12 * MS + 1, What::BodyEntered { task: web, attempt: 2, op: None }),
            (30 * MS, What::Call { op: 1, call: Call::Cancel { task: web, wait_ns: 5 * MS } }),
            (30 * MS, event(EventKind::TaskRemoveRequested, None, Some(texts.intern("manual_cancel")))),
            (30 * MS, What::BodyCancelled { task: web, attempt: 2 }),
            (35 * MS, What::Answer { op: 1, answer: Answer::RemoveTimeout }),
            (60_030 * MS, What::Calm),
            (60_030 * MS, What::End(EndNote::Deadlock(vec![waiter]))),
        ];
        let records = records.map(|(at_ns, what)| Record { at_ns, turn: None, what });
        (header, records.into(), texts)
    }

    fn timeline_of(story: &(Header, Vec<Record>, Texts), detail: Detail, colour: bool) -> String {
        let (header, records, texts) = story;
        let mut timeline = Timeline::new(Vec::new()).with_detail(detail).with_colour(colour);
        timeline.begin(header, texts);
        records.iter().for_each(|record| timeline.record(record, texts));
        String::from_utf8(timeline.finish().expect("memory does not fail")).expect("text")
    }

    #[test]
    fn a_run_reads_like_this() {
        let expected = "\
simvisor 0.1.0: a web server that fails once
grace 60s, at most 1 attempt at once, bus of 1024 events
subscribers: s1 (queue of 8)

          time  seq     who             what

            0s  →0                      run with 1 task
                        web             restarts on failure; backoff 2.000001ms × 2 up to 30s, full jitter; timeout 5s
                #0      web             add requested
                #1      web             added
                #2      web             attempt 1 starts
                ·       web             body 1 entered
                ·       s1              panicked on #0: ouch\\nand more
          10ms  ·       web             body 1 failed: boom
                #3      web             attempt 1 failed: boom
                #4      web             next attempt in 2ms, because attempt 1 failed: boom
   12.000001ms  #5      web             attempt 2 starts
                ·       web             body 2 entered
          30ms  →1      web             cancel, waiting at most 5ms
                #6      web             removal requested: manual_cancel
                ·       web             body 2 sees that it is cancelled
          35ms  ←1      web             cancel: waited in vain, the task is still being removed (5ms after the call)
        60.03s  ·                       calm: nothing goes wrong from here on
                end                     deadlock: nothing can run and no timer is set
                        actor web       waits for its body, since 30ms, for 60s
";
        assert_eq!(timeline_of(&story(), Detail::Usual, false), expected);
    }

    #[test]
    fn events_alone_read_like_this() {
        let text = timeline_of(&story(), Detail::Events, false);
        let (_, rows) = text.split_once("what\n\n").expect("names of columns");
        let expected = "            0s  #0      web             add requested
                #1      web             added
                #2      web             attempt 1 starts
          10ms  #3      web             attempt 1 failed: boom
                #4      web             next attempt in 2ms, because attempt 1 failed: boom
   12.000001ms  #5      web             attempt 2 starts
          30ms  #6      web             removal requested: manual_cancel
        60.03s  end                     deadlock: nothing can run and no timer is set
                        actor web       waits for its body, since 30ms, for 60s
";
        assert_eq!(rows, expected);
    }

    #[test]
    fn each_detail_shows_what_the_one_before_it_shows() {
        let rows = |detail| timeline_of(&story(), detail, false).lines().count();
        let (events, usual, all) = (rows(Detail::Events), rows(Detail::Usual), rows(Detail::All));
        assert!(events < usual && usual < all, "{events} {usual} {all}");
        let (_, records, texts) = story();
        for record in &records {
            let [events, usual, all] = [Detail::Events, Detail::Usual, Detail::All]
                .map(|detail| timeline_line(record, &texts, detail));
            assert!(all.is_some());
            assert!(usual.is_none() || usual == all);
            assert!(events.is_none() || events == usual);
        }
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let coloured = timeline_of(&story(), Detail::All, true);
        let plain = timeline_of(&story(), Detail::All, false);
        assert!(coloured.contains('\u{1b}') && !plain.contains('\u{1b}'));
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    }

    #[test]
    fn a_row_stands_alone() {
        let (_, records, texts) = story();
        let rows: Vec<_> =
            records.iter().filter_map(|record| timeline_line(record, &texts, Detail::Events)).collect();
        assert_eq!(rows[1], "            0s  #1      web             added");
        assert_eq!(rows.last().map(|row| row.lines().count()), Some(2), "who waits is part of the end");
    }

    #[test]
    fn every_record_is_shown_on_rows_of_its_own() {
        let mut texts = Texts::default();
        let mut records = samples::records(&mut texts);
        records.extend(samples::ends(&mut texts));
        let mut seen = BTreeSet::new();
        for record in &records {
            seen.extend(samples::shapes(&record.what));
            let row = timeline_line(record, &texts, Detail::All).expect("everything is shown");
            let below = match &record.what {
                What::Call { call: Call::Run(specs), .. } => specs.len(),
                What::End(EndNote::Livelock(waiters) | EndNote::Deadlock(waiters)) => waiters.len(),
                _ => 0,
            };
            assert_eq!(row.lines().count(), 1 + below, "{row}");
            assert!(!row.replace('\n', "").contains(char::is_control), "{row:?}");
        }
        assert_eq!(seen, BTreeSet::from(samples::SHAPES));
    }

    #[test]
    fn fields_that_are_missing_or_not_of_the_kind_show() {
        let mut texts = Texts::default();
        let bad = EventNote {
            seq: 9,
            wall_ns: 0,
            kind: EventKind::TaskFailed,
            task: Some(texts.intern("")),
            reason: None,
            attempt: None,
            timeout_ms: Some(0),
            delay_ms: Some(7),
            source: Some(BackoffSource::Success),
        };
        let record = Record { at_ns: 1, turn: None, what: What::Event(bad) };
        assert_eq!(
            timeline_line(&record, &texts, Detail::Events).expect("an event"),
            "           1ns  #9      \"\"              attempt ? failed: ? [not of a TaskFailed: timeout under 1ms, delay 7ms, source Success]"
        );
    }

    #[test]
    fn the_first_error_is_kept() {
        let (header, records, texts) = story();
        let mut room = [0_u8; 20];
        let mut timeline = Timeline::new(&mut room[..]);
        timeline.begin(&header, &texts);
        records.iter().for_each(|record| timeline.record(record, &texts));
        assert_eq!(timeline.finish().expect_err("it was full").kind(), io::ErrorKind::WriteZero);
    }
}
