//! A random walk: each ready future is equally likely to run next, and so is the one that is interrupted.
//!
//! Uniform over the choices at each step, not over interleavings: a short task against a long one seldom comes last.
//! Departures: how often timers of one instant are told apart is drawn once per world (swarm testing: Groce et al.,
//! ISSTA 2012). Jitter favours both ends of its range, where rules break; only the bounds of a jittered delay are
//! promised, not its distribution.

use crate::choice::Site;
use crate::rng::Numbers;

/// How a world's other choices are drawn, whatever picks what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Temper {
    /// The chance in 16 that one of several timers due at one instant waits for its own turn.
    tie: u32,
}

impl Temper {
    pub(super) fn draw(numbers: &mut Numbers) -> Self {
        Self { tie: numbers.pick(&[0, 2, 8]) }
    }

    /// How a choice that is no preemption point comes out.
    #[inline]
    pub(super) fn decide(self, numbers: &mut Numbers, site: Site, arity: u32) -> u32 {
        match site {
            Site::TimerTie => u32::from(self.tie > 0 && numbers.chance((self.tie, 16))),
            Site::Jitter => match numbers.below(4) {
                0 => 0,
                1 => arity - 1,
                _ => numbers.below(arity),
            },
            Site::Delivery => {
                if numbers.chance((6, 16)) {
                    1 + numbers.below(arity - 1)
                } else {
                    0
                }
            }
            // A fault has to be possible in a run before it happens in it, so that most runs have few kinds of fault.
            Site::Armed | Site::Strikes => u32::from(numbers.chance((1, 4))),
            _ => numbers.below(arity),
        }
    }
}

/// The place of the one that runs, among `ready` ones.
pub(crate) fn pick(numbers: &mut Numbers, ready: u32) -> u32 {
    numbers.below(ready)
}

/// Gives way wherever another could run, to draw among all of them.
pub(crate) fn gives_way(ready: u32) -> u32 {
    u32::from(ready > 0)
}
