//! Panics within a simulated run are caught and told in a report of their own, so nothing is printed when they happen.
//!
//! The hook is installed once for the process, in front of the one that was there. It keeps quiet on a thread that is
//! running a world, and leaves every other panic to the former hook: the output of other tests is not touched.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use crate::search::panic_message;

/// A panic that was caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Panicked {
    pub(super) message: String,
    /// `file:line:column`, where the hook saw it. `resume_unwind` does not call hooks.
    pub(super) place: Option<String>,
}

thread_local! {
    static IN_A_WORLD: Cell<u32> = const { Cell::new(0) };
    /// Where the last panic of this thread happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

static INSTALL: Once = Once::new();

/// Does `work` with the hook quiet on this thread.
pub(super) fn quiet<T>(work: impl FnOnce() -> T) -> T {
    INSTALL.call_once(|| {
        let former = take_hook();
        set_hook(Box::new(move |info| if IN_A_WORLD.get() > 0 { note(info) } else { former(info) }));
    });
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            IN_A_WORLD.set(IN_A_WORLD.get() - 1);
        }
    }
    IN_A_WORLD.set(IN_A_WORLD.get() + 1);
    let _leave = Leave;
    work()
}

fn note(info: &PanicHookInfo<'_>) {
    PLACE.set(info.location().map(ToString::to_string));
}

/// Does `work`, and tells of its panic.
///
/// # Errors
/// What was said and where; and the panic, to be resumed.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, (Panicked, Box<dyn Any + Send>)> {
    PLACE.set(None);
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let panicked = Panicked { message: panic_message(&*payload), place: PLACE.take() };
        (panicked, payload)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place() {
        let told = quiet(|| caught(|| panic!("ouch {}", 7))).expect_err("it panics").0;
        assert_eq!(told.message, "ouch 7");
        assert!(told.place.is_some_and(|place| place.contains("hook.rs:")));
    }

    #[test]
    fn a_resumed_panic_has_no_place() {
        let _ = quiet(|| caught(|| panic!("an earlier one")));
        let told = quiet(|| caught(|| std::panic::resume_unwind(Box::new("ouch")))).expect_err("it panics").0;
        assert_eq!(told, Panicked { message: "ouch".to_owned(), place: None });
    }

    #[test]
    fn quiet_ends_with_the_work_even_if_it_panics() {
        let _ = caught(|| quiet(|| panic!("ouch")));
        assert_eq!(IN_A_WORLD.get(), 0);
    }
}
