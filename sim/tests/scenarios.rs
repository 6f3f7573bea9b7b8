//! The scenarios that are told as stories: each comes to its end, and what it is about really happens, in first-in
//! first-out order and under 200 random schedules.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use simvisor::EventKind;
use simvisor_sim::scenario::{Scenario, from_toml};
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Runner, Verdict, seeded};
use simvisor_sim::trace::{Answer, Header, Record, Sink, Texts, What};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;

/// An event with its texts written out.
#[derive(Debug, Clone)]
struct Seen {
    at_ns: u64,
    kind: EventKind,
    task: String,
    reason: String,
    attempt: Option<u32>,
    delay_ms: Option<u32>,
}

/// What a run showed.
#[derive(Debug, Default)]
struct Story {
    events: Vec<Seen>,
    answers: BTreeMap<u32, Answer>,
    /// Handled and dropped, by subscriber.
    counters: BTreeMap<String, (u64, u64)>,
}

impl Sink for Story {
    fn begin(&mut self, _header: &Header, _texts: &Texts) {}

    fn record(&mut self, record: &Record, texts: &Texts) {
        let text = |text: Option<_>| text.map_or_else(String::new, |text| texts.get(text).to_owned());
        match &record.what {
            What::Event(event) => self.events.push(Seen {
                at_ns: record.at_ns,
                kind: event.kind,
                task: text(event.task),
                reason: text(event.reason),
                attempt: event.attempt,
                delay_ms: event.delay_ms,
            }),
            What::Answer { op, answer } => {
                self.answers.insert(*op, answer.clone());
            }
            What::Counters { subscriber, handled, dropped, .. } => {
                self.counters.insert(texts.get(*subscriber).to_owned(), (*handled, *dropped));
            }
            _ => {}
        }
    }
}

impl Story {
    fn of<'a>(&'a self, kind: EventKind, task: &'a str) -> impl Iterator<Item = &'a Seen> {
        self.events.iter().filter(move |event| event.kind == kind && event.task == task)
    }

    fn count(&self, kind: EventKind, task: &str) -> usize {
        self.of(kind, task).count()
    }

    fn instants(&self, kind: EventKind, task: &str) -> Vec<u64> {
        self.of(kind, task).map(|event| event.at_ns).collect()
    }

    /// Each event with the number of attempts that are open after it.
    fn open_attempts(&self) -> impl Iterator<Item = (&Seen, i64)> {
        let mut open = 0;
        self.events.iter().map(move |event| {
            open += match event.kind {
                EventKind::TaskStarting => 1,
                EventKind::TaskStopped | EventKind::TaskFailed => -1,
                _ => 0,
            };
            (event, open)
        })
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Says where a test was when it failed.
struct Place(String);

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {}", self.0);
        }
    }
}

/// Runs a scenario under every schedule of the test and looks at what it showed.
fn told(name: &str, look: impl Fn(&Story)) {
    let text = std::fs::read_to_string(folder().join(format!("{name}.toml"))).expect("the file is there");
    let scenario: Scenario = from_toml(&text).expect("the file is a scenario");
    assert_eq!(scenario.name, name);
    assert!(scenario.story.len() > 100, "{name} has no story");
    let fifo = std::iter::once((0, StrategyKind::Fifo));
    let random = (0..200).map(|seed| (seed, StrategyKind::Random));
    let mut runner = Runner::default();
    for (seed, strategy) in fifo.chain(random) {
        let _place = Place(format!("{name}, seed {seed}, {}", strategy.name()));
        let story = Rc::new(RefCell::new(Story::default()));
        let judged = runner.watch(&scenario, seeded(seed, strategy), Rc::clone(&story) as _);
        assert_eq!(judged.verdict, Verdict::Done, "{:?}", judged.detail);
        assert_eq!(judged.findings, []);
        look(&story.borrow());
    }
}

#[test]
fn every_scenario_is_told_by_a_test_here() {
    let files = std::fs::read_dir(folder()).expect("the folder is there");
    let paths = files.map(|file| file.expect("readable").path());
    let mut names: Vec<_> = paths
        .filter(|path| path.is_file()) // `proofs` is a folder, and `tests/explore.rs` sees to it
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    let told = [
        "crash-loop",
        "permit-starvation",
        "rolling-removal",
        "same-name-churn",
        "slow-subscriber",
        "stuck-at-shutdown",
    ];
    assert_eq!(names, told);
}

#[test]
fn crash_loop_waits_twice_as_long_each_time_and_recovers() {
    told("crash-loop", |story| {
        let delays: Vec<_> = story
            .of(EventKind::BackoffScheduled, "payments-worker")
            .filter_map(|event| event.delay_ms)
            .collect();
        assert_eq!(delays, [200, 400, 800, 1600, 3200, 5000, 5000]);
        let starts: Vec<_> =
            story.of(EventKind::TaskStarting, "payments-worker").filter_map(|event| event.attempt).collect();
        assert_eq!(starts, [1, 2, 3, 4, 5, 6, 7, 8]);
        let failures = story.of(EventKind::TaskFailed, "payments-worker");
        assert_eq!(failures.filter(|event| event.reason.starts_with("panic")).count(), 1);
        assert_eq!(story.count(EventKind::TaskStopped, "payments-worker"), 1);
        // Nobody else noticed.
        assert_eq!(story.instants(EventKind::TaskStarting, "metrics-exporter"), [0]);
        assert_eq!(story.instants(EventKind::TaskStopped, "metrics-exporter"), [MINUTE]);
    });
}

#[test]
fn rolling_removal_replaces_each_server_and_keeps_two_up() {
    told("rolling-removal", |story| {
        for web in ["web-1", "web-2", "web-3"] {
            assert_eq!(story.count(EventKind::TaskAdded, web), 2, "{web} has one successor");
            let removed = story.instants(EventKind::TaskRemoved, web)[0];
            let succeeded = story.instants(EventKind::TaskAdded, web)[1];
            assert!(removed < succeeded, "{web}");
        }
        let deploy = MINUTE..8 * 60 * MINUTE;
        let fewest = story
            .open_attempts()
            .filter(|(event, _)| deploy.contains(&event.at_ns))
            .map(|(_, open)| open)
            .min();
        assert_eq!(fewest, Some(2));
        assert!([1, 3, 5].iter().all(|op| story.answers[op] == Answer::Bool(true)), "{:?}", story.answers);
        assert_eq!(story.count(EventKind::AllStoppedWithinGrace, ""), 1);
    });
}

#[test]
fn stuck_at_shutdown_runs_out_of_grace_and_ends_all_the_same() {
    told("stuck-at-shutdown", |story| {
        let requested = 5 * MINUTE + 15 * SECOND;
        assert_eq!(story.instants(EventKind::ShutdownRequested, ""), [requested]);
        assert_eq!(story.instants(EventKind::GraceExceeded, ""), [requested + 10 * SECOND]);
        assert_eq!(story.count(EventKind::AllStoppedWithinGrace, ""), 0);
        assert_eq!(story.instants(EventKind::TaskRemoved, "web"), [requested + 3 * SECOND]);
        let aborted: Vec<_> = story.of(EventKind::TaskFailed, "nightly-report").collect();
        assert_eq!(aborted.len(), 1);
        assert_eq!(aborted[0].reason, "aborted: grace exceeded");
        assert!(matches!(&story.answers[&0], Answer::GraceExceeded(stuck) if stuck.len() == 1));
    });
}

#[test]
fn slow_subscriber_loses_events_and_holds_nobody_up() {
    told("slow-subscriber", |story| {
        let lost: Vec<_> = story.of(EventKind::SubscriberOverflow, "audit-log").collect();
        assert!(!lost.is_empty());
        assert!(lost.iter().all(|event| event.reason == "subscriber=audit-log reason=full"), "{lost:?}");
        let (handled, dropped) = story.counters["audit-log"];
        assert!(handled > 0 && dropped >= lost.len() as u64, "{handled} handled, {dropped} dropped");
        let events = story.events.len() as u64;
        assert_eq!(handled + dropped, events);
        assert_eq!(story.counters["dashboard"], (events, 0));
        // 6 times 20 ms and 5 backoffs of 100 ms: to the instant as if nobody listened.
        assert_eq!(story.instants(EventKind::TaskStopped, "orders-poller"), [620_000_000]);
    });
}

#[test]
fn permit_starvation_makes_the_probe_wait_behind_two_imports() {
    told("permit-starvation", |story| {
        let most = story.open_attempts().map(|(_, open)| open).max();
        assert_eq!(most, Some(2), "both permits are used, and no third");
        assert_eq!(story.instants(EventKind::TaskAdded, "health-probe"), [SECOND]);
        let rounds = story.instants(EventKind::TaskStarting, "health-probe");
        assert_eq!(rounds[0], 4 * MINUTE, "it starts when the first import ends");
        assert_eq!(rounds[1], 6 * MINUTE, "its second round waits for the second import");
        assert_eq!(story.instants(EventKind::TaskStarting, "import-invoices"), [4 * MINUTE + 2_000_000]);
        assert_eq!(story.count(EventKind::AllStoppedWithinGrace, ""), 1);
    });
}

#[test]
fn same_name_churn_gives_each_successor_a_fresh_start() {
    told("same-name-churn", |story| {
        assert_eq!(story.count(EventKind::TaskAdded, "indexer"), 3, "three incarnations of one name");
        assert_eq!(story.count(EventKind::TaskRemoved, "indexer"), 3);
        let starts: Vec<_> =
            story.of(EventKind::TaskStarting, "indexer").filter_map(|event| event.attempt).collect();
        assert_eq!(starts, [1, 2, 1, 1], "each successor begins at attempt 1");
        assert_eq!(story.answers[&2], Answer::AlreadyExists, "the old one still has the name");
        assert_eq!(story.answers[&3], Answer::Done);
        assert_eq!(story.answers[&4], Answer::Bool(true));
        assert_eq!(story.answers[&5], Answer::Bool(true), "both who cancel get an answer");
        let both = [&story.answers[&6], &story.answers[&7]];
        assert!(both.contains(&&Answer::Done) && both.contains(&&Answer::AlreadyExists), "{both:?}");
        assert_eq!(story.count(EventKind::TaskRemoveRequested, "indexer"), 2);
    });
}

#[test]
fn many_tasks_that_fail_at_one_instant_are_no_livelock() {
    const ENDS: &str = "start = true\nscript = [{ then = 'fail' }, { then = 'ok' }]";
    // In the second there are more events than fit into a queue, and each that does not is an event again.
    for (tasks, subscribers) in [(500, 3), (300, 8)] {
        let crowd: String =
            (0..tasks).map(|number| format!("[[task]]\nname = 't{number}'\n{ENDS}\n")).collect();
        let audience: String =
            (0..subscribers).map(|number| format!("[[subscriber]]\nname = 's{number}'\n")).collect();
        let scenario = from_toml(&format!("name = 'crowd'\n{crowd}{audience}")).expect("it is a scenario");
        for strategy in [StrategyKind::Fifo, StrategyKind::Random, StrategyKind::Pct] {
            let judged = Runner::default().judge(&scenario, seeded(1, strategy));
            assert_eq!((judged.verdict, &judged.findings[..]), (Verdict::Done, &[][..]), "{strategy:?}");
        }
    }
}
