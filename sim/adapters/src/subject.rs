//! What a runtime must offer to be judged: a way to run a scenario and tell what happened.
//!
//! ```no_run
//! use simvisor_adapters::{Play, subject};
//!
//! let subject = subject("taskvisor@0.1.0").expect("it is built in");
//! for text in subject.not_judged() {
//!     println!("not judged: {text}");
//! }
//! ```

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use simvisor_sim::scenario::{Admission, Mode, Scenario};

use crate::body::Job;
use crate::stage::Stage;

/// A runtime that scenarios are run on.
pub trait Subject: Send + Sync {
    /// What it is called on the command line, such as `taskvisor@0.1.0`.
    fn name(&self) -> &'static str;

    /// What it is called in the header of a trace, such as `taskvisor 0.1.0`.
    fn runtime(&self) -> String {
        self.name().replace('@', " ")
    }

    /// The dialect in which its traces are judged unless another is asked for.
    fn dialect(&self) -> &'static str {
        "contract"
    }

    /// Changes a scenario into one that this runtime can be asked to run: what it does not offer is left out, and what
    /// it offers in another form is brought into that form.
    fn fit(&self, scenario: &mut Scenario);

    /// What is therefore not judged, and what is judged otherwise, one sentence each.
    fn not_judged(&self) -> &'static [&'static str];

    /// Whether the runtime works on threads of its own, beside the executor. Then they take turns
    /// ([`crate::machine::threads`]).
    fn has_threads(&self) -> bool {
        false
    }

    /// Makes a runtime, within Tokio, before anything happens.
    fn open(&self, stage: &Stage, scenario: &Scenario) -> Arc<dyn Runtime>;
}

/// A runtime that a scenario is run on.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Runs until nothing is left, or until a shutdown.
    async fn run(&self, mode: Mode, jobs: Vec<Job>) -> Reply;

    /// Does what is asked.
    async fn perform(&self, request: Request) -> Reply;

    /// Waits until a shutdown can be asked for, if there are times at which it cannot.
    async fn can_shut_down(&self) {}
}

/// What is asked of a runtime.
#[derive(Debug)]
pub enum Request {
    /// Add a task.
    Add(Job),
    /// Remove a task by name.
    Remove(String),
    /// Remove a task and wait for its end; without `wait` as long as the runtime does by itself.
    Cancel {
        /// The task's name.
        task: String,
        /// How long to wait.
        wait: Option<Duration>,
    },
    /// Which tasks are registered?
    List,
    /// Which tasks are in an attempt?
    Snapshot,
    /// Is this task in an attempt?
    IsAlive(String),
    /// Wait until the runtime is up.
    WaitReady,
    /// End.
    Shutdown,
    /// Give a task to the controller.
    Submit {
        /// The task.
        job: Job,
        /// What happens if its slot is not idle.
        how: Admission,
        /// Give up where there is no room.
        at_once: bool,
    },
}

/// What a runtime answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing, or success.
    Done,
    /// Yes or no.
    Bool(bool),
    /// Names, in its order.
    Names(Vec<String>),
    /// There is a task of this name.
    AlreadyExists,
    /// There is no task of this name.
    NotFound,
    /// It was not removed in time.
    RemoveTimeout,
    /// It is shutting down.
    ShuttingDown,
    /// These tasks did not end within grace.
    GraceExceeded(Vec<String>),
    /// No room.
    Full,
    /// There is no controller.
    NotConfigured,
    /// Nothing is taken any more.
    Closed,
    /// Another error, by its text.
    Error(String),
}
