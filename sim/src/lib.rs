//! Deterministic simulation of task supervision.
//!
//! One picture: case → world → trace → verdict. See `docs/architecture.md`.

#![allow(clippy::module_name_repetitions)]

pub mod trace;
