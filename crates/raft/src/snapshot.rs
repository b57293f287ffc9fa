//! Bringing a follower up to date when the entries it misses are gone.
//!
//! The core moves a snapshot it never sees: it asks the driver of the sender for one
//! piece after the other, and the driver of the receiver to store them. A snapshot has
//! an id of its sender; the receiver says how many bytes of that id it holds, so a
//! transfer goes on where it stopped. Pieces carry CRC32C.

use core::mem;
use std::sync::Arc;

use bytes::Bytes;
use stdx::{Instant, LogIndex, NodeId};

use crate::config::Config;
use crate::entry::LogBase;
use crate::event::{Event, Misbehaviour};
use crate::log::Memberships;
use crate::message::{
    InstallSnapshot, InstallSnapshotReply, Round, Session, SnapshotId, SnapshotOutcome,
};
use crate::persist::Refusal;
use crate::planted::planted;
use crate::progress::{Flow, Peer, Sending};
use crate::raft::{Raft, Role};

/// What the driver has to do about snapshots.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SnapshotAction {
    /// At the sender: read a piece and answer with
    /// [`crate::Raft::on_snapshot_chunk_read`] or `on_snapshot_failed`.
    ReadChunk {
        /// The follower it is for.
        to: NodeId,
        /// Which snapshot; `None`: take one (or choose a recent one) at an applied
        /// index not before [`crate::Raft::base`], and say which it is in the answer.
        snapshot: Option<SnapshotId>,
        /// Where the piece begins.
        offset: u64,
        /// How long it may be.
        bytes_max: usize,
    },
    /// At the sender: this follower needs no more of that snapshot.
    Release {
        /// The follower.
        to: NodeId,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// At the receiver: write the piece at its offset (offset 0 begins a new file), and
    /// answer with [`crate::Raft::on_snapshot_chunk_stored`] or `on_snapshot_failed`.
    StoreChunk {
        /// The sender.
        from: NodeId,
        /// The snapshot.
        snapshot: SnapshotId,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        data: Bytes,
    },
    /// At the receiver: all pieces are stored. Replace the state machine's state,
    /// durably and atomically, and keep `base` with it; then call
    /// [`crate::Raft::on_snapshot_installed`] or `on_snapshot_failed`. Until then no
    /// committed entries are handed out.
    Install {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What it stands for.
        base: LogBase,
    },
    /// At the receiver: forget the pieces.
    Discard {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

/// The answer to [`SnapshotAction::ReadChunk`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChunkRead {
    /// The follower, as asked.
    pub to: NodeId,
    /// The snapshot, as asked or chosen. Ids of one node never repeat, not even after
    /// a restart, unless the bytes are the same.
    pub snapshot: SnapshotId,
    /// The applied index the snapshot was taken at.
    pub index: LogIndex,
    /// The offset, as asked.
    pub offset: u64,
    /// The piece.
    pub data: Bytes,
    /// Whether it is the last one.
    pub done: bool,
}

/// What the driver couldn't do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SnapshotFailure {
    /// Reading for this follower; the transfer starts over later.
    Read {
        /// The follower.
        to: NodeId,
    },
    /// Storing or installing; everything received is forgotten.
    Receive {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

/// A snapshot on its way in.
#[derive(Clone, Debug)]
pub(crate) struct Receiving {
    from: NodeId,
    snapshot: SnapshotId,
    base: LogBase,
    /// Bytes that the driver holds.
    held: u64,
    /// The driver is storing a piece; whether it is the last one.
    storing: Option<bool>,
    pub(crate) installing: bool,
    /// What the next reply has to repeat.
    session: Session,
    round: Round,
}

impl Sending {
    /// Asks for the next piece again if the last one seems to be lost and somebody listens.
    pub(crate) fn retry(
        &mut self,
        to: NodeId,
        last_heard: Instant,
        now: Instant,
        config: &Config,
        ask: impl FnOnce(SnapshotAction),
    ) {
        let patience = config.election_timeout_min;
        if self.reading || now.since(self.since) < patience || now.since(last_heard) > patience {
            return;
        }
        ask(self.next_chunk(to, now, config));
    }

    fn next_chunk(&mut self, to: NodeId, now: Instant, config: &Config) -> SnapshotAction {
        self.reading = true;
        self.since = now;
        SnapshotAction::ReadChunk {
            to,
            snapshot: self.snapshot.as_ref().map(|(snapshot, _)| *snapshot),
            offset: self.offset,
            bytes_max: config.snapshot_chunk_bytes,
        }
    }
}

impl Raft {
    /// The answer to [`SnapshotAction::ReadChunk`].
    pub fn on_snapshot_chunk_read(&mut self, now: Instant, chunk: ChunkRead) {
        self.now = self.now.max(now);
        let base = self.base_at(chunk.index);
        let term = self.hard_state.term;
        self.refresh_grants();
        let lease = self.lease_grant();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let (round, revoked) = (leader.rounds.current(), leader.tickets_revoked());
        let Some(peer) = leader.peer_mut(chunk.to) else {
            return;
        };
        let session = peer.session;
        let Flow::Snapshot(sending) = &mut peer.flow else {
            return;
        };
        if !sending.reading || chunk.offset != sending.offset {
            return;
        }
        sending.reading = false;
        sending.since = self.now;
        let base = match &sending.snapshot {
            Some((snapshot, base)) if *snapshot == chunk.snapshot => base.clone(),
            Some(_) => return,
            None => {
                let Some(base) = base else {
                    // Compacted meanwhile: the next try takes a newer one.
                    return;
                };
                sending.snapshot = Some((chunk.snapshot, base.clone()));
                base
            }
        };
        let message = InstallSnapshot {
            term,
            session,
            round,
            revoked,
            lease,
            base,
            snapshot: chunk.snapshot,
            offset: chunk.offset,
            crc: crc32c::crc32c(&chunk.data),
            done: chunk.done,
            data: chunk.data,
        };
        self.outbox.send(chunk.to, message);
    }

    /// What a snapshot at an applied index stands for.
    fn base_at(&self, index: LogIndex) -> Option<LogBase> {
        if index > self.applied {
            return None;
        }
        let term = self.log.term_at(index)?;
        let membership = Arc::clone(self.memberships.at(index));
        Some(LogBase {
            index,
            term,
            membership,
        })
    }

    pub(crate) fn on_install_snapshot_reply(&mut self, from: NodeId, reply: InstallSnapshotReply) {
        if !self.hear_follower(from, reply.term, reply.session, reply.round, reply.promise) {
            return;
        }
        let last = self.log.last_index();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(peer) = leader.peer_mut(from) else {
            return;
        };
        match reply.outcome {
            SnapshotOutcome::Received { offset } => {
                let Flow::Snapshot(sending) = &mut peer.flow else {
                    return;
                };
                let same = sending
                    .snapshot
                    .as_ref()
                    .is_some_and(|(id, _)| *id == reply.snapshot);
                // Not while a piece is being read, or a repeated answer would send it twice.
                if same && !sending.reading {
                    sending.offset = offset;
                    let action = sending.next_chunk(from, self.now, &self.config);
                    self.snapshot_actions.push_back(action);
                }
            }
            SnapshotOutcome::Installed { index } => {
                if index > last {
                    self.misbehaved(from, Misbehaviour::AcknowledgedTooMuch);
                    return;
                }
                peer.matched = peer.matched.max(index);
                peer.next = peer.next.max(peer.matched.next());
                if matches!(peer.flow, Flow::Snapshot(_)) {
                    let flow = mem::replace(&mut peer.flow, Flow::Probe { waiting: false });
                    peer.replicate_after(index);
                    self.release_snapshot(from, &flow);
                    self.emit(Event::SnapshotSent { to: from, index });
                }
                self.advance_commit();
                self.continue_transfer(from);
            }
        }
    }

    pub(crate) fn on_install_snapshot(&mut self, from: NodeId, piece: InstallSnapshot) {
        if !self.hear_leader(from, piece.term, piece.revoked, piece.lease) {
            if piece.term < self.hard_state.term {
                let outcome = SnapshotOutcome::Received { offset: 0 };
                self.reply_to_piece(from, piece.session, piece.round, piece.snapshot, outcome);
            }
            return;
        }
        if piece.base.term > piece.term {
            self.misbehaved(from, Misbehaviour::EntriesOutOfOrder);
            return;
        }
        if self.is_needless(&piece.base) {
            self.acknowledge_base(
                from,
                piece.session,
                piece.round,
                piece.snapshot,
                &piece.base,
            );
            return;
        }
        if crc32c::crc32c(&piece.data) != piece.crc {
            self.misbehaved(from, Misbehaviour::ChunkChecksum);
            return;
        }
        let known = self.receiving.as_ref().is_some_and(|receiving| {
            receiving.snapshot == piece.snapshot && receiving.base == piece.base
        });
        if !known {
            if self
                .receiving
                .as_ref()
                .is_some_and(|receiving| receiving.installing)
            {
                return;
            }
            self.discard_received();
            self.receiving = Some(Receiving {
                from,
                snapshot: piece.snapshot,
                base: piece.base,
                held: 0,
                storing: None,
                installing: false,
                session: piece.session,
                round: piece.round,
            });
        }
        let receiving = self.receiving.as_mut().expect("there is one by now");
        receiving.from = from;
        (receiving.session, receiving.round) = (piece.session, piece.round);
        if receiving.installing || receiving.storing.is_some() {
            return;
        }
        if piece.offset != receiving.held {
            let outcome = SnapshotOutcome::Received {
                offset: receiving.held,
            };
            self.reply_to_piece(from, piece.session, piece.round, piece.snapshot, outcome);
            return;
        }
        receiving.storing = Some(piece.done);
        self.snapshot_actions.push_back(SnapshotAction::StoreChunk {
            from,
            snapshot: piece.snapshot,
            offset: piece.offset,
            data: piece.data,
        });
    }

    /// Whether everything a snapshot stands for is committed here. Where its last entry is
    /// in the log, the log through there is the leader's, which committed it.
    fn is_needless(&mut self, base: &LogBase) -> bool {
        if planted!(self.config, SnapshotOverNewer) {
            return false;
        }
        if base.index > self.commit && self.log.matches(base.index, base.term) {
            self.commit_to(base.index);
        }
        base.index <= self.commit
    }

    fn acknowledge_base(
        &mut self,
        to: NodeId,
        session: Session,
        round: Round,
        snapshot: SnapshotId,
        base: &LogBase,
    ) {
        let same = |receiving: &Receiving| receiving.snapshot == snapshot && !receiving.installing;
        if self.receiving.as_ref().is_some_and(same) {
            self.discard_received();
        }
        let outcome = SnapshotOutcome::Installed { index: base.index };
        let (term, promise) = (self.hard_state.term, self.promise_span());
        let reply = InstallSnapshotReply {
            term,
            session,
            round,
            promise,
            snapshot,
            outcome,
        };
        let after = self.persister.after_entry(base.index);
        self.outbox.promise(&self.persister, after, to, reply);
    }

    fn reply_to_piece(
        &mut self,
        to: NodeId,
        session: Session,
        round: Round,
        snapshot: SnapshotId,
        outcome: SnapshotOutcome,
    ) {
        let (term, promise) = (self.hard_state.term, self.promise_span());
        let reply = InstallSnapshotReply {
            term,
            session,
            round,
            promise,
            snapshot,
            outcome,
        };
        self.outbox.send(to, Refusal::snapshot(reply));
    }

    fn discard_received(&mut self) {
        if let Some(receiving) = self.receiving.take() {
            let snapshot = receiving.snapshot;
            self.snapshot_actions
                .push_back(SnapshotAction::Discard { snapshot });
        }
    }

    /// The answer to [`SnapshotAction::StoreChunk`]: the first `bytes` are held.
    pub fn on_snapshot_chunk_stored(&mut self, now: Instant, snapshot: SnapshotId, bytes: u64) {
        self.now = self.now.max(now);
        let Some(receiving) = &mut self.receiving else {
            return;
        };
        let Some(done) = receiving.storing.filter(|_| receiving.snapshot == snapshot) else {
            return;
        };
        receiving.storing = None;
        receiving.held = bytes;
        let (from, session, round) = (receiving.from, receiving.session, receiving.round);
        let base = receiving.base.clone();
        if !done {
            let outcome = SnapshotOutcome::Received { offset: bytes };
            self.reply_to_piece(from, session, round, snapshot, outcome);
        } else if self.is_needless(&base) {
            self.acknowledge_base(from, session, round, snapshot, &base);
        } else if let Some(receiving) = &mut self.receiving {
            receiving.installing = true;
            self.snapshot_actions
                .push_back(SnapshotAction::Install { snapshot, base });
        }
    }

    /// The answer to [`SnapshotAction::Install`]: the state machine stands at its base.
    pub fn on_snapshot_installed(&mut self, now: Instant, snapshot: SnapshotId) {
        self.now = self.now.max(now);
        let this =
            |receiving: &mut Receiving| receiving.installing && receiving.snapshot == snapshot;
        let Some(receiving) = self.receiving.take_if(this) else {
            return;
        };
        let base = receiving.base;
        if base.index > self.commit || planted!(self.config, SnapshotOverNewer) {
            if !self.log.matches(base.index, base.term) || planted!(self.config, SnapshotOverNewer)
            {
                self.replace_log(&base);
            }
            self.commit = self.commit.max(base.index);
        }
        self.handed = self.handed.max(base.index);
        self.applied = self.applied.max(base.index);
        self.fetches.forget_applying();
        self.emit(Event::SnapshotInstalled { index: base.index });
        self.answer_applied_reads();
        if let Role::Follower(follower) = &mut self.role {
            follower.verified = follower.verified.max(self.commit);
            if follower.leader == Some(receiving.from) {
                let (session, round) = (receiving.session, receiving.round);
                self.acknowledge_base(receiving.from, session, round, snapshot, &base);
            }
        }
    }

    fn replace_log(&mut self, base: &LogBase) {
        let from = self.log.base().index.next();
        if self.log.last_index() >= from {
            self.emit(Event::Truncated { from });
        }
        self.log.reset(base);
        self.persister.reset(base.clone());
        self.memberships = Memberships::new(base, Vec::new());
        self.note_appended(0);
        let membership = Arc::clone(&base.membership);
        self.emit(Event::MembershipChanged {
            index: base.index,
            membership,
        });
        if planted!(self.config, SnapshotOverNewer) {
            self.commit = base.index;
            self.handed = base.index;
            self.applied = base.index;
        }
    }

    /// The driver couldn't do what a [`SnapshotAction`] asked for.
    pub fn on_snapshot_failed(&mut self, now: Instant, failure: SnapshotFailure) {
        self.now = self.now.max(now);
        match failure {
            SnapshotFailure::Read { to } => {
                let now = self.now;
                if let Role::Leader(leader) = &mut self.role
                    && let Some(Peer {
                        flow: Flow::Snapshot(sending),
                        ..
                    }) = leader.peer_mut(to)
                {
                    // From the beginning, with another snapshot, after a pause.
                    *sending = Sending {
                        since: now,
                        ..Sending::default()
                    };
                }
            }
            SnapshotFailure::Receive { snapshot } => {
                self.receiving
                    .take_if(|receiving| receiving.snapshot == snapshot);
            }
        }
    }

    /// Drops the log through `through`, which the state machine holds durably.
    ///
    /// Returns the log's new base, to be given to storage; `None` if nothing is gained.
    /// Followers that still need those entries will get a snapshot: see
    /// [`Self::progress`] before compacting.
    ///
    /// # Panics
    ///
    /// When `through` isn't applied.
    pub fn compact(&mut self, through: LogIndex) -> Option<LogBase> {
        assert!(
            through <= self.applied,
            "only what was applied can be compacted"
        );
        if through <= self.log.base().index || through > self.persister.durable() {
            return None;
        }
        let base = self.base_at(through)?;
        self.log.compact(base.clone());
        self.memberships.compact(through);
        Some(base)
    }
}
