//! The last steps, after which one bug has one case, whatever seed found it.
//!
//! One edit at a time comes to an end where several things have to change together. Here larger steps are made, in a
//! fixed order: the simplest worlds there are ([`super::simplest`]); edits with a second look at the schedule
//! ([`super::looks`]); all settings anew; one thing for another; and the first of all schedules. They are many, so they
//! end after about 2,000 runs of the whole, and what is simplest by then stays.

use super::cost::Cost;
use super::descent::Descent as _;
use super::edits::{self, Edit, Scope};
use super::looks::{DEVIATIONS_MAX, LOOK, Manner, in_first_attempts};
use super::simplest::simplest;
use super::{ShrinkProgress, Shrinker};
use crate::scenario::Scenario;

/// Runs that look for the first schedule at most.
const CANONICAL: usize = 500;
/// Runs in one of the simplest worlds at most.
const SIMPLEST: usize = 60;
/// Scenarios of one shape that are counted off at most.
const AFRESH: usize = 200;
/// Runs after which no more is tried than edits one by one.
const NORMALISED: u64 = 1_800;

/// Which of the simplest worlds are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worlds {
    /// Those of one task and at most one operation.
    Alone,
    All,
}

/// How far a look at the simplest worlds goes.
#[derive(Debug, Clone, Copy)]
struct Extent {
    worlds: Worlds,
    /// Deviations at most.
    most: usize,
    /// Runs in each world at most.
    runs_max: usize,
}

impl Extent {
    const ROUNDS: [Self; 4] = [
        Self { worlds: Worlds::Alone, most: 1, runs_max: SIMPLEST },
        Self { worlds: Worlds::Alone, most: 2, runs_max: SIMPLEST },
        Self { worlds: Worlds::All, most: 1, runs_max: SIMPLEST },
        Self { worlds: Worlds::All, most: 2, runs_max: SIMPLEST },
    ];
}

fn is_alone(scenario: &Scenario) -> bool {
    let Scenario { operations, subscribers, receivers, .. } = scenario;
    operations.len() <= 1 && subscribers.is_empty() && receivers.is_empty()
}

impl<W: FnMut(ShrinkProgress)> Shrinker<'_, W> {
    /// What costs more comes when nothing else helps.
    pub(super) const NORMALISING: [fn(&mut Self); 5] =
        [Self::begin_small, Self::look_twice, Self::start_afresh, Self::trade, Self::settle];

    /// Whether so many runs were made that no larger steps are taken any more.
    pub(super) fn is_tired(&self) -> bool {
        self.is_over() || self.replays >= NORMALISED
    }

    /// Edits with a look for the violation at another place of the schedule where an edit loses it.
    fn look_twice(&mut self) {
        if self.deviations.len() > 2 {
            self.straighten_tape();
        }
        self.looks_twice = true;
        self.simplify();
        self.simplify_pairs();
        self.looks_twice = false;
    }

    /// Looks for the violation in the simplest worlds there are: in those of one task and one operation alone, with one
    /// deviation and then with two, and then in all.
    fn begin_small(&mut self) {
        let _ =
            self.begin_alone() || Extent::ROUNDS[2..].iter().any(|&extent| self.look_in_the_simplest(extent));
    }

    /// As [`Self::begin_small`], and only in those of one task and one operation alone.
    pub(super) fn begin_alone(&mut self) -> bool {
        Extent::ROUNDS[..2].iter().any(|&extent| self.look_in_the_simplest(extent))
    }

    /// As [`Self::begin_alone`], with one deviation and in few runs.
    pub(super) fn begin_smallest(&mut self) -> bool {
        self.look_in_the_simplest(Extent { runs_max: SIMPLEST / 4, ..Extent::ROUNDS[0] })
    }

    fn look_in_the_simplest(&mut self, Extent { worlds, most, runs_max }: Extent) -> bool {
        let mut simplest: Vec<_> = simplest(&self.scenario)
            .into_iter()
            .filter(|world| worlds == Worlds::All || is_alone(world))
            .map(|world| (Cost::new(&world, &[]), world))
            .filter(|(cost, world)| *cost < self.cost && world.check().is_ok())
            .collect();
        simplest.sort_by(|(one, _), (other, _)| one.cmp(other));
        // What is looked for depends on where the best so far deviates.
        let mut sites: Vec<_> = self.deviations.iter().map(|made| made.at.site).collect();
        sites.sort_unstable();
        sites.dedup();
        for (cost, world) in simplest {
            if self.is_tired() {
                break;
            }
            let is_new = self.is_new(&("simplest", cost, most, runs_max, &sites));
            if is_new && self.look(&world, &[], most, runs_max, Manner::Kindred) {
                return true;
            }
        }
        false
    }

    /// Takes the simplest scenario of this shape with at most two settings.
    fn start_afresh(&mut self) {
        // The settings of the only task are among those of all.
        let tasks = (0..self.scenario.tasks.len()).map(Scope::Task).filter(|_| self.scenario.tasks.len() > 1);
        let tasks: Vec<_> = tasks.collect();
        self.looks_twice = true;
        for scope in [Scope::All].into_iter().chain(tasks) {
            let mut simpler = edits::afresh(&self.scenario, scope);
            simpler.retain(|edit| edit.scenario.check().is_ok());
            let with_cost = |edit: Edit| (Cost::new(&edit.scenario, &self.deviations), edit);
            let mut simpler: Vec<_> = simpler.into_iter().map(with_cost).collect();
            simpler.retain(|(cost, _)| *cost < self.cost);
            simpler.sort_by(|(one, _), (other, _)| one.cmp(other));
            simpler.truncate(AFRESH);
            if simpler.iter().any(|(_, edit)| self.edit(edit)) {
                break;
            }
        }
        self.looks_twice = false;
    }

    /// Gives one thing for another: a setting, or a choice, for a setting.
    fn trade(&mut self) {
        self.looks_twice = true;
        self.exhaust(&|scenario| Box::new(edits::trade(scenario)));
        self.looks_twice = false;
        self.exhaust(&|scenario| Box::new(edits::retune(scenario)));
        let deviations = self.deviations.clone();
        let interruptions: Vec<_> =
            deviations.iter().filter(|deviation| deviation.at.site.is_preemption()).cloned().collect();
        for gone in 0..deviations.len().min(4) {
            let mut kept = deviations.clone();
            kept.remove(gone);
            let scenario = self.scenario.clone();
            for Edit { scenario, .. } in edits::turn_up(&scenario) {
                if self.is_tired() {
                    return;
                }
                let is_simpler = Cost::new(&scenario, &kept) < self.cost && scenario.check().is_ok();
                if is_simpler
                    && (self.offer(&scenario, &kept) || self.offer(&scenario, &in_first_attempts(&kept)))
                {
                    return;
                }
            }
        }
        // At an instant of its own an operation meets fewer others, and may need fewer choices.
        if interruptions.len() + 1 < deviations.len() {
            let scenario = self.scenario.clone();
            for Edit { scenario, .. } in edits::apart(&scenario) {
                let base = in_first_attempts(&interruptions);
                if self.look(&scenario, &base, 1, LOOK, Manner::Any) {
                    return;
                }
            }
        }
    }

    /// Replaces a short schedule by the first one that shows the violation.
    fn settle(&mut self) {
        let scenario = self.scenario.clone();
        let most = self.deviations.len();
        if most == 0 || most > DEVIATIONS_MAX || self.is_settled(&scenario, &self.deviations) {
            return;
        }
        // All runs together stay below 2,000, if it can be.
        let left = usize::try_from((NORMALISED + 150).saturating_sub(self.replays)).unwrap_or(CANONICAL);
        let runs_max = CANONICAL.min(left);
        if let Some(first) = self.first_schedule(&scenario, &[], most, runs_max, Manner::First) {
            self.cost = Cost::new(&scenario, &first);
            self.deviations = first;
        }
        self.settled = Some((scenario, self.deviations.len()));
    }
}
