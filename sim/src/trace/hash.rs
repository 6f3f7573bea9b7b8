//! The identity of a run: XXH3-64 over a canonical encoding of its records.
//!
//! The encoding is little-endian words of fixed width. A text is written out where it first appears and by its number
//! afterwards; numbers count up in the order of first appearance in the records, whatever the texts of the run are
//! numbered, so the hash depends on what was said and on nothing else. Neither the header nor turn numbers are part
//! of it: the hash names the behaviour, whoever ran it and whether it was read from a file.

use xxhash_rust::xxh3::Xxh3Default;

use super::{
    Admission, Answer, BackoffNote, BodyEnd, Call, EndNote, EventNote, HandlerEnd, Header, Jitter, Record,
    Restart, Sink, SpecNote, Text, Texts, Waiter, What,
};

/// Hashes a trace as it is made.
#[derive(Clone, Default)]
pub struct TraceHash {
    state: Box<Xxh3Default>,
    bytes: Vec<u8>,
    numbers: Numbers,
    records: u64,
}

impl std::fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceHash").field("records", &self.records).finish_non_exhaustive()
    }
}

/// Encoded bytes are handed to the hash in blocks of about this size.
const BLOCK_BYTES: usize = 2048;

impl TraceHash {
    /// A hash of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything and keeps the memory.
    pub fn reset(&mut self) {
        self.state.reset();
        self.bytes.clear();
        self.numbers.clear();
        self.records = 0;
    }

    /// The hash of all records so far.
    #[must_use]
    pub fn digest(&mut self) -> u64 {
        self.flush();
        self.state.digest()
    }

    /// How many records were hashed.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    fn flush(&mut self) {
        self.state.update(&self.bytes);
        self.bytes.clear();
    }
}

impl Sink for TraceHash {
    fn begin(&mut self, _header: &Header, _texts: &Texts) {
        self.reset();
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.record_all(std::slice::from_ref(record), texts);
    }

    fn record_all(&mut self, records: &[Record], texts: &Texts) {
        self.records += records.len() as u64;
        for record in records {
            let mut encoder = Encoder { bytes: &mut self.bytes, numbers: &mut self.numbers, texts };
            encoder.record(record.at_ns, &record.what);
            if self.bytes.len() >= BLOCK_BYTES {
                self.flush();
            }
        }
    }
}

/// Numbers of texts in the order in which the records first said them.
#[derive(Clone, Default)]
struct Numbers {
    /// By the text's number in the run; [`UNSAID`] where no record said it.
    of_text: Vec<u32>,
    next: u32,
}

const UNSAID: u32 = u32::MAX;

impl Numbers {
    fn clear(&mut self) {
        self.of_text.clear();
        self.next = 0;
    }

    /// The text's number, if a record said it before.
    #[inline]
    fn known(&self, text: Text) -> Option<u32> {
        self.of_text.get(text.index()).copied().filter(|&number| number != UNSAID)
    }

    /// The number of a text that is said for the first time.
    fn add(&mut self, text: Text) -> u32 {
        let index = text.index();
        if index >= self.of_text.len() {
            self.of_text.resize(index + 1, UNSAID);
        }
        self.of_text[index] = self.next;
        self.next += 1;
        self.of_text[index]
    }
}

struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    numbers: &'a mut Numbers,
    texts: &'a Texts,
}

impl Encoder<'_> {
    fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn len(&mut self, len: usize) {
        self.u64(len as u64);
    }

    #[inline]
    fn text(&mut self, text: Text) {
        match self.numbers.known(text) {
            Some(number) => self.u32(number),
            None => self.spell(text),
        }
    }

    #[cold]
    fn spell(&mut self, text: Text) {
        let number = self.numbers.add(text);
        self.u32(number);
        let spelled = self.texts.get(text);
        self.len(spelled.len());
        self.bytes.extend_from_slice(spelled.as_bytes());
    }

    fn optional_text(&mut self, text: Option<Text>) {
        match text {
            None => self.u8(0),
            Some(text) => self.tagged(1, text),
        }
    }

    fn optional_u32(&mut self, value: Option<u32>) {
        self.u64(value.map_or(u64::MAX, u64::from));
    }

    fn texts(&mut self, texts: &[Text]) {
        self.len(texts.len());
        texts.iter().for_each(|&text| self.text(text));
    }

    #[inline]
    fn record(&mut self, at_ns: u64, what: &What) {
        match what {
            What::Event(event) => self.event(at_ns, event),
            What::Call { op, call } => {
                self.head(at_ns, 2);
                self.u32(*op);
                self.call(call);
            }
            What::Answer { op, answer } => {
                self.head(at_ns, 3);
                self.u32(*op);
                self.answer(answer);
            }
            What::BodyEntered { task, attempt, op } => {
                self.body(at_ns, 4, *task, *attempt);
                self.optional_u32(*op);
            }
            What::BodyLeft { task, attempt, how } => {
                self.body(at_ns, 5, *task, *attempt);
                self.body_end(*how);
            }
            What::BodyCancelled { task, attempt } => self.body(at_ns, 6, *task, *attempt),
            What::Received { receiver, seq } => self.numbered(at_ns, 7, *receiver, *seq),
            What::Lagged { receiver, lost } => self.numbered(at_ns, 8, *receiver, *lost),
            What::ReceiverOpened { receiver } => self.numbered(at_ns, 9, *receiver, 0),
            What::ReceiverClosed { receiver } => self.numbered(at_ns, 10, *receiver, 0),
            What::HandlerEntered { subscriber, seq } => self.numbered(at_ns, 11, *subscriber, *seq),
            What::HandlerLeft { subscriber, seq, how } => {
                self.numbered(at_ns, 12, *subscriber, *seq);
                self.handler_end(*how);
            }
            What::Counters { subscriber, handled, panicked, dropped, lagged } => {
                self.numbered(at_ns, 13, *subscriber, *handled);
                [panicked, dropped, lagged].into_iter().for_each(|&count| self.u64(count));
            }
            What::Leftovers { futures, timers, permits } => {
                self.head(at_ns, 14);
                [futures, timers, permits].into_iter().for_each(|&count| self.u64(count));
            }
            What::WallSet { by_ns } => {
                self.head(at_ns, 15);
                self.u64(by_ns.cast_unsigned());
            }
            What::Calm => self.head(at_ns, 16),
            What::Delivered { seq } => {
                self.head(at_ns, 18);
                self.u64(*seq);
            }
            What::AliveSeen { receiver, alive } => {
                self.head(at_ns, 19);
                self.text(*receiver);
                self.texts(alive);
            }
            What::End(end) => {
                self.head(at_ns, 17);
                self.end(end);
            }
        }
    }

    // Pieces of fixed length are put together before they are appended: this is most of what is encoded.

    /// When, and what kind of record it is.
    #[inline]
    fn head(&mut self, at_ns: u64, tag: u8) {
        let mut line = [tag; 9];
        line[..8].copy_from_slice(&at_ns.to_le_bytes());
        self.bytes.extend_from_slice(&line);
    }

    #[inline]
    fn body(&mut self, at_ns: u64, tag: u8, task: Text, attempt: u32) {
        self.named(at_ns, tag, task, attempt.to_le_bytes());
    }

    #[inline]
    fn numbered(&mut self, at_ns: u64, tag: u8, text: Text, number: u64) {
        self.named(at_ns, tag, text, number.to_le_bytes());
    }

    /// When, what kind of record it is, whom it is about, and at most 8 bytes more.
    #[inline]
    fn named<const N: usize>(&mut self, at_ns: u64, tag: u8, text: Text, more: [u8; N]) {
        if let Some(known) = self.numbers.known(text) {
            let mut line = [tag; 21];
            line[..8].copy_from_slice(&at_ns.to_le_bytes());
            line[9..13].copy_from_slice(&known.to_le_bytes());
            line[13..13 + N].copy_from_slice(&more);
            self.bytes.extend_from_slice(&line[..13 + N]);
        } else {
            self.head(at_ns, tag);
            self.spell(text);
            self.bytes.extend_from_slice(&more);
        }
    }

    #[inline]
    fn event(&mut self, at_ns: u64, event: &EventNote) {
        let EventNote { seq, wall_ns, kind, task, reason, attempt, timeout_ms, delay_ms, source } = *event;
        let mut line = [0; 64];
        line[..8].copy_from_slice(&at_ns.to_le_bytes());
        line[8] = 1;
        line[9..17].copy_from_slice(&seq.to_le_bytes());
        line[17..25].copy_from_slice(&wall_ns.to_le_bytes());
        line[25] = kind as u8;
        let mut len = 26;
        for text in [task, reason] {
            line[len] = u8::from(text.is_some());
            len += 1;
            let Some(text) = text else { continue };
            if let Some(known) = self.numbers.known(text) {
                line[len..len + 4].copy_from_slice(&known.to_le_bytes());
                len += 4;
            } else {
                self.append(&line, len);
                self.spell(text);
                len = 0;
            }
        }
        for value in [attempt, timeout_ms, delay_ms] {
            let word = value.map_or(u64::MAX, u64::from);
            line[len..len + 8].copy_from_slice(&word.to_le_bytes());
            len += 8;
        }
        line[len] = source.map_or(0, |source| 1 + source as u8);
        self.append(&line, len + 1);
    }

    /// Appends the first `len` bytes of a line: all of it, whose length is known here, and then takes the rest away.
    #[inline]
    fn append<const N: usize>(&mut self, line: &[u8; N], len: usize) {
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(line);
        self.bytes.truncate(end);
    }

    fn call(&mut self, call: &Call) {
        match call {
            Call::Run(specs) => {
                self.u8(1);
                self.len(specs.len());
                specs.iter().for_each(|spec| self.spec(spec));
            }
            Call::Serve => self.u8(2),
            Call::Add(spec) => {
                self.u8(3);
                self.spec(spec);
            }
            Call::Remove(task) => self.tagged(4, *task),
            Call::Cancel { task, wait_ns } => {
                self.tagged(5, *task);
                self.u64(*wait_ns);
            }
            Call::List => self.u8(6),
            Call::Snapshot => self.u8(7),
            Call::IsAlive(task) => self.tagged(8, *task),
            Call::WaitReady => self.u8(9),
            Call::Shutdown => self.u8(10),
            Call::Submit { spec, admission, wait } => {
                self.u8(11);
                self.spec(spec);
                self.u8(match admission {
                    Admission::Queue => 0,
                    Admission::Replace => 1,
                    Admission::DropIfRunning => 2,
                });
                self.u8(u8::from(*wait));
            }
        }
    }

    fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Done => self.u8(1),
            Answer::Bool(value) => {
                self.u8(2);
                self.u8(u8::from(*value));
            }
            Answer::Names(names) => {
                self.u8(3);
                self.texts(names);
            }
            Answer::AlreadyExists => self.u8(4),
            Answer::NotFound => self.u8(5),
            Answer::RemoveTimeout => self.u8(6),
            Answer::ShuttingDown => self.u8(7),
            Answer::GraceExceeded(stuck) => {
                self.u8(8);
                self.texts(stuck);
            }
            Answer::Error(text) => self.tagged(9, *text),
            Answer::Full => self.u8(10),
            Answer::NotConfigured => self.u8(11),
            Answer::Closed => self.u8(12),
        }
    }

    fn spec(&mut self, spec: &SpecNote) {
        self.text(spec.task);
        match spec.restart {
            Restart::Never => self.u8(1),
            Restart::OnFailure => self.u8(2),
            Restart::Always { interval_ns } => {
                self.u8(3);
                self.u8(u8::from(interval_ns.is_some()));
                self.u64(interval_ns.unwrap_or(0));
            }
        }
        let BackoffNote { first_ns, max_ns, factor, jitter } = spec.backoff;
        self.u64(first_ns);
        self.u64(max_ns);
        self.u64(factor.to_bits());
        self.u8(match jitter {
            Jitter::None => 0,
            Jitter::Full => 1,
            Jitter::Equal => 2,
            Jitter::Decorrelated => 3,
        });
        self.u64(spec.timeout_ns);
    }

    #[inline]
    fn tagged(&mut self, tag: u8, text: Text) {
        if let Some(known) = self.numbers.known(text) {
            let mut line = [tag; 5];
            line[1..].copy_from_slice(&known.to_le_bytes());
            self.bytes.extend_from_slice(&line);
        } else {
            self.u8(tag);
            self.spell(text);
        }
    }

    fn body_end(&mut self, how: BodyEnd) {
        match how {
            BodyEnd::Ok => self.u8(1),
            BodyEnd::Canceled => self.u8(2),
            BodyEnd::Fail(text) => self.tagged(3, text),
            BodyEnd::Fatal(text) => self.tagged(4, text),
            BodyEnd::Panic(text) => self.tagged(5, text),
            BodyEnd::Dropped => self.u8(6),
        }
    }

    fn handler_end(&mut self, how: HandlerEnd) {
        match how {
            HandlerEnd::Done => self.u8(1),
            HandlerEnd::Panic(text) => self.tagged(2, text),
            HandlerEnd::Dropped => self.u8(3),
        }
    }

    fn end(&mut self, end: &EndNote) {
        match end {
            EndNote::Done => self.u8(1),
            EndNote::Livelock(waiters) => self.waiters(2, waiters),
            EndNote::Deadlock(waiters) => self.waiters(3, waiters),
            EndNote::Limit(text) => self.tagged(4, *text),
        }
    }

    fn waiters(&mut self, tag: u8, waiters: &[Waiter]) {
        self.u8(tag);
        self.len(waiters.len());
        for waiter in waiters {
            self.text(waiter.who);
            self.optional_text(waiter.task);
            self.text(waiter.what);
            self.u64(waiter.since_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::ConfigNote;

    fn header(subscribers: Vec<(Text, u64)>) -> Header {
        let config = ConfigNote {
            grace_ns: 0,
            max_concurrent: 0,
            bus_capacity: 1,
            timer_late_ns: 0,
            controller: None,
            disorder: false,
        };
        Header { runtime: "r".to_owned(), scenario: None, config, subscribers }
    }

    fn digest(header: &Header, texts: &Texts, removes: &[Text], turn: Option<u64>) -> u64 {
        let mut hash = TraceHash::new();
        hash.begin(header, texts);
        for (op, &task) in (0..).zip(removes) {
            let what = What::Call { op, call: Call::Remove(task) };
            hash.record(&Record { at_ns: 5, turn, what }, texts);
        }
        hash.digest()
    }

    #[test]
    fn the_hash_depends_on_what_was_said_and_on_nothing_else() {
        let mut texts = Texts::default();
        let [a, b] = ["a", "b"].map(|name| texts.intern(name));
        let plain = digest(&header(Vec::new()), &texts, &[a, b, a], None);

        // The same said by a run that numbers its texts otherwise, with subscribers and turns.
        let mut others = Texts::default();
        let [_, other_b, subscriber, other_a] = ["never said", "b", "s", "a"].map(|name| others.intern(name));
        let removes = [other_a, other_b, other_a];
        assert_eq!(digest(&header(vec![(subscriber, 3)]), &others, &removes, Some(7)), plain);

        // Not the same.
        assert_ne!(digest(&header(Vec::new()), &texts, &[a, b, b], None), plain);
        assert_ne!(digest(&header(Vec::new()), &texts, &[b, a, b], None), plain);
        assert_ne!(digest(&header(Vec::new()), &texts, &[a, b], None), plain);
    }

    #[test]
    fn a_hash_can_be_used_again() {
        let mut texts = Texts::default();
        let name = texts.intern("a");
        let record = Record { at_ns: 0, turn: None, what: What::Call { op: 0, call: Call::Remove(name) } };
        let mut hash = TraceHash::new();
        let mut once = || {
            hash.begin(&header(Vec::new()), &texts);
            hash.record(&record, &texts);
            (hash.digest(), hash.records())
        };
        assert_eq!(once(), once());
    }
}
