//! What happened in a run: a simulation that never meets a snapshot proves nothing about
//! snapshots.

use core::fmt;

use raft::{Event, RoleKind};

use crate::node::Outputs;

/// How often the interesting things happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Coverage {
    /// Leaders elected.
    pub elections: u64,
    /// Logs cut because a leader's was another.
    pub truncations: u64,
    /// Snapshots that replaced a follower's state.
    pub snapshots: u64,
    /// Changes of members committed, as seen by each member.
    pub changes: u64,
    /// Transfers of leadership that ended, well or not.
    pub transfers: u64,
    /// Disks that were noticed to stall.
    pub stalls: u64,
    /// New leaders that had to wait for an old lease.
    pub lease_waits: u64,
    /// Processes that ended: crashes, full disks, failed syncs.
    pub deaths: u64,
}

impl Coverage {
    /// Counts what a node put out.
    pub fn hear(&mut self, outputs: &Outputs) {
        for event in &outputs.events {
            match event {
                Event::RoleChanged {
                    to: RoleKind::Leader,
                    ..
                } => self.elections += 1,
                Event::Truncated { .. } => self.truncations += 1,
                Event::MembershipCommitted { .. } => self.changes += 1,
                Event::TransferEnded { .. } => self.transfers += 1,
                Event::SnapshotInstalled { .. } => self.snapshots += 1,
                Event::DiskStalled { .. } => self.stalls += 1,
                Event::LeaseWait { .. } => self.lease_waits += 1,
                _ => {}
            }
        }
    }

    /// Adds another run's counts.
    pub const fn add(&mut self, other: Self) {
        self.elections += other.elections;
        self.truncations += other.truncations;
        self.snapshots += other.snapshots;
        self.changes += other.changes;
        self.transfers += other.transfers;
        self.stalls += other.stalls;
        self.lease_waits += other.lease_waits;
        self.deaths += other.deaths;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            elections,
            truncations,
            snapshots,
            changes,
            transfers,
            stalls,
            lease_waits,
            deaths,
        } = self;
        write!(
            f,
            "{elections} elections, {truncations} truncations, {snapshots} snapshots installed, \
             {changes} member changes, {transfers} transfers, {stalls} disk stalls, \
             {lease_waits} lease waits, {deaths} deaths"
        )
    }
}
