//! The target `world`: bytes → case → run → every judge there is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::case::{Case, Input};
use crate::choice::{Fit, Tape};
use crate::scenario::Scenario;
use crate::schedule::StrategyKind;
use crate::search::{
    CaseRun, Finding, Judged, NONDETERMINISM, PANIC, Runner, first_difference, panic_message, replayed,
};

/// The strategy of a case that a fuzzer made.
const STRATEGY: &str = "fuzz";

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The rule's id, or one of the words that stand for one.
    pub rule: String,
    /// What happened.
    pub message: String,
    /// The run, with the choices as they were made.
    pub case: Case,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.message)
    }
}

/// How often an input is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// It is judged.
    Once,
    /// And what it chose is run again, and must be the same.
    Twice,
}

impl Runs {
    /// What a fuzzer does with an input: a quarter of them, which depends on the bytes alone, are run twice. A second run
    /// costs as much as the first and shows nothing new to the fuzzer, and what is nondeterministic is so for many inputs.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        if xxhash_rust::xxh3::xxh3_64(bytes).is_multiple_of(4) { Self::Twice } else { Self::Once }
    }
}

/// Runs and judges inputs, one after the other, in one engine.
#[derive(Debug, Default)]
pub struct World {
    runner: Runner,
}

impl World {
    /// Runs an input and, if it is wanted, once more what it chose: both must be clean and the same. Panics of the run are
    /// caught.
    pub fn run(&mut self, input: &Input, runs: Runs) -> Option<Box<Found>> {
        let Input { scenario, tape } = input;
        let first = match self.judge(scenario, tape.clone(), Fit::Lenient) {
            Ok(judged) => judged,
            Err(found) => return Some(found),
        };
        let again = match runs {
            // Steps that name what cannot run are without effect, are not recorded, and are no turns.
            Runs::Twice => match self.judge(scenario, first.tape.clone(), Fit::Strict) {
                Ok(second) => again(&first, second),
                Err(found) => return Some(found),
            },
            Runs::Once => None,
        };
        let stray = first.stray_wake.then(|| "a waker of this world was used on another thread".to_owned());
        let nondeterminism = again.or(stray);
        let (rule, message) = match (nondeterminism, first.findings.first()) {
            (Some(difference), _) => (NONDETERMINISM, difference),
            (None, Some(Finding { rule, message, .. })) => (*rule, message.clone()),
            (None, None) => {
                self.runner.recycle(first.tape);
                return None;
            }
        };
        let rule = rule.to_owned();
        let case = CaseRun { scenario: scenario.clone(), judged: first }.into_case(None, STRATEGY);
        Some(Box::new(Found { rule, message, case }))
    }

    /// The case that an input is: with the choices as they are made, and what it shows in this version.
    pub fn case(&mut self, input: &Input) -> Case {
        if let Some(found) = self.run(input, Runs::Twice) {
            return found.case;
        }
        let Input { scenario, tape } = input.clone();
        let judged = self.runner.judge(&scenario, replayed(tape, Fit::Lenient));
        CaseRun { scenario, judged }.into_case(None, STRATEGY)
    }

    fn judge(&mut self, scenario: &Scenario, tape: Tape, fit: Fit) -> Result<Judged, Box<Found>> {
        let run = catch_unwind(AssertUnwindSafe(|| self.runner.judge(scenario, replayed(tape, fit))));
        run.map_err(|payload| {
            let panic = format!("the run panicked: {}", panic_message(&*payload));
            let violation = self.runner.first_violation();
            // The old one is in an unknown state.
            let tape = std::mem::take(&mut self.runner).cut_off();
            // A rule that was broken before the panic says more than the panic.
            let (rule, message) = match violation {
                Some(Finding { rule, message, .. }) => (rule, format!("{message}; then {panic}")),
                None => (PANIC, panic),
            };
            let mut case = Case::unfinished(scenario.clone(), 0, STRATEGY, PANIC, &message);
            case.origin.seed = None;
            if tape.is_empty() {
                // Choices that are not there are drawn anew, and these are all zero.
                StrategyKind::Fifo.name().clone_into(&mut case.origin.strategy);
                case.origin.seed = Some(0);
            }
            case.tape = tape;
            Box::new(Found { rule: rule.to_owned(), message, case })
        })
    }
}

/// How a second run on the choices of the first differs from it.
fn again(first: &Judged, second: Judged) -> Option<String> {
    match second.misfit {
        Some(misfit) => Some(format!("a run does not fit its own tape: {misfit}")),
        None => first_difference(first, &second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Numbers, Stream};

    #[test]
    fn random_bytes_find_nothing_and_runs_are_the_same_twice() {
        let mut world = World::default();
        for seed in 0..1_000 {
            let mut numbers = Numbers::new(seed, Stream::Scenario);
            let length = numbers.below(300);
            let bytes: Vec<u8> = (0..length).map(|_| numbers.below(256) as u8).collect();
            let Some(input) = Input::from_bytes(&bytes) else { continue };
            if let Some(found) = world.run(&input, Runs::Twice) {
                panic!("seed {seed}: {found}\n{}", found.case.to_json().expect("plain data"));
            }
        }
    }

    #[test]
    fn about_a_quarter_of_the_inputs_are_run_twice() {
        let twice = (0..4_000_u32).filter(|number| Runs::of(&number.to_le_bytes()) == Runs::Twice).count();
        assert!((900..1_100).contains(&twice), "{twice}");
    }
}
