//! Who is registered: a plain table from names to incarnations, and what it answers to each request.
//!
//! No future, clock or channel is in here; the supervisor performs what the table says.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::names::sorted;
use crate::runtime::JobKey;
use crate::sync::{CancellationToken, Latch};
use crate::task::TaskSpec;

/// One actor's life. Never reused within a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Incarnation(u64);

/// A registered task, from its accepted add to its removal.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) incarnation: Incarnation,
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
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// An add was accepted and wants its actor.
    Admit(Arc<str>, Incarnation),
    /// An actor has come to its end.
    Ended(Arc<str>, Incarnation),
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

/// All registered tasks, by name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Looked up. Where order shows, names are sorted.
    entries: FxHashMap<Arc<str>, Entry>,
    next: u64,
    /// What [`Registry::pop_first`] has yet to give, the first name last.
    leaving: Vec<Arc<str>>,
}

impl Registry {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The registered names, sorted (\[G1\]).
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        sorted(self.entries.keys())
    }

    /// Registers a task, unless its name is taken (\[G1\], \[G2\]).
    pub(crate) fn add(&mut self, spec: &TaskSpec) -> Option<Incarnation> {
        let name = spec.name();
        if self.entries.contains_key(&name) {
            return None;
        }
        let incarnation = Incarnation(self.next);
        self.next += 1;
        let entry = Entry {
            incarnation,
            spec: spec.clone(),
            token: CancellationToken::new(),
            removed: None,
            open_attempt: Rc::default(),
            stage: Stage::Requested,
            removal_requested: false,
        };
        self.entries.insert(name, entry);
        Some(incarnation)
    }

    /// The entry that waits for its actor, if this incarnation is still the one registered (\[G5\]).
    pub(crate) fn requested(&self, name: &str, incarnation: Incarnation) -> Option<&Entry> {
        self.entries
            .get(name)
            .filter(|entry| entry.incarnation == incarnation && entry.stage == Stage::Requested)
    }

    /// Whether this incarnation is the one registered (\[G5\]).
    #[cfg(feature = "controller")]
    pub(crate) fn holds(&self, name: &str, incarnation: Incarnation) -> bool {
        self.entries.get(name).is_some_and(|entry| entry.incarnation == incarnation)
    }

    pub(crate) fn spawned(&mut self, name: &str, job: JobKey) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.stage = Stage::Spawned(job);
        }
    }

    /// Asks for a removal (\[G3\]).
    pub(crate) fn remove(&mut self, name: &str) -> Removal<'_> {
        match self.entries.get_mut(name) {
            None => Removal::Absent,
            Some(entry) => {
                let removed = entry.removed.get_or_insert_default().clone();
                match std::mem::replace(&mut entry.removal_requested, true) {
                    true => Removal::Already(removed),
                    false => Removal::First(entry, removed),
                }
            }
        }
    }

    /// Takes out an incarnation whose actor has ended; `None` if it is out already (\[G4\], \[G5\]).
    pub(crate) fn ended(&mut self, name: &str, incarnation: Incarnation) -> Option<Entry> {
        let entry = self.entries.get(name)?;
        (entry.incarnation == incarnation).then(|| self.entries.remove(name))?
    }

    /// Takes out the first entry by name.
    pub(crate) fn pop_first(&mut self) -> Option<(Arc<str>, Entry)> {
        loop {
            while let Some(name) = self.leaving.pop() {
                if let Some(entry) = self.entries.remove(&name) {
                    return Some((name, entry));
                }
            }
            if self.entries.is_empty() {
                return None;
            }
            self.leaving = self.names();
            self.leaving.reverse();
        }
    }

    /// The tokens of all entries, in order of name.
    pub(crate) fn tokens(&self) -> Vec<CancellationToken> {
        self.names().iter().map(|name| self.entries[name].token.clone()).collect()
    }
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
        assert!(registry.ended("web", first).is_some());
        let second = registry.add(&spec("web")).expect("free again");
        assert_ne!(first, second, "incarnations are never reused");
    }

    #[test]
    fn an_old_incarnation_s_end_does_not_touch_the_new_one() {
        let mut registry = Registry::default();
        let old = registry.add(&spec("web")).expect("free");
        registry.ended("web", old);
        registry.add(&spec("web"));
        assert!(registry.ended("web", old).is_none());
        assert!(registry.requested("web", old).is_none());
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
        let popped: Vec<_> = std::iter::from_fn(|| registry.pop_first().map(|(name, _)| name)).collect();
        assert_eq!(popped, ["a", "b", "c"].map(Arc::from));
    }
}
