//! Proof-of-work hashing, as fast as the processor can.
//!
//! Two problems are solved here. [`Message::minimum`] is the CMU course's: of all nonces in a
//! range, which one gives the smallest hash together with a message? [`Header::search`] is
//! Bitcoin's: which nonce makes the double hash of a block's header small enough? A [`Puzzle`] is
//! either of them, in the form that a pool shares out.
//!
//! ```
//! use miner_kernels::{Best, Kernel, Message, Problem};
//!
//! let message = Message::new(b"msg");
//! let best = message.minimum(Kernel::fastest(Problem::Cmu), 0..=2);
//! assert_eq!(best, Some(Best { hash: 4754799531757243342, nonce: 1 }));
//! ```
//!
//! # Kernels
//!
//! A [`Kernel`] is a set of instructions to hash with: the processor's SHA instructions with
//! four nonces interleaved, AVX-512 with sixteen nonces side by side, AVX2 with eight, or
//! plain Rust with four. Which one is fastest depends on the processor, and not in a way
//! that its model number tells: [`Kernel::measure`] runs them all for a moment.
//!
//! All kernels share what is done once for many nonces: the midstate before the first block
//! that varies, the rounds before the first word that varies, and the terms of the message
//! schedule without a varying word.
//!
//! # Trade-offs
//!
//! The kernels are unrolled: about 12 KB of code for each of four positions of the nonce in
//! its block, and of sixteen in the AVX-512 kernel. A second block for each nonce (a message
//! whose length is 56 to 63 beyond a multiple of 64) costs the rounds of a whole compression
//! more, though not its schedule. Nonces below 1,000 are hashed one at a time.
//!
//! The only `unsafe` code is in the module `simd`.

mod bitcoin;
mod cmu;
mod kernel;
mod plan;
mod puzzle;
mod sha256;
mod simd;
mod suffix;

pub use bitcoin::{BadTarget, BlockHash, HEADER_BYTES, Header, ParseHeaderError, Target};
pub use cmu::{Best, Message};
pub use kernel::{Kernel, KernelError, Problem, Speed};
pub use puzzle::Puzzle;
