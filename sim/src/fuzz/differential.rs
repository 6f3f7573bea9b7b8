//! The target `differential`: a world in first-in first-out order against the straight-line model of one actor.

use std::cell::RefCell;
use std::rc::Rc;

use simvisor::BackoffSource;

use super::actor::{self, Told};
use crate::case::Input;
use crate::choice::Fit;
use crate::scenario::{Action, Mode, Operation, Scenario, Span};
use crate::search::{Runner, Verdict, replayed};
use crate::trace::{Header, Record, Sink, Texts, What, kind_name};
use crate::world::Disorder;

/// Runs the first task of an input alone and compares its events with those of the model. True if they were compared:
/// not every input has a task, and where the contract leaves an order open the model has no answer.
///
/// # Errors
/// Says what both have at the first event that differs.
pub fn differential(runner: &mut Runner, bytes: &[u8]) -> Result<bool, String> {
    let Some(Input { scenario, .. }) = Input::from_bytes(bytes) else { return Ok(false) };
    let Some(scenario) = alone(scenario) else { return Ok(false) };
    let shutdown = scenario.operations.first().map(|operation| operation.at);
    let Some(expected) = actor::events(&scenario, shutdown) else { return Ok(false) };

    let listener = Rc::new(RefCell::new(Listener::default()));
    let judged = runner.watch(&scenario, replayed(Vec::new(), Fit::Lenient), Rc::clone(&listener) as _);
    let seen = listener.take().0;
    let differs = |index: usize| expected.get(index) != seen.get(index);
    if let Some(index) = (0..expected.len().max(seen.len())).find(|&index| differs(index)) {
        let show = |told: Option<&Told>| told.map_or("nothing more".to_owned(), |told| format!("{told:?}"));
        let (expected, seen) = (show(expected.get(index)), show(seen.get(index)));
        return Err(format!(
            "event {index}: the model has {expected}, the world has {seen}; in {scenario:?}"
        ));
    }
    if judged.verdict != Verdict::Done {
        return Err(format!("the model ends, the world ends in {}; in {scenario:?}", judged.verdict.name()));
    }
    Ok(true)
}

/// Shutdowns come this much off the grid on which everything else lies, so that they seldom tie with anything.
const ASIDE_NS: u64 = 300;

/// The scenario with its first task alone, which starts with the run, and with at most one shutdown.
fn alone(scenario: Scenario) -> Option<Scenario> {
    let mut task = scenario.tasks.into_iter().next()?;
    (task.start, task.key) = (true, None);
    let shutdown = scenario.operations.iter().rev().find(|operation| operation.action == Action::Shutdown);
    let at = shutdown.map(|operation| Span(operation.at.ns() + ASIDE_NS));
    let mut config = scenario.config;
    config.disorder = Disorder::None;
    Some(Scenario {
        mode: Mode::Run,
        run_at: Span::ZERO,
        calm_at: None,
        config,
        tasks: vec![task],
        subscribers: Vec::new(),
        receivers: Vec::new(),
        operations: at.map(|at| Operation { at, action: Action::Shutdown }).into_iter().collect(),
        name: String::new(),
        story: String::new(),
    })
}

/// Keeps the events of a trace.
#[derive(Debug, Default)]
struct Listener(Vec<Told>);

impl Sink for Listener {
    fn begin(&mut self, _: &Header, _: &Texts) {
        self.0.clear();
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        let What::Event(event) = &record.what else { return };
        self.0.push(Told {
            at_ns: record.at_ns,
            kind: kind_name(event.kind).to_owned(),
            task: event.task.map(|text| texts.get(text).to_owned()),
            attempt: event.attempt,
            reason: event.reason.map(|text| texts.get(text).to_owned()),
            timeout_ms: event.timeout_ms,
            delay_ms: event.delay_ms,
            source: event.source.map(|source| match source {
                BackoffSource::Success => "success",
                BackoffSource::Failure => "failure",
            }),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Numbers, Stream};

    #[test]
    fn the_model_and_the_world_tell_the_same_story() {
        let mut runner = Runner::default();
        let (mut compared, seeds) = (0, 4_000);
        for seed in 0..seeds {
            let mut numbers = Numbers::new(seed, Stream::Scenario);
            let mut bytes: Vec<u8> = (0..40).map(|_| numbers.below(256) as u8).collect();
            bytes[0] = 0x01; // a task
            match differential(&mut runner, &bytes) {
                Ok(true) => compared += 1,
                Ok(false) => {}
                Err(difference) => panic!("seed {seed}: {difference}"),
            }
        }
        assert!(compared > seeds / 3, "{compared} of {seeds} compared");
    }
}
