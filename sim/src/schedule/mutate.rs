//! Mutation: a run that showed something new is kept, and changed a little. As in RFF (Wolff, Shi, Duck, Mathur,
//! Roychoudhury, "Greybox Fuzzing for Concurrency Testing", ASPLOS 2024) and in Fray's Fest.
//!
//! A run is kept as the order of its steps and what else was chosen. To follow it, the ready lane runs whose next step
//! comes first in that order: so an order can be edited like a list, and is followed as far as the world allows it. A
//! change is one of: a step is made *before* an earlier one of another lane that it conflicts with, with all that its
//! lane has to do for it; a step is put off; the order goes on as that of another run that was kept. Steps that the
//! order does not have come after all others, and at random.
//!
//! What is new: that at some resource a step of one lane came right after a step of another, told by how often each
//! had been there. What was kept lives as long as a *campaign*: [`RUNS`] runs of one world, which are what one seed means
//! with this strategy. A seed does not know of others, so that it means the same wherever it is run, and by whichever thread.
//! The first runs of a campaign, and one in four later, are made anew, by random priorities.

use rustc_hash::{FxHashMap, FxHashSet};

use super::footprint::{Footprint, Resource};
use super::ranks::Ranks;
use crate::choice::Site;
use crate::rng::Numbers;

/// How many runs a campaign has.
pub const RUNS: u32 = 32;

/// Runs that are kept at most; then a new one takes the place of any.
const KEPT_MAX: usize = 16;

/// How far back a step looks for one that it conflicts with.
const REACH: usize = 64;

/// What a run did.
#[derive(Debug, Clone, Default)]
struct Run {
    steps: Vec<Step>,
    /// Other choices: for whom and where, and what came of it.
    others: Vec<((u32, Site), u32)>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    lane: u32,
    touched: Footprint,
}

/// The state of a campaign and of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Mutate {
    kept: Vec<Run>,
    /// Looked up, never iterated.
    seen: FxHashSet<u64>,
    made: Run,
    shows_new: bool,
    /// Who was last at each resource, and how often each lane has been there.
    last_at: Vec<u64>,
    times_at: FxHashMap<(u32, Resource), u32>,
    /// The order to follow.
    order: Vec<u32>,
    /// Where in the order the steps of each lane are, lane by lane; which of them is next, and where they end.
    places: Vec<u32>,
    next: Vec<(u32, u32)>,
    /// Other choices to follow, sorted by whose and where; which is next.
    others: Vec<((u32, Site), u32)>,
    next_other: FxHashMap<(u32, Site), usize>,
    follows: bool,
    ranks: Ranks,
    running: u32,
    interrupted: bool,
}

impl Mutate {
    /// For a new campaign.
    pub(super) fn begin(&mut self) {
        self.kept.clear();
        self.seen.clear();
    }

    /// For the next run of the campaign.
    pub(super) fn begin_run(&mut self, numbers: &mut Numbers) {
        self.made.steps.clear();
        self.made.others.clear();
        self.shows_new = false;
        self.last_at.clear();
        self.last_at.resize(Resource::COUNT, 0);
        self.times_at.clear();
        self.ranks.clear();
        (self.running, self.interrupted) = (0, false);
        self.order.clear();
        self.others.clear();
        self.next_other.clear();
        self.follows = !self.kept.is_empty() && numbers.chance((3, 4));
        if self.follows {
            self.plan(numbers);
        }
        self.index();
    }

    /// An order to follow: a kept one, with one to four changes.
    fn plan(&mut self, numbers: &mut Numbers) {
        let one = &self.kept[numbers.below(self.kept.len() as u32) as usize];
        let mut steps = one.steps.clone();
        self.others.extend_from_slice(&one.others);
        for _ in 0..1 + numbers.below(4) {
            if steps.len() < 2 {
                break;
            }
            match numbers.below(8) {
                0 => put_off(&mut steps, numbers),
                1 => splice(
                    &mut steps,
                    &self.kept[numbers.below(self.kept.len() as u32) as usize].steps,
                    numbers,
                ),
                _ => reverse(&mut steps, numbers),
            }
        }
        self.order.extend(steps.iter().map(|step| step.lane));
        self.others.sort_by_key(|&(key, _)| key);
        for (number, &(key, _)) in self.others.iter().enumerate() {
            self.next_other.entry(key).or_insert(number);
        }
    }

    /// Finds the places of each lane in the order.
    fn index(&mut self) {
        let lanes = self.order.iter().map(|&lane| lane as usize + 1).max().unwrap_or(0);
        self.places.clear();
        self.places.extend(0..self.order.len() as u32);
        self.places.sort_by_key(|&place| self.order[place as usize]);
        self.next.clear();
        let mut start = 0;
        for lane in 0..lanes as u32 {
            let rest = &self.places[start..];
            let end = start + rest.partition_point(|&place| self.order[place as usize] == lane);
            self.next.push((start as u32, end as u32));
            start = end;
        }
    }

    /// The rank of a lane's next step: the earlier in the order the higher.
    fn rank(&self, lane: u32, numbers: &mut Numbers) -> i64 {
        const UNPLANNED: i64 = -1 << 40;
        match self.next.get(lane as usize) {
            Some(&(next, end)) if next < end => -i64::from(self.places[next as usize]),
            _ => UNPLANNED + i64::from(numbers.word()),
        }
    }

    pub(super) fn readied(&mut self, lane: u32, numbers: &mut Numbers) {
        if !(lane == self.running && self.interrupted) {
            let rank = self.rank(lane, numbers);
            self.ranks.set_rank(lane, rank);
        }
        self.ranks.readied(lane);
    }

    pub(super) fn rested(&mut self, lane: u32) {
        self.ranks.rested(lane);
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        self.interrupted = false;
        self.step();
    }

    fn step(&mut self) {
        self.made.steps.push(Step { lane: self.running, touched: Footprint::NONE });
        if let Some((next, end)) = self.next.get_mut(self.running as usize) {
            *next = (*next + 1).min(*end);
        }
    }

    fn touched(&mut self, footprint: Footprint) {
        let Some(step) = self.made.steps.last_mut() else { return };
        step.touched = footprint;
        let lane = step.lane;
        for resource in footprint.resources(lane) {
            let times = self.times_at.entry((lane, resource)).or_default();
            *times += 1;
            // Often is often.
            let here = 1 + (u64::from(lane) << 4 | u64::from((*times).min(15)));
            let before = std::mem::replace(&mut self.last_at[resource.index()], here);
            if before >> 4 != here >> 4 {
                let pair = (resource.index() as u64) << 56 ^ before << 28 ^ here;
                self.shows_new |= self.seen.insert(pair);
            }
        }
    }

    pub(super) fn ended(&mut self, footprint: Footprint) {
        if !self.interrupted {
            self.touched(footprint);
        }
        self.running = 0;
    }

    pub(super) fn pick(&mut self) -> u32 {
        self.ranks.top().expect("a lane is picked when some are ready").1
    }

    /// Whether the running lane gives way at a preemption point.
    pub(super) fn gives_way(&mut self, numbers: &mut Numbers, footprint: &mut Footprint) -> bool {
        self.touched(*footprint);
        *footprint = Footprint::of_lane(self.running);
        let rank = self.rank(self.running, numbers);
        self.interrupted = self.ranks.top().is_some_and(|(top, _)| rank < top);
        if self.interrupted {
            self.ranks.set_rank(self.running, rank);
        } else {
            self.step();
        }
        self.interrupted
    }

    /// What came of another choice in the run that is followed; mostly.
    pub(super) fn other(&mut self, numbers: &mut Numbers, site: Site, arity: u32) -> Option<u32> {
        let key = (self.running, site);
        let next = self.next_other.get_mut(&key)?;
        let &(found, value) = self.others.get(*next)?;
        *next += 1;
        (found == key && value < arity && !numbers.chance((1, 16))).then_some(value)
    }

    /// Another choice came out so.
    pub(super) fn chose(&mut self, site: Site, value: u32) {
        self.made.others.push(((self.running, site), value));
    }

    /// The run is over.
    pub(super) fn close(&mut self, numbers: &mut Numbers) {
        if !self.shows_new {
            return;
        }
        let run = std::mem::take(&mut self.made);
        if self.kept.len() < KEPT_MAX {
            self.kept.push(run);
        } else {
            self.made = std::mem::replace(&mut self.kept[numbers.below(KEPT_MAX as u32) as usize], run);
        }
    }
}

/// A step comes before an earlier one that it conflicts with, and so does all that its lane does for it.
fn reverse(steps: &mut Vec<Step>, numbers: &mut Numbers) {
    for _ in 0..8 {
        let late = numbers.below(steps.len() as u32) as usize;
        let Step { lane, touched } = steps[late];
        let near = late.saturating_sub(REACH)..late;
        let early = near.rev().find(|&early| {
            let other = steps[early];
            let over = |resource| touched.conflicts_over(other.touched, resource);
            other.lane != lane && touched.resources(lane).any(over)
        });
        if let Some(early) = early {
            let moved: Vec<_> =
                steps[early..=late].iter().filter(|step| step.lane == lane).copied().collect();
            let stays: Vec<_> =
                steps[early..=late].iter().filter(|step| step.lane != lane).copied().collect();
            steps.splice(early..=late, moved.into_iter().chain(stays));
            return;
        }
    }
}

/// A step comes later.
fn put_off(steps: &mut [Step], numbers: &mut Numbers) {
    let early = numbers.below(steps.len() as u32 - 1) as usize;
    let late = early + 1 + numbers.below((steps.len() - early - 1).min(REACH) as u32) as usize;
    steps[early..=late].rotate_left(1);
}

/// The order goes on as `other` does, without the steps that have been made.
fn splice(steps: &mut Vec<Step>, other: &[Step], numbers: &mut Numbers) {
    steps.truncate(1 + numbers.below(steps.len() as u32) as usize);
    let mut made: FxHashMap<u32, u32> = FxHashMap::default();
    for step in &*steps {
        *made.entry(step.lane).or_default() += 1;
    }
    steps.extend(other.iter().filter(|step| match made.get_mut(&step.lane) {
        Some(times) if *times > 0 => {
            *times -= 1;
            false
        }
        _ => true,
    }));
}
