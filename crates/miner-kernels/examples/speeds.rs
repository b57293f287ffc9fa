//! How fast this processor hashes: every kernel, and what one would write without them.
//!
//! Prints a line of JSON for each: `{"problem", "name", "per_second"}`, on one core, the best
//! of several rounds. `cargo xtask bench miner` reads it.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use miner_kernels::{Kernel, Problem};
use sha2::{Digest as _, Sha256};

const ROUNDS: u32 = 5;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let milliseconds = arguments.next().and_then(|text| text.parse().ok());
    let span = Duration::from_millis(milliseconds.unwrap_or(500));
    for (problem, name) in [(Problem::Cmu, "cmu"), (Problem::Bitcoin, "bitcoin")] {
        for speed in Kernel::measure(problem, span) {
            print(name, speed.kernel.name(), speed.per_second);
        }
    }
    print("cmu", "format! and sha2", best_of(span, formatted));
    print("cmu", "sha2, digits in place", best_of(span, in_place));
    print("bitcoin", "sha2 twice", best_of(span, twice));
}

fn print(problem: &str, name: &str, per_second: f64) {
    println!(r#"{{"problem": "{problem}", "name": "{name}", "per_second": {per_second:.0}}}"#);
}

/// Nonces per second of a function that hashes `start..start + count`.
fn best_of(span: Duration, hash: fn(u64, u64) -> u64) -> f64 {
    const BATCH: u64 = 20_000;
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let (start, mut hashed) = (Instant::now(), 0);
        while start.elapsed() < span / ROUNDS {
            black_box(hash(black_box(1_000_000_000 + hashed), BATCH));
            hashed += BATCH;
        }
        let hashed = f64::from(u32::try_from(hashed).unwrap_or(u32::MAX));
        best = best.max(hashed / start.elapsed().as_secs_f64());
    }
    best
}

const MESSAGE: &str = "how fast is this kernel";

fn first_eight(digest: &[u8]) -> u64 {
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

fn formatted(start: u64, count: u64) -> u64 {
    let hash = |nonce| first_eight(&Sha256::digest(format!("{MESSAGE} {nonce}")));
    (start..start + count).map(hash).min().unwrap_or(u64::MAX)
}

fn in_place(start: u64, count: u64) -> u64 {
    let mut text = format!("{MESSAGE} {start}").into_bytes();
    let mut best = u64::MAX;
    for _ in 0..count {
        best = best.min(first_eight(&Sha256::digest(&text)));
        for digit in text.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
    best
}

fn twice(start: u64, count: u64) -> u64 {
    let mut header = [7_u8; 80];
    let mut best = u64::MAX;
    for nonce in start..start + count {
        header[76..].copy_from_slice(&nonce.to_le_bytes()[..4]);
        best = best.min(first_eight(&Sha256::digest(Sha256::digest(header))));
    }
    best
}
