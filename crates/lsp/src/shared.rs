//! What applications and the driver share: the core behind a mutex, and who waits.
//!
//! A lock is held for one message, or for one batch of datagrams, and never across a
//! wait or a system call. Whoever finds nothing waits on a [`Notify`] that was armed before
//! it looked, so no news is missed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use lsp_core::{
    ConnId, EndReason, Endpoint, EndpointStats, Event, Handle, KEY_BYTES, Path, ReadError, Seed,
    SeqNum, Version,
};
use parking_lot::{Mutex, MutexGuard};
use stdx::Instant;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::error::{BindError, ConnError, WriteError};
use crate::socket::Socket;

/// A view of one connection for people and metrics.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Which version it speaks; `None` while that isn't certain.
    pub version: Option<Version>,
    /// What arrived and what was dropped on the socket.
    pub endpoint: EndpointStats,
    /// What was sent and received on the connection.
    pub connection: lsp_core::Stats,
    /// What is known of the path; `None` unless recovery is adaptive.
    pub path: Option<Path>,
}

/// The clock of one endpoint: what the core calls the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: std::time::Instant,
}

impl Clock {
    fn start() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::EPOCH.after(self.start.elapsed())
    }

    /// The moment on tokio's clock.
    pub(crate) fn deadline(self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + at.since(Instant::EPOCH))
    }
}

/// One endpoint as its handle and its driver see it.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the driver: there is something to send.
    pub(crate) wake: Notify,
    /// Wakes readers, and a client that waits for its connection.
    pub(crate) news: Notify,
    /// Wakes those who wait for the end.
    pub(crate) ended: Notify,
    pub(crate) clock: Clock,
}

impl Shared {
    pub(crate) fn new(endpoint: Endpoint, local: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(endpoint, local)),
            wake: Notify::new(),
            news: Notify::new(),
            ended: Notify::new(),
            clock: Clock::start(),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Unlocks, and wakes the driver unless it knows already.
    pub(crate) fn ask_driver(&self, mut state: MutexGuard<'_, State>) {
        let asked = core::mem::replace(&mut state.asked, true);
        drop(state);
        if !asked {
            self.wake.notify_one();
        }
    }

    /// Closes every connection and takes no more; the driver ends when all are drained.
    pub(crate) fn shut_down(&self) {
        let mut state = self.lock();
        if !state.closing {
            state.closing = true;
            // Lost ones that nobody read out end here, and were no failure to deliver.
            let now = self.clock.now();
            state.endpoint.shut_down(now);
            state.forget_all_gone();
            state.wake_writers();
        }
        self.ask_driver(state);
        self.news.notify_waiters();
    }

    /// Queues a message on a connection; waits only while its queue is full.
    pub(crate) async fn write(
        &self,
        handle: Handle,
        id: ConnId,
        payload: Bytes,
    ) -> Result<(), WriteError> {
        loop {
            let room = {
                let mut state = self.lock();
                if let Some(error) = &state.failure {
                    return Err(WriteError::Socket(Arc::clone(error)));
                }
                match state.endpoint.write(handle, payload.clone()) {
                    Ok(()) => {
                        self.ask_driver(state);
                        return Ok(());
                    }
                    Err(lsp_core::WriteError::Full) => state.room(handle),
                    Err(error) => return Err(state.refusal(id, error)),
                }
            };
            room.await;
        }
    }

    /// Waits until the driver has ended; how many connections were lost while closing.
    pub(crate) async fn end(&self) -> Result<usize, Arc<io::Error>> {
        loop {
            let ended = self.ended.notified();
            {
                let state = self.lock();
                if let Some(error) = &state.failure {
                    return Err(Arc::clone(error));
                }
                if state.over {
                    return Ok(state.undelivered);
                }
            }
            ended.await;
        }
    }
}

/// What the mutex protects.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct State {
    pub(crate) endpoint: Endpoint,
    /// The socket's address.
    pub(crate) local: SocketAddr,
    /// The socket that the driver is to go over to.
    pub(crate) rebound: Option<Box<Socket>>,
    pub(crate) peers: BTreeMap<Handle, Peer>,
    pub(crate) ids: HashMap<ConnId, Handle>,
    /// Connections that have something to read, in the order of their turns.
    ready: VecDeque<Handle>,
    /// Ends that no read has reported yet and whose connection the core forgot.
    notices: VecDeque<(ConnId, ConnError)>,
    notices_max: usize,
    /// Whether the driver was woken since it last looked.
    pub(crate) asked: bool,
    pub(crate) closing: bool,
    /// Connections that were lost before everything was acknowledged.
    pub(crate) undelivered: usize,
    /// Whether the driver has ended.
    pub(crate) over: bool,
    pub(crate) failure: Option<Arc<io::Error>>,
    /// What was read since the driver last looked whether the peer should know.
    untold_bytes: usize,
    owes: bool,
}

/// What this crate knows of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: ConnId,
    /// Whether it is in the queue of those with something to read.
    ready: bool,
    /// Whether this end closed it.
    closing: bool,
    /// Why it ended, if it did.
    reason: Option<EndReason>,
    /// Whom to wake when there is room to write, if anybody waits.
    room: Option<Arc<Notify>>,
}

/// What a read of a server finds.
#[derive(Debug)]
pub(crate) enum Found {
    Message(ConnId, Bytes),
    End(ConnId, ConnError),
    Nothing,
}

impl State {
    fn new(endpoint: Endpoint, local: SocketAddr) -> Self {
        Self {
            endpoint,
            local,
            rebound: None,
            peers: BTreeMap::new(),
            ids: HashMap::new(),
            ready: VecDeque::new(),
            notices: VecDeque::new(),
            notices_max: NOTICES_MAX,
            asked: false,
            closing: false,
            undelivered: 0,
            over: false,
            failure: None,
            untold_bytes: 0,
            owes: false,
        }
    }

    /// Takes the core's events; whether readers have news.
    pub(crate) fn take_events(&mut self, now: Instant) -> bool {
        let mut news = false;
        while let Some((handle, event)) = self.endpoint.poll_event() {
            news |= match event {
                Event::Connected => self.on_connected(handle),
                Event::Readable => self.make_ready(handle),
                Event::Writable => self.on_writable(handle),
                Event::Closed => self.on_closed(handle),
                Event::Lost => self.on_lost(now, handle),
            };
        }
        news
    }

    fn on_connected(&mut self, handle: Handle) -> bool {
        let Some(id) = self.endpoint.id(handle) else {
            return false;
        };
        self.ids.insert(id, handle);
        let peer = Peer {
            id,
            ready: false,
            closing: false,
            reason: None,
            room: None,
        };
        self.peers.insert(handle, peer);
        true
    }

    fn make_ready(&mut self, handle: Handle) -> bool {
        let Some(peer) = self.peers.get_mut(&handle) else {
            return false;
        };
        if !peer.ready && !peer.closing {
            peer.ready = true;
            self.ready.push_back(handle);
        }
        true
    }

    fn on_writable(&mut self, handle: Handle) -> bool {
        if let Some(peer) = self.peers.get_mut(&handle) {
            peer.wake_writers();
        }
        false
    }

    fn on_closed(&mut self, handle: Handle) -> bool {
        self.forget(handle);
        false
    }

    fn on_lost(&mut self, now: Instant, handle: Handle) -> bool {
        let reason = self.endpoint.end_reason(handle);
        let Some(peer) = self.peers.get_mut(&handle) else {
            // A client that was never connected.
            return true;
        };
        peer.reason = reason;
        peer.wake_writers();
        if peer.closing || self.closing {
            // Nobody reads it any more: it ends here.
            self.undelivered += usize::from(self.closing);
            // Lost is the one phase in which closing can't fail.
            let _gone = self.endpoint.close(now, handle);
            self.forget(handle);
            return true;
        }
        self.make_ready(handle)
    }

    fn forget(&mut self, handle: Handle) {
        if let Some(mut peer) = self.peers.remove(&handle) {
            peer.wake_writers();
            self.ids.remove(&peer.id);
        }
    }

    /// The next message of the connection whose turn it is, or how one ended.
    pub(crate) fn read_next(&mut self) -> Found {
        if let Some((id, end)) = self.notices.pop_front() {
            return Found::End(id, end);
        }
        while let Some(handle) = self.ready.pop_front() {
            let Some(Peer {
                id, closing: false, ..
            }) = self.peers.get(&handle)
            else {
                continue;
            };
            let id = *id;
            match self.read(handle) {
                Ok(Some(payload)) => {
                    self.ready.push_back(handle);
                    return Found::Message(id, payload);
                }
                Ok(None) => {
                    if let Some(peer) = self.peers.get_mut(&handle) {
                        peer.ready = false;
                    }
                }
                Err(_over) => {
                    let reason = self.reason(handle);
                    self.forget(handle);
                    let end = match reason {
                        Some(EndReason::PeerClosed) => ConnError::ClosedByPeer,
                        _ => ConnError::Lost,
                    };
                    return Found::End(id, end);
                }
            }
        }
        Found::Nothing
    }

    /// Reads from the core, and notes whether the driver should tell the peer of the room.
    pub(crate) fn read(&mut self, handle: Handle) -> Result<Option<Bytes>, ReadError> {
        let withheld = self.is_withholding(handle);
        let outcome = self.endpoint.read(handle);
        match &outcome {
            Ok(Some(payload)) => {
                self.untold_bytes += payload.len() + UNTOLD_MESSAGE_BYTES;
                self.owes |= withheld || self.untold_bytes >= UNTOLD_BYTES_MAX;
            }
            Ok(None) => self.owes |= self.untold_bytes > 0,
            Err(_) => {}
        }
        outcome
    }

    /// Whether the driver should be asked because of what was read; asks once.
    pub(crate) fn take_owes(&mut self) -> bool {
        if self.owes {
            self.untold_bytes = 0;
        }
        core::mem::take(&mut self.owes)
    }

    /// Why a connection ended, if the core said.
    pub(crate) fn reason(&self, handle: Handle) -> Option<EndReason> {
        self.peers.get(&handle)?.reason
    }

    fn is_withholding(&self, handle: Handle) -> bool {
        self.endpoint
            .connection(handle)
            .is_some_and(lsp_core::Connection::is_withholding)
    }

    /// What a writer waits for when the queue of a connection is full. It is armed before
    /// the lock is released, so that the core's event can't be missed.
    fn room(&mut self, handle: Handle) -> OwnedNotified {
        let peer = self.peers.get_mut(&handle);
        let peer = peer.expect("a connection that takes messages is known");
        Arc::clone(peer.room.get_or_insert_default()).notified_owned()
    }

    /// Why the core didn't take a message, in this crate's words.
    fn refusal(&self, id: ConnId, error: lsp_core::WriteError) -> WriteError {
        match error {
            lsp_core::WriteError::TooLong { bytes, bytes_max } => {
                WriteError::TooLong { bytes, bytes_max }
            }
            lsp_core::WriteError::Lost => WriteError::Lost,
            _ if self.closing => WriteError::Closed,
            lsp_core::WriteError::Unknown => WriteError::Unknown { id },
            lsp_core::WriteError::Closed
            | lsp_core::WriteError::Connecting
            | lsp_core::WriteError::Full => WriteError::Closed,
        }
    }

    /// Forgets the connections that the core has forgotten.
    fn forget_all_gone(&mut self) {
        self.ready.clear();
        self.notices.clear();
        let endpoint = &self.endpoint;
        self.peers
            .retain(|&handle, _| endpoint.phase(handle).is_some());
        let peers = &self.peers;
        self.ids.retain(|_, handle| peers.contains_key(handle));
    }

    /// Closes one of a server's connections, and lets a read report it.
    pub(crate) fn close_conn(&mut self, now: Instant, id: ConnId) -> bool {
        let Some(&handle) = self.ids.get(&id) else {
            return false;
        };
        let Some(peer) = self.peers.get_mut(&handle) else {
            return false;
        };
        peer.closing = true;
        peer.wake_writers();
        self.ids.remove(&id);
        if self.notices.len() == self.notices_max {
            self.notices.pop_front();
        }
        self.notices.push_back((id, ConnError::Closed));
        // It is open, or lost and not read out; both can be closed.
        let _closes = self.endpoint.close(now, handle);
        if self.endpoint.phase(handle).is_none() {
            self.forget(handle);
        }
        true
    }

    pub(crate) fn wake_writers(&mut self) {
        for peer in self.peers.values_mut() {
            peer.wake_writers();
        }
    }

    pub(crate) fn stats(&self, handle: Handle) -> Option<Stats> {
        Some(Stats {
            version: self.endpoint.version(handle),
            endpoint: self.endpoint.stats(),
            connection: self.endpoint.connection_stats(handle)?,
            path: self.endpoint.path(handle),
        })
    }
}

impl Peer {
    fn wake_writers(&mut self) {
        if let Some(room) = self.room.take() {
            room.notify_waiters();
        }
    }
}

/// What may be read before the peer is told that there is room for more; a message counts
/// for more than its bytes. It is told at the latest when everything was read.
const UNTOLD_BYTES_MAX: usize = 64 << 10;
const UNTOLD_MESSAGE_BYTES: usize = 512;

/// Ends of connections that a server closed itself and that no read has reported: one more
/// drops the oldest, whom whoever closed it knows anyway.
const NOTICES_MAX: usize = 16_384;

/// The system's randomness, as an initial number of a connection: not zero.
// spec: LSP-1.3
pub(crate) fn random_isn() -> Result<SeqNum, BindError> {
    let mut bytes = [0; 4];
    fill_random(&mut bytes)?;
    // Half of what an `int` of 32 bits holds: an end that has no more can count on.
    let number = u32::from_le_bytes(bytes) >> 2;
    Ok(SeqNum::new(u64::from(number) + 1))
}

/// The system's randomness, from which an endpoint draws its own.
pub(crate) fn random_seed() -> Result<Seed, BindError> {
    let mut bytes = [0; KEY_BYTES];
    fill_random(&mut bytes)?;
    Ok(Seed::new(bytes))
}

fn fill_random(buffer: &mut [u8]) -> Result<(), BindError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut buffer[filled..], flags) {
            Ok(bytes) => filled += bytes,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(BindError::Randomness(error.into())),
        }
    }
    Ok(())
}
