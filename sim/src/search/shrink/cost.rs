//! The total order in which shrinking goes down.

use std::collections::HashMap;

use super::super::deviations::Deviation;
use super::dials::{ranks, weight};
use crate::scenario::{Action, Scenario, Step};

/// How simple a case is; less is simpler. What comes first counts most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cost {
    /// Tasks, subscribers, receivers and operations.
    items: usize,
    /// Settings that are no defaults, steps of scripts besides the first, kinds of operations, and choices that are not
    /// zero: as many as a reader has to take in. A choice is harder to read than a setting.
    details: u64,
    deviations: usize,
    /// How far settings are from their defaults, and how odd they are.
    weight: u64,
    /// The shape, all settings in order, and names.
    code: Vec<u64>,
    values: u64,
    made: Vec<Deviation>,
}

impl Cost {
    pub(super) fn new(scenario: &Scenario, deviations: &[Deviation]) -> Self {
        let Scenario { tasks, subscribers, receivers, operations, .. } = scenario;
        let settings = ranks(scenario);
        let mut code = vec![tasks.len() as u64, subscribers.len() as u64, receivers.len() as u64];
        let mut details = 2 * deviations.len() as u64;
        for task in tasks {
            let steps = task.script.len().saturating_sub(1) as u64;
            details += 2 * steps;
            code.push(steps);
        }
        let mut names: HashMap<&str, u64> = HashMap::new();
        let mut keys: HashMap<&str, u64> = HashMap::new();
        for (number, task) in (0..).zip(tasks) {
            keys.insert(task.key(), number);
            names.entry(&task.name).or_insert(number);
        }
        let nobody = tasks.len() as u64;
        for operation in operations {
            let (kind, task) = kind(&operation.action);
            let table = if is_by_key(&operation.action) { &keys } else { &names };
            details += u64::from(kind > 1);
            code.extend([kind, task.map_or(0, |task| table.get(task).copied().unwrap_or(nobody))]);
        }
        details += settings.iter().filter(|&&rank| rank > 0).count() as u64;
        let weights: u64 = settings.iter().map(|&rank| weight(rank)).sum();
        let kinds: u64 = operations.iter().map(|operation| kind(&operation.action).0).sum();
        code.extend(settings);
        for (number, task) in tasks.iter().enumerate() {
            let first = tasks.iter().position(|other| other.name == task.name);
            code.push(first.map_or(0, |first| (number - first) as u64));
            code.extend([odd(&task.name, &name_of_task(number)), odd(task.key(), &task.name)]);
        }
        code.extend((1..).zip(subscribers).map(|(number, decl)| odd(&decl.name, &format!("s{number}"))));
        code.extend((1..).zip(receivers).map(|(number, decl)| odd(&decl.name, &format!("r{number}"))));
        code.push(u64::from(!scenario.name.is_empty()) + u64::from(!scenario.story.is_empty()));
        Self {
            items: tasks.len() + subscribers.len() + receivers.len() + operations.len(),
            details,
            deviations: deviations.len(),
            weight: weights + kinds,
            code,
            values: deviations.iter().map(Deviation::size).sum(),
            made: deviations.to_vec(),
        }
    }

    /// No schedule of the scenario with as many deviations costs less.
    pub(super) fn at_least(scenario: &Scenario, deviations: usize) -> Self {
        let plain = Self::new(scenario, &[]);
        Self { details: plain.details + 2 * deviations as u64, deviations, ..plain }
    }

    /// Whether a reader has as much to take in.
    pub(super) fn is_as_large_as(&self, other: &Self) -> bool {
        (self.items, self.details, self.deviations) == (other.items, other.details, other.deviations)
    }

    pub(super) fn items(&self) -> usize {
        self.items
    }
}

/// The name that a task has by its place.
pub(super) fn name_of_task(place: usize) -> String {
    let letter = u8::try_from(place).ok().filter(|&place| place < 26);
    letter.map_or_else(|| format!("t{place}"), |place| char::from(b'a' + place).to_string())
}

fn odd(name: &str, plain: &str) -> u64 {
    if name == plain { 0 } else { 1 + (xxhash_rust::xxh3::xxh3_64(name.as_bytes()) >> 1) }
}

/// How simple an operation is by its kind, and the task that it is about.
pub(super) fn kind(action: &Action) -> (u64, Option<&str>) {
    match action {
        Action::Shutdown => (0, None),
        Action::Remove(task) => (1, Some(task)),
        Action::Add(task) => (2, Some(task)),
        Action::Cancel { task, .. } => (3, Some(task)),
        Action::Submit { task, .. } => (4, Some(task)),
        Action::List => (5, None),
        Action::Snapshot => (6, None),
        Action::IsAlive(task) => (7, Some(task)),
        Action::WaitReady => (8, None),
        Action::SetWall { .. } => (9, None),
    }
}

/// Whether an action calls its task by key and not by name.
pub(super) fn is_by_key(action: &Action) -> bool {
    matches!(action, Action::Add(_) | Action::Submit { .. })
}

/// The scenario as it is written while it is made simpler: with a first step in every script, so that no edit has to
/// bring one in.
pub(super) fn with_steps(mut scenario: Scenario) -> Scenario {
    for task in &mut scenario.tasks {
        if task.script.is_empty() {
            task.script.push(Step::default());
        }
    }
    scenario
}

/// The scenario as a person writes it.
pub(super) fn without_steps(mut scenario: Scenario) -> Scenario {
    for task in &mut scenario.tasks {
        if task.script == [Step::default()] {
            task.script.clear();
        }
    }
    scenario
}
