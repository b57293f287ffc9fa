//! What the coordinator keeps in the store, and under which keys.
//!
//! ```text
//! mr/job/ID            a summary: the list of jobs is the list of these keys
//! mr/spec/ID           what the job is
//! mr/log/ID/SEQ        its journal, a batch each
//! ```

use kv::store::{Expected, Store, StoreError};
use mapreduce_core::Batch;
use tokio::time::{Duration, sleep};

use crate::error::{Context as _, Error};
use crate::limits;
use crate::spec::{JobSpec, Summary};
use crate::wire;

/// What became of a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    Durable,
    /// Its place holds another's.
    Taken,
}

/// The coordinator's part of the store.
#[derive(Clone, Debug)]
pub(crate) struct State {
    store: Store,
}

impl State {
    pub(crate) const fn new(store: Store) -> Self {
        Self { store }
    }

    pub(crate) async fn put_summary(&self, summary: &Summary) -> Result<(), Error> {
        let key = format!("mr/job/{}", summary.id);
        self.put(&key, &wire::encode(summary)?).await
    }

    pub(crate) async fn put_spec(&self, spec: &JobSpec) -> Result<(), Error> {
        let key = format!("mr/spec/{}", spec.id);
        self.put(&key, &wire::encode(spec)?).await
    }

    /// One writer, and the same value again: a repetition changes nothing.
    async fn put(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        for _ in 0..limits::STORE_TRIES_MAX {
            match self.store.put(key.as_bytes(), value).await {
                Ok(_) => return Ok(()),
                Err(error @ (StoreError::Invalid { .. } | StoreError::Closed)) => {
                    return Err(error).context(format!("cannot write {key}"));
                }
                Err(error) => tracing::warn!(key, %error, "a write is tried again"),
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(Error::new(format!("{key} can't be written to the store")))
    }

    pub(crate) async fn summaries(&self) -> Result<Vec<Summary>, Error> {
        let found = self.store.list(b"mr/job/").await;
        let found = found.context("cannot list the jobs")?;
        found
            .iter()
            .map(|(_, found)| wire::decode(&found.value))
            .collect()
    }

    pub(crate) async fn spec(&self, id: &str) -> Result<JobSpec, Error> {
        let key = format!("mr/spec/{id}");
        let found = self.store.get(key.as_bytes()).await;
        let found = found.context("cannot read a job")?;
        let found = found.ok_or_else(|| Error::new(format!("the store has no {key}")))?;
        let spec: JobSpec = wire::decode(&found.value)?;
        if spec.format != limits::FORMAT {
            return Err(Error::new(format!(
                "job {id} is in format {}, and this program knows {}",
                spec.format,
                limits::FORMAT
            )));
        }
        Ok(spec)
    }

    /// A job's journal, from its first batch.
    pub(crate) async fn journal(&self, id: &str) -> Result<Vec<Batch>, Error> {
        let prefix = format!("mr/log/{id}/");
        let found = self.store.list(prefix.as_bytes()).await;
        let found = found.context("cannot read the journal")?;
        let mut batches = Vec::with_capacity(found.len());
        for (at, (key, found)) in found.iter().enumerate() {
            if key.as_ref() != log_key(id, at as u64).as_bytes() {
                return Err(Error::new(format!(
                    "the journal of job {id} has no batch {at}"
                )));
            }
            batches.push(wire::decode(&found.value)?);
        }
        Ok(batches)
    }

    /// Makes a batch durable at its place if nothing is there.
    pub(crate) async fn append(&self, id: &str, seq: u64, batch: &Batch) -> Result<Written, Error> {
        let key = log_key(id, seq);
        let value = wire::encode(batch)?;
        let mut last = None;
        for _ in 0..limits::STORE_TRIES_MAX {
            match self
                .store
                .put_if(key.as_bytes(), &value, Expected::Absent)
                .await
            {
                Ok(Ok(_)) => return Ok(Written::Durable),
                // Maybe by an earlier try of ours: a batch names its writer.
                Ok(Err(_)) => match self.store.get(key.as_bytes()).await {
                    Ok(Some(found)) if found.value == value => return Ok(Written::Durable),
                    Ok(Some(_)) => return Ok(Written::Taken),
                    Ok(None) => {}
                    Err(error) => last = Some(error),
                },
                Err(error @ (StoreError::Invalid { .. } | StoreError::Closed)) => {
                    return Err(error).context("the journal can't be written");
                }
                Err(error) => {
                    tracing::warn!(key, %error, "a batch of the journal is tried again");
                    last = Some(error);
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
        let error = Error::new("the journal can't be written");
        Err(match last {
            Some(last) => error.because(last),
            None => error,
        })
    }
}

fn log_key(id: &str, seq: u64) -> String {
    format!("mr/log/{id}/{seq:012}")
}
