//! Traces that break one rule each. They conform up to the place that breaks it.

use simvisor::EventKind;

use super::Entry;
use super::story::{Story, spec};
use crate::trace::{Admission, Answer, Call, HandlerEnd, Jitter, What};

fn started() -> Story {
    Story::new().run(&[spec("a")]).starts("a")
}

/// With a subscriber that handled everything so far.
fn watched(capacity: u64) -> Story {
    Story::new()
        .grace(10)
        .subscriber("s", capacity)
        .run(&[spec("a")])
        .starts("a")
        .handles_all("s", 0..3)
        .at(5)
}

fn receiving() -> Story {
    Story::new().bus(2).opens("r").run(&[spec("a")]).starts("a")
}

fn timed() -> Story {
    Story::new().run(&[spec("a").never().timeout(7)]).starts("a")
}

fn cut_off(story: Story) -> Story {
    story.sees_cancel("a", 1).leave_dropped("a", 1)
}

fn waiting() -> Story {
    started().boom("a", 1).backoff("a", 1, 10, "boom")
}

/// `a` heeds nothing from 5 ms on; grace is 20 ms.
fn stubborn() -> Story {
    let story =
        Story::new().grace(20).run(&[spec("b"), spec("a")]).starts("b").starts("a").at(5).shuts_down(1);
    story.sees_cancel("a", 1).sees_cancel("b", 1)
}

fn forced(story: Story, task: &str) -> Story {
    story.leave_dropped(task, 1).failed(task, 1, "aborted: grace exceeded").removed(task)
}

/// A slot that runs `a` from operation 1.
fn slot() -> Story {
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
}

fn submitting(story: Story, op: u32, admission: Admission) -> Story {
    story.submit(op, spec("a"), admission, true).done(op)
}

fn serving() -> Story {
    Story::new().serve().add(1, spec("a")).requested("a").done(1).added("a").attempt("a", 1)
}

pub(super) const STORIES: &[Entry] = &[
    // ---- sequence and delivery
    ("S1", "a number is skipped", || started().skip_seq(1).finishes_well("a", 1)),
    ("S1", "a number comes twice", || {
        started().event(EventKind::TaskStopped, Some("a"), |note, _| note.seq = 2)
    }),
    ("S2", "the wall clock goes back", || {
        Story::new().wall(1000).shutdown(1).shutdown_requested().wall(999).serve().all_stopped()
    }),
    ("S3", "an event is skipped without a word", || receiving().lags("r", 1).gets("r", 2)),
    ("S3", "an event comes again", || receiving().lags("r", 1).gets("r", 1).gets("r", 1)),
    ("S3", "more are said to be lost than were", || receiving().lags("r", 2)),
    ("S3", "a lag of nothing", || receiving().lags("r", 1).gets("r", 1).lags("r", 0)),
    ("S3", "an event that was never published", || {
        receiving().lags("r", 1).gets("r", 1).gets("r", 2).gets("r", 3)
    }),
    ("S3", "the last events never come", || {
        receiving().lags("r", 1).gets("r", 1).gets("r", 2).at(5).finishes_well("a", 1).done(0).closes("r")
    }),
    ("S4", "a lost event costs the end of the run", || {
        let story = Story::new().bus(1).opens("r").run(&[spec("a")]).starts("a").lags("r", 2).gets("r", 2);
        // The registry has lost the end of the actor, and nobody removes the task any more.
        story.push(What::Calm).push(What::End(crate::trace::EndNote::Deadlock(Vec::new())))
    }),
    ("S5", "a drop while there is room", || watched(4).leave_ok("a", 1).stopped("a").overflow("s")),
    ("S5", "the drop of a report is reported", || {
        let story = Story::new().subscriber("s", 1).run(&[spec("a")]).requested("a").begins("s", 0);
        story.added("a").starting("a", 1).overflow("s").overflow("s").overflow("s")
    }),
    ("S5", "a report that says something else", || {
        let story = Story::new().subscriber("s", 1).run(&[spec("a")]).requested("a").begins("s", 0);
        story.added("a").starting("a", 1).overflow_saying("s", "subscriber=s reason=tired")
    }),
    ("S5", "a report about nobody", || watched(4).overflow("nobody")),
    ("S5", "a drop that is not reported", || {
        let story = watched(1)
            .leave_ok("a", 1)
            .stopped("a")
            .exhausted("a", 1, "policy_exhausted_success")
            .removed("a");
        story.handles("s", 3).handles("s", 5).done(0).counts("s", [5, 0, 1, 0])
    }),
    ("S5", "not first in, first out", || watched(4).finishes_well("a", 1).handles("s", 4).handles("s", 3)),
    ("S5", "two events at once", || watched(4).finishes_well("a", 1).begins("s", 3).begins("s", 4)),
    ("S6", "one too many", || {
        watched(4).finishes_well("a", 1).handles_all("s", 3..6).done(0).counts("s", [6, 0, 1, 0])
    }),
    ("S6", "handled where it panicked", || {
        let story = watched(8).leave_ok("a", 1).stopped("a").panics("s", 3, "ouch").panicked("s", "ouch");
        let story = story.handles("s", 4).exhausted("a", 1, "policy_exhausted_success").removed("a");
        story.handles("s", 5).handles("s", 6).done(0).counts("s", [7, 0, 0, 0])
    }),
    ("S7", "a panic is not reported", || {
        watched(4).leave_ok("a", 1).stopped("a").panics("s", 3, "ouch").at(6).removing("a")
    }),
    ("S7", "a panic over a report is reported", || {
        let story = watched(4).leave_ok("a", 1).stopped("a").panics("s", 3, "ouch").panicked("s", "ouch");
        story.panics("s", 4, "again").panicked("s", "again")
    }),
    ("S7", "another panic is reported", || {
        watched(4).leave_ok("a", 1).stopped("a").panics("s", 3, "ouch").panicked("s", "eek")
    }),
    ("S8", "a notice without a number", || {
        Story::new()
            .bus(1)
            .subscriber("s", 4)
            .run(&[spec("a")])
            .starts("a")
            .overflow_saying("subscriber_listener", "lagged")
    }),
    ("S8", "more are said to be lost than were", || {
        Story::new().bus(2).subscriber("s", 4).run(&[spec("a")]).starts("a").notice(2)
    }),
    ("S8", "a notice on the bus", || {
        Story::new().bus(1).subscriber("s", 4).opens("r").run(&[spec("a")]).starts("a").notice(2).gets("r", 3)
    }),
    ("S9", "dropped before grace was used up", || {
        watched(4).finishes_well("a", 1).begins("s", 3).at(7).finishes("s", 3, HandlerEnd::Dropped)
    }),
    ("S9", "drained for too long", || {
        let story = watched(4).shuts_down(1).heeds("a", 1).all_stopped();
        story.begins("s", 3).at(16).done(0)
    }),
    ("S9", "dropped without a word", || {
        watched(8).finishes_well("a", 1).handles("s", 3).done(0).counts("s", [4, 0, 2, 0])
    }),
    ("S10", "an event never comes, in whatever order", || {
        let story = Story::new().disorder().opens("r").run(&[spec("a")]).starts("a").on_bus(2).on_bus(0);
        story.gets("r", 2).gets("r", 0).closes("r")
    }),
    ("S10", "a delivery of nothing", || Story::new().disorder().run(&[spec("a")]).on_bus(0)),
    // ---- fields
    ("E1", "an attempt where there is none", || {
        started()
            .at(5)
            .leave_ok("a", 1)
            .event(EventKind::TaskStopped, Some("a"), |note, _| note.attempt = Some(1))
    }),
    ("E1", "an unknown reason of a removal", || {
        serving().remove(2, "a").event(EventKind::TaskRemoveRequested, Some("a"), |note, texts| {
            note.reason = Some(texts.intern("because"));
        })
    }),
    ("E2", "no reason", || {
        started().at(5).event(EventKind::TaskFailed, Some("a"), |note, _| note.attempt = Some(1))
    }),
    ("E2", "a shutdown has no fields, a start has two", || {
        Story::new().run(&[spec("a")]).requested("a").added("a").event(
            EventKind::TaskStarting,
            Some("a"),
            |_, _| (),
        )
    }),
    // ---- one attempt
    ("A1", "two attempts at once", || started().attempt("a", 2)),
    ("A1", "attempts begin at 2", || {
        Story::new().run(&[spec("a")]).requested("a").added("a").starting("a", 2)
    }),
    ("A1", "an attempt is counted twice", || waiting().at(10).starting("a", 1)),
    ("A1", "an end without an attempt", || started().well("a", 1).stopped("a")),
    ("A1", "the end of another attempt", || started().leave_fail("a", 1, "boom").failed("a", 2, "boom")),
    ("A1", "removed in the middle of an attempt", || {
        started().at(1).remove(1, "a").removing("a").removed("a")
    }),
    ("A1", "two bodies in one attempt", || started().enter("a", 2)),
    ("A2", "Ok as a failure", || started().leave_ok("a", 1).failed("a", 1, "boom")),
    ("A2", "a failure as Ok", || started().leave_fail("a", 1, "boom").stopped("a")),
    ("A2", "another text", || started().leave_fail("a", 1, "boom").failed("a", 1, "bang")),
    ("A2", "an end while the body runs", || started().at(3).stopped("a")),
    ("A2", "a body is dropped for nothing", || started().at(3).leave_dropped("a", 1).failed("a", 1, "boom")),
    ("A3", "one nanosecond early", || cut_off(timed().at_ns(6_999_999)).timeout_hit("a", 1, 7)),
    ("A3", "late", || cut_off(timed().at(8)).timeout_hit("a", 1, 7)),
    ("A3", "other milliseconds", || cut_off(timed().at(7)).timeout_hit("a", 1, 8)),
    ("A3", "not followed by the failure", || {
        cut_off(timed().at(7)).timeout_hit("a", 1, 7).exhausted("a", 1, "x")
    }),
    ("A3", "a removal in between", || {
        let story = cut_off(timed().at(7)).timeout_hit("a", 1, 7).remove(1, "a").removing("a");
        story.failed("a", 1, "timed out after 7ms")
    }),
    ("A3", "another text", || cut_off(timed().at(7)).timeout_hit("a", 1, 7).failed("a", 1, "timed out")),
    ("A3", "a body that was ready", || timed().at(7).leave_ok("a", 1).timeout_hit("a", 1, 7)),
    ("A3", "no limit at all", || cut_off(started().at(7)).timeout_hit("a", 1, 7)),
    ("A3", "ends after its deadline", || timed().at(9).leave_ok("a", 1).stopped("a")),
    ("A4", "not told of its removal", || {
        started().at(1).remove(1, "a").removing("a").done(1).at(2).leave_ok("a", 1)
    }),
    ("A4", "told of nothing", || started().at(1).sees_cancel("a", 1).leave_canceled("a", 1).stopped("a")),
    ("A4", "not told of its timeout", || timed().at(7).leave_dropped("a", 1).timeout_hit("a", 1, 7)),
    ("A5", "another reason", || started().leave_panic("a", 1, "ouch").failed("a", 1, "ouch")),
    ("A5", "as if all were well", || started().leave_panic("a", 1, "ouch").stopped("a")),
    ("A6", "one too many", || Story::new().limit(1).run(&[spec("a"), spec("b")]).starts("a").starts("b")),
    ("A6", "a permit is held during backoff", || {
        let story = Story::new().limit(1).run(&[spec("a"), spec("b")]).starts("a").requested("b").added("b");
        story.at(1).boom("a", 1).backoff("a", 1, 10, "boom").at(2).call(1, Call::List)
    }),
    ("A6", "not first come, first served", || {
        let story = Story::new().limit(1).run(&[spec("a"), spec("b")]).starts("a").requested("b").added("b");
        let story =
            story.at(1).add(1, spec("c")).requested("c").done(1).added("c").at(5).finishes_well("a", 1);
        story.attempt("c", 1).at(6).leave_ok("c", 1)
    }),
    // ---- restarts
    ("R1", "no backoff", || started().boom("a", 1).attempt("a", 2)),
    ("R1", "exhausted where it is retried", || started().boom("a", 1).exhausted("a", 1, "boom")),
    ("R1", "retried where it is exhausted", || {
        Story::new().run(&[spec("a").never()]).starts("a").boom("a", 1).backoff("a", 1, 10, "boom")
    }),
    ("R1", "a fatal error is retried", || started().gone("a", 1).backoff("a", 1, 10, "gone")),
    ("R1", "of another attempt", || started().boom("a", 1).backoff("a", 2, 10, "boom")),
    ("R1", "with another reason", || started().boom("a", 1).backoff("a", 1, 10, "bang")),
    ("R1", "exhausted with another reason", || started().well("a", 1).exhausted("a", 1, "done")),
    ("R1", "dead with another reason", || started().gone("a", 1).dead("a", 1, "bang")),
    ("R1", "another interval", || {
        Story::new().run(&[spec("a").always(Some(5))]).starts("a").well("a", 1).interval("a", 1, 6)
    }),
    ("R1", "nothing follows", || started().boom("a", 1).at(1).call(1, Call::List)),
    ("R1", "removed instead of retried", || waiting().removed("a")),
    ("R1", "goes on after it was exhausted", || {
        started().well("a", 1).exhausted("a", 1, "policy_exhausted_success").attempt("a", 2)
    }),
    ("R2", "one nanosecond early", || waiting().at_ns(9_999_999).starting("a", 2)),
    ("R2", "late", || waiting().at(11).starting("a", 2)),
    ("R2", "never", || waiting().at(50).call(1, Call::List)),
    ("R3", "not reset by a success", || {
        let story = Story::new().run(&[spec("a").always(Some(5)).factor(3.0)]).starts("a").boom("a", 1);
        let story = story.backoff("a", 1, 10, "boom").at(10).attempt("a", 2).well("a", 2).interval("a", 2, 5);
        story.at(15).attempt("a", 3).boom("a", 3).backoff("a", 3, 30, "boom")
    }),
    ("R3", "not counted", || {
        let story =
            Story::new().run(&[spec("a").factor(3.0)]).starts("a").boom("a", 1).backoff("a", 1, 10, "boom");
        story.at(10).attempt("a", 2).boom("a", 2).backoff("a", 2, 10, "boom")
    }),
    ("R4", "another delay", || started().boom("a", 1).backoff("a", 1, 11, "boom")),
    ("R4", "above max", || {
        Story::new().run(&[spec("a").max_ms(8)]).starts("a").boom("a", 1).backoff("a", 1, 10, "boom")
    }),
    ("R4", "below the bound of its jitter", || {
        Story::new()
            .run(&[spec("a").jitter(Jitter::Equal)])
            .starts("a")
            .boom("a", 1)
            .backoff("a", 1, 4, "boom")
    }),
    ("R5", "starts after its removal was requested", || {
        waiting().at(4).remove(1, "a").removing("a").attempt("a", 2)
    }),
    ("R5", "sleeps on after its removal was requested", || {
        waiting().at(4).remove(1, "a").removing("a").done(1).at(10).removed("a")
    }),
    ("R6", "no yield", || {
        let story =
            Story::new().run(&[spec("a").always(None)]).starts("a").at(1).leave_ok("a", 1).stopped("a");
        story.same_turn().starting("a", 2)
    }),
    ("R7", "a backoff after it was cancelled", || {
        let story = started().at(1).remove(1, "a").removing("a").done(1).sees_cancel("a", 1).boom("a", 1);
        story.backoff("a", 1, 10, "boom")
    }),
    ("R7", "exhausted after it was cancelled", || {
        let story = started().at(1).shuts_down(1).sees_cancel("a", 1).well("a", 1);
        story.exhausted("a", 1, "policy_exhausted_success")
    }),
    ("R7", "an attempt after it was cancelled", || {
        started().at(1).shuts_down(1).sees_cancel("a", 1).well("a", 1).attempt("a", 2)
    }),
    ("R7", "no ActorDead after a fatal error", || {
        started().at(1).remove(1, "a").removing("a").done(1).sees_cancel("a", 1).gone("a", 1).removed("a")
    }),
    // ---- registry
    ("G1", "registered twice", || serving().add(2, spec("a")).requested("a")),
    ("G1", "a list that lacks one", || serving().call(2, Call::List).names(2, &[])),
    ("G1", "a list that is not sorted", || {
        serving()
            .add(2, spec("b"))
            .requested("b")
            .done(2)
            .added("b")
            .attempt("b", 1)
            .call(3, Call::List)
            .names(3, &["b", "a"])
    }),
    ("G2", "refused with an event", || {
        Story::new().serve().add(1, spec("a")).requested("a").answer(1, Answer::AlreadyExists)
    }),
    ("G2", "accepted without an event", || Story::new().serve().add(1, spec("a")).done(1)),
    ("G2", "nobody asked", || Story::new().serve().requested("a")),
    ("G2", "not decided at once", || Story::new().serve().add(1, spec("a")).at(1).requested("a").done(1)),
    ("G2", "refused for nothing", || Story::new().serve().add(1, spec("a")).answer(1, Answer::AlreadyExists)),
    ("G2", "refused as if it were shutting down", || {
        Story::new().serve().add(1, spec("a")).answer(1, Answer::ShuttingDown)
    }),
    ("G2", "added twice", || serving().added("a")),
    ("G2", "started before it was added", || Story::new().run(&[spec("a")]).requested("a").starting("a", 1)),
    ("G2", "never added", || Story::new().run(&[spec("a")]).requested("a").at(1).call(1, Call::List)),
    ("G3", "requested twice", || serving().remove(2, "a").removing("a").removing("a")),
    ("G3", "of nobody", || Story::new().serve().remove(1, "a").removing("a")),
    ("G3", "nobody asked", || serving().removing("a")),
    ("G3", "accepted without an event", || serving().remove(2, "a").done(2)),
    ("G3", "refused though it is registered", || serving().remove(2, "a").answer(2, Answer::NotFound)),
    ("G3", "accepted though nobody is registered", || Story::new().serve().remove(1, "a").done(1)),
    ("G4", "removed twice", || serving().at(1).finishes_well("a", 1).removed("a")),
    ("G4", "something comes after it was removed", || {
        serving().at(1).finishes_well("a", 1).exhausted("a", 1, "policy_exhausted_success")
    }),
    ("G4", "not removed at once", || {
        serving().at(1).well("a", 1).exhausted("a", 1, "policy_exhausted_success").at(2).removed("a")
    }),
    ("G5", "attempts are counted on", || {
        serving()
            .at(1)
            .finishes_well("a", 1)
            .add(2, spec("a"))
            .requested("a")
            .done(2)
            .added("a")
            .starting("a", 2)
    }),
    ("G5", "a free name is refused", || {
        serving().at(1).finishes_well("a", 1).add(2, spec("a")).answer(2, Answer::AlreadyExists)
    }),
    ("G5", "the new one is removed for the old one", || {
        serving().at(1).finishes_well("a", 1).add(2, spec("a")).requested("a").done(2).added("a").removed("a")
    }),
    ("G5", "the new one is cancelled for the old one", || {
        let story = serving().at(1).finishes_well("a", 1).add(2, spec("a")).requested("a").done(2).added("a");
        story.attempt("a", 1).sees_cancel("a", 1).leave_canceled("a", 1).stopped("a")
    }),
    ("G5", "a Replace removes a namesake from outside", || {
        let story = submitting(slot(), 2, Admission::Replace).finishes_well("a", 1);
        story.add(3, spec("a")).requested("a").done(3).removing("a")
    }),
    ("G6", "an add waits for a removal", || {
        let story = serving().at(1).remove(2, "a").removing("a").done(2).sees_cancel("a", 1);
        story.at(2).add(3, spec("b")).requested("b").done(3).at(3).added("b")
    }),
    ("G6", "a removal waits for another", || {
        let story = serving().add(2, spec("b")).requested("b").done(2).added("b").attempt("b", 1);
        let story = story.at(1).remove(3, "a").removing("a").done(3).sees_cancel("a", 1);
        story.at(2).well("b", 1).exhausted("b", 1, "policy_exhausted_success").at(3).removed("b")
    }),
    ("G7", "answered before the removal", || {
        serving().at(1).cancel(2, "a", 50).removing_by_cancel("a").answer(2, Answer::Bool(true))
    }),
    ("G7", "as if it were absent", || serving().at(1).cancel(2, "a", 50).answer(2, Answer::Bool(false))),
    ("G7", "as if it were there", || Story::new().serve().cancel(1, "a", 50).answer(1, Answer::Bool(true))),
    ("G7", "gives up early", || {
        let story = serving().at(1).cancel(2, "a", 50).removing_by_cancel("a").sees_cancel("a", 1);
        story.at(50).answer(2, Answer::RemoveTimeout)
    }),
    ("G7", "gives up late", || {
        let story = serving().at(1).cancel(2, "a", 5).removing_by_cancel("a").sees_cancel("a", 1);
        story.at(7).answer(2, Answer::RemoveTimeout)
    }),
    ("G7", "answered late", || {
        let story = serving().at(1).cancel(2, "a", 50).removing_by_cancel("a").heeds("a", 1);
        story.at(2).answer(2, Answer::Bool(true))
    }),
    ("G7", "one of two is never answered", || {
        let story =
            serving().at(1).cancel(2, "a", 50).removing_by_cancel("a").cancel(3, "a", 50).heeds("a", 1);
        story.answer(2, Answer::Bool(true)).at(2).shutdown(4)
    }),
    ("G8", "dead while it is alive", || serving().asks_alive(2, "a").answer(2, Answer::Bool(false))),
    ("G8", "alive after it was removed", || {
        serving().at(1).finishes_well("a", 1).asks_alive(2, "a").answer(2, Answer::Bool(true))
    }),
    ("G8", "a tracker that takes an older event for news", || {
        let story = Story::new().disorder().opens("r").run(&[spec("a")]).starts("a").at(5);
        let story = story.finishes_well("a", 1).on_bus(3).on_bus(2).gets("r", 3).holds_alive("r", &[]);
        story.gets("r", 2).holds_alive("r", &["a"])
    }),
    ("G8", "a tracker that is deaf to a start", || {
        let story = Story::new().opens("r").run(&[spec("a")]).starts("a");
        story.gets("r", 0).gets("r", 1).gets("r", 2).holds_alive("r", &[])
    }),
    ("G8", "a snapshot that lacks one", || serving().call(2, Call::Snapshot).names(2, &[])),
    // ---- run and shutdown
    ("D1", "returns too early", || started().at(1).done(0)),
    ("D1", "does not return", || started().at(1).finishes_well("a", 1).at(60).call(1, Call::List)),
    ("D1", "does not return though nobody listens", || started().at(1).finishes_well("a", 1).at(2).done(0)),
    ("D1", "takes a name twice", || Story::new().run(&[spec("a"), spec("a")]).done(0)),
    ("D1", "serve returns by itself", || Story::new().serve().done(0)),
    ("D1", "ready before it runs", || Story::new().call(1, Call::WaitReady).done(1)),
    ("D1", "not ready though it runs", || Story::new().call(1, Call::WaitReady).serve().at(1).shutdown(2)),
    ("D2", "requested twice", || serving().shuts_down(2).shutdown(3).shutdown_requested()),
    ("D2", "nobody asked", || serving().shutdown_requested()),
    ("D2", "an add is accepted", || serving().shuts_down(2).add(3, spec("b")).requested("b")),
    ("D2", "an attempt starts", || {
        let story = Story::new().run(&[spec("a")]).requested("a").added("a").shuts_down(1);
        story.attempt("a", 1)
    }),
    ("D2", "a request without an event", || serving().shutdown(2).done(2)),
    ("D3", "not everybody has stopped", || stubborn().all_stopped()),
    ("D3", "one nanosecond early", || stubborn().at_ns(24_999_999).exceeded()),
    ("D3", "late", || stubborn().at(26).exceeded()),
    ("D3", "grace never ends", || stubborn().at(60).call(2, Call::List)),
    ("D3", "both ends", || stubborn().at(25).exceeded().all_stopped()),
    ("D3", "was ended by force out of the order of names", || forced(stubborn().at(25).exceeded(), "b")),
    ("D3", "was ended by force out of the order of names", || {
        let story = stubborn().at(25).exceeded().leave_dropped("a", 1).leave_dropped("b", 1);
        story.failed("a", 1, "aborted: grace exceeded").failed("b", 1, "aborted: grace exceeded")
    }),
    ("D3", "another reason", || stubborn().at(25).exceeded().leave_dropped("a", 1).failed("a", 1, "killed")),
    ("D3", "other names are said to be stuck", || {
        forced(forced(stubborn().at(25).exceeded(), "a"), "b").stuck(&["a"])
    }),
    ("D3", "Ok after grace was exceeded", || forced(forced(stubborn().at(25).exceeded(), "a"), "b").done(0)),
    ("D3", "nobody is stuck", || Story::new().grace(0).serve().shuts_down(1).exceeded()),
    ("D3", "everybody has stopped and nothing is said", || {
        serving().shuts_down(2).heeds("a", 1).at(1).call(3, Call::List)
    }),
    ("D4", "the run does not return", || {
        let story =
            Story::new().grace(20).subscriber("s", 9).serve().shuts_down(1).begins("s", 0).all_stopped();
        story.at(41).call(2, Call::List)
    }),
    ("D5", "an end by itself is called a shutdown", || started().at(1).finishes_well("a", 1).all_stopped()),
    ("D5", "an end by itself requests a shutdown", || {
        started().at(1).finishes_well("a", 1).shutdown_requested()
    }),
    ("D6", "an event after the end", || {
        started().at(1).finishes_well("a", 1).done(0).shutdown(1).shutdown_requested()
    }),
    ("D6", "a handler after the end", || {
        watched(9).finishes_well("a", 1).handles_all("s", 3..5).done(0).begins("s", 5)
    }),
    ("D6", "a timer is left", || started().at(1).finishes_well("a", 1).done(0).leftovers(0, 1, 0)),
    ("D6", "a permit is left", || started().at(1).finishes_well("a", 1).done(0).leftovers(0, 0, 1)),
    // ---- controller
    ("C1", "a submission vanishes", || submitting(slot(), 2, Admission::Queue).at(2).call(3, Call::List)),
    ("C1", "a rejection of nobody", || slot().rejected("a", "superseded")),
    ("C1", "pending ones vanish at shutdown", || {
        let story =
            submitting(slot(), 2, Admission::Queue).submitted("a", "admission=Queue status=running depth=1");
        story.shuts_down(3).heeds("a", 1).transition("a", "running→idle").at(2).call(4, Call::List)
    }),
    ("C1", "an unknown reason", || submitting(slot(), 2, Admission::Queue).rejected("a", "no")),
    ("C2", "another depth", || {
        submitting(slot(), 2, Admission::Queue).submitted("a", "admission=Queue status=running depth=2")
    }),
    ("C2", "another status", || {
        submitting(slot(), 2, Admission::Queue).submitted("a", "admission=Queue status=terminating depth=1")
    }),
    ("C2", "a full slot takes one more", || {
        let story =
            submitting(slot(), 2, Admission::Queue).submitted("a", "admission=Queue status=running depth=1");
        submitting(story, 3, Admission::Queue).submitted("a", "admission=Queue status=running depth=2")
    }),
    ("C2", "rejected though there is room", || {
        submitting(slot(), 2, Admission::Queue).rejected("a", "queue_full: 0/1")
    }),
    ("C2", "a transition from where it is not", || slot().transition("a", "terminating→idle")),
    ("C2", "a transition that no slot makes", || slot().transition("a", "running→running")),
    ("C2", "a start that is not announced", || {
        let story =
            Story::new().controller(2, 1).serve().submit(1, spec("a"), Admission::Queue, true).done(1);
        story
            .requested("a")
            .transition("a", "idle→running")
            .added("a")
            .attempt("a", 1)
            .at(1)
            .call(2, Call::List)
    }),
    ("C2", "no transition at the end", || slot().finishes_well("a", 1).at(2).call(2, Call::List)),
    ("C3", "idle before its task was removed", || slot().transition("a", "running→idle")),
    ("C3", "what is pending does not start", || {
        let story =
            submitting(slot(), 2, Admission::Queue).submitted("a", "admission=Queue status=running depth=1");
        story.finishes_well("a", 1).transition("a", "running→idle").at(2).call(3, Call::List)
    }),
    ("C3", "an add failed though the name is free", || {
        let story =
            Story::new().controller(2, 1).serve().submit(1, spec("a"), Admission::Queue, true).done(1);
        story.rejected("a", "add_failed: task `a` already exists")
    }),
    ("C4", "full though there is room", || {
        slot().submit(2, spec("a"), Admission::Queue, false).answer(2, Answer::Full)
    }),
    ("C4", "taken without room", || {
        let story = Story::new().controller(1, 1).submit(1, spec("a"), Admission::Queue, true).done(1);
        story.submit(2, spec("b"), Admission::Queue, true).done(2)
    }),
    ("C4", "closed though it is not", || {
        slot().submit(2, spec("a"), Admission::Queue, true).answer(2, Answer::Closed)
    }),
    ("C4", "taken after shutdown was requested", || {
        slot().shuts_down(2).submit(3, spec("a"), Admission::Queue, true).done(3)
    }),
    ("C4", "taken without a controller", || {
        Story::new().serve().submit(1, spec("a"), Admission::Queue, true).done(1)
    }),
    ("C4", "kept waiting for nothing", || {
        slot().submit(2, spec("a"), Admission::Queue, true).at(2).call(3, Call::List)
    }),
    ("C5", "the second of two starts first", || {
        let story =
            Story::new().controller(4, 4).serve().submit(1, spec("a"), Admission::Queue, true).done(1);
        let story = story.requested("a").transition("a", "idle→running").added("a").attempt("a", 1);
        let story = story.submitted("a", "admission=Queue status=running depth=0");
        let story =
            submitting(story, 2, Admission::Queue).submitted("a", "admission=Queue status=running depth=1");
        let story =
            submitting(story, 3, Admission::Queue).submitted("a", "admission=Queue status=running depth=2");
        let story = story.at(1).finishes_well("a", 1).transition("a", "running→idle").requested("a");
        let story = story.transition("a", "idle→running");
        let story = story.submitted("a", "admission=started_from_queue status=running depth=1").added("a");
        story.starting("a", 1).enter_of("a", 1, Some(3))
    }),
    ("C5", "one is decided before another that came earlier", || {
        let story = slot().submit(2, spec("a"), Admission::Queue, true).done(2);
        let story = story.submit(3, spec("a"), Admission::DropIfRunning, true).done(3);
        story.rejected("a", "slot_busy: running")
    }),
];
