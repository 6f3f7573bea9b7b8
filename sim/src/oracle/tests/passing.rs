//! Traces that conform, many of them such that a sloppy rule would reject them.

use super::Entry;
use super::story::{Story, spec};
use crate::trace::{Admission, Answer, Call, EndNote, HandlerEnd, Jitter, What};

/// One task that ends well after 5 ms.
pub(super) fn simple() -> Story {
    Story::new().run(&[spec("a")]).starts("a").at(5).finishes_well("a", 1).over()
}

/// The same with a subscriber that handles everything at once.
fn watched() -> Story {
    Story::new()
        .subscriber("s", 8)
        .run(&[spec("a")])
        .starts("a")
        .handles_all("s", 0..3)
        .at(5)
        .finishes_well("a", 1)
        .handles_all("s", 3..6)
        .done(0)
        .counts("s", [6, 0, 0, 0])
        .leftovers(0, 0, 0)
        .end()
}

/// A stuck subscriber with room for one: one in hand, one waiting, the rest dropped; and the reports are not reported.
fn overflowing() -> Story {
    Story::new()
        .grace(10)
        .subscriber("s", 1)
        .run(&[spec("a")])
        .requested("a") // 0: in hand
        .begins("s", 0)
        .added("a") // 1: waits
        .starting("a", 1) // 2: dropped
        .overflow("s") // 3: dropped, and nothing is said of it
        .enter("a", 1)
        .at(5)
        .leave_ok("a", 1)
        .stopped("a") // 4: dropped
        .overflow("s") // 5
        .exhausted("a", 1, "policy_exhausted_success") // 6: dropped
        .overflow("s") // 7
        .removed("a") // 8: dropped
        .overflow("s") // 9
        .at(15)
        .finishes("s", 0, HandlerEnd::Dropped)
        .done(0)
        .counts("s", [0, 0, 10, 0])
        .leftovers(0, 0, 0)
        .end()
}

/// A listener that was overrun by four events on a bus of two.
fn lagging() -> Story {
    Story::new()
        .bus(2)
        .subscriber("s", 8)
        .run(&[spec("a")])
        .starts("a") // 0 to 2
        .at(5)
        .well("a", 1) // 3
        .exhausted("a", 1, "policy_exhausted_success") // 4
        .removed("a") // 5
        .notice(4) // 6, and overtakes 4 and 5
        .handles("s", 6)
        .handles("s", 4)
        .handles("s", 5)
        .done(0)
        .counts("s", [3, 0, 0, 4])
        .leftovers(0, 0, 0)
        .end()
}

/// A handler panics twice, the second time over the report of the first.
fn panicking() -> Story {
    Story::new()
        .subscriber("s", 8)
        .run(&[spec("a")])
        .requested("a") // 0
        .panics("s", 0, "ouch")
        .panicked("s", "ouch") // 1
        .panics("s", 1, "again")
        .added("a") // 2
        .attempt("a", 1) // 3
        .handles_all("s", 2..4)
        .at(1)
        .finishes_well("a", 1) // 4 to 6
        .handles_all("s", 4..7)
        .done(0)
        .counts("s", [5, 2, 0, 0])
        .leftovers(0, 0, 0)
        .end()
}

/// The slot's task ends and a namesake comes from outside before a Replace is decided: it is not removed for it.
fn overtaken() -> Story {
    Story::new()
        .controller(2, 1)
        .serve()
        .submit(1, spec("a"), Admission::Queue, true)
        .done(1)
        .requested("a")
        .transition("a", "idle→running")
        .submitted("a", "admission=Queue status=running depth=0")
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(1))
        .at(1)
        .submit(2, spec("a"), Admission::Replace, true)
        .done(2)
        .finishes_well("a", 1)
        .add(3, spec("a"))
        .requested("a")
        .done(3)
        .transition("a", "running→terminating (replace)")
        .submitted("a", "admission=Replace status=terminating depth=1")
        .transition("a", "terminating→idle")
        .rejected("a", "add_failed: task `a` already exists")
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(3))
}

/// A tracker knows what its receiver got; what was lost to lag it cannot know.
fn half_heard() -> Story {
    Story::new()
        .bus(2)
        .serve()
        .add(1, spec("b"))
        .requested("b")
        .done(1)
        .added("b")
        .attempt("b", 1)
        .opens("r")
        .add(2, spec("a"))
        .requested("a")
        .done(2)
        .added("a")
        .attempt("a", 1)
        .gets("r", 3)
        .gets("r", 4)
        .gets("r", 5)
        .holds_alive("r", &["a"])
        .at(5)
        .finishes_well("b", 1)
        .lags("r", 1)
        .gets("r", 7)
        .holds_alive("r", &["a"])
        .gets("r", 8)
        .at(6)
        .finishes_well("a", 1)
        .holds_alive("r", &["a"])
}

fn out_of_order() -> Story {
    Story::new()
        .disorder()
        .opens("r")
        .run(&[spec("a")])
        .starts("a")
        .on_bus(1)
        .on_bus(0)
        .gets("r", 1)
        .gets("r", 0)
        .at(5)
        .finishes_well("a", 1)
        .on_bus(2)
        .on_bus(2)
        .on_bus(4)
        .on_bus(5)
        .on_bus(3)
        .gets("r", 2)
        .holds_alive("r", &["a"])
        .gets("r", 2)
        .gets("r", 4)
        .holds_alive("r", &[])
        .gets("r", 5)
        .gets("r", 3)
        .holds_alive("r", &[])
        .closes("r")
        .over()
}

fn overrun_receiver() -> Story {
    Story::new()
        .bus(2)
        .opens("r")
        .run(&[spec("a")])
        .starts("a")
        .lags("r", 1)
        .gets("r", 1)
        .gets("r", 2)
        .at(5)
        .finishes_well("a", 1)
        .lags("r", 1)
        .gets("r", 4)
        .gets("r", 5)
        .closes("r")
        .over()
}

/// Two failures with growing delays, a success, a failure with the first delay again.
pub(super) fn growing() -> Story {
    Story::new()
        .run(&[spec("a").always(Some(5)).factor(3.0)])
        .starts("a")
        .boom("a", 1)
        .backoff("a", 1, 10, "boom")
        .at(10)
        .attempt("a", 2)
        .boom("a", 2)
        .backoff("a", 2, 30, "boom")
        .at(40)
        .attempt("a", 3)
        .well("a", 3)
        .interval("a", 3, 5)
        .at(45)
        .attempt("a", 4)
        .boom("a", 4)
        .backoff("a", 4, 10, "boom")
        .at(50)
        .shuts_down(1)
        .removed("a")
        .all_stopped()
        .over()
}

pub(super) fn timing_out() -> Story {
    Story::new()
        .run(&[spec("a").never().timeout(7)])
        .starts("a")
        .at(7)
        .sees_cancel("a", 1)
        .leave_dropped("a", 1)
        .timeout_hit("a", 1, 7)
        .failed("a", 1, "timed out after 7ms")
        .exhausted("a", 1, "timed out after 7ms")
        .removed("a")
        .over()
}

/// Ready when it is polled at the deadline.
fn just_in_time() -> Story {
    Story::new().run(&[spec("a").timeout(7)]).starts("a").at(7).finishes_well("a", 1).over()
}

pub(super) fn exceeding() -> Story {
    Story::new()
        .grace(20)
        .run(&[spec("b"), spec("a")])
        .requested("b")
        .requested("a")
        .added("b")
        .added("a")
        .attempt("a", 1)
        .attempt("b", 1)
        .at(5)
        .shuts_down(1)
        .sees_cancel("a", 1)
        .sees_cancel("b", 1)
        .at(25)
        .exceeded()
        .leave_dropped("a", 1)
        .failed("a", 1, "aborted: grace exceeded")
        .removed("a")
        .leave_dropped("b", 1)
        .failed("b", 1, "aborted: grace exceeded")
        .removed("b")
        .stuck(&["a", "b"])
        .leftovers(0, 0, 0)
        .end()
}

pub(super) fn queued() -> Story {
    Story::new()
        .controller(4, 4)
        .serve()
        .submit(1, spec("a"), Admission::Queue, true)
        .done(1)
        .requested("a")
        .transition("a", "idle→running")
        .submitted("a", "admission=Queue status=running depth=0")
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(1))
        .submit(2, spec("a").never(), Admission::Queue, true)
        .done(2)
        .submitted("a", "admission=Queue status=running depth=1")
        .submit(3, spec("a"), Admission::DropIfRunning, false)
        .done(3)
        .rejected("a", "slot_busy: running")
        .at(5)
        .finishes_well("a", 1)
        .transition("a", "running→idle")
        .requested("a")
        .transition("a", "idle→running")
        .submitted("a", "admission=started_from_queue status=running depth=0")
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(2))
        .at(9)
        .finishes_well("a", 1)
        .transition("a", "running→idle")
        .shuts_down(4)
        .all_stopped()
        .over()
}

/// A Replace of a task whose removal takes a while, one that is superseded, and a full queue.
pub(super) fn replaced() -> Story {
    Story::new()
        .controller(4, 1)
        .serve()
        .submit(1, spec("a"), Admission::Queue, true)
        .done(1)
        .requested("a")
        .transition("a", "idle→running")
        .submitted("a", "admission=Queue status=running depth=0")
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(1))
        .submit(2, spec("a"), Admission::Queue, true)
        .done(2)
        .submitted("a", "admission=Queue status=running depth=1")
        .submit(3, spec("a"), Admission::Queue, true)
        .done(3)
        .rejected("a", "queue_full: 1/1")
        .at(1)
        .submit(4, spec("a"), Admission::Replace, true)
        .done(4)
        .rejected("a", "superseded")
        .removing("a")
        .transition("a", "running→terminating (replace)")
        .submitted("a", "admission=Replace status=terminating depth=1")
        .sees_cancel("a", 1)
        .at(3)
        .leave_canceled("a", 1)
        .stopped("a")
        .removed("a")
        .transition("a", "terminating→idle")
        .requested("a")
        .transition("a", "idle→running")
        .submitted("a", "admission=started_from_queue status=running depth=0")
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(4))
        .at(6)
        .shuts_down(5)
        .heeds("a", 1)
        .transition("a", "running→idle")
        .all_stopped()
        .over()
}

fn full_and_closed() -> Story {
    Story::new()
        .controller(1, 1)
        .submit(1, spec("a"), Admission::Queue, true)
        .done(1)
        .submit(2, spec("b"), Admission::Queue, false)
        .answer(2, Answer::Full)
        .submit(3, spec("b"), Admission::Queue, true)
        .at(4)
        .shutdown(4)
        .shutdown_requested()
        .rejected("a", "shutting_down")
        .done(4)
        .answer(3, Answer::Closed)
        .serve()
        .all_stopped()
        .over()
}

pub(super) fn permits() -> Story {
    Story::new()
        .limit(1)
        .run(&[spec("a"), spec("b")])
        .requested("a")
        .requested("b")
        .added("a")
        .added("b")
        .attempt("b", 1)
        .at(5)
        .boom("b", 1)
        .backoff("b", 1, 10, "boom")
        .attempt("a", 1) // b's permit is free while it waits
        .at(20)
        .finishes_well("a", 1)
        .attempt("b", 2) // due since 15 ms
        .at(21)
        .finishes_well("b", 2)
        .over()
}

/// Two waiters become due at different instants and get their permits in one: either may begin first.
fn two_permits_in_one_instant() -> Story {
    let all = [spec("a"), spec("b"), spec("c"), spec("d")];
    let story = Story::new().limit(2).run(&all[..3]).requested("a").requested("b").requested("c");
    story
        .added("a")
        .added("b")
        .added("c")
        .attempt("a", 1)
        .attempt("b", 1)
        .at(1)
        .add(1, all[3])
        .requested("d")
        .done(1)
        .added("d")
        .at(5)
        .finishes_well("a", 1)
        .finishes_well("b", 1)
        .attempt("d", 1) // c has waited longer and starts in this instant too
        .attempt("c", 1)
        .at(6)
        .finishes_well("c", 1)
        .finishes_well("d", 1)
        .over()
}

/// The request comes between the end of the attempt and what follows it: the backoff is published, and cut.
fn cut_between() -> Story {
    Story::new()
        .serve()
        .add(1, spec("a"))
        .requested("a")
        .done(1)
        .added("a")
        .attempt("a", 1)
        .at(3)
        .boom("a", 1)
        .remove(2, "a")
        .removing("a")
        .done(2)
        .backoff("a", 1, 10, "boom")
        .removed("a")
        .at(4)
        .shuts_down(3)
        .all_stopped()
        .over()
}

pub(super) fn cut_backoff() -> Story {
    Story::new()
        .run(&[spec("a")])
        .starts("a")
        .boom("a", 1)
        .backoff("a", 1, 10, "boom")
        .at(4)
        .cancel(1, "a", 50)
        .removing_by_cancel("a")
        .removed("a")
        .answer(1, Answer::Bool(true))
        .over()
}

/// Asked for and removed before it was added.
fn never_started() -> Story {
    Story::new()
        .serve()
        .add(1, spec("a"))
        .requested("a")
        .done(1)
        .remove(2, "a")
        .removing("a")
        .done(2)
        .added("a")
        .removed("a")
        .at(1)
        .shuts_down(3)
        .all_stopped()
        .over()
}

/// A Fatal after the cancellation still gives ActorDead, a failure gives nothing.
fn ends_after_cancel() -> Story {
    Story::new()
        .run(&[spec("a"), spec("b")])
        .starts("a")
        .starts("b")
        .at(2)
        .shuts_down(1)
        .sees_cancel("a", 1)
        .sees_cancel("b", 1)
        .at(4)
        .gone("a", 1)
        .dead("a", 1, "gone")
        .removed("a")
        .boom("b", 1)
        .removed("b")
        .all_stopped()
        .over()
}

fn at_the_very_instant() -> Story {
    Story::new()
        .grace(20)
        .run(&[spec("a")])
        .starts("a")
        .at(1)
        .shuts_down(1)
        .sees_cancel("a", 1)
        .at(21)
        .leave_canceled("a", 1)
        .stopped("a")
        .removed("a")
        .all_stopped()
        .over()
}

fn shutdown_before_the_run() -> Story {
    Story::new()
        .add(1, spec("a"))
        .requested("a")
        .done(1)
        .shuts_down(2)
        .at(5)
        .run(&[spec("b")])
        .added("a")
        .removed("a")
        .all_stopped()
        .answer(0, Answer::ShuttingDown)
        .leftovers(0, 0, 0)
        .end()
}

/// A run that is refused because of a name that comes twice, and another one.
fn refused_run() -> Story {
    Story::new()
        .add(1, spec("a"))
        .requested("a")
        .done(1)
        .run(&[spec("a")])
        .answer(0, Answer::AlreadyExists)
        .call(2, Call::Run(Vec::new()))
        .added("a")
        .attempt("a", 1)
        .at(5)
        .finishes_well("a", 1)
        .answer(2, Answer::Done)
        .leftovers(0, 0, 0)
        .end()
}

fn two_in_one_instant() -> Story {
    Story::new()
        .serve()
        .add(1, spec("a"))
        .requested("a")
        .done(1)
        .added("a")
        .attempt("a", 1)
        .finishes_well("a", 1)
        .add(2, spec("a"))
        .requested("a")
        .done(2)
        .added("a")
        .attempt("a", 1)
        .add(3, spec("a"))
        .answer(3, Answer::AlreadyExists)
        .call(4, Call::List)
        .names(4, &["a"])
        .call(5, Call::Snapshot)
        .names(5, &["a"])
        .asks_alive(6, "a")
        .answer(6, Answer::Bool(true))
        .at(2)
        .finishes_well("a", 1)
        .asks_alive(7, "a")
        .answer(7, Answer::Bool(false))
        .shuts_down(8)
        .add(9, spec("b"))
        .answer(9, Answer::ShuttingDown)
        .all_stopped()
        .over()
}

/// A slow removal of `a` beside the add, start and removal of `b`; cancels of `a` that wait too short, long enough, and
/// of nobody.
pub(super) fn slow_removal() -> Story {
    Story::new()
        .run(&[spec("a")])
        .starts("a")
        .at(1)
        .cancel(1, "a", 5)
        .removing_by_cancel("a")
        .sees_cancel("a", 1)
        .cancel(2, "a", 50)
        .remove(3, "a")
        .done(3)
        .remove(4, "nobody")
        .answer(4, Answer::NotFound)
        .cancel(5, "nobody", 50)
        .answer(5, Answer::Bool(false))
        .at(3)
        .add(6, spec("b"))
        .requested("b")
        .done(6)
        .added("b")
        .attempt("b", 1)
        .at(4)
        .finishes_well("b", 1)
        .at(6)
        .answer(1, Answer::RemoveTimeout)
        .at(9)
        .leave_canceled("a", 1)
        .stopped("a")
        .removed("a")
        .answer(2, Answer::Bool(true))
        .over()
}

fn ready() -> Story {
    Story::new()
        .call(1, Call::WaitReady)
        .at(2)
        .run(&[spec("a")])
        .answer(1, Answer::Done)
        .starts("a")
        .call(2, Call::WaitReady)
        .answer(2, Answer::Done)
        .finishes_well("a", 1)
        .over()
}

fn no_grace() -> Story {
    Story::new()
        .grace(0)
        .subscriber("s", 4)
        .run(&[spec("a")])
        .starts("a")
        .begins("s", 0)
        .at(3)
        .shuts_down(1)
        .exceeded()
        .sees_cancel("a", 1)
        .leave_dropped("a", 1)
        .failed("a", 1, "aborted: grace exceeded")
        .removed("a")
        .finishes("s", 0, HandlerEnd::Dropped)
        .stuck(&["a"])
        .counts("s", [0, 0, 7, 0])
        .leftovers(0, 0, 0)
        .end()
}

pub(super) fn jittered(jitter: Jitter, delay_ms: u32) -> Story {
    Story::new()
        .run(&[spec("a").jitter(jitter).max_ms(25)])
        .starts("a")
        .boom("a", 1)
        .backoff("a", 1, delay_ms, "boom")
        .at(u64::from(delay_ms))
        .attempt("a", 2)
        .finishes_well("a", 2)
        .over()
}

/// Given up in the middle: nothing that is owed is judged.
fn given_up() -> Story {
    Story::new().run(&[spec("a")]).starts("a").boom("a", 1).push(What::End(EndNote::Livelock(Vec::new())))
}

fn wall_was_set() -> Story {
    Story::new()
        .wall(1_000_000_000)
        .run(&[spec("a")])
        .starts("a")
        .push(What::WallSet { by_ns: -500_000_000 })
        .wall(500_000_000)
        .at(5)
        .finishes_well("a", 1)
        .over()
}

/// Without bodies and specs much is left open, and all of it passes.
fn events_alone() -> Story {
    Story::new()
        .requested("a")
        .added("a")
        .starting("a", 1)
        .at(5)
        .failed("a", 1, "boom")
        .backoff("a", 1, 3, "boom")
        .at(8)
        .starting("a", 2)
        .at(9)
        .failed("a", 2, "fatal error (no retry): gone")
        .dead("a", 2, "fatal error (no retry): gone")
        .removed("a")
        .end()
}

pub(super) const STORIES: &[Entry] = &[
    ("S1", "one task", simple),
    ("S2", "one task", simple),
    ("S2", "the wall clock was set back", wall_was_set),
    ("S3", "an overrun receiver", overrun_receiver),
    ("S3", "a bus in disorder", out_of_order),
    ("S4", "events are lost and the run goes on", overflowing),
    ("S5", "reports of drops are dropped", overflowing),
    ("S6", "a subscriber in time", watched),
    ("S6", "a stuck subscriber", overflowing),
    ("S7", "a panic over the report of a panic", panicking),
    ("S8", "a notice overtakes what is on the bus", lagging),
    ("S9", "drained at once", watched),
    ("S9", "grace was used up", overflowing),
    ("S9", "no grace at all", no_grace),
    ("S10", "late and double delivery", out_of_order),
    ("E1", "one task", simple),
    ("E2", "one task", simple),
    ("A1", "several attempts", growing),
    ("A2", "several ends", growing),
    ("A3", "at the deadline", timing_out),
    ("A3", "a body that is ready at the deadline wins", just_in_time),
    ("A4", "told of its timeout", timing_out),
    ("A4", "told of the shutdown", exceeding),
    ("A5", "a panic is retried", || {
        let story = Story::new().run(&[spec("a")]).starts("a").leave_panic("a", 1, "ouch");
        let story = story.failed("a", 1, "panic: ouch").backoff("a", 1, 10, "panic: ouch");
        story.at(10).attempt("a", 2).finishes_well("a", 2).over()
    }),
    ("A6", "a permit is free during backoff", permits),
    ("A6", "two permits in one instant", two_permits_in_one_instant),
    ("R1", "several ends", growing),
    ("R1", "Canceled by itself ends the actor without a word", || {
        let story = Story::new().run(&[spec("a").always(None)]).starts("a").leave_canceled("a", 1);
        story.stopped("a").removed("a").over()
    }),
    ("R1", "a success is followed at once", || {
        let story =
            Story::new().run(&[spec("a").always(None)]).starts("a").at(1).well("a", 1).attempt("a", 2);
        story.at(2).gone("a", 2).dead("a", 2, "gone").removed("a").over()
    }),
    ("R1", "events alone", events_alone),
    ("R2", "delays", growing),
    ("R3", "a success between failures", growing),
    ("R4", "growing delays", growing),
    ("R4", "full jitter at its lower end", || jittered(Jitter::Full, 0)),
    ("R4", "equal jitter at its lower end", || jittered(Jitter::Equal, 5)),
    ("R4", "decorrelated jitter at its upper end", || jittered(Jitter::Decorrelated, 25)),
    ("R5", "a cancelled backoff", cut_backoff),
    ("R5", "removed before it was added", never_started),
    ("R6", "several attempts", growing),
    ("R7", "the actor was cancelled", ends_after_cancel),
    ("R7", "cancelled at the very end of grace", at_the_very_instant),
    ("R1", "the request comes between the end and what follows", cut_between),
    ("G1", "a list", two_in_one_instant),
    ("G2", "adds of all kinds", two_in_one_instant),
    ("G3", "removals of all kinds", slow_removal),
    ("G4", "one task", simple),
    ("G5", "two incarnations in one instant", two_in_one_instant),
    ("G6", "a slow removal", slow_removal),
    ("G7", "cancels of all kinds", slow_removal),
    ("G8", "queries", two_in_one_instant),
    ("G8", "a tracker that hears late and twice", out_of_order),
    ("G8", "a tracker that hears of two, and not of every start", half_heard),
    ("D1", "ready", ready),
    ("D1", "a refused run and another", refused_run),
    ("D2", "an add during shutdown", two_in_one_instant),
    ("D2", "before the run", shutdown_before_the_run),
    ("D3", "grace is exceeded", exceeding),
    ("D3", "the last one ends at the very end of grace", at_the_very_instant),
    ("D4", "grace is exceeded", exceeding),
    ("D5", "one task", simple),
    ("D6", "one task", simple),
    ("E1", "given up", given_up),
    ("C1", "a submission that shutdown rejects", full_and_closed),
    ("C2", "a replacement", replaced),
    ("C3", "from the queue", queued),
    ("C3", "a namesake from outside is in its place", overtaken),
    ("C4", "full, waiting and closed", full_and_closed),
    ("C5", "from the queue", queued),
];
