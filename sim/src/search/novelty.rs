//! How much there is left to see: distinct behaviours by family, and the chance that the next seed shows a new one.
//!
//! The estimate is that of Good and Turing (I. J. Good, "The Population Frequencies of Species and the Estimation of
//! Population Parameters", Biometrika 1953): of n seeds, the share whose behaviour was seen once, f₁ / n. It is exact in
//! expectation for seeds drawn alike, and has a standard error of about √(f₁ + 2 f₂) / n.
//!
//! Memory is limited. A family keeps at most 2^16 behaviours; beyond that it keeps those alone whose number ends in
//! one more zero bit, which is half of them and picked by nothing but the behaviour itself (adaptive sampling: Flajolet,
//! "On Adaptive Sampling", Computing 1990). So counts are exact up to 2^16 and estimates above, and what a sweep says
//! does not depend on how its seeds were spread over threads.

use rustc_hash::FxHashMap;

use crate::oracle::{Coverage, Family, Shown};

/// Behaviours that a family keeps at most.
const KEPT_MAX: usize = 1 << 16;

/// What a sweep has seen.
#[derive(Debug, Clone, Default)]
pub struct Novelty {
    shown: Shown,
    families: [Species; Family::COUNT],
}

/// The behaviours of one family.
#[derive(Debug, Clone, Default)]
pub struct Species {
    seeds: u64,
    /// Behaviours whose number ends in this many zero bits are kept.
    zeros: u32,
    /// Seen once, or oftener. Looked up and counted.
    kept: FxHashMap<u64, Seen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Once,
    Oftener,
}

impl Novelty {
    /// Adds a run.
    pub fn add(&mut self, run: &Coverage) {
        self.shown.add(run.shown());
        self.families[run.family().index()].add(run.behaviour());
    }

    /// Adds what another has seen.
    pub fn merge(&mut self, other: &Self) {
        self.shown.add(&other.shown);
        self.families.iter_mut().zip(&other.families).for_each(|(mine, its)| mine.merge(its));
    }

    /// Pairs and transitions.
    #[must_use]
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The families of which there were seeds, the one with the most seeds first.
    #[must_use]
    pub fn families(&self) -> Vec<(Family, &Species)> {
        let all =
            self.families.iter().enumerate().map(|(index, species)| (Family::from_index(index), species));
        let mut seen: Vec<_> = all.filter(|(_, species)| species.seeds > 0).collect();
        seen.sort_by_key(|(family, species)| (std::cmp::Reverse(species.seeds), *family));
        seen
    }

    /// Distinct behaviours over all families.
    #[must_use]
    pub fn behaviours(&self) -> u64 {
        self.families.iter().map(Species::behaviours).sum()
    }

    /// The chance that the next seed shows a behaviour that none has shown; `None` without seeds.
    #[must_use]
    pub fn chance_of_new(&self) -> Option<f64> {
        let (seeds, once) = self
            .families
            .iter()
            .fold((0, 0), |(seeds, once), species| (seeds + species.seeds, once + species.seen_once()));
        (seeds > 0).then(|| once as f64 / seeds as f64)
    }
}

impl Species {
    fn add(&mut self, behaviour: u64) {
        self.seeds += 1;
        self.put(behaviour, Seen::Once);
        self.thin();
    }

    fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.zeros = self.zeros.max(other.zeros);
        for (&behaviour, &seen) in &other.kept {
            self.put(behaviour, seen);
        }
        let zeros = self.zeros;
        self.kept.retain(|behaviour, _| behaviour.trailing_zeros() >= zeros);
        self.thin();
    }

    fn put(&mut self, behaviour: u64, seen: Seen) {
        if behaviour.trailing_zeros() >= self.zeros {
            self.kept.entry(behaviour).and_modify(|seen| *seen = Seen::Oftener).or_insert(seen);
        }
    }

    fn thin(&mut self) {
        while self.kept.len() > KEPT_MAX {
            self.zeros += 1;
            let zeros = self.zeros;
            self.kept.retain(|behaviour, _| behaviour.trailing_zeros() >= zeros);
        }
    }

    /// Seeds of this family.
    #[must_use]
    pub fn seeds(&self) -> u64 {
        self.seeds
    }

    /// Distinct behaviours; an estimate once there are more than 2^16.
    #[must_use]
    pub fn behaviours(&self) -> u64 {
        (self.kept.len() as u64) << self.zeros
    }

    /// Behaviours that a single seed has shown; an estimate where [`Species::behaviours`] is one.
    #[must_use]
    pub fn seen_once(&self) -> u64 {
        (self.kept.values().filter(|&&seen| seen == Seen::Once).count() as u64) << self.zeros
    }

    /// The chance that the next seed of this family shows a behaviour that none has shown.
    #[must_use]
    pub fn chance_of_new(&self) -> f64 {
        if self.seeds == 0 { 1.0 } else { (self.seen_once() as f64 / self.seeds as f64).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Numbers, Stream};

    fn number(of: u64) -> u64 {
        Numbers::new(of, Stream::Schedule).long()
    }

    #[test]
    fn the_chance_of_something_new_is_what_the_next_seeds_show() {
        // Behaviour k is seen with a chance of about 1 / k.
        let mut numbers = Numbers::new(1, Stream::Schedule);
        let mut draw = || number(u64::from(u32::MAX / numbers.word().max(1)));
        let mut species = Species::default();
        (0..5_000).for_each(|_| species.add(draw()));
        let estimate = species.chance_of_new();
        let (known, mut new) = (species.kept.clone(), 0);
        (0..5_000).for_each(|_| new += u32::from(!known.contains_key(&draw())));
        let found = f64::from(new) / 5_000.0;
        assert!(found > 0.01 && (estimate - found).abs() < 0.01, "{estimate} estimated, {found} found");
    }

    #[test]
    fn beyond_the_limit_counts_are_estimates_and_do_not_depend_on_threads() {
        const BEHAVIOURS: u64 = 300_000;
        let mut whole = Species::default();
        let mut parts = [Species::default(), Species::default(), Species::default()];
        for behaviour in 0..BEHAVIOURS {
            for again in 0..1 + behaviour % 2 {
                whole.add(number(behaviour));
                parts[((behaviour + again) % 3) as usize].add(number(behaviour));
            }
        }
        let [mut sum, second, third] = parts;
        sum.merge(&second);
        sum.merge(&third);
        assert!(whole.kept.len() <= KEPT_MAX);
        assert_eq!((sum.seeds, sum.zeros), (whole.seeds, whole.zeros));
        assert_eq!(sum.kept, whole.kept);
        assert!(whole.behaviours().abs_diff(BEHAVIOURS) < BEHAVIOURS / 50, "{}", whole.behaviours());
        assert!(whole.seen_once().abs_diff(BEHAVIOURS / 2) < BEHAVIOURS / 50, "{}", whole.seen_once());
    }
}
