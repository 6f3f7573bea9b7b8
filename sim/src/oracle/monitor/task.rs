//! One task: the places in which it may stand, and the steps between them.

use simvisor::{BackoffSource, EventKind};

use super::super::restarts::delay_bounds;
use crate::trace::{BodyEnd, EventNote, Held, Restart, SpecNote, Text, Texts};

pub(super) const FAR: u64 = u64::MAX;

/// What an attempt's body is known to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Unseen,
    Running,
    Left(BodyEnd),
}

/// What follows the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Exhausted,
    Backoff(BackoffSource),
    Dead,
}

/// Where an incarnation may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
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
    },
    /// TimeoutHit has come.
    TimedOut,
    Ended(Next),
    /// Nothing but TaskRemoved.
    Leaving,
}

impl Stage {
    /// Names of the stages, as [`Stage::index`] counts them.
    pub(super) const NAMES: [&'static str; 10] = [
        "task absent",
        "task requested",
        "task waiting for an attempt",
        "attempt open",
        "attempt timed out",
        "attempt ended, ActorExhausted to come",
        "attempt ended, BackoffScheduled after a success to come",
        "attempt ended, BackoffScheduled after a failure to come",
        "attempt ended, ActorDead to come",
        "task leaving",
    ];

    /// Some of these numbers.
    pub(super) const ABSENT: usize = 0;
    pub(super) const WAITING: usize = 2;

    #[inline]
    pub(super) fn index(self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Requested => 1,
            Self::Waiting { .. } => 2,
            Self::Open { .. } => 3,
            Self::TimedOut => 4,
            Self::Ended(Next::Exhausted) => 5,
            Self::Ended(Next::Backoff(BackoffSource::Success)) => 6,
            Self::Ended(Next::Backoff(BackoffSource::Failure)) => 7,
            Self::Ended(Next::Dead) => 8,
            Self::Leaving => 9,
        }
    }
}

/// One of the states that a task may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stage: Stage,
    /// Until when it may stay there.
    pub(super) until_ns: u64,
    pub(super) attempt: u32,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Of the latest failure.
    pub(super) reason: Option<Text>,
    pub(super) success: bool,
    /// Its removal was requested.
    pub(super) removal: bool,
    pub(super) cancelled: bool,
    /// What is known of the body of the latest attempt.
    pub(super) body: Body,
    /// The body's context was seen to be cancelled.
    pub(super) told: bool,
    /// The turn in which the latest attempt ended.
    pub(super) turn: Option<u64>,
}

pub(super) const ABSENT: Place = Place {
    stage: Stage::Absent,
    until_ns: FAR,
    attempt: 0,
    failures: 0,
    reason: None,
    success: false,
    removal: false,
    cancelled: false,
    body: Body::Unseen,
    told: false,
    turn: None,
};

/// The places in which a task may stand: at least one, and as a rule no more.
#[derive(Debug)]
pub(super) enum Places {
    One([Place; 1]),
    Some(Vec<Place>),
}

impl Places {
    pub(super) fn absent() -> Self {
        Self::One([ABSENT])
    }

    #[inline]
    pub(super) fn all(&self) -> &[Place] {
        match self {
            Self::One(place) => place,
            Self::Some(places) => places,
        }
    }

    pub(super) fn all_mut(&mut self) -> &mut [Place] {
        match self {
            Self::One(place) => place,
            Self::Some(places) => places,
        }
    }

    #[inline]
    pub(super) fn first(&self) -> &Place {
        match self {
            Self::One([place]) => place,
            Self::Some(places) => &places[0],
        }
    }

    /// Takes the place of what was before. `next` is not empty.
    #[inline]
    pub(super) fn set(&mut self, next: &[Place]) {
        match (&mut *self, next) {
            (Self::One(place), [next]) => *place = [*next],
            (_, [next]) => *self = Self::One([*next]),
            _ => *self = Self::Some(next.to_vec()),
        }
    }

    /// The latest instant by which one of these must be left.
    pub(super) fn until_ns(places: &[Place]) -> u64 {
        places.iter().map(|place| place.until_ns).max().unwrap_or(FAR)
    }

    /// Between which instants the next attempt has come due, if that is what the task waits for in any case.
    pub(super) fn due(&self) -> Option<(u64, u64)> {
        let due = |place: &Place| match place.stage {
            Stage::Waiting { from_ns, until_ns } if !place.cancelled => Some((from_ns, until_ns)),
            _ => None,
        };
        let both = |(from_ns, until_ns): (u64, u64), place: &Place| {
            due(place).map(|other| (from_ns.min(other.0), until_ns.max(other.1)))
        };
        let [first, others @ ..] = self.all() else { return None };
        others.iter().try_fold(due(first)?, both)
    }
}

/// What happens to a task.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action<'a> {
    Event(&'a EventNote),
    BodyEntered(u32),
    BodyLeft(u32, BodyEnd),
    /// Its body's context is seen to be cancelled.
    BodyCancelled(u32),
    /// Shutdown was requested.
    Shutdown,
    /// The run is up.
    Up,
}

/// Everything that steps of tasks depend on beside the task.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct World {
    pub(super) now_ns: u64,
    pub(super) turn: Option<u64>,
    /// The run is up and has not returned.
    pub(super) up: bool,
    /// The run has returned.
    pub(super) over: bool,
    /// Grace was exceeded.
    pub(super) forced: bool,
    /// Attempts that may be open at once, 0 for any number, and those that are.
    pub(super) limit: u64,
    pub(super) open: u64,
    pub(super) late_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Canceled,
    Retryable,
    Fatal,
}

impl Place {
    pub(super) fn is_registered(&self) -> bool {
        self.stage != Stage::Absent
    }

    /// Texts that it speaks of.
    pub(super) fn hold(&self, held: &mut Held) {
        held.hold_all(self.reason);
        if let Body::Left(how) = self.body {
            held.hold_all(how.text());
        }
    }

    #[inline]
    fn at(&self, stage: Stage, until_ns: u64) -> Self {
        Self { stage, until_ns, ..*self }
    }

    /// The steps of this place on an action.
    pub(super) fn step(
        &self,
        action: Action<'_>,
        spec: Option<&SpecNote>,
        world: &World,
        texts: &Texts,
        out: &mut Vec<Self>,
    ) {
        let now = world.now_ns;
        match action {
            Action::Shutdown => out.push(if self.is_registered() { self.cancel(world) } else { *self }),
            Action::Up => out.push(match self.stage {
                Stage::Requested => Self { until_ns: now, ..*self },
                _ => *self,
            }),
            Action::BodyEntered(attempt) => {
                if matches!(self.stage, Stage::Open { .. })
                    && self.body == Body::Unseen
                    && attempt == self.attempt
                {
                    let until_ns = if self.cancelled && !self.told { now } else { self.until_ns };
                    out.push(Self { body: Body::Running, until_ns, ..*self });
                }
            }
            Action::BodyLeft(attempt, how) => {
                if self.body != Body::Running || attempt != self.attempt {
                    return;
                }
                let place = Self { body: Body::Left(how), ..*self };
                match self.stage {
                    Stage::Open { .. } => out.push(Self { until_ns: now, ..place }),
                    // A timeout or a forced end may drop the body late.
                    _ if how == BodyEnd::Dropped => out.push(place),
                    _ => {}
                }
            }
            Action::BodyCancelled(attempt) => self.told(attempt, spec, world, out),
            Action::Event(event) => self.on_event(event, spec, world, texts, out),
        }
    }

    /// [A4]: a context is cancelled with its actor or by a timeout, and by nothing else.
    fn told(&self, attempt: u32, spec: Option<&SpecNote>, world: &World, out: &mut Vec<Self>) {
        let Stage::Open { since_ns } = self.stage else {
            out.push(*self);
            return;
        };
        if attempt != self.attempt {
            out.push(*self);
            return;
        }
        let timed_out = spec.is_none_or(|spec| {
            spec.timeout_ns > 0 && world.now_ns >= since_ns.saturating_add(spec.timeout_ns)
        });
        if !self.cancelled && !timed_out && !world.over {
            return;
        }
        let until_ns = match self.body {
            Body::Running if self.cancelled => open_until(spec, since_ns, world),
            _ => self.until_ns,
        };
        out.push(Self { told: true, until_ns, ..*self });
    }

    fn cancel(&self, world: &World) -> Self {
        if self.cancelled {
            return *self;
        }
        let until_ns = match self.stage {
            Stage::Waiting { .. } | Stage::Requested if world.up => world.now_ns,
            Stage::Open { .. } if self.body == Body::Running && !self.told => world.now_ns,
            _ => self.until_ns,
        };
        Self { cancelled: true, until_ns, ..*self }
    }

    /// Everything that is left ends by force, now.
    pub(super) fn force(&mut self, now_ns: u64) {
        if matches!(self.stage, Stage::Waiting { .. } | Stage::Requested) {
            self.until_ns = now_ns;
        }
    }

    fn on_event(
        &self,
        event: &EventNote,
        spec: Option<&SpecNote>,
        world: &World,
        texts: &Texts,
        out: &mut Vec<Self>,
    ) {
        let now = world.now_ns;
        let of_attempt = event.attempt.is_none_or(|attempt| attempt == self.attempt);
        let reason = || event.reason.map_or("", |reason| texts.get(reason));
        match (event.kind, self.stage) {
            (EventKind::TaskAddRequested, Stage::Absent) => {
                let until_ns = if world.up { now } else { FAR };
                out.push(Self { stage: Stage::Requested, until_ns, ..ABSENT });
            }
            // [A3]: nothing comes between TimeoutHit and its TaskFailed.
            (EventKind::TaskRemoveRequested, stage)
                if !matches!(stage, Stage::Absent | Stage::TimedOut) && !self.removal =>
            {
                out.push(Self { removal: true, ..self.cancel(world) });
            }
            (EventKind::TaskAdded, Stage::Requested) => {
                let waiting = Stage::Waiting { from_ns: now, until_ns: now };
                let until_ns = if self.cancelled {
                    if world.up { now } else { FAR }
                } else if world.limit == 0 {
                    now.saturating_add(world.late_ns)
                } else {
                    FAR
                };
                out.push(self.at(waiting, until_ns));
            }
            (EventKind::TaskStarting, Stage::Waiting { from_ns, .. })
                if now >= from_ns
                    && !self.cancelled
                    && event.attempt == Some(self.attempt + 1)
                    && self.body != Body::Running
                    // [R6]
                    && (self.turn.is_none() || self.turn != world.turn)
                    && (world.limit == 0 || world.open < world.limit) =>
            {
                let attempt = self.attempt + 1;
                let fresh = Self { attempt, body: Body::Unseen, told: false, turn: None, ..*self };
                out.push(fresh.at(Stage::Open { since_ns: now }, open_until(spec, now, world)));
            }
            (EventKind::TimeoutHit, Stage::Open { since_ns }) if of_attempt => {
                let ready = matches!(self.body, Body::Left(how) if how != BodyEnd::Dropped);
                let told = self.told || self.body != Body::Left(BodyEnd::Dropped);
                let fits = spec.is_none_or(|spec| {
                    spec.timeout_ns > 0
                        && now >= since_ns.saturating_add(spec.timeout_ns)
                        && event.timeout_ms == Some(milliseconds(spec.timeout_ns))
                });
                if fits && !ready && told {
                    out.push(self.at(Stage::TimedOut, now));
                }
            }
            (EventKind::TaskFailed, Stage::TimedOut) if of_attempt => {
                let fits = spec.is_none_or(|spec| {
                    let timeout = std::time::Duration::from_nanos(spec.timeout_ns);
                    is_spelled(reason(), format_args!("timed out after {timeout:?}"))
                });
                if fits {
                    self.after(Outcome::Retryable, event.reason, spec, world, out);
                }
            }
            (EventKind::TaskFailed, Stage::Open { .. })
                if world.forced && of_attempt && reason() == "aborted: grace exceeded" =>
            {
                out.push(self.at(Stage::Leaving, now));
            }
            (EventKind::TaskStopped, Stage::Open { .. }) if !world.forced => {
                if matches!(self.body, Body::Unseen | Body::Left(BodyEnd::Ok)) {
                    self.after(Outcome::Ok, None, spec, world, out);
                }
                if matches!(self.body, Body::Unseen | Body::Left(BodyEnd::Canceled)) {
                    self.after(Outcome::Canceled, None, spec, world, out);
                }
            }
            (EventKind::TaskFailed, Stage::Open { .. }) if of_attempt && !world.forced => {
                let outcome = match self.body {
                    Body::Left(BodyEnd::Fail(text)) if event.reason == Some(text) => Outcome::Retryable,
                    Body::Left(BodyEnd::Fatal(text)) if event.reason == Some(text) => Outcome::Fatal,
                    Body::Left(BodyEnd::Panic(text))
                        if reason().strip_prefix("panic: ") == Some(texts.get(text)) =>
                    {
                        Outcome::Retryable
                    }
                    Body::Unseen if reason().starts_with("fatal error (no retry): ") => Outcome::Fatal,
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
                    reason() == "policy_exhausted_success"
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
            // [G4]: after its last event, and its body is gone.
            (EventKind::TaskRemoved, _) if self.body == Body::Running => {}
            (EventKind::TaskRemoved, Stage::Leaving) => out.push(ABSENT),
            (EventKind::TaskRemoved, Stage::Waiting { .. }) if self.cancelled => out.push(ABSENT),
            // What was owed in the moment of a forced end is not published any more.
            (EventKind::TaskRemoved, Stage::Ended(_)) if world.forced => out.push(ABSENT),
            _ => {}
        }
    }

    /// An attempt has ended: the table of contract section 5.
    fn after(
        &self,
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
        let place = Self { reason, failures, success: outcome == Outcome::Ok, turn: world.turn, ..*self };
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

    fn due(&self, from_ns: u64, until_ns: u64, world: &World) -> Self {
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

    fn backoff(&self, event: &EventNote, spec: Option<&SpecNote>, world: &World, out: &mut Vec<Self>) {
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

    /// Where a task stands after an event that nothing explains, for a monitor that is to go on all the same.
    pub(super) fn presumed(&self, event: &EventNote, world: &World, out: &mut Vec<Self>) {
        let now = world.now_ns;
        let reason = event.reason.or(self.reason);
        let place = Self { until_ns: FAR, reason, ..*self };
        let attempt = event.attempt.unwrap_or(self.attempt);
        let stage = |stage| Self { stage, ..place };
        match event.kind {
            EventKind::TaskAddRequested => out.push(Self { stage: Stage::Requested, ..ABSENT }),
            EventKind::TaskAdded => out.push(stage(Stage::Waiting { from_ns: now, until_ns: FAR })),
            EventKind::TaskStarting => out.push(Self {
                attempt,
                body: Body::Unseen,
                told: false,
                ..stage(Stage::Open { since_ns: now })
            }),
            EventKind::TimeoutHit => out.push(stage(Stage::TimedOut)),
            EventKind::TaskStopped | EventKind::TaskFailed => {
                let source = if event.kind == EventKind::TaskStopped {
                    BackoffSource::Success
                } else {
                    BackoffSource::Failure
                };
                let success = source == BackoffSource::Success;
                let failures = if success { 0 } else { self.failures + 1 };
                let place = Self { success, failures, ..place };
                out.push(Self { stage: Stage::Ended(Next::Backoff(source)), ..place });
                out.push(Self { stage: Stage::Ended(Next::Exhausted), ..place });
                out.push(Self { stage: Stage::Leaving, ..place });
                out.push(if success {
                    Self { stage: Stage::Waiting { from_ns: now, until_ns: FAR }, ..place }
                } else {
                    Self { stage: Stage::Ended(Next::Dead), ..place }
                });
            }
            EventKind::BackoffScheduled => {
                out.push(stage(Stage::Waiting { from_ns: now, until_ns: FAR }));
            }
            EventKind::ActorExhausted | EventKind::ActorDead => out.push(stage(Stage::Leaving)),
            EventKind::TaskRemoved => out.push(ABSENT),
            _ => out.push(place),
        }
    }
}

fn open_until(spec: Option<&SpecNote>, since_ns: u64, world: &World) -> u64 {
    match spec.map_or(0, |spec| spec.timeout_ns) {
        0 => FAR,
        timeout_ns => since_ns.saturating_add(timeout_ns).saturating_add(world.late_ns),
    }
}

/// Whether a text is what this comes to, without writing it down.
fn is_spelled(text: &str, expected: std::fmt::Arguments<'_>) -> bool {
    struct Rest<'a>(&'a str);
    impl std::fmt::Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(std::fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    std::fmt::write(&mut rest, expected).is_ok() && rest.0.is_empty()
}

fn milliseconds(span_ns: u64) -> u32 {
    u32::try_from(span_ns / 1_000_000).unwrap_or(u32::MAX)
}
