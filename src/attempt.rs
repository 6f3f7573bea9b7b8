//! One attempt: a body under a deadline, with its panics caught.

use std::any::Any;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::error::TaskError;
use crate::runtime::{Rt, Sleep, WaitsFor};
use crate::sync::CancellationToken;
use crate::task::{TaskFuture, TaskSpec};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Canceled,
    /// The deadline came first.
    TimedOut {
        timeout: Duration,
    },
    /// Retryable; carries the text that events show.
    Failed(Arc<str>),
    Fatal(Arc<str>),
}

impl Outcome {
    fn of(result: Result<(), TaskError>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(TaskError::Canceled) => Self::Canceled,
            Err(error @ TaskError::Fatal { .. }) => Self::Fatal(error.text()),
            Err(error) => Self::Failed(error.text()),
        }
    }

    /// \[A5\]
    fn of_panic(payload: &(dyn Any + Send)) -> Self {
        Self::Failed(format!("panic: {}", panic_message(payload)).into())
    }
}

/// Begins the body of one attempt, which runs to its end, or to `timeout` from now. A body that is ready when it is polled
/// at the deadline wins (\[A3\]); a body that is cut off has its context cancelled first (\[A4\]).
pub(crate) fn run_body(
    rt: &Rt,
    spec: &TaskSpec,
    context: CancellationToken,
    timeout: Option<Duration>,
) -> Running {
    let deadline = timeout.map(|timeout| (timeout, rt.sleep_until(rt.now().after(timeout))));
    let made = catch_unwind(AssertUnwindSafe(|| spec.task().spawn(context.clone())));
    let body = made.unwrap_or_else(|payload| Box::pin(async { resume_unwind(payload) }));
    rt.waits_for(WaitsFor::Body);
    Running { body, deadline, context }
}

/// See [`run_body`]. Written out, because an `async fn` would keep its arguments beside what it makes of them, for as long
/// as the body lives.
pub(crate) struct Running {
    body: TaskFuture,
    deadline: Option<(Duration, Sleep)>,
    context: CancellationToken,
}

impl Running {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        match catch_unwind(AssertUnwindSafe(|| self.body.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => return Poll::Ready(Outcome::of(result)),
            Err(payload) => return Poll::Ready(Outcome::of_panic(&*payload)),
            Ok(Poll::Pending) => {}
        }
        let Some((timeout, sleep)) = &mut self.deadline else { return Poll::Pending };
        Pin::new(sleep).poll(cx).map(|()| Outcome::TimedOut { timeout: *timeout })
    }
}

impl Future for Running {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Poll::Ready(outcome) = self.poll_outcome(cx) else { return Poll::Pending };
        if matches!(outcome, Outcome::TimedOut { .. }) {
            self.context.cancel();
        }
        let body = std::mem::replace(&mut self.body, Box::pin(pending()));
        // What a body does while it is dropped is its own affair, and so is a panic there.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(body)));
        Poll::Ready(outcome)
    }
}

/// The message of a panic, as far as it has one.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "unknown panic".to_owned()
    }
}
