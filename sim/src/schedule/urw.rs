//! Uniform random walk: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing", ASPLOS 2025.
//!
//! Each ready lane runs with a probability in proportion to the steps that it has left, which makes all interleavings
//! equally likely as long as nothing blocks: a lane of one step comes last among 25 as often as first.
//!
//! Departures: the counts come from a first-in first-out run of the same scenario just before. Virtual time moves when
//! nothing can run, so that no step crosses an instant; steps are counted per lane and *instant*, and the walk is
//! uniform over the interleavings of each instant. A lane that the count does not know at an instant counts as having
//! one step left. A lane that was interrupted is not drawn again for the step that it was interrupted for: two draws for
//! one step would favour the long. What a lane does at the instant of its spawn counts for its parent until then. Lanes stand for the
//! signatures of tasks. Whether tied timers are told apart is drawn once per world.

use super::Temper;
use super::profile::Profile;
use super::random;
use super::weights::Weights;
use crate::choice::Site;
use crate::rng::Numbers;

/// The state of a run.
#[derive(Debug, Clone)]
pub struct Urw {
    temper: Temper,
    ready: Weights,
    left: StepsLeft,
    running: u32,
    aside: Aside,
}

/// A lane that has lost the draw for the next step, and takes part again in the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Aside {
    #[default]
    Nobody,
    /// The running lane is about to give way.
    Running,
    /// It has given way, and is ready.
    Lane(u32),
}

impl Aside {
    /// Whether this lane, which has become ready, stays out of the next draw.
    pub(super) fn takes(&mut self, lane: u32, running: u32) -> bool {
        let takes = *self == Self::Running && lane == running;
        if takes {
            *self = Self::Lane(lane);
        }
        takes
    }

    /// The draw is over: who takes part again.
    pub(super) fn returns(&mut self) -> Option<u32> {
        match std::mem::take(self) {
            Self::Lane(lane) => Some(lane),
            Self::Running | Self::Nobody => None,
        }
    }

    /// A lane is not ready any more.
    pub(super) fn rested(&mut self, lane: u32) {
        if *self == Self::Lane(lane) {
            *self = Self::Nobody;
        }
    }
}

/// How many steps each lane has left at this instant.
#[derive(Debug, Clone, Default)]
pub(super) struct StepsLeft {
    profile: Profile,
    now_ns: u64,
    /// The instant at which it was looked up, and what is left.
    lanes: Vec<(u64, u32)>,
}

impl StepsLeft {
    pub(super) fn learn(&mut self, mut profile: Profile) {
        profile.fold();
        self.profile = profile;
    }

    pub(super) fn instant(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    fn entry(&mut self, lane: u32) -> &mut u32 {
        let place = lane as usize;
        if self.lanes.len() <= place {
            self.lanes.resize(place + 1, (u64::MAX, 0));
        }
        let entry = &mut self.lanes[place];
        if entry.0 != self.now_ns {
            *entry = (self.now_ns, self.profile.steps(lane, self.now_ns));
        }
        &mut entry.1
    }

    /// At least 1, for a lane that is not at its end.
    pub(super) fn get(&mut self, lane: u32) -> u32 {
        (*self.entry(lane)).max(1)
    }

    pub(super) fn made(&mut self, lane: u32, steps: u32) {
        let entry = self.entry(lane);
        *entry = entry.saturating_sub(steps);
    }

    /// What the new lane has to do is no longer its parent's.
    pub(super) fn spawned(&mut self, lane: u32, parent: u32) {
        let steps = self.profile.steps(lane, self.now_ns);
        self.made(parent, steps);
    }
}

impl Urw {
    pub(super) fn draw(numbers: &mut Numbers) -> Self {
        Self {
            temper: Temper::draw(numbers),
            ready: Weights::default(),
            left: StepsLeft::default(),
            running: 0,
            aside: Aside::Nobody,
        }
    }

    pub(super) fn learn(&mut self, profile: Profile) {
        self.left.learn(profile);
    }

    pub(super) fn instant(&mut self, now_ns: u64) {
        self.left.instant(now_ns);
    }

    pub(super) fn spawned(&mut self, lane: u32) {
        self.left.spawned(lane, self.running);
    }

    pub(super) fn readied(&mut self, lane: u32) {
        if !self.aside.takes(lane, self.running) {
            self.joins(lane);
        }
    }

    fn joins(&mut self, lane: u32) {
        let left = self.left.get(lane);
        self.ready.set(lane, left);
    }

    pub(super) fn rested(&mut self, lane: u32) {
        self.aside.rested(lane);
        self.ready.set(lane, 0);
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

    pub(super) fn pick(&mut self, numbers: &mut Numbers) -> u32 {
        self.ready.draw(numbers)
    }

    pub(super) fn decide(&mut self, numbers: &mut Numbers, site: Site, arity: u32) -> u32 {
        if !site.is_preemption() {
            return random::draw(&self.temper, numbers, site, arity);
        }
        let own = self.left.get(self.running);
        let stays = goes_on(own, self.ready.total(), numbers);
        match stays {
            true => self.left.made(self.running, 1),
            false => self.aside = Aside::Running,
        }
        u32::from(!stays)
    }
}

/// Whether a lane with `own` steps left is the next to run, where the ready ones have `others`.
pub(super) fn goes_on(own: u32, others: u64, numbers: &mut Numbers) -> bool {
    let others = u32::try_from(others).unwrap_or(u32::MAX);
    others == 0 || numbers.below(own.saturating_add(others)) < own
}
