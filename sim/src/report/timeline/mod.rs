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

mod row;
mod words;

use std::collections::BTreeMap;
use std::io;

use super::nanos_text;
use crate::trace::{HandlerEnd, Header, Record, Sink, Text, Texts, What};
use row::{Paint, QUIET, Row, STRONG, Tone, columns};
use words::{call_name, limits, name_text, shown, title};

pub(super) use row::TIME_WIDTH;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use simvisor::{BackoffSource, EventKind};

    use super::*;
    use crate::trace::json::samples;
    use crate::trace::{
        Answer, BackoffNote, BodyEnd, Call, ConfigNote, EndNote, EventNote, Jitter, Restart, SpecNote, Waiter,
    };

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
