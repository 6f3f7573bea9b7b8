//! The simplest schedule under which a program still fails in the same way.
//!
//! The program cannot be edited, so only its choices are: deviations from the plain run are taken away in halves and one
//! by one, what is left is lowered, and where more than one is left all single ones are tried. A candidate is kept if
//! it fails in the same way and costs less by one total order: fewer deviations, then smaller ones, then earlier names.
//! The passes are those of [`crate::search::shrink`], which explains them.

use crate::search::deviations::{Deviation, Point, To};

/// What a candidate came to.
pub(super) struct Tried {
    /// It failed in the way that counts.
    pub(super) fails: bool,
    /// Where it deviated.
    pub(super) made: Vec<Deviation>,
    /// What else could have been, if that was wanted.
    pub(super) points: Vec<Point>,
}

/// Whether a run has to tell what else could have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Points {
    Wanted,
    Unwanted,
}

/// A schedule made simpler until nothing helps, or until `runs_max` candidates were run. Gives the number of runs too.
pub(super) fn shrink(
    first: Vec<Deviation>,
    runs_max: u64,
    run: impl FnMut(&[Deviation], Points) -> Tried,
) -> (Vec<Deviation>, u64) {
    let mut shrinker = Shrinker { best: first, runs: 0, runs_max, run };
    if !shrinker.offer(&[]) {
        shrinker.work();
    }
    (shrinker.best, shrinker.runs)
}

struct Shrinker<R> {
    best: Vec<Deviation>,
    runs: u64,
    runs_max: u64,
    run: R,
}

/// What costs less is simpler.
fn cost(deviations: &[Deviation]) -> (usize, u64, Vec<&Deviation>) {
    (deviations.len(), deviations.iter().map(Deviation::size).sum(), deviations.iter().collect())
}

/// A program with more choices than this in its plain run gets no look at all single deviations.
const POINTS_MAX: usize = 200;

impl<R: FnMut(&[Deviation], Points) -> Tried> Shrinker<R> {
    fn is_over(&self) -> bool {
        self.runs >= self.runs_max
    }

    /// Runs a candidate; true if it is the best so far.
    fn offer(&mut self, deviations: &[Deviation]) -> bool {
        if self.is_over() || cost(deviations) >= cost(&self.best) {
            return false;
        }
        self.runs += 1;
        let tried = (self.run)(deviations, Points::Unwanted);
        self.accept(tried)
    }

    fn accept(&mut self, tried: Tried) -> bool {
        let is_better = tried.fails && cost(&tried.made) < cost(&self.best);
        if is_better {
            self.best = tried.made;
        }
        is_better
    }

    fn work(&mut self) {
        loop {
            let before = self.best.clone();
            self.take_away();
            self.lower();
            if self.best == before && self.best.len() > 1 {
                self.look_at_single_ones();
            }
            if self.best == before || self.is_over() {
                return;
            }
        }
    }

    /// Takes deviations away, in runs that are halved down to one.
    fn take_away(&mut self) {
        let mut size = self.best.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < self.best.len() && !self.is_over() {
                let mut fewer = self.best.clone();
                fewer.drain(start..(start + size).min(fewer.len()));
                if !self.offer(&fewer) {
                    start += size;
                }
            }
            size /= 2;
        }
    }

    /// Makes values smaller.
    fn lower(&mut self) {
        for index in 0..self.best.len() {
            while let Some(&To::Value(value)) = self.best.get(index).map(|deviation| &deviation.to) {
                let lower = [1, value / 2, value - 1].into_iter().filter(|&lower| lower > 0 && lower < value);
                let helped = lower.into_iter().any(|lower| {
                    let mut other = self.best.clone();
                    other[index].to = To::Value(lower);
                    self.offer(&other)
                });
                if !helped {
                    break;
                }
            }
        }
    }

    /// Looks whether one deviation is enough.
    fn look_at_single_ones(&mut self) {
        if self.is_over() {
            return;
        }
        self.runs += 1;
        let Tried { points, .. } = (self.run)(&[], Points::Wanted);
        if points.len() > POINTS_MAX {
            return;
        }
        for Point { at, others } in points {
            for to in others {
                if self.offer(&[Deviation { at: at.clone(), to }]) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Site;
    use crate::search::deviations::{Place, Who};
    use crate::world::LaneKind;

    fn draw(nth: u32, value: u32) -> Deviation {
        let who = Who { kind: LaneKind::Other, name: "test".into(), twin: 0 };
        Deviation { at: Place { site: Site::Random, who, nth }, to: To::Value(value) }
    }

    fn value(deviations: &[Deviation], nth: u32) -> u32 {
        deviations.iter().find(|deviation| deviation.at.nth == nth).map_or(0, |deviation| {
            match deviation.to {
                To::Value(value) => value,
                To::Runs(_) => 0,
            }
        })
    }

    fn shrunk(fails: impl Fn(&[Deviation]) -> bool) -> Vec<Deviation> {
        let first: Vec<_> = (0..40).map(|nth| draw(nth, 1_000 + nth)).collect();
        let run = |deviations: &[Deviation], _| Tried {
            fails: fails(deviations),
            made: deviations.to_vec(),
            points: (0..40)
                .map(|nth| Point { at: draw(nth, 1).at, others: vec![To::Value(1_000_000)] })
                .collect(),
        };
        shrink(first, 10_000, run).0
    }

    #[test]
    fn what_does_not_matter_goes_and_the_rest_becomes_small() {
        let two = shrunk(|tape| value(tape, 7) >= 12 && value(tape, 31) >= 3);
        assert_eq!(two, [draw(7, 12), draw(31, 3)]);
        assert_eq!(shrunk(|_| true), []);
    }

    #[test]
    fn one_deviation_is_found_where_two_cannot_be_taken_apart() {
        let either = |tape: &[Deviation]| {
            (value(tape, 7) >= 12 && value(tape, 31) >= 3) || value(tape, 20) == 1_000_000
        };
        assert_eq!(shrunk(either).len(), 1);
    }

    #[test]
    fn it_stops_after_as_many_runs_as_it_may_make() {
        let first: Vec<_> = (0..40).map(|nth| draw(nth, 1_000)).collect();
        let run = |deviations: &[Deviation], _| Tried {
            fails: deviations.len() >= 20,
            made: deviations.to_vec(),
            points: Vec::new(),
        };
        let (best, runs) = shrink(first, 17, run);
        assert!(runs == 17 && best.len() >= 20, "{runs} runs, {} left", best.len());
    }
}
