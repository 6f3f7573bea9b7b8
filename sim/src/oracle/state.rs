//! What the rules know of every task: one table, kept up to date record by record.
//!
//! The rules of one task's life are in `attempts`, `restarts` and `registry`, as functions over this table. What is
//! owed *at once* is kept as a debt and looked at when the instant is over, so that a rule never asks for an order
//! that the contract does not promise.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use simvisor::{BackoffSource, EventKind};

use super::controller::Controller;
use super::registry::Op;
use super::run::Run;
use super::{Liberty, Report, Rule, attempts, registry, restarts};
use crate::trace::{Answer, BodyEnd, Call, EventNote, Header, Held, SpecNote, Text, Texts};

/// The record that is being looked at.
pub(super) struct Now<'a> {
    pub(super) at_ns: u64,
    pub(super) turn: Option<u64>,
    pub(super) texts: &'a Texts,
}

/// What the trace showed of an attempt's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    Unseen,
    Running,
    Left(BodyEnd),
}

/// What must follow an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    Exhausted,
    Backoff(BackoffSource),
    Dead,
}

/// Where an incarnation stands between its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// No attempt yet.
    Fresh,
    /// An attempt is open.
    Open,
    /// An attempt has ended and this event comes next.
    Owed(Owed),
    /// The next attempt comes when it is due.
    Wait,
    /// Nothing comes any more but TaskRemoved.
    Last,
    /// The trace does not tell.
    Unknown,
}

/// One name, and its latest incarnation.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) name: Text,
    /// Counts from 1; 0 before the first.
    pub(super) incarnation: u32,
    pub(super) registered: bool,
    pub(super) added: bool,
    pub(super) removal_requested: bool,
    /// By a removal or a shutdown.
    pub(super) cancelled: bool,
    pub(super) cancelled_ns: u64,
    pub(super) spec: Option<SpecNote>,
    /// The operation that brought it, and whether that was a submission.
    pub(super) origin: Option<(u32, bool)>,
    /// The latest attempt, 0 before the first.
    pub(super) attempt: u32,
    pub(super) open: bool,
    pub(super) started_ns: u64,
    /// The turn in which the latest attempt ended.
    pub(super) ended_turn: Option<u64>,
    pub(super) body: Body,
    /// The body saw that its context is cancelled.
    pub(super) told: bool,
    /// … and nobody had asked for that.
    pub(super) unexplained_cancel: bool,
    pub(super) timed_out: bool,
    /// TimeoutHit was the task's latest event.
    pub(super) owes_timeout_failure: bool,
    pub(super) follow: Follow,
    /// The latest attempt ended after the actor was cancelled (\[R7\]).
    pub(super) muted: bool,
    /// The latest attempt ended well.
    pub(super) success: bool,
    /// Reason of the latest TaskFailed.
    pub(super) reason: Option<Text>,
    /// Failures in a row, the latest included, and whether a success came before them.
    pub(super) failures: u32,
    pub(super) was_reset: bool,
    /// Between which instants the next attempt is due.
    pub(super) due_ns: (u64, u64),
    /// It was in a backoff or interval before it became due.
    pub(super) slept: bool,
    /// The latest start or end was a start.
    pub(super) alive: bool,
    /// The latest attempt started after the actor was cancelled ([`Liberty::LateStarts`]).
    pub(super) started_late: bool,
}

impl Task {
    fn new(name: Text) -> Self {
        Self {
            name,
            incarnation: 0,
            registered: false,
            added: false,
            removal_requested: false,
            cancelled: false,
            cancelled_ns: 0,
            spec: None,
            origin: None,
            attempt: 0,
            open: false,
            started_ns: 0,
            ended_turn: None,
            body: Body::Unseen,
            told: false,
            unexplained_cancel: false,
            timed_out: false,
            owes_timeout_failure: false,
            follow: Follow::Fresh,
            muted: false,
            success: false,
            reason: None,
            failures: 0,
            was_reset: false,
            due_ns: (0, 0),
            slept: false,
            alive: false,
            started_late: false,
        }
    }

    /// The next incarnation begins.
    pub(super) fn begin(&mut self, spec: Option<SpecNote>) {
        let (incarnation, alive) = (self.incarnation + 1, self.alive);
        *self = Self { incarnation, alive, registered: true, spec, ..Self::new(self.name) };
    }

    /// When the open attempt must have ended, if it has a limit.
    pub(super) fn deadline_ns(&self) -> Option<u64> {
        let timeout_ns = self.spec?.timeout_ns;
        (timeout_ns > 0).then(|| self.started_ns.saturating_add(timeout_ns))
    }

    /// Whether it is a matter of time and permits alone until the next attempt.
    fn is_waiting(&self) -> bool {
        self.registered
            && self.added
            && !self.cancelled
            && matches!(self.follow, Follow::Fresh | Follow::Wait)
    }
}

/// Something that must have come when the instant is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Debt {
    pub(super) task: u32,
    pub(super) incarnation: u32,
    pub(super) attempt: u32,
    pub(super) what: DebtKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DebtKind {
    /// TaskAdded.
    Added,
    /// TaskRemoved.
    Removed,
    /// TaskRemoved, because a wait was cut short (\[R5\]).
    Cut,
    /// The body sees its cancellation (\[A4\]).
    Told,
    /// What follows an attempt (\[R1\]).
    Followed,
}

/// An attempt that is due at an instant, or within a span that ends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_ns: u64,
    task: u32,
    incarnation: u32,
    attempt: u32,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The instant that is being looked at.
    pub(super) at_ns: u64,
    pub(super) tasks: Vec<Task>,
    /// Entries of tasks that were forgotten, to be used again.
    free: Vec<u32>,
    /// Index of a task by its name's number, plus 1.
    index: Vec<u32>,
    pub(super) max_concurrent: u64,
    pub(super) late_ns: u64,
    pub(super) registered: u64,
    /// Those of them whose TaskAdded has come.
    pub(super) added: u64,
    /// Open attempts.
    pub(super) open: u64,
    /// Changes of who is registered, and of who is alive.
    pub(super) version: u64,
    pub(super) alive_version: u64,
    /// Tasks under removal, and those of them that were so when the instant began.
    pub(super) removing: u64,
    pub(super) removing_slowly: u64,
    debts: Vec<Debt>,
    dues: BinaryHeap<Reverse<Due>>,
    /// Attempts that are due and have no permit, the longest waiting first.
    waiters: VecDeque<Due>,
    /// Of the attempts that began in this instant under a limit, the one that had been due for the shortest time.
    pub(super) latest_due: Option<(u64, usize)>,
    pub(super) ops: Vec<Op>,
    pub(super) controller: Controller,
    pub(super) calls_seen: bool,
}

impl State {
    pub(super) fn reset(&mut self, header: &Header) {
        self.at_ns = 0;
        self.tasks.clear();
        self.free.clear();
        self.index.clear();
        self.max_concurrent = header.config.max_concurrent;
        self.late_ns = header.config.timer_late_ns;
        self.registered = 0;
        self.added = 0;
        self.open = 0;
        self.version = 0;
        self.alive_version = 0;
        self.removing = 0;
        self.removing_slowly = 0;
        self.debts.clear();
        self.dues.clear();
        self.waiters.clear();
        self.latest_due = None;
        self.ops.clear();
        self.controller.reset(header);
        self.calls_seen = false;
    }

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
                self.tasks[index as usize] = Task::new(name);
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

    pub(super) fn remembers(&self) -> usize {
        self.tasks.len() - self.free.len()
    }

    /// Forgets tasks that are gone and that nothing refers to. `stuck`: tasks that the run refers to.
    pub(super) fn forget_gone(&mut self, stuck: &[usize]) {
        let mut stays: Vec<_> = self.tasks.iter().map(|task| task.registered).collect();
        self.free.iter().for_each(|&free| stays[free as usize] = true);
        let debts = self.debts.iter().map(|debt| debt.task as usize);
        let others = stuck.iter().copied().chain(self.latest_due.map(|(_, task)| task)).chain(debts);
        others.chain(self.ops.iter().filter_map(Op::task)).for_each(|task| stays[task] = true);
        self.controller.refers_to(|task| stays[task] = true);
        self.dues.retain(|Reverse(due)| stays[due.task as usize]);
        self.waiters.retain(|due| stays[due.task as usize]);
        for (place, _) in stays.iter().enumerate().filter(|(_, stays)| !**stays) {
            self.index[self.tasks[place].name.index()] = 0;
            self.controller.forget(place);
            self.tasks[place] = Task::new(self.tasks[place].name);
            self.free.push(place as u32);
        }
    }

    pub(super) fn hold(&self, held: &mut Held) {
        for task in self.index.iter().filter_map(|number| number.checked_sub(1)) {
            let task = &self.tasks[task as usize];
            held.hold(task.name);
            held.hold_all(task.reason);
            if let Body::Left(how) = task.body {
                held.hold_all(how.text());
            }
        }
    }

    pub(super) fn owe(&mut self, task: usize, what: DebtKind) {
        let Task { incarnation, attempt, .. } = self.tasks[task];
        self.debts.push(Debt { task: task as u32, incarnation, attempt, what });
    }

    /// The next attempt of a task is due between two instants.
    pub(super) fn due(&mut self, task: usize, from_ns: u64, until_ns: u64) {
        let entry = &mut self.tasks[task];
        entry.due_ns = (from_ns, until_ns);
        let due = Due {
            at_ns: until_ns.saturating_add(self.late_ns),
            task: task as u32,
            incarnation: entry.incarnation,
            attempt: entry.attempt,
        };
        self.dues.push(Reverse(due));
    }

    fn still_waits(&self, due: &Due) -> bool {
        let task = &self.tasks[due.task as usize];
        (task.incarnation, task.attempt) == (due.incarnation, due.attempt) && task.is_waiting()
    }

    /// The longest waiting attempt that is due and has not begun, with the end of the span in which it became due.
    fn first_waiter(&mut self) -> Option<(usize, u64)> {
        while let Some(due) = self.waiters.front() {
            if self.still_waits(due) {
                return Some((due.task as usize, due.at_ns));
            }
            self.waiters.pop_front();
        }
        None
    }

    /// Tasks other than this one that were under removal before this instant.
    pub(super) fn slow_removals_beside(&self, task: usize) -> u64 {
        let task = &self.tasks[task];
        let own = task.registered && task.cancelled && task.cancelled_ns < self.at_ns;
        self.removing_slowly - u64::from(own)
    }

    pub(super) fn event(&mut self, event: &EventNote, now: &Now<'_>, run: &mut Run, report: &mut Report) {
        if event.kind == EventKind::ShutdownRequested {
            for task in 0..self.tasks.len() {
                if self.tasks[task].registered {
                    self.cancel(task, now, run, report);
                }
            }
            return;
        }
        if is_of_controller(event.kind) {
            let Some(name) = event.task else { return };
            let slot = self.find(name);
            let told = event.reason.map_or("", |reason| now.texts.get(reason));
            let closed =
                run.requested_ns().is_some() || told == "shutting_down" && self.run_ends(run, now, report);
            let Self { controller, tasks, .. } = self;
            match event.kind {
                EventKind::ControllerSubmitted => controller.submitted(slot, event, now, report),
                EventKind::ControllerRejected => controller.rejected(slot, tasks, closed, event, now, report),
                _ => controller.transition(slot, tasks, event, now, report),
            }
            return;
        }
        if !is_of_task(event.kind) {
            return;
        }
        let Some(name) = event.task else { return }; // E2 has said so
        let task = self.find(name);
        if self.tasks[task].owes_timeout_failure {
            self.tasks[task].owes_timeout_failure = false;
            if event.kind != EventKind::TaskFailed {
                let (name, kind) = (now.texts.get(name), crate::trace::kind_name(event.kind));
                report.breaks(Rule::A3, || {
                    format!("TimeoutHit of `{name}` was followed by {kind}, not by TaskFailed")
                });
            }
        }
        match event.kind {
            EventKind::TaskAddRequested => registry::add_requested(self, task, now, run, report),
            EventKind::TaskAdded => registry::added(self, task, now, run, report),
            EventKind::TaskRemoveRequested => registry::remove_requested(self, task, event, now, run, report),
            EventKind::TaskRemoved => registry::removed(self, task, now, run, report),
            kind => {
                if !self.tasks[task].registered {
                    let (name, kind) = (now.texts.get(name), crate::trace::kind_name(kind));
                    report.breaks(Rule::G4, || {
                        format!("{kind} of `{name}`, which is not registered or was removed already")
                    });
                    return;
                }
                match kind {
                    EventKind::TaskStarting => attempts::starting(self, task, event, now, report),
                    EventKind::TaskStopped | EventKind::TaskFailed => {
                        attempts::ended(self, task, event, now, run, report);
                    }
                    EventKind::TimeoutHit => attempts::timeout_hit(self, task, event, now, report),
                    EventKind::BackoffScheduled => restarts::backoff(self, task, event, now, report),
                    EventKind::ActorExhausted => restarts::exhausted(self, task, event, now, report),
                    EventKind::ActorDead => restarts::dead(self, task, event, now, report),
                    _ => unreachable!("the others are no events of a task"),
                }
            }
        }
        let alive = match event.kind {
            EventKind::TaskStarting => true,
            EventKind::TaskStopped
            | EventKind::TaskFailed
            | EventKind::ActorExhausted
            | EventKind::ActorDead
            | EventKind::TaskRemoved => false,
            _ => return,
        };
        if std::mem::replace(&mut self.tasks[task].alive, alive) != alive {
            self.alive_version += 1;
        }
    }

    /// Whether the run is ending by itself: it may be found out to do so, and has then cancelled every task
    /// ([`Liberty::EmptyRunsEnd`]).
    pub(super) fn run_ends(&mut self, run: &mut Run, now: &Now<'_>, report: &mut Report) -> bool {
        if !run.ends() && run.may_end(now) && report.allows(Liberty::EmptyRunsEnd) {
            run.ends_now(now);
            for task in 0..self.tasks.len() {
                if self.tasks[task].registered {
                    self.cancel(task, now, run, report);
                }
            }
        }
        run.ends()
    }

    /// The task's actor is cancelled.
    pub(super) fn cancel(&mut self, task: usize, now: &Now<'_>, run: &Run, report: &mut Report) {
        let entry = &mut self.tasks[task];
        if entry.cancelled {
            return;
        }
        entry.cancelled = true;
        entry.cancelled_ns = now.at_ns;
        self.removing += 1;
        if entry.open {
            if entry.body == Body::Running && !entry.told {
                self.owe(task, DebtKind::Told);
            }
        } else if run.is_up() {
            let waits = self.tasks[task].is_added_and_waits();
            if waits {
                report.witness(Rule::R5);
            }
            self.owe(task, if waits { DebtKind::Cut } else { DebtKind::Removed });
        }
    }

    /// The run is up: what was asked for before is owed now.
    pub(super) fn run_is_up(&mut self) {
        for task in 0..self.tasks.len() {
            let Task { registered, added, cancelled, .. } = self.tasks[task];
            if registered && !added {
                self.owe(task, DebtKind::Added);
                if cancelled {
                    self.owe(task, DebtKind::Removed);
                }
            }
        }
    }

    pub(super) fn call(&mut self, op: u32, call: &Call, now: &Now<'_>, run: &Run, report: &mut Report) {
        self.calls_seen = true;
        registry::call(self, op, call, now, run, report);
    }

    pub(super) fn answer(
        &mut self,
        op: u32,
        answer: &Answer,
        now: &Now<'_>,
        run: &mut Run,
        report: &mut Report,
    ) {
        registry::answer(self, op, answer, now, run, report);
    }

    pub(super) fn body_entered(
        &mut self,
        name: Text,
        attempt: u32,
        op: Option<u32>,
        now: &Now<'_>,
        report: &mut Report,
    ) {
        let task = self.find(name);
        if let (Some(op), Some((expected, submitted))) = (op, self.tasks[task].origin)
            && op != expected
        {
            let name = now.texts.get(name);
            let rule = if submitted { Rule::C5 } else { Rule::G5 };
            report.breaks(rule, || {
                format!("a body of `{name}` came from operation {op}, but it was the turn of {expected}")
            });
        }
        attempts::body_entered(self, task, attempt, now, report);
    }

    pub(super) fn body_left(&mut self, name: Text, attempt: u32, how: BodyEnd) {
        let task = self.find(name);
        let entry = &mut self.tasks[task];
        if entry.attempt == attempt && entry.body == Body::Running {
            entry.body = Body::Left(how);
        }
    }

    pub(super) fn body_cancelled(
        &mut self,
        name: Text,
        attempt: u32,
        now: &Now<'_>,
        run: &mut Run,
        report: &mut Report,
    ) {
        let task = self.find(name);
        attempts::body_cancelled(self, task, attempt, now, run, report);
    }

    /// All instants before `until_ns` are over.
    pub(super) fn settle(&mut self, until_ns: u64, run: &Run, report: &mut Report, texts: &Texts) {
        if !self.debts.is_empty() {
            let mut debts = std::mem::take(&mut self.debts);
            for debt in debts.drain(..) {
                self.collect(&debt, report, texts);
            }
            self.debts = debts;
        }
        self.settle_dues(until_ns, report, texts);
        registry::settle(self, until_ns, run, report, texts);
        let closed = run.requested_ns().is_some() || run.ends();
        self.controller.settle(&self.tasks, run.is_up(), closed, report, texts);
        self.removing_slowly = self.removing;
    }

    fn collect(&self, debt: &Debt, report: &mut Report, texts: &Texts) {
        let task = &self.tasks[debt.task as usize];
        if task.incarnation != debt.incarnation || !task.registered {
            return;
        }
        let name = texts.get(task.name);
        let slow = self.slow_removals_beside(debt.task as usize) > 0;
        match debt.what {
            DebtKind::Added if !task.added => {
                let rule = if slow { Rule::G6 } else { Rule::G2 };
                report.breaks(rule, || {
                    format!("the accepted add of `{name}` was not followed by TaskAdded at once")
                });
            }
            DebtKind::Removed => {
                let rule = if slow { Rule::G6 } else { Rule::G4 };
                report.breaks(rule, || format!("`{name}` has come to its end and was not removed at once"));
            }
            DebtKind::Cut if !task.started_late => {
                report.breaks(Rule::R5, || {
                    format!("`{name}` was cancelled while it waited and did not end at once")
                });
            }
            DebtKind::Told
                if task.open && task.attempt == debt.attempt && task.body == Body::Running && !task.told =>
            {
                report.breaks(Rule::A4, || {
                    format!("`{name}` was cancelled, but the context of its attempt {} was not", task.attempt)
                });
            }
            DebtKind::Followed if task.attempt == debt.attempt => {
                if let Follow::Owed(owed) = task.follow {
                    let what = owed.name();
                    report.breaks(Rule::R1, || {
                        format!("attempt {} of `{name}` was not followed by {what} at once", task.attempt)
                    });
                }
            }
            DebtKind::Added | DebtKind::Cut | DebtKind::Told | DebtKind::Followed => {}
        }
    }

    fn settle_dues(&mut self, until_ns: u64, report: &mut Report, texts: &Texts) {
        while let Some(&Reverse(due)) = self.dues.peek() {
            if due.at_ns >= until_ns {
                break;
            }
            self.dues.pop();
            if !self.still_waits(&due) {
                continue;
            }
            if self.max_concurrent > 0 {
                self.waiters.push_back(due);
                continue;
            }
            let index = due.task as usize;
            let slow = self.slow_removals_beside(index) > 0;
            let task = &mut self.tasks[index];
            task.follow = Follow::Unknown; // one report is enough
            let (name, next) = (texts.get(task.name), task.attempt.saturating_add(1));
            let rule = match (slow, task.attempt) {
                (true, 0) => Rule::G6,
                (false, 0) => Rule::G2,
                _ => Rule::R2,
            };
            report.breaks(rule, || {
                format!("attempt {next} of `{name}` was due at {} ns and did not start", due.at_ns)
            });
        }
        let latest = self.latest_due.take();
        if self.max_concurrent == 0 {
            return;
        }
        let Some((waiter, waits_since_ns)) = self.first_waiter() else { return };
        let (open, limit) = (self.open, self.max_concurrent);
        let name = texts.get(self.tasks[waiter].name);
        if let Some((due_ns, task)) = latest
            && waits_since_ns < due_ns
        {
            let other = texts.get(self.tasks[task].name);
            report.breaks(Rule::A6, || {
                format!("`{other}` got a permit before `{name}`, which had waited longer")
            });
        }
        if open < limit {
            let task = &mut self.tasks[waiter];
            task.follow = Follow::Unknown; // one report is enough
            let next = task.attempt.saturating_add(1);
            report.breaks(
                Rule::A6,
                || format!("attempt {next} of `{name}` was due and did not start, though only {open} of {limit} attempts were open"),
            );
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, run: &Run, now: &Now<'_>, report: &mut Report) {
        registry::end(self, run, now, report);
    }
}

impl Task {
    fn is_added_and_waits(&self) -> bool {
        self.added && matches!(self.follow, Follow::Fresh | Follow::Wait)
    }
}

impl Owed {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exhausted => "ActorExhausted",
            Self::Backoff(BackoffSource::Success) => "BackoffScheduled after a success",
            Self::Backoff(BackoffSource::Failure) => "BackoffScheduled after a failure",
            Self::Dead => "ActorDead",
        }
    }
}

fn is_of_controller(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::ControllerSubmitted | EventKind::ControllerRejected | EventKind::ControllerSlotTransition
    )
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
