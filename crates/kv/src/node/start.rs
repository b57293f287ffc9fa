//! Starting a node: directory, identity, port, recovery, threads.

use core::hash::{BuildHasher, Hasher};
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::collections::hash_map::RandomState;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use engine::Engine;
use parking_lot::Mutex;
use raft::Raft;
use stdx::{GroupId, NodeId};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::{Cluster, Config, Valid};
use crate::node::Node;
use crate::node::clock;
use crate::node::disk::{self, DataDir};
use crate::node::error::StartError;
use crate::node::fetcher;
use crate::node::full_disk::FullDisk;
use crate::node::group::Group;
use crate::node::handle::{Door, Handle, Shared};
use crate::node::inbox::{Inbox, Limits};
use crate::node::keeper::{Keeper, KeeperThread};
use crate::node::log_writer::{LogQueue, LogWriter, describe};
use crate::node::publish::{Published, Snapshot};
use crate::node::recovery::{Recovery, recover};
use crate::node::runner::{Queues, Runner, Running, spawn};
use crate::node::status::{DiskStatus, Role};
use crate::node::telemetry::Metrics;
use crate::node::worker::{self, Worker};
use crate::snapshot::{self, SnapshotThread};
use crate::transport::{self, Book, Identity, Joined, Transport};

/// The group that holds the data. Group 0 is the controller's.
pub(crate) const DATA_GROUP: GroupId = GroupId::new(1);

/// Connections of gRPC clients that wait to be taken.
const GRPC_BACKLOG: usize = 128;

/// Rounds over all given members before joining is given up.
const JOIN_ROUNDS: usize = 20;

/// Pause between two such rounds, and between two looks at whether a learner can be promoted.
const JOIN_PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn start(config: Valid<Config>) -> Result<Node, StartError> {
    let data = DataDir::open(&config.data_dir)?;
    let known = check_identity(&config, &data)?;
    let door = match &config.cluster {
        Cluster::Embedded => None,
        Cluster::Single | Cluster::Static { .. } | Cluster::Join { .. } => {
            Some(listen(&config.listen).await?)
        }
    };
    let listen_address = door.as_ref().map(|(_, address)| *address);
    let own_address = match (listen_address, &config.advertise) {
        (Some(_), Some(address)) => Some(address.clone()),
        (Some(address), None) => Some(address.to_string()),
        (None, _) => None,
    };
    let mut book = Book::load(&data.join("PEERS"))?;
    if let Cluster::Static { peers, .. } = &config.cluster {
        for (peer, address) in peers {
            book.suggest(*peer, address);
        }
    }
    let found = match known {
        Some(identity) => identity,
        None => new_identity(&config, &data, own_address.as_deref(), &mut book).await?,
    };
    if let Some(address) = &own_address {
        book.set(config.node_id, address, clock::wall_ms());
    }
    let identity = Identity {
        cluster: found.cluster,
        node: config.node_id,
    };
    let task_config = config.clone();
    let voters = found.voters.clone();
    let recovered = spawn_blocking(move || {
        let recovery = recover(&task_config, &data, identity, &voters, DATA_GROUP)?;
        Ok::<_, StartError>((data, recovery))
    });
    let (data, recovery) =
        recovered
            .await
            .unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(StartError::Join {
                    reason: error.to_string().into(),
                }),
            })?;
    if matches!(config.cluster, Cluster::Embedded) {
        check_alone(&config, &recovery)?;
    }
    let assembly = Assembly {
        config,
        identity,
        data,
        book,
        recovery,
        listener: door.map(|(listener, _)| listener),
    };
    let (handle, runner, grpc) = assembly.run(found)?;
    Ok(Node {
        handle,
        listen_address,
        grpc: Some(grpc),
        runner,
    })
}

/// Whose directory it is, if that is this node; an error if not.
fn check_identity(config: &Config, data: &DataDir) -> Result<Option<disk::Identity>, StartError> {
    let Some(found) = data.identity()? else {
        return Ok(None);
    };
    let cluster = match &config.cluster {
        Cluster::Static { name, .. } => cluster_of(name),
        Cluster::Single | Cluster::Embedded | Cluster::Join { .. } => found.cluster,
    };
    if found.cluster == cluster && found.node == config.node_id {
        return Ok(Some(found));
    }
    let owner = |node: NodeId, cluster: u64| {
        format!("node {} of cluster {cluster:016x}", node.get()).into_boxed_str()
    };
    Err(StartError::OtherIdentity {
        dir: data.path().to_path_buf(),
        found: owner(found.node, found.cluster),
        expected: owner(config.node_id, cluster),
    })
}

/// An embedded node can't reach others, so there must be none.
fn check_alone(config: &Config, recovery: &Recovery) -> Result<(), StartError> {
    let restored = &recovery.restored;
    let last = restored.memberships.last();
    let membership = last.map_or(&restored.base.membership, |(_, membership)| membership);
    if membership.members().into_iter().eq([config.node_id]) {
        return Ok(());
    }
    Err(StartError::NotAlone {
        dir: config.data_dir.clone(),
    })
}

/// The cluster id of a name: FNV-1a, which will never change.
fn cluster_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A number that nobody else draws. Seeded by the operating system.
fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(clock::now().as_nanos());
    hasher.finish()
}

async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse {
            address: address.into(),
        },
        _ => StartError::Listen {
            address: address.into(),
            source,
        },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// The identity of a node that starts for the first time.
async fn new_identity(
    config: &Config,
    data: &DataDir,
    own_address: Option<&str>,
    book: &mut Book,
) -> Result<disk::Identity, StartError> {
    let (cluster, voters) = match &config.cluster {
        Cluster::Single | Cluster::Embedded => (random(), vec![config.node_id]),
        Cluster::Static { name, peers } => (cluster_of(name), peers.keys().copied().collect()),
        Cluster::Join { members } => {
            let own_address = own_address.expect("whoever joins listens");
            let (cluster, known) = join(config.node_id, members, own_address).await?;
            book.merge(&known);
            book.save(&data.join("PEERS"))
                .map_err(|source| StartError::Io {
                    action: "write",
                    path: data.join("PEERS"),
                    source,
                })?;
            (cluster, Vec::new())
        }
    };
    let joining = voters.is_empty();
    let identity = disk::Identity {
        cluster,
        node: config.node_id,
        voters,
        joining,
    };
    data.set_identity(&identity)?;
    Ok(identity)
}

/// Asks the given members, and whoever they point at, until one takes this node in.
async fn join(
    node: NodeId,
    members: &[String],
    own_address: &str,
) -> Result<(u64, Book), StartError> {
    let mut reason = String::new();
    for _ in 0..JOIN_ROUNDS {
        for member in members {
            let mut answer = transport::join(member, node, own_address).await;
            if let Ok(Joined::NotLeader {
                address: Some(leader),
            }) = &answer
            {
                answer = transport::join(&leader.clone(), node, own_address).await;
            }
            match answer {
                Ok(Joined::Done { cluster, book }) => return Ok((cluster, book)),
                Ok(Joined::NotLeader { .. }) => {
                    reason = format!("{member} knows no leader at the moment");
                }
                Ok(Joined::Refused { reason: text }) => reason = format!("{member}: {text}"),
                Err(error) => reason = format!("{member} could not be asked: {error}"),
            }
        }
        sleep(JOIN_PAUSE).await;
    }
    Err(StartError::Join {
        reason: reason.into(),
    })
}

/// Everything that a node is put together from.
struct Assembly {
    config: Valid<Config>,
    identity: Identity,
    data: DataDir,
    book: Book,
    recovery: Recovery,
    listener: Option<TcpListener>,
}

type Started = (Handle, Arc<Runner>, mpsc::Receiver<tokio::net::TcpStream>);

impl Assembly {
    fn run(self, found: disk::Identity) -> Result<Started, StartError> {
        let Self {
            config,
            identity,
            data,
            book,
            recovery,
            listener,
        } = self;
        let Recovery {
            log,
            engine,
            restored,
        } = recovery;
        let valid = config
            .raft
            .clone()
            .validate()
            .expect("validated with the node's configuration");
        let raft = Raft::new(valid, identity.node, restored, clock::now(), random());
        let published = Published::new(Snapshot {
            role: Role::Follower,
            term: raft.term(),
            last_index: raft.last_index(),
            durable: raft.durable(),
            committed: raft.committed(),
            applied: raft.applied(),
            first_index: raft.base().index.next(),
            membership: Arc::clone(raft.membership()),
            progress: Vec::new(),
        });
        let shared = Arc::new(share(config, identity, engine, published));
        let door = Arc::new(Door {
            shared: Arc::clone(&shared),
            transport: OnceLock::new(),
        });
        let parts = transport::Parts {
            identity,
            queue_bytes_max: shared.config.peer_queue_max.as_usize(),
            book_file: data.join("PEERS"),
            book,
            owner: Arc::<Door>::clone(&door),
        };
        let transport = Transport::new(parts, runtime::Handle::current());
        let handle = Handle {
            shared: Arc::clone(&shared),
            transport: transport.clone(),
        };
        door.transport.get_or_init(|| transport.downgrade());
        let group = Group::new(DATA_GROUP, raft, Arc::clone(&shared));
        let runner =
            start_threads(&shared, transport.clone(), log, group, data).map_err(|source| {
                StartError::Io {
                    action: "start the threads for",
                    path: shared.config.data_dir.clone(),
                    source,
                }
            })?;
        let (grpc_sender, grpc) = mpsc::channel(GRPC_BACKLOG);
        spawn_tasks(&runner, &handle, listener, grpc_sender, found);
        Ok((handle, runner, grpc))
    }
}

/// What threads, connections and handles share.
fn share(
    config: Valid<Config>,
    identity: Identity,
    engine: Arc<dyn Engine>,
    published: Published,
) -> Shared {
    Shared {
        inbox: Arc::new(Inbox::new(Limits {
            submissions_max: config.submissions_max,
            submission_bytes_max: config.submissions_bytes_max.as_usize(),
            message_bytes_max: config.received_bytes_max.as_usize(),
        })),
        config,
        identity,
        group: DATA_GROUP,
        published: Arc::new(published),
        engine,
        metrics: Metrics::new(),
        full_disk: FullDisk::default(),
        shutting_down: AtomicBool::new(false),
        halted: AtomicBool::new(false),
        disk: Mutex::new(DiskStatus::default()),
        started: clock::now(),
        failed: watch::Sender::new(None),
        stop: watch::Sender::new(None),
        stopped: watch::Sender::new(false),
        alive: watch::Sender::new(()),
    }
}

fn start_threads(
    shared: &Arc<Shared>,
    transport: Transport,
    log: Box<dyn wal::Log>,
    group: Group,
    data: DataDir,
) -> io::Result<Arc<Runner>> {
    let config = &shared.config;
    let step = config
        .checkpoint_dirty
        .get()
        .min(config.checkpoint_log.get())
        / 2;
    let queues = Queues {
        log: Arc::new(LogQueue::default()),
        fetches: Arc::new(fetcher::Queue::default()),
        snapshots: Arc::new(snapshot::Queue::default()),
        keeper: Arc::new(Keeper::new(step.max(1))),
    };
    let reader = log.reader();
    let writer = LogWriter {
        log,
        queue: Arc::clone(&queues.log),
        shared: Arc::clone(shared),
        snapshots: Arc::clone(&queues.snapshots),
        put_off: Vec::new(),
    };
    let worker = Worker::new(worker::Parts {
        shared: Arc::clone(shared),
        transport: transport.clone(),
        log: Arc::clone(&queues.log),
        fetches: Arc::clone(&queues.fetches),
        snapshots: Arc::clone(&queues.snapshots),
        keeper: Arc::clone(&queues.keeper),
        groups: vec![group],
    });
    let keeper = KeeperThread {
        keeper: Arc::clone(&queues.keeper),
        shared: Arc::clone(shared),
        transport: transport.clone(),
    };
    let snapshots = SnapshotThread {
        queue: Arc::clone(&queues.snapshots),
        shared: Arc::clone(shared),
        dir: data.join("snapshots"),
    };
    let fetches = Arc::clone(&queues.fetches);
    let fetcher_shared = Arc::clone(shared);
    let running = Running {
        writer: spawn(shared, "log", move || writer.run())?,
        keeper: spawn(shared, "keeper", move || keeper.run())?,
        fetcher: spawn(shared, "fetch", move || {
            fetcher::run(&fetches, &reader, &fetcher_shared)
        })?,
        snapshots: spawn(shared, "snapshot", move || snapshots.run())?,
        worker: spawn(shared, "raft", move || worker.run())?,
        tasks: Vec::new(),
        data,
    };
    Ok(Arc::new(Runner {
        shared: Arc::clone(shared),
        transport,
        queues,
        running: Mutex::new(Some(running)),
    }))
}

fn spawn_tasks(
    runner: &Arc<Runner>,
    handle: &Handle,
    listener: Option<TcpListener>,
    grpc: mpsc::Sender<tokio::net::TcpStream>,
    found: disk::Identity,
) {
    let mut tasks = Vec::new();
    if let Some(listener) = listener {
        let serving = transport::serve(handle.transport.clone(), listener, grpc);
        tasks.push(tokio::spawn(serving).abort_handle());
    }
    if found.joining {
        let task = promote_when_ready(handle.clone(), Arc::downgrade(runner), found);
        tasks.push(tokio::spawn(task).abort_handle());
    }
    if let Some(running) = &mut *runner.running.lock() {
        running.tasks.append(&mut tasks);
    }
    let mut stop = handle.shared.stop.subscribe();
    let weak = Arc::downgrade(runner);
    tokio::spawn(async move {
        // An error means that the node and all handles are gone.
        // The flag's lock is let go of before anything else happens.
        let farewell = stop.wait_for(Option::is_some).await.ok().and_then(|it| *it);
        if let (Some(runner), Some(farewell)) = (weak.upgrade(), farewell) {
            runner.shut_down(farewell).await;
        }
    });
}

/// A node that joined asks for a vote as soon as it has caught up.
async fn promote_when_ready(
    handle: Handle,
    runner: std::sync::Weak<Runner>,
    found: disk::Identity,
) {
    loop {
        sleep(JOIN_PAUSE).await;
        let own = handle.shared.identity.node;
        if handle
            .shared
            .published
            .snapshot()
            .membership
            .voters
            .contains(&own)
        {
            break;
        }
        let Some((_, Some(leader))) = handle.leader() else {
            continue;
        };
        if !handle.is_learner() {
            continue;
        }
        match transport::promote(&leader, found.cluster, own).await {
            Ok(Joined::Done { .. }) => tracing::info!("{own} has a vote"),
            Ok(Joined::Refused { reason }) => tracing::debug!("no vote yet: {reason}"),
            Ok(Joined::NotLeader { .. }) => {}
            Err(error) => tracing::debug!("could not ask {leader} for a vote: {error}"),
        }
    }
    let Some(runner) = runner.upgrade() else {
        return;
    };
    let running = runner.running.lock();
    let Some(running) = &*running else { return };
    if let Err(error) = running.data.set_identity(&disk::Identity {
        joining: false,
        ..found
    }) {
        tracing::warn!("{}", describe(&error));
    }
}
