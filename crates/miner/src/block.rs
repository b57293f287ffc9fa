//! The search for the nonce of a Bitcoin header, on several threads.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use miner_kernels::{Header, Kernel, Target};

/// Nonces that a thread takes at a time.
const BATCH: u64 = 1 << 20;

/// What a search does as it goes.
#[derive(Debug, Default)]
pub struct Hashed(AtomicU64);

impl Hashed {
    /// How many nonces were looked at so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The smallest nonce of a range, both ends included, with which the header's hash is at most
/// the target.
///
/// # Panics
///
/// When a thread can't be started.
#[must_use]
pub fn search(
    header: Header,
    target: Target,
    nonces: RangeInclusive<u32>,
    kernel: Kernel,
    threads: NonZeroUsize,
    hashed: &Hashed,
) -> Option<u32> {
    let (first, last) = (u64::from(*nonces.start()), u64::from(*nonces.end()));
    let next = AtomicU64::new(first);
    // The smallest success so far; beyond it nobody needs to look.
    let found = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                loop {
                    let start = next.fetch_add(BATCH, Ordering::Relaxed);
                    if start > last || start > found.load(Ordering::Relaxed) {
                        return;
                    }
                    let end = last.min(start + (BATCH - 1));
                    let narrow = |nonce| u32::try_from(nonce).expect("within the range");
                    let batch = narrow(start)..=narrow(end);
                    if let Some(nonce) = header.search(kernel, target, batch) {
                        found.fetch_min(u64::from(nonce), Ordering::Relaxed);
                    }
                    hashed.0.fetch_add(end - start + 1, Ordering::Relaxed);
                }
            });
        }
    });
    u32::try_from(found.into_inner()).ok()
}
