//! `task-supervisor` 0.5.2 as published: a runtime that was not designed with this contract in mind.
//!
//! It has no events but what it says through `tracing`, so that is what is listened to: each message becomes the events
//! of the contract that it stands for. What it never says (that a run ended well during a shutdown) its body says.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use simvisor::BackoffSource;
use simvisor_sim::conform::ForeignEvent;
use simvisor_sim::scenario::{
    Action, Backoff, Ending, Jitter, Mode, OnCancel, Operation, Restart, Scenario, Span,
};
use task_supervisor::{
    CancellationToken, SupervisedTask, SupervisorBuilder, SupervisorHandle, SupervisorHandleError,
    TaskResult, TaskStatus,
};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::body::{Job, Returned};
use crate::stage::Stage;
use crate::subject::{Reply, Request, Runtime, Subject};

pub(super) struct TaskSupervisor;

/// How long after the last operation a shutdown is asked for where the scenario has none: it never ends by itself.
const LAST_CALL: u64 = 50_000_000;

impl Subject for TaskSupervisor {
    fn name(&self) -> &'static str {
        "task-supervisor@0.5.2"
    }

    fn fit(&self, scenario: &mut Scenario) {
        scenario.round_to_millis();
        scenario.leave_out_faults_of_the_world();
        scenario.receivers.clear();
        scenario.subscribers.clear();
        scenario.config.controller = None;
        scenario.config.max_concurrent = 0;
        scenario.config.timeout = Span::ZERO;
        scenario.mode = Mode::Serve;
        scenario.run_at = Span::ZERO;
        // One declaration of a name, and one add of it.
        let mut names = Vec::new();
        scenario.tasks.retain(|task| {
            let is_new = !names.contains(&task.name);
            names.push(task.name.clone());
            is_new
        });
        let backoff = scenario.tasks.first().map_or_else(Backoff::default, |task| task.backoff);
        let backoff = Backoff { factor: 2.0, jitter: Jitter::None, ..backoff };
        let mut added = Vec::new();
        let mut operations = Vec::new();
        for task in &mut scenario.tasks {
            task.key = None;
            task.restart = Restart::OnFailure;
            task.timeout = None;
            task.backoff = backoff;
            for step in &mut task.script {
                let offered = |ending: &mut Ending| {
                    *ending = match *ending {
                        Ending::Fatal => Ending::Fail,
                        Ending::Canceled => Ending::Ok,
                        other => other,
                    };
                };
                offered(&mut step.then);
                match &mut step.on_cancel {
                    OnCancel::End { then, .. } => offered(then),
                    OnCancel::Ignore => {}
                }
            }
            if std::mem::take(&mut task.start) {
                added.push(task.name.clone());
                operations.push(Operation { at: Span::ZERO, action: Action::Add(task.name.clone()) });
            }
        }
        let mut last = Span::ZERO;
        let mut ends = false;
        for operation in std::mem::take(&mut scenario.operations) {
            last = last.max(operation.at);
            let is_driven = match &operation.action {
                Action::Add(name) if scenario.tasks.iter().any(|task| task.name == *name) => {
                    let is_first = !added.contains(name);
                    added.push(name.clone());
                    is_first
                }
                Action::Shutdown => {
                    ends = true;
                    true
                }
                Action::Remove(_) | Action::List => true,
                _ => false,
            };
            if is_driven {
                operations.push(operation);
            }
        }
        if !ends {
            let at = Span(last.max(scenario.calm_at.unwrap_or_default()).ns() + LAST_CALL);
            operations.push(Operation { at, action: Action::Shutdown });
        }
        scenario.operations = operations;
    }

    fn not_judged(&self) -> &'static [&'static str] {
        &[
            "subscribers, receivers and counters (S3 to S10): its only events are messages of `tracing`",
            "permits (A6), timeouts (A3), fatal errors, the controller, `is_alive`, `snapshot`, `wait_ready`: it has none",
            "`Never` and `Always`, and a backoff of one's own: policies are the supervisor's, growth is always 2",
            "restart limits and windows, `restart_task`, thresholds of dead tasks: the contract has none",
            "a name that is added again: an ended task keeps its name, as Completed or Dead; here it counts as removed",
            "`run` that ends when nothing is left (D1): it serves until a shutdown, which is added where there is none",
            "the end of a run that stops well during a shutdown: it says nothing, so its body does",
        ]
    }

    fn open(&self, stage: &Stage, scenario: &Scenario) -> Arc<dyn Runtime> {
        let ear = Ear {
            stage: stage.clone(),
            next_seq: Arc::default(),
            next_span: AtomicU64::new(1),
            state: Arc::default(),
        };
        let running = (ear.stage.clone(), Arc::clone(&ear.next_seq), Arc::clone(&ear.state));
        // A process plays one case; nobody else has set one.
        drop(tracing::subscriber::set_global_default(ear));
        let backoff = scenario.tasks.first().map_or_else(Backoff::default, |task| task.backoff);
        let handle = SupervisorBuilder::new()
            .with_unlimited_restarts()
            .with_base_restart_delay(backoff.first.duration())
            .with_max_restart_delay(backoff.max.duration())
            .with_restart_jitter(0.0)
            .with_stop_timeout(scenario.config.grace.duration())
            .spawn();
        let (stage, next_seq, state) = running;
        Arc::new(Running { handle, teller: Teller { stage, next_seq, state } })
    }
}

/// What is known of a task from what was said of it.
#[derive(Default, Clone, Copy)]
struct Known {
    attempt: u32,
    is_running: bool,
    is_removing: bool,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<String, Known>,
    is_shutting_down: bool,
}

#[derive(Clone)]
struct Teller {
    stage: Stage,
    next_seq: Arc<AtomicU64>,
    state: Arc<Mutex<State>>,
}

impl Teller {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, kind: &str, task: Option<&str>, fill: impl FnOnce(&mut ForeignEvent)) {
        let at = SystemTime::now();
        let mut event = ForeignEvent::new(kind);
        event.seq = Some(self.next_seq.fetch_add(1, Ordering::Relaxed));
        event.task = task.map(str::to_owned);
        fill(&mut event);
        self.stage.event(at, event);
    }

    fn gone(&self, task: &str) {
        if self.state().tasks.remove(task).is_some() {
            self.publish("TaskRemoved", Some(task), |_| {});
        }
    }

    /// A message of the crate, as the events that it stands for.
    fn heard(&self, said: &Said) {
        let task = said.task.as_deref();
        let name = task.unwrap_or_default();
        let known = self.state().tasks.get(name).copied();
        let attempt = known.map(|known| known.attempt);
        let error = said.error.as_deref().map(|text| match text.strip_prefix("panicked: ") {
            Some(message) => format!("panic: {message}"),
            None => text.to_owned(),
        });
        let failed = |event: &mut ForeignEvent| {
            event.attempt = attempt;
            event.reason.clone_from(&error);
        };
        match said.message.as_str() {
            "started" => {
                if known.is_none() {
                    self.publish("TaskAddRequested", task, |_| {});
                    self.publish("TaskAdded", task, |_| {});
                }
                let attempt = said.generation as u32;
                let now = Known { attempt, is_running: true, is_removing: false };
                self.state().tasks.insert(name.to_owned(), now);
                self.publish("TaskStarting", task, |event| event.attempt = Some(attempt));
            }
            "completed" => {
                self.publish("TaskStopped", task, |_| {});
                self.publish("ActorExhausted", task, |event| {
                    event.attempt = attempt;
                    event.reason = Some("policy_exhausted_success".to_owned());
                });
                self.gone(name);
            }
            "failed; restart scheduled" => {
                if let Some(known) = self.state().tasks.get_mut(name) {
                    known.is_running = false;
                }
                self.publish("TaskFailed", task, failed);
                self.publish("BackoffScheduled", task, |event| {
                    failed(event);
                    event.delay_ms = said.delay.map(|delay| delay.as_millis() as u32);
                    event.source = Some(BackoffSource::Failure);
                });
            }
            "kill requested" => {
                let Some(known) = known.filter(|known| !known.is_removing) else { return };
                self.publish("TaskRemoveRequested", task, |_| {});
                if known.is_running {
                    self.state().tasks.insert(name.to_owned(), Known { is_removing: true, ..known });
                } else {
                    self.gone(name);
                }
            }
            "stopped" if known.is_some() => {
                self.publish("TaskStopped", task, |_| {});
                self.gone(name);
            }
            "stopped with error" if known.is_some() => {
                self.publish("TaskFailed", task, failed);
                self.gone(name);
            }
            "shutdown requested" => {
                self.state().is_shutting_down = true;
                self.publish("ShutdownRequested", None, |_| {});
                // What waits for a restart is given up without a word.
                let waiting: Vec<_> = {
                    let state = self.state();
                    let waiting = state.tasks.iter().filter(|(_, known)| !known.is_running);
                    waiting.map(|(name, _)| name.clone()).collect()
                };
                waiting.iter().for_each(|name| self.gone(name));
            }
            "all tasks stopped" if self.state().is_shutting_down => {
                self.publish("AllStoppedWithinGrace", None, |_| {});
            }
            _ => {}
        }
    }
}

struct Running {
    handle: SupervisorHandle,
    teller: Teller,
}

#[async_trait]
impl Runtime for Running {
    async fn run(&self, _: Mode, _: Vec<Job>) -> Reply {
        match self.handle.wait().await {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Error(error.to_string()),
        }
    }

    async fn perform(&self, request: Request) -> Reply {
        let result = match request {
            Request::Add(job) => {
                let name = job.decl().name.clone();
                self.handle
                    .add_task(&name, Played { job, teller: self.teller.clone() })
                    .await
                    .map(|()| Reply::Done)
            }
            Request::Remove(name) => match self.handle.task_status(&name).await {
                Ok(TaskStatus::Completed | TaskStatus::Dead) => Ok(Reply::NotFound),
                Ok(_) => {
                    let handle = self.handle.clone();
                    tokio::spawn(async move { handle.kill_task(&name).await });
                    for _ in 0..4 {
                        tokio::task::yield_now().await;
                    }
                    Ok(Reply::Done)
                }
                Err(error) => Err(error),
            },
            Request::List => self.handle.task_statuses().await.map(|statuses| {
                let is_there = |status| !matches!(status, TaskStatus::Completed | TaskStatus::Dead);
                let names = statuses.iter().filter(|(_, status)| is_there(**status));
                let mut names: Vec<_> = names.map(|(name, _)| name.to_string()).collect();
                names.sort_unstable();
                Reply::Names(names)
            }),
            Request::Shutdown => {
                let handle = self.handle.clone();
                tokio::spawn(async move { handle.shutdown().await });
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                Ok(Reply::Done)
            }
            // Left out by `fit`.
            _ => Ok(Reply::Done),
        };
        result.unwrap_or_else(|error| match error {
            SupervisorHandleError::TaskAlreadyExists(_) => Reply::AlreadyExists,
            SupervisorHandleError::TaskNotFound(_) => Reply::NotFound,
            SupervisorHandleError::Closed => Reply::ShuttingDown,
        })
    }
}

#[derive(Clone)]
struct Played {
    job: Job,
    teller: Teller,
}

impl SupervisedTask for Played {
    async fn run(self, cancel: CancellationToken) -> TaskResult {
        match self.job.body(cancel).await {
            Returned::Ok | Returned::Canceled => {
                if self.teller.state().is_shutting_down {
                    let name = &self.job.decl().name;
                    self.teller.publish("TaskStopped", Some(name), |_| {});
                    self.teller.gone(name);
                }
                Ok(())
            }
            Returned::Fail | Returned::Fatal => Err("execution failed: boom".into()),
        }
    }
}

/// Listens to `tracing`.
struct Ear {
    stage: Stage,
    next_seq: Arc<AtomicU64>,
    next_span: AtomicU64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct Said {
    message: String,
    task: Option<String>,
    error: Option<String>,
    delay: Option<Duration>,
    generation: u64,
}

impl Visit for Said {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "generation" {
            self.generation = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "task" {
            self.task = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            "task" => self.task = Some(text),
            "error" => self.error = Some(text),
            "delay" => self.delay = span_of(&text),
            _ => {}
        }
    }
}

/// A duration from its debug text, such as `1.5ms`.
fn span_of(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| c.is_alphabetic())?;
    let number: f64 = text[..unit].parse().ok()?;
    let seconds = match &text[unit..] {
        "s" => number,
        "ms" => number / 1e3,
        "µs" => number / 1e6,
        "ns" => number / 1e9,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

impl tracing::Subscriber for Ear {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("task_supervisor")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.next_span.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        let (stage, state) = (self.stage.clone(), Arc::clone(&self.state));
        Teller { stage, next_seq: Arc::clone(&self.next_seq), state }.heard(&said);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_printed() {
        for span in [Duration::from_millis(3), Duration::from_micros(1_500), Duration::from_secs(30)] {
            assert_eq!(span_of(&format!("{span:?}")), Some(span));
        }
        assert_eq!(span_of("soon"), None);
    }
}
