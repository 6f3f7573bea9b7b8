//! When an instant is over: whatever had to come within it.

use std::cmp::Reverse;

use super::Monitor;
use super::permits::{Due, Unfair};
use super::run::Phase;
use super::task::{FAR, World};
use crate::trace::Texts;

impl Monitor {
    /// All instants before `end_ns` are over.
    pub(super) fn settle(&mut self, end_ns: u64, texts: &Texts) {
        if self.at_once > 0 {
            self.keep_waiting();
        }
        if self.deadlines.peek().is_some_and(|&Reverse((until_ns, ..))| until_ns < end_ns) {
            self.settle_deadlines(end_ns, texts);
        }
        if self.world.limit > 0 {
            self.settle_permits(end_ns, texts);
        }
        let fits = self.delivery.settle(texts);
        self.hold(fits, None, texts);
        let beside = self.beside();
        let fits = self.run.settle(end_ns, beside);
        self.hold(fits, None, texts);
        let shutdown = self.run.is_ending();
        if !self.calls.is_empty() {
            let closed = shutdown || self.run.phase == Phase::Over;
            let room = self.slots.has_room(0);
            let configured = self.slots.is_configured();
            let may_submit = |wait: bool| !wait || closed || !configured || room;
            let fits = self.calls.settle(end_ns, self.world.late_ns, self.run.was_up(), may_submit);
            self.hold(fits, None, texts);
        }
        if !self.slots.is_untouched() {
            let tasks = &self.tasks;
            let tenant = |slot: usize| tasks[slot].tenant();
            let is_leaving = |slot: usize| tasks[slot].places.all().any(|place| place.cancelled);
            let fits = self.slots.settle(self.world.up, shutdown, tenant, is_leaving);
            self.hold(fits, None, texts);
        }
    }

    /// Places that had to be left in this instant were not: that is looked at with the other deadlines.
    #[cold]
    fn keep_waiting(&mut self) {
        for (index, task) in (0..).zip(&mut self.tasks) {
            if std::mem::take(&mut task.at_once) {
                self.deadlines.push(Reverse((task.until_ns, index, task.version)));
            }
        }
        self.at_once = 0;
    }

    /// Places that had to be left before `end_ns` and were not.
    fn settle_deadlines(&mut self, end_ns: u64, texts: &Texts) {
        while let Some(&Reverse((until_ns, task, version))) = self.deadlines.peek() {
            if until_ns >= end_ns {
                break;
            }
            self.deadlines.pop();
            let task = task as usize;
            if self.tasks[task].version == version {
                let name = texts.get(self.tasks[task].name);
                let what = format!("the clock moved on, and what was owed to `{name}` had not come");
                self.by(until_ns, |monitor| monitor.reject(None, Some(task), what, &[], None, texts));
                let task = &mut self.tasks[task];
                task.places.all_mut().for_each(|place| place.until_ns = FAR);
                task.until_ns = FAR;
            }
        }
    }

    /// [A6]: a free permit is given at once, and first come first served.
    fn settle_permits(&mut self, end_ns: u64, texts: &Texts) {
        let World { limit, open, .. } = self.world;
        let tasks = &self.tasks;
        let waits = |due: &Due| {
            let task = &tasks[due.task as usize];
            task.incarnation == due.incarnation
                && task.places.due().is_some()
                && task.places.all().all(|place| place.attempt == due.attempt)
        };
        match self.permits.settle(end_ns, open < limit, waits) {
            None => {}
            Some(Unfair::Idle(task)) => {
                let name = texts.get(self.tasks[task].name);
                let what = format!(
                    "an attempt of `{name}` was due and did not start, though only {open} of {limit} were open"
                );
                self.reject(None, Some(task), what, &["A6"], None, texts);
            }
            Some(Unfair::Overtaken(other, waiter)) => {
                let (other, name) = (texts.get(self.tasks[other].name), texts.get(self.tasks[waiter].name));
                let what = format!("`{other}` got a permit before `{name}`, which had waited longer");
                self.reject(None, Some(waiter), what, &["A6"], None, texts);
            }
        }
    }
}
