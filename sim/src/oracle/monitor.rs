//! The reference monitor: a nondeterministic state machine, written from the contract, that follows a trace and keeps
//! the set of states in which the runtime may be.
//!
//! The state is a product and is kept factored: a small set of places for each task, and one place for the run. An
//! event is *explained* if some place has a step for it; the places that have none are dropped. When none is left, the
//! event is the first that the contract does not explain, and the monitor says what was possible instead. A place also
//! knows until when it may be left: when the clock has passed the last such instant of every place of a task, what was
//! owed there has not come.
//!
//! It shares nothing with the logic but event kinds. The idea is that of checking traces against a specification
//! (Cirstea, Kuppe, Loillier, Merz: "Validating Traces of Distributed Programs Against TLA+ Specifications", 2024).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use simvisor::{BackoffSource, EventKind};

use super::excuse::{Excuse, Excuses};
use super::restarts::delay_bounds;
use crate::trace::{
    Answer, BodyEnd, Call, EndNote, EventNote, Header, Record, Restart, Sink, SpecNote, Text, Texts, What,
    kind_name,
};

/// Most places that one task may be in at once. Reaching it is a failure and not silence.
const PLACES_MAX: usize = 8;

/// The first event that the contract does not explain, or what was owed and never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// Number of the record, from 0.
    pub record: u64,
    /// Number of the event, if it was one.
    pub seq: Option<u64>,
    /// When, in nanoseconds.
    pub at_ns: u64,
    /// The task that it is about, if any.
    pub task: Option<String>,
    /// What came, or did not come.
    pub what: String,
    /// What the runtime may have been doing just before.
    pub before: Vec<String>,
    /// What could have come instead, and when.
    pub instead: Vec<String>,
    /// The rules involved.
    pub rules: Vec<&'static str>,
}

impl std::fmt::Display for Unexplained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.what)?;
        if !self.before.is_empty() {
            write!(f, "; before it, {}", self.before.join(", or "))?;
        }
        if !self.instead.is_empty() {
            write!(f, "; what could have come: {}", self.instead.join(", or "))?;
        }
        if !self.rules.is_empty() {
            write!(f, " [{}]", self.rules.join(", "))?;
        }
        Ok(())
    }
}

/// What an attempt's body is known to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Unseen,
    Running,
    Left(BodyEnd),
}

/// What follows the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Exhausted,
    Backoff(BackoffSource),
    Dead,
}

/// Where an incarnation may stand.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Absent,
    /// Its add was accepted.
    Requested,
    /// The next attempt is due between two instants.
    Waiting {
        from_ns: u64,
        until_ns: u64,
    },
    Open {
        since_ns: u64,
        body: Body,
    },
    /// TimeoutHit has come.
    TimedOut,
    Ended(Next),
    /// Nothing but TaskRemoved.
    Leaving,
}

/// One of the states that a task may be in.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    stage: Stage,
    /// Until when it may stay there.
    until_ns: u64,
    attempt: u32,
    /// Failures in a row.
    failures: u32,
    reason: Option<Text>,
    success: bool,
    removal: bool,
    cancelled: bool,
}

const ABSENT: Place = Place {
    stage: Stage::Absent,
    until_ns: u64::MAX,
    attempt: 0,
    failures: 0,
    reason: None,
    success: false,
    removal: false,
    cancelled: false,
};

#[derive(Debug)]
struct Task {
    name: Text,
    places: Vec<Place>,
    spec: Option<SpecNote>,
    /// Changes of the places, to tell stale deadlines.
    version: u32,
}

/// What happens to a task.
#[derive(Debug, Clone, Copy)]
enum Action<'a> {
    Event(&'a EventNote),
    BodyEntered(u32),
    BodyLeft(u32, BodyEnd),
    /// Shutdown was requested.
    Shutdown,
    /// The run is up.
    Up,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Before,
    Up,
    Over,
}

/// Everything about the run that steps of tasks depend on.
#[derive(Debug, Clone, Copy, Default)]
struct World {
    now_ns: u64,
    phase: Phase,
    requested_ns: Option<u64>,
    /// 0 none, 1 in time, 2 grace exceeded.
    stopped: u8,
    started_ns: u64,
    grace_ns: u64,
    limit: u64,
    open: u64,
    late_ns: u64,
}

/// Follows one trace after the other.
#[derive(Debug, Default)]
pub struct Monitor {
    world: World,
    tasks: Vec<Task>,
    index: Vec<u32>,
    registered: u64,
    run_op: Option<u32>,
    specs: Vec<SpecNote>,
    /// Adds and submissions that may still become tasks.
    asked: Vec<(u32, SpecNote)>,
    has_controller: bool,
    calls_seen: bool,
    deadlines: BinaryHeap<Reverse<(u64, u32, u32)>>,
    next_seq: u64,
    record: u64,
    events: u64,
    most_places: usize,
    found: Option<Unexplained>,
    excuses: Excuses,
    /// Something was let pass, after which it cannot tell what is possible.
    lost: bool,
    over: bool,
    scratch: Vec<Place>,
}

const FAR: u64 = u64::MAX;

impl Place {
    fn is_registered(&self) -> bool {
        self.stage != Stage::Absent
    }

    fn at(self, stage: Stage, until_ns: u64) -> Self {
        Self { stage, until_ns, ..self }
    }

    /// The steps of this place on an action.
    fn step(
        self,
        action: Action<'_>,
        spec: Option<&SpecNote>,
        world: &World,
        texts: &Texts,
        out: &mut Vec<Self>,
    ) {
        let now = world.now_ns;
        match action {
            Action::Shutdown => {
                if self.is_registered() {
                    out.push(self.cancel(world));
                } else {
                    out.push(self);
                }
            }
            Action::Up => out.push(match self.stage {
                Stage::Requested => Self { until_ns: now, ..self },
                _ => self,
            }),
            Action::BodyEntered(attempt) => match self.stage {
                Stage::Open { since_ns, body: Body::Unseen } if attempt == self.attempt => {
                    out.push(Self { stage: Stage::Open { since_ns, body: Body::Running }, ..self });
                }
                _ => {}
            },
            Action::BodyLeft(attempt, how) => match self.stage {
                Stage::Open { since_ns, body: Body::Running } if attempt == self.attempt => {
                    out.push(self.at(Stage::Open { since_ns, body: Body::Left(how) }, now));
                }
                // A timeout or a forced end may drop the body late.
                Stage::TimedOut | Stage::Leaving if how == BodyEnd::Dropped => out.push(self),
                _ => {}
            },
            Action::Event(event) => self.on_event(event, spec, world, texts, out),
        }
    }

    fn cancel(self, world: &World) -> Self {
        let until_ns = match self.stage {
            Stage::Waiting { .. } | Stage::Requested if world.phase == Phase::Up => world.now_ns,
            _ => self.until_ns,
        };
        Self { cancelled: true, until_ns, ..self }
    }

    fn on_event(
        self,
        event: &EventNote,
        spec: Option<&SpecNote>,
        world: &World,
        texts: &Texts,
        out: &mut Vec<Self>,
    ) {
        let now = world.now_ns;
        let forced = world.stopped == 2;
        let of_attempt = event.attempt.is_none_or(|attempt| attempt == self.attempt);
        let reason = event.reason.map_or("", |reason| texts.get(reason));
        match (event.kind, self.stage) {
            (EventKind::TaskAddRequested, Stage::Absent) => {
                let until_ns = if world.phase == Phase::Up { now } else { FAR };
                out.push(Self { stage: Stage::Requested, until_ns, ..ABSENT });
            }
            (EventKind::TaskRemoveRequested, stage) if stage != Stage::Absent && !self.removal => {
                out.push(Self { removal: true, ..self.cancel(world) });
            }
            (EventKind::TaskAdded, Stage::Requested) => {
                let next = Self { stage: Stage::Waiting { from_ns: now, until_ns: now }, ..self };
                let until_ns = if self.cancelled || world.limit == 0 { now } else { FAR };
                out.push(Self { until_ns, ..next });
            }
            (EventKind::TaskStarting, Stage::Waiting { from_ns, .. })
                if now >= from_ns
                    && !self.cancelled
                    && event.attempt == Some(self.attempt + 1)
                    && (world.limit == 0 || world.open < world.limit) =>
            {
                let limit_ns = spec.map_or(0, |spec| spec.timeout_ns);
                let until_ns = if limit_ns == 0 {
                    FAR
                } else {
                    now.saturating_add(limit_ns).saturating_add(world.late_ns)
                };
                let attempt = self.attempt + 1;
                out.push(Self {
                    attempt,
                    ..self.at(Stage::Open { since_ns: now, body: Body::Unseen }, until_ns)
                });
            }
            (EventKind::TimeoutHit, Stage::Open { since_ns, body }) if of_attempt => {
                let ready = matches!(body, Body::Left(how) if how != BodyEnd::Dropped);
                let fits = spec.is_none_or(|spec| {
                    spec.timeout_ns > 0
                        && now >= since_ns.saturating_add(spec.timeout_ns)
                        && event.timeout_ms
                            == Some(u32::try_from(spec.timeout_ns / 1_000_000).unwrap_or(u32::MAX))
                });
                if fits && !ready {
                    out.push(self.at(Stage::TimedOut, now));
                }
            }
            (EventKind::TaskFailed, Stage::TimedOut) if of_attempt => {
                let fits = spec.is_none_or(|spec| {
                    let timeout = std::time::Duration::from_nanos(spec.timeout_ns);
                    reason == format!("timed out after {timeout:?}")
                });
                if fits {
                    self.after(Outcome::Retryable, event.reason, spec, world, out);
                }
            }
            (EventKind::TaskFailed, Stage::Open { .. })
                if forced && of_attempt && reason == "aborted: grace exceeded" =>
            {
                out.push(self.at(Stage::Leaving, now));
            }
            (EventKind::TaskStopped, Stage::Open { body, .. }) if !forced => {
                if matches!(body, Body::Unseen | Body::Left(BodyEnd::Ok)) {
                    self.after(Outcome::Ok, None, spec, world, out);
                }
                if matches!(body, Body::Unseen | Body::Left(BodyEnd::Canceled)) {
                    self.after(Outcome::Canceled, None, spec, world, out);
                }
            }
            (EventKind::TaskFailed, Stage::Open { body, .. }) if of_attempt && !forced => {
                let outcome = match body {
                    Body::Left(BodyEnd::Fail(text)) if event.reason == Some(text) => Outcome::Retryable,
                    Body::Left(BodyEnd::Fatal(text)) if event.reason == Some(text) => Outcome::Fatal,
                    Body::Left(BodyEnd::Panic(text))
                        if reason.strip_prefix("panic: ") == Some(texts.get(text)) =>
                    {
                        Outcome::Retryable
                    }
                    Body::Unseen if reason.starts_with("fatal error (no retry): ") => Outcome::Fatal,
                    Body::Unseen => Outcome::Retryable,
                    _ => return,
                };
                self.after(outcome, event.reason, spec, world, out);
            }
            (EventKind::BackoffScheduled, Stage::Ended(Next::Backoff(source)))
                if of_attempt && event.source == Some(source) =>
            {
                self.backoff(event, spec, world, out);
            }
            (EventKind::ActorExhausted, Stage::Ended(Next::Exhausted)) if of_attempt => {
                let fits = if self.success {
                    reason == "policy_exhausted_success"
                } else {
                    event.reason == self.reason
                };
                if fits {
                    out.push(self.at(Stage::Leaving, now));
                }
            }
            (EventKind::ActorDead, Stage::Ended(Next::Dead)) if of_attempt && event.reason == self.reason => {
                out.push(self.at(Stage::Leaving, now));
            }
            (EventKind::TaskRemoved, Stage::Leaving) => out.push(ABSENT),
            (EventKind::TaskRemoved, Stage::Waiting { .. }) if self.cancelled => out.push(ABSENT),
            // What was owed in the moment of a forced end is not published any more.
            (EventKind::TaskRemoved, Stage::Ended(_)) if forced => out.push(ABSENT),
            _ => {}
        }
    }

    /// An attempt has ended: the table of contract section 5.
    fn after(
        self,
        outcome: Outcome,
        reason: Option<Text>,
        spec: Option<&SpecNote>,
        world: &World,
        out: &mut Vec<Self>,
    ) {
        let now = world.now_ns;
        let failures = match outcome {
            Outcome::Ok => 0,
            Outcome::Retryable => self.failures + 1,
            Outcome::Canceled | Outcome::Fatal => self.failures,
        };
        let place = Self { reason, failures, success: outcome == Outcome::Ok, ..self };
        let restart = spec.map(|spec| spec.restart);
        let ended = |next| place.at(Stage::Ended(next), now);
        match (outcome, restart) {
            (Outcome::Fatal, _) => out.push(ended(Next::Dead)),
            (Outcome::Canceled, _) => out.push(place.at(Stage::Leaving, now)),
            _ if self.cancelled => out.push(place.at(Stage::Leaving, now)),
            (Outcome::Ok, Some(Restart::Never | Restart::OnFailure)) => out.push(ended(Next::Exhausted)),
            (Outcome::Ok, Some(Restart::Always { interval_ns: Some(_) })) => {
                out.push(ended(Next::Backoff(BackoffSource::Success)));
            }
            (Outcome::Ok, Some(Restart::Always { interval_ns: None })) => {
                out.push(place.due(now, now, world));
            }
            (Outcome::Retryable, Some(Restart::Never)) => out.push(ended(Next::Exhausted)),
            (Outcome::Retryable, Some(_)) => out.push(ended(Next::Backoff(BackoffSource::Failure))),
            // Without a spec any policy may be at work.
            (Outcome::Ok, None) => {
                out.push(ended(Next::Exhausted));
                out.push(ended(Next::Backoff(BackoffSource::Success)));
                out.push(place.due(now, now, world));
            }
            (Outcome::Retryable, None) => {
                out.push(ended(Next::Exhausted));
                out.push(ended(Next::Backoff(BackoffSource::Failure)));
            }
        }
    }

    fn due(self, from_ns: u64, until_ns: u64, world: &World) -> Self {
        let stage = Stage::Waiting { from_ns, until_ns };
        let leave_ns = if self.cancelled {
            world.now_ns
        } else if world.limit == 0 {
            until_ns.saturating_add(world.late_ns)
        } else {
            FAR
        };
        self.at(stage, leave_ns)
    }

    fn backoff(self, event: &EventNote, spec: Option<&SpecNote>, world: &World, out: &mut Vec<Self>) {
        let Some(delay_ms) = event.delay_ms else { return };
        let told_ns = u64::from(delay_ms) * 1_000_000;
        let told = (told_ns, if delay_ms == u32::MAX { FAR } else { told_ns + 999_999 });
        let real = match (event.source, spec) {
            (
                Some(BackoffSource::Success),
                Some(SpecNote { restart: Restart::Always { interval_ns: Some(ns) }, .. }),
            ) => (*ns, *ns),
            (Some(BackoffSource::Failure), Some(spec)) => {
                delay_bounds(&spec.backoff, self.failures.saturating_sub(1))
            }
            _ => told,
        };
        if event.source == Some(BackoffSource::Failure) && event.reason != self.reason {
            return;
        }
        let (from_ns, until_ns) = (real.0.max(told.0), real.1.min(told.1));
        if from_ns <= until_ns {
            let now = world.now_ns;
            out.push(self.due(now.saturating_add(from_ns), now.saturating_add(until_ns), world));
        }
    }

    /// In words: what it is doing, what may come, and which rules say so.
    fn words(&self, name: &str, spec: Option<&SpecNote>) -> (String, String, &'static [&'static str]) {
        let next = self.attempt + 1;
        let cancelled = if self.cancelled { ", cancelled" } else { "" };
        match self.stage {
            Stage::Absent => (
                format!("`{name}` was not registered"),
                format!("TaskAddRequested of `{name}` once somebody asks for it"),
                &["G1", "G4"],
            ),
            Stage::Requested => (
                format!("the add of `{name}` was accepted{cancelled}"),
                format!("TaskAdded of `{name}` at once"),
                &["G2"],
            ),
            Stage::Waiting { .. } if self.cancelled => (
                format!("`{name}` waited for attempt {next}, cancelled"),
                format!("TaskRemoved of `{name}` at once"),
                &["R5", "D2"],
            ),
            Stage::Waiting { from_ns, until_ns } if from_ns == until_ns => (
                format!("`{name}` waited for attempt {next}"),
                format!("TaskStarting {next} of `{name}` at {from_ns} ns"),
                &["R2", "A1", "A6"],
            ),
            Stage::Waiting { from_ns, until_ns } => (
                format!("`{name}` waited for attempt {next}"),
                format!("TaskStarting {next} of `{name}` between {from_ns} and {until_ns} ns"),
                &["R2", "A1", "A6"],
            ),
            Stage::Open { since_ns, body } => {
                let attempt = self.attempt;
                let what = match body {
                    Body::Unseen | Body::Running => match spec.map_or(0, |spec| spec.timeout_ns) {
                        0 => format!("the end of attempt {attempt} of `{name}` when its body ends"),
                        timeout_ns => format!(
                            "the end of attempt {attempt} of `{name}`, or TimeoutHit at {} ns",
                            since_ns.saturating_add(timeout_ns)
                        ),
                    },
                    Body::Left(BodyEnd::Ok | BodyEnd::Canceled) => format!("TaskStopped of `{name}` at once"),
                    Body::Left(BodyEnd::Dropped) => format!("TimeoutHit of `{name}`, or a forced end"),
                    Body::Left(_) => {
                        format!("TaskFailed {attempt} of `{name}` with its error's text at once")
                    }
                };
                (
                    format!("attempt {attempt} of `{name}` was open{cancelled}"),
                    what,
                    &["A1", "A2", "A3", "A5"],
                )
            }
            Stage::TimedOut => (
                format!("attempt {} of `{name}` had timed out", self.attempt),
                format!("TaskFailed {} of `{name}` at once", self.attempt),
                &["A3"],
            ),
            Stage::Ended(next) => (
                format!("attempt {} of `{name}` had ended", self.attempt),
                match next {
                    Next::Exhausted => format!("ActorExhausted of `{name}` at once"),
                    Next::Dead => format!("ActorDead of `{name}` at once"),
                    Next::Backoff(BackoffSource::Success) => {
                        format!("BackoffScheduled of `{name}` with its interval at once")
                    }
                    Next::Backoff(BackoffSource::Failure) => {
                        format!(
                            "BackoffScheduled of `{name}` after {} earlier failures at once",
                            self.failures - 1
                        )
                    }
                },
                &["R1", "R3", "R4"],
            ),
            Stage::Leaving => (
                format!("the actor of `{name}` had ended{cancelled}"),
                format!("TaskRemoved of `{name}` at once"),
                &["G4", "R1", "R7"],
            ),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Canceled,
    Retryable,
    Fatal,
}

impl Monitor {
    /// A monitor that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first that the contract does not explain, if there is one.
    #[must_use]
    pub fn unexplained(&self) -> Option<&Unexplained> {
        self.found.as_ref()
    }

    /// Lets these departures pass, in every trace from now on.
    pub fn excuse(&mut self, excuses: Vec<Excuse>) {
        self.excuses.set(excuses);
    }

    /// How often each excuse was made use of in this trace, in the order in which they were given.
    #[must_use]
    pub fn excused(&self) -> &[u64] {
        self.excuses.used()
    }

    /// Each state by its name, with how often it was entered.
    pub fn visits(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        std::iter::empty()
    }

    /// Most places that one task was in at once.
    #[must_use]
    pub fn most_places(&self) -> usize {
        self.most_places
    }

    fn find(&mut self, name: Text) -> usize {
        if self.index.len() <= name.index() {
            self.index.resize(name.index() + 1, 0);
        }
        if let Some(index) = self.index[name.index()].checked_sub(1) {
            return index as usize;
        }
        self.tasks.push(Task { name, places: vec![ABSENT], spec: None, version: 0 });
        self.index[name.index()] = self.tasks.len() as u32;
        self.tasks.len() - 1
    }

    fn is_registered(&self, task: usize) -> bool {
        self.tasks[task].places.iter().any(Place::is_registered)
    }

    fn reject(
        &mut self,
        seq: Option<u64>,
        task: Option<usize>,
        what: String,
        rules: &[&'static str],
        texts: &Texts,
    ) {
        if self.found.is_some() || self.lost {
            return;
        }
        let (mut before, mut instead, mut involved) = (Vec::new(), Vec::new(), rules.to_vec());
        if let Some(task) = task {
            let Task { name, places, spec, .. } = &self.tasks[task];
            for place in places {
                let (state, next, rules) = place.words(texts.get(*name), spec.as_ref());
                before.push(state);
                instead.push(next);
                involved.extend(
                    rules.iter().filter(|rule| !rules_contain(&involved, rule)).copied().collect::<Vec<_>>(),
                );
            }
        }
        if involved.first().is_some_and(|rule| self.excuses.covers(rule, &what)) {
            self.lost = true;
            return;
        }
        let task = task.map(|task| texts.get(self.tasks[task].name).to_owned());
        let (record, at_ns) = (self.record, self.world.now_ns);
        self.found = Some(Unexplained { record, seq, at_ns, task, what, before, instead, rules: involved });
    }

    /// Steps every place of a task; without one left, `what` is unexplained.
    fn step(&mut self, index: usize, action: Action<'_>, what: impl FnOnce() -> String, texts: &Texts) {
        let mut next = std::mem::take(&mut self.scratch);
        next.clear();
        let task = &self.tasks[index];
        for place in task.places.iter().filter(|place| place.until_ns >= self.world.now_ns) {
            place.step(action, task.spec.as_ref(), &self.world, texts, &mut next);
        }
        if next.is_empty() {
            let seq = if let Action::Event(event) = action { Some(event.seq) } else { None };
            self.reject(seq, Some(index), what(), &[], texts);
            self.scratch = next;
            return;
        }
        if next.len() > PLACES_MAX {
            self.reject(
                None,
                Some(index),
                format!("more than {PLACES_MAX} explanations at once: the monitor gives up"),
                &[],
                texts,
            );
            next.truncate(1);
        }
        self.most_places = self.most_places.max(next.len());
        let was = self.is_registered(index);
        let task = &mut self.tasks[index];
        self.scratch = std::mem::replace(&mut task.places, next);
        task.version += 1;
        let until_ns = task.places.iter().map(|place| place.until_ns).max().unwrap_or(FAR);
        if until_ns != FAR {
            self.deadlines.push(Reverse((until_ns, index as u32, task.version)));
        }
        match (was, self.is_registered(index)) {
            (false, true) => self.registered += 1,
            (true, false) => self.registered -= 1,
            _ => {}
        }
    }

    /// All instants before `end_ns` are over.
    fn settle(&mut self, end_ns: u64, texts: &Texts) {
        while let Some(&Reverse((until_ns, task, version))) = self.deadlines.peek() {
            if until_ns >= end_ns {
                break;
            }
            self.deadlines.pop();
            if self.tasks[task as usize].version == version {
                let name = texts.get(self.tasks[task as usize].name);
                let what = format!("the clock moved on, and what was owed to `{name}` had not come");
                self.reject(None, Some(task as usize), what, &[], texts);
            }
        }
        self.settle_permits(end_ns, texts);
        self.settle_run(end_ns, texts);
    }

    /// A free permit is given to an attempt that is due.
    fn settle_permits(&mut self, end_ns: u64, texts: &Texts) {
        let World { limit, open, .. } = self.world;
        if limit == 0 || open >= limit {
            return;
        }
        let due = |place: &Place| match place.stage {
            Stage::Waiting { until_ns, .. } => {
                !place.cancelled && until_ns.saturating_add(self.world.late_ns) < end_ns
            }
            _ => false,
        };
        let waiter =
            self.tasks.iter().position(|task| !task.places.is_empty() && task.places.iter().all(due));
        if let Some(task) = waiter {
            let name = texts.get(self.tasks[task].name);
            let what = format!(
                "an attempt of `{name}` was due and did not start, though only {open} of {limit} were open"
            );
            self.reject(None, Some(task), what, &["A6"], texts);
        }
    }

    fn settle_run(&mut self, end_ns: u64, texts: &Texts) {
        let World { phase, requested_ns, stopped, started_ns, grace_ns, late_ns, .. } = self.world;
        let (Phase::Up, Some(requested_ns)) = (phase, requested_ns) else { return };
        let deadline_ns = requested_ns.saturating_add(grace_ns).max(started_ns);
        let what = if stopped == 0 && self.registered == 0 {
            "every task was removed, and AllStoppedWithinGrace did not come at once"
        } else if stopped == 0 && end_ns > deadline_ns.saturating_add(late_ns) {
            "grace was over, and GraceExceeded did not come"
        } else if stopped == 2 && self.registered > 0 {
            "grace was exceeded, and what was left was not removed at once"
        } else if end_ns > deadline_ns.saturating_add(grace_ns).saturating_add(late_ns.saturating_mul(2)) {
            "twice the grace was over, and the run had not returned"
        } else {
            return;
        };
        self.reject(None, None, what.to_owned(), &["D3", "D4"], texts);
    }

    fn event(&mut self, event: &EventNote, texts: &Texts) {
        self.events += 1;
        let kind = kind_name(event.kind);
        let of = event.task.map_or_else(String::new, |task| format!(" of `{}`", texts.get(task)));
        let at_ns = self.world.now_ns;
        if event.seq != self.next_seq {
            let what = format!("{kind}{of} has number {} where {} comes next", event.seq, self.next_seq);
            self.reject(Some(event.seq), None, what, &["S1"], texts);
        }
        self.next_seq = event.seq.saturating_add(1);
        if self.world.phase == Phase::Over {
            self.reject(
                Some(event.seq),
                None,
                format!("{kind}{of} came after the run had returned"),
                &["D6"],
                texts,
            );
        }
        match event.kind {
            EventKind::ShutdownRequested => {
                if self.world.requested_ns.is_some() {
                    self.reject(Some(event.seq), None, format!("a second {kind}"), &["D2"], texts);
                }
                self.world.requested_ns = Some(at_ns);
                for task in 0..self.tasks.len() {
                    self.step(task, Action::Shutdown, String::new, texts);
                }
            }
            EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => self.stopped(event, texts),
            EventKind::SubscriberPanicked
            | EventKind::SubscriberOverflow
            | EventKind::ControllerRejected
            | EventKind::ControllerSubmitted
            | EventKind::ControllerSlotTransition => {}
            _ => self.task_event(event, texts),
        }
    }

    fn task_event(&mut self, event: &EventNote, texts: &Texts) {
        let kind = kind_name(event.kind);
        let Some(name) = event.task else {
            self.reject(Some(event.seq), None, format!("{kind} names no task"), &["E2"], texts);
            return;
        };
        let task = self.find(name);
        let at_ns = self.world.now_ns;
        let shown = texts.get(name);
        let what = move || match event.attempt {
            Some(attempt) => format!("{kind} {attempt} of `{shown}` came at {at_ns} ns"),
            None => format!("{kind} of `{shown}` came at {at_ns} ns"),
        };
        match event.kind {
            EventKind::TaskAddRequested => {
                let asked = self.asked.iter().position(|(_, spec)| spec.task == name);
                let spec = match (asked, self.specs.iter().position(|spec| spec.task == name)) {
                    (_, Some(place)) => Some(self.specs.swap_remove(place)),
                    (Some(place), None) => Some(self.asked.remove(place).1),
                    (None, None) => None,
                };
                if self.world.requested_ns.is_some()
                    || (spec.is_none() && self.calls_seen && !self.has_controller)
                {
                    self.reject(Some(event.seq), Some(task), what(), &["G2", "D2"], texts);
                    return;
                }
                // With a controller the spec of a start is one of several that wait.
                self.tasks[task].spec = if self.has_controller { None } else { spec };
                self.step(task, Action::Event(event), what, texts);
            }
            EventKind::TaskStarting => {
                self.step(task, Action::Event(event), what, texts);
                self.world.open += 1;
            }
            EventKind::TaskStopped | EventKind::TaskFailed => {
                self.step(task, Action::Event(event), what, texts);
                self.world.open = self.world.open.saturating_sub(1);
            }
            EventKind::TaskRemoved => {
                self.step(task, Action::Event(event), what, texts);
                self.tasks[task].spec = None;
            }
            _ => self.step(task, Action::Event(event), what, texts),
        }
    }

    fn stopped(&mut self, event: &EventNote, texts: &Texts) {
        let World { requested_ns, stopped, grace_ns, started_ns, now_ns, late_ns, phase, .. } = self.world;
        let deadline_ns = requested_ns.map(|at_ns| at_ns.saturating_add(grace_ns).max(started_ns));
        let in_time = event.kind == EventKind::AllStoppedWithinGrace;
        let fits = phase == Phase::Up
            && stopped == 0
            && deadline_ns.is_some_and(|deadline_ns| match in_time {
                true => self.registered == 0 && now_ns <= deadline_ns,
                false => {
                    self.registered > 0
                        && now_ns >= deadline_ns
                        && now_ns <= deadline_ns.saturating_add(late_ns)
                }
            });
        if !fits {
            let (kind, left) = (kind_name(event.kind), self.registered);
            let what = match deadline_ns {
                Some(deadline_ns) => format!(
                    "{kind} at {now_ns} ns, with {left} tasks registered and grace until {deadline_ns} ns"
                ),
                None => format!("{kind}, and no shutdown was requested"),
            };
            self.reject(Some(event.seq), None, what, &["D3", "D5"], texts);
        }
        self.world.stopped = if in_time { 1 } else { 2 };
        if !in_time {
            // From here on everything that is left ends by force.
            for task in 0..self.tasks.len() {
                for place in &mut self.tasks[task].places {
                    if matches!(place.stage, Stage::Waiting { .. } | Stage::Requested) {
                        place.until_ns = now_ns;
                    }
                }
            }
        }
    }

    fn call(&mut self, op: u32, call: &Call, texts: &Texts) {
        self.calls_seen = true;
        match call {
            Call::Run(_) | Call::Serve if self.world.phase == Phase::Before && self.run_op.is_none() => {
                let specs: &[SpecNote] = if let Call::Run(specs) = call { specs } else { &[] };
                self.run_op = Some(op);
                let mut names: Vec<_> = specs.iter().map(|spec| spec.task).collect();
                names.sort_unstable();
                let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
                let taken = names.iter().any(|&name| {
                    let task = self.find(name);
                    self.is_registered(task)
                });
                if twice || taken {
                    return; // it must be refused
                }
                self.specs.extend_from_slice(specs);
                self.world.phase = Phase::Up;
                self.world.started_ns = self.world.now_ns;
                for task in 0..self.tasks.len() {
                    self.step(task, Action::Up, String::new, texts);
                }
            }
            Call::Add(spec) | Call::Submit { spec, .. } => self.asked.push((op, *spec)),
            _ => {}
        }
    }

    fn answer(&mut self, op: u32, answer: &Answer, texts: &Texts) {
        if self.run_op == Some(op) {
            self.run_op = None;
            if self.world.phase != Phase::Up {
                if !matches!(answer, Answer::AlreadyExists | Answer::ShuttingDown) {
                    let what = "a run with a name that comes twice or is taken was not refused".to_owned();
                    self.reject(None, None, what, &["D1"], texts);
                }
                return;
            }
            let World { requested_ns, stopped, .. } = self.world;
            let fits = match answer {
                Answer::Done => match requested_ns {
                    None => self.registered == 0,
                    Some(_) => stopped == 1,
                },
                Answer::GraceExceeded(_) => stopped == 2,
                Answer::ShuttingDown => stopped != 0 && !self.specs.is_empty(),
                _ => false,
            };
            if !fits || self.registered > 0 {
                let what = format!("the run returned with {} tasks registered", self.registered);
                self.reject(None, None, what, &["D1", "D3", "G4"], texts);
            }
            self.world.phase = Phase::Over;
            return;
        }
        // A refused add or submission becomes no task; an accepted add has become one.
        let refused = !matches!(answer, Answer::Done);
        if let Some(place) = self.asked.iter().position(|(asked, _)| *asked == op)
            && refused
        {
            self.asked.remove(place);
        }
    }

    fn end(&mut self, end: &EndNote, texts: &Texts) {
        self.over = true;
        if !matches!(end, EndNote::Done | EndNote::Deadlock(_)) {
            return;
        }
        self.settle(self.world.now_ns.saturating_add(1), texts);
        if self.world.phase == Phase::Up && self.world.requested_ns.is_some() {
            self.reject(
                None,
                None,
                "the run never returned after a shutdown request".to_owned(),
                &["D4"],
                texts,
            );
        }
    }
}

fn rules_contain(rules: &[&'static str], rule: &&'static str) -> bool {
    rules.contains(rule)
}

impl Sink for Monitor {
    fn begin(&mut self, header: &Header, _texts: &Texts) {
        self.world = World {
            grace_ns: header.config.grace_ns,
            limit: header.config.max_concurrent,
            late_ns: header.config.timer_late_ns,
            ..World::default()
        };
        self.has_controller = header.config.controller.is_some();
        self.tasks.clear();
        self.index.clear();
        self.registered = 0;
        self.run_op = None;
        self.specs.clear();
        self.asked.clear();
        self.calls_seen = false;
        self.deadlines.clear();
        self.next_seq = 0;
        self.record = 0;
        self.events = 0;
        self.most_places = 1;
        self.found = None;
        self.excuses.reset();
        self.lost = false;
        self.over = false;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        if self.over || self.lost || self.found.is_some() {
            return;
        }
        if record.at_ns != self.world.now_ns {
            self.settle(record.at_ns, texts);
            self.world.now_ns = record.at_ns;
        }
        match &record.what {
            What::Event(event) => self.event(event, texts),
            What::Call { op, call } => self.call(*op, call, texts),
            What::Answer { op, answer } => self.answer(*op, answer, texts),
            What::BodyEntered { task, attempt, .. } => {
                let index = self.find(*task);
                let (name, at_ns) = (texts.get(*task), self.world.now_ns);
                let what = || format!("body {attempt} of `{name}` was entered at {at_ns} ns");
                self.step(index, Action::BodyEntered(*attempt), what, texts);
            }
            What::BodyLeft { task, attempt, how } => {
                let index = self.find(*task);
                let (name, at_ns) = (texts.get(*task), self.world.now_ns);
                let what = || format!("body {attempt} of `{name}` ended at {at_ns} ns");
                self.step(index, Action::BodyLeft(*attempt, *how), what, texts);
            }
            What::End(end) => self.end(end, texts),
            _ => {}
        }
        self.record += 1;
    }
}
