//! Those who are told of events: each with a bounded queue, a worker of its own, and exact counters.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::LocalBoxFuture;

use crate::attempt::panic_message;
use crate::bus::{Receiver, RecvError};
use crate::event::Event;
use crate::hub::Hub;
use crate::runtime::{JobKey, PreemptPoint, Role, Runtime, Shared, WaitsFor};

/// Queue length of a subscriber that does not choose one.
pub const DEFAULT_QUEUE_CAPACITY: usize = 1024;

/// Handles events, one after the other, in a worker of its own.
pub trait Subscribe: 'static {
    /// The name that overflow and panic events carry. Should be unique among subscribers.
    fn name(&self) -> &str;

    /// How many events may wait. Default 1024; 0 counts as 1.
    fn queue_capacity(&self) -> usize {
        DEFAULT_QUEUE_CAPACITY
    }

    /// Handles one event. A panic is caught and counted, and the next event is handled as if nothing had happened.
    fn on_event<'a>(&'a self, event: &'a Event) -> Handled<'a>;
}

/// How far a handler has come with its event when it returns. As a future it is ready once the event is handled.
///
/// ```
/// use simvisor::{Event, Handled, Subscribe};
///
/// struct Log;
///
/// impl Subscribe for Log {
///     fn name(&self) -> &str {
///         "log"
///     }
///
///     fn on_event<'a>(&'a self, event: &'a Event) -> Handled<'a> {
///         println!("{:?}", event.kind);
///         Handled::Now // or `Handled::later(async move { … })`
///     }
/// }
/// ```
pub enum Handled<'a> {
    /// The event is handled.
    Now,
    /// It is once this future is ready.
    Later(LocalBoxFuture<'a, ()>),
}

impl<'a> Handled<'a> {
    /// The event is handled once `future` is ready.
    pub fn later(future: impl Future<Output = ()> + 'a) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl std::fmt::Debug for Handled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now => "Now",
            Self::Later(_) => "Later(..)",
        })
    }
}

impl Future for Handled<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Now => Poll::Ready(()),
            Self::Later(future) => future.as_mut().poll(cx),
        }
    }
}

/// What became of the events published during a subscriber's life. The four add up to that number once the run has
/// ended (\[S6\]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SubscriberCounters {
    /// The handler returned.
    pub handled: u64,
    /// The handler panicked.
    pub panicked: u64,
    /// The queue was full or closed, or the run ended before the event was handled.
    pub dropped: u64,
    /// The listener was overrun before it could hand the event on.
    pub lagged: u64,
}

impl SubscriberCounters {
    /// All events accounted for.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.handled + self.panicked + self.dropped + self.lagged
    }
}

struct Lane {
    name: Arc<str>,
    subscriber: Rc<dyn Subscribe>,
    capacity: usize,
    queue: RefCell<VecDeque<Rc<Event>>>,
    closed: Cell<bool>,
    /// The worker has taken an event and is not done with it.
    in_hand: Cell<bool>,
    worker: Cell<Option<Waker>>,
    counters: Cell<SubscriberCounters>,
}

impl Lane {
    fn count(&self, change: impl FnOnce(&mut SubscriberCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    fn is_idle(&self) -> bool {
        self.queue.borrow().is_empty() && !self.in_hand.get()
    }

    async fn take(&self, hub: &Hub) -> Rc<Event> {
        poll_fn(|cx| match self.queue.borrow_mut().pop_front() {
            Some(event) => {
                hub.touches(Shared::Queue);
                self.in_hand.set(true);
                Poll::Ready(event)
            }
            None => {
                hub.touches(Shared::QueueEnd);
                self.worker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// All subscribers of one supervisor, fed by one bus receiver.
pub struct SubscriberSet {
    hub: Rc<Hub>,
    lanes: Vec<Rc<Lane>>,
    /// The listener's place on the bus until it is started, then nothing.
    receiver: RefCell<Option<Receiver>>,
    listener: Rc<ListenerState>,
}

impl std::fmt::Debug for SubscriberSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.counters()).finish()
    }
}

#[derive(Default)]
struct ListenerState {
    /// The listener has received an event and not yet handed it on.
    in_hand: Cell<bool>,
    /// How many events the listener has received or lost: the position on the bus of the one that it receives next.
    position: Cell<u64>,
    /// Whoever waits for all queues to run empty.
    drain: Cell<Option<Waker>>,
}

impl ListenerState {
    fn passes(&self, events: u64) {
        self.position.set(self.position.get() + events);
    }

    fn progress(&self) {
        if let Some(waker) = self.drain.take() {
            waker.wake();
        }
    }
}

impl SubscriberSet {
    pub(crate) fn new(hub: &Rc<Hub>, subscribers: Vec<Rc<dyn Subscribe>>) -> Self {
        let lanes: Vec<_> = subscribers.into_iter().map(Lane::new).collect();
        // Without subscribers nobody needs to read the bus.
        let receiver = (!lanes.is_empty()).then(|| hub.bus.subscribe());
        Self {
            hub: Rc::clone(hub),
            lanes,
            receiver: RefCell::new(receiver),
            listener: Rc::new(ListenerState::default()),
        }
    }

    /// Name and counters of each subscriber, in the order in which they were added.
    #[must_use]
    pub fn counters(&self) -> Vec<(Arc<str>, SubscriberCounters)> {
        self.lanes.iter().map(|lane| (Arc::clone(&lane.name), lane.counters.get())).collect()
    }

    /// Starts the listener and a worker per subscriber.
    pub(crate) fn start(self: &Rc<Self>) -> Vec<JobKey> {
        let Some(receiver) = self.receiver.borrow_mut().take() else { return Vec::new() };
        let rt = &self.hub.rt;
        let mut jobs =
            vec![rt.spawn(Role::Listener, &Arc::from(""), Box::pin(Rc::clone(self).listen(receiver)))];
        for lane in &self.lanes {
            let worker = Rc::clone(self).work(Rc::clone(lane));
            jobs.push(rt.spawn(Role::Worker, &lane.name, Box::pin(worker)));
        }
        jobs
    }

    async fn listen(self: Rc<Self>, mut receiver: Receiver) {
        let rt: &dyn Runtime = &*self.hub.rt;
        loop {
            rt.waits_for(WaitsFor::Bus);
            let received = poll_fn(|cx| {
                let received = receiver.poll_recv(cx);
                if received.is_pending() {
                    self.hub.touches(Shared::BusEnd);
                }
                received
            })
            .await;
            match received {
                Ok(event) => {
                    self.listener.passes(1);
                    self.listener.in_hand.set(true);
                    rt.point(PreemptPoint::ListenerReceived).await;
                    self.emit(&event);
                    self.listener.in_hand.set(false);
                    self.hub.let_go(event);
                }
                Err(RecvError::Lagged(lost)) => {
                    self.listener.passes(lost);
                    self.lanes.iter().for_each(|lane| lane.count(|counters| counters.lagged += lost));
                    let notice = self.hub.notice(Event::listener_lagged(lost)); // [S8]
                    self.emit(&notice);
                }
                Err(RecvError::Closed) => return,
            }
            self.listener.progress();
        }
    }

    /// Gives an event to every subscriber. Never waits (\[S5\]).
    fn emit(&self, event: &Rc<Event>) {
        self.hub.touches(Shared::Queues);
        for lane in &self.lanes {
            let why = {
                let mut queue = lane.queue.borrow_mut();
                if lane.closed.get() {
                    Some("closed")
                } else if queue.len() >= lane.capacity {
                    self.hub.touches(Shared::FullQueue);
                    Some("full")
                } else {
                    queue.push_back(Rc::clone(event));
                    None
                }
            };
            match why {
                Some(why) => {
                    lane.count(|counters| counters.dropped += 1);
                    if !event.is_about_a_subscriber() {
                        self.hub.publish(Event::overflow_of(&lane.name, why));
                    }
                }
                None => {
                    if let Some(worker) = lane.worker.take() {
                        worker.wake();
                    }
                }
            }
        }
    }

    async fn work(self: Rc<Self>, lane: Rc<Lane>) {
        let rt: &dyn Runtime = &*self.hub.rt;
        loop {
            rt.waits_for(WaitsFor::Queue);
            let event = lane.take(&self.hub).await;
            rt.point(PreemptPoint::WorkerTook).await;
            let handled = match handle(&*lane.subscriber, &event) {
                Ok(Handled::Now) => Ok(()),
                Ok(Handled::Later(handling)) => {
                    rt.waits_for(WaitsFor::Handler);
                    finish(handling).await
                }
                Err(message) => Err(message),
            };
            match handled {
                Ok(()) => lane.count(|counters| counters.handled += 1),
                Err(message) => {
                    lane.count(|counters| counters.panicked += 1);
                    if !event.is_about_a_subscriber() {
                        self.hub.publish(Event::panic_of(&lane.name, message)); // [S7]
                    }
                }
            }
            lane.in_hand.set(false);
            self.listener.progress();
            self.hub.let_go(event);
        }
    }

    /// Ready when the bus is read to its end and every queue has run empty.
    pub(crate) fn poll_drained(&self, cx: &mut Context<'_>) -> Poll<()> {
        let listener_idle = self.behind() == 0 && !self.listener.in_hand.get() && self.is_fed();
        if listener_idle && self.lanes.iter().all(|lane| lane.is_idle()) {
            return Poll::Ready(());
        }
        self.listener.drain.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Whether nothing more will come to the bus by itself.
    fn is_fed(&self) -> bool {
        self.lanes.is_empty() || self.hub.is_delivered()
    }

    /// How many events are on the bus that the listener has not received.
    fn behind(&self) -> u64 {
        if self.lanes.is_empty() { 0 } else { self.hub.bus.end() - self.listener.position.get() }
    }

    /// Counts what was never handled as dropped and takes nothing more (\[S9\]).
    pub(crate) fn close(&self) {
        let on_the_way = self.behind() + u64::from(self.listener.in_hand.replace(false));
        for lane in &self.lanes {
            lane.closed.set(true);
            let queued = std::mem::take(&mut *lane.queue.borrow_mut()).len() as u64;
            let in_hand = u64::from(lane.in_hand.replace(false));
            lane.count(|counters| counters.dropped += on_the_way + queued + in_hand);
        }
    }
}

impl Lane {
    fn new(subscriber: Rc<dyn Subscribe>) -> Rc<Self> {
        Rc::new(Self {
            name: Arc::from(subscriber.name()),
            capacity: subscriber.queue_capacity().max(1),
            subscriber,
            queue: RefCell::new(VecDeque::new()),
            closed: Cell::new(false),
            in_hand: Cell::new(false),
            worker: Cell::new(None),
            counters: Cell::new(SubscriberCounters::default()),
        })
    }
}

/// Calls the handler for one event; a panic becomes its message.
fn handle<'a>(subscriber: &'a dyn Subscribe, event: &'a Event) -> Result<Handled<'a>, String> {
    catch_unwind(AssertUnwindSafe(|| subscriber.on_event(event))).map_err(|payload| panic_message(&*payload))
}

/// Runs the rest of a handler; a panic becomes its message.
async fn finish(mut handling: LocalBoxFuture<'_, ()>) -> Result<(), String> {
    let done = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(cx))) {
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Ok(Poll::Pending) => Poll::Pending,
        Err(payload) => Poll::Ready(Err(panic_message(&*payload))),
    })
    .await;
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(handling)));
    done.and(dropped.map_err(|payload| panic_message(&*payload)))
}
