//! Strategies: how a seed's numbers become choices. One file each.

mod fifo;
mod random;

pub use random::Temper;

use crate::choice::{Named, Site};
use crate::rng::Numbers;

/// Draws choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Always the dullest outcome: the oldest ready future runs, nothing is interrupted.
    Fifo,
    /// A random walk.
    Random(Temper),
}

/// The names of the strategies, as the command line takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StrategyKind {
    /// [`Strategy::Fifo`].
    Fifo,
    /// [`Strategy::Random`].
    #[default]
    Random,
}

impl StrategyKind {
    /// All strategies.
    pub const ALL: [Self; 2] = [Self::Fifo, Self::Random];

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
        }
    }

    /// The strategy for one world, whose temper is drawn from the world's numbers.
    #[must_use]
    pub fn prepare(self, numbers: &mut Numbers) -> Strategy {
        match self {
            Self::Fifo => Strategy::Fifo,
            Self::Random => Strategy::Random(Temper::draw(numbers)),
        }
    }
}

impl Strategy {
    pub(crate) fn pick(&mut self, numbers: &mut Numbers, ready: u32) -> Named {
        match self {
            Self::Fifo => fifo::pick(),
            Self::Random(temper) => random::pick(temper, numbers, ready),
        }
    }

    pub(crate) fn draw(&mut self, numbers: &mut Numbers, site: Site, arity: u32) -> u32 {
        match self {
            Self::Fifo => fifo::draw(),
            Self::Random(temper) => random::draw(temper, numbers, site, arity),
        }
    }
}
