//! Judging a trace line by line, whatever is odd about it.

use std::io::{self, BufRead, Read as _};

use serde_json::{Map, Value};
use thiserror::Error;

use super::dialect::Sequence;
use super::foreign::{ForeignEvent, ForeignRecord, ForeignWhat};
use super::judge::{Judge, Judgement};
use super::oddity::Oddities;
use super::translate::Fate;
use crate::trace::json::{Glossary, parse_header, parse_record};
use crate::trace::{EventNote, FORMAT, Header, LINE_BYTES_MAX, VERSION, What};

/// What came of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Who ran.
    pub runtime: String,
    /// The scenario's name, if it has one.
    pub scenario: Option<String>,
    /// Lines that were read.
    pub lines: u64,
    /// What is odd about the trace.
    pub oddities: Oddities,
    /// The judgement.
    pub judgement: Judgement,
}

/// Why a trace cannot be judged at all.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The input failed.
    #[error("{path}: line {line} cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// The line.
        line: u64,
        /// Why.
        why: io::Error,
    },
    /// It is no trace.
    #[error(
        "{path}: this is no trace; expected JSON lines, the first one with \"format\":\"{FORMAT}\"{first}"
    )]
    NoTrace {
        /// The file.
        path: String,
        /// What is wrong with its first line.
        first: String,
    },
    /// It was made by a later version.
    #[error(
        "{path}: trace format version {found} is newer than version {VERSION}, which this simvisor reads; update simvisor"
    )]
    Future {
        /// The file.
        path: String,
        /// Its version.
        found: u64,
    },
}

/// Texts that a trace may have before those are forgotten of which nobody speaks any more.
const TEXTS_MIN: usize = 1 << 14;

/// Reads a trace to its end and judges it as far as it goes. `path_for_messages` is how errors call the input.
///
/// Memory is bounded by one line and by what the judges keep of live tasks, and of the latest events.
///
/// # Errors
/// If the input fails, no line of it is a record, or it was made by a later version of the format.
pub fn check<R: BufRead>(
    path_for_messages: &str,
    input: R,
    judge: &mut Judge,
) -> Result<Checked, CheckError> {
    let mut lines = Lines { path: path_for_messages, input, number: 0, bytes: Vec::new(), newline: true };
    let mut glossary = Glossary::default();
    let mut reading =
        Reading { renumbered: judge.dialect().sequence == Sequence::Renumber, ..Reading::default() };
    let mut header = None;
    let mut texts_max = TEXTS_MIN;
    while let Some(length) = lines.advance()? {
        reading.line = lines.number;
        if length == Length::TooLong {
            reading.note("long", || format!("a line of more than {LINE_BYTES_MAX} bytes is left out"));
            continue;
        }
        if header.is_none() {
            let first = First::of(&lines, &mut glossary)?;
            judge.begin(first.header(), &glossary.texts);
            let is_record = reading.first(&first);
            header = Some(first.into_header());
            if !is_record {
                continue;
            }
        }
        if let Some(record) = reading.record(&lines.bytes, lines.newline, &mut glossary) {
            let fate = judge.record(&record, Some(lines.number), &mut glossary.texts);
            reading.fate(fate);
        }
        if glossary.texts.len() >= texts_max {
            judge.forget_gone(&mut glossary.texts);
            glossary.recount();
            texts_max = TEXTS_MIN.max(2 * glossary.texts.len());
        }
    }
    let no_trace = |first: String| CheckError::NoTrace { path: path_for_messages.to_owned(), first };
    let header: Header = header.ok_or_else(|| {
        no_trace(match lines.number {
            0 => "; it is empty".to_owned(),
            _ => format!("; no line of it has at most {LINE_BYTES_MAX} bytes and anything in it"),
        })
    })?;
    if reading.records == 0 && !reading.has_header {
        let first = reading.oddities.seen().last().map(|oddity| format!("; {}", oddity.what));
        return Err(no_trace(first.unwrap_or_default()));
    }
    reading.line = lines.number;
    if !reading.ended {
        reading.note("end", || {
            "the trace stops here without an `end`; what was owed by then is not judged".to_owned()
        });
    }
    let judgement = judge.finish(&glossary.texts);
    let Header { runtime, scenario, .. } = header;
    Ok(Checked { runtime, scenario, lines: lines.number, oddities: reading.oddities, judgement })
}

/// What the first line is.
enum First {
    Header(Header),
    /// A header that cannot be read, and why.
    Broken(Header, String),
    /// No header.
    Missing(Header),
}

impl First {
    fn of<R: BufRead>(lines: &Lines<'_, R>, glossary: &mut Glossary) -> Result<Self, CheckError> {
        let assumed = ForeignRecord::header("unknown");
        let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(&lines.bytes) else {
            return Ok(Self::Missing(assumed));
        };
        match fields.get("format") {
            None => return Ok(Self::Missing(assumed)),
            Some(format) if format == FORMAT => {}
            Some(other) => {
                let first = format!("; its `format` is {other}");
                return Err(CheckError::NoTrace { path: lines.path.to_owned(), first });
            }
        }
        match fields.get("version").and_then(Value::as_u64) {
            Some(found) if found > u64::from(VERSION) => {
                return Err(CheckError::Future { path: lines.path.to_owned(), found });
            }
            _ => {}
        }
        Ok(match parse_header(&lines.bytes, glossary) {
            Ok(header) => Self::Header(header),
            Err(why) => Self::Broken(assumed, why),
        })
    }

    fn header(&self) -> &Header {
        let (Self::Header(header) | Self::Broken(header, _) | Self::Missing(header)) = self;
        header
    }

    fn into_header(self) -> Header {
        let (Self::Header(header) | Self::Broken(header, _) | Self::Missing(header)) = self;
        header
    }
}

const ASSUMED: &str =
    "a grace of 60 s, no limit of attempts, a bus of 1024, no controller and no subscribers are assumed";

/// What is known of a trace while it is read.
#[derive(Default)]
struct Reading {
    line: u64,
    has_header: bool,
    records: u64,
    ended: bool,
    now_ns: u64,
    /// Events are numbered anew, so that gaps do not show later.
    renumbered: bool,
    last_seq: Option<u64>,
    oddities: Oddities,
}

impl Reading {
    fn note(&mut self, key: &str, what: impl FnOnce() -> String) {
        self.oddities.note(self.line, key, what);
    }

    /// Whether the first line is a record.
    fn first(&mut self, first: &First) -> bool {
        match first {
            First::Header(_) => self.has_header = true,
            First::Broken(_, why) => {
                self.has_header = true;
                self.note("header", || format!("the header cannot be read ({why}); {ASSUMED}"));
            }
            First::Missing(_) => {
                self.note("header", || format!("there is no header before this line; {ASSUMED}"));
                return true;
            }
        }
        false
    }

    /// The record of a line, with what is odd about it put right.
    fn record(&mut self, line: &[u8], newline: bool, glossary: &mut Glossary) -> Option<ForeignRecord> {
        let mut record = match parse_record(line, glossary) {
            Ok(record) => {
                ForeignRecord { at_ns: record.at_ns, turn: record.turn, what: ForeignWhat::Same(record.what) }
            }
            Err(why) => self.odd_record(line, newline, &why)?,
        };
        if self.ended {
            self.note("after", || "records that follow the `end` are left out".to_owned());
            return None;
        }
        if record.at_ns < self.now_ns {
            let (at_ns, now_ns) = (record.at_ns, self.now_ns);
            self.note("time", || {
                format!("`at_ns` goes back from {now_ns} to {at_ns}; such records are judged as of the later instant")
            });
            record.at_ns = now_ns;
        }
        self.now_ns = record.at_ns;
        match &record.what {
            ForeignWhat::Event(ForeignEvent { seq: Some(seq), .. })
            | ForeignWhat::Same(What::Event(EventNote { seq, .. })) => self.number(*seq),
            ForeignWhat::Same(What::End(_)) => self.ended = true,
            _ => {}
        }
        self.records += 1;
        Some(record)
    }

    fn number(&mut self, seq: u64) {
        let expected = self.last_seq.map(|last| last.wrapping_add(1));
        match expected {
            Some(expected) if seq > expected => {
                let missing = seq - expected;
                let (is, events) = if missing == 1 { ("is", "event") } else { ("are", "events") };
                self.note("gap", || {
                    format!(
                        "`seq` goes from {} to {seq}: {missing} {events} {is} not in the trace",
                        expected - 1
                    )
                });
            }
            Some(expected) if seq < expected => {
                self.note("order", || format!("`seq` goes back from {} to {seq}", expected.wrapping_sub(1)));
            }
            None if seq > 0 && !self.renumbered => {
                self.note("gap", || format!("`seq` begins at {seq}, not at 0"));
            }
            _ => {}
        }
        self.last_seq = Some(seq.max(self.last_seq.unwrap_or(0)));
    }

    /// A line that is no record of the format: perhaps an event in other words.
    fn odd_record(&mut self, line: &[u8], newline: bool, why: &str) -> Option<ForeignRecord> {
        let mut fields = match serde_json::from_slice::<Map<String, Value>>(line) {
            Ok(fields) => fields,
            Err(error) if !newline && (error.is_eof() || error.column() >= line.len()) => {
                self.note("cut", || "the last line is cut off, and left out".to_owned());
                return None;
            }
            Err(_) => {
                self.note("json", || "lines that are no JSON object are left out".to_owned());
                return None;
            }
        };
        let Some(Value::Object(event)) = fields.remove("event") else {
            // By its first words: they say which field or kind it is.
            let key: String = why.chars().take_while(|&c| c != ',').collect();
            self.note(&key, || format!("records like this one are left out: {why}"));
            return None;
        };
        let event = match ForeignEvent::from_json(event) {
            Ok(event) => event,
            Err(why) => {
                self.note("event", || format!("events like this one are left out: {why}"));
                return None;
            }
        };
        let at_ns = match fields.remove("at_ns").as_ref().map(Value::as_u64) {
            Some(Some(at_ns)) => at_ns,
            _ => {
                self.note("at_ns", || {
                    "`at_ns` is missing or no number; such records are judged as of the instant before"
                        .to_owned()
                });
                self.now_ns
            }
        };
        let turn = fields.remove("turn").and_then(|turn| turn.as_u64());
        if let Some(name) = fields.keys().next() {
            self.note(&format!("field {name}"), || format!("the field `{name}` of a record is not known"));
        }
        Some(ForeignRecord { at_ns, turn, what: ForeignWhat::Event(event) })
    }

    fn fate(&mut self, fate: Fate) {
        match fate {
            Fate::Known => {}
            Fate::UnknownKind(kind) => self.note(&format!("kind {kind}"), || {
                format!("neither contract nor dialect knows events of kind `{kind}`; they are left out")
            }),
            Fate::UnknownEvent(seq) => self.note("ref", || {
                format!(
                    "a record speaks of event {seq}, which is not in the trace or long past; it is left out"
                )
            }),
            Fate::Unset(field) => self.note(&format!("unset {field:?}"), || {
                format!("the dialect finds no value for the field {field:?} of an event")
            }),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Fits,
    TooLong,
}

/// The lines of the input, one of them in memory.
struct Lines<'a, R> {
    path: &'a str,
    input: R,
    /// Number of the current line, from 1.
    number: u64,
    bytes: Vec<u8>,
    /// Whether the current line ends in a newline.
    newline: bool,
}

impl<R: BufRead> Lines<'_, R> {
    /// Goes to the next line that is not blank; `None` at the end of the input.
    fn advance(&mut self) -> Result<Option<Length>, CheckError> {
        loop {
            if !self.take()? {
                return Ok(None);
            }
            self.number += 1;
            if !self.newline && self.bytes.len() > LINE_BYTES_MAX {
                while !self.newline && self.take()? {}
                self.bytes.clear();
                return Ok(Some(Length::TooLong));
            }
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(Some(Length::Fits));
            }
        }
    }

    /// Reads on, to the end of a line or to what a line may have; false at the end of the input.
    fn take(&mut self) -> Result<bool, CheckError> {
        self.bytes.clear();
        let read = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut self.bytes);
        match read {
            Err(why) => {
                Err(CheckError::Unreadable { path: self.path.to_owned(), line: self.number + 1, why })
            }
            Ok(read) => {
                self.newline = self.bytes.ends_with(b"\n");
                Ok(read > 0)
            }
        }
    }
}
