//! A client of the gRPC door: for the command line, tests and programs in Rust.
//!
//! It is given the addresses of some nodes, finds the leader, and remembers it; any node would
//! do, but the leader answers without forwarding. It tries again what is safe to try again: reads
//! always, writes only when they were certainly not executed. What became of a write is never
//! guessed: see [`Outcome`].

mod channels;
mod outcome;

use core::future::Future;
use core::time::Duration;

use bytes::Bytes;
use kv_proto::admin::v1 as admin_pb;
use kv_proto::admin::v1::admin_client::AdminClient;
use kv_proto::kv::v1 as pb;
use kv_proto::kv::v1::kv_client::KvClient;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

pub use channels::AddressError;
use channels::{Channels, Target};
pub use kv_proto::admin::v1::StatusResponse;
pub use kv_proto::kv::v1::{
    Consistency, Operation, OperationResult, Value, operation, operation_result,
};
pub use outcome::{Failed, Outcome};

/// Pauses between attempts: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Bytes of one message: what the server sends at most.
const MESSAGE_BYTES_MAX: usize = 18 << 20;

/// What the server answers to one attempt.
type Answer<R> = Result<Response<R>, Status>;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of gRPC doors, `host:port`. One that answers is enough.
    pub addresses: Vec<String>,
    /// How long a call may take, all attempts together. Default 10 s.
    pub timeout: Duration,
    /// After so long without an answer a *read* is tried at another node. Default 2 s.
    pub attempt_timeout: Duration,
    /// Connections to each node: one carries some 50,000 calls a second. Default 1.
    pub connections: usize,
}

impl Options {
    /// The defaults for these addresses.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(2),
            connections: 1,
        }
    }
}

/// What a key must hold for [`Client::compare_and_set`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expected {
    /// Nothing: the key must not exist.
    Absent,
    /// The version that a read returned.
    Version(u64),
    /// These bytes.
    Value(Bytes),
}

/// What became of a [`Client::compare_and_set`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Swap {
    /// The value is stored; the key has this version now.
    Stored(u64),
    /// Nothing changed, because the key has this version; 0 if it does not exist.
    Refused(u64),
}

/// What becomes of a key's expiry when it is put.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Expiry {
    /// The key never expires.
    #[default]
    Never,
    /// As it was.
    Keep,
    /// After this time.
    After(Duration),
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Keys and, if asked for, what they hold, in the order of the keys.
    pub entries: Vec<(Bytes, Option<Value>)>,
    /// Where the next page begins, if there is one.
    pub next: Option<Bytes>,
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// What the keys begin with.
    pub prefix: Bytes,
    /// Begin behind this key.
    pub after: Option<Bytes>,
    /// Entries of a page; the server has its own limit.
    pub limit: Option<u32>,
    /// Leave the values out.
    pub keys_only: bool,
    /// How fresh each page must be.
    pub consistency: Consistency,
}

/// A client. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    channels: Channels,
    timeout: Duration,
    attempt_timeout: Duration,
}

impl Client {
    /// Makes a client. Connections are made when they are needed.
    ///
    /// # Errors
    ///
    /// When there is no address, or one can't be read.
    pub fn new(options: &Options) -> Result<Self, AddressError> {
        Ok(Self {
            channels: Channels::new(&options.addresses, options.connections)?,
            timeout: options.timeout,
            attempt_timeout: options.attempt_timeout,
        })
    }

    /// Stores a value.
    pub async fn put(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        expiry: Expiry,
    ) -> Outcome<()> {
        self.send_put(key.into(), value.into(), expiry, false)
            .await
            .map(drop)
    }

    /// Stores a value; answers with the key's version.
    pub async fn put_versioned(
        &self,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        expiry: Expiry,
    ) -> Outcome<u64> {
        self.send_put(key.into(), value.into(), expiry, true).await
    }

    async fn send_put(
        &self,
        key: Bytes,
        value: Bytes,
        expiry: Expiry,
        return_version: bool,
    ) -> Outcome<u64> {
        let expiry = match expiry {
            Expiry::Never => None,
            Expiry::Keep => Some(pb::put_request::Expiry::KeepExpiry(true)),
            Expiry::After(time) => Some(pb::put_request::Expiry::ExpireAfterMs(
                u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            )),
        };
        let request = pb::PutRequest {
            key,
            value,
            expiry,
            return_version,
        };
        self.write(request, |mut client, request| async move {
            client.put(request).await
        })
        .await
        .map(|response| response.version)
    }

    /// Adds bytes to the end of a value; answers with its length.
    pub async fn append(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Outcome<u64> {
        let request = pb::AppendRequest {
            key: key.into(),
            value: value.into(),
        };
        self.write(request, |mut client, request| async move {
            client.append(request).await
        })
        .await
        .map(|response| response.length)
    }

    /// Removes keys; answers with how many existed.
    pub async fn delete(&self, keys: Vec<Bytes>) -> Outcome<u64> {
        let request = pb::DeleteRequest { keys };
        self.write(request, |mut client, request| async move {
            client.delete(request).await
        })
        .await
        .map(|response| response.deleted)
    }

    /// Stores a value if the key holds what is expected.
    pub async fn compare_and_set(
        &self,
        key: impl Into<Bytes>,
        expected: Expected,
        value: impl Into<Bytes>,
    ) -> Outcome<Swap> {
        let expected = match expected {
            Expected::Absent => None,
            Expected::Version(version) => {
                Some(pb::compare_and_set_request::Expected::Version(version))
            }
            Expected::Value(value) => {
                Some(pb::compare_and_set_request::Expected::ExpectedValue(value))
            }
        };
        let request = pb::CompareAndSetRequest {
            key: key.into(),
            expected,
            value: value.into(),
        };
        self.write(request, |mut client, request| async move {
            client.compare_and_set(request).await
        })
        .await
        .map(|response| match response.stored {
            true => Swap::Stored(response.version),
            false => Swap::Refused(response.version),
        })
    }

    /// Runs many operations in one call; one result for each, in order.
    pub async fn batch(&self, operations: Vec<Operation>) -> Outcome<Vec<OperationResult>> {
        let request = pb::BatchRequest { operations };
        self.write(request, |mut client, request| async move {
            client.batch(request).await
        })
        .await
        .map(|response| response.results)
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// When no node answered in time, or the request can't be right.
    pub async fn get(
        &self,
        key: impl Into<Bytes>,
        consistency: Consistency,
    ) -> Result<Option<Value>, Failed> {
        let request = pb::GetRequest {
            key: key.into(),
            consistency: consistency.into(),
        };
        self.read(request, |mut client, request| async move {
            client.get(request).await
        })
        .await
        .map(|response| response.value)
    }

    /// Lists a page of keys.
    ///
    /// # Errors
    ///
    /// When no node answered in time.
    pub async fn list(&self, listing: &Listing) -> Result<Page, Failed> {
        let request = pb::ListRequest {
            prefix: listing.prefix.clone(),
            after: listing.after.clone().unwrap_or_default(),
            limit: listing.limit.unwrap_or(0),
            keys_only: listing.keys_only,
            consistency: listing.consistency.into(),
        };
        self.read(request, |mut client, request| async move {
            client.list(request).await
        })
        .await
        .map(|response| Page {
            entries: response
                .entries
                .into_iter()
                .map(|entry| (entry.key, entry.value))
                .collect(),
            next: Some(response.next).filter(|next| !next.is_empty()),
        })
    }

    /// The status of each node that the client was told of, with its address.
    pub async fn status_of_all(&self) -> Vec<(String, Result<StatusResponse, Failed>)> {
        let mut found = Vec::new();
        for target in self.channels.all() {
            let deadline = Instant::now() + self.attempt_timeout;
            let mut client = AdminClient::new(target.channel.clone());
            let call = timeout_at(deadline, client.status(admin_pb::StatusRequest {}));
            let result = match call.await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(Failed::new(&status)),
                Err(_) => Err(Failed::new(&Status::deadline_exceeded("no answer"))),
            };
            found.push((target.address, result));
        }
        found
    }

    /// Adds a node as a learner.
    pub async fn add_member(&self, node_id: u64, address: &str) -> Outcome<()> {
        let request = admin_pb::AddMemberRequest {
            node_id,
            address: address.to_owned(),
        };
        self.administer(request, |mut client, request| async move {
            client.add_member(request).await
        })
        .await
        .map(|admin_pb::AddMemberResponse {}| ())
    }

    /// Gives a learner a vote.
    pub async fn promote(&self, node_id: u64) -> Outcome<()> {
        let request = admin_pb::PromoteRequest { node_id };
        self.administer(request, |mut client, request| async move {
            client.promote(request).await
        })
        .await
        .map(|admin_pb::PromoteResponse {}| ())
    }

    /// Removes a node from the cluster.
    pub async fn remove_member(&self, node_id: u64) -> Outcome<()> {
        let request = admin_pb::RemoveMemberRequest { node_id };
        self.administer(request, |mut client, request| async move {
            client.remove_member(request).await
        })
        .await
        .map(|admin_pb::RemoveMemberResponse {}| ())
    }

    /// Moves the leadership, to the best voter if none is named; answers with the leader.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Outcome<u64> {
        let request = admin_pb::TransferLeadershipRequest {
            to: to.unwrap_or(0),
        };
        self.administer(request, |mut client, request| async move {
            client.transfer_leadership(request).await
        })
        .await
        .map(|response| response.leader)
    }

    async fn write<Q: Clone, R, F: Future<Output = Answer<R>>>(
        &self,
        request: Q,
        call: impl Fn(KvClient<Channel>, Request<Q>) -> F,
    ) -> Outcome<R> {
        let call = |channel, request| call(kv_client(channel), request);
        self.attempt_write(request, call).await
    }

    async fn administer<Q: Clone, R, F: Future<Output = Answer<R>>>(
        &self,
        request: Q,
        call: impl Fn(AdminClient<Channel>, Request<Q>) -> F,
    ) -> Outcome<R> {
        let call = |channel, request| call(AdminClient::new(channel), request);
        self.attempt_write(request, call).await
    }

    /// Tries until the outcome is known, or can't be known any more, or the time is over.
    async fn attempt_write<Q: Clone, R, F: Future<Output = Answer<R>>>(
        &self,
        request: Q,
        call: impl Fn(Channel, Request<Q>) -> F,
    ) -> Outcome<R> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE_MIN;
        loop {
            let target = self.channels.preferred();
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = timeout_at(
                deadline,
                call(target.channel.clone(), with_timeout(&request, left)),
            );
            let status = match answer.await {
                Ok(Ok(response)) => {
                    self.channels.learn(response.metadata());
                    return Outcome::Committed(response.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            let failed = Failed::new(&status);
            if !outcome::was_not_executed(&status) {
                self.channels.avoid(&target);
                return Outcome::Unknown(failed);
            }
            if !outcome::may_work_later(&status) || Instant::now() + pause > deadline {
                return Outcome::Rejected(failed);
            }
            self.move_on(&target, &status, &mut pause).await;
        }
    }

    /// Tries until there is an answer or the time is over. Reads can always be repeated.
    async fn read<Q: Clone, R, F: Future<Output = Answer<R>>>(
        &self,
        request: Q,
        call: impl Fn(KvClient<Channel>, Request<Q>) -> F,
    ) -> Result<R, Failed> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE_MIN;
        loop {
            let target = self.channels.preferred();
            let attempt = self
                .attempt_timeout
                .min(deadline.saturating_duration_since(Instant::now()));
            let request = with_timeout(&request, attempt);
            let answer = call(kv_client(target.channel.clone()), request);
            let status = match timeout_at(Instant::now() + attempt, answer).await {
                Ok(Ok(response)) => {
                    self.channels.learn(response.metadata());
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            let hopeless = matches!(
                status.code(),
                Code::InvalidArgument | Code::Internal | Code::Unimplemented | Code::OutOfRange
            );
            if hopeless || Instant::now() + pause > deadline {
                return Err(Failed::new(&status));
            }
            self.move_on(&target, &status, &mut pause).await;
        }
    }

    /// After a failed attempt: chooses another node, waits a little longer each time.
    async fn move_on(&self, target: &Target, status: &Status, pause: &mut Duration) {
        if !self.channels.learn(status.metadata()) {
            self.channels.avoid(target);
        }
        sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSE_MAX);
    }
}

fn kv_client(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// A request that tells the server how long it is waited for.
fn with_timeout<Q: Clone>(request: &Q, timeout: Duration) -> Request<Q> {
    let mut request = Request::new(request.clone());
    request.set_timeout(timeout);
    request
}
