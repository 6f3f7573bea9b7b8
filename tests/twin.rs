//! The real-time twin: the same scenarios, the same driver and the same logic on Tokio's paused clock and in the
//! simulator under FIFO, compared event for event and instant for instant.
//!
//! What may rightly differ, and is not compared:
//! - the wall clock, which Tokio does not pause, numbers of turns, which Tokio does not have, and what is left over, which
//!   the host here does not count;
//! - the order *within* one instant of what different tasks, receivers and subscribers do. Both run what is ready first
//!   in, first out, but Tokio fires the timers of one millisecond in an order of its own, and polls its main future in
//!   between. Traces that differ in that alone are said to agree.
//!
//! Where the order within an instant decides more (whether a removal or the end of an attempt comes first, who of two
//! gets a permit), what follows differs too. Then both runs must conform; how many such scenarios there may be is bounded.
//!
//! Times are rounded to whole milliseconds, the resolution of Tokio's timers, and jitter draws zero on both sides.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use simvisor::TokioRuntime;
use simvisor::runtime::{Role, Rt, Runtime as _};
use simvisor::sync::Latch;
use simvisor_sim::choice::Fit;
use simvisor_sim::oracle::{Monitor, Rules};
use simvisor_sim::scenario::{Disorder, Host, Play, Scenario, generate};
use simvisor_sim::search::{Runner, Verdict, replayed};
use simvisor_sim::trace::{Header, Jitter, Record, Sink, Texts, What, record_line};
use simvisor_sim::world::LaneKind;

/// Scenarios that are compared.
const SCENARIOS: u32 = 500;

/// The driver's host on Tokio.
struct OnTokio {
    runtime: Rc<TokioRuntime>,
    /// Futures of the outside that have not ended.
    open: Rc<Cell<usize>>,
    done: Latch,
}

impl OnTokio {
    fn start(&self, future: LocalBoxFuture<'static, ()>) {
        let (open, done) = (Rc::clone(&self.open), self.done.clone());
        open.set(open.get() + 1);
        let counted = async move {
            future.await;
            open.set(open.get() - 1);
            if open.get() == 0 {
                done.raise();
            }
        };
        self.runtime.spawn(Role::Actor, &Arc::from(""), Box::pin(counted));
    }
}

impl Host for OnTokio {
    fn rt(&self) -> Rt {
        self.runtime.rt()
    }

    fn turn(&self) -> Option<u64> {
        None
    }

    fn reserve_lane(&self, _: LaneKind, _: &Arc<str>) {}

    fn spawn(&self, _: LaneKind, _: &Arc<str>, future: LocalBoxFuture<'static, ()>) {
        self.start(future);
    }

    fn spawn_run(&self, future: LocalBoxFuture<'static, ()>) {
        self.start(future);
    }

    fn calm_down(&self) {}

    fn leftovers(&self) -> (u64, u64) {
        (0, 0)
    }

    fn set_wall(&self, _: i64) {}

    fn set_disorder(&self, disorder: Disorder) {
        assert_eq!(disorder, Disorder::None, "Tokio delivers at once");
    }
}

/// A whole trace, as lines and by what must agree.
#[derive(Default)]
struct Transcript {
    rules: Rules,
    monitor: Monitor,
    lines: Vec<String>,
    /// What each task, receiver, subscriber and operation saw, in order and with its instants.
    by_name: BTreeMap<String, Vec<String>>,
}

impl Sink for Transcript {
    fn begin(&mut self, header: &Header, texts: &Texts) {
        self.rules.begin(header, texts);
        self.monitor.begin(header, texts);
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.rules.record(record, texts);
        self.monitor.record(record, texts);
        let mut record = record.clone();
        record.turn = None;
        let name = |kind: &str, name| format!("{kind} {}", texts.get(name));
        let of = match &mut record.what {
            What::Leftovers { .. } => return,
            What::Event(event) => {
                event.wall_ns = 0;
                event.task.map_or_else(|| "run".to_owned(), |task| name("task", task))
            }
            What::BodyEntered { task, .. }
            | What::BodyLeft { task, .. }
            | What::BodyCancelled { task, .. } => name("task", *task),
            What::Call { op, .. } | What::Answer { op, .. } => format!("operation {op}"),
            What::Received { receiver, .. } | What::Lagged { receiver, .. } => name("receiver", *receiver),
            What::HandlerEntered { subscriber, .. }
            | What::HandlerLeft { subscriber, .. }
            | What::Counters { subscriber, .. } => name("subscriber", *subscriber),
            _ => "rest".to_owned(),
        };
        self.lines.push(record_line(&record, texts));
        // Numbers of events depend on the order within an instant.
        match &mut record.what {
            What::Event(event) => event.seq = 0,
            What::Received { seq, .. } | What::HandlerEntered { seq, .. } | What::HandlerLeft { seq, .. } => {
                *seq = 0;
            }
            _ => {}
        }
        self.by_name.entry(of).or_default().push(record_line(&record, texts));
    }
}

impl Transcript {
    fn conforms(&self, what: &str) {
        assert_eq!(self.rules.violations(), [], "{what}");
        assert_eq!(self.monitor.unexplained(), None, "{what}");
    }
}

fn on_tokio(scenario: &Scenario) -> Transcript {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let transcript = Rc::new(RefCell::new(Transcript::default()));
    let sink: Rc<RefCell<dyn Sink>> = Rc::clone(&transcript) as _;
    let scenario = Rc::new(scenario.clone());
    local.block_on(&runtime, async move {
        let done = Latch::new();
        let host =
            OnTokio { runtime: Rc::new(TokioRuntime::new(|_| 0)), open: Rc::default(), done: done.clone() };
        let play = Play::begin(host, &scenario, &Rc::default(), &sink);
        // The simulator says that it ends; were it not so, this would, and the traces would differ.
        let _ = tokio::time::timeout(Duration::from_secs(10 * 365 * 24 * 3_600), done.wait()).await;
        play.end();
    });
    transcript.take()
}

fn in_the_simulator(scenario: &Scenario) -> (Verdict, Transcript) {
    let transcript = Rc::new(RefCell::new(Transcript::default()));
    let source = replayed(Vec::new(), Fit::Lenient);
    let judged = Runner::default().watch(scenario, source, Rc::clone(&transcript) as _);
    (judged.verdict, transcript.take())
}

/// The same story in whole milliseconds, without jitter and without what cannot be played on Tokio.
fn coarse(mut scenario: Scenario) -> Scenario {
    scenario.round_to_millis();
    scenario.leave_out_faults_of_the_world();
    scenario.tasks.iter_mut().for_each(|task| task.backoff.jitter = Jitter::None);
    scenario
}

#[test]
fn tokio_and_the_simulator_do_the_same() {
    let (mut same, mut agree, mut differ) = (0, 0, Vec::new());
    let mut seed = 0;
    while same + agree + (differ.len() as u32) < SCENARIOS {
        let scenario = coarse(generate(seed));
        seed += 1;
        if scenario.may_spin() {
            continue; // time would not move on Tokio either, and nothing there would notice
        }
        let (verdict, simulated) = in_the_simulator(&scenario);
        assert_eq!(verdict, Verdict::Done, "seed {seed:#x}");
        let real = on_tokio(&scenario);
        simulated.conforms(&format!("seed {:#x} in the simulator", seed - 1));
        real.conforms(&format!("seed {:#x} on Tokio", seed - 1));
        if simulated.lines == real.lines {
            same += 1;
        } else if simulated.by_name == real.by_name {
            agree += 1;
        } else {
            differ.push(seed - 1);
        }
    }
    println!(
        "of {SCENARIOS} scenarios {same} are the same line for line, {agree} agree, {} differ",
        differ.len()
    );
    println!("differ: {differ:x?}");
    assert!(same >= SCENARIOS * 9 / 10, "{same} are the same");
    assert!(same + agree >= SCENARIOS * 94 / 100, "{same} are the same and {agree} agree");
}
