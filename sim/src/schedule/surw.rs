//! Selectively uniform random walk: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing",
//! ASPLOS 2025.
//!
//! A few lanes are selected, and the walk is uniform over *their* interleavings, as in [`super::urw`]; all others are
//! noise, whose interleavings are not worth a draw. An order of few steps is found among any number of noisy ones.
//!
//! Departures: where the paper selects the accesses to a shared variable, this selects two or three lanes, the second
//! and third among those whose steps conflict with the first one's in the profile. Lanes that do the same are one
//! *kind*, and a kind is drawn before a lane of it: the one checker among a hundred setters is as likely as all setters
//! together. A lane that has still to spawn a selected one counts as selected itself, with the steps that it owes.
//! Noise goes first, last or at random, which is drawn once per world: where it could always go first, an order in
//! which the selected lanes come before it would never be seen.

use rustc_hash::FxHashMap;

use super::Temper;
use super::footprint::Footprint;
use super::profile::Profile;
use super::random;
use super::urw::{Aside, StepsLeft, goes_on};
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
    /// Steps of selected lanes that each lane has still to spawn at an instant. Looked up, never iterated.
    owed: FxHashMap<(u32, u64), u32>,
    now_ns: u64,
    running: u32,
    aside: Aside,
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
            owed: FxHashMap::default(),
            now_ns: 0,
            running: 0,
            aside: Aside::Nobody,
        }
    }

    pub(super) fn learn(&mut self, profile: Profile, numbers: &mut Numbers) {
        let lanes: Vec<_> = profile.lanes().collect();
        let anybody = |_: &Footprint| true;
        if let Some((first, touched)) = drawn(&lanes, &[], anybody, numbers) {
            let touched = touched.without_order_of_events();
            self.selected.push(first);
            for _ in 0..1 + numbers.below(2) {
                let related = |other: &Footprint| other.conflicts(touched);
                let next = drawn(&lanes, &self.selected, related, numbers);
                self.selected.extend(next.map(|(lane, _)| lane));
            }
        }
        self.owed = profile.owed(&self.selected);
        self.left.learn(profile);
    }

    fn is_selected(&self, lane: u32) -> bool {
        self.selected.contains(&lane)
    }

    /// What a lane has left to do for the selected ones: its own steps if it is one, and those of the ones it spawns.
    fn weight(&mut self, lane: u32) -> u32 {
        let own = if self.is_selected(lane) { self.left.get(lane) } else { 0 };
        own + self.owed.get(&(lane, self.now_ns)).copied().unwrap_or(0)
    }

    pub(super) fn instant(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.left.instant(now_ns);
    }

    pub(super) fn spawned(&mut self, lane: u32) {
        self.left.spawned(lane, self.running);
        let weight = self.weight(lane);
        if let Some(owed) = self.owed.get_mut(&(self.running, self.now_ns)) {
            *owed = owed.saturating_sub(weight);
        }
    }

    pub(super) fn readied(&mut self, lane: u32) {
        if !self.aside.takes(lane, self.running) {
            self.joins(lane);
        }
    }

    fn joins(&mut self, lane: u32) {
        match self.weight(lane) {
            0 => self.noisy.set(lane, 1),
            weight => self.ready.set(lane, weight),
        }
    }

    pub(super) fn rested(&mut self, lane: u32) {
        self.aside.rested(lane);
        self.ready.set(lane, 0);
        self.noisy.set(lane, 0);
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        self.left.made(lane, 1);
        if let Some(lane) = self.aside.returns() {
            self.joins(lane);
        }
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
        let goes_on = match self.weight(self.running) {
            0 => self.noise_is_next(selected, 1 + noisy, numbers),
            own => !self.noise_is_next(1, noisy, numbers) && goes_on(own, selected, numbers),
        };
        match goes_on {
            true => self.left.made(self.running, 1),
            false => self.aside = Aside::Running,
        }
        u32::from(!goes_on)
    }
}

/// A lane of a kind that is as likely as any other kind; what tells kinds apart is what their lanes touch besides
/// themselves.
fn drawn(
    lanes: &[(u32, Footprint)],
    without: &[u32],
    is_wanted: impl Fn(&Footprint) -> bool,
    numbers: &mut Numbers,
) -> Option<(u32, Footprint)> {
    let mut wanted: Vec<_> = lanes
        .iter()
        .filter(|(lane, touched)| !without.contains(lane) && is_wanted(touched))
        .map(|&(lane, touched)| (touched.besides(lane), lane, touched))
        .collect();
    wanted.sort_by_key(|&(kind, lane, _)| (kind, lane));
    let kinds: Vec<_> = wanted.chunk_by(|one, other| one.0 == other.0).collect();
    let kind = kinds.get(numbers.below(u32::try_from(kinds.len()).ok()?.max(1)) as usize)?;
    let (_, lane, touched) = kind[numbers.below(kind.len() as u32) as usize];
    Some((lane, touched))
}
