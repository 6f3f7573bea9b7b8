//! Probabilistic concurrency testing: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with
//! Probabilistic Guarantees of Finding Bugs", ASPLOS 2010.
//!
//! Every lane has a random priority and the highest that is ready runs. At `depth - 1` steps, drawn beforehand, the
//! lane that would run falls below all others. A bug that takes `depth` orderings among n lanes and k steps is found
//! with a probability of at least 1 / (n·k^(depth-1)) per run.
//!
//! Departures: a step is a place where something else could run, ready or at a preemption point; k is learned from a
//! first-in first-out run of the same world, so that a seed means the same wherever it is run. How many steps have a
//! rival depends on the order: where all run by turns almost every step has one, and where each runs to its end only
//! those of the first. So k is drawn anew for each world, between half of those that had one in the counted run and all
//! at instants at which more than one lane runs. The depth is drawn from 1, 2, 3 and 5, mostly 3. A lane that yields
//! by itself falls below all others, so that none that spins starves the rest. Lanes keep their priority over
//! incarnations.

use super::profile::Profile;
use super::ranks::Ranks;
use crate::rng::Numbers;

/// The state of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Pct {
    depth: u32,
    ranks: Ranks,
    /// The steps at which a lane falls, the next one last.
    falls: Vec<u32>,
    step: u32,
    /// The lane that is running.
    running: u32,
    /// It was interrupted, so that its becoming ready again is no yield, and the step was counted.
    interrupted: bool,
    was_counted: bool,
    /// Falls and yields so far: each goes below all earlier ones.
    yields: i64,
}

/// Priorities that were drawn are above this; what fell lies between 0 and it, and what yielded below 0.
const DRAWN: i64 = 1 << 32;

/// Depths, each as likely as it is often here.
const DEPTHS: [u32; 10] = [1, 2, 3, 3, 3, 3, 3, 5, 5, 5];

impl Pct {
    /// For a new world.
    pub(super) fn begin(&mut self, numbers: &mut Numbers) {
        self.begin_with(numbers.pick(&DEPTHS));
    }

    /// For bugs of this depth.
    pub(super) fn begin_with(&mut self, depth: u32) {
        self.depth = depth;
        self.ranks.clear();
        self.falls.clear();
        (self.step, self.running, self.yields) = (0, 0, 0);
        (self.interrupted, self.was_counted) = (false, false);
    }

    /// With no fall to place the number of steps does not matter.
    pub(super) fn wants_profile(&self) -> bool {
        self.depth > 1
    }

    pub(super) fn learn(&mut self, profile: &Profile, numbers: &mut Numbers) {
        let fewest = 1 + profile.contested_steps() / 2;
        let steps = fewest + numbers.below(1 + profile.crowded_steps().saturating_sub(fewest));
        self.falls.extend((1..self.depth).map(|_| 1 + numbers.below(steps)));
        self.falls.sort_unstable_by(|one, other| other.cmp(one));
    }

    /// Counts a step; says whether something falls at it.
    fn falls_now(&mut self) -> bool {
        self.step += 1;
        let mut falls = false;
        while self.falls.last() == Some(&self.step) {
            self.falls.pop();
            falls = true;
        }
        falls
    }

    fn fall(&mut self, lane: u32) {
        let rank = self.falls.len() as i64;
        self.ranks.set_rank(lane, rank);
    }

    pub(super) fn readied(&mut self, lane: u32, numbers: &mut Numbers) {
        if self.ranks.rank(lane).is_none() {
            self.ranks.set_rank(lane, DRAWN + i64::from(numbers.word()));
        } else if lane == self.running && !self.interrupted {
            self.yields += 1;
            self.ranks.set_rank(lane, -self.yields);
        }
        self.ranks.readied(lane);
    }

    pub(super) fn rested(&mut self, lane: u32) {
        self.ranks.rested(lane);
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        (self.interrupted, self.was_counted) = (false, false);
    }

    pub(super) fn ended(&mut self) {
        self.running = 0;
    }

    pub(super) fn pick(&mut self) -> u32 {
        let falls = !std::mem::take(&mut self.was_counted) && self.falls_now();
        let (_, lane) = self.ranks.top().expect("a lane is picked when some are ready");
        if !falls {
            return lane;
        }
        self.fall(lane);
        self.ranks.top().expect("it is still ready").1
    }

    /// Whether the running lane gives way at a preemption point.
    pub(super) fn gives_way(&mut self) -> bool {
        let Some((top, _)) = self.ranks.top() else { return false };
        if self.falls_now() {
            self.fall(self.running);
        }
        let gives_way = self.ranks.rank(self.running).is_some_and(|rank| rank < top);
        self.interrupted |= gives_way;
        self.was_counted = gives_way;
        gives_way
    }
}
