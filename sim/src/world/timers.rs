//! Timers in order of (deadline, age): a radix heap (Ahuja, Mehlhorn, Orlin, Tarjan, "Faster Algorithms for the Shortest
//! Path Problem", 1990) with digits of six bits, which is also a hierarchical timing wheel (Varghese, Lauck, 1987) whose
//! hands move from timer to timer and not from tick to tick.
//!
//! Time never goes back, so a timer needs no place in a total order before its instant comes near. It lies in the
//! bucket of the highest digit in which its deadline differs from the instant that was taken last, and of that digit's
//! value. When the nearest bucket's turn comes, its earliest deadline becomes that instant and its timers move down,
//! each to a lower digit. A timer moves at most once for each digit, in practice log₆₄ of the number of timers, and always
//! to the end of an array, so a million sleepers cost each other hardly more than ten do. All timers of one instant lie
//! in one bucket at any time, in the order in which they were set, so that they come out by age without any number for
//! it.
//!
//! Few timers need none of this: as long as there is room in one short sorted list, and nothing in the buckets, they lie
//! there.
//!
//! A timer that was dropped stays where it is until it comes up, or until most are of that kind.

use std::task::Waker;

use simvisor::runtime::TimerKey;

use super::ahead::fetch;
use super::slots::Owner;

#[derive(Debug)]
struct Timer {
    /// Whoever waits for it, while it is set.
    waker: Option<Waker>,
    generation: u32,
    owner: Owner,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Set,
    /// Due, and taken out to be fired, now or later.
    Due,
    Fired,
}

/// A timer that is due: a name that stays valid until the timer is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    deadline: u64,
    index: u32,
    generation: u32,
}

/// Bits of a digit.
const DIGIT_BITS: u32 = 6;

/// Values of a digit: one bucket for each.
const DIGIT_VALUES: usize = 1 << DIGIT_BITS;

/// Digits of a deadline.
const DIGITS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// More timers than this go to the buckets. Up to here moving half of the list costs less than looking for a bucket and
/// opening it; by measurement.
const FEW: usize = 64;

/// Fewer dropped timers than this are never swept up.
const DROPPED_MIN: usize = 64;

/// Whoever waits for a timer is fetched so many timers before it fires, and the timer twice as many.
const AHEAD: usize = 8;

/// All timers of a world.
#[derive(Debug)]
pub(super) struct Timers {
    timers: Vec<Timer>,
    /// Places that were taken in this world and given back; those from `fresh` on were not taken yet.
    free: Vec<u32>,
    fresh: u32,
    /// The instant that was taken last: no timer is due before it.
    instant: u64,
    /// Timers of `instant` that were in buckets, and how many of them were taken.
    present: Vec<Due>,
    taken: usize,
    /// All others while they are few, the next one last. Empty if a bucket is not.
    few: Vec<Due>,
    /// Later ones while they are many, by the highest digit in which the deadline differs from `instant`, and by its value.
    buckets: Box<[[Vec<Due>; DIGIT_VALUES]; DIGITS]>,
    /// Which digits have a bucket that is not empty, and which buckets those are.
    digits: u16,
    occupied: [u64; DIGITS],
    /// Timers in `present` and in buckets, and those of them that were dropped.
    waiting: usize,
    dropped: usize,
    /// Timers of the run that have not fired.
    set_of_run: u32,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            timers: Vec::new(),
            free: Vec::new(),
            fresh: 0,
            instant: 0,
            present: Vec::new(),
            taken: 0,
            few: Vec::with_capacity(FEW),
            buckets: Box::new([const { [const { Vec::new() }; DIGIT_VALUES] }; DIGITS]),
            digits: 0,
            occupied: [0; DIGITS],
            waiting: 0,
            dropped: 0,
            set_of_run: 0,
        }
    }
}

impl Timers {
    /// Sets a timer that wakes `waker`.
    #[inline]
    pub(super) fn insert(&mut self, deadline: u64, owner: Owner, waker: Waker) -> TimerKey {
        let index = self.free.pop().unwrap_or_else(|| self.take_fresh());
        let timer = &mut self.timers[index as usize];
        let generation = timer.generation.wrapping_add(1);
        *timer = Timer { waker: Some(waker), generation, owner, state: State::Set };
        // What is due already is due at the next instant that is taken.
        self.put(Due { deadline: deadline.max(self.instant), index, generation });
        self.waiting += 1;
        self.set_of_run += u32::from(owner == Owner::Run);
        TimerKey(u64::from(generation) << 32 | u64::from(index))
    }

    fn take_fresh(&mut self) -> u32 {
        let index = self.fresh;
        self.fresh = index.checked_add(1).expect("fewer than 2^32 timers");
        if self.timers.len() == index as usize {
            let (owner, state) = (Owner::Outside, State::Free);
            self.timers.push(Timer { waker: None, generation: 0, owner, state });
        }
        index
    }

    /// Puts a timer where it belongs.
    #[inline]
    fn put(&mut self, due: Due) {
        if self.digits == 0 && self.few.len() < FEW {
            let place = self.few.partition_point(|other| other.deadline > due.deadline);
            self.few.insert(place, due);
        } else {
            self.put_among_many(due);
        }
    }

    /// As [`Timers::put`], where the timers are no longer few.
    #[inline(never)]
    fn put_among_many(&mut self, due: Due) {
        let mut few = std::mem::take(&mut self.few);
        while let Some(next) = few.pop() {
            self.put_away(next);
        }
        self.few = few; // keeps its memory
        self.put_away(due);
    }

    /// Puts a timer into its bucket.
    fn put_away(&mut self, due: Due) {
        let differs = due.deadline ^ self.instant;
        if differs == 0 {
            return self.present.push(due);
        }
        let digit = (differs.ilog2() / DIGIT_BITS) as usize;
        let value = (due.deadline >> (digit as u32 * DIGIT_BITS)) as usize % DIGIT_VALUES;
        self.digits |= 1 << digit;
        self.occupied[digit] |= 1 << value;
        self.buckets[digit][value].push(due);
    }

    fn find(&mut self, key: TimerKey) -> Option<(u32, &mut Timer)> {
        let (generation, index) = ((key.0 >> 32) as u32, key.0 as u32);
        if index >= self.fresh {
            return None; // of an earlier world
        }
        let timer = &mut self.timers[index as usize];
        (timer.generation == generation && timer.state != State::Free).then_some((index, timer))
    }

    /// Whether the timer has fired, and is forgotten then; if not, `waker` is kept for it. A timer of an earlier world
    /// counts as fired.
    pub(super) fn poll(&mut self, key: TimerKey, waker: &Waker) -> bool {
        let Some((index, timer)) = self.find(key) else { return true };
        if timer.state == State::Fired {
            timer.state = State::Free;
            self.free.push(index);
            return true;
        }
        match &mut timer.waker {
            Some(kept) => kept.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
        false
    }

    /// Forgets a timer; gives the waker that was kept for it.
    pub(super) fn remove(&mut self, key: TimerKey) -> Option<Waker> {
        let (index, timer) = self.find(key)?;
        let waker = timer.waker.take();
        let state = std::mem::replace(&mut timer.state, State::Free);
        let of_run = u32::from(timer.owner == Owner::Run);
        self.free.push(index);
        if state != State::Fired {
            self.set_of_run -= of_run;
        }
        if state == State::Set {
            self.dropped += 1;
            if self.dropped > DROPPED_MIN && self.dropped > self.waiting / 2 {
                self.sweep();
            }
        }
        waker
    }

    /// Takes out everything that was dropped.
    #[cold]
    fn sweep(&mut self) {
        let Self { timers, present, taken, few, buckets, .. } = self;
        present.drain(..*taken);
        *taken = 0;
        self.waiting = 0;
        for bucket in [present, few].into_iter().chain(buckets.as_flattened_mut()) {
            bucket.retain(|&due| is_set(timers, due));
            self.waiting += bucket.len();
        }
        self.dropped = 0;
    }

    /// Whether `due`, which was taken out, was not dropped since.
    pub(super) fn is_due(&self, due: Due) -> bool {
        let timer = &self.timers[due.index as usize];
        timer.generation == due.generation && timer.state == State::Due
    }

    /// Goes on to the instant of the next timer, if there is one.
    #[inline]
    pub(super) fn advance(&mut self) -> Option<u64> {
        match self.few.last() {
            Some(next) if self.dropped == 0 && self.present.is_empty() => {
                self.instant = next.deadline;
                Some(next.deadline)
            }
            _ => self.advance_among_many(),
        }
    }

    /// As [`Timers::advance`], where there are many timers, or dropped ones.
    #[inline(never)]
    fn advance_among_many(&mut self) -> Option<u64> {
        if self.waiting == self.dropped {
            self.clear_buckets();
            return None;
        }
        loop {
            while let Some(&due) = self.present.get(self.taken) {
                if self.dropped == 0 || is_set(&self.timers, due) {
                    return Some(self.instant);
                }
                self.taken += 1;
                self.waiting -= 1;
                self.dropped -= 1;
            }
            self.present.clear();
            self.taken = 0;
            match self.few.last() {
                Some(&next) if self.dropped == 0 || is_set(&self.timers, next) => {
                    self.instant = next.deadline;
                    return Some(next.deadline);
                }
                Some(_) => {
                    self.few.pop();
                    self.waiting -= 1;
                    self.dropped -= 1;
                }
                None => self.open_nearest(),
            }
        }
    }

    /// Moves the timers of the nearest bucket down, those of the earliest instant into the present.
    fn open_nearest(&mut self) {
        let (digit, value) = self.nearest().expect("timers are waiting");
        self.empties(digit, value);
        let mut opened = std::mem::take(&mut self.buckets[digit][value]);
        if let [due] = opened[..] {
            self.instant = due.deadline;
            self.present.push(due);
        } else if let Some(instant) = opened.iter().map(|due| due.deadline).min() {
            self.instant = instant;
            for &due in &opened {
                self.put_away(due);
            }
        }
        opened.clear();
        self.buckets[digit][value] = opened; // keeps its memory
    }

    /// The bucket of the next timers: all of a lower digit come before those of a higher one.
    fn nearest(&self) -> Option<(usize, usize)> {
        let digit = self.digits.trailing_zeros() as usize;
        (self.digits != 0).then(|| (digit, self.occupied[digit].trailing_zeros() as usize))
    }

    fn empties(&mut self, digit: usize, value: usize) {
        self.occupied[digit] &= !(1 << value);
        if self.occupied[digit] == 0 {
            self.digits &= !(1 << digit);
        }
    }

    /// Takes the next timer of the instant that was taken last.
    #[inline]
    pub(super) fn pop_due(&mut self) -> Option<Due> {
        if self.taken < self.present.len() || self.dropped > 0 {
            return self.pop_due_among_many();
        }
        let due = self.few.pop_if(|next| next.deadline == self.instant)?;
        self.waiting -= 1;
        self.timers[due.index as usize].state = State::Due;
        Some(due)
    }

    /// As [`Timers::pop_due`], where there are many timers, or dropped ones.
    #[inline(never)]
    fn pop_due_among_many(&mut self) -> Option<Due> {
        loop {
            let due = match self.present.get(self.taken) {
                Some(&due) => {
                    if let Some(later) = self.present.get(self.taken + 2 * AHEAD) {
                        fetch(&raw const self.timers[later.index as usize]);
                    }
                    self.taken += 1;
                    due
                }
                None => self.few.pop_if(|next| next.deadline == self.instant)?,
            };
            self.waiting -= 1;
            if self.dropped == 0 || is_set(&self.timers, due) {
                self.timers[due.index as usize].state = State::Due;
                return Some(due);
            }
            self.dropped -= 1;
        }
    }

    /// Who waits for a timer that will be taken soon.
    pub(super) fn soon(&self) -> Option<&Waker> {
        let later = self.present.get(self.taken + AHEAD)?;
        self.timers[later.index as usize].waker.as_ref()
    }

    /// Who waits for a timer that is due.
    pub(super) fn waiter(&self, due: Due) -> Option<&Waker> {
        self.timers[due.index as usize].waker.as_ref()
    }

    /// Fires a timer; gives the waker of whoever waits for it.
    pub(super) fn fire(&mut self, due: Due) -> Option<Waker> {
        assert!(self.is_due(due), "timers are fired that are due and were not dropped");
        let timer = &mut self.timers[due.index as usize];
        timer.state = State::Fired;
        self.set_of_run -= u32::from(timer.owner == Owner::Run);
        timer.waker.take()
    }

    pub(super) fn set_of_run(&self) -> u32 {
        self.set_of_run
    }

    /// Forgets all timers and keeps the memory and the generations.
    pub(super) fn reset(&mut self) {
        self.clear_buckets();
        self.free.clear();
        (self.fresh, self.instant, self.set_of_run) = (0, 0, 0);
    }

    fn clear_buckets(&mut self) {
        self.present.clear();
        self.few.clear();
        while let Some((digit, value)) = self.nearest() {
            self.buckets[digit][value].clear();
            self.empties(digit, value);
        }
        (self.taken, self.waiting, self.dropped) = (0, 0, 0);
    }
}

fn is_set(timers: &[Timer], due: Due) -> bool {
    let timer = &timers[due.index as usize];
    timer.generation == due.generation && timer.state == State::Set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Numbers, Stream};

    fn noop() -> Waker {
        Waker::noop().clone()
    }

    /// Everything that is due at the next instant.
    fn fired(timers: &mut Timers) -> Vec<u32> {
        std::iter::from_fn(|| timers.pop_due().map(|due| (timers.fire(due), due.index).1)).collect()
    }

    #[test]
    fn timers_fire_by_deadline_and_then_by_age() {
        let mut timers = Timers::default();
        for deadline in [30, 10, 20, 10] {
            timers.insert(deadline, Owner::Outside, noop());
        }
        assert_eq!((timers.advance(), fired(&mut timers)), (Some(10), vec![1, 3]));
        assert_eq!((timers.advance(), fired(&mut timers)), (Some(20), vec![2]));
        assert_eq!((timers.advance(), fired(&mut timers)), (Some(30), vec![0]));
        assert_eq!(timers.advance(), None);
    }

    #[test]
    fn a_dropped_timer_does_not_fire_and_its_place_is_taken_safely() {
        let mut timers = Timers::default();
        let old = timers.insert(10, Owner::Run, noop());
        timers.remove(old);
        assert_eq!((timers.advance(), timers.set_of_run()), (None, 0));
        let new = timers.insert(20, Owner::Run, noop());
        timers.remove(old);
        assert_eq!(timers.advance(), Some(20), "an old key does not touch the new timer");
        assert!(!timers.poll(new, Waker::noop()) && timers.poll(old, Waker::noop()));
    }

    #[test]
    fn a_timer_of_an_earlier_world_counts_as_fired() {
        let mut timers = Timers::default();
        let old = timers.insert(10, Owner::Run, noop());
        timers.reset();
        assert!(timers.poll(old, Waker::noop()), "nobody has taken its place yet");
        let new = timers.insert(10, Owner::Run, noop());
        assert!(timers.poll(old, Waker::noop()) && !timers.poll(new, Waker::noop()));
    }

    /// Held against a sorted list of (deadline, age), with timers set and dropped between and at instants.
    #[test]
    fn any_history_comes_out_as_from_a_sorted_list() {
        for seed in 0..200 {
            let mut numbers = Numbers::new(seed, Stream::Schedule);
            let spread = numbers.pick(&[2, 60, 1_000_000, u32::MAX]);
            let (mut timers, mut list) = (Timers::default(), Vec::new());
            let (mut now, mut age) = (0_u64, 0);
            let more = numbers.pick(&[4, 12]); // few timers, or many
            for _ in 0..300 {
                for _ in 0..numbers.below(more) {
                    let deadline =
                        now + u64::from(numbers.below(spread)) * u64::from(1 + numbers.below(2) * 999_999);
                    list.push((deadline, age, timers.insert(deadline, Owner::Run, noop())));
                    age += 1;
                }
                if !list.is_empty() && numbers.chance((9, 16)) {
                    let (_, _, key) = list.swap_remove(numbers.below(list.len() as u32) as usize);
                    timers.remove(key);
                }
                if numbers.chance((1, 2)) {
                    list.sort_unstable_by_key(|&(deadline, age, _)| (deadline, age));
                    let next = list.first().map(|&(deadline, ..)| deadline);
                    assert_eq!(timers.advance(), next);
                    now = next.unwrap_or(now);
                    let due = list.iter().take_while(|&&(deadline, ..)| deadline == now).count();
                    let due: Vec<_> = list.drain(..due).map(|(_, _, key)| key).collect();
                    let indices: Vec<_> = due.iter().map(|key| key.0 as u32).collect();
                    assert_eq!(fired(&mut timers), indices, "seed {seed} at {now}");
                    due.into_iter().for_each(|key| assert!(timers.remove(key).is_none()));
                }
            }
            assert_eq!(timers.set_of_run() as usize, list.len());
        }
    }

    #[test]
    fn dropped_timers_far_ahead_are_swept_up() {
        let mut timers = Timers::default();
        for _ in 0..10_000 {
            let key = timers.insert(1 << 40, Owner::Run, noop());
            timers.remove(key);
        }
        let kept = timers.few.len() + timers.buckets.as_flattened().iter().map(Vec::len).sum::<usize>();
        assert!(kept <= 2 * DROPPED_MIN);
    }
}
