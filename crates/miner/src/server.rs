//! The pool's server: one task that drives the state machine.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::time::Instant as Clock;

use bytes::Bytes;
use kv::store::{Store, StoreError};
use lsp::ConnId;
use miner_core::{
    Action, CheckId, Claim, ClientId, Message, Pool, RangeId, RequestExtension, Submission,
    WorkerId,
};
use miner_kernels::{Best, Kernel, Problem};
use stdx::Instant;
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::PAYLOAD_BYTES_MAX;
use crate::saver::Saver;

/// How a server runs.
#[derive(Debug)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How it talks.
    pub lsp: lsp::Config,
    /// How it schedules.
    pub pool: miner_core::Config,
    /// Where jobs with a key survive it; nowhere if there is none.
    pub store: Option<Store>,
    /// What checks are hashed with; the fastest if there is none.
    pub kernel: Option<Kernel>,
    /// Decides what is checked: a random number.
    pub seed: u64,
}

/// Why a server doesn't run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It can't listen.
    #[error("cannot listen")]
    Bind(#[from] lsp::BindError),
    /// The pool's configuration makes no sense.
    #[error("configuration of the pool is not valid")]
    Config(#[from] miner_core::ConfigError),
    /// The store can't be read, or closed.
    #[error("the store of the jobs failed")]
    Store(#[from] StoreError),
    /// The last records of some jobs could not be written; older ones stand in the store.
    #[error("the last progress of {0} jobs could not be saved: they will be done again in part")]
    NotSaved(usize),
    /// The socket failed.
    #[error("the socket was lost")]
    Socket(#[from] lsp::ServerClosed),
}

/// What a connection turned out to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Worker,
    Client,
}

/// A miner pool's server.
#[derive(Debug)]
pub struct Server {
    lsp: lsp::Server,
    pool: Pool,
    roles: BTreeMap<ConnId, Role>,
    saver: Saver,
    checks: JoinSet<(CheckId, Option<Best>)>,
    kernel: Kernel,
    start: Clock,
}

impl Server {
    /// Listens, and takes up the jobs in the store.
    ///
    /// # Errors
    ///
    /// [`ServeError`] says what is missing.
    pub async fn bind(config: ServerConfig) -> Result<Self, ServeError> {
        let pool_config = config.pool.validate()?;
        let mut pool = Pool::new(pool_config, config.seed);
        let saver = Saver::new(config.store);
        saver.load(Instant::EPOCH, &mut pool).await?;
        Ok(Self {
            lsp: lsp::Server::bind(config.listen, config.lsp).await?,
            pool,
            roles: BTreeMap::new(),
            saver,
            checks: JoinSet::new(),
            kernel: config
                .kernel
                .unwrap_or_else(|| Kernel::fastest(Problem::Cmu)),
            start: Clock::now(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.lsp.local_addr()
    }

    /// Serves until `shutdown` completes, then saves what is not saved yet.
    ///
    /// # Errors
    ///
    /// [`ServeError`] if the socket or, at the end, the store fails.
    ///
    /// # Panics
    ///
    /// When a kernel panicked, which is our own bug: its claim would stay unchecked.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        tokio::pin!(shutdown);
        loop {
            self.obey().await;
            let wake = self
                .pool
                .poll_timeout()
                .map(|at| self.start + at.since(Instant::EPOCH));
            let sleep = async {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake.into()).await,
                    None => core::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut shutdown => break,
                incoming = self.lsp.read() => {
                    let (conn, what) = incoming?;
                    match what {
                        Ok(bytes) => self.on_message(conn, &bytes),
                        Err(_) => self.on_lost(conn),
                    }
                }
                Some(done) = self.checks.join_next() => {
                    let (check, best) = done.expect("a kernel does not panic");
                    let best = best.expect("a check is not empty");
                    self.pool.on_checked(self.now(), check, best);
                }
                () = self.saver.step() => {}
                () = sleep => self.pool.on_timeout(self.now()),
            }
        }
        info!(counters = ?self.pool.counters(), "stopping");
        // The workers and clients see the connection end; what is under way is done again.
        match self.saver.close().await? {
            0 => Ok(()),
            given_up => Err(ServeError::NotSaved(given_up)),
        }
    }

    fn now(&self) -> Instant {
        Instant::EPOCH.after(self.start.elapsed())
    }

    fn on_message(&mut self, conn: ConnId, bytes: &[u8]) {
        let now = self.now();
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => return self.turn_away(conn, &error),
        };
        match (message, self.roles.get(&conn)) {
            (Message::Join { speed, takes }, None) => {
                let worker = WorkerId::new(conn.get());
                match self.pool.on_worker_joined(now, worker, speed, takes) {
                    Ok(()) => {
                        info!(worker = %conn, speed, ?takes, "worker joined");
                        self.roles.insert(conn, Role::Worker);
                    }
                    Err(error) => self.turn_away(conn, &error),
                }
            }
            (Message::Result { best, range }, Some(Role::Worker)) => {
                let (range, minima) = range.unzip();
                let claim = Claim {
                    range: range.map(RangeId::new),
                    best,
                    minima: minima.unwrap_or_default(),
                };
                self.pool.on_result(now, WorkerId::new(conn.get()), &claim);
            }
            (
                Message::Request {
                    data,
                    lower,
                    upper,
                    extension,
                },
                None | Some(Role::Client),
            ) => {
                self.on_request(conn, data, (lower, upper), extension);
            }
            (message, role) => {
                debug!(?message, "unexpected message");
                self.turn_away(conn, &format!("not a message for a {role:?}"));
            }
        }
    }

    fn on_request(
        &mut self,
        conn: ConnId,
        message: String,
        (lower, upper): (u64, u64),
        extension: RequestExtension,
    ) {
        let (key, progress, problem) = match extension {
            RequestExtension::Client {
                key,
                progress,
                problem,
            } => (key, progress, problem),
            RequestExtension::None | RequestExtension::Worker { .. } => Default::default(),
        };
        let extension = RequestExtension::Worker {
            range: u64::MAX,
            problem,
        };
        let longest = request(&message, (u64::MAX, u64::MAX), extension);
        if longest.len() > PAYLOAD_BYTES_MAX {
            return self.turn_away(conn, &"the message is too long for workers");
        }
        info!(client = %conn, ?problem, lower, upper, key, "job asked for");
        let client = ClientId::new(conn.get());
        let submission = Submission {
            problem,
            message,
            lower,
            upper,
            key,
            progress,
        };
        match self.pool.submit(self.now(), client, submission) {
            Ok(()) => drop(self.roles.insert(conn, Role::Client)),
            Err(error) => self.turn_away(conn, &error),
        }
    }

    /// Closes a connection whose other end does what it must not.
    fn turn_away(&mut self, conn: ConnId, why: &dyn core::fmt::Display) {
        warn!(connection = %conn, %why, "connection turned away");
        self.close(conn);
        self.on_lost(conn);
    }

    fn close(&self, conn: ConnId) {
        if let Err(error) = self.lsp.close_conn(conn) {
            debug!(connection = %conn, %error, "closed already");
        }
    }

    fn on_lost(&mut self, conn: ConnId) {
        let now = self.now();
        match self.roles.remove(&conn) {
            Some(Role::Worker) => {
                info!(worker = %conn, "worker lost");
                self.pool.on_worker_lost(now, WorkerId::new(conn.get()));
            }
            Some(Role::Client) => {
                info!(client = %conn, "client lost");
                self.pool.on_client_lost(now, ClientId::new(conn.get()));
            }
            None => {}
        }
    }

    /// Does what the pool asks for.
    async fn obey(&mut self) {
        while let Some(action) = self.pool.poll_action() {
            match action {
                Action::Assign {
                    worker,
                    range,
                    extended,
                    problem,
                    message,
                    nonces,
                } => {
                    let ends = (nonces.first(), nonces.last());
                    let range = range.get();
                    let extension = if extended {
                        RequestExtension::Worker { range, problem }
                    } else {
                        RequestExtension::None
                    };
                    let request = request(&message, ends, extension);
                    self.send(ConnId::new(worker.get()), request).await;
                }
                Action::Cancel { worker, range } => {
                    let range = range.get();
                    let cancel = Message::Cancel { range }.encode();
                    self.send(ConnId::new(worker.get()), cancel).await;
                }
                Action::Drop { worker, reason } => {
                    warn!(%worker, %reason, "worker dropped");
                    let conn = ConnId::new(worker.get());
                    self.roles.remove(&conn);
                    self.close(conn);
                }
                Action::Answer { client, best } => {
                    info!(%client, ?best, "job answered");
                    let result = Message::Result { best, range: None };
                    self.send(ConnId::new(client.get()), result.encode()).await;
                }
                Action::Progress {
                    client,
                    done,
                    total,
                } => {
                    let small = |count| u64::try_from(count).unwrap_or(u64::MAX);
                    let (done, total) = (small(done), small(total));
                    let progress = Message::Progress { done, total }.encode();
                    self.send(ConnId::new(client.get()), progress).await;
                }
                Action::Check {
                    check,
                    puzzle,
                    nonces,
                } => {
                    let kernel = self.kernel;
                    let all = nonces.first()..=nonces.last();
                    self.checks
                        .spawn_blocking(move || (check, puzzle.minimum(kernel, all)));
                }
                Action::Save(record) => self.saver.save(&record),
                Action::Forget { key } => self.saver.forget(&key),
            }
        }
    }

    /// Sends a message, or gives a peer up that doesn't take what it was sent before: the
    /// others must not wait for it.
    async fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let sent = tokio::select! {
            biased;
            sent = self.lsp.write(conn, Bytes::from(bytes)) => Some(sent),
            () = ready(()) => None,
        };
        match sent {
            Some(Ok(())) => {}
            // Its end is reported by the endpoint as well.
            Some(Err(error)) => debug!(connection = %conn, %error, "message not sent"),
            None => self.turn_away(conn, &"its queue is full"),
        }
    }
}

fn request(message: &str, (lower, upper): (u64, u64), extension: RequestExtension) -> Vec<u8> {
    let request = Message::Request {
        data: message.to_owned(),
        lower,
        upper,
        extension,
    };
    request.encode()
}
