//! One task: the places in which it may stand, and the steps between them.

use simvisor::{BackoffSource, EventKind};

use super::super::excuse::{Liberties, Liberty, SPACING_NS};
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

/// Where an incarnation may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Absent,
    /// Its add was accepted.
    Requested,
    /// For the next attempt, which comes due in [`Place::due_ns`].
    Waiting,
    /// An attempt is, since [`Place::since_ns`].
    Open,
    /// TimeoutHit has come.
    TimedOut,
    /// An attempt has ended, and ActorExhausted is to come.
    OwesExhausted,
    /// … BackoffScheduled with the interval after a success.
    OwesInterval,
    /// … BackoffScheduled with the delay after a failure.
    OwesBackoff,
    /// … ActorDead.
    OwesDead,
    /// Nothing but TaskRemoved.
    Leaving,
}

impl Stage {
    /// Names of the stages, in their order.
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

    #[inline]
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// An attempt has ended, and it is to be told what follows.
    fn owes(self) -> bool {
        matches!(self, Self::OwesExhausted | Self::OwesInterval | Self::OwesBackoff | Self::OwesDead)
    }
}

/// One of the states that a task may be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stage: Stage,
    /// Until when it may stay there.
    pub(super) until_ns: u64,
    /// Between which instants the next attempt comes due, if it waits for one.
    pub(super) due_ns: (u64, u64),
    /// When the latest attempt began.
    pub(super) since_ns: u64,
    pub(super) attempt: u32,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Of the latest failure.
    pub(super) reason: Option<Text>,
    pub(super) success: bool,
    /// Its removal was requested.
    pub(super) removal: bool,
    pub(super) cancelled: bool,
    /// When it was cancelled.
    pub(super) cancelled_ns: u64,
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
    due_ns: (0, FAR),
    since_ns: 0,
    attempt: 0,
    failures: 0,
    reason: None,
    success: false,
    removal: false,
    cancelled: false,
    cancelled_ns: 0,
    body: Body::Unseen,
    told: false,
    turn: None,
};

/// The places in which a task may stand: as a rule, one.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) first: Place,
    pub(super) others: Vec<Place>,
}

impl Places {
    pub(super) fn absent() -> Self {
        Self { first: ABSENT, others: Vec::new() }
    }

    #[inline]
    pub(super) fn all(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.first).chain(&self.others)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// What comes of all places by a step, if some place has it.
    #[cold]
    pub(super) fn next(&self, steps: &dyn Fn(&mut Place, &mut Vec<Place>) -> bool) -> Option<Self> {
        let (mut next, mut others) = (Vec::new(), Vec::new());
        for &place in self.all() {
            let mut place = place;
            if steps(&mut place, &mut others) {
                next.push(place);
                next.append(&mut others);
            }
        }
        let mut next = next.into_iter();
        next.next().map(|first| Self { first, others: next.collect() })
    }

    /// The latest instant by which one of these must be left, and whether one is that of a registered task.
    #[inline]
    pub(super) fn bounds(&self) -> (u64, bool) {
        let both = |(until_ns, registered): (u64, bool), place: &Place| {
            (until_ns.max(place.until_ns), registered || place.is_registered())
        };
        self.others.iter().fold((self.first.until_ns, self.first.is_registered()), both)
    }

    /// Between which instants the next attempt has come due, if that is what the task waits for in any case.
    pub(super) fn due(&self) -> Option<(u64, u64)> {
        let due = |place: &Place| (place.stage == Stage::Waiting && !place.cancelled).then_some(place.due_ns);
        let both = |(from_ns, until_ns): (u64, u64), place: &Place| {
            due(place).map(|other| (from_ns.min(other.0), until_ns.max(other.1)))
        };
        self.others.iter().try_fold(due(&self.first)?, both)
    }
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
    pub(super) grace_ns: u64,
    pub(super) free: Liberties,
}

impl World {
    /// How long a task waits at most after a success, if it is meant to wait for so long.
    fn wait_ns(&self, meant_ns: u64) -> u64 {
        if self.free.has(Liberty::SpacedRestarts) { meant_ns.max(SPACING_NS) } else { meant_ns }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Canceled,
    Retryable,
    Fatal,
}

impl Place {
    #[inline]
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

    /// Always explained.
    #[inline]
    fn go(&mut self, stage: Stage, until_ns: u64) -> bool {
        self.stage = stage;
        self.until_ns = until_ns;
        true
    }

    fn at(&self, stage: Stage, until_ns: u64) -> Self {
        Self { stage, until_ns, ..*self }
    }
}

/// The steps. Each makes of a place what comes of it, and says whether it explains what happened; if not, the place is as
/// it was. What else may have come of it is pushed to `others`.
impl Place {
    /// Shutdown was requested.
    pub(super) fn shutdown(&mut self, world: &World) -> bool {
        if self.is_registered() {
            self.cancel(world);
        }
        true
    }

    /// The run is up.
    pub(super) fn up(&mut self, world: &World) -> bool {
        if self.stage == Stage::Requested {
            self.until_ns = world.now_ns;
        }
        true
    }

    pub(super) fn body_entered(&mut self, attempt: u32, world: &World) -> bool {
        let fits = self.stage == Stage::Open && self.body == Body::Unseen && attempt == self.attempt;
        if fits {
            self.body = Body::Running;
            if self.cancelled && !self.told {
                self.until_ns = world.now_ns;
            }
        }
        fits
    }

    pub(super) fn body_left(&mut self, attempt: u32, how: BodyEnd, world: &World) -> bool {
        if self.body != Body::Running || attempt != self.attempt {
            return false;
        }
        match self.stage {
            Stage::Open => self.until_ns = world.now_ns,
            // A timeout or a forced end may drop the body late.
            _ if how == BodyEnd::Dropped => {}
            _ => return false,
        }
        self.body = Body::Left(how);
        true
    }

    /// Its body's context is seen to be cancelled. [A4]: with its actor or by a timeout, and by nothing else.
    pub(super) fn body_cancelled(&mut self, attempt: u32, spec: Option<&SpecNote>, world: &World) -> bool {
        if self.stage != Stage::Open || attempt != self.attempt {
            return true;
        }
        let since_ns = self.since_ns;
        let timed_out = spec.is_none_or(|spec| {
            spec.timeout_ns > 0 && world.now_ns >= since_ns.saturating_add(spec.timeout_ns)
        });
        if !self.cancelled && !timed_out && !world.over {
            return false;
        }
        if self.body == Body::Running && self.cancelled {
            self.until_ns = open_until(spec, since_ns, world);
        }
        self.told = true;
        true
    }

    fn cancel(&mut self, world: &World) {
        if self.cancelled {
            return;
        }
        self.cancelled = true;
        self.cancelled_ns = world.now_ns;
        let at_once = match self.stage {
            Stage::Waiting | Stage::Requested => world.up,
            Stage::Open => self.body == Body::Running && !self.told,
            _ => false,
        };
        if at_once {
            self.until_ns = world.now_ns;
        }
    }

    /// Everything that is left ends by force, now.
    pub(super) fn force(&mut self, now_ns: u64) {
        if matches!(self.stage, Stage::Waiting | Stage::Requested) {
            self.until_ns = now_ns;
        }
    }

    pub(super) fn add_requested(&mut self, world: &World) -> bool {
        let fits = self.stage == Stage::Absent;
        if fits {
            let until_ns = if world.up { world.now_ns } else { FAR };
            *self = Self { stage: Stage::Requested, until_ns, ..ABSENT };
        }
        fits
    }

    pub(super) fn added(&mut self, world: &World) -> bool {
        if self.stage != Stage::Requested {
            return false;
        }
        self.due(world.now_ns, world.now_ns, world);
        if self.cancelled && !world.up {
            self.until_ns = FAR;
        }
        true
    }

    pub(super) fn remove_requested(&mut self, world: &World) -> bool {
        // [A3]: nothing comes between TimeoutHit and its TaskFailed.
        let fits = !matches!(self.stage, Stage::Absent | Stage::TimedOut) && !self.removal;
        if fits {
            self.cancel(world);
            self.removal = true;
        }
        fits
    }

    pub(super) fn removed(&mut self, world: &World) -> bool {
        let fits = match self.stage {
            // [G4]: after its last event, and its body is gone.
            _ if self.body == Body::Running => false,
            Stage::Leaving => true,
            Stage::Waiting => self.cancelled,
            Stage::Requested => world.free.has(Liberty::EarlyAdds),
            // What was owed in the moment of a forced end is not published any more.
            stage if stage.owes() => world.forced,
            _ => false,
        };
        if fits {
            *self = ABSENT;
        }
        fits
    }

    pub(super) fn starting(&mut self, attempt: Option<u32>, spec: Option<&SpecNote>, world: &World) -> bool {
        let now = world.now_ns;
        let fits = self.stage == Stage::Waiting
            && now >= self.due_ns.0
            && (!self.cancelled || self.may_start_late(world))
            && attempt == Some(self.attempt + 1)
            && self.body != Body::Running
            // [R6]
            && (self.turn.is_none() || self.turn != world.turn)
            && (world.limit == 0 || world.open < world.limit);
        if !fits {
            return false;
        }
        self.attempt += 1;
        self.body = Body::Unseen;
        self.told = false;
        self.turn = None;
        self.since_ns = now;
        self.go(Stage::Open, open_until(spec, now, world))
    }

    /// Who cancelled it may not have reached it yet.
    fn may_start_late(&self, world: &World) -> bool {
        self.cancelled_ns == world.now_ns && world.free.has(Liberty::LateStarts)
    }

    pub(super) fn timeout_hit(&mut self, event: &EventNote, spec: Option<&SpecNote>, world: &World) -> bool {
        let ready = matches!(self.body, Body::Left(how) if how != BodyEnd::Dropped);
        let told = self.told || self.body != Body::Left(BodyEnd::Dropped);
        let fits = spec.is_none_or(|spec| {
            spec.timeout_ns > 0
                && world.now_ns >= self.since_ns.saturating_add(spec.timeout_ns)
                && event.timeout_ms == Some(milliseconds(spec.timeout_ns))
        });
        let open = self.stage == Stage::Open && self.is_of(event);
        open && fits && !ready && told && self.go(Stage::TimedOut, world.now_ns)
    }

    pub(super) fn stopped(&mut self, spec: Option<&SpecNote>, world: &World, others: &mut Vec<Self>) -> bool {
        if self.stage != Stage::Open || world.forced {
            return false;
        }
        match self.body {
            Body::Left(BodyEnd::Ok) => self.after(Outcome::Ok, None, spec, world, others),
            Body::Left(BodyEnd::Canceled) => self.after(Outcome::Canceled, None, spec, world, others),
            Body::Unseen => {
                let mut other = *self;
                self.after(Outcome::Ok, None, spec, world, others);
                other.after(Outcome::Canceled, None, spec, world, others);
                others.push(other);
            }
            _ => return false,
        }
        true
    }

    pub(super) fn failed(
        &mut self,
        event: &EventNote,
        spec: Option<&SpecNote>,
        world: &World,
        texts: &Texts,
        others: &mut Vec<Self>,
    ) -> bool {
        if !self.is_of(event) {
            return false;
        }
        let reason = || event.reason.map_or("", |reason| texts.get(reason));
        let outcome = match self.stage {
            Stage::TimedOut => {
                let fits = spec.is_none_or(|spec| {
                    let timeout = std::time::Duration::from_nanos(spec.timeout_ns);
                    is_spelled(reason(), format_args!("timed out after {timeout:?}"))
                });
                if !fits {
                    return false;
                }
                Outcome::Retryable
            }
            Stage::Open if world.forced => {
                return reason() == "aborted: grace exceeded" && self.go(Stage::Leaving, world.now_ns);
            }
            Stage::Open if self.may_be_forced(world) && reason() == "aborted: grace exceeded" => {
                return self.go(Stage::Leaving, world.now_ns);
            }
            Stage::Open => match self.body {
                Body::Left(BodyEnd::Fail(text)) if event.reason == Some(text) => Outcome::Retryable,
                Body::Left(BodyEnd::Fatal(text)) if event.reason == Some(text) => Outcome::Fatal,
                Body::Left(BodyEnd::Panic(text))
                    if reason().strip_prefix("panic: ") == Some(texts.get(text)) =>
                {
                    Outcome::Retryable
                }
                Body::Unseen if reason().starts_with("fatal error (no retry): ") => Outcome::Fatal,
                Body::Unseen => Outcome::Retryable,
                _ => return false,
            },
            _ => return false,
        };
        self.after(outcome, event.reason, spec, world, others);
        true
    }

    /// Its removal was requested, and has taken as long as one may.
    fn may_be_forced(&self, world: &World) -> bool {
        self.removal
            && world.now_ns >= self.cancelled_ns.saturating_add(world.grace_ns)
            && world.free.has(Liberty::ForcedRemovals)
    }

    pub(super) fn exhausted(&mut self, event: &EventNote, world: &World, texts: &Texts) -> bool {
        let fits = self.stage == Stage::OwesExhausted
            && self.is_of(event)
            && if self.success {
                event.reason.is_some_and(|reason| texts.get(reason) == "policy_exhausted_success")
            } else {
                event.reason == self.reason
            };
        fits && self.go(Stage::Leaving, world.now_ns)
    }

    pub(super) fn dead(&mut self, event: &EventNote, world: &World) -> bool {
        let fits = self.stage == Stage::OwesDead && self.is_of(event) && event.reason == self.reason;
        fits && self.go(Stage::Leaving, world.now_ns)
    }

    /// It speaks of the latest attempt, if of one.
    #[inline]
    fn is_of(&self, event: &EventNote) -> bool {
        event.attempt.is_none_or(|attempt| attempt == self.attempt)
    }

    /// An attempt has ended: the table of contract section 5.
    fn after(
        &mut self,
        outcome: Outcome,
        reason: Option<Text>,
        spec: Option<&SpecNote>,
        world: &World,
        others: &mut Vec<Self>,
    ) {
        let now = world.now_ns;
        self.reason = reason;
        self.success = outcome == Outcome::Ok;
        self.turn = world.turn;
        match outcome {
            Outcome::Ok => self.failures = 0,
            Outcome::Retryable => self.failures += 1,
            Outcome::Canceled | Outcome::Fatal => {}
        }
        match (outcome, spec.map(|spec| spec.restart)) {
            (Outcome::Fatal, _) => self.go(Stage::OwesDead, now),
            (Outcome::Canceled, _) => self.go(Stage::Leaving, now),
            _ if self.cancelled => self.go(Stage::Leaving, now),
            (Outcome::Ok, Some(Restart::Never | Restart::OnFailure))
            | (Outcome::Retryable, Some(Restart::Never)) => self.go(Stage::OwesExhausted, now),
            (Outcome::Ok, Some(Restart::Always { interval_ns: Some(_) })) => {
                self.go(Stage::OwesInterval, now)
            }
            (Outcome::Ok, Some(Restart::Always { interval_ns: None })) => {
                self.due(now, now + world.wait_ns(0), world)
            }
            (Outcome::Retryable, Some(_)) => self.go(Stage::OwesBackoff, now),
            // Without a spec any policy may be at work.
            (Outcome::Ok, None) => {
                others.push(self.at(Stage::OwesInterval, now));
                let mut again = *self;
                again.due(now, now, world);
                others.push(again);
                self.go(Stage::OwesExhausted, now)
            }
            (Outcome::Retryable, None) => {
                others.push(self.at(Stage::OwesBackoff, now));
                self.go(Stage::OwesExhausted, now)
            }
        };
    }

    /// The next attempt comes due between two instants.
    fn due(&mut self, from_ns: u64, until_ns: u64, world: &World) -> bool {
        let leave_ns = if self.cancelled {
            world.now_ns
        } else if world.limit == 0 {
            until_ns.saturating_add(world.late_ns)
        } else {
            FAR
        };
        self.due_ns = (from_ns, until_ns);
        self.go(Stage::Waiting, leave_ns)
    }

    pub(super) fn backoff(&mut self, event: &EventNote, spec: Option<&SpecNote>, world: &World) -> bool {
        let (source, Some(delay_ms)) = (event.source, event.delay_ms) else { return false };
        let owed = match source {
            Some(BackoffSource::Success) => self.stage == Stage::OwesInterval,
            Some(BackoffSource::Failure) => self.stage == Stage::OwesBackoff && event.reason == self.reason,
            None => false,
        };
        if !owed || !self.is_of(event) {
            return false;
        }
        let told_ns = u64::from(delay_ms) * 1_000_000;
        let told = (told_ns, if delay_ms == u32::MAX { FAR } else { told_ns + 999_999 });
        let real = match (source, spec) {
            (
                Some(BackoffSource::Success),
                Some(SpecNote { restart: Restart::Always { interval_ns: Some(ns) }, .. }),
            ) => (*ns, world.wait_ns(*ns)),
            (Some(BackoffSource::Failure), Some(spec)) => {
                delay_bounds(&spec.backoff, self.failures.saturating_sub(1))
            }
            _ => told,
        };
        let (from_ns, until_ns) = (real.0.max(told.0), real.1.min(told.1));
        let now = world.now_ns;
        from_ns <= until_ns && self.due(now.saturating_add(from_ns), now.saturating_add(until_ns), world)
    }

    /// Where a task stands after an event that nothing explains, for a monitor that is to go on all the same.
    pub(super) fn presume(&mut self, event: &EventNote, world: &World, others: &mut Vec<Self>) {
        let now = world.now_ns;
        self.until_ns = FAR;
        self.reason = event.reason.or(self.reason);
        self.due_ns = (now, FAR);
        match event.kind {
            EventKind::TaskAddRequested => *self = Self { stage: Stage::Requested, ..ABSENT },
            EventKind::TaskAdded | EventKind::BackoffScheduled => self.stage = Stage::Waiting,
            EventKind::TaskStarting => {
                self.attempt = event.attempt.unwrap_or(self.attempt);
                self.body = Body::Unseen;
                self.told = false;
                self.stage = Stage::Open;
                self.since_ns = now;
            }
            EventKind::TimeoutHit => self.stage = Stage::TimedOut,
            EventKind::TaskStopped | EventKind::TaskFailed => {
                self.success = event.kind == EventKind::TaskStopped;
                self.failures = if self.success { 0 } else { self.failures + 1 };
                let (next, last) = if self.success {
                    (Stage::OwesInterval, Stage::Waiting)
                } else {
                    (Stage::OwesBackoff, Stage::OwesDead)
                };
                self.stage = next;
                let stages = [Stage::OwesExhausted, Stage::Leaving, last];
                others.extend(stages.map(|stage| self.at(stage, FAR)));
            }
            EventKind::ActorExhausted | EventKind::ActorDead => self.stage = Stage::Leaving,
            EventKind::TaskRemoved => *self = ABSENT,
            _ => {}
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
