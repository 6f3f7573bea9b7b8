//! Reads a trace from JSON lines, one at a time, whatever the input is.

use std::io::{self, BufRead as _, Read as _};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::super::{FORMAT, Header, Record, Sink, Text, Texts, VERSION, What};
use super::object;
use super::shape::{HeaderLine, RecordLine};
use crate::files::{nearest, shown};

/// Most bytes that a line of a trace may have, its newline apart.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Most different names and reasons that a trace may have.
pub const TEXTS_MAX: usize = 1 << 24;

/// Most bytes that all different names and reasons of a trace may have together.
pub const TEXT_BYTES_MAX: usize = 1 << 30;

/// Most characters of somebody else's text in a message.
const SHOWN_CHARS_MAX: usize = 800;

/// Why a trace cannot be read. The text names the file, the line and what was expected.
#[derive(Debug, Error)]
pub enum TraceError {
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
    /// There is nothing in it.
    #[error(
        "{path}: the file is empty; expected a trace (JSON lines, the first one with \"format\":\"{FORMAT}\")"
    )]
    Empty {
        /// The file.
        path: String,
    },
    /// It is another format's file.
    #[error("{path}: this is no trace: `format` is {found}, expected \"{FORMAT}\"")]
    Foreign {
        /// The file.
        path: String,
        /// What it says it is.
        found: String,
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
    /// It stops before its end.
    #[error("{path}: the trace is truncated: {why}")]
    Truncated {
        /// The file.
        path: String,
        /// The last line.
        line: u64,
        /// Where.
        why: String,
    },
    /// A line is longer than [`LINE_BYTES_MAX`].
    #[error("{path}: line {line} is longer than the {LINE_BYTES_MAX} bytes that a line of a trace may have")]
    LongLine {
        /// The file.
        path: String,
        /// The line.
        line: u64,
    },
    /// A line is no JSON, or not of this shape.
    #[error("{path}: line {line}{}: {why}", column_text(*column))]
    Malformed {
        /// The file.
        path: String,
        /// The line.
        line: u64,
        /// The byte in the line, from 1, where one can be named.
        column: Option<usize>,
        /// Why.
        why: String,
    },
}

fn column_text(column: Option<usize>) -> String {
    column.map_or_else(String::new, |column| format!(", column {column}"))
}

/// Reads one trace, record by record. Its memory is bounded: one line, and the texts.
#[derive(Debug)]
pub struct TraceReader<R> {
    lines: Lines<R>,
    header: Header,
    glossary: Glossary,
    /// The instant of the last record.
    now_ns: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Records may come.
    Open,
    /// The last record has come.
    Ended,
    /// Nothing more is read.
    Closed,
}

impl<R: io::BufRead> TraceReader<R> {
    /// Reads the header. `path_for_messages` is how errors call the input.
    ///
    /// # Errors
    /// If the input fails, is empty, or does not begin with the header of a trace of this version.
    pub fn open(path_for_messages: &str, input: R) -> Result<Self, TraceError> {
        Self::open_with(path_for_messages, input, Glossary::default())
    }

    fn open_with(path: &str, input: R, mut glossary: Glossary) -> Result<Self, TraceError> {
        let mut lines = Lines { path: path.to_owned(), input, number: 0, bytes: Vec::new(), newline: false };
        if !lines.advance()? {
            return Err(TraceError::Empty { path: lines.path });
        }
        // Format and version first: what follows may have another shape.
        let head: Head = lines.parse("the header of a trace, one JSON object on one line")?;
        let foreign = |found: String| TraceError::Foreign { path: path.to_owned(), found };
        match &head.format {
            Some(serde_json::Value::String(format)) if format == FORMAT => {}
            Some(other) => return Err(foreign(shown(&other.to_string(), 80))),
            None => return Err(foreign("missing".to_owned())),
        }
        match head.version.as_ref().and_then(serde_json::Value::as_u64) {
            Some(version) if version > u64::from(VERSION) => {
                return Err(TraceError::Future { path: lines.path, found: version });
            }
            Some(version) if version == u64::from(VERSION) => {}
            _ => return Err(lines.malformed(format!("`version` must be a number from 1 to {VERSION}"))),
        }
        let line: HeaderLine<'_> = lines.parse("the header of a trace")?;
        let header = line.header(&mut glossary).map_err(|fault| lines.malformed(fault.to_string()))?;
        Ok(Self { lines, header, glossary, now_ns: 0, state: State::Open })
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The texts of the header and of all records so far.
    #[must_use]
    pub fn texts(&self) -> &Texts {
        &self.glossary.texts
    }

    /// Reads the next record; `None` after the last one. After an error there is no next record either.
    ///
    /// # Errors
    /// If the input fails, a line is not a record of the format, time goes back, a record follows the `end`, or the
    /// `end` does not come.
    pub fn next_record(&mut self) -> Result<Option<Record>, TraceError> {
        if self.state == State::Closed {
            return Ok(None);
        }
        let before = std::mem::replace(&mut self.state, State::Closed);
        let record = self.step(before)?;
        match &record {
            Some(Record { what: What::End(_), .. }) => self.state = State::Ended,
            Some(_) => self.state = State::Open,
            None => {}
        }
        Ok(record)
    }

    fn step(&mut self, state: State) -> Result<Option<Record>, TraceError> {
        let more = self.lines.advance()?;
        match (more, state) {
            (false, State::Open) => {
                let line = self.lines.number;
                let why = format!("it stops after line {line} without its last record, `end`");
                return Err(TraceError::Truncated { path: self.lines.path.clone(), line, why });
            }
            (false, _) => return Ok(None),
            (true, State::Open) => {}
            (true, _) => {
                let why = "expected nothing more: `end` is the last record of a trace";
                return Err(self.lines.malformed(why.to_owned()));
            }
        }
        let line: RecordLine<'_> = self.lines.parse("one record, a JSON object on one line")?;
        let record =
            line.record(&mut self.glossary).map_err(|fault| self.lines.malformed(fault.to_string()))?;
        if record.at_ns < self.now_ns {
            let (at_ns, now_ns) = (record.at_ns, self.now_ns);
            let why =
                format!("`at_ns` is {at_ns}, but the record before it is at {now_ns}: time never goes back");
            return Err(self.lines.malformed(why));
        }
        self.now_ns = record.at_ns;
        Ok(Some(record))
    }

    /// Feeds the header and all records that are left to `sink`.
    ///
    /// # Errors
    /// As [`TraceReader::next_record`]; what came before the error has been fed.
    pub fn feed(&mut self, sink: &mut dyn Sink) -> Result<(), TraceError> {
        sink.begin(&self.header, &self.glossary.texts);
        while let Some(record) = self.next_record()? {
            sink.record(&record, &self.glossary.texts);
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Head {
    format: Option<serde_json::Value>,
    version: Option<serde_json::Value>,
}

/// The lines of the input, one of them in memory.
#[derive(Debug)]
struct Lines<R> {
    path: String,
    input: R,
    /// Number of the current line, from 1.
    number: u64,
    bytes: Vec<u8>,
    /// Whether the current line ends in a newline.
    newline: bool,
}

impl<R: io::BufRead> Lines<R> {
    /// Goes to the next line that is not blank; false at the end of the input.
    fn advance(&mut self) -> Result<bool, TraceError> {
        loop {
            self.bytes.clear();
            let read = self.input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut self.bytes);
            let line = self.number + 1;
            match read {
                Err(why) => return Err(TraceError::Unreadable { path: self.path.clone(), line, why }),
                Ok(0) => return Ok(false),
                Ok(_) => self.number = line,
            }
            self.newline = self.bytes.ends_with(b"\n");
            if !self.newline && self.bytes.len() > LINE_BYTES_MAX {
                return Err(TraceError::LongLine { path: self.path.clone(), line });
            }
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    /// The current line as a `T`.
    fn parse<T: DeserializeOwned>(&self, expected: &str) -> Result<T, TraceError> {
        // serde would take a struct from an array as well.
        if self.bytes.trim_ascii_start().first() != Some(&b'{') {
            let start: String = String::from_utf8_lossy(&self.bytes).trim().chars().take(20).collect();
            return Err(self.malformed(format!("expected {expected}, found {start:?}")));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| self.explain(&error, expected))
    }

    fn explain(&self, error: &serde_json::Error, expected: &str) -> TraceError {
        let line = self.number;
        let at_the_end = error.column() >= self.bytes.len();
        if !self.newline && (error.is_eof() || (error.is_syntax() && at_the_end)) {
            let why = format!("line {line}, the last one, is cut off");
            return TraceError::Truncated { path: self.path.clone(), line, why };
        }
        if error.is_eof() {
            return self.malformed(format!("expected {expected}; the object does not end on its line"));
        }
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = text.strip_suffix(&place).unwrap_or(&text);
        let why = shown(text, SHOWN_CHARS_MAX) + &shown(&nearest(text), 80);
        let column = (error.column() > 0).then(|| error.column());
        TraceError::Malformed { path: self.path.clone(), line, column, why }
    }

    fn malformed(&self, why: String) -> TraceError {
        TraceError::Malformed { path: self.path.clone(), line: self.number, column: None, why }
    }
}

/// What is wrong with a line of the right shape.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("expected one kind of record beside `at_ns` and `turn`, such as `event` or `end`; found none")]
    NoKind,
    #[error("expected one kind of record, found both `{0}` and `{1}`; write two lines")]
    TwoKinds(&'static str, &'static str),
    #[error("more than {0} different names and reasons, which is all that a trace may have")]
    TooManyTexts(usize),
    #[error("names and reasons of more than {0} bytes together, which is all that a trace may have")]
    TooLongTexts(usize),
}

/// The texts of a trace, within bounds.
#[derive(Debug)]
pub(crate) struct Glossary {
    pub(crate) texts: Texts,
    bytes: usize,
    texts_max: usize,
    bytes_max: usize,
}

impl Default for Glossary {
    fn default() -> Self {
        Self { texts: Texts::default(), bytes: 0, texts_max: TEXTS_MAX, bytes_max: TEXT_BYTES_MAX }
    }
}

/// The header on a line, for a reader that goes on after an error.
pub(crate) fn parse_header(line: &[u8], glossary: &mut Glossary) -> Result<Header, String> {
    let line: HeaderLine<'_> = object::read(line).map_err(|error| what_is_wrong(&error))?;
    line.header(glossary).map_err(|fault| fault.to_string())
}

/// The record on a line, for a reader that goes on after an error.
pub(crate) fn parse_record(line: &[u8], glossary: &mut Glossary) -> Result<Record, String> {
    let line: RecordLine<'_> = object::read(line).map_err(|error| what_is_wrong(&error))?;
    line.record(glossary).map_err(|fault| fault.to_string())
}

/// What serde says, without the place in the line.
fn what_is_wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    shown(text.strip_suffix(&place).unwrap_or(&text), SHOWN_CHARS_MAX)
}

impl Glossary {
    /// Texts were forgotten.
    pub(crate) fn recount(&mut self) {
        self.bytes = self.texts.bytes();
    }

    pub(crate) fn intern(&mut self, text: &str) -> Result<Text, Fault> {
        if let Some(known) = self.texts.find(text) {
            return Ok(known);
        }
        if self.texts.len() >= self.texts_max {
            return Err(Fault::TooManyTexts(self.texts_max));
        }
        if self.bytes + text.len() > self.bytes_max {
            return Err(Fault::TooLongTexts(self.bytes_max));
        }
        self.bytes += text.len();
        Ok(self.texts.intern(text))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::trace::json::samples;
    use crate::trace::{JsonLines, TraceHash};

    const HEADER: &str = r#"{"format":"simvisor-trace","version":1,"runtime":"r","config":{"grace_ns":1,"max_concurrent":0,"bus_capacity":2,"timer_late_ns":0}}"#;
    const END: &str = r#"{"at_ns":9,"end":"done"}"#;

    fn written(header: &Header, records: &[Record], texts: &Texts) -> Vec<u8> {
        let mut lines = JsonLines::new(Vec::new());
        lines.begin(header, texts);
        records.iter().for_each(|record| lines.record(record, texts));
        lines.finish().expect("memory does not fail")
    }

    fn read(bytes: &[u8]) -> Result<(Header, Vec<Record>, Texts), TraceError> {
        let mut reader = TraceReader::open("t.jsonl", bytes)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok((reader.header, records, reader.glossary.texts))
    }

    fn error_of(bytes: &[u8]) -> String {
        read(bytes).expect_err("must be refused").to_string()
    }

    /// The error of a trace with this line between header and end.
    fn error_of_line(line: &str) -> String {
        error_of(format!("{HEADER}\n{line}\n{END}\n").as_bytes())
    }

    #[test]
    fn what_is_written_is_read() {
        let mut texts = Texts::default();
        let header = samples::header(&mut texts);
        let records = samples::records(&mut texts);
        let mut seen = BTreeSet::new();
        for end in samples::ends(&mut texts) {
            let records: Vec<_> = records.iter().cloned().chain([end]).collect();
            seen.extend(records.iter().flat_map(|record| samples::shapes(&record.what)));
            let (header_read, records_read, texts_read) =
                read(&written(&header, &records, &texts)).expect("it was written just so");
            assert_eq!(header_read, header);
            assert_eq!(records_read.len(), records.len());
            for (read, written) in records_read.iter().zip(&records) {
                // By their spelling: not-a-number is not equal to itself, and texts may be numbered otherwise.
                let (line_read, line) = (
                    crate::trace::record_line(read, &texts_read),
                    crate::trace::record_line(written, &texts),
                );
                assert_eq!(line_read, line);
                if !line.contains("\"nan\"") && !matches!(written.what, What::End(_)) {
                    assert_eq!(read, written, "{line}");
                }
            }
        }
        assert_eq!(seen, BTreeSet::from(samples::SHAPES), "samples of every shape");
    }

    #[test]
    fn bits_of_every_factor_survive() {
        use crate::trace::{Call, What};
        let mut texts = Texts::default();
        let header = samples::header(&mut texts);
        let mut records = samples::records(&mut texts);
        records.extend(samples::ends(&mut texts).drain(..1));
        let bits = |records: &[Record]| -> Vec<u64> {
            let specs = records.iter().filter_map(|record| match &record.what {
                What::Call { call: Call::Run(specs), .. } => Some(specs),
                _ => None,
            });
            specs.flatten().map(|spec| spec.backoff.factor.to_bits()).collect()
        };
        let (_, records_read, _) = read(&written(&header, &records, &texts)).expect("it was written just so");
        assert!(bits(&records).len() > 7);
        assert_eq!(bits(&records_read), bits(&records));
    }

    #[test]
    fn a_trace_that_is_cut_anywhere_says_so() {
        let mut texts = Texts::default();
        let header = samples::header(&mut texts);
        let mut records = samples::records(&mut texts);
        records.extend(samples::ends(&mut texts).drain(1..2));
        let bytes = written(&header, &records, &texts);
        assert!(read(&bytes[..bytes.len() - 1]).is_ok(), "the last newline may be missing");
        for cut in 1..bytes.len() - 1 {
            let error = read(&bytes[..cut]).expect_err("it is cut");
            assert!(matches!(error, TraceError::Truncated { .. }), "cut after {cut} bytes: {error}");
        }
        assert_eq!(
            error_of(&format!("{HEADER}\n{{\"at_ns\":1,").into_bytes()),
            "t.jsonl: the trace is truncated: line 2, the last one, is cut off"
        );
        assert_eq!(
            error_of(&format!("{HEADER}\n{{\"at_ns\":1,\"calm\":{{}}}}\n").into_bytes()),
            "t.jsonl: the trace is truncated: it stops after line 2 without its last record, `end`"
        );
    }

    #[test]
    fn what_is_no_trace_is_refused_in_words() {
        for (text, expected) in [
            (
                "",
                "t.jsonl: the file is empty; expected a trace (JSON lines, the first one with \"format\":\"simvisor-trace\")",
            ),
            (
                "{\"format\":\"simvisor-case\",\"version\":1}\n",
                "t.jsonl: this is no trace: `format` is \"simvisor-case\", expected \"simvisor-trace\"",
            ),
            (
                "{\"version\":1}\n",
                "t.jsonl: this is no trace: `format` is missing, expected \"simvisor-trace\"",
            ),
            (
                "{\"format\":\"simvisor-trace\",\"version\":2,\"colour\":3}\n",
                "t.jsonl: trace format version 2 is newer than version 1, which this simvisor reads; update simvisor",
            ),
            (
                "{\"format\":\"simvisor-trace\",\"version\":\"1\"}\n",
                "t.jsonl: line 1: `version` must be a number from 1 to 1",
            ),
            (
                "{\n  \"format\": \"simvisor-case\"\n}\n",
                "t.jsonl: line 1: expected the header of a trace, one JSON object on one line; the object does not end on its line",
            ),
            (
                "[[task]]\nname = \"web\"\n",
                "t.jsonl: line 1: expected the header of a trace, one JSON object on one line, found \"[[task]]\"",
            ),
        ] {
            assert_eq!(error_of(text.as_bytes()), expected);
        }
        assert_eq!(error_of(b" \n\r\n\t"), error_of(b""));
    }

    #[test]
    fn an_unknown_name_is_refused_with_its_place_and_the_nearest_name() {
        let error = error_of_line(r#"{"at_ns":1,"evnt":{}}"#);
        assert!(error.starts_with("t.jsonl: line 2, column 17: unknown field `evnt`"), "{error}");
        assert!(error.ends_with("did you mean `event`?"), "{error}");
        let error =
            error_of_line(r#"{"at_ns":1,"event":{"seq":0,"kind":"TaskFaild","wall_ns":0,"task":"web"}}"#);
        assert!(error.contains("unknown variant `TaskFaild`"), "{error}");
        assert!(error.ends_with("did you mean `TaskFailed`?"), "{error}");
        let error = error_of_line(r#"{"at_ns":1,"answer":{"op":1,"result":"not_fond"}}"#);
        assert!(error.ends_with("did you mean `not_found`?"), "{error}");
        let error = error_of(HEADER.replace("grace_ns", "grace_n").as_bytes());
        assert!(error.starts_with("t.jsonl: line 1, column "), "{error}");
        assert!(error.ends_with("did you mean `grace_ns`?"), "{error}");
    }

    #[test]
    fn a_record_of_no_kind_or_two_is_refused() {
        let error = error_of_line(r#"{"at_ns":1,"turn":2}"#);
        assert_eq!(
            error,
            "t.jsonl: line 2: expected one kind of record beside `at_ns` and `turn`, such as `event` or `end`; found none"
        );
        let error = error_of_line(r#"{"at_ns":1,"calm":{},"wall_set":{"by_ns":1}}"#);
        assert!(error.ends_with("found both `wall_set` and `calm`; write two lines"), "{error}");
        let error = error_of_line(r#"{"at_ns":1,"calm":{},"calm":{}}"#);
        assert!(error.contains("duplicate field `calm`"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_place() {
        for (line, expected) in [
            (r#"{"at_ns":1.5,"calm":{}}"#, "column 12: invalid type: floating point `1.5`, expected u64"),
            (r#"{"at_ns":-1,"calm":{}}"#, "column 11: invalid value: integer `-1`, expected u64"),
            (r#"{"calm":{}}"#, "column 11: missing field `at_ns`"),
            (r#"{"at_ns":1,"calm":{}} x"#, "column 23: trailing characters"),
            ("{\"at_ns\":1,\"end\":{\"limit\":\"a\u{1}b\"}}", "column 29: control character"),
            (
                "{\"at_ns\":1",
                "expected one record, a JSON object on one line; the object does not end on its line",
            ),
            ("[1,2]", "expected one record, a JSON object on one line, found \"[1,2]\""),
        ] {
            let error = error_of_line(line);
            assert!(error.starts_with("t.jsonl: line 2") && error.contains(expected), "{error}");
        }
        assert!(read(format!("{HEADER}\n{END}\n").as_bytes()).is_ok());
    }

    #[test]
    fn time_never_goes_back_and_nothing_follows_the_end() {
        let error = error_of(format!("{HEADER}\n{{\"at_ns\":10,\"calm\":{{}}}}\n{END}\n").as_bytes());
        assert_eq!(
            error,
            "t.jsonl: line 3: `at_ns` is 9, but the record before it is at 10: time never goes back"
        );
        let error = error_of(format!("{HEADER}\n{END}\n\n{END}\n").as_bytes());
        assert_eq!(error, "t.jsonl: line 4: expected nothing more: `end` is the last record of a trace");
    }

    #[test]
    fn a_long_line_is_refused_and_not_read_to_its_end() {
        let padded = |bytes: usize| {
            let end = END.replace('}', &(" ".repeat(bytes - END.len()) + "}"));
            format!("{HEADER}\n{end}\n")
        };
        assert!(read(padded(LINE_BYTES_MAX).as_bytes()).is_ok());
        let long = padded(LINE_BYTES_MAX + 1);
        let expected = "t.jsonl: line 2 is longer than the 1048576 bytes that a line of a trace may have";
        assert_eq!(error_of(long.as_bytes()), expected);

        let endless = HEADER.as_bytes().chain(&b"\n"[..]).chain(io::repeat(b'x'));
        let mut reader = TraceReader::open("t.jsonl", io::BufReader::new(endless)).expect("a header");
        assert_eq!(reader.next_record().expect_err("endless").to_string(), expected);
        assert!(reader.lines.bytes.capacity() <= 4 * LINE_BYTES_MAX);
        assert!(matches!(reader.next_record(), Ok(None)), "nothing is read after an error");
    }

    #[test]
    fn texts_are_bounded_in_number_and_bytes() {
        let open = |texts_max, bytes_max| {
            let text = format!("{HEADER}\n{{\"at_ns\":1,\"end\":{{\"limit\":\"12345\"}}}}\n");
            let glossary = Glossary { texts: Texts::default(), bytes: 0, texts_max, bytes_max };
            let mut reader =
                TraceReader::open_with("t.jsonl", io::Cursor::new(text), glossary).expect("a header");
            reader.next_record().map_err(|error| error.to_string())
        };
        assert!(open(1, 5).is_ok());
        assert!(open(0, 5).expect_err("full").contains("line 2: more than 0 different names"));
        assert!(open(1, 4).expect_err("full").contains("line 2: names and reasons of more than 4 bytes"));
    }

    #[test]
    fn an_error_of_the_input_names_the_line() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        let input = io::BufReader::new(format!("{HEADER}\n").leak().as_bytes().chain(Broken));
        let mut reader = TraceReader::open("t.jsonl", input).expect("a header");
        let error = reader.next_record().expect_err("broken").to_string();
        assert_eq!(error, "t.jsonl: line 2 cannot be read: disk on fire");
    }

    #[test]
    fn broken_bytes_are_refused_without_a_panic() {
        let mut texts = Texts::default();
        let header = samples::header(&mut texts);
        let mut records = samples::records(&mut texts);
        records.extend(samples::ends(&mut texts).drain(..1));
        let good = written(&header, &records, &texts);
        let mut refused = 0;
        for at in 0..good.len() {
            for byte in [0, b'"', b'{', b'9', b'\n', 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                refused += u32::from(read(&bad).is_err());
            }
        }
        assert!(refused > 1_000, "{refused}");
        let deep = format!("{HEADER}\n{{\"at_ns\":{}\n", "[".repeat(500_000));
        assert!(error_of(deep.as_bytes()).starts_with("t.jsonl: line 2"));
    }

    #[test]
    fn messages_are_short_and_on_one_line() {
        let name = "\u{1b}[31m\\n".replace("\\n", "\\u000a") + &"x".repeat(100_000);
        let error = error_of_line(&format!("{{\"at_ns\":1,\"{}\":1}}", name.replace('\u{1b}', "\\u001b")));
        assert!(error.chars().count() < 1_000 && !error.contains(char::is_control), "{error}");
    }

    #[test]
    fn a_seed_is_read_as_it_was_written() {
        use std::cell::RefCell;
        use std::rc::Rc;

        use crate::schedule::StrategyKind;
        use crate::search::{Runner, seeded};
        let mut runner = Runner::default();
        for seed in 0..40 {
            let lines = Rc::new(RefCell::new(JsonLines::new(Vec::new())));
            let scenario = crate::scenario::generate(seed);
            let judged =
                runner.watch(&scenario, seeded(seed, StrategyKind::default()), Rc::clone(&lines) as _);
            let lines = Rc::into_inner(lines).expect("the run is over").into_inner();
            let bytes = lines.finish().expect("memory does not fail");
            let mut again = JsonLines::new(Vec::new());
            TraceReader::open("seed", &bytes[..]).expect("a header").feed(&mut again).expect("a trace");
            let again = again.finish().expect("memory does not fail");
            assert!(again == bytes, "seed {seed} was written otherwise after it was read");
            let mut hash = TraceHash::new();
            TraceReader::open("seed", &bytes[..]).expect("a header").feed(&mut hash).expect("a trace");
            assert_eq!(hash.digest(), judged.trace_hash, "seed {seed} has another hash after it was read");
            let newlines = again.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(newlines as u64, judged.records + 1);
        }
    }
}
