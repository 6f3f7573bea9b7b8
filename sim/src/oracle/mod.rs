//! The oracle: judges that read a trace and share no code with the logic.
//!
//! [`Rules`] holds every invariant of `docs/contract.md` against a trace as it is made: each is a small automaton with
//! an id, one sentence and a count of how often its premise came true (its witnesses). The rules need no scenario and
//! no stored trace. What a trace does not tell (bodies, calls, specs) is not judged.

mod attempts;
mod controller;
mod coverage;
mod delivery;
mod excuse;
mod monitor;
mod registry;
mod restarts;
mod run;
mod state;
#[cfg(test)]
mod tests;
mod trackers;

pub use coverage::{Coverage, Family, MACHINES, Machine, Shown};
use excuse::Excuses;
pub use excuse::{Excuse, Liberty};
pub use monitor::{Monitor, Unexplained};
use state::{Now, State};

use crate::trace::{EndNote, EventNote, Header, Held, Record, Sink, Texts, What};

/// A rule's name and meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo {
    /// The id, as in `docs/contract.md`.
    pub id: &'static str,
    /// What must hold, in one sentence.
    pub sentence: &'static str,
}

macro_rules! rules {
    ($($id:ident $sentence:literal)*) => {
        /// The rules, as numbers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Rule { $($id),* }

        /// All rules, in the order of the contract.
        pub const RULES: &[RuleInfo] = &[$(RuleInfo { id: stringify!($id), sentence: $sentence }),*];
    };
}

rules! {
    S1 "Events carry the numbers 0, 1, 2, … in the order in which they are published, without gaps."
    S2 "The wall clock of events never goes back with their numbers, unless it was set."
    S3 "A bus receiver gets every event in order, and is told exactly how many it lost before it gets the next."
    S4 "Lost events never cost a restart, a cleanup or the end of a run."
    S5 "A full or closed queue drops the new event for that subscriber alone and reports each drop once, but never the drop of such a report."
    S6 "What was handled, panicked on, dropped and lost to lag adds up to what was published, for each subscriber."
    S7 "A handler's panic is reported once, unless it came over such a report, and the worker goes on."
    S8 "A lagging listener tells the subscribers, and them alone, exactly how many events it lost."
    S9 "At the end of a run queues are drained for at most grace, and only what is left then is dropped unreported."
    S10 "Events that come out of order or twice can be put right by their numbers, and none is missing."
    E1 "An event carries no field that its kind does not have."
    E2 "An event carries every field that its kind has."
    A1 "An attempt has one TaskStarting and one end, no two overlap, and attempts count 1, 2, 3, … within an incarnation."
    A2 "An attempt ends with TaskStopped after Ok and Canceled, and with TaskFailed and the error's text after a failure."
    A3 "An attempt is cut off exactly at its timeout, by TimeoutHit and TaskFailed next to each other."
    A4 "A body's context is cancelled when its actor is cancelled or its attempt times out, and only then."
    A5 "A panic fails its attempt with the reason `panic: MESSAGE` and is retried like any failure."
    A6 "At most max_concurrent attempts are open at once, a free permit is given at once, and first come first served."
    R1 "What follows an attempt is what its end and the restart policy say, and nothing else."
    R2 "The next attempt starts exactly when its delay is over, as far as permits allow."
    R3 "A success resets the backoff counter, and each retryable failure adds one to it."
    R4 "A backoff delay is first × factor^n within max, jittered within the bounds of its policy."
    R5 "A cancelled sleep or permit wait ends the actor at once, without a further attempt."
    R6 "An actor yields between two attempts."
    R7 "After an actor was cancelled its attempt's end is published and nothing follows it but the ActorDead of a Fatal."
    G1 "No name is registered twice, and list_tasks is exactly the registered names, sorted."
    G2 "An add is decided at once: accepted with TaskAddRequested and one TaskAdded before the first attempt, or refused without an event."
    G3 "A removal is decided at once: the first request of a registered task publishes TaskRemoveRequested, no other does."
    G4 "Every incarnation ends with exactly one TaskRemoved, after its last event and at once."
    G5 "An incarnation does nothing to another of the same name, and a removed name is free."
    G6 "A slow removal delays no other task's add, start or removal."
    G7 "Every cancel is answered: false if absent, true at the incarnation's removal, or a timeout exactly after its wait."
    G8 "A task is alive exactly when its latest start or end is a start."
    D1 "A run returns when nothing is registered any more and not before, refuses duplicate names, and tells when it is ready."
    D2 "Shutdown is requested once; from then on no add is accepted and no attempt starts."
    D3 "A shutdown ends with AllStoppedWithinGrace after the last removal, or with GraceExceeded exactly at its end and forced removals in order."
    D4 "After a shutdown request a run returns within twice its grace."
    D5 "A run that ends because nothing is left says nothing of a shutdown."
    D6 "After a run has returned no event is published and nothing of it is left."
    C1 "Every accepted submission ends in one of: its task was added, or ControllerRejected with a reason, and is decided at once."
    C2 "Each admission, start from a queue and change of a slot's state is published as the table of admissions says."
    C3 "A slot starts its next task at once, but only after the task that it started was removed."
    C4 "submit waits for room, try_submit says when there is none, and neither takes anything once shutdown was requested."
    C5 "The pending specs of a slot start in the order of their submission, Replace apart."
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule's id.
    pub rule: &'static str,
    /// What happened, and what should have.
    pub message: String,
    /// When it was found, in nanoseconds on the runtime's clock.
    pub at_ns: u64,
    /// Number of the record at which it was found, from 0.
    pub record: u64,
    /// Number of the event at which it was found, if it was an event.
    pub seq: Option<u64>,
}

/// Collects what the rules find.
#[derive(Debug)]
struct Report {
    violations: Vec<Violation>,
    excuses: Excuses,
    witnesses: [u64; RULES.len()],
    /// Rules that were broken in this trace: one report for each is enough.
    broken: u64,
    at_ns: u64,
    /// Records so far, the one that is looked at included.
    records: u64,
    /// Number of the event that is looked at, if it is one.
    seq: Option<u64>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            violations: Vec::new(),
            excuses: Excuses::default(),
            witnesses: [0; RULES.len()],
            broken: 0,
            at_ns: 0,
            records: 0,
            seq: None,
        }
    }
}

impl Report {
    fn reset(&mut self) {
        self.violations.clear();
        self.excuses.reset();
        self.witnesses = [0; RULES.len()];
        self.broken = 0;
        self.at_ns = 0;
        self.records = 0;
        self.seq = None;
    }

    /// The rule was put to the test.
    #[inline]
    fn witness(&mut self, rule: Rule) {
        self.witnesses[rule as usize] += 1;
    }

    /// The rule is broken. What is said of it is put together out of line, so that those who look for it stay small.
    #[cold]
    #[inline(never)]
    fn breaks(&mut self, rule: Rule, message: impl FnOnce() -> String) {
        let bit = 1 << rule as u32;
        if self.broken & bit != 0 {
            return;
        }
        let message = message();
        if !self.excuses.covers(RULES[rule as usize].id, &message) {
            self.broken |= bit;
            let (at_ns, record, seq) = (self.at_ns, self.records.saturating_sub(1), self.seq);
            self.violations.push(Violation { rule: RULES[rule as usize].id, message, at_ns, record, seq });
        }
    }

    /// Whether the runtime may take a liberty, as it does now.
    fn allows(&mut self, liberty: Liberty) -> bool {
        self.excuses.allow(liberty)
    }

    /// … and whether it may take it at all.
    fn may_allow(&self, liberty: Liberty) -> bool {
        self.excuses.liberties().has(liberty)
    }
}

const _: () = assert!(RULES.len() <= 64, "rules that were broken are kept as bits");

/// Every rule of the contract, held against one trace after the other.
#[derive(Debug, Default)]
pub struct Rules {
    state: State,
    delivery: delivery::Delivery,
    trackers: trackers::Trackers,
    run: run::Run,
    report: Report,
    /// The last record has come.
    over: bool,
}

impl Rules {
    /// Rules that have seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Broken rules in the order of discovery, one violation for each rule.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.report.violations
    }

    /// Lets these departures pass, in every trace from now on.
    pub fn excuse(&mut self, excuses: Vec<Excuse>) {
        self.report.excuses.set(excuses);
    }

    /// How often each excuse was made use of in this trace, in the order in which they were given.
    #[must_use]
    pub fn excused(&self) -> &[u64] {
        self.report.excuses.used()
    }

    /// How often each rule was put to the test, in the order of [`RULES`].
    #[must_use]
    pub fn witnesses(&self) -> &[u64] {
        &self.report.witnesses
    }

    /// Forgets tasks that are gone and that nothing refers to, and holds the texts that are still spoken of. A name that
    /// comes back later is one that was never there.
    ///
    /// A long trace is judged in bounded memory if this is called now and then, see [`Texts::forget_all_but`].
    pub fn forget_gone(&mut self, held: &mut Held) {
        let Self { state, delivery, trackers, run, .. } = self;
        state.forget_gone(run.stuck());
        state.hold(held);
        run.hold(held);
        delivery.hold(held);
        trackers.forget_gone(delivery.published());
        trackers.hold(held);
    }

    /// How many tasks it remembers.
    #[must_use]
    pub fn remembers(&self) -> usize {
        self.state.remembers()
    }

    /// All instants before `until_ns` are over: whatever was owed within them must have come.
    fn settle(&mut self, until_ns: u64, texts: &Texts) {
        let Self { state, delivery, run, report, .. } = self;
        delivery.settle(report, texts);
        state.settle(until_ns, run, report, texts);
        run.settle(until_ns, state, report);
    }
}

impl Sink for Rules {
    fn begin(&mut self, header: &Header, _texts: &Texts) {
        self.state.reset(header);
        self.delivery.reset(header);
        self.trackers.reset(header);
        self.run.reset(header);
        self.report.reset();
        self.over = false;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        self.record_all(std::slice::from_ref(record), texts);
    }

    fn record_all(&mut self, records: &[Record], texts: &Texts) {
        records.iter().for_each(|record| self.take(record, texts));
    }
}

impl Rules {
    #[inline(always)]
    fn take(&mut self, record: &Record, texts: &Texts) {
        if self.over {
            return; // what a world drops when it is taken down says nothing about the runtime
        }
        self.report.records += 1;
        if record.at_ns != self.state.at_ns {
            self.settle(record.at_ns, texts);
            self.state.at_ns = record.at_ns;
            self.report.at_ns = record.at_ns;
        }
        let now = Now { at_ns: record.at_ns, turn: record.turn, texts };
        self.report.seq = None;
        match &record.what {
            What::Event(event) => self.event(event, &now),
            What::HandlerEntered { subscriber, seq } => {
                self.run.handler_entered(*subscriber, &now, &mut self.report);
                self.delivery.handler_entered(*subscriber, *seq, &now, &mut self.report);
            }
            What::HandlerLeft { subscriber, seq, how } => {
                let until_ns = self.run.drained_until();
                self.delivery.handler_left(*subscriber, *seq, *how, until_ns, &now, &mut self.report);
            }
            What::BodyEntered { task, attempt, op } => {
                self.run.body_entered(*task, &now, &mut self.report);
                self.state.body_entered(*task, *attempt, *op, &now, &mut self.report);
            }
            What::BodyLeft { task, attempt, how } => self.state.body_left(*task, *attempt, *how),
            other => self.observe(other, &now),
        }
    }

    #[inline(never)]
    fn event(&mut self, event: &EventNote, now: &Now<'_>) {
        let Self { state, delivery, trackers, run, report, .. } = self;
        report.seq = Some(event.seq);
        run.before_event(event, now, report);
        delivery.event(event, now, report);
        trackers.event(event);
        state.event(event, now, run, report);
        run.after_event(event, state, now, report);
    }

    /// What is seldom told of.
    #[inline(never)]
    fn observe(&mut self, what: &What, now: &Now<'_>) {
        let Self { state, delivery, trackers, run, report, .. } = self;
        match what {
            // These have been taken by their own.
            What::Event(_)
            | What::HandlerEntered { .. }
            | What::HandlerLeft { .. }
            | What::BodyEntered { .. }
            | What::BodyLeft { .. } => {}
            What::Call { op, call } => {
                run.call(*op, call, state, now, report);
                state.call(*op, call, now, run, report);
            }
            What::Answer { op, answer } => {
                state.answer(*op, answer, now, run, report);
                run.answer(*op, answer, state, delivery, now, report);
            }
            What::BodyCancelled { task, attempt } => state.body_cancelled(*task, *attempt, now, run, report),
            What::Delivered { seq } => delivery.delivered(*seq, now, report),
            What::AliveSeen { receiver, alive } => trackers.seen(*receiver, alive, now, report),
            What::Received { receiver, seq } => {
                trackers.received(*receiver, *seq);
                delivery.received(*receiver, *seq, now, report);
            }
            What::Lagged { receiver, lost } => delivery.lagged(*receiver, *lost, now, report),
            What::ReceiverOpened { receiver } => {
                trackers.opened(*receiver);
                delivery.opened(*receiver);
            }
            What::ReceiverClosed { receiver } => {
                trackers.closed(*receiver);
                delivery.closed(*receiver, now, report);
            }
            What::Counters { subscriber, handled, panicked, dropped, lagged } => {
                let counters = [*handled, *panicked, *dropped, *lagged];
                delivery.counters(*subscriber, counters, run.was_cut_short(), now, report);
            }
            What::Leftovers { futures, timers, permits } => {
                run.leftovers([*futures, *timers, *permits], report);
            }
            What::WallSet { .. } => delivery.wall_set(),
            What::Calm => run.calm(),
            What::End(end) => self.end(end, now),
        }
    }

    fn end(&mut self, end: &EndNote, now: &Now<'_>) {
        self.over = true;
        if matches!(end, EndNote::Done | EndNote::Deadlock(_)) {
            self.settle(now.at_ns.saturating_add(1), now.texts);
            let Self { state, delivery, run, report, .. } = self;
            let lost = delivery.has_lost();
            state.end(run, now, report);
            run.end(matches!(end, EndNote::Done), lost, state, now, report);
        }
    }
}
