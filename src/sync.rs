//! What futures of one thread wait on: cancellation, a set-once latch, permits in order of arrival, a lossless inbox.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// A flag that is raised once and that any number of futures can wait for.
#[derive(Clone, Default)]
pub struct Latch {
    inner: Rc<LatchInner>,
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("raised", &self.is_raised()).finish_non_exhaustive()
    }
}

/// A latch with who waits for it, and the latches of tokens that were made from this one's. Most have one that waits and one
/// child at a time, which cost no memory of their own: there are two of these for each task.
#[derive(Default)]
struct LatchInner {
    raised: Cell<bool>,
    /// Who waits at place 0.
    first: Cell<Option<Waker>>,
    first_child: Cell<Weak<LatchInner>>,
    others: Cell<Option<Box<Others>>>,
}

/// What a [`LatchInner`] has no room for. Places of those that left are taken again, and children that were dropped are
/// forgotten before the memory grows.
#[derive(Default)]
struct Others {
    /// Who waits at the places from number 1 on.
    waiting: Vec<Option<Waker>>,
    /// No place before this one is free.
    lowest: usize,
    children: Vec<Weak<LatchInner>>,
}

impl Others {
    /// Takes the lowest free place.
    fn enter(&mut self, waker: Waker) -> usize {
        let index = match self.waiting[self.lowest..].iter().position(Option::is_none) {
            Some(beyond) => self.lowest + beyond,
            None => {
                self.waiting.push(None);
                self.waiting.len() - 1
            }
        };
        self.waiting[index] = Some(waker);
        self.lowest = index + 1;
        index
    }

    fn leave(&mut self, index: usize) -> Option<Waker> {
        self.lowest = self.lowest.min(index);
        self.waiting[index].take()
    }

    fn adopt(&mut self, child: Weak<LatchInner>) {
        if self.children.len() == self.children.capacity() {
            self.children.retain(|child| child.strong_count() > 0);
            // As many can be added as were looked at, so that one costs the same however many there are.
            self.children.reserve(self.children.len().max(1));
        }
        self.children.push(child);
    }
}

impl LatchInner {
    /// No foreign code may run in `change`.
    fn with_others<T>(&self, change: impl FnOnce(&mut Others) -> T) -> T {
        let mut others = self.others.take().unwrap_or_default();
        let changed = change(&mut others);
        self.others.set(Some(others));
        changed
    }

    /// Leaves a waker at `place`, and takes the lowest that is free if there is none yet.
    fn wait(&self, place: &mut Place, waker: &Waker) {
        let waker = waker.clone(); // first of all, because it is foreign code, as is a waker's drop
        let before = match place.number() {
            None => {
                *place = self.enter(waker);
                None
            }
            Some(0) => self.first.replace(Some(waker)),
            Some(number) => self.with_others(|others| others.waiting[number - 1].replace(waker)),
        };
        drop(before);
    }

    fn enter(&self, waker: Waker) -> Place {
        match self.first.take() {
            None => {
                self.first.set(Some(waker));
                Place::of(0)
            }
            taken => {
                self.first.set(taken);
                Place::of(1 + self.with_others(|others| others.enter(waker)))
            }
        }
    }

    fn leave(&self, place: Place) {
        let left = match place.number() {
            None => None,
            Some(0) => self.first.take(),
            Some(number) => self.with_others(|others| others.leave(number - 1)),
        };
        drop(left);
    }

    /// Wakes everybody, in order of place.
    fn wake_all(&self) {
        if let Some(waker) = self.first.take() {
            waker.wake();
        }
        for index in 0.. {
            let Some(mut others) = self.others.take() else { return };
            let waiting = others.waiting.get_mut(index).map(Option::take);
            self.others.set(Some(others));
            match waiting {
                None => return,
                Some(waker) => waker.into_iter().for_each(Waker::wake),
            }
        }
    }

    fn adopt(&self, child: Weak<LatchInner>) {
        let first = self.first_child.take();
        if first.strong_count() == 0 {
            self.first_child.set(child);
        } else {
            self.first_child.set(first);
            self.with_others(|others| others.adopt(child));
        }
    }

    /// Lets go of all children; gives those that are left.
    fn take_children(&self) -> impl Iterator<Item = Rc<LatchInner>> {
        let first = self.first_child.take();
        let mut others = self.others.take();
        let children = others.as_mut().map(|others| std::mem::take(&mut others.children));
        self.others.set(others);
        std::iter::once(first).chain(children.unwrap_or_default()).filter_map(|child| child.upgrade())
    }
}

/// Where a future waits on a latch, if it does.
#[derive(Debug, Clone, Copy)]
struct Place(u32);

impl Place {
    const NOWHERE: Self = Self(u32::MAX);

    fn of(number: usize) -> Self {
        Self(u32::try_from(number).expect("fewer than 2^32 futures"))
    }

    fn number(self) -> Option<usize> {
        (self.0 != Self::NOWHERE.0).then_some(self.0 as usize)
    }
}

impl Latch {
    /// A latch that is not raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the latch. Raising it again changes nothing.
    pub fn raise(&self) {
        if !self.inner.raised.replace(true) {
            self.inner.wake_all();
        }
    }

    /// Whether the latch was raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.inner.raised.get()
    }

    /// Ready once the latch is raised.
    #[must_use]
    pub fn wait(&self) -> LatchWait {
        LatchWait { latch: self.clone(), place: Place::NOWHERE }
    }
}

/// See [`Latch::wait`].
#[derive(Debug)]
pub struct LatchWait {
    latch: Latch,
    place: Place,
}

impl Future for LatchWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.latch.is_raised() {
            return Poll::Ready(());
        }
        let Self { latch, place } = &mut *self;
        latch.inner.wait(place, cx.waker());
        Poll::Pending
    }
}

impl Drop for LatchWait {
    fn drop(&mut self) {
        self.latch.inner.leave(self.place);
    }
}

/// Tells a future to stop, and everything that was made from it.
#[derive(Debug, Clone, Default)]
pub struct CancellationToken {
    latch: Latch,
}

impl CancellationToken {
    /// A token that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled with this one, and can be cancelled alone.
    #[must_use]
    pub fn child_token(&self) -> Self {
        let child = Self::new();
        if self.is_cancelled() {
            child.latch.raise();
            return child;
        }
        self.latch.inner.adopt(Rc::downgrade(&child.latch.inner));
        child
    }

    /// Cancels this token and all made from it. Cancelling again changes nothing.
    pub fn cancel(&self) {
        if self.is_cancelled() {
            return;
        }
        self.latch.raise();
        for inner in self.latch.inner.take_children() {
            Self { latch: Latch { inner } }.cancel();
        }
    }

    /// Whether this token was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.latch.is_raised()
    }

    /// Ready once the token is cancelled.
    #[must_use]
    pub fn cancelled(&self) -> LatchWait {
        self.latch.wait()
    }
}

/// A number of permits, given out in the order in which they were asked for (\[A6\]).
#[derive(Debug, Clone)]
pub struct Semaphore {
    inner: Rc<RefCell<Permits>>,
}

#[derive(Debug)]
struct Permits {
    available: usize,
    next_ticket: u64,
    /// Tickets in increasing order; those whose future was dropped stay until they reach the front.
    waiting: VecDeque<Ticket>,
}

#[derive(Debug)]
struct Ticket {
    number: u64,
    state: TicketState,
}

#[derive(Debug)]
enum TicketState {
    Waiting(Waker),
    Dropped,
}

impl Semaphore {
    /// A semaphore with `permits` permits.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        let permits = Permits { available: permits, next_ticket: 0, waiting: VecDeque::new() };
        Self { inner: Rc::new(RefCell::new(permits)) }
    }

    /// Permits that nobody holds or was promised.
    #[must_use]
    pub fn available(&self) -> usize {
        self.inner.borrow().available
    }

    /// A permit, if one is free at once. Never overtakes those that wait.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut permits = self.inner.borrow_mut();
        permits.available = permits.available.checked_sub(1)?;
        Some(Permit { semaphore: self.clone() })
    }

    /// A permit, first come first served; dropping the future gives up the place.
    #[must_use]
    pub fn acquire(&self) -> Acquire {
        Acquire { semaphore: self.clone(), ticket: None }
    }

    /// Hands a permit to the first that waits, or puts it back.
    fn release(&self) {
        let waker = {
            let permits = &mut *self.inner.borrow_mut();
            loop {
                match permits.waiting.pop_front().map(|ticket| ticket.state) {
                    Some(TicketState::Waiting(waker)) => break Some(waker),
                    Some(TicketState::Dropped) => {}
                    None => {
                        permits.available += 1;
                        break None;
                    }
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A place among those that run. Gives itself back when dropped.
#[derive(Debug)]
pub struct Permit {
    semaphore: Semaphore,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.semaphore.release();
    }
}

/// See [`Semaphore::acquire`].
#[derive(Debug)]
pub struct Acquire {
    semaphore: Semaphore,
    ticket: Option<u64>,
}

impl Future for Acquire {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Permit> {
        let semaphore = self.semaphore.clone();
        let mut permits = semaphore.inner.borrow_mut();
        let permits = &mut *permits;
        match self.ticket {
            None if permits.available > 0 => {
                permits.available -= 1;
                Poll::Ready(Permit { semaphore: semaphore.clone() })
            }
            None => {
                let number = permits.next_ticket;
                permits.next_ticket += 1;
                permits.waiting.push_back(Ticket { number, state: TicketState::Waiting(cx.waker().clone()) });
                self.ticket = Some(number);
                Poll::Pending
            }
            Some(number) => match permits.waiting.binary_search_by_key(&number, |ticket| ticket.number) {
                Ok(place) => {
                    permits.waiting[place].state = TicketState::Waiting(cx.waker().clone());
                    Poll::Pending
                }
                // The ticket left the queue: its permit was handed over.
                Err(_) => {
                    self.ticket = None;
                    Poll::Ready(Permit { semaphore: semaphore.clone() })
                }
            },
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        let Some(number) = self.ticket else { return };
        let place = {
            let mut permits = self.semaphore.inner.borrow_mut();
            let place = permits.waiting.binary_search_by_key(&number, |ticket| ticket.number);
            if let Ok(place) = place {
                permits.waiting[place].state = TicketState::Dropped;
            }
            place
        };
        if place.is_err() {
            self.semaphore.release(); // it was handed over and never picked up
        }
    }
}

/// A lossless, unbounded queue with one reader (\[S4\]).
#[derive(Debug)]
pub struct Inbox<T> {
    inner: RefCell<InboxInner<T>>,
}

#[derive(Debug)]
struct InboxInner<T> {
    messages: VecDeque<T>,
    reader: Option<Waker>,
}

impl<T> InboxInner<T> {
    fn take(&mut self) -> Option<T> {
        let message = self.messages.pop_front();
        if self.messages.is_empty() && self.messages.capacity() > ROOM_KEPT {
            self.messages = VecDeque::new(); // a million tasks that are added at once would stay for good
        }
        message
    }
}

/// An empty inbox keeps room for at most this many messages.
const ROOM_KEPT: usize = 1_024;

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self { inner: RefCell::new(InboxInner { messages: VecDeque::new(), reader: None }) }
    }
}

impl<T> Inbox<T> {
    /// Appends a message. Never waits, never loses.
    pub fn send(&self, message: T) {
        let reader = {
            let mut inner = self.inner.borrow_mut();
            inner.messages.push_back(message);
            inner.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The oldest message, once there is one.
    pub async fn recv(&self) -> T {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the oldest message; see [`Inbox::recv`].
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut inner = self.inner.borrow_mut();
        match inner.take() {
            Some(message) => Poll::Ready(message),
            None => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The oldest message, if there is one.
    pub fn try_recv(&self) -> Option<T> {
        self.inner.borrow_mut().take()
    }

    /// Ready once there is a message, which stays where it is.
    pub async fn ready(&self) {
        poll_fn(|cx| {
            let mut inner = self.inner.borrow_mut();
            if !inner.messages.is_empty() {
                return Poll::Ready(());
            }
            inner.reader = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.borrow().messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn permits_go_to_waiters_in_order_and_newcomers_do_not_overtake() {
        let semaphore = Semaphore::new(1);
        let Poll::Ready(held) = poll(&mut semaphore.acquire()) else { panic!("one permit is free") };
        let (mut first, mut second) = (semaphore.acquire(), semaphore.acquire());
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        drop(held);
        let mut late = semaphore.acquire();
        assert!(poll(&mut late).is_pending(), "the permit is promised to the first that waited");
        assert!(poll(&mut second).is_pending());
        assert!(poll(&mut first).is_ready());
        assert!(poll(&mut second).is_ready(), "the first one's permit was dropped at once");
        assert!(poll(&mut late).is_ready());
        assert_eq!(semaphore.available(), 1);
    }

    #[test]
    fn a_waiter_that_gives_up_passes_its_promised_permit_on() {
        let semaphore = Semaphore::new(1);
        let Poll::Ready(held) = poll(&mut semaphore.acquire()) else { panic!("one permit is free") };
        let (mut first, mut second) = (semaphore.acquire(), semaphore.acquire());
        let mut third = semaphore.acquire();
        assert!(
            poll(&mut first).is_pending() && poll(&mut second).is_pending() && poll(&mut third).is_pending()
        );
        drop(second); // gives up while waiting
        drop(held); // promised to the first
        drop(first); // gives up with the promise in hand
        assert!(poll(&mut third).is_ready());
        assert_eq!(semaphore.available(), 1);
    }

    #[test]
    fn cancelling_reaches_children_and_not_parents() {
        let parent = CancellationToken::new();
        let child = parent.child_token();
        let grandchild = child.child_token();
        let mut waits = grandchild.cancelled();
        assert!(poll(&mut waits).is_pending());
        child.cancel();
        assert!(grandchild.is_cancelled() && !parent.is_cancelled());
        assert!(poll(&mut waits).is_ready());
        parent.cancel();
        assert!(parent.child_token().is_cancelled(), "a child of a cancelled token is born cancelled");
    }

    #[test]
    fn a_token_keeps_no_place_for_dropped_children() {
        let parent = CancellationToken::new();
        for _ in 0..100 {
            drop(parent.child_token());
        }
        let inner = &parent.latch.inner;
        assert!(inner.others.take().is_none());
        let mut alive: VecDeque<_> = (0..10).map(|_| parent.child_token()).collect();
        for _ in 0..1_000 {
            alive.pop_front();
            alive.push_back(parent.child_token());
        }
        let places = inner.with_others(|others| others.children.capacity());
        assert!(places < 40, "{places} places for 10 children");
        assert_eq!(inner.take_children().count(), 10);
        assert_eq!(inner.take_children().count(), 0);
    }

    #[test]
    fn a_token_takes_no_more_than_a_cache_line() {
        let counts = 2 * size_of::<usize>(); // of the `Rc`
        assert!(counts + size_of::<LatchInner>() <= 64 - size_of::<usize>()); // of the allocator
    }

    #[test]
    fn a_free_permit_can_be_had_at_once_and_a_promised_one_cannot() {
        let semaphore = Semaphore::new(1);
        let held = semaphore.try_acquire().expect("one permit is free");
        assert!(semaphore.try_acquire().is_none());
        let mut waits = semaphore.acquire();
        assert!(poll(&mut waits).is_pending());
        drop(held);
        assert!(semaphore.try_acquire().is_none(), "the permit is promised to the one that waited");
        drop(waits);
        assert!(semaphore.try_acquire().is_some());
    }

    #[test]
    fn a_message_stays_in_the_inbox_until_it_is_taken() {
        let inbox = Inbox::default();
        assert!(poll(&mut pin!(inbox.ready())).is_pending() && inbox.is_empty());
        inbox.send(1);
        assert!(poll(&mut pin!(inbox.ready())).is_ready() && !inbox.is_empty());
        assert_eq!((inbox.try_recv(), inbox.try_recv()), (Some(1), None));
    }

    #[test]
    fn an_inbox_does_not_keep_the_room_of_its_longest_queue() {
        let inbox = Inbox::default();
        for _ in 0..2 {
            (0..10_000).for_each(|number| inbox.send(number));
            assert!((0..10_000).all(|number| inbox.try_recv() == Some(number)));
            assert!(inbox.inner.borrow().messages.capacity() <= ROOM_KEPT);
        }
    }

    #[test]
    fn a_place_that_is_left_is_taken_again_and_the_lowest_first() {
        let latch = LatchInner::default();
        let take = || latch.enter(Waker::noop().clone()).number();
        assert_eq!([take(), take(), take()], [Some(0), Some(1), Some(2)]);
        latch.leave(Place::of(2));
        latch.leave(Place::of(0));
        assert_eq!([take(), take(), take()], [Some(0), Some(2), Some(3)]);
        assert_eq!(latch.with_others(|others| others.waiting.len()), 3);
    }

    #[test]
    fn a_latch_stays_raised() {
        let latch = Latch::new();
        let mut early = latch.wait();
        assert!(poll(&mut early).is_pending());
        latch.raise();
        latch.raise();
        assert!(poll(&mut early).is_ready() && poll(&mut latch.wait()).is_ready());
    }
}
