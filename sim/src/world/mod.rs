//! The executor: local futures under a virtual clock, with every choice taken from one place.
//!
//! An [`Engine`] owns memory that many worlds use in turn; a [`World`] is one run in it and leaves nothing behind. An
//! engine belongs to one thread and shares no state with others.

mod ahead;
mod core;
mod lanes;
mod slots;
mod timers;
mod waker;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use simvisor::runtime::{Nanos, Rt, WaitsFor};

pub use lanes::LaneKind;
pub(crate) use slots::Owner;

use self::core::Core;
use crate::choice::{Drawn, Misfit, Site, Source, Tape};
use crate::schedule::Profile;

/// When a world is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Turns at one instant, plus 256 for each future that lives then, before a livelock is suspected; 16 times as many
    /// where only queues are emptied. Default 5,000.
    pub turns_per_instant_max: u64,
    /// Turns in all. Default 1,000,000.
    pub turns_max: u64,
    /// Virtual time, in nanoseconds. Default 10 years.
    pub time_ns_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turns_per_instant_max: 5_000,
            turns_max: 1_000_000,
            time_ns_max: 10 * 365 * 24 * 3_600 * 1_000_000_000,
        }
    }
}

/// A future that did not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// Its role.
    pub kind: LaneKind,
    /// Its name within the role.
    pub name: Arc<str>,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// When it was last polled, in nanoseconds.
    pub since_ns: u64,
}

/// What may happen to an event between its stamp and the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disorder {
    /// Nothing: stamp and delivery are one step.
    #[default]
    None,
    /// It may come late, after events of others.
    Late,
    /// It may come late, or twice.
    LateAndTwice,
}

/// How a world ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every future has ended.
    Done,
    /// Time cannot advance: these futures kept running at one instant.
    Livelock(Vec<Stuck>),
    /// Nothing can run and no timer is set; these futures are left.
    Deadlock(Vec<Stuck>),
    /// A limit was reached.
    Limit(String),
    /// Whoever runs the world has said that it is over.
    Stopped,
}

/// Memory for worlds, one after the other.
pub struct Engine {
    core: Rc<Core>,
    tape: Tape,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine that has run nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { core: Core::new(), tape: Tape::new() }
    }

    /// Memory for a tape, from an earlier world.
    pub fn recycle(&mut self, tape: Tape) {
        self.tape = tape;
    }

    /// The choices of a world that was cut off by a panic.
    pub fn take_tape(&mut self) -> Tape {
        std::mem::take(&mut self.tape)
    }

    /// Begins a world.
    pub fn world(&mut self, source: Source) -> World<'_> {
        self.core.begin(source, std::mem::take(&mut self.tape));
        World { engine: self }
    }
}

/// One run.
#[derive(Debug)]
pub struct World<'a> {
    engine: &'a mut Engine,
}

/// What a world leaves: nothing but what was chosen.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// Every choice that was made.
    pub tape: Tape,
    /// Where a strict replay left its tape.
    pub misfit: Option<Misfit>,
    /// A waker of this world was used on another thread, or where no replay could repeat it.
    pub stray_wake: bool,
    /// Turns of the executor.
    pub turns: u64,
    /// Virtual time at the end, in nanoseconds.
    pub time_ns: u64,
    /// The strategy that drew the choices, and its numbers.
    pub drawn: Option<Drawn>,
}

/// What drew the choices is no part of what came of them.
impl PartialEq for Finished {
    fn eq(&self, other: &Self) -> bool {
        let told = |finished: &Self| (finished.stray_wake, finished.turns, finished.time_ns);
        (&self.end, &self.tape, &self.misfit) == (&other.end, &other.tape, &other.misfit)
            && told(self) == told(other)
    }
}

impl Finished {
    /// What was counted, if anything was.
    #[must_use]
    pub fn profile(&self) -> Option<Arc<Profile>> {
        self.drawn.as_ref().and_then(|(strategy, _)| strategy.profile()).cloned()
    }
}

impl World<'_> {
    /// A handle for the futures of this world.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { core: Rc::clone(&self.engine.core) }
    }

    /// Runs until nothing can run any more, drops what is left and calls `last` just before.
    #[must_use]
    pub fn run(self, limits: &Limits, last: impl FnOnce(&End)) -> Finished {
        let core = &self.engine.core;
        let entered = waker::enter(core);
        waker::take_stray(core.engine);
        let end = core.run(limits);
        let stray_wake = waker::take_stray(core.engine);
        last(&end);
        let (turns, time_ns) = (core.turn(), core.now_ns());
        let (tape, misfit, drawn) = core.take_chooser().finish();
        core.clear();
        drop(entered);
        Finished { end, tape, misfit, stray_wake, turns, time_ns, drawn }
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.engine.tape = self.engine.core.take_chooser().finish().0;
            self.engine.core.forget();
        } else {
            let entered = waker::enter(&self.engine.core);
            self.engine.core.clear();
            drop(entered);
        }
    }
}

/// What the futures of a world may ask of it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    core: Rc<Core>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("now_ns", &self.now_ns()).finish_non_exhaustive()
    }
}

impl Handle {
    /// The seam, for the logic.
    #[must_use]
    pub fn rt(&self) -> Rt {
        Rt::new(Rc::clone(&self.core) as Rc<dyn simvisor::runtime::Runtime>)
    }

    /// Virtual time in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.core.now_ns()
    }

    /// Number of the current turn.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.core.turn()
    }

    /// Sets the wall clock forth or back.
    pub fn set_wall(&self, by_ns: i64) {
        self.core.set_wall(by_ns);
    }

    /// Plays late delivery of events, or late and double.
    pub fn set_disorder(&self, disorder: Disorder) {
        self.core.set_deliveries(match disorder {
            Disorder::None => 1,
            Disorder::Late => 2,
            Disorder::LateAndTwice => 3,
        });
    }

    /// From now on nothing is interrupted by chance.
    pub fn calm_down(&self) {
        self.core.calm_down();
    }

    /// The world ends before its next turn, with [`End::Stopped`]; what is left in it is dropped.
    pub fn stop(&self) {
        self.core.stop();
    }

    /// A choice of a program: a value below `arity`, which is at least 1. `name` tells the site apart from others of
    /// its kind; without one it is told by the future that runs.
    #[must_use]
    pub fn choose(&self, site: Site, name: Option<&str>, arity: u32) -> u32 {
        self.core.choose_at(site, name, arity)
    }

    /// Futures and timers of the run that are still there, the running future apart.
    #[must_use]
    pub fn leftovers(&self) -> (u64, u64) {
        self.core.leftovers()
    }

    /// Numbers a lane before anything is spawned on it.
    pub fn reserve_lane(&self, kind: LaneKind, name: &Arc<str>) {
        self.core.reserve_lane(kind, name);
    }

    /// Drives a future of the outside.
    pub fn spawn(&self, kind: LaneKind, name: &Arc<str>, future: impl Future<Output = ()> + 'static) {
        self.core.spawn_on(kind, name, Owner::Outside, Box::pin(future));
    }

    /// Drives the call to `run`, whose timers count as the run's.
    pub fn spawn_run(&self, future: impl Future<Output = ()> + 'static) {
        self.core.spawn_on(LaneKind::Run, self.core.nameless(), Owner::Run, Box::pin(future));
    }

    /// Ready `span_ns` from now.
    #[must_use]
    pub fn sleep_ns(&self, span_ns: u64) -> simvisor::runtime::Sleep {
        self.sleep_until_ns(self.now_ns().saturating_add(span_ns))
    }

    /// Ready at `instant_ns`.
    #[must_use]
    pub fn sleep_until_ns(&self, instant_ns: u64) -> simvisor::runtime::Sleep {
        self.rt().sleep_until(Nanos(instant_ns))
    }
}
