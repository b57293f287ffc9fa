//! The shared log on disk of all of a node's Raft groups: checksummed, torn-write safe, binary or
//! text.
//!
//! A node appends what all its groups want written as one batch, syncs once, and only then tells
//! the groups. After a crash [`open()`] gives back exactly what was synced, perhaps followed by the
//! beginning of what wasn't, or it refuses with a [`CorruptError`] that says which file is damaged
//! at which byte. It never repairs by forgetting.
//!
//! ```no_run
//! use stdx::{GroupId, LogIndex, NodeId, Term};
//! use wal::{Append, Identity, LogEntry, Options, Vote};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity { cluster: 0xc0ffee, node: NodeId::new(1) };
//! let mut opened = wal::open("data/log".as_ref(), Options::new(identity))?;
//!
//! let group = GroupId::new(0);
//! let entries = [LogEntry {
//!     index: LogIndex::new(1),
//!     term: Term::new(1),
//!     kind: 0,
//!     payload: "set x 1".into(),
//! }];
//! let vote = Some(Vote { term: Term::new(1), vote: Some(identity.node) });
//! opened.log.append(&[Append { vote, ..Append::entries(group, &entries) }])?; // one write
//! opened.log.sync()?; // one fdatasync
//!
//! let reader = opened.log.reader(); // for any thread
//! let (from, to) = (LogIndex::new(1), LogIndex::new(1));
//! assert_eq!(reader.entries(group, from, to, 1 << 20)?, entries);
//! # Ok(())
//! # }
//! ```
//!
//! # Two formats
//!
//! [`Format::Binary`] keeps all groups in one sequence of segments. [`Format::Text`] keeps a
//! directory per group with files that a person can read. Both are recovered by the same rules and
//! tested by the same tests. The layouts are in `docs/internals/wal.md`.
//!
//! # Trade-offs
//!
//! * The log stays closed after the first failed write or fsync ([`WalError::Poisoned`]): what is
//!   on the disk is then only known after a restart.
//! * The index in memory has one point per 16 KiB and group, so reading an entry reads up to 16 KiB
//!   before it.
//! * What an idle group still needs is written again when its segment is the oldest one left.
//!
//! # It is not
//!
//! * A store for state machines: it holds the log, and forgets it when told to.
//! * A repair tool: a node whose log is damaged must be replaced or restored by a person, because
//!   forgetting a vote or an acknowledged entry breaks the promises of the whole cluster.

mod binary;
mod check;
pub mod disk;
mod dump;
mod error;
mod fuzz;
pub mod limits;
mod log;
mod open;
mod options;
mod shape;
mod text;

pub use check::{Checked, CheckedGroup, check};
pub use dump::{DumpError, dump, dump_on};
pub use error::{CorruptError, OpenError, PoisonCause, ReadError, WalError};
#[doc(hidden)]
pub use fuzz::{fuzz_recover, fuzz_samples};
pub use log::{Append, Base, Log, LogEntry, LogReader, Opened, Recovered, Usage, Vote};
pub use open::{identity, open, open_on};
pub use options::{Format, Identity, Options};
pub use text::{EscapedText, PayloadText};
