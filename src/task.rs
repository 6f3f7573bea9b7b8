//! A task: a name, a way to make a future for one attempt, and the policies it runs under.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;

use crate::error::TaskError;
use crate::policy::{BackoffPolicy, RestartPolicy};
use crate::sync::CancellationToken;

/// The future of one attempt.
pub type TaskFuture = LocalBoxFuture<'static, Result<(), TaskError>>;

/// A way to make a future for one attempt.
pub trait Task: 'static {
    /// The task's name, unique among registered tasks.
    fn name(&self) -> Arc<str>;

    /// Makes the future of one attempt. `ctx` is cancelled when the attempt should end.
    fn spawn(&self, ctx: CancellationToken) -> TaskFuture;
}

/// A task that can be shared.
pub type TaskRef = Rc<dyn Task>;

/// A task made of a function.
///
/// ```
/// use simvisor::{TaskFn, TaskSpec};
///
/// let task = TaskFn::arc("worker", |ctx| async move {
///     ctx.cancelled().await;
///     Ok(())
/// });
/// let spec = TaskSpec::new(task);
/// assert_eq!(&*spec.name(), "worker");
/// ```
pub struct TaskFn<F> {
    name: Arc<str>,
    body: F,
}

impl<F> fmt::Debug for TaskFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskFn").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F, Fut> TaskFn<F>
where
    F: Fn(CancellationToken) -> Fut + 'static,
    Fut: Future<Output = Result<(), TaskError>> + 'static,
{
    /// A task that calls `body` for each attempt.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, body: F) -> Self {
        Self { name: name.into(), body }
    }

    /// As [`TaskFn::new`], ready to be shared. The name is the family's; the pointer is an `Rc`, since everything
    /// here belongs to one thread.
    #[must_use]
    pub fn arc(name: impl Into<Arc<str>>, body: F) -> TaskRef {
        Rc::new(Self::new(name, body))
    }
}

impl<F, Fut> Task for TaskFn<F>
where
    F: Fn(CancellationToken) -> Fut + 'static,
    Fut: Future<Output = Result<(), TaskError>> + 'static,
{
    fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    fn spawn(&self, ctx: CancellationToken) -> TaskFuture {
        Box::pin((self.body)(ctx))
    }
}

/// A task with its policies. Cheap to clone.
#[derive(Clone)]
pub struct TaskSpec {
    inner: Rc<SpecInner>,
}

#[derive(Clone)]
struct SpecInner {
    task: TaskRef,
    name: Arc<str>,
    restart: RestartPolicy,
    /// Unless it is the default one, which most tasks have and which is the largest part of a specification.
    backoff: Option<Box<BackoffPolicy>>,
    timeout: TimeoutChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeoutChoice {
    /// What the supervisor's configuration says.
    Configured,
    Own(Option<Duration>),
}

impl fmt::Debug for TaskSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSpec")
            .field("name", &self.inner.name)
            .field("restart", &self.inner.restart)
            .field("backoff", &self.backoff())
            .field("timeout", &self.inner.timeout)
            .finish()
    }
}

impl TaskSpec {
    /// `task` under the default policies: restart on failure, constant backoff of 100 ms, and the timeout of the
    /// supervisor's configuration.
    #[must_use]
    pub fn new(task: TaskRef) -> Self {
        let name = task.name();
        Self {
            inner: Rc::new(SpecInner {
                task,
                name,
                restart: RestartPolicy::default(),
                backoff: None,
                timeout: TimeoutChoice::Configured,
            }),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut SpecInner)) -> Self {
        change(Rc::make_mut(&mut self.inner));
        self
    }

    /// Sets the restart policy.
    #[must_use]
    pub fn with_restart(self, restart: RestartPolicy) -> Self {
        self.with(|spec| spec.restart = restart)
    }

    /// Sets the backoff policy.
    #[must_use]
    pub fn with_backoff(self, backoff: BackoffPolicy) -> Self {
        self.with(|spec| spec.backoff = (backoff != BackoffPolicy::default()).then(|| Box::new(backoff)))
    }

    /// Sets the timeout of one attempt. `None` and zero: no limit, whatever the supervisor's configuration says.
    #[must_use]
    pub fn with_timeout(self, timeout: Option<Duration>) -> Self {
        self.with(|spec| spec.timeout = TimeoutChoice::Own(timeout))
    }

    /// The task's name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(self.shared_name())
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.inner.task
    }

    /// The restart policy.
    #[must_use]
    pub fn restart(&self) -> RestartPolicy {
        self.inner.restart
    }

    /// The backoff policy.
    #[must_use]
    pub fn backoff(&self) -> BackoffPolicy {
        self.inner.backoff.as_deref().copied().unwrap_or_default()
    }

    /// The limit of one attempt, given the supervisor's; `None` if there is none.
    #[must_use]
    pub fn timeout(&self, configured: Option<Duration>) -> Option<Duration> {
        match self.inner.timeout {
            TimeoutChoice::Configured => configured,
            TimeoutChoice::Own(own) => own,
        }
        .filter(|timeout| !timeout.is_zero())
    }
}
