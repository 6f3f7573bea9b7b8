//! Search: many seeds, or every schedule of a small world, and what became of each.

mod explore;
mod judge;
mod odometer;
mod outcome;
mod sweep;

pub use explore::{
    Bounds, Exploration, ExploreOptions, ExploreProgress, Reduction, StateError, estimate, explore,
};
pub use judge::{CaseRun, Finding, Judged, MONITOR, Runner, Verdict, profiled, replayed, seeded};
pub use sweep::{
    CANARY, HANG, NONDETERMINISM, PANIC, Progress, SeedFailure, SweepError, SweepOptions, SweepReport,
    panic_message, sweep,
};
