//! What a runtime says: one [`Event`] for each thing that happened, numbered in the order of publication.
//!
//! Which fields an event carries is decided by its kind alone (\[E1\], \[E2\]); the constructors in this file are the
//! only places where an event of a kind is put together, so that the table in `docs/contract.md` can be held
//! against them line by line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::task::TaskSpec;

/// What happened. The kinds and the fields each one sets are listed in `docs/contract.md`, section 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A subscriber's handler panicked. `task` = subscriber, `reason` = panic message.
    SubscriberPanicked,
    /// A subscriber lost an event (`reason` names `full` or `closed`), or the listener lagged (`lagged(N)`).
    SubscriberOverflow,
    /// Shutdown was asked for. Published once.
    ShutdownRequested,
    /// Every task was removed within the grace period after a shutdown request.
    AllStoppedWithinGrace,
    /// The grace period ended with tasks still registered.
    GraceExceeded,
    /// An attempt begins. `task`, `attempt`.
    TaskStarting,
    /// An attempt ended well or was cancelled gracefully. `task`.
    TaskStopped,
    /// An attempt failed. `task`, `attempt`, `reason`.
    TaskFailed,
    /// An attempt ran into its timeout. `task`, `attempt`, `timeout_ms`.
    TimeoutHit,
    /// The next attempt waits. `task`, `attempt` (the one just ended), `delay_ms`, `backoff_source`, and `reason`
    /// after a failure.
    BackoffScheduled,
    /// An add was accepted. `task`.
    TaskAddRequested,
    /// The task is in the registry and its actor was spawned. `task`.
    TaskAdded,
    /// A removal was accepted. `task`, and `reason` = `manual_cancel` when it came from `cancel`.
    TaskRemoveRequested,
    /// The incarnation is over and its name is free. `task`.
    TaskRemoved,
    /// The restart policy asks for no further attempt. `task`, `attempt`, `reason`.
    ActorExhausted,
    /// A fatal error ended the actor. `task`, `attempt`, `reason`.
    ActorDead,
    /// A submission was refused. `task` = slot, `reason`.
    #[cfg(feature = "controller")]
    ControllerRejected,
    /// A submission was admitted or started from the queue. `task` = slot, `reason`.
    #[cfg(feature = "controller")]
    ControllerSubmitted,
    /// A slot changed its state. `task` = slot, `reason` = `from→to`.
    #[cfg(feature = "controller")]
    ControllerSlotTransition,
}

/// What a backoff follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackoffSource {
    /// An attempt that ended well, under `RestartPolicy::Always` with an interval.
    Success,
    /// An attempt that failed in a way that can be retried.
    Failure,
}

/// One thing that happened.
///
/// ```
/// use simvisor::{Event, EventKind};
/// use std::time::Duration;
///
/// let event = Event::new(EventKind::TaskFailed)
///     .with_task("demo-task")
///     .with_reason("boom")
///     .with_attempt(3)
///     .with_timeout(Duration::from_secs(5));
///
/// assert_eq!(event.kind, EventKind::TaskFailed);
/// assert_eq!(event.task.as_deref(), Some("demo-task"));
/// assert_eq!(event.reason.as_deref(), Some("boom"));
/// assert_eq!(event.attempt, Some(3));
/// assert_eq!(event.timeout_ms, Some(5000));
/// ```
///
/// Events belong to one thread, like everything in this crate: a request to add a task carries the task itself.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number in the order of publication, from 0, without gaps within one runtime.
    pub seq: u64,
    /// Wall-clock time of publication.
    pub at: SystemTime,
    /// Timeout of the attempt in milliseconds, truncated, at most `u32::MAX`.
    pub timeout_ms: Option<u32>,
    /// Delay until the next attempt in milliseconds, truncated, at most `u32::MAX`.
    pub delay_ms: Option<u32>,
    /// Why.
    pub reason: Option<Arc<str>>,
    /// Name of the task, subscriber or slot.
    pub task: Option<Arc<str>>,
    /// Number of the attempt, from 1.
    pub attempt: Option<u32>,
    /// What happened.
    pub kind: EventKind,
    /// What a backoff follows.
    pub backoff_source: Option<BackoffSource>,
    pub(crate) spec: Option<TaskSpec>,
}

/// Numbers for events made outside a runtime.
static OUTSIDE_SEQ: AtomicU64 = AtomicU64::new(0);

impl Event {
    /// An event outside a runtime: it takes the next number of a process-wide counter that starts at 0, and the
    /// machine's wall-clock time. Inside a runtime, the runtime stamps both when it publishes.
    #[must_use]
    #[allow(clippy::disallowed_methods)] // the one place that may read the machine's clock
    pub fn new(kind: EventKind) -> Self {
        Self {
            seq: OUTSIDE_SEQ.fetch_add(1, Ordering::Relaxed),
            at: SystemTime::now(),
            ..Self::unstamped(kind)
        }
    }

    /// An event that its runtime has yet to stamp.
    pub(crate) fn unstamped(kind: EventKind) -> Self {
        Self {
            seq: 0,
            at: SystemTime::UNIX_EPOCH,
            timeout_ms: None,
            delay_ms: None,
            reason: None,
            task: None,
            attempt: None,
            kind,
            backoff_source: None,
            spec: None,
        }
    }

    /// Makes it say nothing, as [`Event::unstamped`] does.
    #[inline]
    pub(crate) fn wipe(&mut self) {
        (self.timeout_ms, self.delay_ms, self.attempt) = (None, None, None);
        self.backoff_source = None;
        (self.reason, self.task) = (None, None);
        self.spec = None;
    }

    /// Sets the reason.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets the name of the task, subscriber or slot.
    #[must_use]
    pub fn with_task(mut self, task: impl Into<Arc<str>>) -> Self {
        self.task = Some(task.into());
        self
    }

    /// Sets the timeout, truncated to milliseconds and saturating at `u32::MAX`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(saturating_ms(timeout));
        self
    }

    /// Sets the delay, truncated to milliseconds and saturating at `u32::MAX`.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay_ms = Some(saturating_ms(delay));
        self
    }

    /// Sets the number of the attempt.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Says that the backoff follows a success.
    #[must_use]
    pub fn with_backoff_success(mut self) -> Self {
        self.backoff_source = Some(BackoffSource::Success);
        self
    }

    /// Says that the backoff follows a failure.
    #[must_use]
    pub fn with_backoff_failure(mut self) -> Self {
        self.backoff_source = Some(BackoffSource::Failure);
        self
    }

    pub(crate) fn with_spec(mut self, spec: TaskSpec) -> Self {
        self.spec = Some(spec);
        self
    }

    /// A subscriber lost an event; `reason` is `full` or `closed`. The event's reason reads
    /// `subscriber=NAME reason=WHY`.
    #[must_use]
    pub fn subscriber_overflow(subscriber: &'static str, reason: &'static str) -> Self {
        Self::stamped_outside(Self::overflow_of(&subscriber.into(), reason))
    }

    /// A subscriber's handler panicked with the message `info`.
    #[must_use]
    pub fn subscriber_panicked(subscriber: &'static str, info: String) -> Self {
        Self::stamped_outside(Self::panic_of(&subscriber.into(), info))
    }

    fn stamped_outside(event: Self) -> Self {
        let Self { seq, at, .. } = Self::new(event.kind);
        Self { seq, at, ..event }
    }

    pub(crate) fn overflow_of(subscriber: &Arc<str>, why: &'static str) -> Self {
        Self::unstamped(EventKind::SubscriberOverflow)
            .with_task(Arc::clone(subscriber))
            .with_reason(format!("subscriber={subscriber} reason={why}"))
    }

    pub(crate) fn listener_lagged(lost: u64) -> Self {
        Self::unstamped(EventKind::SubscriberOverflow)
            .with_task(LISTENER_NAME)
            .with_reason(format!("lagged({lost})"))
    }

    pub(crate) fn panic_of(subscriber: &Arc<str>, message: impl Into<Arc<str>>) -> Self {
        Self::unstamped(EventKind::SubscriberPanicked).with_task(Arc::clone(subscriber)).with_reason(message)
    }

    /// Whether this tells of an event that a subscriber lost.
    #[must_use]
    pub fn is_subscriber_overflow(&self) -> bool {
        self.kind == EventKind::SubscriberOverflow
    }

    /// Whether this tells of a panic in a subscriber's handler.
    #[must_use]
    pub fn is_subscriber_panic(&self) -> bool {
        self.kind == EventKind::SubscriberPanicked
    }

    /// Whether the trouble of handling this event is only counted, so that no storm can start (\[S5\], \[S7\]).
    pub(crate) fn is_about_a_subscriber(&self) -> bool {
        self.is_subscriber_overflow() || self.is_subscriber_panic()
    }
}

/// The name under which a lagging listener reports itself (\[S8\]).
pub(crate) const LISTENER_NAME: &str = "subscriber_listener";

/// Whole milliseconds of `span`, at most `u32::MAX`.
pub(crate) fn saturating_ms(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_events_count_up_and_carry_nothing_but_their_kind() {
        let first = Event::new(EventKind::TaskAdded);
        let second = Event::new(EventKind::TaskAdded);
        assert!(second.seq > first.seq);
        assert!(first.task.is_none() && first.reason.is_none() && first.attempt.is_none());
        assert!(first.timeout_ms.is_none() && first.delay_ms.is_none() && first.backoff_source.is_none());
        assert!(first.spec.is_none());
    }

    #[test]
    fn milliseconds_are_truncated_and_saturate() {
        let event = Event::new(EventKind::TimeoutHit)
            .with_timeout(Duration::from_nanos(1_999_999))
            .with_delay(Duration::from_secs(u64::MAX));
        assert_eq!(event.timeout_ms, Some(1));
        assert_eq!(event.delay_ms, Some(u32::MAX));
    }

    #[test]
    fn overflow_and_panic_events_name_their_subscriber() {
        let overflow = Event::subscriber_overflow("metrics", "full");
        assert!(overflow.is_subscriber_overflow() && !overflow.is_subscriber_panic());
        assert_eq!(overflow.task.as_deref(), Some("metrics"));
        assert_eq!(overflow.reason.as_deref(), Some("subscriber=metrics reason=full"));

        let panic = Event::subscriber_panicked("metrics", "index out of bounds".to_owned());
        assert!(panic.is_subscriber_panic() && !panic.is_subscriber_overflow());
        assert_eq!(panic.reason.as_deref(), Some("index out of bounds"));

        let lag = Event::listener_lagged(7);
        assert_eq!(lag.task.as_deref(), Some("subscriber_listener"));
        assert_eq!(lag.reason.as_deref(), Some("lagged(7)"));
    }
}
