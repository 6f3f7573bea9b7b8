//! The shape of each line: what serde reads and writes, and how it becomes a record and comes of one.
//!
//! One rule holds throughout: where one of several things is meant, it is a word (`"done"`) or, where it carries
//! something, an object with one key (`{"error":"boom"}`).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::super::{
    Admission, Answer, BackoffNote, BodyEnd, Call, ConfigNote, EndNote, EventNote, FORMAT, HandlerEnd,
    Header, Jitter, Record, Restart, SpecNote, Text, Texts, VERSION, Waiter, What,
};
use super::object;
use super::read::{Fault, Glossary};

type Str<'a> = Cow<'a, str>;

fn spelled(texts: &Texts, text: Text) -> Str<'_> {
    Cow::Borrowed(texts.get(text))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine<'a> {
    format: Str<'a>,
    version: u32,
    runtime: Str<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<Str<'a>>,
    #[serde(deserialize_with = "object::one")]
    config: ConfigNote,
    #[serde(default, deserialize_with = "object::all")]
    subscribers: Vec<SubscriberLine<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriberLine<'a> {
    name: Str<'a>,
    capacity: u64,
}

impl<'a> HeaderLine<'a> {
    pub(super) fn of(header: &'a Header, texts: &'a Texts) -> Self {
        let subscribers = header.subscribers.iter();
        Self {
            format: FORMAT.into(),
            version: VERSION,
            runtime: header.runtime.as_str().into(),
            scenario: header.scenario.as_deref().map(Cow::Borrowed),
            config: header.config,
            subscribers: subscribers
                .map(|&(name, capacity)| SubscriberLine { name: spelled(texts, name), capacity })
                .collect(),
        }
    }

    pub(super) fn header(self, glossary: &mut Glossary) -> Result<Header, Fault> {
        let subscribers = self.subscribers.into_iter();
        Ok(Header {
            runtime: self.runtime.into_owned(),
            scenario: self.scenario.map(Cow::into_owned),
            config: self.config,
            subscribers: subscribers
                .map(|line| Ok((glossary.intern(&line.name)?, line.capacity)))
                .collect::<Result<_, Fault>>()?,
        })
    }
}

/// A record: when, and exactly one of the kinds.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordLine<'a> {
    at_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u64>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    event: Option<EventLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    call: Option<CallLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    body_entered: Option<BodyEnteredLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    body_left: Option<BodyLeftLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    body_cancelled: Option<BodyLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    receiver_opened: Option<ReceiverLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    received: Option<ReceivedLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    delivered: Option<DeliveredLine>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    alive_seen: Option<AliveLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    lagged: Option<LaggedLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    receiver_closed: Option<ReceiverLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    handler_entered: Option<HandlerLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    handler_left: Option<HandlerLeftLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    counters: Option<CountersLine<'a>>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    leftovers: Option<LeftoversLine>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    wall_set: Option<WallSetLine>,
    #[serde(default, deserialize_with = "object::maybe", skip_serializing_if = "Option::is_none")]
    calm: Option<CalmLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End<'a>>,
}

impl<'a> RecordLine<'a> {
    pub(super) fn of(record: &'a Record, texts: &'a Texts) -> Self {
        let text = |text| spelled(texts, text);
        let mut line = Self { at_ns: record.at_ns, turn: record.turn, ..Self::default() };
        match &record.what {
            What::Event(event) => line.event = Some(EventLine::of(event, texts)),
            What::Call { op, call } => {
                line.call = Some(CallLine { op: *op, call: Do::of(call, texts) });
            }
            What::Answer { op, answer } => {
                line.answer = Some(AnswerLine { op: *op, result: Outcome::of(answer, texts) });
            }
            What::BodyEntered { task, attempt, op } => {
                line.body_entered = Some(BodyEnteredLine { task: text(*task), attempt: *attempt, op: *op });
            }
            What::BodyLeft { task, attempt, how } => {
                let (task, how) = (text(*task), BodyHow::of(*how, texts));
                line.body_left = Some(BodyLeftLine { task, attempt: *attempt, how });
            }
            What::BodyCancelled { task, attempt } => {
                line.body_cancelled = Some(BodyLine { task: text(*task), attempt: *attempt });
            }
            What::ReceiverOpened { receiver } => {
                line.receiver_opened = Some(ReceiverLine { receiver: text(*receiver) });
            }
            What::Received { receiver, seq } => {
                line.received = Some(ReceivedLine { receiver: text(*receiver), seq: *seq });
            }
            What::Delivered { seq } => line.delivered = Some(DeliveredLine { seq: *seq }),
            What::AliveSeen { receiver, alive } => {
                let alive = alive.iter().map(|&name| text(name)).collect();
                line.alive_seen = Some(AliveLine { receiver: text(*receiver), alive });
            }
            What::Lagged { receiver, lost } => {
                line.lagged = Some(LaggedLine { receiver: text(*receiver), lost: *lost });
            }
            What::ReceiverClosed { receiver } => {
                line.receiver_closed = Some(ReceiverLine { receiver: text(*receiver) });
            }
            What::HandlerEntered { subscriber, seq } => {
                line.handler_entered = Some(HandlerLine { subscriber: text(*subscriber), seq: *seq });
            }
            What::HandlerLeft { subscriber, seq, how } => {
                let (subscriber, how) = (text(*subscriber), HandlerHow::of(*how, texts));
                line.handler_left = Some(HandlerLeftLine { subscriber, seq: *seq, how });
            }
            &What::Counters { subscriber, handled, panicked, dropped, lagged } => {
                let subscriber = text(subscriber);
                line.counters = Some(CountersLine { subscriber, handled, panicked, dropped, lagged });
            }
            &What::Leftovers { futures, timers, permits } => {
                line.leftovers = Some(LeftoversLine { futures, timers, permits });
            }
            &What::WallSet { by_ns } => line.wall_set = Some(WallSetLine { by_ns }),
            What::Calm => line.calm = Some(CalmLine {}),
            What::End(end) => line.end = Some(End::of(end, texts)),
        }
        line
    }

    pub(super) fn record(self, glossary: &mut Glossary) -> Result<Record, Fault> {
        let mut one = One::default();
        one.take("event", self.event, |line| Ok(What::Event(line.note(glossary)?)))?;
        one.take("call", self.call, |line| Ok(What::Call { op: line.op, call: line.call.call(glossary)? }))?;
        one.take("answer", self.answer, |line| {
            Ok(What::Answer { op: line.op, answer: line.result.answer(glossary)? })
        })?;
        one.take("body_entered", self.body_entered, |line| {
            Ok(What::BodyEntered { task: glossary.intern(&line.task)?, attempt: line.attempt, op: line.op })
        })?;
        one.take("body_left", self.body_left, |line| {
            let task = glossary.intern(&line.task)?;
            Ok(What::BodyLeft { task, attempt: line.attempt, how: line.how.end(glossary)? })
        })?;
        one.take("body_cancelled", self.body_cancelled, |line| {
            Ok(What::BodyCancelled { task: glossary.intern(&line.task)?, attempt: line.attempt })
        })?;
        one.take("receiver_opened", self.receiver_opened, |line| {
            Ok(What::ReceiverOpened { receiver: glossary.intern(&line.receiver)? })
        })?;
        one.take("received", self.received, |line| {
            Ok(What::Received { receiver: glossary.intern(&line.receiver)?, seq: line.seq })
        })?;
        one.take("delivered", self.delivered, |line| Ok(What::Delivered { seq: line.seq }))?;
        one.take("alive_seen", self.alive_seen, |line| {
            let receiver = glossary.intern(&line.receiver)?;
            let alive = line.alive.iter().map(|name| glossary.intern(name)).collect::<Result<_, _>>()?;
            Ok(What::AliveSeen { receiver, alive })
        })?;
        one.take("lagged", self.lagged, |line| {
            Ok(What::Lagged { receiver: glossary.intern(&line.receiver)?, lost: line.lost })
        })?;
        one.take("receiver_closed", self.receiver_closed, |line| {
            Ok(What::ReceiverClosed { receiver: glossary.intern(&line.receiver)? })
        })?;
        one.take("handler_entered", self.handler_entered, |line| {
            Ok(What::HandlerEntered { subscriber: glossary.intern(&line.subscriber)?, seq: line.seq })
        })?;
        one.take("handler_left", self.handler_left, |line| {
            let subscriber = glossary.intern(&line.subscriber)?;
            Ok(What::HandlerLeft { subscriber, seq: line.seq, how: line.how.end(glossary)? })
        })?;
        one.take("counters", self.counters, |line| {
            let CountersLine { subscriber, handled, panicked, dropped, lagged } = line;
            let subscriber = glossary.intern(&subscriber)?;
            Ok(What::Counters { subscriber, handled, panicked, dropped, lagged })
        })?;
        one.take("leftovers", self.leftovers, |LeftoversLine { futures, timers, permits }| {
            Ok(What::Leftovers { futures, timers, permits })
        })?;
        one.take("wall_set", self.wall_set, |line| Ok(What::WallSet { by_ns: line.by_ns }))?;
        one.take("calm", self.calm, |CalmLine {}| Ok(What::Calm))?;
        one.take("end", self.end, |end| Ok(What::End(end.note(glossary)?)))?;
        let what = one.what.ok_or(Fault::NoKind)?;
        Ok(Record { at_ns: self.at_ns, turn: self.turn, what })
    }
}

/// Holds that a record is of one kind.
#[derive(Default)]
struct One {
    kind: &'static str,
    what: Option<What>,
}

impl One {
    fn take<T>(
        &mut self,
        kind: &'static str,
        line: Option<T>,
        make: impl FnOnce(T) -> Result<What, Fault>,
    ) -> Result<(), Fault> {
        if let Some(line) = line {
            if self.what.is_some() {
                return Err(Fault::TwoKinds(self.kind, kind));
            }
            *self = Self { kind, what: Some(make(line)?) };
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine<'a> {
    seq: u64,
    #[serde(with = "kind")]
    kind: simvisor::EventKind,
    wall_ns: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Str<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff_source: Option<BackoffSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BackoffSource {
    Success,
    Failure,
}

impl<'a> EventLine<'a> {
    fn of(note: &EventNote, texts: &'a Texts) -> Self {
        Self {
            seq: note.seq,
            kind: note.kind,
            wall_ns: note.wall_ns,
            task: note.task.map(|task| spelled(texts, task)),
            attempt: note.attempt,
            timeout_ms: note.timeout_ms,
            delay_ms: note.delay_ms,
            backoff_source: note.source.map(|source| match source {
                simvisor::BackoffSource::Success => BackoffSource::Success,
                simvisor::BackoffSource::Failure => BackoffSource::Failure,
            }),
            reason: note.reason.map(|reason| spelled(texts, reason)),
        }
    }

    fn note(self, glossary: &mut Glossary) -> Result<EventNote, Fault> {
        Ok(EventNote {
            seq: self.seq,
            wall_ns: self.wall_ns,
            kind: self.kind,
            task: self.task.map(|task| glossary.intern(&task)).transpose()?,
            reason: self.reason.map(|reason| glossary.intern(&reason)).transpose()?,
            attempt: self.attempt,
            timeout_ms: self.timeout_ms,
            delay_ms: self.delay_ms,
            source: self.backoff_source.map(|source| match source {
                BackoffSource::Success => simvisor::BackoffSource::Success,
                BackoffSource::Failure => simvisor::BackoffSource::Failure,
            }),
        })
    }
}

/// An event's kind, by its name.
mod kind {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de};
    use simvisor::EventKind;

    use crate::trace::{KINDS, kind_name};

    const NAMES: [&str; KINDS.len()] = {
        let mut names = [""; KINDS.len()];
        let mut number = 0;
        while number < names.len() {
            names[number] = KINDS[number].1;
            number += 1;
        }
        names
    };

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(super) fn serialize<S: Serializer>(kind: &EventKind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind_name(*kind))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventKind, D::Error> {
        let name: Cow<'_, str> = Deserialize::deserialize(deserializer)?;
        let known = KINDS.iter().find(|(_, known)| *known == name);
        known.map(|&(kind, _)| kind).ok_or_else(|| de::Error::unknown_variant(&name, &NAMES))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallLine<'a> {
    op: u32,
    #[serde(rename = "do")]
    call: Do<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Do<'a> {
    Run(#[serde(deserialize_with = "object::all")] Vec<SpecLine<'a>>),
    Serve,
    Add(#[serde(deserialize_with = "object::one")] SpecLine<'a>),
    Remove(Str<'a>),
    Cancel(#[serde(deserialize_with = "object::one")] CancelLine<'a>),
    List,
    Snapshot,
    IsAlive(Str<'a>),
    WaitReady,
    Shutdown,
    Submit(#[serde(deserialize_with = "object::one")] SubmitLine<'a>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelLine<'a> {
    task: Str<'a>,
    wait_ns: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitLine<'a> {
    #[serde(deserialize_with = "object::one")]
    spec: SpecLine<'a>,
    admission: AdmissionLine,
    wait: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AdmissionLine {
    Queue,
    Replace,
    DropIfRunning,
}

impl<'a> Do<'a> {
    fn of(call: &Call, texts: &'a Texts) -> Self {
        match call {
            Call::Run(specs) => Self::Run(specs.iter().map(|spec| SpecLine::of(spec, texts)).collect()),
            Call::Serve => Self::Serve,
            Call::Add(spec) => Self::Add(SpecLine::of(spec, texts)),
            Call::Remove(task) => Self::Remove(spelled(texts, *task)),
            Call::Cancel { task, wait_ns } => {
                Self::Cancel(CancelLine { task: spelled(texts, *task), wait_ns: *wait_ns })
            }
            Call::List => Self::List,
            Call::Snapshot => Self::Snapshot,
            Call::IsAlive(task) => Self::IsAlive(spelled(texts, *task)),
            Call::WaitReady => Self::WaitReady,
            Call::Shutdown => Self::Shutdown,
            Call::Submit { spec, admission, wait } => Self::Submit(SubmitLine {
                spec: SpecLine::of(spec, texts),
                admission: match admission {
                    Admission::Queue => AdmissionLine::Queue,
                    Admission::Replace => AdmissionLine::Replace,
                    Admission::DropIfRunning => AdmissionLine::DropIfRunning,
                },
                wait: *wait,
            }),
        }
    }

    fn call(self, glossary: &mut Glossary) -> Result<Call, Fault> {
        Ok(match self {
            Self::Run(specs) => {
                Call::Run(specs.into_iter().map(|spec| spec.note(glossary)).collect::<Result<_, _>>()?)
            }
            Self::Serve => Call::Serve,
            Self::Add(spec) => Call::Add(spec.note(glossary)?),
            Self::Remove(task) => Call::Remove(glossary.intern(&task)?),
            Self::Cancel(CancelLine { task, wait_ns }) => {
                Call::Cancel { task: glossary.intern(&task)?, wait_ns }
            }
            Self::List => Call::List,
            Self::Snapshot => Call::Snapshot,
            Self::IsAlive(task) => Call::IsAlive(glossary.intern(&task)?),
            Self::WaitReady => Call::WaitReady,
            Self::Shutdown => Call::Shutdown,
            Self::Submit(SubmitLine { spec, admission, wait }) => Call::Submit {
                spec: spec.note(glossary)?,
                admission: match admission {
                    AdmissionLine::Queue => Admission::Queue,
                    AdmissionLine::Replace => Admission::Replace,
                    AdmissionLine::DropIfRunning => Admission::DropIfRunning,
                },
                wait,
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecLine<'a> {
    task: Str<'a>,
    restart: RestartLine,
    #[serde(deserialize_with = "object::one")]
    backoff: BackoffLine,
    timeout_ns: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RestartLine {
    Never,
    OnFailure,
    Always(#[serde(deserialize_with = "object::one")] AlwaysLine),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlwaysLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_ns: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackoffLine {
    first_ns: u64,
    max_ns: u64,
    #[serde(with = "crate::files::factor")]
    factor: f64,
    jitter: Jitter,
}

impl<'a> SpecLine<'a> {
    fn of(note: &SpecNote, texts: &'a Texts) -> Self {
        let BackoffNote { first_ns, max_ns, factor, jitter } = note.backoff;
        Self {
            task: spelled(texts, note.task),
            restart: match note.restart {
                Restart::Never => RestartLine::Never,
                Restart::OnFailure => RestartLine::OnFailure,
                Restart::Always { interval_ns } => RestartLine::Always(AlwaysLine { interval_ns }),
            },
            backoff: BackoffLine { first_ns, max_ns, factor, jitter },
            timeout_ns: note.timeout_ns,
        }
    }

    fn note(self, glossary: &mut Glossary) -> Result<SpecNote, Fault> {
        let BackoffLine { first_ns, max_ns, factor, jitter } = self.backoff;
        Ok(SpecNote {
            task: glossary.intern(&self.task)?,
            restart: match self.restart {
                RestartLine::Never => Restart::Never,
                RestartLine::OnFailure => Restart::OnFailure,
                RestartLine::Always(AlwaysLine { interval_ns }) => Restart::Always { interval_ns },
            },
            backoff: BackoffNote { first_ns, max_ns, factor, jitter },
            timeout_ns: self.timeout_ns,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerLine<'a> {
    op: u32,
    result: Outcome<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome<'a> {
    Done,
    Bool(bool),
    Names(Vec<Str<'a>>),
    AlreadyExists,
    NotFound,
    RemoveTimeout,
    ShuttingDown,
    GraceExceeded(Vec<Str<'a>>),
    Full,
    NotConfigured,
    Closed,
    Error(Str<'a>),
}

impl<'a> Outcome<'a> {
    fn of(answer: &Answer, texts: &'a Texts) -> Self {
        let all = |names: &[Text]| names.iter().map(|&name| spelled(texts, name)).collect();
        match answer {
            Answer::Done => Self::Done,
            Answer::Bool(value) => Self::Bool(*value),
            Answer::Names(names) => Self::Names(all(names)),
            Answer::AlreadyExists => Self::AlreadyExists,
            Answer::NotFound => Self::NotFound,
            Answer::RemoveTimeout => Self::RemoveTimeout,
            Answer::ShuttingDown => Self::ShuttingDown,
            Answer::GraceExceeded(stuck) => Self::GraceExceeded(all(stuck)),
            Answer::Full => Self::Full,
            Answer::NotConfigured => Self::NotConfigured,
            Answer::Closed => Self::Closed,
            Answer::Error(text) => Self::Error(spelled(texts, *text)),
        }
    }

    fn answer(self, glossary: &mut Glossary) -> Result<Answer, Fault> {
        let mut all = |names: Vec<Str<'_>>| -> Result<Vec<Text>, Fault> {
            names.iter().map(|name| glossary.intern(name)).collect()
        };
        Ok(match self {
            Self::Done => Answer::Done,
            Self::Bool(value) => Answer::Bool(value),
            Self::Names(names) => Answer::Names(all(names)?),
            Self::AlreadyExists => Answer::AlreadyExists,
            Self::NotFound => Answer::NotFound,
            Self::RemoveTimeout => Answer::RemoveTimeout,
            Self::ShuttingDown => Answer::ShuttingDown,
            Self::GraceExceeded(stuck) => Answer::GraceExceeded(all(stuck)?),
            Self::Full => Answer::Full,
            Self::NotConfigured => Answer::NotConfigured,
            Self::Closed => Answer::Closed,
            Self::Error(text) => Answer::Error(glossary.intern(&text)?),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyLine<'a> {
    task: Str<'a>,
    attempt: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveredLine {
    seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AliveLine<'a> {
    receiver: Str<'a>,
    alive: Vec<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyEnteredLine<'a> {
    task: Str<'a>,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyLeftLine<'a> {
    task: Str<'a>,
    attempt: u32,
    how: BodyHow<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BodyHow<'a> {
    Ok,
    Canceled,
    Fail(Str<'a>),
    Fatal(Str<'a>),
    Panic(Str<'a>),
    Dropped,
}

impl<'a> BodyHow<'a> {
    fn of(how: BodyEnd, texts: &'a Texts) -> Self {
        match how {
            BodyEnd::Ok => Self::Ok,
            BodyEnd::Canceled => Self::Canceled,
            BodyEnd::Fail(text) => Self::Fail(spelled(texts, text)),
            BodyEnd::Fatal(text) => Self::Fatal(spelled(texts, text)),
            BodyEnd::Panic(text) => Self::Panic(spelled(texts, text)),
            BodyEnd::Dropped => Self::Dropped,
        }
    }

    fn end(self, glossary: &mut Glossary) -> Result<BodyEnd, Fault> {
        Ok(match self {
            Self::Ok => BodyEnd::Ok,
            Self::Canceled => BodyEnd::Canceled,
            Self::Fail(text) => BodyEnd::Fail(glossary.intern(&text)?),
            Self::Fatal(text) => BodyEnd::Fatal(glossary.intern(&text)?),
            Self::Panic(text) => BodyEnd::Panic(glossary.intern(&text)?),
            Self::Dropped => BodyEnd::Dropped,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiverLine<'a> {
    receiver: Str<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceivedLine<'a> {
    receiver: Str<'a>,
    seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LaggedLine<'a> {
    receiver: Str<'a>,
    lost: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandlerLine<'a> {
    subscriber: Str<'a>,
    seq: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandlerLeftLine<'a> {
    subscriber: Str<'a>,
    seq: u64,
    how: HandlerHow<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HandlerHow<'a> {
    Done,
    Panic(Str<'a>),
    Dropped,
}

impl<'a> HandlerHow<'a> {
    fn of(how: HandlerEnd, texts: &'a Texts) -> Self {
        match how {
            HandlerEnd::Done => Self::Done,
            HandlerEnd::Panic(text) => Self::Panic(spelled(texts, text)),
            HandlerEnd::Dropped => Self::Dropped,
        }
    }

    fn end(self, glossary: &mut Glossary) -> Result<HandlerEnd, Fault> {
        Ok(match self {
            Self::Done => HandlerEnd::Done,
            Self::Panic(text) => HandlerEnd::Panic(glossary.intern(&text)?),
            Self::Dropped => HandlerEnd::Dropped,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountersLine<'a> {
    subscriber: Str<'a>,
    handled: u64,
    panicked: u64,
    dropped: u64,
    lagged: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftoversLine {
    futures: u64,
    timers: u64,
    permits: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WallSetLine {
    by_ns: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CalmLine {}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End<'a> {
    Done,
    Livelock(#[serde(deserialize_with = "object::all")] Vec<WaiterLine<'a>>),
    Deadlock(#[serde(deserialize_with = "object::all")] Vec<WaiterLine<'a>>),
    Limit(Str<'a>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaiterLine<'a> {
    who: Str<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Str<'a>>,
    what: Str<'a>,
    since_ns: u64,
}

impl<'a> End<'a> {
    fn of(note: &EndNote, texts: &'a Texts) -> Self {
        let all = |waiters: &[Waiter]| waiters.iter().map(|waiter| WaiterLine::of(waiter, texts)).collect();
        match note {
            EndNote::Done => Self::Done,
            EndNote::Livelock(waiters) => Self::Livelock(all(waiters)),
            EndNote::Deadlock(waiters) => Self::Deadlock(all(waiters)),
            EndNote::Limit(text) => Self::Limit(spelled(texts, *text)),
        }
    }

    fn note(self, glossary: &mut Glossary) -> Result<EndNote, Fault> {
        let mut all = |waiters: Vec<WaiterLine<'_>>| -> Result<Vec<Waiter>, Fault> {
            waiters.into_iter().map(|line| line.waiter(glossary)).collect()
        };
        Ok(match self {
            Self::Done => EndNote::Done,
            Self::Livelock(waiters) => EndNote::Livelock(all(waiters)?),
            Self::Deadlock(waiters) => EndNote::Deadlock(all(waiters)?),
            Self::Limit(text) => EndNote::Limit(glossary.intern(&text)?),
        })
    }
}

impl<'a> WaiterLine<'a> {
    fn of(waiter: &Waiter, texts: &'a Texts) -> Self {
        Self {
            who: spelled(texts, waiter.who),
            task: waiter.task.map(|task| spelled(texts, task)),
            what: spelled(texts, waiter.what),
            since_ns: waiter.since_ns,
        }
    }

    fn waiter(self, glossary: &mut Glossary) -> Result<Waiter, Fault> {
        Ok(Waiter {
            who: glossary.intern(&self.who)?,
            task: self.task.map(|task| glossary.intern(&task)).transpose()?,
            what: glossary.intern(&self.what)?,
            since_ns: self.since_ns,
        })
    }
}
