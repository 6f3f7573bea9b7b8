//! The same supervised tasks on every supervisor: each fails so often and then succeeds, with a constant backoff of
//! 100 ms and one subscriber that counts.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use simvisor::{
    Event, Handled, RestartPolicy, Subscribe, SupervisorBuilder, SupervisorConfig, TaskError, TaskFn,
    TaskSpec,
};
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::seeded;
use simvisor_sim::world::{End, Engine, LaneKind};

use crate::machine;
use crate::ours::limits;

const BACKOFF: Duration = Duration::from_millis(100);

/// Room for everything that is published in one instant.
const CAPACITY: usize = 1 << 17;

struct Counter(Rc<Cell<u64>>);

impl Subscribe for Counter {
    fn name(&self) -> &str {
        "counter"
    }

    fn queue_capacity(&self) -> usize {
        CAPACITY
    }

    fn on_event<'a>(&'a self, _: &'a Event) -> Handled<'a> {
        self.0.set(self.0.get() + 1);
        Handled::Now
    }
}

/// Simvisor's own supervisor in a world of its engine, under the random strategy.
pub(crate) fn ours(worlds: u64, tasks: u64, failures: u64) {
    let mut engine = Engine::new();
    for seed in 0..worlds {
        let world = engine.world(seeded(seed, StrategyKind::Random));
        let seen = Rc::new(Cell::new(0));
        let config = SupervisorConfig { bus_capacity: CAPACITY, ..SupervisorConfig::default() };
        let supervisor = SupervisorBuilder::new(world.handle().rt())
            .with_config(config)
            .with_subscriber(Rc::new(Counter(Rc::clone(&seen))))
            .build();
        let specs = (0..tasks).map(|task| failing_spec(task, failures)).collect();
        world.handle().spawn_run(async move { supervisor.run(specs).await.expect("nothing stops it") });
        let finished = world.run(&limits(), |_| ());
        assert_eq!(finished.end, End::Done);
        assert!(seen.get() >= tasks * failures * 3, "{} events of {tasks} tasks", seen.get());
        engine.recycle(finished.tape);
    }
}

fn failing_spec(task: u64, failures: u64) -> TaskSpec {
    let failed = Cell::new(0);
    let body = move |_| {
        let fails = failed.replace(failed.get() + 1) < failures;
        async move { if fails { Err(TaskError::Fail { reason: "boom".to_owned() }) } else { Ok(()) } }
    };
    TaskSpec::new(TaskFn::arc(format!("task-{task}"), body))
}

/// What idle tasks cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Memory of a task that waits to be cancelled, in bytes: growth of the resident set from before the tasks were made.
    pub(crate) bytes_per_task: u64,
}

/// Starts tasks that wait to be cancelled, and shuts down: from start to removal.
pub(crate) fn idle(worlds: u64, tasks: u64) -> Idle {
    let mut engine = Engine::new();
    let grown = Rc::new(Cell::new(0));
    for seed in 0..worlds {
        let before = machine::resident_bytes();
        let world = engine.world(seeded(seed, StrategyKind::Random));
        let handle = world.handle();
        let supervisor = SupervisorBuilder::new(handle.rt()).build();
        let body = |ctx: simvisor::CancellationToken| async move {
            ctx.cancelled().await;
            Err(TaskError::Canceled)
        };
        let spec = |task| {
            TaskSpec::new(TaskFn::arc(format!("task-{task}"), body)).with_restart(RestartPolicy::Never)
        };
        let specs = (0..tasks).map(spec).collect();
        let running = supervisor.clone();
        world.handle().spawn_run(async move { running.run(specs).await.expect("all stop in time") });
        let after = Rc::clone(&grown);
        world.handle().spawn(LaneKind::Operation, &Arc::from("stop"), async move {
            handle.sleep_ns(1_000_000).await;
            assert_eq!(supervisor.snapshot().len() as u64, tasks, "all of them run");
            after.set(machine::resident_bytes().saturating_sub(before));
            supervisor.shutdown();
        });
        let finished = world.run(&limits(), |_| ());
        assert_eq!(finished.end, End::Done);
        engine.recycle(finished.tape);
    }
    Idle { bytes_per_task: grown.get() / tasks }
}

/// taskvisor 0.1.0 on Tokio's paused clock.
pub(crate) fn taskvisor_0_1(worlds: u64, tasks: u64, failures: u64) {
    use taskvisor_0_1 as taskvisor;
    use tokio_util::sync::CancellationToken;

    struct Counter(AtomicU64);

    #[async_trait::async_trait]
    impl taskvisor::Subscribe for Counter {
        async fn on_event(&self, _: &taskvisor::Event) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn name(&self) -> &'static str {
            "counter"
        }

        fn queue_capacity(&self) -> usize {
            CAPACITY
        }
    }

    for _ in 0..worlds {
        paused().block_on(async {
            let specs = (0..tasks)
                .map(|task| {
                    let failed = Arc::new(AtomicU64::new(0));
                    let task: taskvisor::TaskRef =
                        taskvisor::TaskFn::arc(format!("task-{task}"), move |_: CancellationToken| {
                            let fails = failed.fetch_add(1, Ordering::Relaxed) < failures;
                            async move {
                                if fails {
                                    Err(taskvisor::TaskError::Fail { reason: "boom".to_owned() })
                                } else {
                                    Ok(())
                                }
                            }
                        });
                    let backoff = taskvisor::BackoffPolicy { first: BACKOFF, ..Default::default() };
                    taskvisor::TaskSpec::new(task, taskvisor::RestartPolicy::OnFailure, backoff, None)
                })
                .collect();
            let counter: Arc<dyn taskvisor::Subscribe> = Arc::new(Counter(AtomicU64::new(0)));
            let config = taskvisor::SupervisorConfig { bus_capacity: CAPACITY, ..Default::default() };
            taskvisor::Supervisor::new(config, vec![counter]).run(specs).await.expect("nothing stops it");
        });
    }
}

/// taskvisor 0.9.0 on Tokio's paused clock.
pub(crate) fn taskvisor_0_9(worlds: u64, tasks: u64, failures: u64) {
    use std::num::NonZeroUsize;

    use taskvisor_0_9 as taskvisor;

    struct Counter(AtomicU64);

    impl taskvisor::Subscribe for Counter {
        fn on_event(&self, _: &taskvisor::Event) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn name(&self) -> &str {
            "counter"
        }

        fn queue_capacity(&self) -> NonZeroUsize {
            NonZeroUsize::new(CAPACITY).expect("not zero")
        }
    }

    for _ in 0..worlds {
        paused().block_on(async {
            let specs = (0..tasks)
                .map(|task| {
                    let failed = Arc::new(AtomicU64::new(0));
                    let body: taskvisor::TaskRef = taskvisor::TaskFn::arc(move |_| {
                        let fails = failed.fetch_add(1, Ordering::Relaxed) < failures;
                        async move { if fails { Err(taskvisor::TaskError::fail("boom")) } else { Ok(()) } }
                    });
                    taskvisor::TaskSpec::restartable(format!("task-{task}"), body)
                        .with_backoff(taskvisor::BackoffPolicy::constant(BACKOFF))
                })
                .collect();
            let counter: Arc<dyn taskvisor::Subscribe> = Arc::new(Counter(AtomicU64::new(0)));
            let supervisor =
                taskvisor::Supervisor::new(taskvisor::SupervisorConfig::default(), vec![counter]);
            supervisor.run(specs).await.expect("nothing stops it");
        });
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime on this thread")
}
