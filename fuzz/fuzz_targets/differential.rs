//! A world in first-in first-out order against the straight-line model of one actor.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_target};
use simvisor_sim::fuzz::differential;
use simvisor_sim::search::Runner;

thread_local! {
    /// One engine for all inputs.
    static RUNNER: RefCell<Runner> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match RUNNER.with_borrow_mut(|runner| differential(runner, bytes)) {
        Ok(true) => Corpus::Keep,
        Ok(false) => Corpus::Reject,
        Err(difference) => panic!("{difference}"),
    }
});
