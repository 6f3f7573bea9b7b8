//! Scenarios from a seed.
//!
//! Numbers are small and times lie on a coarse grid, so that several things at one instant are common. Each seed
//! switches whole kinds of operation, outcome and fault off (swarm testing: Groce et al., ISSTA 2012), because what
//! is always on conceals: a removal or a shutdown repairs what a lost event broke.

use super::{
    Action, Admission, Backoff, Behaviour, Config, Controller, Disorder, Ending, Jitter, Mode, OnCancel,
    Operation, ReceiverDecl, Restart, Scenario, Span, Step, SubscriberDecl, TaskDecl,
};
use crate::rng::{Numbers, Stream};

/// The scenario of a seed.
#[must_use]
pub fn generate(seed: u64) -> Scenario {
    let mut numbers = Numbers::new(seed, Stream::Scenario);
    let swarm = Swarm::draw(&mut numbers);
    Generator { numbers, swarm }.scenario()
}

/// What this seed may contain.
#[derive(Debug, Clone, Copy)]
struct Swarm {
    /// How the run ends.
    finale: Finale,
    /// Bodies fail.
    failures: bool,
    /// Bodies fail for good.
    fatals: bool,
    /// Bodies panic.
    panics: bool,
    /// Bodies say that they were cancelled, when nobody cancelled them or late.
    canceled: bool,
    /// Bodies do not heed cancellation, or not soon.
    stubborn: bool,
    /// Attempts have timeouts.
    timeouts: bool,
    /// Delays are jittered.
    jitter: bool,
    /// Attempts are limited in number.
    permits: bool,
    /// Tasks restart after successes.
    always: bool,
    /// Tasks may restart without any time passing.
    spin: bool,
    adds: bool,
    removes: bool,
    cancels: bool,
    queries: bool,
    /// Several shutdown requests.
    shutdowns: bool,
    /// Subscribers that keep up.
    audience: bool,
    /// Subscribers that are slow, stuck or panic.
    bad_audience: bool,
    receivers: bool,
    /// Queues and the bus are tiny.
    tiny: bool,
    /// Operations come in bursts at few instants.
    bursts: bool,
    /// Operations come before the run begins.
    early: bool,
    /// There is a controller.
    controller: bool,
    submits: bool,
    /// Events come late or twice.
    disorder: bool,
    /// The wall clock jumps.
    wall_jumps: bool,
    /// Most operations are about one slot.
    one_slot: bool,
}

/// How a run comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finale {
    /// By itself: every task ends by its policy or is removed.
    ByItself,
    /// By a shutdown.
    Shutdown,
    /// Calm comes, then it ends by itself.
    CalmByItself,
    /// Calm comes, then a shutdown.
    CalmShutdown,
}

impl Swarm {
    fn draw(numbers: &mut Numbers) -> Self {
        let finale = numbers.pick(&[
            Finale::ByItself,
            Finale::ByItself,
            Finale::Shutdown,
            Finale::Shutdown,
            Finale::Shutdown,
            Finale::CalmByItself,
            Finale::CalmShutdown,
        ]);
        let mut on = |chance: u32| numbers.chance((chance, 16));
        Self {
            finale,
            failures: on(12),
            fatals: on(5),
            panics: on(5),
            canceled: on(5),
            stubborn: on(9),
            timeouts: on(7),
            jitter: on(5),
            permits: on(6),
            always: on(9),
            spin: on(1) && finale == Finale::Shutdown,
            adds: on(10),
            removes: on(8),
            cancels: on(8),
            queries: on(8),
            shutdowns: on(3),
            audience: on(8),
            bad_audience: on(6),
            receivers: on(4),
            tiny: on(7),
            bursts: on(6),
            early: on(3),
            controller: on(6),
            submits: on(14),
            disorder: on(3),
            wall_jumps: on(2),
            one_slot: on(6),
        }
    }
}

struct Generator {
    numbers: Numbers,
    swarm: Swarm,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The grid of times: collisions are wanted.
const TICK_NS: u64 = 1_000_000;

impl Generator {
    fn on(&mut self, chance: u32) -> bool {
        self.numbers.chance((chance, 16))
    }

    /// A span on the grid, below `ticks` ticks.
    fn ticks(&mut self, ticks: u32) -> Span {
        Span(u64::from(self.numbers.below(ticks)) * TICK_NS)
    }

    /// As [`Generator::ticks`]; now and then a nanosecond off the grid, where bounds break.
    fn near_ticks(&mut self, ticks: u32) -> Span {
        let Span(ns) = self.ticks(ticks);
        match self.numbers.below(16) {
            0 if ns > 0 => Span(ns + 1),
            1 if ns > 0 => Span(ns - 1),
            _ => Span(ns),
        }
    }

    fn ends_by_itself(&self) -> bool {
        matches!(self.swarm.finale, Finale::ByItself | Finale::CalmByItself)
    }

    fn is_calm_at_last(&self) -> bool {
        matches!(self.swarm.finale, Finale::CalmByItself | Finale::CalmShutdown)
    }

    fn scenario(mut self) -> Scenario {
        let mode = if self.ends_by_itself() || self.on(11) { Mode::Run } else { Mode::Serve };
        let run_at = if self.swarm.early { self.ticks(4) } else { Span::ZERO };
        let config = self.config();
        let tasks = self.tasks(mode);
        let subscribers = self.subscribers();
        let receivers = self.receivers();
        let mut operations = self.operations(&tasks);
        let horizon = 8 + self.numbers.below(24);
        let horizon = Span(u64::from(horizon) * TICK_NS);
        let calm_at = self.is_calm_at_last().then(|| Span(horizon.ns() + TICK_NS));
        match self.swarm.finale {
            Finale::Shutdown => operations.push(Operation { at: horizon, action: Action::Shutdown }),
            // Long enough after calm for every body, backoff and queue to have come to rest.
            Finale::CalmShutdown => {
                let at = Span(horizon.ns() + 100 * TICK_NS);
                operations.push(Operation { at, action: Action::Shutdown });
            }
            Finale::ByItself | Finale::CalmByItself => {}
        }
        operations.sort_by_key(|operation| operation.at);
        Scenario {
            name: String::new(),
            story: String::new(),
            mode,
            run_at,
            calm_at,
            config,
            tasks,
            subscribers,
            receivers,
            operations,
        }
    }

    fn controller(&mut self) -> Option<Controller> {
        let queue_capacity = self.numbers.pick(&[1, 1, 2, 3, 8]);
        let slot_capacity = self.numbers.pick(&[0, 1, 1, 2, 3, 8]);
        self.swarm.controller.then_some(Controller { queue_capacity, slot_capacity })
    }

    fn config(&mut self) -> Config {
        let grace = self.numbers.pick(&[0, 1, 3, 5, 5, 10, 20, 50]);
        // Where calm is promised, shutdown must be possible in time.
        let grace = if self.is_calm_at_last() { grace.max(5) } else { grace };
        Config {
            grace: Span::from_millis(grace),
            max_concurrent: if self.swarm.permits { self.numbers.pick(&[1, 1, 2, 3]) } else { 0 },
            bus_capacity: if self.swarm.tiny { self.numbers.pick(&[1, 2, 3, 4, 8]) } else { 1024 },
            timeout: match self.swarm.timeouts && self.on(4) {
                // Long enough for every last step, which must come to its end.
                true if self.ends_by_itself() => Span(7 * TICK_NS),
                true => self.near_ticks(6),
                false => Span::ZERO,
            },
            controller: self.controller(),
            disorder: match self.swarm.disorder {
                true => self.numbers.pick(&[Disorder::Late, Disorder::LateAndTwice]),
                false => Disorder::None,
            },
        }
    }

    fn tasks(&mut self, mode: Mode) -> Vec<TaskDecl> {
        let count = 1 + self.numbers.below(4) as usize;
        let mut tasks = Vec::new();
        for name in &NAMES[..count] {
            let start = mode == Mode::Run && self.on(11);
            tasks.push(self.task(name, None, start));
            if self.swarm.adds && self.on(4) {
                let start = mode == Mode::Run && self.on(1) && !start;
                tasks.push(self.task(name, Some(format!("{name}2")), start));
            }
        }
        tasks
    }

    fn task(&mut self, name: &str, key: Option<String>, start: bool) -> TaskDecl {
        let ends = self.ends_by_itself();
        let restart = match self.numbers.below(6) {
            0 | 1 => Restart::Never,
            2 | 3 => Restart::OnFailure,
            _ if self.swarm.always && !ends => match self.numbers.below(4) {
                0 => Restart::Always { every: None },
                _ => Restart::Always { every: Some(self.near_ticks(5)) },
            },
            _ => Restart::OnFailure,
        };
        let backoff = self.backoff();
        let steps = 1 + self.numbers.below(4);
        let mut script: Vec<_> = (0..steps).map(|_| self.step(restart)).collect();
        if ends && let Some(last) = script.last_mut() {
            // The last step is repeated, so it must end the task.
            last.then = self.numbers.pick(&[Ending::Ok, Ending::Ok, Ending::Fatal, Ending::Canceled]);
        }
        let timeout = (self.swarm.timeouts && self.on(9)).then(|| self.timeout(&script));
        let mut task = TaskDecl { name: name.to_owned(), key, start, restart, backoff, timeout, script };
        self.tame(&mut task);
        task
    }

    /// Often just the time that a step takes, to the nanosecond. A task that must end by itself needs its last step in
    /// time.
    fn timeout(&mut self, script: &[Step]) -> Span {
        let step = script[self.numbers.below(script.len() as u32) as usize];
        let Span(ns) = match self.numbers.below(4) {
            0 => step.run,
            1 => Span(step.run.ns() + 1),
            2 => Span(step.run.ns().saturating_sub(1)),
            _ => self.ticks(8),
        };
        match script.last() {
            Some(last) if self.ends_by_itself() => Span(ns.max(last.run.ns() + 1)),
            _ => Span(ns),
        }
    }

    fn backoff(&mut self) -> Backoff {
        let jitter = if self.swarm.jitter {
            self.numbers.pick(&[Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated])
        } else {
            Jitter::None
        };
        Backoff {
            first: Span(self.near_ticks(4).ns().max(if self.swarm.spin { 0 } else { TICK_NS })),
            max: Span(u64::from(self.numbers.pick(&[2_u32, 4, 10, 1_000])) * TICK_NS),
            factor: self.numbers.pick(&[1.0, 1.0, 2.0, 2.0, 1.5, 0.5, 3.0, f64::INFINITY]),
            jitter,
        }
    }

    fn step(&mut self, restart: Restart) -> Step {
        let then = match self.numbers.below(8) {
            0 if self.swarm.fatals => Ending::Fatal,
            1 if self.swarm.panics => Ending::Panic,
            2 if self.swarm.canceled => Ending::Canceled,
            3 if !self.ends_by_itself() || self.is_calm_at_last() => Ending::Never,
            3..=5 if self.swarm.failures => Ending::Fail,
            _ => Ending::Ok,
        };
        let then = if restart == Restart::OnFailure && then == Ending::Ok && self.swarm.failures && self.on(8)
        {
            Ending::Fail // otherwise most such tasks would end with their first attempt
        } else {
            then
        };
        let on_cancel = if !self.swarm.stubborn || self.on(6) {
            OnCancel::default()
        } else if self.on(6) {
            OnCancel::Ignore
        } else {
            let then = match self.numbers.below(6) {
                0 if self.swarm.failures => Ending::Fail,
                1 if self.swarm.fatals => Ending::Fatal,
                2 if self.swarm.panics => Ending::Panic,
                3 => Ending::Ok,
                4 if !self.ends_by_itself() => Ending::Never,
                _ => Ending::Canceled,
            };
            OnCancel::End { after: self.near_ticks(8), then }
        };
        Step { run: self.near_ticks(6), then, on_cancel }
    }

    /// Sees to it that each attempt with what follows it takes some time, unless this seed wants to spin: otherwise a
    /// task fills its world with millions of attempts at one instant, or a nanosecond apart.
    fn tame(&mut self, task: &mut TaskDecl) {
        let short = |span: Span| span.ns() < TICK_NS - 1;
        let no_delay = match task.restart {
            Restart::Always { every } => every.is_none_or(short),
            Restart::Never | Restart::OnFailure => false,
        };
        let restarts = task.restart != Restart::Never && !self.swarm.spin;
        let shrinking = task.backoff.jitter != Jitter::None || task.backoff.factor < 1.0;
        if restarts && (no_delay || shrinking || short(task.backoff.first)) {
            for step in &mut task.script {
                step.run = step.run.max(Span(TICK_NS));
            }
        }
        if let Some(timeout) = task.timeout.filter(|timeout| !timeout.is_zero()) {
            let last =
                task.script.last().filter(|_| self.ends_by_itself()).map_or(0, |last| last.run.ns() + 1);
            task.timeout = Some(timeout.max(Span(last.max(TICK_NS - 1))));
        }
    }

    fn subscribers(&mut self) -> Vec<SubscriberDecl> {
        let mut subscribers = Vec::new();
        if self.swarm.audience {
            subscribers.push(Behaviour::Quick);
        }
        if self.swarm.bad_audience {
            for _ in 0..1 + self.numbers.below(2) {
                let behaviour = match self.numbers.below(4) {
                    0 => Behaviour::Stuck { after: self.numbers.below(6) },
                    // A panic costs as much as ten events, and the second of a subscriber shows nothing that the first did not.
                    1 => Behaviour::Panics { every: self.numbers.pick(&[1, 4, 4, 8, 8, 16, 16, 32]) },
                    _ => {
                        let ms = self.numbers.pick(&[1, 1, 2, 5, 3_600_000]);
                        Behaviour::Slow { each: Span::from_millis(ms) }
                    }
                };
                subscribers.push(behaviour);
            }
        }
        (1..)
            .zip(subscribers)
            .map(|(number, behaviour)| SubscriberDecl {
                name: format!("s{number}"),
                capacity: if self.swarm.tiny { self.numbers.pick(&[1, 1, 2, 3, 8]) } else { 1024 },
                behaviour,
            })
            .collect()
    }

    fn receivers(&mut self) -> Vec<ReceiverDecl> {
        if !self.swarm.receivers {
            return Vec::new();
        }
        let count = 1 + self.numbers.below(2);
        (1..=count)
            .map(|number| {
                let pause = Span::from_millis(self.numbers.pick(&[0, 1, 2, 10, 3_600_000]));
                ReceiverDecl { name: format!("r{number}"), pause }
            })
            .collect()
    }

    /// A slot's task is removed, replaced, and added from outside, all at one instant.
    fn overtaking(&mut self, task: &TaskDecl) -> [Operation; 4] {
        let submit = |how| Action::Submit { task: task.key().to_owned(), how, at_once: true };
        let (start, at) = (self.ticks(8), self.ticks(8));
        let at = Span(start.ns() + at.ns());
        [
            Operation { at: start, action: submit(Admission::Queue) },
            Operation { at, action: submit(Admission::Replace) },
            Operation { at, action: Action::Remove(task.name.clone()) },
            Operation { at, action: Action::Add(task.key().to_owned()) },
        ]
    }

    fn operations(&mut self, tasks: &[TaskDecl]) -> Vec<Operation> {
        let count = self.numbers.pick(&[0, 2, 4, 6, 8, 12]);
        let bursts: Vec<Span> = (0..2).map(|_| self.ticks(20)).collect();
        let mut operations = Vec::new();
        let one_slot = self.swarm.one_slot && self.swarm.controller;
        for _ in 0..count {
            let task = match one_slot && self.on(13) {
                true => &tasks[0],
                false => &tasks[self.numbers.below(tasks.len() as u32) as usize],
            };
            // Now and then a name that nobody has.
            let name = if self.on(1) { "nobody".to_owned() } else { task.name.clone() };
            let kind = match one_slot {
                true => self.numbers.pick(&[12, 13, 14, 15, 12, 13, 14, 15, 0, 3, 5, 11]),
                false => self.numbers.below(17),
            };
            let action = match kind {
                0..=2 if self.swarm.adds => Action::Add(task.key().to_owned()),
                3 | 4 if self.swarm.removes => Action::Remove(name),
                5 | 6 if self.swarm.cancels => {
                    let wait = self.on(8).then(|| self.ticks(6));
                    Action::Cancel { task: name, wait }
                }
                7 if self.swarm.queries => Action::List,
                8 if self.swarm.queries => Action::Snapshot,
                9 if self.swarm.queries => Action::IsAlive(name),
                10 if self.swarm.queries => Action::WaitReady,
                11 if (self.swarm.shutdowns || one_slot) && !self.ends_by_itself() => Action::Shutdown,
                12..=15 if self.swarm.submits && (self.swarm.controller || self.on(1)) => {
                    let how =
                        self.numbers.pick(&[Admission::Queue, Admission::Replace, Admission::DropIfRunning]);
                    Action::Submit { task: task.key().to_owned(), how, at_once: self.on(6) }
                }
                16 if self.swarm.wall_jumps => {
                    Action::SetWall { by_ms: self.numbers.pick(&[-3_600_000, -1, 1, 3_600_000]) }
                }
                _ => continue,
            };
            let at = if self.swarm.bursts { self.numbers.pick(&bursts) } else { self.ticks(20) };
            let twice = self.swarm.cancels && self.on(3) && matches!(action, Action::Cancel { .. });
            let operation = Operation { at, action };
            if twice {
                operations.push(operation.clone());
            }
            operations.push(operation);
        }
        if one_slot && self.swarm.adds && self.on(10) {
            operations.extend(self.overtaking(&tasks[0]));
        }
        if self.is_calm_at_last() {
            // Calm comes at 9 ticks or later; nothing else may be asked for from then on.
            for operation in &mut operations {
                operation.at = Span(operation.at.ns().min(8 * TICK_NS));
            }
        }
        operations
    }
}
