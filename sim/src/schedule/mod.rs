//! Strategies: how a seed's numbers become choices. One file each.
//!
//! A strategy is told what becomes ready, what runs and what that touched, and is asked which ready lane runs next and
//! how every other choice comes out. All of it ends on the tape, so that a replay does not know the strategy. Being
//! told and being asked cost O(log n) in the number of ready lanes.

mod fifo;
mod footprint;
mod pct;
mod pos;
mod profile;
mod random;
mod ranks;
mod surw;
mod urw;
mod weights;

pub use footprint::Footprint;
pub use pct::Pct;
pub use pos::Pos;
pub use profile::Profile;
pub use random::Temper;
pub use surw::Surw;
pub use urw::Urw;

use crate::choice::{Named, Site};
use crate::rng::Numbers;

/// Draws choices.
#[derive(Debug, Clone)]
pub enum Strategy {
    /// Always the dullest outcome: the oldest ready future runs, nothing is interrupted.
    Fifo,
    /// As [`Strategy::Fifo`], and keeps count for a strategy that wants a [`Profile`].
    Count(Box<Profile>),
    /// A random walk.
    Random(Temper),
    /// Priorities that fall at random steps.
    Pct(Box<Pct>),
    /// Priorities that are drawn anew where steps race.
    Pos(Box<Pos>),
    /// A walk that is uniform over interleavings.
    Urw(Box<Urw>),
    /// A walk that is uniform over the interleavings of a few lanes.
    Surw(Box<Surw>),
}

/// The names of the strategies, as the command line takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StrategyKind {
    /// [`Strategy::Fifo`].
    Fifo,
    /// [`Strategy::Random`].
    Random,
    /// [`Strategy::Pct`].
    Pct,
    /// [`Strategy::Pos`].
    Pos,
    /// [`Strategy::Urw`].
    Urw,
    /// [`Strategy::Surw`].
    Surw,
    /// One of the others, as the seed has it: no strategy is the best for every bug.
    #[default]
    Mix,
}

/// Out of 100 seeds of [`StrategyKind::Mix`], this many run each strategy.
pub const MIX: [(StrategyKind, u32); 5] = [
    (StrategyKind::Pct, 35),
    (StrategyKind::Pos, 25),
    (StrategyKind::Urw, 12),
    (StrategyKind::Surw, 13),
    (StrategyKind::Random, 15),
];

impl StrategyKind {
    /// All strategies.
    pub const ALL: [Self; 7] =
        [Self::Fifo, Self::Random, Self::Pct, Self::Pos, Self::Urw, Self::Surw, Self::Mix];

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
            Self::Mix => "mix",
        }
    }

    /// The strategy for one world, whose temper is drawn from the world's numbers.
    #[must_use]
    pub fn prepare(self, numbers: &mut Numbers) -> Strategy {
        match self {
            Self::Fifo => Strategy::Fifo,
            Self::Random => Strategy::Random(Temper::draw(numbers)),
            Self::Pct => Strategy::Pct(Box::new(Pct::draw(numbers))),
            Self::Pos => Strategy::Pos(Box::new(Pos::draw(numbers))),
            Self::Urw => Strategy::Urw(Box::new(Urw::draw(numbers))),
            Self::Surw => Strategy::Surw(Box::new(Surw::draw(numbers))),
            Self::Mix => Self::of_mix(numbers).prepare(numbers),
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
    /// Whether it wants a [`Profile`] of the scenario before it runs it.
    #[must_use]
    pub fn wants_profile(&self) -> bool {
        match self {
            Self::Pct(pct) => pct.wants_profile(),
            Self::Urw(_) | Self::Surw(_) => true,
            Self::Fifo | Self::Count(_) | Self::Random(_) | Self::Pos(_) => false,
        }
    }

    /// Takes the profile that it wanted.
    pub fn learn(&mut self, profile: Profile, numbers: &mut Numbers) {
        match self {
            Self::Pct(pct) => pct.learn(&profile, numbers),
            Self::Urw(urw) => urw.learn(profile),
            Self::Surw(surw) => surw.learn(profile, numbers),
            Self::Fifo | Self::Count(_) | Self::Random(_) | Self::Pos(_) => {}
        }
    }

    /// Whether it wants to be told what becomes ready, what runs and how time goes.
    pub(crate) fn heeds(&self) -> bool {
        !matches!(self, Self::Fifo | Self::Random(_))
    }

    /// Whether it looks at what steps touch.
    pub(crate) fn wants_footprints(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Pos(_))
    }

    /// Time has come to this instant.
    pub(crate) fn instant(&mut self, now_ns: u64) {
        match self {
            Self::Count(profile) => profile.instant(now_ns),
            Self::Urw(urw) => urw.instant(now_ns),
            Self::Surw(surw) => surw.instant(now_ns),
            Self::Fifo | Self::Random(_) | Self::Pct(_) | Self::Pos(_) => {}
        }
    }

    /// A future was spawned on `lane` by the one that is running.
    pub(crate) fn spawned(&mut self, lane: u32) {
        match self {
            Self::Count(profile) => profile.spawned(lane),
            Self::Urw(urw) => urw.spawned(lane),
            Self::Surw(surw) => surw.spawned(lane),
            Self::Fifo | Self::Random(_) | Self::Pct(_) | Self::Pos(_) => {}
        }
    }

    /// A lane has become ready.
    pub(crate) fn readied(&mut self, lane: u32, numbers: &mut Numbers) {
        match self {
            Self::Pct(pct) => pct.readied(lane, numbers),
            Self::Pos(pos) => pos.readied(lane, numbers),
            Self::Urw(urw) => urw.readied(lane),
            Self::Surw(surw) => surw.readied(lane),
            Self::Fifo | Self::Count(_) | Self::Random(_) => {}
        }
    }

    /// A lane is not ready any more: it runs, or its future was dropped.
    pub(crate) fn rested(&mut self, lane: u32) {
        match self {
            Self::Pct(pct) => pct.rested(lane),
            Self::Pos(pos) => pos.rested(lane),
            Self::Urw(urw) => urw.rested(lane),
            Self::Surw(surw) => surw.rested(lane),
            Self::Fifo | Self::Count(_) | Self::Random(_) => {}
        }
    }

    /// A lane begins a turn.
    pub(crate) fn begins(&mut self, lane: u32) {
        match self {
            Self::Count(profile) => profile.begins(lane),
            Self::Pct(pct) => pct.begins(lane),
            Self::Pos(pos) => pos.begins(lane),
            Self::Urw(urw) => urw.begins(lane),
            Self::Surw(surw) => surw.begins(lane),
            Self::Fifo | Self::Random(_) => {}
        }
    }

    /// The turn has ended; `footprint` is what was touched since it began or since the last preemption point.
    pub(crate) fn ended(&mut self, footprint: Footprint, numbers: &mut Numbers) {
        match self {
            Self::Count(profile) => profile.ended(footprint),
            Self::Pct(pct) => pct.ended(),
            Self::Pos(pos) => pos.ended(footprint, numbers),
            Self::Urw(urw) => urw.ended(),
            Self::Surw(surw) => surw.ended(),
            Self::Fifo | Self::Random(_) => {}
        }
    }

    /// Which of `ready` lanes runs.
    pub(crate) fn pick(&mut self, numbers: &mut Numbers, ready: u32) -> Named {
        match self {
            Self::Fifo => fifo::pick(),
            Self::Count(profile) => {
                profile.contested(ready - 1);
                fifo::pick()
            }
            Self::Random(temper) => random::pick(temper, numbers, ready),
            Self::Pct(pct) => Named::Lane(pct.pick()),
            Self::Pos(pos) => Named::Lane(pos.pick()),
            Self::Urw(urw) => Named::Lane(urw.pick(numbers)),
            Self::Surw(surw) => Named::Lane(surw.pick(numbers)),
        }
    }

    /// How another choice comes out. `ready`: how many other lanes are; `footprint`: what the turn has touched since it
    /// began, or since the last choice for which the strategy said that a step ends there.
    pub(crate) fn decide(
        &mut self,
        numbers: &mut Numbers,
        site: Site,
        arity: u32,
        ready: u32,
        footprint: &mut Footprint,
    ) -> u32 {
        match self {
            Self::Fifo => fifo::draw(),
            Self::Count(profile) => {
                if site.is_preemption() {
                    profile.passes(ready);
                }
                fifo::draw()
            }
            Self::Random(temper) => random::draw(temper, numbers, site, arity),
            Self::Pct(pct) => pct.decide(numbers, site, arity),
            Self::Pos(pos) => pos.decide(numbers, site, arity, footprint),
            Self::Urw(urw) => urw.decide(numbers, site, arity),
            Self::Surw(surw) => surw.decide(numbers, site, arity),
        }
    }
}
