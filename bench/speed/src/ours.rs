//! Simvisor: the engine by itself, under the random strategy with its tape recorded, and sweeps.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use simvisor_sim::choice::Source;
use simvisor_sim::scenario::{
    self, Backoff, Config, Ending, Mode, Restart, Scenario, Span, Step as BodyStep, SubscriberDecl, TaskDecl,
};
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Runner, Verdict, profiled, seeded};
use simvisor_sim::trace::{Header, Record, Sink, Texts};
use simvisor_sim::world::{End, Engine, LaneKind, Limits};

use crate::load::{Draws, Load, Step};

/// Limits for worlds of any size.
pub(crate) fn limits() -> Limits {
    Limits { turns_max: u64::MAX, turns_per_instant_max: 1 << 60, ..Limits::default() }
}

/// Runs every world.
pub(crate) fn run(load: Load) {
    let mut engine = Engine::new();
    let names: Vec<Arc<str>> = (0..load.tasks).map(|task| task.to_string().into()).collect();
    for seed in 0..load.worlds {
        let world = engine.world(seeded(seed, StrategyKind::Random));
        for (name, task) in names.iter().zip(0..) {
            let handle = world.handle();
            world.handle().spawn(LaneKind::Other, name, async move {
                let mut draws = Draws::new(seed, task);
                for _ in 0..load.steps {
                    match load.step {
                        Step::Sleep(high) => handle.sleep_ns(draws.up_to(high) * 1_000_000).await,
                        Step::Yield => simvisor::runtime::yield_now().await,
                    }
                }
            });
        }
        let finished = world.run(&limits(), |_| ());
        assert_eq!(finished.end, End::Done);
        engine.recycle(finished.tape);
    }
}

/// A scenario of tasks that fail so often and then succeed, with one subscriber.
fn failing(tasks: u64, failures: u64) -> Scenario {
    let step = |then| BodyStep { run: Span::ZERO, then, ..BodyStep::default() };
    let script = std::iter::repeat_n(step(Ending::Fail), failures as usize)
        .chain([step(Ending::Ok)])
        .collect::<Vec<_>>();
    let task = |number: u64| TaskDecl {
        name: format!("task-{number}"),
        key: None,
        start: true,
        restart: Restart::OnFailure,
        backoff: Backoff::default(),
        timeout: None,
        script: script.clone(),
    };
    Scenario {
        name: "failing".to_owned(),
        story: String::new(),
        mode: Mode::Run,
        run_at: Span::ZERO,
        calm_at: None,
        config: Config::default(),
        tasks: (0..tasks).map(task).collect(),
        subscribers: vec![SubscriberDecl {
            name: "counter".to_owned(),
            capacity: 1024,
            behaviour: scenario::Behaviour::Quick,
        }],
        receivers: Vec::new(),
        operations: Vec::new(),
    }
}

/// Runs small supervised worlds, each judged by both judges and hashed.
pub(crate) fn judged_worlds(worlds: u64, tasks: u64, failures: u64) {
    let mut runner = Runner::new(limits());
    let scenario = failing(tasks, failures);
    for seed in 0..worlds {
        let judged = runner.judge(&scenario, seeded(seed, StrategyKind::Random));
        assert_eq!((judged.verdict, judged.findings.len()), (Verdict::Done, 0));
        runner.recycle(judged.tape);
    }
}

/// Runs and judges seeds as `simvisor sweep` does.
pub(crate) fn sweep(seeds: u64) {
    let mut runner = Runner::default();
    for seed in 0..seeds {
        let run = runner.seed(seed, StrategyKind::default());
        assert!(run.judged.findings.is_empty(), "seed {seed} shows {:?}", run.judged.findings);
        runner.recycle(run.judged.tape);
    }
}

/// The same seeds with everything but judges and hash: records are made and thrown away.
pub(crate) fn unjudged_sweep(seeds: u64) {
    struct Nobody;
    impl Sink for Nobody {
        fn begin(&mut self, _: &Header, _: &Texts) {}
        fn record(&mut self, record: &Record, _: &Texts) {
            std::hint::black_box(record.at_ns);
        }
    }
    struct Deaf;
    impl Sink for Deaf {
        fn begin(&mut self, _: &Header, _: &Texts) {}
        fn record(&mut self, _: &Record, _: &Texts) {}
        fn is_deaf(&self) -> bool {
            true
        }
    }
    let (mut engine, notebook, limits) = (Engine::new(), Rc::default(), Limits::default());
    let nobody: Rc<RefCell<dyn Sink>> = Rc::new(RefCell::new(Nobody));
    let deaf: Rc<RefCell<dyn Sink>> = Rc::new(RefCell::new(Deaf));
    for seed in 0..seeds {
        let scenario = Rc::new(scenario::generate(seed));
        let mut count = |source: Source| {
            let counted = scenario::drive(&mut engine, &scenario, source, &limits, &notebook, &deaf);
            let profile = counted.profile();
            engine.recycle(counted.tape);
            profile
        };
        let source = profiled(seeded(seed, StrategyKind::default()), &mut count);
        let finished = scenario::drive(&mut engine, &scenario, source, &limits, &notebook, &nobody);
        engine.recycle(finished.tape);
    }
}
