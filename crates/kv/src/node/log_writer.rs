//! The log thread: one write and one `fdatasync` for everything that has queued up.
//!
//! While one batch is on its way to the disk, the next one gathers, so the batch size follows the
//! load and the disk's speed by itself. Every completion is one message to the Raft thread.

use core::mem;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};
use raft::{Entry, LogBase, Payload, Persist};
use stdx::GroupId;
use wal::{Append, Base, Log, LogEntry, Vote, WalError};

use crate::node::full_disk::Finder;
use crate::node::handle::Shared;
use crate::node::inbox::Control;
use crate::snapshot;

/// Kinds of log entries on disk. Zero is reserved; retired numbers are never used again.
pub(crate) const KIND_NOOP: u8 = 1;
pub(crate) const KIND_MEMBERSHIP: u8 = 2;
pub(crate) const KIND_DATA: u8 = 3;

/// How often a write that found the disk full is tried again.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);

/// How often the size of the log is looked at.
const USAGE_PERIOD: Duration = Duration::from_millis(500);

/// Work for the log thread.
#[derive(Debug)]
pub(crate) enum Job {
    Persist(GroupId, Persist),
    Compact(GroupId, LogBase),
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<Job>,
    asleep: bool,
    closed: bool,
}

/// The way to the log thread. Bounded by what Raft lets be under way.
#[derive(Debug, Default)]
pub(crate) struct LogQueue {
    state: Mutex<State>,
    bell: Condvar,
}

impl LogQueue {
    /// Hands jobs over, in order; `jobs` is empty afterwards.
    pub(crate) fn push(&self, jobs: &mut Vec<Job>) {
        let mut state = self.state.lock();
        if state.jobs.is_empty() {
            mem::swap(&mut state.jobs, jobs);
        } else {
            state.jobs.append(jobs);
        }
        let asleep = mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.bell.notify_one();
        }
    }

    /// Ends the thread: after what is queued if `finish`, else at once.
    pub(crate) fn close(&self, finish: bool) {
        let mut state = self.state.lock();
        state.closed = true;
        if !finish {
            state.jobs.clear();
        }
        drop(state);
        self.bell.notify_one();
    }

    /// Waits for jobs; false when there will be none any more.
    fn take(&self, jobs: &mut Vec<Job>) -> bool {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return false;
            }
            state.asleep = true;
            self.bell.wait(&mut state);
        }
        mem::swap(&mut state.jobs, jobs);
        true
    }

    fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

/// What a write consists of, owned, so that the log can borrow it.
struct Write {
    group: GroupId,
    vote: Option<Vote>,
    base: Option<Base>,
    entries: Vec<LogEntry>,
}

impl Write {
    fn new(group: GroupId, persist: &Persist) -> Self {
        Self {
            group,
            vote: persist.hard_state().map(|state| Vote {
                term: state.term,
                vote: state.vote,
            }),
            base: persist.base().map(encode_base),
            entries: persist.entries().iter().map(encode_entry).collect(),
        }
    }

    fn append(&self) -> Append<'_> {
        Append {
            group: self.group,
            vote: self.vote,
            entries: &self.entries,
            base: self.base.clone(),
        }
    }
}

pub(crate) fn encode_base(base: &LogBase) -> Base {
    let mut data = BytesMut::new();
    raft::wire::encode_membership(&base.membership, &mut data);
    Base {
        index: base.index,
        term: base.term,
        data: data.freeze(),
    }
}

fn encode_entry(entry: &Entry) -> LogEntry {
    let (kind, payload) = match &entry.payload {
        Payload::Noop => (KIND_NOOP, Bytes::new()),
        Payload::Membership(membership) => {
            let mut data = BytesMut::new();
            raft::wire::encode_membership(membership, &mut data);
            (KIND_MEMBERSHIP, data.freeze())
        }
        Payload::Data(data) => (KIND_DATA, data.clone()),
    };
    LogEntry {
        index: entry.index,
        term: entry.term,
        kind,
        payload,
    }
}

/// The entry that was written; `None` if it can't be understood.
pub(crate) fn decode_entry(entry: LogEntry) -> Option<Entry> {
    let LogEntry {
        index,
        term,
        kind,
        mut payload,
    } = entry;
    let payload = match kind {
        KIND_NOOP => Payload::Noop,
        KIND_MEMBERSHIP => {
            Payload::Membership(Arc::new(raft::wire::decode_membership(&mut payload).ok()?))
        }
        KIND_DATA => Payload::Data(payload),
        _ => return None,
    };
    Some(Entry {
        index,
        term,
        payload,
    })
}

/// The log thread.
pub(crate) struct LogWriter {
    pub(crate) log: Box<dyn Log>,
    pub(crate) queue: Arc<LogQueue>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshots: Arc<snapshot::Queue>,
    /// Cuts that found no room, to be tried again.
    pub(crate) put_off: Vec<(GroupId, LogBase)>,
}

impl LogWriter {
    /// Works until the queue is closed.
    pub(crate) fn run(mut self) -> Result<(), String> {
        let mut jobs = Vec::new();
        let mut measured = Instant::now();
        while self.queue.take(&mut jobs) {
            if !self.work(&mut jobs).map_err(|error| describe(&error))? {
                return Ok(());
            }
            if measured.elapsed() >= USAGE_PERIOD {
                measured = Instant::now();
                self.measure();
            }
        }
        Ok(())
    }

    /// Does the jobs. False if the thread is to end in the middle of it.
    fn work(&mut self, jobs: &mut Vec<Job>) -> Result<bool, WalError> {
        let mut persists = Vec::with_capacity(jobs.len());
        let mut bases = mem::take(&mut self.put_off);
        for job in jobs.drain(..) {
            match job {
                Job::Persist(group, persist) => persists.push((group, persist)),
                Job::Compact(group, base) => bases.push((group, base)),
            }
        }
        let writes: Vec<Write> = persists
            .iter()
            .map(|(group, persist)| Write::new(*group, persist))
            .collect();
        let appends: Vec<Append<'_>> = writes.iter().map(Write::append).collect();
        if !appends.is_empty() && !self.append(&appends)? {
            return Ok(false);
        }
        for (group, base) in bases {
            match self.log.compact(group, encode_base(&base)) {
                // What was to be cut off stays a while longer. Behind the loop: a later cut of the
                // same group makes it void.
                Err(WalError::DiskFull { .. }) => self.put_off.push((group, base)),
                other => other?,
            }
        }
        let began = Instant::now();
        self.log.sync()?;
        let metrics = &self.shared.metrics;
        metrics.fsyncs.increment(1);
        metrics.fsync_seconds.record(began.elapsed().as_secs_f64());
        metrics.fsync_entries.record(f64::from(
            u32::try_from(writes.iter().map(|w| w.entries.len()).sum::<usize>())
                .unwrap_or(u32::MAX),
        ));
        let rebased = writes.iter().any(|write| write.base.is_some());
        if !persists.is_empty() {
            let durable = persists
                .into_iter()
                .map(|(group, persist)| (group, persist.into_durable()))
                .collect();
            self.shared.inbox.control(Control::Persisted(durable));
        }
        if rebased {
            self.snapshots.push(snapshot::Job::Forget);
        }
        Ok(true)
    }

    /// Writes; a full disk is waited out, because nothing is lost by that. False if the thread is
    /// to end meanwhile.
    fn append(&mut self, appends: &[Append<'_>]) -> Result<bool, WalError> {
        let mut reported = false;
        loop {
            match self.log.append(appends) {
                Ok(()) => {
                    if reported {
                        self.shared.full_disk.state(Finder::Log, false);
                        tracing::info!("the disk has space again: the log goes on");
                    }
                    return Ok(true);
                }
                Err(error @ WalError::DiskFull { .. }) => {
                    if !reported {
                        self.shared.full_disk.state(Finder::Log, true);
                        tracing::error!("{error}; writes wait until there is space");
                        reported = true;
                    }
                    if self.queue.is_closed() {
                        return Ok(false);
                    }
                    std::thread::sleep(DISK_FULL_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn measure(&self) {
        let usage = self.log.usage();
        let mut disk = self.shared.disk.lock();
        disk.wal_bytes = usage.allocated_bytes.max(usage.bytes);
        disk.wal_segments = usage.segments;
    }
}

/// An error with its causes on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use raft::Membership;
    use stdx::{LogIndex, NodeId, Term};

    use super::*;

    #[test]
    fn entries_survive_the_log() {
        let membership = Membership::of_voters([NodeId::new(1), NodeId::new(2)]);
        let payloads = [
            Payload::Noop,
            Payload::Membership(Arc::new(membership)),
            Payload::Data(Bytes::from_static(b"data")),
        ];
        for payload in payloads {
            let entry = Entry {
                index: LogIndex::new(4),
                term: Term::new(2),
                payload,
            };
            assert_eq!(decode_entry(encode_entry(&entry)), Some(entry));
        }
        let unknown = LogEntry {
            index: LogIndex::new(1),
            term: Term::new(1),
            kind: 99,
            payload: Bytes::new(),
        };
        assert_eq!(decode_entry(unknown), None);
    }
}
