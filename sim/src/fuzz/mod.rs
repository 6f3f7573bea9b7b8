//! What the fuzz targets do: bytes in, and what is wrong out. The targets themselves, in `fuzz/`, add libFuzzer and
//! nothing else, so that `cargo test` and `simvisor replay` do the same without it. See `docs/fuzzing.md`.

mod actor;
mod corpus;
mod differential;
mod readers;
mod world;

pub use corpus::{Seed, seeds};
pub use differential::differential;
pub use readers::{case_file, scenario_toml, trace_jsonl};
pub use world::{Found, Runs, World};

/// The names of the targets.
pub const TARGETS: [&str; 5] = ["world", "case_file", "scenario_toml", "trace_jsonl", "differential"];
