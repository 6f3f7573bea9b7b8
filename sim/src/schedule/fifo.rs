//! First in, first out: the order of a current-thread runtime, without any interruption.
//!
//! Guarantees nothing but fairness; it is the base line that other strategies are compared with, and what a tape of
//! zeros means.

use crate::choice::Named;

pub(super) fn pick() -> Named {
    Named::Oldest
}

pub(super) fn decide() -> u32 {
    0
}
