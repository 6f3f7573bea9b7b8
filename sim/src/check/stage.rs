//! What the futures of one run share: its world, what went wrong in it, what was seen, and its log.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::hook::Panicked;
use super::watchdog::{Post, Who};
use super::{Faults, TaskPanics};
use crate::choice::Site;
use crate::oracle::Violation;
use crate::report::{Detail, Timeline};
use crate::search::deviations::Pilot;
use crate::search::{Judges, MONITOR};
use crate::trace::{EndNote, Header, Record, Sink as _, Texts, Waiter, What};
use crate::world::{End, Handle, LaneKind, Stuck};

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// In words.
    pub(super) message: String,
    /// When, in nanoseconds.
    pub(super) at_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// A future of the test panicked, here.
    Panic(Option<String>),
    /// The test gave an error back.
    Error,
    /// [`super::Sim::always`] of this name.
    Always(String),
    /// A rule of the contract, or the monitor.
    Rule(&'static str),
    /// Nothing can run, and the test has not ended.
    Deadlock,
    /// Time cannot advance.
    Livelock,
    /// Too many turns, or too much virtual time.
    Limit,
    /// A waker was used where no replay could repeat it.
    StrayWake,
}

impl FailureKind {
    /// The verdict, in one word, as case files have it.
    pub(super) fn verdict(&self) -> &'static str {
        match self {
            Self::Panic(_) => "panic",
            Self::Error => "error",
            Self::Always(_) => "always",
            Self::Rule(_) => "rule",
            Self::Deadlock => "deadlock",
            Self::Livelock => "livelock",
            Self::Limit => "limit",
            Self::StrayWake => "nondeterminism",
        }
    }

    /// What was broken: the rule's id, or the name of what always holds.
    pub(super) fn broken(&self) -> Option<&str> {
        match self {
            Self::Always(name) => Some(name),
            Self::Rule(id) => Some(id),
            _ => None,
        }
    }
}

impl Failure {
    /// What happened, and where in the source if that is known.
    pub(super) fn message_with_place(&self) -> String {
        match &self.kind {
            FailureKind::Panic(Some(place)) => format!("{}\nat {place}", self.message),
            _ => self.message.clone(),
        }
    }
}

/// How often something that should hold sometimes was asked for, and held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) asked: u64,
    pub(super) held: u64,
}

/// What is the same for every run of a check.
#[derive(Debug, Clone, Default)]
pub(super) struct Setup {
    pub(super) faults: Faults,
    pub(super) task_panics: TaskPanics,
    /// Rules that do not count, by id.
    pub(super) rules_off: Vec<String>,
    /// No rule counts.
    pub(super) no_rules: bool,
}

impl Setup {
    fn counts(&self, rule: &str) -> bool {
        !self.no_rules && !self.rules_off.iter().any(|off| off == rule)
    }
}

pub(super) struct Stage {
    pub(super) world: Handle,
    pub(super) setup: Rc<Setup>,
    pub(super) texts: RefCell<Texts>,
    /// One for each supervisor.
    benches: RefCell<Vec<Bench>>,
    failures: RefCell<Vec<Failure>>,
    pub(super) sometimes: RefCell<BTreeMap<String, Tally>>,
    /// Which of the named faults are possible in this run.
    armed: RefCell<BTreeMap<String, bool>>,
    log: RefCell<Option<Log>>,
    /// Where a watchdog looks.
    post: Arc<Post>,
    next_op: Cell<u32>,
    /// Supervisors that are in a run.
    pub(super) running: Cell<u32>,
    /// What is dropped from now on is not part of the run.
    over: Cell<bool>,
}

/// The judges of one supervisor, and what of theirs is in `failures` already.
#[derive(Default)]
struct Bench {
    judges: Judges,
    violations: usize,
    monitor: bool,
}

/// A log that a run keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logged {
    /// The run is shown.
    ToShow(Detail),
    /// The run may have no end, or differ from another.
    InCase(Detail),
}

/// The rows of a timeline, which another thread can read though their run has no end.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows(Arc<Mutex<Vec<u8>>>);

impl Rows {
    pub(super) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("timelines are text")
    }
}

impl io::Write for Rows {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of a run.
#[derive(Debug)]
pub(super) struct Log {
    timeline: Timeline<Rows>,
    rows: Rows,
    /// The run is shown.
    is_shown: bool,
    /// Who makes the choices that are told in between.
    pilot: Option<Arc<Mutex<Pilot>>>,
    told: usize,
}

impl Log {
    pub(super) fn new(logged: Logged, pilot: Option<Arc<Mutex<Pilot>>>) -> Self {
        let (detail, is_shown) = match logged {
            Logged::ToShow(detail) => (detail, true),
            Logged::InCase(detail) => (detail, false),
        };
        let rows = Rows::default();
        let mut timeline = Timeline::new(rows.clone()).with_detail(detail);
        timeline.heading();
        Self { timeline, rows, is_shown, pilot, told: 0 }
    }

    /// What is written so far, and will be.
    pub(super) fn rows(&self) -> Rows {
        self.rows.clone()
    }

    /// Tells of the choices since the last time that were not the plain ones.
    fn tell_choices(&mut self) {
        let Some(pilot) = &self.pilot else { return };
        let pilot = pilot.lock().unwrap_or_else(PoisonError::into_inner);
        for (deviation, at_ns) in pilot.made().iter().zip(pilot.made_at_ns()).skip(self.told) {
            self.timeline.note(*at_ns, "~", "", &deviation.to_string());
        }
        self.told = pilot.made().len();
    }

    fn note(&mut self, at_ns: u64, mark: &str, who: &str, what: &str) {
        self.tell_choices();
        self.timeline.note(at_ns, mark, who, what);
    }

    pub(super) fn finish(mut self) -> String {
        self.tell_choices();
        self.timeline.finish().expect("memory takes whatever is written").text()
    }
}

/// What a run leaves.
pub(super) struct Left {
    pub(super) failures: Vec<Failure>,
    pub(super) sometimes: BTreeMap<String, Tally>,
    pub(super) log: Option<String>,
    pub(super) trace_hash: u64,
}

impl Stage {
    pub(super) fn new(world: Handle, setup: &Rc<Setup>, log: Option<Log>, post: &Arc<Post>) -> Rc<Self> {
        world.set_disorder(setup.faults.disorder);
        Rc::new(Self {
            world,
            setup: Rc::clone(setup),
            texts: RefCell::default(),
            benches: RefCell::default(),
            failures: RefCell::default(),
            sometimes: RefCell::default(),
            armed: RefCell::default(),
            log: RefCell::new(log),
            post: Arc::clone(post),
            next_op: Cell::new(0),
            running: Cell::new(0),
            over: Cell::new(false),
        })
    }

    /// Does `work`, which is code of the user's.
    pub(super) fn at_work<T>(&self, who: Who, work: impl FnOnce() -> T) -> T {
        self.post.at_work(who, self.world.now_ns(), work)
    }

    /// A number that no call to a supervisor had before.
    pub(super) fn op(&self) -> u32 {
        let op = self.next_op.get();
        self.next_op.set(op + 1);
        op
    }

    /// A supervisor whose trace begins so; gives its number.
    pub(super) fn begin(&self, header: &Header) -> usize {
        let mut bench = Bench::default();
        bench.judges.begin(header, &self.texts.borrow());
        let mut benches = self.benches.borrow_mut();
        benches.push(bench);
        benches.len() - 1
    }

    /// A record of the trace of a supervisor.
    pub(super) fn record(&self, supervisor: usize, what: What) {
        if self.over.get() {
            return;
        }
        let record = Record { at_ns: self.world.now_ns(), turn: Some(self.world.turn()), what };
        let texts = self.texts.borrow();
        self.benches.borrow_mut()[supervisor].judges.record(&record, &texts);
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.tell_choices();
            log.timeline.record(&record, &texts);
        }
        drop(texts);
        self.hear_judges();
    }

    /// Takes what the judges have found since the last time.
    fn hear_judges(&self) {
        let mut found = Vec::new();
        for Bench { judges, violations: heard, monitor } in &mut *self.benches.borrow_mut() {
            let violations = judges.rules.violations();
            for Violation { rule, message, at_ns, .. } in &violations[*heard..] {
                found.push((*rule, message.clone(), *at_ns));
            }
            *heard = violations.len();
            if let Some(unexplained) = judges.monitor.unexplained().filter(|_| !*monitor) {
                found.push((MONITOR, unexplained.to_string(), unexplained.at_ns));
                *monitor = true;
            }
        }
        for (rule, message, at_ns) in found {
            if self.setup.counts(rule) {
                self.tell_failure(Failure { kind: FailureKind::Rule(rule), message, at_ns });
            }
        }
    }

    /// Something went wrong. What comes first counts.
    pub(super) fn fail(&self, kind: FailureKind, message: String) {
        if !self.over.get() {
            self.tell_failure(Failure { kind, message, at_ns: self.world.now_ns() });
        }
    }

    fn tell_failure(&self, failure: Failure) {
        if let Some(log) = &mut *self.log.borrow_mut() {
            let what = match failure.kind.broken() {
                Some(broken) => format!("{} {broken} is broken: {}", failure.kind.verdict(), failure.message),
                None => format!("{}: {}", failure.kind.verdict(), failure.message),
            };
            log.note(self.world.now_ns(), "✗", "", what.lines().next().unwrap_or_default());
        }
        self.failures.borrow_mut().push(failure);
    }

    /// A future of the test panicked: the run is over.
    pub(super) fn panicked(&self, who: &str, panicked: Panicked) {
        let Panicked { message, place } = panicked;
        self.fail(FailureKind::Panic(place), format!("{who} panicked: {message}"));
        self.world.stop();
    }

    /// Something panicked outside the futures of the test, maybe after its end.
    pub(super) fn broke_down(&self, panicked: Panicked) {
        let Panicked { message, place } = panicked;
        let message = format!("the test panicked outside its futures: {message}");
        self.tell_failure(Failure { kind: FailureKind::Panic(place), message, at_ns: self.world.now_ns() });
        self.over.set(true);
    }

    /// Whether this run is one that is shown.
    pub(super) fn is_shown(&self) -> bool {
        self.log.borrow().as_ref().is_some_and(|log| log.is_shown) && !self.over.get()
    }

    /// Whether this run keeps a log.
    pub(super) fn is_logged(&self) -> bool {
        self.log.borrow().is_some() && !self.over.get()
    }

    pub(super) fn note(&self, who: &str, what: &str) {
        if self.over.get() {
            return;
        }
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.note(self.world.now_ns(), "·", who, what);
        }
    }

    /// The wall clock was set.
    pub(super) fn wall_set(&self, by_ns: i64) {
        let supervisors = self.benches.borrow().len();
        for supervisor in 0..supervisors {
            self.record(supervisor, What::WallSet { by_ns });
        }
    }

    /// Whether the fault of this name happens here.
    pub(super) fn strikes(&self, name: &str) -> bool {
        if self.over.get() {
            return false;
        }
        let known = self.armed.borrow().get(name).copied();
        let is_armed = known.unwrap_or_else(|| {
            let is_armed = self.world.choose(Site::Armed, Some(name), 2) == 1;
            self.armed.borrow_mut().insert(name.to_owned(), is_armed);
            is_armed
        });
        is_armed && self.world.choose(Site::Strikes, Some(name), 2) == 1
    }

    /// The world has come to its end, and is about to drop what is left in it.
    pub(super) fn end(&self, end: &End) {
        let supervisors = self.benches.borrow().len();
        let kind = match end {
            End::Done | End::Stopped => None,
            End::Deadlock(stuck) => {
                Some((FailureKind::Deadlock, format!("nothing can run: {}", waiting(stuck))))
            }
            End::Livelock(stuck) => {
                Some((FailureKind::Livelock, format!("time cannot advance: {}", running(stuck))))
            }
            End::Limit(text) => Some((FailureKind::Limit, format!("given up after {text}"))),
        };
        for supervisor in 0..supervisors {
            let note = {
                let mut texts = self.texts.borrow_mut();
                let mut waiters = |stuck: &[Stuck]| -> Vec<_> {
                    stuck.iter().map(|stuck| waiter(stuck, &mut texts)).collect()
                };
                match end {
                    End::Done => EndNote::Done,
                    End::Deadlock(stuck) => EndNote::Deadlock(waiters(stuck)),
                    End::Livelock(stuck) => EndNote::Livelock(waiters(stuck)),
                    End::Limit(text) => EndNote::Limit(texts.intern(text)),
                    End::Stopped => EndNote::Limit(texts.intern("the end of the test")),
                }
            };
            self.record(supervisor, What::End(note));
        }
        if let Some((kind, message)) = kind {
            self.fail(kind, message);
        }
        self.over.set(true);
    }

    /// What is left of the run for its report.
    pub(super) fn leave(&self) -> Left {
        let hashes: Vec<u8> = self
            .benches
            .borrow_mut()
            .iter_mut()
            .flat_map(|bench| bench.judges.hash.digest().to_le_bytes())
            .chain(self.world.turn().to_le_bytes())
            .collect();
        Left {
            failures: self.failures.take(),
            sometimes: self.sometimes.take(),
            log: self.log.take().map(Log::finish),
            trace_hash: xxhash_rust::xxh3::xxh3_64(&hashes),
        }
    }
}

fn waiter(stuck: &Stuck, texts: &mut Texts) -> Waiter {
    let who = format!("{} {}", stuck.kind.as_str(), stuck.name);
    Waiter {
        who: texts.intern(who.trim_end()),
        task: (stuck.kind == LaneKind::Actor).then(|| texts.intern_arc(&stuck.name)),
        what: texts.intern(stuck.waits_for.as_str()),
        since_ns: stuck.since_ns,
    }
}

/// How many of those that are stuck are named.
const NAMED_MAX: usize = 8;

fn named(stuck: &[Stuck], each: impl Fn(&Stuck) -> String) -> String {
    // What the test itself does matters more than the loops of a supervisor, which always wait.
    let mut ranked: Vec<_> = stuck.iter().collect();
    ranked.sort_by_key(|stuck| match stuck.kind {
        LaneKind::Other | LaneKind::Run => 0,
        LaneKind::Actor => 1,
        _ => 2,
    });
    let mut text = ranked.iter().take(NAMED_MAX).map(|stuck| each(stuck)).collect::<Vec<_>>().join("; ");
    if ranked.len() > NAMED_MAX {
        text += &format!("; and {} more", ranked.len() - NAMED_MAX);
    }
    text
}

fn who(stuck: &Stuck) -> String {
    match stuck.kind {
        LaneKind::Other => stuck.name.to_string(),
        kind => format!("{} {}", kind.as_str(), stuck.name).trim_end().to_owned(),
    }
}

fn waiting(stuck: &[Stuck]) -> String {
    named(stuck, |stuck| {
        let since = crate::report::nanos_text(stuck.since_ns);
        format!("{} waits for {} since {since}", who(stuck), stuck.waits_for.as_str())
    })
}

fn running(stuck: &[Stuck]) -> String {
    named(stuck, |stuck| format!("{} keeps running", who(stuck)))
}
