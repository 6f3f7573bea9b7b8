//! Who is there and who is ready: every future with its state, in one cache line.
//!
//! The ready futures are kept twice, in order of readiness (the oldest first) and as a dense array (for a uniform pick).
//! Taking the oldest, any by number, or a given one is O(1), and touches no other future but the one that fills its
//! place in the array: who is taken out of turn stays in the order, and is left out when its turn comes.

use futures::future::LocalBoxFuture;
use simvisor::runtime::WaitsFor;

use super::ahead::{fetch, fetch_all};
use super::waker::{GENERATION_MAX, SLOTS_MAX};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// The clock's slot: it is ready while timers that are due wait for their turn.
pub(super) const CLOCK: u32 = 0;

/// Whose future it is, for the account of what a run leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The world itself, or an operation on the supervisor.
    Outside,
    /// The run: the call to it, and everything that the logic spawned.
    Run,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Idle,
    Ready,
}

#[repr(align(64))]
pub(super) struct Slot {
    /// Taken out while polled.
    pub(super) future: Option<LocalBoxFuture<'static, ()>>,
    pub(super) generation: u32,
    state: State,
    pub(super) owner: Owner,
    pub(super) lane: u32,
    /// The moment at which it became ready.
    stamp: u32,
    /// Place in the dense array.
    place: u32,
    pub(super) waits_for: WaitsFor,
    pub(super) since: u64,
    /// Turns since the search for a livelock began.
    pub(super) turns: u32,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// A future in order of readiness. Another stamp than its slot's: it was taken out of turn.
#[derive(Debug, Clone, Copy)]
struct Turn {
    slot: u32,
    stamp: u32,
}

/// Fewer ready futures than this are in the cache in any case.
const MANY: usize = 16;

/// Futures are fetched so many turns before it is looked whether they are still the oldest.
const AHEAD: usize = 8;

/// All slots of an engine. Generations live as long as the engine, everything else as long as a world.
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Slots that were taken in this world and given back; those from `fresh` on were not taken yet.
    free: Vec<u32>,
    fresh: u32,
    /// No slot below is live, but for the clock's.
    lowest: u32,
    ready: Vec<u32>,
    /// Everyone who is ready, the oldest at `first`, and those who were taken out of turn since.
    order: Vec<Turn>,
    first: usize,
    oldest: u32,
    /// Moments at which a future became ready.
    stamps: u32,
    live: u32,
    live_of_run: u32,
}

impl Slots {
    pub(super) fn new() -> Self {
        let mut slots = Self {
            slots: Vec::new(),
            free: Vec::new(),
            fresh: 0,
            lowest: 1,
            ready: Vec::new(),
            order: Vec::new(),
            first: 0,
            oldest: NONE,
            stamps: 0,
            live: 0,
            live_of_run: 0,
        };
        slots.insert(Owner::Outside, 0);
        (slots.live, slots.lowest) = (0, 1); // the clock does not count
        slots
    }

    /// Takes a slot for a new future; it is not ready yet.
    pub(super) fn insert(&mut self, owner: Owner, lane: u32) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| self.take_fresh());
        self.lowest = self.lowest.min(index);
        let slot = &mut self.slots[index as usize];
        slot.state = State::Idle;
        slot.owner = owner;
        slot.lane = lane;
        slot.waits_for = WaitsFor::Unknown;
        slot.since = 0;
        slot.turns = 0;
        self.live += 1;
        self.live_of_run += u32::from(owner == Owner::Run);
        index
    }

    fn take_fresh(&mut self) -> u32 {
        let index = self.fresh;
        assert!(index < SLOTS_MAX, "a world holds at most {SLOTS_MAX} futures");
        self.fresh += 1;
        if self.slots.len() == index as usize {
            self.slots.push(Slot {
                future: None,
                generation: 1,
                state: State::Free,
                owner: Owner::Outside,
                lane: 0,
                stamp: 0,
                place: NONE,
                waits_for: WaitsFor::Unknown,
                since: 0,
                turns: 0,
            });
        }
        index
    }

    /// Gives a slot back; wakers of its future have no effect from now on.
    pub(super) fn remove(&mut self, index: u32) {
        debug_assert!(!self.is_ready(index), "who leaves is not ready any more");
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.state != State::Free, "a future ends once");
        slot.state = State::Free;
        slot.generation = if slot.generation == GENERATION_MAX { 1 } else { slot.generation + 1 };
        self.live -= 1;
        self.live_of_run -= u32::from(slot.owner == Owner::Run);
        self.free.push(index);
    }

    pub(super) fn get(&self, index: u32) -> &Slot {
        &self.slots[index as usize]
    }

    pub(super) fn get_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.slots[index as usize]
    }

    /// Whether this generation's future is still there.
    pub(super) fn is_live(&self, index: u32, generation: u32) -> bool {
        self.slots
            .get(index as usize)
            .is_some_and(|slot| slot.generation == generation && slot.state != State::Free)
    }

    /// Counts turns anew.
    pub(super) fn start_census(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.turns = 0);
    }

    /// All live futures but the clock, by slot.
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, &Slot)> {
        (0..self.fresh).zip(&self.slots).skip(1).filter(|(_, slot)| slot.state != State::Free)
    }

    /// The first live future but the clock, by slot. Asking again after it was removed costs no search from the
    /// beginning.
    pub(super) fn first_live(&mut self) -> Option<u32> {
        while self.lowest < self.fresh && self.slots[self.lowest as usize].state == State::Free {
            self.lowest += 1;
        }
        (self.lowest < self.fresh).then_some(self.lowest)
    }

    /// Fetches a slot that will be made ready soon.
    pub(super) fn fetch(&self, index: u32) {
        if let Some(slot) = self.slots.get(index as usize) {
            fetch(&raw const *slot);
        }
    }

    pub(super) fn live_count(&self) -> u32 {
        self.live
    }

    pub(super) fn live_of_run(&self) -> u32 {
        self.live_of_run
    }

    pub(super) fn ready_count(&self) -> u32 {
        self.ready.len() as u32
    }

    pub(super) fn is_ready(&self, index: u32) -> bool {
        self.slots[index as usize].state == State::Ready
    }

    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    pub(super) fn at_place(&self, place: u32) -> u32 {
        self.ready[place as usize]
    }

    /// Fetches the future that runs next, the slot of the second, and where the slot of the third is told, each by its
    /// place among the ready ones.
    pub(super) fn fetch_ahead(&self, next: u32, second: u32, third: u32) {
        if let Some(place) = self.ready.get(third as usize) {
            fetch(&raw const *place);
        }
        if let Some(&slot) = self.ready.get(second as usize) {
            self.fetch(slot);
        }
        if let Some(&slot) = self.ready.get(next as usize)
            && let Some(future) = &self.slots[slot as usize].future
        {
            fetch_all(future.as_ref().get_ref());
        }
    }

    /// Makes a future ready, as the newest; nothing, and false, if it is ready already.
    #[inline]
    pub(super) fn make_ready(&mut self, index: u32) -> bool {
        self.slots[index as usize].state == State::Idle && self.enter(index)
    }

    /// As [`Slots::make_ready`], if this generation's future is still there.
    #[inline]
    pub(super) fn wake(&mut self, index: u32, generation: u32) {
        if let Some(slot) = self.slots.get(index as usize)
            && slot.generation == generation
            && slot.state == State::Idle
        {
            self.enter(index);
        }
    }

    /// An idle future becomes ready.
    #[inline(always)]
    fn enter(&mut self, index: u32) -> bool {
        let slot = &mut self.slots[index as usize];
        slot.state = State::Ready;
        slot.place = self.ready.len() as u32;
        self.stamps = self.stamps.wrapping_add(1);
        slot.stamp = self.stamps;
        if self.ready.is_empty() {
            self.oldest = index;
        } else if self.ready.len() >= MANY
            && let Some(future) = &slot.future
        {
            fetch_all(future.as_ref().get_ref());
        }
        self.ready.push(index);
        if self.order.len() == self.order.capacity() {
            self.tidy();
        }
        self.order.push(Turn { slot: index, stamp: self.stamps });
        true
    }

    /// Takes a future off the ready ones; false if it is not among them.
    pub(super) fn unready(&mut self, index: u32) -> bool {
        let is_ready = self.is_ready(index);
        if is_ready {
            self.leave(index);
        }
        is_ready
    }

    /// The turn of a ready future begins.
    #[inline]
    pub(super) fn begin_turn(&mut self, index: u32) {
        self.slots[index as usize].turns += 1;
        self.leave(index);
    }

    /// A ready future becomes idle.
    #[inline(always)]
    fn leave(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.state == State::Ready, "who is not ready does not leave");
        slot.state = State::Idle;
        let place = slot.place;
        match self.ready.pop() {
            Some(last) if last != index => {
                self.ready[place as usize] = last;
                self.slots[last as usize].place = place;
            }
            _ => {}
        }
        if index == self.oldest {
            self.find_oldest();
        }
    }

    /// Whether this future has been ready since.
    fn waits(&self, turn: Turn) -> bool {
        let slot = &self.slots[turn.slot as usize];
        slot.stamp == turn.stamp && slot.state == State::Ready
    }

    /// Goes on to the oldest of those who are ready, after the one that was it has left.
    fn find_oldest(&mut self) {
        if self.ready.is_empty() {
            self.order.clear();
            (self.first, self.oldest) = (0, NONE);
            return;
        }
        loop {
            self.first += 1;
            if let Some(later) = self.order.get(self.first + AHEAD) {
                fetch(&raw const self.slots[later.slot as usize]);
            }
            let turn = self.order[self.first];
            if self.waits(turn) {
                self.oldest = turn.slot;
                return;
            }
        }
    }

    /// Makes room in the order: by leaving out who was taken out of turn, and by more memory if few were.
    #[cold]
    fn tidy(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.drain(..self.first);
        order.retain(|&turn| self.waits(turn));
        if order.len() >= order.capacity() / 2 {
            order.reserve(order.capacity().max(MANY));
        }
        (self.order, self.first) = (order, 0);
    }

    /// The ready futures, the oldest first.
    pub(super) fn by_age(&self) -> impl Iterator<Item = u32> {
        self.order[self.first..].iter().filter(|&&turn| self.waits(turn)).map(|turn| turn.slot)
    }

    /// The clock alone is left, idle. Slots are handed out again from the lowest.
    pub(super) fn reset(&mut self) {
        debug_assert_eq!(self.live, 0, "a world ends empty");
        self.unready(CLOCK);
        self.free.clear();
        (self.fresh, self.lowest) = (1, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_ready() -> Slots {
        let mut slots = Slots::new();
        for lane in 1..=3 {
            let index = slots.insert(Owner::Outside, lane);
            slots.make_ready(index);
        }
        slots
    }

    fn by_age(slots: &Slots) -> Vec<u32> {
        slots.by_age().collect()
    }

    #[test]
    fn readiness_keeps_its_order_whoever_leaves() {
        for (leaves, left) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
            let mut slots = three_ready();
            slots.unready(leaves);
            assert_eq!(by_age(&slots), left);
            slots.make_ready(leaves);
            assert_eq!(by_age(&slots), [left[0], left[1], leaves]);
            let mut dense: Vec<u32> = (0..slots.ready_count()).map(|place| slots.at_place(place)).collect();
            dense.sort_unstable();
            assert_eq!(dense, [1, 2, 3]);
        }
    }

    #[test]
    fn the_order_costs_no_more_memory_however_often_others_overtake_the_oldest() {
        let mut slots = three_ready();
        for _ in 0..10_000 {
            for index in [3, 2] {
                slots.unready(index);
                slots.make_ready(index);
            }
        }
        assert_eq!((by_age(&slots), slots.oldest()), (vec![1, 3, 2], 1));
        assert!(slots.order.capacity() <= 4 * MANY, "{} for three", slots.order.capacity());
        slots.unready(1);
        assert_eq!((by_age(&slots), slots.oldest()), (vec![3, 2], 3));
    }

    #[test]
    fn being_made_ready_twice_is_being_made_ready_once() {
        let mut slots = three_ready();
        slots.make_ready(1);
        assert_eq!((by_age(&slots), slots.ready_count()), (vec![1, 2, 3], 3));
    }

    #[test]
    fn a_slot_taken_again_has_another_generation() {
        let mut slots = three_ready();
        let generation = slots.get(2).generation;
        slots.unready(2);
        slots.remove(2);
        assert!(!slots.is_live(2, generation));
        assert_eq!(slots.insert(Owner::Run, 9), 2);
        assert!(!slots.is_live(2, generation) && slots.is_live(2, generation + 1));
        assert_eq!((slots.live_count(), slots.live_of_run()), (3, 1));
    }
}
