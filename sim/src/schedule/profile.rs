//! What a first-in first-out run of a scenario tells about its other schedules: how many steps there are to place
//! something at, and how many steps each lane makes at each instant.
//!
//! A strategy that wants it gets it from a run of the same scenario just before its own. It is part of what the seed
//! means, whatever was run before.

use rustc_hash::FxHashMap;

use super::footprint::Footprint;

/// A count of steps. A step ends where something else could run: at the end of a turn or at a preemption point.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Steps at which something else was ready.
    contested: u32,
    /// Steps by lane and instant. Looked up and summed.
    steps: FxHashMap<(u32, u64), u32>,
    /// Who spawned whom and when: child, parent, instant.
    spawns: Vec<(u32, u32, u64)>,
    /// What each lane touched in all.
    touched: Vec<Option<Footprint>>,
    running: u32,
    now_ns: u64,
}

impl Profile {
    pub(super) fn instant(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        self.count();
    }

    fn count(&mut self) {
        *self.steps.entry((self.running, self.now_ns)).or_default() += 1;
    }

    /// A turn or a preemption point, at which `others` could run.
    pub(super) fn contested(&mut self, others: u32) {
        self.contested += u32::from(others > 0);
    }

    pub(super) fn passes(&mut self, others: u32) {
        self.contested(others);
        self.count();
    }

    pub(super) fn spawned(&mut self, lane: u32) {
        self.spawns.push((lane, self.running, self.now_ns));
    }

    pub(super) fn ended(&mut self, footprint: Footprint) {
        let lane = self.running as usize;
        if self.touched.len() <= lane {
            self.touched.resize(lane + 1, None);
        }
        self.touched[lane].get_or_insert_default().add(footprint);
        self.running = 0;
    }

    /// Steps at instants at which more than one lane makes any: what a schedule may have to place something at.
    pub(super) fn crowded_steps(&self) -> u32 {
        // Sums over instants, so that the order of the map does not show.
        let mut instants: FxHashMap<u64, (u32, u32)> = FxHashMap::default();
        for (&(_, at_ns), &steps) in &self.steps {
            let (lanes, sum) = instants.entry(at_ns).or_default();
            *lanes += 1;
            *sum += steps;
        }
        instants.values().filter(|(lanes, _)| *lanes > 1).map(|(_, sum)| sum).sum()
    }

    /// Counts what a lane does at the instant of its spawn for the parent as well, until it is spawned.
    pub(super) fn fold(&mut self) {
        for &(child, parent, at_ns) in self.spawns.iter().rev() {
            let steps = self.steps(child, at_ns);
            *self.steps.entry((parent, at_ns)).or_default() += steps;
        }
    }

    /// Steps at which something else was ready.
    #[must_use]
    pub fn contested_steps(&self) -> u32 {
        self.contested
    }

    /// Steps that each lane owes at an instant to those of `selected` that it spawns then, itself or by another.
    pub(super) fn owed(&self, selected: &[u32]) -> FxHashMap<(u32, u64), u32> {
        let mut owed = FxHashMap::default();
        for &(child, parent, at_ns) in self.spawns.iter().rev() {
            let own = if selected.contains(&child) { self.steps(child, at_ns) } else { 0 };
            let passed_on: u32 = owed.get(&(child, at_ns)).copied().unwrap_or(0);
            if own + passed_on > 0 {
                *owed.entry((parent, at_ns)).or_default() += own + passed_on;
            }
        }
        owed
    }

    /// Steps of a lane at an instant.
    #[must_use]
    pub fn steps(&self, lane: u32, at_ns: u64) -> u32 {
        self.steps.get(&(lane, at_ns)).copied().unwrap_or(0)
    }

    /// The lanes that made steps, and what each touched.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (u32, Footprint)> {
        (0..).zip(&self.touched).filter_map(|(lane, touched)| touched.map(|touched| (lane, touched)))
    }
}
