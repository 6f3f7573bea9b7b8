//! Shrinking: bugs of known smallest case, from many seeds each.
//!
//! The bugs are stand-ins: patterns of a trace that our logic is right to show. To the shrinker they are rules like any
//! other, and the smallest case of each is known by thought.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use simvisor::EventKind;
use simvisor_sim::case::Case;
use simvisor_sim::choice::Fit;
use simvisor_sim::scenario::{drive, from_toml, generate, to_short_toml};
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{
    Finding, Invariant, Runner, ShrinkError, ShrinkOptions, Shrunk, WhyOptions, profiled, replayed, seeded,
    shrink, shrink_with, why, why_with,
};
use simvisor_sim::trace::{BodyEnd, EventNote, Header, Record, Sink, Texts, What};
use simvisor_sim::world::{Engine, Limits};

/// A pattern: sees each record after those before it.
type Pattern = fn(&mut Seen, &Record, &Texts) -> bool;

/// What a pattern may remember.
#[derive(Default)]
struct Seen {
    events: Vec<(u64, EventNote)>,
    left: Vec<(u64, u32)>,
}

impl Seen {
    fn any(&self, test: impl Fn(u64, &EventNote) -> bool) -> bool {
        self.events.iter().any(|(at_ns, event)| test(*at_ns, event))
    }
}

struct Planted {
    pattern: Pattern,
    seen: Seen,
    broken: Option<u64>,
}

impl Sink for Planted {
    fn begin(&mut self, _: &Header, _: &Texts) {
        self.seen = Seen::default();
        self.broken = None;
    }

    fn record(&mut self, record: &Record, texts: &Texts) {
        if self.broken.is_none() && (self.pattern)(&mut self.seen, record, texts) {
            self.broken = Some(record.at_ns);
        }
        if let What::Event(event) = &record.what {
            self.seen.events.push((record.at_ns, *event));
        }
    }
}

impl Invariant for Planted {
    fn broken(&self) -> Option<Finding> {
        self.broken.map(|at_ns| Finding {
            rule: "planted",
            message: "the pattern was seen".to_owned(),
            at_ns,
        })
    }
}

fn runner(pattern: Pattern, limits: Limits) -> Runner {
    let planted = Planted { pattern, seen: Seen::default(), broken: None };
    Runner::new(limits).with_invariant(Rc::new(RefCell::new(planted)))
}

fn shrunk(pattern: Pattern, case: &Case) -> Shrunk {
    let make = move |limits| runner(pattern, limits);
    let shrunk = shrink_with(case, &ShrinkOptions::default(), &make, &AtomicBool::new(false), |_| ());
    let shrunk = shrunk.expect("it shows the pattern");
    assert!(shrunk.is_minimal);
    let again =
        make(Limits::default()).judge(&shrunk.case.scenario, replayed(shrunk.case.tape.clone(), Fit::Strict));
    assert_eq!((again.misfit, again.findings.len()), (None, 1), "a shrunk case replays strictly");
    shrunk
}

/// The cases of the first seeds that show the pattern. Most show nothing, so nobody judges them.
fn found(pattern: Pattern, wanted: usize) -> Vec<Case> {
    let limits = Limits::default();
    let planted = Rc::new(RefCell::new(Planted { pattern, seen: Seen::default(), broken: None }));
    let sink: Rc<RefCell<dyn Sink>> = Rc::clone(&planted) as _;
    let (mut engine, notebook) = (Engine::new(), Rc::default());
    let mut judged = runner(pattern, limits);
    let mut cases = Vec::new();
    for seed in 0..400_000 {
        let scenario = Rc::new(generate(seed));
        let source = profiled(seeded(seed, StrategyKind::Mix), |count| {
            drive(&mut engine, &scenario, count, &limits, &notebook, &sink).profile()
        });
        let run = drive(&mut engine, &scenario, source, &limits, &notebook, &sink);
        engine.recycle(run.tape);
        if planted.borrow().broken.is_some() {
            let run = judged.seed(seed, StrategyKind::Mix);
            if run.judged.findings.len() == 1 {
                cases.push(run.into_case(Some(seed), "mix"));
            }
            if cases.len() == wanted {
                break;
            }
        }
    }
    assert_eq!(cases.len(), wanted, "the pattern is too rare");
    cases
}

/// Shrinks the cases of `seeds` seeds that show the pattern and counts what they come to.
fn forms(pattern: Pattern, seeds: usize) -> Vec<(usize, Shrunk)> {
    let mut forms: BTreeMap<(String, String), (usize, Shrunk)> = BTreeMap::new();
    let (mut replays, mut spent) = (Vec::new(), Vec::new());
    for case in found(pattern, seeds) {
        let began = Instant::now();
        let shrunk = shrunk(pattern, &case);
        spent.push(began.elapsed().as_millis());
        replays.push(shrunk.replays);
        let scenario = to_short_toml(&shrunk.case.scenario).expect("plain data");
        let key = (scenario, format!("{:?}", shrunk.case.tape));
        // The form keeps the one that took the most runs.
        let form = forms.entry(key).or_insert_with(|| (0, shrunk.clone()));
        form.0 += 1;
        form.1.replays = form.1.replays.max(shrunk.replays);
    }
    replays.sort_unstable();
    spent.sort_unstable();
    let mut forms: Vec<_> = forms.into_values().collect();
    forms.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    eprintln!(
        "{} forms of {seeds} seeds; replays: median {}, 95th of 100 {}, most {}; most ms {}",
        forms.len(),
        replays[replays.len() / 2],
        replays[replays.len() * 95 / 100],
        replays[replays.len() - 1],
        spent[spent.len() - 1]
    );
    for (count, shrunk) in &forms {
        let toml = to_short_toml(&shrunk.case.scenario).expect("plain data");
        let toml = toml.split_whitespace().collect::<Vec<_>>().join(" ");
        eprintln!("{count:>6} with {} of {} choices: {toml}", shrunk.choices, shrunk.case.tape.len());
    }
    forms
}

/// Runs that a shrink may take.
const REPLAYS_MAX: u64 = 2_000;

/// Failing seeds of each bug: few, or as many as `SIMVISOR_SEEDS` says.
fn seeds() -> usize {
    std::env::var("SIMVISOR_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10).min(200)
}

fn size(shrunk: &Shrunk) -> (usize, usize, usize) {
    (shrunk.case.scenario.tasks.len(), shrunk.operations, shrunk.choices)
}

/// At most 3 forms, and nearly always the smallest, of this many tasks, operations and choices.
fn meets(pattern: Pattern, smallest: (usize, usize, usize)) {
    let seeds = seeds();
    let forms = forms(pattern, seeds);
    let is_smallest = |shrunk: &Shrunk| size(shrunk) == smallest;
    let best: usize = forms.iter().filter(|(_, shrunk)| is_smallest(shrunk)).map(|(count, _)| count).sum();
    assert!(forms.len() <= 3, "{} forms", forms.len());
    assert!(best * 100 >= seeds * 95, "{best} of {seeds} are the smallest");
    let most = forms.iter().map(|(_, shrunk)| shrunk.replays).max();
    assert!(most <= Some(REPLAYS_MAX), "{most:?} runs");
}

fn event(record: &Record) -> Option<&EventNote> {
    match &record.what {
        What::Event(event) => Some(event),
        _ => None,
    }
}

/// A second attempt starts at the instant of its task's removal, after it.
fn restart_at_a_removal(seen: &mut Seen, record: &Record, _: &Texts) -> bool {
    event(record).is_some_and(|event| {
        event.kind == EventKind::TaskRemoveRequested
            && seen.any(|at_ns, other| {
                other.kind == EventKind::TaskStarting
                    && other.attempt == Some(2)
                    && other.task == event.task
                    && at_ns == record.at_ns
            })
    })
}

#[test]
fn a_restart_at_the_instant_of_a_removal_is_one_task_and_one_operation() {
    meets(restart_at_a_removal, (1, 1, 1));
}

/// Grace runs out.
fn grace_exceeded(_: &mut Seen, record: &Record, _: &Texts) -> bool {
    event(record).is_some_and(|event| event.kind == EventKind::GraceExceeded)
}

#[test]
fn grace_that_runs_out_is_one_stubborn_task_and_a_shutdown() {
    meets(grace_exceeded, (1, 1, 0));
}

/// A removal is requested between the end of a body and its event, which takes an interruption.
fn removal_between_end_and_event(seen: &mut Seen, record: &Record, _: &Texts) -> bool {
    match &record.what {
        What::BodyLeft { task, how: BodyEnd::Ok, .. } => seen.left.push((record.at_ns, task.index() as u32)),
        What::Event(event) if event.kind == EventKind::TaskStopped => {
            seen.left.retain(|(_, task)| Some(*task) != event.task.map(|task| task.index() as u32));
        }
        What::Event(event) if event.kind == EventKind::TaskRemoveRequested => {
            return seen
                .left
                .iter()
                .any(|(_, task)| Some(*task) == event.task.map(|task| task.index() as u32));
        }
        _ => {}
    }
    false
}

#[test]
fn a_removal_between_a_body_s_end_and_its_event_is_one_interruption() {
    meets(removal_between_end_and_event, (1, 1, 2));
}

/// A timeout hits one task while another waits for its backoff.
fn timeout_in_a_backoff(seen: &mut Seen, record: &Record, _: &Texts) -> bool {
    event(record).is_some_and(|event| {
        let last = |other: &EventNote| {
            let later = seen.events.iter().rfind(|(_, later)| later.task == other.task);
            later.is_some_and(|(_, later)| later.seq == other.seq)
        };
        event.kind == EventKind::TimeoutHit
            && seen.any(|_, other| {
                other.kind == EventKind::BackoffScheduled && other.task != event.task && last(other)
            })
    })
}

#[test]
fn a_timeout_in_a_backoff_is_two_tasks() {
    meets(timeout_in_a_backoff, (2, 0, 0));
}

/// An event is lost at a full queue while a task is being removed.
fn overflow_after_removal(seen: &mut Seen, record: &Record, _: &Texts) -> bool {
    event(record).is_some_and(|event| {
        event.kind == EventKind::SubscriberOverflow
            && seen.any(|_, other| other.kind == EventKind::TaskRemoveRequested)
    })
}

#[test]
fn an_overflow_after_a_removal_is_one_task_and_one_operation() {
    meets(overflow_after_removal, (1, 1, 0));
}

#[test]
fn a_case_that_breaks_nothing_is_refused() {
    let run = Runner::default().seed(7, StrategyKind::Random);
    let case = run.into_case(Some(7), "random");
    let result = shrink(&case, &ShrinkOptions::default(), &AtomicBool::new(false), |_| ());
    assert_eq!(result, Err(ShrinkError::Clean));
    assert_eq!(
        why(&case, &WhyOptions::default(), &AtomicBool::new(false), |_, _| ()),
        Err(ShrinkError::Clean)
    );
}

#[test]
fn a_stopped_shrink_keeps_the_best_so_far() {
    let mut runner = runner(timeout_in_a_backoff, Limits::default());
    let case = (0..).find_map(|seed| {
        let run = runner.seed(seed, StrategyKind::Random);
        (!run.judged.findings.is_empty()).then(|| run.into_case(Some(seed), "random"))
    });
    let case = case.expect("some seed shows it");
    let make = |limits| self::runner(timeout_in_a_backoff, limits);
    let stop = AtomicBool::new(false);
    let shrunk = shrink_with(&case, &ShrinkOptions::default(), &make, &stop, |progress| {
        stop.store(progress.replays >= 10, std::sync::atomic::Ordering::Relaxed);
    });
    let shrunk = shrunk.expect("it shows the pattern");
    assert!(!shrunk.is_minimal && shrunk.replays < 20, "{}", shrunk.replays);
    let judged =
        make(Limits::default()).judge(&shrunk.case.scenario, replayed(shrunk.case.tape, Fit::Strict));
    assert_eq!(judged.findings.len(), 1, "what was kept still shows it");
}

#[test]
fn a_long_tape_shrinks_within_the_goal() {
    // Ninety tasks that all restart, so that a run has thousands of choices.
    let tasks: String = (0..90)
        .map(|task| {
            format!("[[task]]\nname = \"t{task}\"\nstart = true\nscript = [{{ run = \"1ms\", then = \"fail\" }}]\nbackoff = {{ first = \"2ms\" }}\n")
        })
        .collect();
    let operations = "[[operation]]\nat = \"3ms\"\ndo = { remove = \"t7\" }\n[[operation]]\nat = \"21ms\"\ndo = \"shutdown\"\n";
    let scenario = from_toml(&format!("{tasks}{operations}")).expect("a scenario");
    let make = |limits| runner(restart_at_a_removal, limits);
    let mut shows = make(Limits::default());
    // A random walk interrupts wherever it can, so that its tapes are the hardest.
    for first_seed in [10, 20, 30] {
        let judged = (first_seed..100)
            .map(|seed| shows.judge(&scenario, seeded(seed, StrategyKind::Random)))
            .find(|judged| !judged.findings.is_empty());
        let judged = judged.expect("some schedule shows the pattern");
        let choices = judged.tape.len();
        let scenario = scenario.clone();
        let case = simvisor_sim::search::CaseRun { scenario, judged }.into_case(Some(first_seed), "random");
        let shrunk = shrunk(restart_at_a_removal, &case);
        eprintln!("{choices} choices to {} in {} runs", shrunk.choices, shrunk.replays);
        assert!(choices > 5_000);
        assert_eq!(size(&shrunk), (1, 1, 1));
        assert!(shrunk.replays <= REPLAYS_MAX, "{} runs", shrunk.replays);
    }
}

/// At one instant a task restarts and is removed. Which of the two comes first is one choice, and then only an
/// interruption of the restart can undo it; where that happens, the same choice is made once more, and decides then.
#[test]
fn the_choice_that_decides_is_named() {
    let scenario = from_toml(
        r#"
        task = [{ name = "a", start = true, restart = { always = { every = "1ms" } } }]
        operation = [{ at = "1ms", do = { remove = "a" } }]
        "#,
    )
    .expect("a scenario");
    let make = |limits| runner(restart_at_a_removal, limits);
    let (mut runner, mut undone) = (make(Limits::default()), 0);
    for (strategy, first_seed) in [
        (StrategyKind::Pct, 0),
        (StrategyKind::Random, 0),
        (StrategyKind::Random, 20),
        (StrategyKind::Urw, 0),
    ] {
        let judged = (first_seed..first_seed + 200)
            .map(|seed| runner.judge(&scenario, seeded(seed, strategy)))
            .find(|judged| !judged.findings.is_empty());
        let (scenario, judged) = (scenario.clone(), judged.expect("some schedule shows the pattern"));
        let case = simvisor_sim::search::CaseRun { scenario, judged }.into_case(None, strategy.name());
        let small = shrunk(restart_at_a_removal, &case);
        for (case, is_small) in [(&small.case, true), (&case, false)] {
            let options = WhyOptions { runs: 100, ..WhyOptions::default() };
            let found =
                why_with(case, &options, &make, &AtomicBool::new(false), |_, _| ()).expect("it shows it");
            let place = found.turning.expect("one choice decides");
            let (before, after) = (&found.chances[place - 1], &found.chances[place]);
            assert_eq!(after.choice.as_deref(), Some("actor a runs before operation 1"), "{found:?}");
            assert!(after.broke > 70 && after.kept == before.kept + 1, "{found:?}");
            // Where it was undone, those who begin there win half of the time.
            let is_undone = found.chances[..place].iter().any(|chance| chance.broke > 70);
            assert!(before.broke < 50 || is_undone && before.broke < 60 && !is_small, "{found:?}");
            undone += usize::from(is_undone);
            assert_eq!(found.chances.last().map(|last| last.broke), Some(100), "{found:?}");
            assert_eq!(found.chances[0].kept, 0);
        }
    }
    assert!(undone > 0, "a random walk interrupts the restart");
}
