//! See `lsp_endpoint_v2` in the crate `fuzz-bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_bodies::run("lsp_endpoint_v2", bytes));
