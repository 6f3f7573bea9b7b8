//! A toy supervisor, sound or with one of four faults that the public records of other supervisors tell of.
//!
//! It is what somebody writes in an afternoon: an actor for each task, a channel of completions, and a loop that reaps
//! them. `toy@sound` conforms; each of the others differs from it in one place.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::FutureExt;
use simvisor::BackoffSource;
use simvisor_sim::conform::ForeignEvent;
use simvisor_sim::scenario::{Action, Jitter, Mode, Restart, Scenario};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::body::{Job, Returned};
use crate::stage::Stage;
use crate::subject::{Reply, Request, Runtime, Subject};

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The reap loop ends when a shutdown begins, before it has read the last completions: every shutdown waits for its
    /// whole grace and ends by force.
    ReapsTooLittle,
    /// A task that is to be restarted on failure is restarted when it has ended well, too.
    RestartsAfterSuccess,
    /// When one task fails all are started again, and with them those that had ended and were not to be restarted.
    RevivesTemporary,
    /// Restarts come without the delay between them, so that all that are granted are used up in a moment.
    BurnsQuota,
}

pub(super) struct Toy(pub(super) Fault);

impl Subject for Toy {
    fn name(&self) -> &'static str {
        match self.0 {
            Fault::None => "toy@sound",
            Fault::ReapsTooLittle => "toy@reaps-too-little",
            Fault::RestartsAfterSuccess => "toy@restarts-after-success",
            Fault::RevivesTemporary => "toy@revives-temporary",
            Fault::BurnsQuota => "toy@burns-quota",
        }
    }

    fn fit(&self, scenario: &mut Scenario) {
        scenario.round_to_millis();
        scenario.leave_out_faults_of_the_world();
        scenario.receivers.clear();
        scenario.subscribers.clear();
        scenario.config.controller = None;
        scenario.config.max_concurrent = 0;
        for task in &mut scenario.tasks {
            task.backoff.jitter = Jitter::None;
        }
        scenario.operations.retain(|operation| {
            matches!(operation.action, Action::Add(_) | Action::Remove(_) | Action::List | Action::Shutdown)
        });
    }

    fn not_judged(&self) -> &'static [&'static str] {
        &[
            "subscribers, receivers, permits, the controller, jitter, `cancel`, `snapshot`, `is_alive`: it has none",
        ]
    }

    fn open(&self, stage: &Stage, scenario: &Scenario) -> Arc<dyn Runtime> {
        let (completions, completed) = unbounded_channel();
        let toy = Running {
            shared: Arc::new(Shared {
                stage: stage.clone(),
                fault: self.0,
                grace: scenario.config.grace.duration(),
                next_seq: AtomicU64::new(0),
                tasks: Mutex::default(),
                ended: Mutex::default(),
                completions,
                empty: tokio::sync::Notify::new(),
                shutdown: CancellationToken::new(),
                is_closed: CancellationToken::new(),
            }),
        };
        tokio::spawn(toy.clone().reap(completed));
        Arc::new(toy)
    }
}

#[derive(Clone)]
struct Running {
    shared: Arc<Shared>,
}

struct Shared {
    stage: Stage,
    fault: Fault,
    grace: Duration,
    next_seq: AtomicU64,
    tasks: Mutex<BTreeMap<String, Entry>>,
    /// Tasks that came to their end.
    ended: Mutex<Vec<Job>>,
    completions: UnboundedSender<String>,
    empty: tokio::sync::Notify,
    shutdown: CancellationToken,
    /// The run is over.
    is_closed: CancellationToken,
}

struct Entry {
    cancel: CancellationToken,
    actor: AbortHandle,
    attempt: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    fn publish(&self, kind: &str, task: Option<&str>, fill: impl FnOnce(&mut ForeignEvent)) {
        let at = SystemTime::now();
        let mut event = ForeignEvent::new(kind);
        event.seq = Some(self.shared.next_seq.fetch_add(1, Ordering::Relaxed));
        event.task = task.map(str::to_owned);
        fill(&mut event);
        self.shared.stage.event(at, event);
    }

    fn add(&self, job: &Job) -> Reply {
        if self.shared.shutdown.is_cancelled() || self.shared.is_closed.is_cancelled() {
            return Reply::ShuttingDown;
        }
        let name = job.decl().name.clone();
        let mut tasks = lock(&self.shared.tasks);
        if tasks.contains_key(&name) {
            return Reply::AlreadyExists;
        }
        self.publish("TaskAddRequested", Some(&name), |_| {});
        self.publish("TaskAdded", Some(&name), |_| {});
        let cancel = CancellationToken::new();
        let actor = tokio::spawn(self.clone().act(job.clone(), cancel.clone())).abort_handle();
        tasks.insert(name, Entry { cancel, actor, attempt: 0 });
        Reply::Done
    }

    async fn act(self, job: Job, cancel: CancellationToken) {
        self.attempts(&job, &cancel).await;
        lock(&self.shared.ended).push(job.clone());
        let _ = self.shared.completions.send(job.decl().name.clone());
    }

    async fn attempts(&self, job: &Job, cancel: &CancellationToken) {
        let decl = job.decl();
        let name = decl.name.as_str();
        let mut failures = 0;
        for attempt in 1.. {
            if cancel.is_cancelled() {
                return;
            }
            if let Some(entry) = lock(&self.shared.tasks).get_mut(name) {
                entry.attempt = attempt;
            }
            self.publish("TaskStarting", Some(name), |event| event.attempt = Some(attempt));
            let failure = match self.attempt(job, cancel).await {
                Ok(Returned::Canceled) => {
                    self.publish("TaskStopped", Some(name), |_| {});
                    return;
                }
                Ok(_) => {
                    self.publish("TaskStopped", Some(name), |_| {});
                    None
                }
                Err(End { text, is_fatal, timeout }) => {
                    if let Some(timeout) = timeout {
                        self.publish("TimeoutHit", Some(name), |event| {
                            event.attempt = Some(attempt);
                            event.timeout_ms = Some(timeout.as_millis() as u32);
                        });
                    }
                    let failed = |event: &mut ForeignEvent| {
                        event.attempt = Some(attempt);
                        event.reason = Some(text.clone());
                    };
                    self.publish("TaskFailed", Some(name), failed);
                    if is_fatal {
                        return self.publish("ActorDead", Some(name), failed);
                    }
                    Some(text)
                }
            };
            if cancel.is_cancelled() {
                return;
            }
            let delay = match (&failure, decl.restart) {
                (None, Restart::Always { every }) => every.map(simvisor_sim::scenario::Span::duration),
                (None, Restart::OnFailure) if self.shared.fault == Fault::RestartsAfterSuccess => None,
                (None, _) | (_, Restart::Never) => {
                    let reason = failure.unwrap_or_else(|| "policy_exhausted_success".to_owned());
                    return self.publish("ActorExhausted", Some(name), |event| {
                        event.attempt = Some(attempt);
                        event.reason = Some(reason);
                    });
                }
                (Some(_), _) => {
                    let backoff = &decl.backoff;
                    let delay = backoff.first.ns() as f64 * backoff.factor.powi(failures);
                    let max = backoff.max.duration();
                    let fits = delay.is_finite() && (0.0..=backoff.max.ns() as f64).contains(&delay);
                    Some(if fits { Duration::from_nanos(delay as u64) } else { max })
                }
            };
            failures = if failure.is_some() { failures + 1 } else { 0 };
            if failure.is_some() && self.shared.fault == Fault::RevivesTemporary {
                self.restart_group();
            }
            if let Some(delay) = delay {
                self.publish("BackoffScheduled", Some(name), |event| {
                    event.attempt = Some(attempt);
                    event.delay_ms = Some(delay.as_millis() as u32);
                    event.source =
                        Some(if failure.is_some() { BackoffSource::Failure } else { BackoffSource::Success });
                    event.reason = failure;
                });
                if self.shared.fault != Fault::BurnsQuota {
                    let _ = timeout(delay, cancel.cancelled()).await;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn attempt(&self, job: &Job, cancel: &CancellationToken) -> Result<Returned, End> {
        let attempt = cancel.child_token();
        let body = AssertUnwindSafe(job.body(attempt.clone())).catch_unwind();
        let result = match job.timeout() {
            None => body.await,
            Some(limit) => match timeout(limit, body).await {
                Ok(result) => result,
                Err(_) => {
                    attempt.cancel();
                    let text = format!("timed out after {limit:?}");
                    return Err(End { text, is_fatal: false, timeout: Some(limit) });
                }
            },
        };
        let failed = |text: &str, is_fatal| Err(End { text: text.to_owned(), is_fatal, timeout: None });
        match result {
            Ok(Returned::Fail) => failed("execution failed: boom", false),
            Ok(Returned::Fatal) => failed("fatal error (no retry): gone", true),
            Ok(returned) => Ok(returned),
            Err(_) => failed("panic: ouch", false),
        }
    }

    /// Starts everybody anew who is not there.
    fn restart_group(&self) {
        for job in std::mem::take(&mut *lock(&self.shared.ended)) {
            let name = job.decl().name.clone();
            lock(&self.shared.tasks).entry(name).or_insert_with(|| {
                let cancel = CancellationToken::new();
                let actor = tokio::spawn(self.clone().act(job, cancel.clone())).abort_handle();
                Entry { cancel, actor, attempt: 0 }
            });
        }
    }

    async fn reap(self, mut completed: UnboundedReceiver<String>) {
        loop {
            let name = tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled(), if self.shared.fault == Fault::ReapsTooLittle => return,
                name = completed.recv() => name,
            };
            let Some(name) = name else { return };
            self.removed(&name);
        }
    }

    fn removed(&self, name: &str) {
        let mut tasks = lock(&self.shared.tasks);
        if tasks.remove(name).is_some() {
            self.publish("TaskRemoved", Some(name), |_| {});
        }
        if tasks.is_empty() {
            self.shared.empty.notify_one();
        }
    }

    async fn until_empty(&self) {
        while !lock(&self.shared.tasks).is_empty() {
            self.shared.empty.notified().await;
        }
    }

    async fn stop(&self) -> Reply {
        if timeout(self.shared.grace, self.until_empty()).await.is_ok() {
            self.publish("AllStoppedWithinGrace", None, |_| {});
            return Reply::Done;
        }
        self.publish("GraceExceeded", None, |_| {});
        let stuck = std::mem::take(&mut *lock(&self.shared.tasks));
        stuck.values().for_each(|entry| entry.actor.abort());
        while stuck.values().any(|entry| !entry.actor.is_finished()) {
            tokio::task::yield_now().await;
        }
        for (name, entry) in &stuck {
            self.publish("TaskFailed", Some(name), |event| {
                event.attempt = Some(entry.attempt);
                event.reason = Some("aborted: grace exceeded".to_owned());
            });
            self.publish("TaskRemoved", Some(name), |_| {});
        }
        Reply::GraceExceeded(stuck.into_keys().collect())
    }
}

/// How an attempt failed.
struct End {
    text: String,
    is_fatal: bool,
    timeout: Option<Duration>,
}

#[async_trait]
impl Runtime for Running {
    async fn run(&self, mode: Mode, jobs: Vec<Job>) -> Reply {
        let mut names: Vec<_> = jobs.iter().map(|job| job.decl().name.clone()).collect();
        names.sort_unstable();
        let is_taken = |name: &String| lock(&self.shared.tasks).contains_key(name);
        if names.windows(2).any(|pair| pair[0] == pair[1]) || names.iter().any(is_taken) {
            return Reply::AlreadyExists;
        }
        for job in &jobs {
            self.add(job);
        }
        let shutdown = self.shared.shutdown.cancelled();
        let reply = match mode {
            Mode::Serve => {
                shutdown.await;
                self.stop().await
            }
            Mode::Run => tokio::select! {
                biased;
                () = shutdown => self.stop().await,
                () = self.until_empty() => Reply::Done,
            },
        };
        self.shared.is_closed.cancel();
        reply
    }

    async fn perform(&self, request: Request) -> Reply {
        match request {
            Request::Add(job) => self.add(&job),
            Request::Remove(name) => {
                let tasks = lock(&self.shared.tasks);
                match tasks.get(&name) {
                    None => Reply::NotFound,
                    Some(entry) => {
                        if !entry.cancel.is_cancelled() {
                            self.publish("TaskRemoveRequested", Some(&name), |_| {});
                            entry.cancel.cancel();
                        }
                        Reply::Done
                    }
                }
            }
            Request::List => Reply::Names(lock(&self.shared.tasks).keys().cloned().collect()),
            Request::Shutdown => {
                if !self.shared.shutdown.is_cancelled() && !self.shared.is_closed.is_cancelled() {
                    self.publish("ShutdownRequested", None, |_| {});
                    self.shared.shutdown.cancel();
                    lock(&self.shared.tasks).values().for_each(|entry| entry.cancel.cancel());
                }
                Reply::Done
            }
            // Left out by `fit`.
            _ => {
                sleep(Duration::ZERO).await;
                Reply::Done
            }
        }
    }
}
