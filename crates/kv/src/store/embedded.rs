//! A store in this process: a node without doors.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use engine::{EngineError, ReadView};
use kv_core::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use kv_core::{Batch, Command, Condition, Put, Reply, ReplyError, Returning};
use parking_lot::Mutex;
use stdx::ByteSize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::{Cluster, Config, OnFatal};
use crate::node::{ExecuteError, Handle, Node, ReadError};
use crate::store::{Conflict, Expected, Found, List, StoreError};

/// How long an operation may try, and the pauses between two attempts.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Entries read at a time: a list blocks writes for so long.
const PAGE_ENTRIES: usize = 1_000;

/// A running node and the way to end it.
#[derive(Debug)]
pub(super) struct Embedded {
    /// None once it was closed.
    running: Mutex<Option<(Node, Handle)>>,
    failed: watch::Receiver<Option<Arc<str>>>,
}

impl Embedded {
    pub(super) async fn open(dir: &Path) -> Result<Self, StoreError> {
        let config = Config {
            data_dir: dir.to_path_buf(),
            cluster: Cluster::Embedded,
            // Nobody else reads this log, so nothing is kept for followers.
            log_segment: ByteSize::mib(16),
            log_keep: ByteSize::mib(1),
            engine_memory: ByteSize::mib(1 << 10),
            // The process is the service's: it hears of a failure with its next call.
            on_fatal: OnFatal::Stop,
            ..Config::default()
        };
        let config = config
            .validate()
            .expect("nothing in it comes from outside but the directory");
        let node = Node::start(config).await?;
        let (handle, failed) = (node.handle(), node.failed());
        let store = Self {
            running: Mutex::new(Some((node, handle.clone()))),
            failed,
        };
        if timeout(PATIENCE, handle.wait_ready()).await.is_err() {
            let reason = format!("{} did not become ready in time", dir.display());
            let reason = reason.into();
            return Err(store.failure().unwrap_or(StoreError::Failed { reason }));
        }
        Ok(store)
    }

    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<Found>, StoreError> {
        check(key, &[])?;
        self.read(|view| {
            Ok(view.get(key)?.map(|found| Found {
                value: Bytes::copy_from_slice(&found.value),
                version: found.meta.version,
            }))
        })
        .await
    }

    pub(super) async fn put(&self, key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
        check(key, value)?;
        let put = Put {
            returning: Returning::Version,
            ..Put::new(key, value)
        };
        match self.write(&Command::Put(put)).await? {
            Reply::Version(version) => Ok(version),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn put_if(
        &self,
        key: &[u8],
        value: &[u8],
        expected: Expected,
    ) -> Result<Result<u64, Conflict>, StoreError> {
        check(key, value)?;
        let version = match expected {
            Expected::Absent => 0,
            Expected::Version(version) => version,
        };
        let put = Put {
            condition: Condition::IfVersion(version),
            returning: Returning::Version,
            ..Put::new(key, value)
        };
        match self.write(&Command::Put(put)).await? {
            Reply::Version(version) => Ok(Ok(version)),
            Reply::Error(ReplyError::VersionMismatch { current }) => {
                Ok(Err(Conflict::new(current)))
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn delete(&self, key: &[u8]) -> Result<bool, StoreError> {
        check(key, &[])?;
        match self.write(&Command::Delete { keys: vec![key] }).await? {
            Reply::Integer(removed) => Ok(removed > 0),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn list(&self, prefix: &[u8], list: &mut List) -> Result<(), StoreError> {
        let mut more = true;
        while more {
            let after = list.last();
            let page = self
                .read(|view| view.list(prefix, after.as_deref(), PAGE_ENTRIES))
                .await?;
            more = page.more;
            for item in page.items {
                let found = Found {
                    value: item.value,
                    version: item.meta.version,
                };
                list.push(item.key, found)?;
            }
        }
        Ok(())
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let running = self.running.lock().take();
        let Some((node, handle)) = running else {
            return Ok(());
        };
        let failure = self.failure();
        handle.shutdown().await;
        drop(node);
        handle.released().await;
        failure.map_or(Ok(()), Err)
    }

    fn handle(&self) -> Result<Handle, StoreError> {
        let running = self.running.lock();
        let (_, handle) = running.as_ref().ok_or(StoreError::Closed)?;
        Ok(handle.clone())
    }

    /// Why the node can't go on, if it can't.
    fn failure(&self) -> Option<StoreError> {
        let reason = self.failed.borrow().clone()?;
        Some(StoreError::Failed { reason })
    }

    async fn write(&self, command: &Command<'_>) -> Result<Reply, StoreError> {
        let handle = self.handle()?;
        let mut batch = Batch::new();
        batch.push(command);
        let mut pause = PAUSE_MIN;
        let mut waited = Duration::ZERO;
        loop {
            let error = match handle.execute(batch.clone()).await {
                Ok(replies) => {
                    let reply = replies.into_iter().next();
                    return Ok(reply.expect("the node answers each command"));
                }
                Err(error) => error,
            };
            if error != ExecuteError::Overloaded || waited >= PATIENCE {
                return Err(self.refusal(error));
            }
            sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn refusal(&self, error: ExecuteError) -> StoreError {
        let what = error.to_string().into();
        match error {
            // Also of a node that failed while the write was under way.
            ExecuteError::Unknown => StoreError::Unknown { what },
            ExecuteError::TooLarge { .. } => StoreError::Invalid { what },
            ExecuteError::ShuttingDown => self.failure().unwrap_or(StoreError::Closed),
            ExecuteError::NoLeader { .. } | ExecuteError::Overloaded | ExecuteError::DiskFull => {
                self.failure().unwrap_or(StoreError::Unavailable { what })
            }
        }
    }

    async fn read<T>(
        &self,
        read: impl Fn(&ReadView<'_>) -> Result<T, EngineError>,
    ) -> Result<T, StoreError> {
        let handle = self.handle()?;
        let damaged = |error: EngineError| StoreError::Failed {
            reason: error.to_string().into(),
        };
        if let Some(guard) = handle.try_read() {
            let found = read(&guard.view()).map_err(damaged)?;
            if guard.confirm() {
                return Ok(found);
            }
        }
        handle.read_barrier().await.map_err(|error| match error {
            ReadError::ShuttingDown => self.failure().unwrap_or(StoreError::Closed),
            ReadError::NoLeader { .. } | ReadError::Overloaded | ReadError::TimedOut => {
                let what = error.to_string().into();
                self.failure().unwrap_or(StoreError::Unavailable { what })
            }
        })?;
        read(&handle.view()).map_err(damaged)
    }
}

/// What the state machine would not take.
fn check(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let what = if key.is_empty() {
        "the key is empty".to_owned()
    } else if key.len() > KEY_BYTES_MAX {
        let bytes = key.len();
        format!("the key of {bytes} bytes exceeds the limit of {KEY_BYTES_MAX}")
    } else if value.len() > VALUE_BYTES_MAX {
        let bytes = value.len();
        format!("the value of {bytes} bytes exceeds the limit of {VALUE_BYTES_MAX}")
    } else {
        return Ok(());
    };
    Err(StoreError::Invalid { what: what.into() })
}

/// A reply that the command can't have.
fn unexpected(reply: &Reply) -> StoreError {
    let reason = match reply {
        Reply::Error(error) => error.to_string(),
        other => format!("unexpected reply {other:?}"),
    };
    StoreError::Failed {
        reason: reason.into(),
    }
}
