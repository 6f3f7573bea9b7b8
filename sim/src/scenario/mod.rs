//! A scenario: everything about a run that is not a choice. Plain data that a person can write as TOML and a
//! generator can draw.

mod arbitrary;
mod drive;
mod generate;
mod host;
mod short;
mod span;
mod toml_file;

pub use arbitrary::Instruction;
pub(crate) use drive::event_note;
pub use drive::{Notebook, Play, drive};
pub use generate::generate;
pub use host::Host;
pub(crate) use short::short;
pub use span::Span;
pub use toml_file::{ScenarioError, from_toml, to_short_toml, to_toml};

use serde::{Deserialize, Serialize};

pub use crate::trace::{Admission, Jitter};
pub use crate::world::Disorder;

/// All input of a run apart from its choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A short name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it is about, for readers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub story: String,
    /// Whether the run ends by itself.
    #[serde(default)]
    pub mode: Mode,
    /// When `run` or `serve` is called.
    #[serde(default, skip_serializing_if = "span_is_zero")]
    pub run_at: Span,
    /// From here on nothing goes wrong any more, and progress is owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calm_at: Option<Span>,
    /// Limits and periods of the supervisor.
    #[serde(default)]
    pub config: Config,
    /// Tasks that are there from the start or can be added.
    #[serde(default, rename = "task", skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskDecl>,
    /// Those who are told of events.
    #[serde(default, rename = "subscriber", skip_serializing_if = "Vec::is_empty")]
    pub subscribers: Vec<SubscriberDecl>,
    /// Bus receivers outside the runtime.
    #[serde(default, rename = "receiver", skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<ReceiverDecl>,
    /// What is asked of the supervisor, and when.
    #[serde(default, rename = "operation", skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
}

/// Whether a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// `run`: it ends when nothing is registered any more.
    #[default]
    Run,
    /// `serve`: it waits for a shutdown.
    Serve,
}

/// Limits and periods of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long a shutdown waits. Default 60 s.
    pub grace: Span,
    /// Attempts at once; 0, the default, is no limit.
    pub max_concurrent: u32,
    /// Events that the bus keeps. Default 1024.
    pub bus_capacity: u32,
    /// Limit of one attempt for tasks without their own. 0, the default, is none.
    pub timeout: Span,
    /// The controller. Absent, the default: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<Controller>,
    /// What may happen to an event between its stamp and the bus. Default nothing.
    #[serde(skip_serializing_if = "is_orderly")]
    pub disorder: Disorder,
}

/// Limits of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Controller {
    /// Submissions that may wait for the controller. Default 1024; 0 counts as 1.
    pub queue_capacity: u32,
    /// Specs that may wait in one slot. Default 100.
    pub slot_capacity: u32,
}

impl Default for Controller {
    fn default() -> Self {
        Self { queue_capacity: 1024, slot_capacity: 100 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grace: Span::from_secs(60),
            max_concurrent: 0,
            bus_capacity: 1024,
            timeout: Span::ZERO,
            controller: None,
            disorder: Disorder::None,
        }
    }
}

/// A task: name, policies, and what each attempt does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskDecl {
    /// The task's name. Several declarations may share it: they are versions of one task.
    pub name: String,
    /// What operations call this declaration, if not by the task's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it is among the specs that `run` is called with.
    #[serde(default, skip_serializing_if = "is_false")]
    pub start: bool,
    /// Restart policy. Default `on-failure`.
    #[serde(default)]
    pub restart: Restart,
    /// Backoff policy.
    #[serde(default)]
    pub backoff: Backoff,
    /// Limit of one attempt: absent means the supervisor's, 0 none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// What each attempt does; the last step is repeated. Empty: every attempt ends well at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Step>,
}

impl TaskDecl {
    /// What operations call it.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.name)
    }
}

/// Restart policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Restart {
    /// One attempt.
    Never,
    /// After failures.
    #[default]
    OnFailure,
    /// After successes too, `every` later; without it, at once.
    Always {
        /// Wait after a success.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every: Option<Span>,
    },
}

/// Backoff policy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// First delay. Default 100 ms.
    pub first: Span,
    /// Longest delay. Default 30 s.
    pub max: Span,
    /// Growth per failure in a row. Default 1.
    #[serde(with = "crate::files::factor")]
    pub factor: f64,
    /// Spread. Default none.
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Span::from_millis(100), max: Span::from_secs(30), factor: 1.0, jitter: Jitter::None }
    }
}

/// What one attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// How long it runs. Default 0.
    #[serde(skip_serializing_if = "span_is_zero")]
    pub run: Span,
    /// How it ends then. Default `ok`.
    pub then: Ending,
    /// What it does when its context is cancelled. Default: it ends at once as `canceled`.
    #[serde(skip_serializing_if = "OnCancel::is_default")]
    pub on_cancel: OnCancel,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// `Ok(())`.
    #[default]
    Ok,
    /// `TaskError::Fail`.
    Fail,
    /// `TaskError::Fatal`.
    Fatal,
    /// `TaskError::Canceled`.
    Canceled,
    /// A panic.
    Panic,
    /// Not at all.
    Never,
}

/// What a body does when its context is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OnCancel {
    /// Nothing: it goes on as if it had not been told.
    Ignore,
    /// It cleans up and ends.
    End {
        /// How long it cleans up. Default 0.
        #[serde(default, skip_serializing_if = "span_is_zero")]
        after: Span,
        /// How it ends. Default `canceled`.
        #[serde(default = "canceled")]
        then: Ending,
    },
}

impl OnCancel {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for OnCancel {
    fn default() -> Self {
        Self::End { after: Span::ZERO, then: Ending::Canceled }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_orderly(disorder: &Disorder) -> bool {
    *disorder == Disorder::None
}

fn canceled() -> Ending {
    Ending::Canceled
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn span_is_zero(span: &Span) -> bool {
    span.is_zero()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(value: &bool) -> bool {
    !value
}

/// Someone who is told of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriberDecl {
    /// The subscriber's name; unique.
    pub name: String,
    /// How many events may wait. Default 1024.
    #[serde(default = "default_queue")]
    pub capacity: u32,
    /// How it handles them.
    #[serde(default)]
    pub behaviour: Behaviour,
}

fn default_queue() -> u32 {
    1024
}

/// How a subscriber handles events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Behaviour {
    /// At once.
    #[default]
    Quick,
    /// Each takes this long.
    Slow {
        /// How long.
        each: Span,
    },
    /// The first `after` at once, then one that never ends.
    Stuck {
        /// How many are handled first.
        after: u32,
    },
    /// It panics on every `every`th event, at once; 1 is every one, reports of its own panics included.
    Panics {
        /// How often.
        every: u32,
    },
}

/// A bus receiver outside the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverDecl {
    /// The receiver's name; unique among receivers.
    pub name: String,
    /// How long it pauses after each event. Default 0.
    #[serde(default, skip_serializing_if = "span_is_zero")]
    pub pause: Span,
}

/// Something that is asked of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// When.
    pub at: Span,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What is asked of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// `add_task` with the declaration of this key.
    Add(String),
    /// `remove_task` by name.
    Remove(String),
    /// `cancel`, or `cancel_with_timeout` where `wait` is given.
    Cancel {
        /// The task's name.
        task: String,
        /// How long to wait. Absent: the supervisor's grace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait: Option<Span>,
    },
    /// `list_tasks`.
    List,
    /// `snapshot`.
    Snapshot,
    /// `is_alive` by name.
    IsAlive(String),
    /// `wait_ready`.
    WaitReady,
    /// `shutdown`.
    Shutdown,
    /// The wall clock is set, forth or back.
    SetWall {
        /// By how many milliseconds.
        by_ms: i64,
    },
    /// `submit`, or `try_submit` where `try` is set, with the declaration of this key.
    Submit {
        /// The declaration's key.
        task: String,
        /// What happens if its slot is not idle. Default `queue`.
        #[serde(default)]
        how: Admission,
        /// Whether it gives up where there is no room. Default no.
        #[serde(default, rename = "try", skip_serializing_if = "is_false")]
        at_once: bool,
    },
}

impl Scenario {
    /// Whether some task can keep the world busy at one instant: it restarts without delay after taking no time. Only
    /// then may a run end in a livelock.
    #[must_use]
    pub fn may_spin(&self) -> bool {
        self.tasks.iter().any(TaskDecl::may_spin)
    }

    /// Rounds every time and span to whole milliseconds, and backoffs grow by whole factors, so that they stay whole:
    /// what a runtime can play whose timers have that resolution, as Tokio's.
    pub fn round_to_millis(&mut self) {
        let round =
            |span: &mut Span| *span = Span::from_millis(span.ns().saturating_add(500_000) / 1_000_000);
        round(&mut self.run_at);
        round(&mut self.config.grace);
        round(&mut self.config.timeout);
        self.calm_at.iter_mut().for_each(round);
        for task in &mut self.tasks {
            task.timeout.iter_mut().for_each(round);
            round(&mut task.backoff.first);
            round(&mut task.backoff.max);
            if task.backoff.factor.fract() != 0.0 {
                task.backoff.factor = 2.0;
            }
            if let Restart::Always { every: Some(every) } = &mut task.restart {
                round(every);
            }
            for step in &mut task.script {
                round(&mut step.run);
                if let OnCancel::End { after, .. } = &mut step.on_cancel {
                    round(after);
                }
            }
        }
        for subscriber in &mut self.subscribers {
            if let Behaviour::Slow { each } = &mut subscriber.behaviour {
                round(each);
            }
        }
        self.receivers.iter_mut().for_each(|receiver| round(&mut receiver.pause));
        for operation in &mut self.operations {
            round(&mut operation.at);
            if let Action::Cancel { wait: Some(wait), .. } = &mut operation.action {
                round(wait);
            }
        }
    }

    /// Leaves out what only a simulation can play: events late or twice, and a wall clock that is set.
    pub fn leave_out_faults_of_the_world(&mut self) {
        self.config.disorder = Disorder::None;
        self.operations.retain(|operation| !matches!(operation.action, Action::SetWall { .. }));
    }

    /// Whether some operation is a shutdown.
    #[must_use]
    pub fn asks_for_shutdown(&self) -> bool {
        self.operations.iter().any(|operation| operation.action == Action::Shutdown)
    }
}

impl TaskDecl {
    fn may_spin(&self) -> bool {
        let default = [Step::default()];
        let script = if self.script.is_empty() { &default[..] } else { &self.script };
        script.iter().any(|step| {
            let restarts_after_ok = match self.restart {
                Restart::Always { every } => every.is_none_or(Span::is_zero),
                Restart::Never | Restart::OnFailure => false,
            };
            let backoff_is_zero = self.backoff.first.is_zero()
                || self.backoff.max.is_zero()
                || self.backoff.jitter != Jitter::None
                || self.backoff.factor.abs() < 1.0;
            let restarts_after_failure = self.restart != Restart::Never && backoff_is_zero;
            step.run.is_zero()
                && match step.then {
                    Ending::Ok => restarts_after_ok,
                    Ending::Fail | Ending::Panic => restarts_after_failure,
                    Ending::Fatal | Ending::Canceled | Ending::Never => false,
                }
        })
    }
}
