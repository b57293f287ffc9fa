//! A mapper or a reducer: answers the master, and other workers.
//!
//! A worker knows nothing that it can't make again: every request says what part it is about and
//! how to read it. So a worker that replaces another one needs no introduction.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kmeans_kernels::{Isa, Scale};
use stdx::Prng;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::input::Segment;
use crate::limits::{ASSIGNMENTS_PER_MESSAGE, DIMENSION_MAX, MESSAGE_BYTES_MAX, PARTS_MAX};
use crate::part::{Part, Question, Sample, Sums};
use crate::remote::journal::coordinates;
use crate::remote::proto::worker_server::{Worker, WorkerServer};
use crate::remote::{codec, proto, segment_from_proto};

mod reduce;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Where it listens; port 0 is any.
    pub listen: SocketAddr,
    /// Threads for a part.
    pub threads: usize,
    /// Instructions to use.
    pub isa: Isa,
    /// For tests: the probability that a map or reduce task that is done is reported as failed.
    pub fail_probability: f64,
    /// For tests: how long a map or reduce task is held back before its answer.
    pub delay: Duration,
    /// For tests: the process aborts when sums are fetched for the so many-th time.
    pub die_at_fetch: Option<u32>,
}

/// Serves until `shutdown`; `ready` hears the address.
///
/// # Errors
///
/// If the address can't be listened on, or the server fails.
pub async fn serve(
    config: WorkerConfig,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(config.listen).await?;
    ready(listener.local_addr()?);
    let seed = u64::from(std::process::id()) << 32 | u64::from(listener.local_addr()?.port());
    let service = Service {
        state: Arc::new(State {
            config,
            parts: Mutex::default(),
            outputs: Mutex::default(),
            peers: tokio::sync::Mutex::default(),
            chance: Mutex::new(Prng::from_seed(seed)),
            fetches: AtomicU32::new(0),
        }),
    };
    let server = WorkerServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    // Set here, for the builder's own setting does not reach listeners that it did not make:
    // without it every answer waits 40 ms for a delayed acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .initial_stream_window_size(super::WINDOW_BYTES)
        .initial_connection_window_size(super::WINDOW_BYTES)
        .add_service(server)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
        .map_err(std::io::Error::other)
}

/// What was fetched or can be.
type Key = (u64, u32);

struct Service {
    state: Arc<State>,
}

struct State {
    config: WorkerConfig,
    /// Parts by run and number; `None` until it is read.
    parts: Mutex<HashMap<Key, Arc<Mutex<Option<Part>>>>>,
    /// The last step's sums of each part.
    outputs: Mutex<HashMap<Key, (u64, Arc<Sums>)>>,
    peers: tokio::sync::Mutex<HashMap<String, super::Client>>,
    chance: Mutex<Prng>,
    fetches: AtomicU32,
}

/// A part as a request describes it.
pub(super) struct Described {
    key: Key,
    segments: Vec<Segment>,
    shift: Vec<f64>,
    first_row: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere left nothing half done that would be used: parts are rebuilt.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Understands what a part is.
pub(super) fn describe(part: Option<proto::Part>) -> Result<Described, Status> {
    let part = part.ok_or_else(|| Status::invalid_argument("the part is missing"))?;
    let dimension = part.dimension as usize;
    let segments: Option<Vec<Segment>> = part.segments.iter().map(segment_from_proto).collect();
    let segments =
        segments.ok_or_else(|| Status::invalid_argument("a segment is of an unknown format"))?;
    let fits = (1..=DIMENSION_MAX).contains(&dimension) && part.shift.len() == dimension;
    if !fits || part.part as usize >= PARTS_MAX {
        return Err(Status::invalid_argument("the part makes no sense"));
    }
    Ok(Described {
        key: (part.run, part.part),
        segments,
        shift: part.shift,
        first_row: part.first_row,
    })
}

pub(super) fn centers_of(bytes: &[u8], dimension: usize) -> Result<Vec<f64>, Status> {
    let centers = codec::to_f64(bytes)?;
    if !centers.len().is_multiple_of(dimension) || centers.iter().any(|value| !value.is_finite()) {
        return Err(Status::invalid_argument("the centroids make no sense"));
    }
    Ok(centers)
}

impl State {
    /// Runs on a part, which is read first if need be, on a thread that may block.
    async fn with_part<T: Send + 'static>(
        self: &Arc<Self>,
        described: Described,
        work: impl FnOnce(&mut Part) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let slot = {
            let mut parts = lock(&self.parts);
            // One job at a time: what another one left would only take room.
            parts.retain(|(run, _), _| *run == described.key.0);
            Arc::clone(parts.entry(described.key).or_default())
        };
        lock(&self.outputs).retain(|(run, _), _| *run == described.key.0);
        let (threads, isa) = (self.config.threads, self.config.isa);
        let task = tokio::task::spawn_blocking(move || {
            let mut slot = lock(&slot);
            let mut part = match slot.take() {
                Some(part) => part,
                None => Part::read(&described.segments, &described.shift, threads, isa)
                    .map_err(|error| Status::invalid_argument(chain(&error)))?,
            };
            part.first_row = described.first_row;
            let result = work(&mut part);
            // Put back only now: a part that panicked is read again.
            *slot = Some(part);
            Ok(result)
        });
        task.await
            .map_err(|error| Status::internal(format!("the task panicked: {error}")))?
    }

    /// The hooks for tests, just before an answer: a pause, and whether to say "failed".
    async fn answers_failed(&self) -> bool {
        if !self.config.delay.is_zero() {
            tokio::time::sleep(self.config.delay).await;
        }
        let draw = (lock(&self.chance).next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        draw < self.config.fail_probability
    }
}

#[tonic::async_trait]
impl Worker for Service {
    async fn load(
        &self,
        request: Request<proto::LoadRequest>,
    ) -> Result<Response<proto::LoadReply>, Status> {
        let described = describe(request.into_inner().part)?;
        let facts = self.state.with_part(described, |part| part.facts()).await?;
        Ok(Response::new(proto::LoadReply {
            rows: facts.rows,
            magnitude: facts.magnitude,
        }))
    }

    async fn map(
        &self,
        request: Request<proto::MapRequest>,
    ) -> Result<Response<proto::MapReply>, Status> {
        let request = request.into_inner();
        let described = describe(request.part)?;
        let key = described.key;
        let shift = described.shift.clone();
        let centers = centers_of(&request.centers, shift.len())?;
        let scale = Scale::from_exponent(request.scale);
        let sample = request.sample.map(|sample| Sample {
            seed: sample.seed,
            round: sample.round,
            probability: sample.probability,
        });
        if centers.is_empty() {
            return Err(Status::invalid_argument("there are no centroids"));
        }
        let directory = request.directory.map(PathBuf::from);
        let reducers = request.reducers.max(1);
        let work = move |part: &mut Part| {
            let sums = match sample {
                None => part.step(&centers, scale),
                Some(sample) => part.sample(&centers, scale, sample),
            };
            if let Some(directory) = directory {
                write_partitions(part, &directory, key.1, reducers, &shift).map_err(|error| {
                    Status::failed_precondition(format!(
                        "cannot write {}: {error}",
                        directory.display()
                    ))
                })?;
            }
            Ok::<_, Status>(sums)
        };
        let sums = self.state.with_part(described, work).await??;
        let work = sums.work;
        lock(&self.state.outputs).insert(key, (request.step, Arc::new(sums)));
        Ok(Response::new(proto::MapReply {
            success: !self.state.answers_failed().await,
            visited: work.visited,
            evaluated: work.evaluated,
            moved: work.moved,
        }))
    }

    async fn fetch(
        &self,
        request: Request<proto::FetchRequest>,
    ) -> Result<Response<proto::FetchReply>, Status> {
        let request = request.into_inner();
        let fetch = self.state.fetches.fetch_add(1, Ordering::Relaxed) + 1;
        if self.state.config.die_at_fetch == Some(fetch) {
            std::process::abort();
        }
        let found = lock(&self.state.outputs)
            .get(&(request.run, request.part))
            .cloned();
        let sums = match found {
            Some((step, sums)) if step == request.step => sums,
            _ => return Err(Status::not_found("this worker does not have these sums")),
        };
        let dimension = sums.sums.len() / sums.counts.len();
        let (partition, reducers) = (request.partition as usize, request.reducers.max(1) as usize);
        let keys = (partition..sums.counts.len()).step_by(reducers);
        let counts: Vec<u64> = keys.clone().map(|key| sums.counts[key]).collect();
        let rows = keys.flat_map(|key| &sums.sums[key * dimension..(key + 1) * dimension]);
        let rows: Vec<i64> = rows.copied().collect();
        Ok(Response::new(proto::FetchReply {
            counts: codec::from_u64(&counts),
            sums: codec::from_i64(&rows),
        }))
    }

    async fn reduce(
        &self,
        request: Request<proto::ReduceRequest>,
    ) -> Result<Response<proto::ReduceReply>, Status> {
        let mut reply = reduce::reduce(&self.state, request.into_inner()).await?;
        if reply.missing.is_empty() && self.state.answers_failed().await {
            reply = proto::ReduceReply::default();
        }
        Ok(Response::new(reply))
    }

    async fn ask(
        &self,
        request: Request<proto::AskRequest>,
    ) -> Result<Response<proto::AskReply>, Status> {
        let request = request.into_inner();
        let described = describe(request.part)?;
        let centers = centers_of(&request.centers, described.shift.len())?;
        let question: Question = serde_json::from_str(&request.question)
            .map_err(|error| Status::invalid_argument(format!("the question: {error}")))?;
        if centers.is_empty() && question.is_about_centers() {
            return Err(Status::invalid_argument("there are no centroids"));
        }
        let ask = move |part: &mut Part| part.ask(question, &centers);
        let answer = self.state.with_part(described, ask).await?;
        let rows = answer.rows.into_iter().map(|row| proto::Row {
            row: row.row,
            key: row.key,
            center: row.center,
            values: codec::from_f32(&row.values),
        });
        Ok(Response::new(proto::AskReply {
            counts: codec::from_u64(&answer.counts),
            total: codec::from_u128(answer.total),
            rows: rows.collect(),
        }))
    }

    type AssignStream = Pin<Box<dyn Stream<Item = Result<proto::AssignReply, Status>> + Send>>;

    async fn assign(
        &self,
        request: Request<proto::AssignRequest>,
    ) -> Result<Response<Self::AssignStream>, Status> {
        let request = request.into_inner();
        let described = describe(request.part)?;
        let centers = centers_of(&request.centers, described.shift.len())?;
        if centers.is_empty() {
            return Err(Status::invalid_argument("there are no centroids"));
        }
        let scale = Scale::from_exponent(request.scale);
        let assign = move |part: &mut Part| part.assign(&centers, scale);
        let assigned = self.state.with_part(described, assign).await?;
        let pieces: Vec<_> = assigned
            .chunks(ASSIGNMENTS_PER_MESSAGE)
            .map(|piece| {
                Ok(proto::AssignReply {
                    centers: codec::from_u32(piece),
                })
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    async fn ping(
        &self,
        _: Request<proto::PingRequest>,
    ) -> Result<Response<proto::PingReply>, Status> {
        Ok(Response::new(proto::PingReply {}))
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// The original's files of a mapper: every point with its key, one file for each reducer.
fn write_partitions(
    part: &Part,
    directory: &Path,
    number: u32,
    reducers: u32,
    shift: &[f64],
) -> std::io::Result<()> {
    let directory = directory.join("Mappers").join(format!("M{}", number + 1));
    std::fs::create_dir_all(&directory)?;
    let mut files = Vec::new();
    for partition in 1..=reducers {
        let path = directory.join(format!("partition_{partition}.txt"));
        files.push(std::io::BufWriter::new(std::fs::File::create(path)?));
    }
    for (row, center) in part.rows() {
        let point: Vec<f64> = row
            .iter()
            .zip(shift)
            .map(|(&x, shift)| f64::from(x) + shift)
            .collect();
        let file = &mut files[(center % reducers) as usize];
        writeln!(file, "{center},{}", coordinates(&point))?;
    }
    files.iter_mut().try_for_each(std::io::Write::flush)
}
