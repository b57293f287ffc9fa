//! A node's connection to one other node: dialled, kept, and dialled again.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use kv_core::Batch;
use parking_lot::Mutex;
use stdx::{GroupId, NodeId, Prng};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::node::clock;
use crate::node::error::ExecuteError;
use crate::node::submission::Outcome;
use crate::transport::Book;
use crate::transport::frame::{
    FrameError, ItemBuilder, ItemReader, Kind, PREFACE, decode_outcome, take_u64,
};
use crate::transport::outbox::Outbox;
use crate::transport::peers::Transport;

/// The first pause after a failed attempt to connect; it doubles from there.
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// The longest pause: a node that comes back is found again within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long connecting, and the exchange of hellos, may each take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long bytes may stay unacknowledged before a connection counts as dead.
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(10);

/// Slices passed to one system call.
const SLICES_MAX: usize = 64;

/// Forwarded writes whose outcome is awaited.
#[derive(Debug, Default)]
struct Forwards {
    next_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
}

/// The way to one other node.
#[derive(Debug)]
pub(crate) struct Link {
    peer: NodeId,
    pub(crate) outbox: Outbox,
    forwards: Mutex<Forwards>,
}

/// A link that is wanted. Dropping it ends the link's task and connection.
#[derive(Debug)]
pub(crate) struct WantedLink {
    pub(crate) link: Arc<Link>,
    _stop: oneshot::Sender<()>,
}

impl Link {
    /// Makes the link and starts dialling.
    pub(crate) fn start(transport: &Transport, peer: NodeId) -> WantedLink {
        let (stop, stopped) = oneshot::channel();
        let link = Arc::new(Self {
            peer,
            outbox: Outbox::new(transport.queue_bytes_max()),
            forwards: Mutex::default(),
        });
        let mut dialler = Dialler::new(transport.clone(), Arc::clone(&link));
        transport.spawn(async move {
            let dial = async {
                loop {
                    dialler.connect_once().await;
                    sleep(dialler.pause()).await;
                }
            };
            tokio::select! {
                () = dial => {}
                // Nothing is ever sent: the other end is dropped.
                _ = stopped => {}
            }
            dialler.link.disconnected();
        });
        WantedLink { link, _stop: stop }
    }

    /// Has the other node execute commands. Waits for the outcome until `given_up` is ready.
    pub(crate) async fn forward(
        &self,
        group: GroupId,
        batch: &Batch,
        given_up: impl Future<Output = ()>,
    ) -> Outcome {
        let no_leader = ExecuteError::NoLeader {
            leader: Some(self.peer),
        };
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut forwards = self.forwards.lock();
            forwards.next_id += 1;
            let id = forwards.next_id;
            forwards.waiting.insert(id, answer);
            id
        };
        let mut item = ItemBuilder::new(Kind::Forward);
        item.body().put_u64_le(id);
        item.body().put_u64_le(group.get());
        batch.encode(item.body());
        if !self.outbox.push_forward(id, item.finish()) {
            self.forwards.lock().waiting.remove(&id);
            return Err(no_leader);
        }
        tokio::select! {
            biased;
            answer = answered => if let Ok(outcome) = answer {
                return outcome;
            },
            () = given_up => {}
        }
        self.forwards.lock().waiting.remove(&id);
        Err(ExecuteError::Unknown)
    }

    fn settle_forward(&self, id: u64, outcome: Outcome) {
        let waiting = self.forwards.lock().waiting.remove(&id);
        if let Some(answer) = waiting {
            // Whoever asked may have given up.
            drop(answer.send(outcome));
        }
    }

    /// The connection is gone: what was not sent did not happen, the rest may have.
    fn disconnected(&self) {
        for id in self.outbox.close() {
            let leader = Some(self.peer);
            self.settle_forward(id, Err(ExecuteError::NoLeader { leader }));
        }
        let unknown: Vec<_> = self.forwards.lock().waiting.drain().collect();
        for (_, answer) in unknown {
            drop(answer.send(Err(ExecuteError::Unknown)));
        }
    }
}

/// Keeps dialling one node, and says so only when something changes.
struct Dialler {
    transport: Transport,
    link: Arc<Link>,
    prng: Prng,
    backoff: Duration,
    /// What was last reported: nothing yet, connected, or the trouble.
    reported: Option<Result<(), String>>,
}

impl Dialler {
    fn new(transport: Transport, link: Arc<Link>) -> Self {
        let seed = clock::now().as_nanos() ^ link.peer.get().rotate_left(32);
        let prng = Prng::from_seed(seed);
        Self {
            transport,
            link,
            prng,
            backoff: BACKOFF_MIN,
            reported: None,
        }
    }

    /// The next pause: doubled each time, with jitter so that nodes don't dial in step.
    fn pause(&mut self) -> Duration {
        let backoff = self.backoff;
        self.backoff = (backoff * 2).min(BACKOFF_MAX);
        self.prng.duration(backoff / 2..backoff)
    }

    async fn connect_once(&mut self) {
        let link = Arc::clone(&self.link);
        let Some(address) = self.transport.address(link.peer) else {
            return self.report(Err("its address is not known yet".to_owned()), "?");
        };
        let connected = timeout(CONNECT_TIMEOUT, self.dial(&address)).await;
        let (reader, writer) = match connected {
            Ok(Ok(halves)) => halves,
            Ok(Err(error)) => return self.report(Err(error.to_string()), &address),
            Err(_) => return self.report(Err("it does not answer".to_owned()), &address),
        };
        self.report(Ok(()), &address);
        self.backoff = BACKOFF_MIN;
        link.outbox.open();
        let error = tokio::select! {
            error = read_outcomes(reader, &link, &self.transport) => error,
            result = write_items(writer, &link.outbox) => match result {
                Ok(()) => FrameError::Closed,
                Err(error) => FrameError::Io(error),
            },
        };
        link.disconnected();
        self.report(Err(error.to_string()), &address);
    }

    async fn dial(&self, address: &str) -> Result<Halves, FrameError> {
        let stream = TcpStream::connect(address).await?;
        prepare(&stream)?;
        let (reader, mut writer) = stream.into_split();
        let mut hello = Vec::from(PREFACE);
        hello.extend_from_slice(&self.transport.hello(self.link.peer));
        writer.write_all(&hello).await?;
        let mut reader = ItemReader::new(reader);
        let (kind, body) = reader.next().await?;
        self.transport
            .check_hello(kind, body, Some(self.link.peer))?;
        Ok((reader, writer))
    }

    /// One line when the state changes, and silence while it doesn't.
    fn report(&mut self, state: Result<(), String>, address: &str) {
        let same = match (&self.reported, &state) {
            (Some(Ok(())), Ok(())) | (Some(Err(_)), Err(_)) => true,
            (_, _) => false,
        };
        let peer = self.link.peer;
        match &state {
            _ if same => {}
            Ok(()) => tracing::info!("connected to {peer} at {address}"),
            Err(trouble) => {
                tracing::warn!("{peer} at {address} is unreachable: {trouble}; trying again");
            }
        }
        self.reported = Some(state);
    }
}

type Halves = (
    ItemReader<tokio::net::tcp::OwnedReadHalf>,
    tokio::net::tcp::OwnedWriteHalf,
);

/// Small messages leave at once, and a peer that vanished is noticed.
pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT))
}

/// Reads what comes back on a dialled connection: outcomes and address books.
async fn read_outcomes(
    mut reader: ItemReader<tokio::net::tcp::OwnedReadHalf>,
    link: &Link,
    transport: &Transport,
) -> FrameError {
    loop {
        let settled = match reader.next().await {
            Ok((Kind::Outcome, body)) => {
                decode_outcome(body).map(|(id, outcome)| link.settle_forward(id, outcome))
            }
            Ok((Kind::Book, mut body)) => {
                Book::decode(&mut body).map(|book| transport.merge_book(&book))
            }
            Ok(_) => Err(FrameError::Malformed {
                what: "an item on a dialled connection",
            }),
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            return error;
        }
    }
}

/// Writes what the outbox gets, as much as there is with each system call.
pub(crate) async fn write_items<W: AsyncWrite + Unpin>(
    mut writer: W,
    outbox: &Outbox,
) -> io::Result<()> {
    let mut items = VecDeque::new();
    while outbox.take(&mut items).await {
        write_all(&mut writer, &mut items).await?;
    }
    Ok(())
}

async fn write_all<W: AsyncWrite + Unpin>(
    writer: &mut W,
    items: &mut VecDeque<Bytes>,
) -> io::Result<()> {
    while !items.is_empty() {
        let mut written = {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, item) in slices.iter_mut().zip(items.iter()) {
                *slice = IoSlice::new(item);
                count += 1;
            }
            writer.write_vectored(&slices[..count]).await?
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(item) = items.front_mut() {
            if written < item.len() {
                item.advance(written);
                break;
            }
            written -= item.len();
            items.pop_front();
        }
    }
    Ok(())
}

/// Takes a forwarded write apart.
pub(crate) fn decode_forward(mut body: Bytes) -> Result<(u64, GroupId, Batch), FrameError> {
    let id = take_u64(&mut body)?;
    let group = GroupId::new(take_u64(&mut body)?);
    let malformed = FrameError::Malformed {
        what: "a forwarded batch",
    };
    let batch = Batch::decode(body).map_err(|_| malformed)?;
    Ok((id, group, batch))
}
