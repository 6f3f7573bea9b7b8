//! The workloads: what is run, on which systems, and what is to be reached.

use crate::load::{Load, Step};
use crate::supervised;
use crate::{barest, ours, peers};

/// Who runs a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// This project.
    Simvisor,
    /// The barest executor of boxed futures.
    Limit,
    /// The timer heap alone.
    Heap,
    /// This project with everything but judges and hash.
    Unjudged,
    Tokio,
    Madsim,
    Turmoil,
    Bach,
    Shuttle,
    Taskvisor01,
    Taskvisor09,
}

use System::{
    Bach, Heap, Limit, Madsim, Shuttle, Simvisor, Taskvisor01, Taskvisor09, Tokio, Turmoil, Unjudged,
};

impl System {
    pub(crate) const ALL: [Self; 11] =
        [Simvisor, Limit, Heap, Unjudged, Tokio, Madsim, Turmoil, Bach, Shuttle, Taskvisor01, Taskvisor09];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Simvisor => "simvisor",
            Limit => "limit",
            Heap => "heap",
            Unjudged => "unjudged",
            Tokio => "tokio",
            Madsim => "madsim",
            Turmoil => "turmoil",
            Bach => "bach",
            Shuttle => "shuttle",
            Taskvisor01 => "taskvisor-0.1",
            Taskvisor09 => "taskvisor-0.9",
        }
    }

    /// Whether it is another project.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Simvisor | Limit | Heap | Unjudged)
    }
}

/// What one process does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Tasks that sleep or yield.
    Tasks(Load),
    /// Supervised tasks that fail: worlds, tasks, failures of each.
    Failing(u64, u64, u64),
    /// The same as scenarios, judged.
    Judged(u64, u64, u64),
    /// Seeds of the default sweep.
    Sweep(u64),
    /// Supervised tasks that wait to be cancelled: worlds, tasks.
    Idle(u64, u64),
}

impl Work {
    /// Units of which the cost is told.
    pub(crate) fn units(self, per_world: bool) -> u64 {
        match self {
            Self::Tasks(Load { worlds, .. }) | Self::Failing(worlds, ..) | Self::Judged(worlds, ..)
                if per_world =>
            {
                worlds
            }
            Self::Tasks(Load { worlds, tasks, steps, .. }) => worlds * tasks * steps,
            // TaskStarting, TaskFailed, BackoffScheduled.
            Self::Failing(worlds, tasks, failures) | Self::Judged(worlds, tasks, failures) => {
                worlds * tasks * failures * 3
            }
            Self::Sweep(seeds) => seeds,
            Self::Idle(worlds, tasks) => worlds * tasks,
        }
    }

    /// The same in little time.
    pub(crate) fn quick(self, by: u64) -> Self {
        let fewer = |number: u64| (number / by).max(1);
        match self {
            Self::Tasks(load) if load.worlds > 1 => Self::Tasks(Load { worlds: fewer(load.worlds), ..load }),
            Self::Tasks(load) => Self::Tasks(Load { steps: fewer(load.steps), ..load }),
            Self::Failing(1, tasks, failures) => Self::Failing(1, tasks, fewer(failures)),
            Self::Failing(worlds, tasks, failures) => Self::Failing(fewer(worlds), tasks, failures),
            Self::Judged(worlds, tasks, failures) => Self::Judged(fewer(worlds), tasks, failures),
            Self::Sweep(seeds) => Self::Sweep(fewer(seeds)),
            Self::Idle(worlds, tasks) => Self::Idle(fewer(worlds), tasks),
        }
    }

    /// Does it on a system of this process.
    pub(crate) fn run(self, system: System) {
        match (self, system) {
            (Self::Tasks(load), Simvisor) => ours::run(load),
            (Self::Tasks(load), Limit) => barest::run(load),
            (Self::Tasks(load), Heap) => barest::heap(load),
            (Self::Tasks(load), Tokio) => peers::tokio(load),
            (Self::Tasks(load), Turmoil) => peers::turmoil(load),
            (Self::Tasks(load), Bach) => peers::bach(load),
            (Self::Tasks(load), Shuttle) => peers::shuttle(load),
            (Self::Failing(worlds, tasks, failures), Simvisor) => supervised::ours(worlds, tasks, failures),
            (Self::Judged(worlds, tasks, failures), Simvisor) => ours::judged_worlds(worlds, tasks, failures),
            (Self::Failing(worlds, tasks, failures) | Self::Judged(worlds, tasks, failures), Taskvisor01) => {
                supervised::taskvisor_0_1(worlds, tasks, failures);
            }
            (Self::Failing(worlds, tasks, failures) | Self::Judged(worlds, tasks, failures), Taskvisor09) => {
                supervised::taskvisor_0_9(worlds, tasks, failures);
            }
            (Self::Sweep(seeds), Simvisor) => ours::sweep(seeds),
            (Self::Sweep(seeds), Unjudged) => ours::unjudged_sweep(seeds),
            (Self::Idle(worlds, tasks), Simvisor) => {
                let idle = supervised::idle(worlds, tasks);
                eprintln!("bytes_per_task {}", idle.bytes_per_task);
            }
            (work, system) => unreachable!("{system:?} does not run {work:?}"),
        }
    }
}

/// A limit that is to be reached: our cost is at most this many times that of a system, or this many nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    Times(f64, System),
    /// Times the cost of the cheapest peer.
    TimesBestPeer(f64),
    Ns(f64),
    /// Times the cost of another workload's unit.
    TimesOf(f64, &'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// What the cost is told for.
    pub(crate) unit: &'static str,
    per_world: bool,
    pub(crate) work: Work,
    /// By how much the quick round is smaller, and by how much what a slow peer does.
    quick_by: u64,
    slow: &'static [(System, u64)],
    pub(crate) systems: &'static [System],
    pub(crate) goals: &'static [Goal],
}

const fn tasks(worlds: u64, tasks: u64, steps: u64, step: Step) -> Work {
    Work::Tasks(Load { worlds, tasks, steps, step })
}

const SECOND: Step = Step::Sleep(1_000);
const SHORT: Step = Step::Sleep(50);

/// Every row.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "timers-1000",
        unit: "sleep",
        per_world: false,
        work: tasks(1, 1_000, 1_000, SECOND),
        quick_by: 2,
        slow: &[],
        systems: &[Simvisor, Limit, Heap, Tokio, Madsim, Bach, Turmoil],
        goals: &[Goal::Times(1.3, Limit), Goal::TimesBestPeer(0.4)],
    },
    Workload {
        name: "timers-100000",
        unit: "sleep",
        per_world: false,
        work: tasks(1, 100_000, 20, SECOND),
        quick_by: 4,
        slow: &[],
        systems: &[Simvisor, Limit, Heap, Tokio, Madsim, Bach],
        goals: &[Goal::Times(0.6, Tokio)],
    },
    Workload {
        name: "timers-1000000",
        unit: "sleep",
        per_world: false,
        work: tasks(1, 1_000_000, 4, SECOND),
        quick_by: 2,
        slow: &[],
        systems: &[Simvisor, Limit, Tokio],
        goals: &[Goal::Times(0.5, Tokio)],
    },
    Workload {
        name: "yields-1000",
        unit: "step",
        per_world: false,
        work: tasks(1, 1_000, 1_000, Step::Yield),
        quick_by: 2,
        slow: &[],
        systems: &[Simvisor, Limit, Shuttle, Tokio],
        goals: &[Goal::Times(0.3, Shuttle)],
    },
    Workload {
        name: "few-8",
        unit: "sleep",
        per_world: false,
        work: tasks(2_000, 8, 100, SHORT),
        quick_by: 2,
        slow: &[],
        systems: &[Simvisor, Limit, Tokio],
        goals: &[Goal::Times(0.08, Tokio)],
    },
    Workload {
        name: "few-64",
        unit: "sleep",
        per_world: false,
        work: tasks(250, 64, 100, SHORT),
        quick_by: 2,
        slow: &[],
        systems: &[Simvisor, Limit, Tokio],
        goals: &[Goal::Times(0.14, Tokio)],
    },
    Workload {
        name: "tiny-worlds",
        unit: "world",
        per_world: true,
        work: tasks(100_000, 4, 8, SHORT),
        quick_by: 4,
        slow: &[(Tokio, 10), (Bach, 10), (Madsim, 10), (Turmoil, 500), (Shuttle, 5)],
        systems: &[Simvisor, Limit, Shuttle, Madsim, Tokio, Bach, Turmoil],
        goals: &[Goal::Times(0.25, Shuttle)],
    },
    Workload {
        name: "restarts-1000",
        unit: "event",
        per_world: false,
        work: Work::Failing(5, 1_000, 20),
        quick_by: 5,
        slow: &[],
        systems: &[Simvisor, Taskvisor09, Taskvisor01],
        goals: &[Goal::Times(0.1, Taskvisor09)],
    },
    Workload {
        name: "supervised-tiny-worlds",
        unit: "world",
        per_world: true,
        work: Work::Judged(20_000, 3, 8),
        quick_by: 4,
        slow: &[(Taskvisor09, 50), (Taskvisor01, 50)],
        systems: &[Simvisor, Taskvisor09, Taskvisor01],
        goals: &[Goal::Times(0.02, Taskvisor09)],
    },
    Workload {
        name: "sweep",
        unit: "seed",
        per_world: false,
        work: Work::Sweep(10_000),
        quick_by: 2,
        slow: &[],
        systems: &[Simvisor, Unjudged],
        goals: &[Goal::Ns(50_000.0), Goal::Times(2.0, Unjudged)],
    },
    Workload {
        name: "idle-1000",
        unit: "task",
        per_world: false,
        work: Work::Idle(300, 1_000),
        quick_by: 4,
        slow: &[],
        systems: &[Simvisor],
        goals: &[],
    },
    Workload {
        name: "idle-1000000",
        unit: "task",
        per_world: false,
        work: Work::Idle(1, 1_000_000),
        quick_by: 1,
        slow: &[],
        systems: &[Simvisor],
        goals: &[Goal::TimesOf(3.0, "idle-1000")],
    },
];

/// How many tasks the growth curve has at each point.
pub(crate) const GROWTH: [u64; 11] =
    [10, 32, 100, 316, 1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000];

/// Who is on the growth curve.
pub(crate) const GROWING: [System; 3] = [Simvisor, Limit, Tokio];

/// The sleeps of one point of the growth curve: about two million.
pub(crate) fn growth(tasks_count: u64, quick: bool) -> Work {
    let sleeps = if quick { 500_000 } else { 2_000_000 };
    tasks(1, tasks_count, (sleeps / tasks_count).max(2), SECOND)
}

impl Workload {
    /// What a system does of it in one process.
    pub(crate) fn on(&self, system: System, quick: bool) -> Work {
        let slow = self.slow.iter().find(|(slow, _)| *slow == system).map_or(1, |&(_, by)| by);
        let work = if slow > 1 { self.work.quick(slow) } else { self.work };
        if quick { work.quick(self.quick_by) } else { work }
    }

    pub(crate) fn units(&self, work: Work) -> u64 {
        work.units(self.per_world)
    }
}
