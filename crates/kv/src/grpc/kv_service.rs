//! The service `Kv`.

use std::sync::Arc;

use bytes::Bytes;
use engine::{EngineError, ReadView};
use kv_core::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use kv_core::{
    AppendReturning, Batch, Command, Condition, Deadline, Expiry, Meta, Put, Reply, ReplyError,
    Returning,
};
use kv_proto::kv::v1 as pb;
use pb::operation::Operation;
use pb::operation_result::Result as OperationResult;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::deadline::within;
use super::pipeline;
use super::stats::{GrpcStats, Method};
use super::status;
use crate::node::Handle;

/// Operations of one batch.
pub(super) const OPERATIONS_MAX: usize = 10_000;

/// Entries of one page, and bytes after which a page ends early: clients refuse messages of more
/// than 4 MiB unless told otherwise.
const PAGE_ENTRIES_MAX: usize = 1_000;
const PAGE_BYTES_AIM: usize = 1 << 20;

/// Serves keys and values.
#[derive(Clone, Debug)]
pub(super) struct KvService {
    pub(super) handle: Handle,
    pub(super) stats: Arc<GrpcStats>,
    /// The door is closing: calls must come to an end.
    pub(super) closing: watch::Receiver<bool>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::kv_server::Kv for KvService {
    async fn put(&self, request: Request<pb::PutRequest>) -> Answer<pb::PutResponse> {
        let (metadata, _, body) = request.into_parts();
        let answer = within(&metadata, async {
            match self.one(Operation::Put(body)).await? {
                OperationResult::Put(done) => Ok(done),
                other => Err(unexpected(&other)),
            }
        });
        self.counted(Method::Put, 1, answer.await)
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Answer<pb::GetResponse> {
        let (metadata, _, body) = request.into_parts();
        let answer = within(&metadata, async {
            check_key(&body.key)?;
            self.read(consistency(body.consistency)?, |view| get(view, &body.key))
                .await
        });
        self.counted(Method::Get, 1, answer.await)
    }

    async fn append(&self, request: Request<pb::AppendRequest>) -> Answer<pb::AppendResponse> {
        let (metadata, _, body) = request.into_parts();
        let answer = within(&metadata, async {
            match self.one(Operation::Append(body)).await? {
                OperationResult::Append(done) => Ok(done),
                other => Err(unexpected(&other)),
            }
        });
        self.counted(Method::Append, 1, answer.await)
    }

    async fn delete(&self, request: Request<pb::DeleteRequest>) -> Answer<pb::DeleteResponse> {
        let (metadata, _, body) = request.into_parts();
        let answer = within(&metadata, async {
            match self.one(Operation::Delete(body)).await? {
                OperationResult::Delete(done) => Ok(done),
                other => Err(unexpected(&other)),
            }
        });
        self.counted(Method::Delete, 1, answer.await)
    }

    async fn compare_and_set(
        &self,
        request: Request<pb::CompareAndSetRequest>,
    ) -> Answer<pb::CompareAndSetResponse> {
        let (metadata, _, body) = request.into_parts();
        let answer = within(&metadata, async {
            match self.one(Operation::CompareAndSet(body)).await? {
                OperationResult::CompareAndSet(done) => Ok(done),
                other => Err(unexpected(&other)),
            }
        });
        self.counted(Method::CompareAndSet, 1, answer.await)
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Answer<pb::ListResponse> {
        let (metadata, _, body) = request.into_parts();
        let answer = within(&metadata, async {
            self.read(consistency(body.consistency)?, |view| list(view, &body))
                .await
        });
        self.counted(Method::List, 1, answer.await)
    }

    async fn batch(&self, request: Request<pb::BatchRequest>) -> Answer<pb::BatchResponse> {
        let (metadata, _, body) = request.into_parts();
        let count = body.operations.len() as u64;
        let answer = within(&metadata, self.run(body)).await;
        self.counted(Method::Batch, count, answer)
    }

    type PipelineStream = ReceiverStream<Result<pb::BatchResponse, Status>>;

    async fn pipeline(
        &self,
        request: Request<Streaming<pb::BatchRequest>>,
    ) -> Answer<Self::PipelineStream> {
        let (answers, stream) = mpsc::channel(pipeline::ANSWERS_MAX);
        tokio::spawn(pipeline::serve(self.clone(), request.into_inner(), answers));
        self.counted(
            Method::Pipeline,
            0,
            Ok(Response::new(ReceiverStream::new(stream))),
        )
    }
}

impl KvService {
    fn counted<T>(&self, method: Method, operations: u64, mut answer: Answer<T>) -> Answer<T> {
        self.stats.record(method, operations, answer.is_err());
        if let Ok(response) = &mut answer {
            // So that clients go to the leader next time.
            status::name_leader(response.metadata_mut(), &self.handle);
        }
        answer
    }

    /// Counts operations of a pipeline, which is one call however long it lasts.
    pub(super) fn count_pipelined(&self, operations: usize) {
        self.stats.add_operations(operations as u64);
    }

    /// Runs one write.
    async fn one(&self, operation: Operation) -> Result<OperationResult, Status> {
        let mut batch = Batch::new();
        encode(&operation, &mut batch)?;
        let replies = self.execute(batch).await?;
        let reply = replies
            .first()
            .ok_or_else(|| Status::internal("a reply is missing"))?;
        decode(&operation, reply)
    }

    async fn execute(&self, batch: Batch) -> Result<Vec<Reply>, Status> {
        self.handle
            .execute(batch)
            .await
            .map_err(|error| status::of_execute(error, &self.handle))
    }

    /// Reads with the freshness that was asked for.
    async fn read<T>(
        &self,
        consistency: pb::Consistency,
        read: impl Fn(&ReadView<'_>) -> Result<T, EngineError>,
    ) -> Result<T, Status> {
        let failed = |error: EngineError| status::of_engine(&error);
        if consistency != pb::Consistency::Stale {
            if let Some(guard) = self.handle.try_read() {
                let found = read(&guard.view()).map_err(failed)?;
                if guard.confirm() {
                    return Ok(found);
                }
            }
            self.handle
                .read_barrier()
                .await
                .map_err(|error| status::of_read(error, &self.handle))?;
        }
        read(&self.handle.view()).map_err(failed)
    }

    /// Runs a batch: neighbouring writes together, each read behind the writes before it.
    pub(super) async fn run(&self, request: pb::BatchRequest) -> Result<pb::BatchResponse, Status> {
        let operations = request.operations;
        if operations.len() > OPERATIONS_MAX {
            return Err(Status::invalid_argument(format!(
                "{} operations exceed the limit of {OPERATIONS_MAX}",
                operations.len()
            )));
        }
        let mut results = Vec::with_capacity(operations.len());
        let mut rest = operations.as_slice();
        while !rest.is_empty() {
            let is_read =
                |operation: &pb::Operation| matches!(operation.operation, Some(Operation::Get(_)));
            let reads = is_read(&rest[0]);
            let end = rest
                .iter()
                .position(|next| is_read(next) != reads)
                .unwrap_or(rest.len());
            let (segment, tail) = rest.split_at(end);
            if reads {
                self.run_reads(segment, &mut results).await;
            } else {
                self.run_writes(segment, &mut results).await;
            }
            rest = tail;
        }
        let results = results
            .into_iter()
            .map(|result| pb::OperationResult {
                result: Some(result.unwrap_or_else(|status| failure(&status))),
            })
            .collect();
        Ok(pb::BatchResponse { results })
    }

    async fn run_reads(
        &self,
        segment: &[pb::Operation],
        results: &mut Vec<Result<OperationResult, Status>>,
    ) {
        let requests: Vec<&pb::GetRequest> = segment
            .iter()
            .filter_map(|operation| match &operation.operation {
                Some(Operation::Get(get)) => Some(get),
                _ => None,
            })
            .collect();
        // The strictest of the segment serves them all.
        let stale = pb::Consistency::Stale as i32;
        let consistency = if requests.iter().all(|get| get.consistency == stale) {
            pb::Consistency::Stale
        } else {
            pb::Consistency::Linearizable
        };
        let read = |view: &ReadView<'_>| {
            requests
                .iter()
                .map(|request| get(view, &request.key))
                .collect::<Result<Vec<_>, EngineError>>()
        };
        match self.read(consistency, read).await {
            Ok(found) => results.extend(found.into_iter().map(|get| Ok(OperationResult::Get(get)))),
            Err(status) => results.extend(segment.iter().map(|_| Err(status.clone()))),
        }
    }

    async fn run_writes(
        &self,
        segment: &[pb::Operation],
        results: &mut Vec<Result<OperationResult, Status>>,
    ) {
        let mut batch = Batch::new();
        let encoded: Vec<Result<(), Status>> = segment
            .iter()
            .map(|operation| match &operation.operation {
                Some(operation) => encode(operation, &mut batch),
                None => Err(Status::invalid_argument("an operation is missing")),
            })
            .collect();
        let outcome = if batch.is_empty() {
            Ok(Vec::new())
        } else {
            self.execute(batch).await
        };
        let mut replies = outcome.as_ref().map(|replies| replies.iter());
        for (operation, encoded) in segment.iter().zip(encoded) {
            let result = match (encoded, &mut replies, &operation.operation) {
                (Err(refused), _, _) => Err(refused),
                (Ok(()), Err(status), _) => Err(Status::clone(status)),
                (Ok(()), Ok(replies), Some(operation)) => match replies.next() {
                    Some(reply) => decode(operation, reply),
                    None => Err(Status::internal("a reply is missing")),
                },
                (Ok(()), Ok(_), None) => Err(Status::internal("an operation is missing")),
            };
            results.push(result);
        }
    }
}

fn failure(status: &Status) -> OperationResult {
    OperationResult::Failure(pb::Failure {
        code: status.code() as i32,
        message: status.message().to_owned(),
    })
}

fn unexpected(result: &OperationResult) -> Status {
    Status::internal(format!("the reply has the wrong kind: {result:?}"))
}

fn check_key(key: &[u8]) -> Result<(), Status> {
    match key.len() {
        0 => Err(Status::invalid_argument("the key is empty")),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(Status::invalid_argument(format!(
            "the key of {bytes} bytes exceeds the limit of {KEY_BYTES_MAX}"
        ))),
    }
}

fn check_value(value: &[u8]) -> Result<(), Status> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "the value of {} bytes exceeds the limit of {VALUE_BYTES_MAX}",
        value.len()
    )))
}

fn consistency(number: i32) -> Result<pb::Consistency, Status> {
    pb::Consistency::try_from(number)
        .map_err(|_| Status::invalid_argument(format!("unknown consistency {number}")))
}

/// Adds a write to a batch, or nothing if it can't be right.
pub(super) fn encode(operation: &Operation, batch: &mut Batch) -> Result<(), Status> {
    match operation {
        Operation::Get(_) => return Err(Status::internal("a read is no write")),
        Operation::Put(put) => {
            check_key(&put.key)?;
            check_value(&put.value)?;
            let expiry = match put.expiry {
                None | Some(pb::put_request::Expiry::KeepExpiry(false)) => Expiry::Clear,
                Some(pb::put_request::Expiry::KeepExpiry(true)) => Expiry::Keep,
                Some(pb::put_request::Expiry::ExpireAfterMs(millis)) => {
                    let millis = i64::try_from(millis).ok().filter(|&millis| millis > 0);
                    Expiry::Set(Deadline::After(millis.ok_or_else(|| {
                        Status::invalid_argument("expire_after_ms must be above zero")
                    })?))
                }
            };
            let returning = if put.return_version {
                Returning::Version
            } else {
                Returning::Status
            };
            batch.push(&Command::Put(Put {
                expiry,
                returning,
                ..Put::new(&put.key, &put.value)
            }));
        }
        Operation::Append(append) => {
            check_key(&append.key)?;
            check_value(&append.value)?;
            batch.push(&Command::Append {
                key: &append.key,
                value: &append.value,
                returning: AppendReturning::NewLength,
            });
        }
        Operation::Delete(delete) => {
            delete.keys.iter().try_for_each(|key| check_key(key))?;
            batch.push(&Command::Delete {
                keys: delete.keys.iter().map(|key| &**key).collect(),
            });
        }
        Operation::CompareAndSet(set) => {
            check_key(&set.key)?;
            check_value(&set.value)?;
            let condition = match &set.expected {
                None => Condition::IfVersion(0),
                Some(pb::compare_and_set_request::Expected::Version(version)) => {
                    Condition::IfVersion(*version)
                }
                Some(pb::compare_and_set_request::Expected::ExpectedValue(value)) => {
                    Condition::IfValue(value)
                }
            };
            batch.push(&Command::Put(Put {
                condition,
                returning: Returning::Version,
                ..Put::new(&set.key, &set.value)
            }));
        }
    }
    Ok(())
}

/// The answer to an operation from the state machine's reply.
fn decode(operation: &Operation, reply: &Reply) -> Result<OperationResult, Status> {
    Ok(match (operation, reply) {
        (Operation::CompareAndSet(_), Reply::Version(version)) => swapped(true, *version),
        (
            Operation::CompareAndSet(_),
            Reply::Error(
                ReplyError::VersionMismatch { current } | ReplyError::ValueMismatch { current },
            ),
        ) => swapped(false, *current),
        (_, Reply::Error(error)) => return Err(status::of_reply(*error)),
        (Operation::Put(_), Reply::Ok) => OperationResult::Put(pb::PutResponse { version: 0 }),
        (Operation::Put(_), Reply::Version(version)) => {
            OperationResult::Put(pb::PutResponse { version: *version })
        }
        (Operation::Append(_), Reply::Integer(length)) => {
            OperationResult::Append(pb::AppendResponse {
                length: count(*length),
            })
        }
        (Operation::Delete(_), Reply::Integer(deleted)) => {
            OperationResult::Delete(pb::DeleteResponse {
                deleted: count(*deleted),
            })
        }
        (_, other) => return Err(Status::internal(format!("unexpected reply {other:?}"))),
    })
}

const fn swapped(stored: bool, version: u64) -> OperationResult {
    OperationResult::CompareAndSet(pb::CompareAndSetResponse { stored, version })
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

const fn value(bytes: Bytes, meta: Meta) -> pb::Value {
    pb::Value {
        value: bytes,
        version: meta.version,
        expires_at_ms: meta.expires_ms,
    }
}

fn get(view: &ReadView<'_>, key: &[u8]) -> Result<pb::GetResponse, EngineError> {
    let found = view.get(key)?;
    Ok(pb::GetResponse {
        value: found.map(|found| value(Bytes::copy_from_slice(&found.value), found.meta)),
    })
}

fn list(view: &ReadView<'_>, request: &pb::ListRequest) -> Result<pb::ListResponse, EngineError> {
    let limit = match usize::try_from(request.limit) {
        Ok(limit @ 1..=PAGE_ENTRIES_MAX) => limit,
        _ => PAGE_ENTRIES_MAX,
    };
    let after = Some(&*request.after).filter(|after| !after.is_empty());
    let page = view.list(&request.prefix, after, limit)?;
    let (mut entries, mut bytes, mut more) = (Vec::new(), 0, page.more);
    for item in page.items {
        if bytes > PAGE_BYTES_AIM {
            more = true;
            break;
        }
        let value = (!request.keys_only).then(|| value(item.value, item.meta));
        bytes += item.key.len() + value.as_ref().map_or(0, |value| value.value.len());
        entries.push(pb::Entry {
            key: item.key,
            value,
        });
    }
    let next = match entries.last() {
        Some(last) if more => last.key.clone(),
        _ => Bytes::new(),
    };
    Ok(pb::ListResponse { entries, next })
}
