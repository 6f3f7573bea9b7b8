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
    /// `text_of` gives the text that events carry of an error.
    pub(crate) fn of(end: BodyEnd, text_of: impl FnOnce(&TaskError) -> Arc<str>) -> Self {
        match end {
            BodyEnd::Returned(Ok(())) => Self::Ok,
            BodyEnd::Returned(Err(TaskError::Canceled)) => Self::Canceled,
            BodyEnd::Returned(Err(error @ TaskError::Fatal { .. })) => Self::Fatal(text_of(&error)),
            BodyEnd::Returned(Err(error)) => Self::Failed(text_of(&error)),
            BodyEnd::Panicked(message) => Self::Failed(format!("panic: {message}").into()), // [A5]
            BodyEnd::TimedOut { timeout } => Self::TimedOut { timeout },
        }
    }
}

/// How a body ended, or was ended.
#[derive(Debug)]
pub(crate) enum BodyEnd {
    Returned(Result<(), TaskError>),
    /// With this message.
    Panicked(String),
    TimedOut {
        timeout: Duration,
    },
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
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<BodyEnd> {
        match catch_unwind(AssertUnwindSafe(|| self.body.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => return Poll::Ready(BodyEnd::Returned(result)),
            Err(payload) => return Poll::Ready(BodyEnd::Panicked(panic_message(&*payload))),
            Ok(Poll::Pending) => {}
        }
        let Some((timeout, sleep)) = &mut self.deadline else { return Poll::Pending };
        Pin::new(sleep).poll(cx).map(|()| BodyEnd::TimedOut { timeout: *timeout })
    }
}

impl Future for Running {
    type Output = BodyEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BodyEnd> {
        let Poll::Ready(end) = self.poll_end(cx) else { return Poll::Pending };
        if matches!(end, BodyEnd::TimedOut { .. }) {
            self.context.cancel();
        }
        let body = std::mem::replace(&mut self.body, Box::pin(pending()));
        // What a body does while it is dropped is its own affair, and so is a panic there.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(body)));
        Poll::Ready(end)
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
