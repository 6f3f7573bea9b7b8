//! Where events are stamped: the one place that gives out sequence numbers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::bus::Bus;
use crate::error::TaskError;
use crate::event::{Event, EventKind};
use crate::runtime::{Delivery, JobKey, Role, Rt, Shared, WaitsFor};
use crate::sync::Inbox;

/// Sees every event at the moment it is published, in order and without loss. It must not call back into the
/// supervisor.
pub trait Observe {
    /// `event` was published.
    fn event(&self, event: &Event);

    /// The event of this number was put on the bus: at once after it was published, unless the runtime plays late or
    /// double delivery.
    fn delivered(&self, seq: u64) {
        let _ = seq;
    }
}

pub(crate) struct Hub {
    pub(crate) rt: Rt,
    pub(crate) bus: Bus,
    next_seq: Cell<u64>,
    observer: Option<Rc<dyn Observe>>,
    /// Events between stamp and bus, by publisher. Empty unless the runtime plays late delivery.
    couriers: RefCell<BTreeMap<u64, Courier>>,
    /// The runtime wants to know what is touched.
    is_heeded: bool,
    /// Events that nobody has any more and that say nothing: memory for later ones.
    spare: RefCell<Vec<Rc<Event>>>,
    /// The text of the last error. Most bodies that fail again fail in the same way.
    last_text: RefCell<Arc<str>>,
}

/// Memory is kept for so many events at most.
const SPARE_MAX: usize = 4_096;

struct Courier {
    parcels: Rc<Inbox<Rc<Event>>>,
    job: JobKey,
}

impl Hub {
    pub(crate) fn new(rt: Rt, bus_capacity: usize, observer: Option<Rc<dyn Observe>>) -> Self {
        Self {
            is_heeded: rt.heeds_touches(),
            rt,
            bus: Bus::new(bus_capacity),
            next_seq: Cell::new(0),
            observer,
            couriers: RefCell::default(),
            spare: RefCell::default(),
            last_text: RefCell::new(Arc::from("")),
        }
    }

    /// As [`Runtime::touches`](crate::runtime::Runtime::touches), for those who touch something often.
    #[inline]
    pub(crate) fn touches(&self, what: Shared<'_>) {
        if self.is_heeded {
            self.rt.touches(what);
        }
    }

    /// Publishes to the bus (\[S1\]). Never waits.
    pub(crate) fn publish(self: &Rc<Self>, event: Event) {
        self.tell(|blank| *blank = event);
    }

    /// As [`Hub::publish`], of an event that is written where it stays.
    #[inline]
    pub(crate) fn tell(self: &Rc<Self>, write: impl FnOnce(&mut Event)) {
        let mut event = self.blank();
        let blank = Rc::get_mut(&mut event).expect("nobody else has it");
        write(blank);
        self.stamp(blank);
        self.send(event);
    }

    fn send(self: &Rc<Self>, event: Rc<Event>) {
        match self.rt.delivery() {
            Delivery::Late => self.post(event),
            // What one publisher sends stays in order.
            _ if self.is_behind() => self.post(event),
            Delivery::AtOnce => self.deliver(event),
            Delivery::Twice => {
                self.deliver(Rc::clone(&event));
                self.deliver(event);
            }
        }
    }

    /// Stamps a notice that goes to the subscribers alone (\[S8\]).
    pub(crate) fn notice(&self, mut event: Event) -> Rc<Event> {
        self.stamp(&mut event);
        Rc::new(event)
    }

    /// An event that says nothing and that nobody else has.
    fn blank(&self) -> Rc<Event> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| Rc::new(Event::unstamped(EventKind::TaskStarting)))
    }

    /// Lets go of an event. What it carries is dropped if nobody else has it, and its memory kept.
    #[inline]
    pub(crate) fn let_go(&self, event: Rc<Event>) {
        if Rc::strong_count(&event) == 1 {
            self.keep(event);
        }
    }

    fn keep(&self, mut event: Rc<Event>) {
        let Some(last) = Rc::get_mut(&mut event) else { return };
        last.wipe(); // foreign code may run here and publish
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(event);
        }
    }

    fn stamp(&self, event: &mut Event) {
        event.seq = self.next_seq.get();
        self.next_seq.set(event.seq + 1);
        if self.is_heeded {
            self.rt.touches(match self.bus.is_heard() {
                true if self.bus.is_full() => Shared::FullBus,
                true => Shared::Bus,
                false => Shared::DeafBus,
            });
        }
        event.at = self.rt.wall();
        if let Some(observer) = &self.observer {
            observer.event(event);
        }
    }

    /// The text that events carry of this error.
    pub(crate) fn text_of(&self, error: &TaskError) -> Arc<str> {
        let mut last = self.last_text.borrow_mut();
        if !error.has_text(&last) {
            *last = error.text();
        }
        Arc::clone(&last)
    }

    fn deliver(&self, event: Rc<Event>) {
        if let Some(observer) = &self.observer {
            observer.delivered(event.seq);
        }
        self.bus.publish(event);
    }

    /// Whether an event of this publisher is under way.
    fn is_behind(&self) -> bool {
        let couriers = self.couriers.borrow();
        let courier = |publisher| couriers.get(&publisher);
        !couriers.is_empty()
            && courier(self.rt.publisher()).is_some_and(|courier| !courier.parcels.is_empty())
    }

    /// Leaves an event to the courier of its publisher.
    fn post(self: &Rc<Self>, event: Rc<Event>) {
        let publisher = self.rt.publisher();
        let known = self.couriers.borrow().get(&publisher).map(|courier| Rc::clone(&courier.parcels));
        let parcels = known.unwrap_or_else(|| {
            let parcels = Rc::new(Inbox::default());
            let name: Arc<str> = Arc::from(publisher.to_string());
            let work = Rc::clone(self).carry(Rc::clone(&parcels));
            let job = self.rt.spawn(Role::Courier, &name, Box::pin(work));
            self.couriers.borrow_mut().insert(publisher, Courier { parcels: Rc::clone(&parcels), job });
            parcels
        });
        parcels.send(event);
    }

    async fn carry(self: Rc<Self>, parcels: Rc<Inbox<Rc<Event>>>) {
        loop {
            self.rt.waits_for(WaitsFor::Parcel);
            parcels.ready().await;
            crate::runtime::yield_now().await;
            if let Some(event) = parcels.try_recv() {
                self.deliver(event);
            }
        }
    }

    /// Whether every event that was published is on the bus.
    pub(crate) fn is_delivered(&self) -> bool {
        self.couriers.borrow().values().all(|courier| courier.parcels.is_empty())
    }

    /// Puts what is still under way on the bus, and lets the couriers go.
    pub(crate) fn flush(&self) {
        for (_, courier) in std::mem::take(&mut *self.couriers.borrow_mut()) {
            while let Some(event) = courier.parcels.try_recv() {
                self.deliver(event);
            }
            self.rt.abort(courier.job);
        }
    }

    /// How many events were published, notices included.
    pub(crate) fn published(&self) -> u64 {
        self.next_seq.get()
    }
}
