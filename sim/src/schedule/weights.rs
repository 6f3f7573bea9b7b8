//! Ready lanes by weight: a draw in proportion to the weights in O(log n). A binary indexed tree (Fenwick, "A New Data
//! Structure for Cumulative Frequency Tables", 1994).

use crate::rng::Numbers;

/// Weights of lanes; 0 for those that are not ready.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    /// `sums[i]` is the sum of the weights in the range that ends at `i` and is as long as the lowest bit of `i`.
    sums: Vec<u64>,
    weights: Vec<u32>,
    total: u64,
}

impl Weights {
    /// For a new world; the memory is kept.
    pub(super) fn clear(&mut self) {
        self.sums.clear();
        self.weights.clear();
        self.total = 0;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn set(&mut self, lane: u32, weight: u32) {
        let place = lane as usize;
        if self.weights.len() <= place {
            self.grow((place + 1).next_power_of_two());
        }
        let before = std::mem::replace(&mut self.weights[place], weight);
        if before == weight {
            return;
        }
        self.total = self.total - u64::from(before) + u64::from(weight);
        let mut node = place + 1;
        while node < self.sums.len() {
            self.sums[node] = self.sums[node] - u64::from(before) + u64::from(weight);
            node += node & node.wrapping_neg();
        }
    }

    fn grow(&mut self, lanes: usize) {
        self.weights.resize(lanes, 0);
        self.sums.clear();
        self.sums.resize(lanes + 1, 0);
        for (place, &weight) in self.weights.iter().enumerate() {
            self.sums[place + 1] += u64::from(weight);
            let node = place + 1;
            let parent = node + (node & node.wrapping_neg());
            if parent < self.sums.len() {
                self.sums[parent] += self.sums[node];
            }
        }
    }

    pub(super) fn get(&self, lane: u32) -> u32 {
        self.weights.get(lane as usize).copied().unwrap_or(0)
    }

    /// A lane, each as likely as its weight is large. Some weight must not be 0.
    pub(super) fn draw(&self, numbers: &mut Numbers) -> u32 {
        let total = u32::try_from(self.total).unwrap_or(u32::MAX);
        let mut rest = u64::from(numbers.below(total));
        let mut node = 0;
        let mut step = self.weights.len();
        while step > 0 {
            if node + step < self.sums.len() && self.sums[node + step] <= rest {
                node += step;
                rest -= self.sums[node];
            }
            step /= 2;
        }
        u32::try_from(node).expect("lanes are numbered in 32 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    #[test]
    fn lanes_are_drawn_in_proportion_to_their_weights() {
        let mut weights = Weights::default();
        for (lane, weight) in [(1, 10), (3, 0), (4, 30), (9, 60), (2, 5)] {
            weights.set(lane, weight);
        }
        weights.set(2, 0);
        assert_eq!(weights.total(), 100);
        let mut numbers = Numbers::new(1, Stream::Schedule);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[weights.draw(&mut numbers) as usize] += 1;
        }
        assert_eq!(seen.iter().filter(|&&count| count > 0).count(), 3);
        for (lane, expected) in [(1, 1_000), (4, 3_000), (9, 6_000)] {
            assert!((expected - 200..expected + 200).contains(&seen[lane]), "{seen:?}");
        }
    }
}
