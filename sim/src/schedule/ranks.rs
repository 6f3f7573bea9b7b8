//! Ready lanes by rank: the highest in O(log n), with entries that are out of date left where they are until they come
//! up.

use std::collections::BinaryHeap;

/// The ready lanes and the rank of every lane.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranks {
    heap: BinaryHeap<Ranked>,
    lanes: Vec<Entry>,
}

/// Rank, lane and stamp as the digits of one number, which are compared at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked(i128);

impl Ranked {
    fn new(rank: i64, lane: u32, stamp: u32) -> Self {
        Self(i128::from(rank) << 64 | i128::from(lane) << 32 | i128::from(stamp))
    }

    fn parts(self) -> (i64, u32, u32) {
        ((self.0 >> 64) as i64, (self.0 >> 32) as u32, self.0 as u32)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    rank: Option<i64>,
    /// Changes with readiness and rank, so that older entries of the heap can be told from the current one.
    stamp: u32,
    ready: bool,
}

impl Ranks {
    /// For a new world; the memory is kept.
    pub(super) fn clear(&mut self) {
        self.heap.clear();
        self.lanes.clear();
    }

    fn entry(&mut self, lane: u32) -> &mut Entry {
        let place = lane as usize;
        if self.lanes.len() <= place {
            self.lanes.resize(place + 1, Entry::default());
        }
        &mut self.lanes[place]
    }

    /// The lane's rank, if it ever had one.
    pub(super) fn rank(&self, lane: u32) -> Option<i64> {
        self.lanes.get(lane as usize).and_then(|entry| entry.rank)
    }

    pub(super) fn is_ready(&self, lane: u32) -> bool {
        self.lanes.get(lane as usize).is_some_and(|entry| entry.ready)
    }

    pub(super) fn set_rank(&mut self, lane: u32, rank: i64) {
        let entry = self.entry(lane);
        entry.rank = Some(rank);
        entry.stamp = entry.stamp.wrapping_add(1);
        let Entry { ready, stamp, .. } = *entry;
        if ready {
            self.heap.push(Ranked::new(rank, lane, stamp));
        }
    }

    /// The lane became ready; it has a rank.
    pub(super) fn readied(&mut self, lane: u32) {
        let entry = self.entry(lane);
        debug_assert!(!entry.ready, "a lane becomes ready once");
        entry.ready = true;
        entry.stamp = entry.stamp.wrapping_add(1);
        let Entry { rank, stamp, .. } = *entry;
        self.heap.push(Ranked::new(rank.expect("a ready lane has a rank"), lane, stamp));
    }

    /// The lane is not ready any more.
    pub(super) fn rested(&mut self, lane: u32) {
        let entry = self.entry(lane);
        if std::mem::replace(&mut entry.ready, false) {
            entry.stamp = entry.stamp.wrapping_add(1);
        }
    }

    /// The ready lane of the highest rank.
    pub(super) fn top(&mut self) -> Option<(i64, u32)> {
        while let Some((rank, lane, stamp)) = self.heap.peek().map(|ranked| ranked.parts()) {
            let entry = self.lanes[lane as usize];
            if entry.ready && entry.stamp == stamp {
                return Some((rank, lane));
            }
            self.heap.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_the_highest_of_those_that_are_ready() {
        let mut ranks = Ranks::default();
        for (lane, rank) in [(1, 10), (2, 30), (3, 20)] {
            ranks.set_rank(lane, rank);
            assert!(ranks.top().is_none() || lane > 1);
            ranks.readied(lane);
        }
        assert_eq!(ranks.top(), Some((30, 2)));
        ranks.rested(2);
        assert_eq!(ranks.top(), Some((20, 3)));
        ranks.set_rank(3, 5);
        assert_eq!(ranks.top(), Some((10, 1)));
        ranks.set_rank(2, 7);
        ranks.readied(2);
        ranks.rested(1);
        assert_eq!(ranks.top(), Some((7, 2)), "the rank set while it rested counts");
        ranks.rested(2);
        ranks.rested(3);
        assert_eq!(ranks.top(), None);
    }
}
