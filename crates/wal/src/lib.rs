//! The shared log on disk of all of a node's Raft groups: checksummed, torn-write safe, binary or text.

mod binary;
pub mod disk;
mod error;
pub mod limits;
mod log;
mod open;
mod options;
mod shape;
mod text;

pub use error::{CorruptError, OpenError, PoisonCause, ReadError, WalError};
pub use log::{Append, Base, Log, LogEntry, LogReader, Opened, Recovered, Usage, Vote};
pub use open::{identity, open, open_on};
pub use options::{Format, Identity, Options};
pub use text::{EscapedText, PayloadText};
