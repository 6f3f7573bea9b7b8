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
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn set(&mut self, lane: u32, weight: u32) {
        let place = lane as usize;
        if self.weights.len() <= place {
            self.grow((place + 1).next_power_of_two());
        }
        let before = std::mem::replace(&mut self.weights[place], weight);
        self.total = self.total - u64::from(before) + u64::from(weight);
        let mut node = place + 1;
        while node < self.sums.len() {
            self.sums[node] = self.sums[node] - u64::from(before) + u64::from(weight);
            node += node & node.wrapping_neg();
        }
    }

    fn grow(&mut self, lanes: usize) {
        let old = std::mem::take(&mut self.weights);
        self.weights = vec![0; lanes];
        self.sums = vec![0; lanes + 1];
        self.total = 0;
        for (lane, weight) in (0..).zip(old) {
            if weight > 0 {
                self.set(lane, weight);
            }
        }
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
