//! What the monitor remembers, and what it may forget.

use std::cmp::Reverse;

use super::{Monitor, Task};
use crate::trace::{Held, Text};

impl Monitor {
    /// The task of a name.
    #[inline]
    pub(super) fn find(&mut self, name: Text) -> usize {
        match self.index.get(name.index()) {
            Some(&number) if number > 0 => number as usize - 1,
            _ => self.meet(name),
        }
    }

    #[cold]
    fn meet(&mut self, name: Text) -> usize {
        if self.index.len() <= name.index() {
            self.index.resize(name.index() + 1, 0);
        }
        let index = match self.free.pop() {
            Some(index) => {
                // Deadlines of who was here before are stale.
                let version = self.tasks[index as usize].version + 1;
                self.tasks[index as usize] = Task { version, ..Task::new(name) };
                index as usize
            }
            None => {
                self.tasks.push(Task::new(name));
                self.tasks.len() - 1
            }
        };
        self.index[name.index()] = index as u32 + 1;
        index
    }

    /// Forgets tasks that are gone and that nothing refers to, and holds the texts that are still spoken of. A name that
    /// comes back later is one that was never there.
    ///
    /// A long trace is judged in bounded memory if this is called now and then, see
    /// [`Texts::forget_all_but`](crate::trace::Texts::forget_all_but).
    pub fn forget_gone(&mut self, held: &mut Held) {
        let mut stays: Vec<_> = self.tasks.iter().map(|task| task.registered || task.alive).collect();
        self.free.iter().for_each(|&free| stays[free as usize] = true);
        self.calls.subjects().for_each(|task| stays[task] = true);
        self.slots.occupied(|task| stays[task] = true);
        self.permits.forget(|task| !stays[task]);
        let tasks = &self.tasks;
        self.deadlines.retain(|Reverse((_, task, version))| tasks[*task as usize].version == *version);
        for (place, _) in stays.iter().enumerate().filter(|(_, stays)| !**stays) {
            self.index[self.tasks[place].name.index()] = 0;
            self.slots.vacate(place);
            self.free.push(place as u32);
        }
        for number in self.index.iter().filter_map(|number| number.checked_sub(1)) {
            let task = &self.tasks[number as usize];
            held.hold(task.name);
            task.places.all().for_each(|place| place.hold(held));
        }
        self.run.hold(held);
        self.delivery.forget_gone();
        self.delivery.hold(held);
    }

    /// How many tasks it remembers.
    #[must_use]
    pub fn remembers(&self) -> usize {
        self.tasks.len() - self.free.len()
    }
}
