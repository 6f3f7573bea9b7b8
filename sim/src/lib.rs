//! Deterministic simulation of task supervision.
//!
//! One picture: case → world → trace → verdict. See `docs/architecture.md`.

pub mod case;
pub mod choice;
pub mod conform;
pub mod oracle;
pub mod pattern;
pub mod report;
pub mod rng;
pub mod scenario;
pub mod schedule;
pub mod search;
pub mod trace;
pub mod world;
