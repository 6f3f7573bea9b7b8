//! `taskvisor` 0.9.0 as published, default features.
//!
//! Handlers of its subscribers are synchronous and run on threads of its own, as does the cleanup of values that it
//! holds. Handlers that take time are not played: they know no virtual time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use simvisor::BackoffSource;
use simvisor_sim::conform::ForeignEvent;
use simvisor_sim::scenario::{Action, Admission, Behaviour, Jitter, Mode, Restart, Scenario, Span};
use taskvisor_09::{
    AdmissionPolicy, BackoffPolicy, ControllerConfig, ControllerError, ControllerSpec, Event, JitterPolicy,
    RestartPolicy, RuntimeError, Subscribe, SubscriberExecution, Supervisor, SupervisorConfig,
    SupervisorHandle, TaskContext, TaskError, TaskFn, TaskSpec,
};
use tokio_util::sync::CancellationToken;

use crate::body::{Context, Job, Returned};
use crate::stage::Stage;
use crate::subject::{Reply, Request, Runtime, Subject};

/// The queue of the subscriber that tells us of events.
const OBSERVER_QUEUE: usize = 1 << 16;

pub(super) struct Taskvisor09;

impl Subject for Taskvisor09 {
    fn name(&self) -> &'static str {
        "taskvisor@0.9.0"
    }

    fn dialect(&self) -> &'static str {
        "taskvisor-0.9"
    }

    fn fit(&self, scenario: &mut Scenario) {
        scenario.round_to_millis();
        scenario.leave_out_faults_of_the_world();
        scenario.receivers.clear();
        scenario.operations.retain(|operation| operation.action != Action::WaitReady);
        scenario
            .subscribers
            .retain(|decl| matches!(decl.behaviour, Behaviour::Quick | Behaviour::Panics { .. }));
        for task in &mut scenario.tasks {
            let backoff = &mut task.backoff;
            // Refused by `BackoffPolicy::new`.
            backoff.max = backoff.max.max(backoff.first);
            if !backoff.factor.is_finite() || backoff.factor < 1.0 {
                backoff.factor = 2.0;
            }
        }
    }

    fn not_judged(&self) -> &'static [&'static str] {
        &[
            "receivers on the bus (S3): there are none",
            "counters of subscribers (S6) and what a run leaves behind (D6, second half): there are none to ask",
            "slow and stuck subscribers (S5, S9): a handler is a plain function on a thread that knows no virtual time",
            "backoffs whose first delay is above the longest, or whose factor is below 1 or not finite: refused",
            "delivery late or twice (S10) and a wall clock that is set: only a simulation can play them",
            "spans below a millisecond: Tokio's timers know none",
            "`wait_ready`: there is none, `serve` gives a handle that is ready",
            "a shutdown before the run: it ends a supervisor that never ran, so it is asked for once `run` was called",
            "the order of `list`: it is by identity there and by name here, so names are sorted",
            "what follows an event that was lost to a lagging bus: only whether the run ends (S4)",
        ]
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn open(&self, stage: &Stage, scenario: &Scenario) -> Arc<dyn Runtime> {
        let grace = scenario.config.grace.duration();
        let config = SupervisorConfig::default()
            .with_grace(grace)
            // "Zero closes the queues without waiting for pending events": what a shutdown says would not be heard.
            .with_subscriber_shutdown_timeout(grace.max(Duration::from_millis(1)))
            .with_max_concurrent(NonZeroUsize::new(scenario.config.max_concurrent as usize))
            .with_bus_capacity(at_least_one(scenario.config.bus_capacity));
        let mut subscribers: Vec<Arc<dyn Subscribe>> = vec![Arc::new(Observer { stage: stage.clone() })];
        for decl in &scenario.subscribers {
            subscribers.push(Arc::new(Audience {
                stage: stage.clone(),
                name: decl.name.clone(),
                capacity: at_least_one(decl.capacity),
                behaviour: decl.behaviour,
                seen: AtomicU32::new(0),
            }));
        }
        let mut builder = Supervisor::builder(config).with_subscribers(subscribers);
        if let Some(controller) = scenario.config.controller {
            let queue = at_least_one(controller.queue_capacity);
            let config = ControllerConfig::new(queue, controller.slot_capacity as usize)
                .with_max_controller_slots(None)
                .with_max_total_pending(None);
            builder = builder.with_controller(config);
        }
        Arc::new(Running {
            supervisor: builder.build(),
            stop: CancellationToken::new(),
            grace,
            was_run: CancellationToken::new(),
        })
    }
}

fn at_least_one(capacity: u32) -> NonZeroUsize {
    NonZeroUsize::new(capacity as usize).unwrap_or(NonZeroUsize::MIN)
}

struct Running {
    supervisor: Arc<Supervisor>,
    /// A shutdown was asked for; who serves waits for it.
    stop: CancellationToken,
    grace: std::time::Duration,
    was_run: CancellationToken,
}

impl Running {
    fn handle(&self) -> Result<SupervisorHandle, RuntimeError> {
        self.supervisor.serve()
    }

    async fn is_listed(&self, task: &str) -> bool {
        match self.handle() {
            Ok(handle) => handle.list().await.iter().any(|(_, name)| &**name == task),
            Err(_) => false,
        }
    }

    async fn try_perform(&self, request: Request) -> Result<Reply, RuntimeError> {
        let handle = self.handle()?;
        Ok(match request {
            Request::Add(job) => {
                handle.add(spec(&job)).await?;
                Reply::Done
            }
            // True if this call was the one that removes it; false also if another was.
            Request::Remove(task) => match handle.remove(task.as_str()).execute().await? {
                true => Reply::Done,
                false if self.is_listed(&task).await => Reply::Done,
                false => Reply::NotFound,
            },
            Request::Cancel { task, wait } => {
                let was_listed = self.is_listed(&task).await;
                let cancel = handle.cancel(task.as_str()).termination_timeout(wait.unwrap_or(self.grace));
                Reply::Bool(cancel.execute().await? || was_listed)
            }
            Request::List => {
                let mut names: Vec<_> =
                    handle.list().await.iter().map(|(_, name)| name.to_string()).collect();
                names.sort_unstable();
                Reply::Names(names)
            }
            Request::Snapshot => {
                Reply::Names(handle.alive_snapshot().await.iter().map(ToString::to_string).collect())
            }
            Request::IsAlive(task) => Reply::Bool(handle.is_alive(&task).await),
            Request::WaitReady => Reply::Done,
            Request::Shutdown => {
                tokio::spawn(handle.shutdown());
                self.stop.cancel();
                // It is asked for on the first poll of that future.
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
                let submission = handle.submit(ControllerSpec::new(admission, spec(&job)));
                let result = match at_once {
                    true => submission.try_intake().map(|_| ()),
                    false => submission.await.map(|_| ()),
                };
                match result {
                    Ok(()) => Reply::Done,
                    Err(ControllerError::Full | ControllerError::ResourceLimit { .. }) => Reply::Full,
                    Err(ControllerError::NotConfigured) => Reply::NotConfigured,
                    Err(ControllerError::Closed) => Reply::Closed,
                    Err(other) => Reply::Error(other.to_string()),
                }
            }
        })
    }
}

#[async_trait]
impl Runtime for Running {
    async fn run(&self, mode: Mode, jobs: Vec<Job>) -> Reply {
        self.was_run.cancel();
        let result = match mode {
            Mode::Run => self.supervisor.run(jobs.iter().map(spec).collect()).await,
            Mode::Serve => match self.handle() {
                Ok(handle) => {
                    self.stop.cancelled().await;
                    handle.shutdown().await
                }
                Err(error) => Err(error),
            },
        };
        result.map_or_else(refusal, |()| Reply::Done)
    }

    async fn can_shut_down(&self) {
        self.was_run.cancelled().await;
    }

    async fn perform(&self, request: Request) -> Reply {
        self.try_perform(request).await.unwrap_or_else(refusal)
    }
}

fn refusal(error: RuntimeError) -> Reply {
    match error {
        RuntimeError::TaskAlreadyExists { .. } => Reply::AlreadyExists,
        RuntimeError::TaskTerminationTimeout { .. } => Reply::RemoveTimeout,
        RuntimeError::ShuttingDown => Reply::ShuttingDown,
        RuntimeError::GraceExceeded { stuck, .. } => {
            Reply::GraceExceeded(stuck.iter().map(ToString::to_string).collect())
        }
        other => Reply::Error(other.to_string()),
    }
}

impl Context for TaskContext {
    fn is_cancelled(&self) -> bool {
        TaskContext::is_cancelled(self)
    }

    fn cancelled(&self) -> impl Future<Output = ()> + Send {
        TaskContext::cancelled(self)
    }
}

fn spec(job: &Job) -> TaskSpec {
    let decl = job.decl();
    let body = job.clone();
    let task = TaskFn::arc(move |ctx: TaskContext| {
        let body = body.body(ctx);
        async move {
            match body.await {
                Returned::Ok => Ok(()),
                Returned::Canceled => Err(TaskError::Canceled),
                Returned::Fail => Err(TaskError::fail("boom")),
                Returned::Fatal => Err(TaskError::fatal("gone")),
            }
        }
    });
    let restart = match decl.restart {
        Restart::Never => RestartPolicy::Never,
        Restart::OnFailure => RestartPolicy::OnFailure,
        Restart::Always { every } => RestartPolicy::Always { interval: every.map(Span::duration) },
    };
    let jitter = match decl.backoff.jitter {
        Jitter::None => JitterPolicy::None,
        Jitter::Full => JitterPolicy::Full,
        Jitter::Equal => JitterPolicy::Equal,
        Jitter::Decorrelated => JitterPolicy::RandomizedBand,
    };
    let (first, max) = (decl.backoff.first.duration(), decl.backoff.max.duration());
    let backoff = BackoffPolicy::new(first, max, decl.backoff.factor, jitter).expect("it was made to fit");
    TaskSpec::new(decl.name.clone(), task, restart, backoff, job.timeout())
}

/// Tells the stage of every event that reaches it.
struct Observer {
    stage: Stage,
}

impl Subscribe for Observer {
    fn on_event(&self, event: &Event) {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let mut told = ForeignEvent {
            seq: Some(event.seq),
            task: text(&event.task),
            reason: text(&event.reason),
            attempt: event.attempt,
            timeout_ms: event.timeout_ms,
            delay_ms: event.delay_ms,
            source: event.backoff_source.map(|source| match source {
                taskvisor_09::BackoffSource::Success => BackoffSource::Success,
                taskvisor_09::BackoffSource::Failure => BackoffSource::Failure,
            }),
            ..ForeignEvent::new(&format!("{:?}", event.kind))
        };
        let others = [
            ("id", event.id.map(|id| id.to_string())),
            ("outcome_kind", event.outcome_kind.map(|kind| kind.as_label().to_owned())),
            ("rejection_kind", event.rejection_kind.map(|kind| kind.as_label().to_owned())),
            ("dropped", event.dropped.map(|count| count.to_string())),
        ];
        for (name, value) in others {
            if let Some(value) = value {
                told.other.insert(name.to_owned(), value);
            }
        }
        self.stage.event(event.at, told);
    }

    fn execution(&self) -> SubscriberExecution {
        SubscriberExecution::Dedicated
    }

    fn name(&self) -> &str {
        "observer"
    }

    fn queue_capacity(&self) -> NonZeroUsize {
        NonZeroUsize::new(OBSERVER_QUEUE).expect("it is above 0")
    }
}

/// A subscriber of the scenario.
struct Audience {
    stage: Stage,
    name: String,
    capacity: NonZeroUsize,
    behaviour: Behaviour,
    seen: AtomicU32,
}

impl Subscribe for Audience {
    fn on_event(&self, event: &Event) {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        self.stage.handle_now(&self.name, self.behaviour, seen, event.seq);
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn queue_capacity(&self) -> NonZeroUsize {
        self.capacity
    }
}
