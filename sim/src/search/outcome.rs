//! What a run came to, as two numbers that do not depend on the order of steps that have nothing to do with each other.
//!
//! The *final state* is what is left when the world has ended: the answer of every operation, the last event of every
//! task, the counters, what was left behind, and the verdict. The *behaviour* is what each task, slot, subscriber, receiver
//! and operation went through, record by record with its instant, each for itself. Both leave out the numbers of
//! events and turns; what a receiver or a handler got is told by what the event says. A slot is not the task that it is
//! named after. They are for counting, and not kept: a hash is good within one version of simvisor.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};
use simvisor::EventKind;

use crate::trace::{Answer, EndNote, EventNote, HandlerEnd, Header, Record, Sink, Text, Texts, What};

/// Reads a trace and gives the two numbers.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What each of those that have a story of their own went through so far.
    stories: FxHashMap<u64, u64>,
    /// The last event of each task.
    last: FxHashMap<u64, u64>,
    /// What each event says, by its number.
    said: FxHashMap<u64, u64>,
    rest: u64,
    names: Vec<u64>,
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    of.hash(&mut hasher);
    let word = hasher.finish();
    // The last steps of SplitMix64, so that sums of these are as good as the words.
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

fn sum(map: &FxHashMap<u64, u64>) -> u64 {
    map.iter().fold(0, |sum, entry| sum.wrapping_add(hash(entry)))
}

impl Outcome {
    /// The final state.
    pub(super) fn state(&self) -> u64 {
        sum(&self.last).wrapping_add(self.rest)
    }

    /// The behaviour.
    pub(super) fn behaviour(&self) -> u64 {
        sum(&self.stories)
    }

    fn name(&mut self, text: Text, texts: &Texts) -> u64 {
        let index = text.index();
        if self.names.len() <= index {
            self.names.resize(index + 1, 0);
        }
        if self.names[index] == 0 {
            self.names[index] = hash(texts.get(text)) | 1;
        }
        self.names[index]
    }

    fn optional(&mut self, text: Option<Text>, texts: &Texts) -> u64 {
        text.map_or(0, |text| self.name(text, texts))
    }

    fn tells(&mut self, who: u64, what: u64) {
        let story = self.stories.entry(who).or_default();
        *story = hash((*story, what));
    }

    fn left(&mut self, what: u64) {
        self.rest = self.rest.wrapping_add(what);
    }

    fn event(&mut self, event: &EventNote, at_ns: u64, texts: &Texts) {
        let EventNote { seq, kind, task, reason, attempt, timeout_ms, delay_ms, source, wall_ns: _ } = *event;
        use EventKind::{ControllerRejected, ControllerSlotTransition, ControllerSubmitted};
        let mut who = self.optional(task, texts);
        if matches!(kind, ControllerRejected | ControllerSlotTransition | ControllerSubmitted) {
            who = hash((11, who));
        }
        let reason = self.optional(reason, texts);
        let source = source.map(|source| source as u8);
        let said = hash((kind, who, reason, attempt, timeout_ms, delay_ms, source));
        self.said.insert(seq, said);
        self.last.insert(who, said);
        self.tells(hash((1, who)), hash((at_ns, said)));
    }

    fn answer(&mut self, answer: &Answer, texts: &Texts) -> u64 {
        let kind = std::mem::discriminant(answer);
        match answer {
            Answer::Bool(value) => hash((kind, value)),
            Answer::Names(names) | Answer::GraceExceeded(names) => {
                names.iter().fold(hash(kind), |sum, &name| hash((sum, self.name(name, texts))))
            }
            Answer::Error(text) => hash((kind, self.name(*text, texts))),
            _ => hash(kind),
        }
    }
}

impl Sink for Outcome {
    fn begin(&mut self, _: &Header, _: &Texts) {
        self.stories.clear();
        self.last.clear();
        self.said.clear();
        self.names.clear();
        self.rest = 0;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        let at_ns = record.at_ns;
        let said = |this: &Self, seq: &u64| this.said.get(seq).copied().unwrap_or_default();
        let (who, what) = match &record.what {
            What::Event(event) => return self.event(event, at_ns, texts),
            What::Call { op, .. } => (hash((2, op)), 1),
            What::Answer { op, answer } => {
                let answer = self.answer(answer, texts);
                self.left(hash((op, answer)));
                (hash((2, op)), answer)
            }
            What::BodyEntered { task, attempt, op } => {
                (hash((3, self.name(*task, texts))), hash((1, attempt, op)))
            }
            What::BodyLeft { task, attempt, how } => {
                let kind = std::mem::discriminant(how);
                let text = self.optional(how.text(), texts);
                (hash((3, self.name(*task, texts))), hash((2, attempt, kind, text)))
            }
            What::BodyCancelled { task, attempt } => (hash((3, self.name(*task, texts))), hash((3, attempt))),
            What::Received { receiver, seq } => {
                (hash((4, self.name(*receiver, texts))), hash((1, said(self, seq))))
            }
            What::Lagged { receiver, lost } => (hash((4, self.name(*receiver, texts))), hash((2, lost))),
            What::Delivered { seq } => {
                let said = said(self, seq);
                (hash((10, said)), 1)
            }
            What::AliveSeen { receiver, alive } => {
                let names = alive.iter().fold(5, |sum: u64, &name| hash((sum, self.name(name, texts))));
                (hash((4, self.name(*receiver, texts))), names)
            }
            What::ReceiverClosed { receiver } => (hash((4, self.name(*receiver, texts))), 3),
            What::ReceiverOpened { receiver } => (hash((4, self.name(*receiver, texts))), 4),
            What::HandlerEntered { subscriber, seq } => {
                (hash((5, self.name(*subscriber, texts))), hash((1, said(self, seq))))
            }
            What::HandlerLeft { subscriber, seq, how } => {
                let how = match how {
                    HandlerEnd::Done => 1,
                    HandlerEnd::Dropped => 2,
                    HandlerEnd::Panic(text) => self.name(*text, texts),
                };
                (hash((5, self.name(*subscriber, texts))), hash((2, said(self, seq), how)))
            }
            What::Counters { subscriber, handled, panicked, dropped, lagged } => {
                let name = self.name(*subscriber, texts);
                return self.left(hash((6, name, handled, panicked, dropped, lagged)));
            }
            What::Leftovers { futures, timers, permits } => {
                return self.left(hash((7, futures, timers, permits)));
            }
            What::WallSet { by_ns } => (8, hash(by_ns)),
            What::Calm => (9, 1),
            What::End(end) => {
                let kind = std::mem::discriminant(end);
                let waiters = match end {
                    EndNote::Livelock(waiters) | EndNote::Deadlock(waiters) => &waiters[..],
                    EndNote::Done | EndNote::Limit(_) => &[],
                };
                let waiters = waiters.iter().fold(0, |sum: u64, waiter| {
                    sum.wrapping_add(hash((self.name(waiter.who, texts), self.name(waiter.what, texts))))
                });
                return self.left(hash((at_ns, kind, waiters)));
            }
        };
        self.tells(who, hash((at_ns, what)));
    }
}
