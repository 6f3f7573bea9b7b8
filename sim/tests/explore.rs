//! Every schedule of small worlds: what reduction leaves out is nothing, and the proofs have their numbers.

use std::sync::atomic::AtomicBool;

use simvisor_sim::rng::{Numbers, Stream};
use simvisor_sim::scenario::{
    Action, Config, Ending, Mode, OnCancel, Operation, ReceiverDecl, Restart, Scenario, Span, Step,
    SubscriberDecl, TaskDecl, from_toml,
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
    cancel_at_the_end: "cancel-at-the-end" is (87, 2, 5);
    removal_at_the_end_of_backoff: "removal-at-the-end-of-backoff" is (2_278, 1, 2);
    replace_at_the_exit: "replace-at-the-exit" is (334_680, 1, 6);
    shutdown_at_a_restart: "shutdown-at-a-restart" is (314, 1, 2);
    two_cancels: "two-cancels" is (756, 3, 3);
    two_incarnations: "two-incarnations" is (3_118, 7, 18);
}

fn small() -> Scenario {
    proof(include_str!("../scenarios/proofs/two-cancels.toml"))
}

#[test]
fn an_exploration_that_was_stopped_goes_on_to_the_same_end() {
    let scenario = small();
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
    assert!(stops > 3, "{stops}");
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
    const WORLDS: usize = 200;
    let (mut worlds, mut all, mut reduced, mut pruned, mut manifold) = (0, 0, 0, 0, 0);
    for seed in 0.. {
        let scenario = small_world(seed);
        let options = ExploreOptions { runs_max: 5_000, ..one_thread() };
        if estimate(&scenario, &ExploreOptions { reduction: Reduction::Off, ..options }, 20) > 50_000.0 {
            continue; // most probably not that small
        }
        let plain = explored(&scenario, &ExploreOptions { reduction: Reduction::Off, ..options });
        if !plain.is_complete() {
            continue; // not that small
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
        if worlds == WORLDS {
            break;
        }
    }
    eprintln!(
        "{all} schedules, {reduced} after reduction and {pruned} pruned; {manifold} worlds with several states"
    );
    assert!(manifold > WORLDS / 4 && reduced * 4 < all, "{manifold} {reduced} {all}");
}
