//! The neutral trace: what a run did, as records that any runtime could write and any judge can read.
//!
//! Nothing in here knows of executors or of the logic; only event kinds are shared with the crate `simvisor`.
//! Records are fed to [`Sink`]s as the run goes, so that judging and hashing need no stored trace.

mod hash;
pub(crate) mod json;
mod stored;
mod text;

pub use hash::TraceHash;
pub use json::{
    JsonLines, LINE_BYTES_MAX, TEXT_BYTES_MAX, TEXTS_MAX, TraceError, TraceReader, header_line, record_line,
};
pub use stored::Stored;
pub use text::{Held, Text, Texts};

use serde::{Deserialize, Serialize};
use simvisor::{BackoffSource, EventKind};

/// Format name in the header of a trace.
pub const FORMAT: &str = "simvisor-trace";

/// Version of the trace format.
pub const VERSION: u32 = 1;

/// The first line of a trace: who ran, and under which limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Name and version of the runtime, such as `simvisor 0.1.0`.
    pub runtime: String,
    /// Name of the scenario, if it has one.
    pub scenario: Option<String>,
    /// Limits and periods of the supervisor.
    pub config: ConfigNote,
    /// Each subscriber's name and queue capacity.
    pub subscribers: Vec<(Text, u64)>,
}

/// Limits and periods of a supervisor, as rules need them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigNote {
    /// Grace of a shutdown, in nanoseconds.
    pub grace_ns: u64,
    /// Attempts at once; 0 is no limit.
    pub max_concurrent: u64,
    /// Events that the bus keeps.
    pub bus_capacity: u64,
    /// By how much a timer may fire late, in nanoseconds. 0 on an exact clock.
    pub timer_late_ns: u64,
    /// Limits of the controller, if there is one.
    #[serde(default, deserialize_with = "json::object::maybe", skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerNote>,
    /// Stamp and delivery of an event are two steps: `Delivered` records tell the order on the bus.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disorder: bool,
}

/// Limits of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerNote {
    /// Submissions that may wait for the controller.
    pub queue_capacity: u64,
    /// Specs that may wait in one slot.
    pub slot_capacity: u64,
}

/// One thing that was observed.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Instant on the runtime's clock, in nanoseconds since it started.
    pub at_ns: u64,
    /// Number of the executor's turn in which it was observed. Two records of one turn had nothing between them.
    /// `None` where the runtime cannot tell.
    pub turn: Option<u64>,
    /// What was observed.
    pub what: What,
}

/// What was observed.
// Which of them it is lies in a byte of its own, and not in what no value of a field can be: every judge asks for each
// record, and has the answer with one load.
#[derive(Debug, Clone, PartialEq)]
#[repr(u8)]
pub enum What {
    /// An event was published.
    Event(EventNote),
    /// A call to the supervisor begins. `op` tells concurrent calls apart and is never used twice.
    Call {
        /// Number of the operation.
        op: u32,
        /// What is called.
        call: Call,
    },
    /// A call returns.
    Answer {
        /// Number of the operation.
        op: u32,
        /// What it returned.
        answer: Answer,
    },
    /// The body of an attempt was made and is about to run.
    BodyEntered {
        /// The task.
        task: Text,
        /// How many bodies of this incarnation were entered, this one included.
        attempt: u32,
        /// The operation that brought this incarnation's task: an add, a submission, or the run. `None` where the
        /// runtime cannot tell.
        op: Option<u32>,
    },
    /// The body of an attempt ended or was dropped.
    BodyLeft {
        /// The task.
        task: Text,
        /// As in `BodyEntered`.
        attempt: u32,
        /// How.
        how: BodyEnd,
    },
    /// The body's context was seen to be cancelled, at this instant: once, by a body that goes on as well as by one
    /// that is dropped. A runtime that tells of bodies tells of this too.
    BodyCancelled {
        /// The task.
        task: Text,
        /// As in `BodyEntered`.
        attempt: u32,
    },
    /// An event was put on the bus. Told only where stamp and delivery are two steps.
    Delivered {
        /// Number of the event.
        seq: u64,
    },
    /// Which tasks an alive tracker holds for alive, that was fed with everything that a bus receiver received so far.
    AliveSeen {
        /// The receiver.
        receiver: Text,
        /// Their names, sorted.
        alive: Vec<Text>,
    },
    /// A bus receiver of the runtime's user received an event.
    Received {
        /// The receiver.
        receiver: Text,
        /// Number of the event.
        seq: u64,
    },
    /// A bus receiver was told that it lost events.
    Lagged {
        /// The receiver.
        receiver: Text,
        /// How many.
        lost: u64,
    },
    /// A bus receiver was told that nothing more will come. It has been given, or told that it lost, every event.
    ReceiverClosed {
        /// The receiver.
        receiver: Text,
    },
    /// A bus receiver began to listen: it is owed every event from here on.
    ReceiverOpened {
        /// The receiver.
        receiver: Text,
    },
    /// A subscriber's handler was called.
    HandlerEntered {
        /// The subscriber.
        subscriber: Text,
        /// Number of the event.
        seq: u64,
    },
    /// A subscriber's handler ended.
    HandlerLeft {
        /// The subscriber.
        subscriber: Text,
        /// Number of the event.
        seq: u64,
        /// How.
        how: HandlerEnd,
    },
    /// A subscriber's counters after the run.
    Counters {
        /// The subscriber.
        subscriber: Text,
        /// Handlers that returned.
        handled: u64,
        /// Handlers that panicked.
        panicked: u64,
        /// Events dropped at its queue or at the end of the run.
        dropped: u64,
        /// Events lost by the lagging listener.
        lagged: u64,
    },
    /// What the run left behind at the moment it returned.
    Leftovers {
        /// Futures of the runtime that are still there.
        futures: u64,
        /// Timers of the runtime that are still set.
        timers: u64,
        /// Permits that were not given back.
        permits: u64,
    },
    /// The wall clock was set, by this many nanoseconds forth (positive) or back.
    WallSet {
        /// By how much.
        by_ns: i64,
    },
    /// From here on nothing goes wrong any more: bodies end well and soon, handlers are quick, and no further
    /// operation but a last shutdown comes. Progress is owed.
    Calm,
    /// The world ended. The last record.
    End(EndNote),
}

/// An event, field for field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventNote {
    /// Number.
    pub seq: u64,
    /// Wall clock, nanoseconds since the Unix epoch.
    pub wall_ns: i64,
    /// Kind.
    pub kind: EventKind,
    /// Task, subscriber or slot.
    pub task: Option<Text>,
    /// Reason.
    pub reason: Option<Text>,
    /// Attempt.
    pub attempt: Option<u32>,
    /// Timeout, milliseconds.
    pub timeout_ms: Option<u32>,
    /// Delay, milliseconds.
    pub delay_ms: Option<u32>,
    /// What a backoff follows.
    pub source: Option<BackoffSource>,
}

/// A task and the policies it runs under, as far as rules need them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpecNote {
    /// The task's name.
    pub task: Text,
    /// Restart policy.
    pub restart: Restart,
    /// Backoff policy.
    pub backoff: BackoffNote,
    /// Limit of one attempt in nanoseconds, 0 for none.
    pub timeout_ns: u64,
}

/// Restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// One attempt.
    Never,
    /// After failures.
    OnFailure,
    /// After successes too, `interval_ns` later; `None` goes on at once.
    Always {
        /// Wait after a success.
        interval_ns: Option<u64>,
    },
}

/// Backoff policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffNote {
    /// First delay.
    pub first_ns: u64,
    /// Longest delay.
    pub max_ns: u64,
    /// Growth.
    pub factor: f64,
    /// Spread.
    pub jitter: Jitter,
}

/// Spread of a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Jitter {
    /// As computed.
    #[default]
    None,
    /// Uniform in `[0, d]`.
    Full,
    /// `d/2` plus uniform in `[0, d/2]`.
    Equal,
    /// Uniform in `[first, min(3d, max)]`.
    Decorrelated,
}

/// A call to the supervisor.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `run` with these specs.
    Run(Vec<SpecNote>),
    /// `serve`.
    Serve,
    /// `add_task`.
    Add(SpecNote),
    /// `remove_task`.
    Remove(Text),
    /// `cancel`, or `cancel_with_timeout`.
    Cancel {
        /// The task.
        task: Text,
        /// How long it waits.
        wait_ns: u64,
    },
    /// `list_tasks`.
    List,
    /// `snapshot`.
    Snapshot,
    /// `is_alive`.
    IsAlive(Text),
    /// `wait_ready`.
    WaitReady,
    /// `shutdown`.
    Shutdown,
    /// `submit`, or `try_submit`.
    Submit {
        /// The task.
        spec: SpecNote,
        /// What happens if its slot is not idle.
        admission: Admission,
        /// Whether it waits for room: `submit` does, `try_submit` does not.
        wait: bool,
    },
}

/// What a controller does with a submission to a slot that is not idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Admission {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It takes the place of what runs.
    Replace,
    /// It is rejected.
    DropIfRunning,
}

/// What a call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing, or `Ok(())`.
    Done,
    /// `true` or `false`.
    Bool(bool),
    /// Names, in the order in which they were given.
    Names(Vec<Text>),
    /// `TaskAlreadyExists`.
    AlreadyExists,
    /// `TaskNotFound`.
    NotFound,
    /// `TaskRemoveTimeout`.
    RemoveTimeout,
    /// `ShuttingDown`.
    ShuttingDown,
    /// `GraceExceeded` with the names of the stuck tasks.
    GraceExceeded(Vec<Text>),
    /// `Full`: no room for a submission.
    Full,
    /// `NotConfigured`: there is no controller.
    NotConfigured,
    /// `Closed`: the controller takes no more submissions.
    Closed,
    /// Another error, by its text.
    Error(Text),
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// `Ok`.
    Ok,
    /// `Canceled`.
    Canceled,
    /// `Fail`, with the error's text.
    Fail(Text),
    /// `Fatal`, with the error's text.
    Fatal(Text),
    /// A panic, with its message.
    Panic(Text),
    /// It was dropped before it ended.
    Dropped,
}

impl BodyEnd {
    /// The text of the error or the panic, where there is one.
    #[must_use]
    pub fn text(self) -> Option<Text> {
        match self {
            Self::Fail(text) | Self::Fatal(text) | Self::Panic(text) => Some(text),
            Self::Ok | Self::Canceled | Self::Dropped => None,
        }
    }
}

/// How a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerEnd {
    /// It returned.
    Done,
    /// It panicked with this message.
    Panic(Text),
    /// It was dropped before it ended.
    Dropped,
}

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndNote {
    /// Everything came to its end.
    Done,
    /// Time cannot advance: these futures keep each other busy at one instant.
    Livelock(Vec<Waiter>),
    /// Nothing can run, no timer is set, and these futures wait.
    Deadlock(Vec<Waiter>),
    /// A limit on turns or virtual time was reached.
    Limit(Text),
}

/// A future that did not end, and what it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter {
    /// Which future, such as `actor web`.
    pub who: Text,
    /// The task it belongs to, if any.
    pub task: Option<Text>,
    /// What it waits for, or that it keeps running.
    pub what: Text,
    /// Since when, in nanoseconds.
    pub since_ns: u64,
}

/// Takes records as the run goes.
pub trait Sink {
    /// Called once, before the first record.
    fn begin(&mut self, header: &Header, texts: &Texts);

    /// Called for each record, in order. Texts may have come since the last call.
    fn record(&mut self, record: &Record, texts: &Texts);

    /// Called for several records in place of [`Sink::record`] for each.
    fn record_all(&mut self, records: &[Record], texts: &Texts) {
        records.iter().for_each(|record| self.record(record, texts));
    }

    /// Whether it may be told of a record later, together with others, as long as that is before the end of the run.
    fn is_patient(&self) -> bool {
        false
    }

    /// Whether it does not care what is recorded, so that nothing need be.
    fn is_deaf(&self) -> bool {
        false
    }
}

/// Every kind of event with its name, in the order of the contract's table.
pub const KINDS: [(EventKind, &str); 19] = [
    (EventKind::SubscriberPanicked, "SubscriberPanicked"),
    (EventKind::SubscriberOverflow, "SubscriberOverflow"),
    (EventKind::ShutdownRequested, "ShutdownRequested"),
    (EventKind::AllStoppedWithinGrace, "AllStoppedWithinGrace"),
    (EventKind::GraceExceeded, "GraceExceeded"),
    (EventKind::TaskStarting, "TaskStarting"),
    (EventKind::TaskStopped, "TaskStopped"),
    (EventKind::TaskFailed, "TaskFailed"),
    (EventKind::TimeoutHit, "TimeoutHit"),
    (EventKind::BackoffScheduled, "BackoffScheduled"),
    (EventKind::TaskAddRequested, "TaskAddRequested"),
    (EventKind::TaskAdded, "TaskAdded"),
    (EventKind::TaskRemoveRequested, "TaskRemoveRequested"),
    (EventKind::TaskRemoved, "TaskRemoved"),
    (EventKind::ActorExhausted, "ActorExhausted"),
    (EventKind::ActorDead, "ActorDead"),
    (EventKind::ControllerRejected, "ControllerRejected"),
    (EventKind::ControllerSubmitted, "ControllerSubmitted"),
    (EventKind::ControllerSlotTransition, "ControllerSlotTransition"),
];

/// The kind's name.
#[must_use]
pub fn kind_name(kind: EventKind) -> &'static str {
    KINDS[kind as usize].1
}
