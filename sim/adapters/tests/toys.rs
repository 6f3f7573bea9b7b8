//! Faults that the public records of other supervisors tell of, in a toy: the judges name each, and find nothing in the
//! toy without them.

use std::path::Path;

use simvisor_adapters::judge::{Outcome, Terms, judge};
use simvisor_adapters::sweep::play_of;
use simvisor_adapters::{Play, subject};
use simvisor_sim::conform::{Dialect, Switches};
use simvisor_sim::scenario::from_toml;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_simvisor-adapters"))
}

fn judged(play: &Play) -> Outcome {
    let terms = Terms { dialect: Dialect::contract(), switches: Switches::default() };
    judge(program(), play, &terms, |_| {}).expect("the process can be started")
}

/// What a subject does with a scenario, without yields and with.
fn first_rules(name: &str, scenario: &str) -> Vec<String> {
    let scenario = from_toml(scenario).expect("the scenario is one");
    let run = |seed| {
        let scenario = scenario.clone();
        let outcome = judged(&Play { subject: name.to_owned(), scenario, seed, patience_ms: 10_000 });
        outcome.departures.first().map_or("nothing".to_owned(), |first| first.rule.to_owned())
    };
    (0..4).map(run).collect()
}

const SHUTDOWN: &str = r#"
operation = [{ at = "5ms", do = "shutdown" }]
[config]
grace = "20ms"
[[task]]
name = "web"
start = true
script = [{ then = "never" }]
"#;

const SUCCESS: &str = r#"
[[task]]
name = "once"
start = true
restart = "on-failure"
script = [{ run = "1ms" }]
"#;

const GROUP: &str = r#"
[[task]]
name = "flaky"
start = true
restart = "on-failure"
script = [{ run = "3ms", then = "fail" }, { run = "3ms" }]
[[task]]
name = "temporary"
start = true
restart = "never"
script = [{ run = "1ms" }]
"#;

#[test]
fn a_reap_loop_that_ends_too_early_is_named() {
    assert_eq!(first_rules("toy@sound", SHUTDOWN), ["nothing"; 4]);
    assert_eq!(first_rules("toy@reaps-too-little", SHUTDOWN), ["G4"; 4]);
}

#[test]
fn a_restart_after_success_is_named() {
    assert_eq!(first_rules("toy@sound", SUCCESS), ["nothing"; 4]);
    assert_eq!(first_rules("toy@restarts-after-success", SUCCESS), ["R1"; 4]);
}

#[test]
fn a_temporary_task_that_is_revived_is_named() {
    assert_eq!(first_rules("toy@sound", GROUP), ["nothing"; 4]);
    assert_eq!(first_rules("toy@revives-temporary", GROUP), ["G4"; 4]);
}

#[test]
fn restarts_without_their_delay_are_named() {
    assert_eq!(first_rules("toy@burns-quota", GROUP), ["R2"; 4]);
}

#[test]
fn the_sound_toy_conforms() {
    let toy = subject("toy@sound").expect("it is built in");
    for seed in 0..60 {
        let outcome = judged(&play_of(&*toy, seed, 0, 10_000));
        assert_eq!(outcome.departures, [], "seed {seed:#x}");
        assert_eq!(outcome.verdict, "done", "seed {seed:#x}");
    }
}
