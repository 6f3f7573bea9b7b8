//! Admission control: submissions, and a slot per task name that runs at most one task at a time.
//!
//! What becomes of a submission is decided by [`slot::Slot::step`], a plain state machine; this file performs it. The
//! loop reads one lossless inbox (\[S4\]) with two kinds of messages: submissions, at most `queue_capacity` of them, and
//! the ends of tasks that a slot started. The supervisor tells of an end by incarnation, so that a namesake
//! added from outside is never taken for a slot's task (\[G5\]).
//!
//! # Order of events
//!
//! Each line is published without anything in between, except where `…` stands.
//!
//! - A submission that is added at once: `TaskAddRequested`, `ControllerSlotTransition idle→running`,
//!   `ControllerSubmitted`.
//! - One that waits: `ControllerSubmitted`. One that is refused: `ControllerRejected`.
//! - A Replace on a running task: `ControllerRejected superseded` of the pending head, if there is one;
//!   `TaskRemoveRequested`, unless the removal was requested already or the task is out of the registry and the slot
//!   is yet to hear of it; `ControllerSlotTransition running→terminating (replace)`; `ControllerSubmitted`.
//! - The end of a slot's task: `TaskRemoved` … `ControllerSlotTransition …→idle`; then, with one pending,
//!   `TaskAddRequested`, `ControllerSlotTransition idle→running`, `ControllerSubmitted
//!   admission=started_from_queue`. A pending one whose name is taken gives `ControllerRejected add_failed: …` in
//!   place of these three, and the one after it is tried.
//! - A shutdown request: `ShutdownRequested`, then `ControllerRejected shutting_down` for all that is pending: by slot
//!   in order of name, first in first out, then what no slot has seen, in order of submission. The slots' running
//!   tasks go on to their `TaskRemoved … →idle` as ever; all of these transitions come before
//!   `AllStoppedWithinGrace`, or, for tasks that were aborted, after `GraceExceeded` and their `TaskRemoved`.
//!
//! `status` and `depth` tell how the slot stands after the admission. Submissions count in the order in which
//! `submit` and `try_submit` returned `Ok`. Those made before the run are decided once it has started, after the
//! specs given to `run` are registered.

mod slot;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use thiserror::Error;

use self::slot::{Effect, Input, Rejection, Slot};
use crate::error::RuntimeError;
use crate::event::{Event, EventKind};
use crate::registry::Incarnation;
use crate::runtime::{PreemptPoint, Runtime, Shared, WaitsFor};
use crate::supervisor::{Inner, Supervisor, SupervisorBuilder};
use crate::sync::{Inbox, Latch, Permit, Semaphore};
use crate::task::TaskSpec;

/// Limits of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControllerConfig {
    /// How many submissions may wait for the controller. Default 1024; 0 counts as 1.
    pub queue_capacity: usize,
    /// How many tasks may be pending in one slot under [`AdmissionPolicy::Queue`]. Default 100. With 0 nothing is
    /// queued; a replacement waits all the same.
    pub slot_capacity: usize,
}

impl Default for ControllerConfig {
    fn default() -> Self {
        Self { queue_capacity: 1024, slot_capacity: 100 }
    }
}

/// What becomes of a submission whose slot runs a task already. An idle slot starts it in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AdmissionPolicy {
    /// It waits for its turn, or is rejected if `slot_capacity` tasks wait.
    Queue,
    /// The running task is removed, and this one is the next to start. A pending task that was to be the next is
    /// rejected.
    Replace,
    /// It is rejected.
    DropIfRunning,
}

impl AdmissionPolicy {
    /// The policy as `ControllerSubmitted` names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::Replace => "Replace",
            Self::DropIfRunning => "DropIfRunning",
        }
    }
}

/// A submission: a task and how it is admitted. Its slot is named after the task.
///
/// ```
/// use simvisor::{AdmissionPolicy, ControllerSpec, TaskFn, TaskSpec};
///
/// let task = TaskSpec::new(TaskFn::arc("deploy", |_ctx| async { Ok(()) }));
/// let spec = ControllerSpec::replace(task);
/// assert_eq!(&*spec.slot(), "deploy");
/// assert_eq!(spec.admission(), AdmissionPolicy::Replace);
/// ```
#[derive(Debug, Clone)]
pub struct ControllerSpec {
    admission: AdmissionPolicy,
    task: TaskSpec,
}

impl ControllerSpec {
    /// A submission of `task` under `admission`.
    #[must_use]
    pub fn new(admission: AdmissionPolicy, task: TaskSpec) -> Self {
        Self { admission, task }
    }

    /// A submission under [`AdmissionPolicy::Queue`].
    #[must_use]
    pub fn queue(task: TaskSpec) -> Self {
        Self::new(AdmissionPolicy::Queue, task)
    }

    /// A submission under [`AdmissionPolicy::Replace`].
    #[must_use]
    pub fn replace(task: TaskSpec) -> Self {
        Self::new(AdmissionPolicy::Replace, task)
    }

    /// A submission under [`AdmissionPolicy::DropIfRunning`].
    #[must_use]
    pub fn drop_if_running(task: TaskSpec) -> Self {
        Self::new(AdmissionPolicy::DropIfRunning, task)
    }

    /// The name of the slot, which is the task's.
    #[must_use]
    pub fn slot(&self) -> Arc<str> {
        self.task.name()
    }

    /// The policy.
    #[must_use]
    pub fn admission(&self) -> AdmissionPolicy {
        self.admission
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> &TaskSpec {
        &self.task
    }
}

/// Why a submission was not accepted. One that was not accepted publishes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ControllerError {
    /// `queue_capacity` submissions wait for the controller.
    #[error("controller queue is full")]
    Full,
    /// The supervisor was built without a controller.
    #[error("no controller is configured")]
    NotConfigured,
    /// Shutdown was requested, or the run is over.
    #[error("controller is closed")]
    Closed,
}

impl ControllerError {
    /// A stable label for metrics.
    #[must_use]
    pub fn as_label(&self) -> &'static str {
        match self {
            Self::Full => "controller_full",
            Self::NotConfigured => "controller_not_configured",
            Self::Closed => "controller_closed",
        }
    }
}

/// What the controller's loop reads. Lossless (\[S4\]).
#[derive(Debug)]
enum Message {
    /// A submission, with its place in the queue.
    Submission(ControllerSpec, Permit),
    /// A task that a slot started was removed.
    Removed(Arc<str>, Incarnation),
}

/// The controller's part of a supervisor.
#[derive(Debug)]
pub(crate) struct Controller {
    slot_capacity: usize,
    inbox: Inbox<Message>,
    /// Places for submissions that no slot has seen.
    room: Semaphore,
    /// Raised when nothing is accepted any more.
    closed: Latch,
    /// Calls of `submit` that have not returned.
    submitting: Cell<usize>,
    /// Slots that are in use.
    slots: RefCell<BTreeMap<Arc<str>, Slot<TaskSpec, Incarnation>>>,
}

impl Controller {
    pub(crate) fn new(config: ControllerConfig) -> Self {
        Self {
            slot_capacity: config.slot_capacity,
            inbox: Inbox::default(),
            room: Semaphore::new(config.queue_capacity.max(1)),
            closed: Latch::new(),
            submitting: Cell::new(0),
            slots: RefCell::default(),
        }
    }

    /// Whether, once nothing is registered, nothing is queued or asking to be queued (\[D1\]). A slot in use needs no
    /// look: its task is registered, or the end of it is in the inbox.
    pub(crate) fn is_idle(&self) -> bool {
        self.submitting.get() == 0 && self.inbox.is_empty()
    }

    /// An incarnation was removed. The loop hears of it if a slot started it.
    pub(crate) fn removed(&self, rt: &dyn Runtime, name: &Arc<str>, incarnation: Incarnation) {
        rt.touches(Shared::Slots);
        let slots = self.slots.borrow();
        if slots.get(name).is_some_and(|slot| slot.incarnation() == Some(incarnation)) {
            self.inbox.send(Message::Removed(Arc::clone(name), incarnation));
        }
    }

    fn accept(&self, spec: ControllerSpec, place: Permit) {
        self.inbox.send(Message::Submission(spec, place));
    }
}

impl SupervisorBuilder {
    /// Gives the supervisor a controller.
    #[must_use]
    pub fn with_controller(mut self, config: ControllerConfig) -> Self {
        self.controller = Some(config);
        self
    }
}

impl Supervisor {
    /// Submits a task to its slot, waiting for room in the controller's queue, first come first served (\[C4\]). What
    /// becomes of it is told by events. A call that waits keeps `run` from ending by itself.
    ///
    /// # Errors
    /// [`ControllerError::NotConfigured`] without a controller; [`ControllerError::Closed`] if shutdown was requested
    /// before there was room, or the run is over.
    pub async fn submit(&self, spec: ControllerSpec) -> Result<(), ControllerError> {
        let (inner, controller) = (&self.inner, self.inner.open_controller()?);
        let submitting = Submitting::new(inner, controller);
        let rt = &inner.hub.rt;
        rt.waits_for(WaitsFor::Room);
        let mut closed = pin!(controller.closed.wait());
        let mut room = pin!(controller.room.acquire());
        let place = poll_fn(|cx| {
            if closed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(ControllerError::Closed));
            }
            rt.touches(Shared::Slots);
            room.as_mut().poll(cx).map(Ok)
        })
        .await?;
        rt.point(PreemptPoint::BeforeSubmit).await;
        inner.open_controller()?.accept(spec, place);
        drop(submitting);
        Ok(())
    }

    /// As [`Supervisor::submit`], without waiting.
    ///
    /// # Errors
    /// As [`Supervisor::submit`], and [`ControllerError::Full`] if there is no room.
    pub fn try_submit(&self, spec: ControllerSpec) -> Result<(), ControllerError> {
        let controller = self.inner.open_controller()?;
        let place = controller.room.try_acquire().ok_or(ControllerError::Full)?;
        controller.accept(spec, place);
        Ok(())
    }
}

/// A call of `submit` that has not returned: a request that the run waits for (\[D1\]).
struct Submitting<'a> {
    inner: &'a Inner,
    controller: &'a Controller,
}

impl<'a> Submitting<'a> {
    fn new(inner: &'a Inner, controller: &'a Controller) -> Self {
        controller.submitting.set(controller.submitting.get() + 1);
        Self { inner, controller }
    }
}

impl Drop for Submitting<'_> {
    fn drop(&mut self) {
        self.controller.submitting.set(self.controller.submitting.get() - 1);
        if self.controller.is_idle() {
            self.inner.wake_driver();
        }
    }
}

impl Inner {
    /// The controller, if it accepts submissions.
    fn open_controller(&self) -> Result<&Controller, ControllerError> {
        self.hub.touches(Shared::Slots);
        let controller = self.controller.as_ref().ok_or(ControllerError::NotConfigured)?;
        if self.phase.get().accepts_adds() { Ok(controller) } else { Err(ControllerError::Closed) }
    }

    /// Decides what comes to the controller, until it is aborted.
    pub(crate) async fn controller_loop(self: Rc<Self>) {
        let Some(controller) = &self.controller else { return };
        let rt = &self.hub.rt;
        loop {
            rt.waits_for(WaitsFor::Submission);
            controller.inbox.ready().await;
            // A message is in the inbox until it is decided: a shutdown finds it there ([C1]).
            rt.point(PreemptPoint::ControllerMessage).await;
            self.decide_next(controller);
            if controller.is_idle() {
                self.wake_driver();
            }
        }
    }

    /// Nothing is accepted or started any more: rejects all that is pending (\[C1\]).
    pub(crate) fn close_controller(&self) {
        let Some(controller) = &self.controller else { return };
        controller.closed.raise();
        let names: Vec<_> = controller.slots.borrow().keys().cloned().collect();
        for name in &names {
            self.feed(controller, name, Input::Close);
        }
        self.settle_controller();
    }

    /// Acts on everything in the inbox, at once.
    pub(crate) fn settle_controller(&self) {
        let Some(controller) = &self.controller else { return };
        while self.decide_next(controller) {}
    }

    /// Forgets the slots. Only a run that was dropped has any left, and they have nothing pending.
    pub(crate) fn clear_controller(&self) {
        if let Some(controller) = &self.controller {
            controller.slots.borrow_mut().clear();
        }
    }

    /// Acts on the oldest message; false if there is none.
    fn decide_next(&self, controller: &Controller) -> bool {
        match controller.inbox.try_recv() {
            None => return false,
            Some(Message::Submission(spec, _place)) if controller.closed.is_raised() => {
                self.reject(&spec.slot(), &Rejection::ShuttingDown);
            }
            Some(Message::Submission(spec, _place)) => {
                let ControllerSpec { admission: policy, task } = spec;
                let capacity = controller.slot_capacity;
                self.feed(controller, &task.name(), Input::Submit { policy, task, capacity });
            }
            Some(Message::Removed(name, incarnation)) => {
                self.feed(controller, &name, Input::Removed(incarnation));
            }
        }
        true
    }

    /// Steps a slot until it asks for nothing more.
    fn feed(&self, controller: &Controller, name: &Arc<str>, input: Input<TaskSpec, Incarnation>) {
        // Dropped last: what a task does when it is dropped is anybody's code, and may call back.
        let mut refused = Vec::new();
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let effects = controller.slots.borrow_mut().entry(Arc::clone(name)).or_default().step(input);
            for effect in effects {
                match effect {
                    Effect::Add { admission, task } => {
                        next = Some(match self.add(&task) {
                            Ok(incarnation) => Input::Added { admission, incarnation },
                            Err(RuntimeError::ShuttingDown) => {
                                Input::AddRefused { task, why: Rejection::ShuttingDown }
                            }
                            Err(why) => {
                                Input::AddRefused { task, why: Rejection::AddFailed(why.to_string()) }
                            }
                        });
                    }
                    Effect::RequestRemoval(incarnation) => self.remove_incarnation(name, incarnation),
                    Effect::Reject(task, why) => {
                        refused.push(task);
                        self.reject(name, &why);
                    }
                    Effect::Transition(transition) => {
                        self.tell(EventKind::ControllerSlotTransition, name, transition.to_string());
                    }
                    Effect::Submitted(submitted) => {
                        self.tell(EventKind::ControllerSubmitted, name, submitted.to_string());
                    }
                }
            }
        }
        let mut slots = controller.slots.borrow_mut();
        if slots.get(name).is_some_and(Slot::is_vacant) {
            slots.remove(name);
        }
    }

    fn reject(&self, slot: &Arc<str>, why: &Rejection) {
        self.tell(EventKind::ControllerRejected, slot, why.to_string());
    }

    fn tell(&self, kind: EventKind, slot: &Arc<str>, reason: String) {
        self.publish(Event::unstamped(kind).with_task(Arc::clone(slot)).with_reason(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_texts_and_labels() {
        let table = [
            (ControllerError::Full, "controller queue is full", "controller_full"),
            (ControllerError::NotConfigured, "no controller is configured", "controller_not_configured"),
            (ControllerError::Closed, "controller is closed", "controller_closed"),
        ];
        for (error, text, label) in table {
            assert_eq!((error.to_string().as_str(), error.as_label()), (text, label));
        }
    }

    #[test]
    fn the_limits_are_the_contract_s() {
        let ControllerConfig { queue_capacity, slot_capacity } = ControllerConfig::default();
        assert_eq!((queue_capacity, slot_capacity), (1024, 100));
    }
}
