//! A supervisor as somebody might write it in an afternoon, with one bug. It knows nothing of simvisor: it logs what it
//! does in its own words, as `docs/reference-model.md` tells, one JSON object on each line.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

pub(crate) type Body = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// A task, which is tried again after a failure.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) delay: Duration,
    /// Makes the body of an attempt, counted from 1.
    pub(crate) body: Rc<dyn Fn(u32) -> Body>,
}

/// Lines of the log.
#[derive(Clone)]
pub(crate) struct Log {
    started: Instant,
    lines: Rc<RefCell<Vec<String>>>,
    events: Rc<Cell<u64>>,
}

impl Log {
    pub(crate) fn new(grace: Duration) -> Self {
        let header = json!({
            "format": "simvisor-trace", "version": 1, "runtime": "toy 0.1",
            "config": {
                "grace_ns": grace.as_nanos() as u64, "max_concurrent": 0, "bus_capacity": 1, "timer_late_ns": 1_000_000,
            },
        });
        let lines = Rc::new(RefCell::new(vec![header.to_string()]));
        Self { started: Instant::now(), lines, events: Rc::default() }
    }

    /// Something was observed.
    #[allow(clippy::needless_pass_by_value)] // what it is told is made on the spot
    pub(crate) fn tell(&self, kind: &str, what: Value) {
        let at_ns = self.started.elapsed().as_nanos() as u64;
        self.lines.borrow_mut().push(json!({ "at_ns": at_ns, kind: what }).to_string());
    }

    /// An event in the toy's own words.
    fn event(&self, kind: &str, name: &str, mut more: Value) {
        let seq = self.events.replace(self.events.get() + 1);
        more["seq"] = json!(seq);
        more["kind"] = json!(kind);
        more["name"] = json!(name);
        self.tell("event", more);
    }

    pub(crate) fn text(&self) -> String {
        self.lines.borrow().iter().map(|line| format!("{line}\n")).collect()
    }
}

struct Actor {
    cancel: Option<oneshot::Sender<()>>,
    join: Option<JoinHandle<()>>,
}

/// Runs tasks until each has ended or was removed.
pub(crate) struct Toy {
    log: Log,
    actors: RefCell<BTreeMap<&'static str, Actor>>,
    calls: Cell<u32>,
}

impl Toy {
    pub(crate) fn new(log: Log) -> Rc<Self> {
        Rc::new(Self { log, actors: RefCell::default(), calls: Cell::new(0) })
    }

    #[allow(clippy::needless_pass_by_value)] // as above
    fn call(&self, what: Value) -> u32 {
        let op = self.calls.replace(self.calls.get() + 1);
        self.log.tell("call", json!({ "op": op, "do": what }));
        op
    }

    pub(crate) async fn run(self: &Rc<Self>, specs: Vec<Spec>) {
        let told: Vec<_> = specs.iter().map(told).collect();
        let op = self.call(json!({ "run": told }));
        for spec in specs {
            let (cancel, cancelled) = oneshot::channel();
            self.log.event("spawn", spec.name, json!({}));
            let join = spawn_local(act(spec.clone(), cancelled, self.log.clone()));
            let actor = Actor { cancel: Some(cancel), join: Some(join) };
            self.actors.borrow_mut().insert(spec.name, actor);
        }
        while let Some((name, join)) = self.next_join() {
            join.await.expect("an actor does not panic");
            self.actors.borrow_mut().remove(name);
        }
        self.log.tell("answer", json!({ "op": op, "result": "done" }));
    }

    fn next_join(&self) -> Option<(&'static str, JoinHandle<()>)> {
        self.actors.borrow_mut().iter_mut().find_map(|(name, actor)| Some((*name, actor.join.take()?)))
    }

    pub(crate) fn remove(&self, name: &'static str) {
        let op = self.call(json!({ "remove": name }));
        let cancel = self.actors.borrow_mut().get_mut(name).and_then(|actor| actor.cancel.take());
        let result = if let Some(cancel) = cancel {
            self.log.event("stop", name, json!({}));
            // It may have ended meanwhile.
            let _ = cancel.send(());
            "done"
        } else {
            "not_found"
        };
        self.log.tell("answer", json!({ "op": op, "result": result }));
    }
}

/// A spec as the log tells of it.
fn told(spec: &Spec) -> Value {
    let delay_ns = spec.delay.as_nanos() as u64;
    json!({
        "task": spec.name,
        "restart": "on_failure",
        "backoff": { "first_ns": delay_ns, "max_ns": delay_ns, "factor": 1.0, "jitter": "none" },
        "timeout_ns": 0,
    })
}

/// Attempts of one task, one after the other.
async fn act(spec: Spec, mut cancelled: oneshot::Receiver<()>, log: Log) {
    for attempt in 1.. {
        log.event("begin", spec.name, json!({ "try": attempt }));
        log.tell("body_entered", json!({ "task": spec.name, "attempt": attempt }));
        let left = |how| log.tell("body_left", json!({ "task": spec.name, "attempt": attempt, "how": how }));
        match select((spec.body)(attempt), &mut cancelled).await {
            Either::Right(_) => {
                log.tell("body_cancelled", json!({ "task": spec.name, "attempt": attempt }));
                left(json!("canceled"));
                log.event("cancelled", spec.name, json!({}));
                break;
            }
            Either::Left((Ok(()), _)) => {
                left(json!("ok"));
                log.event("ok", spec.name, json!({ "try": attempt }));
                break;
            }
            Either::Left((Err(error), _)) => {
                left(json!({ "fail": error }));
                log.event("crash", spec.name, json!({ "try": attempt, "error": error }));
                let delay_ms = spec.delay.as_millis() as u64;
                log.event("wait", spec.name, json!({ "try": attempt, "error": error, "delay_ms": delay_ms }));
                // The bug: nobody who is removed should sleep to the end. `select` with `cancelled` is what it takes.
                sleep(spec.delay).await;
                if !matches!(cancelled.try_recv(), Ok(None)) {
                    break;
                }
            }
        }
    }
    log.event("gone", spec.name, json!({}));
}

/// Runs a toy on Tokio's paused clock and gives its log.
pub(crate) fn logged(play: impl AsyncFnOnce(Rc<Toy>)) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let log = Log::new(Duration::from_secs(60));
        play(Toy::new(log.clone())).await;
        log.tell("end", json!("done"));
        log.text()
    })
}
