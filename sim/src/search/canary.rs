//! The canary: a violation that is planted in about one of 100 seeds, to show that one would reach the exit code.
//!
//! Planted means that the judges are told a lie: the first event of the run carries a number that is one too high. What
//! is proved is the whole way, from a judge that notices to the report, the case file, the line that replays it, and
//! the exit code. The run itself, its choices and the hash of its trace are those of the seed without a canary.

use super::judge::Finding;
use crate::trace::{Record, What};

/// Rule of a planted violation.
pub const CANARY: &str = "canary";

/// Rule of a planted violation that no judge noticed.
pub const UNNOTICED: &str = "canary-unnoticed";

/// One in this many seeds has a canary.
const ONE_IN: u64 = 100;

/// Whether a seed has one. That is up to the seed alone, and not to the sweep it is part of.
#[must_use]
pub fn has_canary(seed: u64) -> bool {
    let spread = seed.wrapping_add(0x5EED).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (spread ^ (spread >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32 < (1 << 32) / ONE_IN
}

/// The lie and whether it was told yet.
#[derive(Debug, Default)]
pub(super) struct Canary {
    told: Option<u64>,
}

impl Canary {
    /// A run begins.
    pub(super) fn begin(&mut self) {
        self.told = None;
    }

    /// What the judges are told in place of this record.
    pub(super) fn lie(&mut self, record: &Record) -> Option<Record> {
        let What::Event(event) = &record.what else { return None };
        if self.told.is_some() {
            return None;
        }
        self.told = Some(event.seq);
        let mut lie = record.clone();
        if let What::Event(event) = &mut lie.what {
            event.seq += 1;
        }
        Some(lie)
    }

    /// What comes of the run in place of what the judges found. A run without any event hears no lie.
    pub(super) fn findings(&self, found: Vec<Finding>) -> Vec<Finding> {
        let Some(seq) = self.told else { return found };
        let told = format!("planted: the judges were told that event {seq} is event {}", seq + 1);
        let finding = match found.into_iter().next() {
            Some(first) => {
                let message = format!("{told}; {}: {}", first.rule, first.message);
                Finding { rule: CANARY, message, at_ns: first.at_ns }
            }
            None => Finding { rule: UNNOTICED, message: format!("{told}, and none noticed"), at_ns: 0 },
        };
        vec![finding]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_in_a_hundred_seeds_has_one_wherever_a_sweep_begins() {
        for first in [0, 1 << 20, u64::MAX - 20_000] {
            let count = (first..first + 20_000).filter(|&seed| has_canary(seed)).count();
            assert!((150..250).contains(&count), "{count} of 20000 from {first:#x}");
        }
    }

    #[test]
    fn a_lie_that_no_judge_noticed_is_a_finding_of_its_own() {
        assert_eq!(Canary { told: None }.findings(Vec::new()), []);
        let found = Canary { told: Some(0) }.findings(Vec::new());
        assert_eq!(found[0].rule, UNNOTICED);
    }
}
