//! A node, for whoever wants something of it.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use engine::{Engine, ReadView};
use kv_core::limits::BATCH_BYTES_MAX;
use kv_core::{Batch, Reply};
use raft::MembershipChange;
use stdx::{GroupId, Instant, NodeId};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::config::{Config, Valid};
use crate::node::clock;
use crate::node::error::{AdminError, ExecuteError, ReadError};
use crate::node::full_disk::FullDisk;
use crate::node::inbox::{Admin, Control, Inbox, Reader, Received, Refusal};
use crate::node::publish::{Leadership, Published, Reign};
use crate::node::status::{DataStatus, DiskStatus, MemberStatus, NodeStatus, Role};
use crate::node::submission::{Outcome, Responder, Submission};
use crate::node::telemetry::Metrics;
use crate::transport::{Asked, Identity, Owner, Transport, WeakTransport};

/// How long a change of members or of the leader may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The first pause before another attempt to find the leader; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// How long a leader that was replaced is still listened to.
const FAREWELL_PAUSE: Duration = Duration::from_millis(250);

/// The end of the time that something may take.
#[derive(Clone, Copy, Debug)]
struct Deadline(Instant);

impl Deadline {
    fn new(span: Duration) -> Self {
        Self(clock::now().after(span))
    }

    fn left(self) -> Duration {
        self.0.since(clock::now())
    }
}

/// What is shared between a node's threads, its connections and its handles.
pub(crate) struct Shared {
    pub(crate) config: Valid<Config>,
    pub(crate) identity: Identity,
    pub(crate) group: GroupId,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) published: Arc<Published>,
    pub(crate) engine: Arc<dyn Engine>,
    /// Whether no write is taken at the moment for want of space.
    pub(crate) full_disk: FullDisk,
    pub(crate) shutting_down: AtomicBool,
    /// Everything stops where it is.
    pub(crate) halted: AtomicBool,
    pub(crate) metrics: Metrics,
    pub(crate) disk: parking_lot::Mutex<DiskStatus>,
    pub(crate) started: Instant,
    pub(crate) failed: watch::Sender<Option<Arc<str>>>,
    /// Asks the node's owner task for an orderly end; answered by closing the channel.
    pub(crate) stop: watch::Sender<Option<Farewell>>,
    pub(crate) stopped: watch::Sender<bool>,
    /// Closes when all of this is gone, files included. Last, because fields end in order.
    pub(crate) alive: watch::Sender<()>,
}

impl core::fmt::Debug for Shared {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shared")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// How a node ends in order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Farewell {
    /// The others go on: one of them takes the leadership over first.
    HandOver,
    /// The others end as well, so nobody is left to take anything over.
    Together,
}

/// A cheap, shared reference to a running node.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) transport: Transport,
}

/// Permission to read what is applied here, as long as it can be confirmed.
///
/// Read through [`Self::view`], then ask [`Self::confirm`], and only then answer.
#[derive(Debug)]
pub struct ReadGuard<'a> {
    shared: &'a Shared,
    reign: Reign,
}

impl ReadGuard<'_> {
    /// What is applied. Blocks the applying of further writes while it is held, so keep it short.
    #[must_use]
    pub fn view(&self) -> ReadView<'_> {
        self.shared.engine.view()
    }

    /// Whether what was read is linearizable: this node was and is the only one that may serve.
    /// The view may be dropped before or after.
    #[must_use]
    pub fn confirm(&self) -> bool {
        self.shared.published.confirm_read(self.reign)
    }
}

impl Handle {
    /// Runs encoded commands in order, appended to the log together, and returns one reply per
    /// command once they are durable on a quorum and applied. On a node that doesn't lead, the
    /// leader is asked.
    ///
    /// # Errors
    ///
    /// Every error but [`ExecuteError::Unknown`] means that nothing was or will be executed.
    pub async fn execute(&self, mut batch: Batch) -> Result<Vec<Reply>, ExecuteError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = batch.bytes().len();
        if bytes > BATCH_BYTES_MAX {
            return Err(ExecuteError::TooLarge {
                bytes,
                bytes_max: BATCH_BYTES_MAX,
            });
        }
        let shared = &*self.shared;
        let mut leadership = None;
        let mut pause = RETRY_PAUSE;
        let deadline = Deadline::new(shared.config.leader_wait);
        loop {
            let refused;
            if shared.published.is_leading() {
                match self.execute_here(batch).await {
                    Ok(outcome) => return outcome,
                    Err((error, unused)) => {
                        refused = error;
                        batch = unused;
                    }
                }
            } else {
                let leader = self.wait_for_leader(deadline).await?;
                // To this node itself there is no way: it is about to lead, or just did.
                let given_up = self.give_up_on(leader);
                match self
                    .transport
                    .forward(leader, shared.group, &batch, given_up)
                    .await
                {
                    Err(error @ ExecuteError::NoLeader { .. }) => refused = error,
                    // That node is on its way out, not this one: somebody else will lead.
                    Err(ExecuteError::ShuttingDown) => {
                        refused = ExecuteError::NoLeader { leader: None };
                    }
                    outcome => return outcome,
                }
            }
            // Certainly not executed, so another attempt is safe: when somebody else leads, or
            // when the leader can be reached (again).
            let left = deadline.left();
            if left.is_zero() {
                return Err(refused);
            }
            let changes = leadership.get_or_insert_with(|| shared.published.watch_leadership());
            drop(timeout(pause.min(left), changes.changed()).await);
            pause *= 2;
        }
    }

    /// Hands commands to this node's Raft thread. Gives them back if this node doesn't lead.
    async fn execute_here(&self, batch: Batch) -> Result<Outcome, (ExecuteError, Batch)> {
        let shared = &*self.shared;
        if shared.shutting_down.load(Ordering::Acquire) {
            return Ok(Err(ExecuteError::ShuttingDown));
        }
        if shared.full_disk.is_full() {
            return Ok(Err(ExecuteError::DiskFull));
        }
        let (answer, answered) = oneshot::channel();
        let responder = Responder::Local { answer };
        let submission = Submission {
            group: shared.group,
            batch,
            responder,
        };
        match shared.inbox.submit(submission) {
            Ok(()) => {}
            Err((Refusal::Full, _)) => return Ok(Err(ExecuteError::Overloaded)),
            Err((Refusal::Closed, _)) => return Ok(Err(ExecuteError::ShuttingDown)),
        }
        match answered.await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(refused)) => Err(refused),
            // The Raft thread is gone, with whatever it had under way.
            Err(_) => Ok(Err(ExecuteError::Unknown)),
        }
    }

    /// Returns when a leader that was asked needs not be waited for any longer: it takes too long,
    /// or another one leads and the old one had time to say what it still knew. A leader that is
    /// paused or cut off never answers, although its connection stands.
    async fn give_up_on(&self, asked: NodeId) {
        let mut leadership = self.shared.published.watch_leadership();
        let replaced = async {
            let other = |known: &Leadership| known.leader.is_some_and(|leader| leader != asked);
            if leadership.wait_for(other).await.is_ok() {
                sleep(FAREWELL_PAUSE).await;
            }
        };
        drop(timeout(self.shared.config.execute_timeout, replaced).await);
    }

    /// Waits until somebody is known to lead.
    async fn wait_for_leader(&self, deadline: Deadline) -> Result<NodeId, ExecuteError> {
        let shared = &*self.shared;
        if shared.shutting_down.load(Ordering::Acquire) {
            return Err(ExecuteError::ShuttingDown);
        }
        if let Some(leader) = shared.published.leadership().leader {
            return Ok(leader);
        }
        let mut leadership = shared.published.watch_leadership();
        let known = leadership.wait_for(|known| known.leader.is_some() || known.over);
        let no_leader = ExecuteError::NoLeader { leader: None };
        match timeout(deadline.left(), known).await {
            Ok(Ok(known)) if !known.over => known.leader.ok_or(no_leader),
            Ok(_) => Err(ExecuteError::ShuttingDown),
            Err(_) => Err(no_leader),
        }
    }

    /// A linearizable view right now, without waiting: at the leader while its lease runs.
    #[must_use]
    pub fn try_read(&self) -> Option<ReadGuard<'_>> {
        let reign = self.shared.published.begin_read()?;
        Some(ReadGuard {
            shared: &self.shared,
            reign,
        })
    }

    /// Waits until everything acknowledged before this call is applied here; then
    /// [`Self::view`] is linearizable. Cheap at a leader with a lease.
    ///
    /// # Errors
    ///
    /// When that can't be made sure in time. Nothing happened.
    pub async fn read_barrier(&self) -> Result<(), ReadError> {
        if self.try_read().is_some() {
            return Ok(());
        }
        let shared = &*self.shared;
        let deadline = Deadline::new(shared.config.leader_wait);
        let confirmed = async {
            let mut pause = RETRY_PAUSE;
            loop {
                let (answer, answered) = oneshot::channel();
                shared
                    .inbox
                    .read(Reader {
                        group: shared.group,
                        answer,
                    })
                    .map_err(|refusal| match refusal {
                        Refusal::Full => ReadError::Overloaded,
                        Refusal::Closed => ReadError::ShuttingDown,
                    })?;
                match answered.await {
                    Ok(Err(ReadError::NoLeader { leader })) => {
                        self.wait_for_leader(deadline).await.map_err(read_error)?;
                        if deadline.left().is_zero() {
                            return Err(ReadError::NoLeader { leader });
                        }
                        sleep(pause).await;
                        pause *= 2;
                    }
                    Ok(result) => return result,
                    Err(_) => return Err(ReadError::ShuttingDown),
                }
            }
        };
        timeout(shared.config.read_timeout, confirmed)
            .await
            .unwrap_or(Err(ReadError::TimedOut))
    }

    /// What is applied here: linearizable right after [`Self::read_barrier`], else maybe old.
    #[must_use]
    pub fn view(&self) -> ReadView<'_> {
        self.shared.engine.view()
    }

    /// Who leads, and the address of its gRPC door, as far as known.
    #[must_use]
    pub fn leader(&self) -> Option<(NodeId, Option<Arc<str>>)> {
        let leader = self.shared.published.leadership().leader?;
        Some((leader, self.transport.address(leader)))
    }

    /// Waits until a leader is known, and serves if it is this node.
    pub async fn wait_ready(&self) {
        let own = self.shared.identity.node;
        let mut leadership = self.shared.published.watch_leadership();
        let ready = |known: &Leadership| match known.leader {
            Some(leader) => leader != own || known.serves,
            None => false,
        };
        // The sender lives as long as this handle.
        drop(leadership.wait_for(ready).await);
    }

    /// What this node knows and does.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let shared = &*self.shared;
        let snapshot = shared.published.snapshot();
        let leader = shared.published.leadership().leader;
        let stats = shared.engine.stats();
        let own = shared.identity.node;
        let members = snapshot.membership.members().into_iter().map(|node_id| {
            let progress = snapshot.progress.iter().find(|peer| peer.id == node_id);
            MemberStatus {
                node_id,
                address: self.transport.address(node_id),
                voter: snapshot.membership.is_voter(node_id),
                matched: progress.map_or_else(
                    || {
                        if node_id == own {
                            snapshot.durable
                        } else {
                            stdx::LogIndex::ZERO
                        }
                    },
                    |peer| peer.matched,
                ),
                lag: progress.map_or(0, |peer| peer.lag),
                state: match progress.map(|peer| peer.state) {
                    Some(raft::ProgressState::Probe) => "probing",
                    Some(raft::ProgressState::Replicate) => "replicating",
                    Some(raft::ProgressState::Snapshot) => "receiving a snapshot",
                    None if leader == Some(node_id) => "leading",
                    None => "",
                },
            }
        });
        NodeStatus {
            node_id: own,
            cluster_id: format!("{:016x}", shared.identity.cluster).into_boxed_str(),
            role: snapshot.role,
            term: snapshot.term,
            leader,
            leader_address: leader.and_then(|leader| self.transport.address(leader)),
            last_index: snapshot.last_index,
            durable: snapshot.durable,
            committed: snapshot.committed,
            applied: shared.engine.applied(),
            first_index: snapshot.first_index,
            members: members.collect(),
            disk: DiskStatus {
                engine_bytes: stats.disk_bytes,
                full: shared.full_disk.is_full(),
                ..*shared.disk.lock()
            },
            data: DataStatus {
                keys: stats.keys,
                memory_bytes: stats.resident_bytes,
            },
            uptime: clock::now().since(shared.started),
            has_lease: shared.published.has_lease(),
        }
    }

    /// Adds a node as a learner: it gets the log and has no vote.
    ///
    /// # Errors
    ///
    /// See [`AdminError`]; only the leader can do it.
    pub async fn add_member(&self, node: NodeId, address: &str) -> Result<(), AdminError> {
        self.transport.learn(node, address);
        self.change(MembershipChange::AddLearner(node)).await
    }

    /// Gives a learner that has caught up a vote.
    ///
    /// # Errors
    ///
    /// See [`AdminError`]; only the leader can do it.
    pub async fn promote(&self, node: NodeId) -> Result<(), AdminError> {
        self.change(MembershipChange::Promote(node)).await
    }

    /// Removes a node from the cluster, learner or voter.
    ///
    /// # Errors
    ///
    /// See [`AdminError`]; only the leader can do it.
    pub async fn remove_member(&self, node: NodeId) -> Result<(), AdminError> {
        self.change(MembershipChange::Remove(node)).await
    }

    async fn change(&self, change: MembershipChange) -> Result<(), AdminError> {
        self.admin(|answer| Admin::Change { change, answer }).await
    }

    /// Hands leadership to another voter, or to the best one. Returns the new leader.
    ///
    /// # Errors
    ///
    /// See [`AdminError`]; only the leader can do it.
    pub async fn transfer(&self, to: Option<NodeId>) -> Result<NodeId, AdminError> {
        self.admin(|answer| Admin::Transfer { to, answer }).await
    }

    async fn admin<T>(
        &self,
        admin: impl FnOnce(oneshot::Sender<Result<T, AdminError>>) -> Admin,
    ) -> Result<T, AdminError> {
        if self.shared.shutting_down.load(Ordering::Acquire) {
            return Err(AdminError::ShuttingDown);
        }
        let (answer, answered) = oneshot::channel();
        self.shared
            .inbox
            .control(Control::Admin(self.shared.group, admin(answer)));
        let result = match timeout(ADMIN_TIMEOUT, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(AdminError::ShuttingDown),
            Err(_) => Err(AdminError::TimedOut),
        };
        result.map_err(|error| match error {
            AdminError::NotLeader { leader, .. } => {
                let address = leader.and_then(|leader| self.transport.address(leader));
                AdminError::NotLeader { leader, address }
            }
            error => error,
        })
    }

    /// Ends the node in order: leadership goes to another node first, writes under way are
    /// finished or refused, everything is written down. Returns when it is over, at the latest
    /// after the configured time.
    pub async fn shutdown(&self) {
        self.end(Farewell::HandOver).await;
    }

    /// As [`Self::shutdown`], when all nodes of the cluster end at the same time: leadership
    /// stays where it is, since waiting for somebody to take it over would be in vain.
    pub async fn shutdown_together(&self) {
        self.end(Farewell::Together).await;
    }

    /// Lets go of the node that ended, and waits until everybody else did: then another one may
    /// use its directory.
    pub(crate) async fn released(self) {
        let mut alive = self.shared.alive.subscribe();
        drop(self);
        // The sender is never used: an error, which says that it is gone, is all there can be.
        drop(alive.changed().await);
    }

    async fn end(&self, farewell: Farewell) {
        self.shared.stop.send_replace(Some(farewell));
        let mut stopped = self.shared.stopped.subscribe();
        // An error means that the node is gone already.
        drop(stopped.wait_for(|stopped| *stopped).await);
    }

    /// Whether this node has a vote.
    pub(crate) fn is_learner(&self) -> bool {
        self.shared.published.snapshot().role == Role::Learner
    }
}

fn read_error(error: ExecuteError) -> ReadError {
    match error {
        ExecuteError::ShuttingDown => ReadError::ShuttingDown,
        ExecuteError::NoLeader { leader } => ReadError::NoLeader { leader },
        ExecuteError::Overloaded
        | ExecuteError::TooLarge { .. }
        | ExecuteError::DiskFull
        | ExecuteError::Unknown => ReadError::NoLeader { leader: None },
    }
}

/// The node as its transport sees it.
pub(crate) struct Door {
    pub(crate) shared: Arc<Shared>,
    /// Set once the node runs. Weak, because the transport keeps this door.
    pub(crate) transport: std::sync::OnceLock<WeakTransport>,
}

impl Owner for Door {
    fn receive(&self, received: Received) -> bool {
        self.shared.inbox.receive(received)
    }

    fn submit(&self, submission: Submission) {
        let shared = &*self.shared;
        let refusal = if shared.shutting_down.load(Ordering::Acquire) {
            Some(ExecuteError::ShuttingDown)
        } else if shared.full_disk.is_full() {
            Some(ExecuteError::DiskFull)
        } else {
            None
        };
        if let Some(error) = refusal {
            return submission.responder.answer(Err(error));
        }
        if let Err((refusal, submission)) = shared.inbox.submit(submission) {
            submission.responder.answer(Err(match refusal {
                Refusal::Full => ExecuteError::Overloaded,
                Refusal::Closed => ExecuteError::ShuttingDown,
            }));
        }
    }

    fn asked(
        &self,
        asked: Asked,
    ) -> Pin<Box<dyn Future<Output = Result<(), AdminError>> + Send + '_>> {
        Box::pin(async move {
            let transport = self.transport.get().and_then(WeakTransport::upgrade);
            let transport = transport.ok_or(AdminError::ShuttingDown)?;
            let handle = Handle {
                shared: Arc::clone(&self.shared),
                transport,
            };
            let members = self.shared.published.snapshot().membership;
            match asked {
                Asked::Join { node, address } => {
                    let result = if members.contains(node) {
                        handle.transport.learn(node, &address);
                        Ok(())
                    } else {
                        handle.add_member(node, &address).await
                    };
                    if result.is_ok() {
                        tracing::info!("{node} at {address} joined");
                    }
                    result
                }
                Asked::Promote { node } if members.voters.contains(&node) => Ok(()),
                Asked::Promote { node } => handle.promote(node).await,
            }
        })
    }
}
