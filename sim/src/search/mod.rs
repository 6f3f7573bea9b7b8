//! Search: many seeds, or every schedule of a small world, and what became of each.

mod canary;
mod confirm;
pub(crate) mod deviations;
mod explore;
mod judge;
mod novelty;
mod odometer;
mod outcome;
mod posts;
mod shrink;
mod sweep;
mod told;
mod unseen;
mod why;

pub use canary::{CANARY, UNNOTICED, has_canary};
pub use confirm::{
    ConfirmOptions, Confirmation, Neighbourhood, Surveyed, chance_below, confirm, runs_needed,
};
pub use explore::{
    Bounds, Exploration, ExploreOptions, ExploreProgress, Reduction, StateError, estimate, explore,
};
pub use judge::{CaseRun, Finding, Invariant, Judged, MONITOR, Runner, Verdict, profiled, replayed, seeded};
pub(crate) use judge::{Judges, Settling, settled};
pub use novelty::{Novelty, Species};
pub use shrink::{
    SHRUNK, ShrinkError, ShrinkOptions, ShrinkProgress, Shrunk, Smaller, shrink, shrink_scenario, shrink_with,
};
pub(crate) use sweep::first_difference;
pub use sweep::{
    HANG, NONDETERMINISM, PANIC, Progress, SeedFailure, SweepError, SweepOptions, SweepReport, panic_message,
    sweep,
};
pub use told::{ToldChoice, told_choices};
pub use why::{Chance, Why, WhyOptions, why, why_with};
