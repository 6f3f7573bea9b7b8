//! Calls to the supervisor and what they do to the registry: G1 to G8.

use super::run::Run;
use super::state::{Body, DebtKind, Follow, Now, Owed, State};
use super::{Liberty, Report, Rule, attempts};
use crate::trace::{Admission, Answer, Call, EventNote, SpecNote, Text, Texts};

/// A call that has not returned.
#[derive(Debug)]
pub(super) struct Op {
    op: u32,
    at_ns: u64,
    /// Who was registered and who was alive when it was made.
    version: u64,
    alive_version: u64,
    kind: OpKind,
}

#[derive(Debug)]
enum OpKind {
    Add {
        spec: SpecNote,
        task: usize,
        was_registered: bool,
        /// Its TaskAddRequested has come.
        accepted: bool,
    },
    Remove {
        task: usize,
        /// The incarnation that was registered.
        incarnation: Option<u32>,
    },
    Cancel {
        task: usize,
        incarnation: Option<u32>,
        deadline_ns: u64,
        removed_ns: Option<u64>,
    },
    List,
    Snapshot,
    IsAlive(usize),
    WaitReady,
    Shutdown,
    Submit {
        task: usize,
        spec: SpecNote,
        admission: Admission,
        wait: bool,
    },
}

impl Op {
    /// The task that it is about.
    pub(super) fn task(&self) -> Option<usize> {
        match self.kind {
            OpKind::Add { task, .. }
            | OpKind::Remove { task, .. }
            | OpKind::Cancel { task, .. }
            | OpKind::IsAlive(task)
            | OpKind::Submit { task, .. } => Some(task),
            OpKind::List | OpKind::Snapshot | OpKind::WaitReady | OpKind::Shutdown => None,
        }
    }
}

pub(super) fn call(state: &mut State, op: u32, call: &Call, now: &Now<'_>, run: &Run, report: &mut Report) {
    let kind = match call {
        Call::Run(_) | Call::Serve => {
            if run.is_up() {
                state.run_is_up();
            }
            return;
        }
        Call::Add(spec) => {
            let task = state.find(spec.task);
            OpKind::Add { spec: *spec, task, was_registered: state.tasks[task].registered, accepted: false }
        }
        Call::Remove(name) => {
            let task = state.find(*name);
            OpKind::Remove { task, incarnation: state.incarnation(task) }
        }
        Call::Cancel { task, wait_ns } => {
            let task = state.find(*task);
            let deadline_ns = now.at_ns.saturating_add(*wait_ns);
            OpKind::Cancel { task, incarnation: state.incarnation(task), deadline_ns, removed_ns: None }
        }
        Call::List => OpKind::List,
        Call::Snapshot => OpKind::Snapshot,
        Call::IsAlive(name) => OpKind::IsAlive(state.find(*name)),
        Call::WaitReady => OpKind::WaitReady,
        Call::Shutdown => OpKind::Shutdown,
        Call::Submit { spec, admission, wait } => {
            OpKind::Submit { task: state.find(spec.task), spec: *spec, admission: *admission, wait: *wait }
        }
    };
    let _ = report;
    let (at_ns, version, alive_version) = (now.at_ns, state.version, state.alive_version);
    state.ops.push(Op { op, at_ns, version, alive_version, kind });
}

impl State {
    fn incarnation(&self, task: usize) -> Option<u32> {
        let task = &self.tasks[task];
        task.registered.then_some(task.incarnation)
    }

    /// Whether somebody is asking for a shutdown right now.
    pub(super) fn is_shutdown_called(&self) -> bool {
        !self.calls_seen || self.ops.iter().any(|op| matches!(op.kind, OpKind::Shutdown))
    }

    /// Submissions that wait for room.
    pub(super) fn waiting_submissions(&self) -> u64 {
        self.ops.iter().filter(|op| matches!(op.kind, OpKind::Submit { wait: true, .. })).count() as u64
    }

    /// Nothing is registered, requested or queued ([D1]).
    pub(super) fn is_idle(&self) -> bool {
        self.registered == 0 && self.controller.is_empty() && self.waiting_submissions() == 0
    }

    /// Registered names, sorted.
    pub(super) fn registered_names<'a>(&self, texts: &'a Texts) -> Vec<&'a str> {
        self.names(texts, |task| task.registered)
    }

    /// These names are not all that are registered, and what is missing was not added yet.
    fn is_early_list(&self, names: &[Text]) -> bool {
        let fits = |task: &super::state::Task| {
            let is_named = names.contains(&task.name);
            if is_named { task.registered } else { !task.registered || !task.added }
        };
        self.added < self.registered && names.len() < self.registered as usize && self.tasks.iter().all(fits)
    }

    /// Registered names as messages say them; there are some.
    pub(super) fn registered_list(&self, texts: &Texts) -> String {
        format!("`{}`", self.registered_names(texts).join("`, `"))
    }

    fn names<'a>(&self, texts: &'a Texts, which: impl Fn(&super::state::Task) -> bool) -> Vec<&'a str> {
        let mut names: Vec<_> =
            self.tasks.iter().filter(|task| which(task)).map(|task| texts.get(task.name)).collect();
        names.sort_unstable();
        names
    }
}

pub(super) fn add_requested(
    state: &mut State,
    index: usize,
    now: &Now<'_>,
    run: &mut Run,
    report: &mut Report,
) {
    let name = now.texts.get(state.tasks[index].name);
    report.witness(Rule::G1);
    if state.tasks[index].registered {
        report.breaks(Rule::G1, || format!("`{name}` was registered a second time"));
        return;
    }
    if run.requested_ns().is_some() {
        report.breaks(Rule::D2, || format!("the add of `{name}` was accepted after shutdown was requested"));
    }
    let incarnation = state.tasks[index].incarnation + 1;
    let admitted = state.controller.admitted(index, incarnation).map(|(op, spec)| (op, spec, true));
    let asked = admitted.or_else(|| {
        let added = state.ops.iter_mut().find_map(|op| match &mut op.kind {
            OpKind::Add { spec, task, accepted, .. } if *task == index && !*accepted => {
                *accepted = true;
                Some((op.op, *spec))
            }
            _ => None,
        });
        let asked = added.or_else(|| run.take_spec(state.tasks[index].name));
        asked.map(|(op, spec)| (op, spec, false))
    });
    let asked = asked.or_else(|| {
        state.controller.start(index, incarnation, name, report).map(|(op, spec)| (op, spec, true))
    });
    let spec = asked.map(|(_, spec, _)| spec);
    let is_early =
        spec.is_none() && run.refuses(state.tasks[index].name) && report.allows(Liberty::EarlyAdds);
    if spec.is_none() && state.calls_seen && !is_early {
        report.breaks(Rule::G2, || format!("`{name}` was registered, and nobody had asked for it"));
    }
    let task = &mut state.tasks[index];
    task.begin(spec);
    task.origin = asked.map(|(op, _, submitted)| (op, submitted));
    if task.incarnation > 1 {
        report.witness(Rule::G5);
    }
    state.registered += 1;
    state.version += 1;
    if run.is_up() {
        state.owe(index, DebtKind::Added);
    }
}

pub(super) fn added(state: &mut State, index: usize, now: &Now<'_>, run: &Run, report: &mut Report) {
    let slow = state.slow_removals_beside(index) > 0;
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    report.witness(Rule::G2);
    if !task.registered {
        report.breaks(Rule::G2, || {
            format!("TaskAdded of `{name}`, which has no accepted add or was removed already")
        });
        return;
    }
    if task.added {
        report.breaks(Rule::G2, || format!("`{name}` was added twice"));
        return;
    }
    task.added = true;
    state.added += 1;
    if slow {
        report.witness(Rule::G6);
    }
    if !state.tasks[index].cancelled {
        state.due(index, now.at_ns, now.at_ns);
    } else if run.is_up() {
        report.witness(Rule::R5);
        state.owe(index, DebtKind::Cut);
    }
}

pub(super) fn remove_requested(
    state: &mut State,
    index: usize,
    event: &EventNote,
    now: &Now<'_>,
    run: &Run,
    report: &mut Report,
) {
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    if !task.registered {
        report.breaks(Rule::G3, || format!("TaskRemoveRequested of `{name}`, which is not registered"));
        return;
    }
    if task.removal_requested {
        report.breaks(Rule::G3, || format!("a second TaskRemoveRequested of one incarnation of `{name}`"));
        return;
    }
    task.removal_requested = true;
    let (mut removes, mut cancels) = (false, false);
    for op in &state.ops {
        match op.kind {
            OpKind::Remove { task, .. } => removes |= task == index,
            OpKind::Cancel { task, .. } => cancels |= task == index,
            _ => {}
        }
    }
    let replaced = state.controller.replaces(index);
    let asked = removes || cancels || replaced == Some(task.incarnation);
    if state.calls_seen && !asked && replaced.is_some() {
        report.breaks(Rule::G5, || {
            format!("a Replace of what slot `{name}` had started removes another `{name}`, from outside")
        });
    } else if state.calls_seen && !asked {
        report.breaks(Rule::G3, || format!("TaskRemoveRequested of `{name}`, and nobody had asked for it"));
    } else if state.calls_seen && event.reason.is_some() && !cancels {
        report.breaks(Rule::G3, || {
            format!("TaskRemoveRequested of `{name}` speaks of a cancel, but it was removed")
        });
    }
    state.cancel(index, now, run, report);
}

pub(super) fn removed(state: &mut State, index: usize, now: &Now<'_>, run: &mut Run, report: &mut Report) {
    attempts::explain_cancel(state, index, now, report);
    let slow = state.slow_removals_beside(index) > 0;
    let task = &mut state.tasks[index];
    let name = now.texts.get(task.name);
    report.witness(Rule::G4);
    if !task.registered {
        report.breaks(Rule::G4, || {
            format!("TaskRemoved of `{name}`, which is not registered or was removed already")
        });
        return;
    }
    if slow {
        report.witness(Rule::G6);
    }
    let is_refused = !task.added && report.allows(Liberty::EarlyAdds);
    if task.added {
        state.added -= 1;
    } else if !is_refused {
        report.breaks(Rule::G2, || format!("`{name}` was removed without a TaskAdded"));
    }
    let task = &mut state.tasks[index];
    if task.open {
        report.breaks(Rule::A1, || {
            format!("`{name}` was removed, but its attempt {} has no end", task.attempt)
        });
        task.open = false;
        state.open -= 1;
    }
    let forced = run.has_exceeded_grace();
    let task = &mut state.tasks[index];
    if task.body == Body::Running {
        report.breaks(Rule::G4, || {
            format!("`{name}` was removed while the body of its attempt {} was running", task.attempt)
        });
    }
    let (follow, muted) = (task.follow, task.muted);
    match follow {
        Follow::Owed(owed) if !forced => {
            let what = owed.name();
            let rule = if owed == Owed::Dead && muted { Rule::R7 } else { Rule::R1 };
            report.breaks(rule, || format!("`{name}` was removed where {what} was owed"));
        }
        Follow::Fresh | Follow::Wait
            if !state.tasks[index].cancelled && !is_refused && !state.run_ends(run, now, report) =>
        {
            let task = &state.tasks[index];
            let next = task.attempt.saturating_add(1);
            let rule = if task.incarnation > 1 { Rule::G5 } else { Rule::R1 };
            report.breaks(rule, || {
                format!(
                    "`{name}` was removed where its attempt {next} was to come, and nobody had asked for it"
                )
            });
        }
        _ => {}
    }
    let task = &mut state.tasks[index];
    if task.cancelled {
        state.removing -= 1;
        if task.cancelled_ns < now.at_ns {
            state.removing_slowly = state.removing_slowly.saturating_sub(1);
        }
    }
    let gone = task.incarnation;
    task.registered = false;
    state.registered -= 1;
    state.version += 1;
    for op in &mut state.ops {
        if let OpKind::Cancel { task, incarnation, removed_ns, .. } = &mut op.kind
            && (*task, *incarnation) == (index, Some(gone))
        {
            *removed_ns = Some(now.at_ns);
        }
    }
}

pub(super) fn answer(
    state: &mut State,
    op: u32,
    answer: &Answer,
    now: &Now<'_>,
    run: &mut Run,
    report: &mut Report,
) {
    let Some(place) = state.ops.iter().position(|known| known.op == op) else { return };
    let op = state.ops.swap_remove(place);
    let at_once = op.at_ns == now.at_ns;
    let unchanged = op.version == state.version;
    if *answer == Answer::ShuttingDown
        && at_once
        && matches!(op.kind, OpKind::Remove { .. } | OpKind::Cancel { .. })
        && (run.is_closing() || state.run_ends(run, now, report))
        && report.allows(Liberty::ClosedIntake)
    {
        return;
    }
    match op.kind {
        OpKind::Add { task, was_registered, accepted, .. } => {
            report.witness(Rule::G2);
            let name = now.texts.get(state.tasks[task].name);
            if !at_once {
                report.breaks(Rule::G2, || format!("the add of `{name}` was not decided at once"));
            }
            match answer {
                Answer::Done if accepted => {}
                Answer::Done => {
                    report.breaks(Rule::G2, || {
                        format!("the add of `{name}` was accepted without a TaskAddRequested")
                    });
                }
                Answer::AlreadyExists | Answer::ShuttingDown
                    if accepted && !state.tasks[task].added && report.allows(Liberty::EarlyAdds) => {}
                _ if accepted => {
                    report.breaks(Rule::G2, || {
                        format!("the add of `{name}` published an event and was refused")
                    });
                }
                Answer::AlreadyExists => {
                    if !was_registered && unchanged {
                        let rule = if state.tasks[task].incarnation > 0 { Rule::G5 } else { Rule::G2 };
                        report.breaks(rule, || {
                            format!("the add of `{name}` was refused as taken, but the name is free")
                        });
                    }
                }
                Answer::ShuttingDown => {
                    if run.requested_ns().is_some() {
                        report.witness(Rule::D2);
                    } else if !run.is_over() && !run.may_be_ending() && !state.run_ends(run, now, report) {
                        let name = now.texts.get(state.tasks[task].name);
                        report.breaks(Rule::G2, || format!("the add of `{name}` was refused as shutting down, but no shutdown was requested"));
                    }
                }
                _ => report.breaks(Rule::G2, || {
                    format!("the add of `{name}` was answered with something else than an add's answers")
                }),
            }
        }
        OpKind::Remove { task, incarnation } => {
            report.witness(Rule::G3);
            let entry = &state.tasks[task];
            let name = now.texts.get(entry.name);
            if !at_once {
                report.breaks(Rule::G3, || format!("the removal of `{name}` was not decided at once"));
            }
            match (answer, incarnation) {
                (Answer::Done, Some(incarnation)) => {
                    let still = entry.registered && entry.incarnation == incarnation;
                    if still && !entry.removal_requested && !entry.cancelled {
                        report.breaks(Rule::G3, || {
                            format!("the removal of `{name}` was accepted without a TaskRemoveRequested")
                        });
                    }
                }
                (Answer::NotFound, None) => {}
                (Answer::Done, None) if unchanged => {
                    report.breaks(Rule::G3, || {
                        format!("the removal of `{name}` was accepted, but it is not registered")
                    });
                }
                (Answer::NotFound, Some(_)) if unchanged => {
                    report.breaks(Rule::G3, || {
                        format!("the removal of `{name}` was refused as not found, but it is registered")
                    });
                }
                (Answer::Done | Answer::NotFound, _) => {}
                _ => report.breaks(Rule::G3, || {
                    format!(
                        "the removal of `{name}` was answered with something else than a removal's answers"
                    )
                }),
            }
        }
        OpKind::Cancel { task, incarnation, deadline_ns, removed_ns } => {
            let name = now.texts.get(state.tasks[task].name);
            if incarnation.is_some() {
                report.witness(Rule::G7);
            }
            match (answer, incarnation) {
                (Answer::Bool(false), None) if at_once => {}
                (Answer::Bool(false), None) => {
                    report.breaks(Rule::G7, || {
                        format!("the cancel of `{name}`, which is not registered, was not answered at once")
                    });
                }
                (Answer::Bool(false), Some(_)) => {
                    report.breaks(Rule::G7, || {
                        format!(
                            "the cancel of `{name}` said that there is no such task, but it was registered"
                        )
                    });
                }
                (Answer::Bool(true), Some(_)) => match removed_ns {
                    None => report.breaks(Rule::G7, || {
                        format!("the cancel of `{name}` was answered before its TaskRemoved")
                    }),
                    Some(removed_ns) if removed_ns != now.at_ns => {
                        report.breaks(Rule::G7, || {
                            format!(
                                "the cancel of `{name}` was answered {} ns after its TaskRemoved",
                                now.at_ns - removed_ns
                            )
                        });
                    }
                    Some(_) => {}
                },
                (Answer::RemoveTimeout, Some(_)) => {
                    if now.at_ns < deadline_ns {
                        let early = deadline_ns - now.at_ns;
                        report.breaks(Rule::G7, || {
                            format!("the cancel of `{name}` gave up {early} ns before its time")
                        });
                    } else if removed_ns.is_some_and(|removed_ns| removed_ns < now.at_ns) {
                        report.breaks(Rule::G7, || {
                            format!("the cancel of `{name}` gave up, though it had been removed")
                        });
                    } else if now.at_ns > deadline_ns.saturating_add(state.late_ns) {
                        let late = now.at_ns - deadline_ns;
                        report.breaks(Rule::G7, || {
                            format!("the cancel of `{name}` gave up {late} ns after its time")
                        });
                    }
                }
                (_, None) => report.breaks(Rule::G7, || {
                    format!("the cancel of `{name}`, which is not registered, was not answered with false")
                }),
                (_, Some(_)) => report.breaks(Rule::G7, || {
                    format!("the cancel of `{name}` was answered with something else than a cancel's answers")
                }),
            }
        }
        OpKind::List => {
            let Answer::Names(names) = answer else {
                report
                    .breaks(Rule::G1, || "list_tasks was answered with something else than names".to_owned());
                return;
            };
            if unchanged {
                report.witness(Rule::G1);
                let is_early = state.is_early_list(names) && report.allows(Liberty::EarlyAdds);
                if is_early {
                    return;
                }
                compare(names, &state.registered_names(now.texts), Rule::G1, "list_tasks", now, report);
            }
        }
        OpKind::Snapshot => {
            if op.alive_version == state.alive_version
                && let Answer::Names(names) = answer
            {
                report.witness(Rule::G8);
                compare(names, &state.names(now.texts, |task| task.alive), Rule::G8, "snapshot", now, report);
            }
        }
        OpKind::IsAlive(task) => {
            if op.alive_version == state.alive_version
                && let Answer::Bool(said) = answer
            {
                report.witness(Rule::G8);
                let entry = &state.tasks[task];
                if *said != entry.alive {
                    let (name, is) = (now.texts.get(entry.name), if entry.alive { "is" } else { "is not" });
                    report.breaks(Rule::G8, || {
                        format!("is_alive of `{name}` was answered {said}, but it {is} in an attempt")
                    });
                }
            }
        }
        OpKind::WaitReady => {
            report.witness(Rule::D1);
            if *answer != Answer::Done {
                report
                    .breaks(Rule::D1, || "wait_ready was answered with something else than done".to_owned());
            } else if !run.was_up() {
                report.breaks(Rule::D1, || "wait_ready was answered before the run was up".to_owned());
            }
        }
        OpKind::Submit { task, spec, admission, wait } => {
            submit_answered(state, (op.op, task, admission, spec), (answer, wait, at_once), now, run, report);
        }
        OpKind::Shutdown => {
            if *answer != Answer::Done {
                report.breaks(Rule::D2, || {
                    "a shutdown call was answered with something else than done".to_owned()
                });
            } else if run.requested_ns().is_none() && !run.is_over() && !run.may_be_ending() {
                report.breaks(Rule::D2, || {
                    "a shutdown call was answered without a ShutdownRequested".to_owned()
                });
            }
        }
    }
}

fn submit_answered(
    state: &mut State,
    (op, task, admission, spec): (u32, usize, Admission, SpecNote),
    (answer, wait, at_once): (&Answer, bool, bool),
    now: &Now<'_>,
    run: &mut Run,
    report: &mut Report,
) {
    let name = now.texts.get(state.tasks[task].name);
    let closed = run.requested_ns().is_some() || run.is_over();
    report.witness(Rule::C4);
    if !wait && !at_once {
        report.breaks(Rule::C4, || format!("try_submit of `{name}` did not return at once"));
    }
    match answer {
        Answer::NotConfigured if !state.controller.is_configured() => {}
        _ if !state.controller.is_configured() => {
            report.breaks(Rule::C4, || {
                format!("a submission of `{name}` was not refused, though there is no controller")
            });
        }
        Answer::Done if closed => {
            report.breaks(Rule::C4, || {
                format!("a submission of `{name}` was accepted after shutdown was requested")
            });
        }
        Answer::Done => state.controller.accept(op, task, admission, spec, name, report),
        Answer::Full if wait => {
            report.breaks(Rule::C4, || format!("submit of `{name}` did not wait for room"));
        }
        Answer::Full => {
            if state.controller.has_room_beside(state.waiting_submissions()) {
                report.breaks(Rule::C4, || {
                    format!("try_submit of `{name}` was refused, though there was room")
                });
            }
        }
        Answer::Closed => {
            if !closed && !run.may_be_ending() && !state.run_ends(run, now, report) {
                report.breaks(Rule::C4, || {
                    format!("a submission of `{name}` was refused as closed, but no shutdown was requested")
                });
            }
        }
        _ => report.breaks(Rule::C4, || {
            format!("a submission of `{name}` was answered with something else than its answers")
        }),
    }
}

fn compare(said: &[Text], expected: &[&str], rule: Rule, what: &str, now: &Now<'_>, report: &mut Report) {
    let said: Vec<_> = said.iter().map(|name| now.texts.get(*name)).collect();
    if said != expected {
        report.breaks(rule, || {
            format!("{what} was answered [{}], expected [{}]", said.join(", "), expected.join(", "))
        });
    }
}

/// All instants before `until_ns` are over.
pub(super) fn settle(state: &State, until_ns: u64, run: &Run, report: &mut Report, texts: &Texts) {
    for op in &state.ops {
        match &op.kind {
            OpKind::Cancel { task, deadline_ns, removed_ns, incarnation, .. } => {
                let name = texts.get(state.tasks[*task].name);
                if incarnation.is_none() {
                    report.breaks(Rule::G7, || {
                        format!("the cancel of `{name}`, which is not registered, was not answered at once")
                    });
                } else if removed_ns.is_some() {
                    report.breaks(Rule::G7, || {
                        format!("the cancel of `{name}` was not answered when it was removed")
                    });
                } else if deadline_ns.saturating_add(state.late_ns) < until_ns {
                    report.breaks(Rule::G7, || {
                        format!("the cancel of `{name}` was not answered when its time was over")
                    });
                }
            }
            OpKind::Add { task, .. } => {
                let name = texts.get(state.tasks[*task].name);
                report.breaks(Rule::G2, || format!("the add of `{name}` was not decided at once"));
            }
            OpKind::Remove { task, .. } => {
                let name = texts.get(state.tasks[*task].name);
                report.breaks(Rule::G3, || format!("the removal of `{name}` was not decided at once"));
            }
            OpKind::WaitReady if run.was_up() => {
                report.breaks(Rule::D1, || "wait_ready was not answered though the run is up".to_owned());
            }
            OpKind::Submit { task, wait, .. } => {
                let name = texts.get(state.tasks[*task].name);
                let closed = run.requested_ns().is_some() || run.is_over();
                if !wait || closed || !state.controller.is_configured() || state.controller.has_room_beside(0)
                {
                    report.breaks(Rule::C4, || {
                        format!("a submission of `{name}` was not answered, though nothing kept it waiting")
                    });
                }
            }
            OpKind::List => report.breaks(Rule::G1, || "list_tasks was not answered at once".to_owned()),
            OpKind::Snapshot | OpKind::IsAlive(_) => {
                report.breaks(Rule::G8, || "a question for who is alive was not answered at once".to_owned());
            }
            OpKind::Shutdown => {
                report.breaks(Rule::D2, || "a shutdown call was not answered at once".to_owned());
            }
            OpKind::WaitReady => {}
        }
    }
}

/// Nothing more comes.
pub(super) fn end(state: &State, run: &Run, now: &Now<'_>, report: &mut Report) {
    for op in &state.ops {
        if let OpKind::Cancel { task, .. } = op.kind {
            let name = now.texts.get(state.tasks[task].name);
            report.breaks(Rule::G7, || format!("a cancel of `{name}` was never answered"));
        }
    }
    if run.is_over() {
        for task in state.tasks.iter().filter(|task| task.registered) {
            let name = now.texts.get(task.name);
            report.breaks(Rule::G4, || format!("`{name}` was never removed"));
        }
    }
}
