//! The worker processes of one kind: started here or by hand, called, lost, replaced.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tonic::{Code, Status};

use crate::job::JobError;
use crate::limits::{ATTEMPTS_MAX, REPLACEMENTS_MAX};
use crate::remote::{Client, Journal, connect, proto};

/// How often a worker with a task is asked for a sign of life.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// A worker that does not say by then where it listens is ended, and another one started.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How workers are started: a program, and what it needs to become a worker.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// Workers of one kind.
pub(crate) struct Pool {
    role: &'static str,
    slots: Vec<Mutex<Slot>>,
    /// `None`: the workers were started by hand.
    launch: Option<Launch>,
    replacements: AtomicU32,
    lease: Duration,
    journal: Arc<Journal>,
}

/// The place of one worker.
struct Slot {
    worker: Option<Worker>,
    /// How many workers have been here: an old failure must not end a new worker.
    generation: u32,
    /// For workers that were started by hand.
    address: Option<String>,
    gone: bool,
}

struct Worker {
    client: Client,
    address: String,
    /// Kept for what its end does: a worker of ours stops when its input is closed.
    child: Option<Child>,
}

/// What came back.
pub(crate) enum Reply<T> {
    Success(T),
    /// The worker says that it failed.
    Failure,
}

impl Pool {
    pub(crate) fn new(
        role: &'static str,
        count: usize,
        addresses: &[String],
        launch: Launch,
        lease: Duration,
        journal: Arc<Journal>,
    ) -> Self {
        let by_hand = !addresses.is_empty();
        let slot = |address: Option<String>| {
            Mutex::new(Slot {
                worker: None,
                generation: 0,
                address,
                gone: false,
            })
        };
        Self {
            role,
            slots: if by_hand {
                addresses.iter().cloned().map(Some).map(slot).collect()
            } else {
                (0..count).map(|_| slot(None)).collect()
            },
            launch: (!by_hand).then_some(launch),
            replacements: AtomicU32::new(0),
            lease,
            journal,
        }
    }

    /// Starts the worker of every slot.
    pub(crate) async fn start(&self) -> Result<(), JobError> {
        let starts = (0..self.slots.len()).map(|slot| self.worker(slot));
        for started in crate::job::join_all(starts).await {
            started?;
        }
        Ok(())
    }

    /// Runs a task until it succeeds; answers where, too.
    pub(crate) async fn call<T, F>(
        &self,
        task: &str,
        preferred: usize,
        call: impl Fn(Client) -> F,
    ) -> Result<(T, String), JobError>
    where
        F: Future<Output = Result<Reply<T>, Status>>,
    {
        let mut last = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let (slot, generation, client, address) = self.worker(preferred).await?;
            self.journal.line(format_args!(
                "call {task} on {} {slot} at {address}",
                self.role
            ));
            let result = tokio::select! {
                result = call(client.clone()) => result,
                status = self.silence(client) => Err(status),
            };
            let status = match result {
                Ok(Reply::Success(reply)) => {
                    self.journal.line(format_args!("  {task}: SUCCESS"));
                    return Ok((reply, address));
                }
                Ok(Reply::Failure) => {
                    self.journal.line(format_args!("  {task}: FAILURE"));
                    last = "the worker reported failure".to_owned();
                    continue;
                }
                Err(status) => status,
            };
            if matches!(
                status.code(),
                Code::InvalidArgument | Code::FailedPrecondition
            ) {
                return Err(JobError::Refused(status.message().to_owned()));
            }
            self.journal
                .line(format_args!("  {task}: FAILURE ({})", status.message()));
            tracing::warn!(role = self.role, slot, %address, %status, "lost a worker");
            last = status.message().to_owned();
            self.lose(slot, generation).await;
        }
        Err(JobError::Attempts {
            task: task.to_owned(),
            attempts: ATTEMPTS_MAX,
            last,
        })
    }

    /// Process numbers of the workers that were started here.
    pub(crate) async fn processes(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        for slot in &self.slots {
            let slot = slot.lock().await;
            let child = slot
                .worker
                .as_ref()
                .and_then(|worker| worker.child.as_ref());
            ids.extend(child.and_then(Child::id));
        }
        ids
    }

    /// The worker of a slot, or of the next one that has any.
    async fn worker(&self, preferred: usize) -> Result<(usize, u32, Client, String), JobError> {
        for offset in 0..self.slots.len() {
            let at = (preferred + offset) % self.slots.len();
            let mut slot = self.slots[at].lock().await;
            if slot.gone {
                continue;
            }
            if slot.worker.is_none() {
                slot.worker = match &self.launch {
                    Some(launch) => Some(self.launch(launch, slot.generation).await?),
                    None => self.reach(&mut slot).await,
                };
                slot.generation += 1;
            }
            if let Some(worker) = &slot.worker {
                let (client, address) = (worker.client.clone(), worker.address.clone());
                return Ok((at, slot.generation, client, address));
            }
        }
        Err(JobError::NobodyLeft(self.role))
    }

    /// Starts a worker, and another one if it is lost before it is ready.
    async fn launch(&self, launch: &Launch, generation: u32) -> Result<Worker, JobError> {
        let mut replaces = generation > 0;
        loop {
            let replaced = self.replacements.load(Ordering::Relaxed);
            if replaces && replaced >= REPLACEMENTS_MAX {
                return Err(JobError::NobodyLeft(self.role));
            }
            self.replacements
                .fetch_add(u32::from(replaces), Ordering::Relaxed);
            if let Some(worker) = self.launch_once(launch).await? {
                return Ok(worker);
            }
            tracing::warn!(role = self.role, "a worker was lost before it was ready");
            replaces = true;
        }
    }

    /// Starts a worker; `None` if it ended at once.
    async fn launch_once(&self, launch: &Launch) -> Result<Option<Worker>, JobError> {
        let mut child = Command::new(&launch.program)
            .args(&launch.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(JobError::Spawn)?;
        let stdout = child.stdout.take().expect("the output was asked for");
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let said = tokio::time::timeout(START_TIMEOUT, stdout.read_line(&mut line)).await;
        if let Ok(read) = said {
            read.map_err(JobError::Spawn)?;
        }
        let address = line.trim().rsplit(' ').next().unwrap_or("").to_owned();
        // A line without its end was cut off with the worker.
        if !line.ends_with('\n') {
            return Ok(None);
        }
        let Ok(client) = connect(&address).await else {
            return Ok(None);
        };
        tracing::debug!(role = self.role, %address, "started a worker");
        Ok(Some(Worker {
            client,
            address,
            child: Some(child),
        }))
    }

    /// Connects to a worker that was started by hand.
    async fn reach(&self, slot: &mut Slot) -> Option<Worker> {
        let address = slot.address.clone()?;
        match connect(&address).await {
            Ok(client) => Some(Worker {
                client,
                address,
                child: None,
            }),
            Err(status) => {
                tracing::warn!(role = self.role, %address, %status, "cannot reach a worker");
                slot.gone = true;
                None
            }
        }
    }

    /// Ends a worker that did not answer; the next call finds another.
    async fn lose(&self, at: usize, generation: u32) {
        let mut slot = self.slots[at].lock().await;
        if slot.generation != generation {
            return;
        }
        if let Some(Worker {
            child: Some(mut child),
            ..
        }) = slot.worker.take()
        {
            // It may have ended already; it must not live on half dead.
            if let Err(error) = child.kill().await {
                tracing::debug!(%error, "the worker was gone");
            }
        }
    }

    /// Ends when the worker has not answered for as long as its lease.
    async fn silence(&self, mut client: Client) -> Status {
        loop {
            tokio::time::sleep(PING_PERIOD).await;
            let ping = client.ping(proto::PingRequest {});
            match tokio::time::timeout(self.lease, ping).await {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => return status,
                Err(_) => return Status::deadline_exceeded("no sign of life"),
            }
        }
    }
}
