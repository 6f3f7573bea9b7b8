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
mod form;
mod permits;
mod run;
mod slots;
mod task;
mod words;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use simvisor::EventKind;

use self::calls::{Calls, Facts, Kind, Subject};
use self::complaint::{Complaint, Fits, expected, unexplained};
use self::delivery::{Delivery, Misled};
use self::form::Form;
use self::permits::{Due, Permits, Unfair};
use self::run::{Beside, Phase, Run, Stopped};
use self::slots::{Slots, Submitted, Tenant};
use self::task::{Body, FAR, Place, Places, Stage, World};
use super::excuse::{Excuse, Excuses};
use crate::trace::{
    Answer, BodyEnd, Call, EndNote, EventNote, HandlerEnd, Header, Held, Record, Sink, SpecNote, Text, Texts,
    What, kind_name,
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

    /// The task of a name.
    #[inline]
    fn find(&mut self, name: Text) -> usize {
        match self.index.get(name.index()) {
            Some(&number) if number > 0 => number as usize - 1,
            _ => self.meet(name),
        }
    }

    #[cold]
    fn meet(&mut self, name: Text) -> usize {
        if self.index.len() <= name.index() {
            self.index.resize(name.index() + 1, 0);
        }
        let index = match self.free.pop() {
            Some(index) => {
                // Deadlines of who was here before are stale.
                let version = self.tasks[index as usize].version + 1;
                self.tasks[index as usize] = Task { version, ..Task::new(name) };
                index as usize
            }
            None => {
                self.tasks.push(Task::new(name));
                self.tasks.len() - 1
            }
        };
        self.index[name.index()] = index as u32 + 1;
        index
    }

    /// Forgets tasks that are gone and that nothing refers to, and holds the texts that are still spoken of. A name that
    /// comes back later is one that was never there.
    ///
    /// A long trace is judged in bounded memory if this is called now and then, see [`Texts::forget_all_but`].
    pub fn forget_gone(&mut self, held: &mut Held) {
        let mut stays: Vec<_> = self.tasks.iter().map(|task| task.registered || task.alive).collect();
        self.free.iter().for_each(|&free| stays[free as usize] = true);
        self.calls.subjects().for_each(|task| stays[task] = true);
        self.slots.occupied(|task| stays[task] = true);
        self.permits.forget(|task| !stays[task]);
        let tasks = &self.tasks;
        self.deadlines.retain(|Reverse((_, task, version))| tasks[*task as usize].version == *version);
        for (place, _) in stays.iter().enumerate().filter(|(_, stays)| !**stays) {
            self.index[self.tasks[place].name.index()] = 0;
            self.slots.vacate(place);
            self.free.push(place as u32);
        }
        for number in self.index.iter().filter_map(|number| number.checked_sub(1)) {
            let task = &self.tasks[number as usize];
            held.hold(task.name);
            task.places.all().for_each(|place| place.hold(held));
        }
        self.run.hold(held);
        self.delivery.forget_gone();
        self.delivery.hold(held);
    }

    /// How many tasks it remembers.
    #[must_use]
    pub fn remembers(&self) -> usize {
        self.tasks.len() - self.free.len()
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

    /// Takes a step from every place of a task: those that have none are left out. Without one left, `what` is
    /// unexplained.
    #[inline]
    fn step(
        &mut self,
        index: usize,
        event: Option<&EventNote>,
        texts: &Texts,
        what: impl FnOnce() -> String,
        steps: impl Fn(&mut Place, Option<&SpecNote>, &World, &mut Vec<Place>) -> bool,
    ) {
        let (task, world) = (&mut self.tasks[index], &self.world);
        let Places { first, others } = &mut task.places;
        let before = (first.stage.index(), first.attempt);
        // As a rule there is one place, and it becomes the next.
        let explained = if others.is_empty() {
            first.until_ns >= world.now_ns && steps(first, task.spec.as_ref(), world, others)
        } else {
            let next = task.places.next(&|place, others| {
                place.until_ns >= world.now_ns && steps(place, task.spec.as_ref(), world, others)
            });
            next.is_some_and(|next| self.stand(index, next, texts))
        };
        if !explained {
            self.unexplained_step(index, event, what(), texts);
        }
        self.settle_in(index, before);
    }

    /// A task stands in these places, of which there may be too many.
    #[cold]
    fn stand(&mut self, index: usize, mut next: Places, texts: &Texts) -> bool {
        if next.others.len() >= PLACES_MAX {
            let what = format!("more than {PLACES_MAX} explanations at once: the monitor gives up");
            self.reject(None, Some(index), what, &[], None, texts);
            next.others.clear();
        }
        self.tasks[index].places = next;
        true
    }

    /// Goes on from what an unexplained action makes probable.
    #[cold]
    fn unexplained_step(&mut self, index: usize, event: Option<&EventNote>, what: String, texts: &Texts) {
        self.reject(event.map(|event| event.seq), Some(index), what, &[], None, texts);
        let Places { first, others } = &mut self.tasks[index].places;
        others.clear();
        match event {
            Some(event) => first.presume(event, &self.world, others),
            None => first.until_ns = FAR,
        }
    }

    /// A task stands in its places from now on, where `before` the first had this stage and attempt.
    #[inline]
    fn settle_in(&mut self, index: usize, before: (usize, u32)) {
        let Places { first, others } = &self.tasks[index].places;
        if others.is_empty() {
            self.enter(index, before, (first.until_ns, first.is_registered()));
        } else {
            self.settle_in_many(index, before);
        }
    }

    #[cold]
    fn settle_in_many(&mut self, index: usize, before: (usize, u32)) {
        let places = &self.tasks[index].places;
        let bounds = places.bounds();
        self.most_places = self.most_places.max(1 + places.others.len());
        if (places.first.stage.index(), places.first.attempt) != before {
            places.others.iter().for_each(|place| self.visits[place.stage.index()] += 1);
        }
        self.enter(index, before, bounds);
    }

    /// `until_ns` and `registered` are the bounds of all places.
    #[inline(always)]
    fn enter(&mut self, index: usize, before: (usize, u32), (until_ns, registered): (u64, bool)) {
        let task = &mut self.tasks[index];
        let stage = task.places.first.stage;
        let mut comes_due = false;
        if (stage.index(), task.places.first.attempt) != before {
            self.visits[stage.index()] += 1;
            comes_due = stage == Stage::Waiting && self.world.limit > 0;
        }
        if registered != task.registered {
            task.registered = registered;
            self.changes.0 += 1;
            self.registered = if registered { self.registered + 1 } else { self.registered - 1 };
        }
        let mut later = false;
        if until_ns != task.until_ns {
            let at_once = until_ns == self.world.now_ns;
            later = !at_once && until_ns != FAR;
            self.at_once = self.at_once + u32::from(at_once) - u32::from(task.at_once);
            task.until_ns = until_ns;
            task.at_once = at_once;
            task.version += 1;
        }
        if later || comes_due {
            self.look_ahead(index, later, comes_due);
        }
    }

    /// A task has another deadline in a later instant, or its next attempt comes to wait for a permit.
    #[inline(never)]
    fn look_ahead(&mut self, index: usize, later: bool, comes_due: bool) {
        let Task { until_ns, version, .. } = self.tasks[index];
        if later {
            self.deadlines.push(Reverse((until_ns, index as u32, version)));
        }
        if comes_due {
            self.comes_due(index);
        }
    }

    /// Under a limit: its next attempt comes to wait for a permit.
    #[inline(never)]
    fn comes_due(&mut self, index: usize) {
        let task = &self.tasks[index];
        if let Some((_, until_ns)) = task.places.due() {
            self.permits.due(Due {
                at_ns: until_ns.saturating_add(self.world.late_ns),
                task: index as u32,
                incarnation: task.incarnation,
                attempt: task.places.first.attempt,
            });
        }
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

    /// All instants before `end_ns` are over.
    fn settle(&mut self, end_ns: u64, texts: &Texts) {
        if self.at_once > 0 {
            self.keep_waiting();
        }
        if self.deadlines.peek().is_some_and(|&Reverse((until_ns, ..))| until_ns < end_ns) {
            self.settle_deadlines(end_ns, texts);
        }
        if self.world.limit > 0 {
            self.settle_permits(end_ns, texts);
        }
        let fits = self.delivery.settle(texts);
        self.hold(fits, None, texts);
        let beside = self.beside();
        let fits = self.run.settle(end_ns, beside);
        self.hold(fits, None, texts);
        let shutdown = self.run.requested_ns.is_some();
        if !self.calls.is_empty() {
            let closed = shutdown || self.run.phase == Phase::Over;
            let room = self.slots.has_room(0);
            let configured = self.slots.is_configured();
            let may_submit = |wait: bool| !wait || closed || !configured || room;
            let fits = self.calls.settle(end_ns, self.world.late_ns, self.run.was_up(), may_submit);
            self.hold(fits, None, texts);
        }
        if !self.slots.is_untouched() {
            let tasks = &self.tasks;
            let tenant = |slot: usize| tasks[slot].tenant();
            let fits = self.slots.settle(self.world.up, shutdown, tenant);
            self.hold(fits, None, texts);
        }
    }

    /// Places that had to be left in this instant were not: that is looked at with the other deadlines.
    #[cold]
    fn keep_waiting(&mut self) {
        for (index, task) in (0..).zip(&mut self.tasks) {
            if std::mem::take(&mut task.at_once) {
                self.deadlines.push(Reverse((task.until_ns, index, task.version)));
            }
        }
        self.at_once = 0;
    }

    /// Places that had to be left before `end_ns` and were not.
    fn settle_deadlines(&mut self, end_ns: u64, texts: &Texts) {
        while let Some(&Reverse((until_ns, task, version))) = self.deadlines.peek() {
            if until_ns >= end_ns {
                break;
            }
            self.deadlines.pop();
            let task = task as usize;
            if self.tasks[task].version == version {
                let name = texts.get(self.tasks[task].name);
                let what = format!("the clock moved on, and what was owed to `{name}` had not come");
                self.by(until_ns, |monitor| monitor.reject(None, Some(task), what, &[], None, texts));
                let task = &mut self.tasks[task];
                task.places.all_mut().for_each(|place| place.until_ns = FAR);
                task.until_ns = FAR;
            }
        }
    }

    /// [A6]: a free permit is given at once, and first come first served.
    fn settle_permits(&mut self, end_ns: u64, texts: &Texts) {
        let World { limit, open, .. } = self.world;
        let tasks = &self.tasks;
        let waits = |due: &Due| {
            let task = &tasks[due.task as usize];
            task.incarnation == due.incarnation
                && task.places.due().is_some()
                && task.places.all().all(|place| place.attempt == due.attempt)
        };
        match self.permits.settle(end_ns, open < limit, waits) {
            None => {}
            Some(Unfair::Idle(task)) => {
                let name = texts.get(self.tasks[task].name);
                let what = format!(
                    "an attempt of `{name}` was due and did not start, though only {open} of {limit} were open"
                );
                self.reject(None, Some(task), what, &["A6"], None, texts);
            }
            Some(Unfair::Overtaken(other, waiter)) => {
                let (other, name) = (texts.get(self.tasks[other].name), texts.get(self.tasks[waiter].name));
                let what = format!("`{other}` got a permit before `{name}`, which had waited longer");
                self.reject(None, Some(waiter), what, &["A6"], None, texts);
            }
        }
    }

    #[inline(never)]
    fn event(&mut self, event: &EventNote, texts: &Texts) {
        let seq = Some(event.seq);
        let fits = self.form.event(event, texts);
        self.hold(fits, seq, texts);
        if self.run.phase == Phase::Over {
            let what = format!("{} came after the run had returned", kind_name(event.kind));
            self.hold(unexplained(&["D6"], what), seq, texts);
        }
        let fits = self.delivery.event(event, texts);
        self.hold(fits, seq, texts);
        if is_of_task(event.kind) {
            self.task_event(event, texts);
        } else {
            self.other_event(event, texts);
        }
        if self.deaf {
            self.name_task(event, texts);
        }
    }

    /// What was found just now by an event is about that one's task.
    #[cold]
    fn name_task(&mut self, event: &EventNote, texts: &Texts) {
        if let Some(found) = &mut self.found
            && found.seq == Some(event.seq)
            && found.task.is_none()
        {
            found.task = event.task.map(|task| texts.get(task).to_owned());
        }
    }

    #[inline(never)]
    fn other_event(&mut self, event: &EventNote, texts: &Texts) {
        match event.kind {
            EventKind::ShutdownRequested => {
                let (asked, beside) = (self.calls.is_shutdown_asked(), self.beside());
                let fits = self.run.shutdown_requested(asked, beside);
                self.hold(fits, Some(event.seq), texts);
                for task in 0..self.tasks.len() {
                    if self.tasks[task].registered {
                        self.step(task, None, texts, String::new, |place, _, world, _| place.shutdown(world));
                    }
                }
            }
            EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => self.stops(event, texts),
            EventKind::ControllerRejected
            | EventKind::ControllerSubmitted
            | EventKind::ControllerSlotTransition => self.slot_event(event, texts),
            _ => {} // of a subscriber: delivery has looked at it
        }
    }

    fn stops(&mut self, event: &EventNote, texts: &Texts) {
        let how = match event.kind {
            EventKind::GraceExceeded => Stopped::Forced,
            _ => Stopped::InTime,
        };
        let fits = self.run.stops(how, self.beside());
        self.hold(fits, Some(event.seq), texts);
        if how == Stopped::InTime {
            return;
        }
        // From here on everything that is left ends by force.
        self.world.forced = true;
        let now_ns = self.world.now_ns;
        for index in 0..self.tasks.len() {
            let task = &mut self.tasks[index];
            if task.registered {
                task.places.all_mut().for_each(|place| place.force(now_ns));
                let Place { stage, attempt, .. } = task.places.first;
                self.settle_in(index, (stage.index(), attempt));
            }
        }
    }

    fn slot_event(&mut self, event: &EventNote, texts: &Texts) {
        let (Some(task), Some(reason)) = (event.task, event.reason) else { return };
        let index = self.find(task);
        let (name, reason) = (texts.get(task), texts.get(reason));
        let tenant = self.tasks[index].tenant();
        let shutdown = self.run.requested_ns.is_some();
        let fits = match event.kind {
            EventKind::ControllerSubmitted => self.slots.submitted(index, name, reason),
            EventKind::ControllerRejected => self.slots.rejected(index, name, reason, tenant, shutdown),
            _ => self.slots.transition(index, name, reason, tenant),
        };
        self.hold(fits, Some(event.seq), texts);
        if event.kind != EventKind::ControllerSubmitted {
            let beside = self.beside();
            self.run.look_for_idleness(beside);
        }
    }

    #[inline(never)]
    fn task_event(&mut self, event: &EventNote, texts: &Texts) {
        let Some(name) = event.task else { return }; // its form has been complained of
        let index = self.find(name);
        let at_ns = self.world.now_ns;
        let what = move || {
            let (kind, name) = (kind_name(event.kind), texts.get(name));
            let attempt = event.attempt.map_or_else(String::new, |attempt| format!(" {attempt}"));
            let reason = match (event.kind, event.reason) {
                (EventKind::TaskFailed, Some(reason)) => format!(" with `{}`", texts.get(reason)),
                _ => String::new(),
            };
            format!("{kind}{attempt} of `{name}` came at {at_ns} ns{reason}")
        };
        if self.world.forced {
            self.ends_in_turn(event, index, what, texts);
        }
        let seen = Some(event);
        match event.kind {
            EventKind::TaskAddRequested => self.add_requested(event, index, what, texts),
            EventKind::TaskRemoveRequested => self.remove_requested(event, index, what, texts),
            EventKind::TaskAdded => {
                self.step(index, seen, texts, what, |place, _, world, _| place.added(world))
            }
            EventKind::TaskStarting => {
                if self.world.limit > 0
                    && let Some((due_ns, _)) = self.tasks[index].places.due()
                {
                    self.permits.began(index, due_ns);
                }
                let attempt = event.attempt;
                self.step(index, seen, texts, what, |place, spec, world, _| {
                    place.starting(attempt, spec, world)
                });
                self.world.open += 1;
                self.lives(index, true);
            }
            EventKind::TaskStopped => {
                self.step(index, seen, texts, what, Place::stopped);
                self.attempt_ended(index);
            }
            EventKind::TaskFailed => {
                self.step(index, seen, texts, what, |place, spec, world, others| {
                    place.failed(event, spec, world, texts, others)
                });
                self.attempt_ended(index);
            }
            EventKind::TimeoutHit => self.step(index, seen, texts, what, |place, spec, world, _| {
                place.timeout_hit(event, spec, world)
            }),
            EventKind::BackoffScheduled => {
                self.step(index, seen, texts, what, |place, spec, world, _| place.backoff(event, spec, world))
            }
            EventKind::ActorExhausted => {
                self.step(index, seen, texts, what, |place, _, world, _| {
                    place.exhausted(event, world, texts)
                });
                self.lives(index, false);
            }
            EventKind::ActorDead => {
                self.step(index, seen, texts, what, |place, _, world, _| place.dead(event, world));
                self.lives(index, false);
            }
            EventKind::TaskRemoved => {
                self.step(index, seen, texts, what, |place, _, world, _| place.removed(world));
                self.calls.removed(index, self.tasks[index].incarnation, at_ns);
                self.tasks[index].spec = None;
                let fits = self.run.removed(name, self.beside(), texts);
                self.hold(fits, Some(event.seq), texts);
                self.lives(index, false);
            }
            _ => unreachable!("the others are no events of a task"),
        }
    }

    fn attempt_ended(&mut self, index: usize) {
        self.world.open = self.world.open.saturating_sub(1);
        self.lives(index, false);
    }

    /// A task's latest start or end was a start.
    #[inline]
    fn lives(&mut self, index: usize, alive: bool) {
        if std::mem::replace(&mut self.tasks[index].alive, alive) != alive {
            self.changes.1 += 1;
        }
    }

    /// [D3]: what is ended by force is what comes first by name of all that is left.
    #[inline(never)]
    fn ends_in_turn(
        &mut self,
        event: &EventNote,
        index: usize,
        what: impl FnOnce() -> String,
        texts: &Texts,
    ) {
        let name = texts.get(self.tasks[index].name);
        let before = |task: &Task| task.registered && texts.get(task.name) < name;
        if matches!(event.kind, EventKind::TaskAdded | EventKind::TaskFailed)
            && let Some(other) = self.tasks.iter().find(|task| before(task))
        {
            let instead = format!("the forced end of `{}`", texts.get(other.name));
            self.hold(expected(&["D3"], what(), instead), Some(event.seq), texts);
        }
    }

    #[inline(never)]
    fn add_requested(
        &mut self,
        event: &EventNote,
        index: usize,
        what: impl FnOnce() -> String,
        texts: &Texts,
    ) {
        let seq = Some(event.seq);
        if self.run.requested_ns.is_some() {
            let complaint = format!("{}, after shutdown was requested", what());
            self.hold(unexplained(&["D2", "G2"], complaint), seq, texts);
            self.step(index, Some(event), texts, String::new, |place, _, world, _| {
                place.add_requested(world)
            });
            return;
        }
        let registered = self.tasks[index].registered;
        let name = self.tasks[index].name;
        let incarnation = self.tasks[index].incarnation + 1;
        let asked = self.calls.accept(index).map(|(op, spec)| (op, spec, false));
        let asked = asked.or_else(|| {
            let place = self.run.specs.iter().position(|spec| spec.task == name)?;
            Some((self.run.op()?, self.run.specs.swap_remove(place), false))
        });
        let asked = asked.or_else(|| {
            if registered {
                return None;
            }
            let submitted = self.slots.start(index, incarnation)?;
            Some((submitted.op, submitted.spec, true))
        });
        if asked.is_none() && self.calls.seen && !registered {
            let rules: &[&str] = if self.slots.is_configured() { &["C3", "G2", "C5"] } else { &["G2"] };
            let complaint = format!("{}, and nobody had asked for it", what());
            self.hold(unexplained(rules, complaint), seq, texts);
            self.step(index, Some(event), texts, String::new, |place, _, world, _| {
                place.add_requested(world)
            });
            return;
        }
        if !registered {
            let task = &mut self.tasks[index];
            task.incarnation = incarnation;
            task.spec = asked.map(|(_, spec, _)| spec);
            task.origin = asked.map(|(op, _, submitted)| (op, submitted));
        }
        self.step(index, Some(event), texts, what, |place, _, world, _| place.add_requested(world));
        self.run.busy();
    }

    #[inline(never)]
    fn remove_requested(
        &mut self,
        event: &EventNote,
        index: usize,
        what: impl FnOnce() -> String,
        texts: &Texts,
    ) {
        let is = |wanted: usize| wanted == index;
        let cancels = self.calls.any(|kind| matches!(kind, Kind::Cancel { task, .. } if is(*task)));
        let removes = self.calls.any(|kind| matches!(kind, Kind::Remove { task, .. } if is(*task)));
        if self.calls.seen {
            // [G5]: a Replace removes what its slot started, and no namesake.
            let asked = cancels || removes || self.slots.replaces(index, self.tasks[index].incarnation);
            if !asked || (event.reason.is_some() && !cancels) {
                let kind = kind_name(event.kind);
                let name = texts.get(self.tasks[index].name);
                let complaint = format!("{kind} of `{name}` came, and nobody had asked for it so");
                self.hold(unexplained(&["G3", "G5"], complaint), Some(event.seq), texts);
            }
        }
        self.step(index, Some(event), texts, what, |place, _, world, _| place.remove_requested(world));
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
            shutdown: self.run.requested_ns.is_some(),
            may_be_ending: self.run.may_be_ending(),
            configured: self.slots.is_configured(),
            task: subject,
            texts,
        };
        let names = |alive: bool| self.names(alive, texts);
        let has_room = self.slots.has_room(self.calls.waiting());
        let fits = calls::answered(&open, answer, &facts, names, has_room);
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
        self.step(index, None, texts, what, |place, spec, world, _| {
            place.body_cancelled(attempt, spec, world)
        });
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
        self.hold(misled.complaint(subscriber, seq, texts), None, texts);
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
        self.world =
            World { limit: config.max_concurrent, late_ns: config.timer_late_ns, ..World::default() };
        self.form = Form::default();
        self.run.reset(config.grace_ns, config.timer_late_ns);
        self.permits.clear();
        self.slots.reset(config.controller);
        self.calls.clear();
        self.delivery.reset(header);
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

fn is_of_task(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::TaskStarting
            | EventKind::TaskStopped
            | EventKind::TaskFailed
            | EventKind::TimeoutHit
            | EventKind::BackoffScheduled
            | EventKind::TaskAddRequested
            | EventKind::TaskAdded
            | EventKind::TaskRemoveRequested
            | EventKind::TaskRemoved
            | EventKind::ActorExhausted
            | EventKind::ActorDead
    )
}
