//! Who leads, where several coordinators share a database.
//!
//! The leader writes one key again and again, each time on the condition that it is as it left
//! it. A standby that sees it unchanged for long takes it. That alone would not keep the old
//! leader from acting; the epoch in each job's journal does.

use std::net::SocketAddr;

use kv::store::{Expected, Store};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::error::{Context as _, Error};
use crate::limits;
use crate::wire;

const KEY: &[u8] = b"mr/leader";

#[derive(Debug, Serialize, Deserialize)]
struct Term {
    owner: u64,
    address: String,
    renewed: u64,
}

/// One who would lead.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    store: Store,
    owner: u64,
    address: String,
}

impl Leader {
    pub(crate) fn new(store: Store, owner: u64, address: SocketAddr) -> Self {
        let address = address.to_string();
        Self {
            store,
            owner,
            address,
        }
    }

    /// Waits until nobody else leads; returns the version of the key that says so.
    pub(crate) async fn acquire(&self) -> Result<u64, Error> {
        let mut seen = None;
        loop {
            let found = self.store.get(KEY).await.context("cannot see who leads")?;
            let Some(found) = found else {
                if let Some(version) = self.write(0, Expected::Absent).await? {
                    return Ok(version);
                }
                continue;
            };
            let since = match seen {
                Some((version, since)) if version == found.version => since,
                _ => {
                    let now = Instant::now();
                    seen = Some((found.version, now));
                    let term: Term = wire::decode(&found.value)?;
                    tracing::info!(
                        leader = term.address,
                        "another coordinator leads: standing by"
                    );
                    now
                }
            };
            if since.elapsed() >= limits::LEADER_PATIENCE
                && let Some(version) = self.write(0, Expected::Version(found.version)).await?
            {
                return Ok(version);
            }
            sleep(limits::LEADER_RENEW / 2).await;
        }
    }

    /// Says again and again that this one leads; the task ends when it doesn't any more.
    pub(crate) fn keep(&self, mut version: u64) -> JoinHandle<Error> {
        let leader = self.clone();
        tokio::spawn(async move {
            let mut failing: Option<Instant> = None;
            for renewed in 1.. {
                sleep(limits::LEADER_RENEW).await;
                match leader.write(renewed, Expected::Version(version)).await {
                    Ok(Some(next)) => {
                        version = next;
                        failing = None;
                    }
                    Ok(None) => match leader.own_version().await {
                        // An earlier try of ours arrived after all.
                        Ok(Some(now)) => version = now,
                        Ok(None) => return Error::new("another coordinator took over"),
                        Err(error) => tracing::warn!("{}", error.line()),
                    },
                    Err(error) => {
                        let since = *failing.get_or_insert_with(Instant::now);
                        if since.elapsed() > limits::LEADER_PATIENCE {
                            return error;
                        }
                    }
                }
            }
            Error::new("the leadership ended")
        })
    }

    async fn own_version(&self) -> Result<Option<u64>, Error> {
        let found = self.store.get(KEY).await.context("cannot see who leads")?;
        let Some(found) = found else {
            return Ok(None);
        };
        let term: Term = wire::decode(&found.value)?;
        Ok((term.owner == self.owner).then_some(found.version))
    }

    async fn write(&self, renewed: u64, expected: Expected) -> Result<Option<u64>, Error> {
        let term = Term {
            owner: self.owner,
            address: self.address.clone(),
            renewed,
        };
        let value = wire::encode(&term)?;
        let written = self.store.put_if(KEY, &value, expected).await;
        Ok(written.context("cannot write who leads")?.ok())
    }
}
