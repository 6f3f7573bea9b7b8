//! The seam on a current-thread Tokio: the same logic with real timers.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::runtime::{JobKey, Nanos, Role, Rt, Runtime, TimerKey};

/// [`Runtime`] on Tokio's clock, timers and local tasks.
///
/// It must be made, and the logic must run, inside a `tokio::task::LocalSet` on a runtime with timers. Tokio's timers
/// have a resolution of one millisecond; a timer fires at its instant or within the millisecond after it. A preemption
/// point costs nothing here.
pub struct TokioRuntime {
    start: Instant,
    /// Gives a number in `0..=n`, for backoff jitter.
    draw: Box<dyn Fn(u64) -> u64>,
    timers: RefCell<Slab<Pin<Box<tokio::time::Sleep>>>>,
    jobs: RefCell<Slab<Job>>,
    ended: Rc<RefCell<Vec<u64>>>,
    spawned: Cell<u64>,
}

impl std::fmt::Debug for TokioRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokioRuntime").field("start", &self.start).finish_non_exhaustive()
    }
}

/// A future that can be taken away from the task that polls it.
type Job = Rc<RefCell<Option<LocalBoxFuture<'static, ()>>>>;

/// Things by number; numbers are never used twice.
struct Slab<T> {
    things: std::collections::HashMap<u64, T>,
    next: u64,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { things: std::collections::HashMap::new(), next: 0 }
    }
}

impl<T> Slab<T> {
    fn insert(&mut self, thing: T) -> u64 {
        let key = self.next;
        self.next += 1;
        self.things.insert(key, thing);
        key
    }
}

impl TokioRuntime {
    /// A runtime whose clock starts now. `draw(n)` gives a number in `0..=n`, for backoff jitter; this crate has no
    /// randomness of its own.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(draw: impl Fn(u64) -> u64 + 'static) -> Self {
        Self {
            start: Instant::now(),
            draw: Box::new(draw),
            timers: RefCell::default(),
            jobs: RefCell::default(),
            ended: Rc::default(),
            spawned: Cell::new(0),
        }
    }

    /// The seam, for a [`SupervisorBuilder`](crate::SupervisorBuilder).
    #[must_use]
    pub fn rt(self: &Rc<Self>) -> Rt {
        Rt::new(Rc::clone(self) as Rc<dyn Runtime>)
    }

    /// Forgets the jobs that have ended.
    fn sweep(&self) {
        let mut jobs = self.jobs.borrow_mut();
        for key in self.ended.borrow_mut().drain(..) {
            jobs.things.remove(&key);
        }
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Nanos {
        Nanos::default().after(self.start.elapsed())
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn set_timer(&self, deadline: Nanos, cx: &mut Context<'_>) -> Option<TimerKey> {
        // A century is for ever, and fits Tokio's clock.
        let span = Duration::from_nanos(deadline.0).min(Duration::from_secs(100 * 365 * 24 * 3_600));
        let mut sleep = Box::pin(tokio::time::sleep_until(self.start + span));
        let waits = sleep.as_mut().poll(cx).is_pending();
        waits.then(|| TimerKey(self.timers.borrow_mut().insert(sleep)))
    }

    fn poll_timer(&self, timer: TimerKey, cx: &mut Context<'_>) -> Poll<()> {
        let timers = &mut self.timers.borrow_mut().things;
        let polled = timers.get_mut(&timer.0).map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(cx));
        if polled.is_ready() {
            timers.remove(&timer.0);
        }
        polled
    }

    fn drop_timer(&self, timer: TimerKey) {
        self.timers.borrow_mut().things.remove(&timer.0);
    }

    fn spawn(&self, _role: Role, _name: &Arc<str>, future: LocalBoxFuture<'static, ()>) -> JobKey {
        self.sweep();
        let job: Job = Rc::new(RefCell::new(Some(future)));
        let key = self.jobs.borrow_mut().insert(Rc::clone(&job));
        self.spawned.set(self.spawned.get() + 1);
        let ended = Rc::clone(&self.ended);
        tokio::task::spawn_local(async move {
            futures::future::poll_fn(|cx| {
                // Taken out while it is polled, so that it can be aborted by whom it calls.
                let Some(mut future) = job.borrow_mut().take() else { return Poll::Ready(()) };
                let polled = future.as_mut().poll(cx);
                if polled.is_pending() {
                    *job.borrow_mut() = Some(future);
                }
                polled
            })
            .await;
            ended.borrow_mut().push(key);
        });
        JobKey(key)
    }

    fn abort(&self, job: JobKey) {
        let job = self.jobs.borrow_mut().things.remove(&job.0);
        let future = job.and_then(|job| job.borrow_mut().take());
        drop(future); // outside of all borrows: what is dropped may call back
    }

    fn draw(&self, high: u64) -> u64 {
        (self.draw)(high).min(high)
    }
}
