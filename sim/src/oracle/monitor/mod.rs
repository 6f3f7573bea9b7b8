//! The reference monitor: a nondeterministic state machine, written from the contract, that follows a trace and keeps
//! the set of states in which the runtime may be.
//!
//! The state is a product and is kept factored: a small set of places for each [`task`], and one place each for the
//! [`run`], the [`permits`], the [`slots`] of the controller, the [`calls`] that have not returned, and [`delivery`]. An
//! event is *explained* if some place has a step for it; the places that have none are dropped. When none is left, the
//! event is the first that the contract does not explain, and the monitor says what was possible instead. A place also
//! knows until when it may be left: when the clock has passed the last such instant of every place of a task, what was
//! owed there has not come.
//!
//! It shares nothing with the logic but event kinds, and with the rules how a delay is bounded. The idea is that of
//! checking traces against a specification (Cirstea, Kuppe, Loillier, Merz: "Validating Traces of Distributed Programs
//! Against TLA+ Specifications", 2024).

mod calls;
mod complaint;
mod delivery;
mod events;
mod form;
mod memory;
mod permits;
mod run;
mod settle;
mod slots;
mod steps;
mod task;
mod words;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use self::calls::{Calls, Facts, Kind, Subject};
use self::complaint::{Complaint, Fits, unexplained};
use self::delivery::{Delivery, Misled};
use self::form::Form;
use self::permits::Permits;
use self::run::{Beside, Phase, Run};
use self::slots::{Slots, Submitted, Tenant};
use self::task::{Body, FAR, Place, Places, Stage, World};
use super::excuse::{Excuse, Excuses, Liberty};
use crate::trace::{
    Answer, BodyEnd, Call, EndNote, HandlerEnd, Header, Record, Sink, SpecNote, Text, Texts, What,
};

/// Most places that one task may be in at once. Reaching it is a failure and not silence.
const PLACES_MAX: usize = 8;

/// The first event that the contract does not explain, or what was owed and never came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// Number of the record, from 0.
    pub record: u64,
    /// Number of the event, if it was one.
    pub seq: Option<u64>,
    /// When, in nanoseconds.
    pub at_ns: u64,
    /// The task that it is about, if any.
    pub task: Option<String>,
    /// What came, or did not come.
    pub what: String,
    /// What the runtime may have been doing just before.
    pub before: Vec<String>,
    /// What could have come instead, and when.
    pub instead: Vec<String>,
    /// The rules involved; the first of them is the one that is broken.
    pub rules: Vec<&'static str>,
}

impl std::fmt::Display for Unexplained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "event {seq}: {}", self.what)?,
            None => write!(f, "{}", self.what)?,
        }
        if !self.before.is_empty() {
            write!(f, "; before it, {}", self.before.join(", or "))?;
        }
        if !self.instead.is_empty() {
            write!(f, "; what could have come: {}", self.instead.join(", or "))?;
        }
        if !self.rules.is_empty() {
            write!(f, " [{}]", self.rules.join(", "))?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Task {
    name: Text,
    places: Places,
    /// The latest instant by which one of the places must be left.
    until_ns: u64,
    /// … and that is the instant in which it was entered.
    at_once: bool,
    /// Some place is that of a registered task.
    registered: bool,
    /// Its latest start or end was a start.
    alive: bool,
    /// Counts from 1; 0 before the first.
    incarnation: u32,
    /// Changes of the deadline, to tell stale ones.
    version: u32,
    /// The operation that brought it, and whether that was a submission.
    origin: Option<(u32, bool)>,
    spec: Option<SpecNote>,
}

impl Task {
    fn new(name: Text) -> Self {
        Self {
            name,
            places: Places::absent(),
            until_ns: FAR,
            at_once: false,
            registered: false,
            alive: false,
            incarnation: 0,
            version: 0,
            origin: None,
            spec: None,
        }
    }

    /// Its TaskAdded has come, and its TaskRemoved has not.
    fn is_added(&self) -> bool {
        self.places.all().any(|place| !matches!(place.stage, Stage::Absent | Stage::Requested))
    }

    fn tenant(&self) -> Tenant {
        Tenant { registered: self.registered, incarnation: self.incarnation }
    }
}

/// Follows one trace after the other.
#[derive(Debug, Default)]
pub struct Monitor {
    world: World,
    form: Form,
    run: Run,
    permits: Permits,
    slots: Slots,
    calls: Calls,
    delivery: Delivery,
    tasks: Vec<Task>,
    /// Entries of tasks that were forgotten, to be used again.
    free: Vec<u32>,
    /// Index of a task by the number of its name, plus 1.
    index: Vec<u32>,
    registered: u64,
    /// Counts of changes of who is registered and who is alive.
    changes: (u64, u64),
    /// How many tasks' places must be left in the instant in which they were entered.
    at_once: u32,
    /// When some task's places must be left later: instant, task, version.
    deadlines: BinaryHeap<Reverse<(u64, u32, u32)>>,
    /// Records so far, the one that is looked at included.
    records: u64,
    visits: [u64; Stage::NAMES.len()],
    most_places: usize,
    excuses: Excuses,
    found: Option<Unexplained>,
    /// The last record has come, or one that is not explained: it listens no more.
    deaf: bool,
}

impl Monitor {
    /// A monitor that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first that the contract does not explain, if there is one.
    #[must_use]
    pub fn unexplained(&self) -> Option<&Unexplained> {
        self.found.as_ref()
    }

    /// Lets these departures pass, in every trace from now on. The monitor goes on from what they make probable.
    pub fn excuse(&mut self, excuses: Vec<Excuse>) {
        self.excuses.set(excuses);
    }

    /// How often each excuse was made use of in this trace, in the order in which they were given.
    #[must_use]
    pub fn excused(&self) -> &[u64] {
        self.excuses.used()
    }

    /// Each state by its name, with how often it was entered in this trace.
    pub fn visits(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let tasks = Stage::NAMES.into_iter().zip(self.visits).skip(1);
        tasks
            .chain(Run::NAMES.into_iter().zip(self.run.visits()))
            .chain(Slots::NAMES.into_iter().zip(self.slots.visits()))
    }

    /// Most places that one task was in at once.
    #[must_use]
    pub fn most_places(&self) -> usize {
        self.most_places
    }

    fn beside(&self) -> Beside {
        Beside {
            now_ns: self.world.now_ns,
            registered: self.registered,
            slots_idle: self.slots.is_idle() && self.calls.waiting() == 0,
            has_subscribers: self.delivery.has_subscribers(),
        }
    }

    /// Keeps the first complaint, unless it is let pass.
    #[inline]
    fn hold(&mut self, fits: Fits, seq: Option<u64>, texts: &Texts) {
        if let Err(complaint) = fits {
            self.complain(complaint, seq, texts);
        }
    }

    #[cold]
    #[inline(never)]
    #[expect(
        clippy::boxed_local,
        reason = "it is unpacked here, off the way of the records that are explained"
    )]
    fn complain(&mut self, complaint: Box<Complaint>, seq: Option<u64>, texts: &Texts) {
        let Complaint { what, rules, instead, by_ns } = *complaint;
        self.by(by_ns.unwrap_or(0), |monitor| monitor.reject(seq, None, what, rules, instead, texts));
    }

    /// Rejects what was owed by an instant: at that one, if what came last was before it.
    fn by(&mut self, by_ns: u64, reject: impl FnOnce(&mut Self)) {
        let now_ns = self.world.now_ns;
        self.world.now_ns = now_ns.max(by_ns);
        reject(self);
        self.world.now_ns = now_ns;
    }

    #[cold]
    fn reject(
        &mut self,
        seq: Option<u64>,
        task: Option<usize>,
        what: String,
        rules: &[&'static str],
        instead: Option<String>,
        texts: &Texts,
    ) {
        if self.found.is_some() {
            return;
        }
        let mut before = Vec::new();
        let mut instead: Vec<_> = instead.into_iter().collect();
        let mut involved = rules.to_vec();
        if let Some(task) = task {
            let Task { name, places, spec, .. } = &self.tasks[task];
            for place in places.all() {
                let words = place.words(texts.get(*name), spec.as_ref(), self.world.now_ns);
                before.push(words.state);
                instead.push(words.next);
                for rule in words.rules {
                    if !involved.contains(rule) {
                        involved.push(rule);
                    }
                }
            }
            before.dedup();
            instead.dedup();
        }
        if involved.first().is_some_and(|rule| self.excuses.covers(rule, &what)) {
            return;
        }
        let task = task.map(|task| texts.get(self.tasks[task].name).to_owned());
        let (record, at_ns) = (self.records.saturating_sub(1), self.world.now_ns);
        self.deaf = true;
        self.found = Some(Unexplained { record, seq, at_ns, task, what, before, instead, rules: involved });
    }

    /// A record of another instant than the one before, or one after the end of the run.
    #[inline(never)]
    fn look_back(&mut self, record: &Record, texts: &Texts) {
        if record.at_ns != self.world.now_ns {
            self.settle(record.at_ns, texts);
            self.world.now_ns = record.at_ns;
        }
        if self.run.phase == Phase::Over {
            self.after_the_end(&record.what, texts);
        }
        self.take(record, texts);
    }

    #[inline(always)] // without its registers saved: most of what it calls is a jump
    fn take(&mut self, record: &Record, texts: &Texts) {
        self.world.turn = record.turn;
        match &record.what {
            What::Event(event) => self.event(event, texts),
            What::HandlerEntered { subscriber, seq } => self.handler_entered(*subscriber, *seq, texts),
            What::HandlerLeft { subscriber, seq, how } => self.handler_left(*subscriber, *seq, *how, texts),
            What::BodyEntered { task, attempt, op } => self.body_entered(*task, *attempt, *op, texts),
            What::BodyLeft { task, attempt, how } => self.body_left(*task, *attempt, *how, texts),
            What::Received { receiver, seq } => self.received(*receiver, *seq, texts),
            other => self.observe(other, texts),
        }
    }

    fn call(&mut self, op: u32, call: &Call, texts: &Texts) {
        self.calls.seen = true;
        let specs: &[SpecNote] = match call {
            Call::Run(specs) => specs,
            _ => &[],
        };
        if matches!(call, Call::Run(_) | Call::Serve) {
            let mut taken = false;
            for spec in specs {
                let index = self.find(spec.task);
                taken |= self.tasks[index].registered;
            }
            let serve = matches!(call, Call::Serve);
            let beside = self.beside();
            if self.run.called(op, specs, serve, taken, beside) {
                self.world.up = true;
                if specs.is_empty() {
                    self.look_for_emptiness();
                }
                for task in 0..self.tasks.len() {
                    if self.tasks[task].registered {
                        self.step(task, None, texts, String::new, |place, _, world, _| place.up(world));
                    }
                }
            }
            return;
        }
        let counts = self.changes;
        let now_ns = self.world.now_ns;
        let kind = Kind::of(call, now_ns, |name| {
            let index = self.find(name);
            let task = &self.tasks[index];
            (index, task.registered.then_some(task.incarnation))
        });
        if let Some(kind) = kind {
            self.calls.open(op, now_ns, counts, kind);
        }
    }

    fn answer(&mut self, op: u32, answer: &Answer, texts: &Texts) {
        if self.run.op() == Some(op) {
            let beside =
                Beside { slots_idle: self.slots.is_idle() && self.slots.are_vacant(), ..self.beside() };
            let fits = self.run.answered(answer, beside, texts);
            self.world.up = self.run.phase == Phase::Up;
            self.world.over = self.run.phase == Phase::Over;
            self.hold(fits, None, texts);
            return;
        }
        let Some(open) = self.calls.take(op) else { return };
        if matches!(answer, Answer::ShuttingDown | Answer::Closed) {
            self.may_be_found_ending(texts);
        }
        let subject = open.kind.task().map_or_else(Subject::default, |index| {
            let task = &self.tasks[index];
            Subject {
                name: texts.get(task.name),
                incarnation: task.registered.then_some(task.incarnation),
                leaving: task.places.all().any(|place| place.removal || place.cancelled),
                alive: task.alive,
            }
        });
        let facts = Facts {
            now_ns: self.world.now_ns,
            late_ns: self.world.late_ns,
            registry: self.changes.0,
            alive: self.changes.1,
            was_up: self.run.was_up(),
            over: self.run.phase == Phase::Over,
            shutdown: self.run.is_ending(),
            may_be_ending: self.run.may_be_ending(),
            free: self.world.free,
            configured: self.slots.is_configured(),
            task: subject,
            texts,
        };
        let names = |alive: bool| self.names(alive, texts);
        let not_added = || self.not_added();
        let has_room = self.slots.has_room(self.calls.waiting());
        let fits = calls::answered(&open, answer, &facts, names, not_added, has_room);
        self.hold(fits, None, texts);
        if let Kind::Submit { task, spec, admission, .. } = open.kind
            && *answer == Answer::Done
            && self.slots.is_configured()
        {
            let fits = self.slots.accept(Submitted { op, slot: task, admission, spec });
            self.hold(fits, None, texts);
        }
        if *answer == Answer::Done && !self.slots.is_idle() {
            self.run.busy(); // what was submitted keeps the run going
        } else {
            let beside = self.beside();
            self.run.look_for_idleness(beside);
        }
    }

    /// What shows that a run is ending shows it of one that ends whenever no task is added, if it may be: every task is
    /// cancelled then.
    #[cold]
    pub(super) fn may_be_found_ending(&mut self, texts: &Texts) {
        if self.run.is_ending() || !self.run.may_end(self.world.now_ns) {
            return;
        }
        self.run.ends(self.world.now_ns);
        for task in 0..self.tasks.len() {
            if self.tasks[task].registered {
                self.step(task, None, texts, String::new, |place, _, world, _| place.shutdown(world));
            }
        }
    }

    /// Looks whether no task is left that was added, where that ends a run.
    pub(super) fn look_for_emptiness(&mut self) {
        if self.world.free.has(Liberty::EmptyRunsEnd) && !self.tasks.iter().any(Task::is_added) {
            self.run.emptied(self.world.now_ns);
        }
    }

    /// Names that are registered and not added.
    fn not_added(&self) -> Vec<Text> {
        let early = self.tasks.iter().filter(|task| task.registered && !task.is_added());
        early.map(|task| task.name).collect()
    }

    /// Names that are registered, or alive, sorted.
    fn names(&self, alive: bool, texts: &Texts) -> Vec<Text> {
        let fits = |task: &&Task| if alive { task.alive } else { task.registered };
        let mut names: Vec<_> = self.tasks.iter().filter(fits).map(|task| task.name).collect();
        names.sort_unstable_by(|one, other| texts.get(*one).cmp(texts.get(*other)));
        names
    }

    #[inline(never)]
    fn body_entered(&mut self, name: Text, attempt: u32, op: Option<u32>, texts: &Texts) {
        let index = self.find(name);
        if let (Some(op), Some((asked, submitted))) = (op, self.tasks[index].origin)
            && op != asked
        {
            let rules: &[&str] = if submitted { &["C5", "G5"] } else { &["G5"] };
            let name = texts.get(name);
            let what = format!("a body of `{name}` came from operation {op}, and it was the turn of {asked}");
            self.hold(unexplained(rules, what), None, texts);
        }
        let at_ns = self.world.now_ns;
        let what = move || format!("body {attempt} of `{}` was entered at {at_ns} ns", texts.get(name));
        self.step(index, None, texts, what, |place, _, world, _| place.body_entered(attempt, world));
    }

    #[inline(never)]
    fn body_left(&mut self, name: Text, attempt: u32, how: BodyEnd, texts: &Texts) {
        let (index, at_ns) = (self.find(name), self.world.now_ns);
        let what = move || format!("body {attempt} of `{}` ended at {at_ns} ns", texts.get(name));
        self.step(index, None, texts, what, |place, _, world, _| place.body_left(attempt, how, world));
    }

    fn body_cancelled(&mut self, name: Text, attempt: u32, texts: &Texts) {
        let (index, at_ns) = (self.find(name), self.world.now_ns);
        let what = move || {
            let name = texts.get(name);
            format!("body {attempt} of `{name}` saw its context cancelled at {at_ns} ns")
        };
        if self.run.may_end(at_ns) && !self.explains_cancel(index, attempt) {
            self.may_be_found_ending(texts);
        }
        self.step(index, None, texts, what, |place, spec, world, _| {
            place.body_cancelled(attempt, spec, world)
        });
    }

    #[cold]
    fn explains_cancel(&self, index: usize, attempt: u32) -> bool {
        let task = &self.tasks[index];
        let explains = |mut place: Place| place.body_cancelled(attempt, task.spec.as_ref(), &self.world);
        task.places.all().copied().any(explains)
    }

    /// [D6]: once the run has returned nothing of it goes on. Events are looked at by themselves.
    #[cold]
    fn after_the_end(&mut self, what: &What, texts: &Texts) {
        let what = match what {
            What::BodyEntered { task, .. } => format!("a body of `{}` was entered", texts.get(*task)),
            What::HandlerEntered { subscriber, .. } => {
                format!("`{}` was given an event", texts.get(*subscriber))
            }
            _ => return,
        };
        self.hold(unexplained(&["D6"], format!("{what} after the run had returned")), None, texts);
    }

    fn end(&mut self, end: &EndNote, texts: &Texts) {
        self.deaf = true;
        if !matches!(end, EndNote::Done | EndNote::Deadlock(_)) {
            return;
        }
        self.settle(self.world.now_ns.saturating_add(1), texts);
        let runs =
            |task: &Task| task.places.all().any(|place| place.is_registered() && place.body == Body::Running);
        let excused = *end != EndNote::Done && !self.run.calm && self.tasks.iter().any(runs);
        let fits = self.run.end(excused);
        self.hold(fits, None, texts);
        let fits = self.calls.end();
        self.hold(fits, None, texts);
        if self.run.phase == Phase::Over
            && let Some(task) = self.tasks.iter().position(|task| task.registered)
        {
            let what = format!("`{}` was never removed", texts.get(self.tasks[task].name));
            self.reject(None, Some(task), what, &["G4"], None, texts);
        }
    }

    #[inline(never)]
    fn handler_entered(&mut self, subscriber: Text, seq: u64, texts: &Texts) {
        if let Some(misled) = self.delivery.handler_entered(subscriber, seq) {
            self.misled(subscriber, seq, misled, texts);
        }
    }

    #[cold]
    #[inline(never)]
    fn misled(&mut self, subscriber: Text, seq: u64, misled: Misled, texts: &Texts) {
        if let Some(misled) = self.delivery.after_all(subscriber, misled) {
            self.hold(misled.complaint(subscriber, seq, texts), None, texts);
        }
    }

    #[inline(never)]
    fn received(&mut self, receiver: Text, seq: u64, texts: &Texts) {
        let fits = self.delivery.received(receiver, seq, texts);
        self.hold(fits, None, texts);
    }

    #[inline(never)]
    fn handler_left(&mut self, subscriber: Text, seq: u64, how: HandlerEnd, texts: &Texts) {
        let drained = || self.run.drained_ns().is_some_and(|drained_ns| self.world.now_ns >= drained_ns);
        let fits = self.delivery.handler_left(subscriber, seq, how, drained, texts);
        self.hold(fits, None, texts);
    }

    /// What is seldom told of.
    #[inline(never)]
    fn observe(&mut self, what: &What, texts: &Texts) {
        let fits = match what {
            // These have been taken by their own.
            What::Event(_)
            | What::HandlerEntered { .. }
            | What::HandlerLeft { .. }
            | What::BodyEntered { .. }
            | What::BodyLeft { .. }
            | What::Received { .. } => return,
            What::Call { op, call } => return self.call(*op, call, texts),
            What::Answer { op, answer } => return self.answer(*op, answer, texts),
            What::BodyCancelled { task, attempt } => return self.body_cancelled(*task, *attempt, texts),
            What::End(end) => return self.end(end, texts),
            What::Calm => {
                self.run.calm = true;
                return;
            }
            What::WallSet { .. } => {
                self.form.wall_set();
                return;
            }
            What::AliveSeen { receiver, alive } => self.delivery.alive_seen(*receiver, alive, texts),
            What::Delivered { seq } => self.delivery.delivered(*seq),
            What::ReceiverOpened { receiver } => {
                self.delivery.opened(*receiver);
                return;
            }
            What::Lagged { receiver, lost } => self.delivery.lagged(*receiver, *lost, texts),
            What::ReceiverClosed { receiver } => self.delivery.closed(*receiver, texts),
            What::Counters { subscriber, handled, panicked, dropped, lagged } => {
                let counters = [*handled, *panicked, *dropped, *lagged];
                let cut_short = self.run.was_cut_short();
                self.delivery.counters(*subscriber, counters, cut_short, texts)
            }
            What::Leftovers { futures: 0, timers: 0, permits: 0 } => return,
            What::Leftovers { futures, timers, permits } => unexplained(
                &["D6"],
                format!("the run left {futures} futures, {timers} timers and {permits} permits behind"),
            ),
        };
        self.hold(fits, None, texts);
    }
}

impl Sink for Monitor {
    fn begin(&mut self, header: &Header, _texts: &Texts) {
        let config = header.config;
        let free = self.excuses.liberties();
        self.world = World {
            limit: config.max_concurrent,
            late_ns: config.timer_late_ns,
            grace_ns: config.grace_ns,
            free,
            ..World::default()
        };
        self.form = Form::default();
        self.run.reset(config.grace_ns, config.timer_late_ns, free);
        self.permits.clear();
        self.slots.reset(config.controller);
        self.calls.clear();
        self.delivery.reset(header, free.has(Liberty::LateReports));
        self.tasks.clear();
        self.free.clear();
        self.index.clear();
        self.registered = 0;
        self.changes = (0, 0);
        self.at_once = 0;
        self.deadlines.clear();
        self.records = 0;
        self.visits = [0; Stage::NAMES.len()];
        self.most_places = 1;
        self.excuses.reset();
        self.found = None;
        self.deaf = false;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.record_all(std::slice::from_ref(record), texts);
    }

    fn record_all(&mut self, records: &[Record], texts: &Texts) {
        for record in records {
            if self.deaf {
                return;
            }
            self.records += 1;
            if record.at_ns != self.world.now_ns || self.run.phase == Phase::Over {
                self.look_back(record, texts);
            } else {
                self.take(record, texts);
            }
        }
    }
}
