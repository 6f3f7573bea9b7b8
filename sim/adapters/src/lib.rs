//! Scenarios on real runtimes, judged.
//!
//! A [`Subject`] runs a scenario on a runtime as it is published, and the trace of the run is held against the
//! contract by the same judges that hold our own logic against it. `simvisor-adapters sweep` does so for many seeds and
//! lists where a runtime leaves the contract.
//!
//! Each run has a process of its own ([`play`]), so that a crate's statics, signal handlers and endless loops end with
//! it. In it the runtime stands on Tokio's paused clock on one thread, and what else a crate may ask of the machine is
//! drawn from the seed ([`machine`]). Bodies, handlers and operations yield as the seed wants, so that one scenario is
//! run under many interleavings.

pub mod body;
pub mod judge;
mod ledger;
pub mod machine;
pub mod play;
pub mod stage;
pub mod subject;
mod subjects;
pub mod sweep;
mod yields;

pub use judge::{Departure, Outcome, judge};
pub use play::Play;
pub use subject::Subject;
pub use subjects::{subject, subjects};
