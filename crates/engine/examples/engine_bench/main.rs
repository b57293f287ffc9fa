//! Measures the storage engine and what it stands on.
//!
//! `cargo run --release -p engine --example engine_bench [DIR]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first error"
)]
#![expect(clippy::cast_precision_loss, reason = "rates are approximate")]

mod lsm;
mod measure;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "target/engine-bench".to_owned());
    lsm::run(std::path::Path::new(&dir));
}
