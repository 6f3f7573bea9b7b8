//! Uniform random walk: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing", ASPLOS 2025.
//!
//! Each ready lane runs with a probability in proportion to the steps that it has left, which makes all interleavings
//! equally likely as long as nothing blocks: a lane of one step comes last among 25 as often as first.
//!
//! Departures: the counts come from a first-in first-out run of the same world. Virtual time moves when nothing can
//! run, so that no step crosses an instant; steps are counted per lane and *instant*, and the walk is uniform over the
//! interleavings of each instant. At an instant at which the count does not know a lane, it has as many as it usually
//! makes. What a lane does at the instant of its spawn counts for its parent until then. Lanes stand for the
//! signatures of tasks.

use std::sync::Arc;

use super::profile::Profile;
use super::weights::Weights;
use crate::rng::Numbers;

/// The state of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Urw {
    profile: Arc<Profile>,
    ready: Weights,
    now_ns: u64,
    /// For each lane the instant at which its steps were looked up, and what is left of them.
    left: Vec<(u64, u32)>,
    running: u32,
    /// The running lane gave way to this one.
    next: Option<u32>,
}

impl Urw {
    /// For a new world; the memory is kept.
    pub(super) fn begin(&mut self) {
        self.profile = Profile::none();
        self.ready.clear();
        self.left.clear();
        (self.now_ns, self.running, self.next) = (0, 0, None);
    }

    pub(super) fn learn(&mut self, profile: &Arc<Profile>) {
        self.profile = Arc::clone(profile);
    }

    pub(super) fn instant(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    fn left(&mut self, lane: u32) -> &mut u32 {
        let place = lane as usize;
        if self.left.len() <= place {
            self.left.resize(place + 1, (u64::MAX, 0));
        }
        let left = &mut self.left[place];
        if left.0 != self.now_ns {
            *left = (self.now_ns, self.profile.steps_with_children(lane, self.now_ns));
        }
        &mut left.1
    }

    /// The lane has made so many steps of those that it had left.
    fn made(&mut self, lane: u32, steps: u32) {
        let left = self.left(lane);
        *left = left.saturating_sub(steps);
    }

    /// A lane that is not at its end has at least one step left.
    fn weight(&mut self, lane: u32) -> u32 {
        (*self.left(lane)).max(1)
    }

    pub(super) fn spawned(&mut self, lane: u32) {
        let steps = self.profile.steps_with_children(lane, self.now_ns);
        self.made(self.running, steps);
    }

    pub(super) fn readied(&mut self, lane: u32) {
        let weight = self.weight(lane);
        self.ready.set(lane, weight);
    }

    pub(super) fn rested(&mut self, lane: u32) {
        self.ready.set(lane, 0);
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        self.made(lane, 1);
    }

    pub(super) fn ended(&mut self) {
        self.running = 0;
    }

    pub(super) fn pick(&mut self, numbers: &mut Numbers) -> u32 {
        match self.next.take() {
            Some(lane) if self.ready.get(lane) > 0 => lane,
            _ => self.ready.draw(numbers),
        }
    }

    /// Whether the running lane gives way at a preemption point; to whom is drawn along with it.
    pub(super) fn gives_way(&mut self, numbers: &mut Numbers) -> bool {
        if self.ready.total() == 0 {
            return false;
        }
        let (lane, weight) = (self.running, self.weight(self.running));
        // It is ready already if it was woken during its own turn.
        let before = self.ready.get(lane);
        self.ready.set(lane, weight);
        let next = self.ready.draw(numbers);
        self.ready.set(lane, before);
        if next == lane {
            self.made(lane, 1);
        } else {
            self.next = Some(next);
        }
        next != lane
    }
}
