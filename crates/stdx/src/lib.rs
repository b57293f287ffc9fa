//! What every other crate of Kontiki stands on: ids, time as a value, seeded
//! randomness, sizes.
//!
//! Nothing here does IO, reads a clock or starts a thread. That is what lets the
//! protocol crates (`raft`, `kv-core`, ...) be state machines that a simulator and a
//! real node drive alike: whoever owns the clock passes an [`Instant`] in, whoever
//! owns the entropy passes a seed in.
//!
//! ```
//! use core::time::Duration;
//! use stdx::{Instant, NodeId, Prng};
//!
//! let node = NodeId::new(3);
//! assert_eq!(node.to_string(), "n3");
//!
//! let start = Instant::EPOCH;
//! let later = start.after(Duration::from_millis(5));
//! assert_eq!(later.since(start), Duration::from_millis(5));
//!
//! let mut one = Prng::from_seed(7);
//! let mut two = Prng::from_seed(7);
//! assert_eq!(one.next_u64(), two.next_u64());
//! ```

mod bytesize;
mod id;
mod instant;
mod prng;

pub use bytesize::{ByteSize, ParseByteSizeError};
pub use id::{GroupId, LogIndex, NodeId, Term};
pub use instant::Instant;
pub use prng::Prng;
