//! A run is a function of its scenario and its tape (\[X1\]), and a seed keeps its meaning (\[X2\]).

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use simvisor_sim::choice::Fit;
use simvisor_sim::env::Env;
use simvisor_sim::scenario::generate;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Runner, replayed, seeded};
use simvisor_sim::trace::{Header, Record, Sink, Texts};

/// The seeds whose hashes are pinned: the first ones, and some with many bits.
const PINNED: [u64; 20] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    42,
    100,
    1_000,
    4_711,
    65_536,
    0xdead_beef,
    0x0123_4567_89ab_cdef,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

#[test]
fn the_hashes_of_twenty_seeds_are_those_of_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/seeds.txt");
    let mut runner = Runner::default();
    let mut lines = String::from(
        "# seed, trace hash: `SIMVISOR_BLESS=1 cargo test --test determinism` writes this file\n",
    );
    for seed in PINNED {
        let run = runner.seed(seed, StrategyKind::default());
        writeln!(lines, "{seed:#018x} {:#018x}", run.judged.trace_hash).expect("strings take all");
    }
    if Env::read().unwrap_or_else(|error| panic!("{error}")).bless {
        std::fs::write(path, &lines).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the golden file is there");
    assert_eq!(
        lines, golden,
        "published seeds have another meaning now; if that is wanted, say so in CHANGELOG.md"
    );
}

#[test]
fn a_replayed_tape_gives_the_run_again() {
    let mut runner = Runner::default();
    for kind in StrategyKind::ALL {
        let mut interrupted = 0;
        for seed in 0..200 {
            let scenario = generate(seed);
            let run = runner.judge(&scenario, seeded(seed, kind));
            interrupted +=
                run.tape.iter().filter(|choice| choice.site.is_preemption() && choice.value == 1).count();
            let again = runner.judge(&scenario, replayed(run.tape.clone(), Fit::Strict));
            assert_eq!(again.misfit, None, "{kind:?}, seed {seed:#x}");
            assert_eq!(again, run, "{kind:?}, seed {seed:#x}");
            let lenient = runner.judge(&scenario, replayed(run.tape.clone(), Fit::Lenient));
            assert_eq!(lenient, run, "{kind:?}, seed {seed:#x}");
        }
        assert_eq!(interrupted > 0, kind != StrategyKind::Fifo, "{kind:?} interrupted {interrupted} times");
    }
}

#[test]
fn a_tape_of_zeros_is_the_fifo_schedule() {
    let mut runner = Runner::default();
    for seed in 0..100 {
        let scenario = generate(seed);
        let fifo = runner.judge(&scenario, seeded(seed, StrategyKind::Fifo));
        let zeros = runner.judge(&scenario, replayed(Vec::new(), Fit::Lenient));
        assert_eq!(zeros, fifo, "seed {seed:#x}");
        assert!(fifo.tape.iter().all(|choice| choice.value == 0));
    }
}

#[test]
fn another_tape_is_reported_at_its_first_misfit() {
    let mut runner = Runner::default();
    let scenario = generate(7);
    let mut tape = runner.judge(&scenario, seeded(7, StrategyKind::Random)).tape;
    let middle = tape.len() / 2;
    tape[middle].arity += 1;
    let misfit = runner.judge(&scenario, replayed(tape, Fit::Strict)).misfit.expect("must not fit");
    assert_eq!(misfit.index, middle);
}

/// Everything that a sink is told, turns and all.
#[derive(Default)]
struct Transcript(String);

impl Sink for Transcript {
    fn begin(&mut self, header: &Header, _texts: &Texts) {
        writeln!(self.0, "{header:?}").expect("strings take all");
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        writeln!(self.0, "{record:?} of {} texts", texts.len()).expect("strings take all");
    }
}

#[test]
fn the_same_seed_twice_gives_the_same_records() {
    let transcript = |runner: &mut Runner, seed| {
        let sink = Rc::new(RefCell::new(Transcript::default()));
        runner.watch(&generate(seed), seeded(seed, StrategyKind::default()), Rc::clone(&sink) as _);
        sink.take().0
    };
    let mut used = Runner::default();
    for seed in 0..200 {
        let first = transcript(&mut used, seed);
        assert_eq!(first, transcript(&mut used, seed), "seed {seed:#x} again");
        assert_eq!(first, transcript(&mut Runner::default(), seed), "seed {seed:#x} in new memory");
    }
}
