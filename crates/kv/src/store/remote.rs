//! A store in a cluster, through the client library.

use core::time::Duration;

use bytes::Bytes;
use tonic::Code;

use crate::client::{self, Client, Consistency, Expiry, Failed, Listing, Options, Outcome, Swap};
use crate::store::{Conflict, Expected, Found, List, StoreError};

/// A key that is read to see whether the cluster serves. Nobody writes it.
const PROBE_KEY: &[u8] = b"kontiki/probe";

/// How long a cluster may take to serve: longer than an ordinary election.
const OPEN_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(super) struct Remote {
    client: Client,
}

impl Remote {
    pub(super) async fn open(addresses: &[String]) -> Result<Self, StoreError> {
        let mut options = Options::new(addresses);
        let store = Self {
            client: Client::new(&options)?,
        };
        options.timeout = OPEN_PATIENCE;
        let probe = Self {
            client: Client::new(&options)?,
        };
        probe.get(PROBE_KEY).await.map_err(|error| match error {
            StoreError::Unavailable { what } => StoreError::Unavailable {
                what: format!(
                    "no node serves at {}: {what}; start the cluster or correct the addresses",
                    addresses.join(",")
                )
                .into(),
            },
            other => other,
        })?;
        Ok(store)
    }

    pub(super) async fn get(&self, key: &[u8]) -> Result<Option<Found>, StoreError> {
        let key = Bytes::copy_from_slice(key);
        let found = self.client.get(key, Consistency::Linearizable).await;
        Ok(found.map_err(refused)?.map(found_value))
    }

    pub(super) async fn put(&self, key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        committed(self.client.put_versioned(key, value, Expiry::Never).await)
    }

    pub(super) async fn put_if(
        &self,
        key: &[u8],
        value: &[u8],
        expected: Expected,
    ) -> Result<Result<u64, Conflict>, StoreError> {
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let expected = match expected {
            Expected::Absent => client::Expected::Absent,
            Expected::Version(version) => client::Expected::Version(version),
        };
        let swap = self.client.compare_and_set(key, expected, value).await;
        Ok(match committed(swap)? {
            Swap::Stored(version) => Ok(version),
            Swap::Refused(current) => Err(Conflict::new(current)),
        })
    }

    pub(super) async fn delete(&self, key: &[u8]) -> Result<bool, StoreError> {
        let keys = vec![Bytes::copy_from_slice(key)];
        Ok(committed(self.client.delete(keys).await)? > 0)
    }

    pub(super) async fn list(&self, prefix: &[u8], list: &mut List) -> Result<(), StoreError> {
        let mut listing = Listing {
            prefix: Bytes::copy_from_slice(prefix),
            consistency: Consistency::Linearizable,
            ..Listing::default()
        };
        loop {
            let page = self.client.list(&listing).await.map_err(refused)?;
            for (key, value) in page.entries {
                list.push(key, found_value(value.unwrap_or_default()))?;
            }
            match page.next {
                Some(next) => listing.after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

fn found_value(value: client::Value) -> Found {
    Found {
        value: value.value,
        version: value.version,
    }
}

fn committed<T>(outcome: Outcome<T>) -> Result<T, StoreError> {
    match outcome {
        Outcome::Committed(answer) => Ok(answer),
        Outcome::Rejected(failed) => Err(refused(failed)),
        Outcome::Unknown(failed) => Err(StoreError::Unknown {
            what: failed.message,
        }),
    }
}

/// A call that certainly changed nothing.
fn refused(failed: Failed) -> StoreError {
    let what = failed.message;
    match failed.code {
        Code::InvalidArgument | Code::OutOfRange => StoreError::Invalid { what },
        Code::FailedPrecondition | Code::Internal | Code::Unimplemented | Code::DataLoss => {
            StoreError::Failed {
                reason: what.into(),
            }
        }
        _ => StoreError::Unavailable { what },
    }
}
