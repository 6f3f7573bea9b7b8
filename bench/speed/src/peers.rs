//! The same work on Tokio's paused clock, bach, turmoil and shuttle.

use std::time::Duration;

use crate::load::{Draws, Load, Step};

fn span(draws: &mut Draws, high: u64) -> Duration {
    Duration::from_millis(draws.up_to(high))
}

/// A current-thread runtime for each world, its clock paused.
pub(crate) fn tokio(load: Load) {
    for world in 0..load.worlds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime on this thread");
        runtime.block_on(on_tokio(load, world));
    }
}

async fn on_tokio(load: Load, world: u64) {
    let tasks: Vec<_> = (0..load.tasks)
        .map(|task| {
            tokio::spawn(async move {
                let mut draws = Draws::new(world, task);
                for _ in 0..load.steps {
                    match load.step {
                        Step::Sleep(high) => tokio::time::sleep(span(&mut draws, high)).await,
                        Step::Yield => tokio::task::yield_now().await,
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it does not panic");
    }
}

/// One host, stepped by ticks of a millisecond.
pub(crate) fn turmoil(load: Load) {
    for world in 0..load.worlds {
        let mut sim = turmoil::Builder::new()
            .simulation_duration(Duration::from_secs(1 << 32))
            .tick_duration(Duration::from_millis(1))
            .rng_seed(world)
            .build();
        sim.client("client", async move {
            on_tokio(load, world).await;
            Ok(())
        });
        sim.run().expect("the client ends");
    }
}

/// A runtime for each world.
pub(crate) fn bach(load: Load) {
    for world in 0..load.worlds {
        bach::environment::default::Runtime::new().with_seed(world).run(|| {
            for task in 0..load.tasks {
                bach::task::primary::spawn(async move {
                    let mut draws = Draws::new(world, task);
                    for _ in 0..load.steps {
                        match load.step {
                            Step::Sleep(high) => bach::time::sleep(span(&mut draws, high)).await,
                            Step::Yield => simvisor::runtime::yield_now().await,
                        }
                    }
                });
            }
        });
    }
}

/// A random execution for each world. It has no clock, so a sleep is a yield.
pub(crate) fn shuttle(load: Load) {
    let mut config = shuttle::Config::new();
    config.max_steps = shuttle::MaxSteps::None;
    let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(0, load.worlds as usize);
    shuttle::Runner::new(scheduler, config).run(move || {
        shuttle::future::block_on(async move {
            let tasks: Vec<_> = (0..load.tasks)
                .map(|_| {
                    shuttle::future::spawn(async move {
                        for _ in 0..load.steps {
                            shuttle::future::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("it does not panic");
            }
        });
    });
}
