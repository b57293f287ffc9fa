//! A node's snapshots: the one on its disk, those it sends, the one it receives.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::{ChunkRead, LogBase, SnapshotId};
use sim::{Context, Disk, DiskError};
use stdx::{LogIndex, NodeId};

use crate::machine::Machine;
use crate::wire::Packet;

const FILE: &str = "snapshot";

/// Snapshots of one running node.
#[derive(Debug)]
pub struct Snapshots {
    /// What the file on disk stands for, written or being written.
    index: LogIndex,
    stored: Option<Machine>,
    sending: BTreeMap<NodeId, Sending>,
    receiving: Option<(SnapshotId, Vec<u8>)>,
    count: u64,
}

#[derive(Debug)]
struct Sending {
    id: SnapshotId,
    index: LogIndex,
    bytes: Bytes,
}

impl Snapshots {
    /// Looks at the disk.
    ///
    /// # Errors
    ///
    /// When the snapshot there is damaged.
    pub fn recover(context: &Context<'_, Packet>, bootstrap: &LogBase) -> Result<Self, String> {
        let (_, bytes) = context.disk.read(FILE);
        let stored = if bytes.is_empty() {
            None
        } else {
            Some(Machine::decode(bytes).ok_or("the snapshot is damaged")?)
        };
        Ok(Self {
            index: stored
                .as_ref()
                .map_or(bootstrap.index, |machine| machine.base.index),
            stored,
            sending: BTreeMap::new(),
            receiving: None,
            count: context.boot << 32,
        })
    }

    /// The state to start with.
    ///
    /// # Errors
    ///
    /// Never now; a place for formats to come.
    pub fn machine(&self, bootstrap: &LogBase) -> Result<Machine, String> {
        Ok(self
            .stored
            .clone()
            .unwrap_or_else(|| Machine::new(bootstrap.clone())))
    }

    /// Replaces the file, without a sync.
    ///
    /// # Errors
    ///
    /// When the disk is full.
    pub fn write(&mut self, disk: &mut Disk, machine: &Machine) -> Result<(), DiskError> {
        disk.replace(FILE, &machine.encode())?;
        self.index = machine.base.index;
        Ok(())
    }

    /// The index of the last snapshot written.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// A piece of a snapshot for a follower; a new one is taken when none is named.
    pub fn read(
        &mut self,
        context: &Context<'_, Packet>,
        machine: &Machine,
        to: NodeId,
        (snapshot, offset, bytes_max): (Option<SnapshotId>, u64, usize),
    ) -> Option<ChunkRead> {
        if snapshot.is_none() {
            self.count += 1;
            let id = SnapshotId(context.id.get() << 56 | self.count);
            let sending = Sending {
                id,
                index: machine.base.index,
                bytes: machine.encode(),
            };
            self.sending.insert(to, sending);
        }
        let sending = self.sending.get(&to)?;
        if snapshot.is_some_and(|wanted| wanted != sending.id) {
            return None;
        }
        let start = usize::try_from(offset).ok()?;
        let end = sending.bytes.len().min(start.checked_add(bytes_max)?);
        if start > end {
            return None;
        }
        Some(ChunkRead {
            to,
            snapshot: sending.id,
            index: sending.index,
            offset,
            data: sending.bytes.slice(start..end),
            done: end == sending.bytes.len(),
        })
    }

    /// The follower needs no more of it.
    pub fn release(&mut self, to: NodeId, snapshot: SnapshotId) {
        if self
            .sending
            .get(&to)
            .is_some_and(|sending| sending.id == snapshot)
        {
            self.sending.remove(&to);
        }
    }

    /// Keeps a piece; says how many bytes are held, or `None` for a gap.
    pub fn store(&mut self, snapshot: SnapshotId, offset: u64, data: &[u8]) -> Option<u64> {
        if offset == 0 {
            self.receiving = Some((snapshot, Vec::new()));
        }
        let (id, bytes) = self.receiving.as_mut()?;
        if *id != snapshot || offset != bytes.len() as u64 {
            return None;
        }
        bytes.extend_from_slice(data);
        Some(bytes.len() as u64)
    }

    /// The state in a received snapshot.
    pub fn received(&mut self, snapshot: SnapshotId) -> Option<Machine> {
        let (id, bytes) = self.receiving.take()?;
        (id == snapshot).then(|| Machine::decode(&bytes)).flatten()
    }

    /// Forgets the pieces.
    pub fn discard(&mut self, snapshot: SnapshotId) {
        if self
            .receiving
            .as_ref()
            .is_some_and(|(id, _)| *id == snapshot)
        {
            self.receiving = None;
        }
    }
}
