//! What futures of one thread wait on: cancellation, a set-once latch, permits in order of arrival, a lossless inbox.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

/// Wakers of the futures that wait on one thing; each future holds a place and gives it back when dropped.
#[derive(Debug, Default)]
struct WaitList {
    places: RefCell<Places>,
}

/// Places by number. Most things have one that waits for them, which costs no memory.
#[derive(Debug, Default)]
struct Places {
    first: Place,
    others: Option<Box<Others>>,
}

/// The places from number 1 on.
#[derive(Debug, Default)]
struct Others {
    places: Vec<Place>,
    /// No place before this one is free.
    lowest: usize,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Free,
    Waiting(Waker),
    Woken,
}

impl Places {
    fn get_mut(&mut self, index: usize) -> Option<&mut Place> {
        match index.checked_sub(1) {
            None => Some(&mut self.first),
            Some(index) => self.others.as_mut()?.places.get_mut(index),
        }
    }

    /// The lowest free place.
    fn take(&mut self) -> usize {
        if matches!(self.first, Place::Free) {
            return 0;
        }
        let others = self.others.get_or_insert_default();
        let free = |place: &Place| matches!(place, Place::Free);
        let index = match others.places[others.lowest..].iter().position(free) {
            Some(beyond) => others.lowest + beyond,
            None => {
                others.places.push(Place::Free);
                others.places.len() - 1
            }
        };
        others.lowest = index + 1;
        index + 1
    }

    fn leave(&mut self, index: usize) -> Option<Place> {
        if let (Some(others), Some(index)) = (&mut self.others, index.checked_sub(1)) {
            others.lowest = others.lowest.min(index);
        }
        self.get_mut(index).map(|place| std::mem::replace(place, Place::Free))
    }
}

impl WaitList {
    /// Leaves `waker` at `place`, taking a place if there is none yet.
    fn wait(&self, place: &mut Option<usize>, waker: &Waker) {
        let mut places = self.places.borrow_mut();
        let index = *place.get_or_insert_with(|| places.take());
        match places.get_mut(index).expect("a place is kept until it is left") {
            Place::Waiting(kept) => kept.clone_from(waker),
            empty => *empty = Place::Waiting(waker.clone()),
        }
    }

    fn leave(&self, place: Option<usize>) {
        if let Some(index) = place {
            let left = self.places.borrow_mut().leave(index);
            drop(left); // outside the borrow: a waker's drop is foreign code
        }
    }

    /// Wakes everybody, in order of place.
    fn wake_all(&self) {
        let mut index = 0;
        loop {
            let waker = {
                let mut places = self.places.borrow_mut();
                let Some(place) = places.get_mut(index) else { return };
                if matches!(place, Place::Waiting(_)) {
                    std::mem::replace(place, Place::Woken)
                } else {
                    Place::Free
                }
            };
            if let Place::Waiting(waker) = waker {
                waker.wake();
            }
            index += 1;
        }
    }
}

/// A flag that is raised once and that any number of futures can wait for.
#[derive(Debug, Clone, Default)]
pub struct Latch {
    inner: Rc<LatchInner>,
}

#[derive(Debug, Default)]
struct LatchInner {
    raised: Cell<bool>,
    waiting: WaitList,
    /// The latches of tokens that were made from this one's.
    children: RefCell<Children>,
}

/// Most tokens have one child at a time, which costs no memory. Dropped ones are forgotten before the memory grows.
#[derive(Debug, Default)]
struct Children {
    first: Weak<LatchInner>,
    others: Option<Box<OtherChildren>>,
}

#[derive(Debug, Default)]
struct OtherChildren(Vec<Weak<LatchInner>>);

impl Children {
    fn add(&mut self, child: Weak<LatchInner>) {
        if self.first.strong_count() == 0 {
            self.first = child;
            return;
        }
        let others = &mut self.others.get_or_insert_default().0;
        if others.len() == others.capacity() {
            others.retain(|child| child.strong_count() > 0);
            // As many can be added as were looked at, so that one costs the same however many there are.
            others.reserve(others.len().max(1));
        }
        others.push(child);
    }

    /// Those that are left.
    fn alive(&self) -> impl Iterator<Item = Rc<LatchInner>> {
        let others = self.others.iter().flat_map(|others| &others.0);
        std::iter::once(&self.first).chain(others).filter_map(Weak::upgrade)
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
            self.inner.waiting.wake_all();
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
        LatchWait { latch: self.clone(), place: None }
    }
}

/// See [`Latch::wait`].
#[derive(Debug)]
pub struct LatchWait {
    latch: Latch,
    place: Option<usize>,
}

impl Future for LatchWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.latch.is_raised() {
            return Poll::Ready(());
        }
        let Self { latch, place } = &mut *self;
        latch.inner.waiting.wait(place, cx.waker());
        Poll::Pending
    }
}

impl Drop for LatchWait {
    fn drop(&mut self) {
        self.latch.inner.waiting.leave(self.place);
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
        self.latch.inner.children.borrow_mut().add(Rc::downgrade(&child.latch.inner));
        child
    }

    /// Cancels this token and all made from it. Cancelling again changes nothing.
    pub fn cancel(&self) {
        if self.is_cancelled() {
            return;
        }
        self.latch.raise();
        let children = std::mem::take(&mut *self.latch.inner.children.borrow_mut());
        for inner in children.alive() {
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
        match inner.messages.pop_front() {
            Some(message) => Poll::Ready(message),
            None => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The oldest message, if there is one.
    pub fn try_recv(&self) -> Option<T> {
        self.inner.borrow_mut().messages.pop_front()
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
        assert!(parent.latch.inner.children.borrow().others.is_none());
        let mut alive: std::collections::VecDeque<_> = (0..10).map(|_| parent.child_token()).collect();
        for _ in 0..1_000 {
            alive.pop_front();
            alive.push_back(parent.child_token());
        }
        let children = parent.latch.inner.children.borrow();
        assert_eq!(children.alive().count(), 10);
        let places = children.others.as_ref().map_or(0, |others| others.0.capacity());
        assert!(places < 40, "{places} places for 10 children");
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
    fn a_place_that_is_left_is_taken_again_and_the_lowest_first() {
        let mut places = Places::default();
        let take = |places: &mut Places| {
            let taken = places.take();
            *places.get_mut(taken).expect("taken") = Place::Woken;
            taken
        };
        assert_eq!([take(&mut places), take(&mut places), take(&mut places)], [0, 1, 2]);
        places.leave(2);
        places.leave(0);
        assert_eq!([take(&mut places), take(&mut places), take(&mut places)], [0, 2, 3]);
        assert_eq!(places.others.map(|others| others.places.len()), Some(3));
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
