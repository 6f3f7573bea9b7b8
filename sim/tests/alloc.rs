//! No memory is asked for in the steady state: counted by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use simvisor::runtime::yield_now;
use simvisor::{SupervisorBuilder, TaskError, TaskFn, TaskSpec};
use simvisor_sim::schedule::StrategyKind;
use simvisor_sim::search::seeded;
use simvisor_sim::world::{End, Engine, Handle, LaneKind, Limits};

struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came; counting touches a plain thread-local number.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn asked() -> u64 {
    ASKED.get()
}

const TASKS: u64 = 16;
const STEPS: u64 = 500;

/// A world of tasks that sleep and yield; gives how often memory was asked for while it ran, and while it was made.
fn run(engine: &mut Engine, names: &[Arc<str>], seed: u64) -> (u64, u64) {
    let source = seeded(seed, StrategyKind::Random);
    let before = asked();
    let world = engine.world(source);
    for (name, task) in names.iter().zip(0..) {
        let handle: Handle = world.handle();
        world.handle().spawn(LaneKind::Other, name, async move {
            for step in 0..STEPS {
                handle.sleep_ns(1 + (task * 7 + step * 13) % 50).await;
                yield_now().await;
            }
        });
    }
    let made = asked();
    let finished = world.run(&Limits::default(), |_| ());
    let ran = asked();
    assert_eq!(finished.end, End::Done);
    assert!(finished.tape.len() as u64 > STEPS, "the tape was recorded");
    engine.recycle(finished.tape);
    (ran - made, made - before)
}

#[test]
fn a_world_in_a_used_engine_asks_for_its_futures_and_for_nothing_else() {
    let mut engine = Engine::new();
    let names: Vec<Arc<str>> = (0..TASKS).map(|task| task.to_string().into()).collect();
    let first = run(&mut engine, &names, 1);
    assert!(first.0 > 0 && first.1 > TASKS, "the allocator counts: {first:?}");
    // The same seed needs as much room again, so that whatever is asked for now was not kept.
    assert_eq!(run(&mut engine, &names, 1), (0, TASKS));
}

/// How often memory is asked for over a run in which one task fails this many times.
fn supervised(engine: &mut Engine, failures: u32) -> u64 {
    let source = seeded(1, StrategyKind::Fifo);
    let before = asked();
    let world = engine.world(source);
    let supervisor = SupervisorBuilder::new(world.handle().rt()).build();
    let failed = Rc::new(Cell::new(0));
    let body = move |_| {
        let fails = failed.replace(failed.get() + 1) < failures;
        async move { if fails { Err(TaskError::Fail { reason: "boom".to_owned() }) } else { Ok(()) } }
    };
    let spec = TaskSpec::new(TaskFn::arc("flaky", body));
    world.handle().spawn_run(async move { supervisor.run(vec![spec]).await.expect("it ends by itself") });
    let finished = world.run(&Limits::default(), |_| ());
    assert_eq!(finished.end, End::Done);
    engine.recycle(finished.tape);
    asked() - before
}

#[test]
fn a_failed_attempt_asks_for_a_handful_whatever_came_before() {
    let mut engine = Engine::new();
    supervised(&mut engine, 3_000); // room for the longest tape
    let [short, long] = [1_000, 3_000].map(|failures| supervised(&mut engine, failures));
    // The body and its reason are the user's; its context and three events are ours. Its text is that of the attempt before.
    assert_eq!((long - short) % 2_000, 0, "each attempt asks for the same");
    assert_eq!((long - short) / 2_000, 6);
}
