//! The same edits for runtimes that are not ours: all that is known of a run is whether it shows what it should.

use rustc_hash::FxHashSet;

use super::cost::{Cost, with_steps, without_steps};
use super::descent::Descent;
use super::edits::Edit;
use crate::scenario::Scenario;

/// What [`shrink_scenario`] came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Smaller {
    /// The smallest scenario that was found.
    pub scenario: Scenario,
    /// Runs that it took.
    pub runs: u64,
    /// No edit makes it simpler. False if `runs_max` came first.
    pub is_minimal: bool,
}

/// Makes a scenario as small as it gets while `shows` says that it still shows the same.
///
/// `shows` is not called twice for one scenario. A run that does not repeat may mislead it; run it more than once then.
pub fn shrink_scenario(scenario: &Scenario, runs_max: u64, shows: impl FnMut(&Scenario) -> bool) -> Smaller {
    let scenario = with_steps(scenario.clone());
    let cost = Cost::new(&scenario, &[]);
    let mut plain = Plain { scenario, cost, tried: FxHashSet::default(), runs: 0, runs_max, shows };
    loop {
        let before = plain.cost.clone();
        plain.simplify();
        if plain.cost == before {
            plain.simplify_pairs();
        }
        if plain.is_over() || plain.cost == before {
            break;
        }
    }
    let is_minimal = !plain.is_over();
    Smaller { scenario: without_steps(plain.scenario), runs: plain.runs, is_minimal }
}

struct Plain<F> {
    scenario: Scenario,
    cost: Cost,
    /// Candidates that were run, by their cost, which tells them apart.
    tried: FxHashSet<Cost>,
    runs: u64,
    runs_max: u64,
    shows: F,
}

impl<F> Plain<F> {
    fn is_over(&self) -> bool {
        self.runs >= self.runs_max
    }
}

impl<F: FnMut(&Scenario) -> bool> Descent for Plain<F> {
    fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    fn edit(&mut self, Edit { scenario, .. }: &Edit) -> bool {
        let cost = Cost::new(scenario, &[]);
        if self.is_over()
            || cost >= self.cost
            || scenario.check().is_err()
            || !self.tried.insert(cost.clone())
        {
            return false;
        }
        self.runs += 1;
        if !(self.shows)(scenario) {
            return false;
        }
        self.scenario.clone_from(scenario);
        self.cost = cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Action, generate};

    /// Whether something asks for a removal of the first task.
    fn removes(scenario: &Scenario) -> bool {
        let is_removal =
            |action: &Action| matches!(action, Action::Remove(task) if *task == scenario.tasks[0].name);
        !scenario.tasks.is_empty()
            && scenario.operations.iter().any(|operation| is_removal(&operation.action))
    }

    #[test]
    fn what_does_not_matter_goes() {
        let seed = (0..).find(|&seed| removes(&generate(seed)) && generate(seed).operations.len() > 5);
        let scenario = generate(seed.expect("some seed removes"));
        let smaller = shrink_scenario(&scenario, 10_000, removes);
        assert!(smaller.is_minimal);
        assert_eq!((smaller.scenario.tasks.len(), smaller.scenario.operations.len()), (1, 1));
        assert!(removes(&smaller.scenario));
    }

    #[test]
    fn it_stops_after_so_many_runs() {
        let mut runs = 0;
        let smaller = shrink_scenario(&generate(3), 5, |_| {
            runs += 1;
            false
        });
        assert_eq!((runs, smaller.runs, smaller.is_minimal), (5, 5, false));
        assert_eq!(smaller.scenario, generate(3));
    }
}
