//! Each trace judged once.
//!
//! Of all schedules of a world many come to the same trace: steps that look at the same thing were made in another order,
//! and nothing of it shows. Judges read the trace and nothing else, so what they said of it holds for all of these. A trace
//! is hashed as it is made and kept, and the judges get it at its end, unless one of this hash was found clean before.
//!
//! The hash of a trace says nothing of turns, but judges ask whether two records are of one turn. A turn's records stand
//! together, so it is enough to add for each whether it is of the turn of the one before.

use std::cell::RefCell;
use std::hash::Hasher as _;
use std::rc::Rc;

use rustc_hash::{FxHashSet, FxHasher};

use crate::trace::{Header, Record, Sink, Texts, TraceHash, What};

/// Hands on the traces that were not seen before.
pub(super) struct Unseen {
    judges: Rc<RefCell<dyn Sink>>,
    hash: TraceHash,
    header: Option<Header>,
    records: Vec<Record>,
    /// Traces that broke no rule, hashed.
    clean: FxHashSet<u64>,
    /// The turn of the latest record, and where turns began so far, hashed.
    turn: Option<u64>,
    turns: FxHasher,
    /// The hash of a trace that is over.
    digest: u64,
    is_known: bool,
}

/// So many are kept: 2^20, about 18 MB. Those that come later are judged whenever they come.
const CLEAN_MAX: usize = 1 << 20;

impl Unseen {
    pub(super) fn new(judges: Rc<RefCell<dyn Sink>>) -> Self {
        Self {
            judges,
            hash: TraceHash::new(),
            header: None,
            records: Vec::new(),
            clean: FxHashSet::default(),
            turn: None,
            turns: FxHasher::default(),
            digest: 0,
            is_known: false,
        }
    }

    /// Whether the last trace was found clean before, so that the judges did not get it.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// The last trace broke no rule, so that it need not be judged again.
    pub(super) fn keep_clean(&mut self) {
        if self.clean.len() < CLEAN_MAX {
            self.clean.insert(self.digest);
        }
    }
}

impl Sink for Unseen {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.hash.begin(header, texts);
        self.header = Some(header.clone());
        self.records.clear();
        (self.turn, self.turns) = (None, FxHasher::default());
        self.is_known = false;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.hash.record(record, texts);
        self.turns.write_u8(u8::from(record.turn == self.turn));
        self.turn = record.turn;
        self.records.push(record.clone());
        if !matches!(record.what, What::End(_)) {
            return;
        }
        self.turns.write_u64(self.hash.digest());
        self.digest = self.turns.finish();
        self.is_known = self.clean.contains(&self.digest);
        if !self.is_known {
            let mut judges = self.judges.borrow_mut();
            judges.begin(self.header.as_ref().expect("it began"), texts);
            judges.record_all(&self.records, texts);
        }
    }
}
