//! Lanes: stable identities for futures, by role and name.
//!
//! A schedule choice names a lane. A task's actor has the same lane in every incarnation and whatever else was
//! spawned before it, so a choice means the same after other choices were taken away.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::slots::NONE;

/// What kind of future a lane is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LaneKind {
    /// The virtual clock.
    Clock,
    /// The registry's loop.
    Registry,
    /// The listener that feeds the subscribers.
    Listener,
    /// A subscriber's worker.
    Worker,
    /// A task's actor.
    Actor,
    /// The call to `run` or `serve`.
    Run,
    /// An operation on the supervisor.
    Operation,
    /// A bus receiver outside the runtime.
    Receiver,
    /// Carries late events of one publisher to the bus.
    Courier,
    /// Anything else.
    Other,
    /// The controller's loop.
    Controller,
}

impl LaneKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Clock,
        Self::Registry,
        Self::Listener,
        Self::Worker,
        Self::Actor,
        Self::Run,
        Self::Operation,
        Self::Receiver,
        Self::Courier,
        Self::Other,
        Self::Controller,
    ];

    /// The kind of this word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Registry => "registry",
            Self::Listener => "listener",
            Self::Worker => "worker",
            Self::Actor => "actor",
            Self::Run => "run",
            Self::Operation => "operation",
            Self::Receiver => "receiver",
            Self::Courier => "courier",
            Self::Other => "future",
            Self::Controller => "controller",
        }
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) kind: LaneKind,
    pub(super) name: Arc<str>,
    /// The live future on this lane.
    pub(super) slot: u32,
    /// The lane for a second live future of the same role and name.
    twin: u32,
    /// The first lane of this role and name.
    pub(super) first: u32,
}

/// A lane in the table, with half of its hash: the table grows and compares without a look at names.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    number: u32,
}

impl Entry {
    fn hash_of(kind: LaneKind, name: &str) -> u32 {
        (FxBuildHasher.hash_one((kind, name)) >> 32) as u32
    }

    /// The table wants entropy in the highest and the lowest bits.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

/// All lanes of a world, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    /// The first lane of each role and name. Looked up, never iterated.
    numbers: HashTable<Entry>,
}

impl Lanes {
    pub(super) fn count(&self) -> u32 {
        self.lanes.len() as u32
    }

    pub(super) fn get(&self, lane: u32) -> &Lane {
        &self.lanes[lane as usize - 1]
    }

    /// The slot of the future on `lane`.
    pub(super) fn slot(&self, lane: u32) -> Option<u32> {
        self.lanes.get(lane as usize - 1).map(|lane| lane.slot).filter(|&slot| slot != NONE)
    }

    pub(super) fn occupy(&mut self, lane: u32, slot: u32) {
        self.lanes[lane as usize - 1].slot = slot;
    }

    pub(super) fn vacate(&mut self, lane: u32) {
        self.occupy(lane, NONE);
    }

    /// The lane for a new future of this role and name: the first that is free.
    pub(super) fn find(&mut self, kind: LaneKind, name: &Arc<str>) -> u32 {
        let Some(mut number) = self.first(kind, name) else {
            let number = self.push(kind, name, None);
            let hash = Entry::hash_of(kind, name);
            let entry = Entry { hash, number };
            self.numbers.insert_unique(Entry::spread(hash), entry, |entry| Entry::spread(entry.hash));
            return number;
        };
        while self.get(number).slot != NONE {
            if self.get(number).twin == NONE {
                let first = self.get(number).first;
                let twin = self.push(kind, name, Some(first));
                self.lanes[number as usize - 1].twin = twin;
            }
            number = self.get(number).twin;
        }
        number
    }

    /// How many lanes of the same role and name come before this one.
    pub(super) fn twin_number(&self, lane: u32) -> u32 {
        let mut number = 0;
        let mut other = self.get(lane).first;
        while other != lane {
            other = self.get(other).twin;
            number += 1;
        }
        number
    }

    /// The first lane of this role and name, if there is one.
    pub(super) fn first(&self, kind: LaneKind, name: &str) -> Option<u32> {
        let hash = Entry::hash_of(kind, name);
        let is_it = |entry: &Entry| {
            entry.hash == hash && {
                let lane = self.get(entry.number);
                lane.kind == kind && &*lane.name == name
            }
        };
        self.numbers.find(Entry::spread(hash), is_it).map(|entry| entry.number)
    }

    fn push(&mut self, kind: LaneKind, name: &Arc<str>, first: Option<u32>) -> u32 {
        let first = first.unwrap_or(self.count() + 1);
        self.lanes.push(Lane { kind, name: Arc::clone(name), slot: NONE, twin: NONE, first });
        self.count()
    }

    pub(super) fn reset(&mut self) {
        self.lanes.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_found_again_when_free_and_doubled_when_not() {
        let mut lanes = Lanes::default();
        let web: Arc<str> = "web".into();
        let first = lanes.find(LaneKind::Actor, &web);
        assert_eq!(lanes.find(LaneKind::Actor, &web), first, "nobody is on it");
        lanes.occupy(first, 5);
        let second = lanes.find(LaneKind::Actor, &web);
        assert_ne!(second, first);
        assert_eq!((lanes.twin_number(first), lanes.twin_number(second)), (0, 1));
        lanes.vacate(first);
        assert_eq!(lanes.find(LaneKind::Actor, &web), first);
        assert_ne!(lanes.find(LaneKind::Worker, &web), first);
    }
}
