//! A supervisor in a test's world: the real one, on the virtual clock, with everything that it does on record.
//!
//! [`Supervised`] has the methods of [`simvisor::Supervisor`], under their names. Each call and its answer, each body
//! that is entered and left, and each call of a subscriber's handler is recorded, so that the judges see as much as they
//! see of a scenario.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};
use simvisor::bus::Receiver;
use simvisor::sync::Latch;
use simvisor::{
    AdmissionPolicy, CancellationToken, ControllerConfig, ControllerError, ControllerSpec, Event, Handled,
    JitterPolicy, Observe, RestartPolicy, RuntimeError, Subscribe, Supervisor, SupervisorBuilder,
    SupervisorConfig, Task, TaskError, TaskFuture, TaskRef, TaskSpec,
};

use super::TaskPanics;
use super::hook::{self, Panicked};
use super::sim::Sim;
use super::stage::Stage;
use super::watchdog::Who;
use crate::scenario::event_note;
use crate::trace::{
    self, Admission, Answer, BackoffNote, BodyEnd, Call, ConfigNote, ControllerNote, HandlerEnd, Header,
    Jitter, SpecNote, Text, What,
};
use crate::world::Disorder;

/// Puts a [`Supervised`] together. Made by [`Sim::supervisor`].
pub struct SupervisedBuilder {
    sim: Sim,
    config: SupervisorConfig,
    controller: Option<ControllerConfig>,
    subscribers: Vec<Rc<dyn Subscribe>>,
}

impl fmt::Debug for SupervisedBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisedBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl SupervisedBuilder {
    pub(super) fn new(sim: &Sim) -> Self {
        Self {
            sim: sim.clone(),
            config: SupervisorConfig::default(),
            controller: None,
            subscribers: Vec::new(),
        }
    }

    /// Sets limits and periods.
    #[must_use]
    pub fn config(mut self, config: SupervisorConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds a controller.
    #[must_use]
    pub fn controller(mut self, config: ControllerConfig) -> Self {
        self.controller = Some(config);
        self
    }

    /// Adds a subscriber.
    #[must_use]
    pub fn subscriber(mut self, subscriber: Rc<dyn Subscribe>) -> Self {
        self.subscribers.push(subscriber);
        self
    }

    /// The supervisor. It runs once [`Supervised::run`], [`Supervised::serve`] or [`Supervised::start`] is called.
    #[must_use]
    pub fn build(self) -> Supervised {
        let Self { sim, config, controller, subscribers } = self;
        let stage = Rc::clone(&sim.stage);
        let header = header(&stage, &config, controller, &subscribers);
        let number = stage.begin(&header);
        let observer = Observer { stage: Rc::clone(&stage), number, disorder: header.config.disorder };
        let mut builder =
            SupervisorBuilder::new(stage.world.rt()).with_config(config).with_observer(Rc::new(observer));
        if let Some(controller) = controller {
            builder = builder.with_controller(controller);
        }
        for subscriber in subscribers {
            let text = stage.texts.borrow_mut().intern(subscriber.name());
            builder = builder.with_subscriber(Rc::new(Audience {
                stage: Rc::clone(&stage),
                number,
                text,
                known_as: Arc::from(subscriber.name()),
                subscriber,
            }));
        }
        let supervisor = builder.build();
        Supervised {
            inner: Rc::new(Inner {
                stage,
                number,
                config,
                supervisor,
                result: RefCell::new(None),
                ended: Latch::new(),
            }),
        }
    }
}

fn header(
    stage: &Stage,
    config: &SupervisorConfig,
    controller: Option<ControllerConfig>,
    subscribers: &[Rc<dyn Subscribe>],
) -> Header {
    let mut texts = stage.texts.borrow_mut();
    Header {
        runtime: concat!("simvisor ", env!("CARGO_PKG_VERSION")).to_owned(),
        scenario: None,
        config: ConfigNote {
            grace_ns: ns(config.grace),
            max_concurrent: config.max_concurrent as u64,
            bus_capacity: config.bus_capacity.max(1) as u64,
            timer_late_ns: 0,
            controller: controller.map(|controller| ControllerNote {
                queue_capacity: controller.queue_capacity.max(1) as u64,
                slot_capacity: controller.slot_capacity as u64,
            }),
            disorder: stage.setup.faults.disorder != Disorder::None,
        },
        subscribers: subscribers
            .iter()
            .map(|subscriber| (texts.intern(subscriber.name()), subscriber.queue_capacity().max(1) as u64))
            .collect(),
    }
}

fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A supervisor in a test's world. Cheap to clone; all clones are the same supervisor.
#[derive(Clone)]
pub struct Supervised {
    inner: Rc<Inner>,
}

struct Inner {
    stage: Rc<Stage>,
    number: usize,
    config: SupervisorConfig,
    supervisor: Supervisor,
    /// What came of the run that was started beside the test.
    result: RefCell<Option<Result<(), RuntimeError>>>,
    ended: Latch,
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.supervisor.fmt(f)
    }
}

impl Supervised {
    /// As [`Supervisor::run`].
    ///
    /// # Errors
    /// As [`Supervisor::run`].
    #[allow(clippy::needless_pass_by_value)] // the family's signature: specs are handed over
    pub async fn run(&self, specs: Vec<TaskSpec>) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        let op = inner.stage.op();
        let notes = specs.iter().map(|spec| inner.spec_note(spec)).collect();
        let specs = specs.iter().map(|spec| inner.recorded(spec, op)).collect();
        inner.record(What::Call { op, call: Call::Run(notes) });
        inner.carry_out(op, inner.supervisor.run(specs).boxed_local()).await
    }

    /// As [`Supervisor::serve`].
    ///
    /// # Errors
    /// As [`Supervisor::serve`].
    pub async fn serve(&self) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        let op = inner.stage.op();
        inner.record(What::Call { op, call: Call::Serve });
        inner.carry_out(op, inner.supervisor.serve().boxed_local()).await
    }

    /// Runs these specs beside the test. [`Supervised::ended`] tells what comes of it.
    pub fn start(&self, specs: Vec<TaskSpec>) {
        let supervised = self.clone();
        self.beside(async move { supervised.run(specs).await });
    }

    /// Serves beside the test. [`Supervised::ended`] tells what comes of it.
    pub fn start_serving(&self) {
        let supervised = self.clone();
        self.beside(async move { supervised.serve().await });
    }

    fn beside(&self, run: impl Future<Output = Result<(), RuntimeError>> + 'static) {
        let inner = Rc::clone(&self.inner);
        self.inner.stage.world.spawn_run(async move {
            let result = run.await;
            inner.result.borrow_mut().get_or_insert(result);
            inner.ended.raise();
        });
    }

    /// Waits for the end of what [`Supervised::start`] or [`Supervised::start_serving`] began.
    ///
    /// # Errors
    /// As [`Supervisor::run`].
    pub async fn ended(&self) -> Result<(), RuntimeError> {
        self.inner.ended.wait().await;
        self.inner.result.borrow().clone().expect("the result comes before the latch")
    }

    /// Requests a shutdown and waits for the end of what was started.
    ///
    /// # Errors
    /// As [`Supervisor::run`].
    pub async fn stop(&self) -> Result<(), RuntimeError> {
        self.shutdown();
        self.ended().await
    }

    /// As [`Supervisor::add_task`].
    ///
    /// # Errors
    /// As [`Supervisor::add_task`].
    #[allow(clippy::needless_pass_by_value)] // as above
    pub fn add_task(&self, spec: TaskSpec) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        let op = inner.call(Call::Add(inner.spec_note(&spec)));
        let result = inner.supervisor.add_task(inner.recorded(&spec, op));
        inner.answer(op, inner.answer_of(&result));
        result
    }

    /// As [`Supervisor::remove_task`].
    ///
    /// # Errors
    /// As [`Supervisor::remove_task`].
    pub fn remove_task(&self, name: &str) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        let op = inner.call(Call::Remove(inner.text(name)));
        let result = inner.supervisor.remove_task(name);
        inner.answer(op, inner.answer_of(&result));
        result
    }

    /// As [`Supervisor::cancel`].
    ///
    /// # Errors
    /// As [`Supervisor::cancel`].
    pub async fn cancel(&self, name: &str) -> Result<bool, RuntimeError> {
        self.cancel_with_timeout(name, self.inner.config.grace).await
    }

    /// As [`Supervisor::cancel_with_timeout`].
    ///
    /// # Errors
    /// As [`Supervisor::cancel_with_timeout`].
    pub async fn cancel_with_timeout(&self, name: &str, timeout: Duration) -> Result<bool, RuntimeError> {
        let inner = &self.inner;
        let op = inner.call(Call::Cancel { task: inner.text(name), wait_ns: ns(timeout) });
        let result = inner.supervisor.cancel_with_timeout(name, timeout).await;
        inner.answer(
            op,
            match &result {
                Ok(existed) => Answer::Bool(*existed),
                Err(error) => inner.answer_of(&Err(error.clone())),
            },
        );
        result
    }

    /// As [`Supervisor::list_tasks`].
    #[must_use]
    pub fn list_tasks(&self) -> Vec<Arc<str>> {
        let inner = &self.inner;
        let op = inner.call(Call::List);
        let names = inner.supervisor.list_tasks();
        inner.answer(op, Answer::Names(inner.texts(&names)));
        names
    }

    /// As [`Supervisor::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<str>> {
        let inner = &self.inner;
        let op = inner.call(Call::Snapshot);
        let names = inner.supervisor.snapshot();
        inner.answer(op, Answer::Names(inner.texts(&names)));
        names
    }

    /// As [`Supervisor::is_alive`].
    #[must_use]
    pub fn is_alive(&self, name: &str) -> bool {
        let inner = &self.inner;
        let op = inner.call(Call::IsAlive(inner.text(name)));
        let is_alive = inner.supervisor.is_alive(name);
        inner.answer(op, Answer::Bool(is_alive));
        is_alive
    }

    /// As [`Supervisor::wait_ready`].
    pub async fn wait_ready(&self) {
        let op = self.inner.call(Call::WaitReady);
        self.inner.supervisor.wait_ready().await;
        self.inner.answer(op, Answer::Done);
    }

    /// As [`Supervisor::shutdown`].
    pub fn shutdown(&self) {
        let op = self.inner.call(Call::Shutdown);
        self.inner.supervisor.shutdown();
        self.inner.answer(op, Answer::Done);
    }

    /// As [`Supervisor::submit`].
    ///
    /// # Errors
    /// As [`Supervisor::submit`].
    pub async fn submit(&self, spec: ControllerSpec) -> Result<(), ControllerError> {
        let (op, spec) = self.inner.submission(&spec, true);
        let result = self.inner.supervisor.submit(spec).await;
        self.inner.admitted(op, result)
    }

    /// As [`Supervisor::try_submit`].
    ///
    /// # Errors
    /// As [`Supervisor::try_submit`].
    #[allow(clippy::needless_pass_by_value)] // as above
    pub fn try_submit(&self, spec: ControllerSpec) -> Result<(), ControllerError> {
        let (op, spec) = self.inner.submission(&spec, false);
        let result = self.inner.supervisor.try_submit(spec);
        self.inner.admitted(op, result)
    }

    /// As [`Supervisor::subscribe`].
    #[must_use]
    pub fn subscribe(&self) -> Receiver {
        self.inner.supervisor.subscribe()
    }

    /// The supervisor itself. Calls that are made on it are not recorded, and the judges then miss what they lead to:
    /// for queries that are not here.
    #[must_use]
    pub fn as_supervisor(&self) -> &Supervisor {
        &self.inner.supervisor
    }
}

impl Inner {
    fn record(&self, what: What) {
        self.stage.record(self.number, what);
    }

    fn call(&self, call: Call) -> u32 {
        let op = self.stage.op();
        self.record(What::Call { op, call });
        op
    }

    fn answer(&self, op: u32, answer: Answer) {
        self.record(What::Answer { op, answer });
    }

    fn text(&self, text: &str) -> Text {
        self.stage.texts.borrow_mut().intern(text)
    }

    fn texts(&self, names: &[Arc<str>]) -> Vec<Text> {
        let mut texts = self.stage.texts.borrow_mut();
        names.iter().map(|name| texts.intern_arc(name)).collect()
    }

    /// Carries out a run or a serve whose call is recorded, and takes stock.
    async fn carry_out(
        &self,
        op: u32,
        run: LocalBoxFuture<'_, Result<(), RuntimeError>>,
    ) -> Result<(), RuntimeError> {
        let running = &self.stage.running;
        running.set(running.get() + 1);
        let result = run.await;
        running.set(running.get() - 1);
        self.answer(op, self.answer_of(&result));
        if matches!(result, Err(RuntimeError::TaskAlreadyExists { .. } | RuntimeError::AlreadyStarted)) {
            return result; // it has not begun
        }
        for (name, counters) in self.supervisor.subscriber_counters() {
            let subscriber = self.text(&name);
            let simvisor::SubscriberCounters { handled, panicked, dropped, lagged } = counters;
            self.record(What::Counters { subscriber, handled, panicked, dropped, lagged });
        }
        // What other supervisors have running cannot be told apart.
        if running.get() == 0 {
            let (futures, timers) = self.stage.world.leftovers();
            let permits = self.supervisor.permits_in_use() as u64;
            self.record(What::Leftovers { futures, timers, permits });
        }
        result
    }

    fn answer_of(&self, result: &Result<(), RuntimeError>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(RuntimeError::TaskAlreadyExists { .. }) => Answer::AlreadyExists,
            Err(RuntimeError::TaskNotFound { .. }) => Answer::NotFound,
            Err(RuntimeError::TaskRemoveTimeout { .. }) => Answer::RemoveTimeout,
            Err(RuntimeError::ShuttingDown) => Answer::ShuttingDown,
            Err(RuntimeError::GraceExceeded { stuck, .. }) => Answer::GraceExceeded(self.texts(stuck)),
            Err(other) => Answer::Error(self.text(&other.to_string())),
        }
    }

    fn submission(&self, spec: &ControllerSpec, wait: bool) -> (u32, ControllerSpec) {
        let admission = match spec.admission() {
            AdmissionPolicy::Queue => Admission::Queue,
            AdmissionPolicy::Replace => Admission::Replace,
            AdmissionPolicy::DropIfRunning => Admission::DropIfRunning,
        };
        let op = self.call(Call::Submit { spec: self.spec_note(spec.task()), admission, wait });
        (op, ControllerSpec::new(spec.admission(), self.recorded(spec.task(), op)))
    }

    fn admitted(&self, op: u32, result: Result<(), ControllerError>) -> Result<(), ControllerError> {
        let answer = match result {
            Ok(()) => Answer::Done,
            Err(ControllerError::Full) => Answer::Full,
            Err(ControllerError::NotConfigured) => Answer::NotConfigured,
            Err(ControllerError::Closed) => Answer::Closed,
        };
        self.answer(op, answer);
        result
    }

    /// The spec with a body that is recorded. `op` brings it.
    fn recorded(&self, spec: &TaskSpec, op: u32) -> TaskSpec {
        let task = RecordedTask {
            stage: Rc::clone(&self.stage),
            number: self.number,
            op,
            text: self.stage.texts.borrow_mut().intern_arc(&spec.name()),
            attempts: Cell::new(0),
            task: Rc::clone(spec.task()),
            name: spec.name(),
        };
        TaskSpec::new(Rc::new(task))
            .with_restart(spec.restart())
            .with_backoff(spec.backoff())
            .with_timeout(spec.timeout(self.config.timeout))
    }

    /// What judges need to know of a spec.
    fn spec_note(&self, spec: &TaskSpec) -> SpecNote {
        let backoff = spec.backoff();
        SpecNote {
            task: self.stage.texts.borrow_mut().intern_arc(&spec.name()),
            restart: match spec.restart() {
                RestartPolicy::Never => trace::Restart::Never,
                RestartPolicy::OnFailure => trace::Restart::OnFailure,
                RestartPolicy::Always { interval } => {
                    trace::Restart::Always { interval_ns: interval.map(ns) }
                }
            },
            backoff: BackoffNote {
                first_ns: ns(backoff.first),
                max_ns: ns(backoff.max),
                factor: backoff.factor,
                jitter: match backoff.jitter {
                    JitterPolicy::None => Jitter::None,
                    JitterPolicy::Full => Jitter::Full,
                    JitterPolicy::Equal => Jitter::Equal,
                    JitterPolicy::Decorrelated => Jitter::Decorrelated,
                },
            },
            timeout_ns: spec.timeout(self.config.timeout).map_or(0, ns),
        }
    }
}

/// Records every event as it is published.
struct Observer {
    stage: Rc<Stage>,
    number: usize,
    /// Stamp and delivery are two steps.
    disorder: bool,
}

impl Observe for Observer {
    fn event(&self, event: &Event) {
        let note = event_note(event, &mut self.stage.texts.borrow_mut());
        self.stage.record(self.number, What::Event(note));
    }

    fn delivered(&self, seq: u64) {
        if self.disorder {
            self.stage.record(self.number, What::Delivered { seq });
        }
    }
}

/// A task whose bodies are recorded. One of these is one incarnation.
struct RecordedTask {
    stage: Rc<Stage>,
    number: usize,
    op: u32,
    text: Text,
    attempts: Cell<u32>,
    task: TaskRef,
    name: Arc<str>,
}

/// The fault that an attempt fails before its body has run, in front of the task's name.
const ATTEMPT_FAILS: &str = "attempt fails: ";

impl Task for RecordedTask {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn spawn(&self, ctx: CancellationToken) -> TaskFuture {
        let attempt = self.attempts.get() + 1;
        self.attempts.set(attempt);
        let stage = Rc::clone(&self.stage);
        let tale = Tale {
            stage: Rc::clone(&stage),
            number: self.number,
            task: self.text,
            name: Arc::clone(&self.name),
            attempt,
            ctx: ctx.clone(),
            told: false,
            left: false,
        };
        tale.record(What::BodyEntered { task: self.text, attempt, op: Some(self.op) });
        let fails =
            stage.setup.faults.attempts_fail && stage.strikes(&format!("{ATTEMPT_FAILS}{}", self.name));
        let (name, task) = (Arc::clone(&self.name), Rc::clone(&self.task));
        tale.tell(move || match fails {
            true => {
                let reason = format!("a fault that simvisor plays in `{name}`");
                futures::future::ready(Err(TaskError::Fail { reason })).boxed_local()
            }
            false => task.spawn(ctx),
        })
    }
}

/// The body of one attempt; records that it left, however it does.
struct Tale {
    stage: Rc<Stage>,
    number: usize,
    task: Text,
    name: Arc<str>,
    attempt: u32,
    ctx: CancellationToken,
    /// It saw that it is cancelled.
    told: bool,
    left: bool,
}

impl Tale {
    fn record(&self, what: What) {
        self.stage.record(self.number, what);
    }

    fn tell(mut self, make: impl FnOnce() -> TaskFuture + 'static) -> TaskFuture {
        Box::pin(async move {
            let who = Who::Task(Arc::clone(&self.name));
            let mut body = match self.stage.at_work(who, || hook::caught(make)) {
                Ok(body) => body,
                Err((panicked, payload)) => {
                    self.panicked(panicked, &*payload);
                    resume_unwind(payload)
                }
            };
            let mut cancelled = self.ctx.cancelled();
            let rt = self.stage.world.rt();
            let result = poll_fn(|cx| {
                // Bodies share whatever they like.
                rt.touches(simvisor::runtime::Shared::Everything);
                self.look();
                let who = Who::Task(Arc::clone(&self.name));
                match self.stage.at_work(who, || hook::caught(|| body.poll_unpin(cx))) {
                    Ok(Poll::Ready(result)) => return Poll::Ready(result),
                    Ok(Poll::Pending) => {}
                    Err((panicked, payload)) => {
                        self.panicked(panicked, &*payload);
                        resume_unwind(payload)
                    }
                }
                // A body that does not listen is told at that instant all the same.
                if !self.told && cancelled.poll_unpin(cx).is_ready() {
                    self.look();
                }
                Poll::Pending
            })
            .await;
            let how = match &result {
                Ok(()) => BodyEnd::Ok,
                Err(TaskError::Canceled) => BodyEnd::Canceled,
                Err(error @ TaskError::Fatal { .. }) => BodyEnd::Fatal(self.text(&error.to_string())),
                Err(error) => BodyEnd::Fail(self.text(&error.to_string())),
            };
            self.leave(how);
            result
        })
    }

    fn text(&self, text: &str) -> Text {
        self.stage.texts.borrow_mut().intern(text)
    }

    /// Looks whether it is cancelled.
    fn look(&mut self) {
        if !self.told && self.ctx.is_cancelled() {
            self.told = true;
            self.record(What::BodyCancelled { task: self.task, attempt: self.attempt });
        }
    }

    fn panicked(&mut self, panicked: Panicked, payload: &(dyn std::any::Any + Send)) {
        let message = spoken(payload).unwrap_or(UNSPOKEN);
        self.leave(BodyEnd::Panic(self.text(message)));
        if self.stage.setup.task_panics == TaskPanics::Fail {
            self.stage.panicked(&format!("task {}", self.name), panicked);
        }
    }

    fn leave(&mut self, how: BodyEnd) {
        self.left = true;
        self.record(What::BodyLeft { task: self.task, attempt: self.attempt, how });
    }
}

impl Drop for Tale {
    fn drop(&mut self) {
        if !self.left {
            self.look();
            self.leave(BodyEnd::Dropped);
        }
    }
}

/// What the contract calls the message of a panic without one.
const UNSPOKEN: &str = "unknown panic";

fn spoken(payload: &(dyn std::any::Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// A subscriber whose handler is recorded.
struct Audience {
    stage: Rc<Stage>,
    number: usize,
    text: Text,
    known_as: Arc<str>,
    subscriber: Rc<dyn Subscribe>,
}

impl Subscribe for Audience {
    fn name(&self) -> &str {
        self.subscriber.name()
    }

    fn queue_capacity(&self) -> usize {
        self.subscriber.queue_capacity()
    }

    fn on_event<'a>(&'a self, event: &'a Event) -> Handled<'a> {
        let seq = event.seq;
        let mut handling = Handling { audience: self, seq, left: false };
        self.stage.record(self.number, What::HandlerEntered { subscriber: self.text, seq });
        Handled::later(async move {
            let mut handler = None;
            poll_fn(|cx| {
                let Audience { stage, subscriber, known_as, .. } = handling.audience;
                let poll = || handler.get_or_insert_with(|| subscriber.on_event(event)).poll_unpin(cx);
                let polled = stage.at_work(Who::Subscriber(Arc::clone(known_as)), || hook::caught(poll));
                polled.unwrap_or_else(|(_, payload)| {
                    let text = spoken(&*payload).unwrap_or(UNSPOKEN);
                    let text = handling.audience.stage.texts.borrow_mut().intern(text);
                    handling.leave(HandlerEnd::Panic(text));
                    resume_unwind(payload)
                })
            })
            .await;
            handling.leave(HandlerEnd::Done);
        })
    }
}

/// One call of a handler; records that it left, however it does.
struct Handling<'a> {
    audience: &'a Audience,
    seq: u64,
    left: bool,
}

impl Handling<'_> {
    fn leave(&mut self, how: HandlerEnd) {
        self.left = true;
        let Audience { stage, number, text, .. } = self.audience;
        stage.record(*number, What::HandlerLeft { subscriber: *text, seq: self.seq, how });
    }
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.leave(HandlerEnd::Dropped);
        }
    }
}
