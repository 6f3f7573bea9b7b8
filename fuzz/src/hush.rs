//! libFuzzer's panic hook ends the process before anybody can look at the run. Within a run a panic is a finding like
//! any other: it is caught, and reported with its case.

use std::cell::Cell;

thread_local! {
    static HUSHED: Cell<bool> = const { Cell::new(false) };
}

/// Puts itself before the hook of libFuzzer. Call it once, when that is there.
pub fn install() {
    let end_of_process = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !HUSHED.get() {
            end_of_process(panic);
        }
    }));
}

/// Does `run`, whose panics are caught within.
pub fn during<T>(run: impl FnOnce() -> T) -> T {
    HUSHED.set(true);
    let result = run();
    HUSHED.set(false);
    result
}
