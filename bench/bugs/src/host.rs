//! What a program may ask of the executor that runs it, and what its tasks share: cells, semaphores and signals whose
//! every access is a step of its own. All of it is written once, over nothing but cells and wakers, so that both
//! executors have the same places to schedule at.
//!
//! A deadlock is noticed here, where the last task begins to wait: from then on nobody waits any more, and the program
//! comes to its end. So neither executor sees one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// An executor under test. Cheap to clone.
pub(crate) trait Host: Clone + 'static {
    /// Starts a task.
    fn start(&self, name: &str, task: impl Future<Output = ()> + 'static);

    /// Makes the name of something shared known.
    fn shares(&self, what: &'static str);

    /// A place where another task may run; what follows touches `what`.
    fn step(&self, what: &'static str) -> impl Future<Output = ()>;

    /// The run so far.
    fn scene(&self) -> &Rc<Scene>;

    /// Starts a task that can be waited for.
    fn spawn(&self, name: &str, task: impl Future<Output = ()> + 'static) -> Join {
        let scene = self.scene();
        let join = Join { scene: Rc::clone(scene), ending: Rc::default() };
        let ending = Rc::clone(&join.ending);
        scene.live.set(scene.live.get() + 1);
        let scene = Rc::clone(scene);
        self.start(name, async move {
            task.await;
            scene.live.set(scene.live.get() - 1);
            ending.is_over.set(true);
            ending.waiters.tell_one(&scene);
            scene.look();
        });
        join
    }

    /// The bug has shown itself.
    fn bug(&self) {
        self.scene().bug.set(true);
    }

    /// A cell that tasks share.
    fn var<T: Copy + 'static>(&self, name: &'static str, value: T) -> Var<Self, T> {
        self.shares(name);
        Var { host: self.clone(), name, value: Rc::new(Cell::new(value)) }
    }

    /// A semaphore with this many permits.
    fn semaphore(&self, name: &'static str, permits: u32) -> Semaphore<Self> {
        self.shares(name);
        let free = Rc::new(Cell::new(permits));
        Semaphore { host: self.clone(), name, free, waiters: Rc::default() }
    }

    /// Something to wait for.
    fn signal(&self, name: &'static str) -> Signal<Self> {
        self.shares(name);
        Signal { host: self.clone(), name, waiters: Rc::default() }
    }

    /// Steps that touch nothing of interest.
    async fn noise(&self, steps: u32) {
        for _ in 0..steps {
            self.step("noise").await;
        }
    }
}

/// How a run stands.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// Tasks that have not ended, and how many of them wait. The first task counts as well.
    live: Cell<u32>,
    waiting: Cell<u32>,
    /// Everybody who waits, while they do.
    waiters: RefCell<Vec<Rc<Waiter>>>,
    deadlock: Cell<bool>,
    bug: Cell<bool>,
}

impl Scene {
    /// A run whose first task is about to begin.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { live: Cell::new(1), ..Self::default() })
    }

    pub(crate) fn has_bug(&self) -> bool {
        self.bug.get()
    }

    /// All tasks waited for each other.
    pub(crate) fn is_deadlock(&self) -> bool {
        self.deadlock.get()
    }

    /// If nobody could go on, everybody does.
    fn look(&self) {
        if self.live.get() > 0 && self.waiting.get() == self.live.get() && !self.deadlock.replace(true) {
            for waiter in self.waiters.take() {
                waiter.wake();
            }
        }
    }
}

#[derive(Debug, Default)]
struct Waiter {
    told: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter {
    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Those who wait for one thing, the oldest first.
#[derive(Debug, Default)]
struct Waiters(RefCell<VecDeque<Rc<Waiter>>>);

impl Waiters {
    /// Waits to be told.
    async fn wait(&self, scene: &Scene) {
        if scene.is_deadlock() {
            return;
        }
        let waiter = Rc::new(Waiter::default());
        self.0.borrow_mut().push_back(Rc::clone(&waiter));
        scene.waiters.borrow_mut().push(Rc::clone(&waiter));
        scene.waiting.set(scene.waiting.get() + 1);
        scene.look();
        poll_fn(|cx| {
            if waiter.told.get() || scene.is_deadlock() {
                return Poll::Ready(());
            }
            *waiter.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn tell_one(&self, scene: &Scene) {
        let Some(waiter) = self.0.borrow_mut().pop_front() else { return };
        waiter.told.set(true);
        scene.waiting.set(scene.waiting.get() - 1);
        scene.waiters.borrow_mut().retain(|other| !Rc::ptr_eq(other, &waiter));
        waiter.wake();
    }
}

/// A task that may be waited for.
pub(crate) struct Join {
    scene: Rc<Scene>,
    ending: Rc<Ending>,
}

#[derive(Default)]
struct Ending {
    is_over: Cell<bool>,
    waiters: Waiters,
}

impl Join {
    /// Waits until it has ended.
    pub(crate) async fn ended(self) {
        if !self.ending.is_over.get() {
            self.ending.waiters.wait(&self.scene).await;
        }
    }
}

/// A shared cell: each access is one step.
#[derive(Clone)]
pub(crate) struct Var<H, T> {
    host: H,
    name: &'static str,
    value: Rc<Cell<T>>,
}

impl<H: Host, T: Copy + PartialEq + 'static> Var<H, T> {
    pub(crate) async fn get(&self) -> T {
        self.host.step(self.name).await;
        self.value.get()
    }

    pub(crate) async fn set(&self, value: T) {
        self.host.step(self.name).await;
        self.value.set(value);
    }

    /// Sets it if it is `old`, in one step.
    pub(crate) async fn swap(&self, old: T, new: T) -> bool {
        self.host.step(self.name).await;
        let is_old = self.value.get() == old;
        if is_old {
            self.value.set(new);
        }
        is_old
    }

    /// The value, for a look that is no step.
    pub(crate) fn peek(&self) -> T {
        self.value.get()
    }
}

impl<H: Host> Var<H, u32> {
    /// Adds one, in one step.
    pub(crate) async fn count(&self) {
        self.host.step(self.name).await;
        self.value.set(self.value.get() + 1);
    }
}

/// A semaphore: taking and giving back are one step each. Who is woken may find the permit gone.
#[derive(Clone)]
pub(crate) struct Semaphore<H> {
    host: H,
    name: &'static str,
    free: Rc<Cell<u32>>,
    waiters: Rc<Waiters>,
}

impl<H: Host> Semaphore<H> {
    pub(crate) async fn acquire(&self) {
        self.host.step(self.name).await;
        let scene = self.host.scene();
        while self.free.get() == 0 && !scene.is_deadlock() {
            self.waiters.wait(scene).await;
        }
        self.free.set(self.free.get().saturating_sub(1));
    }

    pub(crate) async fn release(&self) {
        self.host.step(self.name).await;
        self.give();
    }

    fn give(&self) {
        self.free.set(self.free.get() + 1);
        self.waiters.tell_one(self.host.scene());
    }
}

/// A condition that somebody waits for: nothing is kept for those who come late.
#[derive(Clone)]
pub(crate) struct Signal<H> {
    host: H,
    name: &'static str,
    waiters: Rc<Waiters>,
}

impl<H: Host> Signal<H> {
    /// Waits for the next [`Signal::tell`]. From the step on, it is heard.
    pub(crate) async fn wait(&self) {
        self.host.step(self.name).await;
        self.waiters.wait(self.host.scene()).await;
    }

    /// As [`Signal::wait`], and gives a permit back in the same step, as a condition variable does; it is taken again
    /// afterwards.
    pub(crate) async fn wait_without(&self, lock: &Semaphore<H>) {
        self.host.step(self.name).await;
        lock.give();
        self.waiters.wait(self.host.scene()).await;
        lock.acquire().await;
    }

    /// Wakes the one that has waited longest, if there is one.
    pub(crate) async fn tell(&self) {
        self.host.step(self.name).await;
        self.waiters.tell_one(self.host.scene());
    }
}
