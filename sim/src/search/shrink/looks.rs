//! Looking for the violation at another place of the schedule.
//!
//! An edit of the scenario often moves the place at which a bug shows: an attempt is the second and no more the ninth,
//! an operation meets the clock and not an actor. The deviations of before then mean nothing, though the bug is there.
//! So the schedules of the new scenario are counted off, in a fixed order: the plain one, those with one deviation, those
//! with two. All of them are many; those *alike*, with the same kinds of choices between the same kinds of futures as
//! before, are few.

use std::collections::VecDeque;

use super::cost::{Cost, kind as asked};
use super::{Run, ShrinkProgress, Shrinker};
use crate::choice::Site;
use crate::scenario::Scenario;
use crate::search::deviations::{Deviation, Place, Point, To};
use crate::world::LaneKind;

/// Runs of one look among all schedules at most.
pub(super) const LOOK: usize = 48;
/// Runs of one look among schedules alike at most.
const ALIKE: usize = 24;
/// More deviations than these are not looked for again.
pub(super) const DEVIATIONS_MAX: usize = 3;

/// Which deviations a look may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Manner {
    /// All that there are.
    Any,
    /// All that there are, whether or not the schedule is simpler than the best so far.
    First,
    /// Those like one of the best so far: the same kind of choice, between futures of the same kinds.
    Alike,
    /// Other orders of those who act (operations, actors, the controller), the run that ends before them, timers apart, and
    /// choices at the sites where the best so far has one.
    Kindred,
}

/// What makes two deviations alike.
type Kind = (Site, LaneKind, Option<LaneKind>);

fn kind(at: &Place, to: &To) -> Kind {
    let other = match to {
        To::Runs(who) => Some(who.kind),
        To::Value(_) => None,
    };
    (at.site, at.who.kind, other)
}

fn acts(kind: LaneKind) -> bool {
    matches!(kind, LaneKind::Operation | LaneKind::Actor | LaneKind::Controller)
}

impl<W: FnMut(ShrinkProgress)> Shrinker<'_, W> {
    /// Looks for the violation in a scenario that an edit has made, where those deviations that the edit has `kept` do not
    /// show it. `is_large` is an edit that took a future away, so that all others may meet elsewhere.
    pub(super) fn second_look(&mut self, scenario: &Scenario, kept: &[Deviation], is_large: bool) -> bool {
        if self.deviations.is_empty() || self.is_tired() {
            return false;
        }
        if !self.is_new(&("look", Cost::new(scenario, kept), self.deviations.len())) {
            return false;
        }
        self.look(scenario, &[], self.deviations.len().min(DEVIATIONS_MAX), ALIKE, Manner::Alike)
            || is_large && self.look(scenario, &[], 1, LOOK, Manner::Any)
    }

    /// Takes the first schedule of a scenario that shows the violation with at most `most` deviations besides `base`, if that
    /// is simpler.
    pub(super) fn look(
        &mut self,
        scenario: &Scenario,
        base: &[Deviation],
        most: usize,
        runs_max: usize,
        manner: Manner,
    ) -> bool {
        self.first_schedule(scenario, base, most, runs_max, manner)
            .is_some_and(|found| self.accept(scenario, found))
    }

    /// The first schedule that shows the violation with at most `most` deviations besides those of `base`.
    pub(super) fn first_schedule(
        &mut self,
        scenario: &Scenario,
        base: &[Deviation],
        most: usize,
        runs_max: usize,
        manner: Manner,
    ) -> Option<Vec<Deviation>> {
        let kinds: Vec<Kind> = self.deviations.iter().map(|made| kind(&made.at, &made.to)).collect();
        let is_wanted = |at: &Place, to: &To| match manner {
            Manner::Any | Manner::First => true,
            Manner::Alike => kinds.contains(&kind(at, to)),
            Manner::Kindred => match (at.site, to) {
                (Site::Schedule, To::Runs(who)) => {
                    acts(at.who.kind) && (acts(who.kind) || who.kind == LaneKind::Run)
                }
                (Site::TimerTie, _) => true,
                (site, _) => kinds.iter().any(|(other, ..)| *other == site),
            },
        };
        // As many deviations as are not too dear.
        let is_cheap = |more: &usize| Cost::at_least(scenario, base.len() + more) < self.cost;
        let most = if manner == Manner::First { most } else { (0..=most).rev().find(is_cheap)? };
        let mut queue = VecDeque::from([(base.to_vec(), 0)]);
        let mut runs = 0;
        while let Some((deviations, from)) = queue.pop_front() {
            if runs == runs_max || self.is_over() {
                return None;
            }
            runs += 1;
            let is_leaf = deviations.len() == base.len() + most;
            self.pilot().deviate(&deviations, !is_leaf);
            let Run { rule, made, points, size } = self.run(scenario);
            if rule.as_ref() == Some(&self.rule) {
                return Some(made);
            }
            if is_leaf || points.len() > 10 * runs_max {
                continue;
            }
            // A setting that changed nothing that shows changes nothing under these deviations either.
            let is_plain = runs == 1 && base.is_empty() && manner == Manner::Alike;
            let asked: Vec<_> =
                scenario.operations.iter().map(|operation| asked(&operation.action)).collect();
            if is_plain && !self.is_new(&("seen", &points, size, asked, most, &kinds)) {
                return None;
            }
            for (place, Point { at, others }) in points.iter().enumerate().skip(from) {
                for to in others.iter().filter(|to| is_wanted(at, to)) {
                    let mut next = deviations.clone();
                    next.push(Deviation { at: at.clone(), to: to.clone() });
                    queue.push_back((next, place + 1));
                }
            }
        }
        None
    }
}

/// The same deviations, with interruptions at the first time that their future comes there: what is interrupted in a
/// later attempt may be in the first.
pub(super) fn in_first_attempts(deviations: &[Deviation]) -> Vec<Deviation> {
    let mut first = deviations.to_vec();
    for deviation in first.iter_mut().filter(|deviation| deviation.at.site.is_preemption()) {
        deviation.at.nth = 0;
    }
    first
}
