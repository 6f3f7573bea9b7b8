//! What a test may ask of its world.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::RangeInclusive;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::future::{AbortHandle, Either, abortable, select};
use simvisor::{CancellationToken, TaskError, TaskFn, TaskSpec};
use thiserror::Error;

use super::hook;
use super::stage::{FailureKind, Stage};
use super::supervised::SupervisedBuilder;
use super::watchdog::Who;
use crate::choice::Site;
use crate::world::LaneKind;

/// The world in which a test runs, seen from within. Cheap to clone, and to be moved into futures.
///
/// Everything that is left to chance goes through it and is recorded, so that a run can be repeated. What does not go
/// through it (a thread, the machine's clock, the order of a `HashMap`, a static) cannot be repeated.
#[derive(Clone)]
pub struct Sim {
    pub(super) stage: Rc<Stage>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The time was over before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not ready after {0:?}")]
pub struct Elapsed(pub Duration);

impl Sim {
    /// Virtual time since the beginning of the run. It moves only when nothing can run.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.stage.world.now_ns())
    }

    /// Waits for this much virtual time, to the nanosecond; more than 584 years are for ever.
    pub async fn sleep(&self, span: Duration) {
        self.stage.world.sleep_ns(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)).await;
    }

    /// Waits for `future`, at most for `span`. A future that is ready when its time is over counts as ready.
    ///
    /// # Errors
    /// [`Elapsed`]; the future is dropped.
    pub async fn timeout<F: Future>(&self, span: Duration, future: F) -> Result<F::Output, Elapsed> {
        match select(pin!(future), pin!(self.sleep(span))).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(((), _)) => Err(Elapsed(span)),
        }
    }

    /// Lets others run before the caller goes on: the place where a thread could be interrupted.
    pub async fn yield_now(&self) {
        simvisor::runtime::yield_now().await;
    }

    /// Drives `future` beside the test, under a name by which reports and recorded choices know it. If it panics the
    /// test fails. It need not be waited for; what is left when the test ends is dropped.
    pub fn spawn<T: 'static>(&self, name: &str, future: impl Future<Output = T> + 'static) -> Spawned<T> {
        let hall = Rc::new(RefCell::new(Hall { output: None, waiting: None }));
        let (work, abort) = abortable(future);
        let inside = Rc::clone(&hall);
        let work = async move {
            if let Ok(output) = work.await {
                let mut hall = inside.borrow_mut();
                hall.output = Some(output);
                let waiting = hall.waiting.take();
                drop(hall);
                waiting.into_iter().for_each(Waker::wake);
            }
        };
        self.drive(name, work);
        Spawned { hall, abort }
    }

    /// Drives a future whose panics fail the test.
    pub(super) fn drive(&self, name: &str, future: impl Future<Output = ()> + 'static) {
        let stage = Rc::clone(&self.stage);
        let who: Arc<str> = Arc::from(name);
        let lane = Arc::clone(&who);
        let mut future = Box::pin(future);
        let guarded = poll_fn(move |cx| {
            let poll = || hook::caught(|| future.as_mut().poll(cx));
            match stage.at_work(Who::Future(Arc::clone(&who)), poll) {
                Ok(polled) => polled,
                Err((panicked, _)) => {
                    stage.panicked(&who, panicked);
                    Poll::Ready(())
                }
            }
        });
        self.stage.world.spawn(LaneKind::Other, &lane, guarded);
    }

    /// A task for a supervisor: `body` is called for each attempt, with the token by which it is cancelled.
    pub fn task<F, Fut>(&self, name: &str, body: F) -> TaskSpec
    where
        F: Fn(CancellationToken) -> Fut + 'static,
        Fut: Future<Output = Result<(), TaskError>> + 'static,
    {
        TaskSpec::new(TaskFn::arc(name, body))
    }

    /// A supervisor, to be built. Everything that it does is held against the rules of the contract.
    #[must_use]
    pub fn supervisor(&self) -> SupervisedBuilder {
        SupervisedBuilder::new(self)
    }

    /// A number of this range, which should not be empty. In the plain run it is the lowest.
    #[must_use]
    pub fn random(&self, range: RangeInclusive<u64>) -> u64 {
        let (&low, &high) = (range.start(), range.end());
        let Some(width) = high.checked_sub(low) else {
            panic!("a random number was asked for between {low} and {high}: the range is empty")
        };
        let choose = |arity| u64::from(self.stage.world.choose(Site::Random, None, arity));
        match u32::try_from(width) {
            Ok(width) if width < u32::MAX => low + choose(width + 1),
            _ => {
                let word = choose(1 << 22) << 42 | choose(1 << 21) << 21 | choose(1 << 21);
                let scaled = (u128::from(word) * (u128::from(width) + 1)) >> 64;
                low + u64::try_from(scaled).expect("a fraction of a u64")
            }
        }
    }

    /// One of `items`, of which there must be some. In the plain run it is the first.
    #[must_use]
    pub fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        assert!(!items.is_empty(), "one of no items was asked for");
        &items[usize::try_from(self.random(0..=items.len() as u64 - 1)).expect("an index")]
    }

    /// Whether the fault named `site` happens here.
    ///
    /// A site is first made possible, or not, for a whole run (one in four), and where it is possible it happens now
    /// and then (one in four). So most runs have few kinds of fault, and some none: faults that always come hide what
    /// comes after them. In the plain run there are none. The idea and the name are FoundationDB's.
    #[must_use]
    pub fn buggify(&self, site: &str) -> bool {
        self.stage.setup.faults.buggify && self.stage.strikes(site)
    }

    /// What must hold whenever this is reached. Where it does not, the test fails, and the run ends at the next
    /// `await`.
    pub fn always(&self, holds: bool, name: &str) {
        if !holds {
            self.stage.fail(FailureKind::Always(name.to_owned()), format!("`{name}` does not hold"));
            self.stage.world.stop();
        }
    }

    /// What must hold at least once over all runs of a check. A check of many seeds in which it was asked for and
    /// never held fails.
    pub fn sometimes(&self, holds: bool, name: &str) {
        let mut sometimes = self.stage.sometimes.borrow_mut();
        if !sometimes.contains_key(name) {
            sometimes.insert(name.to_owned(), super::stage::Tally::default());
        }
        let tally = sometimes.get_mut(name).expect("it is there");
        tally.asked += 1;
        tally.held += u64::from(holds);
    }

    /// Writes a line into the timeline of a run that is shown. Costs nothing in all others.
    pub fn note(&self, text: impl fmt::Display) {
        if self.stage.is_logged() {
            self.stage.note("", &text.to_string());
        }
    }

    /// Whether this run is shown: the failing one, repeated. For what a test wants to print then; to do anything else
    /// by it would change the run that is to be seen.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.stage.is_shown()
    }

    /// Sets the wall clock, which events are stamped with, forth or back.
    pub fn set_wall(&self, by: Duration, direction: WallJump) {
        let by_ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        let by_ns = if direction == WallJump::Back { -by_ns } else { by_ns };
        self.stage.world.set_wall(by_ns);
        self.stage.wall_set(by_ns);
    }
}

/// Which way the wall clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallJump {
    /// It shows a later time.
    Forth,
    /// It shows an earlier time.
    Back,
}

/// Where the output of a spawned future waits.
struct Hall<T> {
    output: Option<T>,
    waiting: Option<Waker>,
}

/// A future that [`Sim::spawn`] drives: gives its output when awaited. Dropping this does not end it.
///
/// Awaiting one that was aborted waits for ever.
pub struct Spawned<T> {
    hall: Rc<RefCell<Hall<T>>>,
    abort: AbortHandle,
}

impl<T> fmt::Debug for Spawned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned").field("is_finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl<T> Spawned<T> {
    /// Drops the future as soon as it would run next.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// Whether its output is there and was not taken.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.hall.borrow().output.is_some()
    }
}

impl<T> Future for Spawned<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut hall = self.hall.borrow_mut();
        match hall.output.take() {
            Some(output) => Poll::Ready(output),
            None => {
                hall.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
