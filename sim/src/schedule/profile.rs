//! What a run of a world tells about its other schedules: how many steps there are to place something at, how many
//! each lane makes at each instant, and what each of them touches.
//!
//! A strategy that wants it gets it from a first-in first-out run of the same world. In a sweep, where every seed has a
//! scenario of its own, that run is made just before the seed's; where one world is run many times, once for all of
//! them. Either way it is a function of the world alone, and a seed means the same whatever was run before.

use std::sync::{Arc, LazyLock};

use rustc_hash::FxHashMap;

use super::footprint::{Footprint, Resource};

/// One step: it ends where something else could run, at the end of a turn or at a preemption point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) lane: u32,
    pub(super) at_ns: u64,
    pub(super) touched: Footprint,
}

/// Something that several lanes contend for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) resource: Resource,
    /// How many lanes touch it.
    pub(super) lanes: u32,
}

/// How much is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Wanted {
    /// Nothing: no profile is wanted.
    #[default]
    Nothing,
    /// How many steps there are.
    Totals,
    /// Those of each lane at each instant.
    Steps,
    /// And what each touches.
    Footprints,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    wanted: Wanted,
    contested: u32,
    crowded: u32,
    instant: Instant,
    /// Every step, in order; by lane and then in order, once the run is over.
    steps: Vec<Step>,
    /// Where the steps of each lane begin, and one more.
    starts: Vec<u32>,
    /// The instants of each lane with where its steps at each begin, by lane, and one more of nobody; and where those of
    /// each lane begin, and one more.
    instants: Vec<(u64, u32)>,
    first_instants: Vec<u32>,
    /// Steps of each lane at an instant at which it makes any, on average.
    usual: Vec<u32>,
    /// Who spawned whom and when: child, parent, instant.
    spawns: Vec<(u32, u32, u64)>,
    /// Steps that the children of a lane that it spawns at an instant make at that instant. Looked up, never iterated.
    owed: FxHashMap<(u32, u64), u32>,
    shared: Vec<Shared>,
    running: u32,
    /// Where in `spawns` those of the running step begin.
    spawned_before: usize,
    /// Memory for what is put in order.
    unordered: Vec<Step>,
    places: Vec<u32>,
}

/// The instant that it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Instant {
    at_ns: u64,
    steps: u32,
    lane: u32,
    has_others: bool,
}

impl Profile {
    /// One of nothing.
    pub(super) fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Profile>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }

    /// For a new run; the memory is kept.
    pub(super) fn clear(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        (self.contested, self.crowded, self.instant) = (0, 0, Instant::default());
        self.steps.clear();
        self.starts.clear();
        self.instants.clear();
        self.first_instants.clear();
        self.usual.clear();
        self.spawns.clear();
        self.owed.clear();
        self.shared.clear();
        (self.running, self.spawned_before) = (0, 0);
    }

    pub(super) fn wants_footprints(&self) -> bool {
        self.wanted == Wanted::Footprints
    }

    pub(super) fn instant(&mut self, now_ns: u64) {
        self.leave_instant();
        self.instant = Instant { at_ns: now_ns, ..Instant::default() };
    }

    fn leave_instant(&mut self) {
        let Instant { steps, has_others, .. } = self.instant;
        self.crowded += if has_others { steps } else { 0 };
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        let instant = &mut self.instant;
        instant.has_others |= instant.steps > 0 && instant.lane != lane;
        instant.lane = lane;
        instant.steps += 1;
        if self.wanted >= Wanted::Steps {
            self.spawned_before = self.spawns.len();
            self.steps.push(Step { lane, at_ns: self.instant.at_ns, touched: Footprint::NONE });
        }
    }

    /// A turn or a preemption point, at which `others` could run.
    pub(super) fn contested(&mut self, others: u32) {
        self.contested += u32::from(others > 0);
    }

    /// A step ends at a preemption point, and the next one begins.
    pub(super) fn passes(&mut self, others: u32, footprint: &mut Footprint) {
        self.contested(others);
        self.touches(*footprint);
        *footprint = Footprint::of_lane(self.running);
        self.begins(self.running);
    }

    pub(super) fn spawned(&mut self, lane: u32) {
        if self.wanted >= Wanted::Steps {
            self.spawns.push((lane, self.running, self.instant.at_ns));
        }
    }

    pub(super) fn ended(&mut self, footprint: Footprint) {
        self.touches(footprint);
        self.running = 0;
    }

    fn touches(&mut self, mut footprint: Footprint) {
        if self.wanted < Wanted::Footprints {
            return;
        }
        for &(child, _, _) in &self.spawns[self.spawned_before..] {
            footprint = footprint.without_wake(child);
        }
        if let Some(step) = self.steps.last_mut() {
            step.touched = footprint;
        }
    }

    /// The run is over: makes what is looked up from what was counted.
    pub(super) fn close(&mut self) {
        self.leave_instant();
        self.instant.steps = 0;
        let shared = self.contended();
        self.sort();
        self.find_instants();
        self.find_shared(shared);
        for number in (0..self.spawns.len()).rev() {
            let (child, parent, at_ns) = self.spawns[number];
            let steps = self.steps_with_children(child, at_ns);
            *self.owed.entry((parent, at_ns)).or_default() += steps;
        }
    }

    /// The classes of what steps of different lanes at one instant contend for. The steps are still in order.
    fn contended(&self) -> u128 {
        #[derive(Clone, Copy)]
        struct Seen {
            at_ns: u64,
            /// The lane that touched it at this instant, or [`MANY`].
            lane: u32,
            touched: Footprint,
        }
        const MANY: u32 = u32::MAX;
        let nobody = Seen { at_ns: u64::MAX, lane: 0, touched: Footprint::NONE };
        let mut seen = [nobody; Resource::COUNT];
        let mut shared = 0;
        for step in &self.steps {
            for resource in step.touched.resources_but(step.lane, shared) {
                let seen = &mut seen[resource.index()];
                if seen.at_ns != step.at_ns {
                    *seen = Seen { at_ns: step.at_ns, ..nobody };
                }
                let by_others = seen.lane != 0 && seen.lane != step.lane;
                if by_others && step.touched.conflicts_over(seen.touched, resource) {
                    shared |= resource.classes();
                }
                seen.touched.add(step.touched);
                seen.lane = if by_others { MANY } else { step.lane };
            }
        }
        shared
    }

    /// Puts the steps of a lane together, in the order in which they were made.
    fn sort(&mut self) {
        let Self { steps, starts, unordered, places, .. } = self;
        let lanes = steps.iter().map(|step| step.lane as usize + 1).max().unwrap_or(0);
        starts.resize(lanes + 1, 0);
        steps.iter().for_each(|step| starts[step.lane as usize + 1] += 1);
        for lane in 0..lanes {
            starts[lane + 1] += starts[lane];
        }
        places.clone_from(starts);
        std::mem::swap(steps, unordered);
        steps.clone_from(unordered);
        for step in unordered.drain(..) {
            let place = &mut places[step.lane as usize];
            steps[*place as usize] = step;
            *place += 1;
        }
        places.clear();
    }

    /// The steps are put together by lane.
    fn find_instants(&mut self) {
        for ends in self.starts.windows(2) {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            let first = self.instants.len();
            self.first_instants.push(first as u32);
            let mut latest = None;
            for (number, step) in (ends[0]..).zip(&self.steps[start..end]) {
                if latest.replace(step.at_ns) != Some(step.at_ns) {
                    self.instants.push((step.at_ns, number));
                }
            }
            let instants = self.instants.len() - first;
            self.usual.push((end - start).div_ceil(instants.max(1)) as u32);
        }
        self.first_instants.push(self.instants.len() as u32);
        self.instants.push((u64::MAX, self.steps.len() as u32));
    }

    /// The steps are put together by lane.
    fn find_shared(&mut self, shared: u128) {
        if shared == 0 {
            return;
        }
        let mut found = [None; Resource::COUNT];
        for of_lane in self.steps.chunk_by(|one, other| one.lane == other.lane) {
            let mut touched = Footprint::NONE;
            of_lane.iter().for_each(|step| touched.add(step.touched));
            for resource in touched.resources_but(of_lane[0].lane, !shared) {
                found[resource.index()].get_or_insert(Shared { resource, lanes: 0 }).lanes += 1;
            }
        }
        self.shared.extend(found.into_iter().flatten());
    }

    /// Steps at which something else was ready.
    #[must_use]
    pub fn contested_steps(&self) -> u32 {
        self.contested
    }

    /// Steps at instants at which more than one lane makes any: what a schedule may have to place something at.
    pub(super) fn crowded_steps(&self) -> u32 {
        self.crowded
    }

    /// All steps, by lane.
    pub(super) fn all(&self) -> &[Step] {
        &self.steps
    }

    /// Where the steps of a lane are.
    pub(super) fn place_of(&self, lane: u32) -> std::ops::Range<usize> {
        let lane = lane as usize;
        match (self.starts.get(lane), self.starts.get(lane + 1)) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => 0..0,
        }
    }

    /// Where those that it makes at an instant are.
    pub(super) fn place_at(&self, lane: u32, at_ns: u64) -> std::ops::Range<usize> {
        let lane = lane as usize;
        let (Some(&first), Some(&end)) = (self.first_instants.get(lane), self.first_instants.get(lane + 1))
        else {
            return 0..0;
        };
        let earlier =
            self.instants[first as usize..end as usize].partition_point(|instant| instant.0 < at_ns);
        let found = first as usize + earlier;
        let (found_ns, start) = self.instants[found];
        let has_steps = found < end as usize && found_ns == at_ns;
        let end = if has_steps { self.instants[found + 1].1 } else { start };
        start as usize..end as usize
    }

    /// Steps of a lane at an instant, or as many as it usually makes if it was not seen to make any then.
    fn steps_at(&self, lane: u32, at_ns: u64) -> u32 {
        match self.place_at(lane, at_ns).len() as u32 {
            0 => self.usual.get(lane as usize).copied().unwrap_or(0),
            steps => steps,
        }
    }

    /// As [`Profile::steps_at`], with those of the lanes that it spawns then, themselves or by another.
    pub(super) fn steps_with_children(&self, lane: u32, at_ns: u64) -> u32 {
        self.steps_at(lane, at_ns) + self.owed.get(&(lane, at_ns)).copied().unwrap_or(0)
    }

    /// Who spawned whom and when: child, parent, instant.
    pub(super) fn spawns(&self) -> &[(u32, u32, u64)] {
        &self.spawns
    }

    /// What several lanes contend for, in a fixed order.
    pub(super) fn shared(&self) -> &[Shared] {
        &self.shared
    }

    /// How many lanes made steps.
    pub(super) fn lanes(&self) -> u32 {
        self.starts.windows(2).filter(|ends| ends[0] < ends[1]).count() as u32
    }
}
