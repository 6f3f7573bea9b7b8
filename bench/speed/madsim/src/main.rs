//! The same work on madsim, which wants to be compiled with `--cfg madsim`. The bench builds and runs this by itself:
//! `simvisor-bench-madsim WORLDS TASKS STEPS MS_MAX` (0 ms: yields) prints nanoseconds of processor and of real time.

#[path = "../../src/load.rs"]
mod load;

use std::time::{Duration, Instant};

use load::{Draws, Load, Step};

fn main() {
    let numbers: Vec<u64> =
        std::env::args().skip(1).map(|number| number.parse().expect("a number")).collect();
    let [worlds, tasks, steps, ms_max] = numbers[..] else { panic!("four numbers") };
    let step = if ms_max == 0 { Step::Yield } else { Step::Sleep(ms_max) };
    let load = Load { worlds, tasks, steps, step };
    let (began, cpu) = (Instant::now(), cpu_time());
    run(load);
    println!("{} {}", (cpu_time() - cpu).as_nanos(), began.elapsed().as_nanos());
}

fn cpu_time() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.unsigned_abs(), u32::try_from(usage.tv_nsec).unwrap_or(0))
}

fn run(load: Load) {
    for world in 0..load.worlds {
        madsim::runtime::Runtime::with_seed_and_config(world, madsim::Config::default()).block_on(
            async move {
                let tasks: Vec<_> = (0..load.tasks)
                    .map(|task| {
                        madsim::task::spawn(async move {
                            let mut draws = Draws::new(world, task);
                            for _ in 0..load.steps {
                                match load.step {
                                    Step::Sleep(high) => {
                                        madsim::time::sleep(Duration::from_millis(draws.up_to(high))).await;
                                    }
                                    Step::Yield => madsim::task::yield_now().await,
                                }
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("it does not panic");
                }
            },
        );
    }
}
