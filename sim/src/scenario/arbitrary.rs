//! Scenarios from bytes: what the inputs of a fuzzer mean.
//!
//! A scenario is a list of instructions. Each is one byte, which says what it is and how, and a fixed number of operand
//! bytes; it adds one part or sets one value. So a byte that is changed changes one thing, and an instruction that is
//! inserted, taken out, copied or moved leaves the others as they were. The list ends with [`Instruction::End`] or with
//! the bytes. Every string of bytes is a scenario that makes sense and comes to its end: what an instruction asks in
//! excess is left out, and what would go on for ever is tamed as for [`super::generate`].
//!
//! This generator shares nothing else with `generate`, so that each looks where the other is blind: here are spans of
//! years, delays of a nanosecond, scripts and queues of any mixture.

use arbitrary::{Arbitrary, Unstructured};

use super::{
    Action, Admission, Backoff, Behaviour, Controller, Disorder, Ending, Jitter, Mode, OnCancel, Operation,
    ReceiverDecl, Restart, Scenario, Span, Step, SubscriberDecl, TaskDecl,
};

/// What an instruction is, by the lower half of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// Nothing more; what follows is no scenario.
    End,
    /// A task: restart policy, first delay, growth of delays, timeout.
    Task,
    /// A step of the last task: how long, what on cancellation.
    Step,
    /// An operation: when, on whom.
    Operation,
    /// A subscriber: behaviour.
    Subscriber,
    /// A receiver: pause.
    Receiver,
    /// A limit, period or mode: its value.
    Setting,
    /// How the run ends: when.
    Finale,
}

impl Instruction {
    /// The instruction that this byte begins. Those that matter most have most of the bytes.
    #[must_use]
    pub fn of(byte: u8) -> Self {
        match byte & 15 {
            0 => Self::End,
            1..=3 => Self::Task,
            4..=6 => Self::Step,
            7..=11 => Self::Operation,
            12 => Self::Subscriber,
            13 => Self::Receiver,
            14 => Self::Setting,
            _ => Self::Finale,
        }
    }

    /// How many bytes follow the first one.
    #[must_use]
    pub fn operands(self) -> usize {
        match self {
            Self::End => 0,
            Self::Subscriber | Self::Receiver | Self::Setting | Self::Finale => 1,
            Self::Step | Self::Operation => 2,
            Self::Task => 4,
        }
    }
}

const TASKS_MAX: usize = 6;
const STEPS_MAX: usize = 6;
const OPERATIONS_MAX: usize = 16;
const SUBSCRIBERS_MAX: usize = 3;
const RECEIVERS_MAX: usize = 2;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A name that no task has.
const NOBODY: &str = "nobody";

/// The grid of times: collisions are wanted.
const TICK_NS: u64 = 1_000_000;

/// Spans off the grid and far beyond it.
const ODD_SPANS_NS: [u64; 16] = [
    1,
    2,
    999_999,
    1_500_000,
    2_500_000,
    999_999_999,
    1_000_000_000,
    60_000_000_000,
    3_600_000_000_000,
    86_400_000_000_000,
    4_294_967_295_000_000, // the milliseconds of a `u32`
    4_294_967_296_000_000,
    9_007_199_254_740_992, // where a float no longer has every integer
    9_007_199_254_740_993,
    i64::MAX as u64,
    u64::MAX,
];

/// On the grid up to 31 ticks, a nanosecond beside it, or one of [`ODD_SPANS_NS`].
fn span(byte: u8) -> Span {
    let place = u64::from(byte & 31);
    let on_grid = place * TICK_NS;
    Span(match byte >> 5 {
        5 => on_grid + 1,
        6 => on_grid.saturating_sub(1),
        7 => ODD_SPANS_NS[usize::from(byte & 15)],
        _ => on_grid,
    })
}

/// An instant at which something is asked: no later than the last tick of the grid.
fn instant(byte: u8) -> Span {
    span(byte).min(Span(31 * TICK_NS))
}

fn ending(bits: u8) -> Ending {
    [
        Ending::Ok,
        Ending::Fail,
        Ending::Fail,
        Ending::Ok,
        Ending::Fatal,
        Ending::Panic,
        Ending::Canceled,
        Ending::Never,
    ][usize::from(bits & 7)]
}

/// How a run comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finale {
    /// By a shutdown.
    Shutdown,
    /// By itself: every task ends by its policy or is removed.
    ByItself,
    /// Calm comes, then a shutdown.
    CalmShutdown,
    /// Calm comes, then it ends by itself.
    CalmByItself,
}

/// Carries out instructions.
#[derive(Debug)]
struct Builder {
    scenario: Scenario,
    /// Operations, with the number of the task that they are about where there is one, before tasks have keys.
    wishes: Vec<Wish>,
    finale: Finale,
    horizon: Span,
    /// Tasks may restart without any time passing.
    spin: bool,
}

/// An operation that is asked for; tasks that come later count as well.
#[derive(Debug, Clone, Copy)]
struct Wish {
    at: Span,
    /// 0 to 15.
    what: u8,
    who: u8,
}

impl Arbitrary<'_> for Scenario {
    fn arbitrary(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let mut builder = Builder::new();
        while !bytes.is_empty() {
            let first = bytes.arbitrary::<u8>()?;
            let instruction = Instruction::of(first);
            let mut operands = [0; 4];
            bytes.fill_buffer(&mut operands[..instruction.operands()])?;
            match instruction {
                Instruction::End => break,
                _ => builder.carry_out(instruction, first >> 4, operands),
            }
        }
        Ok(builder.finish())
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (0, None)
    }
}

impl Builder {
    fn new() -> Self {
        let empty = Scenario {
            name: String::new(),
            story: String::new(),
            mode: Mode::Run,
            run_at: Span::ZERO,
            calm_at: None,
            config: super::Config { grace: Span(5 * TICK_NS), ..super::Config::default() },
            tasks: Vec::new(),
            subscribers: Vec::new(),
            receivers: Vec::new(),
            operations: Vec::new(),
        };
        Self {
            scenario: empty,
            wishes: Vec::new(),
            finale: Finale::Shutdown,
            horizon: Span(24 * TICK_NS),
            spin: false,
        }
    }

    /// `how` is the upper half of the first byte.
    fn carry_out(&mut self, instruction: Instruction, how: u8, operands: [u8; 4]) {
        match instruction {
            Instruction::End => {}
            Instruction::Task => self.task(how, operands),
            Instruction::Step => self.step(how, operands[0], operands[1]),
            Instruction::Operation => {
                if self.wishes.len() < OPERATIONS_MAX {
                    self.wishes.push(Wish { at: instant(operands[0]), what: how, who: operands[1] });
                }
            }
            Instruction::Subscriber => self.subscriber(how, operands[0]),
            Instruction::Receiver => self.receiver(operands[0]),
            Instruction::Setting => self.setting(how, operands[0]),
            Instruction::Finale => {
                self.finale = match how & 3 {
                    0 => Finale::Shutdown,
                    1 => Finale::ByItself,
                    2 => Finale::CalmShutdown,
                    _ => Finale::CalmByItself,
                };
                self.horizon = instant(operands[0]);
            }
        }
    }

    fn task(&mut self, how: u8, [restart, first, growth, timeout]: [u8; 4]) {
        let tasks = &mut self.scenario.tasks;
        if tasks.len() == TASKS_MAX {
            return;
        }
        let name = NAMES[usize::from(how & 3)];
        let versions = tasks.iter().filter(|task| task.name == name).count();
        let restart = match restart & 3 {
            0 => Restart::OnFailure,
            1 => Restart::Always { every: Some(span(restart >> 2)) },
            2 => Restart::Never,
            _ => Restart::Always { every: (restart >> 2 != 0).then(|| span(restart)) },
        };
        let factors = [1.0, 2.0, 1.5, 3.0, 0.5, 0.0, f64::INFINITY, f64::NAN];
        let most = [Span::from_secs(30), Span(2 * TICK_NS), Span(10 * TICK_NS), Span(1_000_000_007)];
        let jitters = [Jitter::None, Jitter::None, Jitter::None, Jitter::None, Jitter::None, Jitter::Full]
            .into_iter()
            .chain([Jitter::Equal, Jitter::Decorrelated]);
        tasks.push(TaskDecl {
            name: name.to_owned(),
            key: (versions > 0).then(|| format!("{name}{}", versions + 1)),
            start: how & 4 == 0,
            restart,
            backoff: Backoff {
                first: span(first),
                max: most[usize::from(growth >> 3 & 3)],
                factor: factors[usize::from(growth & 7)],
                jitter: jitters.into_iter().nth(usize::from(growth >> 5)).expect("eight"),
            },
            timeout: (timeout != 0).then(|| span(timeout)),
            script: Vec::new(),
        });
    }

    fn step(&mut self, how: u8, run: u8, on_cancel: u8) {
        if self.scenario.tasks.is_empty() {
            self.task(0, [0; 4]);
        }
        let task = self.scenario.tasks.last_mut().expect("there is one now");
        if task.script.len() == STEPS_MAX {
            return;
        }
        let on_cancel = match on_cancel & 3 {
            0 => OnCancel::default(),
            1 => OnCancel::Ignore,
            _ => OnCancel::End {
                after: Span(u64::from(on_cancel >> 5) * TICK_NS + u64::from(on_cancel & 1)),
                then: ending(on_cancel >> 2),
            },
        };
        task.script.push(Step { run: span(run), then: ending(how), on_cancel });
    }

    fn subscriber(&mut self, how: u8, behaviour: u8) {
        let subscribers = &mut self.scenario.subscribers;
        if subscribers.len() == SUBSCRIBERS_MAX {
            return;
        }
        let number = behaviour >> 2;
        let behaviour = match behaviour & 3 {
            0 => Behaviour::Quick,
            1 => Behaviour::Slow { each: span(behaviour) },
            2 => Behaviour::Stuck { after: u32::from(number) },
            _ => Behaviour::Panics { every: u32::from(number) },
        };
        let capacity = [1024, 1, 2, 3, 4, 8, 64, 0][usize::from(how & 7)];
        let name = format!("s{}", subscribers.len() + 1);
        subscribers.push(SubscriberDecl { name, capacity, behaviour });
    }

    fn receiver(&mut self, pause: u8) {
        let receivers = &mut self.scenario.receivers;
        if receivers.len() < RECEIVERS_MAX {
            let name = format!("r{}", receivers.len() + 1);
            receivers.push(ReceiverDecl { name, pause: span(pause) });
        }
    }

    fn setting(&mut self, which: u8, value: u8) {
        let Scenario { mode, run_at, config, .. } = &mut self.scenario;
        match which {
            0 | 1 => config.grace = span(value),
            2 | 3 => config.max_concurrent = u32::from(value & 3),
            4 | 5 => config.bus_capacity = u32::from(value),
            6 => config.timeout = span(value),
            7..=10 => {
                let (queue_capacity, slot_capacity) = (u32::from(value & 7), u32::from(value >> 3 & 7));
                config.controller = Some(Controller { queue_capacity, slot_capacity });
            }
            11 => {
                config.disorder =
                    [Disorder::Late, Disorder::LateAndTwice, Disorder::None][usize::from(value % 3)];
            }
            12 => *run_at = instant(value),
            13 => *mode = if value & 1 == 0 { Mode::Serve } else { Mode::Run },
            14 => self.spin = value & 7 == 7,
            _ => config.bus_capacity = u32::from(value & 3),
        }
    }

    fn ends_by_itself(&self) -> bool {
        matches!(self.finale, Finale::ByItself | Finale::CalmByItself) && self.scenario.mode == Mode::Run
    }

    fn is_calm_at_last(&self) -> bool {
        matches!(self.finale, Finale::CalmByItself | Finale::CalmShutdown)
    }

    fn finish(mut self) -> Scenario {
        let ends_by_itself = self.ends_by_itself();
        let is_calm_at_last = self.is_calm_at_last();
        self.grant_wishes();
        let Self { mut scenario, horizon, spin, .. } = self;
        if ends_by_itself {
            scenario.config.timeout = Span::ZERO;
        }
        for task in &mut scenario.tasks {
            task.start &= scenario.mode == Mode::Run;
            tame(task, scenario.config.timeout, ends_by_itself, spin);
        }
        if is_calm_at_last {
            // Calm comes after everything that is asked for, and leaves time to end in.
            let config = &mut scenario.config;
            config.grace = config.grace.max(Span(5 * TICK_NS));
            scenario.run_at = scenario.run_at.min(Span(4 * TICK_NS));
            for operation in &mut scenario.operations {
                operation.at = operation.at.min(Span(8 * TICK_NS));
            }
            scenario.calm_at = Some(Span(horizon.ns() + 9 * TICK_NS));
        }
        if !ends_by_itself {
            let after_calm = if is_calm_at_last { 109 * TICK_NS } else { 0 };
            let at = Span(horizon.ns() + after_calm);
            scenario.operations.push(Operation { at, action: Action::Shutdown });
        }
        scenario.operations.sort_by_key(|operation| operation.at);
        scenario
    }

    /// Operations, now that all tasks are known.
    fn grant_wishes(&mut self) {
        let tasks = &self.scenario.tasks;
        for &Wish { at, what, who } in &self.wishes {
            let number = usize::from(who & 7);
            let task = tasks.get(number % tasks.len().max(1));
            let key = || task.map(|task| task.key().to_owned());
            let name = || match task {
                Some(task) if number < 7 => task.name.clone(),
                _ => NOBODY.to_owned(),
            };
            let rest = u64::from(who >> 3);
            let submit = |how, at_once| key().map(|task| Action::Submit { task, how, at_once });
            let action = match what {
                0 | 1 => key().map(Action::Add),
                2 => Some(Action::Remove(name())),
                3 => Some(Action::Cancel { task: name(), wait: None }),
                4 => Some(Action::Cancel { task: name(), wait: Some(Span(rest * TICK_NS)) }),
                5 => Some(Action::List),
                6 => Some(Action::Snapshot),
                7 => Some(Action::IsAlive(name())),
                8 => Some(Action::WaitReady),
                9 => (!self.ends_by_itself()).then_some(Action::Shutdown),
                10 | 11 => submit(Admission::Queue, false),
                12 => submit(Admission::Replace, false),
                13 => submit(Admission::DropIfRunning, false),
                14 => submit(
                    [Admission::Queue, Admission::Replace, Admission::DropIfRunning][(rest % 3) as usize],
                    true,
                ),
                _ => {
                    let by_ms = [1, -1, 3_600_000, -3_600_000][(rest % 4) as usize];
                    Some(Action::SetWall { by_ms })
                }
            };
            self.scenario.operations.extend(action.map(|action| Operation { at, action }));
        }
    }
}

/// Sees to it that each attempt with what follows it takes a tick, or no time if it may spin, and that a task which must
/// end by itself does.
fn tame(task: &mut TaskDecl, default_timeout: Span, ends_by_itself: bool, spin: bool) {
    if task.script.is_empty() {
        task.script.push(Step::default());
    }
    if ends_by_itself {
        if let Restart::Always { .. } = task.restart {
            task.restart = Restart::OnFailure;
        }
        let last = task.script.last_mut().expect("there is one");
        if matches!(last.then, Ending::Fail | Ending::Panic | Ending::Never) {
            last.then = Ending::Ok;
        }
        if let OnCancel::End { then: then @ Ending::Never, .. } = &mut last.on_cancel {
            *then = Ending::Ok;
        }
        let needed = Span(last.run.ns().saturating_add(1));
        task.timeout =
            task.timeout.map(|timeout| if timeout.is_zero() { timeout } else { timeout.max(needed) });
    }
    if task.restart == Restart::Never {
        return;
    }
    let tick = Span(TICK_NS);
    // What may spin takes no time at all, which is a livelock and soon over: in nanoseconds it would go on for millions of
    // turns.
    let least = if spin { Span::ZERO } else { tick };
    let whole = |span: Span| if span < tick { least } else { span };
    for step in &mut task.script {
        step.run = whole(step.run);
    }
    if spin {
        task.backoff.first = whole(task.backoff.first);
        if let Restart::Always { every: Some(every) } = &mut task.restart {
            *every = whole(*every);
        }
    }
    let timeout = task.timeout.unwrap_or(default_timeout);
    if !timeout.is_zero() && timeout < tick {
        task.timeout = Some(tick);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::{Numbers, Stream};

    fn scenario(bytes: &[u8]) -> Scenario {
        Scenario::arbitrary(&mut Unstructured::new(bytes)).expect("every string of bytes is a scenario")
    }

    fn random(seed: u64) -> Vec<u8> {
        let mut numbers = Numbers::new(seed, Stream::Scenario);
        let length = numbers.below(200);
        (0..length).map(|_| numbers.below(256) as u8).collect()
    }

    #[test]
    fn every_string_of_bytes_is_a_scenario_that_makes_sense() {
        for seed in 0..3_000 {
            let bytes = random(seed);
            let scenario = scenario(&bytes);
            scenario.check().unwrap_or_else(|error| panic!("{error} in {bytes:?}"));
        }
    }

    #[test]
    fn no_run_is_long() {
        use crate::choice::Fit;
        use crate::search::{Runner, replayed};
        // Found by the fuzzer: a task that may spin, whose attempts fail after two nanoseconds.
        let nanoseconds =
            *b"\x24\xf1\xf1\xf1\x2c\x31\xf1\xf1\xf1\x2b\xe5\xe1\xff\x25\x02\x4b\xee\xff\xe1\x25\xa5\x26\x01";
        let mut runner = Runner::default();
        let mut spinning = 0;
        for seed in 0..200 {
            let mut numbers = Numbers::new(seed, Stream::Scenario);
            let short = [0x00, 0xa0, 0xc1, 0xe0, 0xe1, 0xe2];
            let [delay, run, timeout] = [(); 3].map(|()| short[numbers.below(6) as usize]);
            assert!(span(delay) < Span(TICK_NS));
            // A task that fails for ever, and a setting that lets it spin.
            let task = [0x01, 0, delay, 0, timeout, 0x14, run, 0, 0xee, 0x07];
            let bytes = if seed == 0 { nanoseconds.to_vec() } else { [&task[..], &random(seed)].concat() };
            let judged = runner.judge(&scenario(&bytes), replayed(Vec::new(), Fit::Lenient));
            assert!(judged.turns < 60_000, "seed {seed}: {} turns in {bytes:?}", judged.turns);
            spinning += u32::from(judged.verdict == crate::search::Verdict::Livelock);
        }
        assert!(spinning > 20, "{spinning}");
    }

    #[test]
    fn no_bytes_are_an_empty_scenario_that_is_shut_down() {
        let empty = scenario(&[]);
        assert_eq!(empty, scenario(&[0, 1, 2, 3]), "nothing after the end counts");
        assert!(empty.tasks.is_empty() && empty.operations.len() == 1);
    }

    #[test]
    fn an_instruction_that_is_taken_out_leaves_the_others() {
        let two = [0x01, 0, 3, 0, 0, 0x14, 2, 0, 0x11, 1, 5, 0, 0];
        let whole = scenario(&two);
        assert_eq!((whole.tasks[0].name.as_str(), whole.tasks[1].name.as_str()), ("a", "b"));
        assert_eq!(
            whole.tasks[0].script,
            [Step { run: Span::from_millis(2), then: Ending::Fail, ..Step::default() }]
        );
        let rest = scenario(&two[..8]);
        assert_eq!(rest.tasks, whole.tasks[..1]);
        assert_eq!(scenario(&two[8..]).tasks, whole.tasks[1..]);
    }

    #[test]
    fn bytes_reach_every_part_of_a_scenario() {
        let mut seen = BTreeSet::new();
        for seed in 0..4_000 {
            let scenario = scenario(&random(seed));
            let text = serde_json::to_string(&scenario).expect("plain data");
            for word in WORDS {
                if text.contains(word) {
                    seen.insert(word);
                }
            }
        }
        assert_eq!(seen, BTreeSet::from(WORDS));
    }

    const WORDS: [&str; 49] = [
        "\"serve\"",
        "run_at",
        "calm_at",
        "max_concurrent\":1",
        "bus_capacity\":0",
        "\"timeout\"",
        "controller",
        "\"late\"",
        "late-and-twice",
        "\"key\"",
        "\"start\"",
        "\"never\"",
        "on-failure",
        "\"always\":{}",
        "every",
        "\"nan\"",
        "\"inf\"",
        "full",
        "equal",
        "decorrelated",
        "\"ok\"",
        "\"fail\"",
        "\"fatal\"",
        "\"canceled\"",
        "\"panic\"",
        "ignore",
        "\"after\"",
        "quick",
        "slow",
        "stuck",
        "panics",
        "receiver",
        "pause",
        "\"add\"",
        "\"remove\"",
        "\"cancel\"",
        "\"wait\"",
        "\"list\"",
        "snapshot",
        "is-alive",
        "wait-ready",
        "shutdown",
        "set-wall",
        "submit",
        "replace",
        "drop-if-running",
        "\"try\"",
        "584years",
        "nobody",
    ];
}
