//! The actor: runs the attempts of one incarnation under its policies.
//!
//! What follows an attempt is decided by [`Restarts::step`], a plain function that can be held against the table in
//! the contract; [`run`] performs it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::attempt::{Outcome, run_body};
use crate::error::TaskError;
use crate::event::{BackoffSource, Event, EventKind, saturating_ms};
use crate::hub::Hub;
use crate::policy::RestartPolicy;
use crate::registry::{Incarnation, Registry};
use crate::runtime::{PreemptPoint, Rt, Shared, WaitsFor, yield_now};
use crate::sync::{CancellationToken, LatchWait, Permit, Semaphore};
use crate::task::TaskSpec;

/// Reason of `ActorExhausted` after a success.
const EXHAUSTED_BY_SUCCESS: &str = "policy_exhausted_success";

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// The actor ends without a word.
    End,
    /// The next attempt, at once.
    Again,
    /// The next attempt after a success and the policy's interval.
    Interval(Duration),
    /// The next attempt after a failure. `failures`: earlier failures in a row.
    Backoff { failures: u32, reason: Arc<str> },
    /// `ActorExhausted`.
    Exhausted(Arc<str>),
    /// `ActorDead`.
    Dead(Arc<str>),
}

/// What an actor remembers between attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Restarts {
    /// Failures in a row (\[R3\]).
    failures: u32,
}

impl Restarts {
    /// The table of contract section 5. `cancelled`: the actor was cancelled before the attempt's end was published
    /// (\[R7\]).
    pub(crate) fn step(&mut self, policy: RestartPolicy, outcome: Outcome, cancelled: bool) -> Next {
        let text = match outcome {
            Outcome::Fatal(text) => return Next::Dead(text),
            Outcome::Canceled => return Next::End,
            _ if cancelled => return Next::End,
            Outcome::Ok => {
                self.failures = 0;
                return match policy {
                    RestartPolicy::Never | RestartPolicy::OnFailure => {
                        Next::Exhausted(EXHAUSTED_BY_SUCCESS.into())
                    }
                    RestartPolicy::Always { interval: Some(interval) } => Next::Interval(interval),
                    RestartPolicy::Always { interval: None } => Next::Again,
                };
            }
            Outcome::Failed(text) => text,
            Outcome::TimedOut { timeout } => timeout_text(timeout),
        };
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        match policy {
            RestartPolicy::Never => Next::Exhausted(text),
            RestartPolicy::OnFailure | RestartPolicy::Always { .. } => {
                Next::Backoff { failures, reason: text }
            }
        }
    }
}

fn timeout_text(timeout: Duration) -> Arc<str> {
    TaskError::Timeout { timeout }.to_string().into()
}

/// What all actors of a supervisor have in common.
pub(crate) struct Terms {
    pub(crate) hub: Rc<Hub>,
    pub(crate) permits: Option<Semaphore>,
    /// The configured limit of one attempt, for specs that have none of their own.
    pub(crate) timeout: Option<Duration>,
    /// Where it is told which attempts are open, for whoever asks or has to abort one.
    pub(crate) registry: Rc<RefCell<Registry>>,
}

/// One incarnation's actor.
pub(crate) struct Actor {
    pub(crate) terms: Rc<Terms>,
    pub(crate) spec: TaskSpec,
    pub(crate) token: CancellationToken,
    pub(crate) incarnation: Incarnation,
}

fn release(rt: &Rt, permit: Option<Permit>) {
    if let Some(permit) = permit {
        rt.touches(Shared::Permits);
        drop(permit);
    }
}

/// Runs attempts until the policy, a fatal error or a cancellation ends the actor.
pub(crate) async fn run(actor: &Actor) {
    let rt = &actor.terms.hub.rt;
    let mut restarts = Restarts::default();
    let mut attempt = 0;
    loop {
        let permit = match &actor.terms.permits {
            Some(permits) => {
                rt.waits_for(WaitsFor::Permit);
                let Some(permit) = unless_cancelled(&actor.token, permits.acquire()).await else { break };
                Some(permit)
            }
            None => None,
        };
        rt.point(PreemptPoint::BeforeAttempt).await;
        if actor.token.is_cancelled() {
            release(rt, permit);
            break; // [R5] [D2]
        }
        attempt += 1;
        let (outcome, cancelled) = actor.attempt(attempt).await;
        release(rt, permit); // [A6]
        rt.point(PreemptPoint::AfterAttempt).await;
        match restarts.step(actor.spec.restart(), outcome, cancelled) {
            Next::End => break,
            Next::Exhausted(reason) => {
                actor.tell_why(EventKind::ActorExhausted, attempt, reason);
                break;
            }
            Next::Dead(reason) => {
                actor.tell_why(EventKind::ActorDead, attempt, reason);
                break;
            }
            Next::Again => yield_now().await, // [R6]
            Next::Interval(interval) => {
                actor.announce(attempt, interval, BackoffSource::Success, None);
                if !actor.sleep(interval).await {
                    break;
                }
            }
            Next::Backoff { failures, reason } => {
                let delay = actor.spec.backoff().delay(failures, |high| rt.draw(high));
                actor.announce(attempt, delay, BackoffSource::Failure, Some(reason));
                if !actor.sleep(delay).await {
                    break;
                }
            }
        }
    }
    rt.point(PreemptPoint::ActorExit).await;
}

impl Actor {
    /// One attempt with its events. Also says whether the actor was cancelled before the end was published, which
    /// is the moment that decides what follows (\[R7\]).
    async fn attempt(&self, attempt: u32) -> (Outcome, bool) {
        self.tell(EventKind::TaskStarting, |event| event.attempt = Some(attempt));
        self.terms.registry.borrow().attempt_started(self.incarnation, attempt);
        let timeout = self.spec.timeout(self.terms.timeout);
        let end = run_body(&self.terms.hub.rt, &self.spec, self.token.child_token(), timeout).await;
        let outcome = Outcome::of(end, |error| self.terms.hub.text_of(error));
        if !matches!(outcome, Outcome::TimedOut { .. }) {
            self.terms.hub.rt.point(PreemptPoint::AfterBody).await;
        }
        self.terms.registry.borrow().attempt_ended(self.incarnation);
        match &outcome {
            Outcome::Ok | Outcome::Canceled => self.tell(EventKind::TaskStopped, |_| ()),
            Outcome::Failed(text) | Outcome::Fatal(text) => {
                self.tell_why(EventKind::TaskFailed, attempt, Arc::clone(text));
            }
            Outcome::TimedOut { timeout } => {
                self.tell(EventKind::TimeoutHit, |event| {
                    (event.attempt, event.timeout_ms) = (Some(attempt), Some(saturating_ms(*timeout)));
                });
                self.tell_why(EventKind::TaskFailed, attempt, timeout_text(*timeout));
            }
        }
        (outcome, self.token.is_cancelled())
    }

    /// Tells of the wait before the next attempt.
    fn announce(&self, attempt: u32, delay: Duration, source: BackoffSource, reason: Option<Arc<str>>) {
        self.tell(EventKind::BackoffScheduled, |event| {
            (event.attempt, event.delay_ms) = (Some(attempt), Some(saturating_ms(delay)));
            (event.backoff_source, event.reason) = (Some(source), reason);
        });
    }

    /// Waits. The output is false if the wait was cancelled (\[R5\]).
    fn sleep(&self, delay: Duration) -> impl Future<Output = bool> {
        let rt = &self.terms.hub.rt;
        let wake = rt.now().after(delay);
        rt.waits_for(WaitsFor::Backoff);
        let mut sleep = (!delay.is_zero()).then(|| unless_cancelled(&self.token, rt.sleep_until(wake)));
        async move {
            if let Some(sleep) = &mut sleep {
                return sleep.await.is_some();
            }
            yield_now().await; // [R6]
            !self.token.is_cancelled()
        }
    }

    /// Publishes an event of this task, of which `write` says the rest.
    fn tell(&self, kind: EventKind, write: impl FnOnce(&mut Event)) {
        self.terms.hub.tell(|event| {
            event.kind = kind;
            event.task = Some(self.spec.name());
            write(event);
        });
    }

    /// Publishes an event of an attempt that has a reason.
    fn tell_why(&self, kind: EventKind, attempt: u32, reason: Arc<str>) {
        self.tell(kind, |event| (event.attempt, event.reason) = (Some(attempt), Some(reason)));
    }
}

/// `future`'s output, or `None` if the token was cancelled; when both are so at once, the cancellation counts.
fn unless_cancelled<F>(token: &CancellationToken, future: F) -> UnlessCancelled<F> {
    UnlessCancelled { cancelled: token.cancelled(), future }
}

/// See [`unless_cancelled`]. Written out, because an `async fn` would have room for `future` twice.
struct UnlessCancelled<F> {
    cancelled: LatchWait,
    future: F,
}

impl<F: Future + Unpin> Future for UnlessCancelled<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if Pin::new(&mut self.cancelled).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.future).poll(cx).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(10);
    const NEVER: RestartPolicy = RestartPolicy::Never;
    const ON_FAILURE: RestartPolicy = RestartPolicy::OnFailure;
    const ALWAYS: RestartPolicy = RestartPolicy::Always { interval: Some(EVERY) };
    const AT_ONCE: RestartPolicy = RestartPolicy::Always { interval: None };

    fn step(policy: RestartPolicy, outcome: &Outcome) -> Next {
        Restarts::default().step(policy, outcome.clone(), false)
    }

    #[test]
    fn the_table_of_restarts_is_the_contract_s() {
        let exhausted = |text: &str| Next::Exhausted(text.into());
        let backoff = |text: &str| Next::Backoff { failures: 0, reason: text.into() };
        let dead = Next::Dead("gone".into());
        let timed_out = Outcome::TimedOut { timeout: EVERY };
        let success = exhausted("policy_exhausted_success");
        let (failed, fatal) = (Outcome::Failed("boom".into()), Outcome::Fatal("gone".into()));
        let late = "timed out after 10ms";
        let table = [
            (&Outcome::Ok, [success.clone(), success, Next::Interval(EVERY), Next::Again]),
            (&failed, [exhausted("boom"), backoff("boom"), backoff("boom"), backoff("boom")]),
            (&timed_out, [exhausted(late), backoff(late), backoff(late), backoff(late)]),
            (&fatal, [dead.clone(), dead.clone(), dead.clone(), dead]),
            (&Outcome::Canceled, [Next::End, Next::End, Next::End, Next::End]),
        ];
        for (outcome, row) in table {
            for (policy, next) in [NEVER, ON_FAILURE, ALWAYS, AT_ONCE].into_iter().zip(row) {
                assert_eq!(step(policy, outcome), next, "{policy:?} after {outcome:?}");
            }
        }
    }

    #[test]
    fn nothing_but_a_death_notice_follows_once_the_actor_is_cancelled() {
        for policy in [NEVER, ON_FAILURE, ALWAYS, AT_ONCE] {
            for outcome in [Outcome::Ok, Outcome::Canceled, Outcome::Failed("boom".into())] {
                assert_eq!(Restarts::default().step(policy, outcome, true), Next::End);
            }
            let dead = Restarts::default().step(policy, Outcome::Fatal("gone".into()), true);
            assert_eq!(dead, Next::Dead("gone".into()));
        }
    }

    #[test]
    fn failures_in_a_row_are_counted_and_a_success_resets_them() {
        let mut restarts = Restarts::default();
        let mut counters = Vec::new();
        let failed = Outcome::Failed("boom".into());
        for outcome in [&failed, &failed, &Outcome::Ok, &failed] {
            if let Next::Backoff { failures, .. } = restarts.step(ALWAYS, outcome.clone(), false) {
                counters.push(failures);
            }
        }
        assert_eq!(counters, [0, 1, 0]);
    }
}
