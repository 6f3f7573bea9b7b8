//! Calls that have not returned, and what each may return and until when: contract sections 6 to 8.

use super::super::excuse::{Liberties, Liberty};
use super::complaint::{Fits, expected, overdue, unexplained};
use super::run::describe;
use crate::trace::{Admission, Answer, Call, SpecNote, Text, Texts};

/// A call that has not returned.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) op: u32,
    at_ns: u64,
    /// Counts of changes of who is registered and who is alive, when it was made.
    registry: u64,
    alive: u64,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Add { task: usize, spec: SpecNote, was_registered: bool, accepted: bool },
    Remove { task: usize, incarnation: Option<u32> },
    Cancel { task: usize, incarnation: Option<u32>, until_ns: u64, removed_ns: Option<u64> },
    List,
    Snapshot,
    IsAlive(usize),
    WaitReady,
    Shutdown,
    Submit { task: usize, spec: SpecNote, admission: Admission, wait: bool },
}

/// What the answers are held against.
pub(super) struct Facts<'a> {
    pub(super) now_ns: u64,
    pub(super) late_ns: u64,
    /// Counts of changes of who is registered and who is alive.
    pub(super) registry: u64,
    pub(super) alive: u64,
    pub(super) was_up: bool,
    pub(super) over: bool,
    pub(super) shutdown: bool,
    pub(super) may_be_ending: bool,
    pub(super) free: Liberties,
    /// There is a controller.
    pub(super) configured: bool,
    /// The task of the call: whether it is registered, which incarnation it is, whether its removal was requested or
    /// it was cancelled, and whether it is in an attempt.
    pub(super) task: Subject<'a>,
    pub(super) texts: &'a Texts,
}

impl Facts<'_> {
    /// Removals and cancels may be refused.
    fn refuses(&self) -> bool {
        self.free.has(Liberty::ClosedIntake) && (self.shutdown || self.over || self.may_be_ending)
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) incarnation: Option<u32>,
    pub(super) leaving: bool,
    pub(super) alive: bool,
}

/// Open calls, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: Vec<Open>,
    /// Those of them that are submissions which wait for room.
    waiting: u64,
    /// The trace tells of calls at all.
    pub(super) seen: bool,
}

impl Calls {
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.waiting = 0;
        self.seen = false;
    }

    pub(super) fn open(&mut self, op: u32, at_ns: u64, counts: (u64, u64), kind: Kind) {
        self.waiting += u64::from(kind.waits());
        self.open.push(Open { op, at_ns, registry: counts.0, alive: counts.1, kind });
    }

    pub(super) fn take(&mut self, op: u32) -> Option<Open> {
        let place = self.open.iter().position(|open| open.op == op)?;
        let open = self.open.swap_remove(place);
        self.waiting -= u64::from(open.kind.waits());
        Some(open)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Tasks that open calls are about.
    pub(super) fn subjects(&self) -> impl Iterator<Item = usize> {
        self.open.iter().filter_map(|open| open.kind.task())
    }

    pub(super) fn any(&self, fits: impl Fn(&Kind) -> bool) -> bool {
        self.open.iter().any(|open| fits(&open.kind))
    }

    pub(super) fn is_shutdown_asked(&self) -> bool {
        !self.seen || self.any(|kind| matches!(kind, Kind::Shutdown))
    }

    /// Submissions that wait for room.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// The add that a TaskAddRequested of this task comes of.
    pub(super) fn accept(&mut self, index: usize) -> Option<(u32, SpecNote)> {
        self.open.iter_mut().find_map(|open| match &mut open.kind {
            Kind::Add { task, spec, accepted, .. } if *task == index && !*accepted => {
                *accepted = true;
                Some((open.op, *spec))
            }
            _ => None,
        })
    }

    /// An incarnation was removed.
    pub(super) fn removed(&mut self, index: usize, gone: u32, now_ns: u64) {
        for open in &mut self.open {
            if let Kind::Cancel { task, incarnation, removed_ns, .. } = &mut open.kind
                && (*task, *incarnation) == (index, Some(gone))
            {
                *removed_ns = Some(now_ns);
            }
        }
    }

    /// All instants before `end_ns` are over: whatever is decided at once must have been.
    pub(super) fn settle(
        &self,
        end_ns: u64,
        late_ns: u64,
        was_up: bool,
        may_submit: impl Fn(bool) -> bool,
    ) -> Fits {
        for open in &self.open {
            let (late, rules, what): (bool, &'static [&'static str], &str) = match &open.kind {
                Kind::Cancel { incarnation: None, .. } => (true, &["G7"], "a cancel of an absent task"),
                Kind::Cancel { removed_ns: Some(_), .. } => (true, &["G7"], "a cancel of a removed task"),
                Kind::Cancel { until_ns, .. } => {
                    (until_ns.saturating_add(late_ns) < end_ns, &["G7"], "a cancel whose time is over")
                }
                Kind::Add { .. } => (true, &["G2"], "an add"),
                Kind::Remove { .. } => (true, &["G3"], "a removal"),
                Kind::List => (true, &["G1"], "list_tasks"),
                Kind::Snapshot | Kind::IsAlive(_) => (true, &["G8"], "a question for who is alive"),
                Kind::Shutdown => (true, &["D2"], "a shutdown call"),
                Kind::WaitReady => (was_up, &["D1"], "wait_ready, after the run was up,"),
                Kind::Submit { wait, .. } => (may_submit(*wait), &["C4"], "a submission that nothing kept"),
            };
            if late {
                let what = format!("{what} (operation {}) was not answered at once", open.op);
                return match &open.kind {
                    Kind::Cancel { removed_ns: None, until_ns, incarnation: Some(_), .. } => {
                        overdue(rules, what, until_ns.saturating_add(late_ns))
                    }
                    _ => unexplained(rules, what),
                };
            }
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn end(&self) -> Fits {
        if self.any(|kind| matches!(kind, Kind::Cancel { .. })) {
            return unexplained(&["G7"], "a cancel was never answered".to_owned());
        }
        Ok(())
    }
}

impl Kind {
    pub(super) fn of(
        call: &Call,
        at_ns: u64,
        find: impl FnOnce(Text) -> (usize, Option<u32>),
    ) -> Option<Self> {
        Some(match call {
            Call::Run(_) | Call::Serve => return None,
            Call::Add(spec) => {
                let (task, incarnation) = find(spec.task);
                let was_registered = incarnation.is_some();
                Self::Add { task, spec: *spec, was_registered, accepted: false }
            }
            Call::Remove(name) => {
                let (task, incarnation) = find(*name);
                Self::Remove { task, incarnation }
            }
            Call::Cancel { task, wait_ns } => {
                let until_ns = at_ns.saturating_add(*wait_ns);
                let (task, incarnation) = find(*task);
                Self::Cancel { task, incarnation, until_ns, removed_ns: None }
            }
            Call::List => Self::List,
            Call::Snapshot => Self::Snapshot,
            Call::IsAlive(name) => Self::IsAlive(find(*name).0),
            Call::WaitReady => Self::WaitReady,
            Call::Shutdown => Self::Shutdown,
            Call::Submit { spec, admission, wait } => {
                Self::Submit { task: find(spec.task).0, spec: *spec, admission: *admission, wait: *wait }
            }
        })
    }

    /// It is a submission that waits for room.
    fn waits(&self) -> bool {
        matches!(self, Self::Submit { wait: true, .. })
    }

    pub(super) fn task(&self) -> Option<usize> {
        match self {
            Self::Add { task, .. }
            | Self::Remove { task, .. }
            | Self::Cancel { task, .. }
            | Self::IsAlive(task)
            | Self::Submit { task, .. } => Some(*task),
            Self::List | Self::Snapshot | Self::WaitReady | Self::Shutdown => None,
        }
    }
}

/// Whether a call may return this. `names` are those that are registered, or alive, sorted; of the former some are
/// `not_added`.
pub(super) fn answered(
    open: &Open,
    answer: &Answer,
    facts: &Facts<'_>,
    names: impl Fn(bool) -> Vec<Text>,
    not_added: impl Fn() -> Vec<Text>,
    has_room: bool,
) -> Fits {
    let at_once = open.at_ns == facts.now_ns;
    let unchanged = open.registry == facts.registry;
    let closed = facts.shutdown || facts.over;
    let (rules, call, may): (&'static [&'static str], &'static str, Result<(), String>) = match &open.kind {
        Kind::Add { was_registered, accepted, .. } => {
            let is_refusal = matches!(answer, Answer::AlreadyExists | Answer::ShuttingDown);
            let may = if *accepted && is_refusal && facts.free.has(Liberty::EarlyAdds) {
                allow(facts.task.incarnation.is_none(), "Ok")
            } else if *accepted {
                allow(matches!(answer, Answer::Done), "Ok")
            } else {
                match answer {
                    Answer::AlreadyExists => {
                        allow(*was_registered || !unchanged, "Ok, with TaskAddRequested")
                    }
                    Answer::ShuttingDown => allow(
                        closed || facts.may_be_ending,
                        "Ok, with TaskAddRequested, or TaskAlreadyExists",
                    ),
                    _ => Err("Ok, with TaskAddRequested, or a refusal".to_owned()),
                }
            };
            (&["G2", "G5"], "the add", may)
        }
        Kind::Remove { incarnation, .. } => {
            let may = match (answer, incarnation) {
                (Answer::Done, Some(incarnation)) => allow(
                    facts.task.incarnation != Some(*incarnation) || facts.task.leaving,
                    "Ok, after TaskRemoveRequested",
                ),
                (Answer::Done, None) => allow(!unchanged, "TaskNotFound"),
                (Answer::NotFound, Some(_)) => allow(!unchanged, "Ok"),
                (Answer::NotFound, None) => Ok(()),
                (Answer::ShuttingDown, _) if facts.refuses() => Ok(()),
                _ => Err("Ok or TaskNotFound".to_owned()),
            };
            (&["G3"], "the removal", may)
        }
        Kind::Cancel { incarnation, until_ns, removed_ns, .. } => {
            let now = facts.now_ns;
            let may = match (answer, incarnation, removed_ns) {
                (Answer::Bool(false), None, _) => Ok(()),
                (Answer::ShuttingDown, ..) if facts.refuses() && at_once => Ok(()),
                (_, None, _) => Err("false".to_owned()),
                (Answer::Bool(true), Some(_), Some(removed_ns)) => {
                    allow(now == *removed_ns, "true at its TaskRemoved")
                }
                (Answer::RemoveTimeout, Some(_), removed_ns) => {
                    let in_time = now >= *until_ns && now <= until_ns.saturating_add(facts.late_ns);
                    allow(
                        in_time && removed_ns.is_none_or(|removed_ns| removed_ns == now),
                        "true at its TaskRemoved, or TaskRemoveTimeout when its time is over",
                    )
                }
                _ => Err("true at its TaskRemoved, or TaskRemoveTimeout when its time is over".to_owned()),
            };
            if incarnation.is_some() && !at_once {
                return said(&["G7"], "the cancel", answer, may, facts);
            }
            (&["G7"], "the cancel", may)
        }
        Kind::List => {
            let is_early = facts.free.has(Liberty::EarlyAdds)
                && matches!(answer, Answer::Names(said) if is_early_list(said, &names(false), &not_added()));
            let may = if is_early { Ok(()) } else { listed(answer, unchanged, || names(false), facts) };
            (&["G1"], "list_tasks", may)
        }
        Kind::Snapshot => {
            let same = open.alive == facts.alive;
            (&["G8"], "snapshot", listed(answer, same, || names(true), facts))
        }
        Kind::IsAlive(_) => {
            let may = match answer {
                Answer::Bool(alive) => {
                    let is = if facts.task.alive { "true" } else { "false" };
                    allow(open.alive != facts.alive || *alive == facts.task.alive, is)
                }
                _ => Err("true or false".to_owned()),
            };
            (&["G8"], "is_alive", may)
        }
        Kind::WaitReady => {
            let may = allow(*answer == Answer::Done && facts.was_up, "Ok, once the run is up");
            return said(&["D1"], "wait_ready", answer, may, facts);
        }
        Kind::Shutdown => {
            let may = allow(
                *answer == Answer::Done && (closed || facts.may_be_ending),
                "Ok, after ShutdownRequested",
            );
            (&["D2"], "the shutdown call", may)
        }
        Kind::Submit { wait, .. } => {
            let may = match answer {
                Answer::NotConfigured => allow(!facts.configured, "an answer of the controller"),
                _ if !facts.configured => Err("NotConfigured".to_owned()),
                Answer::Done => allow(!closed, "Closed"),
                Answer::Full => allow(!wait && !has_room, "Ok: there was room, or it waits for it"),
                Answer::Closed => allow(closed || facts.may_be_ending, "Ok"),
                _ => Err("Ok, Full or Closed".to_owned()),
            };
            if *wait {
                return said(&["C4"], "the submission", answer, may, facts);
            }
            (&["C4"], "the submission", may)
        }
    };
    if !at_once {
        return unexplained(rules, format!("{} was answered later than at once", named(call, facts)));
    }
    said(rules, call, answer, may, facts)
}

/// These are the names but for some that are not added yet.
fn is_early_list(said: &[Text], names: &[Text], not_added: &[Text]) -> bool {
    let is_left_out = |name: &&Text| not_added.contains(name) && !said.contains(name);
    said.iter().eq(names.iter().filter(|name| !is_left_out(name)))
}

fn allow(fits: bool, instead: &str) -> Result<(), String> {
    if fits { Ok(()) } else { Err(instead.to_owned()) }
}

fn listed(
    answer: &Answer,
    unchanged: bool,
    names: impl FnOnce() -> Vec<Text>,
    facts: &Facts<'_>,
) -> Result<(), String> {
    match answer {
        Answer::Names(said) if unchanged => {
            let names = names();
            if *said == names {
                return Ok(());
            }
            Err(describe(&Answer::Names(names), facts.texts))
        }
        Answer::Names(_) => Ok(()),
        _ => Err("names".to_owned()),
    }
}

fn said(
    rules: &'static [&'static str],
    call: &str,
    answer: &Answer,
    may: Result<(), String>,
    facts: &Facts<'_>,
) -> Fits {
    match may {
        Ok(()) => Ok(()),
        Err(instead) => {
            let answer = describe(answer, facts.texts);
            let call = named(call, facts);
            expected(rules, format!("{call} was answered {answer}"), format!("{instead} as the answer"))
        }
    }
}

/// A call and the task that it is of, if it is of one.
fn named(call: &str, facts: &Facts<'_>) -> String {
    match facts.task.name {
        "" => call.to_owned(),
        name => format!("{call} of `{name}`"),
    }
}
