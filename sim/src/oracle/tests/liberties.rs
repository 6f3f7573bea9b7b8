//! Liberties: what each lets pass, and that it lets nothing else pass.

use super::mutants::Change;
use super::story::{Story, spec};
use crate::oracle::{Excuse, Liberty, Monitor, Rules};
use crate::trace::{Admission, Answer, HandlerEnd};

use Liberty::{
    ClosedIntake, EarlyAdds, EarlyStarts, EmptyRunsEnd, EndsAreTold, ForcedRemovals, LateReports, LateStarts,
    SpacedRestarts, UnorderedForce,
};

const ALL: [Liberty; 10] = [
    EarlyStarts,
    EarlyAdds,
    EmptyRunsEnd,
    EndsAreTold,
    ClosedIntake,
    LateStarts,
    ForcedRemovals,
    UnorderedForce,
    SpacedRestarts,
    LateReports,
];

/// What the judges find where these liberties may be taken, and how often the rules saw each taken.
fn judged(story: &Story, liberties: &[Liberty]) -> (Vec<String>, Option<String>, Vec<u64>) {
    let (mut rules, mut monitor) = (Rules::new(), Monitor::new());
    let excuses: Vec<_> = liberties.iter().map(|liberty| Excuse::Liberty(*liberty)).collect();
    rules.excuse(excuses.clone());
    monitor.excuse(excuses);
    story.feed(&mut rules);
    story.feed(&mut monitor);
    let broken = rules.violations().iter().map(|broken| format!("{}: {}", broken.rule, broken.message));
    (broken.collect(), monitor.unexplained().map(ToString::to_string), rules.excused().to_vec())
}

/// A slot of `a` announces a start while a namesake from outside is registered; it takes and rejects others meanwhile, and is
/// replaced. Events 3 to 9.
fn announced() -> Story {
    Story::new()
        .controller(8, 2)
        .serve()
        .add(1, spec("a"))
        .requested("a")
        .done(1)
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(1))
        .at(5)
        .submit(2, spec("a").never(), Admission::Queue, true)
        .done(2)
        .submit(3, spec("a"), Admission::DropIfRunning, true)
        .done(3)
        .submit(4, spec("a").never(), Admission::Replace, true)
        .done(4)
        .submit(5, spec("a"), Admission::DropIfRunning, true)
        .done(5)
        .submit(6, spec("a").never(), Admission::Queue, true)
        .done(6)
        .transition("a", "idle→admitting")
        .submitted("a", "admission=Queue status=admitting depth=0")
        .rejected("a", "slot_busy: admitting")
        .transition("a", "admitting→terminating (replace)")
        .submitted("a", "admission=Replace status=terminating depth=1")
        .rejected("a", "slot_busy: terminating")
        .submitted("a", "admission=Queue status=terminating depth=2")
}

/// One from the queue runs and ends.
fn runs_from_queue(story: Story, op: u32, depth: u32) -> Story {
    story
        .requested("a")
        .transition("a", "idle→running")
        .submitted("a", &format!("admission=started_from_queue status=running depth={depth}"))
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(op))
        .finishes_well("a", 1)
        .transition("a", "running→idle")
}

/// The namesake ends, and the registry grants the start. What it started was replaced, and is removed.
fn granted() -> Story {
    let story = announced()
        .finishes_well("a", 1)
        .transition("a", "terminating→terminating")
        .requested("a")
        .added("a")
        .removing("a")
        .removed("a")
        .transition("a", "terminating→idle");
    let story = runs_from_queue(story, 4, 1);
    runs_from_queue(story, 6, 0).at(9).shuts_down(7).all_stopped().over()
}

/// One from the queue is announced while the namesake is there, and refused.
fn refused_from_queue(story: Story, depth: u32) -> Story {
    story
        .transition("a", "idle→admitting")
        .submitted("a", &format!("admission=started_from_queue status=admitting depth={depth}"))
        .rejected("a", "add_failed: taken")
        .transition("a", "admitting→idle")
}

/// The registry refuses the start, and those behind it.
fn refused() -> Story {
    let story = announced().rejected("a", "add_failed: taken").transition("a", "terminating→idle");
    let story = refused_from_queue(refused_from_queue(story, 1), 0);
    story.at(9).shuts_down(7).heeds("a", 1).all_stopped().over()
}

/// A start that is granted, and no Replace comes; before it the slot takes one that then waits for its turn.
fn granted_and_kept() -> Story {
    let story = Story::new()
        .controller(8, 2)
        .serve()
        .add(1, spec("a"))
        .starts_of("a", 1)
        .done(1)
        .at(5)
        .submit(2, spec("a").never(), Admission::DropIfRunning, true)
        .done(2)
        .submit(3, spec("a").never(), Admission::Queue, true)
        .done(3)
        .transition("a", "idle→admitting")
        .submitted("a", "admission=DropIfRunning status=admitting depth=0")
        .submitted("a", "admission=Queue status=admitting depth=1")
        .finishes_well("a", 1)
        .transition("a", "admitting→running")
        .requested("a")
        .added("a")
        .starting("a", 1)
        .enter_of("a", 1, Some(2))
        .finishes_well("a", 1)
        .transition("a", "running→idle");
    runs_from_queue(story, 3, 0).at(9).shuts_down(4).all_stopped().over()
}

/// Both specs of a run that is refused were announced.
fn announced_and_refused() -> Story {
    Story::new()
        .add(1, spec("a"))
        .requested("a")
        .done(1)
        .run(&[spec("a"), spec("b")])
        .requested("b")
        .removed("b")
        .answer(0, Answer::AlreadyExists)
        .end()
}

/// A list does not have what is announced and not added.
fn listed_early() -> Story {
    Story::new()
        .run(&[spec("a"), spec("b")])
        .starts("a")
        .requested("b")
        .call(1, crate::trace::Call::List)
        .names(1, &["a"])
        .added("b")
        .attempt("b", 1)
        .at(5)
        .finishes_well("a", 1)
        .finishes_well("b", 1)
        .over()
}

/// A run ends when its task has ended: an add of that moment is refused, and one that was accepted just before is cancelled.
fn empty() -> Story {
    Story::new()
        .run(&[spec("a")])
        .starts("a")
        .at(5)
        .well("a", 1)
        .exhausted("a", 1, "policy_exhausted_success")
        .removed("a")
        .add(1, spec("b"))
        .starts_of("b", 1)
        .done(1)
        .add(2, spec("c"))
        .answer(2, Answer::ShuttingDown)
        .heeds("b", 1)
        .over()
}

fn told() -> Story {
    Story::new().run(&[spec("a")]).starts("a").at(5).finishes_well("a", 1).all_stopped().over()
}

/// A removal and a cancel are refused during a shutdown.
fn closed() -> Story {
    Story::new()
        .run(&[spec("a")])
        .starts("a")
        .at(5)
        .shuts_down(1)
        .remove(2, "a")
        .answer(2, Answer::ShuttingDown)
        .cancel(3, "a", 10)
        .answer(3, Answer::ShuttingDown)
        .heeds("a", 1)
        .all_stopped()
        .over()
}

/// An attempt starts in the instant of the shutdown.
fn late_start() -> Story {
    Story::new()
        .run(&[spec("a")])
        .starts("a")
        .boom("a", 1)
        .backoff("a", 1, 10, "boom")
        .at(10)
        .shuts_down(1)
        .attempt("a", 2)
        .heeds("a", 2)
        .all_stopped()
        .over()
}

/// A removal takes longer than the grace of 50 ms.
fn forced_removal() -> Story {
    Story::new()
        .run(&[spec("a")])
        .starts("a")
        .remove(1, "a")
        .removing("a")
        .done(1)
        .sees_cancel("a", 1)
        .at(50)
        .leave_dropped("a", 1)
        .failed("a", 1, "aborted: grace exceeded")
        .removed("a")
        .over()
}

/// At the end of grace `c` and `a` are ended, and `c` alone is named.
fn unordered() -> Story {
    Story::new()
        .run(&[spec("a"), spec("c")])
        .starts("a")
        .starts("c")
        .at(5)
        .shuts_down(1)
        .sees_cancel("a", 1)
        .sees_cancel("c", 1)
        .at(55)
        .exceeded()
        .failed("c", 1, "aborted: grace exceeded")
        .leave_dropped("c", 1)
        .removed("c")
        .failed("a", 1, "aborted: grace exceeded")
        .leave_dropped("a", 1)
        .removed("a")
        .stuck(&["c"])
        .leftovers(0, 0, 0)
        .end()
}

/// Restarts at once, and after an interval of nothing, wait for a millisecond.
fn spaced() -> Story {
    Story::new()
        .run(&[spec("a").always(Some(0)), spec("b").always(None)])
        .starts("a")
        .starts("b")
        .well("a", 1)
        .interval("a", 1, 1)
        .well("b", 1)
        .at(1)
        .attempt("a", 2)
        .attempt("b", 2)
        .at(5)
        .shuts_down(1)
        .heeds("a", 2)
        .heeds("b", 2)
        .all_stopped()
        .over()
}

/// A handler panics over the first and the second event. One report comes after the next event, the other never.
fn late_report() -> Story {
    Story::new()
        .subscriber("s", 8)
        .run(&[spec("a")])
        .starts("a")
        .panics("s", 0, "ouch")
        .panics("s", 1, "ouch")
        .handles("s", 2)
        .panicked("s", "ouch")
        .handles("s", 3)
        .at(5)
        .finishes_well("a", 1)
        .handles_all("s", 4..7)
        .done(0)
        .counts("s", [5, 2, 0, 0])
        .leftovers(0, 0, 0)
        .end()
}

type Taken = (&'static [Liberty], &'static str, fn() -> Story);

const TAKEN: &[Taken] = &[
    (&[EarlyStarts], "a start that is granted and replaced", granted),
    (&[EarlyStarts], "starts that are refused", refused),
    (&[EarlyStarts], "a start that is granted", granted_and_kept),
    (&[EarlyAdds], "an announced batch that is refused", announced_and_refused),
    (&[EarlyAdds], "a list that lacks what is announced", listed_early),
    (&[EmptyRunsEnd], "a run without a task", empty),
    (&[EndsAreTold], "a natural end that is told", told),
    (&[ClosedIntake], "a removal and a cancel that are refused", closed),
    (&[LateStarts], "an attempt in the instant of a shutdown", late_start),
    (&[ForcedRemovals], "a removal that is forced", forced_removal),
    (&[UnorderedForce], "forced ends in another order", unordered),
    (&[SpacedRestarts], "restarts that wait for a moment", spaced),
    (&[LateReports], "a report that is late and one that is missing", late_report),
];

#[test]
fn a_liberty_lets_pass_what_it_names() {
    for (liberties, what, story) in TAKEN {
        let (broken, unexplained, taken) = judged(&story(), liberties);
        assert_eq!((broken, unexplained), (Vec::new(), None), "{what}");
        assert!(taken.iter().all(|times| *times > 0), "{what}: it was not taken");
        // Without it, both judges find fault, and so they do with every other one.
        let others: Vec<_> = ALL.into_iter().filter(|liberty| !liberties.contains(liberty)).collect();
        for others in [&[][..], &others] {
            let (broken, unexplained, _) = judged(&story(), others);
            assert!(!broken.is_empty() && unexplained.is_some(), "{what}: {broken:?}, {unexplained:?}");
        }
    }
}

/// What goes beyond a liberty: with all of them allowed, the rules name the first rule and the monitor the second.
type Abused = (&'static str, &'static str, &'static str, fn() -> Story);

/// What stands before an early start of the slot of `a`, whose namesake is registered.
fn early(first: Admission, second: Admission) -> Story {
    Story::new()
        .controller(8, 1)
        .serve()
        .add(1, spec("a"))
        .starts_of("a", 1)
        .done(1)
        .at(5)
        .submit(2, spec("a").never(), first, true)
        .done(2)
        .submit(3, spec("a").never(), second, true)
        .done(3)
        .transition("a", "idle→admitting")
        .submitted("a", &format!("admission={first:?} status=admitting depth=0"))
}

const ABUSED: &[Abused] = &[
    ("C2", "C2", "a busy slot announces a start", || {
        early(Admission::Queue, Admission::Queue).transition("a", "idle→admitting")
    }),
    ("C2", "C2", "a slot that admits says that it runs what it drops for", || {
        early(Admission::Queue, Admission::DropIfRunning).rejected("a", "slot_busy: running")
    }),
    ("C2", "C2", "a slot that admits counts wrong", || {
        early(Admission::Queue, Admission::Queue).submitted("a", "admission=Queue status=admitting depth=2")
    }),
    ("C2", "C2", "a full slot that admits", || {
        early(Admission::Queue, Admission::Queue)
            .submit(4, spec("a"), Admission::Queue, true)
            .done(4)
            .submitted("a", "admission=Queue status=admitting depth=1")
            .submitted("a", "admission=Queue status=admitting depth=2")
    }),
    ("C2", "C2", "a Replace that leaves a slot admitting", || {
        early(Admission::Queue, Admission::Replace)
            .submitted("a", "admission=Replace status=admitting depth=1")
    }),
    ("C1", "C1", "a start that is never decided", || {
        early(Admission::Queue, Admission::DropIfRunning).rejected("a", "slot_busy: admitting").at(6).end()
    }),
    ("C1", "C1", "what was submitted to a slot that admits is forgotten", || {
        early(Admission::Queue, Admission::Queue)
            .rejected("a", "add_failed: taken")
            .transition("a", "admitting→idle")
            .at(6)
            .end()
    }),
    ("C3", "C3", "a start that is refused where the name is free", || {
        early(Admission::Queue, Admission::DropIfRunning)
            .rejected("a", "slot_busy: admitting")
            .finishes_well("a", 1)
            .rejected("a", "add_failed: taken")
    }),
    ("C2", "C2", "what was replaced before it was decided is not removed", || {
        early(Admission::Queue, Admission::Replace)
            .transition("a", "admitting→terminating (replace)")
            .submitted("a", "admission=Replace status=terminating depth=1")
            .finishes_well("a", 1)
            .transition("a", "terminating→terminating")
            .requested("a")
            .added("a")
            .starting("a", 1)
            .enter_of("a", 1, Some(2))
            .at(6)
            .end()
    }),
    ("G3", "G3", "what a slot started early is removed without a Replace", || {
        early(Admission::Queue, Admission::DropIfRunning)
            .rejected("a", "slot_busy: admitting")
            .finishes_well("a", 1)
            .transition("a", "admitting→running")
            .requested("a")
            .added("a")
            .removing("a")
    }),
    ("C5", "C5", "another than what was announced is started", || {
        early(Admission::Queue, Admission::Queue)
            .submitted("a", "admission=Queue status=admitting depth=1")
            .finishes_well("a", 1)
            .transition("a", "admitting→running")
            .requested("a")
            .added("a")
            .starting("a", 1)
            .enter_of("a", 1, Some(3))
    }),
    ("G2", "G2", "what nobody asked for is announced", || {
        Story::new().run(&[spec("a")]).starts("a").requested("b")
    }),
    ("G1", "G1", "a list lacks what was added", || {
        Story::new().run(&[spec("a")]).starts("a").call(1, crate::trace::Call::List).names(1, &[])
    }),
    ("R1", "G2", "what was added is removed without an attempt", || {
        Story::new().run(&[spec("a")]).requested("a").added("a").removed("a")
    }),
    ("D5", "D5", "a run with a task says that it has ended", || {
        Story::new().run(&[spec("a")]).starts("a").all_stopped()
    }),
    ("A4", "A1", "a run with a task cancels it", || {
        Story::new().run(&[spec("a")]).starts("a").at(5).heeds("a", 1)
    }),
    ("G2", "G2", "a run with a task refuses an add", || {
        Story::new().run(&[spec("a")]).starts("a").add(1, spec("b")).answer(1, Answer::ShuttingDown)
    }),
    ("G3", "G3", "a removal is refused without a shutdown", || {
        Story::new().run(&[spec("a")]).starts("a").remove(1, "a").answer(1, Answer::ShuttingDown)
    }),
    ("R5", "R5", "an attempt starts an instant after its removal was requested", || {
        Story::new()
            .run(&[spec("a")])
            .starts("a")
            .boom("a", 1)
            .backoff("a", 1, 10, "boom")
            .at(9)
            .remove(1, "a")
            .removing("a")
            .done(1)
            .at(10)
            .attempt("a", 2)
    }),
    ("A2", "A3", "a removal is forced before its time", || {
        Story::new()
            .run(&[spec("a")])
            .starts("a")
            .remove(1, "a")
            .removing("a")
            .done(1)
            .sees_cancel("a", 1)
            .at(49)
            .leave_dropped("a", 1)
            .failed("a", 1, "aborted: grace exceeded")
    }),
    ("D3", "D3", "the run names one that was not stuck", || {
        Story::new()
            .run(&[spec("a")])
            .starts("a")
            .at(5)
            .shuts_down(1)
            .sees_cancel("a", 1)
            .at(55)
            .exceeded()
            .failed("a", 1, "aborted: grace exceeded")
            .leave_dropped("a", 1)
            .removed("a")
            .stuck(&["b"])
    }),
    ("R1", "R1", "a restart waits for two milliseconds where it has no interval", || {
        Story::new().run(&[spec("a").always(Some(0))]).starts("a").well("a", 1).interval("a", 1, 2)
    }),
    ("S7", "S7", "a panic is reported twice", || {
        Story::new()
            .subscriber("s", 8)
            .run(&[spec("a")])
            .starts("a")
            .begins("s", 0)
            .finishes("s", 0, HandlerEnd::Done)
            .panics("s", 1, "ouch")
            .handles("s", 2)
            .panicked("s", "ouch")
            .panicked("s", "ouch")
    }),
];

#[test]
fn and_nothing_else() {
    for (rule, by_monitor, what, story) in ABUSED {
        let (broken, unexplained, _) = judged(&story(), &ALL);
        let first = broken.first().unwrap_or_else(|| panic!("{what}: no rule is broken"));
        assert!(first.starts_with(rule), "{what}: {broken:?}");
        let unexplained = unexplained.unwrap_or_else(|| panic!("{what}: the monitor explains it"));
        let first = format!("[{by_monitor}");
        assert!(unexplained.contains(&first), "{what}: {unexplained}");
    }
}

#[test]
fn every_event_of_a_slot_that_admits_is_needed_and_comes_once() {
    for (_, what, story) in &TAKEN[..3] {
        let events = story().events();
        for change in (0..events).flat_map(|event| [Change::Drop(event), Change::Twice(event)]) {
            let mut changed = story();
            change.apply(changed.records());
            let (broken, unexplained, _) = judged(&changed, &[EarlyStarts]);
            assert!(
                !broken.is_empty() && unexplained.is_some(),
                "{what}, {change:?}: {broken:?}, {unexplained:?}"
            );
        }
    }
}
