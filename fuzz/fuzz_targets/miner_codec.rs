//! See `miner_codec` in the crate `fuzz-bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_bodies::run("miner_codec", bytes));
