//! What the generator draws: every branch of a scenario, each also left out, and many things at one instant.

use std::collections::{BTreeMap, BTreeSet};

use simvisor_sim::scenario::{
    Action, Behaviour, Disorder, Mode, OnCancel, Restart, Scenario, Span, Step, TaskDecl, generate, to_toml,
};

const SEEDS: u64 = 4_000;

/// Every branch that a scenario can take. Each must be taken by 20 of [`SEEDS`] seeds.
const BRANCHES: &[&str] = &[
    "run",
    "serve",
    "run late",
    "calm",
    "grace of none",
    "grace",
    "permits",
    "no limit of permits",
    "bus of 1",
    "bus of 2",
    "roomy bus",
    "configured timeout",
    "controller",
    "no controller",
    "queue of 1",
    "slot of 0",
    "slot of 1",
    "in order",
    "late",
    "late and twice",
    "two versions of a task",
    "started by run",
    "not started by run",
    "never",
    "on failure",
    "always",
    "always at once",
    "no jitter",
    "full jitter",
    "equal jitter",
    "decorrelated jitter",
    "factor 1",
    "growing factor",
    "shrinking factor",
    "infinite factor",
    "timeout",
    "timeout just in time",
    "timeout a nanosecond early",
    "timeout of another step",
    "ok",
    "fail",
    "fatal",
    "canceled",
    "panic",
    "no end",
    "heeds at once",
    "heeds after cleaning up",
    "ignores cancellation",
    "quick",
    "slow",
    "stuck",
    "panics",
    "tiny queue",
    "receiver",
    "sleepy receiver",
    "add",
    "remove",
    "cancel",
    "cancel with a wait",
    "list, snapshot, is_alive",
    "wait_ready",
    "shutdown",
    "two shutdowns",
    "wall clock",
    "submit",
    "try_submit",
    "an absent name",
];

fn of_config(scenario: &Scenario, mut takes: impl FnMut(&'static str)) {
    let config = &scenario.config;
    takes(if scenario.mode == Mode::Run { "run" } else { "serve" });
    takes(if config.grace.is_zero() { "grace of none" } else { "grace" });
    takes(if config.max_concurrent > 0 { "permits" } else { "no limit of permits" });
    takes(match config.bus_capacity {
        1 => "bus of 1",
        2 => "bus of 2",
        _ => "roomy bus",
    });
    takes(match config.disorder {
        Disorder::None => "in order",
        Disorder::Late => "late",
        Disorder::LateAndTwice => "late and twice",
    });
    takes(if config.controller.is_some() { "controller" } else { "no controller" });
    let may = [
        (!scenario.run_at.is_zero(), "run late"),
        (scenario.calm_at.is_some(), "calm"),
        (!config.timeout.is_zero(), "configured timeout"),
        (config.controller.is_some_and(|controller| controller.queue_capacity == 1), "queue of 1"),
        (config.controller.is_some_and(|controller| controller.slot_capacity == 0), "slot of 0"),
        (config.controller.is_some_and(|controller| controller.slot_capacity == 1), "slot of 1"),
        (scenario.tasks.iter().any(|task| task.key.is_some()), "two versions of a task"),
        (scenario.receivers.iter().any(|receiver| receiver.pause.is_zero()), "receiver"),
        (scenario.receivers.iter().any(|receiver| !receiver.pause.is_zero()), "sleepy receiver"),
        (scenario.subscribers.iter().any(|subscriber| subscriber.capacity <= 2), "tiny queue"),
    ];
    may.into_iter().filter(|(is, _)| *is).for_each(|(_, branch)| takes(branch));
    for subscriber in &scenario.subscribers {
        takes(match subscriber.behaviour {
            Behaviour::Quick => "quick",
            Behaviour::Slow { .. } => "slow",
            Behaviour::Stuck { .. } => "stuck",
            Behaviour::Panics { .. } => "panics",
        });
    }
}

fn of_task(task: &TaskDecl, mut takes: impl FnMut(&'static str)) {
    takes(if task.start { "started by run" } else { "not started by run" });
    takes(match task.restart {
        Restart::Never => "never",
        Restart::OnFailure => "on failure",
        Restart::Always { every: Some(_) } => "always",
        Restart::Always { every: None } => "always at once",
    });
    takes(match format!("{:?}", task.backoff.jitter).as_str() {
        "None" => "no jitter",
        "Full" => "full jitter",
        "Equal" => "equal jitter",
        "Decorrelated" => "decorrelated jitter",
        other => panic!("{other} is not known here"),
    });
    takes(match task.backoff.factor {
        1.0 => "factor 1",
        f64::INFINITY => "infinite factor",
        factor if factor < 1.0 => "shrinking factor",
        _ => "growing factor",
    });
    if let Some(Span(timeout)) = task.timeout {
        let step = |is: &dyn Fn(u64) -> bool| task.script.iter().any(|step| is(step.run.0));
        takes("timeout");
        if step(&|run| run > 0 && run == timeout) {
            takes("timeout just in time");
        } else if step(&|run| run == timeout + 1) {
            takes("timeout a nanosecond early");
        } else {
            takes("timeout of another step");
        }
    }
    for Step { then, on_cancel, .. } in &task.script {
        takes(match format!("{then:?}").as_str() {
            "Ok" => "ok",
            "Fail" => "fail",
            "Fatal" => "fatal",
            "Canceled" => "canceled",
            "Panic" => "panic",
            "Never" => "no end",
            other => panic!("{other} is not known here"),
        });
        takes(match on_cancel {
            OnCancel::Ignore => "ignores cancellation",
            OnCancel::End { after, .. } if after.is_zero() => "heeds at once",
            OnCancel::End { .. } => "heeds after cleaning up",
        });
    }
}

fn of_action(scenario: &Scenario, action: &Action, mut takes: impl FnMut(&'static str)) {
    let absent = |name: &str| scenario.tasks.iter().all(|task| task.name != name);
    takes(match action {
        Action::Add(_) => "add",
        Action::Remove(name) | Action::IsAlive(name) if absent(name) => "an absent name",
        Action::Cancel { task, .. } if absent(task) => "an absent name",
        Action::Remove(_) => "remove",
        Action::Cancel { wait: None, .. } => "cancel",
        Action::Cancel { wait: Some(_), .. } => "cancel with a wait",
        Action::List | Action::Snapshot | Action::IsAlive(_) => "list, snapshot, is_alive",
        Action::WaitReady => "wait_ready",
        Action::Shutdown => "shutdown",
        Action::SetWall { .. } => "wall clock",
        Action::Submit { at_once: false, .. } => "submit",
        Action::Submit { at_once: true, .. } => "try_submit",
    });
}

fn branches(scenario: &Scenario) -> BTreeSet<&'static str> {
    let mut taken = BTreeSet::new();
    let mut takes = |branch| {
        taken.insert(branch);
    };
    of_config(scenario, &mut takes);
    scenario.tasks.iter().for_each(|task| of_task(task, &mut takes));
    let actions = || scenario.operations.iter().map(|operation| &operation.action);
    actions().for_each(|action| of_action(scenario, action, &mut takes));
    if actions().filter(|action| **action == Action::Shutdown).count() > 1 {
        takes("two shutdowns");
    }
    taken
}

#[test]
fn every_branch_is_taken_by_many_seeds_and_left_out_by_many() {
    let mut taken: BTreeMap<_, u64> = BRANCHES.iter().map(|branch| (*branch, 0)).collect();
    for seed in 0..SEEDS {
        for branch in branches(&generate(seed)) {
            *taken.get_mut(branch).unwrap_or_else(|| panic!("{branch} is not in the list")) += 1;
        }
    }
    let rare: Vec<_> = taken.iter().filter(|(_, seeds)| **seeds < 20).collect();
    assert!(rare.is_empty(), "taken by few of {SEEDS} seeds: {rare:?}");
    let common: Vec<_> = taken.iter().filter(|(_, seeds)| **seeds > SEEDS - 20).collect();
    assert!(common.is_empty(), "left out by few of {SEEDS} seeds, so it may conceal something: {common:?}");
}

#[test]
fn several_operations_at_one_instant_are_common() {
    let meets = |scenario: &Scenario| {
        let at: Vec<_> = scenario.operations.iter().map(|operation| operation.at).collect();
        at.windows(2).any(|pair| pair[0] == pair[1])
    };
    let count = (0..SEEDS).filter(|&seed| meets(&generate(seed))).count() as u64;
    assert!(count > SEEDS / 4, "{count} of {SEEDS}");
}

#[test]
fn what_is_generated_makes_sense_and_is_short() {
    for seed in 0..SEEDS {
        let scenario = generate(seed);
        scenario.check().unwrap_or_else(|error| panic!("seed {seed:#x}: {error}"));
        assert!(to_toml(&scenario).is_ok(), "seed {seed:#x} can be written");
        assert!(scenario.tasks.len() <= 8 && scenario.operations.len() <= 32, "seed {seed:#x} is small");
    }
}
