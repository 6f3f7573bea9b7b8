//! The limit: the barest executor of boxed futures that one can write. A ready queue of indices, a binary heap of
//! timers, wakers that carry an index; no choices, no trace, no cancellation, one world for each thread.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use crate::load::{Draws, Load, Step};

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
struct State {
    now_ms: u64,
    running: usize,
    ready: VecDeque<usize>,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| wake(data.addr()),
    |data| wake(data.addr()),
    |_| (),
);

fn wake(task: usize) {
    STATE.with_borrow_mut(|state| state.ready.push_back(task));
}

#[allow(unsafe_code)]
fn waker(task: usize) -> Waker {
    // SAFETY: the data is a number that is never dereferenced; the functions of the table touch thread-local state.
    unsafe { Waker::from_raw(RawWaker::new(ptr::without_provenance(task), &VTABLE)) }
}

struct Sleep {
    span_ms: u64,
    deadline_ms: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        STATE.with_borrow_mut(|state| match self.deadline_ms {
            Some(deadline_ms) if state.now_ms >= deadline_ms => Poll::Ready(()),
            Some(_) => Poll::Pending,
            None => {
                let deadline_ms = state.now_ms + self.span_ms;
                self.deadline_ms = Some(deadline_ms);
                let task = state.running;
                state.timers.push(Reverse((deadline_ms, task)));
                Poll::Pending
            }
        })
    }
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

/// Runs every world.
pub(crate) fn run(load: Load) {
    for world in 0..load.worlds {
        let tasks = (0..load.tasks).map(|task| -> Option<Boxed> { Some(Box::pin(body(load, world, task))) });
        drive(tasks.collect());
    }
}

async fn body(load: Load, world: u64, task: u64) {
    let mut draws = Draws::new(world, task);
    for _ in 0..load.steps {
        match load.step {
            Step::Sleep(high) => Sleep { span_ms: draws.up_to(high), deadline_ms: None }.await,
            Step::Yield => simvisor::runtime::yield_now().await,
        }
    }
}

fn drive(mut tasks: Vec<Option<Boxed>>) {
    STATE.with_borrow_mut(|state| {
        state.now_ms = 0;
        state.ready.extend(0..tasks.len());
    });
    loop {
        let next = STATE.with_borrow_mut(|state| {
            if let Some(task) = state.ready.pop_front() {
                state.running = task;
                return Some(task);
            }
            let &Reverse((deadline_ms, _)) = state.timers.peek()?;
            state.now_ms = deadline_ms;
            while let Some(&Reverse((due_ms, task))) = state.timers.peek() {
                if due_ms > deadline_ms {
                    break;
                }
                state.timers.pop();
                state.ready.push_back(task);
            }
            let task = state.ready.pop_front()?;
            state.running = task;
            Some(task)
        });
        let Some(task) = next else { return };
        let future = tasks[task].as_mut().expect("whoever is woken has not ended");
        if future.as_mut().poll(&mut Context::from_waker(&waker(task))).is_ready() {
            tasks[task] = None;
        }
    }
}

/// The timer heap alone: each of the tasks' sleeps is a pop and a push, and nothing is polled.
pub(crate) fn heap(load: Load) {
    let Step::Sleep(high) = load.step else { unreachable!("a heap has nothing to yield") };
    for world in 0..load.worlds {
        let mut draws: Vec<_> = (0..load.tasks).map(|task| (Draws::new(world, task), load.steps)).collect();
        let mut heap = BinaryHeap::new();
        for (task, (draws, _)) in draws.iter_mut().enumerate() {
            heap.push(Reverse((draws.up_to(high), task)));
        }
        while let Some(Reverse((now_ms, task))) = heap.pop() {
            let (draws, left) = &mut draws[task];
            *left -= 1;
            if *left > 0 {
                heap.push(Reverse((now_ms + draws.up_to(high), task)));
            }
        }
    }
}
