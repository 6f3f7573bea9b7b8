//! What judging costs: nanoseconds per event over stored traces, for the rules, the monitor and the hash.
//!
//! `cargo test --release -p simvisor-sim --test judges -- --ignored --nocapture`

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use simvisor_sim::oracle::{Monitor, Rules};
use simvisor_sim::scenario::generate;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Runner, seeded};
use simvisor_sim::trace::{Header, Record, Sink, Stored, Texts, TraceHash, What};

const SEEDS: u64 = 2_000;
const ROUNDS: u32 = 5;

fn traces() -> Vec<Stored> {
    let mut runner = Runner::default();
    let stored = |seed| {
        let sink = Rc::new(RefCell::new(Stored::default()));
        runner.watch(&generate(seed), seeded(seed, StrategyKind::Random), Rc::clone(&sink) as _);
        sink.take()
    };
    (0..SEEDS).map(stored).collect()
}

/// Looks at each record and judges nothing: what it costs to fetch them, which in a run that is judged as it goes nobody pays.
#[derive(Default)]
struct Reader(u64);

impl Sink for Reader {
    fn begin(&mut self, _: &Header, _: &Texts) {}

    fn record(&mut self, record: &Record, _: &Texts) {
        self.0 ^= record.at_ns;
        if let What::Event(event) = &record.what {
            self.0 ^= event.seq;
        }
    }
}

/// The shortest time that one pass over all traces takes.
fn shortest<J: Sink>(traces: &[Stored], judge: &mut J, conforms: impl Fn(&J) -> bool) -> Duration {
    let pass = |_| {
        let before = Instant::now();
        for trace in traces {
            trace.feed(judge);
            assert!(conforms(judge), "{:?}", trace.header);
        }
        before.elapsed()
    };
    (0..ROUNDS).map(pass).min().expect("there are rounds")
}

#[test]
#[ignore = "a measurement"]
fn nanoseconds_per_event() {
    let traces = traces();
    let records: usize = traces.iter().map(|trace| trace.records.len()).sum();
    let is_event = |record: &&Record| matches!(record.what, What::Event(_));
    let events = traces.iter().flat_map(|trace| &trace.records).filter(is_event).count();
    println!("{SEEDS} traces, {events} events, {records} records");
    let reading = shortest(&traces, &mut Reader::default(), |_| true);
    let rules = shortest(&traces, &mut Rules::new(), |rules| rules.violations().is_empty());
    let monitor = shortest(&traces, &mut Monitor::new(), |monitor| monitor.unexplained().is_none());
    let hash = shortest(&traces, &mut TraceHash::new(), |hash| hash.records() > 0);
    for (judge, time) in [("reading", reading), ("rules", rules), ("monitor", monitor), ("hash", hash)] {
        let ns = time.as_secs_f64() * 1e9;
        let millions = events as f64 / time.as_secs_f64() / 1e6;
        println!(
            "{judge}: {:.0} ns per event, {:.0} per record; {millions:.1} million events/s",
            ns / events as f64,
            ns / records as f64
        );
    }
}
