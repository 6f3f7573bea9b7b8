//! What judging costs: nanoseconds per event over stored traces, for the rules and for the monitor.
//!
//! `cargo test --release -p simvisor-sim --test judges -- --ignored --nocapture`

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use simvisor_sim::oracle::{Monitor, Rules};
use simvisor_sim::scenario::generate;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Runner, seeded};
use simvisor_sim::trace::{Header, Record, Sink, Texts, What};

const SEEDS: u64 = 2_000;
const ROUNDS: u32 = 5;

/// A whole trace.
#[derive(Default)]
struct Trace {
    header: Option<Header>,
    texts: Texts,
    records: Vec<Record>,
}

impl Sink for Trace {
    fn begin(&mut self, header: &Header, _: &Texts) {
        *self = Self { header: Some(header.clone()), ..Self::default() };
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.records.push(record.clone());
        if matches!(record.what, What::End(_)) {
            self.texts = texts.clone();
        }
    }
}

impl Trace {
    fn feed(&self, sink: &mut dyn Sink) {
        sink.begin(self.header.as_ref().expect("it began"), &self.texts);
        self.records.iter().for_each(|record| sink.record(record, &self.texts));
    }
}

fn traces() -> Vec<Trace> {
    let mut runner = Runner::default();
    let stored = |seed| {
        let sink = Rc::new(RefCell::new(Trace::default()));
        runner.watch(&generate(seed), seeded(seed, StrategyKind::Random), Rc::clone(&sink) as _);
        sink.take()
    };
    (0..SEEDS).map(stored).collect()
}

/// The shortest time that one pass over all traces takes.
fn shortest<J: Sink>(traces: &[Trace], judge: &mut J, conforms: impl Fn(&J) -> bool) -> Duration {
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
    let rules = shortest(&traces, &mut Rules::new(), |rules| rules.violations().is_empty());
    let monitor = shortest(&traces, &mut Monitor::new(), |monitor| monitor.unexplained().is_none());
    for (judge, time) in [("rules", rules), ("monitor", monitor)] {
        let ns = time.as_secs_f64() * 1e9;
        println!("{judge}: {:.0} ns per event, {:.0} per record", ns / events as f64, ns / records as f64);
    }
}
