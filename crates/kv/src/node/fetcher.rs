//! Reading old entries back from the log, off the Raft thread.

use core::mem;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use raft::{Fetch, Fetched};
use stdx::GroupId;
use wal::{LogReader, ReadError};

use crate::node::handle::Shared;
use crate::node::inbox::Control;
use crate::node::log_writer::{decode_entry, describe};

#[derive(Debug, Default)]
struct State {
    jobs: Vec<(GroupId, Fetch)>,
    closed: bool,
}

/// The way to the reading thread. Bounded: Raft asks for one piece per follower at a time.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bell: Condvar,
}

impl Queue {
    pub(crate) fn push(&self, job: (GroupId, Fetch)) {
        self.state.lock().jobs.push(job);
        self.bell.notify_one();
    }

    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.bell.notify_one();
    }

    fn take(&self) -> Option<Vec<(GroupId, Fetch)>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if !state.jobs.is_empty() {
                return Some(mem::take(&mut state.jobs));
            }
            self.bell.wait(&mut state);
        }
    }
}

/// Answers fetches until the queue is closed.
pub(crate) fn run(
    queue: &Queue,
    reader: &Arc<dyn LogReader>,
    shared: &Arc<Shared>,
) -> Result<(), String> {
    while let Some(jobs) = queue.take() {
        for (group, fetch) in jobs {
            let Fetch {
                id,
                from,
                to,
                bytes_max,
            } = fetch;
            let entries = match reader.entries(group, from, to, bytes_max) {
                Ok(entries) => {
                    let decoded: Option<Vec<_>> = entries.into_iter().map(decode_entry).collect();
                    let unknown = || {
                        format!(
                            "the log of {group} from {from} holds an entry that this program does \
                             not understand: use the program that wrote it, or a newer one"
                        )
                    };
                    Some(decoded.ok_or_else(unknown)?)
                }
                // A snapshot takes their place.
                Err(ReadError::Compacted { .. }) => None,
                Err(error @ ReadError::Corrupt(_)) => return Err(describe(&error)),
                Err(error @ (ReadError::OutOfRange { .. } | ReadError::Io { .. })) => {
                    tracing::warn!(
                        "could not read old entries: {}; trying again",
                        describe(&error)
                    );
                    None
                }
            };
            shared
                .inbox
                .control(Control::Fetched(group, Fetched { id, entries }));
        }
    }
    Ok(())
}
