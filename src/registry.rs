//! Who is registered: a plain table from names to incarnations, and what it answers to each request.
//!
//! No future, clock or channel is in here; the supervisor performs what the table says.

use std::cell::Cell;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry::Vacant;
use rustc_hash::FxBuildHasher;

use crate::names::{sorted, sorted_by};
use crate::runtime::JobKey;
use crate::sync::{CancellationToken, Latch};
use crate::task::TaskSpec;

/// One actor's life: a place in the registry, and how often that was taken before. Never reused within a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Incarnation {
    place: u32,
    generation: u32,
}

/// A registered task, from its accepted add to its removal.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) spec: TaskSpec,
    pub(crate) token: CancellationToken,
    /// Raised when this incarnation's `TaskRemoved` is published. There once somebody has asked for its removal.
    pub(crate) removed: Option<Latch>,
    /// The attempt that has started and not ended. 0 is none.
    open_attempt: Cell<u32>,
    pub(crate) stage: Stage,
    removal_requested: bool,
}

impl Entry {
    /// The attempt that has started and not ended.
    pub(crate) fn open_attempt(&self) -> Option<u32> {
        Some(self.open_attempt.get()).filter(|&attempt| attempt > 0)
    }

    /// Wakes whoever waits for the removal.
    pub(crate) fn tell_removed(&self) {
        if let Some(removed) = &self.removed {
            removed.raise();
        }
    }
}

/// How far an incarnation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its add was accepted; `TaskAdded` is not yet published.
    Requested,
    /// Its actor was spawned.
    Spawned(JobKey),
}

/// What the registry's loop reads. Lossless (\[S4\]).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message {
    /// An add was accepted and wants its actor.
    Admit(Incarnation),
    /// An actor has come to its end.
    Ended(Incarnation),
}

/// The answer to a removal request.
#[derive(Debug)]
pub(crate) enum Removal<'a> {
    /// The first request for this incarnation.
    First(&'a Entry, Latch),
    /// It is being removed already.
    Already(Latch),
    /// No task of this name is registered.
    Absent,
}

/// All registered tasks: by name for those who ask, by place for the tasks themselves, of which there may be a million.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// The place of each name, by the hash of the name, which the place has as well: so a task that leaves is taken out
    /// without a look at its name. Where order shows, names are sorted.
    names: HashTable<u32>,
    places: Vec<Place>,
    free: Vec<u32>,
    /// What [`Registry::pop_first`] has yet to give, the first name last.
    leaving: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    hash: u32,
    entry: Option<Entry>,
}

impl Place {
    fn is_of(&self, name: &str) -> bool {
        self.entry.as_ref().is_some_and(|entry| **entry.spec.shared_name() == *name)
    }
}

fn hash_of(name: &str) -> u32 {
    let hash = FxBuildHasher.hash_one(name);
    (hash >> 32) as u32 ^ hash as u32
}

/// A hash as the table wants it, which takes a place from its low bits and a tag from its high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl Registry {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.place_of(name).is_some()
    }

    /// The registered names, sorted (\[G1\]).
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        sorted(self.entries().map(|entry| entry.spec.shared_name()))
    }

    /// Whether the task is in an attempt (\[G8\]).
    pub(crate) fn is_alive(&self, name: &str) -> bool {
        let place = self.place_of(name);
        place.and_then(|place| self.places[place as usize].entry.as_ref()).is_some_and(is_open)
    }

    /// The names of the tasks that are in an attempt, sorted (\[G8\]).
    pub(crate) fn alive(&self) -> Vec<Arc<str>> {
        sorted(self.entries().filter(|entry| is_open(entry)).map(|entry| entry.spec.shared_name()))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().filter_map(|place| place.entry.as_ref())
    }

    fn place_of(&self, name: &str) -> Option<u32> {
        let is_it = |&place: &u32| self.places[place as usize].is_of(name);
        self.names.find(spread(hash_of(name)), is_it).copied()
    }

    /// Registers a task, unless its name is taken (\[G1\], \[G2\]).
    pub(crate) fn add(&mut self, spec: &TaskSpec) -> Option<Incarnation> {
        let hash = hash_of(spec.shared_name());
        let Self { names, places, free, .. } = self;
        let is_it = |&place: &u32| places[place as usize].is_of(spec.shared_name());
        let Vacant(name) = names.entry(spread(hash), is_it, |&place| spread(places[place as usize].hash))
        else {
            return None;
        };
        let place = free.pop().unwrap_or_else(|| u32::try_from(places.len()).expect("fewer than 2^32 tasks"));
        name.insert(place);
        if place as usize == places.len() {
            places.push(Place { generation: 0, hash, entry: None });
        }
        let taken = &mut places[place as usize];
        taken.hash = hash;
        taken.entry = Some(Entry {
            spec: spec.clone(),
            token: CancellationToken::new(),
            removed: None,
            open_attempt: Cell::new(0),
            stage: Stage::Requested,
            removal_requested: false,
        });
        Some(Incarnation { place, generation: taken.generation })
    }

    /// The entry of this incarnation, if it is still the one registered (\[G5\]).
    pub(crate) fn get(&self, incarnation: Incarnation) -> Option<&Entry> {
        let place = self.places.get(incarnation.place as usize)?;
        place.entry.as_ref().filter(|_| place.generation == incarnation.generation)
    }

    /// The entry that waits for its actor, if this incarnation is still the one registered (\[G5\]).
    pub(crate) fn requested(&self, incarnation: Incarnation) -> Option<&Entry> {
        self.get(incarnation).filter(|entry| entry.stage == Stage::Requested)
    }

    /// An attempt of this incarnation has started, and is open until [`Registry::attempt_ended`].
    pub(crate) fn attempt_started(&self, incarnation: Incarnation, attempt: u32) {
        if let Some(entry) = self.get(incarnation) {
            entry.open_attempt.set(attempt);
        }
    }

    pub(crate) fn attempt_ended(&self, incarnation: Incarnation) {
        self.attempt_started(incarnation, 0);
    }

    pub(crate) fn spawned(&mut self, incarnation: Incarnation, job: JobKey) {
        let place = &mut self.places[incarnation.place as usize];
        if let Some(entry) = place.entry.as_mut().filter(|_| place.generation == incarnation.generation) {
            entry.stage = Stage::Spawned(job);
        }
    }

    /// Asks for a removal (\[G3\]).
    pub(crate) fn remove(&mut self, name: &str) -> Removal<'_> {
        let place = self.place_of(name);
        let entry = place.and_then(|place| self.places[place as usize].entry.as_mut());
        let Some(entry) = entry else { return Removal::Absent };
        let removed = entry.removed.get_or_insert_default().clone();
        match std::mem::replace(&mut entry.removal_requested, true) {
            true => Removal::Already(removed),
            false => Removal::First(entry, removed),
        }
    }

    /// Takes out an incarnation whose actor has ended; `None` if it is out already (\[G4\], \[G5\]).
    pub(crate) fn ended(&mut self, incarnation: Incarnation) -> Option<Entry> {
        self.get(incarnation)?;
        self.leave(incarnation.place).map(|(_, entry)| entry)
    }

    fn leave(&mut self, place: u32) -> Option<(Incarnation, Entry)> {
        let left = &mut self.places[place as usize];
        let incarnation = Incarnation { place, generation: left.generation };
        let entry = left.entry.take()?;
        if let Ok(name) = self.names.find_entry(spread(left.hash), |&other| other == place) {
            name.remove();
        }
        left.generation = left.generation.wrapping_add(1);
        self.free.push(place);
        Some((incarnation, entry))
    }

    /// Takes out the first entry by name.
    pub(crate) fn pop_first(&mut self) -> Option<(Incarnation, Entry)> {
        loop {
            while let Some(name) = self.leaving.pop() {
                if let Some(place) = self.place_of(&name) {
                    return self.leave(place);
                }
            }
            if self.names.is_empty() {
                return None;
            }
            self.leaving = self.names();
            self.leaving.reverse();
        }
    }

    /// The tokens of all entries, in order of name.
    pub(crate) fn tokens(&self) -> Vec<CancellationToken> {
        sorted_by(self.entries().map(|entry| (entry.spec.shared_name(), &entry.token)))
            .into_iter()
            .cloned()
            .collect()
    }
}

fn is_open(entry: &Entry) -> bool {
    entry.open_attempt().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskFn;

    fn spec(name: &str) -> TaskSpec {
        TaskSpec::new(TaskFn::arc(name, |_| async { Ok(()) }))
    }

    #[test]
    fn a_taken_name_is_refused_and_a_removed_one_is_free() {
        let mut registry = Registry::default();
        let first = registry.add(&spec("web")).expect("free");
        assert_eq!(registry.add(&spec("web")), None);
        assert!(registry.ended(first).is_some());
        let second = registry.add(&spec("web")).expect("free again");
        assert_ne!(first, second, "incarnations are never reused");
    }

    #[test]
    fn an_old_incarnation_s_end_does_not_touch_the_new_one() {
        let mut registry = Registry::default();
        let old = registry.add(&spec("web")).expect("free");
        registry.ended(old);
        registry.add(&spec("web"));
        assert!(registry.ended(old).is_none());
        assert!(registry.requested(old).is_none());
        assert!(registry.contains("web"));
    }

    #[test]
    fn only_the_first_removal_request_is_the_first() {
        let mut registry = Registry::default();
        assert!(matches!(registry.remove("web"), Removal::Absent));
        registry.add(&spec("web"));
        assert!(matches!(registry.remove("web"), Removal::First(..)));
        assert!(matches!(registry.remove("web"), Removal::Already(_)));
    }

    #[test]
    fn names_are_sorted() {
        let mut registry = Registry::default();
        for name in ["b", "c", "a"] {
            registry.add(&spec(name));
        }
        assert_eq!(registry.names(), ["a", "b", "c"].map(Arc::from));
        let popped: Vec<_> =
            std::iter::from_fn(|| registry.pop_first().map(|(_, entry)| entry.spec.name())).collect();
        assert_eq!(popped, ["a", "b", "c"].map(Arc::from));
    }
}
