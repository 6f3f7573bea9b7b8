//! What can be made simpler in a scenario.
//!
//! A scenario is edited as the JSON of its case file with everything left out that is a default, so that every field
//! is reached without being named here. An edit that makes no valid scenario is skipped without a run.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::deviations::{Deviation, To, Who};
use crate::scenario::{Action, Scenario, Span, keys, remove, short as shortest};
use crate::world::LaneKind;

pub(super) fn text(value: &Value) -> String {
    value.to_string()
}

/// The scenario, if it makes sense.
pub(super) fn parse(value: &Value) -> Option<Scenario> {
    let scenario: Scenario = serde_json::from_value(value.clone()).ok()?;
    scenario.check().ok()?;
    Some(scenario)
}

/// How simple a case is; less is simpler.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Tasks, subscribers, receivers and operations.
    items: usize,
    /// Steps of scripts, settings that are no defaults and choices that are not zero, as many as a reader has to take
    /// in; a choice is harder to read than a setting.
    details: usize,
    deviations: usize,
    /// How large and how odd values are.
    weight: u128,
    /// Shortest first, then in order of the alphabet.
    length: usize,
    text: String,
    values: u64,
}

impl Cost {
    pub(super) fn new(short: &Value, deviations: &[Deviation]) -> Self {
        let count = |key: &str| short.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        let mut leaves = (0, 0);
        weigh("", short, &mut leaves);
        let text = text(short);
        let steps: usize = array(short, "task").iter().map(|task| array(task, "script").len()).sum();
        Self {
            items: ITEMS.iter().map(|key| count(key)).sum(),
            details: 2 * steps + leaves.0 + 2 * deviations.len(),
            deviations: deviations.len(),
            weight: leaves.1,
            length: text.len(),
            text,
            values: deviations.iter().map(Deviation::size).sum(),
        }
    }

    pub(super) fn items(&self) -> usize {
        self.items
    }
}

const ITEMS: [&str; 4] = ["task", "operation", "subscriber", "receiver"];

/// Values of a field, the simplest first.
const RANKS: [(&str, &[&str]); 6] = [
    ("then", &["ok", "fail", "canceled", "fatal", "panic", "never"]),
    ("restart", &["never"]),
    ("jitter", &["none", "full", "equal", "decorrelated"]),
    ("disorder", &["none", "late", "late-and-twice"]),
    ("how", &["queue", "replace", "drop-if-running"]),
    ("on_cancel", &["ignore"]),
];

fn span(text: &str) -> Option<Span> {
    serde_json::from_value(Value::String(text.to_owned())).ok()
}

fn span_value(ns: u64) -> Value {
    Value::String(Span(ns).to_string())
}

fn weight_of_span(ns: u64) -> u128 {
    const MS: u64 = 1_000_000;
    let odd = if ns.is_multiple_of(MS) { 0 } else { 1_000 };
    u128::from(ns.div_ceil(MS)) + odd
}

fn weigh(key: &str, value: &Value, (leaves, weight): &mut (usize, u128)) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let mut inside = (0, 0);
                weigh(key, value, &mut inside);
                *leaves += inside.0;
                *weight += inside.1;
            }
        }
        Value::Array(entries) => {
            for value in entries {
                let mut inside = (0, 0);
                weigh(key, value, &mut inside);
                *leaves += inside.0;
                *weight += inside.1;
            }
        }
        Value::Number(number) => {
            *leaves += 1;
            let number = number.as_f64().unwrap_or(f64::MAX).abs();
            *weight += if number.fract() == 0.0 { number as u128 } else { number as u128 + 1_000 };
        }
        Value::String(text) => {
            *leaves += 1;
            let rank = RANKS.iter().find(|(known, _)| *known == key);
            let rank = rank.and_then(|(_, values)| values.iter().position(|value| value == text));
            *weight += match (rank, span(text)) {
                (Some(rank), _) => rank as u128,
                (None, Some(span)) => weight_of_span(span.ns()),
                (None, None) => 1,
            };
        }
        Value::Bool(_) | Value::Null => *leaves += 1,
    }
}

/// A simpler scenario, and how the futures of the old one are called in it.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) short: Value,
    pub(super) renaming: Renaming,
    /// It takes something away that has a future of its own.
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

fn plain(short: Value) -> Edit {
    Edit { short, renaming: Renaming::default(), is_large: false }
}

fn array<'a>(short: &'a Value, key: &str) -> &'a [Value] {
    short.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn array_mut<'a>(short: &'a mut Value, key: &str) -> Option<&'a mut Vec<Value>> {
    short.get_mut(key).and_then(Value::as_array_mut)
}

/// Takes away every operation that `keep` does not want, by its number from 0.
fn without_operations(short: &Value, keep: impl Fn(usize, &Value) -> bool) -> Edit {
    let mut other = short.clone();
    let mut operations = Vec::new();
    let mut left = 0;
    for (index, operation) in array(short, "operation").iter().enumerate() {
        let stays = keep(index, operation);
        operations.push(stays.then_some(left));
        left += usize::from(stays);
    }
    if let Some(array) = array_mut(&mut other, "operation") {
        let mut stays = operations.iter().map(Option::is_some);
        array.retain(|_| stays.next().unwrap_or(true));
    }
    drop_if_empty(&mut other, "operation");
    let renaming = Renaming { operations: Some(operations), ..Renaming::default() };
    Edit { short: other, renaming, is_large: true }
}

fn drop_if_empty(short: &mut Value, key: &str) {
    if array(short, key).is_empty()
        && let Value::Object(entries) = short
    {
        entries.remove(key);
    }
}

/// The task that an operation is about, by key or name.
fn object_of(operation: &Value) -> Option<&str> {
    let action = operation.get("do")?.as_object()?.values().next()?;
    match action {
        Value::String(name) => Some(name),
        other => other.get("task").and_then(Value::as_str),
    }
}

/// Takes away runs of `size` items of one kind.
pub(super) fn drop_items(short: &Value, key: &str, size: usize) -> Vec<Edit> {
    let items = array(short, key);
    let starts = (0..items.len()).step_by(size.max(1));
    starts
        .map(|start| {
            let gone = start..(start + size).min(items.len());
            if key == "operation" {
                return without_operations(short, |index, _| !gone.contains(&index));
            }
            let mut edit = if key == "task" {
                let called = |task: &Value| {
                    let called = task.get("key").or_else(|| task.get("name"));
                    called.and_then(Value::as_str).map(str::to_owned)
                };
                let names: Vec<_> = items[gone.clone()].iter().filter_map(called).collect();
                without_operations(short, |_, operation| {
                    object_of(operation).is_none_or(|name| !names.iter().any(|gone| gone == name))
                })
            } else {
                Edit { short: short.clone(), renaming: Renaming::default(), is_large: true }
            };
            if let Some(items) = array_mut(&mut edit.short, key) {
                items.drain(gone);
            }
            drop_if_empty(&mut edit.short, key);
            edit
        })
        .collect()
}

/// Takes away one step of a script each.
pub(super) fn drop_steps(short: &Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (task, decl) in array(short, "task").iter().enumerate() {
        for step in 0..array(decl, "script").len() {
            let mut other = short.clone();
            let decl = &mut array_mut(&mut other, "task").expect("it has tasks")[task];
            array_mut(decl, "script").expect("it has steps").remove(step);
            drop_if_empty(decl, "script");
            edits.push(plain(other));
        }
    }
    edits
}

/// Takes away one setting each, the largest first.
pub(super) fn drop_settings(short: &Value) -> Vec<Edit> {
    let mut paths = Vec::new();
    keys(short, &mut String::new(), &mut paths);
    paths.sort_by_key(|path| path.matches('/').count());
    let edit = |path: String| {
        let mut other = short.clone();
        remove(&mut other, &path);
        plain(other)
    };
    paths.into_iter().filter(|path| !ITEMS.contains(&&path[1..])).map(edit).collect()
}

/// All values that are spans, with their paths.
fn spans(value: &Value, path: &mut String, found: &mut Vec<(String, u64)>) {
    let length = path.len();
    match value {
        Value::Object(entries) => {
            for (key, value) in
                entries.iter().filter(|(key, _)| !["name", "story", "key"].contains(&key.as_str()))
            {
                path.push('/');
                path.push_str(key);
                spans(value, path, found);
                path.truncate(length);
            }
        }
        Value::Array(entries) => {
            for (index, value) in entries.iter().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                spans(value, path, found);
                path.truncate(length);
            }
        }
        Value::String(text) => found.extend(span(text).map(|span| (path.clone(), span.ns()))),
        _ => {}
    }
}

fn with_spans(short: &Value, changes: &[(&str, u64)]) -> Edit {
    let mut other = short.clone();
    for (path, ns) in changes {
        if let Some(value) = other.pointer_mut(path) {
            *value = span_value(*ns);
        }
    }
    plain(other)
}

/// Simpler spans than this, the simplest first.
fn simpler_spans(ns: u64) -> impl Iterator<Item = u64> {
    const MS: u64 = 1_000_000;
    let ms = ns / MS;
    let steps = [0, 1, 2, 3, 5, 10].into_iter().filter(move |&step| step < ms || step == 0);
    let lower = [ms / 2, ms.saturating_sub(1), ms, ms + 1].into_iter().filter(|&ms| ms > 0);
    steps
        .chain(lower)
        .map(|ms| ms * MS)
        .filter(move |&other| weight_of_span(other) < weight_of_span(ns) || other == 0 && ns > 0)
}

/// Makes spans simpler: all of one length together, then one by one.
pub(super) fn lower_spans(short: &Value) -> Vec<Edit> {
    let mut found = Vec::new();
    spans(short, &mut String::new(), &mut found);
    let mut lengths: Vec<u64> = found.iter().map(|(_, ns)| *ns).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut edits = Vec::new();
    // Smaller numbers in the same order keep everything that depends on order alone.
    if lengths.len() > 1 {
        let rank = |ns: u64| lengths.iter().filter(|&&other| other > 0 && other < ns).count() as u64 + 1;
        let ranked = |ns: u64| if ns == 0 { 0 } else { rank(ns) * 1_000_000 };
        let changes: Vec<_> = found.iter().map(|(path, ns)| (path.as_str(), ranked(*ns))).collect();
        edits.push(with_spans(short, &changes));
    }
    for &length in &lengths {
        let paths: Vec<_> =
            found.iter().filter(|(_, ns)| *ns == length).map(|(path, _)| path.as_str()).collect();
        for lower in simpler_spans(length) {
            let changes: Vec<_> = paths.iter().map(|&path| (path, lower)).collect();
            edits.push(with_spans(short, &changes));
        }
        if paths.len() > 1 {
            for path in paths {
                edits.extend(simpler_spans(length).map(|lower| with_spans(short, &[(path, lower)])));
            }
        }
    }
    edits
}

/// Makes two spans shorter by the same, so that what depends on their difference or their sum with a third is kept.
pub(super) fn lower_pairs_of_spans(short: &Value) -> Vec<Edit> {
    let mut found = Vec::new();
    spans(short, &mut String::new(), &mut found);
    found.retain(|(_, ns)| *ns > 0);
    let mut edits = Vec::new();
    if found.len() > 8 {
        return edits; // there is more to take away first
    }
    for (index, (one, ns)) in found.iter().enumerate() {
        for (other, other_ns) in &found[index + 1..] {
            let most = *ns.min(other_ns);
            for by in [most, most / 2 / 1_000_000 * 1_000_000, 1_000_000, 1] {
                if by > 0 && by <= most {
                    edits.push(with_spans(short, &[(one, ns - by), (other, other_ns - by)]));
                }
            }
        }
    }
    edits
}

/// Brings a task in by plainer means: by `run` and not by an operation, by an add and not by a submission.
pub(super) fn plainer_beginnings(short: &Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, operation) in array(short, "operation").iter().enumerate() {
        let action = operation.get("do");
        let added = action.and_then(|action| action.get("add")).and_then(Value::as_str);
        let submitted = action.and_then(|action| action.get("submit")?.get("task")).and_then(Value::as_str);
        let Some(key) = added.or(submitted) else { continue };
        let mut started = without_operations(short, |other, _| other != index);
        remove(&mut started.short, "/mode");
        for task in array_mut(&mut started.short, "task").into_iter().flatten() {
            let called = task.get("key").or_else(|| task.get("name")).and_then(Value::as_str);
            if called == Some(key)
                && let Value::Object(task) = task
            {
                task.insert("start".to_owned(), Value::Bool(true));
            }
        }
        edits.push(started);
        if submitted.is_some() {
            let mut added = Edit { short: short.clone(), renaming: Renaming::default(), is_large: true };
            let add = Map::from_iter([("add".to_owned(), Value::from(key))]);
            array_mut(&mut added.short, "operation").expect("it has operations")[index]["do"] =
                Value::Object(add);
            edits.push(added);
        }
    }
    edits
}

/// Says the same by plainer means: other ways to the same end that a single edit does not reach.
pub(super) fn rewrite(short: &Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    // Nothing happens before `run` is called.
    if let Some(run_at) = short.get("run_at").and_then(Value::as_str).and_then(span) {
        edits.push(earlier(short, 0, run_at.ns()));
    }
    // What comes later comes as much earlier as there is a gap before it.
    let mut instants: Vec<u64> = array(short, "operation").iter().filter_map(instant).collect();
    instants.sort_unstable();
    instants.dedup();
    let mut before = 0;
    for at in instants {
        for by in [at - before, (at - before).saturating_sub(1_000_000)] {
            if by > 0 {
                edits.push(earlier(short, at, by));
            }
        }
        before = at;
    }
    for (index, task) in array(short, "task").iter().enumerate() {
        let mut rewritten = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut other = short.clone();
            if let Some(Value::Object(task)) = array_mut(&mut other, "task").map(|tasks| &mut tasks[index]) {
                change(task);
            }
            edits.push(plain(other));
        };
        let wait = |first: Value| Value::Object(Map::from_iter([("first".to_owned(), first)]));
        let backoff = task.get("backoff");
        if let Some(max) = backoff.and_then(|backoff| backoff.get("max")) {
            rewritten(&|task| drop(task.insert("backoff".to_owned(), wait(max.clone()))));
        }
        if backoff.is_some_and(|backoff| backoff.get("jitter").is_some()) {
            rewritten(&|task| drop(task.insert("backoff".to_owned(), wait(Value::from("1ms")))));
        }
        // A wait between successes is a backoff between failures.
        if let Some(every) = task.get("restart").and_then(|restart| restart.get("always")) {
            let every = every.get("every").cloned().unwrap_or_else(|| Value::from("0s"));
            rewritten(&|task| {
                task.remove("restart");
                task.insert("backoff".to_owned(), wait(every.clone()));
                let steps =
                    task.entry("script").or_insert_with(|| Value::Array(vec![Value::Object(Map::new())]));
                for step in steps.as_array_mut().into_iter().flatten() {
                    step["then"] = Value::from("fail");
                }
            });
        }
        // A timeout is a failure at its end.
        if let Some(timeout) = task.get("timeout").or_else(|| short.pointer("/config/timeout")) {
            rewritten(&|task| {
                task.remove("timeout");
                let step = [("run".to_owned(), timeout.clone()), ("then".to_owned(), Value::from("fail"))];
                task.insert("script".to_owned(), Value::Array(vec![Value::Object(Map::from_iter(step))]));
            });
            if let Some(edit) = edits.last_mut() {
                remove(&mut edit.short, "/config/timeout");
            }
        }
        // One step for all.
        let steps = array(task, "script");
        if steps.len() > 1 {
            for step in steps {
                let mut other = short.clone();
                array_mut(&mut other, "task").expect("it has tasks")[index]["script"] =
                    Value::Array(vec![step.clone()]);
                edits.push(plain(other));
            }
        }
    }
    // A replacement takes what runs away, and so does a removal.
    for (index, operation) in array(short, "operation").iter().enumerate() {
        if let Some(key) = operation.get("do").and_then(|action| action.get("submit")?.get("task"))
            && let Some(task) = array(short, "task")
                .iter()
                .find(|task| task.get("key").or_else(|| task.get("name")) == Some(key))
            && let Some(name) = task.get("name")
        {
            let mut other = short.clone();
            let removal = Map::from_iter([("remove".to_owned(), name.clone())]);
            array_mut(&mut other, "operation").expect("it has operations")[index]["do"] =
                Value::Object(removal);
            edits.push(Edit { short: other, renaming: Renaming::default(), is_large: true });
        }
    }
    edits
}

fn instant(operation: &Value) -> Option<u64> {
    operation.get("at").and_then(Value::as_str).and_then(span).map(Span::ns)
}

/// Everything from `from` on comes earlier.
fn earlier(short: &Value, from: u64, by: u64) -> Edit {
    let mut other = short.clone();
    let shift = |value: &mut Value| {
        if let Some(at) = value.as_str().and_then(span)
            && at.ns() >= from
        {
            *value = span_value(at.ns().saturating_sub(by));
        }
    };
    for key in ["run_at", "calm_at"] {
        other.get_mut(key).into_iter().for_each(shift);
    }
    for operation in array_mut(&mut other, "operation").into_iter().flatten() {
        operation.get_mut("at").into_iter().for_each(shift);
    }
    plain(other)
}

/// Makes numbers smaller and words simpler, one by one.
pub(super) fn lower_values(short: &Value) -> Vec<Edit> {
    let mut paths = Vec::new();
    keys(short, &mut String::new(), &mut paths);
    let mut edits = Vec::new();
    for path in paths {
        let key = path.rsplit('/').next().unwrap_or_default();
        let mut set = |value: Value| {
            let mut other = short.clone();
            if let Some(place) = other.pointer_mut(&path)
                && *place != value
            {
                *place = value;
                edits.push(plain(other));
            }
        };
        let value = short.pointer(&path).expect("the path was found there");
        if let Some((_, words)) = RANKS.iter().find(|(known, _)| *known == key) {
            let until = words.iter().position(|word| value == word).unwrap_or(words.len());
            words[..until].iter().for_each(|word| set(Value::from(*word)));
        }
        if let Value::Number(number) = value {
            if let Some(number) = number.as_u64() {
                let lower = [0, 1, 2, 3, number / 2, number.saturating_sub(1)];
                lower.into_iter().filter(|&lower| lower < number).for_each(|lower| set(Value::from(lower)));
            } else if let Some(number) = number.as_f64() {
                [1.0, 2.0, number.trunc()]
                    .into_iter()
                    .filter(|&other| other.abs() < number.abs())
                    .for_each(|other| set(Value::from(other)));
            }
        }
        // A removal is plainer than a cancellation, and a submission with room plainer than one that gives up.
        if key == "do"
            && let Some(cancel) = value.get("cancel")
            && let Some(task) = cancel.get("task")
        {
            set(Value::Object(Map::from_iter([("remove".to_owned(), task.clone())])));
        }
    }
    edits
}

/// Puts neighbours in another order.
pub(super) fn swap_items(short: &Value) -> Vec<Edit> {
    let mut edits = Vec::new();
    for key in ITEMS {
        for first in 1..array(short, key).len() {
            let mut other = short.clone();
            array_mut(&mut other, key).expect("it has two").swap(first - 1, first);
            let operations = (key == "operation").then(|| {
                let mut numbers: Vec<_> = (0..array(short, key).len()).map(Some).collect();
                numbers.swap(first - 1, first);
                numbers
            });
            let Some(scenario) = parse(&other) else { continue };
            let (scenario, mut renaming) = renamed(&scenario);
            renaming.operations = operations;
            edits.push(Edit { short: shortest(&scenario), renaming, is_large: false });
        }
    }
    edits
}

/// Gives everybody the names that come first.
pub(super) fn rename(short: &Value) -> Option<Edit> {
    let (scenario, renaming) = renamed(&parse(short)?);
    Some(Edit { short: shortest(&scenario), renaming, is_large: false })
}

fn renamed(scenario: &Scenario) -> (Scenario, Renaming) {
    let mut scenario = Scenario { name: String::new(), story: String::new(), ..scenario.clone() };
    let mut renaming = Renaming::default();
    let mut names: Vec<(String, String)> = Vec::new();
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut versions: Vec<usize> = Vec::new();
    for task in &mut scenario.tasks {
        let known = names.iter().position(|(old, _)| *old == task.name);
        let index = known.unwrap_or_else(|| {
            let letter = u8::try_from(names.len()).ok().filter(|&number| number < 26);
            let new = letter
                .map_or_else(|| format!("t{}", names.len()), |number| char::from(b'a' + number).to_string());
            names.push((task.name.clone(), new));
            versions.push(0);
            names.len() - 1
        });
        versions[index] += 1;
        let new = names[index].1.clone();
        let key = (versions[index] > 1).then(|| format!("{new}{}", versions[index]));
        keys.push((task.key().to_owned(), key.clone().unwrap_or_else(|| new.clone())));
        (task.name, task.key) = (new, key);
    }
    let lookup = |table: &[(String, String)], name: &mut String| {
        if let Some((_, new)) = table.iter().find(|(old, _)| old == name) {
            name.clone_from(new);
        }
    };
    for operation in &mut scenario.operations {
        match &mut operation.action {
            Action::Add(key) | Action::Submit { task: key, .. } => lookup(&keys, key),
            Action::Remove(name) | Action::Cancel { task: name, .. } | Action::IsAlive(name) => {
                lookup(&names, name);
            }
            _ => {}
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
    (scenario, renaming)
}
