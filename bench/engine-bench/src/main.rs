//! Measures the storage engine and what it stands on.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml -p engine-bench -- [all|lsm|whole] [DIR]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first error"
)]
#![expect(clippy::cast_precision_loss, reason = "rates are approximate")]

mod lsm;
mod measure;
mod whole;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "all".to_owned());
    let dir = arguments
        .next()
        .unwrap_or_else(|| "target/engine-bench".to_owned());
    let dir = std::path::Path::new(&dir);
    if what == "open" {
        return whole::open(dir);
    }
    if what != "lsm" {
        whole::run(dir);
    }
    if what != "whole" {
        lsm::run(dir);
    }
}
