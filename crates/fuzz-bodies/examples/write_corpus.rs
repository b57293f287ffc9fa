//! Writes the samples of all targets into a directory, one directory per target: what cargo-fuzz
//! starts from.
//!
//! `cargo run -p fuzz-bodies --example write_corpus -- fuzz/corpus`

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use fuzz_bodies::TARGETS;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args()
        .nth(1)
        .ok_or("say where: write_corpus <directory>")?;
    for target in TARGETS {
        let dir = PathBuf::from(&root).join(target.name);
        fs::create_dir_all(&dir)?;
        for (at, sample) in (target.samples)().iter().enumerate() {
            fs::write(dir.join(format!("sample-{at:02}")), sample)?;
        }
    }
    Ok(())
}
