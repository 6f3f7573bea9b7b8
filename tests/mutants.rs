//! The judges under test: conforming traces are broken one way at a time, and some rule or the monitor must notice.
//!
//! Numbers are given out anew after each change, so that a missing or additional number is not what gives a mutant away.
//! What is not caught is an equivalent trace, by kind in `docs/oracle.md`, where the table of this test stands.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use simvisor::EventKind;
use simvisor_sim::oracle::{Monitor, Rules};
use simvisor_sim::rng::{Numbers, Stream};
use simvisor_sim::scenario::generate;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::{Runner, Verdict, seeded};
use simvisor_sim::trace::{Answer, BodyEnd, Record, Stored, Text, Texts, What};

/// Who noticed.
#[derive(Default, Clone, Copy)]
struct Caught {
    mutants: u32,
    rules: u32,
    monitor: u32,
    either: u32,
}

fn judge(trace: &Stored) -> (bool, bool) {
    let (mut rules, mut monitor) = (Rules::new(), Monitor::new());
    trace.feed(&mut rules);
    trace.feed(&mut monitor);
    (!rules.violations().is_empty(), monitor.unexplained().is_some())
}

/// Gives events the numbers 0, 1, 2, … again, and what refers to them the same. What refers to an event that is gone is
/// taken out as well.
fn renumber(trace: &mut Stored) {
    let mut numbers: BTreeMap<u64, u64> = BTreeMap::new();
    let mut next = 0;
    for record in &mut trace.records {
        if let What::Event(event) = &mut record.what {
            numbers.entry(event.seq).or_insert(next);
            event.seq = next;
            next += 1;
        }
    }
    trace.records.retain_mut(|record| match &mut record.what {
        What::Received { seq, .. }
        | What::HandlerEntered { seq, .. }
        | What::HandlerLeft { seq, .. }
        | What::Delivered { seq } => numbers.get(seq).is_some_and(|number| {
            *seq = *number;
            true
        }),
        _ => true,
    });
}

fn is_event(record: &Record) -> bool {
    matches!(record.what, What::Event(_))
}

fn kind_of(record: &Record) -> Option<EventKind> {
    if let What::Event(event) = &record.what { Some(event.kind) } else { None }
}

fn task_of(record: &Record) -> Option<Text> {
    if let What::Event(event) = &record.what { event.task } else { None }
}

/// The place of one of the records that fit.
fn pick(trace: &Stored, numbers: &mut Numbers, fits: impl Fn(&Record) -> bool) -> Option<usize> {
    let places: Vec<_> = (0..trace.records.len()).filter(|&place| fits(&trace.records[place])).collect();
    (!places.is_empty()).then(|| places[numbers.below(places.len() as u32) as usize])
}

/// Takes a record to another instant, to where it belongs there.
fn move_to(trace: &mut Stored, place: usize, at_ns: u64) {
    let mut record = trace.records.remove(place);
    record.at_ns = at_ns;
    record.turn = None;
    let later = at_ns >= trace.records.get(place).map_or(0, |next| next.at_ns);
    let end = trace.records.len() - 1;
    let at = match later {
        true => trace.records.partition_point(|other| other.at_ns <= at_ns).min(end),
        false => trace.records.partition_point(|other| other.at_ns < at_ns),
    };
    trace.records.insert(at, record);
}

/// Two events that follow each other at one instant, of one task or of two.
fn swap(trace: &mut Stored, numbers: &mut Numbers, one_task: bool) -> bool {
    let events: Vec<_> = (0..trace.records.len()).filter(|&place| is_event(&trace.records[place])).collect();
    let pairs: Vec<_> = events
        .windows(2)
        .filter(|pair| {
            let (one, other) = (&trace.records[pair[0]], &trace.records[pair[1]]);
            let tasks = (task_of(one), task_of(other));
            one.at_ns == other.at_ns
                && tasks.0.is_some()
                && tasks.1.is_some()
                && (tasks.0 == tasks.1) == one_task
                && kind_of(one) != kind_of(other)
        })
        .map(|pair| (pair[0], pair[1]))
        .collect();
    if pairs.is_empty() {
        return false;
    }
    let (one, other) = pairs[numbers.below(pairs.len() as u32) as usize];
    trace.records.swap(one, other);
    true
}

type Change = fn(&mut Stored, &mut Numbers) -> bool;

fn change_event(
    trace: &mut Stored,
    numbers: &mut Numbers,
    fits: impl Fn(EventKind) -> bool,
    change: impl FnOnce(&mut simvisor_sim::trace::EventNote, &mut Texts),
) -> bool {
    let Some(place) = pick(trace, numbers, |record| kind_of(record).is_some_and(&fits)) else { return false };
    let What::Event(event) = &mut trace.records[place].what else { unreachable!("it was picked") };
    change(event, &mut trace.texts);
    true
}

fn drop_one(trace: &mut Stored, numbers: &mut Numbers, fits: impl Fn(&Record) -> bool) -> bool {
    let Some(place) = pick(trace, numbers, fits) else { return false };
    trace.records.remove(place);
    renumber(trace);
    true
}

/// Kinds of change, with the share of mutants, in percent, that must be caught at least.
const CHANGES: &[(&str, u32, Change)] = &[
    ("an event is dropped", 99, |trace, numbers| drop_one(trace, numbers, is_event)),
    ("an event comes twice", 100, |trace, numbers| {
        let Some(place) = pick(trace, numbers, is_event) else { return false };
        let record = trace.records[place].clone();
        let in_disorder = trace.header.as_ref().is_some_and(|header| header.config.disorder);
        if in_disorder
            && matches!(&record.what, What::Event(event) if event.kind == EventKind::SubscriberOverflow)
        {
            return false; // the same drop of an event that was delivered twice: an equivalent trace
        }
        trace.records.insert(place + 1, record);
        renumber(trace);
        true
    }),
    ("two events of one task are swapped", 95, |trace, numbers| {
        let swapped = swap(trace, numbers, true);
        renumber(trace);
        swapped
    }),
    ("two events of different tasks are swapped", 0, |trace, numbers| {
        let swapped = swap(trace, numbers, false);
        renumber(trace);
        swapped
    }),
    ("an event comes a nanosecond later", 95, |trace, numbers| {
        let Some(place) = pick(trace, numbers, is_event) else { return false };
        let at_ns = trace.records[place].at_ns + 1;
        move_to(trace, place, at_ns);
        renumber(trace);
        true
    }),
    ("an event comes a nanosecond earlier", 95, |trace, numbers| {
        let Some(place) = pick(trace, numbers, |record| is_event(record) && record.at_ns > 0) else {
            return false;
        };
        let at_ns = trace.records[place].at_ns - 1;
        move_to(trace, place, at_ns);
        renumber(trace);
        true
    }),
    ("another number", 100, |trace, numbers| {
        change_event(trace, numbers, |_| true, |event, _| event.seq += 1)
    }),
    ("another attempt", 99, |trace, numbers| {
        let counted = |kind| {
            matches!(
                kind,
                EventKind::TaskStarting
                    | EventKind::TaskFailed
                    | EventKind::TimeoutHit
                    | EventKind::BackoffScheduled
                    | EventKind::ActorExhausted
                    | EventKind::ActorDead
            )
        };
        change_event(trace, numbers, counted, |event, _| {
            event.attempt = event.attempt.map(|attempt| attempt + 1);
        })
    }),
    ("another task", 99, |trace, numbers| {
        let named = |kind| {
            !matches!(
                kind,
                EventKind::ShutdownRequested | EventKind::AllStoppedWithinGrace | EventKind::GraceExceeded
            )
        };
        change_event(trace, numbers, named, |event, texts| event.task = Some(texts.intern("somebody else")))
    }),
    ("another reason", 99, |trace, numbers| {
        let Some(place) = pick(
            trace,
            numbers,
            |record| matches!(&record.what, What::Event(event) if event.reason.is_some()),
        ) else {
            return false;
        };
        let What::Event(event) = &mut trace.records[place].what else { unreachable!("it was picked") };
        event.reason = Some(trace.texts.intern("for no reason"));
        true
    }),
    ("a reason where there is none", 100, |trace, numbers| {
        let bare =
            |kind| matches!(kind, EventKind::TaskStopped | EventKind::TaskAdded | EventKind::TaskStarting);
        change_event(trace, numbers, bare, |event, texts| event.reason = Some(texts.intern("because")))
    }),
    ("a longer delay", 90, |trace, numbers| {
        change_event(
            trace,
            numbers,
            |kind| kind == EventKind::BackoffScheduled,
            |event, _| {
                event.delay_ms = event.delay_ms.map(|ms| ms + 1);
            },
        )
    }),
    ("another timeout", 100, |trace, numbers| {
        change_event(
            trace,
            numbers,
            |kind| kind == EventKind::TimeoutHit,
            |event, _| {
                event.timeout_ms = event.timeout_ms.map(|ms| ms + 1);
            },
        )
    }),
    ("TaskStopped for TaskFailed", 99, |trace, numbers| {
        change_event(
            trace,
            numbers,
            |kind| kind == EventKind::TaskFailed,
            |event, _| {
                event.kind = EventKind::TaskStopped;
                event.attempt = None;
                event.reason = None;
            },
        )
    }),
    ("ActorDead for ActorExhausted", 99, |trace, numbers| {
        change_event(
            trace,
            numbers,
            |kind| kind == EventKind::ActorExhausted,
            |event, _| event.kind = EventKind::ActorDead,
        )
    }),
    ("the wall clock goes back", 90, |trace, numbers| {
        // The first event may say what it likes.
        let late = |kind| !matches!(kind, EventKind::TaskAddRequested | EventKind::ShutdownRequested);
        change_event(trace, numbers, late, |event, _| event.wall_ns -= 3_600_000_000_000)
    }),
    ("an answer is missing", 95, |trace, numbers| {
        drop_one(trace, numbers, |record| matches!(record.what, What::Answer { .. }))
    }),
    ("another answer", 90, |trace, numbers| {
        let Some(place) = pick(trace, numbers, |record| matches!(record.what, What::Answer { .. })) else {
            return false;
        };
        let What::Answer { answer, .. } = &mut trace.records[place].what else {
            unreachable!("it was picked")
        };
        *answer = match answer {
            Answer::Bool(value) => Answer::Bool(!*value),
            Answer::Names(names) if names.is_empty() => {
                Answer::Names(vec![trace.texts.intern("somebody else")])
            }
            Answer::Names(_) => Answer::Names(Vec::new()),
            Answer::Done => Answer::AlreadyExists,
            _ => Answer::Done,
        };
        true
    }),
    ("the end of a body is missing", 99, |trace, numbers| {
        drop_one(trace, numbers, |record| matches!(record.what, What::BodyLeft { .. }))
    }),
    ("another end of a body", 85, |trace, numbers| {
        let Some(place) = pick(trace, numbers, |record| matches!(record.what, What::BodyLeft { .. })) else {
            return false;
        };
        let What::BodyLeft { how, .. } = &mut trace.records[place].what else {
            unreachable!("it was picked")
        };
        *how = match how {
            BodyEnd::Ok => BodyEnd::Canceled,
            _ => BodyEnd::Ok,
        };
        true
    }),
    ("a context is not seen to be cancelled", 50, |trace, numbers| {
        drop_one(trace, numbers, |record| matches!(record.what, What::BodyCancelled { .. }))
    }),
    ("a receiver misses an event", 99, |trace, numbers| {
        drop_one(trace, numbers, |record| matches!(record.what, What::Received { .. }))
    }),
    ("a lag of one more", 99, |trace, numbers| {
        let Some(place) = pick(trace, numbers, |record| matches!(record.what, What::Lagged { .. })) else {
            return false;
        };
        let What::Lagged { lost, .. } = &mut trace.records[place].what else { unreachable!("it was picked") };
        *lost += 1;
        true
    }),
    ("a counter is off by one", 100, |trace, numbers| {
        let Some(place) = pick(trace, numbers, |record| matches!(record.what, What::Counters { .. })) else {
            return false;
        };
        let What::Counters { handled, .. } = &mut trace.records[place].what else {
            unreachable!("it was picked")
        };
        *handled += 1;
        true
    }),
    ("a future is left over", 100, |trace, numbers| {
        let Some(place) = pick(trace, numbers, |record| matches!(record.what, What::Leftovers { .. })) else {
            return false;
        };
        let What::Leftovers { futures, .. } = &mut trace.records[place].what else {
            unreachable!("it was picked")
        };
        *futures += 1;
        true
    }),
];

#[test]
fn a_changed_trace_is_caught() {
    let mut runner = Runner::default();
    let mut numbers = Numbers::new(1, Stream::Scenario);
    let mut caught = vec![Caught::default(); CHANGES.len()];
    let mut missed: BTreeMap<(usize, String), u32> = BTreeMap::new();
    for seed in 0..1_500 {
        let sink = Rc::new(RefCell::new(Stored::default()));
        let judged = runner.watch(&generate(seed), seeded(seed, StrategyKind::Random), Rc::clone(&sink) as _);
        let trace = sink.take();
        assert_eq!(judge(&trace), (false, false), "seed {seed:#x} conforms");
        if judged.verdict != Verdict::Done || trace.records.len() > 2_000 {
            continue;
        }
        for (index, (_, _, change)) in CHANGES.iter().enumerate() {
            let mut mutant = trace.clone();
            if !change(&mut mutant, &mut numbers) {
                continue;
            }
            let (rules, monitor) = judge(&mutant);
            let sums = &mut caught[index];
            sums.mutants += 1;
            sums.rules += u32::from(rules);
            sums.monitor += u32::from(monitor);
            sums.either += u32::from(rules || monitor);
            if !rules && !monitor {
                let place = trace.records.iter().zip(&mutant.records).position(|(one, other)| one != other);
                let what = place.map_or_else(String::new, |place| match &trace.records[place].what {
                    What::Event(event) => format!("{:?}", event.kind),
                    What::Answer { answer, .. } => {
                        format!("{answer:?}").split(['(', '{']).next().unwrap_or("").to_owned()
                    }
                    other => format!("{other:?}").split([' ', '{']).next().unwrap_or("").to_owned(),
                });
                *missed.entry((index, what)).or_default() += 1;
            }
        }
    }
    println!("| change | mutants | caught by a rule | by the monitor | by either |");
    println!("|---|---|---|---|---|");
    let percent = |part: u32, whole: u32| f64::from(part) * 100.0 / f64::from(whole.max(1));
    for ((name, ..), Caught { mutants, rules, monitor, either }) in CHANGES.iter().zip(&caught) {
        let [rules, monitor, either] = [*rules, *monitor, *either].map(|part| percent(part, *mutants));
        println!("| {name} | {mutants} | {rules:.1} % | {monitor:.1} % | {either:.1} % |");
    }
    for ((index, what), count) in &missed {
        println!("missed: {}: {what}: {count}", CHANGES[*index].0);
    }
    for ((name, least, _), Caught { mutants, rules, monitor, either }) in CHANGES.iter().zip(&caught) {
        assert!(monitor >= rules, "{name}: the monitor rejects {monitor}, the rules {rules}");
        assert!(*mutants > 100, "{name}: {mutants} mutants");
        assert!(percent(*either, *mutants) >= f64::from(*least), "{name}: {either} of {mutants} were caught");
    }
}
