//! Coverage: what a run has shown, as far as it can be told from its trace.
//!
//! - The *behaviour*: for each task, slot and subscriber the sequence of its event kinds, without times, numbers, names
//!   and attempts; runs that differ only in how the events of different ones interleave are one behaviour.
//! - *Pairs*: which event kind has followed which at one task, slot or subscriber.
//! - *Transitions* of the four machines of the contract: an actor's loop, a name in the registry, a slot, the run.
//!
//! All of it is read from events and from the calls to `run` and `serve`, so that any runtime's trace will do. The cost
//! is a few table look-ups for each event.

use simvisor::EventKind;

use crate::trace::{Answer, Call, EventNote, Header, Record, Sink, Text, Texts, What};

/// How many event kinds there are, rounded up to a power of two.
const KINDS: usize = 32;

/// A machine of the contract, with its states and the moves between them that the contract allows.
#[derive(Debug)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// The names of its states; the first is where it begins.
    pub states: &'static [&'static str],
    /// The allowed transitions, by the numbers of the states.
    pub transitions: &'static [(u8, u8)],
}

/// The machines: an actor, a name in the registry, a slot, a run.
pub const MACHINES: [Machine; 4] = [ACTOR, REGISTRY, SLOT, RUN];

const ACTOR: Machine = Machine {
    name: "actor",
    states: &["gone", "added", "attempt", "timed out", "stopped", "failed", "backoff", "exhausted", "dead"],
    transitions: &[
        (0, 1),
        (1, 2),
        (1, 0),
        (2, 3),
        (2, 4),
        (2, 5),
        (3, 5),
        (4, 2),
        (4, 6),
        (4, 7),
        (4, 0),
        (5, 6),
        (5, 7),
        (5, 8),
        (5, 0),
        (6, 2),
        (6, 0),
        (7, 0),
        (8, 0),
    ],
};

const REGISTRY: Machine = Machine {
    name: "registry",
    states: &["free", "requested", "registered", "removing"],
    // A removal may be asked for before the addition is done.
    transitions: &[(0, 1), (1, 2), (1, 3), (2, 3), (2, 0), (3, 3), (3, 0)],
};

const SLOT: Machine = Machine {
    name: "slot",
    states: &["idle", "running", "terminating"],
    transitions: &[(0, 1), (1, 2), (1, 0), (2, 0)],
};

const RUN: Machine = Machine {
    name: "run",
    states: &["not called", "up", "shutting down", "all stopped", "grace exceeded", "returned"],
    // A call that is refused before anything started leaves all as it was.
    transitions: &[(0, 1), (0, 2), (1, 0), (1, 2), (1, 5), (2, 3), (2, 4), (3, 5), (4, 5)],
};

/// Which transitions were seen: for each machine and state, a set of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Moves([[u16; 9]; MACHINES.len()]);

impl Moves {
    fn add(&mut self, machine: usize, from: u8, to: u8) {
        self.0[machine][from as usize] |= 1 << to;
    }

    fn has(&self, machine: usize, from: u8, to: u8) -> bool {
        self.0[machine][from as usize] >> to & 1 == 1
    }
}

/// What runs have shown, apart from their behaviours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    pairs: [u32; KINDS],
    moves: Moves,
}

impl Shown {
    /// What either has shown.
    pub fn add(&mut self, other: &Self) {
        self.pairs.iter_mut().zip(other.pairs).for_each(|(mine, its)| *mine |= its);
        let (mine, its) = (self.moves.0.iter_mut().flatten(), other.moves.0.iter().flatten());
        mine.zip(its).for_each(|(mine, its)| *mine |= its);
    }

    /// How many ordered pairs of event kinds followed each other at one task, slot or subscriber.
    #[must_use]
    pub fn pairs(&self) -> u32 {
        self.pairs.iter().map(|set| set.count_ones()).sum()
    }

    /// How many of the allowed transitions of a machine, by its place in [`MACHINES`], were taken.
    #[must_use]
    pub fn taken(&self, machine: usize) -> usize {
        MACHINES[machine].transitions.len() - self.never(machine).count()
    }

    /// The allowed transitions of a machine that were never taken, by the names of the states.
    pub fn never(&self, machine: usize) -> impl Iterator<Item = (&'static str, &'static str)> {
        let Machine { states, transitions, .. } = MACHINES[machine];
        let moves = self.moves;
        let never = transitions.iter().filter(move |&&(from, to)| !moves.has(machine, from, to));
        never.map(|&(from, to)| (states[from as usize], states[to as usize]))
    }

    /// Transitions that were taken and are not among the allowed ones.
    pub fn surplus(&self, machine: usize) -> impl Iterator<Item = (&'static str, &'static str)> {
        let Machine { states, transitions, .. } = MACHINES[machine];
        let moves = self.moves;
        let places = 0..states.len() as u8;
        let all = places.clone().flat_map(move |from| places.clone().map(move |to| (from, to)));
        let surplus =
            all.filter(move |step| moves.has(machine, step.0, step.1) && !transitions.contains(step));
        surplus.map(|(from, to)| (states[from as usize], states[to as usize]))
    }
}

/// What a run is about, as its header tells: runs of one family are likely to behave alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Family(u8);

impl Family {
    /// How many families there are.
    pub const COUNT: usize = 16;

    const PARTS: [&'static str; 4] = ["controller", "subscribers", "permits", "disorder"];

    fn of(header: &Header) -> Self {
        let parts = [
            header.config.controller.is_some(),
            !header.subscribers.is_empty(),
            header.config.max_concurrent > 0,
            header.config.disorder,
        ];
        Self((0..).zip(parts).map(|(place, part)| u8::from(part) << place).sum())
    }

    /// A number below [`Family::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The family of this number.
    #[must_use]
    pub fn from_index(index: usize) -> Self {
        assert!(index < Self::COUNT, "families are numbered below {}", Self::COUNT);
        Self(index as u8)
    }

    /// Its name: what its scenarios have, or `plain`.
    #[must_use]
    pub fn name(self) -> String {
        let parts: Vec<_> =
            (0..4).filter(|place| self.0 >> place & 1 == 1).map(|place| Self::PARTS[place]).collect();
        if parts.is_empty() { "plain".to_owned() } else { parts.join("+") }
    }
}

/// One task, slot or subscriber.
#[derive(Debug, Clone, Copy, Default)]
struct Story {
    last: Option<EventKind>,
    hash: u64,
    actor: u8,
    registry: u8,
    slot: u8,
}

/// Reads the trace of one run.
#[derive(Debug, Default)]
pub struct Coverage {
    family: Family,
    shown: Shown,
    /// By name; the first is that of events without one.
    stories: Vec<Story>,
    run: u8,
    run_op: Option<u32>,
}

impl Coverage {
    /// What the last run is about.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// The pairs and transitions of the last run.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The behaviour of the last run: a number that all runs of this behaviour have, within one version of simvisor.
    #[must_use]
    pub fn behaviour(&self) -> u64 {
        let told = self.stories.iter().filter(|story| story.last.is_some());
        mix(told.fold(u64::from(self.run), |sum, story| sum.wrapping_add(mix(story.hash))))
    }

    fn event(&mut self, event: &EventNote, texts: &Texts) {
        let kind = event.kind as u8;
        let place = event.task.map_or(0, |name| name.index() + 1);
        if self.stories.len() <= place {
            self.stories.resize(place + 1, Story::default());
        }
        let story = &mut self.stories[place];
        if let Some(last) = story.last.replace(event.kind) {
            self.shown.pairs[last as usize] |= 1 << kind;
        }
        // What a slot did is told by the reason alone; other reasons name numbers and errors.
        story.hash = (story.hash.rotate_left(5) ^ u64::from(kind + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let moves = &mut self.shown.moves;
        let mut to = |machine, state: &mut u8, next: u8| {
            moves.add(machine, *state, next);
            *state = next;
        };
        match event.kind {
            EventKind::TaskAddRequested => to(1, &mut story.registry, 1),
            EventKind::TaskAdded => {
                to(0, &mut story.actor, 1);
                let next = if story.registry == 3 { 3 } else { 2 };
                to(1, &mut story.registry, next);
            }
            EventKind::TaskRemoveRequested => to(1, &mut story.registry, 3),
            EventKind::TaskRemoved => {
                to(0, &mut story.actor, 0);
                to(1, &mut story.registry, 0);
            }
            EventKind::TaskStarting => to(0, &mut story.actor, 2),
            EventKind::TimeoutHit => to(0, &mut story.actor, 3),
            EventKind::TaskStopped => to(0, &mut story.actor, 4),
            EventKind::TaskFailed => to(0, &mut story.actor, 5),
            EventKind::BackoffScheduled => to(0, &mut story.actor, 6),
            EventKind::ActorExhausted => to(0, &mut story.actor, 7),
            EventKind::ActorDead => to(0, &mut story.actor, 8),
            EventKind::ControllerSlotTransition => {
                if let Some(next) = event.reason.and_then(|reason| slot_state(reason, texts)) {
                    to(2, &mut story.slot, next);
                    story.hash ^= u64::from(next);
                }
            }
            EventKind::ShutdownRequested => to(3, &mut self.run, 2),
            EventKind::AllStoppedWithinGrace => to(3, &mut self.run, 3),
            EventKind::GraceExceeded => to(3, &mut self.run, 4),
            EventKind::ControllerRejected
            | EventKind::ControllerSubmitted
            | EventKind::SubscriberOverflow
            | EventKind::SubscriberPanicked => {}
        }
    }

    fn run_goes(&mut self, to: u8) {
        self.shown.moves.add(3, self.run, to);
        self.run = to;
    }
}

/// The state that a slot's transition leads to.
fn slot_state(reason: Text, texts: &Texts) -> Option<u8> {
    let (_, to) = texts.get(reason).split_once('→')?;
    let to = to.split_once(' ').map_or(to, |(word, _)| word);
    SLOT.states.iter().position(|state| *state == to).map(|place| place as u8)
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

impl Sink for Coverage {
    fn begin(&mut self, header: &Header, _: &Texts) {
        self.family = Family::of(header);
        self.shown = Shown::default();
        self.stories.clear();
        self.run = 0;
        self.run_op = None;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.record_all(std::slice::from_ref(record), texts);
    }

    fn record_all(&mut self, records: &[Record], texts: &Texts) {
        for record in records {
            match &record.what {
                What::Event(event) => self.event(event, texts),
                What::Call { op, call: Call::Run(_) | Call::Serve } if self.run_op.is_none() => {
                    self.run_op = Some(*op);
                    // A shutdown that was asked for before stays asked for.
                    if self.run == 0 {
                        self.run_goes(1);
                    }
                }
                What::Answer { op, answer } if self.run_op == Some(*op) => match answer {
                    Answer::Done | Answer::GraceExceeded(_) => self.run_goes(5),
                    _ => {
                        self.run_op = None;
                        if self.run == 1 {
                            self.run_goes(0);
                        }
                    }
                },
                _ => {}
            }
        }
    }
}
