//! Selectively uniform random walk: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing",
//! ASPLOS 2025.
//!
//! A few lanes are selected, and the walk is uniform over *their* interleavings, as in [`super::urw`]; all others are
//! noise, whose interleavings are not worth a draw. An order of few steps is found among any number of noisy ones.
//!
//! Departures: where the paper selects the accesses to a shared variable, this selects two or three lanes, the second
//! and third among those whose steps conflict with the first one's in the profile. Noise goes first, last or at
//! random, which is drawn once per world: where it could always go first, an order in which the selected lanes come
//! before it would never be seen.

use super::Temper;
use super::profile::Profile;
use super::random;
use super::urw::{StepsLeft, goes_on};
use super::weights::Weights;
use crate::choice::Site;
use crate::rng::Numbers;

/// The state of a run.
#[derive(Debug, Clone)]
pub struct Surw {
    temper: Temper,
    noise: Noise,
    selected: Vec<u32>,
    /// Of the selected lanes, by steps left.
    ready: Weights,
    /// Of the others, all alike.
    noisy: Weights,
    left: StepsLeft,
    running: u32,
}

/// When what is not selected runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noise {
    First,
    Last,
    AtRandom,
}

impl Surw {
    pub(super) fn draw(numbers: &mut Numbers) -> Self {
        Self {
            temper: Temper::draw(numbers),
            noise: numbers.pick(&[Noise::First, Noise::Last, Noise::AtRandom]),
            selected: Vec::new(),
            ready: Weights::default(),
            noisy: Weights::default(),
            left: StepsLeft::default(),
            running: 0,
        }
    }

    pub(super) fn learn(&mut self, profile: Profile, numbers: &mut Numbers) {
        let lanes: Vec<_> = profile.lanes().collect();
        if let Some(count) = u32::try_from(lanes.len()).ok().filter(|&count| count > 0) {
            let (first, touched) = lanes[numbers.below(count) as usize];
            let touched = touched.without_order_of_events();
            let mut related: Vec<_> = lanes
                .iter()
                .filter(|(lane, other)| *lane != first && other.conflicts(touched))
                .map(|(lane, _)| *lane)
                .collect();
            self.selected.push(first);
            for _ in 0..1 + numbers.below(2) {
                if !related.is_empty() {
                    let next = numbers.below(related.len() as u32) as usize;
                    self.selected.push(related.swap_remove(next));
                }
            }
        }
        self.left.learn(profile);
    }

    fn is_selected(&self, lane: u32) -> bool {
        self.selected.contains(&lane)
    }

    pub(super) fn instant(&mut self, now_ns: u64) {
        self.left.instant(now_ns);
    }

    pub(super) fn spawned(&mut self, lane: u32) {
        self.left.spawned(lane, self.running);
    }

    pub(super) fn readied(&mut self, lane: u32) {
        if self.is_selected(lane) {
            let left = self.left.get(lane);
            self.ready.set(lane, left);
        } else {
            self.noisy.set(lane, 1);
        }
    }

    pub(super) fn rested(&mut self, lane: u32) {
        if self.is_selected(lane) {
            self.ready.set(lane, 0);
        } else {
            self.noisy.set(lane, 0);
        }
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        self.left.made(lane, 1);
    }

    pub(super) fn ended(&mut self) {
        self.running = 0;
    }

    /// Whether noise is next, where this many lanes are ready of the selected and of the others.
    fn noise_is_next(&self, selected: u64, noisy: u64, numbers: &mut Numbers) -> bool {
        match (selected, noisy, self.noise) {
            (_, 0, _) => false,
            (0, _, _) | (_, _, Noise::First) => true,
            (_, _, Noise::Last) => false,
            (_, _, Noise::AtRandom) => numbers.chance((1, 2)),
        }
    }

    pub(super) fn pick(&mut self, numbers: &mut Numbers) -> u32 {
        if self.noise_is_next(self.ready.total(), self.noisy.total(), numbers) {
            self.noisy.draw(numbers)
        } else {
            self.ready.draw(numbers)
        }
    }

    pub(super) fn decide(&mut self, numbers: &mut Numbers, site: Site, arity: u32) -> u32 {
        if !site.is_preemption() {
            return random::draw(&self.temper, numbers, site, arity);
        }
        let (selected, noisy) = (self.ready.total(), self.noisy.total());
        let goes_on = if self.is_selected(self.running) {
            let own = self.left.get(self.running);
            !self.noise_is_next(1, noisy, numbers) && goes_on(own, selected, numbers)
        } else {
            self.noise_is_next(selected, 1 + noisy, numbers)
        };
        if goes_on {
            self.left.made(self.running, 1);
        }
        u32::from(!goes_on)
    }
}
