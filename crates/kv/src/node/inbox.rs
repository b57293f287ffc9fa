//! What has arrived for a Raft worker, and its one bell.
//!
//! Everybody puts things in under one short lock; the worker takes everything out at once by
//! swapping buffers, so a busy worker costs its producers no system call and no allocation, and
//! batches grow by themselves with the load.

use core::mem;
use core::time::Duration;

use parking_lot::{Condvar, Mutex};
use raft::{ChunkRead, Durable, Fetched, MembershipChange, Message, SnapshotFailure, SnapshotId};
use stdx::{GroupId, LogIndex, NodeId};
use tokio::sync::oneshot;

use crate::node::error::{AdminError, ReadError};
use crate::node::submission::Submission;

/// Bounds of what may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) submissions_max: usize,
    pub(crate) submission_bytes_max: usize,
    pub(crate) message_bytes_max: usize,
}

/// Raft messages of one frame from one node.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) from: NodeId,
    pub(crate) messages: Vec<(GroupId, Message)>,
    /// What they count against the bound.
    pub(crate) bytes: usize,
}

/// Somebody who waits for a linearizable read.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) group: GroupId,
    pub(crate) answer: oneshot::Sender<Result<(), ReadError>>,
}

/// An operator's wish.
#[derive(Debug)]
pub(crate) enum Admin {
    /// Change the members; answered when the change is committed.
    Change {
        change: MembershipChange,
        answer: oneshot::Sender<Result<(), AdminError>>,
    },
    /// Hand leadership over; answered when somebody else leads, or not.
    Transfer {
        to: Option<NodeId>,
        answer: oneshot::Sender<Result<NodeId, AdminError>>,
    },
}

/// Everything else. Each kind is bounded by what the worker itself asked for, or by operators.
#[derive(Debug)]
pub(crate) enum Control {
    /// The log thread made these writes durable, in order.
    Persisted(Vec<(GroupId, Durable)>),
    Admin(GroupId, Admin),
    Fetched(GroupId, Fetched),
    ChunkRead(GroupId, ChunkRead),
    ChunkStored {
        group: GroupId,
        snapshot: SnapshotId,
        bytes: u64,
    },
    Installed {
        group: GroupId,
        snapshot: SnapshotId,
        index: LogIndex,
    },
    SnapshotFailed(GroupId, SnapshotFailure),
    /// The state machine is durable through this index: the log may be cut behind it.
    Compact {
        group: GroupId,
        through: LogIndex,
    },
    /// Refuse new work, answer what waits, stop.
    Stop,
}

/// What was taken out at once. Reused, so that its buffers are.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    pub(crate) submissions: Vec<Submission>,
    pub(crate) messages: Vec<Received>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) controls: Vec<Control>,
}

impl Drained {
    fn is_empty(&self) -> bool {
        self.submissions.is_empty()
            && self.messages.is_empty()
            && self.readers.is_empty()
            && self.controls.is_empty()
    }
}

/// Why something was not taken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

#[derive(Debug, Default)]
struct State {
    waiting: Drained,
    submission_bytes: usize,
    message_bytes: usize,
    /// The worker sleeps and wants the bell.
    asleep: bool,
    /// Fewer submissions than these, if they are few bytes, need not wake it.
    enough: usize,
    closed: bool,
}

impl State {
    /// Something is there that the worker should look at now.
    fn is_urgent(&self) -> bool {
        let Drained {
            controls,
            messages,
            readers,
            submissions,
        } = &self.waiting;
        let gathering =
            submissions.len() < self.enough && self.submission_bytes < GATHERED_BYTES_MAX;
        !(controls.is_empty() && messages.is_empty() && readers.is_empty())
            || !(submissions.is_empty() || gathering)
    }
}

/// Submissions of so many bytes are worth an entry of their own at once.
pub(crate) const GATHERED_BYTES_MAX: usize = 64 << 10;

/// The worker's entrance.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    bell: Condvar,
    limits: Limits,
}

impl Inbox {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::default(),
            bell: Condvar::new(),
            limits,
        }
    }

    /// Commands for the log. Gives them back if they are refused.
    pub(crate) fn submit(&self, submission: Submission) -> Result<(), (Refusal, Submission)> {
        let mut state = self.state.lock();
        if state.closed {
            return Err((Refusal::Closed, submission));
        }
        let bytes = state.submission_bytes + submission.batch.bytes().len();
        let waiting = state.waiting.submissions.len();
        // One submission is always let in, whatever its size.
        if waiting >= self.limits.submissions_max
            || (waiting > 0 && bytes > self.limits.submission_bytes_max)
        {
            return Err((Refusal::Full, submission));
        }
        state.submission_bytes = bytes;
        state.waiting.submissions.push(submission);
        self.ring(state);
        Ok(())
    }

    /// Messages of another node. False if they were dropped, which Raft repairs.
    pub(crate) fn receive(&self, received: Received) -> bool {
        let mut state = self.state.lock();
        let bytes = state.message_bytes + received.bytes;
        let full = !state.waiting.messages.is_empty() && bytes > self.limits.message_bytes_max;
        if state.closed || full {
            return false;
        }
        state.message_bytes = bytes;
        state.waiting.messages.push(received);
        self.ring(state);
        true
    }

    /// A read to be confirmed.
    pub(crate) fn read(&self, reader: Reader) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.waiting.readers.len() >= self.limits.submissions_max {
            return Err(Refusal::Full);
        }
        state.waiting.readers.push(reader);
        self.ring(state);
        Ok(())
    }

    /// Anything else. Dropped, with whoever waits for an answer, when the worker is gone.
    pub(crate) fn control(&self, control: Control) {
        let mut state = self.state.lock();
        if !state.closed {
            state.waiting.controls.push(control);
            self.ring(state);
        }
    }

    /// Takes nothing any more, and drops what waits.
    pub(crate) fn close(&self) {
        let dropped = {
            let mut state = self.state.lock();
            state.closed = true;
            mem::take(&mut state.waiting)
        };
        self.bell.notify_one();
        // Outside the lock: waking those who waited may take a while.
        drop(dropped);
    }

    /// Waits until something is there or `timeout` has passed, then takes everything.
    ///
    /// Submissions alone don't wake the worker until they are `enough` or many bytes: it could do
    /// nothing with them yet, and to be woken for each costs more than they do. `drained` must
    /// be empty; its buffers become the inbox's.
    pub(crate) fn take(&self, timeout: Option<Duration>, enough: usize, drained: &mut Drained) {
        debug_assert!(
            drained.is_empty(),
            "what was taken before must be dealt with"
        );
        let mut state = self.state.lock();
        state.enough = enough;
        if !state.is_urgent() && !state.closed && timeout != Some(Duration::ZERO) {
            state.asleep = true;
            match timeout {
                // A spurious wake-up only makes the worker look once more.
                Some(timeout) => {
                    let _timed_out = self.bell.wait_for(&mut state, timeout);
                }
                None => self.bell.wait(&mut state),
            }
            state.asleep = false;
        }
        mem::swap(&mut state.waiting, drained);
        state.submission_bytes = 0;
        state.message_bytes = 0;
    }

    /// Wakes the worker if it sleeps: a busy one looks again by itself.
    fn ring(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let wake = state.is_urgent() && mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::node::submission::Responder;

    fn inbox() -> Inbox {
        Inbox::new(Limits {
            submissions_max: 2,
            submission_bytes_max: 10,
            message_bytes_max: 10,
        })
    }

    fn received(bytes: usize) -> Received {
        Received {
            from: NodeId::new(2),
            messages: Vec::new(),
            bytes,
        }
    }

    #[test]
    fn a_sleeping_worker_is_woken_by_what_arrives() {
        let inbox = Arc::new(inbox());
        let other = Arc::clone(&inbox);
        let worker = thread::spawn(move || {
            let mut drained = Drained::default();
            while drained.is_empty() {
                other.take(None, 1, &mut drained);
            }
            drained.messages.len()
        });
        assert!(inbox.receive(received(1)));
        assert_eq!(worker.join().unwrap(), 1);
    }

    #[test]
    fn a_patient_worker_takes_submissions_with_what_else_arrives() {
        let inbox = Arc::new(inbox());
        let submit = || {
            let (answer, answered) = oneshot::channel();
            let submission = Submission {
                group: GroupId::new(1),
                batch: kv_core::Batch::new(),
                responder: Responder::Local { answer },
            };
            assert!(inbox.submit(submission).is_ok());
            answered
        };
        let other = Arc::clone(&inbox);
        let worker = thread::spawn(move || {
            let mut drained = Drained::default();
            let (mut rounds, mut seen) = (0, (0, 0));
            while seen.1 == 0 {
                other.take(None, 3, &mut drained);
                rounds += 1;
                seen = (seen.0 + drained.submissions.len(), drained.messages.len());
                drained.submissions.clear();
            }
            (rounds, seen)
        });
        let _answers = [submit(), submit()];
        assert!(inbox.receive(received(1)));
        let (rounds, seen) = worker.join().unwrap();
        assert_eq!(seen, (2, 1));
        assert_eq!(rounds, 1, "submissions alone didn't wake it");
    }

    #[test]
    fn messages_over_the_bound_are_dropped_but_never_the_first() {
        let inbox = inbox();
        assert!(inbox.receive(received(100)));
        assert!(!inbox.receive(received(1)));
        let mut drained = Drained::default();
        inbox.take(None, 1, &mut drained);
        assert_eq!(drained.messages.len(), 1);
        assert!(inbox.receive(received(1)));
    }

    #[test]
    fn a_closed_inbox_drops_who_waits() {
        let inbox = inbox();
        let (answer, answered) = oneshot::channel();
        inbox
            .read(Reader {
                group: GroupId::new(1),
                answer,
            })
            .unwrap();
        inbox.close();
        assert!(answered.blocking_recv().is_err());
        let (answer, _) = oneshot::channel();
        let refused = inbox.read(Reader {
            group: GroupId::new(1),
            answer,
        });
        assert_eq!(refused, Err(Refusal::Closed));
    }
}
