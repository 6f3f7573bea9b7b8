//! The state of an engine, and the seam between the logic and it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::future::LocalBoxFuture;
use simvisor::runtime::{Delivery, JobKey, Nanos, PreemptPoint, Role, Runtime, Shared, TimerKey, WaitsFor};

use super::lanes::{LaneKind, Lanes};
use super::slots::{CLOCK, NONE, Owner, Slots};
use super::timers::{Due, Timers};
use super::waker::{self, WakeName};
use super::{End, Limits, Stuck};
use crate::choice::{CLOCK_LANE, Chooser, Named, Site, Source};
use crate::schedule::Footprint;

/// Wall-clock time at the start of every world: 2000-01-01T00:00:00Z, in seconds since the Unix epoch.
const WALL_START_S: u64 = 946_684_800;

pub(crate) struct Core {
    pub(super) engine: u16,
    now: Cell<u64>,
    turn: Cell<u64>,
    running: Cell<u32>,
    waits_for: Cell<WaitsFor>,
    wall_offset_ns: Cell<i64>,
    /// How many ways of delivery there are: 1 at once, 2 with late, 3 with twice.
    deliveries: Cell<u32>,
    slots: RefCell<Slots>,
    /// The futures, by slot. Taken out while polled.
    futures: RefCell<Vec<Option<LocalBoxFuture<'static, ()>>>>,
    timers: RefCell<Timers>,
    /// Timers that are due and wait for the clock's turn, the next one last.
    held: RefCell<Vec<Due>>,
    lanes: RefCell<Lanes>,
    chooser: RefCell<Chooser>,
    /// Whoever runs the world has said that it is over.
    stopped: Cell<bool>,
    /// Somebody wants to know what steps touch.
    tracks: Cell<bool>,
    /// Memory for the lanes that a search picks from.
    by_age: RefCell<Vec<u32>>,
}

impl Core {
    pub(super) fn new() -> Rc<Self> {
        let core = Self {
            engine: waker::engine_number(),
            now: Cell::new(0),
            turn: Cell::new(0),
            running: Cell::new(NONE),
            waits_for: Cell::new(WaitsFor::Unknown),
            wall_offset_ns: Cell::new(0),
            deliveries: Cell::new(1),
            slots: RefCell::new(Slots::new()),
            futures: RefCell::new(Vec::new()),
            timers: RefCell::default(),
            held: RefCell::default(),
            lanes: RefCell::default(),
            chooser: RefCell::new(Chooser::new(
                Source::Replayed(Vec::new(), crate::choice::Fit::Lenient),
                Vec::new(),
            )),
            stopped: Cell::new(false),
            tracks: Cell::new(false),
            by_age: RefCell::default(),
        };
        Rc::new(core)
    }

    /// Makes the engine ready for a world.
    pub(super) fn begin(&self, source: Source, tape: crate::choice::Tape) {
        let mut chooser = Chooser::new(source, tape);
        chooser.instant(0);
        self.tracks.set(chooser.wants_footprints());
        *self.chooser.borrow_mut() = chooser;
        let clock = self.lanes.borrow_mut().find(LaneKind::Clock, &Arc::from(""));
        assert_eq!(clock, CLOCK_LANE, "the clock's lane is the first of every world");
        self.lanes.borrow_mut().occupy(clock, CLOCK);
        self.slots.borrow_mut().get_mut(CLOCK).lane = clock;
    }

    pub(super) fn take_chooser(&self) -> Chooser {
        self.tracks.set(false);
        let empty = Chooser::new(Source::Replayed(Vec::new(), crate::choice::Fit::Lenient), Vec::new());
        self.chooser.replace(empty)
    }

    /// Drops every future and timer. What a dropped future does to others is undone as well.
    pub(super) fn clear(&self) {
        loop {
            let next = self.slots.borrow().live().next().map(|(index, _)| index);
            match next {
                Some(index) => self.end(index),
                None => break,
            }
        }
        self.slots.borrow_mut().reset();
        self.timers.borrow_mut().reset();
        self.held.borrow_mut().clear();
        self.lanes.borrow_mut().reset();
        self.now.set(0);
        self.turn.set(0);
        self.running.set(NONE);
        self.wall_offset_ns.set(0);
        self.deliveries.set(1);
        self.stopped.set(false);
    }

    /// Forgets the futures without dropping them: for a thread that is panicking already.
    pub(super) fn forget(&self) {
        std::mem::forget(self.futures.take());
    }

    pub(super) fn wake(&self, slot: u32, generation: u32) {
        if self.slots.borrow().is_live(slot, generation) {
            self.make_ready(slot);
        }
    }

    /// Makes a future ready, and says so.
    fn make_ready(&self, slot: u32) {
        let (lane, is_new) = {
            let mut slots = self.slots.borrow_mut();
            (slots.get(slot).lane, slots.make_ready(slot))
        };
        if is_new {
            self.chooser.borrow_mut().readied(lane);
        }
        if self.tracks.get() {
            self.note(Footprint::wakes(self.lanes.borrow().get(lane).first));
        }
    }

    /// Takes a future off the ready ones, and says so.
    fn unready(&self, slot: u32) {
        let (lane, was_ready) = {
            let mut slots = self.slots.borrow_mut();
            (slots.get(slot).lane, slots.unready(slot))
        };
        if was_ready {
            self.chooser.borrow_mut().rested(lane);
        }
    }

    /// The running future touches this.
    fn note(&self, footprint: Footprint) {
        self.chooser.borrow_mut().touches(footprint);
    }

    /// What every step of a future touches: what it is by its role.
    fn footprint_of(&self, slot: u32) -> Footprint {
        let (slots, lanes) = (self.slots.borrow(), self.lanes.borrow());
        let slot = slots.get(slot);
        let lane = lanes.get(slot.lane);
        let mut footprint = Footprint::of_lane(lane.first);
        footprint.add(match lane.kind {
            LaneKind::Run | LaneKind::Other | LaneKind::Courier => Footprint::EVERYTHING,
            LaneKind::Registry => Footprint::REGISTRY,
            LaneKind::Controller => Footprint::SLOTS,
            LaneKind::Listener => Footprint::FEEDS,
            LaneKind::Worker => Footprint::TAKES,
            LaneKind::Receiver => Footprint::RECEIVES,
            // What the clock wakes says which timers fired.
            LaneKind::Clock | LaneKind::Actor | LaneKind::Operation => Footprint::NONE,
        });
        footprint.add(footprint_of_wait(slot.waits_for));
        footprint
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn.get()
    }

    pub(crate) fn calm_down(&self) {
        self.chooser.borrow_mut().calm_down();
    }

    pub(crate) fn set_deliveries(&self, ways: u32) {
        self.deliveries.set(ways);
    }

    pub(crate) fn set_wall(&self, by_ns: i64) {
        self.wall_offset_ns.set(self.wall_offset_ns.get().saturating_add(by_ns));
    }

    /// Futures and timers of the run that are still there, the running future apart.
    pub(crate) fn leftovers(&self) -> (u64, u64) {
        let slots = self.slots.borrow();
        let running = self.running.get();
        let own = u32::from(running != NONE && slots.get(running).owner == Owner::Run);
        (u64::from(slots.live_of_run() - own), u64::from(self.timers.borrow().set_of_run()))
    }

    /// Names a lane in advance, so that lanes are numbered as the scenario lists them.
    pub(crate) fn reserve_lane(&self, kind: LaneKind, name: &Arc<str>) {
        self.lanes.borrow_mut().find(kind, name);
    }

    pub(crate) fn spawn_on(
        &self,
        kind: LaneKind,
        name: &Arc<str>,
        owner: Owner,
        future: LocalBoxFuture<'static, ()>,
    ) -> JobKey {
        let (slot, lane, generation) = {
            let mut lanes = self.lanes.borrow_mut();
            let lane = lanes.find(kind, name);
            let mut slots = self.slots.borrow_mut();
            let slot = slots.insert(owner, lane);
            lanes.occupy(lane, slot);
            (slot, lane, slots.get(slot).generation)
        };
        let mut futures = self.futures.borrow_mut();
        if futures.len() <= slot as usize {
            futures.resize_with(slot as usize + 1, || None);
        }
        futures[slot as usize] = Some(future);
        let mut chooser = self.chooser.borrow_mut();
        chooser.spawned(lane);
        if chooser.is_guided() {
            chooser.named(lane, kind, name, self.lanes.borrow().twin_number(lane));
        }
        drop(chooser);
        self.make_ready(slot);
        JobKey(u64::from(generation) << 32 | u64::from(slot))
    }

    /// Frees the slot and drops its future, in this order: the future's drop may wake, spawn or abort others.
    fn end(&self, slot: u32) {
        let lane = self.slots.borrow().get(slot).lane;
        self.unready(slot);
        self.slots.borrow_mut().remove(slot);
        self.lanes.borrow_mut().vacate(lane);
        let future = self.futures.borrow_mut()[slot as usize].take();
        drop(future);
    }

    /// Runs until nothing can run any more.
    pub(super) fn run(&self, limits: &Limits) -> End {
        let mut turns_at_instant: u64 = 0;
        loop {
            if self.stopped.get() {
                return End::Stopped;
            }
            let (ready, live) = {
                let slots = self.slots.borrow();
                (slots.ready_count(), u64::from(slots.live_count()))
            };
            if ready == 0 {
                match self.timers.borrow_mut().next_deadline() {
                    Some(deadline) if deadline > limits.time_ns_max || deadline == u64::MAX => {
                        return End::Limit(format!("virtual time beyond {} ns", limits.time_ns_max));
                    }
                    Some(deadline) => {
                        self.now.set(deadline);
                        self.chooser.borrow_mut().instant(deadline);
                    }
                    None if live == 0 => return End::Done,
                    None => return End::Deadlock(self.stuck(|_| true)),
                }
                turns_at_instant = 0;
                self.fire_due();
                continue;
            }
            if self.turn.get() >= limits.turns_max {
                return End::Limit(format!("{} turns", limits.turns_max));
            }
            // Every future may have a good reason to run at one instant, a few times over.
            let patience = limits.turns_per_instant_max + 16 * live;
            if turns_at_instant == patience {
                self.slots.borrow_mut().start_census();
            }
            if turns_at_instant == patience + 1_000 + 4 * live {
                return End::Livelock(self.stuck(|turns| turns > 1));
            }
            self.turn.set(self.turn.get() + 1);
            turns_at_instant += 1;
            match self.pick(ready) {
                Pick::Slot(slot) => self.turn_of(slot),
                Pick::Vain => {} // the tape named a future that cannot run now
                Pick::GiveUp => return End::Limit("the search gave the run up".to_owned()),
            }
        }
    }

    fn turn_of(&self, slot: u32) {
        let lane = self.slots.borrow().get(slot).lane;
        self.unready(slot);
        let footprint = if self.tracks.get() { self.footprint_of(slot) } else { Footprint::NONE };
        self.chooser.borrow_mut().begins(lane, footprint);
        if slot == CLOCK {
            self.clock_turn();
        } else {
            self.poll(slot);
        }
        self.chooser.borrow_mut().ended();
    }

    /// Which future runs next.
    fn pick(&self, ready: u32) -> Pick {
        let slots = self.slots.borrow();
        let oldest = slots.oldest();
        let mut chooser = self.chooser.borrow_mut();
        if chooser.is_guided() {
            return self.guided(&slots, &mut chooser);
        }
        if ready == 1 {
            return Pick::Slot(oldest);
        }
        let lanes = self.lanes.borrow();
        let slot = match chooser.schedule(ready, lanes.count()) {
            Named::Oldest => oldest,
            Named::Place(place) => slots.at_place(place),
            Named::Lane(lane) => match lanes.slot(lane).filter(|&slot| slots.is_ready(slot)) {
                Some(slot) => slot,
                None => {
                    chooser.named_in_vain(lanes.count());
                    return Pick::Vain;
                }
            },
        };
        let lane = if slot == oldest { 0 } else { slots.get(slot).lane };
        chooser.scheduled(lane, lanes.count());
        Pick::Slot(slot)
    }

    /// Which future a search wants to run.
    fn guided(&self, slots: &Slots, chooser: &mut Chooser) -> Pick {
        let mut ready = self.by_age.borrow_mut();
        ready.clear();
        ready.extend(slots.by_age().map(|slot| slots.get(slot).lane));
        let Some(lane) = chooser.guided(&ready) else { return Pick::GiveUp };
        let lanes = self.lanes.borrow();
        let slot =
            lanes.slot(lane).filter(|&slot| slots.is_ready(slot)).expect("a search picks what is ready");
        if ready.len() > 1 {
            chooser.scheduled(if slot == slots.oldest() { 0 } else { lane }, lanes.count());
        }
        Pick::Slot(slot)
    }

    fn poll(&self, slot: u32) {
        let generation = {
            let mut slots = self.slots.borrow_mut();
            let entry = slots.get_mut(slot);
            entry.turns += 1;
            self.waits_for.set(entry.waits_for);
            entry.generation
        };
        let mut future = self.futures.borrow_mut()[slot as usize].take().expect("a ready slot has a future");
        self.running.set(slot);
        let waker = WakeName { engine: self.engine, generation, slot }.waker();
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.running.set(NONE);
        match polled {
            Poll::Ready(()) => {
                self.end(slot);
                drop(future);
            }
            Poll::Pending => {
                self.futures.borrow_mut()[slot as usize] = Some(future);
                let mut slots = self.slots.borrow_mut();
                let entry = slots.get_mut(slot);
                entry.waits_for = self.waits_for.get();
                entry.since = self.now.get();
            }
        }
    }

    /// Fires the timers due now. The first fires; each further one may be held back for a turn of its own.
    fn fire_due(&self) {
        let now = self.now.get();
        let mut first = true;
        loop {
            let Some(due) = self.timers.borrow_mut().pop_due(now) else { break };
            if first || self.fires_at_once() {
                self.fire(due);
            } else {
                self.held.borrow_mut().push(due);
            }
            first = false;
        }
        self.hold_clock();
    }

    fn clock_turn(&self) {
        let held = self.held.take();
        let mut first = true;
        for due in held {
            if !self.timers.borrow().is_set(due) {
                continue; // dropped meanwhile
            }
            if first || self.fires_at_once() {
                self.fire(due);
            } else {
                self.held.borrow_mut().push(due);
            }
            first = false;
        }
        self.hold_clock();
    }

    /// Whether the next of several timers that are due fires at once.
    fn fires_at_once(&self) -> bool {
        self.choose(Site::TimerTie, 2) == 0
    }

    fn choose(&self, site: Site, arity: u32) -> u32 {
        self.choose_at(site, None, arity)
    }

    /// A value below `arity`, at a site that is told apart by `name` where one is given.
    pub(crate) fn choose_at(&self, site: Site, name: Option<&str>, arity: u32) -> u32 {
        let ready = self.slots.borrow().ready_count();
        self.chooser.borrow_mut().choose(site, name, arity, ready)
    }

    /// The world ends before its next turn.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }

    /// While timers are held back the clock is one of those that can run.
    fn hold_clock(&self) {
        if !self.held.borrow().is_empty() {
            self.make_ready(CLOCK);
        }
    }

    fn fire(&self, due: Due) {
        let waker = self.timers.borrow_mut().fire(due);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Who did not end, by lane.
    fn stuck(&self, named: impl Fn(u32) -> bool) -> Vec<Stuck> {
        let (slots, lanes) = (self.slots.borrow(), self.lanes.borrow());
        let mut stuck: Vec<_> = slots
            .live()
            .filter(|(_, slot)| named(slot.turns))
            .map(|(_, slot)| {
                let lane = lanes.get(slot.lane);
                let entry = Stuck {
                    kind: lane.kind,
                    name: Arc::clone(&lane.name),
                    waits_for: slot.waits_for,
                    since_ns: slot.since,
                };
                (slot.lane, entry)
            })
            .collect();
        stuck.sort_by_key(|(lane, _)| *lane);
        stuck.into_iter().map(|(_, entry)| entry).collect()
    }
}

impl Runtime for Core {
    fn now(&self) -> Nanos {
        Nanos(self.now.get())
    }

    fn wall(&self) -> SystemTime {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(WALL_START_S);
        let time = start + Duration::from_nanos(self.now.get());
        let offset_ns = self.wall_offset_ns.get();
        let offset = Duration::from_nanos(offset_ns.unsigned_abs());
        if offset_ns < 0 { time - offset } else { time + offset }
    }

    fn set_timer(&self, deadline: Nanos) -> TimerKey {
        let running = self.running.get();
        let owner = if running == NONE { Owner::Outside } else { self.slots.borrow().get(running).owner };
        if self.tracks.get() {
            self.note(Footprint::sets_timer(deadline.0));
        }
        self.timers.borrow_mut().insert(deadline.0, owner)
    }

    fn poll_timer(&self, timer: TimerKey, cx: &mut Context<'_>) -> Poll<()> {
        match self.timers.borrow_mut().poll(timer, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn drop_timer(&self, timer: TimerKey) {
        self.timers.borrow_mut().remove(timer);
    }

    fn spawn(&self, role: Role, name: &Arc<str>, future: LocalBoxFuture<'static, ()>) -> JobKey {
        let kind = match role {
            Role::Registry => LaneKind::Registry,
            Role::Listener => LaneKind::Listener,
            Role::Worker => LaneKind::Worker,
            Role::Actor => LaneKind::Actor,
            Role::Courier => LaneKind::Courier,
            Role::Controller => LaneKind::Controller,
        };
        self.spawn_on(kind, name, Owner::Run, future)
    }

    fn abort(&self, job: JobKey) {
        let (generation, slot) = ((job.0 >> 32) as u32, job.0 as u32);
        if self.slots.borrow().is_live(slot, generation) {
            assert_ne!(self.running.get(), slot, "a future cannot abort itself");
            if self.tracks.get() {
                let lane = self.slots.borrow().get(slot).lane;
                self.note(Footprint::of_lane(self.lanes.borrow().get(lane).first));
            }
            self.end(slot);
        }
    }

    fn draw(&self, high: u64) -> u64 {
        match u32::try_from(high) {
            Ok(high) if high < u32::MAX => u64::from(self.choose(Site::Jitter, high + 1)),
            // Wider ranges are drawn in 2^32 - 1 equal steps that include both ends.
            _ => {
                let step = self.choose(Site::Jitter, u32::MAX);
                let scaled = u128::from(high) * u128::from(step) / u128::from(u32::MAX - 1);
                u64::try_from(scaled).expect("a fraction of a u64")
            }
        }
    }

    fn preempt(&self, point: PreemptPoint) -> bool {
        self.choose(point.into(), 2) == 1
    }

    fn delivery(&self) -> Delivery {
        match self.choose(Site::Delivery, self.deliveries.get()) {
            0 => Delivery::AtOnce,
            1 => Delivery::Late,
            _ => Delivery::Twice,
        }
    }

    fn publisher(&self) -> u64 {
        match self.running.get() {
            NONE => 0,
            slot => u64::from(self.slots.borrow().get(slot).lane),
        }
    }

    fn waits_for(&self, what: WaitsFor) {
        self.waits_for.set(what);
        if self.tracks.get() {
            self.note(footprint_of_wait(what));
        }
    }

    fn touches(&self, what: Shared<'_>) {
        if !self.tracks.get() {
            return;
        }
        self.note(match what {
            Shared::Bus => Footprint::PUBLISHES,
            Shared::DeafBus => Footprint::PUBLISHES_UNHEARD,
            Shared::Told => Footprint::RECEIVES,
            Shared::Registry => Footprint::REGISTRY,
            Shared::Slots => Footprint::SLOTS,
            Shared::Permits => Footprint::PERMITS,
            Shared::Task(name) => match self.lanes.borrow().first(LaneKind::Actor, name) {
                Some(lane) => Footprint::of_lane(lane),
                None => Footprint::NONE, // nothing of this name was ever spawned
            },
            Shared::Everything => Footprint::EVERYTHING,
        });
    }
}

/// What waiting for something touches.
fn footprint_of_wait(what: WaitsFor) -> Footprint {
    match what {
        WaitsFor::Permit => Footprint::PERMITS,
        WaitsFor::Bus => Footprint::RECEIVES,
        _ => Footprint::NONE,
    }
}

/// What comes of picking.
enum Pick {
    Slot(u32),
    /// The future that a tape names cannot run now.
    Vain,
    /// A search does not want to go on.
    GiveUp,
}
