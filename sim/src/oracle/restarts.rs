//! What follows an attempt: R1 to R7. Starts are looked at in `attempts`, what is owed in `state`.

use simvisor::{BackoffSource, EventKind};

use super::excuse::SPACING_NS;
use super::state::{DebtKind, Follow, Now, Owed, State, Task};
use super::{Liberty, Report, Rule};
use crate::trace::{BackoffNote, EventNote, Jitter, Restart, kind_name};

const NS_PER_MS: u64 = 1_000_000;

pub(super) fn backoff(
    state: &mut State,
    index: usize,
    event: &EventNote,
    now: &Now<'_>,
    report: &mut Report,
) {
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    let Some(source) = event.source else { return }; // E2 has said so
    if !follows(task, Owed::Backoff(source), event, now, report) {
        return;
    }
    if source == BackoffSource::Failure && event.reason != task.reason {
        let said = event.reason.map_or("", |reason| now.texts.get(reason));
        let was = task.reason.map_or("", |reason| now.texts.get(reason));
        report.breaks(Rule::R1, || {
            format!("BackoffScheduled of `{name}` says `{said}`, its attempt failed with `{was}`")
        });
    }
    let Some(delay_ms) = event.delay_ms else { return };
    let (from_ns, until_ns) = match (source, task.spec.map(|spec| (spec.restart, spec.backoff))) {
        (_, None) => told(delay_ms),
        (BackoffSource::Success, Some((Restart::Always { interval_ns: Some(interval_ns) }, _))) => {
            let longer = delay_ms > truncated(interval_ns) && delay_ms <= truncated(SPACING_NS);
            if longer && report.allows(Liberty::SpacedRestarts) {
                told(delay_ms)
            } else if delay_ms == truncated(interval_ns) {
                (interval_ns, interval_ns)
            } else {
                report.breaks(Rule::R1, || {
                    format!(
                        "BackoffScheduled of `{name}` says {delay_ms} ms, its interval has {} ms",
                        truncated(interval_ns)
                    )
                });
                (interval_ns, interval_ns)
            }
        }
        (BackoffSource::Success, Some(_)) => told(delay_ms),
        (BackoffSource::Failure, Some((_, backoff))) => {
            let used = task.failures.saturating_sub(1);
            let (low_ns, high_ns) = delay_bounds(&backoff, used);
            report.witness(Rule::R4);
            if delay_bounds(&backoff, used + 1) != (low_ns, high_ns) && (used > 0 || task.was_reset) {
                report.witness(Rule::R3);
            }
            if delay_ms < truncated(low_ns) || delay_ms > truncated(high_ns) {
                let attempts = task.attempt.min(64);
                let other = (0..attempts).find(|&n| {
                    let (low_ns, high_ns) = delay_bounds(&backoff, n);
                    n != used && (truncated(low_ns)..=truncated(high_ns)).contains(&delay_ms)
                });
                match other {
                    Some(other) => report.breaks(
                        Rule::R3,
                        || format!("the delay of `{name}` is {delay_ms} ms, as after {other} earlier failures in a row; there were {used}"),
                    ),
                    None => report.breaks(
                        Rule::R4,
                        || format!("the delay of `{name}` is {delay_ms} ms; after {used} earlier failures in a row it is between {low_ns} \
                            and {high_ns} ns"),
                    ),
                }
                told(delay_ms)
            } else if low_ns == high_ns || delay_ms == u32::MAX {
                (low_ns, high_ns)
            } else {
                let (from_ns, until_ns) = told(delay_ms);
                (from_ns.max(low_ns), until_ns.min(high_ns))
            }
        }
    };
    task.follow = Follow::Wait;
    task.slept = true;
    state.due(index, now.at_ns.saturating_add(from_ns), now.at_ns.saturating_add(until_ns));
}

/// The real delay of which an event tells the milliseconds.
fn told(delay_ms: u32) -> (u64, u64) {
    let from_ns = u64::from(delay_ms) * NS_PER_MS;
    (from_ns, if delay_ms == u32::MAX { u64::MAX } else { from_ns + NS_PER_MS - 1 })
}

fn truncated(span_ns: u64) -> u32 {
    u32::try_from(span_ns / NS_PER_MS).unwrap_or(u32::MAX)
}

pub(super) fn exhausted(
    state: &mut State,
    index: usize,
    event: &EventNote,
    now: &Now<'_>,
    report: &mut Report,
) {
    let task = &mut state.tasks[index];
    if follows(task, Owed::Exhausted, event, now, report) {
        let said = event.reason.map_or("", |reason| now.texts.get(reason));
        let expected = match task.success {
            true => "policy_exhausted_success",
            false => task.reason.map_or("", |reason| now.texts.get(reason)),
        };
        if said != expected {
            let name = now.texts.get(task.name);
            report.breaks(Rule::R1, || {
                format!("ActorExhausted of `{name}` says `{said}`, expected `{expected}`")
            });
        }
    }
    last(state, index);
}

pub(super) fn dead(state: &mut State, index: usize, event: &EventNote, now: &Now<'_>, report: &mut Report) {
    let task = &mut state.tasks[index];
    if follows(task, Owed::Dead, event, now, report) && event.reason != task.reason {
        let (name, said) =
            (now.texts.get(task.name), event.reason.map_or("", |reason| now.texts.get(reason)));
        let was = task.reason.map_or("", |reason| now.texts.get(reason));
        report.breaks(Rule::R1, || {
            format!("ActorDead of `{name}` says `{said}`, its attempt failed with `{was}`")
        });
    }
    last(state, index);
}

fn last(state: &mut State, index: usize) {
    state.tasks[index].follow = Follow::Last;
    state.owe(index, DebtKind::Removed);
}

/// Whether this event is what had to follow. Says so if not.
fn follows(task: &mut Task, owed: Owed, event: &EventNote, now: &Now<'_>, report: &mut Report) -> bool {
    report.witness(Rule::R1);
    let name = now.texts.get(task.name);
    let kind = kind_name(event.kind);
    if event.attempt.is_some_and(|attempt| attempt != task.attempt) {
        let of = event.attempt.unwrap_or_default();
        report.breaks(Rule::R1, || {
            format!("{kind} of `{name}` speaks of attempt {of}, the latest is {}", task.attempt)
        });
    }
    let instead = match task.follow {
        Follow::Owed(expected) if expected == owed => return true,
        Follow::Unknown => {
            task.follow = Follow::Last;
            return event.kind == EventKind::BackoffScheduled;
        }
        Follow::Last if task.muted => {
            report.breaks(Rule::R7, || {
                format!("{kind} of `{name}`, whose attempt ended after it was cancelled")
            });
            return false;
        }
        Follow::Owed(expected) => expected.name(),
        Follow::Last => "nothing but TaskRemoved",
        Follow::Wait => "the next attempt",
        Follow::Open => "the end of the attempt",
        Follow::Fresh => "the first attempt",
    };
    report.breaks(Rule::R1, || format!("{kind} of `{name}` came where {instead} was expected"));
    false
}

/// Between which bounds a delay lies after `failures` earlier failures in a row, in nanoseconds (\[R4\]).
///
/// Computed in floating point with a tolerance of 1 ns and one part in 10^12 where the result is not a whole number:
/// the contract says what a delay is, not how it is rounded.
pub(super) fn delay_bounds(backoff: &BackoffNote, failures: u32) -> (u64, u64) {
    let BackoffNote { first_ns, max_ns, factor, jitter } = *backoff;
    let growth = if failures == 0 { 1.0 } else { factor.powf(f64::from(failures)) };
    let (low, high) = if growth == 1.0 {
        (first_ns.min(max_ns), first_ns.min(max_ns))
    } else {
        let delay = first_ns as f64 * growth;
        if !delay.is_finite() || delay < 0.0 {
            (max_ns, max_ns)
        } else {
            let slack = if delay.fract() == 0.0 && delay < 4.0e15 { 0.0 } else { 1.0 + delay * 1e-12 };
            (((delay - slack).max(0.0) as u64).min(max_ns), ((delay + slack) as u64).min(max_ns))
        }
    };
    match jitter {
        Jitter::None => (low, high),
        Jitter::Full => (0, high),
        Jitter::Equal => (low / 2, high),
        Jitter::Decorrelated => {
            let top_low = low.saturating_mul(3).min(max_ns);
            let top_high = high.saturating_mul(3).min(max_ns);
            if first_ns > top_high {
                (max_ns, max_ns)
            } else if first_ns > top_low {
                (first_ns.min(max_ns), max_ns) // within the tolerance of an empty range
            } else {
                (first_ns, top_high)
            }
        }
    }
}
