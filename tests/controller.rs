//! The controller at work: contract section 8, rule by rule, on the simulator's engine.
//!
//! Scenarios with a story of their own run first in, first out, where every turn can be foretold; the last ones run
//! under many random schedules and look at nothing but the rules.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{Either, select};
use simvisor::sync::Latch;
use simvisor::{
    AdmissionPolicy, ControllerConfig, ControllerError, ControllerSpec, Event, EventKind, Handled, Observe,
    RestartPolicy, RuntimeError, Subscribe, Supervisor, SupervisorBuilder, SupervisorConfig, TaskFn,
    TaskSpec,
};
use simvisor_sim::choice::{Fit, Source};
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::seeded;
use simvisor_sim::world::{End, Engine, Finished, Handle, LaneKind, Limits};

const MS: u64 = 1_000_000;
const GRACE: Duration = Duration::from_millis(100);

/// What a scenario works with. Cheap to clone.
#[derive(Clone)]
struct Stage {
    world: Handle,
    supervisor: Supervisor,
    log: Log,
    operations: Rc<Cell<u32>>,
}

/// What happened, in words and in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn say(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }
}

impl Observe for Log {
    fn event(&self, event: &Event) {
        let task = event.task.as_deref().unwrap_or_default();
        let reason = event.reason.as_deref().unwrap_or_default();
        self.say(match event.kind {
            EventKind::ControllerRejected => format!("{task} rejected {reason}"),
            EventKind::ControllerSubmitted => format!("{task} submitted {reason}"),
            EventKind::ControllerSlotTransition => format!("{task} {reason}"),
            EventKind::TaskAddRequested => format!("{task} add requested"),
            EventKind::TaskAdded => format!("{task} added"),
            EventKind::TaskRemoveRequested => format!("{task} removal requested"),
            EventKind::TaskRemoved => format!("{task} removed"),
            EventKind::TaskStarting
            | EventKind::TaskStopped
            | EventKind::TaskFailed
            | EventKind::ActorExhausted => return,
            kind => format!("{kind:?}"),
        });
    }
}

impl Stage {
    /// Does something at an instant, in milliseconds.
    fn at<F: Future<Output = ()> + 'static>(&self, at_ms: u64, action: impl FnOnce(Stage) -> F + 'static) {
        let stage = self.clone();
        let number = self.operations.get() + 1;
        self.operations.set(number);
        self.world.spawn(LaneKind::Operation, &Arc::from(format!("{number}")), async move {
            stage.world.sleep_until_ns(at_ms * MS).await;
            action(stage).await;
        });
    }

    /// As [`Stage::at`], for what needs no waiting.
    fn now_at(&self, at_ms: u64, action: impl FnOnce(&Stage) + 'static) {
        self.at(at_ms, |stage| async move { action(&stage) });
    }

    /// A task that runs for so long, or until it is told to end, and then takes `cleanup_ms`. It says when it begins.
    fn task(&self, name: &str, label: &str, run_ms: u64, cleanup_ms: u64) -> TaskSpec {
        let (world, log, label) = (self.world.clone(), self.log.clone(), label.to_owned());
        let body = TaskFn::arc(name, move |ctx| {
            let (world, log, label) = (world.clone(), log.clone(), label.clone());
            async move {
                log.say(format!("begin {label}"));
                if let Either::Right(_) = select(world.sleep_ns(run_ms * MS), ctx.cancelled()).await {
                    world.sleep_ns(cleanup_ms * MS).await;
                }
                Ok(())
            }
        });
        TaskSpec::new(body).with_restart(RestartPolicy::Never)
    }

    /// Submits a task of slot `web` that runs for 10 ms and takes 5 ms to clean up.
    fn web(&self, policy: AdmissionPolicy, label: &str) -> Result<(), ControllerError> {
        self.supervisor.try_submit(ControllerSpec::new(policy, self.task("web", label, 10, 5)))
    }

    fn queue(&self, label: &str) {
        self.web(AdmissionPolicy::Queue, label).expect("there is room");
    }

    fn replace(&self, label: &str) {
        self.web(AdmissionPolicy::Replace, label).expect("there is room");
    }

    fn drop_if_running(&self, label: &str) {
        self.web(AdmissionPolicy::DropIfRunning, label).expect("there is room");
    }

    /// Waits for room with a queued submission and says what came of it.
    async fn submit(&self, label: &str) {
        let result = self.supervisor.submit(ControllerSpec::queue(self.task("web", label, 10, 5))).await;
        self.log.say(format!("submit {label}: {result:?}"));
    }

    /// Runs with these specs, from instant 0.
    fn run(&self, specs: Vec<TaskSpec>) {
        let stage = self.clone();
        self.world.spawn_run(async move {
            let result = stage.supervisor.run(specs).await;
            stage.ended(result);
        });
    }

    fn serve(&self) {
        let stage = self.clone();
        self.world.spawn_run(async move {
            let result = stage.supervisor.serve().await;
            stage.ended(result);
        });
    }

    /// Whatever a run's story was, it ends like this (\[C4\], \[D6\]).
    fn ended(&self, result: Result<(), RuntimeError>) {
        self.log.say(match result {
            Ok(()) => "returned".to_owned(),
            Err(error) => format!("returned {}", error.as_label()),
        });
        assert_eq!(self.world.leftovers(), (0, 0), "futures and timers left");
        let counters = self.supervisor.subscriber_counters()[0].1;
        assert_eq!(counters.handled, self.supervisor.published(), "subscribers are told of everything [S6]");
        assert_eq!(self.web(AdmissionPolicy::Queue, "late"), Err(ControllerError::Closed));
    }
}

/// A subscriber that has nothing to say.
struct Audience;

impl Subscribe for Audience {
    fn name(&self) -> &str {
        "audience"
    }

    fn on_event<'a>(&'a self, _event: &'a Event) -> Handled<'a> {
        Handled::Now
    }
}

fn limits() -> ControllerConfig {
    ControllerConfig::default()
}

/// Sets a scenario up, runs it, and gives what happened.
fn play_on(
    engine: &mut Engine,
    source: Source,
    controller: Option<ControllerConfig>,
    scenario: impl FnOnce(&Stage),
) -> (Vec<String>, Finished) {
    let world = engine.world(source);
    let log = Log::default();
    let handle = world.handle();
    let config = SupervisorConfig { grace: GRACE, ..SupervisorConfig::default() };
    let mut builder = SupervisorBuilder::new(handle.rt())
        .with_config(config)
        .with_subscriber(Rc::new(Audience))
        .with_observer(Rc::new(log.clone()));
    if let Some(controller) = controller {
        builder = builder.with_controller(controller);
    }
    let supervisor = builder.build();
    let stage = Stage { world: handle, supervisor, log: log.clone(), operations: Rc::default() };
    scenario(&stage);
    let finished = world.run(&Limits::default(), |_| ());
    let lines = log.0.take();
    assert_eq!(finished.end, End::Done, "{lines:#?}");
    (lines, finished)
}

/// A scenario under FIFO.
fn play(controller: ControllerConfig, scenario: impl FnOnce(&Stage)) -> Vec<String> {
    let fifo = Source::Replayed(Vec::new(), Fit::Lenient);
    play_on(&mut Engine::new(), fifo, Some(controller), scenario).0
}

/// Those of the lines that hold one of the words.
fn only<'a>(lines: &'a [String], words: &[&str]) -> Vec<&'a str> {
    lines.iter().map(String::as_str).filter(|line| words.iter().any(|word| line.contains(word))).collect()
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|said| *said == line).count()
}

fn place(lines: &[String], line: &str) -> usize {
    lines.iter().position(|said| said == line).unwrap_or_else(|| panic!("no `{line}` in {lines:#?}"))
}

// [C2]: texts and order.

#[test]
fn a_submission_to_an_idle_slot_is_added_at_once_and_its_end_frees_the_slot() {
    for (policy, name) in [
        (AdmissionPolicy::Queue, "Queue"),
        (AdmissionPolicy::Replace, "Replace"),
        (AdmissionPolicy::DropIfRunning, "DropIfRunning"),
    ] {
        let lines = play(limits(), |stage| {
            stage.web(policy, "a").unwrap();
            stage.run(Vec::new());
        });
        let submitted = format!("web submitted admission={name} status=running depth=0");
        let expected = [
            "web add requested",
            "web idle→running",
            &submitted,
            "web added",
            "begin a",
            "web removed",
            "web running→idle",
            "returned",
        ];
        assert_eq!(lines, expected);
    }
}

#[test]
fn a_run_lasts_until_the_last_pending_task_has_ended() {
    let lines = play(limits(), |stage| {
        ["a", "b", "c"].iter().for_each(|label| stage.queue(label));
        stage.run(Vec::new());
    });
    let expected = [
        "web add requested",
        "web idle→running",
        "web submitted admission=Queue status=running depth=0",
        "web submitted admission=Queue status=running depth=1",
        "web submitted admission=Queue status=running depth=2",
        "web added",
        "begin a",
        "web removed",
        "web running→idle",
        "web add requested",
        "web idle→running",
        "web submitted admission=started_from_queue status=running depth=1",
        "web added",
        "begin b",
        "web removed",
        "web running→idle",
        "web add requested",
        "web idle→running",
        "web submitted admission=started_from_queue status=running depth=0",
        "web added",
        "begin c",
        "web removed",
        "web running→idle",
        "returned",
    ];
    assert_eq!(lines, expected, "[C3] [C5] [D1] [D5]");
}

#[test]
fn a_replace_removes_the_running_task_once_and_starts_after_its_removal() {
    let lines = play(limits(), |stage| {
        stage.queue("a");
        stage.now_at(3, |stage| stage.replace("b"));
        stage.run(Vec::new());
    });
    let expected = [
        "web add requested",
        "web idle→running",
        "web submitted admission=Queue status=running depth=0",
        "web added",
        "begin a",
        "web removal requested",
        "web running→terminating (replace)",
        "web submitted admission=Replace status=terminating depth=1",
        "web removed",
        "web terminating→idle",
        "web add requested",
        "web idle→running",
        "web submitted admission=started_from_queue status=running depth=0",
        "web added",
        "begin b",
        "web removed",
        "web running→idle",
        "returned",
    ];
    assert_eq!(lines, expected);
}

// [C1]: every reason of a rejection.

#[test]
fn a_full_slot_rejects_what_comes_on_top() {
    let lines = play(ControllerConfig { slot_capacity: 1, ..limits() }, |stage| {
        ["a", "b", "c"].iter().for_each(|label| stage.queue(label));
        stage.run(Vec::new());
    });
    assert_eq!(only(&lines, &["rejected"]), ["web rejected queue_full: 1/1"]);
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin b"]);
}

#[test]
fn a_slot_without_room_still_takes_a_replacement() {
    let lines = play(ControllerConfig { slot_capacity: 0, ..limits() }, |stage| {
        stage.queue("a");
        stage.queue("b");
        stage.now_at(3, |stage| stage.replace("c"));
        stage.now_at(4, |stage| stage.queue("d"));
        stage.run(Vec::new());
    });
    let expected = ["web rejected queue_full: 0/0", "web rejected queue_full: 1/0"];
    assert_eq!(only(&lines, &["rejected"]), expected);
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin c"]);
}

#[test]
fn drop_if_running_is_rejected_while_the_slot_is_taken() {
    let lines = play(limits(), |stage| {
        stage.drop_if_running("a");
        stage.now_at(3, |stage| stage.drop_if_running("b"));
        stage.now_at(4, |stage| stage.replace("c"));
        stage.now_at(5, |stage| stage.drop_if_running("d"));
        stage.now_at(50, |stage| stage.drop_if_running("e"));
        stage.now_at(80, |stage| stage.supervisor.shutdown());
        stage.serve();
    });
    let expected = ["web rejected slot_busy: running", "web rejected slot_busy: terminating"];
    assert_eq!(only(&lines, &["rejected"]), expected);
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin c", "begin e"]);
}

#[test]
fn a_storm_of_replaces_requests_one_removal_and_starts_the_last_alone() {
    let lines = play(limits(), |stage| {
        stage.queue("a");
        stage.now_at(3, |stage| ["b", "c", "d"].iter().for_each(|label| stage.replace(label)));
        stage.now_at(4, |stage| ["e", "f"].iter().for_each(|label| stage.replace(label)));
        stage.run(Vec::new());
    });
    assert_eq!(count(&lines, "web rejected superseded"), 4);
    assert_eq!(count(&lines, "web removal requested"), 1);
    assert_eq!(count(&lines, "web running→terminating (replace)"), 1);
    assert_eq!(count(&lines, "web submitted admission=Replace status=terminating depth=1"), 5);
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin f"]);
}

#[test]
fn a_replace_takes_the_head_s_place_and_leaves_those_behind_it() {
    let lines = play(limits(), |stage| {
        ["a", "b", "c"].iter().for_each(|label| stage.queue(label));
        stage.now_at(3, |stage| stage.replace("d"));
        stage.now_at(4, |stage| stage.queue("e"));
        stage.run(Vec::new());
    });
    let at = place(&lines, "web rejected superseded");
    let expected = [
        "web rejected superseded",
        "web removal requested",
        "web running→terminating (replace)",
        "web submitted admission=Replace status=terminating depth=2",
        "web submitted admission=Queue status=terminating depth=3",
    ];
    assert_eq!(lines[at..at + 5], expected);
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin d", "begin c", "begin e"]);
}

#[test]
fn a_name_that_is_registered_outside_is_never_touched() {
    let lines = play(limits(), |stage| {
        let outside = stage.task("web", "outside", 20, 0);
        stage.queue("a");
        stage.now_at(3, |stage| stage.replace("b"));
        stage.now_at(30, |stage| stage.drop_if_running("c"));
        stage.now_at(60, |stage| stage.supervisor.shutdown());
        stage.run(vec![outside, stage.task("other", "other", 50, 0)]);
    });
    assert_eq!(count(&lines, "web rejected add_failed: task `web` already exists"), 2);
    assert_eq!(only(&lines, &["begin", "requested"])[..2], ["web add requested", "other add requested"]);
    assert_eq!(count(&lines, "web removal requested"), 0);
    assert_eq!(only(&lines, &["begin"]), ["begin outside", "begin other", "begin c"]);
    let removed = place(&lines, "web removed");
    assert_eq!(only(&lines[..removed], &["→"]), [""; 0], "a namesake from outside moves no slot");
}

#[test]
fn a_namesake_that_comes_between_rejects_all_that_is_pending_and_stays() {
    let lines = play(limits(), |stage| {
        ["a", "b", "c"].iter().for_each(|label| stage.queue(label));
        let mut receiver = stage.supervisor.subscribe();
        let onlooker = stage.clone();
        stage.world.spawn(LaneKind::Receiver, &Arc::from("onlooker"), async move {
            while let Ok(event) = receiver.recv().await {
                if event.kind == EventKind::TaskRemoved {
                    // The receiver hears of the removal before the controller has its turn.
                    onlooker.supervisor.add_task(onlooker.task("web", "outside", 20, 0)).unwrap();
                    break;
                }
            }
        });
        stage.now_at(20, |stage| stage.queue("d"));
        stage.now_at(40, |stage| stage.queue("e"));
        stage.now_at(60, |stage| stage.supervisor.shutdown());
        stage.serve();
    });
    let removed = place(&lines, "web removed");
    let expected = [
        "web removed",
        "web add requested",
        "web running→idle",
        "web rejected add_failed: task `web` already exists",
        "web rejected add_failed: task `web` already exists",
        "web added",
        "begin outside",
        "web rejected add_failed: task `web` already exists",
        "web removed",
        "web add requested",
        "web idle→running",
    ];
    assert_eq!(lines[removed..removed + expected.len()], expected, "[C1] [C3] [G5]");
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin outside", "begin e"]);
}

#[test]
fn a_replace_that_comes_too_late_does_not_hit_a_namesake() {
    let lines = play(limits(), |stage| {
        stage.queue("a");
        stage.run(Vec::new());
        // At 10 ms: the actor ends, then this wakes the newcomer and submits, then the registry removes, then the
        // newcomer takes the name, and only then the controller sees the Replace and after it the removal.
        let go = Latch::new();
        let newcomer = stage.clone();
        let gone = go.clone();
        stage.world.spawn(LaneKind::Operation, &Arc::from("newcomer"), async move {
            gone.wait().await;
            newcomer.supervisor.add_task(newcomer.task("web", "outside", 20, 0)).unwrap();
        });
        stage.at(1, |stage| async move {
            stage.world.sleep_until_ns(10 * MS).await; // a timer that is younger than the body's
            go.raise();
            stage.replace("b");
        });
    });
    let removed = place(&lines, "web removed");
    let expected = [
        "web removed",
        "web add requested",
        "web running→terminating (replace)",
        "web submitted admission=Replace status=terminating depth=1",
        "web terminating→idle",
        "web rejected add_failed: task `web` already exists",
        "web added",
        "begin outside",
    ];
    assert_eq!(lines[removed..removed + expected.len()], expected, "[G5]");
    assert_eq!(count(&lines, "web removal requested"), 0);
}

#[test]
fn a_removal_from_outside_frees_the_slot_for_the_next() {
    let lines = play(limits(), |stage| {
        ["a", "b"].iter().for_each(|label| stage.queue(label));
        stage.now_at(2, |stage| stage.supervisor.remove_task("web").unwrap());
        stage.now_at(3, |stage| stage.replace("c"));
        stage.at(10, |stage| async move {
            assert_eq!(stage.supervisor.cancel("web").await, Ok(true));
            stage.log.say("cancelled");
        });
        stage.run(Vec::new());
    });
    let expected = [
        "web removal requested",
        "web rejected superseded",
        "web running→terminating (replace)",
        "web submitted admission=Replace status=terminating depth=1",
        "web removed",
        "web terminating→idle",
    ];
    let requested = place(&lines, "web removal requested");
    assert_eq!(lines[requested..requested + expected.len()], expected, "no second request [G3]");
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin c"]);
    assert_eq!(lines[lines.len() - 3..], ["web running→idle", "cancelled", "returned"]);
}

#[test]
fn slots_are_independent() {
    let lines = play(limits(), |stage| {
        for name in ["db", "web"] {
            for label in ["first", "second"] {
                let task = stage.task(name, &format!("{name} {label}"), 10, 0);
                stage.supervisor.try_submit(ControllerSpec::queue(task)).unwrap();
            }
        }
        stage.run(Vec::new());
    });
    let expected = ["begin db first", "begin web first", "begin db second", "begin web second"];
    assert_eq!(only(&lines, &["begin"]), expected);
}

// [C4]: room, and who is told what.

#[test]
fn without_a_controller_nothing_is_configured() {
    let fifo = Source::Replayed(Vec::new(), Fit::Lenient);
    let (lines, _) = play_on(&mut Engine::new(), fifo, None, |stage| {
        assert_eq!(stage.web(AdmissionPolicy::Queue, "a"), Err(ControllerError::NotConfigured));
        stage.at(0, |stage| async move {
            stage.submit("b").await;
            stage.supervisor.shutdown();
            stage.submit("c").await;
        });
    });
    let expected = ["submit b: Err(NotConfigured)", "ShutdownRequested", "submit c: Err(NotConfigured)"];
    assert_eq!(lines, expected);
}

#[test]
fn submit_waits_for_room_in_order_and_try_submit_does_not_overtake() {
    let lines = play(ControllerConfig { queue_capacity: 2, ..limits() }, |stage| {
        stage.queue("a");
        stage.queue("b");
        for label in ["c", "d", "e"] {
            stage.at(0, move |stage| async move { stage.submit(label).await });
        }
        stage.now_at(1, |stage| {
            assert_eq!(stage.web(AdmissionPolicy::Queue, "x"), Err(ControllerError::Full));
            stage.log.say("full");
        });
        stage.at(2, |stage| async move {
            stage.run(Vec::new());
        });
    });
    let expected = ["full", "submit c: Ok(())", "submit d: Ok(())", "submit e: Ok(())"];
    assert_eq!(only(&lines, &["full", "submit "]), expected);
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin b", "begin c", "begin d", "begin e"]);
}

#[test]
fn a_submit_that_gives_up_leaves_its_place_to_the_next() {
    let lines = play(ControllerConfig { queue_capacity: 1, ..limits() }, |stage| {
        stage.queue("a");
        stage.at(0, |stage| async move {
            let patience = stage.world.sleep_ns(MS);
            select(pin!(stage.submit("b")), patience).await;
            stage.log.say("gave up");
        });
        stage.at(0, |stage| async move { stage.submit("c").await });
        stage.at(2, |stage| async move { stage.run(Vec::new()) });
    });
    assert_eq!(only(&lines, &["submit ", "gave"]), ["gave up", "submit c: Ok(())"]);
    assert_eq!(only(&lines, &["begin"]), ["begin a", "begin c"]);
}

#[test]
fn a_run_ends_when_the_last_thing_it_waits_for_is_given_up() {
    let lines = play(ControllerConfig { queue_capacity: 1, ..limits() }, |stage| {
        stage.queue("a");
        stage.at(0, |stage| async move {
            {
                let mut submit = pin!(stage.submit("b"));
                let first = poll_fn(|cx| Poll::Ready(submit.as_mut().poll(cx).is_ready())).await;
                assert!(!first, "the queue is full");
                stage.world.sleep_until_ns(30 * MS).await; // there is room long before
            }
            stage.log.say("gave up");
        });
        stage.at(1, |stage| async move { stage.run(Vec::new()) });
    });
    assert_eq!(lines[lines.len() - 3..], ["web running→idle", "gave up", "returned"]);
}

#[test]
fn a_queue_of_no_length_has_room_for_one() {
    play(ControllerConfig { queue_capacity: 0, ..limits() }, |stage| {
        stage.queue("a");
        assert_eq!(stage.web(AdmissionPolicy::Queue, "b"), Err(ControllerError::Full));
        stage.run(Vec::new());
    });
}

// Shutdown: [C1], [C4], [D2], [D3].

#[test]
fn a_shutdown_rejects_all_that_is_pending_and_turns_away_those_who_wait() {
    let lines = play(ControllerConfig { queue_capacity: 2, ..limits() }, |stage| {
        stage.queue("a");
        stage.now_at(1, |stage| stage.queue("b"));
        stage.now_at(2, |stage| {
            let task = stage.task("db", "db", 50, 5);
            stage.supervisor.try_submit(ControllerSpec::queue(task)).unwrap();
        });
        stage.now_at(3, |stage| {
            // In the controller's queue at the moment of the request.
            stage.replace("c");
            stage.queue("d");
            let waiting = stage.clone();
            stage.world.spawn(LaneKind::Operation, &Arc::from("waits"), async move {
                waiting.submit("e").await;
            });
            stage.supervisor.shutdown();
            assert_eq!(stage.web(AdmissionPolicy::Queue, "f"), Err(ControllerError::Closed));
        });
        stage.serve();
    });
    let request = place(&lines, "ShutdownRequested");
    let expected = [
        "ShutdownRequested",
        "web rejected shutting_down",
        "web rejected shutting_down",
        "web rejected shutting_down",
        "submit e: Err(Closed)",
        "db removed",
        "web removed",
        "db running→idle",
        "web running→idle",
        "AllStoppedWithinGrace",
        "returned",
    ];
    let mut rest = lines[request..].to_vec();
    rest[5..9].sort(); // the two slots end at one instant
    let mut expected = expected.map(str::to_owned);
    expected[5..9].sort();
    assert_eq!(rest, expected);
    assert_eq!(count(&lines, "web removal requested"), 0);
}

#[test]
fn a_submit_that_waits_for_room_is_turned_away_by_a_shutdown() {
    let lines = play(ControllerConfig { queue_capacity: 1, ..limits() }, |stage| {
        stage.queue("a");
        stage.at(0, |stage| async move { stage.submit("b").await });
        stage.now_at(1, |stage| stage.supervisor.shutdown());
        stage.at(2, |stage| async move { stage.serve() });
    });
    let expected = [
        "ShutdownRequested",
        "web rejected shutting_down",
        "submit b: Err(Closed)",
        "AllStoppedWithinGrace",
        "returned",
    ];
    assert_eq!(lines, expected, "also before the run");
}

#[test]
fn an_exceeded_grace_comes_after_the_rejections_and_before_the_forced_ends() {
    let lines = play(limits(), |stage| {
        let stuck = stage.task("web", "stuck", 1000, 1000);
        stage.supervisor.try_submit(ControllerSpec::queue(stuck)).unwrap();
        stage.queue("b");
        stage.now_at(5, |stage| stage.replace("c"));
        stage.now_at(6, |stage| stage.supervisor.shutdown());
        stage.run(Vec::new());
    });
    let at = place(&lines, "web running→terminating (replace)");
    let expected = [
        "web running→terminating (replace)",
        "web submitted admission=Replace status=terminating depth=1",
        "ShutdownRequested",
        "web rejected shutting_down",
        "GraceExceeded",
        "web removed",
        "web terminating→idle",
        "returned runtime_grace_exceeded",
    ];
    assert_eq!(lines[at..], expected);
}

#[test]
fn a_slot_s_last_word_comes_before_the_end_of_the_shutdown() {
    // The task's own end and the shutdown's come at one instant: the transition is told all the same.
    let lines = play(limits(), |stage| {
        stage.queue("a");
        stage.now_at(10, |stage| stage.supervisor.shutdown());
        stage.run(Vec::new());
    });
    let end = place(&lines, "AllStoppedWithinGrace");
    assert_eq!(lines[end - 2..], ["web removed", "web running→idle", "AllStoppedWithinGrace", "returned"]);
}

#[test]
fn a_dropped_run_rejects_what_is_pending_and_leaves_nothing() {
    let lines = play(ControllerConfig { queue_capacity: 1, ..limits() }, |stage| {
        stage.queue("a");
        stage.now_at(1, |stage| stage.queue("b"));
        stage.now_at(5, |stage| {
            stage.queue("c");
            let waiting = stage.clone();
            stage.world.spawn(LaneKind::Operation, &Arc::from("waits"), async move {
                waiting.submit("d").await;
            });
        });
        let dropping = stage.clone();
        stage.world.spawn_run(async move {
            let patience = dropping.world.sleep_ns(5 * MS);
            {
                let run = pin!(dropping.supervisor.run(Vec::new()));
                assert!(matches!(select(run, patience).await, Either::Right(_)));
            }
            dropping.log.say("dropped");
            assert_eq!(dropping.world.leftovers(), (0, 0));
            assert_eq!(dropping.web(AdmissionPolicy::Queue, "e"), Err(ControllerError::Closed));
        });
    });
    let begin = place(&lines, "begin a");
    let rest = &lines[begin + 2..]; // after the admission of b
    assert_eq!(only(rest, &["rejected"]).len(), 2, "b and c: {rest:#?}");
    assert_eq!(only(rest, &["submit d"]), ["submit d: Err(Closed)"]);
    assert!(place(rest, "web rejected shutting_down") < place(rest, "dropped"));
}

#[test]
fn a_refused_task_may_call_back_when_it_is_dropped() {
    struct Tells(Stage);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.queue("from the drop");
        }
    }
    let lines = play(limits(), |stage| {
        stage.queue("a");
        let tells = Tells(stage.clone());
        let task = TaskFn::arc("web", move |_ctx| {
            let _ = &tells;
            async { Ok(()) }
        });
        stage.supervisor.try_submit(ControllerSpec::drop_if_running(TaskSpec::new(task))).unwrap();
        stage.run(Vec::new());
    });
    assert_eq!(
        only(&lines, &["begin", "rejected"]),
        ["web rejected slot_busy: running", "begin a", "begin from the drop"]
    );
}

// The rules, under any schedule.

/// What a random scenario has to count.
#[derive(Clone, Default)]
struct Tally(Rc<Cell<Counts>>);

#[derive(Clone, Copy, Default)]
struct Counts {
    accepted: usize,
    turned_away: usize,
}

impl Tally {
    fn count(&self, result: Result<(), ControllerError>) {
        let mut counts = self.0.get();
        match result {
            Ok(()) => counts.accepted += 1,
            Err(ControllerError::Closed) => counts.turned_away += 1,
            Err(ControllerError::Full | ControllerError::NotConfigured) => {}
        }
        self.0.set(counts);
    }
}

/// Submissions of all kinds from all sides, with a namesake from outside and removals now and then.
fn crowd(stage: &Stage, tally: &Tally, seed: u64) {
    let policies = [AdmissionPolicy::Queue, AdmissionPolicy::Replace, AdmissionPolicy::DropIfRunning];
    for number in 0..24_u64 {
        let policy = policies[((number + seed) % 3) as usize];
        let tally = tally.clone();
        stage.at(number / 3 % 5, move |stage| async move {
            let task = stage.task("web", &format!("{number}"), number % 4, number % 2);
            let spec = ControllerSpec::new(policy, task);
            tally.count(match number % 4 {
                0 => stage.supervisor.try_submit(spec),
                _ => stage.supervisor.submit(spec).await,
            });
        });
    }
    for at in [1, 2, 4] {
        stage.now_at(at, |stage| {
            let _ = stage.supervisor.add_task(stage.task("web", "outside", 1, 0));
        });
        stage.now_at(at, |stage| {
            let _ = stage.supervisor.remove_task("web");
        });
    }
}

/// \[C1\], \[C2\] and \[C3\], from the events alone.
fn check(lines: &[String], counts: Counts, seed: u64) {
    let context = || format!("seed {seed}: {lines:#?}");
    let started = count(lines, "web idle→running");
    let rejected = only(lines, &["web rejected"]).len();
    assert_eq!(counts.accepted, started + rejected, "each is decided once [C1]; {}", context());

    let mut state = "idle";
    let mut depth = 0_usize;
    let mut in_the_registry = false;
    for (number, line) in lines.iter().enumerate() {
        if let Some((from, to)) = line.strip_prefix("web ").and_then(|text| text.split_once('→')) {
            let to = to.trim_end_matches(" (replace)");
            assert_eq!(state, from, "line {number}: {}", context());
            assert_ne!(from, to, "line {number}");
            state = ["idle", "running", "terminating"].into_iter().find(|name| *name == to).unwrap();
            if to == "running" {
                assert_eq!(lines[number - 1], "web add requested", "{}", context());
            }
        }
        if let Some(text) = line.strip_prefix("web submitted ") {
            let (_, said) = text.split_once(" status=").unwrap();
            let (status, said) = said.split_once(" depth=").unwrap();
            let said: usize = said.parse().unwrap();
            assert_eq!(status, state, "line {number}: {}", context());
            assert!(said <= depth + 1, "line {number}: {}", context());
            depth = said;
        }
        match line.as_str() {
            "web add requested" => {
                assert!(!in_the_registry, "two of a name, line {number}: {}", context());
                in_the_registry = true;
            }
            "web removed" => in_the_registry = false,
            _ => {}
        }
    }
    assert_eq!(state, "idle", "{}", context());
    // Nothing is stuck in these scenarios, so nothing is left to be told after this.
    if let Some(end) = lines.iter().position(|line| line == "AllStoppedWithinGrace") {
        assert!(lines.len() == end + 2 && lines[end + 1].starts_with("returned"), "{}", context());
    }
}

#[test]
fn under_any_schedule_forced_ends_are_told_to_the_last() {
    let mut engine = Engine::new();
    for seed in 0..300_u64 {
        let source = seeded(seed, StrategyKind::Random);
        let (lines, _) = play_on(&mut engine, source, Some(limits()), |stage| {
            for name in ["a", "b", "c"] {
                let stuck = stage.task(name, name, 1000, 1000);
                stage.supervisor.try_submit(ControllerSpec::queue(stuck)).unwrap();
            }
            stage.now_at(1, |stage| stage.supervisor.shutdown());
            stage.serve();
        });
        let end = place(&lines, "GraceExceeded");
        let expected = [
            "GraceExceeded",
            "a removed",
            "b removed",
            "c removed",
            "a running→idle",
            "b running→idle",
            "c running→idle",
            "returned runtime_grace_exceeded",
        ];
        assert_eq!(lines[end..], expected, "seed {seed}");
    }
}

#[test]
fn under_any_schedule_a_run_waits_for_those_who_wait_for_room() {
    let mut engine = Engine::new();
    for seed in 0..1_000_u64 {
        let source = seeded(seed, StrategyKind::Random);
        let config = ControllerConfig { queue_capacity: 1, slot_capacity: (seed % 2) as usize };
        let (lines, _) = play_on(&mut engine, source, Some(config), |stage| {
            for label in ["a", "b", "c", "d"] {
                stage.at(0, move |stage| async move {
                    let spec = ControllerSpec::queue(stage.task("web", label, 0, 0));
                    assert_eq!(stage.supervisor.submit(spec).await, Ok(()), "{label}, seed {seed} [C4] [D1]");
                });
            }
            stage.at(1, |stage| async move { stage.run(Vec::new()) });
        });
        check(&lines, Counts { accepted: 4, turned_away: 0 }, seed);
    }
}

#[test]
fn under_any_schedule_each_accepted_submission_is_decided_exactly_once() {
    let mut engine = Engine::new();
    let (mut turned_away, mut from_queue, mut superseded, mut add_failed, mut shutting_down) =
        (0, 0, 0, 0, 0);
    for seed in 0..3_000_u64 {
        let tally = Tally::default();
        let config =
            ControllerConfig { queue_capacity: (seed % 4) as usize, slot_capacity: (seed / 4 % 4) as usize };
        let shutdown_at = (seed % 3 != 0).then_some(seed / 3 % 8);
        let run_at = seed % 2;
        let counted = tally.clone();
        let (lines, _) =
            play_on(&mut engine, seeded(seed, StrategyKind::Random), Some(config), move |stage| {
                stage
                    .at(run_at, |stage| async move { stage.run(vec![stage.task("keeper", "keeper", 6, 0)]) });
                crowd(stage, &counted, seed);
                if let Some(at) = shutdown_at {
                    stage.now_at(at, |stage| stage.supervisor.shutdown());
                }
            });
        check(&lines, tally.0.get(), seed);
        if shutdown_at.is_none() {
            assert_eq!(
                tally.0.get().turned_away,
                0,
                "those who wait for room are waited for [D1]; seed {seed}"
            );
        }
        turned_away += tally.0.get().turned_away;
        from_queue += only(&lines, &["started_from_queue"]).len();
        superseded += count(&lines, "web rejected superseded");
        add_failed += only(&lines, &["rejected add_failed"]).len();
        shutting_down += count(&lines, "web rejected shutting_down");
    }
    let witnesses = [turned_away, from_queue, superseded, add_failed, shutting_down];
    assert!(witnesses.iter().all(|seen| *seen > 100), "the rules were put to the test: {witnesses:?}");
}

#[test]
fn under_any_schedule_a_queue_is_first_in_first_out_and_a_dropped_run_vanishes_nothing() {
    let mut engine = Engine::new();
    let mut rejected_on_drop = 0;
    for seed in 0..1_000_u64 {
        let accepted = Rc::new(RefCell::new(Vec::new()));
        let order = Rc::clone(&accepted);
        let (lines, _) =
            play_on(&mut engine, seeded(seed, StrategyKind::Random), Some(limits()), move |stage| {
                let dropping = stage.clone();
                stage.world.spawn_run(async move {
                    let patience = dropping.world.sleep_ns((1 + seed % 9) * MS);
                    select(pin!(dropping.supervisor.serve()), patience).await;
                    assert_eq!(dropping.world.leftovers(), (0, 0));
                });
                for number in 0..8_u64 {
                    let order = Rc::clone(&order);
                    stage.at(number / 4, move |stage| async move {
                        let task = stage.task("web", &format!("{number}"), 1, 0);
                        if stage.supervisor.submit(ControllerSpec::queue(task)).await.is_ok() {
                            order.borrow_mut().push(format!("begin {number}"));
                        }
                    });
                }
            });
        let accepted = accepted.borrow();
        let begun = only(&lines, &["begin"]);
        assert_eq!(begun, accepted[..begun.len()], "[C5]; seed {seed}: {lines:#?}");
        let rejected = count(&lines, "web rejected shutting_down");
        let started = count(&lines, "web idle→running");
        assert_eq!(accepted.len(), started + rejected, "[C1]; seed {seed}: {lines:#?}");
        rejected_on_drop += rejected;
    }
    assert!(rejected_on_drop > 100, "runs were dropped with tasks pending: {rejected_on_drop}");
}
