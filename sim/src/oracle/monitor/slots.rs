//! The controller: what waits for it, and where each slot stands. Contract section 8, as a machine.
//!
//! Submissions are decided one after the other in the order in which they were accepted, so the next step of a slot is
//! known but for when it comes.

use std::collections::VecDeque;

use super::complaint::{Fits, expected, unexplained};
use crate::trace::{Admission, ControllerNote, SpecNote};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Status {
    #[default]
    Idle,
    Running,
    Terminating,
    /// Its start is announced and the registry has not decided it: no status of the contract, but a liberty.
    Admitting,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Terminating => "terminating",
            Self::Admitting => "admitting",
        }
    }
}

/// An accepted submission.
#[derive(Debug, Clone, Copy)]
pub(super) struct Submitted {
    pub(super) op: u32,
    pub(super) slot: usize,
    pub(super) admission: Admission,
    pub(super) spec: SpecNote,
}

/// A start that is registered and not announced yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Of(Admission),
    FromQueue,
}

/// How far a start is that was announced before it is registered.
#[derive(Debug, Clone, Copy, Default)]
enum Ahead {
    /// There is none.
    #[default]
    Nothing,
    /// The registry is to decide it.
    Asked(Submitted),
    /// It has said yes, and registers it next.
    Granted(Submitted),
}

#[derive(Debug, Default)]
struct Slot {
    status: Status,
    /// The incarnation that it started.
    incarnation: u32,
    pending: VecDeque<Submitted>,
    start: Option<Start>,
    /// Its pending head has been rejected for the Replace that is decided now.
    superseded: bool,
    ahead: Ahead,
    /// A Replace came while its start was not decided: what it starts is to be removed as soon as it is there.
    unwanted: bool,
}

/// Whether a slot's task is registered, and which incarnation it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tenant {
    pub(super) registered: bool,
    pub(super) incarnation: u32,
}

impl Slot {
    /// The registry decides for the start that it was asked for, if it was.
    fn grant(&mut self) -> bool {
        let Ahead::Asked(submitted) = self.ahead else { return false };
        self.ahead = Ahead::Granted(submitted);
        true
    }
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    limits: Option<ControllerNote>,
    slots: Vec<Slot>,
    undecided: VecDeque<Submitted>,
    pending: u64,
    /// Of each status of the contract.
    visits: [u64; 3],
}

fn admission_word(admission: Admission) -> &'static str {
    match admission {
        Admission::Queue => "Queue",
        Admission::Replace => "Replace",
        Admission::DropIfRunning => "DropIfRunning",
    }
}

impl Slots {
    pub(super) const NAMES: [&'static str; 3] = ["slot idle", "slot running", "slot terminating"];

    pub(super) fn reset(&mut self, limits: Option<ControllerNote>) {
        self.limits = limits;
        self.slots.clear();
        self.undecided.clear();
        self.pending = 0;
        self.visits = [0; 3];
    }

    pub(super) fn visits(&self) -> [u64; 3] {
        self.visits
    }

    pub(super) fn is_configured(&self) -> bool {
        self.limits.is_some()
    }

    /// Slots that have something to do, and those that somebody waits for.
    pub(super) fn occupied(&self, mut each: impl FnMut(usize)) {
        self.undecided.iter().for_each(|submitted| each(submitted.slot));
        for (index, slot) in self.slots.iter().enumerate() {
            let Slot { status, start, superseded, .. } = slot;
            if *status != Status::Idle || start.is_some() || *superseded || !slot.pending.is_empty() {
                each(index);
            }
        }
    }

    /// A slot is as if it had never been.
    pub(super) fn vacate(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot::default();
        }
    }

    /// It has no slots and nothing to decide.
    pub(super) fn is_untouched(&self) -> bool {
        self.slots.is_empty() && self.undecided.is_empty()
    }

    /// No submission waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.undecided.is_empty() && self.pending == 0
    }

    /// No slot has a task.
    pub(super) fn are_vacant(&self) -> bool {
        self.slots.iter().all(|slot| slot.status == Status::Idle)
    }

    /// There is room for a submission beside so many that wait for it.
    pub(super) fn has_room(&self, waiting: u64) -> bool {
        self.limits.is_some_and(|limits| self.undecided.len() as u64 + waiting < limits.queue_capacity)
    }

    fn slot(&mut self, slot: usize) -> &mut Slot {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, Slot::default);
        }
        &mut self.slots[slot]
    }

    pub(super) fn accept(&mut self, submitted: Submitted) -> Fits {
        let room = self.has_room(0);
        self.undecided.push_back(submitted);
        if room {
            return Ok(());
        }
        unexplained(&["C4"], "a submission was accepted where there was no room for it".to_owned())
    }

    /// A Replace for this slot is decided next.
    fn is_replacing(&self, slot: usize) -> bool {
        let next = self.undecided.front();
        next.is_some_and(|next| next.slot == slot && next.admission == Admission::Replace)
    }

    /// The controller is asking for the removal of this slot's task, and what it started is this incarnation.
    pub(super) fn replaces(&self, index: usize, incarnation: u32) -> bool {
        self.slots.get(index).is_some_and(|slot| {
            let asks = match slot.status {
                Status::Running => self.is_replacing(index),
                Status::Terminating => slot.unwanted,
                Status::Idle | Status::Admitting => false,
            };
            asks && slot.incarnation == incarnation
        })
    }

    /// The submission that is decided next, if it is for this slot and of this admission.
    fn decide(&mut self, slot: usize, admission: Option<Admission>) -> Option<Submitted> {
        let fits = |next: &Submitted| {
            next.slot == slot && admission.is_none_or(|admission| next.admission == admission)
        };
        if self.undecided.front().is_some_and(fits) { self.undecided.pop_front() } else { None }
    }

    /// A task is registered that nobody but the controller can have asked for.
    pub(super) fn start(&mut self, index: usize, incarnation: u32) -> Option<Submitted> {
        let slot = self.slot(index);
        if slot.status != Status::Idle || slot.start.is_some() {
            return None;
        }
        let submitted = self.next(index)?;
        self.slot(index).incarnation = incarnation;
        Some(submitted)
    }

    /// What an idle slot is to start: the head of its queue, or what is decided next.
    fn next(&mut self, index: usize) -> Option<Submitted> {
        let from_queue = self.slot(index).pending.pop_front();
        let (submitted, start) = match from_queue {
            Some(submitted) => {
                self.pending -= 1;
                (submitted, Start::FromQueue)
            }
            None => {
                let submitted = self.decide(index, None)?;
                (submitted, Start::Of(submitted.admission))
            }
        };
        self.slot(index).start = Some(start);
        Some(submitted)
    }

    /// A task is registered: that whose start was granted, if there is one.
    pub(super) fn granted(&mut self, index: usize, incarnation: u32) -> Option<Submitted> {
        let slot = self.slots.get_mut(index)?;
        let Ahead::Granted(submitted) = slot.ahead else { return None };
        slot.ahead = Ahead::Nothing;
        slot.incarnation = incarnation;
        self.pending -= 1;
        Some(submitted)
    }

    /// `may_ask`: a slot may announce a start before that is decided.
    pub(super) fn transition(
        &mut self,
        index: usize,
        name: &str,
        reason: &str,
        tenant: Tenant,
        may_ask: bool,
    ) -> Fits {
        let replacing = self.is_replacing(index);
        let slot = self.slot(index);
        let gone = !tenant.registered || tenant.incarnation != slot.incarnation;
        let before = slot.status;
        let (to, fits) = match (before, reason) {
            (Status::Idle, "idle→running") => (Status::Running, slot.start.is_some()),
            (Status::Running, "running→terminating (replace)") => (Status::Terminating, replacing),
            (Status::Running, "running→idle") | (Status::Terminating, "terminating→idle") => {
                (Status::Idle, gone && matches!(slot.ahead, Ahead::Nothing))
            }
            (Status::Idle, "idle→admitting") if may_ask => return self.asks(index, name),
            (Status::Terminating, "terminating→terminating") => (Status::Terminating, slot.grant()),
            (Status::Admitting, "admitting→running") => (Status::Running, slot.grant()),
            (Status::Admitting, "admitting→terminating (replace)") => {
                slot.unwanted = matches!(slot.ahead, Ahead::Asked(_));
                (Status::Terminating, replacing)
            }
            (Status::Admitting, "admitting→idle") => (Status::Idle, matches!(slot.ahead, Ahead::Nothing)),
            // As it says, for what follows.
            _ => {
                let says = reason.split(['→', ' ']).nth(1).unwrap_or("");
                let all = [Status::Idle, Status::Running, Status::Terminating];
                (all.into_iter().find(|status| status.word() == says).unwrap_or(before), false)
            }
        };
        slot.status = to;
        slot.unwanted &= to == Status::Terminating;
        if let Some(visits) = self.visits.get_mut(to as usize) {
            *visits += 1;
        }
        if fits {
            return Ok(());
        }
        let instead = match before {
            Status::Idle => "idle→running once it has started a task",
            Status::Running => {
                "running→idle once its task is removed, or running→terminating (replace) for a Replace"
            }
            Status::Terminating => "terminating→idle once its task is removed",
            Status::Admitting => {
                "admitting→running once its start is granted, or admitting→terminating (replace) for a Replace"
            }
        };
        expected(
            &["C2", "C3"],
            format!("slot `{name}`, which was {}, said `{reason}`", before.word()),
            instead.to_owned(),
        )
    }

    /// An idle slot announces its start before that is decided.
    fn asks(&mut self, index: usize, name: &str) -> Fits {
        let is_announced = self.slot(index).start.is_none();
        let Some(submitted) = self.next(index).filter(|_| is_announced) else {
            let why = match is_announced {
                true => "it was the turn of no submission to it",
                false => "it had not said what it had started before",
            };
            return unexplained(&["C2", "C1"], format!("slot `{name}` said `idle→admitting`, and {why}"));
        };
        self.pending += 1;
        let slot = self.slot(index);
        slot.ahead = Ahead::Asked(submitted);
        slot.status = Status::Admitting;
        Ok(())
    }

    pub(super) fn submitted(&mut self, index: usize, name: &str, reason: &str) -> Fits {
        let capacity = self.limits.map_or(u64::MAX, |limits| limits.slot_capacity);
        let started = self.slot(index).start.take();
        let next = self.undecided.front().filter(|next| next.slot == index).copied();
        let word = match (started, next) {
            (Some(Start::FromQueue), _) => "started_from_queue",
            (Some(Start::Of(admission)), _) => admission_word(admission),
            (None, Some(next)) => {
                self.undecided.pop_front();
                let slot = self.slot(index);
                let superseded = std::mem::take(&mut slot.superseded);
                let fits = match (slot.status, next.admission) {
                    (Status::Idle, _) | (_, Admission::DropIfRunning) => false,
                    (_, Admission::Queue) => (slot.pending.len() as u64) < capacity,
                    (Status::Running | Status::Admitting, Admission::Replace) => false,
                    (Status::Terminating, Admission::Replace) => superseded || slot.pending.is_empty(),
                };
                match next.admission {
                    Admission::Replace => slot.pending.push_front(next),
                    _ => slot.pending.push_back(next),
                }
                let status = slot.status.word();
                self.pending += 1;
                if !fits {
                    let admission = admission_word(next.admission);
                    return unexplained(
                        &["C2"],
                        format!(
                            "slot `{name}`, which was {status}, said `{reason}` of a {admission} that it should not have taken so"
                        ),
                    );
                }
                admission_word(next.admission)
            }
            (None, None) => {
                return unexplained(
                    &["C1", "C2", "C5"],
                    format!("slot `{name}` said `{reason}`, and it was the turn of no submission to it"),
                );
            }
        };
        let slot = self.slot(index);
        let (status, depth) = (slot.status.word(), slot.pending.len());
        let says = |reason: &str| {
            let rest = reason.strip_prefix("admission=")?.strip_prefix(word)?;
            let rest = rest.strip_prefix(" status=")?.strip_prefix(status)?;
            Some(rest.strip_prefix(" depth=")?.parse() == Ok(depth))
        };
        if says(reason) == Some(true) {
            return Ok(());
        }
        expected(
            &["C2"],
            format!("slot `{name}` said `{reason}`"),
            format!("`admission={word} status={status} depth={depth}`"),
        )
    }

    pub(super) fn rejected(
        &mut self,
        index: usize,
        name: &str,
        reason: &str,
        tenant: Tenant,
        shutdown: bool,
    ) -> Fits {
        let limit = self.limits.map_or(u64::MAX, |limits| limits.slot_capacity);
        let slot = self.slot(index);
        let (status, depth) = (slot.status, slot.pending.len());
        let busy = status != Status::Idle;
        let (fits, rules): (bool, &'static [&'static str]) = match reason.split_once(": ") {
            Some(("queue_full", rest)) => {
                let full = busy && depth as u64 >= limit && is_share(rest, depth, limit);
                (self.decide(index, Some(Admission::Queue)).is_some() && full, &["C2", "C1"])
            }
            Some(("slot_busy", rest)) => {
                let fits = busy && rest == status.word();
                (self.decide(index, Some(Admission::DropIfRunning)).is_some() && fits, &["C2", "C1"])
            }
            Some(("add_failed", _)) if matches!(slot.ahead, Ahead::Asked(_)) => {
                slot.ahead = Ahead::Nothing;
                slot.unwanted = false;
                self.pending -= 1;
                (tenant.registered || shutdown, &["C3", "C1"])
            }
            Some(("add_failed", _)) => {
                let taken = tenant.registered && !busy;
                let one = self.take_pending(index) || self.decide(index, None).is_some();
                (one && taken, &["C3", "C1"])
            }
            None if reason == "superseded" => {
                slot.superseded = true;
                let one = self.take_pending(index);
                let replaced = self
                    .undecided
                    .front()
                    .is_some_and(|next| next.slot == index && next.admission == Admission::Replace);
                (one && replaced, &["C2", "C1"])
            }
            None if reason == "shutting_down" => {
                let one = self.take_pending(index)
                    || self
                        .undecided
                        .iter()
                        .position(|one| one.slot == index)
                        .is_some_and(|place| self.undecided.remove(place).is_some());
                (one && shutdown, &["C1", "C4"])
            }
            _ => (false, &["C1"]),
        };
        if fits {
            return Ok(());
        }
        let status = status.word();
        unexplained(
            rules,
            format!("slot `{name}`, which was {status} with {depth} pending, rejected one: `{reason}`"),
        )
    }

    fn take_pending(&mut self, index: usize) -> bool {
        let one = self.slot(index).pending.pop_front();
        self.pending -= u64::from(one.is_some());
        one.is_some()
    }

    /// The instant is over. `is_leaving`: the task of a slot was cancelled.
    pub(super) fn settle(
        &self,
        up: bool,
        shutdown: bool,
        tenant: impl Fn(usize) -> Tenant,
        is_leaving: impl Fn(usize) -> bool,
    ) -> Fits {
        if self.limits.is_none() {
            return Ok(());
        }
        if shutdown && !self.is_idle() {
            return unexplained(
                &["C1"],
                "shutdown was requested, and not every submission that waited was rejected".to_owned(),
            );
        }
        if !up {
            return Ok(());
        }
        if !self.undecided.is_empty() {
            return unexplained(&["C1"], "a submission was not decided at once".to_owned());
        }
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.start.is_some() {
                return unexplained(&["C2"], "a slot started a task and did not say so".to_owned());
            }
            if slot.status == Status::Idle {
                if !slot.pending.is_empty() {
                    return unexplained(&["C3"], "an idle slot did not start what is pending".to_owned());
                }
                continue;
            }
            if !matches!(slot.ahead, Ahead::Nothing) {
                return unexplained(&["C1"], "a start that was announced was not decided at once".to_owned());
            }
            let Tenant { registered, incarnation } = tenant(index);
            if !registered || incarnation != slot.incarnation {
                return unexplained(&["C2"], "a slot's task was removed and it did not say so".to_owned());
            }
            if slot.unwanted && !is_leaving(index) {
                return unexplained(
                    &["C2"],
                    "the removal of what was replaced was not requested at once".to_owned(),
                );
            }
        }
        Ok(())
    }
}

/// Whether a text is `n/cap`.
fn is_share(text: &str, part: usize, whole: u64) -> bool {
    text.split_once('/').is_some_and(|(n, cap)| n.parse() == Ok(part) && cap.parse() == Ok(whole))
}
