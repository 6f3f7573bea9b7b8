//! Explanations: what a task was doing, what may come next and when, and which rules say so.

use super::task::{Body, FAR, Place, Stage};
use crate::trace::{BodyEnd, SpecNote};

/// A place in words.
pub(super) struct Words {
    /// What the task was doing.
    pub(super) state: String,
    /// What could come.
    pub(super) next: String,
    /// The rules that say so, the first of them first.
    pub(super) rules: &'static [&'static str],
}

/// When: between two instants.
fn window(from_ns: u64, until_ns: u64) -> String {
    match until_ns {
        FAR => format!("at or after {from_ns} ns"),
        _ if from_ns == until_ns => format!("at {from_ns} ns"),
        _ => format!("between {from_ns} and {until_ns} ns"),
    }
}

impl Place {
    /// What it is doing at this instant, what may come, and which rules say so.
    pub(super) fn words(&self, name: &str, spec: Option<&SpecNote>, now_ns: u64) -> Words {
        let next = self.attempt + 1;
        let attempt = self.attempt;
        let cancelled = if self.cancelled { ", cancelled" } else { "" };
        let at_once = window(self.until_ns.min(now_ns), self.until_ns.min(now_ns));
        let words = |state: String, next: String, rules| Words { state, next, rules };
        match self.stage {
            Stage::Absent => words(
                format!("`{name}` was not registered"),
                format!("TaskAddRequested of `{name}`, once somebody asks for it"),
                &["G4", "G1", "G2"],
            ),
            Stage::Requested if self.until_ns == FAR => words(
                format!("the add of `{name}` was accepted{cancelled}"),
                format!("TaskAdded of `{name}`, once the run is up"),
                &["G2"],
            ),
            Stage::Requested => words(
                format!("the add of `{name}` was accepted{cancelled}"),
                format!("TaskAdded of `{name}` {at_once}"),
                &["G2"],
            ),
            Stage::Waiting if self.cancelled => words(
                format!("`{name}` waited for attempt {next}, cancelled"),
                format!("TaskRemoved of `{name}` {at_once}"),
                &["R5", "D2"],
            ),
            Stage::Waiting => words(
                format!("`{name}` waited for attempt {next}"),
                format!("TaskStarting {next} of `{name}` {}", window(self.due_ns.0, self.due_ns.1)),
                if attempt == 0 { &["G2", "A1", "A6"] } else { &["R2", "A1", "A6", "R6"] },
            ),
            Stage::Open => {
                let (next, rules): (_, &'static [_]) = match self.body {
                    Body::Running if self.cancelled && !self.told => (
                        format!("the cancellation of the context of attempt {attempt} of `{name}` {at_once}"),
                        &["A4", "A1"],
                    ),
                    Body::Unseen | Body::Running => match spec.map_or(0, |spec| spec.timeout_ns) {
                        0 => (
                            format!("the end of attempt {attempt} of `{name}` when its body ends"),
                            &["A1", "A2", "A5"],
                        ),
                        timeout_ns => {
                            let deadline_ns = self.since_ns.saturating_add(timeout_ns);
                            let hit = window(deadline_ns, self.until_ns.max(deadline_ns));
                            let ends = format!("the end of attempt {attempt} of `{name}` when its body ends");
                            (format!("{ends}, or TimeoutHit {attempt} {hit}"), &["A3", "A1", "A2"])
                        }
                    },
                    Body::Left(BodyEnd::Ok | BodyEnd::Canceled) => {
                        (format!("TaskStopped of `{name}` {at_once}"), &["A2", "A1"])
                    }
                    Body::Left(BodyEnd::Dropped) => {
                        (format!("TimeoutHit {attempt} of `{name}`, or its forced end"), &["A3", "D3"])
                    }
                    Body::Left(BodyEnd::Panic(_)) => {
                        (format!("TaskFailed {attempt} of `{name}` with its panic {at_once}"), &["A5", "A1"])
                    }
                    Body::Left(_) => (
                        format!("TaskFailed {attempt} of `{name}` with its error's text {at_once}"),
                        &["A2", "A1"],
                    ),
                };
                words(format!("attempt {attempt} of `{name}` was open{cancelled}"), next, rules)
            }
            Stage::TimedOut => words(
                format!("attempt {attempt} of `{name}` had timed out"),
                format!("TaskFailed {attempt} of `{name}` {at_once}"),
                &["A3"],
            ),
            Stage::OwesExhausted | Stage::OwesInterval | Stage::OwesBackoff | Stage::OwesDead => words(
                format!("attempt {attempt} of `{name}` had ended"),
                match self.stage {
                    Stage::OwesExhausted => format!("ActorExhausted {attempt} of `{name}` {at_once}"),
                    Stage::OwesInterval => {
                        format!("BackoffScheduled of `{name}` with its interval {at_once}")
                    }
                    Stage::OwesBackoff => format!(
                        "BackoffScheduled of `{name}` with the delay after {} earlier failures {at_once}",
                        self.failures.saturating_sub(1)
                    ),
                    _ => format!("ActorDead {attempt} of `{name}` {at_once}"),
                },
                &["R1", "R3", "R4"],
            ),
            Stage::Leaving if self.body == Body::Running => words(
                format!("the actor of `{name}` had ended, and its body was running{cancelled}"),
                format!("the end of the body of attempt {attempt} of `{name}` {at_once}, then TaskRemoved"),
                &["G4"],
            ),
            Stage::Leaving => words(
                format!("the actor of `{name}` had ended{cancelled}"),
                format!("TaskRemoved of `{name}` {at_once}"),
                if self.cancelled { &["G4", "R7", "R1"] } else { &["G4", "R1"] },
            ),
        }
    }
}
