//! Every schedule of small worlds: what reduction leaves out is nothing, and the proofs have their numbers.

use std::sync::atomic::AtomicBool;

use simvisor_sim::rng::{Numbers, Stream};
use simvisor_sim::scenario::{
    Action, Admission, Backoff, Behaviour, Config, Controller, Ending, Mode, OnCancel, Operation,
    ReceiverDecl, Restart, Scenario, Span, Step, SubscriberDecl, TaskDecl, from_toml,
};
use simvisor_sim::search::{Bounds, Exploration, ExploreOptions, Reduction, StateError, estimate, explore};

fn explored(scenario: &Scenario, options: &ExploreOptions) -> Exploration {
    let mut exploration = Exploration::new(scenario, options);
    explore(scenario, options, &mut exploration, &AtomicBool::new(false), |_| ());
    exploration
}

fn one_thread() -> ExploreOptions {
    ExploreOptions { jobs: 1, ..ExploreOptions::default() }
}

/// A world that is small enough for every one of its schedules.
fn small_world(seed: u64) -> Scenario {
    let mut numbers = Numbers::new(seed, Stream::Scenario);
    let instants = [0, 0, 1_000_000, 2_000_000].map(Span);
    let tasks: Vec<TaskDecl> = (0..1 + numbers.below(2))
        .map(|task| {
            let step = |numbers: &mut Numbers| Step {
                run: numbers.pick(&instants),
                then: numbers.pick(&[Ending::Ok, Ending::Ok, Ending::Fail, Ending::Never, Ending::Panic]),
                on_cancel: match numbers.below(3) {
                    0 => OnCancel::End { after: Span(1_000_000), then: Ending::Ok },
                    _ => OnCancel::default(),
                },
            };
            let restart = match numbers.below(3) {
                0 => Restart::OnFailure,
                _ => Restart::Never,
            };
            let script = vec![step(&mut numbers), Step::default()];
            let start = numbers.chance((3, 4));
            TaskDecl { script, restart, start, ..task_named(&format!("t{task}")) }
        })
        .collect();
    let operations = (0..numbers.below(3))
        .map(|_| {
            let task = tasks[numbers.below(tasks.len() as u32) as usize].name.clone();
            let action = match numbers.below(7) {
                0 | 1 => Action::Add(task),
                2 => Action::Remove(task),
                3 => Action::Cancel { task, wait: numbers.chance((1, 2)).then_some(Span(1_000_000)) },
                4 => Action::Snapshot,
                5 => Action::List,
                _ => Action::Shutdown,
            };
            Operation { at: numbers.pick(&instants), action }
        })
        .collect();
    let audience = numbers.below(6);
    Scenario {
        mode: Mode::Run,
        config: Config {
            max_concurrent: numbers.below(2),
            grace: Span(1_000_000),
            bus_capacity: numbers.pick(&[1, 1024]),
            ..Config::default()
        },
        tasks,
        subscribers: (audience == 0)
            .then(|| SubscriberDecl { name: "s".to_owned(), capacity: 1024, behaviour: Default::default() })
            .into_iter()
            .collect(),
        receivers: (audience == 1)
            .then(|| ReceiverDecl { name: "r".to_owned(), pause: Span(0) })
            .into_iter()
            .collect(),
        operations,
        ..from_toml("").expect("nothing is a scenario")
    }
}

/// A small world in which much meets at one instant. Each has one of four things that its futures contend for: slots,
/// tiny queues, a permit, deadlines.
fn crowded_world(seed: u64) -> Scenario {
    let mut numbers = Numbers::new(seed, Stream::Scenario);
    let ms = [1_000_000, 2_000_000].map(Span);
    let [has_slots, has_queues, has_permit] = [0, 1, 2].map(|kind| seed % 4 == kind);
    let endings = [Ending::Ok, Ending::Fail, Ending::Fail, Ending::Panic];
    let tasks: Vec<TaskDecl> = (0..if has_slots || has_queues { 1 } else { 1 + numbers.below(2) })
        .map(|task| {
            let run = numbers.pick(&[Span(0), ms[0], ms[0]]);
            let first = Step { run, then: numbers.pick(&endings), on_cancel: OnCancel::default() };
            TaskDecl {
                script: vec![first, Step::default()],
                restart: if has_slots {
                    Restart::Never
                } else {
                    numbers.pick(&[Restart::OnFailure, Restart::Never])
                },
                backoff: Backoff { first: ms[0], ..Backoff::default() },
                timeout: numbers.chance((1, 3)).then_some(ms[0]),
                start: numbers.chance(if has_slots { (1, 2) } else { (9, 10) }),
                ..task_named(&format!("t{task}"))
            }
        })
        .collect();
    let operations = (0..if has_slots { 2 } else { numbers.below(3) })
        .map(|_| {
            let task = tasks[numbers.below(tasks.len() as u32) as usize].name.clone();
            let how = numbers.pick(&[Admission::Queue, Admission::Replace, Admission::DropIfRunning]);
            let action = match numbers.below(9) {
                kind if has_slots && kind < 7 => Action::Submit { task, how, at_once: kind < 2 },
                0 | 1 => Action::Add(task),
                2 => Action::Remove(task),
                3 | 4 => Action::Cancel { task, wait: numbers.chance((1, 2)).then_some(ms[0]) },
                5 => Action::IsAlive(task),
                6 => Action::List,
                7 => Action::WaitReady,
                _ => Action::Shutdown,
            };
            Operation { at: numbers.pick(&[ms[0], ms[0], ms[1]]), action }
        })
        .collect();
    let behaviours = [Behaviour::Quick, Behaviour::Slow { each: ms[0] }, Behaviour::Panics { every: 2 }];
    let listens = has_queues.then(|| numbers.chance((2, 3)));
    let subscribers = (listens == Some(true))
        .then(|| SubscriberDecl {
            name: "s".to_owned(),
            capacity: 1 + numbers.below(2),
            behaviour: numbers.pick(&behaviours),
        })
        .into_iter()
        .collect();
    let receivers = (listens == Some(false))
        .then(|| ReceiverDecl { name: "r".to_owned(), pause: numbers.pick(&[Span(0), ms[0]]) })
        .into_iter()
        .collect();
    Scenario {
        mode: Mode::Run,
        config: Config {
            max_concurrent: u32::from(has_permit),
            grace: numbers.pick(&ms),
            bus_capacity: if has_queues { 1 + numbers.below(3) } else { 1024 },
            controller: has_slots.then_some(Controller { queue_capacity: 1, slot_capacity: 1 }),
            ..Config::default()
        },
        tasks,
        subscribers,
        receivers,
        operations,
        ..from_toml("").expect("nothing is a scenario")
    }
}

fn task_named(name: &str) -> TaskDecl {
    let text = format!("[[task]]\nname = \"{name}\"");
    from_toml(&text).expect("a task is a scenario").tasks.remove(0)
}

fn proof(text: &str) -> Scenario {
    from_toml(text).expect("a proof is a scenario")
}

/// Schedules, final states, behaviours.
type Counts = (u64, usize, usize);

fn counts(exploration: &Exploration) -> Counts {
    (exploration.schedules, exploration.states.len(), exploration.behaviours.len())
}

macro_rules! proofs {
    ($($name:ident: $file:literal is $counts:expr;)*) => {$(
        #[test]
        fn $name() {
            let scenario = proof(include_str!(concat!("../scenarios/proofs/", $file, ".toml")));
            let exploration = explored(&scenario, &ExploreOptions::default());
            assert!(exploration.is_complete());
            assert!(exploration.broken.is_empty(), "{:?}", exploration.broken);
            assert_eq!(counts(&exploration), $counts);
        }
    )*};
}

proofs! {
    four_that_restart_together: "four-that-restart-together" is (1_536, 1, 1);
    cancel_at_the_end: "cancel-at-the-end" is (44, 2, 5);
    removal_at_the_end_of_backoff: "removal-at-the-end-of-backoff" is (224, 1, 2);
    replace_at_the_exit: "replace-at-the-exit" is (5_088, 1, 6);
    shutdown_at_a_restart: "shutdown-at-a-restart" is (90, 1, 2);
    two_cancels: "two-cancels" is (192, 3, 3);
    two_incarnations: "two-incarnations" is (1_072, 7, 18);
}

fn small() -> Scenario {
    proof(include_str!("../scenarios/proofs/two-cancels.toml"))
}

#[test]
fn an_exploration_that_was_stopped_goes_on_to_the_same_end() {
    let scenario = proof(include_str!("../scenarios/proofs/two-incarnations.toml"));
    let whole = explored(&scenario, &one_thread());
    let options = ExploreOptions { runs_max: 100, jobs: 2, ..ExploreOptions::default() };
    let mut exploration = Exploration::new(&scenario, &options);
    let mut stops = 0;
    while !exploration.is_complete() {
        let text = serde_json::to_string(&exploration).expect("a state is plain data");
        exploration = serde_json::from_str(&text).expect("it was written");
        exploration.check(&scenario, &options).expect("it is of this scenario");
        explore(&scenario, &options, &mut exploration, &AtomicBool::new(false), |_| ());
        stops += 1;
    }
    assert!(stops > 5, "{stops}");
    assert_eq!(counts(&exploration), counts(&whole));
    assert_eq!((exploration.states, exploration.behaviours), (whole.states, whole.behaviours));
}

#[test]
fn a_state_of_something_else_is_refused_with_the_reason() {
    let (scenario, options) = (small(), one_thread());
    let exploration = Exploration::new(&scenario, &options);
    let bounds = Bounds { delays: Some(1), ..Bounds::default() };
    assert_eq!(exploration.check(&scenario, &ExploreOptions { bounds, ..options }), Err(StateError::Bounds));
    let other = Scenario { tasks: vec![task_named("other")], ..scenario.clone() };
    assert_eq!(exploration.check(&other, &options), Err(StateError::Scenario));
    let mut older = exploration;
    "0.0.1".clone_into(&mut older.simvisor);
    assert_eq!(older.check(&scenario, &options), Err(StateError::Simvisor("0.0.1".to_owned())));
}

/// Two submissions to a slot meet, and there is room for one.
const TWO_SUBMISSIONS: &str = r#"
[config.controller]
queue_capacity = 1
slot_capacity = 1

[[task]]
name = "base"
start = true
restart = "never"
script = [{ run = "2ms" }]

[[task]]
name = "deploy"
restart = "never"
script = [{ run = "3ms" }]

[[operation]]
at = "1ms"
do = { submit = { task = "deploy", how = "replace", try = true } }

[[operation]]
at = "1ms"
do = { submit = { task = "deploy", how = "queue", try = true } }
"#;

/// Somebody asks for all names when one task ends, and somebody adds it again, while another task runs on.
const LIST_AT_AN_END: &str = r#"
[[task]]
name = "brief"
start = true
restart = "never"
script = [{ run = "1ms" }]

[[task]]
name = "long"
start = true
restart = "never"
script = [{ run = "2ms" }]

[[operation]]
at = "1ms"
do = "list"

[[operation]]
at = "1ms"
do = { add = "brief" }
"#;

#[test]
fn a_bounded_search_finds_nothing_that_is_left_out() {
    for text in [
        include_str!("../scenarios/proofs/removal-at-the-end-of-backoff.toml"),
        include_str!("../scenarios/proofs/replace-at-the-exit.toml"),
        include_str!("../scenarios/proofs/two-incarnations.toml"),
        TWO_SUBMISSIONS,
        LIST_AT_AN_END,
    ] {
        let scenario = proof(text);
        let all = explored(&scenario, &ExploreOptions::default());
        let bounds = Bounds { delays: Some(2), ..Bounds::default() };
        let some = explored(&scenario, &ExploreOptions { bounds, ..ExploreOptions::default() });
        assert!(all.is_complete() && some.is_complete());
        assert!(some.states.is_subset(&all.states) && some.behaviours.is_subset(&all.behaviours), "{text}");
        assert!(some.behaviours.len() > 1, "{text}");
    }
}

#[test]
fn bounds_widen_to_everything() {
    let scenario = proof(include_str!("../scenarios/proofs/cancel-at-the-end.toml"));
    let with = |bounds| explored(&scenario, &ExploreOptions { bounds, ..one_thread() });
    let all = explored(&scenario, &ExploreOptions { reduction: Reduction::Off, ..one_thread() });
    let mut last = 0;
    for delays in 0.. {
        let some = with(Bounds { delays: Some(delays), ..Bounds::default() });
        assert!(some.is_complete() && some.states.is_subset(&all.states));
        assert!(delays > 0 || some.schedules == 1, "without a delay there is the plain schedule alone");
        if some.behaviours == all.behaviours {
            break;
        }
        assert!(some.schedules > last && delays < 20, "{delays}");
        last = some.schedules;
    }
    let calm = with(Bounds { preemptions: Some(0), late_timers: Some(0), ..Bounds::default() });
    assert!(calm.behaviours.is_subset(&all.behaviours) && calm.schedules < all.schedules);
}

#[test]
fn an_estimate_is_of_the_right_size() {
    for text in [
        include_str!("../scenarios/proofs/two-cancels.toml"),
        include_str!("../scenarios/proofs/two-incarnations.toml"),
    ] {
        let scenario = proof(text);
        let options = ExploreOptions { reduction: Reduction::Off, ..one_thread() };
        let actual = explored(&scenario, &options).schedules as f64;
        let expected = estimate(&scenario, &options, 2_000);
        assert!(expected > actual / 3.0 && expected < actual * 3.0, "{expected} for {actual}");
    }
}

#[test]
fn reduction_leaves_out_orders_and_no_outcome() {
    let (manifold, all, reduced) = compare_with_all(small_world, 200, 5_000, 1);
    assert!(manifold > 50 && reduced * 8 < all, "{manifold} {reduced} {all}");
}

#[test]
fn reduction_leaves_out_no_outcome_where_much_meets() {
    let (manifold, all, reduced) = compare_with_all(crowded_world, 60, 1_500, 2);
    assert!(manifold > 15 && reduced * 8 < all, "{manifold} {reduced} {all}");
}

/// Explores `count` worlds that have at most and at least so many schedules and behaviours, with and without reduction.
/// How many have several final states, and how many schedules there are of all without it and with it.
fn compare_with_all(
    world: fn(u64) -> Scenario,
    count: usize,
    schedules_max: u64,
    behaviours_min: usize,
) -> (usize, u64, u64) {
    let (mut worlds, mut all, mut reduced, mut pruned, mut manifold) = (0, 0, 0, 0, 0);
    let mut seeds = 0..;
    while worlds < count {
        let seed = seeds.next().expect("there is always another");
        let scenario = world(seed);
        let options = ExploreOptions { runs_max: schedules_max, ..one_thread() };
        let expected = estimate(&scenario, &ExploreOptions { reduction: Reduction::Off, ..options }, 20);
        if expected > 10.0 * schedules_max as f64 {
            continue; // most probably not that small
        }
        let plain = explored(&scenario, &ExploreOptions { reduction: Reduction::Off, ..options });
        if !plain.is_complete() || plain.behaviours.len() < behaviours_min {
            continue; // not that small, or too plain
        }
        let short = explored(&scenario, &options);
        assert!(short.is_complete());
        assert_eq!(short.states, plain.states, "world {seed}: final states");
        assert_eq!(short.behaviours, plain.behaviours, "world {seed}: behaviours");
        let rules = |exploration: &Exploration| exploration.broken.keys().cloned().collect::<Vec<_>>();
        assert_eq!(rules(&short), rules(&plain), "world {seed}");
        worlds += 1;
        all += plain.schedules;
        reduced += short.schedules;
        pruned += short.pruned;
        manifold += usize::from(plain.states.len() > 1);
    }
    eprintln!(
        "{all} schedules, {reduced} after reduction and {pruned} pruned; {manifold} worlds with several states, of {seeds:?}"
    );
    (manifold, all, reduced)
}
