//! Permits: who is due, who waits for one, and who got one.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// An attempt that is due at the latest at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at_ns: u64,
    pub(super) task: u32,
    pub(super) incarnation: u32,
    pub(super) attempt: u32,
}

/// Attempts under a limit.
#[derive(Debug, Default)]
pub(super) struct Permits {
    dues: BinaryHeap<Reverse<Due>>,
    /// Due and without a permit, the longest first.
    waiters: VecDeque<Due>,
    /// Of the attempts that began in this instant, the one that had been due for the shortest time.
    youngest: Option<(u64, usize)>,
}

/// What is wrong with how permits were given.
pub(super) enum Unfair {
    /// This attempt could have begun.
    Idle(usize),
    /// The second waited longer than the first, which began.
    Overtaken(usize, usize),
}

impl Permits {
    pub(super) fn clear(&mut self) {
        self.dues.clear();
        self.waiters.clear();
        self.youngest = None;
    }

    /// These tasks are gone.
    pub(super) fn forget(&mut self, gone: impl Fn(usize) -> bool) {
        self.dues.retain(|Reverse(due)| !gone(due.task as usize));
        self.waiters.retain(|due| !gone(due.task as usize));
        self.youngest = self.youngest.filter(|(_, task)| !gone(*task));
    }

    pub(super) fn due(&mut self, due: Due) {
        self.dues.push(Reverse(due));
    }

    pub(super) fn began(&mut self, task: usize, due_ns: u64) {
        if self.youngest.is_none_or(|(youngest_ns, _)| youngest_ns < due_ns) {
            self.youngest = Some((due_ns, task));
        }
    }

    /// All instants before `end_ns` are over. `waits`: whether an attempt is still to begin.
    pub(super) fn settle(&mut self, end_ns: u64, free: bool, waits: impl Fn(&Due) -> bool) -> Option<Unfair> {
        while let Some(&Reverse(due)) = self.dues.peek() {
            if due.at_ns >= end_ns {
                break;
            }
            self.dues.pop();
            if waits(&due) {
                self.waiters.push_back(due);
            }
        }
        let youngest = self.youngest.take();
        while self.waiters.front().is_some_and(|due| !waits(due)) {
            self.waiters.pop_front();
        }
        let first = self.waiters.front()?;
        if let Some((due_ns, task)) = youngest.filter(|(due_ns, _)| first.at_ns < *due_ns) {
            let _ = due_ns;
            return Some(Unfair::Overtaken(task, first.task as usize));
        }
        if !free {
            return None;
        }
        // One report is enough.
        self.waiters.pop_front().map(|due| Unfair::Idle(due.task as usize))
    }
}
