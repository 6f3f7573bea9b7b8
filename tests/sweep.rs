//! The main job as a test: seeds are run and judged, and nothing is found.
//!
//! `SIMVISOR_SEEDS=100000 cargo test` widens the sweep; `SIMVISOR_SEED=0x2a cargo test` runs that one seed.

use simvisor_sim::env::Env;
use simvisor_sim::oracle::RULES;
use simvisor_sim::search::{Runner, SweepOptions, SweepReport, sweep};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 10_000;

/// How often each rule is put to the test in them, at least.
const WITNESSES: u64 = 100;

fn options(first_seed: u64, seeds: u64) -> SweepOptions {
    let out = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/simvisor-cases");
    SweepOptions { first_seed, seeds, out, ..SweepOptions::default() }
}

#[test]
fn a_sweep_finds_nothing_and_puts_every_rule_to_the_test() {
    let env = Env::read().unwrap_or_else(|error| panic!("{error}"));
    let mut options = match env.seed {
        Some(seed) => options(seed, 1),
        None => options(0, env.seeds.unwrap_or(SEEDS)),
    };
    options.strategy = env.strategy.unwrap_or(options.strategy);
    let report = sweep(&options, |_| ()).expect("the case directory can be written");
    for failure in &report.failures {
        eprintln!("seed {:#x} broke {}: {}", failure.seed, failure.rule, failure.message);
        eprintln!("  this seed alone: SIMVISOR_SEED={:#x} cargo test --test sweep", failure.seed);
        eprintln!("  its timeline:    cargo run --release -- replay {}", failure.case.display());
    }
    assert!(report.failures.is_empty(), "{} of {} seeds broke a rule", report.failures.len(), report.seeds);
    if env.seed.is_none() && env.strategy.is_none() && options.seeds >= SEEDS {
        assert_eq!(short_of(WITNESSES, &report), [], "put to the test fewer than {WITNESSES} times");
    }
}

/// The rules with fewer than `least` witnesses, and how many they have.
fn short_of(least: u64, report: &SweepReport) -> Vec<(&'static str, u64)> {
    let all = RULES.iter().map(|rule| rule.id).zip(report.witnesses.iter().copied());
    all.filter(|&(_, witnesses)| witnesses < least).collect()
}

#[test]
fn a_thousand_seeds_reach_the_rarest_rule() {
    let report = sweep(&options(0, 1_000), |_| ()).expect("the case directory can be written");
    assert_eq!(short_of(1, &report), []);
}

#[test]
fn every_seed_alone_gives_what_it_gave_within_a_sweep() {
    let options = SweepOptions { jobs: 3, keep_hashes: true, ..options(1_000, 1_000) };
    let report = sweep(&options, |_| ()).expect("the case directory can be written");
    assert_eq!(report.hashes.len(), 1_000);
    for (seed, hash) in report.hashes {
        let alone = Runner::default().seed(seed, options.strategy);
        assert_eq!(alone.judged.trace_hash, hash, "seed {seed:#x}");
    }
}
