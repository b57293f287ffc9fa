//! `openraft` 0.10, with a log and a state machine in memory and calls instead of a network.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry as _;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder,
    RaftStateMachine,
};
use openraft::{AnyError, BasicNode, Config, OptionalSend, Raft};

openraft::declare_raft_types!(
    /// What is replicated.
    pub Types: D = Data, R = ()
);

/// The bytes of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data(Bytes);

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

type Entry = openraft::alias::EntryOf<Types>;
type Node = Raft<Types, Machine>;

/// A log: entry `i` at `i`.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<LogInner>>);

#[derive(Debug, Default)]
struct LogInner {
    entries: Vec<Entry>,
    vote: Option<VoteOf<Types>>,
}

impl Log {
    fn inner(&self) -> std::sync::MutexGuard<'_, LogInner> {
        self.0
            .lock()
            .expect("nothing panics while it holds the log")
    }
}

fn position(index: u64) -> usize {
    usize::try_from(index).expect("a log in memory")
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let log = self.inner();
        let from = match range.start_bound() {
            Bound::Included(index) => position(*index),
            Bound::Excluded(index) => position(*index) + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => position(*index) + 1,
            Bound::Excluded(index) => position(*index),
            Bound::Unbounded => log.entries.len(),
        };
        Ok(log
            .entries
            .get(from..to.min(log.entries.len()))
            .unwrap_or_default()
            .to_vec())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(self.inner().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_log_id = self.inner().entries.last().map(|entry| entry.log_id());
        Ok(LogState {
            last_purged_log_id: None,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        self.inner().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.inner().entries.extend(entries);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> io::Result<()> {
        let keep = last.map_or(0, |last| position(last.index()) + 1);
        self.inner().entries.truncate(keep);
        Ok(())
    }

    async fn purge(&mut self, _through: LogIdOf<Types>) -> io::Result<()> {
        Err(io::Error::other("nothing is purged here"))
    }
}

/// Counts.
#[derive(Clone, Debug, Default)]
struct Machine {
    last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        Err(io::Error::other("no snapshots here"))
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            self.last = Some(entry.log_id());
            if let openraft::EntryPayload::Membership(membership) = &entry.payload {
                self.membership = StoredMembershipOf::<Types>::new(self.last, membership.clone());
            }
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, _: &SnapshotMetaOf<Types>, (): ()) -> io::Result<()> {
        Err(io::Error::other("no snapshots here"))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        Ok(None)
    }
}

/// Where the members are found: set once all of them exist.
type Members = Arc<OnceLock<Vec<Node>>>;

#[derive(Clone)]
struct Router(Members);

struct Link {
    members: Members,
    to: usize,
}

impl Link {
    fn target(&self) -> Result<&Node, Unreachable<Types>> {
        let members = self.members.get();
        members
            .map(|members| &members[self.to])
            .ok_or_else(|| Unreachable::new(&AnyError::error("not started yet")))
    }
}

impl RaftNetworkFactory<Types> for Router {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _node: &BasicNode) -> Link {
        Link {
            members: Arc::clone(&self.0),
            to: position(target),
        }
    }
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.target()?.append_entries(request).await;
        answer.map_err(|error| Unreachable::new(&AnyError::error(error)).into())
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer = self.target()?.vote(request).await;
        answer.map_err(|error| Unreachable::new(&AnyError::error(error)).into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: VoteOf<Types>,
        _snapshot: SnapshotOf<Types, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(Unreachable::new(
            &AnyError::error("no snapshots here"),
        )))
    }
}

/// Runs the whole measurement; returns how long the proposals took.
pub fn measure(proposals: u64, window: u64, bytes: usize) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let config = Config {
            heartbeat_interval: 100,
            election_timeout_min: 300,
            election_timeout_max: 600,
            max_payload_entries: 4096,
            snapshot_policy: openraft::SnapshotPolicy::Never,
            ..Config::default()
        };
        let config = Arc::new(config.validate()?);
        let members = Members::default();
        let mut nodes = Vec::new();
        for id in 0..3 {
            let router = Router(Arc::clone(&members));
            let (log, machine) = (Log::default(), Machine::default());
            nodes.push(Node::new(id, Arc::clone(&config), router, log, machine).await?);
        }
        members
            .set(nodes.clone())
            .map_err(|_| anyhow!("set once"))?;
        let all: BTreeMap<u64, BasicNode> = (0..3).map(|id| (id, BasicNode::default())).collect();
        nodes[0].initialize(all).await?;
        let wait = nodes[0].wait(Some(Duration::from_secs(30)));
        let metrics = wait
            .metrics(|m| m.current_leader.is_some(), "a leader")
            .await?;
        let leader = nodes[position(metrics.current_leader.context("a leader")?)].clone();
        let data = Data(Bytes::from(vec![7; bytes]));
        let began = Instant::now();
        write_all(&leader, proposals, window, &data).await?;
        let taken = began.elapsed();
        for node in &nodes {
            node.shutdown().await?;
        }
        Ok(taken)
    })
}

/// Keeps `window` proposals under way, half of it in each call.
async fn write_all(leader: &Node, proposals: u64, window: u64, data: &Data) -> Result<()> {
    let batch = (window / 2).max(1);
    let mut started = 0;
    let mut waiting = std::collections::VecDeque::new();
    while started < proposals || !waiting.is_empty() {
        while started < proposals && waiting.len() < 2 {
            let count = batch.min(proposals - started);
            let answers = leader
                .client_write_many((0..count).map(|_| data.clone()))
                .await?;
            waiting.push_back(answers);
            started += count;
        }
        if let Some(mut answers) = waiting.pop_front() {
            while let Some(answer) = answers.next().await {
                answer?.map_err(|error| anyhow!("{error}"))?;
            }
        }
    }
    Ok(())
}
