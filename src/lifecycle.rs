//! The phases of a run, and what moves it from one to the next (\[D1\], \[D2\]).

use crate::runtime::Nanos;

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Once nothing is registered any more.
    UntilIdle,
    /// Never: it waits for a shutdown.
    UntilShutdown,
}

/// Where a supervisor stands. Time flows downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Built, not yet run.
    Waiting,
    /// Running.
    Running,
    /// Shutdown was requested before the run began.
    StoppingEarly { requested_at: Nanos },
    /// Shutdown was requested and the run waits for the tasks to end.
    Stopping { requested_at: Nanos },
    /// The run's result is known; subscribers handle what is left.
    Draining,
    /// The run has returned.
    Over,
}

impl Phase {
    pub(crate) fn can_start(self) -> bool {
        matches!(self, Self::Waiting | Self::StoppingEarly { .. })
    }

    /// The run begins.
    pub(crate) fn started(self) -> Self {
        match self {
            Self::StoppingEarly { requested_at } => Self::Stopping { requested_at },
            _ => Self::Running,
        }
    }

    pub(crate) fn accepts_adds(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }

    pub(crate) fn is_stopping(self) -> bool {
        matches!(self, Self::StoppingEarly { .. } | Self::Stopping { .. })
    }

    /// The phase after a shutdown request at `now`; `None` if the request changes nothing.
    pub(crate) fn shutdown_requested(self, now: Nanos) -> Option<Self> {
        match self {
            Self::Waiting => Some(Self::StoppingEarly { requested_at: now }),
            Self::Running => Some(Self::Stopping { requested_at: now }),
            Self::StoppingEarly { .. } | Self::Stopping { .. } | Self::Draining | Self::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_request_counts_once() {
        let at = Nanos(5);
        let stopping = Phase::Running.shutdown_requested(at).expect("the first counts");
        assert_eq!(stopping, Phase::Stopping { requested_at: at });
        assert!(!stopping.accepts_adds());
        for phase in [stopping, Phase::Draining, Phase::Over] {
            assert_eq!(phase.shutdown_requested(Nanos(6)), None);
            assert!(!phase.accepts_adds());
        }
    }

    #[test]
    fn a_request_before_the_run_keeps_its_instant() {
        let early = Phase::Waiting.shutdown_requested(Nanos(1)).expect("counts");
        assert!(early.can_start() && early.is_stopping());
        assert_eq!(early.started(), Phase::Stopping { requested_at: Nanos(1) });
        assert!(!early.started().can_start());
    }
}
