//! Which tasks are in an attempt, told from events in any order.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::event::{Event, EventKind};
use crate::names::sorted;

/// A last-writer-wins register per task name, ordered by `seq` (\[G8\]).
///
/// A task is alive exactly when the event of highest `seq` among the starts and ends of its name is
/// [`EventKind::TaskStarting`]. Order and duplication of the events make no difference, and a late event of a
/// removed task revives nothing; for that the tracker remembers every name it ever saw.
///
/// ```
/// use simvisor::{AliveTracker, Event, EventKind};
///
/// let mut alive = AliveTracker::new();
/// let starting = Event::new(EventKind::TaskStarting).with_task("web");
/// let removed = Event::new(EventKind::TaskRemoved).with_task("web");
/// alive.update(&removed);
/// alive.update(&starting); // arrives late
/// assert!(!alive.is_alive("web"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliveTracker {
    /// Looked up. Where order shows, names are sorted.
    latest: FxHashMap<Arc<str>, Latest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Latest {
    seq: u64,
    alive: bool,
}

impl AliveTracker {
    /// A tracker that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event into account. Says whether it was the newest of its task so far.
    pub fn update(&mut self, event: &Event) -> bool {
        let alive = match event.kind {
            EventKind::TaskStarting => true,
            EventKind::TaskStopped
            | EventKind::TaskFailed
            | EventKind::ActorExhausted
            | EventKind::ActorDead
            | EventKind::TaskRemoved => false,
            _ => return false,
        };
        let Some(task) = &event.task else { return false };
        let news = Latest { seq: event.seq, alive };
        match self.latest.get_mut(task) {
            Some(latest) if latest.seq >= event.seq => false,
            Some(latest) => {
                *latest = news;
                true
            }
            None => {
                self.latest.insert(Arc::clone(task), news);
                true
            }
        }
    }

    /// Whether the task is in an attempt.
    #[must_use]
    pub fn is_alive(&self, task: &str) -> bool {
        self.latest.get(task).is_some_and(|latest| latest.alive)
    }

    /// The names of all tasks in an attempt, sorted.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<str>> {
        let alive = self.latest.iter().filter(|(_, latest)| latest.alive);
        sorted(alive.map(|(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, kind: EventKind) -> Event {
        let mut event = Event::unstamped(kind).with_task("web");
        event.seq = seq;
        event
    }

    #[test]
    fn the_highest_seq_wins_in_every_order_of_arrival() {
        use EventKind::{TaskFailed, TaskRemoved, TaskStarting};
        let life =
            [event(0, TaskStarting), event(1, TaskFailed), event(2, TaskStarting), event(3, TaskRemoved)];
        for rotation in 0..4 {
            let mut forward = AliveTracker::new();
            let mut backward = AliveTracker::new();
            for step in 0..4 {
                forward.update(&life[(rotation + step) % 4]);
                backward.update(&life[(rotation + 3 - step) % 4]);
            }
            assert!(!forward.is_alive("web"));
            assert_eq!(forward, backward);
        }
    }

    #[test]
    fn seq_zero_counts_like_any_other() {
        let mut alive = AliveTracker::new();
        assert!(alive.update(&event(0, EventKind::TaskStarting)));
        assert!(alive.is_alive("web"));
        assert!(!alive.update(&event(0, EventKind::TaskStarting)), "a duplicate is not news");
        assert_eq!(alive.snapshot(), [Arc::from("web")]);
    }

    #[test]
    fn other_kinds_say_nothing_about_life() {
        let mut alive = AliveTracker::new();
        alive.update(&event(4, EventKind::TaskStarting));
        assert!(!alive.update(&event(5, EventKind::TaskRemoveRequested)));
        assert!(alive.is_alive("web"));
    }
}
