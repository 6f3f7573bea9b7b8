//! Partial order sampling: Yuan, Yang, Gu, "Partial Order Aware Concurrency Sampling", CAV 2018.
//!
//! Every pending step has a random priority and the highest runs. When it has run, the priorities of the pending steps
//! that race with it are drawn anew, so that orders of racing steps are sampled more evenly than by a random walk,
//! and orders of others not at all. No numbers of lanes, steps or depth are needed.
//!
//! Departures: what a pending step will touch is not known, so that it is taken to touch what the same lane did at the
//! same place before, and at first what anything does on its lane. Steps race when their [`Footprint`]s conflict,
//! except where both do no more than publish: the order of events alone is not worth a draw. A preemption point ends
//! a step. Racing steps are found by class, so that a redraw costs O(log n) for each step that races.

use rustc_hash::FxHashMap;

use super::footprint::Footprint;
use super::ranks::Ranks;
use crate::choice::Site;
use crate::rng::Numbers;

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Place {
    /// At its beginning, or where it waited for something.
    #[default]
    Blocked,
    /// At a preemption point.
    At(Site),
}

/// The state of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Pos {
    ranks: Ranks,
    /// What a lane touched when it last went on from a place. Looked up, never iterated.
    touched: FxHashMap<(u32, Place), Footprint>,
    /// What each lane's pending step is taken to touch.
    expected: Vec<Footprint>,
    /// Where each lane stands.
    standing: Vec<Place>,
    /// Ready lanes by the classes of what they are expected to touch. May name lanes that moved on.
    by_class: Vec<Vec<u32>>,
    /// The classes whose lists were used in this world.
    used: u128,
    /// The lane that is running, from where, and whether its next step has its priority already.
    running: u32,
    from: Place,
    interrupted: bool,
    drawn: Vec<u32>,
}

impl Pos {
    /// For a new world; the memory is kept.
    pub(super) fn begin(&mut self) {
        self.ranks.clear();
        self.touched.clear();
        self.expected.clear();
        self.standing.clear();
        self.by_class.resize(Footprint::CLASSES, Vec::new());
        for class in Footprint::bits(std::mem::take(&mut self.used)) {
            self.by_class[class as usize].clear();
        }
        (self.running, self.from, self.interrupted) = (0, Place::Blocked, false);
    }

    pub(super) fn readied(&mut self, lane: u32, numbers: &mut Numbers) {
        if !(lane == self.running && self.interrupted) {
            self.expect(lane, Place::Blocked);
            self.ranks.set_rank(lane, i64::from(numbers.word()));
        }
        self.ranks.readied(lane);
        self.list(lane);
    }

    fn list(&mut self, lane: u32) {
        let expected = self.expected[lane as usize];
        self.used |= expected.class_bits();
        for class in expected.classes() {
            self.by_class[class as usize].push(lane);
        }
    }

    fn expect(&mut self, lane: u32, place: Place) {
        if self.expected.len() <= lane as usize {
            self.expected.resize(lane as usize + 1, Footprint::NONE);
            self.standing.resize(lane as usize + 1, Place::Blocked);
        }
        self.standing[lane as usize] = place;
        let known = self.touched.get(&(lane, place)).copied();
        self.expected[lane as usize] = known.unwrap_or_else(|| Footprint::of_lane(lane));
    }

    pub(super) fn rested(&mut self, lane: u32) {
        self.ranks.rested(lane);
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        self.from = std::mem::take(&mut self.standing[lane as usize]);
        self.interrupted = false;
    }

    /// The step that began at `from` has ended, and touched this.
    pub(super) fn ended(&mut self, footprint: Footprint, numbers: &mut Numbers) {
        self.learn(footprint);
        self.redraw(footprint, numbers);
        if self.from == Place::Blocked && !self.interrupted && self.ranks.is_ready(self.running) {
            // It yielded before it was known what it touches.
            self.expect(self.running, Place::Blocked);
            self.list(self.running);
        }
        self.running = 0;
    }

    fn learn(&mut self, footprint: Footprint) {
        self.touched.insert((self.running, self.from), footprint);
    }

    /// Draws the priorities of what races with `footprint` anew.
    fn redraw(&mut self, footprint: Footprint, numbers: &mut Numbers) {
        let footprint = footprint.without_order_of_events();
        let mut racing = std::mem::take(&mut self.drawn);
        for class in footprint.opposed_among(self.used) {
            racing.append(&mut self.by_class[class as usize]);
        }
        racing.sort_unstable();
        racing.dedup();
        for lane in racing.drain(..) {
            // The list may name lanes that moved on.
            if !self.ranks.is_ready(lane) {
                continue;
            }
            let common = self.expected[lane as usize].classes_opposed_by(footprint);
            for class in common {
                self.by_class[class as usize].push(lane);
            }
            if self.expected[lane as usize].conflicts(footprint)
                && !(self.interrupted && lane == self.running)
            {
                self.ranks.set_rank(lane, i64::from(numbers.word()));
            }
        }
        self.drawn = racing;
    }

    pub(super) fn pick(&mut self) -> u32 {
        self.ranks.top().expect("a lane is picked when some are ready").1
    }

    /// A step ends at a preemption point; `footprint` is what it has touched. Whether the lane gives way.
    pub(super) fn gives_way(&mut self, numbers: &mut Numbers, site: Site, footprint: &mut Footprint) -> bool {
        if self.ranks.top().is_none() {
            return false;
        }
        self.learn(*footprint);
        self.redraw(*footprint, numbers);
        *footprint = Footprint::of_lane(self.running);
        let (top, _) = self.ranks.top().expect("redrawing takes none away");
        self.from = Place::At(site);
        self.expect(self.running, self.from);
        let rank = i64::from(numbers.word());
        self.ranks.set_rank(self.running, rank);
        self.interrupted = rank < top;
        self.interrupted
    }
}
