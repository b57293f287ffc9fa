//! Both problems as one: a hash of 64 bits for each nonce, the smaller the better.
//!
//! A pool cuts, checks and compares ranges of either problem in the same way. What differs is
//! when it is over: a message's range must be hashed to its end, a header's only until a nonce
//! meets the target.

use core::ops::RangeInclusive;

use crate::bitcoin::{BadTarget, Header, Target};
use crate::cmu::{Best, Message};
use crate::kernel::{Kernel, Problem};

/// What nonces are hashed with.
#[derive(Clone, Debug)]
pub enum Puzzle {
    /// A message of the CMU problem.
    Message(Message),
    /// A Bitcoin header and the target that its bits name.
    Header(Header, Target),
}

impl Puzzle {
    /// A header and its target.
    ///
    /// # Errors
    ///
    /// [`BadTarget`] if its bits mean no target.
    pub fn header(header: Header) -> Result<Self, BadTarget> {
        Ok(Self::Header(header, header.target()?))
    }

    /// Which problem it is of.
    #[must_use]
    pub const fn problem(&self) -> Problem {
        match self {
            Self::Message(_) => Problem::Cmu,
            Self::Header(..) => Problem::Bitcoin,
        }
    }

    /// The hash of one nonce, without any kernel; of a header the first 64 bits as explorers
    /// show them. A nonce beyond the last one of the problem has the largest hash.
    #[must_use]
    pub fn hash(&self, nonce: u64) -> u64 {
        match self {
            Self::Message(message) => message.hash(nonce),
            Self::Header(header, _) => {
                u32::try_from(nonce).map_or(u64::MAX, |nonce| header.with_nonce(nonce).hash().top())
            }
        }
    }

    /// The smallest hash over a range of nonces, both ends included, and the smallest nonce
    /// that has it. `None` for a range without a nonce of the problem.
    #[must_use]
    pub fn minimum(&self, kernel: Kernel, nonces: RangeInclusive<u64>) -> Option<Best> {
        match self {
            Self::Message(message) => message.minimum(kernel, nonces),
            Self::Header(header, _) => {
                let (first, last) = nonces.into_inner();
                let last = u32::try_from(last).unwrap_or(u32::MAX);
                let first = u32::try_from(first).ok()?;
                header.minimum(kernel, first..=last)
            }
        }
    }

    /// Whether a nonce ends the search.
    #[must_use]
    pub fn is_solved_by(&self, nonce: u64) -> bool {
        match self {
            Self::Message(_) => false,
            Self::Header(header, target) => u32::try_from(nonce)
                .is_ok_and(|nonce| target.is_met_by(header.with_nonce(nonce).hash())),
        }
    }
}
