//! What a sweep says that it has seen: the transitions of the contract's machines, and behaviours by family.

use std::time::Instant;

use simvisor_sim::oracle::MACHINES;
use simvisor_sim::scenario::generate;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Novelty, Runner, SweepOptions, seeded, sweep};
use simvisor_sim::world::Limits;

fn swept(seeds: u64, jobs: usize) -> Novelty {
    let options = SweepOptions { seeds, jobs, recheck_every: 0, ..SweepOptions::default() };
    let report = sweep(&options, |_| ()).expect("no case is written");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    report.novelty
}

#[test]
fn every_transition_is_one_of_the_contract_and_all_are_taken() {
    let novelty = swept(2_500, 2);
    for (place, machine) in MACHINES.iter().enumerate() {
        let surplus: Vec<_> = novelty.shown().surplus(place).collect();
        assert_eq!(surplus, [], "{}", machine.name);
        let never: Vec<_> = novelty.shown().never(place).collect();
        assert_eq!(never, [], "{}", machine.name);
        assert_eq!(novelty.shown().taken(place), machine.transitions.len());
    }
}

#[test]
fn one_seed_leaves_most_transitions_untaken_and_says_that_the_next_shows_something_new() {
    let novelty = swept(1, 1);
    assert_eq!(novelty.behaviours(), 1);
    assert_eq!(novelty.chance_of_new(), Some(1.0));
    assert!(MACHINES.iter().enumerate().any(|(place, _)| novelty.shown().never(place).count() > 2));
    assert_eq!(Novelty::default().chance_of_new(), None);
}

#[test]
fn what_was_seen_does_not_depend_on_threads() {
    let told = |novelty: &Novelty| {
        let families = novelty.families();
        let families: Vec<_> = families
            .into_iter()
            .map(|(family, species)| (family, species.seeds(), species.behaviours(), species.seen_once()))
            .collect();
        (*novelty.shown(), families)
    };
    assert_eq!(told(&swept(300, 1)), told(&swept(300, 3)));
}

#[test]
fn the_chance_of_something_new_foretells_what_the_next_seeds_show() {
    let mut runner = Runner::new(Limits::default()).with_coverage();
    let mut run = |novelty: &mut Novelty, seed: u64| {
        let tape = runner.seed(seed, StrategyKind::default()).judged.tape;
        runner.recycle(tape);
        runner.add_coverage(novelty);
    };
    let mut novelty = Novelty::default();
    (0..1_000).for_each(|seed| run(&mut novelty, seed));
    let foretold = novelty.chance_of_new().expect("seeds were run") * 200.0;
    let before = novelty.behaviours();
    (1_000..1_200).for_each(|seed| run(&mut novelty, seed));
    let found = (novelty.behaviours() - before) as f64;
    // Five standard deviations, and what the first of the 200 take away from the last.
    assert!((foretold - found).abs() < 45.0, "{foretold} foretold, {found} found");
}

#[test]
fn runs_of_one_scenario_that_only_interleave_differently_are_one_behaviour() {
    let mut runner = Runner::new(Limits::default()).with_coverage();
    let scenario = generate(7);
    let mut novelty = Novelty::default();
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..200 {
        traces.insert(runner.judge(&scenario, seeded(seed, StrategyKind::Random)).trace_hash);
        runner.add_coverage(&mut novelty);
    }
    let behaviours = novelty.behaviours() as usize;
    assert!(behaviours < traces.len(), "{behaviours} behaviours of {} traces", traces.len());
}

/// Prints what looking costs: `cargo test --release -p simvisor-sim --test coverage -- --ignored --nocapture`.
#[test]
#[ignore = "depends on time"]
fn looking_costs_less_than_a_tenth_of_a_run() {
    const SEEDS: u64 = 3_000;
    let mut blind = Runner::default();
    let mut seeing = Runner::default().with_coverage();
    let scenarios: Vec<_> = (0..SEEDS).map(generate).collect();
    let mut novelty = Novelty::default();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..7 {
        let began = Instant::now();
        for (seed, scenario) in (0..).zip(&scenarios) {
            let tape = blind.judge(scenario, seeded(seed, StrategyKind::default())).tape;
            blind.recycle(tape);
        }
        times[0].push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        for (seed, scenario) in (0..).zip(&scenarios) {
            let tape = seeing.judge(scenario, seeded(seed, StrategyKind::default())).tape;
            seeing.recycle(tape);
            seeing.add_coverage(&mut novelty);
        }
        times[1].push(began.elapsed().as_secs_f64());
    }
    let [without, with] = times.map(|times| times.into_iter().fold(f64::INFINITY, f64::min));
    let per_run = |seconds: f64| 1e6 * seconds / SEEDS as f64;
    println!(
        "{:.1} µs a run without, {:.1} µs with: {:+.1} %",
        per_run(without),
        per_run(with),
        100.0 * (with / without - 1.0)
    );
    assert!(with < 1.1 * without);
}
