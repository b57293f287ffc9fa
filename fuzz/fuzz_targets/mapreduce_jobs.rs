//! See `mapreduce_jobs` in the crate `fuzz-bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_bodies::run("mapreduce_jobs", bytes));
