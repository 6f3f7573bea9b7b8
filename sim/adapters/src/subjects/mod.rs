//! The runtimes that can be judged.

mod task_supervisor;
mod taskvisor_01;
mod taskvisor_09;
mod toy;

use crate::subject::Subject;

/// All subjects, in the order in which they are listed.
#[must_use]
pub fn subjects() -> Vec<Box<dyn Subject>> {
    let toy = |fault| -> Box<dyn Subject> { Box::new(toy::Toy(fault)) };
    vec![
        Box::new(taskvisor_01::Taskvisor01),
        Box::new(taskvisor_09::Taskvisor09),
        Box::new(task_supervisor::TaskSupervisor),
        toy(toy::Fault::None),
        toy(toy::Fault::ReapsTooLittle),
        toy(toy::Fault::RestartsAfterSuccess),
        toy(toy::Fault::RevivesTemporary),
        toy(toy::Fault::BurnsQuota),
    ]
}

/// The subject of this name.
#[must_use]
pub fn subject(name: &str) -> Option<Box<dyn Subject>> {
    subjects().into_iter().find(|subject| subject.name() == name)
}
