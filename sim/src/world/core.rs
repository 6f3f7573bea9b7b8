//! The state of an engine, and the seam between the logic and it.

use std::cell::{Cell, RefCell, RefMut};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use futures::future::LocalBoxFuture;
use simvisor::runtime::{Delivery, JobKey, Nanos, PreemptPoint, Role, Runtime, Shared, TimerKey, WaitsFor};

use super::lanes::{LaneKind, Lanes};
use super::slots::{CLOCK, NONE, Owner, Slots};
use super::timers::{Due, Timers};
use super::waker::{self, WakeName};
use super::{End, Limits, Stuck};
use crate::choice::{CLOCK_LANE, Chooser, Named, Site, Source};
use crate::schedule::{Detail, Footprint};

/// Wall-clock time at the start of every world: 2000-01-01T00:00:00Z, in seconds since the Unix epoch.
const WALL_START_S: u64 = 946_684_800;

pub(crate) struct Core {
    pub(super) engine: u16,
    now: Cell<u64>,
    turn: Cell<u64>,
    running: Cell<u32>,
    waits_for: Cell<WaitsFor>,
    wall_offset_ns: Cell<i64>,
    /// The wall clock at an instant under an offset: many events share one.
    wall: Cell<(u64, i64, SystemTime)>,
    /// How many ways of delivery there are: 1 at once, 2 with late, 3 with twice.
    deliveries: Cell<u32>,
    /// Whoever runs the world has said that it is over.
    stopped: Cell<bool>,
    /// Somebody wants to know what steps touch.
    tracks: Cell<Option<Detail>>,
    nameless: Arc<str>,
    /// Never borrowed while foreign code runs: futures, their drops and their wakers come back here.
    state: RefCell<State>,
}

/// What a world has besides its clock.
struct State {
    slots: Slots,
    timers: Timers,
    /// Timers that are due and wait for the clock's turn, in order.
    held: Vec<Due>,
    /// Memory for those that wait again.
    held_again: Vec<Due>,
    lanes: Lanes,
    chooser: Chooser,
    tracks: Option<Detail>,
    /// Somebody wants to know what becomes ready.
    is_watched: bool,
    /// Memory for the lanes that a search picks from.
    by_age: Vec<u32>,
}

/// So many ready futures do not fit into a cache.
const CROWD: u32 = 4_096;

fn no_choices() -> Chooser {
    Chooser::new(Source::Replayed(Vec::new(), crate::choice::Fit::Lenient), Vec::new())
}

impl State {
    /// Makes a future ready, and says so.
    #[inline]
    fn make_ready(&mut self, slot: u32) {
        match self.is_watched {
            true => self.make_ready_watched(slot),
            false => _ = self.slots.make_ready(slot),
        }
    }

    #[cold]
    fn make_ready_watched(&mut self, slot: u32) {
        let lane = self.slots.get(slot).lane;
        if self.slots.make_ready(slot) {
            self.chooser.readied(lane);
        }
        if self.tracks.is_some() {
            self.chooser.touches(Footprint::wakes(self.lanes.get(lane).first));
            self.chooser.woken(lane);
        }
    }

    /// Takes a future off the ready ones, and says so.
    #[inline]
    fn unready(&mut self, slot: u32) {
        if self.slots.unready(slot) {
            self.chooser.rested(self.slots.get(slot).lane);
        }
    }

    #[inline(always)]
    fn wake(&mut self, slot: u32, generation: u32) {
        match self.is_watched {
            true if self.slots.is_live(slot, generation) => self.make_ready_watched(slot),
            true => {}
            false => self.slots.wake(slot, generation),
        }
    }

    /// What every step of a future touches: what it is by its role.
    fn footprint_of(&self, slot: u32, detail: Detail) -> Footprint {
        let slot = self.slots.get(slot);
        let lane = self.lanes.get(slot.lane);
        let mut footprint = Footprint::of_lane(lane.first);
        footprint.add(Footprint::of_kind(lane.kind, detail));
        footprint.add(Footprint::of_wait(slot.waits_for, detail));
        footprint
    }

    fn spawn(
        &mut self,
        kind: LaneKind,
        name: &Arc<str>,
        owner: Owner,
        future: LocalBoxFuture<'static, ()>,
    ) -> JobKey {
        let lane = self.lanes.find(kind, name);
        let slot = self.slots.insert(owner, lane);
        self.lanes.occupy(lane, slot);
        self.slots.get_mut(slot).future = Some(future);
        self.chooser.spawned(lane);
        if self.chooser.is_guided() {
            self.chooser.named(lane, kind, name, self.lanes.twin_number(lane));
        }
        self.make_ready(slot);
        JobKey(u64::from(self.slots.get(slot).generation) << 32 | u64::from(slot))
    }

    /// Frees the slot; gives its future, whose drop may wake, spawn or abort others.
    #[must_use]
    fn end(&mut self, slot: u32) -> Option<LocalBoxFuture<'static, ()>> {
        self.unready(slot);
        self.lanes.vacate(self.slots.get(slot).lane);
        self.slots.remove(slot);
        self.slots.get_mut(slot).future.take()
    }

    /// The turn of a ready future begins.
    #[inline]
    fn begin_turn(&mut self, slot: u32) {
        self.slots.begin_turn(slot);
        if self.slots.ready_count() >= CROWD {
            self.fetch_next();
        }
        if self.is_watched {
            self.tell_turn(slot);
        }
    }

    /// Says that a turn begins.
    #[cold]
    fn tell_turn(&mut self, slot: u32) {
        let lane = self.slots.get(slot).lane;
        self.chooser.rested(lane);
        let footprint = match self.tracks {
            Some(detail) => self.footprint_of(slot, detail),
            None => Footprint::NONE,
        };
        self.chooser.begins(lane, footprint);
    }

    /// Fetches those who run after this turn, as far as they are known: each in three steps, of which every one needs
    /// what the one before has fetched.
    fn fetch_next(&self) {
        let soon = |later| self.chooser.schedules_soon(later, self.slots.ready_count());
        if let (Some(next), Some(second), Some(third)) = (soon(0), soon(1), soon(2)) {
            self.slots.fetch_ahead(next, second, third);
        }
    }

    #[inline]
    fn pick(&mut self) -> Pick {
        let ready = self.slots.ready_count();
        let oldest = self.slots.oldest();
        let slot = match self.chooser.walks(ready) {
            Some(_) if ready == 1 => return Pick::Slot(oldest),
            Some(place) => self.slots.at_place(place),
            None => return self.pick_otherwise(),
        };
        self.picked(slot, oldest);
        Pick::Slot(slot)
    }

    fn picked(&mut self, slot: u32, oldest: u32) {
        let lane = if slot == oldest { 0 } else { self.slots.get(slot).lane };
        self.chooser.scheduled(lane, self.lanes.count());
    }

    /// As [`State::pick`], for all but the random walk.
    #[inline(never)]
    fn pick_otherwise(&mut self) -> Pick {
        let ready = self.slots.ready_count();
        let oldest = self.slots.oldest();
        if self.chooser.is_guided() {
            return self.guided();
        }
        if ready == 1 {
            return Pick::Slot(oldest);
        }
        let lanes = self.lanes.count();
        let slot = match self.chooser.schedule(ready, lanes) {
            Named::Oldest => oldest,
            Named::Place(place) => self.slots.at_place(place),
            Named::Lane(lane) => match self.lanes.slot(lane).filter(|&slot| self.slots.is_ready(slot)) {
                Some(slot) => slot,
                None => {
                    self.chooser.named_in_vain(lanes);
                    return Pick::Vain;
                }
            },
        };
        self.picked(slot, oldest);
        Pick::Slot(slot)
    }

    /// Which future a search wants to run.
    fn guided(&mut self) -> Pick {
        let Self { slots, lanes, chooser, by_age, .. } = self;
        by_age.clear();
        by_age.extend(slots.by_age().map(|slot| slots.get(slot).lane));
        let Some(lane) = chooser.guided(by_age) else { return Pick::GiveUp };
        let slot =
            lanes.slot(lane).filter(|&slot| slots.is_ready(slot)).expect("a search picks what is ready");
        if by_age.len() > 1 {
            chooser.scheduled(if slot == slots.oldest() { 0 } else { lane }, lanes.count());
        }
        Pick::Slot(slot)
    }

    #[inline]
    fn is_interrupted(&mut self, point: PreemptPoint) -> bool {
        self.chooser.gives_way(point.into(), self.slots.ready_count())
    }

    fn choose(&mut self, site: Site, arity: u32) -> u32 {
        self.choose_at(site, None, arity)
    }

    fn choose_at(&mut self, site: Site, name: Option<&str>, arity: u32) -> u32 {
        self.chooser.choose(site, name, arity, self.slots.ready_count())
    }

    /// Says that a timer is due.
    #[cold]
    fn tell_due(&mut self, due: Due) {
        if !self.chooser.is_guided() {
            return; // nobody else asks whose it is
        }
        let name = self.timers.waiter(due).and_then(WakeName::of);
        let lane = name.filter(|name| self.slots.is_live(name.slot, name.generation));
        self.chooser.due(lane.map_or(0, |name| self.slots.get(name.slot).lane));
    }

    /// Fires the timers due now. The first fires; each further one may be held back for a turn of its own. A waker that is
    /// not of this engine is given back, for the caller to use before it goes on.
    #[inline(never)]
    fn fire_due(&mut self, engine: u16, mut is_first: bool) -> Option<Waker> {
        while let Some(due) = self.timers.pop_due() {
            if let Some(name) = self.timers.soon().and_then(WakeName::of) {
                self.slots.fetch(name.slot);
            }
            let foreign = self.fire(due, engine, is_first);
            if foreign.is_some() {
                return foreign;
            }
            is_first = false;
        }
        self.hold_clock();
        None
    }

    /// Fires a timer that is due, the first of its instant or a further one, or holds it back. A waker that is not of this
    /// engine is given back, for the caller to use.
    #[inline(always)]
    fn fire(&mut self, due: Due, engine: u16, is_first: bool) -> Option<Waker> {
        if self.is_watched {
            self.tell_due(due);
        }
        if !is_first && self.chooser.holds_back(self.slots.ready_count()) {
            self.held.push(due);
            return None;
        }
        let waker = self.timers.fire(due)?;
        match WakeName::of(&waker) {
            Some(name) if name.engine == engine => {
                std::mem::forget(waker); // there is nothing to drop
                self.wake(name.slot, name.generation);
                None
            }
            _ => Some(waker),
        }
    }

    /// While timers are held back the clock is one of those that can run.
    fn hold_clock(&mut self) {
        if !self.held.is_empty() {
            self.make_ready(CLOCK);
        }
    }

    /// What it means that nothing can run, with timers left or without.
    #[cold]
    fn end_of_time(&self, has_timers: bool, limits: &Limits) -> End {
        if has_timers {
            End::Limit(format!("virtual time beyond {} ns", limits.time_ns_max))
        } else if self.slots.live_count() == 0 {
            End::Done
        } else {
            End::Deadlock(self.stuck(|_| true))
        }
    }

    /// Who did not end, by lane.
    fn stuck(&self, named: impl Fn(u32) -> bool) -> Vec<Stuck> {
        let mut stuck: Vec<_> = self
            .slots
            .live()
            .filter(|(_, slot)| named(slot.turns))
            .map(|(_, slot)| {
                let lane = self.lanes.get(slot.lane);
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

/// What happened at the instant that it is, for the search for a livelock.
struct Instant {
    /// The turn at which it began.
    began: u64,
    /// There is nothing to find before this turn.
    looks_at: u64,
    /// The most futures that lived at once.
    live: u32,
    /// Nobody but those who carry and handle events kept running when that was looked at.
    drains: bool,
}

impl Instant {
    fn begin(turn: u64, limits: &Limits) -> Self {
        let looks_at = turn.saturating_add(limits.turns_per_instant_max).min(limits.turns_max);
        Self { began: turn, looks_at, live: 0, drains: false }
    }

    /// Who keeps time from advancing, as far as can be told: more turns than there may be a reason for, and after that a
    /// census of who still runs. Every future may have a good reason to run at one instant, many times over: a task that
    /// ends publishes some events, and each moves the listener and every worker, or overflows a queue, which is an event
    /// again. So queues that nobody fills any more may take longer.
    #[cold]
    fn livelock(&mut self, turn: u64, limits: &Limits, state: &mut State) -> Option<Vec<Stuck>> {
        let (turns, live) = (turn - self.began, u64::from(self.live));
        let patience = limits.turns_per_instant_max.saturating_add(TURNS_FOR_EACH * live);
        let patience = if self.drains { patience.saturating_mul(DRAIN_TIMES) } else { patience };
        if turns < patience {
            self.looks_at = self.began.saturating_add(patience).min(limits.turns_max);
            return None;
        }
        if turns == patience {
            state.slots.start_census();
        }
        if turns < patience + 1_000 + 4 * live {
            return None;
        }
        let keep_running = state.stuck(|turns| turns > 1);
        let was_draining = std::mem::replace(&mut self.drains, true);
        (was_draining || !keep_running.iter().all(drains)).then_some(keep_running)
    }
}

/// Whether a future only carries or handles events, or waits for that.
fn drains(stuck: &Stuck) -> bool {
    use LaneKind::{Courier, Listener, Receiver, Worker};
    matches!(stuck.kind, Listener | Worker | Receiver | Courier) || stuck.waits_for == WaitsFor::Drain
}

/// Turns for which a future may have a good reason at one instant.
const TURNS_FOR_EACH: u64 = 256;

/// So many times as many turns where only queues are emptied.
const DRAIN_TIMES: u64 = 16;

impl Core {
    pub(super) fn new() -> Rc<Self> {
        let state = State {
            slots: Slots::new(),
            timers: Timers::default(),
            held: Vec::new(),
            held_again: Vec::new(),
            lanes: Lanes::default(),
            chooser: no_choices(),
            tracks: None,
            is_watched: false,
            by_age: Vec::new(),
        };
        Rc::new(Self {
            engine: waker::engine_number(),
            now: Cell::new(0),
            turn: Cell::new(0),
            running: Cell::new(NONE),
            waits_for: Cell::new(WaitsFor::Unknown),
            wall_offset_ns: Cell::new(0),
            wall: Cell::new((0, 0, wall_at(0, 0))),
            deliveries: Cell::new(1),
            stopped: Cell::new(false),
            tracks: Cell::new(None),
            nameless: Arc::from(""),
            state: RefCell::new(state),
        })
    }

    /// Makes the engine ready for a world.
    pub(super) fn begin(&self, source: Source, tape: crate::choice::Tape) {
        let state = &mut *self.state.borrow_mut();
        state.chooser = Chooser::new(source, tape);
        state.chooser.instant(0);
        state.tracks = state.chooser.detail();
        state.is_watched = state.chooser.heeds() || state.tracks.is_some();
        self.tracks.set(state.tracks);
        let clock = state.lanes.find(LaneKind::Clock, &self.nameless);
        assert_eq!(clock, CLOCK_LANE, "the clock's lane is the first of every world");
        state.lanes.occupy(clock, CLOCK);
        state.slots.get_mut(CLOCK).lane = clock;
    }

    pub(super) fn take_chooser(&self) -> Chooser {
        let state = &mut *self.state.borrow_mut();
        self.tracks.set(None);
        state.tracks = None;
        state.is_watched = false;
        std::mem::replace(&mut state.chooser, no_choices())
    }

    /// Drops every future and timer. What a dropped future does to others is undone as well.
    pub(super) fn clear(&self) {
        loop {
            let mut state = self.state.borrow_mut();
            let Some(slot) = state.slots.first_live() else { break };
            let future = state.end(slot);
            drop(state);
            drop(future);
        }
        let state = &mut *self.state.borrow_mut();
        state.slots.reset();
        state.timers.reset();
        state.held.clear();
        state.lanes.reset();
        self.now.set(0);
        self.turn.set(0);
        self.running.set(NONE);
        self.wall_offset_ns.set(0);
        self.deliveries.set(1);
        self.stopped.set(false);
    }

    /// Forgets the futures without dropping them: for a thread that is panicking already.
    pub(super) fn forget(&self) {
        std::mem::forget(std::mem::replace(&mut self.state.borrow_mut().slots, Slots::new()));
    }

    pub(super) fn wake(&self, slot: u32, generation: u32) {
        self.state.borrow_mut().wake(slot, generation);
    }

    /// The running future touches this.
    fn note(&self, footprint: Footprint) {
        self.state.borrow_mut().chooser.touches(footprint);
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.now.get()
    }

    pub(crate) fn turn(&self) -> u64 {
        self.turn.get()
    }

    pub(crate) fn nameless(&self) -> &Arc<str> {
        &self.nameless
    }

    pub(crate) fn calm_down(&self) {
        self.state.borrow_mut().chooser.calm_down();
    }

    pub(crate) fn set_deliveries(&self, ways: u32) {
        self.deliveries.set(ways);
    }

    pub(crate) fn set_wall(&self, by_ns: i64) {
        self.wall_offset_ns.set(self.wall_offset_ns.get().saturating_add(by_ns));
    }

    /// A value below `arity`, at a site that is told apart by `name` where one is given.
    pub(crate) fn choose_at(&self, site: Site, name: Option<&str>, arity: u32) -> u32 {
        self.state.borrow_mut().choose_at(site, name, arity)
    }

    /// The world ends before its next turn.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
    }

    /// Futures and timers of the run that are still there, the running future apart.
    pub(crate) fn leftovers(&self) -> (u64, u64) {
        let state = self.state.borrow();
        let running = self.running.get();
        let own = u32::from(running != NONE && state.slots.get(running).owner == Owner::Run);
        (u64::from(state.slots.live_of_run() - own), u64::from(state.timers.set_of_run()))
    }

    /// Names a lane in advance, so that lanes are numbered as the scenario lists them.
    pub(crate) fn reserve_lane(&self, kind: LaneKind, name: &Arc<str>) {
        self.state.borrow_mut().lanes.find(kind, name);
    }

    pub(crate) fn spawn_on(
        &self,
        kind: LaneKind,
        name: &Arc<str>,
        owner: Owner,
        future: LocalBoxFuture<'static, ()>,
    ) -> JobKey {
        self.state.borrow_mut().spawn(kind, name, owner, future)
    }

    /// Runs until nothing can run any more.
    pub(super) fn run(&self, limits: &Limits) -> End {
        let mut instant = Instant::begin(self.turn.get(), limits);
        let mut state = self.state.borrow_mut();
        loop {
            if self.stopped.get() {
                return End::Stopped;
            }
            if state.slots.ready_count() == 0 {
                match state.timers.advance() {
                    Some(deadline) if deadline <= limits.time_ns_max && deadline != u64::MAX => {
                        self.now.set(deadline);
                        state.chooser.instant(deadline);
                    }
                    next => return state.end_of_time(next.is_some(), limits),
                }
                instant = Instant::begin(self.turn.get(), limits);
                state = self.fire_due(state);
                continue;
            }
            let turn = self.turn.get();
            instant.live = instant.live.max(state.slots.live_count());
            if turn >= instant.looks_at {
                if turn >= limits.turns_max {
                    return End::Limit(format!("{} turns", limits.turns_max));
                }
                if let Some(keep_running) = instant.livelock(turn, limits, &mut state) {
                    return End::Livelock(keep_running);
                }
            }
            match state.pick() {
                Pick::Slot(slot) => {
                    self.turn.set(turn + 1);
                    state.begin_turn(slot);
                    state = match slot {
                        CLOCK => self.clock_turn(state),
                        _ => self.poll(state, slot),
                    };
                }
                // A step without effect is no turn: a run on the tape that is recorded, which has none, counts the same.
                Pick::Vain => {}
                Pick::GiveUp => {
                    self.turn.set(turn + 1);
                    return End::Limit("the search gave the run up".to_owned());
                }
            }
        }
    }

    #[inline]
    fn poll<'a>(&'a self, mut state: RefMut<'a, State>, slot: u32) -> RefMut<'a, State> {
        let entry = state.slots.get_mut(slot);
        let mut future = entry.future.take().expect("who is ready and not the clock has a future");
        let name = WakeName { engine: self.engine, generation: entry.generation, slot };
        self.waits_for.set(entry.waits_for);
        self.running.set(slot);
        drop(state);
        let waker = ManuallyDrop::new(name.waker()); // there is nothing to drop
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.running.set(NONE);
        let mut state = self.state.borrow_mut();
        if polled.is_ready() {
            let none = state.end(slot);
            debug_assert!(none.is_none(), "it is in hand");
            drop(state);
            drop(future);
            state = self.state.borrow_mut();
        } else {
            let entry = state.slots.get_mut(slot);
            entry.future = Some(future);
            entry.waits_for = self.waits_for.get();
            entry.since = self.now.get();
        }
        state.chooser.ended();
        state
    }

    /// Fires the timers due now, as far as they are not held back.
    #[inline]
    fn fire_due<'a>(&'a self, mut state: RefMut<'a, State>) -> RefMut<'a, State> {
        let mut foreign = state.fire_due(self.engine, true);
        while let Some(waker) = foreign {
            drop(state);
            waker.wake(); // may come back here
            state = self.state.borrow_mut();
            foreign = state.fire_due(self.engine, false);
        }
        state
    }

    #[cold]
    fn clock_turn<'a>(&'a self, mut state: RefMut<'a, State>) -> RefMut<'a, State> {
        let again = std::mem::take(&mut state.held_again);
        let mut held = std::mem::replace(&mut state.held, again);
        let mut first = true;
        for due in held.drain(..) {
            if !state.timers.is_due(due) {
                continue; // dropped meanwhile
            }
            if let Some(foreign) = state.fire(due, self.engine, first) {
                drop(state);
                foreign.wake(); // may come back here
                state = self.state.borrow_mut();
            }
            first = false;
        }
        state.held_again = held;
        state.hold_clock();
        state.chooser.ended();
        state
    }
}

impl Runtime for Core {
    fn now(&self) -> Nanos {
        Nanos(self.now.get())
    }

    fn wall(&self) -> SystemTime {
        let (now_ns, offset_ns) = (self.now.get(), self.wall_offset_ns.get());
        let (known_ns, known_offset_ns, wall) = self.wall.get();
        if (known_ns, known_offset_ns) == (now_ns, offset_ns) {
            return wall;
        }
        let wall = wall_at(now_ns, offset_ns);
        self.wall.set((now_ns, offset_ns, wall));
        wall
    }

    fn set_timer(&self, deadline: Nanos, cx: &mut Context<'_>) -> Option<TimerKey> {
        if self.now.get() >= deadline.0 {
            return None;
        }
        let state = &mut *self.state.borrow_mut();
        let owner = match self.running.get() {
            NONE => Owner::Outside,
            slot => state.slots.get(slot).owner,
        };
        if let Some(detail) = state.tracks {
            state.chooser.touches(Footprint::sets_timer(deadline.0, detail));
        }
        Some(state.timers.insert(deadline.0, owner, waker::clone(cx.waker())))
    }

    fn poll_timer(&self, timer: TimerKey, cx: &mut Context<'_>) -> Poll<()> {
        match self.state.borrow_mut().timers.poll(timer, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    fn drop_timer(&self, timer: TimerKey) {
        let waker = self.state.borrow_mut().timers.remove(timer);
        drop(waker); // outside the borrow: a foreign one may do anything
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
        let mut state = self.state.borrow_mut();
        if state.slots.is_live(slot, generation) {
            assert_ne!(self.running.get(), slot, "a future cannot abort itself");
            if state.tracks.is_some() {
                let first = state.lanes.get(state.slots.get(slot).lane).first;
                state.chooser.touches(Footprint::of_lane(first));
            }
            let future = state.end(slot);
            drop(state);
            drop(future);
        }
    }

    fn draw(&self, high: u64) -> u64 {
        match u32::try_from(high) {
            Ok(high) if high < u32::MAX => u64::from(self.state.borrow_mut().choose(Site::Jitter, high + 1)),
            // Wider ranges are drawn in 2^32 - 1 equal steps that include both ends.
            _ => {
                let step = self.state.borrow_mut().choose(Site::Jitter, u32::MAX);
                let scaled = u128::from(high) * u128::from(step) / u128::from(u32::MAX - 1);
                u64::try_from(scaled).expect("a fraction of a u64")
            }
        }
    }

    fn preempt(&self, point: PreemptPoint) -> bool {
        self.state.borrow_mut().is_interrupted(point)
    }

    fn gives_way(&self, point: PreemptPoint, cx: &mut Context<'_>) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.is_interrupted(point) {
            return false;
        }
        match WakeName::of(cx.waker()) {
            Some(name) if name.engine == self.engine => state.wake(name.slot, name.generation),
            _ => {
                drop(state);
                cx.waker().wake_by_ref(); // may come back here
            }
        }
        true
    }

    fn delivery(&self) -> Delivery {
        let ways = self.deliveries.get();
        if ways == 1 {
            return Delivery::AtOnce; // the usual case, in which nothing is chosen
        }
        match self.state.borrow_mut().choose(Site::Delivery, ways) {
            0 => Delivery::AtOnce,
            1 => Delivery::Late,
            _ => Delivery::Twice,
        }
    }

    fn publisher(&self) -> u64 {
        match self.running.get() {
            NONE => 0,
            slot => u64::from(self.state.borrow().slots.get(slot).lane),
        }
    }

    fn waits_for(&self, what: WaitsFor) {
        self.waits_for.set(what);
        if let Some(detail) = self.tracks.get() {
            self.note(Footprint::of_wait(what, detail));
        }
    }

    fn heeds_touches(&self) -> bool {
        self.tracks.get().is_some()
    }

    fn touches(&self, what: Shared<'_>) {
        let Some(detail) = self.tracks.get() else { return };
        let actor = |name: &str| self.state.borrow().lanes.first(LaneKind::Actor, name);
        self.note(Footprint::of_shared(what, detail, actor));
    }
}

fn wall_at(now_ns: u64, offset_ns: i64) -> SystemTime {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(WALL_START_S) + Duration::from_nanos(now_ns);
    let offset = Duration::from_nanos(offset_ns.unsigned_abs());
    if offset_ns < 0 { time - offset } else { time + offset }
}

/// What comes of picking.
enum Pick {
    Slot(u32),
    /// The future that a tape names cannot run now.
    Vain,
    /// A search does not want to go on.
    GiveUp,
}
