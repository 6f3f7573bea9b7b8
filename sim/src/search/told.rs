//! The choices of a run in words.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::deviations::{Pilot, Rest};
use super::judge::Runner;
use crate::choice::{Source, Tape};
use crate::scenario::Scenario;
use crate::trace::Sink;

/// A choice that was not the plain one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldChoice {
    /// When it was made, in nanoseconds.
    pub at_ns: u64,
    /// Such as `actor b runs before actor a`.
    pub text: String,
}

impl Pilot {
    /// Where the last run deviated from the plain one.
    pub(crate) fn told(&self) -> Vec<ToldChoice> {
        let made = self.made().iter().zip(self.made_at_ns());
        made.map(|(made, &at_ns)| ToldChoice { at_ns, text: made.to_string() }).collect()
    }
}

/// Runs a scenario on a tape, shows the trace to `sink`, and tells the choices that are not the plain ones. Panics and
/// hangs as that run does.
pub fn told_choices(scenario: &Scenario, tape: Tape, sink: Rc<RefCell<dyn Sink>>) -> Vec<ToldChoice> {
    let mut pilot = Pilot::new();
    pilot.follow(tape, Rest::Plain);
    let pilot = Arc::new(Mutex::new(pilot));
    Runner::default().watch(scenario, Source::Guided(Arc::clone(&pilot) as _), sink);
    pilot.lock().unwrap_or_else(PoisonError::into_inner).told()
}

#[cfg(test)]
mod tests {
    use super::super::{replayed, seeded};
    use super::*;
    use crate::choice::Fit;
    use crate::scenario::generate;
    use crate::schedule::StrategyKind;
    use crate::trace::TraceHash;

    #[test]
    fn every_choice_of_a_tape_that_is_not_zero_is_told_in_the_order_of_time() {
        for seed in [3, 7, 42] {
            let scenario = generate(seed);
            let judged = Runner::default().judge(&scenario, seeded(seed, StrategyKind::Random));
            let again = Runner::default().judge(&scenario, replayed(judged.tape.clone(), Fit::Strict));
            assert_eq!(again.misfit, None);
            let hash = Rc::new(RefCell::new(TraceHash::default()));
            let told = told_choices(&scenario, judged.tape.clone(), Rc::clone(&hash) as _);
            assert_eq!(hash.borrow_mut().digest(), judged.trace_hash, "it is the same run");
            let count = judged.tape.iter().filter(|choice| choice.value > 0).count();
            assert_eq!(told.len(), count, "seed {seed}");
            assert!(told.is_sorted_by_key(|choice| choice.at_ns));
            assert!(told.last().is_none_or(|choice| choice.at_ns <= judged.time_ns));
        }
    }
}
