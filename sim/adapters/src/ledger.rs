//! What happened, in the order in which it happened.
//!
//! A runtime tells of its events late: a subscriber is handed them by a worker, turns after they were published. Bodies
//! and operations tell at once. All carry stamps of one clock ([`crate::machine`]), so the ledger keeps the records of
//! an instant and writes them in order of their stamps.

use std::collections::BTreeMap;
use std::io::Write;

use simvisor_sim::conform::{ForeignEvent, ForeignRecord, ForeignWhat};
use simvisor_sim::trace::{EndNote, Header, Text, Texts, Waiter, What, header_line};

use crate::machine;

/// A run that makes more records than this is given up.
const RECORDS_MAX: u64 = 100_000;
/// An instant that makes more records than this does not end.
const RECORDS_PER_INSTANT_MAX: u64 = 12_000;

/// Stands for the stamp of the last record.
const END: u64 = u64::MAX - 1;

/// Something that was begun and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Open {
    /// Who, such as `operation 3`.
    pub(crate) who: String,
    /// The task it belongs to, if any.
    pub(crate) task: Option<String>,
    /// What it waits for.
    pub(crate) what: String,
}

/// Why a run should be given up now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Time does not move.
    Instant,
    /// It is too long.
    Run,
}

pub(crate) struct Ledger {
    pub(crate) texts: Texts,
    header: Header,
    output: Box<dyn Write + Send>,
    /// Stamped records that are not written.
    waiting: Vec<(u64, ForeignWhat)>,
    has_begun: bool,
    /// Number of the first event: a process counts all its events, and nobody can see those before the run.
    first_seq: Option<u64>,
    records: u64,
    /// The instant of the last record, and how many there were.
    instant: (u64, u64),
    open: BTreeMap<Open, u64>,
    pub(crate) is_over: bool,
}

impl Ledger {
    pub(crate) fn new(header: Header, texts: Texts, output: Box<dyn Write + Send>) -> Self {
        Self {
            texts,
            header,
            output,
            waiting: Vec::new(),
            has_begun: false,
            first_seq: None,
            records: 0,
            instant: (0, 0),
            open: BTreeMap::new(),
            is_over: false,
        }
    }

    /// Takes a record that is made now.
    pub(crate) fn record(&mut self, what: What) -> Result<(), Excess> {
        self.record_at(machine::stamp(), ForeignWhat::Same(what))
    }

    /// Takes a record that was stamped before.
    pub(crate) fn record_at(&mut self, stamp: u64, what: ForeignWhat) -> Result<(), Excess> {
        if self.is_over {
            return Ok(());
        }
        self.waiting.push((stamp, what));
        self.records += 1;
        let now_ns = machine::now_ns();
        if self.instant.0 != now_ns {
            // What was stamped at an earlier instant has been told by now.
            self.instant = (now_ns, 0);
            if self.waiting.len() > 4_096 {
                self.write_before(machine::first_stamp_now());
            }
        }
        self.instant.1 += 1;
        match () {
            () if self.instant.1 > RECORDS_PER_INSTANT_MAX => Err(Excess::Instant),
            () if self.records > RECORDS_MAX => Err(Excess::Run),
            () => Ok(()),
        }
    }

    pub(crate) fn begin(&mut self, open: Open) {
        self.open.insert(open, machine::now_ns());
    }

    pub(crate) fn end_of(&mut self, open: &Open) {
        self.open.remove(open);
    }

    pub(crate) fn has_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The instant of the last record.
    pub(crate) fn last_ns(&self) -> u64 {
        self.instant.0
    }

    /// Who waits for what.
    pub(crate) fn waiters(&mut self) -> Vec<Waiter> {
        let Self { open, texts, .. } = self;
        let waiter = |(open, &since_ns): (&Open, &u64)| Waiter {
            who: texts.intern(&open.who),
            task: open.task.as_deref().map(|task| texts.intern(task)),
            what: texts.intern(&open.what),
            since_ns,
        };
        open.iter().map(waiter).collect()
    }

    pub(crate) fn text(&mut self, text: &str) -> Text {
        self.texts.intern(text)
    }

    /// The last record; nothing is taken after it.
    pub(crate) fn end(&mut self, end: EndNote) {
        if self.is_over {
            return;
        }
        self.waiting.push((END, ForeignWhat::Same(What::End(end))));
        self.write_before(u64::MAX);
        self.is_over = true;
        // Whoever reads us may have gone; then nobody misses the rest.
        drop(self.output.flush());
    }

    /// Writes what was stamped before `limit`.
    fn write_before(&mut self, limit: u64) {
        if !self.has_begun {
            self.has_begun = true;
            drop(writeln!(self.output, "{}", header_line(&self.header, &self.texts)));
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_by_key(|(stamp, _)| *stamp);
        let kept = waiting.split_off(waiting.partition_point(|(stamp, _)| *stamp < limit));
        self.waiting = kept;
        for (stamp, mut what) in waiting {
            let at_ns = if stamp == END { machine::now_ns() } else { machine::instant_of(stamp) };
            self.renumber(&mut what);
            let line = ForeignRecord { at_ns, turn: None, what }.line(&self.texts);
            drop(writeln!(self.output, "{line}"));
        }
    }

    /// Lets numbers of events begin with 0.
    fn renumber(&mut self, what: &mut ForeignWhat) {
        if let ForeignWhat::Event(ForeignEvent { seq: Some(seq), .. }) = what {
            self.first_seq.get_or_insert(*seq);
        }
        let first = self.first_seq.unwrap_or(0);
        match what {
            ForeignWhat::Event(ForeignEvent { seq: Some(seq), .. })
            | ForeignWhat::Same(
                What::Received { seq, .. } | What::HandlerEntered { seq, .. } | What::HandlerLeft { seq, .. },
            ) => *seq = seq.saturating_sub(first),
            _ => {}
        }
    }
}
