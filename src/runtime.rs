//! The seam: all that the logic may ask of the outside.
//!
//! Everything else in this crate is a function of what comes in through [`Runtime`]: the instant and the wall
//! clock, timers, local tasks, draws for jitter, and named preemption points. The simulator implements it with a
//! virtual clock and a tape of choices; a real runtime implements it with its own timers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::future::LocalBoxFuture;

use crate::policy::nanos;

/// An instant of the runtime's clock, in nanoseconds since it started. Saturates at `u64::MAX`, which no clock reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The end of time: a timer set for it never fires.
    pub const NEVER: Self = Self(u64::MAX);

    /// This instant plus `span`, saturating.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// A timer that the runtime keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerKey(pub u64);

/// A future that the runtime drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobKey(pub u64);

/// Which part of the logic a spawned future is. A runtime may use it for names in reports; the simulator also keys
/// its choices by it, so that a recorded schedule keeps its meaning when unrelated parts change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The registry's loop over its inbox.
    Registry,
    /// The bus receiver that feeds the subscribers.
    Listener,
    /// One subscriber's worker.
    Worker,
    /// One incarnation of a task.
    Actor,
    /// Carries late events of one publisher to the bus.
    Courier,
    /// The controller's loop over its inbox.
    Controller,
}

impl Role {
    /// The role as a word for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Listener => "listener",
            Self::Worker => "worker",
            Self::Actor => "actor",
            Self::Courier => "courier",
            Self::Controller => "controller",
        }
    }
}

/// A place where a runtime with several threads could be interrupted. On a real runtime these cost nothing; in the
/// simulator each is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PreemptPoint {
    /// The actor has a permit and has not yet published `TaskStarting`.
    BeforeAttempt,
    /// The body has ended and its end is not yet published.
    AfterBody,
    /// The end of an attempt is published and what follows is not.
    AfterAttempt,
    /// The actor's last event is published and its end is not yet reported to the registry.
    ActorExit,
    /// The registry has taken a message from its inbox and not yet acted on it.
    RegistryMessage,
    /// The listener has received an event and not yet given it to the subscribers.
    ListenerReceived,
    /// A worker has taken an event from its queue and not yet called the handler.
    WorkerTook,
    /// The run has found that it may end and has not yet done so.
    BeforeEnd,
    /// The controller has seen a message in its inbox and not yet acted on it.
    ControllerMessage,
    /// A call of `submit` has room in the controller's queue and has not yet taken its place there.
    BeforeSubmit,
}

/// How an event gets from its stamp to the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Delivery {
    /// In one step with the stamp. What every real runtime with one thread does.
    #[default]
    AtOnce,
    /// In a step of its own, later, so that events of others may overtake it.
    Late,
    /// At once, and a second time.
    Twice,
}

/// What a future waits for, for reports of deadlocks. Real runtimes ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitsFor {
    /// Nothing that the logic knows of.
    Unknown,
    /// A place among the concurrent attempts.
    Permit,
    /// The body of an attempt.
    Body,
    /// The end of a backoff or interval.
    Backoff,
    /// The next message to the registry.
    Inbox,
    /// The next event on the bus.
    Bus,
    /// The next event in a subscriber's queue.
    Queue,
    /// A subscriber's handler.
    Handler,
    /// The removal of a task.
    Removal,
    /// The runtime being up.
    Ready,
    /// The last task's removal, or a shutdown request.
    Idle,
    /// The last task's removal, within grace.
    AllRemoved,
    /// The subscribers' queues running empty.
    Drain,
    /// An event to carry to the bus.
    Parcel,
    /// A submission, or the end of a task that a slot started.
    Submission,
    /// Room in the controller's queue.
    Room,
}

impl WaitsFor {
    /// The reason as words for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "something unnamed",
            Self::Permit => "a permit",
            Self::Body => "its body",
            Self::Backoff => "its backoff",
            Self::Inbox => "a message to the registry",
            Self::Bus => "an event on the bus",
            Self::Queue => "an event in its queue",
            Self::Handler => "its handler",
            Self::Removal => "the removal of a task",
            Self::Ready => "the runtime to be ready",
            Self::Idle => "the last task's removal or a shutdown request",
            Self::AllRemoved => "every task's removal within grace",
            Self::Drain => "the subscribers' queues to run empty",
            Self::Parcel => "an event to deliver",
            Self::Submission => "a submission or the end of a slot's task",
            Self::Room => "room in the controller's queue",
        }
    }
}

/// Something that several futures share, and that the running one reads or changes: what two steps must have in
/// common for their order to matter. What a step wakes, spawns, aborts and how it uses timers a runtime sees by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shared<'a> {
    /// The bus, by publishing to it while somebody listens.
    Bus,
    /// The bus, by publishing to it while somebody listens and it is full: the oldest event is overwritten.
    FullBus,
    /// The bus, by publishing to it while nobody listens: only queries see a difference.
    DeafBus,
    /// The bus, by finding nothing on it that was not received.
    BusEnd,
    /// What events have told so far, by asking.
    Told,
    /// Which names are registered, by asking.
    Registry,
    /// Which names are registered, by changing it.
    Names,
    /// What is registered under this name.
    Entry(&'a str),
    /// The registry's inbox, by sending.
    Inbox,
    /// The registry's inbox, by finding it empty.
    InboxEnd,
    /// Whether the run may end, by asking.
    Idle,
    /// Whether the run may end, by telling whoever drives it that it may.
    Driver,
    /// The subscribers' queues, by appending to them.
    Queues,
    /// The subscribers' queues, by finding one of them full.
    FullQueue,
    /// A subscriber's queue, by taking from it.
    Queue,
    /// A subscriber's queue, by finding it empty.
    QueueEnd,
    /// The controller's slots or its inbox.
    Slots,
    /// The permits for attempts.
    Permits,
    /// The cancellation of the task of this name.
    Task(&'a str),
    /// More than can be said.
    Everything,
}

/// What the logic asks of the outside. Single-threaded and object-safe.
pub trait Runtime {
    /// The instant now. Never goes back.
    fn now(&self) -> Nanos;

    /// The wall clock, for `Event::at` alone.
    fn wall(&self) -> SystemTime;

    /// Sets a timer for `deadline`, which wakes the task of `cx`; `None` if that instant has come already.
    fn set_timer(&self, deadline: Nanos, cx: &mut Context<'_>) -> Option<TimerKey>;

    /// Whether the timer has fired; if not, the task of `cx` is woken when it does. A timer never fires early.
    /// One that has is forgotten with this answer.
    fn poll_timer(&self, timer: TimerKey, cx: &mut Context<'_>) -> Poll<()>;

    /// Forgets the timer, fired or not.
    fn drop_timer(&self, timer: TimerKey);

    /// Drives `future` until it ends. `name` tells futures of one role apart.
    fn spawn(&self, role: Role, name: &Arc<str>, future: LocalBoxFuture<'static, ()>) -> JobKey;

    /// Drops the future of `job`. It is not polled again. Does nothing if it has ended. Must not be called by the
    /// job itself.
    fn abort(&self, job: JobKey);

    /// A number in `0..=high`, for backoff jitter.
    fn draw(&self, high: u64) -> u64;

    /// Whether the caller should yield here. A runtime that is interrupted by itself answers `false`.
    fn preempt(&self, point: PreemptPoint) -> bool {
        let _ = point;
        false
    }

    /// As [`Runtime::preempt`], of the task of `cx`, which is woken if it should yield. A runtime that knows its own
    /// tasks can do both in one step.
    fn gives_way(&self, point: PreemptPoint, cx: &mut Context<'_>) -> bool {
        let yields = self.preempt(point);
        if yields {
            cx.waker().wake_by_ref();
        }
        yields
    }

    /// How the event that was just stamped is delivered. Anything but [`Delivery::AtOnce`] is a fault that a simulator
    /// plays: stamp and send are not one step on a runtime with several threads (\[S10\]).
    fn delivery(&self) -> Delivery {
        Delivery::AtOnce
    }

    /// Tells futures apart that publish events: those of one publisher stay in order.
    fn publisher(&self) -> u64 {
        0
    }

    /// Tells what the running future is about to wait for.
    fn waits_for(&self, what: WaitsFor) {
        let _ = what;
    }

    /// Whether [`Runtime::touches`] is of any use. Asked once by each supervisor; where the answer is no it tells little
    /// or nothing.
    fn heeds_touches(&self) -> bool {
        true
    }

    /// Tells what the running future is about to read or change. A runtime that does not search schedules ignores it.
    fn touches(&self, what: Shared<'_>) {
        let _ = what;
    }
}

/// A runtime shared by the parts of the logic.
#[derive(Clone)]
pub struct Rt(Rc<dyn Runtime>);

impl fmt::Debug for Rt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rt").finish_non_exhaustive()
    }
}

impl std::ops::Deref for Rt {
    type Target = dyn Runtime;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Rt {
    /// Wraps a runtime.
    #[must_use]
    pub fn new(runtime: Rc<dyn Runtime>) -> Self {
        Self(runtime)
    }

    /// Ready at `deadline` and not before. A deadline that has passed is ready at the first poll.
    #[must_use]
    pub fn sleep_until(&self, deadline: Nanos) -> Sleep {
        Sleep { runtime: self.clone(), deadline, timer: None }
    }
}

impl dyn Runtime {
    /// Yields if the runtime wants this place to be interrupted.
    pub(crate) fn point(&self, point: PreemptPoint) -> Point<'_> {
        Point { rt: self, point: Some(point) }
    }
}

/// Yields once, if the runtime wants this place to be interrupted.
pub(crate) struct Point<'a> {
    rt: &'a dyn Runtime,
    /// Nothing once the runtime was asked.
    point: Option<PreemptPoint>,
}

impl Future for Point<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.point.take() {
            Some(point) if self.rt.gives_way(point, cx) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

/// A wait for an instant. See [`Rt::sleep_until`].
#[derive(Debug)]
pub struct Sleep {
    runtime: Rt,
    deadline: Nanos,
    timer: Option<TimerKey>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.timer {
            None => self.timer = self.runtime.set_timer(self.deadline, cx),
            Some(timer) if self.runtime.poll_timer(timer, cx).is_ready() => self.timer = None,
            Some(_) => {}
        }
        if self.timer.is_some() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.runtime.drop_timer(timer);
        }
    }
}

/// Lets every other ready task run once before the caller goes on.
#[must_use = "futures do nothing unless awaited"]
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// See [`yield_now`].
#[derive(Debug)]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
