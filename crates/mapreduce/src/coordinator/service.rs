//! The gRPC services: bytes in, inputs of the loop out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mapreduce_core::{Epoch, FromWorker, Plan, WorkerId};
use mapreduce_data::{Cancel, Registry, limits as data_limits, plan_splits, prepare};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::coordinator::driver::{Input, new_id};
use crate::coordinator::{history, publish};
use crate::error::{Context as _, Error};
use crate::limits;
use crate::spec::{JobRequest, JobSpec, State, wall_ms};
use crate::wire::v1::coordinator_server::Coordinator;
use crate::wire::v1::{
    CoordinatorMessage, Hello, KillReply, KillRequest, ListReply, ListRequest, LogLine,
    LogsRequest, StatusReply, SubmitReply, SubmitRequest, WatchRequest, WorkerMessage,
    worker_message,
};
use crate::wire::{decode, encode};

/// The services of a coordinator.
#[derive(Debug)]
pub(crate) struct Service {
    inputs: mpsc::Sender<Input>,
    serves: watch::Receiver<bool>,
    /// How long to wait for that: an own store opens soon, another coordinator may lead for long.
    patience: Duration,
    connections: AtomicU64,
}

impl Service {
    pub(crate) const fn new(
        inputs: mpsc::Sender<Input>,
        serves: watch::Receiver<bool>,
        patience: Duration,
    ) -> Self {
        Self {
            inputs,
            serves,
            patience,
            connections: AtomicU64::new(1),
        }
    }

    /// Waits a moment for the store to be open; a standby says no.
    async fn serving(&self) -> Result<(), Status> {
        let mut serves = self.serves.clone();
        let wait = serves.wait_for(|serves| *serves);
        match tokio::time::timeout(self.patience, wait).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Status::unavailable("the coordinator ends")),
            Err(_) => Err(Status::unavailable(
                "this coordinator stands by: another one leads",
            )),
        }
    }

    async fn ask<T>(&self, input: Input, reply: oneshot::Receiver<T>) -> Result<T, Status> {
        self.serving().await?;
        let gone = |()| Status::unavailable("the coordinator ends");
        self.inputs.send(input).await.map_err(|_| gone(()))?;
        reply.await.map_err(|_| gone(()))
    }

    async fn watch(&self, job: String) -> Result<watch::Receiver<crate::spec::Status>, Status> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Watch {
            job: job.clone(),
            reply,
        };
        let found = self.ask(input, answer).await?;
        found.ok_or_else(|| Status::not_found(format!("there is no job {job}")))
    }
}

fn status_of(error: &Error) -> Status {
    let mut status = Status::failed_precondition(error.line());
    // The hint travels beside the message.
    if let Some(hint) = error.advice()
        && let Ok(value) = hint.parse()
    {
        status.metadata_mut().insert("hint", value);
    }
    status
}

#[tonic::async_trait]
impl Coordinator for Service {
    type WorkStream = ReceiverStream<Result<CoordinatorMessage, Status>>;
    type WatchStream = ReceiverStream<Result<StatusReply, Status>>;
    type LogsStream = ReceiverStream<Result<LogLine, Status>>;

    async fn work(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        self.serving().await?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|message| message.kind);
        let Some(worker_message::Kind::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first message is not a hello"));
        };
        if hello.format != limits::FORMAT {
            return Err(Status::invalid_argument(format!(
                "the worker speaks format {}, and this coordinator {}: use one version",
                hello.format,
                limits::FORMAT
            )));
        }
        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(limits::TO_WORKER_MAX);
        let held = decode(&hello.held).map_err(|e| Status::invalid_argument(e.line()))?;
        let worker = WorkerId(hello.worker);
        let input = Input::Connected {
            connection,
            hello: Hello {
                held: bytes::Bytes::new(),
                ..hello
            },
            held,
            sender,
        };
        let gone = |_| Status::unavailable("the coordinator ends");
        self.inputs.send(input).await.map_err(gone)?;
        tokio::spawn(listen(self.inputs.clone(), messages, connection, worker));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitReply>, Status> {
        let request = request.into_inner();
        if request.format != limits::FORMAT {
            return Err(Status::invalid_argument("unknown format: use one version"));
        }
        let job: JobRequest =
            decode(&request.request).map_err(|e| Status::invalid_argument(e.line()))?;
        let (reply, answer) = oneshot::channel();
        let request = Box::new(job);
        let result = self.ask(Input::Submit { request, reply }, answer).await?;
        let job = result.map_err(|error| status_of(&error))?;
        Ok(Response::new(SubmitReply { job }))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.ask(Input::List(reply), answer).await?;
        let jobs: Result<Vec<_>, Error> = jobs.iter().map(encode).collect();
        let jobs = jobs.map_err(|error| status_of(&error))?;
        Ok(Response::new(ListReply { jobs }))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { job, once } = request.into_inner();
        let mut statuses = Self::watch(self, job).await?;
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let status = statuses.borrow_and_update().clone();
                let last = once || matches!(status.summary.state, State::Ended(_));
                let reply = encode(&status)
                    .map(|status| StatusReply { status })
                    .map_err(|error| status_of(&error));
                if sender.send(reply).await.is_err() || last || statuses.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<KillReply>, Status> {
        let KillRequest { job, reason } = request.into_inner();
        let (reply, answer) = oneshot::channel();
        let input = Input::Kill { job, reason, reply };
        let result = self.ask(input, answer).await?;
        result.map_err(|error| status_of(&error))?;
        Ok(Response::new(KillReply {}))
    }

    async fn logs(
        &self,
        request: Request<LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let statuses = Self::watch(self, request.into_inner().job).await?;
        let output = statuses.borrow().summary.output.clone();
        let (sender, receiver) = mpsc::channel(limits::CHUNKS_MAX);
        tokio::task::spawn_blocking(move || {
            let path = publish::meta_dir(&output).join("history.jsonl");
            let entries = match history::read(&path) {
                Ok(entries) => entries,
                Err(error) => {
                    let status = Status::not_found(format!("{}: {error}", path.display()));
                    let _gone = sender.blocking_send(Err(status));
                    return;
                }
            };
            let start = entries.first().map_or(0, |entry| entry.at);
            for entry in entries {
                let text = entry.line(start);
                if sender.blocking_send(Ok(LogLine { text })).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Passes on what a worker says until its connection ends.
async fn listen(
    inputs: mpsc::Sender<Input>,
    mut messages: Streaming<WorkerMessage>,
    connection: u64,
    worker: WorkerId,
) {
    loop {
        let envelope = match messages.message().await {
            Ok(Some(message)) => match message.kind {
                Some(worker_message::Kind::Envelope(envelope)) => envelope,
                _ => continue,
            },
            Ok(None) => break,
            Err(status) => {
                tracing::debug!(%worker, %status, "a worker's connection broke");
                break;
            }
        };
        let message: FromWorker = match decode(&envelope.body) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%worker, "a worker is cut off: {}", error.line());
                break;
            }
        };
        let input = Input::Said {
            connection,
            worker,
            job: envelope.job,
            epoch: Epoch(envelope.epoch),
            message,
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
    let _gone = inputs
        .send(Input::Disconnected { connection, worker })
        .await;
}

/// Looks at a job's inputs and makes its output directory ready.
pub(crate) fn plan(mut request: JobRequest, registry: &Registry) -> Result<JobSpec, Error> {
    if request.reduces == 0 || request.reduces > data_limits::PARTITIONS_MAX {
        let max = data_limits::PARTITIONS_MAX;
        return Err(Error::new(format!("--reduces must be 1 to {max}")));
    }
    let least = data_limits::MEMORY_BYTES_MIN;
    if request.options.memory_bytes < least {
        let least = stdx::ByteSize::bytes(least);
        return Err(Error::new(format!("--memory must be {least} or more")));
    }
    if !request.output.is_absolute() {
        return Err(Error::new("the output directory must be an absolute path"));
    }
    // What the job's code says first: nothing is touched for a job that doesn't exist.
    let function = request.function.resolve(registry);
    function.context(format!(
        "the job `{}` can't be run",
        request.function.label()
    ))?;
    let splits =
        plan_splits(&request.inputs, &request.input).context("the inputs can't be used")?;
    let maps = u32::try_from(splits.len()).context("too many splits")?;
    publish::prepare(&request.output, request.overwrite)?;
    request.function = prepare(
        &request.function,
        registry,
        &splits,
        request.reduces,
        &Cancel::new(),
    )
    .context("the job can't be prepared")?;
    let plan = Plan {
        maps,
        reduces: request.reduces,
        seed: crate::spec::random(),
    };
    Ok(JobSpec {
        format: limits::FORMAT,
        id: new_id(),
        request,
        splits,
        plan,
        submitted_ms: wall_ms(),
    })
}
