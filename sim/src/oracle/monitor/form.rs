//! The form of an event: its number, its wall clock, and which fields it has.

use simvisor::{BackoffSource, EventKind};

use super::complaint::{Fits, unexplained};
use crate::trace::{EventNote, KINDS, Texts, kind_name};

/// What comes next of what every event has.
#[derive(Debug)]
pub(super) struct Form {
    next_seq: u64,
    /// The latest wall clock, unless it was set since.
    wall_ns: i64,
}

impl Default for Form {
    fn default() -> Self {
        Self { next_seq: 0, wall_ns: i64::MIN }
    }
}

impl Form {
    pub(super) fn wall_set(&mut self) {
        self.wall_ns = i64::MIN;
    }

    #[inline]
    pub(super) fn event(&mut self, event: &EventNote, texts: &Texts) -> Fits {
        let expected = std::mem::replace(&mut self.next_seq, event.seq.saturating_add(1));
        let before = std::mem::replace(&mut self.wall_ns, event.wall_ns);
        let is = Shape::of(event);
        let plain = is == DUE[event.kind as usize] && event.source != Some(BackoffSource::Success);
        if event.seq == expected && before <= event.wall_ns && plain {
            return Ok(());
        }
        Self::closer(event, is, expected, before, texts)
    }

    /// An event that is not as its kind is as a rule.
    #[inline(never)]
    fn closer(event: &EventNote, is: Shape, expected: u64, before: i64, texts: &Texts) -> Fits {
        let has = match event.source {
            // A delay after a success has no reason.
            Some(BackoffSource::Success) if event.kind == EventKind::BackoffScheduled => {
                Shape(DUE[event.kind as usize].0 & !Shape::REASON)
            }
            _ => DUE[event.kind as usize],
        };
        let told = event.kind == EventKind::TaskRemoveRequested && event.reason.is_some();
        if event.seq == expected && before <= event.wall_ns && is == has {
            return Ok(());
        }
        let kind = kind_name(event.kind);
        if event.seq != expected {
            return unexplained(
                &["S1"],
                format!("{kind} has number {} where {expected} comes next", event.seq),
            );
        }
        if before > event.wall_ns {
            let back = before.abs_diff(event.wall_ns);
            return unexplained(&["S2"], format!("the wall clock of {kind} {} is {back} ns back", event.seq));
        }
        // It is the one kind that may have a field or not.
        if told && is == Shape(Shape::TASK | Shape::REASON) {
            if event.reason.is_some_and(|reason| texts.get(reason) != "manual_cancel") {
                return unexplained(
                    &["E1"],
                    format!("{kind} {} has another reason than a cancel", event.seq),
                );
            }
            return Ok(());
        }
        let lacks = has.0 & !is.0 != 0;
        let (rules, verb): (&'static [_], _) =
            if lacks { (&["E2", "E1"], "lacks") } else { (&["E1", "E2"], "has too much of") };
        unexplained(rules, format!("{kind} {} {verb} what its kind has: {has}", event.seq))
    }
}

/// Which fields are set, one bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape(u8);

impl Shape {
    const TASK: u8 = 1;
    const ATTEMPT: u8 = 1 << 1;
    const TIMEOUT: u8 = 1 << 2;
    const DELAY: u8 = 1 << 3;
    const SOURCE: u8 = 1 << 4;
    const REASON: u8 = 1 << 5;
    const NAMES: [&'static str; 6] =
        ["task", "attempt", "timeout_ms", "delay_ms", "backoff_source", "reason"];

    #[inline]
    fn of(event: &EventNote) -> Self {
        let EventNote { task, attempt, timeout_ms, delay_ms, source, reason, .. } = event;
        Self(
            u8::from(task.is_some())
                | u8::from(attempt.is_some()) << 1
                | u8::from(timeout_ms.is_some()) << 2
                | u8::from(delay_ms.is_some()) << 3
                | u8::from(source.is_some()) << 4
                | u8::from(reason.is_some()) << 5,
        )
    }

    /// The fields of a kind by contract section 2, each that it may have.
    const fn due(kind: EventKind) -> Self {
        let told = Self::TASK | Self::REASON;
        Self(match kind {
            EventKind::ShutdownRequested | EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded => 0,
            EventKind::TaskAddRequested
            | EventKind::TaskAdded
            | EventKind::TaskStopped
            | EventKind::TaskRemoveRequested
            | EventKind::TaskRemoved => Self::TASK,
            EventKind::TaskStarting => Self::TASK | Self::ATTEMPT,
            EventKind::TimeoutHit => Self::TASK | Self::ATTEMPT | Self::TIMEOUT,
            EventKind::TaskFailed | EventKind::ActorExhausted | EventKind::ActorDead => told | Self::ATTEMPT,
            EventKind::BackoffScheduled => told | Self::ATTEMPT | Self::DELAY | Self::SOURCE,
            EventKind::SubscriberPanicked
            | EventKind::SubscriberOverflow
            | EventKind::ControllerRejected
            | EventKind::ControllerSubmitted
            | EventKind::ControllerSlotTransition => told,
        })
    }
}

/// The fields of each kind.
const DUE: [Shape; KINDS.len()] = {
    let mut due = [Shape(0); KINDS.len()];
    let mut kind = 0;
    while kind < due.len() {
        due[kind] = Shape::due(KINDS[kind].0);
        kind += 1;
    }
    due
};

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = (0..).zip(Self::NAMES).filter(|(bit, _)| self.0 >> bit & 1 == 1);
        let names: Vec<_> = names.map(|(_, name)| name).collect();
        f.write_str(&if names.is_empty() { "nothing".to_owned() } else { names.join(", ") })
    }
}
