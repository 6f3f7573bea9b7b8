//! What is run: the same work for every system, in numbers.
//!
//! This file is shared with the crate in `madsim/`, which is compiled in another way.

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sleeps for a random number of milliseconds, from 1 to this.
    Sleep(u64),
    /// Lets others run.
    Yield,
}

/// Worlds with tasks that make steps, one world after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Fresh worlds.
    pub(crate) worlds: u64,
    /// Tasks in each.
    pub(crate) tasks: u64,
    /// Steps of each task.
    pub(crate) steps: u64,
    /// What each step is.
    pub(crate) step: Step,
}

/// Random numbers that cost next to nothing and are the same for every system (SplitMix64).
#[derive(Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    /// The numbers of one task in one world.
    pub(crate) fn new(world: u64, task: u64) -> Self {
        Self((world << 32 | task).wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// A number in `1..=high`.
    pub(crate) fn up_to(&mut self, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) ^ (word >> 31);
        1 + ((word >> 32) * high >> 32)
    }
}
