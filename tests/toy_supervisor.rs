//! The worked example of `docs/reference-model.md`: somebody else's supervisor, its log, its dialect, and its bug.

#[path = "toy/supervisor.rs"]
mod supervisor;

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use simvisor_sim::conform::{Checked, Dialect, Judge, Switches, check};
use supervisor::{Body, Spec, Toy};
use tokio::task::LocalSet;
use tokio::time::sleep;

const DIALECT: &str = include_str!("toy/toy.toml");

/// Fails twice, 10 ms into each attempt, and is well then.
fn flaky() -> Spec {
    let body = |attempt| -> Body {
        Box::pin(async move {
            sleep(Duration::from_millis(10)).await;
            if attempt < 3 { Err("execution failed: boom".to_owned()) } else { Ok(()) }
        })
    };
    Spec { name: "flaky", delay: Duration::from_millis(100), body: Rc::new(body) }
}

/// Runs a toy on Tokio's paused clock and gives its log.
fn logged(play: impl AsyncFnOnce(Rc<Toy>)) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), async {
        let toy = Toy::new(Duration::from_secs(60));
        play(Rc::clone(&toy)).await;
        toy.tell("end", &json!("done"));
        toy.log()
    })
}

fn judged(trace: &str, switches: &Switches) -> Checked {
    let dialect = Dialect::from_toml(DIALECT).unwrap_or_else(|error| panic!("{error}"));
    let mut judge = Judge::new(dialect, switches).expect("its deviations are known");
    check("toy.jsonl", trace.as_bytes(), &mut judge).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs `flaky`, and removes it after so long.
fn removed_after(ms: u64) -> String {
    logged(async move |toy: Rc<Toy>| {
        let remover = Rc::clone(&toy);
        tokio::task::spawn_local(async move {
            sleep(Duration::from_millis(ms)).await;
            remover.remove("flaky");
        });
        toy.run(vec![flaky()]).await;
    })
}

#[test]
fn the_toy_conforms_as_long_as_nobody_removes_a_task() {
    let trace = logged(async |toy: Rc<Toy>| toy.run(vec![flaky()]).await);
    let checked = judged(&trace, &Switches::default());
    assert_eq!(checked.oddities.seen(), [], "{trace}");
    assert!(checked.judgement.conforms(), "{:#?}\n{trace}", checked.judgement.departures);
    let tested: Vec<_> = checked.judgement.coverage.tested().collect();
    for rule in ["A1", "A2", "R1", "R2", "R4", "G2", "G4"] {
        assert!(tested.contains(&rule), "{rule} was not put to the test: {tested:?}");
    }
}

#[test]
fn it_conforms_when_a_task_is_removed_in_its_attempt() {
    let checked = judged(&removed_after(5), &Switches::default());
    assert!(checked.judgement.conforms(), "{:#?}", checked.judgement.departures);
}

#[test]
fn its_bug_is_found_when_a_task_is_removed_in_its_wait() {
    let trace = removed_after(50);
    let checked = judged(&trace, &Switches::default());
    let rules: Vec<_> = checked.judgement.departures.iter().map(|departure| departure.rule).collect();
    assert_eq!(rules, ["R5", "monitor"], "{:#?}\n{trace}", checked.judgement.departures);
    let by_monitor = &checked.judgement.departures[1];
    assert_eq!(by_monitor.before, ["`flaky` waited for attempt 2, cancelled"]);
    assert!(by_monitor.instead[0].starts_with("TaskRemoved of `flaky` at "), "{:?}", by_monitor.instead);
    assert_eq!(by_monitor.involved[0], "R5");
}

#[test]
fn with_the_deviation_it_conforms_except_that() {
    let allowed = Switches { on: vec!["sleeps-are-not-interrupted".to_owned()], ..Switches::default() };
    let checked = judged(&removed_after(50), &allowed);
    assert!(checked.judgement.conforms(), "{:#?}", checked.judgement.departures);
    assert_eq!(checked.judgement.excused[0].deviation, "sleeps-are-not-interrupted");
}
