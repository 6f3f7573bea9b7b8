//! Supervision of async tasks: restarts, backoff, timeouts, permits, a registry, an event bus, graceful shutdown.
//!
//! This crate is the *logic* of the simvisor project and its reference implementation of `docs/contract.md`. It is
//! single-threaded and asks everything of the outside through one small trait, [`runtime::Runtime`]: it reads no
//! clock, draws no random number and does no I/O of its own. The crate `simvisor-sim` runs it under a virtual clock
//! and seeded schedules, millions of times.
//!
//! The vocabulary follows the crate `taskvisor`, so that a reader of one knows the other; none of its code is here.
//!
//! ```
//! use simvisor::{RestartPolicy, TaskError, TaskFn, TaskSpec};
//!
//! let spec = TaskSpec::new(TaskFn::arc("poller", |ctx| async move {
//!     if ctx.is_cancelled() {
//!         return Err(TaskError::Canceled);
//!     }
//!     Ok(())
//! }))
//! .with_restart(RestartPolicy::Never);
//! assert_eq!(&*spec.name(), "poller");
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod actor;
mod alive;
mod attempt;
pub mod bus;
#[cfg(feature = "controller")]
mod controller;
mod error;
mod event;
mod hub;
mod lifecycle;
mod names;
mod policy;
mod registry;
pub mod runtime;
mod subscribers;
mod supervisor;
pub mod sync;
mod task;
#[cfg(feature = "tokio")]
mod tokio_rt;

pub use alive::AliveTracker;
pub use bus::Bus;
#[cfg(feature = "controller")]
pub use controller::{AdmissionPolicy, ControllerConfig, ControllerError, ControllerSpec};
pub use error::{RuntimeError, TaskError};
pub use event::{BackoffSource, Event, EventKind};
pub use hub::Observe;
pub use policy::{BackoffPolicy, JitterPolicy, RestartPolicy};
pub use subscribers::{DEFAULT_QUEUE_CAPACITY, Handled, Subscribe, SubscriberCounters, SubscriberSet};
pub use supervisor::{Supervisor, SupervisorBuilder, SupervisorConfig};
pub use sync::CancellationToken;
pub use task::{Task, TaskFn, TaskFuture, TaskRef, TaskSpec};
#[cfg(feature = "tokio")]
pub use tokio_rt::TokioRuntime;
