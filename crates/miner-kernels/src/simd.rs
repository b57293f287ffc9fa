//! The kernels: many nonces at once. The only module with `unsafe` code.
//!
//! What `unsafe` is for here: calling a function compiled for instructions that the
//! processor must have ([`Kernel`](crate::Kernel) exists only where it does), and loads and
//! stores of vectors through pointers made from arrays of the same size.
#![expect(
    unsafe_code,
    reason = "instructions beyond the baseline are unsafe to call and vectors are loaded by pointer"
)]

use crate::bitcoin::Grind;
use crate::cmu::{Best, Run};

#[macro_use]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

/// A set of instructions to hash with.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Instructions {
    Portable,
    Avx2,
    Avx512,
    ShaNi,
}

impl Instructions {
    /// Whether this processor has them.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn are_here(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
            }
            Self::ShaNi => is_x86_feature_detected!("sha") && is_x86_feature_detected!("avx"),
        }
    }

    /// Whether this processor has them.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn are_here(self) -> bool {
        self == Self::Portable
    }
}

/// The smallest hash of a run, if it is below `best` or there is none yet.
///
/// # Panics
///
/// When this processor lacks the instructions.
pub(crate) fn minimum(instructions: Instructions, run: &Run, best: Option<Best>) -> Option<Best> {
    assert!(
        instructions.are_here(),
        "a kernel is made only where it can run"
    );
    match instructions {
        Instructions::Portable => portable::minimum(run, best),
        // SAFETY: the processor has the instructions, as was just checked.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { avx2::minimum(run, best) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { avx512::minimum(run, best) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::ShaNi => unsafe { sha_ni::minimum(run, best) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("only the portable kernel exists here"),
    }
}

/// The first nonce of `first..=last` whose hash may meet the target.
///
/// # Panics
///
/// When this processor lacks the instructions.
pub(crate) fn grind(
    instructions: Instructions,
    grind: &Grind,
    first: u32,
    last: u32,
) -> Option<u32> {
    assert!(
        instructions.are_here(),
        "a kernel is made only where it can run"
    );
    match instructions {
        Instructions::Portable => portable::grind(grind, first, last),
        // SAFETY: the processor has the instructions, as was just checked.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { avx2::grind(grind, first, last) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { avx512::grind(grind, first, last) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::ShaNi => unsafe { sha_ni::grind(grind, first, last) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("only the portable kernel exists here"),
    }
}
