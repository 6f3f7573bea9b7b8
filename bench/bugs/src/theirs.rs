//! The programs on shuttle.

use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use shuttle::future::{block_on, spawn_local};
use shuttle::scheduler::{
    PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId, UrwRandomScheduler,
};
use shuttle::sync::atomic::AtomicBool as Point;
use shuttle::{Config, FailurePersistence, Runner};

use crate::host::{Host, Scene};
use crate::programs::Program;

/// The schedulers of shuttle that have a counterpart here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuttle {
    Random,
    Pct,
    Urw,
}

impl Shuttle {
    pub(crate) const ALL: [Self; 3] = [Self::Random, Self::Pct, Self::Urw];

    /// The depth of bugs that its PCT is asked for.
    pub(crate) const PCT_DEPTH: u32 = 3;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Pct => "pct",
            Self::Urw => "urw",
        }
    }
}

#[derive(Clone)]
struct Theirs {
    /// An access to it is a place to schedule at and nothing else.
    point: Arc<Point>,
    scene: Rc<Scene>,
}

impl Host for Theirs {
    fn start(&self, _: &str, task: impl Future<Output = ()> + 'static) {
        // A task that is let go runs on, and the first one waits for all by other means.
        drop(spawn_local(task));
    }

    fn shares(&self, _: &'static str) {}

    async fn step(&self, _: &'static str) {
        let _ = self.point.load(Ordering::SeqCst);
    }

    fn scene(&self) -> &Rc<Scene> {
        &self.scene
    }
}

/// Ends when the bug was found. Never dropped: a random scheduler prints its seed when it is.
struct Until<S> {
    scheduler: ManuallyDrop<S>,
    found: Arc<AtomicBool>,
}

impl<S: Scheduler> Scheduler for Until<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        match self.found.load(Ordering::Relaxed) {
            true => None,
            false => self.scheduler.new_execution(),
        }
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.scheduler.next_task(runnable, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.scheduler.next_u64()
    }
}

/// As [`crate::ours::trial`].
pub(crate) fn trial(program: Program, shuttle: Shuttle, trial: u64, runs_max: u32) -> Option<u32> {
    let runs = runs_max as usize;
    match shuttle {
        Shuttle::Random => run(program, RandomScheduler::new_from_seed(trial, runs)),
        Shuttle::Pct => run(program, PctScheduler::new_from_seed(trial, Shuttle::PCT_DEPTH as usize, runs)),
        Shuttle::Urw => run(program, UrwRandomScheduler::new_from_seed(trial, runs)),
    }
}

fn run<S: Scheduler + 'static>(program: Program, scheduler: S) -> Option<u32> {
    let (found, runs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let until = Until { scheduler: ManuallyDrop::new(scheduler), found: Arc::clone(&found) };
    let mut config = Config::new();
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let runner = Runner::new(until, config);
    let (told, counted) = (Arc::clone(&found), Arc::clone(&runs));
    runner.run(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let scene = Scene::new();
        let host = Theirs { point: Arc::new(Point::new(false)), scene: Rc::clone(&scene) };
        block_on(program.main(host));
        told.store(program.is_found(&scene), Ordering::Relaxed);
    });
    found.load(Ordering::Relaxed).then(|| runs.load(Ordering::Relaxed))
}
