//! Probabilistic concurrency testing: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with
//! Probabilistic Guarantees of Finding Bugs", ASPLOS 2010.
//!
//! Every lane has a random priority and the highest that is ready runs. At `depth - 1` steps, drawn beforehand, the
//! lane that would run falls below all others. A bug that takes `depth` orderings among n lanes and k steps is found
//! with a probability of at least 1 / (n·k^(depth-1)) per run.
//!
//! Departures: a step is a place where something else could run, ready or at a preemption point; k is learned from a
//! first-in first-out run of the same scenario, so that a seed means the same wherever it is run. In that order some
//! steps have no rival that have one in others, so that k is the number of steps that had one, or of all at instants at
//! which more than one lane runs, by turns. The depth is drawn from 1, 2, 3 and 5, with 3 and 5 twice as often as
//! the others. A lane that yields by itself falls below all others, so that none that spins starves the
//! rest. Lanes keep their priority over incarnations. Whether tied timers are told apart is drawn once per world.

use super::Temper;
use super::profile::Profile;
use super::random;
use super::ranks::Ranks;
use crate::choice::Site;
use crate::rng::Numbers;

/// The state of a run.
#[derive(Debug, Clone)]
pub struct Pct {
    depth: u32,
    temper: Temper,
    ranks: Ranks,
    /// The steps at which a lane falls, the next one last.
    falls: Vec<u32>,
    step: u32,
    /// The lane that is running.
    running: u32,
    /// It was interrupted, so that its becoming ready again is no yield.
    interrupted: bool,
    /// Falls and yields so far: each goes below all earlier ones.
    yields: i64,
}

/// Priorities that were drawn are above this; what fell lies between 0 and it, and what yielded below 0.
const DRAWN: i64 = 1 << 32;

impl Pct {
    pub(super) fn draw(numbers: &mut Numbers) -> Self {
        Self::with_depth(numbers.pick(&[1, 2, 3, 3, 5, 5]), numbers)
    }

    /// For bugs of this depth.
    #[must_use]
    pub fn with_depth(depth: u32, numbers: &mut Numbers) -> Self {
        Self {
            depth,
            temper: Temper::draw(numbers),
            ranks: Ranks::default(),
            falls: Vec::new(),
            step: 0,
            running: 0,
            interrupted: false,
            yields: 0,
        }
    }

    /// With no fall to place the number of steps does not matter.
    pub(super) fn wants_profile(&self) -> bool {
        self.depth > 1
    }

    pub(super) fn learn(&mut self, profile: &Profile, numbers: &mut Numbers) {
        let steps = match numbers.chance((1, 2)) {
            true => profile.contested_steps(),
            false => profile.crowded_steps(),
        };
        self.falls = (1..self.depth).map(|_| 1 + numbers.below(steps.max(1))).collect();
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
        self.interrupted = false;
    }

    pub(super) fn ended(&mut self) {
        self.running = 0;
    }

    pub(super) fn pick(&mut self) -> u32 {
        let falls = self.falls_now();
        let (_, lane) = self.ranks.top().expect("a lane is picked when some are ready");
        if !falls {
            return lane;
        }
        self.fall(lane);
        self.ranks.top().expect("it is still ready").1
    }

    pub(super) fn decide(&mut self, numbers: &mut Numbers, site: Site, arity: u32) -> u32 {
        if !site.is_preemption() {
            return random::draw(&self.temper, numbers, site, arity);
        }
        let Some((top, _)) = self.ranks.top() else { return 0 };
        if self.falls_now() {
            self.fall(self.running);
        }
        let yields = self.ranks.rank(self.running).is_some_and(|rank| rank < top);
        self.interrupted |= yields;
        u32::from(yields)
    }
}
