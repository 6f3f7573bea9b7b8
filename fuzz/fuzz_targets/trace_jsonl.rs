//! A trace is read or refused, whatever the bytes are.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    simvisor_sim::fuzz::trace_jsonl(bytes);
});
