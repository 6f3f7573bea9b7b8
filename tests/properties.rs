//! Properties over generated worlds and values. Scenario and tape are drawn by strategies of their own, not from a seed, so
//! that proptest shrinks what it finds. `PROPTEST_CASES` sets how many cases each property gets.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use simvisor::bus::{Bus, RecvError};
use simvisor::{AliveTracker, BackoffPolicy, BackoffSource, Event, EventKind, JitterPolicy};
use simvisor_sim::choice::{Choice, Fit, SITES, Tape};
use simvisor_sim::scenario::{
    Action, Admission, Backoff, Behaviour, Config, Controller, Disorder, Ending, Jitter, Mode, OnCancel,
    Operation, ReceiverDecl, Restart, Scenario, Span, Step, SubscriberDecl, TaskDecl,
};
use simvisor_sim::search::{Judged, Runner, Verdict, replayed};

/// What fails is kept beside this file and is tried first from then on. Left to itself proptest looks for a `lib.rs` above
/// this file, finds none, and keeps nothing.
fn config_of_properties() -> ProptestConfig {
    let kept = FileFailurePersistence::Direct("tests/properties.proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

// ---- worlds

fn span(ms: std::ops::Range<u64>) -> impl Strategy<Value = Span> {
    (ms, prop_oneof![8 => Just(0_i64), 1 => Just(1), 1 => Just(-1)])
        .prop_map(|(ms, off)| Span((ms * 1_000_000).saturating_add_signed(if ms == 0 { 0 } else { off })))
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => Just(Ending::Ok),
        3 => Just(Ending::Fail),
        1 => Just(Ending::Fatal),
        1 => Just(Ending::Panic),
        1 => Just(Ending::Canceled),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let on_cancel = prop_oneof![
        2 => Just(OnCancel::default()),
        1 => Just(OnCancel::Ignore),
        1 => (span(0..6), ending()).prop_map(|(after, then)| OnCancel::End { after, then }),
    ];
    (span(1..6), ending(), on_cancel).prop_map(|(run, then, on_cancel)| Step { run, then, on_cancel })
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![
        Just(Restart::Never),
        Just(Restart::OnFailure),
        prop_oneof![Just(None), span(0..5).prop_map(Some)].prop_map(|every| Restart::Always { every }),
    ]
}

fn jitter() -> impl Strategy<Value = Jitter> {
    prop_oneof![3 => Just(Jitter::None), 1 => Just(Jitter::Full), 1 => Just(Jitter::Equal), 1 => Just(Jitter::Decorrelated)]
}

fn backoff() -> impl Strategy<Value = Backoff> {
    let factor = prop_oneof![
        Just(1.0),
        Just(2.0),
        Just(0.5),
        Just(1.7),
        Just(f64::INFINITY),
        Just(f64::NAN),
        Just(-1.0)
    ];
    (span(1..4), span(1..12), factor, jitter()).prop_map(|(first, max, factor, jitter)| Backoff {
        first,
        max,
        factor,
        jitter,
    })
}

fn task(number: usize) -> impl Strategy<Value = TaskDecl> {
    let timeout = prop_oneof![Just(None), span(0..6).prop_map(Some)];
    (any::<bool>(), restart(), backoff(), timeout, vec(step(), 1..4)).prop_map(
        move |(start, restart, backoff, timeout, script)| TaskDecl {
            // Two declarations of one name: versions of one task.
            name: ["a", "b", "a"][number].to_owned(),
            key: (number == 2).then(|| "a2".to_owned()),
            start: start && number < 2,
            restart,
            backoff,
            timeout,
            script,
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let name = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("nobody".to_owned())];
    let key = prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("a2".to_owned())];
    let how = prop_oneof![Just(Admission::Queue), Just(Admission::Replace), Just(Admission::DropIfRunning)];
    prop_oneof![
        3 => key.clone().prop_map(Action::Add),
        2 => name.clone().prop_map(Action::Remove),
        2 => (name.clone(), proptest::option::of(span(0..6))).prop_map(|(task, wait)| Action::Cancel { task, wait }),
        3 => (key, how, any::<bool>()).prop_map(|(task, how, at_once)| Action::Submit { task, how, at_once }),
        1 => Just(Action::List),
        1 => Just(Action::Snapshot),
        1 => name.prop_map(Action::IsAlive),
        1 => Just(Action::WaitReady),
        1 => Just(Action::Shutdown),
    ]
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        Just(Behaviour::Quick),
        span(1..4).prop_map(|each| Behaviour::Slow { each }),
        (0_u32..4).prop_map(|after| Behaviour::Stuck { after }),
        (1_u32..4).prop_map(|every| Behaviour::Panics { every }),
    ]
}

fn config() -> impl Strategy<Value = Config> {
    let controller = proptest::option::of(
        (0_u32..3, 0_u32..3)
            .prop_map(|(queue_capacity, slot_capacity)| Controller { queue_capacity, slot_capacity }),
    );
    let disorder =
        prop_oneof![4 => Just(Disorder::None), 1 => Just(Disorder::Late), 1 => Just(Disorder::LateAndTwice)];
    (span(0..12), 0_u32..3, prop_oneof![1_u32..4, Just(1024)], controller, disorder).prop_map(
        |(grace, max_concurrent, bus_capacity, controller, disorder)| Config {
            grace,
            max_concurrent,
            bus_capacity,
            controller,
            disorder,
            ..Config::default()
        },
    )
}

/// A scenario that is shut down at last.
fn scenario() -> impl Strategy<Value = Scenario> {
    let tasks = (task(0), task(1), task(2)).prop_map(|(a, b, c)| vec![a, b, c]);
    let subscribers = vec((prop_oneof![1_u32..4, Just(64)], behaviour()), 0..3);
    let operations = vec((0_u64..16, action()), 0..8);
    (config(), tasks, subscribers, any::<bool>(), operations, span(0..3), 8_u64..24).prop_map(
        |(config, tasks, subscribers, receiver, operations, run_at, end)| {
            let mut operations: Vec<_> = operations
                .into_iter()
                .map(|(at, action)| Operation { at: Span::from_millis(at), action })
                .chain([Operation { at: Span::from_millis(end), action: Action::Shutdown }])
                .collect();
            operations.sort_by_key(|operation| operation.at);
            Scenario {
                name: String::new(),
                story: String::new(),
                mode: Mode::Run,
                run_at,
                calm_at: None,
                config,
                tasks,
                subscribers: (1..)
                    .zip(subscribers)
                    .map(|(number, (capacity, behaviour))| SubscriberDecl {
                        name: format!("s{number}"),
                        capacity,
                        behaviour,
                    })
                    .collect(),
                receivers: receiver
                    .then(|| ReceiverDecl { name: "r".to_owned(), pause: Span::from_millis(1) })
                    .into_iter()
                    .collect(),
                operations,
            }
        },
    )
}

fn tape() -> impl Strategy<Value = Tape> {
    let choice = (0..SITES.len(), 0_u32..24).prop_map(|(site, value)| Choice {
        site: SITES[site].0,
        arity: 24,
        value,
    });
    vec(choice, 0..200)
}

fn judged(scenario: &Scenario, tape: Tape) -> Judged {
    Runner::default().judge(scenario, replayed(tape, Fit::Lenient))
}

/// Nothing that `group` begins with is broken, and the monitor explains everything.
fn holds(group: &[char], scenario: &Scenario, tape: Tape) -> Result<(), TestCaseError> {
    let judged = judged(scenario, tape);
    let of_group =
        judged.findings.iter().find(|finding| finding.rule.starts_with(group) || finding.rule == "monitor");
    prop_assert_eq!(of_group, None, "verdict {:?}", judged.verdict);
    Ok(())
}

proptest! {
    #![proptest_config(config_of_properties())]

    #[test]
    fn numbers_and_delivery_hold(scenario in scenario(), tape in tape()) {
        holds(&['S', 'E'], &scenario, tape)?;
    }

    #[test]
    fn attempts_hold(scenario in scenario(), tape in tape()) {
        holds(&['A'], &scenario, tape)?;
    }

    #[test]
    fn restarts_hold(scenario in scenario(), tape in tape()) {
        holds(&['R'], &scenario, tape)?;
    }

    #[test]
    fn the_registry_holds(scenario in scenario(), tape in tape()) {
        holds(&['G'], &scenario, tape)?;
    }

    #[test]
    fn shutdown_holds_and_every_run_comes_to_its_end(scenario in scenario(), tape in tape()) {
        holds(&['D'], &scenario, tape.clone())?;
        let verdict = judged(&scenario, tape).verdict;
        prop_assert!(verdict == Verdict::Done || (verdict == Verdict::Livelock && scenario.may_spin()), "{:?}", verdict);
    }

    #[test]
    fn the_controller_holds(scenario in scenario(), tape in tape()) {
        holds(&['C'], &scenario, tape)?;
    }

    #[test]
    fn what_a_lenient_replay_made_fits_strictly(scenario in scenario(), tape in tape()) {
        let first = judged(&scenario, tape);
        let again = Runner::default().judge(&scenario, replayed(first.tape.clone(), Fit::Strict));
        prop_assert_eq!(&again.misfit, &None);
        prop_assert_eq!(again.trace_hash, first.trace_hash);
    }

    #[test]
    fn a_scenario_is_read_as_it_was_written(scenario in scenario()) {
        let text = simvisor_sim::scenario::to_toml(&scenario).expect("it can be written");
        let read = simvisor_sim::scenario::from_toml(&text).expect("it can be read");
        // NaN is not equal to itself, its text is.
        prop_assert_eq!(simvisor_sim::scenario::to_toml(&read).expect("again"), text);
    }
}

// ---- policies

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..10_000).prop_map(Duration::from_millis),
        any::<u64>().prop_map(Duration::from_nanos),
        any::<u64>().prop_map(Duration::from_secs),
        Just(Duration::MAX),
        Just(Duration::ZERO),
    ]
}

fn factor() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        0.0..4.0_f64,
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0)
    ]
}

fn failures() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..20, any::<u32>(), Just(u32::MAX)]
}

fn policy() -> impl Strategy<Value = BackoffPolicy> {
    let jitter = prop_oneof![
        Just(JitterPolicy::None),
        Just(JitterPolicy::Full),
        Just(JitterPolicy::Equal),
        Just(JitterPolicy::Decorrelated),
    ];
    (duration(), duration(), factor(), jitter).prop_map(|(first, max, factor, jitter)| BackoffPolicy {
        first,
        max,
        factor,
        jitter,
    })
}

/// First × factor^n in nanoseconds, neither clamped nor jittered.
fn first_times(policy: &BackoffPolicy, n: u32) -> f64 {
    clocked(policy.first) as f64 * policy.factor.powi(n as i32)
}

/// One call of a builder.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Task(String),
    Reason(String),
    Attempt(u32),
    Timeout(Duration),
    Delay(Duration),
    Source(BackoffSource),
}

impl Field {
    fn put(self, event: Event) -> Event {
        match self {
            Self::Task(task) => event.with_task(task),
            Self::Reason(reason) => event.with_reason(reason),
            Self::Attempt(attempt) => event.with_attempt(attempt),
            Self::Timeout(timeout) => event.with_timeout(timeout),
            Self::Delay(delay) => event.with_delay(delay),
            Self::Source(BackoffSource::Success) => event.with_backoff_success(),
            Self::Source(BackoffSource::Failure) => event.with_backoff_failure(),
        }
    }

    fn place(&self) -> usize {
        match self {
            Self::Task(_) => 0,
            Self::Reason(_) => 1,
            Self::Attempt(_) => 2,
            Self::Timeout(_) => 3,
            Self::Delay(_) => 4,
            Self::Source(_) => 5,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Task(text) | Self::Reason(text) => text,
            other => unreachable!("{other:?} has no text"),
        }
    }
}

fn field() -> impl Strategy<Value = Field> {
    let source = prop_oneof![Just(BackoffSource::Success), Just(BackoffSource::Failure)];
    prop_oneof![
        ".*".prop_map(Field::Task),
        ".*".prop_map(Field::Reason),
        any::<u32>().prop_map(Field::Attempt),
        duration().prop_map(Field::Timeout),
        duration().prop_map(Field::Delay),
        source.prop_map(Field::Source),
    ]
}

/// What a clock of 64-bit nanoseconds can tell apart.
fn clocked(span: Duration) -> u128 {
    span.as_nanos().min(u128::from(u64::MAX))
}

proptest! {
    #![proptest_config(config_of_properties())]

    #[test]
    fn a_delay_is_never_above_max_and_within_its_jitter(policy in policy(), n in failures(), at in 0.0..=1.0_f64) {
        let base = clocked(policy.base(n));
        let max = clocked(policy.max);
        prop_assert!(base <= max);
        let mut drawn = None;
        let delay = clocked(policy.delay(n, |high| {
            let value = ((high as f64) * at) as u64;
            drawn = Some(high);
            value.min(high)
        }));
        prop_assert!(delay <= max);
        let first = clocked(policy.first);
        let (low, high) = match policy.jitter {
            JitterPolicy::None => (base, base),
            JitterPolicy::Full => (0, base),
            JitterPolicy::Equal => (base / 2, base),
            JitterPolicy::Decorrelated => {
                let top = (3 * base).min(max);
                if first > top { (max, max) } else { (first, top) }
            }
        };
        prop_assert!((low..=high).contains(&delay), "{} not in {}..={}", delay, low, high);
        prop_assert!(drawn.is_none_or(|high| high > 0), "nothing is drawn where one delay is possible");
    }

    #[test]
    fn delays_with_a_growing_factor_never_shrink(policy in policy(), factor in 1.0..8.0_f64, n in 0_u32..200) {
        let policy = BackoffPolicy { factor, ..policy };
        prop_assert!(policy.base(n) <= policy.base(n + 1));
    }

    #[test]
    fn factors_that_are_not_finite_give_max_from_the_first_retry_on(policy in policy(), n in 1_u32..=u32::MAX) {
        for factor in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let policy = BackoffPolicy { factor, ..policy };
            prop_assert_eq!(clocked(policy.base(n)), clocked(policy.max), "{}", factor);
        }
    }

    #[test]
    fn a_negative_delay_is_max_and_its_square_is_none(policy in policy(), factor in 0.001..100.0_f64, n in 0_u32..500) {
        let negative = BackoffPolicy { factor: -factor, ..policy };
        let positive = BackoffPolicy { factor, ..policy };
        prop_assert_eq!(negative.base(2 * n), positive.base(2 * n));
        // First × factor^n is below zero, unless first is none at all or the product is rounded to none.
        if first_times(&positive, 2 * n + 1) > 1e-250 {
            prop_assert_eq!(clocked(negative.base(2 * n + 1)), clocked(policy.max));
        }
    }

    #[test]
    fn a_delay_is_what_first_and_factor_make_it(policy in policy(), factor in 0.0..10.0_f64, n in 0_u32..60) {
        let policy = BackoffPolicy { factor, ..policy };
        let (wanted, base) = (first_times(&policy, n).min(clocked(policy.max) as f64), clocked(policy.base(n)) as f64);
        // Another order of multiplying, so another rounding; and whole nanoseconds.
        prop_assert!((wanted - base).abs() <= wanted * 1e-12 + 1.0, "{} where about {} is wanted", base, wanted);
    }

    #[test]
    fn a_factor_of_one_changes_nothing(policy in policy(), n in failures()) {
        let policy = BackoffPolicy { factor: 1.0, ..policy };
        prop_assert_eq!(clocked(policy.base(n)), clocked(policy.first).min(clocked(policy.max)));
    }

    #[test]
    fn milliseconds_of_events_are_truncated_and_saturate(span in duration()) {
        let expected = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        let event = Event::new(EventKind::BackoffScheduled).with_delay(span).with_timeout(span);
        prop_assert_eq!((event.delay_ms, event.timeout_ms), (Some(expected), Some(expected)));
    }

    #[test]
    fn builders_set_their_field_and_no_other_in_any_order(fields in vec(field(), 0..12)) {
        let blank = Event::new(EventKind::TaskFailed);
        let (seq, at) = (blank.seq, blank.at);
        let mut last = [const { None }; 6];
        let mut event = blank;
        for field in fields {
            event = field.clone().put(event);
            let place = field.place();
            last[place] = Some(field);
        }
        prop_assert_eq!((event.seq, event.at, event.kind), (seq, at, EventKind::TaskFailed));
        let whole_ms = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        let [task, reason, attempt, timeout, delay, source] = last;
        prop_assert_eq!(event.task.map(|text| text.to_string()), task.map(Field::text));
        prop_assert_eq!(event.reason.map(|text| text.to_string()), reason.map(Field::text));
        prop_assert_eq!(event.attempt, attempt.map(|field| if let Field::Attempt(n) = field { n } else { 0 }));
        prop_assert_eq!(event.timeout_ms, timeout.map(|field| if let Field::Timeout(d) = field { whole_ms(d) } else { 0 }));
        prop_assert_eq!(event.delay_ms, delay.map(|field| if let Field::Delay(d) = field { whole_ms(d) } else { 0 }));
        prop_assert_eq!(event.backoff_source, source.map(|field| if let Field::Source(s) = field { s } else { unreachable!() }));
    }
}

// ---- the bus against a plain vector

#[derive(Debug, Clone, Copy)]
enum Act {
    Publish,
    Subscribe,
    Receive(usize),
    Leave(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Publish),
        1 => Just(Act::Subscribe),
        4 => (0_usize..4).prop_map(Act::Receive),
        1 => (0_usize..4).prop_map(Act::Leave),
    ]
}

proptest! {
    #![proptest_config(config_of_properties())]

    #[test]
    fn the_bus_is_a_ring_with_exact_lag(capacity in 1_usize..6, acts in vec(act(), 0..120)) {
        let bus = Bus::new(capacity);
        let mut published = 0_u64;
        let mut receivers = Vec::new();
        for act in acts {
            match act {
                Act::Publish => {
                    bus.publish(std::rc::Rc::new(Event::new(EventKind::TaskAdded).with_attempt(published as u32)));
                    published += 1;
                }
                Act::Subscribe if receivers.len() < 4 => receivers.push((bus.subscribe(), published)),
                Act::Leave(index) if index < receivers.len() => drop(receivers.swap_remove(index)),
                Act::Receive(index) if index < receivers.len() => {
                    let (receiver, next) = &mut receivers[index];
                    let oldest = published.saturating_sub(capacity as u64);
                    let got = receiver.try_recv();
                    if *next < oldest {
                        prop_assert_eq!(got.expect("it lags").expect_err("it lags"), RecvError::Lagged(oldest - *next));
                        *next = oldest;
                    } else if *next == published {
                        prop_assert!(got.is_none());
                    } else {
                        let event = got.expect("there is one").expect("nothing is lost");
                        prop_assert_eq!(event.attempt, Some(*next as u32));
                        *next += 1;
                    }
                }
                _ => {}
            }
        }
        prop_assert_eq!(bus.end(), published);
    }
}

// ---- the alive tracker as a last-writer-wins register

fn life() -> impl Strategy<Value = Vec<Event>> {
    let kind = prop_oneof![
        3 => Just(EventKind::TaskStarting),
        1 => Just(EventKind::TaskStopped),
        1 => Just(EventKind::TaskFailed),
        1 => Just(EventKind::ActorExhausted),
        1 => Just(EventKind::ActorDead),
        1 => Just(EventKind::TaskRemoved),
        1 => Just(EventKind::TaskAdded),
    ];
    vec((kind, 0_usize..3), 0..20).prop_map(|life| {
        let events = (0..).zip(life).map(|(seq, (kind, task))| {
            let mut event = Event::new(kind).with_task(["a", "b", "c"][task]);
            event.seq = seq;
            event
        });
        events.collect()
    })
}

fn tracked<'a>(events: impl IntoIterator<Item = &'a Event>) -> AliveTracker {
    let mut tracker = AliveTracker::new();
    events.into_iter().for_each(|event| {
        tracker.update(event);
    });
    tracker
}

proptest! {
    #![proptest_config(config_of_properties())]

    #[test]
    fn the_alive_tracker_is_commutative_and_idempotent(
        (life, shuffled) in life().prop_flat_map(|life| {
            let twice: Vec<Event> = life.iter().chain(&life).cloned().collect();
            (Just(life), Just(twice).prop_shuffle())
        }),
    ) {
        prop_assert_eq!(tracked(&life), tracked(&shuffled));
        let sorted = { let mut sorted = shuffled.clone(); sorted.sort_by_key(|event| event.seq); sorted };
        prop_assert_eq!(tracked(&life), tracked(&sorted));
    }

    #[test]
    fn the_alive_tracker_is_associative(life in life(), cut in 0_usize..20) {
        let cut = cut.min(life.len());
        let (early, late) = life.split_at(cut);
        prop_assert_eq!(tracked(late.iter().chain(early)), tracked(&life));
    }

    #[test]
    fn who_is_alive_is_told_by_the_highest_number(life in life()) {
        let tracker = tracked(&life);
        for name in ["a", "b", "c"] {
            let latest = life.iter().rev().find(|event| event.task.as_deref() == Some(name) && event.kind != EventKind::TaskAdded);
            let expected = latest.is_some_and(|event| event.kind == EventKind::TaskStarting);
            prop_assert_eq!(tracker.is_alive(name), expected);
            prop_assert_eq!(tracker.snapshot().contains(&Arc::from(name)), expected);
        }
    }
}
