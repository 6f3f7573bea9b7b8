//! A supervisor as somebody might write it in an afternoon, with one bug. It knows nothing of simvisor: it logs what it
//! does in its own words, as `docs/reference-model.md` tells, one JSON object on each line.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, join_all, select};
use serde_json::{Value, json};
use tokio::task::spawn_local;
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

/// Runs tasks until each has ended or was removed.
pub(crate) struct Toy {
    started: Instant,
    lines: RefCell<Vec<String>>,
    /// How many events were logged, and how many calls.
    counts: Cell<(u64, u32)>,
    /// Of each task that is there, how to cancel it, once.
    tasks: RefCell<BTreeMap<&'static str, Option<oneshot::Sender<()>>>>,
}

impl Toy {
    pub(crate) fn new(grace: Duration) -> Rc<Self> {
        let grace_ns = grace.as_nanos() as u64;
        let header = json!({
            "format": "simvisor-trace", "version": 1, "runtime": "toy 0.1",
            "config": { "grace_ns": grace_ns, "max_concurrent": 0, "bus_capacity": 1, "timer_late_ns": 1_000_000 },
        });
        let (lines, tasks) = (RefCell::new(vec![header.to_string()]), RefCell::default());
        Rc::new(Self { started: Instant::now(), lines, counts: Cell::default(), tasks })
    }

    /// Something was observed.
    pub(crate) fn tell(&self, kind: &str, what: &Value) {
        let at_ns = self.started.elapsed().as_nanos() as u64;
        self.lines.borrow_mut().push(json!({ "at_ns": at_ns, kind: what }).to_string());
    }

    pub(crate) fn log(&self) -> String {
        self.lines.borrow().join("\n") + "\n"
    }

    /// An event in the toy's own words.
    fn event(&self, kind: &str, name: &str, mut more: Value) {
        let (events, calls) = self.counts.get();
        self.counts.set((events + 1, calls));
        (more["seq"], more["kind"], more["name"]) = (json!(events), json!(kind), json!(name));
        self.tell("event", &more);
    }

    fn call(&self, what: &Value) -> u32 {
        let (events, op) = self.counts.get();
        self.counts.set((events, op + 1));
        self.tell("call", &json!({ "op": op, "do": what }));
        op
    }

    pub(crate) async fn run(self: &Rc<Self>, specs: Vec<Spec>) {
        let op = self.call(&json!({ "run": specs.iter().map(told).collect::<Vec<_>>() }));
        let actors = specs.into_iter().map(|spec| {
            let (cancel, cancelled) = oneshot::channel();
            self.event("spawn", spec.name, json!({}));
            self.tasks.borrow_mut().insert(spec.name, Some(cancel));
            spawn_local(Rc::clone(self).act(spec, cancelled))
        });
        join_all(actors.collect::<Vec<_>>()).await;
        self.tell("answer", &json!({ "op": op, "result": "done" }));
    }

    pub(crate) fn remove(&self, name: &'static str) {
        let op = self.call(&json!({ "remove": name }));
        let result = match self.tasks.borrow_mut().get_mut(name).map(Option::take) {
            None => "not_found",
            Some(None) => "done",
            Some(Some(cancel)) => {
                self.event("stop", name, json!({}));
                // It may have ended meanwhile.
                let _ = cancel.send(());
                "done"
            }
        };
        self.tell("answer", &json!({ "op": op, "result": result }));
    }

    /// Attempts of one task, one after the other.
    async fn act(self: Rc<Self>, spec: Spec, mut cancelled: oneshot::Receiver<()>) {
        let name = spec.name;
        for attempt in 1.. {
            self.event("begin", name, json!({ "try": attempt }));
            self.tell("body_entered", &json!({ "task": name, "attempt": attempt }));
            let left = |how| self.tell("body_left", &json!({ "task": name, "attempt": attempt, "how": how }));
            match select((spec.body)(attempt), &mut cancelled).await {
                Either::Right(_) => {
                    self.tell("body_cancelled", &json!({ "task": name, "attempt": attempt }));
                    left(json!("canceled"));
                    self.event("cancelled", name, json!({}));
                    break;
                }
                Either::Left((Ok(()), _)) => {
                    left(json!("ok"));
                    self.event("ok", name, json!({ "try": attempt }));
                    break;
                }
                Either::Left((Err(error), _)) => {
                    left(json!({ "fail": error }));
                    self.event("crash", name, json!({ "try": attempt, "error": error }));
                    let delay_ms = spec.delay.as_millis() as u64;
                    self.event("wait", name, json!({ "try": attempt, "error": error, "delay_ms": delay_ms }));
                    // The bug: who is removed should not sleep to the end. `select` with `cancelled` is what it takes.
                    sleep(spec.delay).await;
                    if !matches!(cancelled.try_recv(), Ok(None)) {
                        break;
                    }
                }
            }
        }
        self.tasks.borrow_mut().remove(name);
        self.event("gone", name, json!({}));
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
