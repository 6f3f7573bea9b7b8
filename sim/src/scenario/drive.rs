//! The driver: carries a scenario out in a world and records what is seen from outside.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use futures::future::{FutureExt, pending, select};
use simvisor::bus::RecvError;
use simvisor::sync::Latch;
use simvisor::{
    AdmissionPolicy, AliveTracker, BackoffPolicy, CancellationToken, ControllerConfig, ControllerError,
    ControllerSpec, Event, EventKind, Handled, JitterPolicy, Observe, RestartPolicy, RuntimeError, Subscribe,
    Supervisor, SupervisorBuilder, SupervisorConfig, Task, TaskError, TaskFuture, TaskSpec,
};

use super::host::Host;
use super::{
    Action, Admission, Behaviour, Disorder, Ending, Mode, OnCancel, ReceiverDecl, Restart, Scenario, Span,
    Step, SubscriberDecl, TaskDecl,
};
use crate::choice::Source;
use crate::trace::{
    self, Answer, BackoffNote, BodyEnd, Call, ConfigNote, ControllerNote, EndNote, EventNote, HandlerEnd,
    Header, Jitter, Record, Sink, SpecNote, Text, Texts, Waiter, What,
};
use crate::world::{End, Engine, Finished, LaneKind, Limits, Stuck};

/// What a run is written into, used again for the next: its texts, and the records that its sink was not told yet.
#[derive(Debug, Default)]
pub struct Notebook {
    texts: RefCell<Texts>,
    untold: RefCell<Untold>,
}

/// Records that were not told yet. Those that were stay where they are until others take their places.
#[derive(Debug, Default)]
struct Untold {
    records: Vec<Record>,
    len: usize,
}

impl Untold {
    /// The place of one more.
    #[inline]
    fn next(&mut self) -> &mut Record {
        if self.len == self.records.len() {
            self.records.push(Record { at_ns: 0, turn: None, what: What::Calm });
        }
        self.len += 1;
        &mut self.records[self.len - 1]
    }

    /// All of them; they count as told.
    fn take(&mut self) -> &[Record] {
        let len = std::mem::take(&mut self.len);
        &self.records[..len]
    }
}

impl Notebook {
    fn clear(&self) {
        self.texts.borrow_mut().clear();
        self.untold.borrow_mut().len = 0;
    }
}

/// Runs `scenario` in a world of `engine` and feeds what is seen to `sink`.
pub fn drive(
    engine: &mut Engine,
    scenario: &Rc<Scenario>,
    source: Source,
    limits: &Limits,
    notebook: &Rc<Notebook>,
    sink: &Rc<RefCell<dyn Sink>>,
) -> Finished {
    notebook.clear();
    let world = engine.world(source);
    let stage = Stage::new(world.handle(), scenario, notebook, sink);
    stage.begin();
    stage.raise_curtain();
    let run = AssertUnwindSafe(|| world.run(limits, |end| stage.end(end)));
    catch_unwind(run).unwrap_or_else(|panic| {
        stage.tell();
        resume_unwind(panic)
    })
}

/// A scenario that runs on another host than a world of an engine.
pub struct Play<H> {
    stage: Rc<Stage<H>>,
}

impl<H> std::fmt::Debug for Play<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Play").finish_non_exhaustive()
    }
}

impl<H: Host + 'static> Play<H> {
    /// Spawns everything that happens in `scenario` on `host` and feeds what is seen to `sink`.
    pub fn begin(
        host: H,
        scenario: &Rc<Scenario>,
        notebook: &Rc<Notebook>,
        sink: &Rc<RefCell<dyn Sink>>,
    ) -> Self {
        notebook.clear();
        let stage = Stage::new(host, scenario, notebook, sink);
        stage.begin();
        stage.raise_curtain();
        Self { stage }
    }

    /// Everything has come to its end: the last record.
    pub fn end(self) {
        self.stage.end(&End::Done);
    }
}

/// What the futures of a scenario share.
struct Stage<H> {
    world: H,
    notebook: Rc<Notebook>,
    sink: Rc<RefCell<dyn Sink>>,
    /// Nobody reads the records.
    deaf: bool,
    /// How many records the sink is told at once.
    batch: usize,
    scenario: Rc<Scenario>,
    /// The names of its tasks.
    names: Vec<(Arc<str>, Text)>,
    calm: Latch,
    /// The end is recorded; what is dropped from now on is not part of the trace.
    over: Cell<bool>,
    /// The current turn, and how many records it has made.
    turn: Cell<u64>,
    records: Cell<u64>,
}

/// How many records a patient sink is told at once: each of its parts comes by in turn and not for each record, so that
/// their code, which together is larger than a cache of instructions, is fetched for all of them once.
const BATCH: usize = 128;

/// A turn that makes more records than this, and 16 for each task of the scenario, never ends.
const RECORDS_PER_TURN_MAX: u64 = 200_000;

#[cold]
#[inline(never)]
fn never_ends(at_ns: u64, records: u64) -> ! {
    let who = format!("one turn at {at_ns} ns made {records} records without an end");
    resume_unwind(Box::new(who));
}

impl<H: Host + 'static> Stage<H> {
    fn new(
        world: H,
        scenario: &Rc<Scenario>,
        notebook: &Rc<Notebook>,
        sink: &Rc<RefCell<dyn Sink>>,
    ) -> Rc<Self> {
        let shared = |decl: &TaskDecl| {
            let name: Arc<str> = Arc::from(decl.name.as_str());
            let text = notebook.texts.borrow_mut().intern_arc(&name);
            (name, text)
        };
        let (deaf, batch) = match &*sink.borrow() {
            sink if sink.is_deaf() => (true, 0),
            sink if sink.is_patient() => (false, BATCH),
            _ => (false, 1),
        };
        Rc::new(Self {
            world,
            notebook: Rc::clone(notebook),
            sink: Rc::clone(sink),
            deaf,
            batch,
            scenario: Rc::clone(scenario),
            names: scenario.tasks.iter().map(shared).collect(),
            calm: Latch::new(),
            over: Cell::new(false),
            turn: Cell::new(0),
            records: Cell::new(0),
        })
    }

    fn begin(&self) {
        let Self { scenario, names, .. } = self;
        for (name, _) in names {
            self.world.reserve_lane(LaneKind::Actor, name);
        }
        let mut texts = self.notebook.texts.borrow_mut();
        let subscribers = scenario
            .subscribers
            .iter()
            .map(|decl| {
                let name: Arc<str> = Arc::from(decl.name.as_str());
                self.world.reserve_lane(LaneKind::Worker, &name);
                (texts.intern_arc(&name), u64::from(decl.capacity.max(1)))
            })
            .collect();
        let header = Header {
            runtime: concat!("simvisor ", env!("CARGO_PKG_VERSION")).to_owned(),
            scenario: (!scenario.name.is_empty()).then(|| scenario.name.clone()),
            config: ConfigNote {
                grace_ns: scenario.config.grace.ns(),
                max_concurrent: u64::from(scenario.config.max_concurrent),
                bus_capacity: u64::from(scenario.config.bus_capacity.max(1)),
                timer_late_ns: 0,
                controller: scenario.config.controller.map(|controller| ControllerNote {
                    queue_capacity: u64::from(controller.queue_capacity.max(1)),
                    slot_capacity: u64::from(controller.slot_capacity),
                }),
                disorder: scenario.config.disorder != Disorder::None,
            },
            subscribers,
        };
        self.sink.borrow_mut().begin(&header, &texts);
    }

    fn record(&self, what: What) {
        if self.over.get() {
            return;
        }
        let (at_ns, turn) = self.world.moment();
        if let Some(turn) = turn {
            self.count_record(turn, at_ns);
        }
        if !self.deaf {
            let mut untold = self.notebook.untold.borrow_mut();
            let record = untold.next();
            (record.at_ns, record.turn) = (at_ns, turn);
            record.what = what; // by itself, so that it is moved once
            if untold.len >= self.batch {
                drop(untold);
                self.tell();
            }
        }
    }

    /// Tells the sink what it was not told yet.
    fn tell(&self) {
        let mut untold = self.notebook.untold.borrow_mut();
        let told = untold.take();
        self.sink.borrow_mut().record_all(told, &self.notebook.texts.borrow());
    }

    /// Nothing else could take the world back from a future that keeps publishing without a yield.
    #[inline]
    fn count_record(&self, turn: u64, at_ns: u64) {
        let records = if self.turn.replace(turn) == turn { self.records.get() + 1 } else { 1 };
        self.records.set(records);
        if records == RECORDS_PER_TURN_MAX + 16 * self.names.len() as u64 {
            never_ends(at_ns, records);
        }
    }

    fn text(&self, text: &str) -> Text {
        self.notebook.texts.borrow_mut().intern(text)
    }

    fn texts_of(&self, names: &[Arc<str>]) -> Vec<Text> {
        let mut texts = self.notebook.texts.borrow_mut();
        names.iter().map(|name| texts.intern_arc(name)).collect()
    }

    /// Spawns everything that happens.
    fn raise_curtain(self: &Rc<Self>) {
        let scenario = &*self.scenario;
        let config = SupervisorConfig {
            grace: scenario.config.grace.duration(),
            max_concurrent: scenario.config.max_concurrent as usize,
            bus_capacity: scenario.config.bus_capacity as usize,
            timeout: Some(scenario.config.timeout.duration()),
        };
        let mut builder =
            SupervisorBuilder::new(self.world.rt()).with_config(config).with_observer(Rc::new(Observer {
                stage: Rc::clone(self),
                disorder: scenario.config.disorder != Disorder::None,
                wall: Cell::new((SystemTime::UNIX_EPOCH, 0)),
            }));
        if let Some(controller) = scenario.config.controller {
            builder = builder.with_controller(ControllerConfig {
                queue_capacity: controller.queue_capacity as usize,
                slot_capacity: controller.slot_capacity as usize,
            });
        }
        for place in 0..scenario.subscribers.len() {
            builder = builder.with_subscriber(Rc::new(Audience::new(self, place)));
        }
        let supervisor = builder.build();
        self.world.set_disorder(scenario.config.disorder);

        self.spawn_run(&supervisor);
        for decl in &scenario.receivers {
            self.spawn_receiver(decl, scenario.config.disorder, &supervisor);
        }
        for (place, op) in (0..scenario.operations.len()).zip(1_u32..) {
            let (stage, supervisor) = (Rc::clone(self), supervisor.clone());
            let name: Arc<str> = Arc::from(op.to_string());
            self.world.spawn(
                LaneKind::Operation,
                &name,
                Box::pin(async move {
                    stage.world.sleep_until_ns(stage.scenario.operations[place].at.ns()).await;
                    stage.perform(op, &stage.scenario.operations[place].action, &supervisor).await;
                }),
            );
        }
        if let Some(calm_at) = scenario.calm_at {
            let stage = Rc::clone(self);
            self.world.spawn(
                LaneKind::Other,
                &Arc::from("calm"),
                Box::pin(async move {
                    stage.world.sleep_until_ns(calm_at.ns()).await;
                    stage.world.calm_down();
                    stage.record(What::Calm);
                    stage.calm.raise();
                }),
            );
        }
    }

    fn spawn_run(self: &Rc<Self>, supervisor: &Supervisor) {
        let (stage, supervisor) = (Rc::clone(self), supervisor.clone());
        let second =
            u32::try_from(self.scenario.operations.len() + 1).expect("operations are numbered in 32 bits");
        self.world.spawn_run(Box::pin(async move {
            stage.world.sleep_until_ns(stage.scenario.run_at.ns()).await;
            let starting = || (0..stage.names.len()).filter(|&task| stage.scenario.tasks[task].start);
            let specs = starting().map(|task| stage.spec(task, 0)).collect();
            let (call, result) = match stage.scenario.mode {
                Mode::Run => {
                    let notes = starting().map(|task| stage.note(task)).collect();
                    (Call::Run(notes), supervisor.run(specs).left_future())
                }
                Mode::Serve => (Call::Serve, supervisor.serve().right_future()),
            };
            stage.record(What::Call { op: 0, call });
            let result = result.await;
            let refused = matches!(result, Err(RuntimeError::TaskAlreadyExists { .. }));
            stage.record(What::Answer { op: 0, answer: stage.answer(result) });
            if refused {
                // What was added before is still there; a run without further tasks is what a user would try next.
                stage.record(What::Call { op: second, call: Call::Run(Vec::new()) });
                let answer = stage.answer(supervisor.run(Vec::new()).await);
                stage.record(What::Answer { op: second, answer });
            }
            stage.take_stock(&supervisor);
        }));
    }

    /// What the run left behind.
    fn take_stock(&self, supervisor: &Supervisor) {
        for (name, counters) in supervisor.subscriber_counters() {
            let subscriber = self.text(&name);
            let simvisor::SubscriberCounters { handled, panicked, dropped, lagged } = counters;
            self.record(What::Counters { subscriber, handled, panicked, dropped, lagged });
        }
        let (futures, timers) = self.world.leftovers();
        self.record(What::Leftovers { futures, timers, permits: supervisor.permits_in_use() as u64 });
    }

    fn spawn_receiver(self: &Rc<Self>, decl: &ReceiverDecl, disorder: Disorder, supervisor: &Supervisor) {
        let stage = Rc::clone(self);
        let mut receiver = supervisor.subscribe();
        let name = self.text(&decl.name);
        let pause_ns = decl.pause.ns();
        self.record(What::ReceiverOpened { receiver: name });
        self.world.spawn(
            LaneKind::Receiver,
            &Arc::from(decl.name.as_str()),
            Box::pin(async move {
                let mut alive = AliveTracker::new();
                let tell = |alive: &AliveTracker| {
                    let alive = stage.texts_of(&alive.snapshot());
                    stage.record(What::AliveSeen { receiver: name, alive });
                };
                loop {
                    match receiver.recv().await {
                        Ok(event) => {
                            alive.update(&event);
                            stage.record(What::Received { receiver: name, seq: event.seq });
                            // In order it could hardly be wrong before the end.
                            if disorder != Disorder::None {
                                tell(&alive);
                            }
                        }
                        Err(RecvError::Lagged(lost)) => stage.record(What::Lagged { receiver: name, lost }),
                        Err(RecvError::Closed) => break,
                    }
                    if pause_ns > 0 && !stage.calm.is_raised() {
                        select(pin!(stage.world.sleep_ns(pause_ns)), pin!(stage.calm.wait())).await;
                    }
                }
                tell(&alive);
                stage.record(What::ReceiverClosed { receiver: name });
            }),
        );
    }

    async fn perform(self: &Rc<Self>, op: u32, action: &Action, supervisor: &Supervisor) {
        if let Action::SetWall { by_ms } = action {
            let by_ns = by_ms.saturating_mul(1_000_000);
            self.world.set_wall(by_ns);
            self.record(What::WallSet { by_ns });
            return;
        }
        let call = |call| self.record(What::Call { op, call });
        let answer = match action {
            Action::Add(key) => {
                let task = self.task(key);
                call(Call::Add(self.note(task)));
                self.answer(supervisor.add_task(self.spec(task, op)))
            }
            Action::Remove(task) => {
                call(Call::Remove(self.text(task)));
                self.answer(supervisor.remove_task(task))
            }
            Action::Cancel { task, wait } => {
                let wait_ns = wait.unwrap_or(self.scenario.config.grace).ns();
                call(Call::Cancel { task: self.text(task), wait_ns });
                let result = match wait {
                    Some(wait) => supervisor.cancel_with_timeout(task, wait.duration()).await,
                    None => supervisor.cancel(task).await,
                };
                match result {
                    Ok(existed) => Answer::Bool(existed),
                    Err(error) => self.answer(Err(error)),
                }
            }
            Action::List => {
                call(Call::List);
                Answer::Names(self.texts_of(&supervisor.list_tasks()))
            }
            Action::Snapshot => {
                call(Call::Snapshot);
                Answer::Names(self.texts_of(&supervisor.snapshot()))
            }
            Action::IsAlive(task) => {
                call(Call::IsAlive(self.text(task)));
                Answer::Bool(supervisor.is_alive(task))
            }
            Action::WaitReady => {
                call(Call::WaitReady);
                supervisor.wait_ready().await;
                Answer::Done
            }
            Action::Shutdown => {
                call(Call::Shutdown);
                supervisor.shutdown();
                Answer::Done
            }
            Action::SetWall { .. } => unreachable!("no call on the supervisor"),
            Action::Submit { task, how, at_once } => {
                let task = self.task(task);
                call(Call::Submit { spec: self.note(task), admission: *how, wait: !at_once });
                let admission = match how {
                    Admission::Queue => AdmissionPolicy::Queue,
                    Admission::Replace => AdmissionPolicy::Replace,
                    Admission::DropIfRunning => AdmissionPolicy::DropIfRunning,
                };
                let submission = ControllerSpec::new(admission, self.spec(task, op));
                let result = match at_once {
                    true => supervisor.try_submit(submission),
                    false => supervisor.submit(submission).await,
                };
                match result {
                    Ok(()) => Answer::Done,
                    Err(ControllerError::Full) => Answer::Full,
                    Err(ControllerError::NotConfigured) => Answer::NotConfigured,
                    Err(ControllerError::Closed) => Answer::Closed,
                }
            }
        };
        self.record(What::Answer { op, answer });
    }

    fn answer(&self, result: Result<(), RuntimeError>) -> Answer {
        match result {
            Ok(()) => Answer::Done,
            Err(RuntimeError::TaskAlreadyExists { .. }) => Answer::AlreadyExists,
            Err(RuntimeError::TaskNotFound { .. }) => Answer::NotFound,
            Err(RuntimeError::TaskRemoveTimeout { .. }) => Answer::RemoveTimeout,
            Err(RuntimeError::ShuttingDown) => Answer::ShuttingDown,
            Err(RuntimeError::GraceExceeded { stuck, .. }) => Answer::GraceExceeded(self.texts_of(&stuck)),
            Err(other) => Answer::Error(self.text(&other.to_string())),
        }
    }

    /// The place of the task of this key.
    fn task(&self, key: &str) -> usize {
        self.scenario.tasks.iter().position(|decl| decl.key() == key).expect("scenarios are checked")
    }

    /// A spec for the logic, with a body that plays the declaration's script from its beginning. `op` brought it.
    fn spec(self: &Rc<Self>, task: usize, op: u32) -> TaskSpec {
        let decl = &self.scenario.tasks[task];
        let task = ScriptedTask { stage: Rc::clone(self), place: task, op, attempts: Cell::new(0) };
        let spec = TaskSpec::new(Rc::new(task))
            .with_restart(match decl.restart {
                Restart::Never => RestartPolicy::Never,
                Restart::OnFailure => RestartPolicy::OnFailure,
                Restart::Always { every } => RestartPolicy::Always { interval: every.map(Span::duration) },
            })
            .with_backoff(BackoffPolicy {
                first: decl.backoff.first.duration(),
                max: decl.backoff.max.duration(),
                factor: decl.backoff.factor,
                jitter: match decl.backoff.jitter {
                    Jitter::None => JitterPolicy::None,
                    Jitter::Full => JitterPolicy::Full,
                    Jitter::Equal => JitterPolicy::Equal,
                    Jitter::Decorrelated => JitterPolicy::Decorrelated,
                },
            });
        match decl.timeout {
            Some(timeout) => spec.with_timeout(Some(timeout.duration())),
            None => spec,
        }
    }

    /// The same for judges.
    fn note(&self, task: usize) -> SpecNote {
        let decl = &self.scenario.tasks[task];
        let backoff = decl.backoff;
        SpecNote {
            task: self.names[task].1,
            restart: match decl.restart {
                Restart::Never => trace::Restart::Never,
                Restart::OnFailure => trace::Restart::OnFailure,
                Restart::Always { every } => trace::Restart::Always { interval_ns: every.map(Span::ns) },
            },
            backoff: BackoffNote {
                first_ns: backoff.first.ns(),
                max_ns: backoff.max.ns(),
                factor: backoff.factor,
                jitter: backoff.jitter,
            },
            timeout_ns: decl.timeout.unwrap_or(self.scenario.config.timeout).ns(),
        }
    }

    fn end(&self, end: &End) {
        let waiters = |stuck: &[Stuck]| stuck.iter().map(|stuck| self.waiter(stuck)).collect();
        let note = match end {
            End::Done => EndNote::Done,
            End::Livelock(stuck) => EndNote::Livelock(waiters(stuck)),
            End::Deadlock(stuck) => EndNote::Deadlock(waiters(stuck)),
            End::Limit(text) => EndNote::Limit(self.text(text)),
            End::Stopped => unreachable!("no scenario stops its world"),
        };
        self.record(What::End(note));
        self.tell();
        self.over.set(true);
    }

    fn waiter(&self, stuck: &Stuck) -> Waiter {
        let who = format!("{} {}", stuck.kind.as_str(), stuck.name);
        Waiter {
            who: self.text(who.trim_end()),
            task: (stuck.kind == LaneKind::Actor).then(|| self.text(&stuck.name)),
            what: self.text(stuck.waits_for.as_str()),
            since_ns: stuck.since_ns,
        }
    }
}

/// Records every event as it is published.
struct Observer<H> {
    stage: Rc<Stage<H>>,
    /// Stamp and delivery are two steps.
    disorder: bool,
    /// The latest reading of the wall clock, and what it is in a note: many events share one.
    wall: Cell<(SystemTime, i64)>,
}

impl<H: Host + 'static> Observer<H> {
    fn wall_ns(&self, at: SystemTime) -> i64 {
        let (known, ns) = self.wall.get();
        if known == at {
            return ns;
        }
        let ns = wall_ns(at);
        self.wall.set((at, ns));
        ns
    }
}

impl<H: Host + 'static> Observe for Observer<H> {
    fn event(&self, event: &Event) {
        let note = match self.stage.deaf {
            true => DEAF_NOTE,
            false => note_at(self.wall_ns(event.at), event, &mut self.stage.notebook.texts.borrow_mut()),
        };
        self.stage.record(What::Event(note));
    }

    fn delivered(&self, seq: u64) {
        if self.disorder {
            self.stage.record(What::Delivered { seq });
        }
    }
}

/// An event as traces have it.
pub(crate) fn event_note(event: &Event, texts: &mut Texts) -> EventNote {
    note_at(wall_ns(event.at), event, texts)
}

fn note_at(wall_ns: i64, event: &Event, texts: &mut Texts) -> EventNote {
    EventNote {
        seq: event.seq,
        wall_ns,
        kind: event.kind,
        task: event.task.as_ref().map(|task| texts.intern_arc(task)),
        reason: event.reason.as_ref().map(|reason| texts.intern_arc(reason)),
        attempt: event.attempt,
        timeout_ms: event.timeout_ms,
        delay_ms: event.delay_ms,
        source: event.backoff_source,
    }
}

/// Stands for every event where nobody reads the records.
const DEAF_NOTE: EventNote = EventNote {
    seq: 0,
    wall_ns: 0,
    kind: EventKind::TaskAdded,
    task: None,
    reason: None,
    attempt: None,
    timeout_ms: None,
    delay_ms: None,
    source: None,
};

/// Nanoseconds since the Unix epoch; saturates in the years 1677 and 2262.
fn wall_ns(at: SystemTime) -> i64 {
    match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

/// A task whose bodies play a script. One of these is one incarnation.
struct ScriptedTask<H> {
    stage: Rc<Stage<H>>,
    /// Where it is declared.
    place: usize,
    op: u32,
    attempts: Cell<u32>,
}

impl<H: Host + 'static> Task for ScriptedTask<H> {
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.stage.names[self.place].0)
    }

    fn spawn(&self, ctx: CancellationToken) -> TaskFuture {
        let attempt = self.attempts.get() + 1;
        self.attempts.set(attempt);
        let script = &self.stage.scenario.tasks[self.place].script;
        let step = script.get(attempt as usize - 1).or(script.last()).copied().unwrap_or_default();
        let (_, task) = self.stage.names[self.place];
        let (stage, op) = (Rc::clone(&self.stage), self.op);
        let body = Body { stage, task, op, attempt, ctx, told: false, left: false };
        Box::pin(body.play(step).map(Played::aloud))
    }
}

/// What comes of something that may panic.
enum Played<T> {
    Out(T),
    /// It panics with this message.
    Panic(&'static str),
}

impl<T> Played<T> {
    /// Panics if it is to. By then its future is gone: to unwind through the frames of one that still has something to
    /// drop costs several times as much.
    fn aloud(self) -> T {
        match self {
            Self::Out(out) => out,
            // Unlike `panic!`, this does not call the panic hook: a scripted panic is no news.
            Self::Panic(message) => resume_unwind(Box::new(message)),
        }
    }
}

/// The body of one attempt; records that it left, however it does.
struct Body<H: Host + 'static> {
    stage: Rc<Stage<H>>,
    task: Text,
    op: u32,
    attempt: u32,
    ctx: CancellationToken,
    /// It saw that it is cancelled.
    told: bool,
    left: bool,
}

/// What the errors of bodies say.
const FAILED: &str = "execution failed: boom";
const GONE: &str = "fatal error (no retry): gone";

/// How long a body runs once calm has come.
const CALM_RUN_NS: u64 = 100_000;

impl<H: Host + 'static> Body<H> {
    async fn play(mut self, step: Step) -> Played<Result<(), TaskError>> {
        let (task, attempt) = (self.task, self.attempt);
        self.stage.record(What::BodyEntered { task, attempt, op: Some(self.op) });
        let ctx = self.ctx.clone();
        let ending = self.act(step, &ctx).await;
        match ending {
            Ending::Ok => {
                self.leave(BodyEnd::Ok);
                Played::Out(Ok(()))
            }
            Ending::Canceled => {
                self.leave(BodyEnd::Canceled);
                Played::Out(Err(TaskError::Canceled))
            }
            Ending::Fail => {
                self.leave(BodyEnd::Fail(self.stage.text(FAILED)));
                Played::Out(Err(TaskError::Fail { reason: "boom".to_owned() }))
            }
            Ending::Fatal => {
                self.leave(BodyEnd::Fatal(self.stage.text(GONE)));
                Played::Out(Err(TaskError::Fatal { reason: "gone".to_owned() }))
            }
            Ending::Panic => {
                self.leave(BodyEnd::Panic(self.stage.text("ouch")));
                Played::Panic("ouch")
            }
            Ending::Never => pending().await,
        }
    }

    /// Does what the step says until it ends, is told to end, or calm comes.
    async fn act(&mut self, step: Step, ctx: &CancellationToken) -> Ending {
        let stage = Rc::clone(&self.stage);
        let world = &stage.world;
        let is_calm = stage.calm.is_raised();
        let step = if is_calm { Step { run: Span(CALM_RUN_NS), ..Step::default() } } else { step };
        let mut work = world.sleep_ns(step.run.ns());
        let mut cancelled = ctx.cancelled();
        let mut calm = stage.calm.wait();
        let ended = poll_fn(|cx| {
            if step.then != Ending::Never && work.poll_unpin(cx).is_ready() {
                return Poll::Ready(Some(step.then));
            }
            if !self.told && cancelled.poll_unpin(cx).is_ready() {
                self.told();
            }
            if self.told && step.on_cancel != OnCancel::Ignore {
                return Poll::Ready(None);
            }
            if is_calm { Poll::Pending } else { calm.poll_unpin(cx).map(|()| Some(Ending::Ok)) }
        })
        .await;
        match (ended, step.on_cancel) {
            (Some(ending), _) => ending,
            (None, OnCancel::Ignore) => unreachable!("a body that ignores cancellation goes on"),
            (None, OnCancel::End { after, then }) => {
                if !after.is_zero() {
                    select(world.sleep_ns(after.ns()), stage.calm.wait()).await;
                }
                if then == Ending::Never {
                    stage.calm.wait().await;
                    return Ending::Ok;
                }
                then
            }
        }
    }

    /// The context was seen to be cancelled.
    fn told(&mut self) {
        self.told = true;
        self.stage.record(What::BodyCancelled { task: self.task, attempt: self.attempt });
    }

    fn leave(&mut self, how: BodyEnd) {
        self.left = true;
        self.stage.record(What::BodyLeft { task: self.task, attempt: self.attempt, how });
    }
}

impl<H: Host + 'static> Drop for Body<H> {
    fn drop(&mut self) {
        if !self.left {
            if !self.told && self.ctx.is_cancelled() {
                self.told(); // the last that it can see
            }
            self.leave(BodyEnd::Dropped);
        }
    }
}

/// A subscriber that behaves as declared.
struct Audience<H> {
    stage: Rc<Stage<H>>,
    /// Where it is declared.
    place: usize,
    text: Text,
    seen: Cell<u32>,
}

impl<H: Host + 'static> Audience<H> {
    fn new(stage: &Rc<Stage<H>>, place: usize) -> Self {
        let text = stage.text(&stage.scenario.subscribers[place].name);
        Self { stage: Rc::clone(stage), place, text, seen: Cell::new(0) }
    }

    fn decl(&self) -> &SubscriberDecl {
        &self.stage.scenario.subscribers[self.place]
    }
}

impl<H: Host + 'static> Subscribe for Audience<H> {
    fn name(&self) -> &str {
        &self.decl().name
    }

    fn queue_capacity(&self) -> usize {
        self.decl().capacity as usize
    }

    fn on_event<'a>(&'a self, event: &'a Event) -> Handled<'a> {
        let handling = Handling { audience: self, seq: event.seq, left: false };
        match self.decl().behaviour {
            Behaviour::Quick => {
                handling.handle_at_once();
                Handled::Now
            }
            _ => Handled::later(handling.handle().map(Played::aloud)),
        }
    }
}

/// One call of a handler; records that it left, however it does.
struct Handling<'a, H: Host + 'static> {
    audience: &'a Audience<H>,
    seq: u64,
    left: bool,
}

impl<H: Host + 'static> Handling<'_, H> {
    fn handle_at_once(mut self) {
        self.enter();
        self.leave(HandlerEnd::Done);
    }

    async fn handle(mut self) -> Played<()> {
        self.enter();
        let Audience { stage, seen, .. } = self.audience;
        seen.set(seen.get() + 1);
        if !stage.calm.is_raised() {
            match self.audience.decl().behaviour {
                Behaviour::Slow { each } => {
                    select(pin!(stage.world.sleep_ns(each.ns())), pin!(stage.calm.wait())).await;
                }
                Behaviour::Stuck { after } if seen.get() > after => stage.calm.wait().await,
                Behaviour::Panics { every } if seen.get().is_multiple_of(every.max(1)) => {
                    self.leave(HandlerEnd::Panic(stage.text("handler ouch")));
                    return Played::Panic("handler ouch");
                }
                Behaviour::Quick | Behaviour::Stuck { .. } | Behaviour::Panics { .. } => {}
            }
        }
        self.leave(HandlerEnd::Done);
        Played::Out(())
    }

    fn enter(&self) {
        let Audience { stage, text, .. } = self.audience;
        stage.record(What::HandlerEntered { subscriber: *text, seq: self.seq });
    }

    fn leave(&mut self, how: HandlerEnd) {
        self.left = true;
        let Audience { stage, text, .. } = self.audience;
        stage.record(What::HandlerLeft { subscriber: *text, seq: self.seq, how });
    }
}

impl<H: Host + 'static> Drop for Handling<'_, H> {
    fn drop(&mut self) {
        if !self.left {
            self.leave(HandlerEnd::Dropped);
        }
    }
}
