//! The simplest worlds there are, counted off.
//!
//! Most bugs of schedules need little: a task, an operation, and one of the few situations in which two things meet. So
//! before much is spent on a large case these worlds are looked through, the simplest first. They do not depend on how
//! the case came to be, and so neither does the one that is found.

use super::cost::{is_by_key, kind, name_of_task, with_steps};
use super::dials;
use super::edits::operand;
use crate::scenario::{
    Action, Admission, Backoff, Behaviour, Config, Controller, Ending, Mode, Operation, Restart, Scenario,
    Span, Step, TaskDecl,
};

/// A task and at most one operation, at the start, or at the end of a body, of an interval or of a backoff; or two or
/// three operations of this scenario, all at the start or at the end of a body. Each alone, and in the company and under
/// the limits of this scenario.
pub(super) fn simplest(scenario: &Scenario) -> Vec<Scenario> {
    let task = name_of_task(0);
    let mut asked = vec![Vec::new(), vec![Action::Shutdown], vec![Action::Remove(task.clone())]];
    let dearer = [
        Action::Add(task.clone()),
        Action::Cancel { task: task.clone(), wait: None },
        Action::Submit { task: task.clone(), how: Admission::Queue, at_once: false },
    ];
    let is_asked = |wanted: &Action| {
        let mut ranks = scenario.operations.iter().map(|operation| kind(&operation.action).0);
        ranks.any(|rank| rank == kind(wanted).0)
    };
    asked.extend(dearer.into_iter().filter(is_asked).map(|action| vec![action]));
    asked.extend(orders(&scenario.operations, &task));
    let mut worlds = Vec::new();
    for around in surroundings(scenario) {
        for (at, task) in situations(&task) {
            let is_plain = task.script[0].then == Ending::Ok && task.restart == Restart::OnFailure;
            for actions in asked.iter().filter(|asked| asked.len() < 2 || is_plain) {
                worlds.extend(with(&around, &task, actions, at));
            }
        }
    }
    worlds.extend(crowds(scenario));
    worlds
}

/// Where permits are limited, tasks matter to each other: two or three of them, of which one may run, and at most one
/// operation at the start or when the first one ends.
fn crowds(scenario: &Scenario) -> Vec<Scenario> {
    let mut worlds = Vec::new();
    if scenario.config.max_concurrent == 0 {
        return worlds;
    }
    let mut alone = surroundings(scenario).swap_remove(0);
    (alone.config.controller, alone.config.max_concurrent) = (None, 1);
    for count in 2..=scenario.tasks.len().min(3) {
        let names: Vec<_> = (0..count).map(name_of_task).collect();
        let removals = names.iter().map(|name| Action::Remove(name.clone()));
        let asked: Vec<_> = [Action::Shutdown].into_iter().chain(removals).collect();
        for (at, first) in situations(&names[0]).into_iter().take(2) {
            let task = |name: &String| TaskDecl { name: name.clone(), script: Vec::new(), ..first.clone() };
            let mut tasks: Vec<_> = names.iter().map(task).collect();
            tasks[0].script.clone_from(&first.script);
            let operations = asked.iter().map(|action| vec![Operation { at, action: action.clone() }]);
            let worlds_of = |operations| Scenario { tasks: tasks.clone(), operations, ..alone.clone() };
            worlds.extend([Vec::new()].into_iter().chain(operations).map(worlds_of));
        }
    }
    worlds.into_iter().map(with_steps).collect()
}

/// When an operation meets the task, and what the task does.
fn situations(task: &str) -> [(Span, TaskDecl); 4] {
    let later = Span::from_millis(1);
    let step = |run, then| vec![Step { run, then, ..Step::default() }];
    let task = TaskDecl {
        name: task.to_owned(),
        key: None,
        start: true,
        restart: Restart::default(),
        backoff: Backoff::default(),
        timeout: None,
        script: step(Span::ZERO, Ending::Ok),
    };
    let backoff = Backoff { first: later, ..Backoff::default() };
    [
        (Span::ZERO, task.clone()),
        (later, TaskDecl { script: step(later, Ending::Ok), ..task.clone() }),
        (later, TaskDecl { restart: Restart::Always { every: Some(later) }, ..task.clone() }),
        (later, TaskDecl { backoff, script: step(Span::ZERO, Ending::Fail), ..task }),
    ]
}

/// The task is there from the start; where an operation brings it in, it may also not be.
fn with(around: &Scenario, task: &TaskDecl, actions: &[Action], at: Span) -> Vec<Scenario> {
    let mut around = around.clone();
    around.operations = actions.iter().map(|action| Operation { at, action: action.clone() }).collect();
    if !actions.iter().any(|action| matches!(action, Action::Submit { .. })) {
        around.config.controller = None;
    }
    let world = |start, mode| {
        let tasks = vec![TaskDecl { start, ..task.clone() }];
        Scenario { mode, tasks, ..around.clone() }
    };
    let mut worlds = vec![world(true, Mode::Run)];
    if actions.iter().any(is_by_key) {
        worlds.extend([world(false, Mode::Run), world(false, Mode::Serve)]);
    }
    worlds
}

/// Two kinds of operations of the scenario in both orders; all of them, if they are two or three; and of four, three. All
/// are about one task.
fn orders(operations: &[Operation], task: &str) -> Vec<Vec<Action>> {
    let mut all: Vec<Action> = operations.iter().map(|operation| operation.action.clone()).collect();
    for called in all.iter_mut().filter_map(operand) {
        task.clone_into(called);
    }
    let mut kinds: Vec<&Action> = Vec::new();
    for action in &all {
        if kinds.iter().all(|other| kind(other).0 != kind(action).0) {
            kinds.push(action);
        }
    }
    let mut orders = Vec::new();
    for (one, &first) in kinds.iter().enumerate() {
        let others = kinds.iter().enumerate().filter(|(other, _)| *other != one);
        orders.extend(others.map(|(_, &second)| vec![first.clone(), second.clone()]));
    }
    match all.len() {
        2 => orders.push(all),
        3 => {
            let every = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
            orders.extend(every.map(|order| order.map(|place| all[place].clone()).to_vec()));
        }
        4 => orders.extend((0..4).map(|gone| {
            let mut three = all.clone();
            three.remove(gone);
            three
        })),
        _ => {}
    }
    orders
}

/// No tasks and no operations: alone, and in the company and under the limits of a scenario, without grace and with it.
fn surroundings(scenario: &Scenario) -> Vec<Scenario> {
    let mut alone = dials::zeroed(&Scenario {
        name: String::new(),
        story: String::new(),
        tasks: Vec::new(),
        subscribers: Vec::new(),
        receivers: Vec::new(),
        operations: Vec::new(),
        ..scenario.clone()
    });
    // Submissions need a controller.
    let controller = scenario.config.controller.map(|_| Controller::default());
    (alone.mode, alone.config) = (Mode::Run, Config { controller, ..Config::default() });
    let mut all = vec![alone.clone()];
    let (mut subscribers, receivers) = (scenario.subscribers.clone(), scenario.receivers.clone());
    for subscriber in &mut subscribers {
        if let Behaviour::Stuck { after } = &mut subscriber.behaviour {
            *after = 0;
        }
    }
    let has_limits = scenario.config != alone.config;
    if has_limits || subscribers.len() + receivers.len() > 0 {
        let together = Scenario { config: scenario.config, subscribers, receivers, ..alone };
        let config = Config { grace: Span::ZERO, ..scenario.config };
        all.extend([Scenario { config, ..together.clone() }, together]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::generate;

    /// What is counted off can be run, and is about one task, or few where permits are limited, whatever scenario it
    /// starts from.
    #[test]
    fn the_simplest_worlds_are_scenarios_of_one_task_or_of_few_and_one_permit() {
        let (mut with_company, mut crowds) = (0, 0);
        for seed in 0..200 {
            let scenario = generate(seed);
            let worlds = simplest(&scenario);
            assert!(worlds.len() >= 12, "{seed}");
            for world in worlds.iter().filter(|world| world.check().is_ok()) {
                let is_crowd = world.config.max_concurrent == 1 && world.operations.len() <= 1;
                assert!(world.tasks.len() == 1 || world.tasks.len() <= 3 && is_crowd, "{seed}");
                assert!(world.operations.len() <= 3, "{seed}");
                crowds += usize::from(world.tasks.len() > 1);
                assert!(
                    world.subscribers.is_empty() || world.subscribers.len() == scenario.subscribers.len()
                );
                with_company += usize::from(!world.subscribers.is_empty());
            }
            let alone = worlds
                .iter()
                .filter(|world| world.operations.len() <= 1 && world.config == Config::default());
            assert!(alone.filter(|world| world.check().is_ok()).count() >= 12, "{seed}");
        }
        assert!(with_company > 1_000 && crowds > 200, "{with_company} {crowds}");
    }
}
