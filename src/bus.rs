//! The broadcast ring that carries events to whoever listens.
//!
//! Publishing never waits. A receiver that is overrun loses the oldest events and is told once, and exactly, how
//! many, before the next event that it gets (\[S3\]). Nothing that the runtime needs for its own correctness travels
//! here (\[S4\]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::event::Event;

/// Why a receiver got no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvError {
    /// The receiver was overrun and lost this many events. The next call gives the oldest event still there.
    Lagged(u64),
    /// The bus was closed and everything on it was received.
    Closed,
}

/// A broadcast ring of events.
#[derive(Debug, Clone)]
pub struct Bus {
    ring: Rc<RefCell<Ring>>,
}

#[derive(Debug)]
struct Ring {
    capacity: usize,
    /// The newest events, at most `capacity`; the first has position `first`.
    events: VecDeque<Rc<Event>>,
    first: u64,
    receivers: Vec<Option<Reader>>,
    /// How many receivers there are, and how many of them wait.
    heard_by: usize,
    waiting: usize,
    closed: bool,
}

#[derive(Debug)]
struct Reader {
    /// Position of the next event to receive.
    next: u64,
    waker: Option<Waker>,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Drops what every receiver has read.
    fn trim(&mut self) {
        let needed = self.receivers.iter().flatten().map(|reader| reader.next).min().unwrap_or(self.end());
        while self.first < needed && self.events.pop_front().is_some() {
            self.first += 1;
        }
    }
}

impl Bus {
    /// A bus that keeps the newest `capacity` events for receivers that are behind. A capacity of 0 counts as 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            ring: Rc::new(RefCell::new(Ring {
                capacity: capacity.max(1),
                events: VecDeque::new(),
                first: 0,
                receivers: Vec::new(),
                heard_by: 0,
                waiting: 0,
                closed: false,
            })),
        }
    }

    /// Puts an event on the ring, overwriting the oldest if it is full, and wakes every receiver. Never waits.
    pub fn publish(&self, event: Rc<Event>) {
        let mut guard = self.ring.borrow_mut();
        let ring = &mut *guard;
        if ring.heard_by == 0 {
            ring.first += 1;
            return;
        }
        let mut oldest = None;
        if ring.events.len() == ring.capacity {
            oldest = ring.events.pop_front();
            ring.first += 1;
        }
        ring.events.push_back(event);
        let is_awaited = ring.waiting > 0;
        drop(guard);
        drop(oldest); // what it carries may be foreign
        if is_awaited {
            self.wake_all();
        }
    }

    /// Wakes every receiver that waits, in order of place.
    fn wake_all(&self) {
        for index in 0.. {
            let mut ring = self.ring.borrow_mut();
            let waker = match ring.receivers.get_mut(index) {
                Some(reader) => reader.as_mut().and_then(|reader| reader.waker.take()),
                None => return,
            };
            if let Some(waker) = waker {
                ring.waiting -= 1;
                drop(ring);
                waker.wake();
            }
        }
    }

    /// Whether anybody receives.
    pub(crate) fn is_heard(&self) -> bool {
        self.ring.borrow().heard_by > 0
    }

    /// Whether the next event overwrites the oldest.
    pub(crate) fn is_full(&self) -> bool {
        let ring = self.ring.borrow();
        ring.events.len() == ring.capacity
    }

    /// A receiver of every event published from now on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver {
        let mut ring = self.ring.borrow_mut();
        let reader = Reader { next: ring.end(), waker: None };
        ring.heard_by += 1;
        let index = match ring.receivers.iter().position(Option::is_none) {
            Some(free) => {
                ring.receivers[free] = Some(reader);
                free
            }
            None => {
                ring.receivers.push(Some(reader));
                ring.receivers.len() - 1
            }
        };
        Receiver { ring: Rc::clone(&self.ring), index }
    }

    /// How many events were published.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.ring.borrow().end()
    }

    /// Says that no more events will come. Receivers get what is left, then [`RecvError::Closed`].
    pub fn close(&self) {
        self.ring.borrow_mut().closed = true;
        self.wake_all();
    }
}

/// One listener's place on the bus.
#[derive(Debug)]
pub struct Receiver {
    ring: Rc<RefCell<Ring>>,
    index: usize,
}

impl Receiver {
    /// The next event, or how many were lost before it.
    ///
    /// # Errors
    /// [`RecvError::Lagged`] once after each overrun, [`RecvError::Closed`] at the end.
    pub async fn recv(&mut self) -> Result<Rc<Event>, RecvError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`Receiver::recv`], without waiting: `None` if there is nothing to receive now.
    pub fn try_recv(&mut self) -> Option<Result<Rc<Event>, RecvError>> {
        match self.poll_recv(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(received) => Some(received),
            Poll::Pending => None,
        }
    }

    /// Polls for the next event; see [`Receiver::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Rc<Event>, RecvError>> {
        let ring = &mut *self.ring.borrow_mut();
        let (first, end, closed) = (ring.first, ring.end(), ring.closed);
        let reader =
            ring.receivers[self.index].as_mut().expect("a receiver keeps its place until it is dropped");
        if reader.next < first {
            let lost = first - reader.next;
            reader.next = first;
            return Poll::Ready(Err(RecvError::Lagged(lost)));
        }
        if reader.next == end {
            if closed {
                return Poll::Ready(Err(RecvError::Closed));
            }
            if reader.waker.replace(cx.waker().clone()).is_none() {
                ring.waiting += 1;
            }
            return Poll::Pending;
        }
        let place = (reader.next - first) as usize;
        reader.next += 1;
        if place == 0 && ring.heard_by == 1 {
            ring.first += 1;
            return Poll::Ready(Ok(ring.events.pop_front().expect("what was not received is there")));
        }
        let event = Rc::clone(&ring.events[place]);
        if place == 0 {
            ring.trim(); // only who reads the oldest can be the last to need it
        }
        Poll::Ready(Ok(event))
    }

    /// How many events were published before the one that this receiver gets next.
    #[must_use]
    pub fn position(&self) -> u64 {
        let ring = self.ring.borrow();
        ring.receivers[self.index].as_ref().map_or(ring.end(), |reader| reader.next)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut ring = self.ring.borrow_mut();
        let left = ring.receivers[self.index].take();
        ring.heard_by -= 1;
        ring.waiting -= usize::from(left.is_some_and(|reader| reader.waker.is_some()));
        ring.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    fn event(seq: u64) -> Rc<Event> {
        let mut event = Event::unstamped(EventKind::TaskAdded);
        event.seq = seq;
        Rc::new(event)
    }

    fn drain(receiver: &mut Receiver) -> Vec<Result<u64, RecvError>> {
        std::iter::from_fn(|| receiver.try_recv().map(|got| got.map(|event| event.seq))).take(32).collect()
    }

    #[test]
    fn an_overrun_receiver_is_told_once_and_exactly_how_many_it_lost() {
        let bus = Bus::new(2);
        let mut receiver = bus.subscribe();
        (0..5).for_each(|seq| bus.publish(event(seq)));
        assert_eq!(drain(&mut receiver), [Err(RecvError::Lagged(3)), Ok(3), Ok(4)]);
    }

    #[test]
    fn a_receiver_in_time_loses_nothing_and_a_slow_one_does_not_disturb_it() {
        let bus = Bus::new(2);
        let mut fast = bus.subscribe();
        let mut slow = bus.subscribe();
        for seq in 0..4 {
            bus.publish(event(seq));
            assert_eq!(drain(&mut fast), [Ok(seq)]);
        }
        assert_eq!((slow.position(), bus.end()), (0, 4));
        assert_eq!(drain(&mut slow), [Err(RecvError::Lagged(2)), Ok(2), Ok(3)]);
    }

    #[test]
    fn a_closed_bus_gives_what_is_left_and_then_says_so() {
        let bus = Bus::new(4);
        let mut receiver = bus.subscribe();
        bus.publish(event(0));
        bus.close();
        assert_eq!(receiver.try_recv().unwrap().unwrap().seq, 0);
        assert!(matches!(receiver.try_recv(), Some(Err(RecvError::Closed))));
    }

    #[test]
    fn events_published_before_subscribing_are_not_received() {
        let bus = Bus::new(4);
        bus.publish(event(0));
        let mut receiver = bus.subscribe();
        bus.publish(event(1));
        assert_eq!(drain(&mut receiver), [Ok(1)]);
    }
}
