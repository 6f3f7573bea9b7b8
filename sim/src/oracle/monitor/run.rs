//! The run: before it, up, asked to stop, stopped in time or by force, over.

use super::super::excuse::{Liberties, Liberty};
use super::complaint::{Fits, expected, overdue, unexplained};
use crate::trace::{Answer, Held, SpecNote, Text, Texts};

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    InTime,
    Forced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Before,
    Up,
    Over,
}

/// What is there beside the run, as its steps need to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    pub(super) now_ns: u64,
    pub(super) registered: u64,
    /// No submission waits for anything.
    pub(super) slots_idle: bool,
    pub(super) has_subscribers: bool,
}

impl Beside {
    fn nothing_left(&self) -> bool {
        self.registered == 0 && self.slots_idle
    }
}

#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) grace_ns: u64,
    pub(super) late_ns: u64,
    pub(super) phase: Phase,
    /// The call that runs.
    op: Option<u32>,
    serve: bool,
    /// A name comes twice or is taken.
    must_refuse: bool,
    /// Specs that it came with and that are not registered yet.
    pub(super) specs: Vec<SpecNote>,
    had_specs: bool,
    started_ns: u64,
    pub(super) requested_ns: Option<u64>,
    /// … before the run began.
    requested_early: bool,
    stopped: Option<(Stopped, u64)>,
    /// Since when nothing has been left to do.
    idle_ns: Option<u64>,
    /// When no task was left that had been added, and since when the run is known to end for that.
    emptied_ns: Option<u64>,
    ends_ns: Option<u64>,
    free: Liberties,
    /// Names that were removed by force, in order.
    forced: Vec<Text>,
    /// Draining used up its grace.
    cut_short: bool,
    pub(super) calm: bool,
}

impl Run {
    pub(super) const NAMES: [&'static str; 5] =
        ["run up", "shutdown requested", "stopped within grace", "grace exceeded", "run over"];

    pub(super) fn reset(&mut self, grace_ns: u64, late_ns: u64, free: Liberties) {
        let (mut specs, mut forced) = (std::mem::take(&mut self.specs), std::mem::take(&mut self.forced));
        specs.clear();
        forced.clear();
        *self = Self { grace_ns, late_ns, specs, forced, free, ..Self::default() };
    }

    /// Texts that it speaks of.
    pub(super) fn hold(&self, held: &mut Held) {
        held.hold_all(self.specs.iter().map(|spec| spec.task));
        held.hold_all(self.forced.iter().copied());
    }

    pub(super) fn is_forced(&self) -> bool {
        matches!(self.stopped, Some((Stopped::Forced, _)))
    }

    pub(super) fn op(&self) -> Option<u32> {
        self.op
    }

    /// It was up at some time.
    pub(super) fn was_up(&self) -> bool {
        self.phase != Phase::Before
    }

    /// It may have decided to end, and refuse what comes now.
    pub(super) fn may_be_ending(&self) -> bool {
        self.idle_ns.is_some()
    }

    pub(super) fn was_cut_short(&self) -> bool {
        self.cut_short
    }

    /// No task is left that had been added.
    pub(super) fn emptied(&mut self, now_ns: u64) {
        self.emptied_ns = Some(now_ns);
    }

    /// A run that ends whenever no task is added may be doing so since this instant.
    pub(super) fn may_end(&self, now_ns: u64) -> bool {
        self.free.has(Liberty::EmptyRunsEnd)
            && self.phase == Phase::Up
            && !self.serve
            && self.requested_ns.is_none()
            && self.emptied_ns == Some(now_ns)
    }

    /// … and it is.
    pub(super) fn ends(&mut self, now_ns: u64) {
        self.ends_ns = Some(now_ns);
    }

    /// It is known to end, because it was asked to or by itself.
    pub(super) fn is_ending(&self) -> bool {
        self.requested_ns.is_some() || self.ends_ns.is_some()
    }

    /// The spec of this name that the call came with, which is registered now; a call that is refused may have announced it.
    pub(super) fn registers(&mut self, name: Text) -> Option<(u32, SpecNote)> {
        let op = self.op?;
        let place = self.specs.iter().position(|spec| spec.task == name)?;
        let may = !self.must_refuse || self.free.has(Liberty::EarlyAdds);
        may.then(|| (op, self.specs.swap_remove(place)))
    }

    fn deadline_ns(&self) -> Option<u64> {
        self.requested_ns
            .or(self.ends_ns)
            .map(|at_ns| at_ns.saturating_add(self.grace_ns).max(self.started_ns))
    }

    /// When the queues of subscribers may be given up, if draining has begun.
    pub(super) fn drained_ns(&self) -> Option<u64> {
        let from_ns = self.stopped.map(|(_, at_ns)| at_ns).or(self.idle_ns)?;
        Some(from_ns.saturating_add(self.grace_ns))
    }

    /// `run` or `serve` is called; whether it is up from now on.
    pub(super) fn called(
        &mut self,
        op: u32,
        specs: &[SpecNote],
        serve: bool,
        taken: bool,
        beside: Beside,
    ) -> bool {
        if self.phase != Phase::Before || self.op.is_some() {
            return false;
        }
        let mut names: Vec<_> = specs.iter().map(|spec| spec.task).collect();
        names.sort_unstable();
        self.op = Some(op);
        self.serve = serve;
        self.had_specs = !specs.is_empty();
        self.must_refuse = taken || names.windows(2).any(|pair| pair[0] == pair[1]);
        self.specs.clear();
        self.specs.extend_from_slice(specs);
        if self.must_refuse {
            return false;
        }
        self.phase = Phase::Up;
        self.started_ns = beside.now_ns;
        if specs.is_empty() {
            self.look_for_idleness(beside);
        }
        true
    }

    /// Something may have been the last that was left.
    pub(super) fn look_for_idleness(&mut self, beside: Beside) {
        let may_end = self.phase == Phase::Up && !self.serve && self.requested_ns.is_none();
        if may_end && beside.nothing_left() {
            self.idle_ns.get_or_insert(beside.now_ns);
        }
    }

    /// Something is to be done again.
    pub(super) fn busy(&mut self) {
        self.idle_ns = None;
    }

    /// `asked`: somebody is asking for it.
    pub(super) fn shutdown_requested(&mut self, asked: bool, beside: Beside) -> Fits {
        if self.requested_ns.is_some() {
            return unexplained(&["D2"], "a second ShutdownRequested".to_owned());
        }
        self.requested_ns = Some(beside.now_ns);
        self.requested_early = self.phase == Phase::Before;
        let was_idle = self.phase == Phase::Up && !self.serve && beside.registered == 0;
        self.idle_ns = None;
        if asked {
            return Ok(());
        }
        let rules: &[&str] = if was_idle { &["D5", "D2"] } else { &["D2", "D5"] };
        unexplained(rules, "ShutdownRequested came, and nobody had asked for it".to_owned())
    }

    /// AllStoppedWithinGrace or GraceExceeded.
    pub(super) fn stops(&mut self, how: Stopped, beside: Beside) -> Fits {
        let Beside { now_ns, registered, .. } = beside;
        let kind = match how {
            Stopped::InTime => "AllStoppedWithinGrace",
            Stopped::Forced => "GraceExceeded",
        };
        let is_own = self.requested_ns.is_none();
        let may_tell = self.free.has(Liberty::EndsAreTold);
        if is_own && may_tell && (self.idle_ns.is_some() || self.may_end(now_ns)) {
            self.ends_ns.get_or_insert(now_ns);
        }
        let Some(deadline_ns) = self.deadline_ns().filter(|_| !is_own || may_tell) else {
            self.stopped = Some((how, now_ns));
            let rules: &[&str] = if how == Stopped::InTime { &["D5", "D3"] } else { &["D3", "D5"] };
            return unexplained(rules, format!("{kind} came, and no shutdown was requested"));
        };
        let before = self.stopped.replace((how, now_ns));
        if self.phase != Phase::Up {
            return unexplained(&["D3"], format!("{kind} came, and no run was up"));
        }
        let fits = before.is_none()
            && match how {
                Stopped::InTime => registered == 0 && now_ns <= deadline_ns,
                Stopped::Forced => {
                    registered > 0
                        && now_ns >= deadline_ns
                        && now_ns <= deadline_ns.saturating_add(self.late_ns)
                }
            };
        if fits {
            return Ok(());
        }
        expected(
            &["D3"],
            format!("{kind} came at {now_ns} ns, with {registered} tasks registered"),
            match registered {
                0 => "AllStoppedWithinGrace after the last TaskRemoved".to_owned(),
                _ => format!("the end of the tasks that are left, or GraceExceeded at {deadline_ns} ns"),
            },
        )
    }

    /// [D3]: what is left is removed in order of name.
    pub(super) fn removed(&mut self, name: Text, beside: Beside, texts: &Texts) -> Fits {
        let in_any_order = self.free.has(Liberty::UnorderedForce);
        let fits = in_any_order
            || !self.is_forced()
            || self.forced.last().is_none_or(|last| texts.get(*last) < texts.get(name));
        if self.is_forced() {
            self.forced.push(name);
        }
        self.look_for_idleness(beside);
        if fits {
            return Ok(());
        }
        let name = texts.get(name);
        unexplained(&["D3"], format!("`{name}` was removed by force after one whose name comes later"))
    }

    /// The call that runs returns.
    pub(super) fn answered(&mut self, answer: &Answer, beside: Beside, texts: &Texts) -> Fits {
        self.op = None;
        if self.must_refuse {
            let early = self.requested_early && *answer == Answer::ShuttingDown;
            if *answer == Answer::AlreadyExists || early {
                return Ok(());
            }
            return unexplained(
                &["D1"],
                "a run with a name that comes twice or is taken was not refused".to_owned(),
            );
        }
        self.phase = Phase::Over;
        let Beside { now_ns, registered, slots_idle, has_subscribers } = beside;
        if registered > 0 {
            return expected(
                &["D1", "D3", "G4"],
                format!("the run returned with {registered} tasks registered"),
                "their TaskRemoved".to_owned(),
            );
        }
        if !slots_idle {
            return unexplained(&["C1", "C2"], "the run returned and left slots or submissions".to_owned());
        }
        let stopped = self.stopped.map(|(how, _)| how);
        let early = self.requested_early && self.had_specs;
        let closing_ns = self.requested_ns.or(self.ends_ns.filter(|_| stopped.is_some()));
        let (fits, rules): (bool, &'static [&'static str]) = match (answer, closing_ns, stopped) {
            (Answer::Done, None, _) => (!self.serve, &["D1", "D5"]),
            (Answer::Done, Some(_), Some(Stopped::InTime)) => (!early, &["D2", "D1"]),
            (Answer::ShuttingDown, Some(_), Some(_)) => (early, &["D1", "D2"]),
            (Answer::GraceExceeded(names), Some(_), Some(Stopped::Forced)) => {
                (*names == self.forced || self.names_some_of_the_forced(names), &["D3"])
            }
            (Answer::Done | Answer::GraceExceeded(_), _, _) => (false, &["D3", "D1"]),
            _ => (false, &["D1", "D3"]),
        };
        if !fits {
            let said = describe(answer, texts);
            return expected(rules, format!("the run returned {said}"), self.may_return(texts));
        }
        let Some(until_ns) = self.drained_ns() else { return Ok(()) };
        self.cut_short = now_ns >= until_ns;
        if now_ns > until_ns.saturating_add(self.late_ns) {
            return unexplained(
                &["S9", "D4"],
                format!("the run returned at {now_ns} ns; queues are drained until {until_ns} ns"),
            );
        }
        if !has_subscribers && now_ns.saturating_add(self.grace_ns) != until_ns {
            return unexplained(
                &["D1"],
                format!("the run had nothing left to do, and returned at {now_ns} ns"),
            );
        }
        Ok(())
    }

    /// Where the order of forced ends means nothing, the error may name some of them, each once.
    fn names_some_of_the_forced(&self, names: &[Text]) -> bool {
        let mut named = names.to_vec();
        named.sort_unstable();
        named.dedup();
        self.free.has(Liberty::UnorderedForce)
            && named.len() == names.len()
            && named.iter().all(|name| self.forced.contains(name))
    }

    fn may_return(&self, texts: &Texts) -> String {
        match (self.requested_ns, self.stopped) {
            (None, _) if self.serve => "no return before a shutdown is requested".to_owned(),
            (None, _) => "Ok".to_owned(),
            (Some(_), None) => "AllStoppedWithinGrace or GraceExceeded first".to_owned(),
            (Some(_), Some(_)) if self.requested_early && self.had_specs => "ShuttingDown".to_owned(),
            (Some(_), Some((Stopped::InTime, _))) => "Ok".to_owned(),
            (Some(_), Some((Stopped::Forced, _))) => {
                let names: Vec<_> = self.forced.iter().map(|name| texts.get(*name)).collect();
                format!("GraceExceeded with [{}]", names.join(", "))
            }
        }
    }

    /// All instants before `end_ns` are over.
    #[inline]
    pub(super) fn settle(&mut self, end_ns: u64, beside: Beside) -> Fits {
        // As a rule it is up and has tasks.
        let at_work = self.requested_ns.is_none() && self.idle_ns.is_none() && beside.registered > 0;
        if self.phase != Phase::Up || at_work { Ok(()) } else { self.settle_end(end_ns, beside) }
    }

    #[inline(never)]
    fn settle_end(&mut self, end_ns: u64, beside: Beside) -> Fits {
        let (grace_ns, late_ns) = (self.grace_ns, self.late_ns);
        let Some(deadline_ns) = self.deadline_ns() else {
            self.look_for_idleness(beside);
            let returned_ns =
                self.idle_ns.map_or(u64::MAX, |ns| ns.saturating_add(grace_ns).saturating_add(late_ns));
            if end_ns > returned_ns {
                let what = "nothing was left to do, and the run did not return".to_owned();
                return overdue(&["D1"], what, returned_ns);
            }
            return Ok(());
        };
        let what = match self.stopped.map(|(how, _)| how) {
            None if beside.registered == 0 && self.requested_ns.is_none() => return Ok(()),
            None if beside.registered == 0 => {
                "every task was removed, and AllStoppedWithinGrace did not come at once"
            }
            None if end_ns > deadline_ns.saturating_add(late_ns) => {
                let what = "grace was over, and GraceExceeded did not come".to_owned();
                return overdue(&["D3", "D4"], what, deadline_ns.saturating_add(late_ns));
            }
            Some(Stopped::Forced) if beside.registered > 0 => {
                "grace was exceeded, and what was left was not removed at once"
            }
            _ => {
                let last_ns = deadline_ns.saturating_add(grace_ns).saturating_add(late_ns.saturating_mul(2));
                if end_ns <= last_ns {
                    return Ok(());
                }
                let what = "twice the grace was over, and the run had not returned".to_owned();
                return overdue(&["D4"], what, last_ns);
            }
        };
        unexplained(&["D3", "D4"], what.to_owned())
    }

    /// Nothing more comes. `excused`: it waits for a body that may never end.
    pub(super) fn end(&self, excused: bool) -> Fits {
        if self.phase != Phase::Up {
            return Ok(());
        }
        if self.requested_ns.is_some() {
            return unexplained(&["D4"], "the run never returned after a shutdown request".to_owned());
        }
        if self.serve || excused {
            return Ok(());
        }
        unexplained(&["D1"], "the run never returned".to_owned())
    }

    /// How often each of [`Run::NAMES`] was entered in this trace.
    pub(super) fn visits(&self) -> [u64; 5] {
        let stopped = self.stopped.map(|(how, _)| how);
        [
            u64::from(self.was_up()),
            u64::from(self.requested_ns.is_some()),
            u64::from(stopped == Some(Stopped::InTime)),
            u64::from(stopped == Some(Stopped::Forced)),
            u64::from(self.phase == Phase::Over),
        ]
    }
}

/// An answer, for people.
pub(super) fn describe(answer: &Answer, texts: &Texts) -> String {
    let all = |names: &[Text]| names.iter().map(|name| texts.get(*name)).collect::<Vec<_>>().join(", ");
    match answer {
        Answer::Done => "Ok".to_owned(),
        Answer::Bool(value) => value.to_string(),
        Answer::Names(names) => format!("[{}]", all(names)),
        Answer::GraceExceeded(names) => format!("GraceExceeded with [{}]", all(names)),
        Answer::Error(text) => format!("the error `{}`", texts.get(*text)),
        Answer::AlreadyExists => "TaskAlreadyExists".to_owned(),
        Answer::NotFound => "TaskNotFound".to_owned(),
        Answer::RemoveTimeout => "TaskRemoveTimeout".to_owned(),
        Answer::ShuttingDown => "ShuttingDown".to_owned(),
        Answer::Full => "Full".to_owned(),
        Answer::NotConfigured => "NotConfigured".to_owned(),
        Answer::Closed => "Closed".to_owned(),
    }
}
