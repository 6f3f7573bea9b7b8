//! Where a fuzzer begins: a few inputs for each target, drawn from seeds and kept if they put a rule to the test that
//! none before them did, or more often.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::World;
use crate::case::{Case, Input};
use crate::choice::Fit;
use crate::oracle::RULES;
use crate::rng::{Numbers, Stream};
use crate::scenario::{Instruction, to_short_toml};
use crate::search::{Runner, replayed};
use crate::trace::JsonLines;

/// An input that a corpus begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The target that it is for, one of [`super::TARGETS`].
    pub target: &'static str,
    /// The name of its file.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Inputs that are drawn.
const DRAWN: u64 = 3_000;
/// Most inputs that are kept for one target.
const KEPT_MAX: usize = 48;
/// Most bytes of a text that is kept.
const TEXT_BYTES_MAX: usize = 6_000;
/// Texts that are kept for one reader.
const TEXTS: usize = 12;

/// The seeds of all targets. Always the same in one version.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let worlds = worlds();
    let inputs = || worlds.iter().filter_map(|bytes| Input::from_bytes(bytes));
    let cases: Vec<Case> = inputs().map(|input| World::default().case(&input)).collect();
    let texts = |text: &dyn Fn(&Case) -> Option<String>| -> Vec<Vec<u8>> {
        let texts = cases.iter().filter_map(text).filter(|text| text.len() <= TEXT_BYTES_MAX);
        texts.take(TEXTS).map(String::into_bytes).collect()
    };
    let actors = || worlds.iter().filter(|bytes| bytes.len() > 8).take(2 * TEXTS).cloned().collect();
    let targets = [
        ("world", worlds.clone()),
        ("differential", actors()),
        ("case_file", texts(&|case| serde_json::to_string(case).ok())),
        ("scenario_toml", texts(&|case| to_short_toml(&case.scenario).ok())),
        ("trace_jsonl", texts(&|case| Some(trace(case)))),
    ];
    let named = |(target, inputs): (&'static str, Vec<Vec<u8>>)| {
        inputs.into_iter().enumerate().map(move |(number, bytes)| Seed {
            target,
            name: format!("seed-{number:02}"),
            bytes,
        })
    };
    targets.into_iter().flat_map(named).collect()
}

fn worlds() -> Vec<Vec<u8>> {
    let mut runner = Runner::default();
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for seed in 0..DRAWN {
        let bytes = draw(seed);
        let Some(Input { scenario, tape }) = Input::from_bytes(&bytes) else { continue };
        let judged = runner.judge(&scenario, replayed(tape, Fit::Lenient));
        let mut witnesses = vec![0; RULES.len()];
        runner.add_witnesses(&mut witnesses);
        runner.recycle(judged.tape);
        // Once, a few times, often.
        let level = |count: u64| if count == 0 { 0 } else { count.ilog2() / 2 + 1 };
        let shown = witnesses.into_iter().enumerate().map(|(rule, count)| (rule, level(count)));
        let count = seen.len();
        seen.extend(shown.filter(|&(_, level)| level > 0));
        if seen.len() > count && kept.len() < KEPT_MAX {
            kept.push(bytes);
        }
    }
    kept
}

/// A task with a step, some instructions more, and half of the time some choices.
fn draw(seed: u64) -> Vec<u8> {
    let mut numbers = Numbers::new(seed, Stream::Scenario);
    let mut bytes = vec![0x01, 0, 1, 0, 0, (numbers.below(16) << 4) as u8 | 4, numbers.below(8) as u8, 0];
    for _ in 0..numbers.below(10) {
        bytes.extend(random_instruction(&mut numbers));
    }
    if numbers.chance((1, 2)) {
        bytes.push(0);
        let choices = numbers.below(48);
        bytes.extend(
            (0..choices).map(|_| if numbers.chance((1, 6)) { 0x80 + numbers.below(16) as u8 } else { 0 }),
        );
    }
    bytes
}

/// Any instruction but the end.
fn random_instruction(numbers: &mut Numbers) -> Vec<u8> {
    let first = ((numbers.below(16) << 4) | (1 + numbers.below(15))) as u8;
    let mut instruction = vec![first];
    instruction.extend((0..Instruction::of(first).operands()).map(|_| random_byte(numbers)));
    instruction
}

/// Small numbers, which mean something everywhere, more often than others.
fn random_byte(numbers: &mut Numbers) -> u8 {
    match numbers.below(3) {
        0 => numbers.below(8) as u8,
        _ => numbers.below(256) as u8,
    }
}

/// The trace of a case, as JSON lines.
fn trace(case: &Case) -> String {
    let lines = Rc::new(RefCell::new(JsonLines::new(Vec::new())));
    let tape = replayed(case.tape.clone(), Fit::Lenient);
    Runner::default().watch(&case.scenario, tape, Rc::clone(&lines) as _);
    let lines = Rc::into_inner(lines).expect("the run is over").into_inner();
    String::from_utf8(lines.finish().expect("memory does not fail")).expect("JSON is text")
}
