//! What a node counts. Handles are made once; counting is an atomic addition.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// The node's metrics, registered with whatever recorder the process installed.
pub(crate) struct Metrics {
    /// Commands proposed as a leader.
    pub(crate) commands: Counter,
    /// Entries proposed as a leader.
    pub(crate) entries: Counter,
    /// Submissions packed into one entry.
    pub(crate) entry_submissions: Histogram,
    /// Bytes of one proposed entry.
    pub(crate) entry_bytes: Histogram,
    /// Completed `fdatasync` calls of the log.
    pub(crate) fsyncs: Counter,
    /// How long each took.
    pub(crate) fsync_seconds: Histogram,
    /// Entries that each covered.
    pub(crate) fsync_entries: Histogram,
    /// Entries applied.
    pub(crate) applied: Counter,
    /// How long it took to apply what was committed at once.
    pub(crate) apply_seconds: Histogram,
    /// Elections this node started.
    pub(crate) elections: Counter,
    /// Changes of the known leader.
    pub(crate) leader_changes: Counter,
    /// Whether this node leads.
    pub(crate) is_leader: Gauge,
    /// The term.
    pub(crate) term: Gauge,
    /// The last applied index.
    pub(crate) applied_index: Gauge,
    /// Snapshots sent completely.
    pub(crate) snapshots_sent: Counter,
    /// Snapshots installed.
    pub(crate) snapshots_installed: Counter,
    /// Checkpoints of the engine.
    pub(crate) checkpoints: Counter,
    /// How long each took.
    pub(crate) checkpoint_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            commands: counter!("kontiki_commands_proposed_total"),
            entries: counter!("kontiki_entries_proposed_total"),
            entry_submissions: histogram!("kontiki_entry_submissions"),
            entry_bytes: histogram!("kontiki_entry_bytes"),
            fsyncs: counter!("kontiki_wal_fsyncs_total"),
            fsync_seconds: histogram!("kontiki_wal_fsync_seconds"),
            fsync_entries: histogram!("kontiki_wal_fsync_entries"),
            applied: counter!("kontiki_entries_applied_total"),
            apply_seconds: histogram!("kontiki_apply_seconds"),
            elections: counter!("kontiki_elections_total"),
            leader_changes: counter!("kontiki_leader_changes_total"),
            is_leader: gauge!("kontiki_is_leader"),
            term: gauge!("kontiki_term"),
            applied_index: gauge!("kontiki_applied_index"),
            snapshots_sent: counter!("kontiki_snapshots_sent_total"),
            snapshots_installed: counter!("kontiki_snapshots_installed_total"),
            checkpoints: counter!("kontiki_checkpoints_total"),
            checkpoint_seconds: histogram!("kontiki_checkpoint_seconds"),
        }
    }
}
