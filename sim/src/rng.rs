//! Where a seed's numbers come from.
//!
//! Only raw words are taken from the generator (ChaCha8, RFC 8439 with 8 rounds); bounding and seeding are the few
//! lines below, because the convenience methods of `rand` may change their values in any minor release, and a
//! published seed keeps its meaning.

use rand::SeedableRng;
use rand::rand_core::block::BlockRng;
use rand_chacha::ChaCha8Core;

/// What a stream of numbers is for. Streams of one seed are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The scenario.
    Scenario = 1,
    /// The schedule and everything else that is chosen while a world runs.
    Schedule = 2,
}

/// Seeded numbers.
#[derive(Debug)]
pub struct Numbers {
    generator: BlockRng<ChaCha8Core>,
}

impl Numbers {
    /// The numbers of `seed` for one purpose.
    #[must_use]
    pub fn new(seed: u64, stream: Stream) -> Self {
        let mut state = seed ^ (stream as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
        let mut key = [0; 32];
        for bytes in key.chunks_exact_mut(8) {
            bytes.copy_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        Self { generator: BlockRng::new(ChaCha8Core::from_seed(key)) }
    }

    /// 32 random bits.
    pub fn word(&mut self) -> u32 {
        self.generator.next_word()
    }

    /// What [`Numbers::below`] will give after `later` further words, where that is known already: most often.
    pub fn below_soon(&self, later: usize, bound: u32) -> Option<u32> {
        self.generator.remaining_results().get(later).map(|&word| bounded(word, bound))
    }

    /// 64 random bits.
    pub fn long(&mut self) -> u64 {
        self.generator.next_u64_from_u32()
    }

    /// A number in `0..bound`, by multiply and shift without rejection. The bias is below `bound / 2^32` (Lemire,
    /// "Fast Random Integer Generation in an Interval", 2019), which does not matter for a search.
    pub fn below(&mut self, bound: u32) -> u32 {
        debug_assert!(bound > 0, "a number below 0 was asked for");
        bounded(self.word(), bound)
    }

    /// True `ratio.0` times in `ratio.1`.
    pub fn chance(&mut self, ratio: (u32, u32)) -> bool {
        self.below(ratio.1) < ratio.0
    }

    /// One of `options`.
    pub fn pick<T: Copy>(&mut self, options: &[T]) -> T {
        options[self.below(u32::try_from(options.len()).expect("a short list")) as usize]
    }
}

fn bounded(word: u32, bound: u32) -> u32 {
    ((u64::from(word) * u64::from(bound)) >> 32) as u32
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which spreads the bits of a seed over a key.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_of_a_seed_never_change() {
        let mut numbers = Numbers::new(42, Stream::Scenario);
        let words: Vec<u32> = (0..4).map(|_| numbers.word()).collect();
        let mut other = Numbers::new(42, Stream::Schedule);
        assert_ne!(words[0], other.word(), "streams of one seed differ");
        assert_eq!(words, GOLDEN);
    }

    const GOLDEN: [u32; 4] = [3_961_433_654, 2_600_688_459, 3_893_714_702, 3_091_501_491];

    #[test]
    fn bounded_numbers_stay_below_their_bound_and_reach_it() {
        let mut numbers = Numbers::new(1, Stream::Schedule);
        let mut seen = [0_u32; 5];
        for _ in 0..1_000 {
            seen[numbers.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| count > 150), "{seen:?}");
    }
}
