//! Seeded yields: how one scenario is run under many interleavings on an executor that is first in, first out.
//!
//! Bodies, handlers and operations give way a number of times at certain places. The number depends on the seed, on who
//! is there and for which time, and on nothing else, so that it stays the same when other things are taken out of a
//! scenario.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::machine::{mix, threads};

/// Numbers of yields of a run.
#[derive(Debug)]
pub(crate) struct Yields {
    seed: u64,
    visits: Mutex<BTreeMap<String, u64>>,
}

impl Yields {
    /// Seed 0 is the run without any.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, visits: Mutex::default() }
    }

    /// Gives way as often as the seed wants for this visit of `who`.
    pub(crate) async fn pass(&self, who: &str) {
        for _ in 0..self.draw(who) {
            threads::give_way();
            tokio::task::yield_now().await;
        }
    }

    fn draw(&self, who: &str) -> u64 {
        if self.seed == 0 {
            return 0;
        }
        let visit = {
            let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
            let visit = visits.entry(who.to_owned()).or_default();
            *visit += 1;
            *visit
        };
        let key = who.bytes().fold(self.seed, |key, byte| mix(key ^ u64::from(byte)));
        match mix(key ^ visit.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 16 {
            0..=7 => 0,
            8..=10 => 1,
            11..=12 => 2,
            13 => 3,
            14 => 5,
            _ => 9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_numbers_when_another_is_gone() {
        let (both, one) = (Yields::new(7), Yields::new(7));
        let mut seen = Vec::new();
        for _ in 0..32 {
            both.draw("body a");
            seen.push(both.draw("body b"));
        }
        let alone: Vec<_> = (0..32).map(|_| one.draw("body b")).collect();
        assert_eq!(seen, alone);
        assert!(seen.iter().any(|&count| count > 0));
    }

    #[test]
    fn seed_0_never_yields() {
        let none = Yields::new(0);
        assert!((0..64).all(|_| none.draw("operation 1") == 0));
    }
}
