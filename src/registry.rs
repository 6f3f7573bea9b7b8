//! Who is registered: a plain table from names to incarnations, and what it answers to each request.
//!
//! No future, clock or channel is in here; the supervisor performs what the table says.

use std::cell::Cell;
use std::collections::hash_map::Entry::Vacant;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

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
    /// The attempt that has started and not ended.
    pub(crate) open_attempt: Rc<Cell<Option<u32>>>,
    pub(crate) stage: Stage,
    removal_requested: bool,
}

impl Entry {
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
    /// The place of each name. Looked up. Where order shows, names are sorted.
    names: FxHashMap<Arc<str>, u32>,
    places: Vec<Place>,
    free: Vec<u32>,
    /// What [`Registry::pop_first`] has yet to give, the first name last.
    leaving: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Place {
    generation: u32,
    entry: Option<Entry>,
}

impl Registry {
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The registered names, sorted (\[G1\]).
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        sorted(self.names.keys())
    }

    /// Whether the task is in an attempt (\[G8\]).
    pub(crate) fn is_alive(&self, name: &str) -> bool {
        self.names.get(name).and_then(|&place| self.entry(place)).is_some_and(is_open)
    }

    /// The names of the tasks that are in an attempt, sorted (\[G8\]).
    pub(crate) fn alive(&self) -> Vec<Arc<str>> {
        let entries = self.places.iter().filter_map(|place| place.entry.as_ref());
        sorted(entries.filter(|entry| is_open(entry)).map(|entry| entry.spec.shared_name()))
    }

    fn entry(&self, place: u32) -> Option<&Entry> {
        self.places.get(place as usize)?.entry.as_ref()
    }

    /// Registers a task, unless its name is taken (\[G1\], \[G2\]).
    pub(crate) fn add(&mut self, spec: &TaskSpec) -> Option<Incarnation> {
        let Vacant(name) = self.names.entry(spec.name()) else { return None };
        let entry = Entry {
            spec: spec.clone(),
            token: CancellationToken::new(),
            removed: None,
            open_attempt: Rc::default(),
            stage: Stage::Requested,
            removal_requested: false,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, entry: None });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 tasks")
        });
        name.insert(place);
        let taken = &mut self.places[place as usize];
        taken.entry = Some(entry);
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

    pub(crate) fn spawned(&mut self, incarnation: Incarnation, job: JobKey) {
        let place = &mut self.places[incarnation.place as usize];
        if let Some(entry) = place.entry.as_mut().filter(|_| place.generation == incarnation.generation) {
            entry.stage = Stage::Spawned(job);
        }
    }

    /// Asks for a removal (\[G3\]).
    pub(crate) fn remove(&mut self, name: &str) -> Removal<'_> {
        let Some(&place) = self.names.get(name) else { return Removal::Absent };
        let Some(entry) = &mut self.places[place as usize].entry else { return Removal::Absent };
        let removed = entry.removed.get_or_insert_default().clone();
        match std::mem::replace(&mut entry.removal_requested, true) {
            true => Removal::Already(removed),
            false => Removal::First(entry, removed),
        }
    }

    /// Takes out an incarnation whose actor has ended; `None` if it is out already (\[G4\], \[G5\]).
    pub(crate) fn ended(&mut self, incarnation: Incarnation) -> Option<Entry> {
        self.get(incarnation)?;
        let (_, entry) = self.leave(incarnation.place)?;
        self.names.remove(entry.spec.shared_name());
        Some(entry)
    }

    fn leave(&mut self, place: u32) -> Option<(Incarnation, Entry)> {
        let left = &mut self.places[place as usize];
        let incarnation = Incarnation { place, generation: left.generation };
        let entry = left.entry.take()?;
        left.generation = left.generation.wrapping_add(1);
        self.free.push(place);
        Some((incarnation, entry))
    }

    /// Takes out the first entry by name.
    pub(crate) fn pop_first(&mut self) -> Option<(Incarnation, Entry)> {
        loop {
            while let Some(name) = self.leaving.pop() {
                if let Some(place) = self.names.remove(&name) {
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
        let entries = self.places.iter().filter_map(|place| place.entry.as_ref());
        sorted_by(entries.map(|entry| (entry.spec.shared_name(), &entry.token)))
            .into_iter()
            .cloned()
            .collect()
    }
}

fn is_open(entry: &Entry) -> bool {
    entry.open_attempt.get().is_some()
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
