//! Messages of the core on the simulated network: as bytes, so that every run tests the
//! codec too.

use bytes::{Bytes, BytesMut};
use raft::Message;
use stdx::NodeId;

/// A message as it travels.
#[derive(Clone, Debug)]
pub struct Packet {
    bytes: Bytes,
    label: &'static str,
    is_reply: bool,
    words: [u64; 3],
}

impl Packet {
    /// Encodes a message.
    #[must_use]
    pub fn encode(message: &Message) -> Self {
        let mut buffer = BytesMut::new();
        raft::wire::encode(message, &mut buffer);
        let (label, is_reply, a, b) = describe(message);
        Self {
            bytes: buffer.freeze(),
            label,
            is_reply,
            words: [message.term().get(), a, b],
        }
    }

    /// Decodes it.
    ///
    /// # Panics
    ///
    /// When the codec can't read what it wrote.
    #[must_use]
    pub fn decode(self) -> Message {
        let mut bytes = self.bytes;
        raft::wire::decode(&mut bytes).expect("the codec reads what it wrote")
    }
}

impl sim::Message for Packet {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn label(&self) -> &'static str {
        self.label
    }

    fn is_reply(&self) -> bool {
        self.is_reply
    }

    fn words(&self) -> [u64; 3] {
        self.words
    }
}

/// Name, whether it is a reply, and the two numbers that tell most about it.
fn describe(message: &Message) -> (&'static str, bool, u64, u64) {
    match message {
        Message::RequestPreVote(m) => ("prevote?", false, m.last_index.get(), m.last_term.get()),
        Message::RequestPreVoteReply(m) => ("prevote", true, u64::from(m.granted), 0),
        Message::RequestVote(m) => ("vote?", false, m.last_index.get(), m.last_term.get()),
        Message::RequestVoteReply(m) => ("vote", true, u64::from(m.granted), 0),
        Message::AppendEntries(m) => {
            let count = m.entries.len() as u64;
            ("append?", false, m.prev_index.get(), count)
        }
        Message::AppendEntriesReply(m) => match m.outcome {
            raft::AppendOutcome::Accepted { matched, received } => {
                ("append", true, matched.get(), received.get())
            }
            raft::AppendOutcome::Rejected {
                prev_index,
                hint_index,
                ..
            } => ("refused", true, prev_index.get(), hint_index.get()),
        },
        Message::InstallSnapshot(m) => ("snap?", false, m.base.index.get(), m.offset),
        Message::InstallSnapshotReply(m) => match m.outcome {
            raft::SnapshotOutcome::Received { offset } => ("snap", true, 0, offset),
            raft::SnapshotOutcome::Installed { index } => ("snapped", true, index.get(), 0),
        },
        Message::TimeoutNow(m) => ("timeout!", false, u64::from(m.number), 0),
        Message::ReadIndex(m) => ("read?", false, m.batch, 0),
        Message::ReadIndexReply(m) => (
            "read",
            true,
            m.batch,
            m.index.map_or(0, stdx::LogIndex::get),
        ),
    }
}

/// Whom a message grants a vote, if it does.
pub(crate) fn granted_vote(to: NodeId, message: &Message) -> Option<(stdx::Term, NodeId)> {
    match message {
        Message::RequestVoteReply(reply) if reply.granted => Some((reply.term, to)),
        _ => None,
    }
}
