//! A run that does not end is a verdict, and a run that is repeated is the same.

use std::path::Path;

use simvisor_adapters::judge::{Outcome, Terms, judge};
use simvisor_adapters::sweep::play_of;
use simvisor_adapters::{Play, Subject, subject};
use simvisor_sim::conform::{Dialect, Switches};
use simvisor_sim::scenario::from_toml;

fn judged(play: &Play, dialect: &str) -> Outcome {
    let dialect = Dialect::named(dialect).expect("it is built in");
    let terms = Terms { dialect, switches: Switches::default() };
    let program = Path::new(env!("CARGO_BIN_EXE_simvisor-adapters"));
    judge(program, play, &terms, |_| {}).expect("the process can be started")
}

fn taskvisor() -> Box<dyn Subject> {
    subject("taskvisor@0.1.0").expect("it is built in")
}

fn play(scenario: &str) -> Play {
    let mut scenario = from_toml(scenario).expect("the scenario is one");
    taskvisor().fit(&mut scenario);
    Play { subject: "taskvisor@0.1.0".to_owned(), scenario, seed: 0, patience_ms: 10_000 }
}

#[test]
fn a_shutdown_that_waits_for_ever_is_a_deadlock() {
    let text = r#"
operation = [{ at = "5ms", do = "shutdown" }]
[config]
grace = "5ms"
[[task]]
name = "stubborn"
start = true
script = [{ then = "never", on_cancel = "ignore" }]
"#;
    let outcome = judged(&play(text), "taskvisor-0.1");
    assert_eq!(outcome.verdict, "deadlock");
    assert_eq!(outcome.departures[0].rule, "D3");
    assert!(outcome.tail.iter().any(|line| line.contains("ShutdownRequested")), "{:?}", outcome.tail);
}

#[test]
fn a_restart_that_lets_nobody_run_is_named() {
    let text = r#"
[[task]]
name = "spinner"
start = true
restart = { always = {} }
"#;
    let outcome = judged(&play(text), "taskvisor-0.1");
    assert_eq!(outcome.verdict, "livelock");
    assert!(outcome.departures.iter().any(|departure| departure.rule == "R6"), "{:?}", outcome.departures);
}

#[test]
fn runs_repeat_to_the_byte() {
    repeat(&*taskvisor(), 12);
}

#[test]
fn runs_of_a_runtime_with_threads_repeat_to_the_byte() {
    let with_threads = subject("taskvisor@0.9.0").expect("it is built in");
    assert!(with_threads.has_threads());
    repeat(&*with_threads, 48);
}

fn repeat(subject: &dyn Subject, seeds: u64) {
    for seed in 0..seeds {
        let play = play_of(subject, seed, 0, 10_000);
        let (one, two) = (judged(&play, subject.dialect()), judged(&play, subject.dialect()));
        assert_eq!(one.tail, two.tail, "seed {seed:#x}");
        assert_eq!(one.trace_hash, two.trace_hash, "seed {seed:#x}");
    }
}

#[test]
fn yields_make_other_interleavings() {
    let taskvisor = taskvisor();
    let hashes: std::collections::BTreeSet<_> = (0..8)
        .map(|interleaving| {
            judged(&play_of(&*taskvisor, 0xd, interleaving, 10_000), "taskvisor-0.1").trace_hash
        })
        .collect();
    assert!(hashes.len() > 1, "all of them are the same");
}
