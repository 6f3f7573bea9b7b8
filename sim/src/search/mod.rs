//! Search: many seeds, and what became of each.

mod judge;
mod sweep;

pub use judge::{CaseRun, Finding, Judged, MONITOR, Runner, Verdict, profiled, replayed, seeded};
pub use sweep::{
    CANARY, HANG, NONDETERMINISM, PANIC, Progress, SeedFailure, SweepError, SweepOptions, SweepReport,
    panic_message, sweep,
};
