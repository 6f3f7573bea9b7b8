//! What the targets share: reports, and quiet while the logic panics.

pub mod hush;
pub mod report;
