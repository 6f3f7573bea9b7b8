//! What can be made simpler in a scenario: one edit each, the largest first within a kind.

use std::sync::Arc;

use super::super::deviations::{Deviation, To, Who};
use super::cost::{is_by_key, kind, name_of_task};
use super::dials;
use crate::scenario::{
    Action, Admission, Backoff, Ending, Jitter, Mode, Operation, Restart, Scenario, Span, Step, TaskDecl,
};
use crate::world::LaneKind;

/// A simpler scenario, and how the futures of the old one are called in it.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    pub(super) scenario: Scenario,
    pub(super) renaming: Renaming,
    /// It takes something away that has a future of its own, so that the rest runs in another order.
    pub(super) is_large: bool,
}

/// How futures are called after an edit.
#[derive(Debug, Clone, Default)]
pub(super) struct Renaming {
    /// The new number of each operation, from 0; `None` if it is gone.
    operations: Option<Vec<Option<usize>>>,
    names: Vec<(LaneKind, Arc<str>, Arc<str>)>,
}

impl Renaming {
    fn who(&self, who: &Who) -> Option<Who> {
        let mut who = who.clone();
        if let (LaneKind::Operation, Some(operations)) = (who.kind, &self.operations) {
            let number: usize = who.name.parse().ok()?;
            let now = (*operations.get(number.checked_sub(1)?)?)?;
            who.name = Arc::from((now + 1).to_string());
        } else if let Some((_, _, new)) =
            self.names.iter().find(|(kind, old, _)| *kind == who.kind && *old == who.name)
        {
            who.name = Arc::clone(new);
        }
        Some(who)
    }

    /// The same deviations in the new scenario, as far as they have a meaning there.
    pub(super) fn apply(&self, deviations: &[Deviation]) -> Vec<Deviation> {
        let renamed = |deviation: &Deviation| {
            let mut deviation = deviation.clone();
            deviation.at.who = self.who(&deviation.at.who)?;
            if let To::Runs(who) = &deviation.to {
                deviation.to = To::Runs(self.who(who)?);
            }
            Some(deviation)
        };
        deviations.iter().filter_map(renamed).collect()
    }
}

fn plain(scenario: Scenario) -> Edit {
    Edit { scenario, renaming: Renaming::default(), is_large: false }
}

fn large(scenario: Scenario) -> Edit {
    Edit { scenario, renaming: Renaming::default(), is_large: true }
}

/// Takes away every operation that `keep` does not want, by its number from 0.
fn without_operations(scenario: &Scenario, keep: impl Fn(usize, &Operation) -> bool) -> Edit {
    let mut left = 0;
    let number = |(index, operation)| {
        let stays = keep(index, operation);
        left += usize::from(stays);
        stays.then_some(left.wrapping_sub(1))
    };
    let numbers: Vec<_> = scenario.operations.iter().enumerate().map(number).collect();
    let mut other = scenario.clone();
    let mut stays = numbers.iter().map(Option::is_some);
    other.operations.retain(|_| stays.next().unwrap_or(true));
    let renaming = Renaming { operations: Some(numbers), ..Renaming::default() };
    Edit { scenario: other, renaming, is_large: true }
}

/// The kinds of items that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Items {
    Operations,
    Tasks,
    Subscribers,
    Receivers,
}

impl Items {
    pub(super) const ALL: [Self; 4] = [Self::Operations, Self::Tasks, Self::Subscribers, Self::Receivers];

    pub(super) fn count(self, scenario: &Scenario) -> usize {
        match self {
            Self::Operations => scenario.operations.len(),
            Self::Tasks => scenario.tasks.len(),
            Self::Subscribers => scenario.subscribers.len(),
            Self::Receivers => scenario.receivers.len(),
        }
    }
}

/// Takes away runs of `size` items of one kind.
pub(super) fn drop_items(scenario: &Scenario, items: Items, size: usize) -> impl Iterator<Item = Edit> + '_ {
    let count = items.count(scenario);
    (0..count)
        .step_by(size.max(1))
        .map(move |start| drop_range(scenario, items, start..(start + size).min(count)))
}

fn drop_range(scenario: &Scenario, items: Items, gone: std::ops::Range<usize>) -> Edit {
    match items {
        Items::Operations => without_operations(scenario, |index, _| !gone.contains(&index)),
        Items::Tasks => {
            let left = |task: &TaskDecl, same: fn(&TaskDecl) -> &str| {
                let tasks = scenario.tasks.iter().enumerate();
                tasks.filter(|(index, _)| !gone.contains(index)).any(|(_, other)| same(other) == same(task))
            };
            let dropped = &scenario.tasks[gone.clone()];
            let mut edit = without_operations(scenario, |_, operation| {
                let (_, Some(called)) = kind(&operation.action) else { return true };
                if is_by_key(&operation.action) {
                    dropped.iter().all(|task| task.key() != called)
                } else {
                    dropped.iter().all(|task| task.name != called || left(task, |task| &task.name))
                }
            });
            edit.scenario.tasks.drain(gone);
            edit
        }
        Items::Subscribers => {
            let mut other = scenario.clone();
            other.subscribers.drain(gone);
            large(other)
        }
        Items::Receivers => {
            let mut other = scenario.clone();
            other.receivers.drain(gone);
            large(other)
        }
    }
}

/// Takes a task away that kept the run from its end.
pub(super) fn drop_keepers(scenario: &Scenario) -> impl Iterator<Item = Edit> + '_ {
    let tasks = if scenario.mode == Mode::Run { 0..scenario.tasks.len() } else { 0..0 };
    tasks.map(|task| {
        let mut edit = drop_range(scenario, Items::Tasks, task..task + 1);
        edit.scenario.mode = Mode::Serve;
        edit
    })
}

/// Takes away two items that are not neighbours or not of one kind: what comes in pairs goes in pairs.
pub(super) fn drop_pairs(scenario: &Scenario) -> impl Iterator<Item = Edit> + '_ {
    let count = scenario.operations.len();
    let operations = (0..count).flat_map(move |one| (one + 1..count).map(move |other| (one, other)));
    let pairs = operations
        .map(|(one, other)| without_operations(scenario, |index, _| index != one && index != other));
    let mixed = (0..count).flat_map(move |operation| {
        [Items::Subscribers, Items::Receivers].into_iter().flat_map(move |items| {
            (0..items.count(scenario)).map(move |item| {
                let without = without_operations(scenario, |index, _| index != operation);
                let Edit { scenario, .. } = drop_range(&without.scenario, items, item..item + 1);
                Edit { scenario, ..without }
            })
        })
    });
    pairs.chain(mixed)
}

/// One version of a task stands for another, one task for another.
pub(super) fn merge_tasks(scenario: &Scenario) -> impl Iterator<Item = Edit> + '_ {
    let count = scenario.tasks.len();
    let pairs = (0..count).flat_map(move |gone| (0..count).map(move |stays| (gone, stays)));
    pairs.filter(|(gone, stays)| gone != stays).map(|(gone, stays)| {
        let mut other = scenario.clone();
        let (old, new) = (&scenario.tasks[gone], &scenario.tasks[stays]);
        for operation in &mut other.operations {
            let by_key = is_by_key(&operation.action);
            if let Some(task) = operand(&mut operation.action) {
                if by_key && task == old.key() {
                    new.key().clone_into(task);
                } else if !by_key && *task == old.name {
                    task.clone_from(&new.name);
                }
            }
        }
        other.tasks[stays].start |= old.start;
        other.tasks.remove(gone);
        large(other)
    })
}

/// The task that an action is about.
pub(super) fn operand(action: &mut Action) -> Option<&mut String> {
    match action {
        Action::Add(task)
        | Action::Remove(task)
        | Action::Cancel { task, .. }
        | Action::IsAlive(task)
        | Action::Submit { task, .. } => Some(task),
        Action::List | Action::Snapshot | Action::WaitReady | Action::Shutdown | Action::SetWall { .. } => {
            None
        }
    }
}

/// No controller and no additions: what is brought in first is there from the start, what replaces it takes it away.
pub(super) fn start_all(scenario: &Scenario) -> Edit {
    let mut other = scenario.clone();
    (other.mode, other.config.controller) = (Mode::Run, None);
    let mut started = Vec::new();
    let mut begins = |task: &mut TaskDecl| {
        let is_first = !started.contains(&task.name) && !task.start;
        started.push(task.name.clone());
        task.start |= is_first;
        is_first
    };
    let mut stays = Vec::new();
    for operation in &mut other.operations {
        let decl = match &operation.action {
            Action::Add(key) | Action::Submit { task: key, .. } => {
                other.tasks.iter_mut().find(|task| task.key() == key)
            }
            _ => None,
        };
        let Some(decl) = decl else {
            stays.push(true);
            continue;
        };
        stays.push(!begins(decl));
        if matches!(operation.action, Action::Submit { how: Admission::Replace, .. }) {
            operation.action = Action::Remove(decl.name.clone());
        } else {
            operation.action = Action::Add(decl.key().to_owned());
        }
    }
    let Edit { renaming, .. } = without_operations(scenario, |index, _| stays[index]);
    let mut left = stays.iter();
    other.operations.retain(|_| *left.next().unwrap_or(&true));
    Edit { scenario: other, renaming, is_large: true }
}

/// Brings a task in by plainer means, and asks plainer things.
pub(super) fn plainer_operations(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = vec![start_all(scenario)];
    if scenario.mode == Mode::Serve {
        let mut run = scenario.clone();
        run.mode = Mode::Run;
        edits.push(plain(run));
    }
    if scenario.config.controller.is_some() {
        let mut other = scenario.clone();
        other.config.controller = None;
        for operation in &mut other.operations {
            if let Action::Submit { task, .. } = &operation.action {
                operation.action = Action::Add(task.clone());
            }
        }
        edits.push(large(other));
    }
    for (index, operation) in scenario.operations.iter().enumerate() {
        let (rank, task) = kind(&operation.action);
        let task = task.and_then(|called| {
            scenario.tasks.iter().position(|task| {
                if is_by_key(&operation.action) { task.key() == called } else { task.name == called }
            })
        });
        // A task that is added could have been there from the start.
        if let (true, Some(task)) = (is_by_key(&operation.action), task) {
            let mut started = without_operations(scenario, |other, _| other != index);
            started.scenario.mode = Mode::Run;
            started.scenario.tasks[task].start = true;
            // Those that are there from the start begin in their order, and it came after them.
            let mut last = started.clone();
            let added = last.scenario.tasks.remove(task);
            last.scenario.tasks.push(added);
            edits.extend([started, last]);
        }
        let mut asks = |action: Action| {
            if kind(&action).0 < rank {
                let mut other = scenario.clone();
                other.operations[index].action = action;
                edits.push(large(other));
            }
        };
        asks(Action::Shutdown);
        let about = task.map_or(0..scenario.tasks.len(), |task| task..task + 1);
        for decl in &scenario.tasks[about] {
            asks(Action::Remove(decl.name.clone()));
            asks(Action::Add(decl.key().to_owned()));
            asks(Action::Cancel { task: decl.name.clone(), wait: None });
        }
    }
    // Versions of a task are asked for by the first one.
    for (index, operation) in scenario.operations.iter().enumerate() {
        for task in &scenario.tasks {
            let mut action = operation.action.clone();
            let by_key = is_by_key(&action);
            let Some(called) = operand(&mut action) else { break };
            let new = if by_key { task.key() } else { &task.name };
            if called == new {
                break; // those in front were tried
            }
            new.clone_into(called);
            let mut other = scenario.clone();
            other.operations[index].action = action;
            edits.push(plain(other));
        }
    }
    edits
}

/// Tasks end by themselves and no operation has to see to it, or calm ends them and no script has to.
pub(super) fn other_ends(scenario: &Scenario) -> Vec<Edit> {
    let mut ends = Vec::new();
    // A task that always restarts ends where it says that it was cancelled.
    for then in [Ending::Ok, Ending::Canceled] {
        let mut ended = scenario.clone();
        for task in &mut ended.tasks {
            task.script.push(Step { then, ..Step::default() });
        }
        ends.push(ended);
    }
    for calm_ms in 1..=3 {
        let mut calm = scenario.clone();
        calm.calm_at = Some(Span::from_millis(calm_ms));
        ends.push(calm.clone());
        for task in &mut calm.tasks {
            task.script.truncate(1);
            if task.restart == Restart::Never {
                task.restart = Restart::OnFailure;
            }
        }
        ends.push(calm);
    }
    let gone = (0..scenario.operations.len()).map(Some).chain([None]);
    let edits = gone.flat_map(|gone| {
        ends.iter().map(move |end| Edit {
            is_large: false,
            ..without_operations(end, |index, _| Some(index) != gone)
        })
    });
    edits.collect()
}

/// Makes scripts shorter: one step stands for all, or one goes.
pub(super) fn shorter_scripts(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, task) in scenario.tasks.iter().enumerate() {
        if task.script.len() < 2 {
            continue;
        }
        let mut scripts: Vec<Vec<Step>> = task.script.iter().map(|step| vec![*step]).collect();
        scripts.extend((0..task.script.len()).map(|gone| {
            let mut script = task.script.clone();
            script.remove(gone);
            script
        }));
        for script in scripts {
            let mut other = scenario.clone();
            other.tasks[index].script = script;
            // What comes after the steps that are gone comes as early.
            let mut early = other.clone();
            let after = early.operations.iter_mut().filter(|operation| !operation.at.is_zero());
            after.for_each(|operation| operation.at = Span::from_millis(1));
            edits.extend([plain(other), plain(early)]);
        }
    }
    edits
}

/// Settings go back to their defaults, one by one.
pub(super) fn zero_dials(scenario: &Scenario) -> impl Iterator<Item = Edit> + '_ {
    let ranks = dials::ranks(scenario);
    let set = ranks.into_iter().enumerate().filter(|(_, rank)| *rank > 0);
    set.map(|(place, _)| plain(dials::turned(scenario, &[(place, 0)])))
}

/// Settings become simpler, one by one.
pub(super) fn lower_dials(scenario: &Scenario) -> impl Iterator<Item = Edit> + '_ {
    let ranks = dials::ranks(scenario);
    let set = ranks.into_iter().enumerate().filter(|(_, rank)| *rank > 1);
    set.flat_map(move |(place, rank)| {
        dials::lower(rank).into_iter().map(move |lower| plain(dials::turned(scenario, &[(place, lower)])))
    })
}

/// The lengths of all spans that are no defaults.
fn lengths(scenario: &Scenario) -> Vec<u64> {
    let mut lengths = Vec::new();
    dials::spans(&mut scenario.clone(), &mut |span| lengths.push(span.ns()));
    lengths
}

fn with_spans(scenario: &Scenario, change: &dyn Fn(usize, u64) -> u64) -> Edit {
    let mut other = scenario.clone();
    let mut place = 0;
    dials::spans(&mut other, &mut |span| {
        *span = Span(change(place, span.ns()));
        place += 1;
    });
    plain(other)
}

const MS: u64 = 1_000_000;

/// By how much a length goes down: large steps first, for by nanoseconds alone there would be no end.
fn step_sizes(length: u64) -> impl Iterator<Item = u64> {
    let parts = (0..u64::BITS).step_by(3).map(move |size| length >> size);
    parts.take_while(|&by| by > 0).chain([MS, 1])
}

/// Spans become simpler together, so that what depends on their order, their equality or their differences is kept.
pub(super) fn lower_spans(scenario: &Scenario) -> Vec<Edit> {
    let all = lengths(scenario);
    let mut known = all.clone();
    known.sort_unstable();
    known.dedup();
    let mut edits = Vec::new();
    if known.len() > 1 {
        // Numbers in the same order keep everything that depends on order alone.
        let rank = |ns: u64| known.iter().filter(|&&other| other > 0 && other < ns).count() as u64;
        edits.push(with_spans(scenario, &|_, ns| if ns == 0 { 0 } else { (rank(ns) + 1) * MS }));
        edits.push(with_spans(scenario, &|_, ns| rank(ns) * MS));
    }
    edits.push(with_spans(scenario, &|_, ns| ns / MS * MS));
    edits.push(with_spans(scenario, &|_, ns| ns.div_ceil(MS) * MS));
    for &length in &known {
        for lower in [0, 1, 2, 3, 5, 10, length / MS / 2].map(|ms| ms * MS) {
            if lower < length && all.iter().filter(|&&ns| ns == length).count() > 1 {
                edits.push(with_spans(scenario, &|_, ns| if ns == length { lower } else { ns }));
            }
        }
        // Everything longer by the same.
        for by in step_sizes(length) {
            if by <= length {
                edits.push(with_spans(scenario, &|_, ns| if ns >= length { ns - by } else { ns }));
            }
        }
    }
    edits
}

/// Two spans become shorter by the same.
pub(super) fn lower_pairs_of_spans(scenario: &Scenario) -> Vec<Edit> {
    let all = lengths(scenario);
    let mut edits = Vec::new();
    if all.len() > 8 {
        return edits; // there is more to take away first
    }
    for one in 0..all.len() {
        for other in one + 1..all.len() {
            let most = all[one].min(all[other]);
            for by in [most / 2 / MS * MS].into_iter().chain(step_sizes(most)) {
                if by > 0 && by <= most {
                    let shorter = |place, ns: u64| if place == one || place == other { ns - by } else { ns };
                    edits.push(with_spans(scenario, &shorter));
                }
            }
        }
    }
    edits
}

/// What comes later comes as much earlier as there is a gap before it, and two instants become one.
pub(super) fn earlier(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    let Scenario { run_at, operations, .. } = scenario;
    if !run_at.is_zero() {
        edits.push(shifted(scenario, 0, run_at.ns())); // nothing happens before `run` is called
    }
    let mut instants: Vec<u64> = operations.iter().map(|operation| operation.at.ns()).collect();
    instants.sort_unstable();
    instants.dedup();
    let mut before = 0;
    for at in instants {
        for by in [at - before, (at - before).saturating_sub(MS)] {
            if by > 0 {
                edits.push(shifted(scenario, at, by));
            }
        }
        for (index, operation) in operations.iter().enumerate() {
            if operation.at.ns() > at {
                let mut other = scenario.clone();
                other.operations[index].at = Span(at);
                edits.push(plain(other));
            }
        }
        before = at;
    }
    edits
}

/// Everything from `from` on comes earlier.
fn shifted(scenario: &Scenario, from: u64, by: u64) -> Edit {
    let mut other = scenario.clone();
    let at = other.operations.iter_mut().map(|operation| &mut operation.at);
    for span in at.chain([&mut other.run_at]).chain(&mut other.calm_at) {
        if span.ns() >= from {
            *span = Span(span.ns().saturating_sub(by));
        }
    }
    plain(other)
}

/// Other ways to the same end, which no edit of one setting reaches.
pub(super) fn rewrite(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, task) in scenario.tasks.iter().enumerate() {
        let mut rewritten = |change: &dyn Fn(&mut Scenario, usize)| {
            let mut other = scenario.clone();
            change(&mut other, index);
            edits.push(plain(other));
        };
        let Backoff { max, jitter, .. } = task.backoff;
        let wait = |first: Span| Backoff { first, ..Backoff::default() };
        rewritten(&|other, task| other.tasks[task].backoff = wait(max));
        // The default is longer, and so everything is later.
        let later = Backoff::default().first.ns().saturating_sub(task.backoff.first.ns());
        rewritten(&|other, task| {
            other.tasks[task].backoff.first = Backoff::default().first;
            let after = other.operations.iter_mut().filter(|operation| !operation.at.is_zero());
            after.for_each(|operation| operation.at = Span(operation.at.ns() + later));
        });
        if jitter != Jitter::None {
            rewritten(&|other, task| other.tasks[task].backoff = wait(Span::from_millis(1)));
        }
        // A wait between successes is a backoff between failures.
        if let Restart::Always { every } = task.restart {
            rewritten(&|other, task| {
                let task = &mut other.tasks[task];
                task.restart = Restart::OnFailure;
                task.backoff = wait(every.unwrap_or(Span::ZERO));
                task.script.iter_mut().for_each(|step| step.then = Ending::Fail);
            });
        }
        // A timeout is a failure at its end.
        let timeout = task.timeout.unwrap_or(scenario.config.timeout);
        if !timeout.is_zero() {
            rewritten(&|other, task| {
                other.config.timeout = Span::ZERO;
                let task = &mut other.tasks[task];
                task.timeout = None;
                for step in task.script.iter_mut().filter(|step| step.run >= timeout) {
                    *step = Step { run: timeout, then: Ending::Fail, ..Step::default() };
                }
            });
            // The limit of all can be the limit of one.
            rewritten(&|other, task| {
                other.config.timeout = timeout;
                other.tasks[task].timeout = None;
            });
        }
        // What takes as long as the task of somebody else.
        for other in scenario.tasks.iter().filter(|other| other.script != task.script) {
            rewritten(&|changed, task| changed.tasks[task].script.clone_from(&other.script));
        }
    }
    // A replacement takes what runs away, and so does a removal.
    for (index, operation) in scenario.operations.iter().enumerate() {
        if let Action::Submit { task, how: Admission::Replace, .. } = &operation.action
            && let Some(decl) = scenario.tasks.iter().find(|decl| decl.key() == task)
        {
            let mut other = scenario.clone();
            other.operations[index].action = Action::Remove(decl.name.clone());
            edits.push(large(other));
        }
    }
    edits
}

/// Puts neighbours in another order.
pub(super) fn swap_items(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    for first in 1..scenario.operations.len() {
        let mut other = scenario.clone();
        other.operations.swap(first - 1, first);
        let mut numbers: Vec<_> = (0..scenario.operations.len()).map(Some).collect();
        numbers.swap(first - 1, first);
        let renaming = Renaming { operations: Some(numbers), ..Renaming::default() };
        edits.push(Edit { scenario: other, renaming, is_large: false });
    }
    let mut renamed_after = |swap: &dyn Fn(&mut Scenario), count: usize, first: usize| {
        if first < count {
            let mut other = scenario.clone();
            swap(&mut other);
            edits.push(renamed(&other));
        }
    };
    for first in 1..scenario.tasks.len() {
        renamed_after(&|other| other.tasks.swap(first - 1, first), scenario.tasks.len(), first);
    }
    for first in 1..scenario.subscribers.len() {
        renamed_after(&|other| other.subscribers.swap(first - 1, first), scenario.subscribers.len(), first);
    }
    for first in 1..scenario.receivers.len() {
        renamed_after(&|other| other.receivers.swap(first - 1, first), scenario.receivers.len(), first);
    }
    edits
}

/// Gives everybody the names that come first.
pub(super) fn rename(scenario: &Scenario) -> std::iter::Once<Edit> {
    std::iter::once(renamed(scenario))
}

fn renamed(scenario: &Scenario) -> Edit {
    let mut scenario = Scenario { name: String::new(), story: String::new(), ..scenario.clone() };
    let mut renaming = Renaming::default();
    let mut names: Vec<(String, String)> = Vec::new();
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut versions: Vec<usize> = Vec::new();
    for (place, task) in scenario.tasks.iter_mut().enumerate() {
        let known = names.iter().position(|(old, _)| *old == task.name);
        let index = known.unwrap_or_else(|| {
            names.push((task.name.clone(), name_of_task(place)));
            versions.push(0);
            names.len() - 1
        });
        versions[index] += 1;
        let new = names[index].1.clone();
        let key = (versions[index] > 1).then(|| format!("{new}{}", versions[index]));
        keys.push((task.key().to_owned(), key.clone().unwrap_or_else(|| new.clone())));
        (task.name, task.key) = (new, key);
    }
    for operation in &mut scenario.operations {
        let table = if is_by_key(&operation.action) { &keys } else { &names };
        if let Some(called) = operand(&mut operation.action)
            && let Some((_, new)) = table.iter().find(|(old, _)| old == called)
        {
            called.clone_from(new);
        }
    }
    let mut tell = |kind, old: &str, new: &str| {
        renaming.names.push((kind, Arc::from(old), Arc::from(new)));
    };
    for (old, new) in &names {
        tell(LaneKind::Actor, old, new);
        tell(LaneKind::Courier, old, new);
    }
    for (number, decl) in (1..).zip(&mut scenario.subscribers) {
        let new = format!("s{number}");
        tell(LaneKind::Worker, &decl.name, &new);
        decl.name = new;
    }
    for (number, decl) in (1..).zip(&mut scenario.receivers) {
        let new = format!("r{number}");
        tell(LaneKind::Receiver, &decl.name, &new);
        decl.name = new;
    }
    Edit { scenario, renaming, is_large: false }
}

/// Everything else that is as small, counted off: the settings of all (or of one task, where there are many) go back to
/// zero and up to two of them to one of their simplest places.
pub(super) fn afresh(scenario: &Scenario, scope: Scope) -> Vec<Edit> {
    let (zero, places) = match scope {
        Scope::All => (dials::zeroed(scenario), 0..usize::MAX),
        Scope::Task(task) => (dials::zeroed_task(scenario, task), dials::places_of_task(scenario, task)),
    };
    // What zeroing took away has moved the places of others.
    let places = match scope {
        Scope::All => places,
        Scope::Task(task) => dials::places_of_task(&zero, task),
    };
    let turns: Vec<_> = dials::turns(&zero).into_iter().filter(|(place, _)| places.contains(place)).collect();
    let mut edits = vec![plain(zero.clone())];
    edits.extend(turns.iter().map(|&turn| plain(dials::turned(&zero, &[turn]))));
    for (index, &one) in turns.iter().enumerate() {
        let others = turns[index + 1..].iter().filter(|other| other.0 != one.0);
        edits.extend(others.map(|&other| plain(dials::turned(&zero, &[one, other]))));
    }
    edits
}

/// What [`afresh`] counts off.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    All,
    Task(usize),
}

/// One setting goes back to its default and another takes one of its simplest values instead.
pub(super) fn trade(scenario: &Scenario) -> impl Iterator<Item = Edit> + '_ {
    let ranks = dials::ranks(scenario);
    let set: Vec<_> = (0..ranks.len()).filter(|&place| ranks[place] > 0).collect();
    let turns = dials::turns(scenario);
    set.into_iter().flat_map(move |gone| {
        let others: Vec<_> = turns.iter().copied().filter(|(place, _)| *place != gone).collect();
        others.into_iter().map(move |turn| plain(dials::turned(scenario, &[(gone, 0), turn])))
    })
}

/// Two settings take one of their simplest values each; and operations come a millisecond later.
pub(super) fn retune(scenario: &Scenario) -> impl Iterator<Item = Edit> + '_ {
    let ranks = dials::ranks(scenario);
    let turns: Vec<_> = dials::turns(scenario).into_iter().filter(|(place, _)| ranks[*place] > 0).collect();
    let pairs = (0..turns.len()).flat_map(move |one| (0..one).map(move |other| (one, other)));
    let pairs: Vec<_> = pairs.map(|(one, other)| [turns[other], turns[one]]).collect();
    pairs.into_iter().filter(|[one, other]| one.0 != other.0).flat_map(|pair| {
        let turned = dials::turned(scenario, &pair);
        let mut later = turned.clone();
        later.operations.iter_mut().for_each(|operation| operation.at = Span(operation.at.ns() + MS));
        [plain(turned), plain(later)]
    })
}

/// An operation comes a millisecond after the start, and so does the end of a body.
pub(super) fn apart(scenario: &Scenario) -> Vec<Edit> {
    let mut edits = Vec::new();
    let later = Span::from_millis(1);
    for operation in (0..scenario.operations.len()).filter(|&index| scenario.operations[index].at.is_zero()) {
        for task in 0..scenario.tasks.len() {
            let mut other = scenario.clone();
            other.operations[operation].at = later;
            other.tasks[task].script[0].run = later;
            edits.push(plain(other));
        }
    }
    edits
}

/// One setting takes one of its simplest values, or two spans take a millisecond each: what may stand for a choice.
pub(super) fn turn_up(scenario: &Scenario) -> Vec<Edit> {
    let ranks = dials::ranks(scenario);
    let turns = dials::turns(scenario);
    let mut edits: Vec<_> = turns.iter().map(|&turn| plain(dials::turned(scenario, &[turn]))).collect();
    let spans: Vec<_> = turns.into_iter().filter(|(place, rank)| *rank == 2 && ranks[*place] == 0).collect();
    for (index, &one) in spans.iter().enumerate() {
        edits.extend(spans[index + 1..].iter().map(|&other| plain(dials::turned(scenario, &[one, other]))));
    }
    edits
}
