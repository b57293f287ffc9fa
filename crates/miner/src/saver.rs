//! Writes jobs to the store, the newest record of each.
//!
//! A record that is replaced before it was written is never written: progress costs one
//! write at a time, however often it is reported. The records of a batch are written at the
//! same time, up to a bound, so that the store makes them durable together.

use std::collections::BTreeMap;
use std::time::Duration;

use kv::store::{Store, StoreError};
use miner_core::{JobRecord, Pool};
use stdx::Instant;
use tokio::task::JoinSet;
use tracing::{error, info};

/// Where jobs are in the store.
const PREFIX: &str = "miner/job/";

/// Records that are on their way to the store at the same time at most.
const WRITES_MAX: usize = 64;

/// How long to wait before writing what could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// How often the last records are written again before they are given up.
const LAST_TRIES: usize = 3;

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
                    let key = record.key.clone();
                    match pool.restore(now, record) {
                        Ok(()) => info!(key, "job restored"),
                        Err(error) => error!(key, %error, "job not restored"),
                    }
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
        if self.writing.is_empty() {
            core::future::pending::<()>().await;
        }
        self.finish().await;
        self.start();
    }

    /// Waits for the batch that is being written; what failed waits again.
    async fn finish(&mut self) {
        match self.writing.join_next().await {
            None => {}
            Some(Ok(failed)) => {
                for (key, value) in failed {
                    self.waiting.entry(key).or_insert(value);
                }
            }
            Some(Err(error)) => error!(%error, "writing jobs was aborted"),
        }
    }

    /// Writes what waits, and closes the store. Returns how many records were given up.
    pub(crate) async fn close(mut self) -> Result<usize, StoreError> {
        for _ in 0..=LAST_TRIES {
            self.start();
            self.finish().await;
        }
        for key in self.waiting.keys() {
            error!(key, "job not saved, given up");
        }
        if let Some(store) = self.store {
            store.close().await?;
        }
        Ok(self.waiting.len())
    }
}

/// Writes a batch; returns what could not be written.
async fn write(store: Store, batch: Batch) -> Batch {
    let mut failed = Batch::new();
    let mut left = batch.into_iter();
    let mut writes = JoinSet::new();
    loop {
        while writes.len() < WRITES_MAX
            && let Some((key, value)) = left.next()
        {
            writes.spawn(write_one(store.clone(), key, value));
        }
        match writes.join_next().await {
            None => break,
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err((key, value)))) => drop(failed.insert(key, value)),
            // The process is ending, or the store panicked, which it says itself.
            Some(Err(error)) => error!(%error, "writing a job was aborted"),
        }
    }
    if !failed.is_empty() {
        tokio::time::sleep(RETRY).await;
    }
    failed
}

/// Writes one record, or gives it back.
async fn write_one(
    store: Store,
    key: String,
    value: Option<Vec<u8>>,
) -> Result<(), (String, Option<Vec<u8>>)> {
    // Every key has one writer, so that doing it again after an unknown outcome is safe.
    let result = match &value {
        Some(value) => store.put(key.as_bytes(), value).await.map(drop),
        None => store.delete(key.as_bytes()).await.map(drop),
    };
    result.map_err(|error| {
        error!(key, %error, "job not saved, trying again");
        (key, value)
    })
}
