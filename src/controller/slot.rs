//! One slot: what becomes of a submission and of the end of a slot's task.
//!
//! A plain state machine that can be held against the table in contract section 8; the shell performs its effects,
//! in their order. An [`Effect::Add`] is always the last of its step, and its answer is the next input.

use std::collections::VecDeque;
use std::fmt;

use super::AdmissionPolicy;

/// Whether a slot's place is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// No task of this slot is registered.
    Idle,
    /// The slot's task is registered.
    Running,
    /// The slot's task is registered, and its removal was requested by a Replace.
    Terminating,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Terminating => "terminating",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a task came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// By its submission.
    Submitted(AdmissionPolicy),
    /// It had waited in the slot's queue.
    StartedFromQueue,
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted(policy) => f.write_str(policy.as_str()),
            Self::StartedFromQueue => f.write_str("started_from_queue"),
        }
    }
}

/// Why a submission was refused. The text is the reason of `ControllerRejected`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The slot's queue is full.
    QueueFull { pending: usize, capacity: usize },
    /// Under DropIfRunning, the slot's place is taken.
    SlotBusy(Status),
    /// A Replace took its place at the head of the queue.
    Superseded,
    /// The registry refused the add.
    AddFailed(String),
    /// The runtime is shutting down.
    ShuttingDown,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull { pending, capacity } => write!(f, "queue_full: {pending}/{capacity}"),
            Self::SlotBusy(status) => write!(f, "slot_busy: {status}"),
            Self::Superseded => f.write_str("superseded"),
            Self::AddFailed(why) => write!(f, "add_failed: {why}"),
            Self::ShuttingDown => f.write_str("shutting_down"),
        }
    }
}

/// A change of a slot's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) from: Status,
    pub(super) to: Status,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}→{}", self.from, self.to)?;
        match self.to {
            Status::Terminating => f.write_str(" (replace)"), // nothing else leads there
            Status::Idle | Status::Running => Ok(()),
        }
    }
}

/// What was admitted, and how the slot stands after it. The text is the reason of `ControllerSubmitted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Submitted {
    pub(super) admission: Admission,
    pub(super) status: Status,
    /// How many are pending in the slot.
    pub(super) depth: usize,
}

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "admission={} status={} depth={}", self.admission, self.status, self.depth)
    }
}

/// What happened to a slot. `T`: a task to be; `I`: the incarnation that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input<T, I> {
    /// A submission. `capacity`: how many may be pending.
    Submit { policy: AdmissionPolicy, task: T, capacity: usize },
    /// The add that the last step asked for was accepted.
    Added { admission: Admission, incarnation: I },
    /// The add that the last step asked for was refused.
    AddRefused { task: T, why: Rejection },
    /// An incarnation of this name was removed.
    Removed(I),
    /// Nothing is started any more.
    Close,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect<T, I> {
    /// Ask the registry to add the task, and answer with [`Input::Added`] or [`Input::AddRefused`].
    Add { admission: Admission, task: T },
    /// Request the removal of this incarnation.
    RequestRemoval(I),
    /// Publish `ControllerRejected`. The task is handed out to be dropped.
    Reject(T, Rejection),
    /// Publish `ControllerSlotTransition`.
    Transition(Transition),
    /// Publish `ControllerSubmitted`.
    Submitted(Submitted),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State<I> {
    Idle,
    Running(I),
    Terminating(I),
}

/// A place for at most one running task, and those that wait for it.
#[derive(Debug)]
pub(super) struct Slot<T, I> {
    state: State<I>,
    pending: VecDeque<T>,
}

impl<T, I> Default for Slot<T, I> {
    fn default() -> Self {
        Self { state: State::Idle, pending: VecDeque::new() }
    }
}

impl<T, I: Copy + PartialEq> Slot<T, I> {
    /// Whether the slot is as if it had never been used.
    pub(super) fn is_vacant(&self) -> bool {
        self.state == State::Idle && self.pending.is_empty()
    }

    /// The incarnation in the slot's place.
    pub(super) fn incarnation(&self) -> Option<I> {
        match self.state {
            State::Idle => None,
            State::Running(incarnation) | State::Terminating(incarnation) => Some(incarnation),
        }
    }

    fn status(&self) -> Status {
        match self.state {
            State::Idle => Status::Idle,
            State::Running(_) => Status::Running,
            State::Terminating(_) => Status::Terminating,
        }
    }

    /// The table of contract section 8, and what follows an end (\[C3\], \[C5\]).
    pub(super) fn step(&mut self, input: Input<T, I>) -> Vec<Effect<T, I>> {
        match input {
            Input::Submit { policy, task, capacity } => match (self.state, policy) {
                (State::Idle, _) => vec![Effect::Add { admission: Admission::Submitted(policy), task }],
                (_, AdmissionPolicy::Queue) => self.push(task, capacity),
                (State::Running(incarnation), AdmissionPolicy::Replace) => {
                    let mut effects = self.put_at_head(task);
                    effects.push(Effect::RequestRemoval(incarnation));
                    effects.push(self.go(State::Terminating(incarnation)));
                    effects.push(self.submitted(Admission::Submitted(policy)));
                    effects
                }
                (State::Terminating(_), AdmissionPolicy::Replace) => {
                    let mut effects = self.put_at_head(task);
                    effects.push(self.submitted(Admission::Submitted(policy)));
                    effects
                }
                (_, AdmissionPolicy::DropIfRunning) => {
                    vec![Effect::Reject(task, Rejection::SlotBusy(self.status()))]
                }
            },
            Input::Added { admission, incarnation } => {
                vec![self.go(State::Running(incarnation)), self.submitted(admission)]
            }
            Input::AddRefused { task, why } => {
                let mut effects = vec![Effect::Reject(task, why)];
                effects.extend(self.start_next());
                effects
            }
            Input::Removed(incarnation) if self.incarnation() == Some(incarnation) => {
                let mut effects = vec![self.go(State::Idle)];
                effects.extend(self.start_next());
                effects
            }
            Input::Removed(_) => Vec::new(), // a namesake from outside ([G5])
            Input::Close => {
                let pending = std::mem::take(&mut self.pending);
                pending.into_iter().map(|task| Effect::Reject(task, Rejection::ShuttingDown)).collect()
            }
        }
    }

    fn push(&mut self, task: T, capacity: usize) -> Vec<Effect<T, I>> {
        let pending = self.pending.len();
        if pending >= capacity {
            return vec![Effect::Reject(task, Rejection::QueueFull { pending, capacity })];
        }
        self.pending.push_back(task);
        vec![self.submitted(Admission::Submitted(AdmissionPolicy::Queue))]
    }

    /// Never refused for lack of room: a pending head leaves, and with none there is one replacement at most.
    fn put_at_head(&mut self, task: T) -> Vec<Effect<T, I>> {
        let superseded = self.pending.pop_front();
        self.pending.push_front(task);
        superseded.map(|task| Effect::Reject(task, Rejection::Superseded)).into_iter().collect()
    }

    fn start_next(&mut self) -> Option<Effect<T, I>> {
        let task = self.pending.pop_front()?;
        Some(Effect::Add { admission: Admission::StartedFromQueue, task })
    }

    fn go(&mut self, state: State<I>) -> Effect<T, I> {
        let from = self.status();
        self.state = state;
        Effect::Transition(Transition { from, to: self.status() })
    }

    fn submitted(&self, admission: Admission) -> Effect<T, I> {
        Effect::Submitted(Submitted { admission, status: self.status(), depth: self.pending.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AdmissionPolicy::{DropIfRunning, Queue, Replace};

    type TestSlot = Slot<&'static str, u32>;

    /// Steps, answering each add with the next of `adds`; gives what was done in words.
    fn play(slot: &mut TestSlot, input: Input<&'static str, u32>, adds: &[Result<u32, &str>]) -> Vec<String> {
        let mut adds = adds.iter();
        let mut said = Vec::new();
        let mut next = Some(input);
        while let Some(input) = next.take() {
            for effect in slot.step(input) {
                assert!(next.is_none(), "an add is the last effect of its step");
                said.push(match effect {
                    Effect::Add { admission, task } => {
                        next = Some(match *adds.next().expect("no further add") {
                            Ok(incarnation) => Input::Added { admission, incarnation },
                            Err(why) => Input::AddRefused { task, why: Rejection::AddFailed(why.into()) },
                        });
                        format!("add {task}")
                    }
                    Effect::RequestRemoval(incarnation) => format!("remove {incarnation}"),
                    Effect::Reject(task, why) => format!("reject {task}: {why}"),
                    Effect::Transition(transition) => transition.to_string(),
                    Effect::Submitted(submitted) => submitted.to_string(),
                });
            }
        }
        assert_eq!(adds.next(), None, "fewer adds than expected");
        said
    }

    fn submit(policy: AdmissionPolicy, task: &'static str) -> Input<&'static str, u32> {
        Input::Submit { policy, task, capacity: 2 }
    }

    fn running(pending: &[&'static str]) -> TestSlot {
        Slot { state: State::Running(7), pending: pending.iter().copied().collect() }
    }

    fn terminating(pending: &[&'static str]) -> TestSlot {
        Slot { state: State::Terminating(7), pending: pending.iter().copied().collect() }
    }

    fn pending(slot: &TestSlot) -> Vec<&'static str> {
        slot.pending.iter().copied().collect()
    }

    #[test]
    fn an_idle_slot_adds_whatever_the_policy() {
        for (policy, name) in [(Queue, "Queue"), (Replace, "Replace"), (DropIfRunning, "DropIfRunning")] {
            let mut slot = TestSlot::default();
            let said = play(&mut slot, submit(policy, "a"), &[Ok(7)]);
            let submitted = format!("admission={name} status=running depth=0");
            assert_eq!(said, ["add a", "idle→running", &submitted]);
            assert_eq!((slot.status(), slot.incarnation()), (Status::Running, Some(7)));
        }
    }

    #[test]
    fn an_idle_slot_whose_name_is_taken_rejects_and_stays_idle() {
        for policy in [Queue, Replace, DropIfRunning] {
            let mut slot = TestSlot::default();
            let said = play(&mut slot, submit(policy, "a"), &[Err("taken")]);
            assert_eq!(said, ["add a", "reject a: add_failed: taken"]);
            assert!(slot.is_vacant());
        }
    }

    #[test]
    fn queue_on_running_and_on_terminating_pushes_until_full() {
        for (mut slot, status) in [(running(&[]), "running"), (terminating(&[]), "terminating")] {
            let admitted = |depth| [format!("admission=Queue status={status} depth={depth}")];
            assert_eq!(play(&mut slot, submit(Queue, "a"), &[]), admitted(1));
            assert_eq!(play(&mut slot, submit(Queue, "b"), &[]), admitted(2));
            assert_eq!(play(&mut slot, submit(Queue, "c"), &[]), ["reject c: queue_full: 2/2"]);
            assert_eq!(pending(&slot), ["a", "b"]);
            assert_eq!(slot.status().as_str(), status);
        }
    }

    #[test]
    fn replace_on_running_takes_the_head_and_requests_the_removal() {
        let mut slot = running(&[]);
        let said = play(&mut slot, submit(Replace, "a"), &[]);
        let submitted = "admission=Replace status=terminating depth=1";
        assert_eq!(said, ["remove 7", "running→terminating (replace)", submitted]);
        assert_eq!((slot.status(), pending(&slot)), (Status::Terminating, vec!["a"]));
    }

    #[test]
    fn replace_on_running_supersedes_the_pending_head_alone() {
        let mut slot = running(&["a", "b"]);
        let said = play(&mut slot, submit(Replace, "c"), &[]);
        let submitted = "admission=Replace status=terminating depth=2";
        let expected = ["reject a: superseded", "remove 7", "running→terminating (replace)", submitted];
        assert_eq!(said, expected);
        assert_eq!(pending(&slot), ["c", "b"]);
    }

    #[test]
    fn replace_on_terminating_takes_the_head_without_a_second_removal() {
        let mut slot = terminating(&["a", "b"]);
        let said = play(&mut slot, submit(Replace, "c"), &[]);
        assert_eq!(said, ["reject a: superseded", "admission=Replace status=terminating depth=2"]);
        assert_eq!(pending(&slot), ["c", "b"]);
        let mut slot = terminating(&[]);
        let said = play(&mut slot, submit(Replace, "c"), &[]);
        assert_eq!(said, ["admission=Replace status=terminating depth=1"]);
        assert_eq!((slot.status(), pending(&slot)), (Status::Terminating, vec!["c"]));
    }

    #[test]
    fn drop_if_running_is_refused_on_a_taken_place() {
        let mut slot = running(&["b"]);
        assert_eq!(play(&mut slot, submit(DropIfRunning, "a"), &[]), ["reject a: slot_busy: running"]);
        assert_eq!((slot.status(), pending(&slot)), (Status::Running, vec!["b"]));
        let mut slot = terminating(&["b"]);
        assert_eq!(play(&mut slot, submit(DropIfRunning, "a"), &[]), ["reject a: slot_busy: terminating"]);
        assert_eq!((slot.status(), pending(&slot)), (Status::Terminating, vec!["b"]));
    }

    #[test]
    fn a_removal_frees_the_place_and_starts_the_next() {
        for (mut slot, from) in [(running(&["a", "b"]), "running"), (terminating(&["a", "b"]), "terminating")]
        {
            let said = play(&mut slot, Input::Removed(7), &[Ok(8)]);
            let submitted = "admission=started_from_queue status=running depth=1";
            assert_eq!(said, [&format!("{from}→idle"), "add a", "idle→running", submitted]);
            assert_eq!((slot.incarnation(), pending(&slot)), (Some(8), vec!["b"]));
        }
    }

    #[test]
    fn a_removal_with_nothing_pending_leaves_the_slot_vacant() {
        for (mut slot, said) in [(running(&[]), "running→idle"), (terminating(&[]), "terminating→idle")] {
            assert_eq!(play(&mut slot, Input::Removed(7), &[]), [said]);
            assert!(slot.is_vacant());
        }
    }

    #[test]
    fn a_start_that_fails_is_rejected_and_the_one_after_it_is_tried() {
        let mut slot = running(&["a", "b", "c"]);
        let said = play(&mut slot, Input::Removed(7), &[Err("taken"), Ok(9)]);
        let submitted = "admission=started_from_queue status=running depth=1";
        let expected =
            ["running→idle", "add a", "reject a: add_failed: taken", "add b", "idle→running", submitted];
        assert_eq!(said, expected);
        assert_eq!((slot.incarnation(), pending(&slot)), (Some(9), vec!["c"]));
    }

    #[test]
    fn the_end_of_a_namesake_from_outside_means_nothing() {
        for mut slot in [running(&["a"]), terminating(&["a"])] {
            let before = slot.status();
            assert_eq!(play(&mut slot, Input::Removed(6), &[]), [""; 0]);
            assert_eq!((slot.status(), pending(&slot)), (before, vec!["a"]));
        }
        assert_eq!(play(&mut TestSlot::default(), Input::Removed(7), &[]), [""; 0]);
    }

    #[test]
    fn closing_rejects_what_is_pending_in_order_and_keeps_the_place() {
        for mut slot in [running(&["a", "b"]), terminating(&["a", "b"])] {
            let before = slot.status();
            let said = play(&mut slot, Input::Close, &[]);
            assert_eq!(said, ["reject a: shutting_down", "reject b: shutting_down"]);
            assert_eq!((slot.status(), slot.incarnation()), (before, Some(7)));
            assert_eq!(play(&mut slot, Input::Removed(7), &[]), [format!("{before}→idle")]);
        }
    }

    #[test]
    fn without_room_a_slot_queues_nothing_and_can_still_be_replaced() {
        let mut slot = running(&[]);
        let said = play(&mut slot, Input::Submit { policy: Queue, task: "a", capacity: 0 }, &[]);
        assert_eq!(said, ["reject a: queue_full: 0/0"]);
        for task in ["b", "c", "d"] {
            play(&mut slot, Input::Submit { policy: Replace, task, capacity: 0 }, &[]);
            assert_eq!(pending(&slot), [task], "one replacement at most waits");
        }
    }

    /// Every sequence of five inputs: each submission is decided once, in order, and never two at once (\[C1\], \[C3\], \[C5\]).
    #[test]
    fn in_every_short_history_each_submission_is_decided_exactly_once() {
        const TASKS: [&str; 5] = ["t0", "t1", "t2", "t3", "t4"];
        for code in 0..6_u32.pow(5) {
            let mut history = History::default();
            for (place, task) in TASKS.into_iter().enumerate() {
                match code / 6_u32.pow(place as u32) % 6 {
                    0 => history.feed(submit(Queue, task), true),
                    1 => history.feed(submit(Replace, task), true),
                    2 => history.feed(submit(DropIfRunning, task), true),
                    3 => history.feed_removal(true),
                    4 => history.feed_removal(false),
                    _ => history.feed(submit(Queue, task), false),
                }
            }
            history.feed(Input::Close, true);
            history.feed_removal(true);
            assert!(history.slot.is_vacant(), "history {code}");
            assert_eq!(history.submitted, history.decided, "history {code}");
        }
    }

    #[derive(Default)]
    struct History {
        slot: TestSlot,
        registered: Option<u32>,
        last: u32,
        submitted: std::collections::BTreeSet<&'static str>,
        decided: std::collections::BTreeSet<&'static str>,
    }

    impl History {
        fn feed(&mut self, input: Input<&'static str, u32>, name_is_free: bool) {
            if let Input::Submit { task, .. } = input {
                self.submitted.insert(task);
            }
            let mut next = Some(input);
            while let Some(input) = next.take() {
                for effect in self.slot.step(input) {
                    match effect {
                        Effect::Add { task, .. } if !name_is_free => {
                            next =
                                Some(Input::AddRefused { task, why: Rejection::AddFailed("taken".into()) });
                        }
                        Effect::Add { admission, task } => {
                            assert_eq!(self.registered, None, "two at once");
                            assert!(self.decided.insert(task), "{task} is decided twice");
                            self.last += 1;
                            self.registered = Some(self.last);
                            next = Some(Input::Added { admission, incarnation: self.last });
                        }
                        Effect::RequestRemoval(incarnation) => assert_eq!(self.registered, Some(incarnation)),
                        Effect::Reject(task, _) => {
                            assert!(self.decided.insert(task), "{task} is decided twice");
                        }
                        Effect::Transition(_) | Effect::Submitted(_) => {}
                    }
                }
            }
            assert_eq!(self.slot.incarnation(), self.registered);
        }

        fn feed_removal(&mut self, name_is_free: bool) {
            if let Some(incarnation) = self.registered.take() {
                self.feed(Input::Removed(incarnation), name_is_free);
            }
        }
    }
}
