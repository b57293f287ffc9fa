//! The master: parts, tasks and results, over two pools of workers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kmeans_kernels::{Isa, Scale, Work};
use tonic::Status;

use crate::input::Dataset;
use crate::job::{self, Cluster, Event, JobError, Outcome, join_all};
use crate::limits::ATTEMPTS_MAX;
use crate::options::Options;
use crate::part::{Answer, Facts, Question, Row, Sample, Sums};
use crate::remote::journal::coordinates;
use crate::remote::pool::{Launch, Pool, Reply};
use crate::remote::{Journal, codec, proto, segment_to_proto};

/// The processes of a job.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The `kontiki` binary: workers are started from it.
    pub program: PathBuf,
    /// Mappers that were started by hand; if there are any, none is started.
    pub mapper_addresses: Vec<String>,
    /// Likewise reducers.
    pub reducer_addresses: Vec<String>,
    /// Threads of a mapper.
    pub threads: usize,
    /// A worker that is silent for longer is taken for lost.
    pub lease: Duration,
    /// Instructions to use.
    pub isa: Isa,
    /// For tests: see `WorkerConfig`.
    pub fail_probability: f64,
    /// For tests: see `WorkerConfig`.
    pub delay: Duration,
    /// For tests: see `WorkerConfig`.
    pub die_at_fetch: Option<u32>,
    /// Also lay out the original's files here.
    pub compat_directory: Option<PathBuf>,
}

/// Runs a job with processes. `sink` gets the centroid of every row, in order.
///
/// # Errors
///
/// If the input or an option is not usable, or too many workers are lost.
pub async fn run(
    dataset: &Dataset,
    options: &Options,
    setup: &Setup,
    observer: &mut dyn FnMut(Event<'_>),
    sink: &mut dyn FnMut(&[u32]) -> Result<(), JobError>,
) -> Result<Outcome, JobError> {
    options.validate().map_err(JobError::Options)?;
    let mut remote = Remote::new(dataset, options, setup)?;
    let journal = Arc::clone(&remote.journal);
    let dimension = dataset.dimension();
    let mut observe = |event: Event<'_>| {
        match &event {
            Event::Loaded { .. } => {}
            Event::Seeded { run, centers } => {
                journal.line(format_args!("run {run}: initial centroids"));
                journal.centers(centers, dimension);
            }
            Event::Iterated {
                report, centers, ..
            } => {
                journal.line(format_args!("iteration {}: centroids", report.iteration));
                journal.centers(centers, dimension);
            }
        }
        observer(event);
    };
    let outcome = job::run(&mut remote, options, dataset.shift(), &mut observe).await?;
    remote.assign(&outcome.centred, outcome.scale, sink).await?;
    remote.write_centroids(&outcome)?;
    journal.close()?;
    Ok(outcome)
}

struct Remote<'a> {
    mappers: Pool,
    reducers: Pool,
    parts: Vec<proto::Part>,
    /// Where the last map of each part succeeded.
    places: Vec<String>,
    partitions: u32,
    dimension: u32,
    run: u64,
    step: u64,
    journal: Arc<Journal>,
    setup: &'a Setup,
}

impl<'a> Remote<'a> {
    fn new(dataset: &Dataset, options: &Options, setup: &'a Setup) -> Result<Self, JobError> {
        let journal = match &setup.compat_directory {
            None => Journal::default(),
            Some(directory) => {
                std::fs::create_dir_all(directory.join("Data")).map_err(|source| {
                    JobError::Write {
                        path: directory.clone(),
                        source,
                    }
                })?;
                Journal::create(&directory.join("dump.txt"))?
            }
        };
        let journal = Arc::new(journal);
        let run = run_number();
        let short = |value: usize| u32::try_from(value).expect("checked against its limit");
        let dimension = short(dataset.dimension());
        let describe = |(at, segments): (usize, Vec<_>)| proto::Part {
            run,
            part: short(at),
            segments: segments.iter().map(segment_to_proto).collect(),
            dimension,
            shift: dataset.shift().to_vec(),
            first_row: 0,
        };
        let parts = dataset.split(options.mappers).into_iter().enumerate();
        let pool = |role, count, addresses: &[String]| {
            let (lease, journal) = (setup.lease, Arc::clone(&journal));
            Pool::new(role, count, addresses, setup.launch(), lease, journal)
        };
        Ok(Self {
            mappers: pool("mapper", options.mappers, &setup.mapper_addresses),
            reducers: pool("reducer", options.reducers, &setup.reducer_addresses),
            parts: parts.map(describe).collect(),
            places: vec![String::new(); options.mappers],
            partitions: short(options.reducers),
            dimension,
            run,
            step: 0,
            journal: Arc::clone(&journal),
            setup,
        })
    }

    /// Maps some parts, all at once.
    async fn map(&mut self, parts: &[u32], request: &proto::MapRequest) -> Result<Work, JobError> {
        let calls = parts.iter().map(|&part| {
            let request = proto::MapRequest {
                part: Some(self.parts[part as usize].clone()),
                ..request.clone()
            };
            let task = format!("map {} of step {}", part + 1, request.step);
            let mappers = &self.mappers;
            async move {
                let call = |mut client: super::Client| {
                    let request = request.clone();
                    async move {
                        let reply = client.map(request).await?.into_inner();
                        Ok(if reply.success {
                            Reply::Success(reply)
                        } else {
                            Reply::Failure
                        })
                    }
                };
                mappers.call(&task, part as usize, call).await
            }
        });
        let mut work = Work::default();
        for (result, &part) in join_all(calls).await.into_iter().zip(parts) {
            let (reply, place) = result?;
            work.add(Work {
                visited: reply.visited,
                evaluated: reply.evaluated,
                moved: reply.moved,
            });
            self.places[part as usize] = place;
        }
        Ok(work)
    }

    /// Reduces some partitions, all at once: replies, or parts that must be mapped again.
    async fn reduce(
        &self,
        partitions: &[u32],
        count: usize,
        scale: Scale,
    ) -> Result<Vec<proto::ReduceReply>, JobError> {
        let sources: Vec<proto::Source> = (0u32..)
            .zip(&self.places)
            .map(|(part, address)| proto::Source {
                part,
                address: address.clone(),
            })
            .collect();
        let calls = partitions.iter().map(|&partition| {
            let request = proto::ReduceRequest {
                run: self.run,
                step: self.step,
                partition,
                reducers: self.partitions,
                sources: sources.clone(),
                count: u32::try_from(count).expect("centroids are bounded"),
                dimension: self.dimension,
                directory: self.data_directory(),
                scale: scale.exponent(),
                shift: self.parts[0].shift.clone(),
            };
            let task = format!("reduce {} of step {}", partition + 1, self.step);
            async move {
                let call = |mut client: super::Client| {
                    let request = request.clone();
                    async move {
                        let reply = client.reduce(request).await?.into_inner();
                        let answered = reply.success || !reply.missing.is_empty();
                        Ok(if answered {
                            Reply::Success(reply)
                        } else {
                            Reply::Failure
                        })
                    }
                };
                self.reducers.call(&task, partition as usize, call).await
            }
        });
        let replies = join_all(calls).await.into_iter();
        replies.map(|reply| reply.map(|(reply, _)| reply)).collect()
    }

    fn data_directory(&self) -> Option<String> {
        let directory = self.setup.compat_directory.as_ref()?;
        Some(directory.join("Data").to_string_lossy().into_owned())
    }

    /// The original's `centroids.txt`.
    fn write_centroids(&self, outcome: &Outcome) -> Result<(), JobError> {
        let Some(directory) = &self.setup.compat_directory else {
            return Ok(());
        };
        let rows = outcome.centers.chunks_exact(outcome.dimension);
        let lines: Vec<String> = rows.map(|row| coordinates(row) + "\n").collect();
        let path = directory.join("Data").join("centroids.txt");
        std::fs::write(&path, lines.concat()).map_err(|source| JobError::Write { path, source })
    }
}

impl Cluster for Remote<'_> {
    async fn load(&mut self) -> Result<Facts, JobError> {
        let loads = self.parts.iter().map(|part| {
            let task = format!("load {}", part.part + 1);
            let mappers = &self.mappers;
            async move {
                let call = |mut client: super::Client| {
                    let part = Some(part.clone());
                    async move {
                        let reply = client.load(proto::LoadRequest { part }).await?;
                        Ok(Reply::Success(reply.into_inner()))
                    }
                };
                mappers.call(&task, part.part as usize, call).await
            }
        });
        let (loads, started) = tokio::join!(join_all(loads), self.reducers.start());
        started?;
        let mut all = Facts::default();
        for (part, loaded) in loads.into_iter().enumerate() {
            let (reply, _) = loaded?;
            self.parts[part].first_row = all.rows;
            all.rows += reply.rows;
            all.magnitude = all.magnitude.max(reply.magnitude);
        }
        tracing::debug!(
            mappers = ?self.mappers.processes().await,
            reducers = ?self.reducers.processes().await,
            "all workers run"
        );
        Ok(all)
    }

    async fn step(
        &mut self,
        centers: &[f64],
        scale: Scale,
        sample: Option<Sample>,
    ) -> Result<Sums, JobError> {
        self.step += 1;
        let dimension = self.dimension as usize;
        let count = centers.len() / dimension;
        let request = proto::MapRequest {
            part: None,
            step: self.step,
            centers: codec::from_f64(centers),
            scale: scale.exponent(),
            sample: sample.map(|sample| proto::Sample {
                seed: sample.seed,
                round: sample.round,
                probability: sample.probability,
            }),
            reducers: self.partitions,
            directory: self.data_directory(),
        };
        let mut total = Sums::zero(count, dimension);
        let mut to_map: Vec<u32> = self.parts.iter().map(|part| part.part).collect();
        let mut to_reduce: Vec<u32> = (0..self.partitions).collect();
        for _ in 0..ATTEMPTS_MAX {
            total.work.add(self.map(&to_map, &request).await?);
            to_map.clear();
            let replies = self.reduce(&to_reduce, count, scale).await?;
            let mut again = Vec::new();
            for (&partition, reply) in to_reduce.iter().zip(replies) {
                if reply.missing.is_empty() {
                    place(
                        &mut total,
                        &reply,
                        partition as usize,
                        self.partitions as usize,
                    )?;
                } else {
                    again.push(partition);
                    to_map.extend(reply.missing);
                }
            }
            if again.is_empty() {
                return Ok(total);
            }
            // A mapper was lost after its success: its part is mapped again, elsewhere.
            to_map.sort_unstable();
            to_map.dedup();
            to_map.retain(|&part| (part as usize) < self.parts.len());
            to_reduce = again;
        }
        Err(JobError::Attempts {
            task: format!("step {}", self.step),
            attempts: ATTEMPTS_MAX,
            last: "mappers were lost again and again before their sums were fetched".to_owned(),
        })
    }

    async fn ask(&mut self, question: Question, centers: &[f64]) -> Result<Answer, JobError> {
        let question_text = serde_json::to_string(&question).expect("a question is plain data");
        let bytes = codec::from_f64(centers);
        let asks = self.parts.iter().map(|part| {
            let request = proto::AskRequest {
                part: Some(part.clone()),
                question: question_text.clone(),
                centers: bytes.clone(),
            };
            let task = format!("ask {}", part.part + 1);
            let mappers = &self.mappers;
            async move {
                let call = |mut client: super::Client| {
                    let request = request.clone();
                    async move { answer_of(client.ask(request).await?.into_inner()) }
                };
                mappers.call(&task, part.part as usize, call).await
            }
        });
        let mut all = Answer::default();
        for answer in join_all(asks).await {
            all.merge(question, answer?.0);
        }
        Ok(all)
    }

    async fn assign(
        &mut self,
        centers: &[f64],
        scale: Scale,
        sink: &mut dyn FnMut(&[u32]) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let centers = codec::from_f64(centers);
        for part in &self.parts {
            let task = format!("assign {}", part.part + 1);
            let call = |mut client: super::Client| {
                let request = proto::AssignRequest {
                    part: Some(part.clone()),
                    centers: centers.clone(),
                    scale: scale.exponent(),
                };
                async move {
                    let mut stream = client.assign(request).await?.into_inner();
                    let mut assigned = Vec::new();
                    while let Some(piece) = stream.message().await? {
                        assigned.extend(codec::to_u32(&piece.centers)?);
                    }
                    Ok(Reply::Success(assigned))
                }
            };
            let (assigned, _) = self.mappers.call(&task, part.part as usize, call).await?;
            sink(&assigned)?;
        }
        Ok(())
    }
}

/// Puts a reducer's sums where they belong.
fn place(
    total: &mut Sums,
    reply: &proto::ReduceReply,
    partition: usize,
    partitions: usize,
) -> Result<(), JobError> {
    let refused = |status: Status| JobError::Refused(status.message().to_owned());
    let counts = codec::to_u64(&reply.counts).map_err(refused)?;
    let sums = codec::to_i64(&reply.sums).map_err(refused)?;
    let dimension = total.sums.len() / total.counts.len();
    let keys = (partition..total.counts.len()).step_by(partitions);
    if counts.len() != keys.len() || sums.len() != keys.len() * dimension {
        return Err(JobError::Refused(
            "a reducer sent sums of another shape".to_owned(),
        ));
    }
    for ((key, count), row) in keys.zip(counts).zip(sums.chunks_exact(dimension)) {
        total.counts[key] = count;
        total.sums[key * dimension..(key + 1) * dimension].copy_from_slice(row);
    }
    Ok(())
}

fn answer_of(reply: proto::AskReply) -> Result<Reply<Answer>, Status> {
    let row = |row: proto::Row| {
        Ok::<_, Status>(Row {
            row: row.row,
            key: row.key,
            center: row.center,
            values: codec::to_f32(&row.values)?,
        })
    };
    Ok(Reply::Success(Answer {
        counts: codec::to_u64(&reply.counts)?,
        total: codec::to_u128(&reply.total)?,
        rows: reply.rows.into_iter().map(row).collect::<Result<_, _>>()?,
    }))
}

impl Setup {
    fn launch(&self) -> Launch {
        let mut words = vec![
            "kmeans".to_owned(),
            "worker".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            "--exit-with-stdin".to_owned(),
            format!("--threads={}", self.threads),
            format!("--isa={}", self.isa),
            format!("--fail-probability={}", self.fail_probability),
            format!("--delay-ms={}", self.delay.as_millis()),
        ];
        words.extend(
            self.die_at_fetch
                .map(|fetch| format!("--die-at-fetch={fetch}")),
        );
        Launch {
            program: self.program.clone(),
            arguments: words,
        }
    }
}

/// A number that no other job has: workers tell jobs apart by it.
fn run_number() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let nanos = since
        .as_secs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(since.subsec_nanos()));
    crate::chance::bits(nanos, 0, u64::from(std::process::id()))
}
