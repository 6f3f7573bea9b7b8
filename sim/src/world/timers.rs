//! Timers in order of (deadline, age). A binary heap with lazy deletion; keys carry a generation.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

use simvisor::runtime::TimerKey;

use super::slots::Owner;

#[derive(Debug)]
struct Timer {
    generation: u32,
    owner: Owner,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    Set(Option<Waker>),
    Fired,
}

/// A timer that is due: a name that stays valid until the timer is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    deadline: u64,
    age: u64,
    index: u32,
    generation: u32,
}

/// All timers of a world.
#[derive(Debug, Default)]
pub(super) struct Timers {
    timers: Vec<Timer>,
    free: Vec<u32>,
    heap: BinaryHeap<Reverse<Due>>,
    next_age: u64,
    set: u32,
    set_of_run: u32,
}

impl Timers {
    pub(super) fn insert(&mut self, deadline: u64, owner: Owner) -> TimerKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.timers.push(Timer { generation: 0, owner, state: State::Free });
            u32::try_from(self.timers.len() - 1).expect("fewer than 2^32 timers")
        });
        let timer = &mut self.timers[index as usize];
        timer.generation = timer.generation.wrapping_add(1);
        timer.owner = owner;
        timer.state = State::Set(None);
        let generation = timer.generation;
        self.heap.push(Reverse(Due { deadline, age: self.next_age, index, generation }));
        self.next_age += 1;
        self.set += 1;
        self.set_of_run += u32::from(owner == Owner::Run);
        TimerKey(u64::from(generation) << 32 | u64::from(index))
    }

    fn find(&mut self, key: TimerKey) -> Option<(u32, &mut Timer)> {
        let (generation, index) = ((key.0 >> 32) as u32, key.0 as u32);
        self.timers
            .get_mut(index as usize)
            .filter(|timer| timer.generation == generation && !matches!(timer.state, State::Free))
            .map(|timer| (index, timer))
    }

    /// Whether the timer has fired; if not, `waker` is kept for it. A timer of an earlier world counts as fired.
    pub(super) fn poll(&mut self, key: TimerKey, waker: &Waker) -> bool {
        match self.find(key) {
            Some((_, Timer { state: State::Set(kept), .. })) => {
                match kept {
                    Some(kept) => kept.clone_from(waker),
                    None => *kept = Some(waker.clone()),
                }
                false
            }
            _ => true,
        }
    }

    pub(super) fn remove(&mut self, key: TimerKey) {
        let Some((index, timer)) = self.find(key) else { return };
        if matches!(timer.state, State::Set(_)) {
            let of_run = u32::from(timer.owner == Owner::Run);
            timer.state = State::Free;
            self.set -= 1;
            self.set_of_run -= of_run;
        } else {
            timer.state = State::Free;
        }
        self.free.push(index);
    }

    /// Whether `due` is still set.
    pub(super) fn is_set(&self, due: Due) -> bool {
        let timer = &self.timers[due.index as usize];
        timer.generation == due.generation && matches!(timer.state, State::Set(_))
    }

    /// The instant of the next timer.
    pub(super) fn next_deadline(&mut self) -> Option<u64> {
        while let Some(&Reverse(due)) = self.heap.peek() {
            if self.is_set(due) {
                return Some(due.deadline);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes the next timer if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Due> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(due)| due)
    }

    /// Fires a timer; gives the waker of whoever waits for it.
    pub(super) fn fire(&mut self, due: Due) -> Option<Waker> {
        let timer = &mut self.timers[due.index as usize];
        let State::Set(waker) = std::mem::replace(&mut timer.state, State::Fired) else {
            unreachable!("only timers that are set are fired")
        };
        self.set -= 1;
        self.set_of_run -= u32::from(timer.owner == Owner::Run);
        waker
    }

    pub(super) fn set_of_run(&self) -> u32 {
        self.set_of_run
    }

    /// Forgets all timers and keeps the memory and the generations.
    pub(super) fn reset(&mut self) {
        self.heap.clear();
        self.free.clear();
        for (index, timer) in (0..).zip(&mut self.timers) {
            timer.state = State::Free;
            self.free.push(index);
        }
        self.free.reverse();
        self.next_age = 0;
        self.set = 0;
        self.set_of_run = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(timers: &mut Timers, now: u64) -> Vec<u64> {
        std::iter::from_fn(|| timers.pop_due(now).map(|due| (timers.fire(due), due.age).1)).collect()
    }

    #[test]
    fn timers_fire_by_deadline_and_then_by_age() {
        let mut timers = Timers::default();
        for deadline in [30, 10, 20, 10] {
            timers.insert(deadline, Owner::Outside);
        }
        assert_eq!(timers.next_deadline(), Some(10));
        assert_eq!(fired(&mut timers, 20), [1, 3, 2]);
        assert_eq!(timers.next_deadline(), Some(30));
    }

    #[test]
    fn a_dropped_timer_does_not_fire_and_its_place_is_taken_safely() {
        let mut timers = Timers::default();
        let old = timers.insert(10, Owner::Run);
        timers.remove(old);
        assert_eq!((timers.next_deadline(), timers.set_of_run()), (None, 0));
        let new = timers.insert(20, Owner::Run);
        timers.remove(old);
        assert_eq!(timers.next_deadline(), Some(20), "an old key does not touch the new timer");
        assert!(!timers.poll(new, Waker::noop()) && timers.poll(old, Waker::noop()));
    }
}
