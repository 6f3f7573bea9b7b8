//! The stage: what happens around a runtime while a scenario is played, and the record of it.

use std::io::Write;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use simvisor_sim::conform::{ForeignEvent, ForeignWhat};
use simvisor_sim::scenario::{Action, Behaviour, Scenario, TaskDecl};
use simvisor_sim::trace::{
    Answer, BackoffNote, Call, ConfigNote, ControllerNote, EndNote, HandlerEnd, Header, Restart, SpecNote,
    Text, Texts, Waiter, What,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::body::Job;
use crate::ledger::{Excess, Ledger, Open};
use crate::machine;
use crate::subject::{Reply, Request, Runtime, Subject};
use crate::yields::Yields;

/// How long after everything that a scenario asks for a run may still go on, beside twice the grace, in virtual time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a run is watched after it returned and every operation was answered, in virtual time.
const AFTERMATH: Duration = Duration::from_millis(100);
/// A run in which nothing was recorded for so long before it was given up stands still.
const QUIET: Duration = Duration::from_millis(1_200);
/// After so many bodies of one instant, somebody else is asked for a sign of life ...
const PROBE_AFTER: u64 = 500;
/// ... and has starved if it did not come by then.
const STARVED_AFTER: u64 = 2_500;

/// What the parts of a run share. Clones are the same stage.
#[derive(Clone)]
pub struct Stage {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Mutex<Ledger>,
    yields: Yields,
    calm: CancellationToken,
    /// Everything that was begun has ended.
    rest: tokio::sync::Notify,
    /// The instant of the last body, and how many there were then.
    bodies: Mutex<(u64, u64)>,
    alive: Arc<AtomicBool>,
    /// The run is too long and about to be given up.
    gives_up: AtomicBool,
    /// Counts records; a watchdog looks at it.
    beats: AtomicU64,
    default_timeout_ns: u64,
    grace: Duration,
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}

impl Stage {
    /// A stage for `scenario` that writes its trace to `output`.
    pub(crate) fn new(
        subject: &dyn Subject,
        scenario: &Scenario,
        yields: u64,
        output: Box<dyn Write + Send>,
    ) -> Self {
        let mut texts = Texts::default();
        let config = &scenario.config;
        let header = Header {
            runtime: subject.runtime(),
            scenario: (!scenario.name.is_empty()).then(|| scenario.name.clone()),
            config: ConfigNote {
                grace_ns: config.grace.ns(),
                max_concurrent: u64::from(config.max_concurrent),
                bus_capacity: u64::from(config.bus_capacity.max(1)),
                // Tokio's timers have a resolution of a millisecond and are rounded up.
                timer_late_ns: 1_000_000,
                controller: config.controller.map(|controller| ControllerNote {
                    queue_capacity: u64::from(controller.queue_capacity.max(1)),
                    slot_capacity: u64::from(controller.slot_capacity),
                }),
                disorder: false,
            },
            subscribers: scenario
                .subscribers
                .iter()
                .map(|decl| (texts.intern(&decl.name), u64::from(decl.capacity.max(1))))
                .collect(),
        };
        Self {
            shared: Arc::new(Shared {
                ledger: Mutex::new(Ledger::new(header, texts, output)),
                yields: Yields::new(yields),
                calm: CancellationToken::new(),
                rest: tokio::sync::Notify::new(),
                bodies: Mutex::new((0, 0)),
                alive: Arc::default(),
                gives_up: AtomicBool::new(false),
                beats: AtomicU64::new(0),
                default_timeout_ns: config.timeout.ns(),
                grace: config.grace.duration(),
            }),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records something that happens now.
    pub(crate) fn record(&self, what: impl FnOnce(&mut Texts) -> What) {
        let mut ledger = self.ledger();
        let what = what(&mut ledger.texts);
        let result = ledger.record(what);
        drop(ledger);
        self.took(result);
    }

    /// Records something that happened at a stamp.
    pub(crate) fn record_at(&self, stamp: u64, what: What) {
        let result = self.ledger().record_at(stamp, ForeignWhat::Same(what));
        self.took(result);
    }

    fn took(&self, result: Result<(), Excess>) {
        self.shared.beats.fetch_add(1, Ordering::Relaxed);
        if result.is_err() {
            if self.shared.gives_up.swap(true, Ordering::Relaxed) {
                return;
            }
            // Who has something to tell of the present instant tells it.
            machine::threads::let_all_others();
        }
        match result {
            Ok(()) => {}
            Err(Excess::Instant) => self.give_up(|ledger| EndNote::Livelock(ledger.waiters())),
            Err(Excess::Run) => self.give_up(|ledger| EndNote::Limit(ledger.text("100000 records"))),
        }
    }

    /// How many records there were so far.
    pub(crate) fn beats(&self) -> u64 {
        self.shared.beats.load(Ordering::Relaxed)
    }

    /// Ends the trace, and this process with it: what runs could not be stopped in another way.
    pub(crate) fn give_up(&self, end: impl FnOnce(&mut Ledger) -> EndNote) -> ! {
        let mut ledger = self.ledger();
        let end = end(&mut ledger);
        ledger.end(end);
        std::process::exit(0);
    }

    /// Records an event of the runtime, in its own words, that was stamped `at`, whenever we are told of it.
    pub fn event(&self, at: SystemTime, mut event: ForeignEvent) {
        let stamp = machine::stamp_of(at);
        event.wall_ns = i64::try_from(stamp).unwrap_or(i64::MAX);
        let result = self.ledger().record_at(stamp, ForeignWhat::Event(event));
        self.took(result);
    }

    /// Gives way as the seed wants.
    pub async fn pass(&self, who: &str) {
        self.shared.yields.pass(who).await;
    }

    /// Ready once nothing goes wrong any more.
    pub(crate) fn calm(&self) -> &CancellationToken {
        &self.shared.calm
    }

    pub(crate) fn begin(&self, open: Open) {
        self.ledger().begin(open);
    }

    pub(crate) fn end_of(&self, open: &Open) {
        let mut ledger = self.ledger();
        ledger.end_of(open);
        if !ledger.has_open() {
            self.shared.rest.notify_one();
        }
    }

    /// A body is about to run; without a sign of life of anybody else the run is given up.
    pub(crate) fn body_entered(&self, task: &str) {
        let now_ns = machine::now_ns();
        let mut bodies = self.shared.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        if bodies.0 != now_ns {
            *bodies = (now_ns, 0);
        }
        bodies.1 += 1;
        if bodies.1 == PROBE_AFTER {
            self.shared.alive.store(false, Ordering::Relaxed);
            let alive = Arc::clone(&self.shared.alive);
            tokio::spawn(async move { alive.store(true, Ordering::Relaxed) });
        } else if bodies.1 == STARVED_AFTER && !self.shared.alive.load(Ordering::Relaxed) {
            let count = STARVED_AFTER - PROBE_AFTER;
            self.give_up(|ledger| {
                let waiter = Waiter {
                    who: ledger.text(&format!("actor {task}")),
                    task: Some(ledger.text(task)),
                    what: ledger
                        .text(&format!("{STARVES}: nothing else ran between {count} of its attempts")),
                    since_ns: now_ns,
                };
                EndNote::Livelock(vec![waiter])
            });
        }
    }

    /// What judges need to know of a task.
    fn note(&self, decl: &TaskDecl, texts: &mut Texts) -> SpecNote {
        use simvisor_sim::scenario;
        SpecNote {
            task: texts.intern(&decl.name),
            restart: match decl.restart {
                scenario::Restart::Never => Restart::Never,
                scenario::Restart::OnFailure => Restart::OnFailure,
                scenario::Restart::Always { every } => {
                    Restart::Always { interval_ns: every.map(simvisor_sim::scenario::Span::ns) }
                }
            },
            backoff: BackoffNote {
                first_ns: decl.backoff.first.ns(),
                max_ns: decl.backoff.max.ns(),
                factor: decl.backoff.factor,
                jitter: decl.backoff.jitter,
            },
            timeout_ns: decl.timeout.map_or(self.shared.default_timeout_ns, simvisor_sim::scenario::Span::ns),
        }
    }

    /// Limit of one attempt; `None` is none.
    pub fn timeout_of(&self, decl: &TaskDecl) -> Option<Duration> {
        let ns = decl.timeout.map_or(self.shared.default_timeout_ns, simvisor_sim::scenario::Span::ns);
        (ns > 0).then(|| Duration::from_nanos(ns))
    }

    /// Plays a handler of a subscriber that can wait.
    pub async fn handle(&self, subscriber: &str, behaviour: Behaviour, seen: u32, seq: u64) {
        let mut handling = Handling::enter(self, subscriber, seq);
        self.pass(&format!("handler {subscriber}")).await;
        if !self.calm().is_cancelled() {
            let wait = match behaviour {
                Behaviour::Slow { each } => Some(each.duration()),
                Behaviour::Stuck { after } if seen > after => None,
                Behaviour::Panics { every } if seen.is_multiple_of(every.max(1)) => handling.panic(),
                Behaviour::Quick | Behaviour::Stuck { .. } | Behaviour::Panics { .. } => Some(Duration::ZERO),
            };
            match wait {
                Some(Duration::ZERO) => {}
                Some(wait) => drop(timeout(wait, self.calm().cancelled()).await),
                None => self.calm().cancelled().await,
            }
        }
        handling.leave(HandlerEnd::Done);
    }

    /// Plays a handler of a subscriber that cannot wait.
    pub fn handle_now(&self, subscriber: &str, behaviour: Behaviour, seen: u32, seq: u64) {
        let mut handling = Handling::enter(self, subscriber, seq);
        if let Behaviour::Panics { every } = behaviour
            && !self.calm().is_cancelled()
            && seen.is_multiple_of(every.max(1))
        {
            handling.panic();
        }
        handling.leave(HandlerEnd::Done);
    }

    /// Plays `scenario` on a runtime, until the end or until it is clear that there will be none.
    pub(crate) async fn play(&self, subject: &dyn Subject, scenario: &Scenario) {
        let runtime = subject.open(self, scenario);
        let run = Open { who: "run".to_owned(), task: None, what: "its return".to_owned() };
        self.begin(run.clone());
        tokio::spawn(self.clone().run(Arc::clone(&runtime), scenario.clone(), run));
        let mut last = scenario.run_at.duration();
        for (op, operation) in (1..).zip(&scenario.operations) {
            let at = operation.at.duration();
            last = last.max(at);
            if let Action::Cancel { wait: Some(wait), .. } = &operation.action {
                last = last.max(at + wait.duration());
            }
            let open = Open { who: format!("operation {op}"), task: None, what: "its answer".to_owned() };
            self.begin(open.clone());
            let (stage, runtime) = (self.clone(), Arc::clone(&runtime));
            let (action, tasks) = (operation.action.clone(), scenario.tasks.clone());
            tokio::spawn(async move {
                sleep(at).await;
                stage.pass(&format!("operation {op}")).await;
                stage.operate(&*runtime, op, &action, &tasks).await;
                stage.end_of(&open);
            });
        }
        if let Some(calm_at) = scenario.calm_at {
            last = last.max(calm_at.duration());
            let stage = self.clone();
            tokio::spawn(async move {
                sleep(calm_at.duration()).await;
                stage.record(|_| What::Calm);
                stage.calm().cancel();
            });
        }
        let horizon = Instant::now() + last + 2 * self.shared.grace + PATIENCE;
        let rest = async {
            while self.ledger().has_open() {
                self.shared.rest.notified().await;
            }
        };
        let end = tokio::select! {
            biased;
            () = rest => {
                sleep(AFTERMATH).await;
                EndNote::Done
            }
            () = sleep_until(horizon) => self.stuck(),
        };
        self.ledger().end(end);
        drop(runtime);
    }

    /// Nothing came to an end in time: it stands still, or goes on for ever.
    fn stuck(&self) -> EndNote {
        let mut ledger = self.ledger();
        let quiet_ns = machine::now_ns().saturating_sub(ledger.last_ns());
        if u128::from(quiet_ns) >= QUIET.as_nanos() {
            return EndNote::Deadlock(ledger.waiters());
        }
        let open: Vec<_> = ledger.waiters();
        let names: Vec<_> = open.iter().map(|waiter| ledger.texts.get(waiter.who).to_owned()).collect();
        let text = format!("{} ms {GOES_ON}, waiting for {}", PATIENCE.as_millis(), names.join(", "));
        EndNote::Limit(ledger.text(&text))
    }

    async fn run(self, runtime: Arc<dyn Runtime>, scenario: Scenario, open: Open) {
        sleep(scenario.run_at.duration()).await;
        let starting: Vec<_> = scenario.tasks.iter().filter(|decl| decl.start).collect();
        let jobs = starting.iter().map(|decl| Job::new(&self, decl, 0)).collect();
        self.record(|texts| {
            let call = match scenario.mode {
                simvisor_sim::scenario::Mode::Run => {
                    Call::Run(starting.iter().map(|decl| self.note(decl, texts)).collect())
                }
                simvisor_sim::scenario::Mode::Serve => Call::Serve,
            };
            What::Call { op: 0, call }
        });
        let reply = runtime.run(scenario.mode, jobs).await;
        self.record(|texts| What::Answer { op: 0, answer: answer(reply, texts) });
        self.end_of(&open);
    }

    async fn operate(&self, runtime: &dyn Runtime, op: u32, action: &Action, tasks: &[TaskDecl]) {
        let decl = |key: &str| tasks.iter().find(|decl| decl.key() == key).expect("scenarios are checked");
        let job = |key: &str| Job::new(self, decl(key), op);
        let request = match action {
            Action::Add(key) => Request::Add(job(key)),
            Action::Remove(task) => Request::Remove(task.clone()),
            Action::Cancel { task, wait } => {
                Request::Cancel { task: task.clone(), wait: wait.map(simvisor_sim::scenario::Span::duration) }
            }
            Action::List => Request::List,
            Action::Snapshot => Request::Snapshot,
            Action::IsAlive(task) => Request::IsAlive(task.clone()),
            Action::WaitReady => Request::WaitReady,
            Action::Shutdown => Request::Shutdown,
            Action::SetWall { .. } => return,
            Action::Submit { task, how, at_once } => {
                Request::Submit { job: job(task), how: *how, at_once: *at_once }
            }
        };
        if let Request::Shutdown = request {
            runtime.can_shut_down().await;
        }
        self.record(|texts| {
            let call = match action {
                Action::Add(key) => Call::Add(self.note(decl(key), texts)),
                Action::Remove(task) => Call::Remove(texts.intern(task)),
                Action::Cancel { task, wait } => Call::Cancel {
                    task: texts.intern(task),
                    wait_ns: u64::try_from(
                        wait.map_or(self.shared.grace, simvisor_sim::scenario::Span::duration).as_nanos(),
                    )
                    .unwrap_or(u64::MAX),
                },
                Action::List => Call::List,
                Action::Snapshot => Call::Snapshot,
                Action::IsAlive(task) => Call::IsAlive(texts.intern(task)),
                Action::WaitReady => Call::WaitReady,
                Action::Shutdown | Action::SetWall { .. } => Call::Shutdown,
                Action::Submit { task, how, at_once } => {
                    Call::Submit { spec: self.note(decl(task), texts), admission: *how, wait: !at_once }
                }
            };
            What::Call { op, call }
        });
        let reply = runtime.perform(request).await;
        self.record(|texts| What::Answer { op, answer: answer(reply, texts) });
    }
}

/// How a run that is given up though it does something is described in the end of a trace.
pub(crate) const GOES_ON: &str = "after the last operation";

/// How a starving actor is described in the end of a trace.
pub(crate) const STARVES: &str = "restarts without a yield";

fn answer(reply: Reply, texts: &mut Texts) -> Answer {
    let mut names =
        |names: Vec<String>| -> Vec<Text> { names.iter().map(|name| texts.intern(name)).collect() };
    match reply {
        Reply::Done => Answer::Done,
        Reply::Bool(value) => Answer::Bool(value),
        Reply::Names(list) => Answer::Names(names(list)),
        Reply::AlreadyExists => Answer::AlreadyExists,
        Reply::NotFound => Answer::NotFound,
        Reply::RemoveTimeout => Answer::RemoveTimeout,
        Reply::ShuttingDown => Answer::ShuttingDown,
        Reply::GraceExceeded(stuck) => Answer::GraceExceeded(names(stuck)),
        Reply::Full => Answer::Full,
        Reply::NotConfigured => Answer::NotConfigured,
        Reply::Closed => Answer::Closed,
        Reply::Error(text) => Answer::Error(texts.intern(&text)),
    }
}

/// One call of a handler; records that it left, however it does.
struct Handling<'a> {
    stage: &'a Stage,
    subscriber: Text,
    seq: u64,
    has_left: bool,
}

impl<'a> Handling<'a> {
    fn enter(stage: &'a Stage, subscriber: &str, seq: u64) -> Self {
        let subscriber = stage.ledger().text(subscriber);
        stage.record(|_| What::HandlerEntered { subscriber, seq });
        Self { stage, subscriber, seq, has_left: false }
    }

    fn leave(&mut self, how: HandlerEnd) {
        self.has_left = true;
        let Self { subscriber, seq, .. } = *self;
        self.stage.record(|_| What::HandlerLeft { subscriber, seq, how });
    }

    fn panic(&mut self) -> ! {
        let text = self.stage.ledger().text("handler ouch");
        self.leave(HandlerEnd::Panic(text));
        resume_unwind(Box::new("handler ouch"))
    }
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        if !self.has_left {
            self.leave(HandlerEnd::Dropped);
        }
    }
}
