//! What conforms, changed by hand in one place: the monitor rejects it, and names the event or the debt that a reader
//! of the contract would.
//!
//! Numbers are given out anew after a change, so that a gap in them is not what gives it away.

use super::passing::{
    cut_backoff, exceeding, growing, jittered, permits, queued, replaced, simple, slow_removal, timing_out,
};
use super::story::Story;
use crate::oracle::{Monitor, Unexplained};
use crate::trace::{Jitter, Record, What};

/// One change, of the event with this number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Drop(usize),
    Twice(usize),
    /// Changes places with the next event; each takes over the other's instant.
    Swap(usize),
    /// It comes a nanosecond later, and so does all that follows.
    Later(usize),
    /// So does all that comes at its instant.
    InstantLater(usize),
    InstantEarlier(usize),
}

use Change::{Drop, InstantEarlier, InstantLater, Later, Swap, Twice};

/// Where the departure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Event(u64),
    /// A call, an answer or a body.
    Record,
    /// What should have come by then did not.
    Owed,
}

use At::{Event, Owed, Record as Other};

impl Change {
    pub(super) fn apply(self, records: &mut Vec<Record>) {
        let events: Vec<_> =
            (0..records.len()).filter(|index| matches!(records[*index].what, What::Event(_))).collect();
        match self {
            Drop(event) => {
                records.remove(events[event]);
            }
            Twice(event) => records.insert(events[event], records[events[event]].clone()),
            Swap(event) => {
                let (one, other) = (records[events[event]].clone(), records[events[event + 1]].clone());
                records[events[event]].what = other.what;
                records[events[event + 1]].what = one.what;
            }
            Later(event) => records[events[event]..].iter_mut().for_each(|record| record.at_ns += 1),
            InstantLater(event) | InstantEarlier(event) => {
                let at_ns = records[events[event]].at_ns;
                let earlier = matches!(self, InstantEarlier(_));
                for record in records.iter_mut().filter(|record| record.at_ns >= at_ns) {
                    record.at_ns = if earlier { record.at_ns - 1 } else { record.at_ns + 1 };
                }
            }
        }
        let mut next = 0;
        for Record { at_ns, what, .. } in records {
            if let What::Event(event) = what {
                event.seq = next;
                event.wall_ns = i64::try_from(*at_ns).expect("small");
                next += 1;
            }
        }
    }
}

/// A story, its change; where the departure is, when, of which task; what is said of it, and the broken rule.
type Mutant = (fn() -> Story, Change, At, u64, &'static str, &'static str, &'static str);

const MS: u64 = 1_000_000;

const MUTANTS: &[Mutant] = &[
    // 0 to 2 at 0 ms: TaskAddRequested, TaskAdded, TaskStarting. 3 to 5 at 5 ms: TaskStopped, ActorExhausted, TaskRemoved.
    (simple, Drop(0), Event(0), 0, "a", "TaskAdded of `a` came", "G4"),
    (simple, Drop(1), Event(1), 0, "a", "TaskStarting 1 of `a` came", "G2"),
    (simple, Drop(2), Other, 0, "a", "body 1 of `a` was entered", "G2"),
    (simple, Drop(3), Event(3), 5 * MS, "a", "ActorExhausted 1 of `a` came", "A2"),
    (simple, Drop(4), Event(4), 5 * MS, "a", "TaskRemoved of `a` came", "R1"),
    (simple, Drop(5), Other, 5 * MS, "", "the run returned", "D1"),
    (simple, Twice(0), Event(1), 0, "a", "TaskAddRequested of `a` came", "G2"),
    (simple, Twice(1), Event(2), 0, "a", "TaskAdded of `a` came", "G2"),
    (simple, Twice(2), Event(3), 0, "a", "TaskStarting 1 of `a` came", "A1"),
    (simple, Twice(3), Event(4), 5 * MS, "a", "TaskStopped of `a` came", "R1"),
    (simple, Twice(4), Event(5), 5 * MS, "a", "ActorExhausted 1 of `a` came", "G4"),
    (simple, Twice(5), Event(6), 5 * MS, "a", "TaskRemoved of `a` came", "G4"),
    (simple, Swap(0), Event(0), 0, "a", "TaskAdded of `a` came", "G4"),
    (simple, Swap(1), Event(1), 0, "a", "TaskStarting 1 of `a` came", "G2"),
    (simple, Swap(2), Event(2), 0, "a", "TaskStopped of `a` came", "G2"),
    (simple, Swap(3), Event(3), 5 * MS, "a", "ActorExhausted 1 of `a` came", "A2"),
    (simple, Swap(4), Event(4), 5 * MS, "a", "TaskRemoved of `a` came", "R1"),
    (simple, Later(1), Owed, 0, "a", "TaskAdded of `a` at 0 ns", "G2"),
    (simple, Later(2), Owed, 0, "a", "TaskStarting 1 of `a` at 0 ns", "G2"),
    (simple, Later(3), Owed, 5 * MS, "a", "TaskStopped of `a` at 5000000 ns", "A2"),
    (simple, Later(4), Owed, 5 * MS, "a", "ActorExhausted 1 of `a` at 5000000 ns", "R1"),
    (simple, Later(5), Owed, 5 * MS, "a", "TaskRemoved of `a` at 5000000 ns", "G4"),
    // 3 to 6 at 7 ms: TimeoutHit, TaskFailed, ActorExhausted, TaskRemoved.
    (timing_out, Drop(3), Event(3), 7 * MS, "a", "TaskFailed 1 of `a` came", "A3"),
    (timing_out, Drop(4), Event(4), 7 * MS, "a", "ActorExhausted 1 of `a` came", "A3"),
    (timing_out, Twice(3), Event(4), 7 * MS, "a", "TimeoutHit 1 of `a` came", "A3"),
    (timing_out, Swap(3), Event(3), 7 * MS, "a", "TaskFailed 1 of `a` came", "A3"),
    (timing_out, Later(4), Owed, 7 * MS, "a", "TaskFailed 1 of `a` at 7000000 ns", "A3"),
    (timing_out, InstantLater(3), Owed, 7 * MS, "a", "TimeoutHit 1 at 7000000 ns", "A3"),
    (timing_out, InstantEarlier(3), Other, 7 * MS - 1, "a", "saw its context cancelled", "A3"),
    // Attempt 1 fails (3, 4) at 0 ms, 2 fails (5 to 7) at 10, 3 ends well (8 to 10) at 40, 4 fails (11 to 13) at 45, and
    // at 50 ms come ShutdownRequested (14), TaskRemoved, AllStoppedWithinGrace.
    (growing, Drop(3), Event(3), 0, "a", "BackoffScheduled 1 of `a` came", "A2"),
    (growing, Drop(4), Owed, 0, "a", "BackoffScheduled of `a` with the delay", "R1"),
    (growing, Swap(4), Event(4), 0, "a", "TaskStarting 2 of `a` came", "R1"),
    (growing, InstantLater(5), Owed, 10 * MS, "a", "TaskStarting 2 of `a` at 10000000 ns", "R2"),
    (growing, InstantEarlier(5), Event(5), 10 * MS - 1, "a", "TaskStarting 2 of `a` came", "R2"),
    (growing, InstantLater(8), Owed, 40 * MS, "a", "TaskStarting 3 of `a` at 40000000 ns", "R2"),
    (growing, InstantEarlier(11), Event(11), 45 * MS - 1, "a", "TaskStarting 4 of `a` came", "R2"),
    (growing, Twice(8), Event(9), 40 * MS, "a", "TaskStarting 3 of `a` came", "A1"),
    (growing, Swap(9), Event(9), 40 * MS, "a", "BackoffScheduled 3 of `a` came", "A2"),
    (growing, Swap(13), Event(13), 45 * MS, "", "nobody had asked for it", "D2"),
    (growing, Twice(14), Event(15), 50 * MS, "", "a second ShutdownRequested", "D2"),
    (growing, Drop(15), Event(15), 50 * MS, "", "AllStoppedWithinGrace came", "D3"),
    (growing, Swap(15), Event(15), 50 * MS, "", "AllStoppedWithinGrace came", "D3"),
    (growing, Drop(16), Other, 50 * MS, "", "the run returned", "D3"),
    (growing, Later(15), Owed, 50 * MS, "a", "TaskRemoved of `a` at 50000000 ns", "R5"),
    // One permit: `b` has it from 0 to 5 ms, `a` from 5 (TaskStarting is 7) to 20, and `b` again (11).
    (permits, Drop(7), Other, 5 * MS, "a", "body 1 of `a` was entered", "G2"),
    (permits, Later(7), Owed, 5 * MS, "a", "an attempt of `a` was due", "A6"),
    (permits, Later(11), Owed, 20 * MS, "b", "an attempt of `b` was due", "A6"),
    // A cancel during a backoff, at 4 ms: TaskRemoveRequested (5), TaskRemoved.
    (cut_backoff, Drop(5), Event(5), 4 * MS, "a", "TaskRemoved of `a` came", "R2"),
    (cut_backoff, Twice(5), Event(6), 4 * MS, "a", "TaskRemoveRequested of `a` came", "R5"),
    (cut_backoff, Later(6), Owed, 4 * MS, "a", "TaskRemoved of `a` at 4000000 ns", "R5"),
    // The grace of 20 ms is over at 25: GraceExceeded (7), TaskFailed and TaskRemoved of `a`, then of `b`.
    (exceeding, InstantEarlier(7), Event(7), 25 * MS - 1, "", "GraceExceeded came", "D3"),
    (exceeding, InstantLater(7), Owed, 25 * MS, "", "grace", "D3"),
    (exceeding, Twice(7), Event(8), 25 * MS, "", "GraceExceeded", "D3"),
    (exceeding, Swap(9), Event(9), 25 * MS, "b", "the forced end of `a`", "D3"),
    (exceeding, Drop(9), Event(9), 25 * MS, "b", "the forced end of `a`", "D3"),
    (exceeding, Drop(11), Other, 25 * MS, "", "the run returned with 1 tasks registered", "D1"),
    // Removals at 1 ms: TaskRemoveRequested by a cancel is 3.
    (slow_removal, Drop(3), Other, MS, "a", "saw its context cancelled", "A1"),
    // A backoff of 25 ms at most.
    (|| jittered(Jitter::None, 10), InstantLater(5), Owed, 10 * MS, "a", "TaskStarting 2 of `a`", "R2"),
    // TaskAddRequested (0), idle→running, ControllerSubmitted, TaskAdded, TaskStarting; a second submission (5) that waits,
    // a third that is rejected (6); at 5 ms the end (7 to 9), running→idle (10), and the second's turn (11 to 15).
    (queued, Drop(1), Event(1), 0, "a", "depth=0", "C2"),
    (queued, Twice(2), Event(3), 0, "a", "depth=0", "C1"),
    (queued, Drop(6), Owed, 0, "", "a submission was not decided at once", "C1"),
    (queued, Drop(10), Event(10), 5 * MS, "a", "TaskAddRequested of `a` came", "C3"),
    (queued, Swap(10), Event(10), 5 * MS, "a", "TaskAddRequested of `a` came", "C3"),
    (queued, Swap(9), Event(9), 5 * MS, "a", "running→idle", "C2"),
    // One waits (5), the next finds the queue full (6). A Replace at 1 ms: the one that waits is superseded (7),
    // TaskRemoveRequested (8), running→terminating (9), ControllerSubmitted (10).
    (replaced, Drop(6), Owed, 0, "", "a submission was not decided at once", "C1"),
    (replaced, Later(7), Owed, MS, "", "decided", "C1"),
];

#[test]
fn the_monitor_names_the_departing_event_or_what_was_owed() {
    let mut wrong = Vec::new();
    for (story, change, at, at_ns, task, says, rule) in MUTANTS {
        let mut monitor = Monitor::new();
        let mut story = story();
        change.apply(story.records());
        let records = story.records().clone();
        story.feed(&mut monitor);
        let fits = monitor.unexplained().is_some_and(|found| {
            let all = format!("{}; {}", found.what, found.instead.join("; "));
            where_is(found, &records) == *at
                && (found.at_ns, found.task.as_deref().unwrap_or("")) == (*at_ns, *task)
                && all.contains(says)
                && found.rules.first() == Some(rule)
        });
        if !fits {
            wrong.push(format!(
                "{change:?}, {at:?} at {at_ns} of `{task}`, {says} [{rule}]: {:#?}",
                monitor.unexplained()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), MUTANTS.len(), wrong.join("\n"));
    assert!(MUTANTS.len() >= 50);
}

/// A debt is found when the clock is about to pass its instant, before what comes next is looked at.
fn where_is(found: &Unexplained, records: &[Record]) -> At {
    match found.seq {
        Some(seq) => Event(seq),
        None if records[usize::try_from(found.record).expect("small")].at_ns > found.at_ns => Owed,
        None => Other,
    }
}
