//! Tests of a user's: bugs are found, made simple, shown, kept and replayed, and nothing else is found.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::{SinkExt as _, StreamExt as _};
use simvisor::{
    BackoffPolicy, ControllerConfig, ControllerSpec, Event, EventKind, Handled, RestartPolicy, RuntimeError,
    Subscribe, SupervisorConfig, TaskError,
};
use simvisor_sim::check::{
    Check, CheckError, Elapsed, Failed, Faults, Passed, Regressions, Sim, TaskPanics, WallJump,
};
use simvisor_sim::env::Env;
use simvisor_sim::report::Detail;
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::world::{Disorder, Limits};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A check that does not look at the environment and keeps nothing.
fn alone() -> Check {
    Check::new().with_env(Env::default()).regressions(Regressions::Nowhere)
}

/// The same check on its own thread, so that its name is that of the first check of a test.
fn in_env(env: Env, directory: &Path) -> Check {
    Check::new().with_env(env).regressions(Regressions::In(directory.to_owned()))
}

fn failed(outcome: Result<Passed, CheckError>) -> Failed {
    match outcome {
        Err(CheckError::Failed(failed)) => *failed,
        other => panic!("expected a failure, got {other:?}"),
    }
}

/// Two workers add to a counter, and one of them gives way between reading and writing: a lost update.
async fn lost_update(sim: Sim) {
    let counter = Rc::new(Cell::new(0));
    let workers = ["a", "b"].map(|name| {
        let (counter, inner) = (Rc::clone(&counter), sim.clone());
        sim.spawn(name, async move {
            let seen = counter.get();
            if inner.random(0..=9) >= 7 {
                inner.yield_now().await;
            }
            counter.set(seen + 1);
        })
    });
    for worker in workers {
        worker.await;
    }
    assert_eq!(counter.get(), 2, "an update was lost");
}

#[test]
fn a_lost_update_is_found_and_made_as_simple_as_it_gets() {
    let failed = failed(alone().outcome(lost_update));
    assert_eq!((&*failed.verdict, &failed.rule), ("panic", &None));
    assert!(
        failed.message.contains("an update was lost") && failed.message.contains("check.rs:"),
        "{failed:?}"
    );
    assert_eq!(failed.choices, ["future a draws 7 at random"]);
    for part in [
        "a_lost_update_is_found_and_made_as_simple_as_it_gets failed under seed",
        "broken   panic: test panicked: assertion",
        "at       0s of virtual time",
        "at 0s: future a draws 7 at random",
        "again    SIMVISOR_SEED=",
        match std::env::var_os("NEXTEST") {
            None => "-- --exact a_lost_update_is_found_and_made_as_simple_as_it_gets",
            Some(_) => "-E 'test(=a_lost_update_is_found_and_made_as_simple_as_it_gets)'",
        },
        "~                       future a draws 7",
        "✗",
    ] {
        assert!(failed.report.contains(part), "{part:?} is missing in\n{}", failed.report);
    }
}

#[test]
fn every_seed_of_one_bug_is_made_the_same_case() {
    let cases = [0, 1_000, 2_000].map(|first| failed(alone().first_seed(first).outcome(lost_update)).choices);
    assert!(cases.iter().all(|choices| *choices == cases[0]), "{cases:?}");
}

#[test]
fn the_seed_alone_fails_as_it_did_among_others_under_every_strategy() {
    for strategy in StrategyKind::ALL {
        let check = || alone().strategy(strategy);
        let body = |sim: Sim| async move {
            let other = sim.spawn("other", std::future::ready(()));
            sim.yield_now().await;
            sim.always(sim.random(0..=40) != 7 || strategy == StrategyKind::Fifo, "never 7");
            other.await;
        };
        if strategy == StrategyKind::Fifo {
            assert!(check().seeds(5).outcome(body).is_ok());
            continue;
        }
        let among = failed(check().seeds(2_000).outcome(body));
        let env = Env { seed: among.seed, ..Env::default() };
        let by_itself = failed(check().with_env(env).outcome(body));
        assert_eq!((&among.choices, &among.message), (&by_itself.choices, &by_itself.message));
        assert_eq!(among.choices, ["future test draws 7 at random"], "{}", strategy.name());
        assert_eq!((&*among.verdict, among.rule.as_deref()), ("always", Some("never 7")));
    }
}

#[test]
fn time_is_virtual_and_exact() {
    alone().seeds(50).run(|sim| async move {
        assert_eq!(sim.now(), Duration::ZERO);
        sim.sleep(Duration::from_secs(86_400 * 365)).await;
        assert_eq!(sim.now(), Duration::from_secs(86_400 * 365));
        assert_eq!(sim.timeout(ms(5), sim.sleep(ms(6))).await, Err(Elapsed(ms(5))));
        assert_eq!(sim.timeout(ms(5), async { 7 }).await, Ok(7));
        assert_eq!(sim.now(), Duration::from_secs(86_400 * 365) + ms(5));
    });
}

#[test]
fn chance_reaches_the_whole_of_its_range_and_the_plain_run_has_none() {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&seen);
    alone().seeds(400).strategy(StrategyKind::Random).run(move |sim| {
        let note = Rc::clone(&note);
        async move {
            let (small, all) = (sim.random(3..=5), sim.random(0..=u64::MAX));
            assert_eq!(sim.random(9..=9), 9);
            note.borrow_mut().push((small, all, *sim.pick(&['x', 'y']), sim.buggify("b")));
        }
    });
    let seen = seen.borrow();
    assert_eq!(seen[0], (3, 0, 'x', false), "the plain run comes first");
    for small in 3..=5 {
        assert!(seen.iter().filter(|draw| draw.0 == small).count() > 90);
    }
    assert!(seen.iter().any(|draw| draw.1 > u64::MAX / 4 * 3) && seen.iter().all(|draw| draw.0 <= 5));
    let struck = seen.iter().filter(|draw| draw.3).count();
    assert!((10..45).contains(&struck), "one in sixteen of 400, not {struck}");
}

#[test]
fn a_fault_comes_in_few_runs_and_often_in_these() {
    let runs = Rc::new(RefCell::new(Vec::new()));
    let note = Rc::clone(&runs);
    alone().seeds(400).run(move |sim| {
        let note = Rc::clone(&note);
        async move {
            let struck = (0..40).filter(|_| sim.buggify("disk full")).count();
            note.borrow_mut().push(struck);
        }
    });
    let runs = runs.borrow();
    let armed = runs.iter().filter(|&&struck| struck > 0).count();
    assert!((60..140).contains(&armed), "{armed} of 401 runs");
    let struck: usize = runs.iter().sum();
    assert!((7 * armed..13 * armed).contains(&struck), "{struck} times in {armed} runs");
    let off = Faults { buggify: false, ..Faults::default() };
    alone().faults(off).run(|sim| async move { assert!(!sim.buggify("disk full")) });
}

#[test]
fn a_fault_is_named_in_the_report() {
    let failed = failed(alone().outcome(|sim: Sim| async move {
        sim.sleep(ms(100)).await;
        assert!(!sim.buggify("disk full"), "the disk is full");
    }));
    assert_eq!(failed.choices, ["the fault `disk full` is possible", "the fault `disk full` happens"]);
    assert!(failed.report.contains("at 100ms: the fault `disk full` happens"), "{}", failed.report);
}

#[test]
fn what_should_hold_sometimes_and_never_does_fails_the_check() {
    let outcome = alone().seeds(30).outcome(|sim: Sim| async move {
        sim.sometimes(sim.random(0..=1) == 1, "heads");
        sim.sometimes(false, "pigs fly");
    });
    let Err(CheckError::NeverHeld(text)) = outcome else { panic!("{outcome:?}") };
    assert!(
        text.contains("in 31 runs") && text.contains("`pigs fly` never held; it was asked for 31 times"),
        "{text}"
    );
    assert!(!text.contains("heads") && text.contains("SIMVISOR_SEEDS=300 "), "{text}");
    let passed = alone().seeds(30).outcome(|sim: Sim| async move { sim.sometimes(true, "always") });
    assert_eq!(passed.expect("it held").sometimes, [("always".to_owned(), 31)]);
    let env = Env { seed: Some(1), ..Env::default() };
    let one = alone().with_env(env).outcome(|sim: Sim| async move { sim.sometimes(false, "pigs fly") });
    assert!(one.is_ok(), "one seed proves nothing about sometimes");
}

#[test]
fn channels_and_futures_of_others_work() {
    alone().seeds(100).run(|sim| async move {
        let (mut send, receive) = mpsc::channel(1);
        let (tell, told) = oneshot::channel();
        let inner = sim.clone();
        let producer = sim.spawn("producer", async move {
            for number in 0..10 {
                inner.sleep(ms(inner.random(0..=3))).await;
                send.send(number).await.expect("somebody listens");
            }
            tell.send("done").expect("somebody waits");
        });
        let got: Vec<i32> = receive.collect().await;
        assert_eq!(got, (0..10).collect::<Vec<_>>());
        assert_eq!(told.await, Ok("done"));
        producer.await;
        let endless = sim.spawn("endless", std::future::pending::<()>());
        endless.abort();
        sim.yield_now().await;
        assert!(!endless.is_finished());
    });
}

/// A supervisor with everything, used as a user would.
async fn everything(sim: Sim) -> Result<(), RuntimeError> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let config = SupervisorConfig { grace: ms(500), max_concurrent: 3, ..SupervisorConfig::default() };
    let supervisor = sim
        .supervisor()
        .config(config)
        .controller(ControllerConfig::default())
        .subscriber(Rc::new(Ear { seen: Rc::clone(&seen), sim: sim.clone() }))
        .build();
    let attempts = Rc::new(Cell::new(0));
    let flaky = {
        let (sim, attempts) = (sim.clone(), Rc::clone(&attempts));
        sim.clone().task("flaky", move |_| {
            let (sim, attempts) = (sim.clone(), Rc::clone(&attempts));
            async move {
                attempts.set(attempts.get() + 1);
                sim.sleep(ms(sim.random(0..=20))).await;
                match attempts.get() {
                    1 => Err(TaskError::Fail { reason: "not yet".to_owned() }),
                    2 => panic!("still not"),
                    _ => Ok(()),
                }
            }
        })
    }
    .with_backoff(BackoffPolicy { first: ms(10), ..BackoffPolicy::default() });
    let stubborn = {
        let sim = sim.clone();
        sim.clone().task("stubborn", move |ctx| {
            let sim = sim.clone();
            async move {
                ctx.cancelled().await;
                sim.sleep(ms(30)).await;
                Err(TaskError::Canceled)
            }
        })
    };
    let slow = sim.clone().task("slow", {
        let sim = sim.clone();
        move |_| {
            let sim = sim.clone();
            async move {
                sim.sleep(ms(100)).await;
                Ok(())
            }
        }
    });
    let steady = sim.task("steady", |ctx| async move {
        ctx.cancelled().await;
        Ok(())
    });
    supervisor.start(vec![flaky, stubborn, steady]);
    supervisor.wait_ready().await;
    assert_eq!(supervisor.list_tasks().len(), 3);
    let spec = || slow.clone().with_restart(RestartPolicy::Never).with_timeout(Some(ms(50)));
    supervisor.add_task(spec())?;
    assert!(matches!(supervisor.add_task(spec()), Err(RuntimeError::TaskAlreadyExists { .. })));
    supervisor.submit(ControllerSpec::queue(slow.clone())).await.expect("there is room");
    assert!(supervisor.cancel("stubborn").await?);
    assert!(!supervisor.cancel("nobody").await?);
    assert!(supervisor.remove_task("nobody").is_err() && !supervisor.is_alive("nobody"));
    let _ = supervisor.snapshot();
    sim.sleep(ms(sim.random(0..=200))).await;
    supervisor.stop().await?;
    assert!(seen.borrow().contains(&EventKind::AllStoppedWithinGrace));
    Ok(())
}

struct Ear {
    seen: Rc<RefCell<Vec<EventKind>>>,
    sim: Sim,
}

impl Subscribe for Ear {
    fn name(&self) -> &str {
        "ear"
    }

    fn on_event<'a>(&'a self, event: &'a Event) -> Handled<'a> {
        Handled::later(async move {
            if self.sim.random(0..=3) == 1 {
                self.sim.sleep(ms(1)).await;
            }
            self.seen.borrow_mut().push(event.kind);
            assert!(event.kind != EventKind::TaskFailed, "a handler that panics is nobody's business");
        })
    }
}

#[test]
fn a_supervisor_with_everything_breaks_no_rule() {
    let passed = alone().seeds(300).outcome(everything).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(passed.runs, 301);
    let faults = Faults { disorder: Disorder::LateAndTwice, attempts_fail: true, ..Faults::default() };
    let passed =
        alone().seeds(300).faults(faults).outcome(everything).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(passed.runs, 301);
}

#[test]
fn a_broken_rule_is_told_with_its_sentence_and_can_be_switched_off() {
    // Calls that go past the record look like events that nobody asked for.
    async fn unrecorded(sim: Sim) {
        let supervisor = sim.supervisor().build();
        supervisor.start_serving();
        supervisor.wait_ready().await;
        let task = sim.task("ghost", |ctx| async move {
            ctx.cancelled().await;
            Ok(())
        });
        supervisor.as_supervisor().add_task(task).expect("the name is free");
        assert_eq!(supervisor.list_tasks().len(), 1);
        supervisor.stop().await.expect("in time");
    }
    let failed = failed(alone().outcome(unrecorded));
    assert_eq!(failed.verdict, "rule", "{}", failed.report);
    let rule = failed.rule.clone().expect("a rule");
    let sentence = simvisor_sim::report::sentence(&rule);
    assert!(!sentence.is_empty() && failed.report.contains(sentence), "{}", failed.report);
    assert!(failed.report.contains("failed in the plain run"), "{}", failed.report);
    assert!(failed.report.contains("none: it fails in the plain run"), "{}", failed.report);
    assert!(failed.command.contains("SIMVISOR_SEED=0x0 SIMVISOR_STRATEGY=fifo"), "{}", failed.command);
    assert!(alone().seeds(3).without_rules().outcome(unrecorded).is_ok());
    let other = alone().seeds(3).without_rule(&rule).outcome(unrecorded);
    assert!(match other {
        Ok(_) => true,
        Err(CheckError::Failed(failed)) => failed.rule.as_deref() != Some(&*rule),
        Err(_) => false,
    });
}

#[test]
fn a_panic_of_a_supervised_body_is_a_restart_or_a_failure_as_one_likes() {
    async fn body(sim: Sim) {
        let supervisor = sim.supervisor().build();
        let task = sim.task("fragile", |_| async { panic!("dropped it") });
        let run = supervisor.run(vec![task.with_restart(RestartPolicy::Never)]).await;
        assert_eq!(run, Ok(()));
    }
    assert!(alone().seeds(5).outcome(body).is_ok());
    let failed = failed(alone().task_panics(TaskPanics::Fail).outcome(body));
    assert!(failed.message.starts_with("task fragile panicked: dropped it"), "{}", failed.message);
}

#[test]
fn what_never_ends_is_told_by_name() {
    let deadlock = failed(alone().outcome(|sim: Sim| async move {
        let _send: mpsc::Sender<()> = mpsc::channel(1).0;
        sim.spawn("reader", std::future::pending::<()>());
        std::future::pending::<()>().await;
    }));
    assert_eq!(deadlock.verdict, "deadlock");
    assert!(
        deadlock.message.contains("test waits for") && deadlock.message.contains("reader"),
        "{deadlock:?}"
    );

    let livelock = failed(alone().outcome(|sim: Sim| async move {
        while sim.now() == Duration::ZERO {
            sim.yield_now().await;
        }
    }));
    assert_eq!(livelock.verdict, "livelock");
    assert!(livelock.message.contains("test keeps running"), "{}", livelock.message);

    let limits = Limits { turns_max: 100, ..Limits::default() };
    let limit = failed(alone().limits(limits).outcome(|sim: Sim| async move {
        while sim.now() < Duration::MAX {
            sim.sleep(ms(1)).await;
        }
    }));
    assert_eq!((&*limit.verdict, &*limit.message), ("limit", "given up after 100 turns"));
}

#[test]
fn errors_panics_of_others_and_panics_outside_of_futures_fail_the_test() {
    let error = failed(alone().outcome(|_| async { Err::<(), _>("no luck") }));
    assert_eq!((&*error.verdict, &*error.message), ("error", "\"no luck\""));

    let other = failed(alone().outcome(|sim: Sim| async move {
        sim.spawn("helper", async { panic!("helpless") });
        sim.sleep(ms(1)).await;
    }));
    assert!(other.message.starts_with("helper panicked: helpless"), "{}", other.message);

    fn no_body(_: Sim) -> std::future::Ready<()> {
        panic!("no body")
    }
    let outside = failed(alone().outcome(no_body));
    assert!(outside.message.contains("outside its futures: no body"), "{}", outside.message);

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let late = failed(alone().outcome(|sim: Sim| async move {
        let bomb = Bomb;
        sim.spawn("holder", async move {
            let _bomb = bomb;
            std::future::pending::<()>().await;
        });
        sim.yield_now().await;
    }));
    assert!(late.message.contains("boom"), "{}", late.message);
}

#[test]
fn a_failing_run_is_shown_with_its_notes_and_others_are_not_logged() {
    let logged = Rc::new(Cell::new(0));
    let count = Rc::clone(&logged);
    let failed = failed(alone().outcome(move |sim: Sim| {
        count.set(count.get() + u32::from(sim.is_logged()));
        async move {
            sim.set_wall(ms(5), WallJump::Back);
            sim.sleep(ms(100)).await;
            sim.note("a note in passing");
            let drawn = sim.random(0..=3);
            sim.always(drawn < 3, "below 3");
            sim.sleep(ms(1)).await;
            assert!(drawn < 3, "it should have ended");
        }
    }));
    assert_eq!(logged.get(), 1);
    assert_eq!(failed.rule.as_deref(), Some("below 3"));
    let row =
        failed.report.lines().find(|line| line.contains("a note in passing")).expect("the note is shown");
    assert!(row.contains("100ms"), "{row}");
}

#[test]
fn threads_and_chance_from_outside_are_told_as_nondeterminism() {
    let by_thread = failed(alone().outcome(|sim: Sim| async move {
        let (tell, told) = oneshot::channel();
        let reader = sim.spawn("reader", async { told.await.expect("it is told") });
        sim.sleep(ms(1)).await;
        std::thread::spawn(move || tell.send(())).join().expect("no panic").expect("somebody waits");
        reader.await;
    }));
    assert_eq!(by_thread.verdict, "nondeterminism", "{}", by_thread.report);
    assert!(by_thread.message.contains("another thread"), "{}", by_thread.message);

    let env = || Env { check_determinism: Some(true), ..Env::default() };
    let by_order = failed(alone().with_env(env()).outcome(|sim: Sim| async move {
        let names: HashMap<u32, ()> = (0..30).map(|number| (number, ())).collect();
        for name in names.keys() {
            let inner = sim.clone();
            let name = *name;
            sim.spawn(&format!("f{name}"), async move { inner.note(name) });
        }
        sim.sleep(ms(1)).await;
    }));
    assert_eq!(by_order.verdict, "nondeterminism", "{}", by_order.report);
    assert!(
        by_order.message.contains("row ") && by_order.message.contains("HashMap"),
        "{}",
        by_order.message
    );
    assert!(
        by_order.command.contains("SIMVISOR_CHECK_DETERMINISM=1 SIMVISOR_SEED=0x0"),
        "{}",
        by_order.command
    );

    static COUNT: AtomicU32 = AtomicU32::new(0);
    let by_static = failed(alone().with_env(env()).outcome(|_| async {
        assert!(COUNT.fetch_add(1, Ordering::Relaxed).is_multiple_of(2), "odd");
    }));
    assert!(by_static.message.contains("a static"), "{}", by_static.message);

    assert!(alone().seeds(50).with_env(env()).outcome(everything).is_ok());
}

#[test]
fn a_failure_that_does_not_come_again_is_not_told_as_if_it_did() {
    let runs = Rc::new(Cell::new(0));
    let failed = failed(alone().outcome(move |_| {
        runs.set(runs.get() + 1);
        let run = runs.get();
        async move { assert!(run != 5, "the fifth") }
    }));
    assert_eq!(failed.verdict, "nondeterminism");
    assert!(
        failed.message.contains("the fifth") && failed.message.contains("it did not come"),
        "{}",
        failed.message
    );
}

/// A checkout with a race between `pay` and `cancel`; `extra` futures were added by an edit.
fn checkout(extra: u32) -> impl Fn(Sim) -> LocalBoxFuture<'static, ()> {
    move |sim| {
        async move {
            let state = Rc::new(Cell::new("open"));
            for number in 0..extra {
                let inner = sim.clone();
                sim.spawn(&format!("extra {number}"), async move { inner.yield_now().await });
            }
            let paid = Rc::clone(&state);
            let pay = sim.spawn("pay", async move {
                if paid.get() == "open" {
                    paid.set("paid");
                }
            });
            let cancelled = Rc::clone(&state);
            let cancel = sim.spawn("cancel", async move {
                if cancelled.get() == "open" {
                    cancelled.set("cancelled");
                }
            });
            pay.await;
            cancel.await;
            assert_eq!(state.get(), "paid");
        }
        .boxed_local()
    }
}

#[test]
fn a_failure_is_kept_replayed_first_and_outlives_an_edit() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    // Each on a thread of one name, so that all are the first check of the same test. cargo-nextest names it itself.
    let test = std::env::var("NEXTEST_TEST_NAME").unwrap_or_else(|_| "shop::orders_are_paid".to_owned());
    let beginning = format!("{}-", test.replace("::", "."));
    let check = |env: Env, extra: u32| -> Result<Passed, CheckError> {
        let path = directory.to_owned();
        let work = move || in_env(env, &path).outcome(checkout(extra));
        std::thread::Builder::new()
            .name(test.clone())
            .spawn(work)
            .expect("a thread")
            .join()
            .expect("it panics only within worlds")
    };
    let first = failed(check(Env::default(), 0));
    assert_eq!(first.choices.len(), 1, "{}", first.report);
    assert!(first.choices[0].contains("runs before future pay"), "{}", first.report);
    let case = first.case.clone().expect("it is kept");
    assert!(case.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&beginning)));
    let files = || std::fs::read_dir(directory).expect("it is there").count();
    assert_eq!(files(), 1);

    let again = failed(check(Env::default(), 0));
    assert_eq!((again.runs, &again.case), (1, &Some(case.clone())), "it comes first");
    assert!(again.report.contains("failed as it did in"), "{}", again.report);
    assert!(
        again.report.contains("the recorded choice fitted, 1 of 1; the same failure comes"),
        "{}",
        again.report
    );
    assert!(again.command.starts_with("SIMVISOR_CASE="), "{}", again.command);

    let by_case = failed(check(Env { case: Some(case.clone()), ..Env::default() }, 0));
    assert_eq!((by_case.runs, &by_case.choices), (1, &first.choices));

    let edited = failed(check(Env::default(), 3));
    assert_eq!(edited.runs, 1, "the case outlives an edit: {}", edited.report);

    // What the case names is gone.
    let text = std::fs::read_to_string(&case).expect("it is there");
    let other = text.replace("\"name\": \"pay\"", "\"name\": \"settle\"");
    assert_ne!(other, text);
    std::fs::write(&case, &other).expect("it can be written");
    let env = Env {
        case: Some(case.clone()),
        log: Some(simvisor_sim::env::Shown::Timeline(Detail::All)),
        ..Env::default()
    };
    let passed = check(env, 0).expect("the plain run passes");
    assert_eq!(passed.remarks.len(), 1);
    let remark = &passed.remarks[0];
    for part in [
        "0 of 1 recorded",
        "no. 1, `",
        "before future settle`",
        "the run did not come to it",
        "does not come any more",
    ] {
        assert!(remark.contains(part), "{remark}");
    }
    assert!(passed.timeline.is_some_and(|timeline| timeline.contains("time  seq")));

    std::fs::write(&case, text.replace(&test, "shop::another")).expect("it can be written");
    let foreign = check(Env::default(), 0).expect_err("it is not ours").to_string();
    assert!(foreign.contains("`shop::another`") && foreign.contains(&format!("`{test}`")), "{foreign}");

    for (broken, expected) in [
        ("", "the file is empty"),
        ("{\"format\": \"simvisor-case\", \"kind\": \"program\", \"version\": 9}", "version 9 is newer"),
        ("{\"format\": \"simvisor-case\", \"kind\": \"program\", \"version\": 0}", "`version` must be"),
        ("\u{0}\u{1}", "line 1"),
    ] {
        std::fs::write(&case, broken).expect("it can be written");
        let error = check(Env::default(), 0).expect_err("it cannot be read").to_string();
        assert!(error.contains(&beginning) && error.contains(expected), "{error}");
    }
    assert_eq!(files(), 1);
}

#[test]
fn a_case_that_is_nowhere_or_a_directory_is_an_error_that_names_it() {
    for (path, expected) in [("no/such.json", "cannot be read"), ("tests", "is a directory")] {
        let env = Env { case: Some(path.into()), ..Env::default() };
        let error = alone().with_env(env).outcome(|_| async {}).expect_err("no case").to_string();
        assert!(error.contains(path) && error.contains(expected), "{error}");
    }
}

#[test]
fn the_environment_overrules_the_test() {
    let runs = |env: Env| alone().seeds(7).with_env(env).outcome(|_| async {}).expect("it passes").runs;
    assert_eq!(runs(Env::default()), 8);
    assert_eq!(runs(Env { seeds: Some(3), ..Env::default() }), 4);
    assert_eq!(runs(Env { seed: Some(3), ..Env::default() }), 2);
    let only_fifo = |sim: Sim| async move { assert_eq!(sim.random(0..=1_000), 0) };
    let env = Env { strategy: Some(StrategyKind::Fifo), ..Env::default() };
    assert!(alone().with_env(env).outcome(only_fifo).is_ok());
    let env = Env { strategy: Some(StrategyKind::Pct), ..Env::default() };
    let failed = failed(alone().with_env(env).outcome(only_fifo));
    assert!(failed.command.contains("SIMVISOR_STRATEGY=pct "), "{}", failed.command);
}

#[test]
fn checks_on_many_threads_do_not_disturb_each_other() {
    let reports: Vec<_> = (0..4)
        .map(|_| {
            std::thread::Builder::new()
                .name("same".to_owned())
                .spawn(|| failed(alone().outcome(lost_update)).report)
                .expect("a thread")
        })
        .collect();
    let reports: Vec<_> =
        reports.into_iter().map(|thread| thread.join().expect("no panic comes out")).collect();
    assert!(reports.iter().all(|report| *report == reports[0]), "{reports:#?}");
}

#[test]
fn a_failing_check_panics_with_its_report_at_the_test() {
    let outcome = std::panic::catch_unwind(|| {
        alone().run(|sim| async move { assert!(sim.now() > ms(0), "on purpose") });
    });
    let payload = outcome.expect_err("it fails");
    let text = payload.downcast_ref::<String>().expect("a text");
    assert!(text.contains("test panicked: on purpose") && text.contains("again"), "{text}");
}

#[test]
fn the_table_of_variables_in_the_guide_is_that_of_the_program() {
    let guide = include_str!("../../docs/testing.md");
    let rows: Vec<_> = guide
        .lines()
        .filter(|line| line.starts_with("| `SIMVISOR_"))
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .collect();
    let told: Vec<_> = rows.iter().map(|row| (row[1].trim_matches('`'), row[3])).collect();
    let known: Vec<_> =
        simvisor_sim::env::VARIABLES.iter().map(|variable| (variable.name, variable.does)).collect();
    assert_eq!(told, known);
    for strategy in StrategyKind::ALL {
        assert!(guide.contains(&format!("`{}`", strategy.name())), "{}", strategy.name());
    }
}

/// These are run by other tests, in a process of their own.
mod on_purpose {
    use super::*;

    #[test]
    #[ignore = "fails on purpose"]
    fn an_update_is_lost() {
        Check::new().regressions(Regressions::Nowhere).run(lost_update);
    }

    #[test]
    #[ignore = "fails on purpose"]
    fn an_ordinary_panic() {
        panic!("an ordinary panic");
    }

    #[test]
    #[ignore = "run by others"]
    fn many_panics_are_caught() {
        let remark = std::cell::Cell::new(0);
        alone().run(|sim| {
            remark.set(remark.get() + 1);
            async move {
                let task = sim.task("fragile", |_| async { panic!("a supervised panic") });
                let spec = task.with_restart(RestartPolicy::Never);
                assert_eq!(sim.supervisor().build().run(vec![spec]).await, Ok(()));
            }
        });
        assert_eq!(remark.get(), 257);
    }
}

/// These too; each ends its process, or would if it were not so slow.
mod endless {
    use super::*;

    /// Keeps its thread busy until it is ended, or nobody has noticed for so long that nobody will.
    fn spin() -> ! {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            std::hint::spin_loop();
        }
        panic!("nobody noticed");
    }

    fn impatient() -> Check {
        Check::new().regressions(Regressions::Nowhere).hang_after(ms(80))
    }

    #[test]
    #[ignore = "hangs on purpose"]
    fn a_task_spins_under_some_seeds() {
        impatient().run(|sim| async move {
            let inner = sim.clone();
            let task = sim.task("worker", move |_| {
                let sim = inner.clone();
                async move {
                    sim.sleep(ms(7)).await;
                    sim.note("about to spin");
                    if sim.random(0..=9) == 9 { spin() } else { Ok(()) }
                }
            });
            let spec = task.with_restart(RestartPolicy::Never);
            assert_eq!(sim.supervisor().build().run(vec![spec]).await, Ok(()));
        });
    }

    #[test]
    #[ignore = "hangs on purpose"]
    fn the_plain_run_blocks() {
        impatient().run(|sim| async move {
            sim.spawn("blocker", async { std::thread::sleep(Duration::from_secs(20)) }).await;
        });
    }

    #[test]
    #[ignore = "hangs on purpose"]
    fn a_simpler_run_spins() {
        impatient().run(|sim| async move {
            let (first, second) = (sim.random(0..=9) > 4, sim.random(0..=9) > 4);
            match (first, second) {
                (true, true) => panic!("both are large"),
                (true, false) | (false, true) => spin(),
                (false, false) => {}
            }
        });
    }

    #[test]
    #[ignore = "run by others"]
    fn slow_work_with_awaits_passes() {
        impatient().seeds(1).run(|sim| async move {
            for _ in 0..10 {
                std::thread::sleep(ms(20));
                sim.yield_now().await;
            }
        });
    }
}

/// What this program prints and whether it passes, with these arguments, in an environment without our variables but
/// these.
fn this_program(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let (code, text) = code_of_this_program(arguments, variables);
    (code == Some(0), text)
}

/// As [`this_program`], with its exit code.
fn code_of_this_program(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let program = std::env::current_exe().expect("this program");
    let mut command = std::process::Command::new(program);
    for variable in simvisor_sim::env::VARIABLES {
        command.env_remove(variable.name);
    }
    let output = command
        .args(arguments)
        .args(["--ignored", "--nocapture"])
        .env("RUST_BACKTRACE", "0")
        .env_remove("NEXTEST")
        .env_remove("NEXTEST_TEST_NAME")
        .envs(variables.iter().copied())
        .output()
        .expect("it starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn the_printed_line_runs_this_test_alone_on_one_thread_and_on_many() {
    let name = "on_purpose::an_update_is_lost";
    for threads in ["--test-threads=1", "--test-threads=4"] {
        let (passed, text) = this_program(&["--exact", name, threads], &[]);
        assert!(!passed && text.contains("an update was lost"), "{text}");
        assert!(text.contains("panicked at sim/tests/check.rs:"), "the panic is placed at the call:\n{text}");
        let again =
            text.lines().find_map(|line| line.trim().strip_prefix("again    ")).expect("a line to copy");
        let (variable, command) = again.split_once(' ').expect("a variable and a command");
        assert_eq!(command, format!("cargo test -p simvisor-sim --test check -- --exact {name}"));
        let (seed, value) = variable.split_once('=').expect("a variable and its value");
        let (passed, alone) = this_program(&["--exact", name, threads], &[(seed, value)]);
        assert!(!passed && alone.contains(again), "{alone}");
        let broken = |text: &str| {
            text.lines().filter(|line| line.contains("  at ")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(broken(&alone), broken(&text));
    }
    let nextest = [("NEXTEST", "1"), ("NEXTEST_TEST_NAME", name)];
    let (_, text) = this_program(&["--exact", name], &nextest);
    let line = format!("cargo nextest run -p simvisor-sim --test check -E 'test(={name})'");
    assert!(text.contains(&line), "{text}");
}

#[test]
fn a_run_that_does_not_give_control_back_is_told_by_name_and_ends_the_process() {
    let name = "endless::a_task_spins_under_some_seeds";
    let (code, text) = code_of_this_program(&["--exact", name], &[]);
    assert_eq!(code, Some(101), "{text}");
    for part in [
        "endless::a_task_spins_under_some_seeds failed under seed 0x",
        "hang: the body of the task `worker` did not give control back for 80ms of real time",
        "7ms of virtual time",
        "no case: the run has no end",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("about to spin"), "this run was not asked for alone:\n{text}");
    let again = text.lines().find_map(|line| line.trim().strip_prefix("again    ")).expect("a line to copy");
    let (variable, command) = again.split_once(' ').expect("a variable and a command");
    assert_eq!(command, format!("cargo test -p simvisor-sim --test check -- --exact {name}"));
    let (code, alone) = code_of_this_program(
        &["--exact", name],
        &[variable.split_once('=').expect("a variable and its value")],
    );
    assert_eq!(code, Some(101), "{alone}");
    assert!(alone.contains(again) && alone.contains("body 1 entered"), "{alone}");
    assert!(alone.contains("about to spin"), "the last row is what came just before:\n{alone}");
}

#[test]
fn a_hang_of_the_plain_run_and_one_while_a_failure_is_made_simple_are_told_as_such() {
    let (code, text) = code_of_this_program(&["--exact", "endless::the_plain_run_blocks"], &[]);
    assert_eq!(code, Some(101), "{text}");
    assert!(text.contains("the_plain_run_blocks failed in the plain run"), "{text}");
    assert!(text.contains("hang: `blocker` did not give control back"), "{text}");
    assert!(text.contains("SIMVISOR_SEED=0x0 SIMVISOR_STRATEGY=fifo cargo test"), "{text}");

    let strategy = [("SIMVISOR_STRATEGY", "random")];
    for seed in 0..64_u32 {
        // Seeds that spin at once are told as every other hang.
        let seed = seed.to_string();
        let variables = [strategy[0], ("SIMVISOR_SEED", &*seed)];
        let (code, text) = code_of_this_program(&["--exact", "endless::a_simpler_run_spins"], &variables);
        if code == Some(0) || text.contains("hang: `test`") {
            continue;
        }
        assert_eq!(code, Some(101), "{text}");
        assert!(text.contains("broken   panic: test panicked: both are large"), "{text}");
        assert!(
            text.contains("shrunk   not to its end: in another run `test` did not give control back"),
            "{text}"
        );
        assert!(text.contains("shrink_runs_max(0)"), "{text}");
        return;
    }
    panic!("no seed draws two large numbers");
}

#[test]
fn real_time_is_not_counted_while_a_run_goes_on_and_the_environment_says_how_much_counts() {
    let name = "endless::slow_work_with_awaits_passes";
    let (code, text) = code_of_this_program(&["--exact", name], &[]);
    assert_eq!(code, Some(0), "{text}");
    let began = std::time::Instant::now();
    let seconds = [("SIMVISOR_HANG_AFTER", "1")];
    let (code, text) = code_of_this_program(&["--exact", "endless::the_plain_run_blocks"], &seconds);
    assert!(code == Some(101) && text.contains("for 1s of real time"), "{text}");
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_malformed_environment_fails_a_test_and_names_the_variable() {
    for (variable, value, expected) in [
        ("SIMVISOR_SEED", "0xyz", "SIMVISOR_SEED=0xyz makes no sense"),
        ("SIMVISOR_SEDE", "1", "did you mean SIMVISOR_SEED?"),
        ("SIMVISOR_CASE", "/no/such/case.json", "/no/such/case.json: cannot be read"),
    ] {
        let (passed, text) =
            this_program(&["--exact", "on_purpose::an_update_is_lost"], &[(variable, value)]);
        assert!(!passed && text.contains(expected) && !text.contains("an update was lost"), "{text}");
    }
}

#[test]
fn panics_in_worlds_print_nothing_and_others_print_what_they_always_did() {
    let (passed, text) = this_program(&["--test-threads=4", "on_purpose::"], &[]);
    assert!(!passed);
    assert!(!text.contains("a supervised panic"), "{text}");
    assert_eq!(text.matches("an ordinary panic").count(), 1, "{text}");
    assert_eq!(text.matches("thread 'on_purpose::an_ordinary_panic'").count(), 1, "{text}");
    assert_eq!(text.matches("broken   panic: test panicked").count(), 1, "{text}");
    assert!(text.contains("1 passed; 2 failed"), "{text}");
}
