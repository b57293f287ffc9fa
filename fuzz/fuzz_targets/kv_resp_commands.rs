//! See `kv_resp_commands` in the crate `fuzz-bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_bodies::run("kv_resp_commands", bytes));
