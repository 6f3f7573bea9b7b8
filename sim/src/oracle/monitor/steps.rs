//! Steps of a task: from the places in which it may stand to the next.

use std::cmp::Reverse;

use super::permits::Due;
use super::task::{FAR, Place, Places, Stage, World};
use super::{Monitor, PLACES_MAX, Task};
use crate::trace::{EventNote, SpecNote, Texts};

impl Monitor {
    /// Takes a step from every place of a task: those that have none are left out. Without one left, `what` is
    /// unexplained.
    #[inline]
    pub(super) fn step(
        &mut self,
        index: usize,
        event: Option<&EventNote>,
        texts: &Texts,
        what: impl FnOnce() -> String,
        steps: impl Fn(&mut Place, Option<&SpecNote>, &World, &mut Vec<Place>) -> bool,
    ) {
        let (task, world) = (&mut self.tasks[index], &self.world);
        let Places { first, others } = &mut task.places;
        let before = (first.stage.index(), first.attempt);
        // As a rule there is one place, and it becomes the next.
        let explained = if others.is_empty() {
            first.until_ns >= world.now_ns && steps(first, task.spec.as_ref(), world, others)
        } else {
            let next = task.places.next(&|place, others| {
                place.until_ns >= world.now_ns && steps(place, task.spec.as_ref(), world, others)
            });
            next.is_some_and(|next| self.stand(index, next, texts))
        };
        if !explained {
            self.unexplained_step(index, event, what(), texts);
        }
        self.settle_in(index, before);
    }

    /// A task stands in these places, of which there may be too many.
    #[cold]
    fn stand(&mut self, index: usize, mut next: Places, texts: &Texts) -> bool {
        if next.others.len() >= PLACES_MAX {
            let what = format!("more than {PLACES_MAX} explanations at once: the monitor gives up");
            self.reject(None, Some(index), what, &[], None, texts);
            next.others.clear();
        }
        self.tasks[index].places = next;
        true
    }

    /// Goes on from what an unexplained action makes probable.
    #[cold]
    fn unexplained_step(&mut self, index: usize, event: Option<&EventNote>, what: String, texts: &Texts) {
        self.reject(event.map(|event| event.seq), Some(index), what, &[], None, texts);
        let Places { first, others } = &mut self.tasks[index].places;
        others.clear();
        match event {
            Some(event) => first.presume(event, &self.world, others),
            None => first.until_ns = FAR,
        }
    }

    /// A task stands in its places from now on, where `before` the first had this stage and attempt.
    #[inline]
    pub(super) fn settle_in(&mut self, index: usize, before: (usize, u32)) {
        let Places { first, others } = &self.tasks[index].places;
        if others.is_empty() {
            self.enter(index, before, (first.until_ns, first.is_registered()));
        } else {
            self.settle_in_many(index, before);
        }
    }

    #[cold]
    fn settle_in_many(&mut self, index: usize, before: (usize, u32)) {
        let places = &self.tasks[index].places;
        let bounds = places.bounds();
        self.most_places = self.most_places.max(1 + places.others.len());
        if (places.first.stage.index(), places.first.attempt) != before {
            places.others.iter().for_each(|place| self.visits[place.stage.index()] += 1);
        }
        self.enter(index, before, bounds);
    }

    /// `until_ns` and `registered` are the bounds of all places.
    #[inline(always)]
    fn enter(&mut self, index: usize, before: (usize, u32), (until_ns, registered): (u64, bool)) {
        let task = &mut self.tasks[index];
        let stage = task.places.first.stage;
        let mut comes_due = false;
        if (stage.index(), task.places.first.attempt) != before {
            self.visits[stage.index()] += 1;
            comes_due = stage == Stage::Waiting && self.world.limit > 0;
        }
        if registered != task.registered {
            task.registered = registered;
            self.changes.0 += 1;
            self.registered = if registered { self.registered + 1 } else { self.registered - 1 };
        }
        let mut later = false;
        if until_ns != task.until_ns {
            let at_once = until_ns == self.world.now_ns;
            later = !at_once && until_ns != FAR;
            self.at_once = self.at_once + u32::from(at_once) - u32::from(task.at_once);
            task.until_ns = until_ns;
            task.at_once = at_once;
            task.version += 1;
        }
        if later || comes_due {
            self.look_ahead(index, later, comes_due);
        }
    }

    /// A task has another deadline in a later instant, or its next attempt comes to wait for a permit.
    #[inline(never)]
    fn look_ahead(&mut self, index: usize, later: bool, comes_due: bool) {
        let Task { until_ns, version, .. } = self.tasks[index];
        if later {
            self.deadlines.push(Reverse((until_ns, index as u32, version)));
        }
        if comes_due {
            self.comes_due(index);
        }
    }

    /// Under a limit: its next attempt comes to wait for a permit.
    #[inline(never)]
    fn comes_due(&mut self, index: usize) {
        let task = &self.tasks[index];
        if let Some((_, until_ns)) = task.places.due() {
            self.permits.due(Due {
                at_ns: until_ns.saturating_add(self.world.late_ns),
                task: index as u32,
                incarnation: task.incarnation,
                attempt: task.places.first.attempt,
            });
        }
    }
}
