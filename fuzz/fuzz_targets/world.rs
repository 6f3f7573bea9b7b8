//! Bytes → case → run → every judge there is.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};
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

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    // Nothing but libFuzzer's own mutations. Without a mutator of the target's it begins with inputs of four bytes and lets
    // them grow slowly; with one it does not. docs/fuzzing.md has what that is worth.
    fuzzer_mutate(data, size, max_size)
});
