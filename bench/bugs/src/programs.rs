//! Small concurrent programs with one known bug each.
//!
//! The shapes are those of SCTBench (Thomson, Donaldson, Betts, PPoPP 2014) and of the papers that the strategies come
//! from, and some that a supervisor has: a name that is used again, a task that is cancelled twice, an addition during
//! shutdown. None of their code is used. Each access to something shared is one step.

use std::rc::Rc;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;

use crate::host::{Host, Join, Scene, Semaphore};

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    CheckThenAct,
    LostUpdate,
    LostWakeup,
    BoundedBuffer,
    NameAba,
    StackAba,
    DoubleCancel,
    CrossedSemaphores,
    Philosophers,
    WrongLock,
    FlagsTooLate,
    AddDuringShutdown,
    SendToClosed,
    PermitLeak,
    OneAfter25,
    HalfUpdated,
    NarrowWindow,
    Chain4,
    Chain4Of5,
    Reorder(u32),
    TwoStage(u32),
}

use Program::{
    AddDuringShutdown, BoundedBuffer, Chain4, Chain4Of5, CheckThenAct, CrossedSemaphores, DoubleCancel,
    FlagsTooLate, HalfUpdated, LostUpdate, LostWakeup, NameAba, NarrowWindow, OneAfter25, PermitLeak,
    Philosophers, Reorder, SendToClosed, StackAba, TwoStage, WrongLock,
};

/// All of them.
pub(crate) const PROGRAMS: [Program; 29] = [
    CheckThenAct,
    LostUpdate,
    LostWakeup,
    BoundedBuffer,
    NameAba,
    StackAba,
    DoubleCancel,
    CrossedSemaphores,
    Philosophers,
    WrongLock,
    FlagsTooLate,
    AddDuringShutdown,
    SendToClosed,
    PermitLeak,
    OneAfter25,
    HalfUpdated,
    NarrowWindow,
    Chain4,
    Chain4Of5,
    Reorder(3),
    Reorder(10),
    Reorder(20),
    Reorder(50),
    Reorder(100),
    TwoStage(3),
    TwoStage(10),
    TwoStage(20),
    TwoStage(50),
    TwoStage(100),
];

impl Program {
    /// The name in the table.
    pub(crate) fn name(self) -> String {
        match self {
            Reorder(tasks) => return format!("reorder_{tasks}"),
            TwoStage(tasks) => return format!("twostage_{tasks}"),
            CheckThenAct => "check_then_act",
            LostUpdate => "lost_update",
            LostWakeup => "lost_wakeup",
            BoundedBuffer => "bounded_buffer",
            NameAba => "name_aba",
            StackAba => "stack_aba",
            DoubleCancel => "double_cancel",
            CrossedSemaphores => "crossed_semaphores",
            Philosophers => "philosophers",
            WrongLock => "wrong_lock",
            FlagsTooLate => "flags_too_late",
            AddDuringShutdown => "add_during_shutdown",
            SendToClosed => "send_to_closed",
            PermitLeak => "permit_leak",
            OneAfter25 => "one_after_25",
            HalfUpdated => "half_updated",
            NarrowWindow => "narrow_window",
            Chain4 => "chain_4",
            Chain4Of5 => "chain_4_of_5",
        }
        .to_owned()
    }

    /// Whether the run showed the bug. A deadlock is one of some programs and an error of this bench in others.
    pub(crate) fn is_found(self, scene: &Scene) -> bool {
        assert!(!scene.is_deadlock() || self.may_block(), "{} has no deadlock", self.name());
        scene.has_bug() || scene.is_deadlock()
    }

    fn may_block(self) -> bool {
        matches!(
            self,
            LostWakeup
                | BoundedBuffer
                | DoubleCancel
                | CrossedSemaphores
                | Philosophers
                | SendToClosed
                | PermitLeak
        )
    }

    /// The program's first task.
    pub(crate) fn main<H: Host>(self, host: H) -> LocalBoxFuture<'static, ()> {
        match self {
            CheckThenAct => check_then_act(host).boxed_local(),
            LostUpdate => lost_update(host).boxed_local(),
            LostWakeup => lost_wakeup(host).boxed_local(),
            BoundedBuffer => bounded_buffer(host).boxed_local(),
            NameAba => name_aba(host).boxed_local(),
            StackAba => stack_aba(host).boxed_local(),
            DoubleCancel => double_cancel(host).boxed_local(),
            CrossedSemaphores => crossed_semaphores(host, 2).boxed_local(),
            Philosophers => crossed_semaphores(host, 4).boxed_local(),
            WrongLock => wrong_lock(host).boxed_local(),
            FlagsTooLate => flags_too_late(host).boxed_local(),
            AddDuringShutdown => add_during_shutdown(host).boxed_local(),
            SendToClosed => send_to_closed(host).boxed_local(),
            PermitLeak => permit_leak(host).boxed_local(),
            OneAfter25 => one_after_25(host).boxed_local(),
            HalfUpdated => half_updated(host).boxed_local(),
            NarrowWindow => narrow_window(host).boxed_local(),
            Chain4 => chain_4(host).boxed_local(),
            Chain4Of5 => chain_4_of_5(host).boxed_local(),
            Reorder(tasks) => reorder(host, tasks).boxed_local(),
            TwoStage(tasks) => two_stage(host, tasks).boxed_local(),
        }
    }
}

async fn all(tasks: Vec<Join>) {
    for task in tasks {
        task.ended().await;
    }
}

/// Two tasks initialise something that must be initialised once.
async fn check_then_act(h: impl Host) {
    let (done, times) = (h.var("done", false), h.var("times", 0));
    let task = || {
        let (h, done, times) = (h.clone(), done.clone(), times.clone());
        async move {
            h.noise(3).await;
            if !done.get().await {
                done.set(true).await;
                times.count().await;
            }
        }
    };
    all(vec![h.spawn("one", task()), h.spawn("other", task())]).await;
    if times.peek() > 1 {
        h.bug();
    }
}

/// Three tasks count to 2 each, by a read and a write; the bug is that as much as 4 counts are lost.
async fn lost_update(h: impl Host) {
    let sum = h.var("sum", 0);
    let task = |name| {
        let sum = sum.clone();
        h.spawn(name, async move {
            for _ in 0..2 {
                let seen = sum.get().await;
                sum.set(seen + 1).await;
            }
        })
    };
    all(vec![task("a"), task("b"), task("c")]).await;
    if sum.peek() <= 2 {
        h.bug();
    }
}

/// A consumer looks, finds nothing and goes to wait; what is told in between is not heard.
async fn lost_wakeup(h: impl Host) {
    let (ready, signal) = (h.var("ready", false), h.signal("signal"));
    let consumer = {
        let (h, ready, signal) = (h.clone(), ready.clone(), signal.clone());
        async move {
            h.noise(4).await;
            if !ready.get().await {
                signal.wait().await;
            }
        }
    };
    let producer = {
        let h = h.clone();
        async move {
            h.noise(4).await;
            ready.set(true).await;
            signal.tell().await;
        }
    };
    all(vec![h.spawn("consumer", consumer), h.spawn("producer", producer)]).await;
}

/// A buffer for one, with one signal for both that put and that take: the wrong one may be woken.
async fn bounded_buffer(h: impl Host) {
    let (full, lock, signal) = (h.var("full", false), h.semaphore("lock", 1), h.signal("signal"));
    let task = |name, puts: bool, times: u32| {
        let (scene, full, lock, signal) = (Rc::clone(h.scene()), full.clone(), lock.clone(), signal.clone());
        h.spawn(name, async move {
            for _ in 0..times {
                lock.acquire().await;
                while full.get().await == puts && !scene.is_deadlock() {
                    signal.wait_without(&lock).await;
                }
                full.set(puts).await;
                signal.tell().await;
                lock.release().await;
            }
        })
    };
    all(vec![task("put", true, 2), task("take 1", false, 1), task("take 2", false, 1)]).await;
}

/// A name is removed and added again while the end of its first incarnation is being dealt with.
async fn name_aba(h: impl Host) {
    let (name, added) = (h.var("name", 1), h.var("added", false));
    let reaper = {
        let (h, name) = (h.clone(), name.clone());
        async move {
            h.noise(3).await;
            if name.get().await == 1 {
                name.set(0).await;
            }
        }
    };
    let user = {
        let (h, name, added) = (h.clone(), name.clone(), added.clone());
        async move {
            h.noise(3).await;
            if name.swap(1, 0).await {
                h.noise(2).await;
                name.set(2).await;
                added.set(true).await;
            }
        }
    };
    all(vec![h.spawn("reaper", reaper), h.spawn("user", user)]).await;
    if added.peek() && name.peek() == 0 {
        h.bug();
    }
}

/// A stack without locks, 1 on 2 on 3: one pops while another pops twice and pushes the first back.
async fn stack_aba(h: impl Host) {
    let head = h.var("head", 1_usize);
    let next = Rc::new([h.var("next", 0_usize), h.var("next", 2), h.var("next", 3), h.var("next", 0)]);
    let owned = Rc::new([h.var("owned", 0_u32), h.var("owned", 0), h.var("owned", 0), h.var("owned", 0)]);
    let popper = {
        let (head, next, owned) = (head.clone(), Rc::clone(&next), Rc::clone(&owned));
        async move {
            let top = head.get().await;
            let below = next[top].get().await;
            if head.swap(top, below).await {
                owned[top].count().await;
            }
        }
    };
    let other = {
        let (h, head, next, owned) = (h.clone(), head.clone(), Rc::clone(&next), Rc::clone(&owned));
        async move {
            h.noise(2).await;
            let mut first = 0;
            for number in 0..2 {
                let top = head.get().await;
                let below = next[top].get().await;
                if top == 0 || !head.swap(top, below).await {
                    return;
                }
                match number {
                    0 => first = top,
                    _ => owned[top].count().await,
                }
            }
            let top = head.get().await;
            next[first].set(top).await;
            head.swap(top, first).await;
        }
    };
    all(vec![h.spawn("popper", popper), h.spawn("other", other)]).await;
    // Whoever owns a node must not find it on the stack.
    let mut node = head.peek();
    while node != 0 {
        if owned[node].peek() > 0 {
            h.bug();
        }
        node = next[node].peek();
    }
}

/// Two callers cancel one task and put themselves down as the one to be answered.
async fn double_cancel(h: impl Host) {
    let caller = h.var("caller", 0_usize);
    let answers = [h.semaphore("answer", 0), h.semaphore("answer", 0)];
    let asked = h.semaphore("asked", 0);
    let cancel = |number: usize, name| {
        let (h, caller, answer, asked) =
            (h.clone(), caller.clone(), answers[number - 1].clone(), asked.clone());
        h.clone().spawn(name, async move {
            h.noise(3).await;
            // The second is told that it is being removed already, and does not wait.
            if caller.get().await == 0 {
                caller.set(number).await;
                asked.release().await;
                answer.acquire().await;
            }
        })
    };
    let task = {
        let (caller, answers, asked) = (caller.clone(), answers.clone(), asked.clone());
        h.spawn("task", async move {
            asked.acquire().await;
            let caller = caller.get().await;
            answers[caller - 1].release().await;
        })
    };
    all(vec![cancel(1, "one"), cancel(2, "other"), task]).await;
}

/// As many tasks as semaphores in a ring: each takes the one on its left, then the one on its right.
async fn crossed_semaphores(h: impl Host, tasks: usize) {
    let names = ["fork 1", "fork 2", "fork 3", "fork 4"];
    let forks: Vec<_> = names[..tasks].iter().map(|name| h.semaphore(name, 1)).collect();
    let tasks = (0..tasks).map(|number| {
        let (h, left, right) = (h.clone(), forks[number].clone(), forks[(number + 1) % tasks].clone());
        h.clone().spawn(names[number], async move {
            h.noise(2).await;
            left.acquire().await;
            right.acquire().await;
            h.noise(2).await;
            right.release().await;
            left.release().await;
        })
    });
    all(tasks.collect()).await;
}

/// Three tasks take a lock to change a value, and a fourth takes another one.
async fn wrong_lock(h: impl Host) {
    let (value, right, wrong) = (h.var("value", 0), h.semaphore("right", 1), h.semaphore("wrong", 1));
    let task = |number: u32, lock: &Semaphore<_>| {
        let (h, value, lock) = (h.clone(), value.clone(), lock.clone());
        h.clone().spawn(&format!("{number}"), async move {
            lock.acquire().await;
            let seen = value.get().await;
            value.set(seen + 1).await;
            lock.release().await;
        })
    };
    all(vec![task(1, &right), task(2, &right), task(3, &right), task(4, &wrong)]).await;
    if value.peek() != 4 {
        h.bug();
    }
}

/// Dekker's entry with flag and look in the wrong order: both tasks are inside, in their second round.
async fn flags_too_late(h: impl Host) {
    let wants = [h.var("one wants", false), h.var("other wants", false)];
    let inside = h.var("inside", 0);
    let task = |me: usize, name| {
        let (h, mine, its, inside) = (h.clone(), wants[me].clone(), wants[1 - me].clone(), inside.clone());
        h.clone().spawn(name, async move {
            for round in 0..2 {
                h.noise(2).await;
                if its.get().await {
                    continue;
                }
                mine.set(true).await;
                if round == 1 {
                    inside.count().await;
                    if inside.peek() > 1 {
                        h.bug();
                    }
                    inside.set(0).await;
                }
                mine.set(false).await;
            }
        })
    };
    all(vec![task(0, "one"), task(1, "other")]).await;
}

/// Shutdown stops additions, then takes stock; one that had been let in before arrives afterwards.
async fn add_during_shutdown(h: impl Host) {
    let (open, tasks) = (h.var("open", true), h.var("tasks", 0));
    let add = |name| {
        let (h, open, tasks) = (h.clone(), open.clone(), tasks.clone());
        h.clone().spawn(name, async move {
            h.noise(4).await;
            if open.get().await {
                tasks.count().await;
            }
        })
    };
    let shutdown = {
        let (open, tasks) = (open.clone(), tasks.clone());
        h.spawn("shutdown", async move {
            open.set(false).await;
            let cancelled = tasks.get().await;
            tasks.set(tasks.peek() - cancelled).await;
        })
    };
    all(vec![add("one"), add("other"), shutdown]).await;
    if tasks.peek() != 0 {
        h.bug();
    }
}

/// A request is put into a queue that was closed and drained meanwhile; it is never answered.
async fn send_to_closed(h: impl Host) {
    let (closed, waiting) = (h.var("closed", false), h.var("waiting", 0));
    let (answer, work) = (h.semaphore("answer", 0), h.semaphore("work", 0));
    let caller = {
        let (h, closed, waiting, answer, work) =
            (h.clone(), closed.clone(), waiting.clone(), answer.clone(), work.clone());
        h.clone().spawn("caller", async move {
            for _ in 0..3 {
                if closed.get().await {
                    return;
                }
                waiting.count().await;
                work.release().await;
                answer.acquire().await;
            }
        })
    };
    let server = h.spawn("server", async move {
        work.acquire().await;
        waiting.set(0).await;
        answer.release().await;
        closed.set(true).await;
        for _ in 0..waiting.get().await {
            answer.release().await;
        }
    });
    all(vec![caller, server]).await;
}

/// Who is cancelled between taking a permit and using it does not give it back.
async fn permit_leak(h: impl Host) {
    let (permit, cancelled) = (h.semaphore("permit", 1), h.var("cancelled", false));
    let task = {
        let (permit, cancelled) = (permit.clone(), cancelled.clone());
        h.spawn("task", async move {
            for _ in 0..4 {
                if cancelled.get().await {
                    return;
                }
                permit.acquire().await;
                if cancelled.get().await {
                    return;
                }
                permit.release().await;
            }
        })
    };
    let other = {
        let permit = permit.clone();
        h.spawn("other", async move {
            permit.acquire().await;
            permit.release().await;
        })
    };
    let cancel = {
        let h = h.clone();
        h.clone().spawn("cancel", async move {
            h.noise(4).await;
            cancelled.set(true).await;
        })
    };
    all(vec![task, other, cancel]).await;
}

/// A task of one step comes after another of 25.
async fn one_after_25(h: impl Host) {
    let value = h.var("value", 1);
    let one = {
        let value = value.clone();
        h.spawn("one", async move { value.set(0).await })
    };
    let many = {
        let value = value.clone();
        h.spawn("many", async move {
            for _ in 0..25 {
                value.set(1).await;
            }
        })
    };
    all(vec![one, many]).await;
    if value.peek() == 0 {
        h.bug();
    }
}

/// An observer sees 1 of 20 changes.
async fn half_updated(h: impl Host) {
    let changed = h.var("changed", 0);
    let writer = {
        let changed = changed.clone();
        h.spawn("writer", async move {
            for _ in 0..20 {
                changed.count().await;
            }
        })
    };
    let observer = {
        let (h, changed) = (h.clone(), changed.clone());
        h.clone().spawn("observer", async move {
            if changed.get().await == 1 {
                h.bug();
            }
        })
    };
    all(vec![writer, observer]).await;
}

/// A look comes within a window of one step, beside six noisy tasks.
async fn narrow_window(h: impl Host) {
    let open = h.var("open", false);
    let mut tasks = Vec::new();
    for number in 0..6 {
        let noisy = h.clone();
        tasks.push(h.spawn(&format!("noisy {number}"), async move { noisy.noise(10).await }));
    }
    let opener = open.clone();
    tasks.push(h.spawn("opener", async move {
        opener.set(true).await;
        opener.set(false).await;
    }));
    let looks = h.clone();
    tasks.push(h.spawn("looker", async move {
        if open.get().await {
            looks.bug();
        }
    }));
    all(tasks).await;
}

/// Two tasks must take turns four times, each within the right stretch of the other: a bug of depth 4.
async fn chain_4(h: impl Host) {
    let stage = h.var("stage", 0);
    let task = |name, stages: [u32; 2]| {
        let (h, stage) = (h.clone(), stage.clone());
        h.clone().spawn(name, async move {
            for from in stages {
                h.noise(4).await;
                stage.swap(from, from + 1).await;
            }
        })
    };
    all(vec![task("one", [1, 3]), task("other", [0, 2])]).await;
    if stage.peek() == 4 {
        h.bug();
    }
}

/// Four tasks must come in the reverse of the order in which they were started, each at its fourth step, and a fifth
/// after them.
async fn chain_4_of_5(h: impl Host) {
    let stage = h.var("stage", 0);
    let mut tasks = Vec::new();
    for from in [4, 3, 2, 1, 0] {
        let (host, stage) = (h.clone(), stage.clone());
        tasks.push(h.spawn(&format!("{from}"), async move {
            host.noise(3).await;
            stage.swap(from, from + 1).await;
            host.noise(3).await;
        }));
    }
    all(tasks).await;
    if stage.peek() == 5 {
        h.bug();
    }
}

/// All tasks but one set two values one after the other; one looks, and sees a change of the first alone.
async fn reorder(h: impl Host, tasks: u32) {
    let (first, second) = (h.var("first", 0), h.var("second", 0));
    let mut all_tasks = Vec::new();
    for number in 1..tasks {
        let (first, second) = (first.clone(), second.clone());
        all_tasks.push(h.spawn(&format!("setter {number}"), async move {
            first.set(1).await;
            second.set(-1).await;
        }));
    }
    let checker = {
        let (h, first, second) = (h.clone(), first.clone(), second.clone());
        h.clone().spawn("checker", async move {
            let seen = (first.get().await, second.get().await);
            if seen == (1, 0) {
                h.bug();
            }
        })
    };
    all_tasks.push(checker);
    all(all_tasks).await;
}

/// As [`reorder`], with each value under a lock of its own.
async fn two_stage(h: impl Host, tasks: u32) {
    let (first, second) = (h.var("first", 0), h.var("second", 0));
    let (lock, other_lock) = (h.semaphore("lock", 1), h.semaphore("other lock", 1));
    let mut all_tasks = Vec::new();
    for number in 1..tasks {
        let (first, second, lock, other_lock) =
            (first.clone(), second.clone(), lock.clone(), other_lock.clone());
        all_tasks.push(h.spawn(&format!("writer {number}"), async move {
            lock.acquire().await;
            first.set(1).await;
            lock.release().await;
            other_lock.acquire().await;
            second.set(first.peek() + 1).await;
            other_lock.release().await;
        }));
    }
    let reader = {
        let h = h.clone();
        h.clone().spawn("reader", async move {
            lock.acquire().await;
            let one = first.get().await;
            lock.release().await;
            if one == 0 {
                return;
            }
            other_lock.acquire().await;
            let other = second.get().await;
            other_lock.release().await;
            if other != one + 1 {
                h.bug();
            }
        })
    };
    all_tasks.push(reader);
    all(all_tasks).await;
}
