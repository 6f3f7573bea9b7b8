//! The run from its call to its answer: D1 to D6, and what of S4 and S9 shows at its end.

use simvisor::EventKind;

use super::delivery::Delivery;
use super::state::{Body, Now, State};
use super::{Liberty, Report, Rule};
use crate::trace::{Answer, Call, EventNote, Header, Held, SpecNote, Text};

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    InTime,
    Exceeded,
}

#[derive(Debug, Default)]
pub(super) struct Run {
    grace_ns: u64,
    late_ns: u64,
    /// The call that runs.
    op: Option<u32>,
    serve: bool,
    /// The call must be refused: a name comes twice or is registered.
    must_refuse: bool,
    called_ns: u64,
    up: bool,
    over: bool,
    /// Specs that the call came with and that are not registered yet.
    specs: Vec<SpecNote>,
    next_spec: usize,
    had_specs: bool,
    requested_ns: Option<u64>,
    /// Shutdown was requested before the run began.
    requested_early: bool,
    stopped: Option<(Stopped, u64)>,
    /// Since when nothing is registered while the run could end by itself.
    idle_ns: Option<u64>,
    /// When no task was left that had been added, and since when the run has been found to end for that.
    emptied_ns: Option<u64>,
    ends_ns: Option<u64>,
    /// Stuck tasks in order of name, and how many of them were removed.
    stuck: Vec<usize>,
    stuck_names: Vec<String>,
    removed: usize,
    cut_short: bool,
    calm: bool,
}

impl Run {
    pub(super) fn reset(&mut self, header: &Header) {
        let mut specs = std::mem::take(&mut self.specs);
        specs.clear();
        *self = Self {
            grace_ns: header.config.grace_ns,
            late_ns: header.config.timer_late_ns,
            specs,
            ..Self::default()
        };
    }

    /// Tasks that were stuck when grace was over.
    pub(super) fn stuck(&self) -> &[usize] {
        &self.stuck
    }

    pub(super) fn hold(&self, held: &mut Held) {
        held.hold_all(self.specs.iter().map(|spec| spec.task));
    }

    pub(super) fn is_up(&self) -> bool {
        self.up && !self.over
    }

    pub(super) fn was_up(&self) -> bool {
        self.up
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn requested_ns(&self) -> Option<u64> {
        self.requested_ns
    }

    pub(super) fn has_exceeded_grace(&self) -> bool {
        matches!(self.stopped, Some((Stopped::Exceeded, _)))
    }

    /// Nothing was registered at some moment of this instant or since, so the run may have decided to end.
    pub(super) fn may_be_ending(&self) -> bool {
        self.idle_ns.is_some()
    }

    pub(super) fn was_cut_short(&self) -> bool {
        self.cut_short
    }

    /// Until when subscribers may handle what is left.
    pub(super) fn drained_until(&self) -> Option<u64> {
        let from_ns = self.stopped.map(|(_, at_ns)| at_ns).or(self.idle_ns)?;
        Some(from_ns.saturating_add(self.grace_ns))
    }

    pub(super) fn grace_ns(&self) -> u64 {
        self.grace_ns
    }

    /// It has been found to end by itself.
    pub(super) fn ends(&self) -> bool {
        self.ends_ns.is_some()
    }

    /// It may be ending by itself since this instant, if it does so whenever no task is added.
    pub(super) fn may_end(&self, now: &Now<'_>) -> bool {
        self.is_up() && !self.serve && self.requested_ns.is_none() && self.emptied_ns == Some(now.at_ns)
    }

    pub(super) fn ends_now(&mut self, now: &Now<'_>) {
        self.ends_ns = Some(now.at_ns);
    }

    /// Whether removals are refused by a runtime that closes its intake.
    pub(super) fn is_closing(&self) -> bool {
        self.requested_ns.is_some() || self.over || self.ends() || self.may_be_ending()
    }

    /// An add of this name is announced by a run that is refused.
    pub(super) fn refuses(&self, name: Text) -> bool {
        self.must_refuse && self.op.is_some() && self.specs.iter().any(|spec| spec.task == name)
    }

    fn stop_deadline_ns(&self) -> Option<u64> {
        self.requested_ns
            .or(self.ends_ns)
            .map(|at_ns| at_ns.saturating_add(self.grace_ns).max(self.called_ns))
    }

    pub(super) fn calm(&mut self) {
        self.calm = true;
    }

    /// The spec of this name that the run was called with.
    pub(super) fn take_spec(&mut self, name: Text) -> Option<(u32, SpecNote)> {
        if self.must_refuse {
            return None;
        }
        let place = self.specs[self.next_spec..].iter().position(|spec| spec.task == name)? + self.next_spec;
        let spec = self.specs[place];
        self.specs.swap(place, self.next_spec);
        self.next_spec += 1;
        Some((self.op?, spec))
    }

    #[inline]
    fn after_the_end(&self, what: impl FnOnce() -> String, report: &mut Report) {
        if self.over {
            report.breaks(Rule::D6, || format!("{} after the run had returned", what()));
        }
    }

    pub(super) fn body_entered(&self, task: Text, now: &Now<'_>, report: &mut Report) {
        self.after_the_end(|| format!("a body of `{}` was entered", now.texts.get(task)), report);
    }

    pub(super) fn handler_entered(&self, subscriber: Text, now: &Now<'_>, report: &mut Report) {
        self.after_the_end(|| format!("`{}` was given an event", now.texts.get(subscriber)), report);
    }

    pub(super) fn before_event(&self, event: &EventNote, _now: &Now<'_>, report: &mut Report) {
        self.after_the_end(|| format!("{} was published", crate::trace::kind_name(event.kind)), report);
    }

    pub(super) fn after_event(
        &mut self,
        event: &EventNote,
        state: &mut State,
        now: &Now<'_>,
        report: &mut Report,
    ) {
        match event.kind {
            EventKind::ShutdownRequested => {
                report.witness(Rule::D2);
                if self.requested_ns.is_some() {
                    report.breaks(Rule::D2, || "ShutdownRequested was published twice".to_owned());
                    return;
                }
                if !state.is_shutdown_called() {
                    let idle = self.up && !self.serve && state.registered == 0;
                    let rule = if idle { Rule::D5 } else { Rule::D2 };
                    report.breaks(rule, || "ShutdownRequested, and nobody had asked for it".to_owned());
                }
                self.requested_ns = Some(now.at_ns);
                self.requested_early = !self.up;
                self.idle_ns = None;
            }
            EventKind::AllStoppedWithinGrace => self.all_stopped(state, now, report),
            EventKind::GraceExceeded => self.grace_exceeded(state, now, report),
            EventKind::TaskAdded | EventKind::TaskFailed => self.one_ended(event, state, now, report),
            EventKind::TaskRemoved => self.one_removed(event, state, now, report),
            EventKind::TaskAddRequested => self.idle_ns = None,
            EventKind::ControllerRejected | EventKind::ControllerSlotTransition => {
                self.look_for_idleness(state, now);
            }
            _ => {}
        }
    }

    fn all_stopped(&mut self, state: &State, now: &Now<'_>, report: &mut Report) {
        report.witness(Rule::D3);
        let is_own = self.requested_ns.is_none();
        let may_be = self.ends() || self.may_be_ending() || self.may_end(now);
        if is_own && may_be && report.allows(Liberty::EndsAreTold) {
            self.ends_ns.get_or_insert(now.at_ns);
        }
        let Some(deadline_ns) = self.stop_deadline_ns() else {
            report.breaks(Rule::D5, || "AllStoppedWithinGrace, and no shutdown was requested".to_owned());
            return;
        };
        if self.stopped.is_some() {
            report.breaks(Rule::D3, || "a shutdown ended twice".to_owned());
            return;
        }
        if state.registered > 0 {
            let left = state.registered_list(now.texts);
            report.breaks(Rule::D3, || format!("AllStoppedWithinGrace, but {left} are registered"));
        }
        if now.at_ns > deadline_ns {
            let late = now.at_ns - deadline_ns;
            report
                .breaks(Rule::D3, || format!("AllStoppedWithinGrace came {late} ns after the end of grace"));
        }
        self.stopped = Some((Stopped::InTime, now.at_ns));
    }

    fn grace_exceeded(&mut self, state: &mut State, now: &Now<'_>, report: &mut Report) {
        report.witness(Rule::D3);
        let is_told = self.requested_ns.is_some()
            || state.run_ends(self, now, report) && report.allows(Liberty::EndsAreTold);
        let Some(deadline_ns) = self.stop_deadline_ns().filter(|_| is_told) else {
            report.breaks(Rule::D3, || "GraceExceeded, and no shutdown was requested".to_owned());
            return;
        };
        if self.stopped.is_some() {
            report.breaks(Rule::D3, || "a shutdown ended twice".to_owned());
            return;
        }
        if now.at_ns < deadline_ns {
            let early = deadline_ns - now.at_ns;
            report.breaks(Rule::D3, || format!("GraceExceeded came {early} ns before the end of grace"));
        }
        if now.at_ns > deadline_ns.saturating_add(self.late_ns) {
            let late = now.at_ns - deadline_ns;
            report.breaks(Rule::D3, || format!("GraceExceeded came {late} ns after the end of grace"));
        }
        if state.registered == 0 {
            report.breaks(Rule::D3, || "GraceExceeded, but nothing was registered any more".to_owned());
        }
        self.stopped = Some((Stopped::Exceeded, now.at_ns));
        self.stuck = (0..state.tasks.len()).filter(|&task| state.tasks[task].registered).collect();
        self.stuck.sort_by_key(|&task| now.texts.get(state.tasks[task].name));
        self.stuck_names =
            self.stuck.iter().map(|&task| now.texts.get(state.tasks[task].name).to_owned()).collect();
    }

    /// [D3]: what is left is ended and removed one after the other.
    fn one_ended(&self, event: &EventNote, state: &State, now: &Now<'_>, report: &mut Report) {
        let Some(name) = event.task else { return };
        let is_next = self.stuck.get(self.removed).is_some_and(|&task| state.tasks[task].name == name);
        if self.has_exceeded_grace() && !is_next && !report.allows(Liberty::UnorderedForce) {
            let name = now.texts.get(name);
            report.breaks(Rule::D3, || format!("`{name}` was ended by force out of the order of names"));
        }
    }

    fn one_removed(&mut self, event: &EventNote, state: &mut State, now: &Now<'_>, report: &mut Report) {
        if self.has_exceeded_grace() {
            let Some(name) = event.task else { return };
            let task = state.find(name);
            let place = self.stuck.iter().skip(self.removed).position(|&stuck| stuck == task);
            if let Some(place) = place.filter(|place| *place > 0)
                && report.allows(Liberty::UnorderedForce)
            {
                self.stuck[self.removed..=self.removed + place].rotate_right(1);
            } else if place != Some(0) {
                let name = now.texts.get(name);
                report
                    .breaks(Rule::D3, || format!("`{name}` was removed by force out of the order of names"));
            }
            self.removed += 1;
        }
        if state.added == 0 {
            self.emptied_ns = Some(now.at_ns);
        }
        self.look_for_idleness(state, now);
    }

    fn look_for_idleness(&mut self, state: &State, now: &Now<'_>) {
        if self.is_up() && !self.serve && self.requested_ns.is_none() && state.is_idle() {
            self.idle_ns.get_or_insert(now.at_ns);
        }
    }

    pub(super) fn call(&mut self, op: u32, call: &Call, state: &State, now: &Now<'_>, _report: &mut Report) {
        let (specs, serve) = match call {
            Call::Run(specs) => (specs.as_slice(), false),
            Call::Serve => (&[][..], true),
            _ => return,
        };
        if self.up || self.op.is_some() {
            return; // a second call, which must be refused and changes nothing
        }
        self.op = Some(op);
        self.serve = serve;
        self.called_ns = now.at_ns;
        self.had_specs = !specs.is_empty();
        let mut names: Vec<_> = specs.iter().map(|spec| spec.task).collect();
        names.sort_unstable();
        let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
        let taken = state.tasks.iter().any(|task| task.registered && names.binary_search(&task.name).is_ok());
        self.must_refuse = twice || taken;
        self.specs.clear();
        self.next_spec = 0;
        self.specs.extend_from_slice(specs);
        if self.must_refuse {
            return;
        }
        self.up = true;
        if specs.is_empty() {
            if state.added == 0 {
                self.emptied_ns = Some(now.at_ns);
            }
            self.look_for_idleness(state, now);
        }
    }

    pub(super) fn answer(
        &mut self,
        op: u32,
        answer: &Answer,
        state: &State,
        delivery: &Delivery,
        now: &Now<'_>,
        report: &mut Report,
    ) {
        if self.op != Some(op) {
            if *answer == Answer::Done && !state.controller.is_empty() {
                self.idle_ns = None; // what was submitted keeps the run going
            } else {
                self.look_for_idleness(state, now);
            }
            return;
        }
        report.witness(Rule::D1);
        self.op = None;
        if self.must_refuse {
            let early = self.requested_early && *answer == Answer::ShuttingDown;
            if *answer != Answer::AlreadyExists && !early {
                report.breaks(Rule::D1, || {
                    "a run with a name that comes twice or is taken was not refused".to_owned()
                });
            }
            return;
        }
        self.over = true;
        self.check_answer(answer, state, now, report);
        state.controller.over(&state.tasks, report, now);
        if state.registered > 0 && self.requested_ns.is_some() {
            let left = state.registered_list(now.texts);
            report.breaks(Rule::D3, || format!("the run returned while {left} were registered"));
        }
        if self.requested_ns.is_some() {
            report.witness(Rule::D4);
        }
        if delivery.has_lost() {
            report.witness(Rule::S4);
        }
        let Some(until_ns) = self.drained_until() else { return };
        self.cut_short = now.at_ns >= until_ns;
        if now.at_ns > until_ns.saturating_add(self.late_ns) {
            let late = now.at_ns - until_ns;
            report.breaks(Rule::S9, || {
                format!("the run was draining queues for {late} ns longer than its grace")
            });
        }
        if !delivery.has_subscribers() && now.at_ns.saturating_add(self.grace_ns) != until_ns {
            report
                .breaks(Rule::D1, || "the run had nothing left to do and did not return at once".to_owned());
        }
    }

    fn check_answer(&self, answer: &Answer, state: &State, now: &Now<'_>, report: &mut Report) {
        let told_ns = self.ends_ns.filter(|_| self.stopped.is_some());
        if told_ns.is_some() {
            report.witness(Rule::D5);
        }
        match (answer, self.requested_ns.or(told_ns), self.stopped) {
            (Answer::Done, None, _) => {
                report.witness(Rule::D5);
                if state.registered > 0 {
                    let left = state.registered_list(now.texts);
                    report.breaks(Rule::D1, || format!("the run returned while {left} were registered"));
                } else if self.serve {
                    report.breaks(Rule::D1, || "serve returned without a shutdown".to_owned());
                }
            }
            (Answer::Done, Some(_), Some((Stopped::InTime, _))) => {
                if self.requested_early && self.had_specs {
                    let text = "shutdown was requested before the run, which registered none of its specs and gave Ok";
                    report.breaks(Rule::D2, || text.to_owned());
                }
            }
            (Answer::Done, Some(_), Some((Stopped::Exceeded, _))) => {
                report.breaks(Rule::D3, || "grace was exceeded, but the run gave Ok".to_owned());
            }
            (Answer::ShuttingDown, Some(_), Some(_)) if self.requested_early && self.had_specs => {}
            (Answer::Done | Answer::GraceExceeded(_), Some(_), None) => {
                report.breaks(Rule::D3, || {
                    "the run returned after a shutdown request and published neither of its ends".to_owned()
                });
            }
            (Answer::GraceExceeded(names), Some(_), Some((Stopped::Exceeded, _))) => {
                let said: Vec<_> = names.iter().map(|name| now.texts.get(*name)).collect();
                if said != self.stuck_names
                    && !(self.are_stuck(&said) && report.allows(Liberty::UnorderedForce))
                {
                    let (said, stuck) = (said.join(", "), self.stuck_names.join(", "));
                    report.breaks(Rule::D3, || {
                        format!("the run says that [{said}] were stuck, but it was [{stuck}]")
                    });
                }
            }
            (Answer::GraceExceeded(_), _, _) => {
                report.breaks(Rule::D3, || "the run says that grace was exceeded, but it was not".to_owned());
            }
            _ => report.breaks(Rule::D1, || "the run gave an answer that nothing accounts for".to_owned()),
        }
    }

    /// Each of these was stuck, and none is named twice.
    fn are_stuck(&self, said: &[&str]) -> bool {
        let is_new = |place: usize| !said[..place].contains(&said[place]);
        (0..said.len()).all(|place| is_new(place) && self.stuck_names.iter().any(|name| name == said[place]))
    }

    /// All instants before `until_ns` are over.
    pub(super) fn settle(&mut self, until_ns: u64, state: &State, report: &mut Report) {
        if !self.is_up() {
            return;
        }
        let at_ns = state.at_ns;
        let Some(deadline_ns) = self.stop_deadline_ns() else {
            if let Some(idle_ns) = self.idle_ns {
                if until_ns > idle_ns.saturating_add(self.grace_ns).saturating_add(self.late_ns) {
                    report.breaks(Rule::D1, || {
                        "nothing was registered any more and the run did not return".to_owned()
                    });
                }
            } else if !self.serve && state.is_idle() {
                self.idle_ns = Some(at_ns);
            }
            return;
        };
        match self.stopped {
            None if state.registered == 0 && self.requested_ns.is_none() => {}
            None if state.registered == 0 => {
                report.breaks(Rule::D3, || {
                    "every task was removed after a shutdown request, but AllStoppedWithinGrace did not come"
                        .to_owned()
                });
            }
            None if until_ns > deadline_ns.saturating_add(self.late_ns) => {
                report.breaks(Rule::D3, || {
                    "grace was over, and neither AllStoppedWithinGrace nor GraceExceeded came".to_owned()
                });
            }
            Some((Stopped::Exceeded, _)) if state.registered > 0 => {
                report.breaks(Rule::D3, || "a stuck task was not removed by force at once".to_owned());
            }
            _ => {}
        }
        let end_ns = deadline_ns.saturating_add(self.grace_ns).saturating_add(self.late_ns.saturating_mul(2));
        if until_ns > end_ns {
            report.breaks(Rule::D4, || {
                "twice the grace after its shutdown request the run had not returned".to_owned()
            });
        }
    }

    pub(super) fn leftovers(&self, [futures, timers, permits]: [u64; 3], report: &mut Report) {
        report.witness(Rule::D6);
        if [futures, timers, permits] != [0; 3] {
            report.breaks(
                Rule::D6,
                || format!("the run returned and left {futures} futures, {timers} timers and {permits} permits behind"),
            );
        }
    }

    /// Nothing more comes. `lost`: events were lost on the way.
    pub(super) fn end(&self, done: bool, lost: bool, state: &State, _now: &Now<'_>, report: &mut Report) {
        if !self.is_up() {
            return;
        }
        let excused =
            !self.calm && state.tasks.iter().any(|task| task.registered && task.body == Body::Running);
        let rule = if self.requested_ns.is_some() {
            Rule::D4
        } else if self.serve || (excused && !done) {
            return; // it waits for somebody who may wait for ever
        } else {
            Rule::D1
        };
        if lost {
            report.breaks(Rule::S4, || "events were lost, and the run never returned".to_owned());
        }
        report.breaks(rule, || "the run never returned".to_owned());
    }
}
