//! The same edits for runtimes that are not ours: all that is known of a run is whether it shows what it should.

use rustc_hash::FxHashSet;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::edits::{self, Cost, Edit};
use crate::scenario::{Scenario, short as shortest};

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
    let short = shortest(scenario);
    let cost = Cost::new(&short, &[]);
    let mut plain = Plain { short, cost, tried: FxHashSet::default(), runs: 0, runs_max, shows };
    loop {
        let before = plain.cost.clone();
        plain.simplify();
        if plain.cost == before {
            plain.exhaust(edits::lower_pairs_of_spans);
        }
        if plain.is_over() || plain.cost == before {
            break;
        }
    }
    let is_minimal = !plain.is_over();
    let scenario = edits::parse(&plain.short).unwrap_or_else(|| scenario.clone());
    Smaller { scenario, runs: plain.runs, is_minimal }
}

struct Plain<F> {
    short: Value,
    cost: Cost,
    /// Candidates that were run, hashed.
    tried: FxHashSet<u64>,
    runs: u64,
    runs_max: u64,
    shows: F,
}

impl<F: FnMut(&Scenario) -> bool> Plain<F> {
    fn is_over(&self) -> bool {
        self.runs >= self.runs_max
    }

    fn simplify(&mut self) {
        for key in ["operation", "task", "subscriber", "receiver"] {
            let mut size = self.short.get(key).and_then(Value::as_array).map_or(0, Vec::len).div_ceil(2);
            while size > 0 {
                self.exhaust(|short| edits::drop_items(short, key, size));
                size /= 2;
            }
        }
        self.exhaust(edits::plainer_beginnings);
        self.exhaust(edits::drop_steps);
        self.exhaust(edits::drop_settings);
        self.exhaust(edits::lower_spans);
        self.exhaust(edits::lower_values);
        self.exhaust(edits::rewrite);
        self.exhaust(edits::swap_items);
        self.exhaust(|short| edits::rename(short).into_iter().collect());
    }

    /// Tries edits of one kind until none helps.
    fn exhaust(&mut self, edits: impl Fn(&Value) -> Vec<Edit>) {
        let mut skip = 0;
        loop {
            let candidates = edits(&self.short);
            match candidates.iter().skip(skip).position(|edit| self.edit(edit)) {
                // What is in front did not help before and is tried again in the next round.
                Some(place) => skip += place,
                None => break,
            }
        }
    }

    fn edit(&mut self, edit: &Edit) -> bool {
        let cost = Cost::new(&edit.short, &[]);
        if self.is_over() || cost >= self.cost {
            return false;
        }
        let Some(scenario) = edits::parse(&edit.short) else { return false };
        if !self.tried.insert(xxh3_64(edits::text(&edit.short).as_bytes())) {
            return false;
        }
        self.runs += 1;
        if !(self.shows)(&scenario) {
            return false;
        }
        // An edit may have left what is a default now.
        self.short = shortest(&scenario);
        self.cost = Cost::new(&self.short, &[]);
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
