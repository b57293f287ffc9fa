//! What the Raft worker shows to everybody else, without a lock where it matters.
//!
//! Readers look at the end of the lease and the *reign* it belongs to. A reign is one stretch of
//! uninterrupted leadership with a lease that was never taken back; its number changes whenever
//! leadership, term or a revocation changes. A read is right if the reign is the same before and
//! after it and the lease is still running after it: a lease renewed within one term proves that
//! nobody else was elected in between.
//!
//! And a read must not go back in time. Once a message with a commit index has left, a follower may
//! have shown what it commits to somebody. So the commit index is published here *before* it is
//! sent anywhere, and a read begins only when all of it is applied here too.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use parking_lot::Mutex;
use raft::{Membership, PeerProgress};
use stdx::{Instant, LogIndex, NodeId, Term};
use tokio::sync::watch;

use crate::node::clock;
use crate::node::status::Role;

/// Who leads, as far as this node knows. Changes are broadcast.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Leadership {
    pub(crate) term: Term,
    pub(crate) leader: Option<NodeId>,
    /// This node leads, and an entry of its term is applied: reads and status can rely on it.
    pub(crate) serves: bool,
    /// This node is at its end: nobody will be known to lead any more.
    pub(crate) over: bool,
}

/// The rest of a group's state, for the status.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) role: Role,
    pub(crate) term: Term,
    pub(crate) last_index: LogIndex,
    pub(crate) durable: LogIndex,
    pub(crate) committed: LogIndex,
    pub(crate) applied: LogIndex,
    pub(crate) first_index: LogIndex,
    pub(crate) membership: Arc<Membership>,
    pub(crate) progress: Vec<PeerProgress>,
}

/// One group's published state.
#[derive(Debug)]
pub(crate) struct Published {
    /// End of the lease in nanoseconds of the node's clock; zero while reads may not be served.
    lease_until: AtomicU64,
    reign: AtomicU64,
    /// Followers may have shown everything up to here.
    floor: AtomicU64,
    applied: AtomicU64,
    leading: AtomicBool,
    leadership: watch::Sender<Leadership>,
    snapshot: Mutex<Snapshot>,
}

/// Proof that the lease was running when a read began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reign(u64);

impl Published {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self {
            lease_until: AtomicU64::new(0),
            reign: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            applied: AtomicU64::new(snapshot.applied.get()),
            leading: AtomicBool::new(false),
            leadership: watch::Sender::new(Leadership::default()),
            snapshot: Mutex::new(snapshot),
        }
    }

    /// Before a read: the reign, if the lease is running.
    pub(crate) fn begin_read(&self) -> Option<Reign> {
        let reign = self.reign.load(Ordering::Acquire);
        let floor = self.floor.load(Ordering::Acquire);
        let current = self.applied.load(Ordering::Acquire) >= floor;
        (current && self.lease_is_running()).then_some(Reign(reign))
    }

    /// After a read: whether it was right.
    pub(crate) fn confirm_read(&self, began: Reign) -> bool {
        // The lease first: seeing one granted after a revocation implies seeing the new reign.
        self.lease_is_running() && self.reign.load(Ordering::Acquire) == began.0
    }

    fn lease_is_running(&self) -> bool {
        let until = self.lease_until.load(Ordering::Acquire);
        // The clock is read after the lease, so a process stopped in between finds it over.
        until != 0 && clock::now().as_nanos() < until
    }

    /// Publishes the lease. Only the worker calls this.
    pub(crate) fn set_lease(&self, until: Option<Instant>) {
        let until = until.map_or(0, Instant::as_nanos);
        let before = self.lease_until.swap(until, Ordering::AcqRel);
        if until == 0 && before != 0 {
            self.reign.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Everything up to `floor` may become visible at followers from now on.
    pub(crate) fn raise_floor(&self, floor: LogIndex) {
        self.floor.store(floor.get(), Ordering::Release);
    }

    /// The engine has applied everything up to `applied`.
    pub(crate) fn set_applied(&self, applied: LogIndex) {
        self.applied.store(applied.get(), Ordering::Release);
    }

    /// Publishes who leads. The lease of another reign is taken back first.
    pub(crate) fn set_leadership(&self, leadership: Leadership, leading: bool) {
        self.leading.store(leading, Ordering::Release);
        self.leadership.send_if_modified(|known| {
            let changed = *known != leadership;
            *known = leadership;
            changed
        });
    }

    pub(crate) fn is_leading(&self) -> bool {
        self.leading.load(Ordering::Acquire)
    }

    pub(crate) fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    pub(crate) fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    pub(crate) fn has_lease(&self) -> bool {
        self.lease_is_running()
    }

    pub(crate) fn set_snapshot(&self, snapshot: Snapshot) {
        *self.snapshot.lock() = snapshot;
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn published() -> Published {
        Published::new(Snapshot {
            role: Role::Follower,
            term: Term::ZERO,
            last_index: LogIndex::ZERO,
            durable: LogIndex::ZERO,
            committed: LogIndex::ZERO,
            applied: LogIndex::ZERO,
            first_index: LogIndex::new(1),
            membership: Arc::default(),
            progress: Vec::new(),
        })
    }

    #[test]
    fn a_lease_that_ends_during_the_read_does_not_confirm_it() {
        let published = published();
        assert!(published.begin_read().is_none());
        published.set_lease(Some(clock::now().after(Duration::from_secs(60))));
        let began = published.begin_read().unwrap();
        assert!(published.confirm_read(began));
        published.set_lease(Some(clock::now()));
        assert!(!published.confirm_read(began));
    }

    #[test]
    fn a_read_waits_for_what_a_follower_may_have_shown() {
        let published = published();
        published.set_lease(Some(clock::now().after(Duration::from_secs(60))));
        published.raise_floor(LogIndex::new(7));
        assert!(published.begin_read().is_none());
        published.set_applied(LogIndex::new(7));
        let began = published.begin_read().unwrap();
        published.raise_floor(LogIndex::new(8));
        assert!(published.confirm_read(began), "it may stand before entry 8");
    }

    #[test]
    fn a_lease_taken_back_and_regained_does_not_confirm_a_read_from_before() {
        let published = published();
        let later = Some(clock::now().after(Duration::from_secs(60)));
        published.set_lease(later);
        let began = published.begin_read().unwrap();
        published.set_lease(None);
        published.set_lease(later);
        assert!(!published.confirm_read(began));
        assert!(published.begin_read().is_some());
    }
}
