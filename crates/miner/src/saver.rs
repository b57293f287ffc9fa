//! Writes jobs to the store, the newest record of each.
//!
//! A record that is replaced before it was written is never written: progress costs one
//! write at a time, however often it is reported.

use std::collections::BTreeMap;

use kv::store::{Store, StoreError};
use miner_core::{JobRecord, Pool};
use stdx::Instant;
use tokio::task::JoinSet;
use tracing::{error, info};

/// Where jobs are in the store.
const PREFIX: &str = "miner/job/";

/// What to write under a key; nothing to delete it.
type Batch = BTreeMap<String, Option<Vec<u8>>>;

/// Records on their way to the store.
#[derive(Debug)]
pub(crate) struct Saver {
    store: Option<Store>,
    /// What waits. Bounded by the number of jobs in the pool and of those it forgot since.
    waiting: Batch,
    /// At most one batch is being written.
    writing: JoinSet<Batch>,
}

impl Saver {
    pub(crate) fn new(store: Option<Store>) -> Self {
        Self {
            store,
            waiting: Batch::new(),
            writing: JoinSet::new(),
        }
    }

    /// Gives the pool the jobs that were saved.
    pub(crate) async fn load(&self, now: Instant, pool: &mut Pool) -> Result<(), StoreError> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        for (key, found) in store.list(PREFIX.as_bytes()).await? {
            match JobRecord::decode(&found.value) {
                Ok(record) => {
                    info!(key = record.key, "job restored");
                    pool.restore(now, record);
                }
                // One bad record must not keep the others from being worked on.
                Err(error) => {
                    let key = String::from_utf8_lossy(&key).into_owned();
                    error!(key, %error, "job not restored");
                }
            }
        }
        Ok(())
    }

    pub(crate) fn save(&mut self, record: &JobRecord) {
        self.put(&record.key, Some(record.encode()));
    }

    pub(crate) fn forget(&mut self, key: &str) {
        self.put(key, None);
    }

    fn put(&mut self, key: &str, value: Option<Vec<u8>>) {
        if self.store.is_some() {
            self.waiting.insert(format!("{PREFIX}{key}"), value);
            self.start();
        }
    }

    fn start(&mut self) {
        if let (Some(store), true) = (&self.store, self.writing.is_empty())
            && !self.waiting.is_empty()
        {
            let batch = core::mem::take(&mut self.waiting);
            self.writing.spawn(write(store.clone(), batch));
        }
    }

    /// Waits until a batch is written, for ever if there is none.
    pub(crate) async fn step(&mut self) {
        match self.writing.join_next().await {
            None => core::future::pending().await,
            Some(Ok(failed)) => {
                for (key, value) in failed {
                    self.waiting.entry(key).or_insert(value);
                }
            }
            Some(Err(error)) => error!(%error, "writing jobs was aborted"),
        }
        self.start();
    }

    /// Writes what waits, and closes the store.
    pub(crate) async fn close(mut self) -> Result<(), StoreError> {
        // What fails now is written once more, and then given up.
        for _ in 0..3 {
            if !self.writing.is_empty() {
                self.step().await;
            }
        }
        match self.store {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }
}

/// Writes a batch; returns what could not be written.
async fn write(store: Store, batch: Batch) -> Batch {
    let mut failed = Batch::new();
    for (key, value) in batch {
        // Every key has one writer, so that doing it again after an unknown outcome is safe.
        let result = match &value {
            Some(value) => store.put(key.as_bytes(), value).await.map(drop),
            None => store.delete(key.as_bytes()).await.map(drop),
        };
        if let Err(error) = result {
            error!(key, %error, "job not saved, trying again");
            failed.insert(key, value);
        }
    }
    if !failed.is_empty() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    failed
}
