//! Deterministic simulation of task supervision.
//!
//! One picture: case → world → trace → verdict. See `docs/architecture.md`. To run a program of your own in worlds
//! under many seeds, see [`check()`].

pub mod case;
pub mod check;
pub mod choice;
pub mod conform;
pub mod env;
mod files;
pub mod fuzz;
pub mod oracle;
pub mod page;
pub mod pattern;
pub mod report;
pub mod rng;
pub mod scenario;
pub mod schedule;
pub mod search;
pub mod trace;
pub mod world;

pub use check::{Check, Sim, check};
