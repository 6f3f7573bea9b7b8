//! Selectively uniform random walk: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing",
//! ASPLOS 2025.
//!
//! The steps that touch one resource are *interesting*, and the walk is uniform over *their* interleavings, as in
//! [`super::urw`]: whose interesting step comes next is drawn in proportion to how many each lane has left, and those of
//! others wait. All other steps are noise. They run by random priorities, whoever's they are, until the lane that was
//! drawn has come to its interesting step. So an order of few steps is found among any number of noisy ones: the one
//! look among a hundred changes comes first in one of a hundred runs.
//!
//! Departures: the resource is drawn once per world, among those for which steps of different lanes contend at one
//! instant: by turns any of them, or one that half of all lanes touch (the paper's tool takes those alone). What a step
//! will touch, and how many are left, is read from a first-in first-out run of the same world: a lane is taken to be
//! where what it touched last was touched there. Steps are counted per instant.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::footprint::{Footprint, Resource};
use super::profile::Profile;
use super::ranks::Ranks;
use super::weights::Weights;
use crate::rng::Numbers;

/// The state of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Surw {
    profile: Arc<Profile>,
    /// For each step of the profile, whether it is interesting.
    marks: Vec<Mark>,
    /// Where in the profile each lane stands, and the instant for which it was looked up.
    standing: Vec<(u32, u64)>,
    /// Interesting steps of those that a lane has still to spawn at an instant. Looked up, never iterated.
    owed: FxHashMap<(u32, u64), u32>,
    /// Ready lanes whose next step is noise, and those whose next step is interesting.
    noise: Ranks,
    interesting: Ranks,
    /// Ready lanes by interesting steps left.
    left: Weights,
    /// Whose interesting step comes next.
    drawn: Option<u32>,
    now_ns: u64,
    running: u32,
    /// The running lane gave way, and to this one.
    interrupted: bool,
    next: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    is_interesting: bool,
    /// Interesting steps from this one to the end of its instant.
    left: u32,
}

/// How many steps of the profile a lane may leave out, to be found again.
const LEFT_OUT_MAX: usize = 8;

impl Surw {
    /// For a new world; the memory is kept.
    pub(super) fn begin(&mut self) {
        self.profile = Profile::none();
        self.marks.clear();
        self.owed.clear();
        self.standing.clear();
        self.noise.clear();
        self.interesting.clear();
        self.left.clear();
        (self.drawn, self.next, self.interrupted) = (None, None, false);
        (self.now_ns, self.running) = (0, 0);
    }

    pub(super) fn learn(&mut self, profile: &Arc<Profile>, numbers: &mut Numbers) {
        self.profile = Arc::clone(profile);
        let Some(resource) = draw_resource(profile, numbers) else { return };
        self.mark(resource);
        for number in (0..self.profile.spawns().len()).rev() {
            let (child, parent, at_ns) = self.profile.spawns()[number];
            let owed = self.owed_for(child, at_ns);
            if owed > 0 {
                *self.owed.entry((parent, at_ns)).or_default() += owed;
            }
        }
    }

    /// Marks the steps that touch `resource`, from the last one on.
    fn mark(&mut self, resource: Resource) {
        let steps = self.profile.all();
        self.marks.resize(steps.len(), Mark::default());
        let mut left = 0;
        for (number, step) in steps.iter().enumerate().rev() {
            if let Some(next) = steps.get(number + 1)
                && (next.lane, next.at_ns) != (step.lane, step.at_ns)
            {
                left = 0;
            }
            let is_interesting = step.touched.besides(step.lane) & resource.classes() != 0;
            left += u32::from(is_interesting);
            self.marks[number] = Mark { is_interesting, left };
        }
    }

    /// Interesting steps of a lane that is spawned at an instant, and of those that it spawns then.
    fn owed_for(&self, lane: u32, at_ns: u64) -> u32 {
        let own = self.marks.get(self.profile.place_at(lane, at_ns).start);
        let is_known = !self.profile.place_at(lane, at_ns).is_empty();
        let own = if is_known { own.map_or(0, |mark| mark.left) } else { 0 };
        own + self.owed.get(&(lane, at_ns)).copied().unwrap_or(0)
    }

    /// Where a lane stands at this instant.
    fn standing(&mut self, lane: u32) -> &mut u32 {
        let place = lane as usize;
        if self.standing.len() <= place {
            self.standing.resize(place + 1, (u32::MAX, u64::MAX));
        }
        let standing = &mut self.standing[place];
        if standing.1 != self.now_ns {
            let here = self.profile.place_at(lane, self.now_ns);
            if !here.is_empty() || standing.0 == u32::MAX {
                standing.0 = here.start as u32;
            }
            standing.1 = self.now_ns;
        }
        &mut standing.0
    }

    /// What the next step of a lane is taken to be.
    fn expected(&mut self, lane: u32) -> Mark {
        let place = *self.standing(lane) as usize;
        let is_known = self.profile.place_of(lane).contains(&place);
        let mut mark =
            if is_known { self.marks.get(place).copied().unwrap_or_default() } else { Mark::default() };
        mark.left += self.owed.get(&(lane, self.now_ns)).copied().unwrap_or(0);
        mark
    }

    /// The running lane has made a step that touched this.
    fn moves_on(&mut self, touched: Footprint) {
        let lane = self.running;
        let place = *self.standing(lane) as usize;
        let steps = &self.profile.all()[..self.profile.place_of(lane).end];
        let touched = touched.besides(lane);
        let ahead = steps.iter().enumerate().skip(place).take(LEFT_OUT_MAX);
        let found = ahead
            .filter(|(_, step)| step.touched.besides(lane) == touched)
            .map(|(number, _)| number as u32 + 1)
            .next();
        if let Some(next) = found {
            *self.standing(lane) = next;
        }
    }

    pub(super) fn instant(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    pub(super) fn spawned(&mut self, lane: u32, numbers: &mut Numbers) {
        let child = self.owed_for(lane, self.now_ns);
        if child == 0 {
            return;
        }
        let parent = self.expected(self.running).left;
        if self.drawn == Some(self.running) && numbers.below(parent.max(child)) < child {
            // It was drawn for one of its children's steps.
            self.drawn = Some(lane);
        }
        if let Some(owed) = self.owed.get_mut(&(self.running, self.now_ns)) {
            *owed = owed.saturating_sub(child);
        }
    }

    pub(super) fn readied(&mut self, lane: u32, numbers: &mut Numbers) {
        self.join(lane, i64::from(numbers.word()));
    }

    fn join(&mut self, lane: u32, rank: i64) {
        let Mark { is_interesting, left } = self.expected(lane);
        let ranks = if is_interesting { &mut self.interesting } else { &mut self.noise };
        ranks.set_rank(lane, rank);
        ranks.readied(lane);
        self.left.set(lane, left.max(u32::from(is_interesting)));
    }

    pub(super) fn rested(&mut self, lane: u32) {
        self.noise.rested(lane);
        self.interesting.rested(lane);
        self.left.set(lane, 0);
    }

    pub(super) fn begins(&mut self, lane: u32) {
        self.running = lane;
        if self.drawn == Some(lane) && self.expected(lane).is_interesting {
            self.drawn = None;
        }
    }

    pub(super) fn ended(&mut self, touched: Footprint) {
        let lane = self.running;
        if !std::mem::take(&mut self.interrupted) {
            self.moves_on(touched);
            // It may have become ready before it was known where it stands.
            let rank = match (self.noise.is_ready(lane), self.interesting.is_ready(lane)) {
                (true, _) => self.noise.rank(lane),
                (_, true) => self.interesting.rank(lane),
                _ => None,
            };
            if let Some(rank) = rank {
                self.rested(lane);
                self.join(lane, rank);
            }
        }
        self.running = 0;
    }

    fn is_ready(&self, lane: u32) -> bool {
        self.noise.is_ready(lane) || self.interesting.is_ready(lane)
    }

    pub(super) fn pick(&mut self, numbers: &mut Numbers) -> u32 {
        match self.next.take() {
            Some(lane) if self.is_ready(lane) => lane,
            _ => self.choose(numbers),
        }
    }

    /// The lane of the highest priority, where interesting steps that were not drawn have none.
    fn choose(&mut self, numbers: &mut Numbers) -> u32 {
        loop {
            let noise = self.noise.top();
            let interesting = match self.drawn {
                None => self.interesting.top(),
                Some(lane) if self.interesting.is_ready(lane) => {
                    self.interesting.rank(lane).map(|rank| (rank, lane))
                }
                Some(_) => None,
            };
            match (noise, interesting) {
                (Some((_, lane)), None) => return lane,
                (Some(noise), Some(interesting)) if noise > interesting => return noise.1,
                (_, Some((_, lane))) if self.drawn == Some(lane) => return lane,
                (_, Some(_)) => self.drawn = Some(self.left.draw(numbers)),
                // Whoever was drawn cannot come to its step: all others wait for it.
                (None, None) => self.drawn = None,
            }
        }
    }

    /// Whether the running lane gives way at a preemption point, at which a step has ended that touched `footprint`; to
    /// whom is drawn along with it.
    pub(super) fn gives_way(&mut self, numbers: &mut Numbers, footprint: &mut Footprint) -> bool {
        let lane = self.running;
        self.moves_on(*footprint);
        *footprint = Footprint::of_lane(lane);
        // It is ready already if it was woken during its own turn.
        let was_ready = self.is_ready(lane);
        self.rested(lane);
        self.join(lane, i64::from(numbers.word()));
        let next = self.choose(numbers);
        if !was_ready {
            self.rested(lane);
        }
        if next == lane {
            self.begins(lane);
            return false;
        }
        self.next = Some(next);
        self.interrupted = true;
        true
    }
}

/// One of the resources that steps contend for.
fn draw_resource(profile: &Profile, numbers: &mut Numbers) -> Option<Resource> {
    let shared = profile.shared();
    let wide = |shared: &&super::profile::Shared| shared.lanes >= (profile.lanes() / 2).max(2);
    let mut draw = |among: &mut dyn Iterator<Item = Resource>, count: usize| {
        let number = numbers.below(u32::try_from(count).ok().filter(|&count| count > 0)?);
        among.nth(number as usize)
    };
    let any = draw(&mut shared.iter().map(|shared| shared.resource), shared.len())?;
    let count = shared.iter().filter(wide).count();
    let widely = draw(&mut shared.iter().filter(wide).map(|shared| shared.resource), count);
    match numbers.chance((1, 2)) {
        true => widely.or(Some(any)),
        false => Some(any),
    }
}
