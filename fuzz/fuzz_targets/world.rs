//! Bytes → case → run → every judge there is.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_target};
use simvisor_fuzz::{hush, report};
use simvisor_sim::case::Input;
use simvisor_sim::fuzz::{Runs, World};

thread_local! {
    /// One engine for all inputs.
    static WORLD: RefCell<World> = RefCell::default();
}

fuzz_target!(init: hush::install(), |bytes: &[u8]| -> Corpus {
    let Some(input) = Input::from_bytes(bytes) else { return Corpus::Reject };
    let found = hush::during(|| WORLD.with_borrow_mut(|world| world.run(&input, Runs::of(bytes))));
    if let Some(found) = found {
        report::tell(bytes, &found);
        panic!("{found}");
    }
    Corpus::Keep
});
