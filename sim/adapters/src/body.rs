//! Bodies of tasks that play a scenario's script.

use std::future::{Future, pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use simvisor_sim::scenario::{Ending, OnCancel, Span, Step, TaskDecl};
use simvisor_sim::trace::{BodyEnd, Text, What};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::machine;
use crate::stage::Stage;

/// How long a body runs once calm has come.
const CALM_RUN: Span = Span(1_000_000);

/// How a body learns that it is cancelled.
pub trait Context: Send + Sync + Clone + 'static {
    /// Whether it is.
    fn is_cancelled(&self) -> bool;
    /// Ready once it is.
    fn cancelled(&self) -> impl Future<Output = ()> + Send;
}

impl Context for CancellationToken {
    fn is_cancelled(&self) -> bool {
        CancellationToken::is_cancelled(self)
    }

    fn cancelled(&self) -> impl Future<Output = ()> + Send {
        CancellationToken::cancelled(self)
    }
}

/// What a body returns; it panics where the script wants that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// Success.
    Ok,
    /// That it was cancelled.
    Canceled,
    /// A failure, with reason `boom`.
    Fail,
    /// A failure for good, with reason `gone`.
    Fatal,
}

/// A task that was handed to a runtime once: one incarnation. Clones are the same.
#[derive(Clone)]
pub struct Job {
    inner: Arc<Inner>,
}

struct Inner {
    stage: Stage,
    decl: TaskDecl,
    /// The operation that brought it.
    op: u32,
    attempts: AtomicU32,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("task", &self.inner.decl.name).finish_non_exhaustive()
    }
}

impl Job {
    pub(crate) fn new(stage: &Stage, decl: &TaskDecl, op: u32) -> Self {
        let inner = Inner { stage: stage.clone(), decl: decl.clone(), op, attempts: AtomicU32::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// The task's name and policies.
    #[must_use]
    pub fn decl(&self) -> &TaskDecl {
        &self.inner.decl
    }

    /// Limit of one attempt; `None` is none.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.inner.stage.timeout_of(&self.inner.decl)
    }

    /// The body of the next attempt.
    pub fn body<C: Context>(&self, ctx: C) -> impl Future<Output = Returned> + Send + use<C> {
        let attempt = self.inner.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        Body { inner: Arc::clone(&self.inner), ctx, attempt, task: None, was_told: false, has_left: false }
            .play()
    }
}

/// One attempt; records that it left, however it does.
struct Body<C: Context> {
    inner: Arc<Inner>,
    ctx: C,
    attempt: u32,
    /// `None` until it is entered: one that is never polled is not.
    task: Option<Text>,
    was_told: bool,
    has_left: bool,
}

impl<C: Context> Body<C> {
    async fn play(mut self) -> Returned {
        let Inner { stage, decl, op, .. } = &*Arc::clone(&self.inner);
        let (attempt, op) = (self.attempt, Some(*op));
        stage.record(|texts| {
            let task = texts.intern(&decl.name);
            self.task = Some(task);
            What::BodyEntered { task, attempt, op }
        });
        stage.body_entered(&decl.name);
        let who = format!("body {}", decl.name);
        stage.pass(&who).await;
        let step = decl.script.get(attempt as usize - 1).or(decl.script.last()).copied().unwrap_or_default();
        let ending = self.act(step).await;
        stage.pass(&who).await;
        let (returned, how): (_, fn(Text) -> BodyEnd) = match ending {
            Ending::Ok => (Returned::Ok, |_| BodyEnd::Ok),
            Ending::Canceled => (Returned::Canceled, |_| BodyEnd::Canceled),
            Ending::Fail => (Returned::Fail, BodyEnd::Fail),
            Ending::Fatal => (Returned::Fatal, BodyEnd::Fatal),
            Ending::Panic => (Returned::Ok, BodyEnd::Panic),
            Ending::Never => pending().await,
        };
        let text = match ending {
            Ending::Fail => "execution failed: boom",
            Ending::Fatal => "fatal error (no retry): gone",
            Ending::Panic => "ouch",
            _ => "",
        };
        self.leave(text, how);
        if ending == Ending::Panic {
            // Unlike `panic!`, this does not call the panic hook: a scripted panic is no news.
            resume_unwind(Box::new("ouch"));
        }
        returned
    }

    /// Does what the step says until it ends, is told to end, or calm comes.
    async fn act(&mut self, step: Step) -> Ending {
        let stage = self.inner.stage.clone();
        let calm = stage.calm();
        let is_calm = calm.is_cancelled();
        let step = if is_calm { Step { run: CALM_RUN, ..Step::default() } } else { step };
        let ctx = self.ctx.clone();
        let ended = {
            let mut work = pin!(sleep(step.run.duration()));
            let mut cancelled = pin!(ctx.cancelled());
            let mut calmed = pin!(calm.cancelled());
            let has_no_time = step.run.is_zero();
            poll_fn(|cx| {
                if step.then != Ending::Never && (has_no_time || work.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(Some(step.then));
                }
                if !self.was_told && cancelled.as_mut().poll(cx).is_ready() {
                    self.told();
                }
                if self.was_told && step.on_cancel != OnCancel::Ignore {
                    return Poll::Ready(None);
                }
                if is_calm { Poll::Pending } else { calmed.as_mut().poll(cx).map(|()| Some(Ending::Ok)) }
            })
            .await
        };
        match (ended, step.on_cancel) {
            (Some(ending), _) => ending,
            (None, OnCancel::Ignore) => unreachable!("a body that ignores cancellation goes on"),
            (None, OnCancel::End { after, then }) => {
                if !after.is_zero() {
                    drop(timeout(after.duration(), calm.cancelled()).await);
                }
                if then == Ending::Never {
                    calm.cancelled().await;
                    return Ending::Ok;
                }
                then
            }
        }
    }

    /// The context was seen to be cancelled.
    fn told(&mut self) {
        self.was_told = true;
        let Some(task) = self.task else { return };
        let attempt = self.attempt;
        self.inner.stage.record(|_| What::BodyCancelled { task, attempt });
    }

    fn leave(&mut self, text: &str, how: impl FnOnce(Text) -> BodyEnd) {
        self.has_left = true;
        let Some(task) = self.task else { return };
        let attempt = self.attempt;
        self.inner.stage.record(|texts| {
            let text = if text.is_empty() { task } else { texts.intern(text) };
            What::BodyLeft { task, attempt, how: how(text) }
        });
    }
}

impl<C: Context> Drop for Body<C> {
    /// Whoever drops a body may cancel its context before or after, at the same instant; somebody else who holds the
    /// context sees no difference. So it is looked at once more when the dropping is over.
    fn drop(&mut self) {
        let Some(task) = self.task.filter(|_| !self.has_left) else { return };
        let (told, left) = (machine::stamp(), machine::stamp());
        let (stage, attempt, ctx) = (self.inner.stage.clone(), self.attempt, self.ctx.clone());
        let was_told = self.was_told;
        let record = move || {
            if !was_told && ctx.is_cancelled() {
                stage.record_at(told, What::BodyCancelled { task, attempt });
            }
            stage.record_at(left, What::BodyLeft { task, attempt, how: BodyEnd::Dropped });
        };
        match tokio::runtime::Handle::try_current() {
            Ok(handle) if !self.was_told => {
                handle.spawn(async move {
                    tokio::task::yield_now().await;
                    record();
                });
            }
            _ => record(),
        }
    }
}
