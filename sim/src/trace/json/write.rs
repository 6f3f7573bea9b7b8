//! Writes a trace as JSON lines.

use std::io;

use super::super::{Header, Record, Sink, Texts};
use super::shape::{HeaderLine, RecordLine};

/// The header as one line of JSON, without a newline.
#[must_use]
pub fn header_line(header: &Header, texts: &Texts) -> String {
    serde_json::to_string(&HeaderLine::of(header, texts)).expect("a header is plain data")
}

/// A record as one line of JSON, without a newline.
#[must_use]
pub fn record_line(record: &Record, texts: &Texts) -> String {
    serde_json::to_string(&RecordLine::of(record, texts)).expect("a record is plain data")
}

/// Writes one trace to `W` as it is made. Each line is one call of `write_all`, so give it something buffered.
///
/// A sink cannot fail, so the first error is kept, nothing is written after it, and [`JsonLines::finish`] returns it.
#[derive(Debug)]
pub struct JsonLines<W> {
    output: W,
    line: Vec<u8>,
    error: Option<io::Error>,
}

impl<W: io::Write> JsonLines<W> {
    /// Writes to `output`.
    #[must_use]
    pub fn new(output: W) -> Self {
        Self { output, line: Vec::new(), error: None }
    }

    /// Flushes, and gives the output back.
    ///
    /// # Errors
    /// The first error of the output; what was written before it is an incomplete trace.
    pub fn finish(mut self) -> io::Result<W> {
        match self.error {
            Some(error) => Err(error),
            None => self.output.flush().map(|()| self.output),
        }
    }

    fn write(&mut self, line: &impl serde::Serialize) {
        if self.error.is_some() {
            return;
        }
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).expect("a trace is plain data");
        self.line.push(b'\n');
        self.error = self.output.write_all(&self.line).err();
    }
}

impl<W: io::Write> Sink for JsonLines<W> {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.write(&HeaderLine::of(header, texts));
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.write(&RecordLine::of(record, texts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::json::samples;
    use crate::trace::{ConfigNote, What};

    /// Takes so many bytes, then fails.
    struct Full(usize);

    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 < bytes.len() {
                return Err(io::Error::new(io::ErrorKind::StorageFull, format!("after {} more", self.0)));
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_header_and_a_record_are_each_one_line() {
        let mut texts = Texts::default();
        let header = samples::header(&mut texts);
        let mut records = samples::records(&mut texts);
        records.extend(samples::ends(&mut texts));
        let lines = records.iter().map(|record| record_line(record, &texts));
        for line in lines.chain([header_line(&header, &texts)]) {
            assert!(!line.contains(['\n', '\r']), "{line}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let texts = Texts::default();
        let config = ConfigNote {
            grace_ns: 1,
            max_concurrent: 0,
            bus_capacity: 2,
            timer_late_ns: 0,
            controller: None,
            disorder: false,
        };
        let header = Header { runtime: "r".to_owned(), scenario: None, config, subscribers: Vec::new() };
        assert_eq!(
            header_line(&header, &texts),
            r#"{"format":"simvisor-trace","version":1,"runtime":"r","config":{"grace_ns":1,"max_concurrent":0,"bus_capacity":2,"timer_late_ns":0},"subscribers":[]}"#
        );
        let record = Record { at_ns: 7, turn: None, what: What::Calm };
        assert_eq!(record_line(&record, &texts), r#"{"at_ns":7,"calm":{}}"#);
    }

    #[test]
    fn the_first_error_is_kept_and_nothing_is_written_after_it() {
        let mut texts = Texts::default();
        let header = samples::header(&mut texts);
        let record = Record { at_ns: 0, turn: None, what: What::Calm };
        let room = header_line(&header, &texts).len() + 10;
        let mut lines = JsonLines::new(Full(room));
        lines.begin(&header, &texts);
        lines.record(&record, &texts);
        lines.output.0 = 1_000;
        lines.record(&record, &texts);
        assert_eq!(lines.output.0, 1_000, "something was written after an error");
        let error = lines.finish().err().expect("it was full");
        assert_eq!(error.to_string(), "after 9 more");
    }
}
