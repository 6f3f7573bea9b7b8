//! A straight-line model of one actor: the events of a run with one task and at most one shutdown, each with its instant,
//! computed by a plain loop from the contract. There is no concurrency in it, no executor, and no line of the logic.
//!
//! Where the contract leaves the order of an instant open (a shutdown just as an attempt ends) the model has no answer.

use crate::scenario::{Backoff, Ending, Jitter, OnCancel, Restart, Scenario, Span, Step, TaskDecl};

/// An event as far as it does not depend on its number and the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    pub(super) at_ns: u64,
    pub(super) kind: String,
    pub(super) task: Option<String>,
    pub(super) attempt: Option<u32>,
    pub(super) reason: Option<String>,
    pub(super) timeout_ms: Option<u32>,
    pub(super) delay_ms: Option<u32>,
    pub(super) source: Option<&'static str>,
}

/// More events than this are not computed.
const EVENTS_MAX: usize = 400;
/// From here on clocks give up.
const TIME_NS_MAX: u64 = 9 * 365 * 86_400 * 1_000_000_000;
/// Powers up to this one have the same bits however they are multiplied, for the factors that inputs have.
const POWER_MAX: u32 = 30;

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    Ok,
    Canceled,
    Fail,
    Fatal,
    Panic,
    Timeout,
}

struct Story<'a> {
    task: &'a TaskDecl,
    timeout: Span,
    grace: Span,
    shutdown_ns: u64,
    told: Vec<Told>,
}

/// The events of `scenario`, whose only task starts with the run, up to a shutdown at `shutdown`, if there is one. `None`
/// where the contract leaves the order open, or the run is too long.
pub(super) fn events(scenario: &Scenario, shutdown: Option<Span>) -> Option<Vec<Told>> {
    let task = scenario.tasks.first()?;
    let timeout = task.timeout.unwrap_or(scenario.config.timeout);
    let shutdown_ns = shutdown.map_or(u64::MAX, Span::ns);
    let mut story = Story { task, timeout, grace: scenario.config.grace, shutdown_ns, told: Vec::new() };
    story.whole()?;
    let fits = story.told.iter().all(|told| told.at_ns < TIME_NS_MAX);
    fits.then_some(story.told)
}

impl Story<'_> {
    fn whole(&mut self) -> Option<()> {
        self.tell(0, "TaskAddRequested", |_| {});
        self.tell(0, "TaskAdded", |_| {});
        let mut now = 0;
        let mut failures = 0;
        for attempt in 1.. {
            if self.told.len() > EVENTS_MAX {
                return None;
            }
            self.tell(now, "TaskStarting", |told| told.attempt = Some(attempt));
            let step = self.step(attempt);
            let deadline =
                if self.timeout.is_zero() { u64::MAX } else { now.saturating_add(self.timeout.ns()) };
            let natural = match step.then {
                Ending::Never => u64::MAX,
                _ => now.saturating_add(step.run.ns()),
            };
            let end = natural.min(deadline);
            if end == self.shutdown_ns {
                return None;
            }
            if end > self.shutdown_ns {
                return self.shut_down_within(attempt, step, natural, deadline);
            }
            let out = if natural <= deadline { out(step.then) } else { Out::Timeout };
            now = end;
            self.ended(now, attempt, out);
            let Some(delay) = self.follows(now, attempt, out, &mut failures)? else {
                self.tell(now, "TaskRemoved", |_| {});
                return Some(());
            };
            let next = now.saturating_add(delay);
            // An actor that does not sleep still lets others have their turn.
            if now <= self.shutdown_ns && self.shutdown_ns <= next {
                let is_tie = self.shutdown_ns == next || self.shutdown_ns == now || self.grace.is_zero();
                if is_tie {
                    return None;
                }
                self.tell_all(self.shutdown_ns, "ShutdownRequested");
                self.tell(self.shutdown_ns, "TaskRemoved", |_| {});
                self.tell_all(self.shutdown_ns, "AllStoppedWithinGrace");
                return Some(());
            }
            now = next;
        }
        unreachable!("attempts are not counted to their end")
    }

    fn step(&self, attempt: u32) -> Step {
        let script = &self.task.script;
        script.get(attempt as usize - 1).or(script.last()).copied().unwrap_or_default()
    }

    /// The table of contract section 5: how long to the next attempt; `None` inside if there is none.
    fn follows(&mut self, now: u64, attempt: u32, out: Out, failures: &mut u32) -> Option<Option<u64>> {
        let restart = self.task.restart;
        let text = text(out, self.timeout);
        Some(match (out, restart) {
            (Out::Canceled, _) => None,
            (Out::Fatal, _) => {
                self.tell(now, "ActorDead", |told| (told.attempt, told.reason) = (Some(attempt), Some(text)));
                None
            }
            (Out::Ok, Restart::Always { every: None }) => {
                *failures = 0;
                Some(0)
            }
            (Out::Ok, Restart::Always { every: Some(every) }) => {
                *failures = 0;
                self.tell(now, "BackoffScheduled", |told| {
                    (told.attempt, told.delay_ms, told.source) =
                        (Some(attempt), Some(ms(every)), Some("success"));
                });
                Some(every.ns())
            }
            (Out::Ok, _) => {
                let reason = "policy_exhausted_success".to_owned();
                self.tell(now, "ActorExhausted", |told| {
                    (told.attempt, told.reason) = (Some(attempt), Some(reason));
                });
                None
            }
            (_, Restart::Never) => {
                self.tell(now, "ActorExhausted", |told| {
                    (told.attempt, told.reason) = (Some(attempt), Some(text));
                });
                None
            }
            _ => {
                let delay = delay(&self.task.backoff, *failures)?;
                *failures += 1;
                self.tell(now, "BackoffScheduled", |told| {
                    (told.attempt, told.delay_ms, told.source) =
                        (Some(attempt), Some(ms(delay)), Some("failure"));
                    told.reason = Some(text);
                });
                Some(delay.ns())
            }
        })
    }

    /// A shutdown while an attempt is open.
    fn shut_down_within(&mut self, attempt: u32, step: Step, natural: u64, deadline: u64) -> Option<()> {
        let now = self.shutdown_ns;
        self.tell_all(now, "ShutdownRequested");
        let (body, then) = match step.on_cancel {
            OnCancel::Ignore => (natural, step.then),
            OnCancel::End { then: Ending::Never, .. } => (u64::MAX, Ending::Never),
            OnCancel::End { after, then } => (now.saturating_add(after.ns()), then),
        };
        let end = body.min(deadline);
        let grace_ends = now.saturating_add(self.grace.ns());
        if end == grace_ends {
            return None;
        }
        if end > grace_ends {
            self.tell_all(grace_ends, "GraceExceeded");
            let reason = "aborted: grace exceeded".to_owned();
            self.tell(grace_ends, "TaskFailed", |told| {
                (told.attempt, told.reason) = (Some(attempt), Some(reason));
            });
            self.tell(grace_ends, "TaskRemoved", |_| {});
            return Some(());
        }
        let out = if body <= deadline { out(then) } else { Out::Timeout };
        self.ended(end, attempt, out);
        if out == Out::Fatal {
            let text = text(out, self.timeout);
            self.tell(end, "ActorDead", |told| (told.attempt, told.reason) = (Some(attempt), Some(text)));
        }
        self.tell(end, "TaskRemoved", |_| {});
        self.tell_all(end, "AllStoppedWithinGrace");
        Some(())
    }

    fn ended(&mut self, now: u64, attempt: u32, out: Out) {
        let timeout = self.timeout;
        match out {
            Out::Ok | Out::Canceled => self.tell(now, "TaskStopped", |_| {}),
            _ => {
                if out == Out::Timeout {
                    self.tell(now, "TimeoutHit", |told| {
                        (told.attempt, told.timeout_ms) = (Some(attempt), Some(ms(timeout)));
                    });
                }
                let text = text(out, timeout);
                self.tell(now, "TaskFailed", |told| {
                    (told.attempt, told.reason) = (Some(attempt), Some(text));
                });
            }
        }
    }

    /// An event of the task.
    fn tell(&mut self, at_ns: u64, kind: &str, with: impl FnOnce(&mut Told)) {
        let task = Some(self.task.name.clone());
        let mut told = Told { at_ns, kind: kind.to_owned(), task, ..Told::default() };
        with(&mut told);
        self.told.push(told);
    }

    /// An event of the whole run.
    fn tell_all(&mut self, at_ns: u64, kind: &str) {
        self.told.push(Told { at_ns, kind: kind.to_owned(), ..Told::default() });
    }
}

fn out(ending: Ending) -> Out {
    match ending {
        Ending::Ok => Out::Ok,
        Ending::Fail => Out::Fail,
        Ending::Fatal => Out::Fatal,
        Ending::Canceled => Out::Canceled,
        Ending::Panic => Out::Panic,
        Ending::Never => unreachable!("a body that never ends has no outcome"),
    }
}

fn text(out: Out, timeout: Span) -> String {
    match out {
        Out::Ok | Out::Canceled => String::new(),
        Out::Fail => "execution failed: boom".to_owned(),
        Out::Fatal => "fatal error (no retry): gone".to_owned(),
        Out::Panic => "panic: ouch".to_owned(),
        Out::Timeout => format!("timed out after {:?}", timeout.duration()),
    }
}

fn ms(span: Span) -> u32 {
    u32::try_from(span.ns() / 1_000_000).unwrap_or(u32::MAX)
}

/// The delay after `failures` earlier failures in a row, where every draw is 0. [R4]
fn delay(backoff: &Backoff, failures: u32) -> Option<Span> {
    if failures > POWER_MAX {
        return None;
    }
    let growth = (0..failures).fold(1.0, |growth, _| growth * backoff.factor);
    let (first, max) = (backoff.first.ns(), backoff.max.ns());
    let grown = first as f64 * growth;
    let base = if failures == 0 || growth == 1.0 {
        first.min(max)
    } else if grown.is_finite() && grown >= 0.0 && grown < max as f64 {
        grown.round() as u64
    } else {
        max
    };
    Some(Span(match backoff.jitter {
        Jitter::None => base,
        Jitter::Full => 0,
        Jitter::Equal => base.div_ceil(2),
        Jitter::Decorrelated if first <= base.saturating_mul(3).min(max) => first,
        Jitter::Decorrelated => max,
    }))
}
