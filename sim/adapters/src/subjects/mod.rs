//! The runtimes that can be judged.

mod taskvisor_01;

use crate::subject::Subject;

/// All subjects, in the order in which they are listed.
#[must_use]
pub fn subjects() -> Vec<Box<dyn Subject>> {
    vec![Box::new(taskvisor_01::Taskvisor01)]
}

/// The subject of this name.
#[must_use]
pub fn subject(name: &str) -> Option<Box<dyn Subject>> {
    subjects().into_iter().find(|subject| subject.name() == name)
}
