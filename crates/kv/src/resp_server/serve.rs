//! Starting and stopping the door, and taking connections in.

use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::BytesMut;
use parking_lot::Mutex;
use resp::{Encoder, Protocol};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{mpsc, watch};

use super::clients::{Client, Clients};
use super::connection::Connection;
use super::limits;
use super::random;
use super::session::Door;
use super::stats::{Stats, Totals};
use super::table::CommandTable;
use crate::node::Handle;

/// What can be chosen about the door.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen, `host:port`; port 0 takes a free one. Default `127.0.0.1:6379`.
    pub listen: String,
    /// Clients at once; more are refused. `CONFIG SET maxclients` changes it. Default 10,000.
    pub clients_max: usize,
    /// Threads that serve clients. Default: half of the processors, at least 1.
    pub threads: NonZeroUsize,
}

impl Default for Options {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            listen: "127.0.0.1:6379".to_owned(),
            clients_max: limits::CLIENTS_MAX,
            threads: NonZeroUsize::new(processors / 2).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// Why the door could not be opened. Says what to do.
#[derive(Debug, Error)]
pub enum RespError {
    /// The address is taken.
    #[error("port in use: something listens on {address} already; stop it or choose another port")]
    PortInUse {
        /// The address.
        address: Box<str>,
    },
    /// The address can't be used.
    #[error("could not listen on {address} for Redis clients")]
    Listen {
        /// The address.
        address: Box<str>,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("could not start a thread for Redis clients")]
    Thread(#[source] io::Error),
}

/// The open door. Dropping it closes it without waiting for anybody.
#[derive(Debug)]
pub struct RespServer {
    door: Arc<Door>,
    local: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl RespServer {
    /// Opens the door of a node.
    ///
    /// # Errors
    ///
    /// When the address can't be listened on or a thread can't be started.
    pub fn start(handle: Handle, options: &Options) -> Result<Self, RespError> {
        let listener = bind(&options.listen)?;
        let local = listener.local_addr().map_err(|source| RespError::Listen {
            address: options.listen.as_str().into(),
            source,
        })?;
        let commands = CommandTable::new();
        let stats = Stats::new(options.threads.get(), commands.all().len());
        let door = Arc::new(Door {
            handle,
            commands,
            clients: Clients::new(options.clients_max),
            stats,
            started: Instant::now(),
            run_id: random::hex(40),
            sampled: Mutex::new((Instant::now(), 0)),
        });
        let (stop, stopping) = watch::channel(false);
        let mut server = Self {
            door: Arc::clone(&door),
            local,
            stop,
            threads: Vec::new(),
        };
        let load: Arc<[AtomicUsize]> = (0..options.threads.get())
            .map(|_| AtomicUsize::new(0))
            .collect();
        let mut senders = Vec::new();
        for index in 0..options.threads.get() {
            let (sender, receiver) = mpsc::channel(limits::HANDOFF_MAX);
            senders.push(sender);
            let thread = Thread {
                door: Arc::clone(&door),
                index,
                load: Arc::clone(&load),
                receiver,
            };
            server.spawn(index, stopping.clone(), thread.run())?;
        }
        let acceptor = Acceptor {
            door,
            load,
            senders,
        };
        server.spawn(options.threads.get(), stopping, acceptor.run(listener))?;
        Ok(server)
    }

    /// Runs a future on a thread of its own until it ends or the door closes.
    fn spawn(
        &mut self,
        index: usize,
        mut stopping: watch::Receiver<bool>,
        body: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), RespError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RespError::Thread)?;
        let thread = thread::Builder::new()
            .name(format!("resp-{index}"))
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = body => {}
                        // An error means that the server was dropped.
                        _ = stopping.wait_for(|stop| *stop) => {}
                    }
                });
                // Connections that are left are dropped with the runtime.
            })
            .map_err(RespError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Where the door is, with the port that the system chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Closes the door: nobody new comes in, pipelines under way are answered, then every
    /// connection is closed.
    pub async fn shutdown(self) {
        self.door.clients.close();
        self.door.clients.stop_all().await;
        self.stop.send_replace(true);
        for thread in self.threads {
            // They end at once now; a panic was reported by the thread itself.
            drop(thread.join());
        }
    }

    /// What is counted, for the metrics.
    pub(crate) fn door(&self) -> Arc<Door> {
        Arc::clone(&self.door)
    }
}

impl Door {
    /// The counters added up.
    pub(crate) fn totals(&self) -> Totals {
        self.stats.totals()
    }

    /// Clients connected now, and refused since the start.
    pub(crate) fn connections(&self) -> (usize, u64) {
        (self.clients.len(), self.clients.refused())
    }

    /// Calls by class of command: reads, writes, others.
    pub(crate) fn calls_by_class(&self, totals: &Totals) -> [(&'static str, u64); 3] {
        self.commands.calls_by_class(&totals.calls)
    }
}

impl core::fmt::Debug for Door {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Door")
            .field("clients", &self.clients.len())
            .finish_non_exhaustive()
    }
}

/// Listens, with a backlog for many clients that connect at once.
fn bind(listen: &str) -> Result<std::net::TcpListener, RespError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => RespError::PortInUse {
            address: listen.into(),
        },
        _ => RespError::Listen {
            address: listen.into(),
            source,
        },
    };
    let address = std::net::ToSocketAddrs::to_socket_addrs(listen)
        .map_err(failed)?
        .next()
        .ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Connections of a server that was just stopped don't count.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(limits::BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(std::net::TcpListener::from(socket))
    };
    listen().map_err(failed)
}

/// Takes connections in.
struct Acceptor {
    door: Arc<Door>,
    /// Connections of each thread.
    load: Arc<[AtomicUsize]>,
    senders: Vec<mpsc::Sender<Arrival>>,
}

/// A connection on its way to its thread.
struct Arrival {
    stream: std::net::TcpStream,
    client: Arc<Client>,
}

impl Acceptor {
    async fn run(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("the door for Redis clients can't be watched: {error}");
                return;
            }
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.take(stream, peer).await,
                Err(error) => {
                    tracing::warn!("accepting a Redis client failed: {error}");
                    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn take(&self, stream: TcpStream, peer: SocketAddr) {
        // A client that is gone already is no reason for a message.
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let Some(client) = self.door.clients.enter(peer, local) else {
            if !self.door.clients.is_closed() {
                refuse(stream).await;
            }
            return;
        };
        let id = client.id;
        let index = (0..self.load.len())
            .min_by_key(|&index| self.load[index].load(Ordering::Relaxed))
            .unwrap_or(0);
        self.load[index].fetch_add(1, Ordering::Relaxed);
        let arrived = match stream.into_std() {
            Ok(stream) => self.senders[index]
                .send(Arrival { stream, client })
                .await
                .is_ok(),
            Err(_) => false,
        };
        if !arrived {
            self.load[index].fetch_sub(1, Ordering::Relaxed);
            self.door.clients.leave(id);
        }
    }
}

/// Tells a client that there are too many.
async fn refuse(mut stream: TcpStream) {
    let mut line = BytesMut::new();
    Encoder::new(&mut line, Protocol::Resp2).error("ERR max number of clients reached");
    // The socket's buffer is empty, so this doesn't wait; if it fails, the client is gone.
    drop(stream.write_all(&line).await);
}

/// Serves the connections of one thread.
struct Thread {
    door: Arc<Door>,
    index: usize,
    load: Arc<[AtomicUsize]>,
    receiver: mpsc::Receiver<Arrival>,
}

impl Thread {
    async fn run(mut self) {
        while let Some(Arrival { stream, client }) = self.receiver.recv().await {
            let id = client.id;
            let stream = match prepare(stream) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!("a Redis client left at once: {error}");
                    self.load[self.index].fetch_sub(1, Ordering::Relaxed);
                    self.door.clients.leave(id);
                    continue;
                }
            };
            self.door.stats.thread(self.index).connections.add(1);
            let connection = Connection::new(Arc::clone(&self.door), client, self.index, stream);
            let (load, index) = (Arc::clone(&self.load), self.index);
            tokio::spawn(async move {
                if let Err(error) = connection.run().await {
                    // Clients leave in many ways; none of them is a fault of this node.
                    tracing::debug!("client {id} left: {error}");
                }
                load[index].fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

/// Makes a connection ready for small messages.
fn prepare(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(limits::KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    TcpStream::from_std(stream)
}
