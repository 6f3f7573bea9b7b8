//! Where events are stamped: the one place that gives out sequence numbers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::alive::AliveTracker;
use crate::bus::Bus;
use crate::event::Event;
use crate::runtime::{Rt, Shared};

/// Sees every event at the moment it is published, in order and without loss. It must not call back into the
/// supervisor.
pub trait Observe {
    /// `event` was published.
    fn event(&self, event: &Event);
}

pub(crate) struct Hub {
    pub(crate) rt: Rt,
    pub(crate) bus: Bus,
    next_seq: Cell<u64>,
    alive: RefCell<AliveTracker>,
    observer: Option<Rc<dyn Observe>>,
}

impl Hub {
    pub(crate) fn new(rt: Rt, bus_capacity: usize, observer: Option<Rc<dyn Observe>>) -> Self {
        Self {
            rt,
            bus: Bus::new(bus_capacity),
            next_seq: Cell::new(0),
            alive: RefCell::new(AliveTracker::new()),
            observer,
        }
    }

    /// Publishes to the bus (\[S1\]). Never waits.
    pub(crate) fn publish(&self, event: Event) {
        let event = self.stamp(event);
        self.alive.borrow_mut().update(&event);
        self.bus.publish(Rc::new(event));
    }

    /// Stamps a notice that goes to the subscribers alone (\[S8\]).
    pub(crate) fn notice(&self, event: Event) -> Rc<Event> {
        Rc::new(self.stamp(event))
    }

    fn stamp(&self, mut event: Event) -> Event {
        event.seq = self.next_seq.get();
        self.next_seq.set(event.seq + 1);
        self.rt.touches(if self.bus.is_heard() { Shared::Bus } else { Shared::DeafBus });
        event.at = self.rt.wall();
        if let Some(observer) = &self.observer {
            observer.event(&event);
        }
        event
    }

    /// How many events were published, notices included.
    pub(crate) fn published(&self) -> u64 {
        self.next_seq.get()
    }

    pub(crate) fn alive(&self) -> std::cell::Ref<'_, AliveTracker> {
        self.rt.touches(Shared::Told);
        self.alive.borrow()
    }
}
