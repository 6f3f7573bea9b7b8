//! A random walk: each ready future is equally likely to run next.
//!
//! Uniform over the choices at each step, not over interleavings: a short task against a long one seldom comes last.
//! How often the logic is interrupted and tied timers are told apart is drawn once per world (swarm testing: Groce et
//! al., ISSTA 2012): in six worlds of eight each preemption point is a step of the walk, and two are calmer. Jitter favours both ends of its range, where rules
//! break; only the bounds of a jittered delay are promised, not its distribution.

use crate::choice::{Named, Site};
use crate::rng::Numbers;

/// How wild a world is. Each number is a chance in 16.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temper {
    /// The oldest ready future runs without a draw.
    pub orderly: u32,
    /// A preemption point yields.
    pub preempt: u32,
    /// One of several timers due at one instant waits for its own turn.
    pub tie: u32,
}

impl Temper {
    /// Draws a temper.
    #[must_use]
    pub fn draw(numbers: &mut Numbers) -> Self {
        let (orderly, preempt) = match numbers.below(8) {
            0 => (0, 1),
            1 => (8, 4),
            _ => (0, 16),
        };
        Self { orderly, preempt, tie: numbers.pick(&[0, 2, 8]) }
    }
}

pub(super) fn pick(temper: &Temper, numbers: &mut Numbers, ready: u32) -> Named {
    if temper.orderly > 0 && numbers.chance((temper.orderly, 16)) {
        return Named::Oldest;
    }
    Named::Place(numbers.below(ready))
}

pub(super) fn draw(temper: &Temper, numbers: &mut Numbers, site: Site, arity: u32) -> u32 {
    match site {
        Site::TimerTie => u32::from(temper.tie > 0 && numbers.chance((temper.tie, 16))),
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
        site if site.is_preemption() => u32::from(temper.preempt > 0 && numbers.chance((temper.preempt, 16))),
        _ => numbers.below(arity),
    }
}
