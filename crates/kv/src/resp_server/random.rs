//! Randomness where nothing depends on its quality.

use std::hash::{BuildHasher as _, RandomState};

/// A random number; the standard library seeds every hasher differently.
pub(super) fn number() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// A random index below `bound`, which must not be zero.
pub(super) fn below(bound: usize) -> usize {
    usize::try_from(number() % (bound as u64)).unwrap_or(0)
}

/// So many random hexadecimal digits.
pub(super) fn hex(digits: usize) -> String {
    let mut text = String::new();
    while text.len() < digits {
        text += &format!("{:016x}", number());
    }
    text.truncate(digits);
    text
}
