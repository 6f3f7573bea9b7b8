//! Events, by their kinds.

use simvisor::EventKind;

use super::super::excuse::Liberty;
use super::calls::Kind;
use super::complaint::{expected, unexplained};
use super::run::{Phase, Stopped};
use super::task::{Place, Stage};
use super::{Monitor, Task};
use crate::trace::{EventNote, Texts, kind_name};

impl Monitor {
    #[inline(never)]
    pub(super) fn event(&mut self, event: &EventNote, texts: &Texts) {
        let seq = Some(event.seq);
        let fits = self.form.event(event, texts);
        self.hold(fits, seq, texts);
        if self.run.phase == Phase::Over {
            let what = format!("{} came after the run had returned", kind_name(event.kind));
            self.hold(unexplained(&["D6"], what), seq, texts);
        }
        let fits = self.delivery.event(event, texts);
        self.hold(fits, seq, texts);
        if is_of_task(event.kind) {
            self.task_event(event, texts);
        } else {
            self.other_event(event, texts);
        }
        if self.deaf {
            self.name_task(event, texts);
        }
    }

    /// What was found just now by an event is about that one's task.
    #[cold]
    fn name_task(&mut self, event: &EventNote, texts: &Texts) {
        if let Some(found) = &mut self.found
            && found.seq == Some(event.seq)
            && found.task.is_none()
        {
            found.task = event.task.map(|task| texts.get(task).to_owned());
        }
    }

    #[inline(never)]
    fn other_event(&mut self, event: &EventNote, texts: &Texts) {
        match event.kind {
            EventKind::ShutdownRequested => {
                let (asked, beside) = (self.calls.is_shutdown_asked(), self.beside());
                let fits = self.run.shutdown_requested(asked, beside);
                self.hold(fits, Some(event.seq), texts);
                for task in 0..self.tasks.len() {
                    if self.tasks[task].registered {
                        self.step(task, None, texts, String::new, |place, _, world, _| place.shutdown(world));
                    }
                }
            }
            EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => self.stops(event, texts),
            EventKind::ControllerRejected
            | EventKind::ControllerSubmitted
            | EventKind::ControllerSlotTransition => self.slot_event(event, texts),
            _ => {} // of a subscriber: delivery has looked at it
        }
    }

    fn stops(&mut self, event: &EventNote, texts: &Texts) {
        let how = match event.kind {
            EventKind::GraceExceeded => Stopped::Forced,
            _ => Stopped::InTime,
        };
        if how == Stopped::Forced {
            self.may_be_found_ending(texts);
        }
        let fits = self.run.stops(how, self.beside());
        self.hold(fits, Some(event.seq), texts);
        if how == Stopped::InTime {
            return;
        }
        // From here on everything that is left ends by force.
        self.world.forced = true;
        let now_ns = self.world.now_ns;
        for index in 0..self.tasks.len() {
            let task = &mut self.tasks[index];
            if task.registered {
                task.places.all_mut().for_each(|place| place.force(now_ns));
                let Place { stage, attempt, .. } = task.places.first;
                self.settle_in(index, (stage.index(), attempt));
            }
        }
    }

    fn slot_event(&mut self, event: &EventNote, texts: &Texts) {
        let (Some(task), Some(reason)) = (event.task, event.reason) else { return };
        let index = self.find(task);
        let (name, reason) = (texts.get(task), texts.get(reason));
        let tenant = self.tasks[index].tenant();
        if reason == "shutting_down" {
            self.may_be_found_ending(texts);
        }
        let shutdown = self.run.is_ending();
        let fits = match event.kind {
            EventKind::ControllerSubmitted => self.slots.submitted(index, name, reason),
            EventKind::ControllerRejected => self.slots.rejected(index, name, reason, tenant, shutdown),
            _ => {
                let may_ask = reason == "idle→admitting" && self.world.free.has(Liberty::EarlyStarts);
                self.slots.transition(index, name, reason, tenant, may_ask)
            }
        };
        self.hold(fits, Some(event.seq), texts);
        if event.kind != EventKind::ControllerSubmitted {
            let beside = self.beside();
            self.run.look_for_idleness(beside);
        }
    }

    #[inline(never)]
    fn task_event(&mut self, event: &EventNote, texts: &Texts) {
        let Some(name) = event.task else { return }; // its form has been complained of
        let index = self.find(name);
        let at_ns = self.world.now_ns;
        let what = move || {
            let (kind, name) = (kind_name(event.kind), texts.get(name));
            let attempt = event.attempt.map_or_else(String::new, |attempt| format!(" {attempt}"));
            let reason = match (event.kind, event.reason) {
                (EventKind::TaskFailed, Some(reason)) => format!(" with `{}`", texts.get(reason)),
                _ => String::new(),
            };
            format!("{kind}{attempt} of `{name}` came at {at_ns} ns{reason}")
        };
        if self.world.forced {
            self.ends_in_turn(event, index, what, texts);
        }
        let seen = Some(event);
        match event.kind {
            EventKind::TaskAddRequested => self.add_requested(event, index, what, texts),
            EventKind::TaskRemoveRequested => self.remove_requested(event, index, what, texts),
            EventKind::TaskAdded => {
                self.step(index, seen, texts, what, |place, _, world, _| place.added(world));
            }
            EventKind::TaskStarting => {
                if self.world.limit > 0
                    && let Some((due_ns, _)) = self.tasks[index].places.due()
                {
                    self.permits.began(index, due_ns);
                }
                let attempt = event.attempt;
                self.step(index, seen, texts, what, |place, spec, world, _| {
                    place.starting(attempt, spec, world)
                });
                self.world.open += 1;
                self.lives(index, true);
            }
            EventKind::TaskStopped => {
                self.step(index, seen, texts, what, Place::stopped);
                self.attempt_ended(index);
            }
            EventKind::TaskFailed => {
                self.step(index, seen, texts, what, |place, spec, world, others| {
                    place.failed(event, spec, world, texts, others)
                });
                self.attempt_ended(index);
            }
            EventKind::TimeoutHit => self.step(index, seen, texts, what, |place, spec, world, _| {
                place.timeout_hit(event, spec, world)
            }),
            EventKind::BackoffScheduled => {
                self.step(index, seen, texts, what, |place, spec, world, _| {
                    place.backoff(event, spec, world)
                });
            }
            EventKind::ActorExhausted => {
                self.step(index, seen, texts, what, |place, _, world, _| {
                    place.exhausted(event, world, texts)
                });
                self.lives(index, false);
            }
            EventKind::ActorDead => {
                self.step(index, seen, texts, what, |place, _, world, _| place.dead(event, world));
                self.lives(index, false);
            }
            EventKind::TaskRemoved => {
                let waits = |place: &Place| place.stage == Stage::Waiting && !place.cancelled;
                if self.run.may_end(at_ns) && self.tasks[index].places.all().all(waits) {
                    self.may_be_found_ending(texts);
                }
                self.step(index, seen, texts, what, |place, _, world, _| place.removed(world));
                self.calls.removed(index, self.tasks[index].incarnation, at_ns);
                self.tasks[index].spec = None;
                self.look_for_emptiness();
                let fits = self.run.removed(name, self.beside(), texts);
                self.hold(fits, Some(event.seq), texts);
                self.lives(index, false);
            }
            _ => unreachable!("the others are no events of a task"),
        }
    }

    fn attempt_ended(&mut self, index: usize) {
        self.world.open = self.world.open.saturating_sub(1);
        self.lives(index, false);
    }

    /// A task's latest start or end was a start.
    #[inline]
    fn lives(&mut self, index: usize, alive: bool) {
        if std::mem::replace(&mut self.tasks[index].alive, alive) != alive {
            self.changes.1 += 1;
        }
    }

    /// [D3]: what is ended by force is what comes first by name of all that is left.
    #[inline(never)]
    fn ends_in_turn(
        &mut self,
        event: &EventNote,
        index: usize,
        what: impl FnOnce() -> String,
        texts: &Texts,
    ) {
        let name = texts.get(self.tasks[index].name);
        let before = |task: &Task| task.registered && texts.get(task.name) < name;
        if matches!(event.kind, EventKind::TaskAdded | EventKind::TaskFailed)
            && !self.world.free.has(Liberty::UnorderedForce)
            && let Some(other) = self.tasks.iter().find(|task| before(task))
        {
            let instead = format!("the forced end of `{}`", texts.get(other.name));
            self.hold(expected(&["D3"], what(), instead), Some(event.seq), texts);
        }
    }

    #[inline(never)]
    fn add_requested(
        &mut self,
        event: &EventNote,
        index: usize,
        what: impl FnOnce() -> String,
        texts: &Texts,
    ) {
        let seq = Some(event.seq);
        if self.run.requested_ns.is_some() {
            let complaint = format!("{}, after shutdown was requested", what());
            self.hold(unexplained(&["D2", "G2"], complaint), seq, texts);
            self.step(index, Some(event), texts, String::new, |place, _, world, _| {
                place.add_requested(world)
            });
            return;
        }
        let registered = self.tasks[index].registered;
        let name = self.tasks[index].name;
        let incarnation = self.tasks[index].incarnation + 1;
        let granted =
            self.slots.granted(index, incarnation).map(|submitted| (submitted.op, submitted.spec, true));
        let asked = granted.or_else(|| self.calls.accept(index).map(|(op, spec)| (op, spec, false)));
        let asked = asked.or_else(|| {
            let (op, spec) = self.run.registers(name)?;
            Some((op, spec, false))
        });
        let asked = asked.or_else(|| {
            if registered {
                return None;
            }
            let submitted = self.slots.start(index, incarnation)?;
            Some((submitted.op, submitted.spec, true))
        });
        if asked.is_none() && self.calls.seen && !registered {
            let rules: &[&str] = if self.slots.is_configured() { &["C3", "G2", "C5"] } else { &["G2"] };
            let complaint = format!("{}, and nobody had asked for it", what());
            self.hold(unexplained(rules, complaint), seq, texts);
            self.step(index, Some(event), texts, String::new, |place, _, world, _| {
                place.add_requested(world)
            });
            return;
        }
        if !registered {
            let task = &mut self.tasks[index];
            task.incarnation = incarnation;
            task.spec = asked.map(|(_, spec, _)| spec);
            task.origin = asked.map(|(op, _, submitted)| (op, submitted));
        }
        self.step(index, Some(event), texts, what, |place, _, world, _| place.add_requested(world));
        self.run.busy();
    }

    #[inline(never)]
    fn remove_requested(
        &mut self,
        event: &EventNote,
        index: usize,
        what: impl FnOnce() -> String,
        texts: &Texts,
    ) {
        let is = |wanted: usize| wanted == index;
        let cancels = self.calls.any(|kind| matches!(kind, Kind::Cancel { task, .. } if is(*task)));
        let removes = self.calls.any(|kind| matches!(kind, Kind::Remove { task, .. } if is(*task)));
        if self.calls.seen {
            // [G5]: a Replace removes what its slot started, and no namesake.
            let asked = cancels || removes || self.slots.replaces(index, self.tasks[index].incarnation);
            if !asked || (event.reason.is_some() && !cancels) {
                let kind = kind_name(event.kind);
                let name = texts.get(self.tasks[index].name);
                let complaint = format!("{kind} of `{name}` came, and nobody had asked for it so");
                self.hold(unexplained(&["G3", "G5"], complaint), Some(event.seq), texts);
            }
        }
        self.step(index, Some(event), texts, what, |place, _, world, _| place.remove_requested(world));
    }
}

fn is_of_task(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::TaskStarting
            | EventKind::TaskStopped
            | EventKind::TaskFailed
            | EventKind::TimeoutHit
            | EventKind::BackoffScheduled
            | EventKind::TaskAddRequested
            | EventKind::TaskAdded
            | EventKind::TaskRemoveRequested
            | EventKind::TaskRemoved
            | EventKind::ActorExhausted
            | EventKind::ActorDead
    )
}
