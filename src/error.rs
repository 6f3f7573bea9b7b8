//! How an attempt and a request can fail.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// How the text of a fatal error begins.
const FATAL: &str = "fatal error (no retry): ";

/// How the text of a failure begins.
const FAIL: &str = "execution failed: ";

/// How one attempt of a task went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TaskError {
    /// The attempt ran longer than its timeout. Retryable.
    #[error("timed out after {timeout:?}")]
    Timeout {
        /// The timeout that was hit.
        timeout: Duration,
    },
    /// The task cannot go on and must not be restarted.
    #[error("{FATAL}{reason}")]
    Fatal {
        /// What the body said.
        reason: String,
    },
    /// The attempt failed. Retryable.
    #[error("{FAIL}{reason}")]
    Fail {
        /// What the body said.
        reason: String,
    },
    /// The attempt stopped because its context was cancelled.
    #[error("context canceled")]
    Canceled,
}

impl TaskError {
    /// Whether a restart policy may try again: true for `Timeout` and `Fail`.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Fail { .. })
    }

    /// The text that events carry: what `Display` writes, in one piece.
    pub(crate) fn text(&self) -> Arc<str> {
        match self {
            Self::Fatal { reason } => [FATAL, reason].concat().into(),
            Self::Fail { reason } => [FAIL, reason].concat().into(),
            Self::Timeout { .. } | Self::Canceled => self.to_string().into(),
        }
    }

    /// Whether this is what [`TaskError::text`] gives; no where finding out costs as much.
    pub(crate) fn has_text(&self, text: &str) -> bool {
        match self {
            Self::Fatal { reason } => text.strip_prefix(FATAL) == Some(reason),
            Self::Fail { reason } => text.strip_prefix(FAIL) == Some(reason),
            Self::Timeout { .. } | Self::Canceled => false,
        }
    }

    /// A stable label for metrics.
    #[must_use]
    pub fn as_label(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "task_timeout",
            Self::Fatal { .. } => "task_fatal",
            Self::Fail { .. } => "task_failed",
            Self::Canceled => "task_canceled",
        }
    }
}

/// How a request to the supervisor, or its run, can fail.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The grace period of a shutdown ended with tasks still registered. They were aborted.
    #[error("shutdown grace of {grace:?} exceeded; stuck tasks: {}", stuck.join(", "))]
    GraceExceeded {
        /// The grace period.
        grace: Duration,
        /// Names of the tasks that had not ended, sorted.
        stuck: Vec<Arc<str>>,
    },
    /// A task of this name is registered.
    #[error("task `{name}` already exists")]
    TaskAlreadyExists {
        /// The name that is taken.
        name: Arc<str>,
    },
    /// No task of this name is registered.
    #[error("task `{name}` not found")]
    TaskNotFound {
        /// The name that was asked for.
        name: Arc<str>,
    },
    /// A cancelled task was not removed in time. It stays under removal.
    #[error("task `{name}` was not removed within {timeout:?}")]
    TaskRemoveTimeout {
        /// The task that is still ending.
        name: Arc<str>,
        /// How long the call waited.
        timeout: Duration,
    },
    /// The runtime is shutting down, or its run is over.
    #[error("runtime is shutting down")]
    ShuttingDown,
    /// `run` or `serve` was called a second time.
    #[error("runtime was started already")]
    AlreadyStarted,
}

impl RuntimeError {
    /// A stable label for metrics.
    #[must_use]
    pub fn as_label(&self) -> &'static str {
        match self {
            Self::GraceExceeded { .. } => "runtime_grace_exceeded",
            Self::TaskAlreadyExists { .. } => "runtime_task_already_exists",
            Self::TaskNotFound { .. } => "runtime_task_not_found",
            Self::TaskRemoveTimeout { .. } => "runtime_task_remove_timeout",
            Self::ShuttingDown => "runtime_shutting_down",
            Self::AlreadyStarted => "runtime_already_started",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_labels_and_retryability_are_those_of_the_contract() {
        let timeout = TaskError::Timeout { timeout: Duration::from_millis(1500) };
        let fatal = TaskError::Fatal { reason: "disk gone".into() };
        let fail = TaskError::Fail { reason: "boom".into() };
        let table = [
            (&timeout, "timed out after 1.5s", "task_timeout", true),
            (&fatal, "fatal error (no retry): disk gone", "task_fatal", false),
            (&fail, "execution failed: boom", "task_failed", true),
            (&TaskError::Canceled, "context canceled", "task_canceled", false),
        ];
        for (error, text, label, retryable) in table {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.as_label(), label);
            assert_eq!(error.is_retryable(), retryable, "{label}");
        }
    }

    #[test]
    fn runtime_errors_have_the_labels_of_the_contract_and_say_what_they_are_about() {
        let (name, timeout): (Arc<str>, _) = ("web".into(), Duration::from_secs(5));
        let stuck = vec!["db".into(), "web".into()];
        let table = [
            (
                RuntimeError::GraceExceeded { grace: timeout, stuck },
                "runtime_grace_exceeded",
                "shutdown grace of 5s exceeded; stuck tasks: db, web",
            ),
            (
                RuntimeError::TaskAlreadyExists { name: Arc::clone(&name) },
                "runtime_task_already_exists",
                "task `web` already exists",
            ),
            (
                RuntimeError::TaskNotFound { name: Arc::clone(&name) },
                "runtime_task_not_found",
                "task `web` not found",
            ),
            (
                RuntimeError::TaskRemoveTimeout { name, timeout },
                "runtime_task_remove_timeout",
                "task `web` was not removed within 5s",
            ),
            (RuntimeError::ShuttingDown, "runtime_shutting_down", "runtime is shutting down"),
            (RuntimeError::AlreadyStarted, "runtime_already_started", "runtime was started already"),
        ];
        for (error, label, text) in table {
            assert_eq!((error.as_label(), error.to_string().as_str()), (label, text));
        }
    }
}
