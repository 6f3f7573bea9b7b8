//! The engine by itself: wakers in the wrong hands, worlds that cannot go on, and memory that is used again.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use simvisor::runtime::{WaitsFor, yield_now};
use simvisor_sim::choice::{Choice, Fit, Site, Source, Tape};
use simvisor_sim::world::{End, Engine, Finished, LaneKind, Limits, World};

type Place = Arc<Mutex<Option<Waker>>>;
type Log<T> = Rc<RefCell<Vec<T>>>;

fn fifo() -> Source {
    Source::Replayed(Tape::new(), Fit::Lenient)
}

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn finish(world: World<'_>) -> Finished {
    world.run(&Limits::default(), |_| ())
}

fn taken(place: &Place) -> Waker {
    place.lock().expect("not poisoned").take().expect("it was polled")
}

/// A future that leaves its waker at `place` and counts its polls; it ends at the poll of this number.
fn counted(place: &Place, polls: &Rc<Cell<u32>>, last: u32) -> impl Future<Output = ()> + 'static {
    let (place, polls) = (Arc::clone(place), Rc::clone(polls));
    poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        *place.lock().expect("not poisoned") = Some(cx.waker().clone());
        if polls.get() == last { Poll::Ready(()) } else { Poll::Pending }
    })
}

#[test]
fn a_wake_from_another_thread_has_no_effect_and_is_reported() {
    let mut engine = Engine::new();
    let (place, polls) = (Place::default(), Rc::default());
    let world = engine.world(fifo());
    let handle = world.handle();
    world.handle().spawn(LaneKind::Other, &name("sleeper"), counted(&place, &polls, 2));
    world.handle().spawn(LaneKind::Other, &name("waker"), async move {
        handle.sleep_ns(1).await;
        std::thread::spawn(move || taken(&place).wake()).join().expect("waking elsewhere does not panic");
    });
    let finished = finish(world);
    assert!(finished.stray_wake, "a replay could not repeat it");
    assert!(matches!(finished.end, End::Deadlock(_)), "{:?}", finished.end);
    assert_eq!(polls.get(), 1);
    assert!(!finish(engine.world(fifo())).stray_wake, "the next world knows nothing of it");
}

#[test]
fn a_waker_that_outlived_its_world_has_no_effect_on_the_next() {
    let mut engine = Engine::new();
    let old = Place::default();
    let (polls, new_polls) = (Rc::default(), Rc::default());
    let world = engine.world(fifo());
    world.handle().spawn(LaneKind::Other, &name("a"), counted(&old, &polls, 9));
    assert!(matches!(finish(world).end, End::Deadlock(_)));

    let world = engine.world(fifo());
    world.handle().spawn(LaneKind::Other, &name("a"), counted(&Place::default(), &new_polls, 2));
    world.handle().spawn(LaneKind::Other, &name("b"), async move {
        let waker = taken(&old);
        waker.wake_by_ref();
        waker.wake();
    });
    let finished = finish(world);
    assert_eq!((polls.get(), new_polls.get()), (1, 1), "the future in the same slot was not polled for it");
    assert!(!finished.stray_wake, "it was used on its own engine");
}

#[test]
fn a_waker_of_a_dropped_engine_has_no_effect() {
    let place = Place::default();
    let mut engine = Engine::new();
    let world = engine.world(fifo());
    world.handle().spawn(LaneKind::Other, &name("a"), counted(&place, &Rc::default(), 9));
    let _ = finish(world);
    drop(engine);
    taken(&place).wake();
}

#[test]
fn waking_twice_is_waking_once() {
    let mut engine = Engine::new();
    let (place, polls) = (Place::default(), Rc::default());
    let world = engine.world(fifo());
    world.handle().spawn(LaneKind::Other, &name("sleeper"), counted(&place, &polls, 3));
    world.handle().spawn(LaneKind::Other, &name("waker"), async move {
        let waker = taken(&place);
        waker.wake_by_ref();
        waker.wake_by_ref();
        waker.wake();
    });
    assert!(matches!(finish(world).end, End::Deadlock(_)));
    assert_eq!(polls.get(), 2, "once at first and once for three wakes");
}

/// Says when it is dropped.
struct Dropped(Log<&'static str>, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[test]
fn a_world_drops_everything_when_it_ends_and_its_engine_is_as_new() {
    let log = Log::default();
    let mut engine = Engine::new();
    let run = |engine: &mut Engine| {
        let world = engine.world(fifo());
        for who in ["a", "b"] {
            let (guard, handle) = (Dropped(Rc::clone(&log), who), world.handle());
            world.handle().spawn(LaneKind::Other, &name(who), async move {
                handle.sleep_ns(5).await;
                let _guard = guard;
                pending::<()>().await;
            });
        }
        finish(world)
    };
    let first = run(&mut engine);
    assert_eq!(log.take(), ["a", "b"]);
    assert_eq!((first.time_ns, first.turns), (5, 4));
    assert_eq!(run(&mut engine), first, "nothing of the first is left");
    assert_eq!(log.take(), ["a", "b"]);
    drop(engine.world(fifo()));
    assert_eq!(run(&mut engine), first, "a world that was never run leaves nothing either");
}

#[test]
fn a_livelock_names_those_who_keep_running_and_nobody_else() {
    let mut engine = Engine::new();
    let world = engine.world(fifo());
    let (busy, idle) = (world.handle(), world.handle());
    world.handle().spawn(LaneKind::Actor, &name("busy"), async move {
        busy.sleep_ns(7).await;
        loop {
            yield_now().await;
        }
    });
    world.handle().spawn(LaneKind::Actor, &name("idle"), async move { idle.sleep_ns(100).await });
    let finished = finish(world);
    let End::Livelock(stuck) = finished.end else { panic!("{:?}", finished.end) };
    let named: Vec<_> = stuck.iter().map(|stuck| (&*stuck.name, stuck.since_ns)).collect();
    assert_eq!(named, [("busy", 7)]);
    assert_eq!(finished.time_ns, 7, "time did not advance");
}

#[test]
fn sleeps_of_no_time_are_a_livelock_too() {
    let mut engine = Engine::new();
    let world = engine.world(fifo());
    let handle = world.handle();
    world.handle().spawn(LaneKind::Other, &name("zero"), async move {
        loop {
            handle.sleep_ns(0).await;
            yield_now().await;
        }
    });
    assert!(matches!(finish(world).end, End::Livelock(_)));
}

#[test]
fn a_deadlock_names_everybody_with_what_they_wait_for_and_since_when() {
    let mut engine = Engine::new();
    let world = engine.world(fifo());
    let handle = world.handle();
    world.handle().spawn(LaneKind::Operation, &name("1"), async move {
        handle.sleep_ns(3).await;
        handle.rt().waits_for(WaitsFor::Removal);
        pending::<()>().await;
    });
    let finished = finish(world);
    let End::Deadlock(stuck) = finished.end else { panic!("{:?}", finished.end) };
    let [stuck] = stuck.as_slice() else { panic!("{stuck:?}") };
    assert_eq!((stuck.kind, &*stuck.name, stuck.since_ns), (LaneKind::Operation, "1", 3));
    assert_eq!(stuck.waits_for.as_str(), "the removal of a task");
}

#[test]
fn limits_end_a_world_and_say_which() {
    let limits = Limits { turns_max: 10, time_ns_max: 1_000, ..Limits::default() };
    let mut engine = Engine::new();
    let world = engine.world(fifo());
    let handle = world.handle();
    world.handle().spawn(LaneKind::Other, &name("ticks"), async move {
        loop {
            handle.sleep_ns(1).await;
        }
    });
    assert_eq!(world.run(&limits, |_| ()).end, End::Limit("10 turns".to_owned()));
    let world = engine.world(fifo());
    let handle = world.handle();
    world.handle().spawn(LaneKind::Other, &name("long"), async move { handle.sleep_ns(1_001).await });
    assert_eq!(world.run(&limits, |_| ()).end, End::Limit("virtual time beyond 1000 ns".to_owned()));
}

/// The order in which three futures run in a world with this tape. The clock has lane 1, so they have 2, 3 and 4.
fn order(tape: Tape) -> (Vec<u32>, Finished) {
    let mut engine = Engine::new();
    let world = engine.world(Source::Replayed(tape, Fit::Lenient));
    let log: Log<u32> = Rc::default();
    for number in 1..=3 {
        let log = Rc::clone(&log);
        let future = async move { log.borrow_mut().push(number) };
        world.handle().spawn(LaneKind::Other, &name(&number.to_string()), future);
    }
    let finished = finish(world);
    (log.take(), finished)
}

fn lane(value: u32) -> Choice {
    Choice { site: Site::Schedule, arity: 5, value }
}

#[test]
fn a_schedule_choice_names_a_future_and_not_a_place() {
    assert_eq!(order(vec![]).0, [1, 2, 3]);
    assert_eq!(order(vec![lane(4)]).0, [3, 1, 2]);
    assert_eq!(order(vec![lane(3), lane(4)]).0, [2, 3, 1]);
}

#[test]
fn naming_a_future_that_cannot_run_is_a_step_without_effect() {
    let (ran, finished) = order(vec![lane(4), lane(4), lane(1), lane(3)]);
    assert_eq!(ran, [3, 2, 1], "the second choice names one that has ended, the third the idle clock");
    assert_eq!(finished.tape, [lane(4), lane(3)], "what had no effect is not recorded");
}

#[test]
fn timers_of_one_instant_fire_in_order_of_age_or_as_chosen() {
    let run = |tape: Tape| {
        let mut engine = Engine::new();
        let world = engine.world(Source::Replayed(tape, Fit::Lenient));
        let log: Log<(u32, u64)> = Rc::default();
        for number in 1..=2 {
            let (log, handle) = (Rc::clone(&log), world.handle());
            world.handle().spawn(LaneKind::Other, &name(&number.to_string()), async move {
                handle.sleep_ns(10).await;
                log.borrow_mut().push((number, handle.now_ns()));
                if number == 1 {
                    yield_now().await;
                    log.borrow_mut().push((3, handle.now_ns()));
                }
            });
        }
        let _ = finish(world);
        let log = log.take();
        assert!(log.iter().all(|&(_, at_ns)| at_ns == 10));
        log.into_iter().map(|(number, _)| number).collect::<Vec<u32>>()
    };
    assert_eq!(run(vec![]), [1, 2, 3]);
    // One schedule choice before the timers are due. Then the second timer waits for the clock's turn, and the first
    // future is chosen twice before it.
    let schedule = |value| Choice { site: Site::Schedule, arity: 4, value };
    let hold = Choice { site: Site::TimerTie, arity: 2, value: 1 };
    assert_eq!(run(vec![schedule(0), hold, schedule(2), schedule(2)]), [1, 3, 2]);
}
