//! How a log is opened.

use std::fmt;
use std::sync::Arc;

use stdx::{ByteSize, NodeId};

use crate::text::{EscapedText, PayloadText};

/// Whose log this is. It is written into the directory once and compared at every start, so that a
/// node can't come up with the data of another one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The cluster: a number drawn at random when the cluster is made.
    pub cluster: u64,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {:016x}", self.node, self.cluster)
    }
}

/// How the log is kept.
#[derive(Clone, Debug, Default)]
pub enum Format {
    /// Segments of checksummed binary records: fast.
    #[default]
    Binary,
    /// A directory per group with files that a person can read: slow, for small logs. The value
    /// says how payloads look.
    Text(Arc<dyn PayloadText>),
}

impl Format {
    /// The text format with payloads escaped.
    #[must_use]
    pub fn escaped_text() -> Self {
        Self::Text(Arc::new(EscapedText))
    }

    /// The word for it in the identity file and in messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Text(_) => "text",
        }
    }
}

/// How to open a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who is opening it. The directory must be empty or belong to the same node and cluster; see
    /// [`crate::identity`] for finding out.
    pub identity: Identity,
    /// How the log is kept. It must be what the directory was made with.
    pub format: Format,
    /// Size of a segment of the binary format. At least [`crate::limits::SEGMENT_BYTES_MIN`].
    /// Segments made earlier with another size are kept.
    pub segment_bytes: ByteSize,
    /// Emptied segments kept for later, at most.
    pub spare_segments_max: usize,
    /// Kinds of entries to hand back with their payload at start ([`crate::Recovered::special`]).
    pub special_kinds: Vec<u8>,
}

impl Options {
    /// The defaults for one node's log.
    #[must_use]
    pub const fn new(identity: Identity) -> Self {
        Self {
            identity,
            format: Format::Binary,
            segment_bytes: ByteSize::mib(64),
            spare_segments_max: 2,
            special_kinds: Vec::new(),
        }
    }
}
