//! Submissions, slots and what becomes of them: C1 to C5.
//!
//! The controller decides submissions one after the other, in the order in which they were accepted, so what it must
//! answer follows from the table of contract section 8. Which spec an add belongs to is told by the bodies that it
//! brings: each says which operation it came from.

use std::collections::VecDeque;

use super::state::{Now, Task};
use super::{Liberty, Report, Rule};
use crate::trace::{Admission, ControllerNote, EventNote, Header, SpecNote};

/// An accepted submission.
#[derive(Debug, Clone, Copy)]
struct Submission {
    op: u32,
    task: usize,
    admission: Admission,
    spec: SpecNote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Idle,
    Running,
    Terminating,
    /// It has announced a start that the registry has not decided: [`Liberty::EarlyStarts`].
    Admitting,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Terminating => "terminating",
            Self::Admitting => "admitting",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Self::Idle, Self::Running, Self::Terminating].into_iter().find(|phase| phase.name() == name)
    }
}

/// A start that the registry has not decided when it is announced.
#[derive(Debug, Clone, Copy)]
struct Early {
    submission: Submission,
    /// It is decided, and its add comes next.
    admitted: bool,
}

/// A start that has been registered, or announced early, and not yet told by its admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Admitted(Admission),
    FromQueue,
}

#[derive(Debug, Default)]
struct Slot {
    phase: Phase,
    /// The incarnation that the slot started.
    incarnation: u32,
    pending: VecDeque<Submission>,
    start: Option<Start>,
    /// The pending head was rejected for the Replace that is being admitted.
    superseded: bool,
    early: Option<Early>,
    /// What it starts was replaced before that was decided: its removal is to be requested once it is registered.
    replaced_early: bool,
}

impl Slot {
    /// Its start is announced and not decided.
    fn is_undecided(&self) -> bool {
        self.early.as_ref().is_some_and(|early| !early.admitted)
    }

    /// Takes what a slot says of a start that it has announced early, if it is that.
    fn early_step(&mut self, reason: &str) -> bool {
        match (self.phase, reason, &mut self.early) {
            (Phase::Admitting, "admitting→running", Some(early)) => {
                early.admitted = true;
                self.phase = Phase::Running;
            }
            (Phase::Terminating, "terminating→terminating", Some(early)) if !early.admitted => {
                early.admitted = true;
            }
            (Phase::Admitting, "admitting→idle", None) => self.phase = Phase::Idle,
            _ => return false,
        }
        true
    }
}

#[derive(Debug, Default)]
pub(super) struct Controller {
    limits: Option<ControllerNote>,
    /// By task. Those without a slot are idle.
    slots: Vec<Slot>,
    /// Accepted and not yet decided, in order.
    undecided: VecDeque<Submission>,
    pending: u64,
}

fn admission_name(admission: Admission) -> &'static str {
    match admission {
        Admission::Queue => "Queue",
        Admission::Replace => "Replace",
        Admission::DropIfRunning => "DropIfRunning",
    }
}

impl Controller {
    pub(super) fn reset(&mut self, header: &Header) {
        self.limits = header.config.controller;
        self.slots.clear();
        self.undecided.clear();
        self.pending = 0;
    }

    /// Tasks of slots that are at work, and of submissions.
    pub(super) fn refers_to(&self, mut each: impl FnMut(usize)) {
        self.undecided.iter().for_each(|submission| each(submission.task));
        let at_work = |slot: &Slot| {
            slot.phase != Phase::Idle || slot.start.is_some() || !slot.pending.is_empty() || slot.superseded
        };
        (0..).zip(&self.slots).filter(|(_, slot)| at_work(slot)).for_each(|(task, _)| each(task));
    }

    /// A task is forgotten.
    pub(super) fn forget(&mut self, task: usize) {
        if let Some(slot) = self.slots.get_mut(task) {
            *slot = Slot::default();
        }
    }

    pub(super) fn is_configured(&self) -> bool {
        self.limits.is_some()
    }

    /// Nothing waits for its turn.
    pub(super) fn is_empty(&self) -> bool {
        self.undecided.is_empty() && self.pending == 0
    }

    /// Whether a submission must find room, if so many wait for it.
    pub(super) fn has_room_beside(&self, waiting: u64) -> bool {
        self.limits.is_some_and(|limits| self.undecided.len() as u64 + waiting < limits.queue_capacity)
    }

    fn slot(&mut self, task: usize) -> &mut Slot {
        if self.slots.len() <= task {
            self.slots.resize_with(task + 1, Slot::default);
        }
        &mut self.slots[task]
    }

    pub(super) fn accept(
        &mut self,
        op: u32,
        task: usize,
        admission: Admission,
        spec: SpecNote,
        name: &str,
        report: &mut Report,
    ) {
        let capacity = self.limits.map_or(u64::MAX, |limits| limits.queue_capacity);
        self.undecided.push_back(Submission { op, task, admission, spec });
        if self.undecided.len() as u64 > capacity {
            let waiting = self.undecided.len();
            report.breaks(
                Rule::C4,
                || format!("with that of `{name}` {waiting} submissions wait for the controller, which has room for {capacity}"),
            );
        }
    }

    /// The incarnation whose removal the controller is asking for, if it is one of this task.
    pub(super) fn replaces(&self, task: usize) -> Option<u32> {
        let slot = self.slots.get(task)?;
        let asks = match slot.phase {
            Phase::Running => self.is_next_to_replace(task),
            Phase::Terminating => slot.replaced_early && slot.early.is_none(),
            Phase::Idle | Phase::Admitting => false,
        };
        asks.then_some(slot.incarnation)
    }

    /// What is decided next is a Replace of what is in this slot.
    fn is_next_to_replace(&self, task: usize) -> bool {
        let front = self.undecided.front();
        front.is_some_and(|front| front.task == task && front.admission == Admission::Replace)
    }

    /// A task was registered whose start the slot has announced early. Gives its operation and spec.
    pub(super) fn admitted(&mut self, task: usize, incarnation: u32) -> Option<(u32, SpecNote)> {
        let slot = self.slots.get_mut(task)?;
        let early = slot.early.take_if(|early| early.admitted)?;
        slot.incarnation = incarnation;
        self.pending -= 1;
        Some((early.submission.op, early.submission.spec))
    }

    /// A task was registered that nobody else had asked for: the slot's next one. Gives its operation and spec.
    pub(super) fn start(
        &mut self,
        task: usize,
        incarnation: u32,
        name: &str,
        report: &mut Report,
    ) -> Option<(u32, SpecNote)> {
        let slot = self.slot(task);
        if slot.phase != Phase::Idle || slot.start.is_some() {
            let phase = slot.phase.name();
            report.breaks(Rule::C3, || format!("slot `{name}` started a task while it was {phase}"));
        }
        report.witness(Rule::C1);
        report.witness(Rule::C3);
        let submission = self.next(task, name, report)?;
        self.slot(task).incarnation = incarnation;
        Some((submission.op, submission.spec))
    }

    /// What a slot that is idle starts next, which is announced as that.
    fn next(&mut self, task: usize, name: &str, report: &mut Report) -> Option<Submission> {
        let slot = self.slot(task);
        if let Some(submission) = slot.pending.pop_front() {
            slot.start = Some(Start::FromQueue);
            self.pending -= 1;
            report.witness(Rule::C5);
            return Some(submission);
        }
        let submission = self.decide(task, None, "started", name, report)?;
        self.slot(task).start = Some(Start::Admitted(submission.admission));
        Some(submission)
    }

    /// Takes the submission that is decided next, which must be for this slot and of this admission.
    fn decide(
        &mut self,
        task: usize,
        admission: Option<Admission>,
        what: &str,
        name: &str,
        report: &mut Report,
    ) -> Option<Submission> {
        let fits = |one: &Submission| {
            one.task == task && admission.is_none_or(|admission| one.admission == admission)
        };
        let place = self.undecided.iter().position(fits);
        match place {
            None => None,
            Some(0) => self.undecided.pop_front(),
            Some(place) => {
                report.breaks(Rule::C5, || {
                    format!("slot `{name}` {what} before a submission that came earlier was decided")
                });
                self.undecided.remove(place)
            }
        }
    }

    pub(super) fn transition(
        &mut self,
        index: usize,
        tasks: &[Task],
        event: &EventNote,
        now: &Now<'_>,
        report: &mut Report,
    ) {
        let (name, reason) = texts(event, now);
        report.witness(Rule::C2);
        if self.slot(index).early_step(reason) {
            return;
        }
        let replacing = self.is_next_to_replace(index);
        let slot = self.slot(index);
        if replacing && slot.phase == Phase::Admitting && reason == "admitting→terminating (replace)" {
            slot.phase = Phase::Terminating;
            slot.replaced_early = slot.early.is_some();
            return;
        }
        let (text, by_replace) = match reason.strip_suffix(" (replace)") {
            Some(text) => (text, true),
            None => (reason, false),
        };
        let parsed = text.split_once('→').and_then(|(from, to)| Some((Phase::of(from)?, Phase::of(to)?)));
        let Some((from, to)) = parsed else {
            if reason == "idle→admitting" && report.allows(Liberty::EarlyStarts) {
                self.starts_early(index, name, reason, report);
            } else {
                report.breaks(Rule::C2, || format!("slot `{name}` says `{reason}`, which is no transition"));
            }
            return;
        };
        if from != slot.phase {
            let phase = slot.phase.name();
            report.breaks(Rule::C2, || format!("slot `{name}` says `{reason}`, but it was {phase}"));
        }
        match (from, to, by_replace) {
            (Phase::Idle, Phase::Running, false) => {
                if slot.start.is_none() {
                    report.breaks(Rule::C2, || {
                        format!("slot `{name}` says `{reason}`, but it started nothing")
                    });
                }
            }
            (Phase::Running, Phase::Terminating, true) => {
                if !replacing {
                    report.breaks(Rule::C2, || {
                        format!("slot `{name}` says `{reason}`, but nothing replaces its task")
                    });
                }
            }
            (Phase::Running | Phase::Terminating, Phase::Idle, false) => {
                report.witness(Rule::C3);
                let task = &tasks[index];
                if task.registered && task.incarnation == slot.incarnation {
                    report.breaks(Rule::C3, || {
                        format!("slot `{name}` became idle before its task was removed")
                    });
                }
                if slot.early.is_some() {
                    report.breaks(Rule::C3, || {
                        format!("slot `{name}` became idle before its start was decided")
                    });
                }
            }
            _ => report.breaks(Rule::C2, || format!("slot `{name}` says `{reason}`, which no slot does")),
        }
        slot.phase = to;
        slot.replaced_early &= to != Phase::Idle;
    }

    /// A slot announces a start before the registry has decided it.
    fn starts_early(&mut self, index: usize, name: &str, reason: &str, report: &mut Report) {
        let Slot { phase, start, .. } = self.slot(index);
        if *phase != Phase::Idle || start.is_some() {
            let phase = if start.is_some() { "to announce another" } else { phase.name() };
            report.breaks(Rule::C2, || format!("slot `{name}` says `{reason}`, but it was {phase}"));
            return;
        }
        match self.next(index, name, report) {
            Some(submission) => {
                self.pending += 1;
                let slot = self.slot(index);
                slot.early = Some(Early { submission, admitted: false });
                slot.phase = Phase::Admitting;
            }
            None => {
                report.breaks(Rule::C2, || format!("slot `{name}` says `{reason}`, but it started nothing"));
            }
        }
    }

    pub(super) fn submitted(&mut self, index: usize, event: &EventNote, now: &Now<'_>, report: &mut Report) {
        let (name, reason) = texts(event, now);
        report.witness(Rule::C2);
        let mut words = reason.split(' ');
        let mut word = |key: &str| words.next().and_then(|word| word.strip_prefix(key)).unwrap_or("");
        let (admission, status, depth) = (word("admission="), word("status="), word("depth="));
        let started = self.slot(index).start.take();
        let announced = match started {
            Some(Start::FromQueue) => Some("started_from_queue"),
            Some(Start::Admitted(admission)) => Some(admission_name(admission)),
            None => None,
        };
        match announced {
            Some(announced) => {
                if announced != admission {
                    report.breaks(Rule::C2, || {
                        format!("slot `{name}` says `{reason}` of a start as `{announced}`")
                    });
                }
            }
            None => self.taken(index, admission, name, reason, report),
        }
        let slot = self.slot(index);
        let (phase, pending) = (slot.phase.name(), slot.pending.len());
        if status != phase || depth.parse() != Ok(pending) {
            report.breaks(Rule::C2, || {
                format!("slot `{name}` says `{reason}`, but it is {phase} and {pending} are pending")
            });
        }
    }

    /// A submission waits in its slot from now on.
    fn taken(&mut self, index: usize, admission: &str, name: &str, reason: &str, report: &mut Report) {
        let known = [Admission::Queue, Admission::Replace, Admission::DropIfRunning];
        let Some(admission) = known.into_iter().find(|known| admission_name(*known) == admission) else {
            report.breaks(Rule::C2, || {
                format!("slot `{name}` says `{reason}`, but it started nothing from its queue")
            });
            return;
        };
        let Some(submission) = self.decide(index, Some(admission), "admitted one", name, report) else {
            report.breaks(Rule::C1, || {
                format!("slot `{name}` says `{reason}`, but no such submission was accepted")
            });
            return;
        };
        let capacity = self.limits.map_or(u64::MAX, |limits| limits.slot_capacity);
        let slot = self.slot(index);
        let superseded = std::mem::take(&mut slot.superseded);
        match (slot.phase, admission) {
            (Phase::Idle, _) => {
                report.breaks(Rule::C2, || {
                    format!("slot `{name}` says `{reason}`, but it was idle and should have started it")
                });
            }
            (_, Admission::DropIfRunning) => {
                report.breaks(Rule::C2, || {
                    format!("slot `{name}` says `{reason}`, but it was busy and should have rejected it")
                });
            }
            (_, Admission::Queue) => {
                if slot.pending.len() as u64 >= capacity {
                    report.breaks(Rule::C2, || {
                        format!("slot `{name}` says `{reason}`, but it was full and should have rejected it")
                    });
                }
                slot.pending.push_back(submission);
                self.pending += 1;
            }
            (phase, Admission::Replace) => {
                if phase != Phase::Terminating {
                    let phase = phase.name();
                    report.breaks(Rule::C2, || format!("slot `{name}` says `{reason}` and is still {phase}"));
                }
                if !superseded && !slot.pending.is_empty() {
                    report.breaks(Rule::C2, || {
                        format!("slot `{name}` says `{reason}`, but its pending head was not rejected")
                    });
                }
                slot.pending.push_front(submission);
                self.pending += 1;
            }
        }
    }

    pub(super) fn rejected(
        &mut self,
        index: usize,
        tasks: &[Task],
        shutting_down: bool,
        event: &EventNote,
        now: &Now<'_>,
        report: &mut Report,
    ) {
        let (name, reason) = texts(event, now);
        report.witness(Rule::C1);
        let none = |report: &mut Report| {
            report.breaks(Rule::C1, || {
                format!("slot `{name}` rejected `{reason}`, but no such submission waited")
            });
        };
        let limit = self.limits.map_or(u64::MAX, |limits| limits.slot_capacity);
        let slot = self.slot(index);
        let (phase, pending) = (slot.phase, slot.pending.len());
        if let Some(text) = reason.strip_prefix("queue_full: ") {
            if phase == Phase::Idle || (pending as u64) < limit || text != format!("{pending}/{limit}") {
                let phase = phase.name();
                report.breaks(Rule::C2, || {
                    format!(
                        "slot `{name}` rejected `{reason}`, but it is {phase} with {pending}/{limit} pending"
                    )
                });
            }
            if self.decide(index, Some(Admission::Queue), "rejected one", name, report).is_none() {
                none(report);
            }
        } else if let Some(text) = reason.strip_prefix("slot_busy: ") {
            if phase == Phase::Idle || text != phase.name() {
                report.breaks(Rule::C2, || {
                    format!("slot `{name}` rejected `{reason}`, but it is {}", phase.name())
                });
            }
            if self.decide(index, Some(Admission::DropIfRunning), "rejected one", name, report).is_none() {
                none(report);
            }
        } else if reason == "superseded" {
            let slot = self.slot(index);
            slot.superseded = true;
            if slot.pending.pop_front().is_none() {
                none(report);
            } else {
                self.pending -= 1;
            }
            let replaces = |one: &Submission| one.task == index && one.admission == Admission::Replace;
            if !self.undecided.front().is_some_and(replaces) {
                report.breaks(Rule::C2, || {
                    format!("slot `{name}` rejected a spec as superseded, but nothing replaces it")
                });
            }
        } else if reason.starts_with("add_failed: ") && slot.is_undecided() {
            // The name is taken, or nothing is added any more.
            if !tasks[index].registered && !shutting_down {
                report
                    .breaks(Rule::C3, || format!("slot `{name}` rejected `{reason}`, but the name was free"));
            }
            slot.early = None;
            slot.replaced_early = false;
            self.pending -= 1;
        } else if reason.starts_with("add_failed: ") {
            if !tasks[index].registered || phase != Phase::Idle {
                report.breaks(Rule::C3, || {
                    format!("slot `{name}` rejected `{reason}`, but the name was free or the slot busy")
                });
            }
            let slot = self.slot(index);
            if slot.pending.pop_front().is_some() {
                self.pending -= 1;
            } else if self.decide(index, None, "rejected one", name, report).is_none() {
                none(report);
            }
        } else if reason == "shutting_down" {
            if !shutting_down {
                report.breaks(Rule::C1, || {
                    format!("slot `{name}` rejected `{reason}`, but no shutdown was requested")
                });
            }
            let slot = self.slot(index);
            if slot.pending.pop_front().is_some() {
                self.pending -= 1;
            } else if let Some(place) = self.undecided.iter().position(|one| one.task == index) {
                self.undecided.remove(place);
            } else {
                none(report);
            }
        } else {
            report.breaks(Rule::C1, || format!("slot `{name}` rejected `{reason}`, which is no reason"));
        }
    }

    /// The instant is over. `up`: the run is; `closed`: shutdown was requested.
    pub(super) fn settle(
        &self,
        tasks: &[Task],
        up: bool,
        closed: bool,
        report: &mut Report,
        texts: &crate::trace::Texts,
    ) {
        if self.limits.is_none() {
            return;
        }
        if closed && !self.is_empty() {
            let left = self.undecided.len() as u64 + self.pending;
            report.breaks(Rule::C1, || {
                format!("{left} submissions were not rejected when shutdown was requested")
            });
        }
        if !up {
            return;
        }
        if let Some(first) = self.undecided.front() {
            let name = texts.get(tasks[first.task].name);
            report.breaks(Rule::C1, || format!("the submission to slot `{name}` was not decided at once"));
        }
        for (slot, task) in self.slots.iter().zip(tasks) {
            let name = texts.get(task.name);
            if slot.start.is_some() {
                report.breaks(Rule::C2, || format!("slot `{name}` started a task and did not announce it"));
            }
            if slot.phase == Phase::Idle && !slot.pending.is_empty() {
                report
                    .breaks(Rule::C3, || format!("slot `{name}` is idle and did not start what is pending"));
            }
            if slot.early.is_some() {
                report.breaks(Rule::C1, || {
                    format!("the start that slot `{name}` announced was not decided at once")
                });
                continue;
            }
            let gone = !task.registered || task.incarnation != slot.incarnation;
            if slot.replaced_early && !gone && !task.cancelled {
                report.breaks(Rule::C2, || {
                    format!(
                        "the task of slot `{name}` was replaced, and its removal was not requested at once"
                    )
                });
            }
            if slot.phase != Phase::Idle && gone {
                report.breaks(Rule::C2, || {
                    format!("the task of slot `{name}` was removed and the slot did not become idle")
                });
            }
        }
    }

    /// The run has returned.
    pub(super) fn over(&self, tasks: &[Task], report: &mut Report, now: &Now<'_>) {
        if !self.is_empty() {
            let left = self.undecided.len() as u64 + self.pending;
            report.breaks(Rule::C1, || {
                format!("the run returned and left {left} submissions without an answer")
            });
        }
        for (slot, task) in self.slots.iter().zip(tasks) {
            if slot.phase != Phase::Idle {
                let (name, phase) = (now.texts.get(task.name), slot.phase.name());
                report.breaks(Rule::C2, || format!("the run returned and left slot `{name}` {phase}"));
            }
        }
    }
}

fn texts<'a>(event: &EventNote, now: &Now<'a>) -> (&'a str, &'a str) {
    let text = |text: Option<crate::trace::Text>| text.map_or("", |text| now.texts.get(text));
    (text(event.task), text(event.reason))
}
