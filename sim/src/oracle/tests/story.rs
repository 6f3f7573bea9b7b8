//! Traces in few words. Numbers, wall clock and turns are filled in; each can be overridden to break a rule.

use simvisor::{BackoffSource, EventKind};

use crate::oracle::Rules;
use crate::trace::{
    Admission, Answer, BackoffNote, BodyEnd, Call, ConfigNote, ControllerNote, EndNote, EventNote,
    HandlerEnd, Header, Jitter, Record, Restart, Sink, SpecNote, Text, Texts, What,
};

const MS: u64 = 1_000_000;

/// A spec before its name is a number.
#[derive(Clone, Copy)]
pub(super) struct Spec {
    pub(super) task: &'static str,
    pub(super) restart: Restart,
    pub(super) backoff: BackoffNote,
    pub(super) timeout_ms: u64,
}

/// Restarts on failure, 10 ms later.
pub(super) fn spec(task: &'static str) -> Spec {
    let backoff = BackoffNote { first_ns: 10 * MS, max_ns: 1000 * MS, factor: 1.0, jitter: Jitter::None };
    Spec { task, restart: Restart::OnFailure, backoff, timeout_ms: 0 }
}

impl Spec {
    pub(super) fn never(self) -> Self {
        Self { restart: Restart::Never, ..self }
    }

    pub(super) fn always(self, interval_ms: Option<u64>) -> Self {
        Self { restart: Restart::Always { interval_ns: interval_ms.map(|ms| ms * MS) }, ..self }
    }

    pub(super) fn factor(mut self, factor: f64) -> Self {
        self.backoff.factor = factor;
        self
    }

    pub(super) fn max_ms(mut self, max_ms: u64) -> Self {
        self.backoff.max_ns = max_ms * MS;
        self
    }

    pub(super) fn jitter(mut self, jitter: Jitter) -> Self {
        self.backoff.jitter = jitter;
        self
    }

    pub(super) fn timeout(self, timeout_ms: u64) -> Self {
        Self { timeout_ms, ..self }
    }
}

pub(super) struct Story {
    texts: Texts,
    header: Header,
    records: Vec<Record>,
    at_ns: u64,
    turn: u64,
    same_turn: bool,
    seq: u64,
    wall_ns: i64,
}

impl Story {
    pub(super) fn new() -> Self {
        Self {
            texts: Texts::default(),
            header: Header {
                runtime: "story".to_owned(),
                scenario: None,
                config: ConfigNote {
                    grace_ns: 50 * MS,
                    max_concurrent: 0,
                    bus_capacity: 1024,
                    timer_late_ns: 0,
                    controller: None,
                    disorder: false,
                },
                subscribers: Vec::new(),
            },
            records: Vec::new(),
            at_ns: 0,
            turn: 0,
            same_turn: false,
            seq: 0,
            wall_ns: 0,
        }
    }

    pub(super) fn feed(&self, sink: &mut dyn Sink) {
        sink.begin(&self.header, &self.texts);
        self.records.iter().for_each(|record| sink.record(record, &self.texts));
    }

    pub(super) fn judge(self) -> Rules {
        let mut rules = Rules::new();
        self.feed(&mut rules);
        rules
    }

    pub(super) fn events(&self) -> usize {
        self.records.iter().filter(|record| matches!(record.what, What::Event(_))).count()
    }

    /// All records so far, to be changed.
    pub(super) fn records(&mut self) -> &mut Vec<Record> {
        &mut self.records
    }

    // ---- the header

    pub(super) fn grace(mut self, ms: u64) -> Self {
        self.header.config.grace_ns = ms * MS;
        self
    }

    pub(super) fn limit(mut self, attempts: u64) -> Self {
        self.header.config.max_concurrent = attempts;
        self
    }

    pub(super) fn bus(mut self, capacity: u64) -> Self {
        self.header.config.bus_capacity = capacity;
        self
    }

    pub(super) fn disorder(mut self) -> Self {
        self.header.config.disorder = true;
        self
    }

    pub(super) fn controller(mut self, queue_capacity: u64, slot_capacity: u64) -> Self {
        self.header.config.controller = Some(ControllerNote { queue_capacity, slot_capacity });
        self
    }

    pub(super) fn subscriber(mut self, name: &str, capacity: u64) -> Self {
        let name = self.texts.intern(name);
        self.header.subscribers.push((name, capacity));
        self
    }

    // ---- time

    pub(super) fn at(mut self, ms: u64) -> Self {
        self.at_ns = ms * MS;
        self
    }

    pub(super) fn at_ns(mut self, ns: u64) -> Self {
        self.at_ns = ns;
        self
    }

    /// The next record is of the same turn as the last.
    pub(super) fn same_turn(mut self) -> Self {
        self.same_turn = true;
        self
    }

    pub(super) fn skip_seq(mut self, by: u64) -> Self {
        self.seq += by;
        self
    }

    /// The next events carry this wall clock and later ones.
    pub(super) fn wall(mut self, ns: i64) -> Self {
        self.wall_ns = ns - i64::try_from(self.at_ns).expect("small");
        self
    }

    pub(super) fn push(mut self, what: What) -> Self {
        self.turn += u64::from(!self.same_turn);
        self.same_turn = false;
        self.records.push(Record { at_ns: self.at_ns, turn: Some(self.turn), what });
        self
    }

    fn text(&mut self, text: &str) -> Text {
        self.texts.intern(text)
    }

    // ---- events

    pub(super) fn event(
        mut self,
        kind: EventKind,
        task: Option<&str>,
        change: impl FnOnce(&mut EventNote, &mut Texts),
    ) -> Self {
        let mut note = EventNote {
            seq: self.seq,
            wall_ns: self.wall_ns + i64::try_from(self.at_ns).expect("small"),
            kind,
            task: task.map(|task| self.texts.intern(task)),
            reason: None,
            attempt: None,
            timeout_ms: None,
            delay_ms: None,
            source: None,
        };
        change(&mut note, &mut self.texts);
        self.seq = note.seq + 1;
        self.push(What::Event(note))
    }

    fn of_task(self, kind: EventKind, task: &str) -> Self {
        self.event(kind, Some(task), |_, _| ())
    }

    pub(super) fn requested(self, task: &str) -> Self {
        self.of_task(EventKind::TaskAddRequested, task)
    }

    pub(super) fn added(self, task: &str) -> Self {
        self.of_task(EventKind::TaskAdded, task)
    }

    pub(super) fn removing(self, task: &str) -> Self {
        self.of_task(EventKind::TaskRemoveRequested, task)
    }

    pub(super) fn removing_by_cancel(self, task: &str) -> Self {
        self.event(EventKind::TaskRemoveRequested, Some(task), |note, texts| {
            note.reason = Some(texts.intern("manual_cancel"));
        })
    }

    pub(super) fn removed(self, task: &str) -> Self {
        self.of_task(EventKind::TaskRemoved, task)
    }

    pub(super) fn starting(self, task: &str, attempt: u32) -> Self {
        self.event(EventKind::TaskStarting, Some(task), |note, _| note.attempt = Some(attempt))
    }

    pub(super) fn stopped(self, task: &str) -> Self {
        self.of_task(EventKind::TaskStopped, task)
    }

    fn with_reason(self, kind: EventKind, task: &str, attempt: u32, reason: &str) -> Self {
        self.event(kind, Some(task), |note, texts| {
            note.attempt = Some(attempt);
            note.reason = Some(texts.intern(reason));
        })
    }

    pub(super) fn failed(self, task: &str, attempt: u32, reason: &str) -> Self {
        self.with_reason(EventKind::TaskFailed, task, attempt, reason)
    }

    pub(super) fn exhausted(self, task: &str, attempt: u32, reason: &str) -> Self {
        self.with_reason(EventKind::ActorExhausted, task, attempt, reason)
    }

    pub(super) fn dead(self, task: &str, attempt: u32, reason: &str) -> Self {
        self.with_reason(EventKind::ActorDead, task, attempt, reason)
    }

    pub(super) fn timeout_hit(self, task: &str, attempt: u32, timeout_ms: u32) -> Self {
        self.event(EventKind::TimeoutHit, Some(task), |note, _| {
            note.attempt = Some(attempt);
            note.timeout_ms = Some(timeout_ms);
        })
    }

    pub(super) fn backoff(self, task: &str, attempt: u32, delay_ms: u32, reason: &str) -> Self {
        self.event(EventKind::BackoffScheduled, Some(task), |note, texts| {
            note.attempt = Some(attempt);
            note.delay_ms = Some(delay_ms);
            note.source = Some(BackoffSource::Failure);
            note.reason = Some(texts.intern(reason));
        })
    }

    pub(super) fn interval(self, task: &str, attempt: u32, delay_ms: u32) -> Self {
        self.event(EventKind::BackoffScheduled, Some(task), |note, _| {
            note.attempt = Some(attempt);
            note.delay_ms = Some(delay_ms);
            note.source = Some(BackoffSource::Success);
        })
    }

    pub(super) fn shutdown_requested(self) -> Self {
        self.event(EventKind::ShutdownRequested, None, |_, _| ())
    }

    pub(super) fn all_stopped(self) -> Self {
        self.event(EventKind::AllStoppedWithinGrace, None, |_, _| ())
    }

    pub(super) fn exceeded(self) -> Self {
        self.event(EventKind::GraceExceeded, None, |_, _| ())
    }

    fn told(self, kind: EventKind, task: &str, reason: &str) -> Self {
        self.event(kind, Some(task), |note, texts| note.reason = Some(texts.intern(reason)))
    }

    pub(super) fn overflow(self, subscriber: &str) -> Self {
        let reason = format!("subscriber={subscriber} reason=full");
        self.told(EventKind::SubscriberOverflow, subscriber, &reason)
    }

    pub(super) fn overflow_saying(self, subscriber: &str, reason: &str) -> Self {
        self.told(EventKind::SubscriberOverflow, subscriber, reason)
    }

    pub(super) fn notice(self, lost: u64) -> Self {
        self.told(EventKind::SubscriberOverflow, "subscriber_listener", &format!("lagged({lost})"))
    }

    pub(super) fn panicked(self, subscriber: &str, message: &str) -> Self {
        self.told(EventKind::SubscriberPanicked, subscriber, message)
    }

    pub(super) fn rejected(self, slot: &str, reason: &str) -> Self {
        self.told(EventKind::ControllerRejected, slot, reason)
    }

    pub(super) fn submitted(self, slot: &str, reason: &str) -> Self {
        self.told(EventKind::ControllerSubmitted, slot, reason)
    }

    pub(super) fn transition(self, slot: &str, reason: &str) -> Self {
        self.told(EventKind::ControllerSlotTransition, slot, reason)
    }

    // ---- calls and answers; the run is operation 0

    fn note(&mut self, spec: Spec) -> SpecNote {
        let Spec { task, restart, backoff, timeout_ms } = spec;
        SpecNote { task: self.text(task), restart, backoff, timeout_ns: timeout_ms * MS }
    }

    pub(super) fn call(self, op: u32, call: Call) -> Self {
        self.push(What::Call { op, call })
    }

    pub(super) fn answer(self, op: u32, answer: Answer) -> Self {
        self.push(What::Answer { op, answer })
    }

    pub(super) fn run(mut self, specs: &[Spec]) -> Self {
        let specs = specs.iter().map(|spec| self.note(*spec)).collect();
        self.call(0, Call::Run(specs))
    }

    pub(super) fn serve(self) -> Self {
        self.call(0, Call::Serve)
    }

    pub(super) fn add(mut self, op: u32, spec: Spec) -> Self {
        let spec = self.note(spec);
        self.call(op, Call::Add(spec))
    }

    pub(super) fn submit(mut self, op: u32, spec: Spec, admission: Admission, wait: bool) -> Self {
        let spec = self.note(spec);
        self.call(op, Call::Submit { spec, admission, wait })
    }

    pub(super) fn remove(mut self, op: u32, task: &str) -> Self {
        let task = self.text(task);
        self.call(op, Call::Remove(task))
    }

    pub(super) fn cancel(mut self, op: u32, task: &str, wait_ms: u64) -> Self {
        let task = self.text(task);
        self.call(op, Call::Cancel { task, wait_ns: wait_ms * MS })
    }

    pub(super) fn asks_alive(mut self, op: u32, task: &str) -> Self {
        let task = self.text(task);
        self.call(op, Call::IsAlive(task))
    }

    pub(super) fn shutdown(self, op: u32) -> Self {
        self.call(op, Call::Shutdown)
    }

    pub(super) fn done(self, op: u32) -> Self {
        self.answer(op, Answer::Done)
    }

    pub(super) fn names(mut self, op: u32, names: &[&str]) -> Self {
        let names = names.iter().map(|name| self.text(name)).collect();
        self.answer(op, Answer::Names(names))
    }

    pub(super) fn stuck(mut self, names: &[&str]) -> Self {
        let names = names.iter().map(|name| self.text(name)).collect();
        self.answer(0, Answer::GraceExceeded(names))
    }

    // ---- bodies, receivers, handlers

    pub(super) fn enter(self, task: &str, attempt: u32) -> Self {
        self.enter_of(task, attempt, None)
    }

    pub(super) fn enter_of(mut self, task: &str, attempt: u32, op: Option<u32>) -> Self {
        let task = self.text(task);
        self.push(What::BodyEntered { task, attempt, op })
    }

    pub(super) fn leave(mut self, task: &str, attempt: u32, how: BodyEnd) -> Self {
        let task = self.text(task);
        self.push(What::BodyLeft { task, attempt, how })
    }

    pub(super) fn leave_ok(self, task: &str, attempt: u32) -> Self {
        self.leave(task, attempt, BodyEnd::Ok)
    }

    pub(super) fn leave_canceled(self, task: &str, attempt: u32) -> Self {
        self.leave(task, attempt, BodyEnd::Canceled)
    }

    pub(super) fn leave_dropped(self, task: &str, attempt: u32) -> Self {
        self.leave(task, attempt, BodyEnd::Dropped)
    }

    pub(super) fn leave_fail(mut self, task: &str, attempt: u32, reason: &str) -> Self {
        let reason = self.text(reason);
        self.leave(task, attempt, BodyEnd::Fail(reason))
    }

    pub(super) fn leave_fatal(mut self, task: &str, attempt: u32, reason: &str) -> Self {
        let reason = self.text(reason);
        self.leave(task, attempt, BodyEnd::Fatal(reason))
    }

    pub(super) fn leave_panic(mut self, task: &str, attempt: u32, message: &str) -> Self {
        let message = self.text(message);
        self.leave(task, attempt, BodyEnd::Panic(message))
    }

    pub(super) fn sees_cancel(mut self, task: &str, attempt: u32) -> Self {
        let task = self.text(task);
        self.push(What::BodyCancelled { task, attempt })
    }

    pub(super) fn opens(mut self, receiver: &str) -> Self {
        let receiver = self.text(receiver);
        self.push(What::ReceiverOpened { receiver })
    }

    pub(super) fn gets(mut self, receiver: &str, seq: u64) -> Self {
        let receiver = self.text(receiver);
        self.push(What::Received { receiver, seq })
    }

    pub(super) fn holds_alive(mut self, receiver: &str, names: &[&str]) -> Self {
        let (receiver, alive) = (self.text(receiver), names.iter().map(|name| self.text(name)).collect());
        self.push(What::AliveSeen { receiver, alive })
    }

    pub(super) fn lags(mut self, receiver: &str, lost: u64) -> Self {
        let receiver = self.text(receiver);
        self.push(What::Lagged { receiver, lost })
    }

    pub(super) fn closes(mut self, receiver: &str) -> Self {
        let receiver = self.text(receiver);
        self.push(What::ReceiverClosed { receiver })
    }

    pub(super) fn on_bus(self, seq: u64) -> Self {
        self.push(What::Delivered { seq })
    }

    pub(super) fn handles(self, subscriber: &str, seq: u64) -> Self {
        self.begins(subscriber, seq).finishes(subscriber, seq, HandlerEnd::Done)
    }

    pub(super) fn handles_all(self, subscriber: &str, seqs: std::ops::Range<u64>) -> Self {
        seqs.fold(self, |story, seq| story.handles(subscriber, seq))
    }

    pub(super) fn begins(mut self, subscriber: &str, seq: u64) -> Self {
        let subscriber = self.text(subscriber);
        self.push(What::HandlerEntered { subscriber, seq })
    }

    pub(super) fn finishes(mut self, subscriber: &str, seq: u64, how: HandlerEnd) -> Self {
        let subscriber = self.text(subscriber);
        self.push(What::HandlerLeft { subscriber, seq, how })
    }

    pub(super) fn panics(mut self, subscriber: &str, seq: u64, message: &str) -> Self {
        let message = self.text(message);
        self.begins(subscriber, seq).finishes(subscriber, seq, HandlerEnd::Panic(message))
    }

    /// Handled, panicked on, dropped, lost to lag.
    pub(super) fn counts(mut self, subscriber: &str, [handled, panicked, dropped, lagged]: [u64; 4]) -> Self {
        let subscriber = self.text(subscriber);
        self.push(What::Counters { subscriber, handled, panicked, dropped, lagged })
    }

    // ---- the end

    pub(super) fn leftovers(self, futures: u64, timers: u64, permits: u64) -> Self {
        self.push(What::Leftovers { futures, timers, permits })
    }

    pub(super) fn end(self) -> Self {
        self.push(What::End(EndNote::Done))
    }

    /// The run returns Ok and leaves nothing behind.
    pub(super) fn over(self) -> Self {
        self.done(0).leftovers(0, 0, 0).end()
    }

    // ---- things that come often

    /// A task that was asked for gets into its first attempt.
    pub(super) fn starts(self, task: &str) -> Self {
        self.requested(task).added(task).starting(task, 1).enter(task, 1)
    }

    /// … by this operation.
    pub(super) fn starts_of(self, task: &str, op: u32) -> Self {
        self.requested(task).added(task).starting(task, 1).enter_of(task, 1, Some(op))
    }

    pub(super) fn attempt(self, task: &str, attempt: u32) -> Self {
        self.starting(task, attempt).enter(task, attempt)
    }

    pub(super) fn boom(self, task: &str, attempt: u32) -> Self {
        self.leave_fail(task, attempt, "boom").failed(task, attempt, "boom")
    }

    pub(super) fn gone(self, task: &str, attempt: u32) -> Self {
        self.leave_fatal(task, attempt, "gone").failed(task, attempt, "gone")
    }

    pub(super) fn well(self, task: &str, attempt: u32) -> Self {
        self.leave_ok(task, attempt).stopped(task)
    }

    /// The attempt ends well, and with it the task.
    pub(super) fn finishes_well(self, task: &str, attempt: u32) -> Self {
        self.well(task, attempt).exhausted(task, attempt, "policy_exhausted_success").removed(task)
    }

    /// The body heeds its cancellation at once.
    pub(super) fn heeds(self, task: &str, attempt: u32) -> Self {
        self.sees_cancel(task, attempt).leave_canceled(task, attempt).stopped(task).removed(task)
    }

    /// `shutdown` is called and answered.
    pub(super) fn shuts_down(self, op: u32) -> Self {
        self.shutdown(op).shutdown_requested().done(op)
    }
}
