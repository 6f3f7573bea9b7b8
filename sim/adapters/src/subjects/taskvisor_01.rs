//! `taskvisor` 0.1.0 as published, feature `controller`.
//!
//! It has no call for a shutdown but a signal to the process, so that is what it gets. Its bus is not public: events are
//! seen by a subscriber with a long queue, and those that the bus loses to lag are not seen at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use simvisor::BackoffSource;
use simvisor_sim::conform::ForeignEvent;
use simvisor_sim::scenario::{Admission, Behaviour, Jitter, Mode, Restart, Scenario, Span};
use taskvisor_01::{
    AdmissionPolicy, BackoffPolicy, ControllerConfig, ControllerError, ControllerSpec, Event, JitterPolicy,
    RestartPolicy, RuntimeError, Subscribe, Supervisor, SupervisorConfig, TaskError, TaskFn, TaskSpec,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::body::{Job, Returned};
use crate::machine;
use crate::stage::Stage;
use crate::subject::{Reply, Request, Runtime, Subject};

/// The queue of the subscriber that tells us of events.
const OBSERVER_QUEUE: usize = 1 << 16;

pub(super) struct Taskvisor01;

impl Subject for Taskvisor01 {
    fn name(&self) -> &'static str {
        "taskvisor@0.1.0"
    }

    fn dialect(&self) -> &'static str {
        "taskvisor-0.1"
    }

    fn fit(&self, scenario: &mut Scenario) {
        scenario.round_to_millis();
        scenario.leave_out_faults_of_the_world();
        run_instead_of_serve(scenario);
        scenario.receivers.clear();
        // Tokio's channels refuse a capacity of 0.
        if let Some(controller) = &mut scenario.config.controller {
            controller.queue_capacity = controller.queue_capacity.max(1);
        }
    }

    fn not_judged(&self) -> &'static [&'static str] {
        &[
            "receivers on the bus (S3): the bus is not public",
            "counters of subscribers (S6) and what a run leaves behind (D6, second half): there are none to ask",
            "`serve`: there is none; such scenarios are run with their first task",
            "delivery late or twice (S10) and a wall clock that is set: only a simulation can play them",
            "spans below a millisecond: Tokio's timers know none",
            "a shutdown before `run` waits for signals: it would end the process, so it is asked for once `run` does",
            "what follows an event that was lost to a lagging bus: only whether the run ends (S4)",
        ]
    }

    fn open(&self, stage: &Stage, scenario: &Scenario) -> Arc<dyn Runtime> {
        let config = SupervisorConfig {
            grace: scenario.config.grace.duration(),
            max_concurrent: scenario.config.max_concurrent as usize,
            bus_capacity: scenario.config.bus_capacity as usize,
            timeout: scenario.config.timeout.duration(),
            ..SupervisorConfig::default()
        };
        let mut subscribers: Vec<Arc<dyn Subscribe>> = vec![Arc::new(Observer { stage: stage.clone() })];
        for decl in &scenario.subscribers {
            subscribers.push(Arc::new(Audience {
                stage: stage.clone(),
                name: decl.name.clone().leak(),
                capacity: decl.capacity as usize,
                behaviour: decl.behaviour,
                seen: AtomicU32::new(0),
            }));
        }
        let mut builder = Supervisor::builder(config).with_subscribers(subscribers);
        if let Some(controller) = scenario.config.controller {
            builder = builder.with_controller(ControllerConfig {
                queue_capacity: controller.queue_capacity as usize,
                slot_capacity: controller.slot_capacity as usize,
            });
        }
        Arc::new(Running { supervisor: builder.build(), is_over: AtomicBool::new(false) })
    }
}

/// There is no call that waits for a shutdown even when idle: the first task is there from the start instead.
fn run_instead_of_serve(scenario: &mut Scenario) {
    if scenario.mode == Mode::Serve {
        scenario.mode = Mode::Run;
        if let Some(first) = scenario.tasks.first_mut() {
            first.start = true;
        }
    }
}

struct Running {
    supervisor: Arc<Supervisor>,
    /// The run has returned.
    is_over: AtomicBool,
}

#[async_trait]
impl Runtime for Running {
    async fn run(&self, _: Mode, jobs: Vec<Job>) -> Reply {
        let reply = reply(self.supervisor.run(jobs.iter().map(spec).collect()).await);
        self.is_over.store(true, Ordering::Relaxed);
        reply
    }

    async fn can_shut_down(&self) {
        while !machine::is_handled(libc::SIGTERM) && !self.is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    async fn perform(&self, request: Request) -> Reply {
        let supervisor = &self.supervisor;
        match request {
            Request::Add(job) => reply(supervisor.add_task(spec(&job))),
            Request::Remove(task) => reply(supervisor.remove_task(&task)),
            Request::Cancel { task, wait } => {
                let result = match wait {
                    Some(wait) => supervisor.cancel_with_timeout(&task, wait).await,
                    None => supervisor.cancel(&task).await,
                };
                match result {
                    Ok(existed) => Reply::Bool(existed),
                    Err(error) => reply(Err(error)),
                }
            }
            Request::List => Reply::Names(supervisor.list_tasks().await),
            Request::Snapshot => Reply::Names(supervisor.snapshot().await),
            Request::IsAlive(task) => Reply::Bool(supervisor.is_alive(&task).await),
            Request::WaitReady => {
                supervisor.wait_ready().await;
                Reply::Done
            }
            // Nobody runs any more, and nobody ever listened: a signal would end the process.
            Request::Shutdown if !machine::is_handled(libc::SIGTERM) => Reply::Done,
            Request::Shutdown => {
                // The answer is that the signal has come to the runtime, in the same turn of Tokio's driver as to us.
                let mut signals = signal(SignalKind::terminate()).expect("a handler can be installed");
                machine::raise(libc::SIGTERM);
                signals.recv().await;
                for _ in 0..8 {
                    tokio::task::yield_now().await;
                }
                Reply::Done
            }
            Request::Submit { job, how, at_once } => {
                let admission = match how {
                    Admission::Queue => AdmissionPolicy::Queue,
                    Admission::Replace => AdmissionPolicy::Replace,
                    Admission::DropIfRunning => AdmissionPolicy::DropIfRunning,
                };
                let submission = ControllerSpec::new(admission, spec(&job));
                let result = match at_once {
                    true => supervisor.try_submit(submission),
                    false => supervisor.submit(submission).await,
                };
                match result {
                    Ok(()) => Reply::Done,
                    Err(ControllerError::Full) => Reply::Full,
                    Err(ControllerError::NotConfigured) => Reply::NotConfigured,
                    Err(ControllerError::Closed) => Reply::Closed,
                }
            }
        }
    }
}

fn reply(result: Result<(), RuntimeError>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(RuntimeError::TaskAlreadyExists { .. }) => Reply::AlreadyExists,
        Err(RuntimeError::TaskNotFound { .. }) => Reply::NotFound,
        Err(RuntimeError::TaskRemoveTimeout { .. }) => Reply::RemoveTimeout,
        Err(RuntimeError::GraceExceeded { stuck, .. }) => Reply::GraceExceeded(stuck),
        Err(other) => Reply::Error(other.to_string()),
    }
}

fn spec(job: &Job) -> TaskSpec {
    let decl = job.decl();
    let body = job.clone();
    let task = TaskFn::arc(decl.name.clone(), move |ctx| {
        let body = body.body(ctx);
        async move {
            match body.await {
                Returned::Ok => Ok(()),
                Returned::Canceled => Err(TaskError::Canceled),
                Returned::Fail => Err(TaskError::Fail { reason: "boom".to_owned() }),
                Returned::Fatal => Err(TaskError::Fatal { reason: "gone".to_owned() }),
            }
        }
    });
    let restart = match decl.restart {
        Restart::Never => RestartPolicy::Never,
        Restart::OnFailure => RestartPolicy::OnFailure,
        Restart::Always { every } => RestartPolicy::Always { interval: every.map(Span::duration) },
    };
    let backoff = BackoffPolicy {
        first: decl.backoff.first.duration(),
        max: decl.backoff.max.duration(),
        factor: decl.backoff.factor,
        jitter: match decl.backoff.jitter {
            Jitter::None => JitterPolicy::None,
            Jitter::Full => JitterPolicy::Full,
            Jitter::Equal => JitterPolicy::Equal,
            Jitter::Decorrelated => JitterPolicy::Decorrelated,
        },
    };
    TaskSpec::new(task, restart, backoff, job.timeout())
}

/// Tells the stage of every event that reaches it.
struct Observer {
    stage: Stage,
}

#[async_trait]
impl Subscribe for Observer {
    async fn on_event(&self, event: &Event) {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let told = ForeignEvent {
            seq: Some(event.seq),
            task: text(&event.task),
            reason: text(&event.reason),
            attempt: event.attempt,
            timeout_ms: event.timeout_ms,
            delay_ms: event.delay_ms,
            source: event.backoff_source.map(|source| match source {
                taskvisor_01::BackoffSource::Success => BackoffSource::Success,
                taskvisor_01::BackoffSource::Failure => BackoffSource::Failure,
            }),
            ..ForeignEvent::new(&format!("{:?}", event.kind))
        };
        self.stage.event(event.at, told);
    }

    fn name(&self) -> &'static str {
        "observer"
    }

    fn queue_capacity(&self) -> usize {
        OBSERVER_QUEUE
    }
}

/// A subscriber of the scenario.
struct Audience {
    stage: Stage,
    name: &'static str,
    capacity: usize,
    behaviour: Behaviour,
    seen: AtomicU32,
}

#[async_trait]
impl Subscribe for Audience {
    async fn on_event(&self, event: &Event) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        self.stage.handle(self.name, self.behaviour, seen, event.seq).await;
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn queue_capacity(&self) -> usize {
        self.capacity
    }
}
