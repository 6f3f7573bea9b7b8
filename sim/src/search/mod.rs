//! Search: many seeds, and what became of each.

mod judge;
mod sweep;

pub use judge::{CaseRun, Finding, Judged, Runner, Verdict, replayed, seeded};
pub use sweep::{Progress, SeedFailure, SweepError, SweepOptions, SweepReport, sweep};
