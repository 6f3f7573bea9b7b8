//! The form of an event: its number, its wall clock, and which fields it has.

use simvisor::{BackoffSource, EventKind};

use super::complaint::{Fits, unexplained};
use crate::trace::{EventNote, Texts, kind_name};

/// What comes next of what every event has.
#[derive(Debug, Default)]
pub(super) struct Form {
    next_seq: u64,
    /// The latest wall clock, unless it was set since.
    wall_ns: Option<i64>,
}

impl Form {
    pub(super) fn wall_set(&mut self) {
        self.wall_ns = None;
    }

    pub(super) fn event(&mut self, event: &EventNote, texts: &Texts) -> Fits {
        let expected = std::mem::replace(&mut self.next_seq, event.seq.saturating_add(1));
        let before = self.wall_ns.replace(event.wall_ns);
        let kind = kind_name(event.kind);
        if event.seq != expected {
            return unexplained(
                &["S1"],
                format!("{kind} has number {} where {expected} comes next", event.seq),
            );
        }
        if let Some(before) = before.filter(|before| *before > event.wall_ns) {
            let back = before.abs_diff(event.wall_ns);
            return unexplained(&["S2"], format!("the wall clock of {kind} {} is {back} ns back", event.seq));
        }
        let (has, may_lack) = shape(event);
        let is = Shape {
            task: event.task.is_some(),
            reason: event.reason.is_some(),
            attempt: event.attempt.is_some(),
            timeout: event.timeout_ms.is_some(),
            delay: event.delay_ms.is_some(),
            source: event.source.is_some(),
        };
        if is == has || may_lack == Some(is) {
            if event.kind == EventKind::TaskRemoveRequested
                && event.reason.is_some_and(|reason| texts.get(reason) != "manual_cancel")
            {
                return unexplained(
                    &["E1"],
                    format!("{kind} {} has another reason than a cancel", event.seq),
                );
            }
            return Ok(());
        }
        let lacks = (has.task && !is.task)
            || (has.reason && !is.reason)
            || (has.attempt && !is.attempt)
            || (has.timeout && !is.timeout)
            || (has.delay && !is.delay)
            || (has.source && !is.source);
        let (rules, verb): (&'static [_], _) =
            if lacks { (&["E2", "E1"], "lacks") } else { (&["E1", "E2"], "has too much of") };
        unexplained(rules, format!("{kind} {} {verb} what its kind has: {has}", event.seq))
    }
}

/// Which fields are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Shape {
    task: bool,
    reason: bool,
    attempt: bool,
    timeout: bool,
    delay: bool,
    source: bool,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            (self.task, "task"),
            (self.attempt, "attempt"),
            (self.timeout, "timeout_ms"),
            (self.delay, "delay_ms"),
            (self.source, "backoff_source"),
            (self.reason, "reason"),
        ];
        let names: Vec<_> = all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        write!(f, "{}", if names.is_empty() { "nothing".to_owned() } else { names.join(", ") })
    }
}

/// The fields of an event by contract section 2, and what else they may be.
fn shape(event: &EventNote) -> (Shape, Option<Shape>) {
    let none = Shape::default();
    let task = Shape { task: true, ..none };
    let told = Shape { reason: true, ..task };
    match event.kind {
        EventKind::ShutdownRequested | EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => {
            (none, None)
        }
        EventKind::TaskAddRequested
        | EventKind::TaskAdded
        | EventKind::TaskStopped
        | EventKind::TaskRemoved => (task, None),
        EventKind::TaskRemoveRequested => (task, Some(told)),
        EventKind::TaskStarting => (Shape { attempt: true, ..task }, None),
        EventKind::TimeoutHit => (Shape { attempt: true, timeout: true, ..task }, None),
        EventKind::TaskFailed | EventKind::ActorExhausted | EventKind::ActorDead => {
            (Shape { attempt: true, ..told }, None)
        }
        EventKind::BackoffScheduled => {
            let reason = event.source != Some(BackoffSource::Success);
            (Shape { attempt: true, delay: true, source: true, reason, ..task }, None)
        }
        EventKind::SubscriberPanicked
        | EventKind::SubscriberOverflow
        | EventKind::ControllerRejected
        | EventKind::ControllerSubmitted
        | EventKind::ControllerSlotTransition => (told, None),
    }
}
