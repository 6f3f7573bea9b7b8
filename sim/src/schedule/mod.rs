//! Strategies: how a seed's numbers become choices. One file each.
//!
//! A strategy is told what becomes ready, what runs and what that touched, and is asked which ready lane runs next and
//! how every other choice comes out. All of it ends on the tape, so that a replay does not know the strategy. Being
//! told and being asked cost O(log n) in the number of ready lanes.

mod fifo;
mod footprint;
mod mutate;
mod pct;
mod pos;
mod profile;
mod random;
mod ranks;
mod surw;
mod urw;
mod weights;

use std::sync::Arc;

pub(crate) use footprint::Detail;
pub use footprint::Footprint;
pub use mutate::RUNS as CAMPAIGN;
pub use profile::{Profile, Wanted};
pub(crate) use random::{gives_way as gives_way_freely, pick as walk};

use crate::choice::{Named, Site};
use crate::rng::Numbers;
use mutate::Mutate;
use pct::Pct;
use pos::Pos;
use random::Temper;
use surw::Surw;
use urw::Urw;

/// Draws choices for one world after the other. It keeps its memory between them and nothing else, but for a
/// campaign of [`StrategyKind::Mutate`].
#[derive(Debug, Clone, Default)]
pub struct Strategy {
    way: Way,
    temper: Temper,
    profile: Arc<Profile>,
    pct: Pct,
    pos: Pos,
    urw: Urw,
    surw: Surw,
    mutate: Mutate,
}

/// How it draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Way {
    #[default]
    Fifo,
    /// As [`Way::Fifo`], and keeps count for a strategy that wants a [`Profile`].
    Count,
    Random,
    Pct,
    Pos,
    Urw,
    Surw,
    Mutate,
}

/// The names of the strategies, as the command line takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StrategyKind {
    /// Always the dullest outcome: the oldest ready future runs, nothing is interrupted.
    Fifo,
    /// A random walk.
    Random,
    /// Priorities that fall at random steps.
    Pct,
    /// Priorities that are drawn anew where steps race.
    Pos,
    /// A walk that is uniform over interleavings.
    Urw,
    /// A walk that is uniform over the interleavings of the steps that touch one resource.
    Surw,
    /// Runs that showed something new, changed: [`CAMPAIGN`] runs for each seed.
    Mutate,
    /// One of the others, as the seed has it: no strategy is the best for every bug.
    #[default]
    Mix,
}

/// Out of 100 seeds of [`StrategyKind::Mix`], this many run each strategy. `docs/strategies.md` says why.
pub const MIX: [(StrategyKind, u32); 5] = [
    (StrategyKind::Random, 60),
    (StrategyKind::Surw, 10),
    (StrategyKind::Pct, 10),
    (StrategyKind::Urw, 10),
    (StrategyKind::Pos, 10),
];

impl StrategyKind {
    /// All strategies.
    pub const ALL: [Self; 8] =
        [Self::Fifo, Self::Random, Self::Pct, Self::Pos, Self::Urw, Self::Surw, Self::Mutate, Self::Mix];

    /// The strategy of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name on the command line and in case files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Random => "random",
            Self::Pct => "pct",
            Self::Pos => "pos",
            Self::Urw => "urw",
            Self::Surw => "surw",
            Self::Mutate => "mutate",
            Self::Mix => "mix",
        }
    }

    fn of_mix(numbers: &mut Numbers) -> Self {
        let mut place = numbers.below(100);
        for (kind, share) in MIX {
            match place.checked_sub(share) {
                Some(rest) => place = rest,
                None => return kind,
            }
        }
        unreachable!("the shares add up to 100")
    }
}

impl Strategy {
    /// One that counts what a [`Profile`] has, in first-in first-out order.
    #[must_use]
    pub fn counting(wanted: Wanted) -> Box<Self> {
        let mut strategy = Box::<Self>::default();
        strategy.count(wanted);
        strategy
    }

    /// The strategy of this kind, for one world.
    #[must_use]
    pub fn new(kind: StrategyKind, numbers: &mut Numbers) -> Box<Self> {
        let mut strategy = Box::<Self>::default();
        strategy.prepare(kind, numbers);
        strategy
    }

    /// [`StrategyKind::Pct`] for bugs of this depth.
    #[must_use]
    pub fn pct(depth: u32, numbers: &mut Numbers) -> Box<Self> {
        let mut strategy = Self::new(StrategyKind::Pct, numbers);
        strategy.pct.begin_with(depth);
        strategy
    }

    /// From now on it counts, in first-in first-out order.
    pub fn count(&mut self, wanted: Wanted) {
        self.way = Way::Count;
        // The last profile may still be in use.
        if Arc::get_mut(&mut self.profile).is_none() {
            self.profile = Arc::default();
        }
        Arc::get_mut(&mut self.profile).expect("nobody else has it").clear(wanted);
    }

    /// For a new world, or a campaign of them, under a strategy of this kind.
    pub fn prepare(&mut self, kind: StrategyKind, numbers: &mut Numbers) {
        self.way = match kind {
            StrategyKind::Fifo => Way::Fifo,
            StrategyKind::Random => Way::Random,
            StrategyKind::Pct => Way::Pct,
            StrategyKind::Pos => Way::Pos,
            StrategyKind::Urw => Way::Urw,
            StrategyKind::Surw => Way::Surw,
            StrategyKind::Mutate => Way::Mutate,
            StrategyKind::Mix => return self.prepare(StrategyKind::of_mix(numbers), numbers),
        };
        if self.way != Way::Fifo {
            self.temper = Temper::draw(numbers);
        }
        // These give the last profile back, whose memory is used for the next.
        self.urw.begin();
        self.surw.begin();
        match self.way {
            Way::Fifo | Way::Count | Way::Random | Way::Urw | Way::Surw => {}
            Way::Pct => self.pct.begin(numbers),
            Way::Pos => self.pos.begin(),
            Way::Mutate => {
                self.mutate.begin();
                self.mutate.begin_run(numbers);
            }
        }
    }

    /// For the next world of a campaign.
    pub fn go_on(&mut self, numbers: &mut Numbers) {
        self.temper = Temper::draw(numbers);
        self.mutate.begin_run(numbers);
    }

    /// How many runs of one world it was made for.
    #[must_use]
    pub fn runs(&self) -> u32 {
        if self.way == Way::Mutate { CAMPAIGN } else { 1 }
    }

    /// What it is, unless it counts.
    #[must_use]
    pub fn kind(&self) -> Option<StrategyKind> {
        Some(match self.way {
            Way::Count => return None,
            Way::Fifo => StrategyKind::Fifo,
            Way::Random => StrategyKind::Random,
            Way::Pct => StrategyKind::Pct,
            Way::Pos => StrategyKind::Pos,
            Way::Urw => StrategyKind::Urw,
            Way::Surw => StrategyKind::Surw,
            Way::Mutate => StrategyKind::Mutate,
        })
    }

    /// What it wants to know of the world before it runs it.
    #[must_use]
    pub fn wants(&self) -> Wanted {
        match self.way {
            Way::Pct if self.pct.wants_profile() => Wanted::Totals,
            Way::Urw => Wanted::Steps,
            Way::Surw => Wanted::Footprints,
            _ => Wanted::Nothing,
        }
    }

    /// Takes the profile that it wanted.
    pub fn learn(&mut self, profile: &Arc<Profile>, numbers: &mut Numbers) {
        match self.way {
            Way::Pct => self.pct.learn(profile, numbers),
            Way::Urw => self.urw.learn(profile),
            Way::Surw => self.surw.learn(profile, numbers),
            _ => {}
        }
    }

    /// What was counted, once the world has ended.
    #[must_use]
    pub fn profile(&self) -> Option<&Arc<Profile>> {
        (self.way == Way::Count).then_some(&self.profile)
    }

    fn counted(&mut self) -> &mut Profile {
        Arc::get_mut(&mut self.profile).expect("nobody has the profile while it is made")
    }

    /// Whether it wants to be told what becomes ready, what runs and how time goes.
    pub(crate) fn heeds(&self) -> bool {
        !matches!(self.way, Way::Fifo | Way::Random)
    }

    /// Whether it picks as [`walk`] does, and decides at preemption points as [`gives_way_freely`] does.
    pub(crate) fn walks(&self) -> bool {
        self.way == Way::Random
    }

    /// Whether it looks at what steps touch.
    pub(crate) fn wants_footprints(&self) -> bool {
        match self.way {
            Way::Count => self.profile.wants_footprints(),
            way => matches!(way, Way::Pos | Way::Surw | Way::Mutate),
        }
    }

    /// Time has come to this instant.
    pub(crate) fn instant(&mut self, now_ns: u64) {
        match self.way {
            Way::Count => self.counted().instant(now_ns),
            Way::Urw => self.urw.instant(now_ns),
            Way::Surw => self.surw.instant(now_ns),
            _ => {}
        }
    }

    /// A future was spawned on `lane` by the one that is running.
    pub(crate) fn spawned(&mut self, lane: u32, numbers: &mut Numbers) {
        match self.way {
            Way::Count => self.counted().spawned(lane),
            Way::Urw => self.urw.spawned(lane),
            Way::Surw => self.surw.spawned(lane, numbers),
            _ => {}
        }
    }

    /// A lane has become ready.
    pub(crate) fn readied(&mut self, lane: u32, numbers: &mut Numbers) {
        match self.way {
            Way::Fifo | Way::Count | Way::Random => {}
            Way::Pct => self.pct.readied(lane, numbers),
            Way::Pos => self.pos.readied(lane, numbers),
            Way::Urw => self.urw.readied(lane),
            Way::Surw => self.surw.readied(lane, numbers),
            Way::Mutate => self.mutate.readied(lane, numbers),
        }
    }

    /// A lane is not ready any more: it runs, or its future was dropped.
    pub(crate) fn rested(&mut self, lane: u32) {
        match self.way {
            Way::Fifo | Way::Count | Way::Random => {}
            Way::Pct => self.pct.rested(lane),
            Way::Pos => self.pos.rested(lane),
            Way::Urw => self.urw.rested(lane),
            Way::Surw => self.surw.rested(lane),
            Way::Mutate => self.mutate.rested(lane),
        }
    }

    /// A lane begins a turn.
    pub(crate) fn begins(&mut self, lane: u32) {
        match self.way {
            Way::Fifo | Way::Random => {}
            Way::Count => self.counted().begins(lane),
            Way::Pct => self.pct.begins(lane),
            Way::Pos => self.pos.begins(lane),
            Way::Urw => self.urw.begins(lane),
            Way::Surw => self.surw.begins(lane),
            Way::Mutate => self.mutate.begins(lane),
        }
    }

    /// The turn has ended; `footprint` is what was touched since it began or since the last preemption point.
    pub(crate) fn ended(&mut self, footprint: Footprint, numbers: &mut Numbers) {
        match self.way {
            Way::Fifo | Way::Random => {}
            Way::Count => self.counted().ended(footprint),
            Way::Pct => self.pct.ended(),
            Way::Pos => self.pos.ended(footprint, numbers),
            Way::Urw => self.urw.ended(),
            Way::Surw => self.surw.ended(footprint),
            Way::Mutate => self.mutate.ended(footprint),
        }
    }

    /// Which of `ready` lanes runs.
    #[inline]
    pub(crate) fn pick(&mut self, numbers: &mut Numbers, ready: u32) -> Named {
        match self.way {
            Way::Fifo => fifo::pick(),
            Way::Count => {
                self.counted().contested(ready - 1);
                fifo::pick()
            }
            Way::Random => Named::Place(random::pick(numbers, ready)),
            Way::Pct => Named::Lane(self.pct.pick()),
            Way::Pos => Named::Lane(self.pos.pick()),
            Way::Urw => Named::Lane(self.urw.pick(numbers)),
            Way::Surw => Named::Lane(self.surw.pick(numbers)),
            Way::Mutate => Named::Lane(self.mutate.pick()),
        }
    }

    /// Which of `ready` lanes it will pick after `later` other turns, as far as that is known.
    pub(crate) fn picks_soon(&self, numbers: &Numbers, later: usize, ready: u32) -> Option<u32> {
        match self.way {
            Way::Random => numbers.below_soon(later, ready),
            _ => None,
        }
    }

    /// How another choice comes out. `ready`: how many other lanes are; `footprint`: what the turn has touched since it
    /// began, or since the last choice for which the strategy said that a step ends there.
    #[inline]
    pub(crate) fn decide(
        &mut self,
        numbers: &mut Numbers,
        site: Site,
        arity: u32,
        ready: u32,
        footprint: &mut Footprint,
    ) -> u32 {
        match site.is_preemption() {
            true => self.gives_way(numbers, site, ready, footprint),
            false => self.decides(numbers, site, arity),
        }
    }

    /// As [`Strategy::decide`], where nobody is interrupted.
    #[inline]
    pub(crate) fn decides(&mut self, numbers: &mut Numbers, site: Site, arity: u32) -> u32 {
        match self.way {
            Way::Fifo | Way::Count => fifo::decide(),
            Way::Mutate => {
                let followed = self.mutate.other(numbers, site, arity);
                let value = followed.unwrap_or_else(|| self.temper.decide(numbers, site, arity));
                self.mutate.chose(site, value);
                value
            }
            _ => self.temper.decide(numbers, site, arity),
        }
    }

    /// 1 where the running lane gives way at a preemption point.
    #[inline]
    fn gives_way(&mut self, numbers: &mut Numbers, site: Site, ready: u32, footprint: &mut Footprint) -> u32 {
        match self.way {
            Way::Fifo => fifo::decide(),
            Way::Count => {
                self.counted().passes(ready, footprint);
                fifo::decide()
            }
            Way::Random => random::gives_way(ready),
            Way::Pct => u32::from(self.pct.gives_way()),
            Way::Pos => u32::from(self.pos.gives_way(numbers, site, footprint)),
            Way::Urw => u32::from(self.urw.gives_way(numbers)),
            Way::Surw => u32::from(self.surw.gives_way(numbers, footprint)),
            Way::Mutate => u32::from(self.mutate.gives_way(numbers, footprint)),
        }
    }

    /// The world has come to its end.
    pub(crate) fn close(&mut self, numbers: &mut Numbers) {
        match self.way {
            Way::Count => self.counted().close(),
            Way::Mutate => self.mutate.close(numbers),
            _ => {}
        }
    }
}
