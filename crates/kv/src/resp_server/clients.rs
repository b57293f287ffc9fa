//! Who is connected: for `CLIENT LIST`, `CLIENT KILL`, the limit and the shutdown.

use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use core::task::{Poll, Waker};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a client says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Labels {
    pub(super) name: Vec<u8>,
    pub(super) library: Vec<u8>,
    pub(super) library_version: Vec<u8>,
}

/// What others may know about a connection, and the way to end it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) since: Instant,
    pub(super) labels: Mutex<Labels>,
    pub(super) resp3: AtomicBool,
    pub(super) no_evict: AtomicBool,
    pub(super) no_touch: AtomicBool,
    /// The last command, by its index in the table.
    pub(super) last_command: AtomicU16,
    /// Milliseconds after `since` when it was last heard.
    pub(super) heard_ms: AtomicU64,
    stopped: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Client {
    /// Whether the connection was told to end; if not, `waker` is called when it is.
    #[inline]
    pub(super) fn poll_stopped(&self, waker: &Waker) -> Poll<()> {
        let mut slot = self.waker.lock();
        if self.stopped.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        match &*slot {
            Some(known) if known.will_wake(waker) => {}
            _ => *slot = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// Ends the connection when it next waits for the client.
    pub(super) fn stop(&self) {
        let waker = {
            let slot = self.waker.lock();
            self.stopped.store(true, Ordering::Release);
            slot.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// All connected clients.
#[derive(Debug)]
pub(super) struct Clients {
    limit: AtomicUsize,
    next_id: AtomicU64,
    refused: AtomicU64,
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// Nobody is taken in any more.
    closed: AtomicBool,
    /// Rings when the last one left.
    empty: Notify,
}

impl Clients {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            next_id: AtomicU64::new(1),
            refused: AtomicU64::new(0),
            connected: Mutex::default(),
            closed: AtomicBool::new(false),
            empty: Notify::new(),
        }
    }

    /// Takes a client in; `None` if there are too many.
    pub(super) fn enter(&self, peer: SocketAddr, local: SocketAddr) -> Option<Arc<Client>> {
        let mut connected = self.connected.lock();
        if self.closed.load(Ordering::Relaxed)
            || connected.len() >= self.limit.load(Ordering::Relaxed)
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let client = Arc::new(Client {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            peer,
            local,
            since: Instant::now(),
            labels: Mutex::default(),
            resp3: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            last_command: AtomicU16::new(u16::MAX),
            heard_ms: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        connected.insert(client.id, Arc::clone(&client));
        Some(client)
    }

    /// Lets a client go.
    pub(super) fn leave(&self, id: u64) {
        let mut connected = self.connected.lock();
        connected.remove(&id);
        if connected.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// All clients, the oldest first.
    pub(super) fn list(&self) -> Vec<Arc<Client>> {
        self.connected.lock().values().map(Arc::clone).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.connected.lock().len()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes nobody in from now on.
    pub(super) fn close(&self) {
        let connected = self.connected.lock();
        self.closed.store(true, Ordering::Relaxed);
        drop(connected);
    }

    /// Whether nobody is taken in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Tells everybody to end, and waits until they have.
    pub(super) async fn stop_all(&self) {
        loop {
            let empty = self.empty.notified();
            let clients = self.list();
            if clients.is_empty() {
                return;
            }
            for client in clients {
                client.stop();
            }
            empty.await;
        }
    }
}
