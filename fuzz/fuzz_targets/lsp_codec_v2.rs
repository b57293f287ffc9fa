//! See `lsp_codec_v2` in the crate `fuzz-bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_bodies::run("lsp_codec_v2", bytes));
