//! What the driver asks of whoever runs it: the simulator's world, or a real runtime.

use std::sync::Arc;

use futures::future::LocalBoxFuture;
use simvisor::runtime::{Nanos, Rt, Sleep};

use crate::world::{Disorder, Handle, LaneKind};

/// Runs the futures of a scenario. The simulator's world is one; a test can bring another, to hold the same scenario
/// against a real clock.
pub trait Host {
    /// The seam, for the logic.
    fn rt(&self) -> Rt;

    /// Number of the executor's turn, if there are such.
    fn turn(&self) -> Option<u64>;

    /// Numbers a lane before anything is spawned on it.
    fn reserve_lane(&self, kind: LaneKind, name: &Arc<str>);

    /// Drives a future of the outside.
    fn spawn(&self, kind: LaneKind, name: &Arc<str>, future: LocalBoxFuture<'static, ()>);

    /// Drives the call to `run`.
    fn spawn_run(&self, future: LocalBoxFuture<'static, ()>);

    /// From now on nothing is interrupted by chance.
    fn calm_down(&self);

    /// Futures and timers of the run that are still there, the running future apart.
    fn leftovers(&self) -> (u64, u64);

    /// Sets the wall clock forth or back, in nanoseconds.
    fn set_wall(&self, by_ns: i64);

    /// Plays late or double delivery of events.
    fn set_disorder(&self, disorder: Disorder);

    /// The instant now, in nanoseconds since the start.
    fn now_ns(&self) -> u64 {
        self.rt().now().0
    }

    /// Both at once: [`Host::now_ns`] and [`Host::turn`].
    fn moment(&self) -> (u64, Option<u64>) {
        (self.now_ns(), self.turn())
    }

    /// Ready `span_ns` from now.
    fn sleep_ns(&self, span_ns: u64) -> Sleep {
        self.sleep_until_ns(self.now_ns().saturating_add(span_ns))
    }

    /// Ready at `instant_ns`.
    fn sleep_until_ns(&self, instant_ns: u64) -> Sleep {
        self.rt().sleep_until(Nanos(instant_ns))
    }
}

impl Host for Handle {
    fn rt(&self) -> Rt {
        self.rt()
    }

    fn turn(&self) -> Option<u64> {
        Some(self.turn())
    }

    fn reserve_lane(&self, kind: LaneKind, name: &Arc<str>) {
        self.reserve_lane(kind, name);
    }

    fn spawn(&self, kind: LaneKind, name: &Arc<str>, future: LocalBoxFuture<'static, ()>) {
        self.spawn(kind, name, future);
    }

    fn spawn_run(&self, future: LocalBoxFuture<'static, ()>) {
        self.spawn_run(future);
    }

    fn calm_down(&self) {
        self.calm_down();
    }

    fn leftovers(&self) -> (u64, u64) {
        self.leftovers()
    }

    fn set_wall(&self, by_ns: i64) {
        self.set_wall(by_ns);
    }

    fn set_disorder(&self, disorder: Disorder) {
        self.set_disorder(disorder);
    }

    fn now_ns(&self) -> u64 {
        self.now_ns()
    }

    fn moment(&self) -> (u64, Option<u64>) {
        (self.now_ns(), Some(self.turn()))
    }
}
