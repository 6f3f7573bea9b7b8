//! One run of a program in a world.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::LocalBoxFuture;

use super::hook;
use super::sim::Sim;
use super::stage::{Failure, FailureKind, Left, Log, Logged, Setup, Stage, Tally};
use super::watchdog::{Post, Who};
use crate::choice::{Drawn, Source, Tape};
use crate::rng::{Numbers, Stream};
use crate::schedule::{Profile, Strategy, StrategyKind, Wanted};
use crate::search::deviations::{Deviation, Pilot, Point, Rest};
use crate::search::{Settling, profiled, seeded, settled};
use crate::world::{End, Engine, Finished, Limits};

/// The program of a check.
pub(super) type Body<'a> = &'a dyn Fn(Sim) -> LocalBoxFuture<'static, Result<(), String>>;

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// What went wrong first.
    pub(super) failure: Option<Failure>,
    pub(super) tape: Tape,
    pub(super) turns: u64,
    pub(super) trace_hash: u64,
    pub(super) sometimes: BTreeMap<String, Tally>,
    pub(super) log: Option<String>,
    drawn: Option<Drawn>,
}

/// Runs a program, one world after the other.
pub(super) struct Worlds<'a> {
    engine: Engine,
    setup: Rc<Setup>,
    pub(super) limits: Limits,
    body: Body<'a>,
    /// What the plain run told about the program.
    profile: Arc<Profile>,
    pilot: Arc<Mutex<Pilot>>,
    /// Where a watchdog looks.
    post: Arc<Post>,
    pub(super) runs: u64,
}

/// The test's own future, in reports and on tapes.
const TEST: &str = "test";

impl<'a> Worlds<'a> {
    pub(super) fn new(setup: Rc<Setup>, limits: Limits, body: Body<'a>, post: &Arc<Post>) -> Self {
        Self {
            engine: Engine::new(),
            setup,
            limits,
            body,
            profile: Arc::default(),
            pilot: Arc::new(Mutex::new(Pilot::new())),
            post: Arc::clone(post),
            runs: 0,
        }
    }

    /// First in, first out, without any chance. What it tells helps the strategies.
    pub(super) fn plain(&mut self, log: Option<Logged>) -> Ran {
        let numbers = Numbers::new(0, Stream::Schedule);
        let log = log.map(|logged| Log::new(logged, None));
        let ran = self.run(Source::Drawn(Strategy::counting(Wanted::Footprints), numbers), log);
        self.profile =
            ran.drawn.as_ref().and_then(|(strategy, _)| strategy.profile()).cloned().unwrap_or_default();
        ran
    }

    /// The run of a seed, with its log if that is wanted.
    pub(super) fn seed(&mut self, seed: u64, strategy: StrategyKind, log: Option<Logged>) -> Ran {
        let profile = Arc::clone(&self.profile);
        let source = profiled(seeded(seed, strategy), |_| Some(profile));
        let (source, _) = settled(source, |source| {
            let Ran { failure, tape, drawn, .. } = self.run(source, None);
            Settling { is_enough: failure.is_some(), tape, drawn }
        });
        self.run(source, log.map(|logged| Log::new(logged, None)))
    }

    /// The run of a tape, and where it deviates from the plain one.
    pub(super) fn follow(&mut self, tape: &Tape) -> (Ran, Vec<Deviation>) {
        self.pilot().follow(tape.clone(), Rest::Plain);
        let ran = self.guided(None);
        let made = self.pilot().made().to_vec();
        (ran, made)
    }

    /// The run that deviates so, with its log if that is wanted.
    pub(super) fn deviate(&mut self, deviations: &[Deviation], log: Option<Logged>) -> Ran {
        self.pilot().deviate(deviations, false);
        self.guided(log)
    }

    /// As [`Worlds::deviate`], and what else could have been.
    pub(super) fn look_around(&mut self, deviations: &[Deviation]) -> (Ran, Vec<Point>) {
        self.pilot().deviate(deviations, true);
        let ran = self.guided(None);
        let points = self.pilot().points();
        (ran, points)
    }

    /// Who made the choices of the last guided run.
    pub(super) fn pilot(&self) -> MutexGuard<'_, Pilot> {
        self.pilot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guided(&mut self, log: Option<Logged>) -> Ran {
        let log = log.map(|logged| Log::new(logged, Some(Arc::clone(&self.pilot))));
        self.run(Source::Guided(Arc::clone(&self.pilot) as _), log)
    }

    fn run(&mut self, source: Source, log: Option<Log>) -> Ran {
        self.runs += 1;
        self.post.begin(log.as_ref().map(Log::rows));
        let world = self.engine.world(source);
        let stage = Stage::new(world.handle(), &self.setup, log, &self.post);
        let sim = Sim { stage: Rc::clone(&stage) };
        let (body, limits) = (self.body, &self.limits);
        let done = hook::quiet(|| {
            hook::caught(|| {
                let future = stage.at_work(Who::Future(Arc::from(TEST)), || body(sim.clone()));
                let on_stage = Rc::clone(&stage);
                sim.drive(TEST, async move {
                    if let Err(error) = future.await {
                        on_stage.fail(FailureKind::Error, error);
                    }
                    on_stage.world.stop();
                });
                world.run(limits, |end| stage.end(end))
            })
        });
        let finished = done.unwrap_or_else(|(panicked, _)| {
            // Outside every future: while the test was made, or while what was left of it was dropped.
            stage.broke_down(panicked);
            let tape = std::mem::take(&mut self.engine).take_tape();
            let (misfit, drawn) = (None, None);
            Finished { end: End::Stopped, tape, misfit, stray_wake: false, turns: 0, time_ns: 0, drawn }
        });
        self.post.end();
        let Left { failures, sometimes, log, trace_hash } = stage.leave();
        let mut failure = failures.into_iter().next();
        if finished.stray_wake {
            let mut message =
                "a waker of this world was used on another thread, or in another world".to_owned();
            if let Some(other) = failure {
                message += &format!("\nthen: {}", other.message);
            }
            failure = Some(Failure { kind: FailureKind::StrayWake, message, at_ns: finished.time_ns });
        }
        let Finished { tape, turns, drawn, .. } = finished;
        Ran { failure, tape, turns, trace_hash, sometimes, log, drawn }
    }
}
