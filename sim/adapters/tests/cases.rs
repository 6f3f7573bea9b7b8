//! Each shrunk case under `cases/` departs from the contract as it says.

use std::path::Path;

use simvisor_adapters::judge::{Terms, judge};
use simvisor_adapters::{Play, subject};
use simvisor_sim::case::Case;
use simvisor_sim::conform::{Dialect, Switches};

/// The rules that the cases of a subject are said to break, and those that their runs break first.
fn told_and_shown(name: &str) -> (Vec<String>, Vec<String>) {
    let subject = subject(name).expect("it is built in");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(name);
    let files = std::fs::read_dir(folder).expect("there is a folder of its cases");
    let mut paths: Vec<_> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.sort();
    let terms = Terms {
        dialect: Dialect::named(subject.dialect()).expect("it is built in"),
        switches: Switches::default(),
    };
    let (mut told, mut shown) = (Vec::new(), Vec::new());
    for path in paths {
        let case = Case::read(&path).expect("it is a case");
        let mut scenario = case.scenario;
        subject.fit(&mut scenario);
        let seed = case.origin.seed.expect("a sweep writes it");
        let play = Play { subject: name.to_owned(), scenario, seed, patience_ms: 10_000 };
        let program = Path::new(env!("CARGO_BIN_EXE_simvisor-adapters"));
        let outcome = judge(program, &play, &terms, |_| {}).expect("the process can be started");
        let file = path.file_name().expect("it is a file").to_string_lossy().into_owned();
        let first = outcome.departures.first().map_or("nothing", |first| first.rule);
        told.push(format!("{file}: {}", case.shown.rule.as_deref().unwrap_or("nothing")));
        shown.push(format!("{file}: {first}"));
    }
    (told, shown)
}

#[test]
fn cases_of_taskvisor_0_1_depart_as_they_say() {
    let (told, shown) = told_and_shown("taskvisor@0.1.0");
    assert!(!told.is_empty());
    assert_eq!(shown, told);
}

#[test]
fn cases_of_taskvisor_0_9_depart_as_they_say() {
    let (told, shown) = told_and_shown("taskvisor@0.9.0");
    assert!(!told.is_empty());
    assert_eq!(shown, told);
}

#[test]
fn cases_of_task_supervisor_depart_as_they_say() {
    let (told, shown) = told_and_shown("task-supervisor@0.5.2");
    assert!(!told.is_empty());
    assert_eq!(shown, told);
}
