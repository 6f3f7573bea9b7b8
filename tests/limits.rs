//! Lag and overflow at their limits: the smallest capacities, bursts that exceed any, listeners and subscribers that are
//! slow, stuck or panic. The conservation law [S6] must hold to the unit in each, and nothing else may suffer [S4].

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use simvisor_sim::choice::Fit;
use simvisor_sim::scenario::{Scenario, from_toml};
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Judged, Runner, Verdict, replayed, seeded};
use simvisor_sim::trace::{Header, Record, Sink, Texts, What};

/// What the counters say, summed over all subscribers, beside what was published.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    events: u64,
    subscribers: u64,
    handled: u64,
    panicked: u64,
    dropped: u64,
    lagged: u64,
    receiver_lost: u64,
}

impl Sink for Sums {
    fn begin(&mut self, _: &Header, _: &Texts) {}

    fn record(&mut self, record: &Record, _: &Texts) {
        match record.what {
            What::Event(_) => self.events += 1,
            What::Lagged { lost, .. } => self.receiver_lost += lost,
            What::Counters { handled, panicked, dropped, lagged, .. } => {
                self.subscribers += 1;
                self.handled += handled;
                self.panicked += panicked;
                self.dropped += dropped;
                self.lagged += lagged;
            }
            _ => {}
        }
    }
}

fn run(scenario: &Scenario, seed: Option<u64>) -> (Judged, Sums) {
    let source = match seed {
        Some(seed) => seeded(seed, StrategyKind::Random),
        None => replayed(Vec::new(), Fit::Lenient),
    };
    let sums = Rc::new(RefCell::new(Sums::default()));
    let judged = Runner::default().watch(scenario, source, Rc::clone(&sums) as _);
    let sums = *sums.borrow();
    (judged, sums)
}

/// Forty tasks that fail three times at the same instants: bursts of far more events than a bus or queue has room for.
fn burst(bus: u32, subscribers: &[(u32, &str)], grace: &str) -> Scenario {
    let mut toml = format!("[config]\nbus_capacity = {bus}\ngrace = \"{grace}\"\n");
    for number in 0..40 {
        write!(
            toml,
            "[[task]]\nname = \"t{number:02}\"\nstart = true\nbackoff = {{ first = \"1ms\" }}\n\
             script = [{{ then = \"fail\" }}, {{ run = \"1ms\", then = \"panic\" }}, {{ then = \"fail\" }}, {{}}]\n"
        )
        .expect("strings take all");
    }
    for (number, (capacity, behaviour)) in subscribers.iter().enumerate() {
        write!(
            toml,
            "[[subscriber]]\nname = \"s{number}\"\ncapacity = {capacity}\nbehaviour = {behaviour}\n"
        )
        .expect("strings take all");
    }
    toml.push_str("[[receiver]]\nname = \"asleep\"\npause = \"2h\"\n[[receiver]]\nname = \"awake\"\n");
    from_toml(&toml).expect("it makes sense")
}

const BEHAVIOURS: [&str; 7] = [
    "\"quick\"",
    "{ slow = { each = \"1ms\" } }",
    "{ slow = { each = \"3h\" } }",
    "{ stuck = { after = 0 } }",
    "{ stuck = { after = 5 } }",
    "{ panics = { every = 1 } }",
    "{ panics = { every = 3 } }",
];

#[test]
fn what_was_published_is_accounted_for_to_the_unit() {
    let (mut dropped, mut panicked, mut lagged, mut lost) = (0, 0, 0, 0);
    for bus in [1, 2, 7, 4096] {
        for capacity in [1, 2, 5, 4096] {
            for behaviour in BEHAVIOURS {
                let scenario = burst(bus, &[(capacity, behaviour), (capacity, "\"quick\"")], "50ms");
                for seed in [None, Some(1), Some(2)] {
                    let (judged, sums) = run(&scenario, seed);
                    let what = format!("bus {bus}, queue {capacity}, {behaviour}, seed {seed:?}");
                    assert_eq!((judged.verdict, judged.findings), (Verdict::Done, vec![]), "{what}");
                    assert_eq!(sums.subscribers, 2, "{what}");
                    let accounted = sums.handled + sums.panicked + sums.dropped + sums.lagged;
                    assert_eq!(accounted, 2 * sums.events, "{what}: {sums:?}");
                    dropped += sums.dropped;
                    panicked += sums.panicked;
                    lagged += sums.lagged;
                    lost += sums.receiver_lost;
                }
            }
        }
    }
    // Each way of losing something came about, many times.
    assert!(dropped > 1_000 && panicked > 1_000 && lagged > 1_000 && lost > 1_000);
}

#[test]
fn nothing_that_is_lost_costs_a_restart_or_the_end_of_a_run() {
    let all: Vec<_> = BEHAVIOURS.iter().map(|behaviour| (1, *behaviour)).collect();
    let (judged, sums) = run(&burst(1, &all, "1ms"), None);
    assert_eq!((judged.verdict, judged.findings), (Verdict::Done, vec![]));
    let (undisturbed, quiet) = run(&burst(4096, &[], "1ms"), None);
    assert_eq!(undisturbed.verdict, Verdict::Done);
    // What is left out are reports: of the tasks every single event was published all the same.
    let reports = sums.events - quiet.events;
    assert!(reports > 0);
    assert_eq!(
        quiet.events,
        40 * (2 + 4 * 2 + 3 + 2),
        "two of the add, two of each attempt, three backoffs, two of the end"
    );
}
