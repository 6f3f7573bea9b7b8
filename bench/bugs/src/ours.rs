//! The programs on the executor of simvisor.

use std::rc::Rc;
use std::sync::Arc;

use simvisor::runtime::{PreemptPoint, Rt, Shared, yield_now};
use simvisor_sim::choice::{Fit, Source, Tape};
use simvisor_sim::rng::{Numbers, Stream};
use simvisor_sim::schedule::{Strategy, StrategyKind, Wanted};
use simvisor_sim::search::replayed;
use simvisor_sim::world::{End, Engine, Finished, Handle, LaneKind, Limits};

use crate::host::{Host, Scene};
use crate::programs::Program;

#[derive(Clone)]
struct Ours {
    handle: Handle,
    rt: Rt,
    scene: Rc<Scene>,
}

impl Host for Ours {
    fn start(&self, name: &str, task: impl Future<Output = ()> + 'static) {
        self.handle.spawn(LaneKind::Operation, &Arc::from(name), task);
    }

    fn shares(&self, what: &'static str) {
        self.handle.reserve_lane(LaneKind::Actor, &Arc::from(what));
    }

    async fn step(&self, what: &'static str) {
        if self.rt.preempt(PreemptPoint::AfterBody) {
            yield_now().await;
        }
        self.rt.touches(Shared::Task(what));
    }

    fn scene(&self) -> &Rc<Scene> {
        &self.scene
    }
}

/// Runs a program once; says whether its bug was seen.
fn run(engine: &mut Engine, program: Program, source: Source) -> (bool, Finished) {
    let scene = Scene::new();
    let world = engine.world(source);
    let host = Ours { handle: world.handle(), rt: world.handle().rt(), scene: Rc::clone(&scene) };
    host.shares("noise");
    world.handle().spawn(LaneKind::Operation, &Arc::from("main"), program.main(host));
    let finished = world.run(&Limits::default(), |_| ());
    assert_eq!(finished.end, End::Done, "{}", program.name());
    (program.is_found(&scene), finished)
}

/// How many runs it takes until the bug shows, the run that counts steps included; `None` if more than `runs_max`. With
/// a `depth` PCT is for bugs of that depth alone.
pub(crate) fn trial(
    program: Program,
    kind: StrategyKind,
    depth: Option<u32>,
    trial: u64,
    runs_max: u32,
) -> Option<u32> {
    let mut engine = Engine::new();
    let count = Strategy::counting(Wanted::Footprints);
    let (found, counted) = run(&mut engine, program, Source::Drawn(count, Numbers::new(0, Stream::Schedule)));
    let profile = counted.profile().expect("steps were counted");
    let mut runs = 0;
    // Shuttle's schedulers learn from their first run, which counts; so does ours.
    if matches!(kind, StrategyKind::Pct | StrategyKind::Urw | StrategyKind::Surw | StrategyKind::Mix) {
        runs += 1;
        if found {
            return Some(runs);
        }
    }
    engine.recycle(counted.tape);
    let mut strategy = Box::<Strategy>::default();
    for number in 0.. {
        let mut numbers = Numbers::new(trial << 32 | number, Stream::Schedule);
        match depth {
            Some(depth) => strategy = Strategy::pct(depth, &mut numbers),
            None => strategy.prepare(kind, &mut numbers),
        }
        strategy.learn(&profile, &mut numbers);
        // More than one for a campaign.
        for _ in 0..strategy.runs() {
            if runs == runs_max {
                return None;
            }
            runs += 1;
            let (found, finished) = run(&mut engine, program, Source::Drawn(strategy, numbers));
            if found {
                check_replay(&mut engine, program, finished.tape);
                return Some(runs);
            }
            engine.recycle(finished.tape);
            (strategy, numbers) = finished.drawn.expect("choices were drawn");
            if strategy.runs() > 1 {
                strategy.go_on(&mut numbers);
            }
        }
    }
    None
}

/// What was found is found again by its tape.
fn check_replay(engine: &mut Engine, program: Program, tape: Tape) {
    let (found, again) = run(engine, program, replayed(tape, Fit::Strict));
    assert!(found && again.misfit.is_none(), "the bug of {} is not found again by its tape", program.name());
}
