//! See `miner_pool` in the crate `fuzz-bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_bodies::run("miner_pool", bytes));
