//! The supervisor: owns registry, bus, subscribers and controller, and carries a run from its start to its end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustc_hash::{FxBuildHasher, FxHashSet};

use crate::actor::{self, Actor, Terms};
use crate::bus::Receiver;
#[cfg(feature = "controller")]
use crate::controller::{Controller, ControllerConfig};
use crate::error::RuntimeError;
use crate::event::{Event, EventKind};
use crate::hub::{Hub, Observe};
use crate::lifecycle::{Mode, Phase};
use crate::registry::{Entry, Incarnation, Message, Registry, Removal, Stage};
use crate::runtime::{JobKey, Nanos, PreemptPoint, Role, Rt, Shared, WaitsFor};
use crate::subscribers::{Subscribe, SubscriberCounters, SubscriberSet};
use crate::sync::{Inbox, Latch, Semaphore};
use crate::task::TaskSpec;

/// Reason of a forced end (\[D3\]).
const ABORTED: &str = "aborted: grace exceeded";

/// Reason of a `TaskRemoveRequested` that came from `cancel`.
const MANUAL_CANCEL: &str = "manual_cancel";

/// Limits and periods of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisorConfig {
    /// How long a shutdown waits for tasks to end. Default 60 s.
    pub grace: Duration,
    /// How many attempts may run at once, over all tasks. 0, the default, is no limit.
    pub max_concurrent: usize,
    /// How many events the bus keeps for a receiver that is behind. Default 1024; 0 counts as 1.
    pub bus_capacity: usize,
    /// Limit of one attempt for tasks that set none of their own. `None`, the default, and zero: no limit.
    pub timeout: Option<Duration>,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(60), max_concurrent: 0, bus_capacity: 1024, timeout: None }
    }
}

/// Puts a [`Supervisor`] together.
pub struct SupervisorBuilder {
    rt: Rt,
    config: SupervisorConfig,
    subscribers: Vec<Rc<dyn Subscribe>>,
    observer: Option<Rc<dyn Observe>>,
    #[cfg(feature = "controller")]
    pub(crate) controller: Option<ControllerConfig>,
}

impl std::fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SupervisorBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl SupervisorBuilder {
    /// A supervisor on `rt` with the default configuration and no subscribers.
    #[must_use]
    pub fn new(rt: Rt) -> Self {
        Self {
            rt,
            config: SupervisorConfig::default(),
            subscribers: Vec::new(),
            observer: None,
            #[cfg(feature = "controller")]
            controller: None,
        }
    }

    /// Sets the configuration.
    #[must_use]
    pub fn with_config(mut self, config: SupervisorConfig) -> Self {
        self.config = config;
        self
    }

    /// Adds a subscriber.
    #[must_use]
    pub fn with_subscriber(mut self, subscriber: Rc<dyn Subscribe>) -> Self {
        self.subscribers.push(subscriber);
        self
    }

    /// Sets the observer, which sees every event as it is published.
    #[must_use]
    pub fn with_observer(mut self, observer: Rc<dyn Observe>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The supervisor. Tasks can be added before it runs.
    #[must_use]
    pub fn build(self) -> Supervisor {
        let hub = Rc::new(Hub::new(self.rt, self.config.bus_capacity, self.observer));
        let permits = (self.config.max_concurrent > 0).then(|| Semaphore::new(self.config.max_concurrent));
        let subscribers = Rc::new(SubscriberSet::new(&hub, self.subscribers));
        let registry = Rc::default();
        let terms = Terms {
            hub: Rc::clone(&hub),
            permits,
            timeout: self.config.timeout,
            registry: Rc::clone(&registry),
        };
        Supervisor {
            inner: Rc::new(Inner {
                terms: Rc::new(terms),
                hub,
                config: self.config,
                subscribers,
                registry,
                inbox: Inbox::default(),
                #[cfg(feature = "controller")]
                controller: self.controller.map(Controller::new),
                phase: Cell::new(Phase::Waiting),
                ready: Latch::new(),
                progress: RefCell::new(None),
            }),
        }
    }
}

/// Runs tasks under their policies. Cheap to clone; all clones are the same supervisor.
#[derive(Clone)]
pub struct Supervisor {
    pub(crate) inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) hub: Rc<Hub>,
    config: SupervisorConfig,
    terms: Rc<Terms>,
    subscribers: Rc<SubscriberSet>,
    registry: Rc<RefCell<Registry>>,
    inbox: Inbox<Message>,
    #[cfg(feature = "controller")]
    pub(crate) controller: Option<Controller>,
    pub(crate) phase: Cell<Phase>,
    ready: Latch,
    /// Whoever drives the run, woken when a task is removed or a shutdown is requested.
    progress: RefCell<Option<Waker>>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("phase", &self.inner.phase.get())
            .field("tasks", &self.inner.registry.borrow().names())
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// Registers `specs` and drives them until nothing is registered any more or a shutdown has ended (\[D1\]).
    ///
    /// # Errors
    /// [`RuntimeError::TaskAlreadyExists`] if a name comes twice, before anything is started;
    /// [`RuntimeError::GraceExceeded`] if a shutdown had to abort tasks; [`RuntimeError::ShuttingDown`] if shutdown
    /// was requested before the call and there was something to register; [`RuntimeError::AlreadyStarted`] on a
    /// second call.
    pub async fn run(&self, specs: Vec<TaskSpec>) -> Result<(), RuntimeError> {
        self.drive(specs, Mode::UntilIdle).await
    }

    /// As [`Supervisor::run`], starting with nothing and waiting for a shutdown even when idle.
    ///
    /// # Errors
    /// As [`Supervisor::run`].
    pub async fn serve(&self) -> Result<(), RuntimeError> {
        self.drive(Vec::new(), Mode::UntilShutdown).await
    }

    /// Registers a task (\[G2\]). What happens to it is told by events.
    ///
    /// # Errors
    /// [`RuntimeError::TaskAlreadyExists`] if the name is taken, [`RuntimeError::ShuttingDown`] after a shutdown
    /// request or the end of the run. A refused add publishes nothing.
    #[allow(clippy::needless_pass_by_value)] // the family's signature: a spec is handed over
    pub fn add_task(&self, spec: TaskSpec) -> Result<(), RuntimeError> {
        self.inner.add(&spec).map(|_| ())
    }

    /// Asks for a task's removal (\[G3\]). The removal itself is told by events.
    ///
    /// # Errors
    /// [`RuntimeError::TaskNotFound`] if no task of this name is registered.
    pub fn remove_task(&self, name: &str) -> Result<(), RuntimeError> {
        match self.inner.remove(name, None) {
            Some(_) => Ok(()),
            None => Err(RuntimeError::TaskNotFound { name: name.into() }),
        }
    }

    /// Removes a task and waits until it is gone, at most for the configured grace (\[G7\]). `Ok(false)`: no such task.
    ///
    /// # Errors
    /// [`RuntimeError::TaskRemoveTimeout`] if it was not gone in time; it stays under removal.
    pub async fn cancel(&self, name: &str) -> Result<bool, RuntimeError> {
        self.cancel_with_timeout(name, self.inner.config.grace).await
    }

    /// As [`Supervisor::cancel`], waiting at most for `timeout`.
    ///
    /// # Errors
    /// As [`Supervisor::cancel`].
    pub async fn cancel_with_timeout(&self, name: &str, timeout: Duration) -> Result<bool, RuntimeError> {
        let Some(removed) = self.inner.remove(name, Some(MANUAL_CANCEL)) else { return Ok(false) };
        let rt = &self.inner.hub.rt;
        rt.waits_for(WaitsFor::Removal);
        let mut removed = pin!(removed.wait());
        let mut patience = rt.sleep_until(rt.now().after(timeout));
        poll_fn(|cx| {
            if removed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(true));
            }
            if Pin::new(&mut patience).poll(cx).is_ready() {
                return Poll::Ready(Err(RuntimeError::TaskRemoveTimeout { name: name.into(), timeout }));
            }
            Poll::Pending
        })
        .await
    }

    /// The names of the registered tasks, sorted (\[G1\]).
    #[must_use]
    pub fn list_tasks(&self) -> Vec<Arc<str>> {
        self.inner.hub.touches(Shared::Registry);
        self.inner.registry.borrow().names()
    }

    /// The names of the tasks that are in an attempt, sorted (\[G8\]).
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<str>> {
        self.inner.hub.touches(Shared::Told);
        self.inner.registry.borrow().alive()
    }

    /// Whether the task is in an attempt (\[G8\]).
    #[must_use]
    pub fn is_alive(&self, name: &str) -> bool {
        self.inner.hub.touches(Shared::Told);
        self.inner.registry.borrow().is_alive(name)
    }

    /// Resolves once the runtime is up, whether it is called before or after (\[D1\]).
    pub async fn wait_ready(&self) {
        self.inner.hub.rt.waits_for(WaitsFor::Ready);
        self.inner.ready.wait().await;
    }

    /// Asks the run to end (\[D2\]). Asking again, or after the end, changes nothing.
    pub fn shutdown(&self) {
        self.inner.request_shutdown();
    }

    /// A receiver of every event published from now on. It loses events when it is overrun, and is told how many.
    #[must_use]
    pub fn subscribe(&self) -> Receiver {
        self.inner.hub.bus.subscribe()
    }

    /// Name and counters of each subscriber (\[S6\]).
    #[must_use]
    pub fn subscriber_counters(&self) -> Vec<(Arc<str>, SubscriberCounters)> {
        self.inner.subscribers.counters()
    }

    /// How many events were published so far.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.inner.hub.published()
    }

    /// How many of the `max_concurrent` permits are held or promised.
    #[must_use]
    pub fn permits_in_use(&self) -> usize {
        self.inner
            .terms
            .permits
            .as_ref()
            .map_or(0, |permits| self.inner.config.max_concurrent - permits.available())
    }

    async fn drive(&self, specs: Vec<TaskSpec>, mode: Mode) -> Result<(), RuntimeError> {
        let inner = &self.inner;
        inner.hub.touches(Shared::Everything);
        inner.check_start(&specs)?;
        let refused = inner.phase.get().is_stopping() && !specs.is_empty();
        inner.phase.set(inner.phase.get().started());

        let mut jobs = RunGuard { inner: Rc::clone(inner), jobs: Vec::new() };
        let rt = &inner.hub.rt;
        jobs.jobs.push(rt.spawn(Role::Registry, &Arc::from(""), Box::pin(Rc::clone(inner).registry_loop())));
        jobs.jobs.extend(inner.subscribers.start());
        #[cfg(feature = "controller")]
        if inner.controller.is_some() {
            let controller = Box::pin(Rc::clone(inner).controller_loop());
            jobs.jobs.push(rt.spawn(Role::Controller, &Arc::from(""), controller));
        }
        if !refused {
            for spec in specs {
                inner.add(&spec).expect("the names were checked and no add came between");
            }
        }
        inner.ready.raise();

        let result = match inner.until_stop(mode).await {
            None => Ok(()),
            Some(requested_at) => inner.stop(requested_at).await,
        };
        inner.drain().await;
        drop(jobs);
        if refused { Err(RuntimeError::ShuttingDown) } else { result }
    }
}

impl Inner {
    pub(crate) fn publish(&self, event: Event) {
        self.hub.publish(event);
    }

    pub(crate) fn wake_driver(&self) {
        self.hub.touches(Shared::Driver);
        let waker = self.progress.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn check_start(&self, specs: &[TaskSpec]) -> Result<(), RuntimeError> {
        if !self.phase.get().can_start() {
            return Err(RuntimeError::AlreadyStarted);
        }
        let mut names: Vec<_> = specs.iter().map(TaskSpec::name).collect();
        let mut seen = FxHashSet::with_capacity_and_hasher(names.len(), FxBuildHasher);
        let registry = self.registry.borrow();
        if names.iter().all(|name| seen.insert(name) && !registry.contains(name)) {
            return Ok(());
        }
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| Arc::clone(&pair[0]));
        let taken = || names.iter().find(|name| registry.contains(name)).cloned();
        match twice.or_else(taken) {
            Some(name) => Err(RuntimeError::TaskAlreadyExists { name }),
            None => Ok(()),
        }
    }

    pub(crate) fn add(&self, spec: &TaskSpec) -> Result<Incarnation, RuntimeError> {
        let name = spec.name();
        self.hub.touches(Shared::Entry(&name));
        if !self.phase.get().accepts_adds() {
            return Err(RuntimeError::ShuttingDown);
        }
        let Some(incarnation) = self.registry.borrow_mut().add(spec) else {
            return Err(RuntimeError::TaskAlreadyExists { name });
        };
        self.hub.touches(Shared::Names);
        let event = Event::unstamped(EventKind::TaskAddRequested).with_task(name);
        self.publish(event.with_spec(spec.clone()));
        self.send(Message::Admit(incarnation));
        Ok(incarnation)
    }

    fn send(&self, message: Message) {
        self.hub.touches(Shared::Inbox);
        self.inbox.send(message);
    }

    /// Requests a removal; gives the latch that tells of its end, or nothing if there is no such task.
    fn remove(&self, name: &str, reason: Option<&'static str>) -> Option<Latch> {
        self.hub.touches(Shared::Entry(name));
        self.hub.touches(Shared::Task(name));
        let mut registry = self.registry.borrow_mut();
        let (removed, token, name) = match registry.remove(name) {
            Removal::Absent => return None,
            Removal::Already(removed) => return Some(removed),
            Removal::First(entry, removed) => (removed, entry.token.clone(), entry.spec.name()),
        };
        drop(registry);
        let event = Event::unstamped(EventKind::TaskRemoveRequested).with_task(name);
        self.publish(match reason {
            Some(reason) => event.with_reason(reason),
            None => event,
        });
        token.cancel();
        Some(removed)
    }

    /// As [`Inner::remove`], unless the name belongs to another incarnation by now (\[G5\]).
    #[cfg(feature = "controller")]
    pub(crate) fn remove_incarnation(&self, name: &str, incarnation: Incarnation) {
        self.hub.touches(Shared::Entry(name));
        let holds = self.registry.borrow().get(incarnation).is_some();
        if holds {
            self.remove(name, None);
        }
    }

    fn request_shutdown(&self) {
        self.hub.touches(Shared::Everything);
        let Some(stopping) = self.phase.get().shutdown_requested(self.hub.rt.now()) else { return };
        self.phase.set(stopping);
        self.publish(Event::unstamped(EventKind::ShutdownRequested));
        #[cfg(feature = "controller")]
        self.close_controller();
        let tokens = self.registry.borrow().tokens();
        for token in tokens {
            token.cancel();
        }
        self.wake_driver();
    }

    async fn registry_loop(self: Rc<Self>) {
        loop {
            self.hub.rt.waits_for(WaitsFor::Inbox);
            let message = poll_fn(|cx| {
                let received = self.inbox.poll_recv(cx);
                if received.is_pending() {
                    self.hub.touches(Shared::InboxEnd);
                }
                received
            })
            .await;
            self.hub.rt.point(PreemptPoint::RegistryMessage).await;
            match message {
                Message::Admit(incarnation) => self.admit(incarnation),
                Message::Ended(incarnation) => self.finish(incarnation),
            }
        }
    }

    fn admit(self: &Rc<Self>, incarnation: Incarnation) {
        let actor = {
            let registry = self.registry.borrow();
            let Some(entry) = registry.requested(incarnation) else {
                return self.hub.touches(Shared::Registry); // as when an actor has ended
            };
            self.hub.touches(Shared::Entry(entry.spec.shared_name()));
            Actor {
                terms: Rc::clone(&self.terms),
                spec: entry.spec.clone(),
                token: entry.token.clone(),
                incarnation,
            }
        };
        let name = actor.spec.name();
        self.publish(Event::unstamped(EventKind::TaskAdded).with_task(Arc::clone(&name)));
        let end = EndNotice { inner: Rc::clone(self), incarnation };
        let job = self.hub.rt.spawn(
            Role::Actor,
            &name,
            Box::pin(async move {
                let _end = &end; // dropped with this future, however it ends
                actor::run(&actor).await;
            }),
        );
        self.registry.borrow_mut().spawned(incarnation, job);
    }

    fn finish(&self, incarnation: Incarnation) {
        let Some(entry) = self.registry.borrow_mut().ended(incarnation) else {
            return self.hub.touches(Shared::Registry); // who took it out has changed what is registered
        };
        self.hub.touches(Shared::Entry(entry.spec.shared_name()));
        self.hub.touches(Shared::Names);
        self.removed(incarnation, &entry);
        self.wake_driver();
    }

    #[cfg_attr(not(feature = "controller"), allow(unused_variables))]
    fn removed(&self, incarnation: Incarnation, entry: &Entry) {
        let name = entry.spec.shared_name();
        self.publish(Event::unstamped(EventKind::TaskRemoved).with_task(Arc::clone(name)));
        #[cfg(feature = "controller")]
        if let Some(controller) = &self.controller {
            controller.removed(&*self.hub.rt, name, incarnation);
        }
        entry.tell_removed();
    }

    /// Whether nothing is registered, requested or queued (\[D1\]).
    fn is_idle(&self) -> bool {
        #[cfg(feature = "controller")]
        if self.controller.as_ref().is_some_and(|controller| !controller.is_idle()) {
            return false;
        }
        self.registry.borrow().is_empty()
    }

    /// Waits until the run should end: by itself, which closes it to adds at once (`None`), or by a request made at
    /// the instant given.
    async fn until_stop(&self, mode: Mode) -> Option<Nanos> {
        let rt = &self.hub.rt;
        loop {
            rt.waits_for(WaitsFor::Idle);
            poll_fn(|cx| self.poll_stop(mode, cx)).await;
            rt.point(PreemptPoint::BeforeEnd).await;
            rt.touches(Shared::Everything);
            if let Phase::Stopping { requested_at } = self.phase.get() {
                return Some(requested_at);
            }
            if self.is_idle() {
                self.phase.set(Phase::Draining); // [D1] [D5]
                return None;
            }
        }
    }

    fn poll_stop(&self, mode: Mode, cx: &mut Context<'_>) -> Poll<()> {
        self.hub.touches(Shared::Idle);
        let idle = mode == Mode::UntilIdle && self.is_idle();
        if idle || self.phase.get().is_stopping() {
            return Poll::Ready(());
        }
        *self.progress.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits for every removal within grace, or aborts what is left (\[D3\]).
    async fn stop(&self, requested_at: Nanos) -> Result<(), RuntimeError> {
        let rt = &self.hub.rt;
        rt.waits_for(WaitsFor::AllRemoved);
        let mut grace = rt.sleep_until(requested_at.after(self.config.grace));
        let in_time = poll_fn(|cx| {
            rt.touches(Shared::Everything);
            if self.registry.borrow().is_empty() {
                return Poll::Ready(true);
            }
            if Pin::new(&mut grace).poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            *self.progress.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.phase.set(Phase::Draining);
        if in_time {
            #[cfg(feature = "controller")]
            self.settle_controller();
            self.publish(Event::unstamped(EventKind::AllStoppedWithinGrace));
            return Ok(());
        }
        self.publish(Event::unstamped(EventKind::GraceExceeded));
        let stuck = self.registry.borrow().names();
        self.abort_all();
        #[cfg(feature = "controller")]
        self.settle_controller();
        Err(RuntimeError::GraceExceeded { grace: self.config.grace, stuck })
    }

    /// Ends every registered task by force, in order of name.
    fn abort_all(&self) {
        loop {
            let Some((incarnation, entry)) = self.registry.borrow_mut().pop_first() else { break };
            let name = entry.spec.shared_name();
            match entry.stage {
                // [G2]: an accepted add is followed by its TaskAdded in any case.
                Stage::Requested => {
                    self.publish(Event::unstamped(EventKind::TaskAdded).with_task(Arc::clone(name)));
                }
                Stage::Spawned(job) => self.hub.rt.abort(job),
            }
            if let Some(attempt) = entry.open_attempt() {
                let event = Event::unstamped(EventKind::TaskFailed).with_task(Arc::clone(name));
                self.publish(event.with_attempt(attempt).with_reason(ABORTED));
            }
            self.removed(incarnation, &entry);
        }
    }

    /// Lets the subscribers handle what is left, for at most `grace` (\[S9\]).
    async fn drain(&self) {
        let rt = &self.hub.rt;
        rt.waits_for(WaitsFor::Drain);
        let mut patience = rt.sleep_until(rt.now().after(self.config.grace));
        poll_fn(|cx| {
            rt.touches(Shared::Everything);
            match self.subscribers.poll_drained(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => Pin::new(&mut patience).poll(cx),
            }
        })
        .await;
    }
}

/// Tells the registry that an actor is over, however its future ended (\[G4\]).
struct EndNotice {
    inner: Rc<Inner>,
    incarnation: Incarnation,
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.inner.send(Message::Ended(self.incarnation));
    }
}

/// Leaves nothing behind when the run ends, or when its future is dropped before that (\[D6\]).
struct RunGuard {
    inner: Rc<Inner>,
    jobs: Vec<JobKey>,
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let rt = &self.inner.hub.rt;
        self.inner.phase.set(Phase::Over);
        #[cfg(feature = "controller")]
        self.inner.close_controller(); // a run that was dropped may have submissions left ([C1])
        self.inner.hub.flush();
        self.inner.subscribers.close();
        for job in self.jobs.drain(..) {
            rt.abort(job);
        }
        // Only a run that was dropped has tasks left.
        while let Some((_, entry)) = { self.inner.registry.borrow_mut().pop_first() } {
            if let Stage::Spawned(job) = entry.stage {
                rt.abort(job);
            }
            entry.tell_removed();
        }
        #[cfg(feature = "controller")]
        self.inner.clear_controller();
        self.inner.hub.bus.close();
    }
}
