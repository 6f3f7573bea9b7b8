//! One attempt: A1 to A6.

use std::time::Duration;

use simvisor::{BackoffSource, EventKind};

use super::excuse::SPACING_NS;
use super::run::Run;
use super::state::{Body, DebtKind, Follow, Now, Owed, State};
use super::{Liberty, Report, Rule};
use crate::trace::{BodyEnd, EventNote, Restart, Text};

/// Reason of a forced end (\[D3\]).
pub(super) const ABORTED: &str = "aborted: grace exceeded";

/// How an attempt ended, as far as restarts care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Canceled,
    Retryable,
    Fatal,
    /// The trace does not tell.
    Unknown,
}

pub(super) fn starting(
    state: &mut State,
    index: usize,
    event: &EventNote,
    now: &Now<'_>,
    report: &mut Report,
) {
    let slow_removals = state.slow_removals_beside(index) > 0;
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    let attempt = event.attempt.unwrap_or(task.attempt.saturating_add(1));
    if !task.added {
        report.breaks(Rule::G2, || format!("attempt {attempt} of `{name}` started before its TaskAdded"));
    }
    match task.follow {
        Follow::Open => report.breaks(Rule::A1, || {
            format!("attempt {attempt} of `{name}` started while attempt {} is open", task.attempt)
        }),
        Follow::Owed(owed) => report.breaks(Rule::R1, || {
            format!("attempt {attempt} of `{name}` started where {} was owed", owed.name())
        }),
        Follow::Last if task.muted => report.breaks(Rule::R7, || {
            format!("attempt {attempt} of `{name}` started after one that ended under cancellation")
        }),
        Follow::Last => {
            report.breaks(Rule::R1, || {
                format!("attempt {attempt} of `{name}` started after its last had ended for good")
            });
        }
        Follow::Fresh | Follow::Wait | Follow::Unknown => {}
    }
    if task.cancelled && matches!(task.follow, Follow::Fresh | Follow::Wait | Follow::Unknown) {
        if task.cancelled_ns == now.at_ns && report.allows(Liberty::LateStarts) {
            task.started_late = true;
        } else if task.removal_requested {
            report.breaks(Rule::R5, || {
                format!("attempt {attempt} of `{name}` started after its removal was requested")
            });
        } else {
            report.breaks(Rule::D2, || {
                format!("attempt {attempt} of `{name}` started after shutdown was requested")
            });
        }
    }
    if attempt != task.attempt.saturating_add(1) {
        let (rule, next) = (
            if task.incarnation > 1 && task.attempt == 0 { Rule::G5 } else { Rule::A1 },
            task.attempt.saturating_add(1),
        );
        report.breaks(rule, || {
            format!("attempt {attempt} of `{name}` started where attempt {next} comes next")
        });
    }
    if task.attempt > 0 && now.turn.is_some() && task.ended_turn.is_some() {
        report.witness(Rule::R6);
        if now.turn == task.ended_turn {
            report.breaks(Rule::R6, || {
                format!(
                    "attempt {attempt} of `{name}` started without a yield after attempt {}",
                    task.attempt
                )
            });
        }
    }
    if task.follow == Follow::Wait && task.slept {
        report.witness(Rule::R2);
        if now.at_ns < task.due_ns.0 {
            let early = task.due_ns.0 - now.at_ns;
            report.breaks(Rule::R2, || {
                format!("attempt {attempt} of `{name}` started {early} ns before its delay was over")
            });
        }
    }
    if task.follow == Follow::Wait && !task.slept && now.at_ns > task.due_ns.0 {
        report.allows(Liberty::SpacedRestarts);
    }
    if task.incarnation > 1 && attempt == 1 {
        report.witness(Rule::G5);
    }
    if slow_removals {
        report.witness(Rule::G6);
    }
    if state.max_concurrent > 0 {
        report.witness(Rule::A6);
        if state.open >= state.max_concurrent {
            let (open, limit) = (state.open + 1, state.max_concurrent);
            report.breaks(Rule::A6, || {
                format!("with attempt {attempt} of `{name}` {open} attempts are open, of {limit} at once")
            });
        }
        // Who got a permit may begin before another who got one earlier in this instant; so this is looked at when
        // the instant is over.
        let due_ns = task.due_ns.0;
        if state.latest_due.is_none_or(|(latest_ns, _)| latest_ns < due_ns) {
            state.latest_due = Some((due_ns, index));
        }
    }
    let task = &mut state.tasks[index];
    if task.body == Body::Running && !task.open {
        report.breaks(Rule::A3, || {
            format!("attempt {attempt} of `{name}` started while the body of the last was still running")
        });
    }
    task.attempt = attempt;
    task.open = true;
    task.started_ns = now.at_ns;
    task.follow = Follow::Open;
    task.body = Body::Unseen;
    task.told = false;
    task.timed_out = false;
    task.slept = false;
    state.open += 1;
}

pub(super) fn ended(
    state: &mut State,
    index: usize,
    event: &EventNote,
    now: &Now<'_>,
    run: &Run,
    report: &mut Report,
) {
    explain_cancel(state, index, now, report);
    let late_ns = state.late_ns;
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    let attempt = task.attempt;
    let failed = event.kind == EventKind::TaskFailed;
    report.witness(Rule::A1);
    if !task.open {
        report.breaks(Rule::A1, || format!("an attempt of `{name}` ended, but none was open"));
        return;
    }
    if failed && event.attempt.is_some_and(|of| of != attempt) {
        let of = event.attempt.unwrap_or_default();
        report.breaks(Rule::A1, || format!("attempt {of} of `{name}` ended, but attempt {attempt} was open"));
    }
    task.open = false;
    task.ended_turn = now.turn;
    task.reason = if failed { event.reason } else { None };
    let reason = event.reason.map_or("", |reason| now.texts.get(reason));
    state.open -= 1;

    if run.has_exceeded_grace() {
        if !failed || reason != ABORTED {
            report.breaks(
                Rule::D3,
                || format!("attempt {attempt} of `{name}` was stuck; it ends as TaskFailed with `{ABORTED}`, not with `{reason}`"),
            );
        }
        task.follow = Follow::Last;
        return;
    }
    // A removal may be forced as well.
    if failed
        && reason == ABORTED
        && task.removal_requested
        && now.at_ns >= task.cancelled_ns.saturating_add(run.grace_ns())
        && report.allows(Liberty::ForcedRemovals)
    {
        task.follow = Follow::Last;
        state.owe(index, DebtKind::Removed);
        return;
    }

    if let Some(deadline_ns) = task.deadline_ns() {
        report.witness(Rule::A3);
        if !task.timed_out && now.at_ns > deadline_ns.saturating_add(late_ns) {
            let late = now.at_ns - deadline_ns;
            report.breaks(Rule::A3, || {
                format!("attempt {attempt} of `{name}` went on for {late} ns after its deadline")
            });
        }
    }
    let outcome = outcome(task.body, task.timed_out, failed, event.reason, name, now, report);
    if task.timed_out {
        if now.at_ns != task.started_ns.saturating_add(task.spec.map_or(0, |spec| spec.timeout_ns))
            && late_ns == 0
            && task.spec.is_some()
        {
            report.breaks(Rule::A3, || {
                format!("TaskFailed of `{name}` came at another instant than its TimeoutHit")
            });
        }
        if let Some(spec) = task.spec {
            let expected = format!("timed out after {:?}", Duration::from_nanos(spec.timeout_ns));
            if reason != expected {
                report.breaks(Rule::A3, || format!("attempt {attempt} of `{name}` timed out and failed with `{reason}`, expected `{expected}`"));
            }
        }
    }

    task.success = outcome == Outcome::Ok;
    match outcome {
        Outcome::Ok => {
            task.was_reset = task.failures > 0 || task.was_reset;
            task.failures = 0;
        }
        Outcome::Retryable => task.failures += 1,
        Outcome::Canceled | Outcome::Fatal | Outcome::Unknown => {}
    }
    task.muted = task.cancelled;
    if task.cancelled {
        report.witness(Rule::R7);
    }
    let restart = task.spec.map(|spec| spec.restart);
    task.follow = match (outcome, restart) {
        (Outcome::Fatal, _) => Follow::Owed(Owed::Dead),
        (Outcome::Canceled, _) => Follow::Last,
        (Outcome::Ok | Outcome::Retryable, _) if task.cancelled => Follow::Last,
        (Outcome::Unknown, _) | (_, None) => Follow::Unknown,
        (Outcome::Ok, Some(Restart::Never | Restart::OnFailure))
        | (Outcome::Retryable, Some(Restart::Never)) => Follow::Owed(Owed::Exhausted),
        (Outcome::Ok, Some(Restart::Always { interval_ns: Some(_) })) => {
            Follow::Owed(Owed::Backoff(BackoffSource::Success))
        }
        (Outcome::Ok, Some(Restart::Always { interval_ns: None })) => Follow::Wait,
        (Outcome::Retryable, Some(Restart::OnFailure | Restart::Always { .. })) => {
            Follow::Owed(Owed::Backoff(BackoffSource::Failure))
        }
    };
    match task.follow {
        Follow::Wait => {
            let spacing_ns = if report.may_allow(Liberty::SpacedRestarts) { SPACING_NS } else { 0 };
            state.due(index, now.at_ns, now.at_ns + spacing_ns);
        }
        Follow::Owed(_) => state.owe(index, DebtKind::Followed),
        Follow::Last => {
            if outcome == Outcome::Canceled {
                report.witness(Rule::R1);
            }
            state.owe(index, DebtKind::Removed);
        }
        Follow::Fresh | Follow::Open | Follow::Unknown => {}
    }
}

/// What the body did, and whether the event that ended the attempt says so (\[A2\], \[A5\]).
fn outcome(
    body: Body,
    timed_out: bool,
    failed: bool,
    reason: Option<Text>,
    name: &str,
    now: &Now<'_>,
    report: &mut Report,
) -> Outcome {
    let said =
        || if failed { reason.map_or("TaskFailed", |reason| now.texts.get(reason)) } else { "TaskStopped" };
    match body {
        Body::Left(BodyEnd::Ok | BodyEnd::Canceled) => {
            report.witness(Rule::A2);
            if failed {
                report.breaks(Rule::A2, || {
                    format!("`{name}` ended well or as cancelled, and was published as `{}`", said())
                });
                return Outcome::Unknown;
            }
            if body == Body::Left(BodyEnd::Ok) { Outcome::Ok } else { Outcome::Canceled }
        }
        Body::Left(BodyEnd::Fail(text) | BodyEnd::Fatal(text)) => {
            report.witness(Rule::A2);
            if !failed || reason != Some(text) {
                let text = now.texts.get(text);
                report.breaks(Rule::A2, || {
                    format!("`{name}` failed with `{text}`, and was published as `{}`", said())
                });
                return Outcome::Unknown;
            }
            if matches!(body, Body::Left(BodyEnd::Fatal(_))) { Outcome::Fatal } else { Outcome::Retryable }
        }
        Body::Left(BodyEnd::Panic(message)) => {
            report.witness(Rule::A5);
            let message = now.texts.get(message);
            let told = reason.and_then(|reason| now.texts.get(reason).strip_prefix("panic: "));
            if !failed || told != Some(message) {
                report.breaks(Rule::A5, || {
                    format!("`{name}` panicked with `{message}`, and was published as `{}`", said())
                });
                return Outcome::Unknown;
            }
            Outcome::Retryable
        }
        Body::Left(BodyEnd::Dropped) | Body::Running if timed_out => Outcome::Retryable,
        Body::Left(BodyEnd::Dropped) => {
            report.breaks(Rule::A2, || {
                format!("the body of `{name}` was dropped, though nothing had timed out")
            });
            Outcome::Unknown
        }
        Body::Running => {
            report.breaks(Rule::A2, || {
                format!("the attempt of `{name}` was published as ended while its body was running")
            });
            Outcome::Unknown
        }
        Body::Unseen if timed_out => Outcome::Retryable,
        Body::Unseen if !failed => Outcome::Unknown,
        Body::Unseen => match reason {
            Some(reason) if now.texts.get(reason).starts_with("fatal error (no retry): ") => Outcome::Fatal,
            _ => Outcome::Retryable,
        },
    }
}

pub(super) fn timeout_hit(
    state: &mut State,
    index: usize,
    event: &EventNote,
    now: &Now<'_>,
    report: &mut Report,
) {
    let late_ns = state.late_ns;
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    report.witness(Rule::A3);
    if !task.open {
        report.breaks(Rule::A1, || format!("TimeoutHit of `{name}`, of which no attempt is open"));
        return;
    }
    if event.attempt.is_some_and(|attempt| attempt != task.attempt) {
        let of = event.attempt.unwrap_or_default();
        report.breaks(Rule::A1, || {
            format!("TimeoutHit of attempt {of} of `{name}`, of which attempt {} is open", task.attempt)
        });
    }
    task.timed_out = true;
    task.owes_timeout_failure = true;
    task.unexplained_cancel = false;
    match task.body {
        Body::Left(BodyEnd::Dropped) => {
            report.witness(Rule::A4);
            if !task.told {
                report.breaks(Rule::A4, || {
                    format!("`{name}` timed out, but the context of its attempt was not cancelled")
                });
            }
        }
        Body::Left(_) => {
            report.breaks(Rule::A3, || {
                format!("`{name}` timed out, though its body was ready when the deadline came")
            });
        }
        Body::Unseen | Body::Running => {}
    }
    let Some(spec) = task.spec else { return };
    let expected_ms = u32::try_from(spec.timeout_ns / 1_000_000).unwrap_or(u32::MAX);
    if event.timeout_ms.is_some_and(|ms| ms != expected_ms) {
        let ms = event.timeout_ms.unwrap_or_default();
        report.breaks(Rule::A3, || {
            format!("TimeoutHit of `{name}` says {ms} ms, its timeout has {expected_ms} ms")
        });
    }
    match task.deadline_ns() {
        None => report.breaks(Rule::A3, || format!("`{name}` timed out, but it has no timeout")),
        Some(deadline_ns) if now.at_ns < deadline_ns => {
            let early = deadline_ns - now.at_ns;
            report.breaks(Rule::A3, || format!("`{name}` timed out {early} ns before its deadline"));
        }
        Some(deadline_ns) if now.at_ns > deadline_ns.saturating_add(late_ns) => {
            let late = now.at_ns - deadline_ns;
            report.breaks(Rule::A3, || format!("`{name}` timed out {late} ns after its deadline"));
        }
        Some(_) => {}
    }
}

pub(super) fn body_entered(
    state: &mut State,
    index: usize,
    attempt: u32,
    now: &Now<'_>,
    report: &mut Report,
) {
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    if !task.open {
        report.breaks(Rule::A1, || format!("a body of `{name}` was entered, but no attempt is open"));
    } else if task.body != Body::Unseen {
        report.breaks(Rule::A1, || {
            format!("a second body was entered in attempt {} of `{name}`", task.attempt)
        });
    } else if attempt != task.attempt {
        report.breaks(Rule::A1, || {
            format!("body {attempt} of `{name}` was entered in attempt {}", task.attempt)
        });
    }
    task.body = Body::Running;
    if task.cancelled && !task.told {
        state.owe(index, DebtKind::Told);
    }
}

pub(super) fn body_cancelled(
    state: &mut State,
    index: usize,
    attempt: u32,
    now: &Now<'_>,
    run: &mut Run,
    report: &mut Report,
) {
    let task = &mut state.tasks[index];
    report.witness(Rule::A4);
    if task.attempt != attempt || !task.open {
        return; // it is the body of an attempt that is over for the judges
    }
    task.told = true;
    let at_deadline = task.deadline_ns().is_some_and(|deadline_ns| now.at_ns >= deadline_ns);
    // A timeout that comes too early is a matter of A3: TimeoutHit takes this back.
    if !task.cancelled && !at_deadline && task.spec.is_some() && !run.is_over() {
        state.tasks[index].unexplained_cancel = !state.run_ends(run, now, report);
    }
}

/// The attempt, or the incarnation, is over: nobody has explained why its context was cancelled.
pub(super) fn explain_cancel(state: &mut State, index: usize, now: &Now<'_>, report: &mut Report) {
    let task = &mut state.tasks[index];
    if std::mem::take(&mut task.unexplained_cancel) {
        let (name, attempt) = (now.texts.get(task.name), task.attempt);
        let rule = if task.incarnation > 1 { Rule::G5 } else { Rule::A4 };
        report.breaks(rule, || {
            format!("the context of attempt {attempt} of `{name}` was cancelled, and nobody had asked for it")
        });
    }
}
