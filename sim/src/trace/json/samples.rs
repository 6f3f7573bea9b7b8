//! Records of every shape, for tests of what reads, writes or shows them.

use simvisor::BackoffSource;

use crate::trace::{
    Admission, Answer, BackoffNote, BodyEnd, Call, ConfigNote, ControllerNote, EndNote, EventNote,
    HandlerEnd, Header, Jitter, KINDS, Record, Restart, SpecNote, Text, Texts, Waiter, What,
};

/// Names and reasons that a careless format would break on.
pub(crate) const WEIRD: [&str; 9] = [
    "",
    "say \"hi\"",
    "two\nlines\r\n",
    "back\\slash \\u0041",
    "tab\t nul\0 escape\u{1b}[31m",
    "päivä 日本 🦀",
    "\u{2028}\u{feff}\u{202e}",
    "{\"at_ns\":0}",
    " spaces ",
];

/// A header with subscribers.
pub(crate) fn header(texts: &mut Texts) -> Header {
    Header {
        runtime: "sample 1.0".to_owned(),
        scenario: Some("every \"kind\"".to_owned()),
        config: ConfigNote {
            grace_ns: 60_000_000_000,
            max_concurrent: 2,
            bus_capacity: 1024,
            timer_late_ns: 1_000_000,
            controller: Some(ControllerNote { queue_capacity: 4, slot_capacity: 0 }),
            disorder: true,
        },
        subscribers: vec![(texts.intern("s1"), 8), (texts.intern("s\n2"), u64::MAX)],
    }
}

/// Records of every variant of every type in them, in an order that a trace may have. Texts are numbered in the order
/// in which they are read.
pub(crate) fn records(texts: &mut Texts) -> Vec<Record> {
    let mut whats = Vec::new();
    for (number, (kind, _)) in (0..).zip(KINDS) {
        whats.push(What::Event(EventNote {
            seq: number,
            wall_ns: i64::try_from(number).expect("small") - 9,
            kind,
            task: (number % 2 == 0).then(|| texts.intern(WEIRD[number as usize % WEIRD.len()])),
            reason: (number % 3 == 0).then(|| texts.intern("boom")),
            attempt: (number % 2 == 1).then_some(u32::MAX),
            timeout_ms: (number % 5 == 0).then_some(500),
            delay_ms: (number % 7 == 0).then_some(0),
            source: [None, Some(BackoffSource::Success), Some(BackoffSource::Failure)][number as usize % 3],
        }));
    }
    let mut op = 0;
    for call in calls(texts) {
        whats.push(What::Call { op, call });
        op += 1;
    }
    for answer in answers(texts) {
        whats.push(What::Answer { op, answer });
        op += 1;
    }
    let task = texts.intern("päivä 日本 🦀");
    whats.push(What::BodyEntered { task, attempt: 1, op: None });
    whats.push(What::BodyEntered { task, attempt: 2, op: Some(u32::MAX) });
    whats.push(What::BodyCancelled { task, attempt: 1 });
    let mut body_left = |how| whats.push(What::BodyLeft { task, attempt: 1, how });
    body_left(BodyEnd::Ok);
    body_left(BodyEnd::Canceled);
    body_left(BodyEnd::Fail(texts.intern("execution failed: \"x\"")));
    body_left(BodyEnd::Fatal(texts.intern("fatal error\n(no retry)")));
    body_left(BodyEnd::Panic(texts.intern("ouch\0")));
    body_left(BodyEnd::Dropped);
    let receiver = texts.intern("tap");
    whats.push(What::ReceiverOpened { receiver });
    whats.push(What::Received { receiver, seq: u64::MAX });
    whats.push(What::Delivered { seq: 7 });
    whats.push(What::Lagged { receiver, lost: 3 });
    whats.push(What::AliveSeen { receiver, alive: vec![task, receiver] });
    whats.push(What::ReceiverClosed { receiver });
    let subscriber = texts.intern("s1");
    whats.push(What::HandlerEntered { subscriber, seq: 0 });
    let mut handler_left = |how| whats.push(What::HandlerLeft { subscriber, seq: 0, how });
    handler_left(HandlerEnd::Done);
    handler_left(HandlerEnd::Panic(texts.intern("handler ouch")));
    handler_left(HandlerEnd::Dropped);
    whats.push(What::Counters { subscriber, handled: 1, panicked: 2, dropped: 3, lagged: u64::MAX });
    whats.push(What::Leftovers { futures: 1, timers: 2, permits: 3 });
    whats.push(What::WallSet { by_ns: i64::MIN });
    whats.push(What::WallSet { by_ns: 5_000_000_000 });
    whats.push(What::Calm);
    let records = (0..).zip(whats).map(|(number, what): (u64, _)| Record {
        at_ns: number / 4 * 1_500_000,
        turn: (number % 3 != 0).then_some(number),
        what,
    });
    records.collect()
}

/// Every way in which a trace may end.
pub(crate) fn ends(texts: &mut Texts) -> Vec<Record> {
    let waiters = vec![
        Waiter {
            who: texts.intern("actor web"),
            task: Some(texts.intern("web")),
            what: texts.intern("a \"permit\""),
            since_ns: 5,
        },
        Waiter { who: texts.intern("run"), task: None, what: texts.intern("idle\n"), since_ns: u64::MAX },
    ];
    let limit = texts.intern("10 turns");
    [
        EndNote::Done,
        EndNote::Livelock(waiters.clone()),
        EndNote::Deadlock(waiters),
        EndNote::Deadlock(Vec::new()),
        EndNote::Limit(limit),
    ]
    .map(|end| Record { at_ns: u64::MAX, turn: None, what: What::End(end) })
    .into()
}

fn calls(texts: &mut Texts) -> Vec<Call> {
    let mut specs = Vec::new();
    let restarts = [
        Restart::Never,
        Restart::OnFailure,
        Restart::Always { interval_ns: None },
        Restart::Always { interval_ns: Some(0) },
    ];
    let jitters = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];
    // The last two are not read back to the bit by a parser that rounds twice.
    let factors =
        [1.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 0.1 + 0.2, 1.1e-300 / 3.0];
    for (number, factor) in factors.into_iter().enumerate() {
        specs.push(SpecNote {
            task: texts.intern(WEIRD[number]),
            restart: restarts[number % restarts.len()],
            backoff: BackoffNote {
                first_ns: 100_000_000,
                max_ns: u64::MAX,
                factor,
                jitter: jitters[number % jitters.len()],
            },
            timeout_ns: number as u64,
        });
    }
    let task = specs[3].task;
    vec![
        Call::Run(specs.clone()),
        Call::Run(Vec::new()),
        Call::Serve,
        Call::Add(specs[1]),
        Call::Remove(task),
        Call::Cancel { task, wait_ns: u64::MAX },
        Call::List,
        Call::Snapshot,
        Call::IsAlive(task),
        Call::WaitReady,
        Call::Shutdown,
        Call::Submit { spec: specs[2], admission: Admission::Queue, wait: true },
        Call::Submit { spec: specs[1], admission: Admission::Replace, wait: false },
        Call::Submit { spec: specs[0], admission: Admission::DropIfRunning, wait: false },
    ]
}

fn answers(texts: &mut Texts) -> Vec<Answer> {
    let names: Vec<Text> = WEIRD.iter().map(|name| texts.intern(name)).collect();
    vec![
        Answer::Done,
        Answer::Bool(true),
        Answer::Bool(false),
        Answer::Names(names.clone()),
        Answer::Names(Vec::new()),
        Answer::AlreadyExists,
        Answer::NotFound,
        Answer::RemoveTimeout,
        Answer::ShuttingDown,
        Answer::GraceExceeded(names),
        Answer::Full,
        Answer::NotConfigured,
        Answer::Closed,
        Answer::Error(texts.intern("other: \"why\"")),
    ]
}

/// Every shape of a record by its name, such as `call cancel`. The matches below keep it complete.
pub(crate) const SHAPES: [&str; 59] = [
    "event",
    "call run",
    "call serve",
    "call add",
    "call remove",
    "call cancel",
    "call list",
    "call snapshot",
    "call is_alive",
    "call wait_ready",
    "call shutdown",
    "call submit queue",
    "call submit replace",
    "call submit drop_if_running",
    "answer done",
    "answer bool",
    "answer names",
    "answer already_exists",
    "answer not_found",
    "answer remove_timeout",
    "answer shutting_down",
    "answer grace_exceeded",
    "answer full",
    "answer not_configured",
    "answer closed",
    "answer error",
    "body_entered",
    "body_entered with op",
    "body_left ok",
    "body_left canceled",
    "body_left fail",
    "body_left fatal",
    "body_left panic",
    "body_left dropped",
    "body_cancelled",
    "received",
    "delivered",
    "alive_seen",
    "lagged",
    "receiver_closed",
    "receiver_opened",
    "handler_entered",
    "handler_left done",
    "handler_left panic",
    "handler_left dropped",
    "counters",
    "leftovers",
    "wall_set",
    "calm",
    "end done",
    "end livelock",
    "end deadlock",
    "end limit",
    "restart never",
    "restart on_failure",
    "restart always",
    "restart always with interval",
    "factor as a number",
    "factor in words",
];

/// The shapes in a record.
pub(crate) fn shapes(what: &What) -> Vec<&'static str> {
    let shape = match what {
        What::Event(_) => "event",
        What::Call { call, .. } => {
            return call_shapes(call);
        }
        What::Answer { answer, .. } => match answer {
            Answer::Done => "answer done",
            Answer::Bool(_) => "answer bool",
            Answer::Names(_) => "answer names",
            Answer::AlreadyExists => "answer already_exists",
            Answer::NotFound => "answer not_found",
            Answer::RemoveTimeout => "answer remove_timeout",
            Answer::ShuttingDown => "answer shutting_down",
            Answer::GraceExceeded(_) => "answer grace_exceeded",
            Answer::Full => "answer full",
            Answer::NotConfigured => "answer not_configured",
            Answer::Closed => "answer closed",
            Answer::Error(_) => "answer error",
        },
        What::BodyEntered { op: None, .. } => "body_entered",
        What::BodyEntered { .. } => "body_entered with op",
        What::BodyLeft { how, .. } => match how {
            BodyEnd::Ok => "body_left ok",
            BodyEnd::Canceled => "body_left canceled",
            BodyEnd::Fail(_) => "body_left fail",
            BodyEnd::Fatal(_) => "body_left fatal",
            BodyEnd::Panic(_) => "body_left panic",
            BodyEnd::Dropped => "body_left dropped",
        },
        What::BodyCancelled { .. } => "body_cancelled",
        What::Received { .. } => "received",
        What::Delivered { .. } => "delivered",
        What::AliveSeen { .. } => "alive_seen",
        What::Lagged { .. } => "lagged",
        What::ReceiverClosed { .. } => "receiver_closed",
        What::ReceiverOpened { .. } => "receiver_opened",
        What::HandlerEntered { .. } => "handler_entered",
        What::HandlerLeft { how, .. } => match how {
            HandlerEnd::Done => "handler_left done",
            HandlerEnd::Panic(_) => "handler_left panic",
            HandlerEnd::Dropped => "handler_left dropped",
        },
        What::Counters { .. } => "counters",
        What::Leftovers { .. } => "leftovers",
        What::WallSet { .. } => "wall_set",
        What::Calm => "calm",
        What::End(end) => match end {
            EndNote::Done => "end done",
            EndNote::Livelock(_) => "end livelock",
            EndNote::Deadlock(_) => "end deadlock",
            EndNote::Limit(_) => "end limit",
        },
    };
    vec![shape]
}

fn call_shapes(call: &Call) -> Vec<&'static str> {
    let (shape, specs): (_, &[SpecNote]) = match call {
        Call::Run(specs) => ("call run", specs),
        Call::Serve => ("call serve", &[]),
        Call::Add(spec) => ("call add", std::slice::from_ref(spec)),
        Call::Remove(_) => ("call remove", &[]),
        Call::Cancel { .. } => ("call cancel", &[]),
        Call::List => ("call list", &[]),
        Call::Snapshot => ("call snapshot", &[]),
        Call::IsAlive(_) => ("call is_alive", &[]),
        Call::WaitReady => ("call wait_ready", &[]),
        Call::Shutdown => ("call shutdown", &[]),
        Call::Submit { spec, admission, .. } => {
            let shape = match admission {
                Admission::Queue => "call submit queue",
                Admission::Replace => "call submit replace",
                Admission::DropIfRunning => "call submit drop_if_running",
            };
            (shape, std::slice::from_ref(spec))
        }
    };
    let of_specs = specs.iter().flat_map(|spec| {
        let restart = match spec.restart {
            Restart::Never => "restart never",
            Restart::OnFailure => "restart on_failure",
            Restart::Always { interval_ns: None } => "restart always",
            Restart::Always { interval_ns: Some(_) } => "restart always with interval",
        };
        let factor = if spec.backoff.factor.is_finite() { "factor as a number" } else { "factor in words" };
        [restart, factor]
    });
    std::iter::once(shape).chain(of_specs).collect()
}
