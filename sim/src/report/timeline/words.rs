//! What a row says of an event, a call, an answer, a header: in words.

use simvisor::{BackoffSource, EventKind};

use super::row::Tone;
use crate::report::nanos_text;
use crate::trace::{
    Admission, Answer, Call, EventNote, Header, Jitter, Restart, SpecNote, Text, Texts, kind_name,
};

/// What an event says, by its kind. A field that the kind needs and that is missing shows as `?`; one that it should
/// not have is shown in brackets.
pub(super) fn event_words(note: &EventNote, texts: &Texts) -> (String, Tone) {
    let mut rest = *note;
    let mut attempt =
        || rest.attempt.take().map_or_else(|| "attempt ?".to_owned(), |number| format!("attempt {number}"));
    let because = |reason: Option<Text>| {
        reason.map_or_else(|| ": ?".to_owned(), |reason| format!(": {}", shown(texts.get(reason))))
    };
    let millis = |ms: Option<u32>| match ms {
        Some(0) => "under 1ms".to_owned(),
        Some(ms) => nanos_text(u64::from(ms) * 1_000_000),
        None => "?".to_owned(),
    };
    let (words, tone) = match note.kind {
        EventKind::SubscriberPanicked => {
            (format!("handler panicked{}", because(rest.reason.take())), Tone::Bad)
        }
        EventKind::SubscriberOverflow => (format!("overflow{}", because(rest.reason.take())), Tone::Warning),
        EventKind::ShutdownRequested => ("shutdown requested".to_owned(), Tone::Asked),
        EventKind::AllStoppedWithinGrace => ("all stopped within grace".to_owned(), Tone::Good),
        EventKind::GraceExceeded => ("grace exceeded".to_owned(), Tone::Bad),
        EventKind::TaskStarting => (format!("{} starts", attempt()), Tone::Plain),
        EventKind::TaskStopped => ("stopped".to_owned(), Tone::Good),
        EventKind::TaskFailed => {
            let attempt = attempt();
            (format!("{attempt} failed{}", because(rest.reason.take())), Tone::Bad)
        }
        EventKind::TimeoutHit => {
            let attempt = attempt();
            let timeout = millis(rest.timeout_ms.take());
            (format!("{attempt} timed out after {timeout}"), Tone::Warning)
        }
        EventKind::BackoffScheduled => {
            let attempt = attempt();
            let delay = millis(rest.delay_ms.take());
            let after = match rest.source.take() {
                Some(BackoffSource::Success) => format!("{attempt} succeeded"),
                Some(BackoffSource::Failure) => {
                    format!("{attempt} failed{}", because(rest.reason.take()))
                }
                None => format!("{attempt} ?"),
            };
            (format!("next attempt in {delay}, because {after}"), Tone::Plain)
        }
        EventKind::TaskAddRequested => ("add requested".to_owned(), Tone::Plain),
        EventKind::TaskAdded => ("added".to_owned(), Tone::Plain),
        EventKind::TaskRemoveRequested => {
            let why = rest.reason.take().map(|why| because(Some(why))).unwrap_or_default();
            (format!("removal requested{why}"), Tone::Plain)
        }
        EventKind::TaskRemoved => ("removed".to_owned(), Tone::Plain),
        EventKind::ActorExhausted => {
            let attempt = attempt();
            (format!("exhausted after {attempt}{}", because(rest.reason.take())), Tone::Warning)
        }
        EventKind::ActorDead => {
            let attempt = attempt();
            (format!("dead after {attempt}{}", because(rest.reason.take())), Tone::Bad)
        }
        EventKind::ControllerRejected => {
            (format!("submission rejected{}", because(rest.reason.take())), Tone::Warning)
        }
        EventKind::ControllerSubmitted => (format!("submission{}", because(rest.reason.take())), Tone::Plain),
        EventKind::ControllerSlotTransition => (format!("slot{}", because(rest.reason.take())), Tone::Plain),
    };
    let odd: Vec<_> = [
        rest.attempt.map(|number| format!("attempt {number}")),
        rest.timeout_ms.map(|ms| format!("timeout {}", millis(Some(ms)))),
        rest.delay_ms.map(|ms| format!("delay {}", millis(Some(ms)))),
        rest.source.map(|source| format!("source {source:?}")),
        rest.reason.map(|reason| format!("reason{}", because(Some(reason)))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if odd.is_empty() {
        (words, tone)
    } else {
        (format!("{words} [not of a {}: {}]", kind_name(note.kind), odd.join(", ")), tone)
    }
}

/// A call's name and the task it is about.
pub(super) fn call_name(call: &Call) -> (&'static str, Option<Text>) {
    match call {
        Call::Run(_) => ("run", None),
        Call::Serve => ("serve", None),
        Call::Add(spec) => ("add_task", Some(spec.task)),
        Call::Remove(task) => ("remove_task", Some(*task)),
        Call::Cancel { task, .. } => ("cancel", Some(*task)),
        Call::List => ("list_tasks", None),
        Call::Snapshot => ("snapshot", None),
        Call::IsAlive(task) => ("is_alive", Some(*task)),
        Call::WaitReady => ("wait_ready", None),
        Call::Shutdown => ("shutdown", None),
        Call::Submit { spec, wait, .. } => (if *wait { "submit" } else { "try_submit" }, Some(spec.task)),
    }
}

/// A call in words, and the specs to list below it.
pub(super) fn call_words(call: &Call) -> (String, &[SpecNote]) {
    let name = call_name(call).0;
    match call {
        Call::Run(specs) if specs.is_empty() => (format!("{name} with no tasks"), &[]),
        Call::Run(specs) => (format!("{name} with {}", count(specs.len() as u64, "task")), specs),
        Call::Add(spec) => (format!("{name}: {}", spec_words(spec)), &[]),
        Call::Submit { spec, admission, .. } => {
            let admission = match admission {
                Admission::Queue => "queue",
                Admission::Replace => "replace",
                Admission::DropIfRunning => "drop if running",
            };
            (format!("{name}, {admission}: {}", spec_words(spec)), &[])
        }
        Call::Cancel { wait_ns, .. } => (format!("{name}, waiting at most {}", nanos_text(*wait_ns)), &[]),
        Call::Serve
        | Call::Remove(_)
        | Call::List
        | Call::Snapshot
        | Call::IsAlive(_)
        | Call::WaitReady
        | Call::Shutdown => (name.to_owned(), &[]),
    }
}

pub(super) fn spec_words(spec: &SpecNote) -> String {
    let mut words = match spec.restart {
        Restart::Never => "never restarts".to_owned(),
        Restart::OnFailure => "restarts on failure".to_owned(),
        Restart::Always { interval_ns: None } => "always restarts, at once after a success".to_owned(),
        Restart::Always { interval_ns: Some(interval_ns) } => {
            format!("always restarts, {} after a success", nanos_text(interval_ns))
        }
    };
    if spec.restart != Restart::Never {
        let backoff = spec.backoff;
        words += &format!("; backoff {}", nanos_text(backoff.first_ns));
        if backoff.factor.to_bits() != 1.0_f64.to_bits() {
            words += &format!(" × {}", backoff.factor);
        }
        words += &format!(" up to {}", nanos_text(backoff.max_ns));
        words += match backoff.jitter {
            Jitter::None => "",
            Jitter::Full => ", full jitter",
            Jitter::Equal => ", equal jitter",
            Jitter::Decorrelated => ", decorrelated jitter",
        };
    }
    if spec.timeout_ns > 0 {
        words += &format!("; timeout {}", nanos_text(spec.timeout_ns));
    }
    words
}

pub(super) fn answer_words(answer: &Answer, texts: &Texts) -> (String, Tone) {
    let list = |names: &[Text]| {
        let names: Vec<_> = names.iter().map(|&name| name_text(texts, name)).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    match answer {
        Answer::Done => ("done".to_owned(), Tone::Asked),
        Answer::Bool(value) => (value.to_string(), Tone::Asked),
        Answer::Names(names) => (list(names), Tone::Asked),
        Answer::AlreadyExists => ("refused, the name is taken".to_owned(), Tone::Warning),
        Answer::NotFound => ("refused, there is no such task".to_owned(), Tone::Warning),
        Answer::RemoveTimeout => {
            ("waited in vain, the task is still being removed".to_owned(), Tone::Warning)
        }
        Answer::ShuttingDown => ("refused, shutting down".to_owned(), Tone::Warning),
        Answer::GraceExceeded(stuck) => (format!("grace exceeded, stuck: {}", list(stuck)), Tone::Bad),
        Answer::Full => ("refused, the controller's queue is full".to_owned(), Tone::Warning),
        Answer::NotConfigured => ("refused, there is no controller".to_owned(), Tone::Warning),
        Answer::Closed => ("refused, the controller is closed".to_owned(), Tone::Warning),
        Answer::Error(why) => (format!("error: {}", shown(texts.get(*why))), Tone::Bad),
    }
}

pub(super) fn title(header: &Header) -> String {
    let runtime = shown(&header.runtime);
    match &header.scenario {
        Some(scenario) => format!("{runtime}: {}", shown(scenario)),
        None => runtime,
    }
}

pub(super) fn limits(header: &Header, texts: &Texts) -> String {
    let config = header.config;
    let attempts = match config.max_concurrent {
        0 => "any number of attempts at once".to_owned(),
        limit => format!("at most {} at once", count(limit, "attempt")),
    };
    let grace = nanos_text(config.grace_ns);
    let mut words = format!("grace {grace}, {attempts}, bus of {}", count(config.bus_capacity, "event"));
    if config.timer_late_ns > 0 {
        words += &format!(", timers up to {} late", nanos_text(config.timer_late_ns));
    }
    let subscribers = header.subscribers.iter();
    let subscribers: Vec<_> = subscribers
        .map(|&(name, capacity)| format!("{} (queue of {capacity})", name_text(texts, name)))
        .collect();
    if !subscribers.is_empty() {
        words += &format!("\nsubscribers: {}", subscribers.join(", "));
    }
    words
}

pub(super) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A name; an empty one can be seen.
pub(super) fn name_text(texts: &Texts, name: Text) -> String {
    match texts.get(name) {
        "" => "\"\"".to_owned(),
        name => shown(name),
    }
}

/// Somebody else's text, with everything escaped that would break the row, turn it around or speak to a terminal.
pub(super) fn shown(text: &str) -> String {
    let breaks = |c: char| {
        c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(breaks) {
        return text.to_owned();
    }
    let escape = |c: char| if breaks(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}
