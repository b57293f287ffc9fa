//! Raft as a state machine: elections, replication, leases, reads, membership, snapshots;
//! no IO, no clock, no threads.
//!
//! A [`Raft`] is one member of one group. Bytes go in at the leader with [`Raft::propose`];
//! every member gets the same bytes in the same order out of [`Raft::poll_committed`]. In
//! between stands the protocol of Ongaro and Ousterhout ("the paper", 2014; "the thesis",
//! 2014), and nothing else: whoever owns the sockets, the disk and the clock calls the
//! methods below, on a real machine or in a simulator, and the same inputs give the same
//! outputs.
//!
//! # Four kinds of methods
//!
//! * **Inputs** (`on_..` and the verbs `propose`, `read_index`, `transfer_leadership`,
//!   `propose_membership`, `compact`) change the state. Verbs may return an error, which
//!   means that nothing happened.
//! * **Outputs** (`poll_..`) hand out what the node wants done, until they return `None`.
//! * **The timer**: [`Raft::poll_timeout`] says when to call [`Raft::on_timeout`]. Calls at
//!   other times do nothing.
//! * **Views** ([`Raft::role`], [`Raft::lease_until`], [`Raft::progress`], ..) look.
//!
//! # The loop
//!
//! ```ignore
//! loop {
//!     // Wait for a message, a completed write, a request, or the timer; then take all that
//!     // is there before polling: that is where batches come from.
//!     match wait_until(raft.poll_timeout()) {
//!         Input::Message(from, message) => raft.on_message(now, from, message),
//!         Input::Durable(durable) => raft.on_persisted(now, durable),
//!         Input::Propose(data) => answer(raft.propose(now, data)),
//!         Input::Timer => raft.on_timeout(now),
//!         ..
//!     }
//!     publish(raft.lease_until(), raft.read_floor());  // before anything is sent
//!     while let Some(persist) = raft.poll_persist() {  // to the disk thread
//!         disk.write(persist);                         // .. which sends back into_durable()
//!     }
//!     while let Some(envelope) = raft.poll_transmit() {
//!         network.send(envelope.to, envelope.message);
//!     }
//!     while let Some(committed) = raft.poll_committed() {
//!         machine.apply(committed.entries);            // .. and on_applied(last index)
//!     }
//!     while let Some(fetch) = raft.poll_fetch() { disk.read(fetch); }
//!     while let Some(action) = raft.poll_snapshot() { snapshots.perform(action); }
//!     while let Some(event) = raft.poll_event() { tell(event); }
//! }
//! ```
//!
//! # The order of polls
//!
//! Persist first, so that the disk is busy as early as possible. Then transmit: a leader's
//! entries leave while its own disk still writes them. Committed entries come third, because
//! they are the clients' latency and depend on neither. The lease is published before
//! anything is transmitted, because a message may give it up (a vote, a `TimeoutNow`).
//!
//! # Persistence
//!
//! A [`Persist`] holds what has to reach the disk: term and vote together, a new base of the
//! log, entries that may replace a suffix. Storage writes it, makes it durable and returns
//! [`Persist::into_durable`]. Writes are handed out, and must be done and completed, in order;
//! several may be under way. Replies that promise something (a vote, an acknowledgement)
//! come out of `poll_transmit` only after the [`Durable`] of their write went in: there is no
//! other way to make one. A write that fails must never be completed: stop the node.
//!
//! Entries are read back with [`Fetch`]. A [`Restored`] starts a node from what is on disk;
//! bodies stay there.
//!
//! # Time
//!
//! Every input carries the present as a [`stdx::Instant`] of this node's monotonic clock. It
//! must go on while the process is suspended, or leases aren't safe (trap 25). A clock that
//! runs backwards is taken to stand still. A driver that notices that its clock leapt or
//! stood still says so with [`Raft::on_clock_disrupted`] before anything else.
//!
//! # What never happens
//!
//! * No message from another node, however damaged, causes a panic if it was read by
//!   [`wire::decode`]; what contradicts the protocol is dropped and reported as
//!   [`Event::Misbehaved`]. (Members are trusted not to lie.)
//! * An `Err` never leaves a trace in the state.
//! * No queue grows without bound while the driver polls: see [`limits`] and [`Config`].
//! * An entry never comes out of `poll_committed` twice in one life, out of order, or before
//!   it is both committed and on this node's disk.
//! * A member never resumes leadership after a restart without an election (trap 24).
//!
//! # Where things are
//!
//! | file | concern |
//! | --- | --- |
//! | `election.rs` | roles, pre-vote, votes, terms |
//! | `replication.rs`, `follow.rs` | the leader's and the follower's side of the log |
//! | `progress.rs`, `quorum.rs` | what a leader knows of followers; what a majority has |
//! | `log.rs`, `fetch.rs`, `entry.rs` | the log in memory, entries on disk, what an entry is |
//! | `persist.rs` | writes under way, and promises that wait for them |
//! | `read.rs`, `lease.rs` | linearizable reads, by a round and by a lease |
//! | `policy.rs`, `log_lease.rs`, `old_lease.rs` | leases as the group wants them, in the log, and who waits for whom |
//! | `limbo.rs`, `true_time.rs` | what a new leader may serve at once; clocks that agree |
//! | `membership.rs`, `reconfigure.rs` | which members, and when they may change |
//! | `transfer.rs` | handing leadership over, and taking tickets back |
//! | `snapshot.rs` | state in pieces for followers that lag too far |
//! | `message.rs`, `wire.rs` | what members say, and the bytes of it |
//! | `event.rs`, `error.rs`, `config.rs`, `limits.rs` | the edges |
//! | `invariants.rs`, `planted.rs` | what is always true, and bugs to prove that tests work |
//!
//! # Trade-offs
//!
//! * Every change of voters is joint, even of a single one: two entries instead of one, and
//!   one path instead of two.
//! * A group chooses among four ways to read ([`LeasePolicy`]); each costs some code, and none
//!   is best everywhere.
//! * Followers that lag beyond the cache cost the leader's disk reads, one batch at a time.
//! * A snapshot travels one piece at a time: simple and gentle, slow over long distances.
//! * It isn't Byzantine: members crash, stall and lose messages, but don't lie.

mod config;
mod election;
mod entry;
mod error;
mod event;
mod fetch;
mod follow;
mod invariants;
mod lease;
mod limbo;
pub mod limits;
mod log;
mod log_lease;
mod membership;
mod message;
mod old_lease;
mod persist;
mod planted;
mod policy;
mod progress;
pub mod quorum;
mod raft;
mod read;
mod reconfigure;
mod replication;
mod snapshot;
mod transfer;
mod true_time;
pub mod wire;

pub use config::{Config, ConfigError, Lease, Valid};
pub use entry::{Entries, EntriesIntoIter, Entry, HardState, LogBase, Payload, Restored};
pub use error::{MembershipError, ProposeError, ReadError, TransferError};
pub use event::{
    Event, Misbehaviour, ReadFailure, ReadToken, RoleKind, RoleReason, TransferOutcome,
};
pub use fetch::{Committed, Fetch, FetchId, Fetched};
pub use limbo::{Inherited, LimboIndex};
pub use membership::{ChangeError, Membership, MembershipChange};
pub use message::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Envelope, InstallSnapshot,
    InstallSnapshotReply, LeaseClaim, LeaseGrant, Message, ReadIndex, ReadIndexReply,
    RequestPreVote, RequestPreVoteReply, RequestVote, RequestVoteReply, Round, Session, SnapshotId,
    SnapshotOutcome, TimeoutNow, TransferTicket,
};
pub use persist::{Durable, Persist};
#[cfg(feature = "planted")]
pub use planted::PlantedBug;
pub use policy::{LeaseClock, LeasePolicy, LeasePolicyError};
pub use progress::{PeerProgress, ProgressState};
pub use raft::{Proposed, Raft};
pub use snapshot::{ChunkRead, SnapshotAction, SnapshotFailure};
pub use true_time::TrueTime;
