//! Every schedule of a world, one after the other: an odometer over the choices of a run.
//!
//! A run is re-done from its beginning, along the choices of the last one up to the rightmost that has another outcome
//! (as in `exhaustigen` of TigerBeetle). In between, *sleep sets* (Godefroid, "Partial-Order Methods for the
//! Verification of Concurrent Systems", 1996) leave out orders that differ from one seen before by swapping
//! neighbouring steps that have nothing to do with each other: a lane that was tried at a point sleeps there until a
//! step is made that its own conflicts with. A run in which all that can run sleeps is given up. Exactly one run of
//! each class of equal orders is carried to its end.
//!
//! A timer that waits for its own turn, while others of its instant have fired, makes a difference only if whoever waits
//! for it runs in between, and for that somebody else has to wake it. Which timers this can happen to is not known
//! before. So at first none waits, and the order in which they were set does not count as a conflict either. Where a
//! lane is then seen to be woken after its timer has fired and before it has run, its timers of that instant are
//! *contested*: the exploration begins again, in which they may wait, and their order with others counts. It ends with
//! one in which there was nothing new of that kind. A run in which a timer waited and nobody ran in between is given up.
//!
//! Without bounds every preemption point ends a step, so that what a search tells apart is steps and nothing else. With
//! bounds sleep sets would leave out too much, and are not used: *delay bounding* (Emmi, Qadeer, Rakamarić, POPL 2011)
//! counts how often the oldest ready lane was passed over, *preemption bounding* (Musuvathi, Qadeer, PLDI 2007) how
//! often a lane was interrupted.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::choice::{CLOCK_LANE, Guide, Site};
use crate::rng::Numbers;
use crate::schedule::{Detail, Footprint};

/// How far schedules may be from the plain one. `None` is without bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// How often a ready lane that is older is passed over; an interruption and a late timer count as one each.
    pub delays: Option<u32>,
    /// How often a lane is interrupted at a preemption point.
    pub preemptions: Option<u32>,
    /// How often a timer waits for its own turn while others of its instant have fired.
    pub late_timers: Option<u32>,
}

impl Bounds {
    /// Whether nothing is bounded.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether orders that come to the same are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// By sleep sets, where nothing is bounded.
    #[default]
    SleepSets,
    /// All orders are run.
    Off,
}

/// A lane that was tried, and what its step touched.
type Tried = (u32, Footprint);

/// Timers that may be late, by the lane that they wake: the classes of their deadlines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contested(Vec<u128>);

impl Contested {
    fn of(&self, lane: u32) -> u128 {
        self.0.get(lane as usize).copied().unwrap_or(0)
    }

    /// Adds some; whether any of them is new.
    fn add(&mut self, lane: u32, deadlines: u128) -> bool {
        let lane = lane as usize;
        if self.0.len() <= lane {
            self.0.resize(lane + 1, 0);
        }
        let is_new = deadlines & !self.0[lane] != 0;
        self.0[lane] |= deadlines;
        is_new
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (lane, &deadlines) in (0..).zip(&other.0) {
            self.add(lane, deadlines);
        }
    }
}

/// A choice with other outcomes.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Node {
    Lane(LaneNode),
    /// One of two outcomes: 0, and this.
    Value {
        other: u32,
        taken: bool,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct LaneNode {
    /// Those that may run, the oldest first.
    ready: Vec<u32>,
    /// The one that runs now.
    lane: u32,
    /// What its step touches, as far as it was made.
    touched: Footprint,
    /// Those that ran before.
    done: Vec<Tried>,
    /// Those that need not run.
    asleep: Vec<Tried>,
    /// The others are somebody else's.
    closed: bool,
}

impl LaneNode {
    fn next(&self) -> Option<u32> {
        let is_among = |tried: &[Tried], lane| tried.iter().any(|&(other, _)| other == lane);
        let free =
            |&lane: &u32| lane != self.lane && !is_among(&self.done, lane) && !is_among(&self.asleep, lane);
        if self.closed { None } else { self.ready.iter().copied().find(free) }
    }

    fn turn(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.done.push((self.lane, self.touched));
        self.lane = next;
        self.touched = Footprint::NONE;
        true
    }
}

/// A part of all schedules: those that begin as `nodes` up to `floor` say, from `nodes` on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Frontier {
    nodes: Vec<Node>,
    floor: usize,
}

impl Frontier {
    /// Goes on to the next schedule; false if there is none.
    pub(super) fn advance(&mut self) -> bool {
        while self.nodes.len() > self.floor {
            let turned = match self.nodes.last_mut().expect("longer than the floor") {
                Node::Lane(node) => node.turn(),
                Node::Value { taken, .. } => !std::mem::replace(taken, true),
            };
            if turned {
                return true;
            }
            self.nodes.pop();
        }
        false
    }

    /// Gives away what is left to do at the choice nearest to the beginning.
    pub(super) fn split(&mut self) -> Option<Self> {
        let place = (self.floor..self.nodes.len().saturating_sub(1)).find(|&place| {
            // Within a step that has choices of its own it is not yet known what all of them touch.
            let whole = matches!(self.nodes[place + 1], Node::Lane(_));
            whole && matches!(&self.nodes[place], Node::Lane(node) if node.next().is_some())
        })?;
        let mut nodes = self.nodes[..=place].to_vec();
        let (Node::Lane(given), Node::Lane(kept)) = (&mut nodes[place], &mut self.nodes[place]) else {
            unreachable!("it was found to be one")
        };
        given.turn();
        kept.closed = true;
        Some(Self { nodes, floor: place })
    }
}

/// How often each bounded thing was done.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    delays: u32,
    preemptions: u32,
    late_timers: u32,
}

fn left(bound: Option<u32>, spent: u32) -> u32 {
    bound.map_or(u32::MAX, |bound| bound.saturating_sub(spent))
}

/// Guides runs through a [`Frontier`].
#[derive(Debug)]
pub(super) struct Odometer {
    bounds: Bounds,
    reduction: Reduction,
    pub(super) frontier: Frontier,
    /// The next choice of this run.
    at: usize,
    /// The choice that the current step is from, if it was one.
    step: Option<usize>,
    asleep: Vec<Tried>,
    spent: Spent,
    /// The current step ends by an interruption, so that the same lane need not go on.
    interrupted: bool,
    /// Timers that may be late, and whether this run has added some.
    pub(super) contested: Contested,
    pub(super) has_news: bool,
    /// The deadline that it is, how many timers were due, and which lanes they have woken that did not run since.
    deadline: u128,
    due: usize,
    fired: Vec<u32>,
    /// The lane of the timer that is due next.
    due_lane: u32,
    /// Steps of this run; the last one of each lane; the last one before timers were told apart, and before that.
    steps: u64,
    last_step: Vec<u64>,
    told_apart: u64,
    told_apart_before: u64,
    running: u32,
    /// The run was given up because all that could run is asleep.
    pub(super) pruned: bool,
    /// The run did not offer the choices that it offered before.
    pub(super) diverged: bool,
    dive: Option<Dive>,
}

/// A random run that estimates how many there are: the product of the numbers of outcomes is right on average (Knuth,
/// "Estimating the Efficiency of Backtrack Programs", 1975).
#[derive(Debug)]
struct Dive {
    numbers: Numbers,
    weight: f64,
    /// What a lane touched at its step of this number, in another dive, stands for what it would touch.
    touched: FxHashMap<(u32, u32), Footprint>,
    /// What it touched last, for a step of a number that was not seen.
    last: FxHashMap<u32, Footprint>,
    /// Steps of each lane in this dive.
    made: FxHashMap<u32, u32>,
}

impl Dive {
    /// What the next step of a lane touches; that of one that was never seen might be anything.
    fn next_of(&self, lane: u32) -> Footprint {
        let number = self.made.get(&lane).copied().unwrap_or(0);
        let known = self.touched.get(&(lane, number)).or_else(|| self.last.get(&lane));
        known.copied().unwrap_or(Footprint::EVERYTHING)
    }

    fn ended(&mut self, lane: u32, footprint: Footprint) {
        let number = self.made.entry(lane).or_default();
        self.touched.insert((lane, *number), footprint);
        self.last.insert(lane, footprint);
        *number += 1;
    }
}

impl Odometer {
    pub(super) fn new(bounds: Bounds, reduction: Reduction, frontier: Frontier) -> Self {
        Self {
            bounds,
            reduction: if bounds.is_none() { reduction } else { Reduction::Off },
            frontier,
            at: 0,
            step: None,
            asleep: Vec::new(),
            spent: Spent::default(),
            interrupted: false,
            contested: Contested::default(),
            has_news: false,
            deadline: 0,
            due: 0,
            fired: Vec::new(),
            due_lane: 0,
            steps: 0,
            last_step: Vec::new(),
            told_apart: 0,
            told_apart_before: 0,
            running: 0,
            pruned: false,
            diverged: false,
            dive: None,
        }
    }

    /// Begins a run.
    pub(super) fn rewind(&mut self) {
        self.at = 0;
        self.step = None;
        self.asleep.clear();
        self.spent = Spent::default();
        self.interrupted = false;
        self.has_news = false;
        self.instant(0);
        self.steps = 0;
        self.last_step.clear();
        self.told_apart = 0;
        self.running = 0;
        self.pruned = false;
        self.diverged = false;
    }

    /// Begins a random run for an estimate.
    pub(super) fn dive(&mut self, numbers: Numbers) {
        self.rewind();
        let (touched, last) = self.dive.take().map(|dive| (dive.touched, dive.last)).unwrap_or_default();
        self.dive = Some(Dive { numbers, weight: 1.0, touched, last, made: FxHashMap::default() });
    }

    /// Ends a random run; gives its estimate.
    pub(super) fn surface(&mut self) -> f64 {
        self.dive.as_ref().map_or(0.0, |dive| dive.weight)
    }

    fn is_asleep(&self, lane: u32) -> bool {
        self.asleep.iter().any(|&(other, _)| other == lane)
    }

    fn picks_at_random(&mut self, ready: &[u32]) -> Option<u32> {
        let width = left(self.bounds.delays, self.spent.delays).saturating_add(1);
        let width = ready.len().min(width as usize);
        let awake: Vec<u32> = ready[..width].iter().copied().filter(|&lane| !self.is_asleep(lane)).collect();
        let dive = self.dive.as_mut().expect("a dive is on");
        let count = u32::try_from(awake.len()).ok().filter(|&count| count > 0)?;
        dive.weight *= f64::from(count);
        let place = dive.numbers.below(count) as usize;
        if self.reduction == Reduction::SleepSets {
            let known = |&lane: &u32| (lane, dive.next_of(lane));
            self.asleep.extend(awake[..place].iter().map(known));
        }
        Some(awake[place])
    }

    /// One of two outcomes.
    fn value(&mut self, other: u32) -> u32 {
        if let Some(dive) = &mut self.dive {
            dive.weight *= 2.0;
            return dive.numbers.below(2) * other;
        }
        let index = self.at;
        self.at += 1;
        if index == self.frontier.nodes.len() {
            self.frontier.nodes.push(Node::Value { other, taken: false });
        }
        match &self.frontier.nodes[index] {
            Node::Value { other: same, taken } if *same == other => u32::from(*taken) * other,
            _ => {
                self.diverged = true;
                0
            }
        }
    }

    /// What `picks` answers.
    fn next(&mut self, ready: &[u32]) -> Option<u32> {
        self.step = None;
        if self.pruned {
            return None;
        }
        if let [lane] = *ready {
            self.pruned = self.is_asleep(lane);
            return (!self.pruned).then_some(lane);
        }
        let lane = if self.dive.is_some() {
            match self.picks_at_random(ready) {
                Some(lane) => lane,
                None => {
                    self.pruned = true;
                    return None;
                }
            }
        } else {
            let index = self.at;
            self.at += 1;
            self.step = Some(index);
            let width = left(self.bounds.delays, self.spent.delays).saturating_add(1);
            let width = ready.len().min(width as usize);
            if index == self.frontier.nodes.len() {
                let Some(&lane) = ready[..width].iter().find(|&&lane| !self.is_asleep(lane)) else {
                    self.pruned = true;
                    return None;
                };
                self.frontier.nodes.push(Node::Lane(LaneNode {
                    ready: ready[..width].to_vec(),
                    lane,
                    touched: Footprint::NONE,
                    done: Vec::new(),
                    asleep: self.asleep.clone(),
                    closed: false,
                }));
            }
            match &self.frontier.nodes[index] {
                Node::Lane(node) if node.ready == ready[..width] => node.lane,
                _ => {
                    self.diverged = true;
                    return None;
                }
            }
        };
        if self.bounds.delays.is_some() {
            self.delay(ready.iter().position(|&other| other == lane).unwrap_or(0));
        }
        Some(lane)
    }

    /// Whether the timer that is due next may be late. One that wakes an unknown lane may.
    fn is_contested(&self) -> bool {
        self.due_lane == 0 || self.contested.of(self.due_lane) & self.deadline != 0
    }

    /// A timer of `lane` that is due now may make a difference by being late.
    fn contest(&mut self, lane: u32) {
        self.has_news |= self.contested.add(lane, self.deadline);
    }

    fn delay(&mut self, by: usize) {
        self.spent.delays = self.spent.delays.saturating_add(u32::try_from(by).unwrap_or(u32::MAX));
    }
}

impl Guide for Odometer {
    fn wants_footprints(&self) -> bool {
        true
    }

    fn picks(&mut self, ready: &[u32]) -> Option<u32> {
        let lane = self.next(ready)?;
        self.running = lane;
        self.fired.retain(|&other| other != lane);
        self.told_apart_before = self.told_apart;
        Some(lane)
    }

    fn instant(&mut self, now_ns: u64) {
        self.deadline = Footprint::sets_timer(now_ns, Detail::Fine).class_bits();
        self.due = 0;
        self.fired.clear();
    }

    fn due(&mut self, lane: u32) {
        self.due_lane = lane;
        if self.running == CLOCK_LANE || self.reduction == Reduction::Off {
            return;
        }
        self.due += 1;
        if self.fired.contains(&lane) {
            self.contest(lane);
        }
        self.fired.push(lane);
    }

    fn woken(&mut self, lane: u32) {
        if self.reduction == Reduction::Off {
            return;
        }
        if self.running == CLOCK_LANE {
            let last_step = self.last_step.get(lane as usize).copied().unwrap_or(0);
            self.pruned |= last_step <= self.told_apart_before;
        } else if self.running != 0 && self.due > 1 && self.fired.contains(&lane) {
            self.contest(lane);
        }
    }

    fn decides(&mut self, site: Site, arity: u32, ready: u32) -> u32 {
        if site.is_preemption() {
            if ready == 0 {
                return 0;
            }
            if self.bounds.delays.is_none() && self.bounds.preemptions.is_none() {
                return 1;
            }
            let left = left(self.bounds.delays, self.spent.delays)
                .min(left(self.bounds.preemptions, self.spent.preemptions));
            let value = if left == 0 { 0 } else { self.value(1) };
            self.interrupted |= value == 1;
            self.spent.preemptions += value;
            self.delay(value as usize);
            return value;
        }
        if site == Site::TimerTie {
            if self.reduction == Reduction::SleepSets && !self.is_contested() {
                return 0;
            }
            self.told_apart = self.steps;
            let left = left(self.bounds.delays, self.spent.delays)
                .min(left(self.bounds.late_timers, self.spent.late_timers));
            let value = if left == 0 { 0 } else { self.value(1) };
            self.spent.late_timers += value;
            self.delay(value as usize);
            return value;
        }
        self.value(arity - 1)
    }

    fn ended(&mut self, lane: u32, mut footprint: Footprint) {
        self.running = 0;
        footprint.mind(self.contested.of(lane));
        self.steps += 1;
        if self.last_step.len() <= lane as usize {
            self.last_step.resize(lane as usize + 1, 0);
        }
        self.last_step[lane as usize] = self.steps;
        if let Some(dive) = &mut self.dive {
            dive.ended(lane, footprint);
        }
        if let Some(Node::Lane(node)) = self.step.map(|step| &mut self.frontier.nodes[step]) {
            node.touched.add(footprint);
            self.asleep.clear();
            self.asleep.extend_from_slice(&node.asleep);
            if self.reduction == Reduction::SleepSets {
                self.asleep.extend_from_slice(&node.done);
            }
        }
        self.asleep.retain(|(_, other)| !other.conflicts(footprint));
        if std::mem::take(&mut self.interrupted) {
            // To go on at once is not to be interrupted, which was or will be tried.
            self.asleep.push((lane, Footprint::EVERYTHING));
        }
    }
}
