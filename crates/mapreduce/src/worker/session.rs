//! What a worker has, and one connection to the coordinator.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use mapreduce_core::{
    Assignment, AttemptId, Epoch, Failure, FromWorker, Held, HeldState, Source, Stage, TaskId,
    ToWorker, WorkerId,
};
use mapreduce_data::{Cancel, Job, Progress};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::error::{Context as _, Error, chain};
use crate::limits;
use crate::spec::Details;
use crate::wire::v1::coordinator_client::CoordinatorClient;
use crate::wire::v1::{
    CoordinatorMessage, Envelope, Hello, WorkerMessage, coordinator_message, worker_message,
};
use crate::wire::{decode, encode};
use crate::worker::WorkerConfig;
use crate::worker::attempt::{Ended, Work, execute};
use crate::worker::fetch::{Channels, Fetcher, Sources};
use crate::worker::outputs::{Key, Outputs};

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It broke, or the coordinator closed it.
    Disconnected,
    /// The worker may go.
    Left,
}

/// What follows from a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    GoOn,
    Leave,
}

/// What an attempt's thread tells.
#[derive(Debug)]
pub(crate) enum FromAttempt {
    Ended {
        key: Key,
        ended: Ended,
    },
    FetchFailed {
        key: Key,
        map: u32,
        source: AttemptId,
    },
}

#[derive(Debug)]
struct Running {
    task: TaskId,
    progress: Arc<Progress>,
    cancel: Cancel,
    sources: Arc<Sources>,
}

/// A report that the coordinator hasn't acknowledged.
#[derive(Debug)]
struct Unacked {
    task: TaskId,
    message: FromWorker,
    sent: Option<Instant>,
}

/// A worker's state.
#[derive(Debug)]
pub(crate) struct Worker {
    id: WorkerId,
    address: String,
    dir: PathBuf,
    pub(crate) config: WorkerConfig,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) draining: bool,
    drain_until: Option<Instant>,
    /// Whether a coordinator took the last connection.
    pub(crate) was_accepted: bool,
    channels: Arc<Channels>,
    running: HashMap<Key, Running>,
    unacked: HashMap<Key, Unacked>,
    /// Of map outputs: their tasks.
    tasks: HashMap<Key, TaskId>,
    /// The reign of each job's coordinator: what is lower comes from one that was replaced.
    epochs: HashMap<String, Epoch>,
    jobs: HashMap<String, Arc<dyn Job>>,
    /// Attempts that were executed or dropped here: none is executed twice, because its first
    /// execution may have been taken as a result.
    done: HashSet<Key>,
    news: (mpsc::Sender<FromAttempt>, mpsc::Receiver<FromAttempt>),
}

impl Worker {
    pub(crate) fn new(id: WorkerId, address: String, dir: PathBuf, config: WorkerConfig) -> Self {
        Self {
            id,
            address,
            dir,
            config,
            outputs: Arc::default(),
            draining: false,
            drain_until: None,
            was_accepted: false,
            channels: Arc::default(),
            running: HashMap::new(),
            unacked: HashMap::new(),
            tasks: HashMap::new(),
            epochs: HashMap::new(),
            jobs: HashMap::new(),
            done: HashSet::new(),
            news: mpsc::channel(limits::RESULTS_MAX),
        }
    }

    /// Works for one coordinator until the connection ends or the worker may leave.
    pub(crate) async fn session(
        &mut self,
        client: &mut CoordinatorClient<Channel>,
        mut leave: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<End, Error> {
        let (sender, receiver) = mpsc::channel(limits::RESULTS_MAX);
        let hello = worker_message::Kind::Hello(self.hello()?);
        send(&sender, hello).await?;
        let mut messages = client
            .work(ReceiverStream::new(receiver))
            .await
            .context("the coordinator refused")?
            .into_inner();
        self.was_accepted = true;
        for report in self.unacked.values_mut() {
            report.sent = None;
        }
        let mut tick = interval(limits::HEARTBEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.message() => match message.context("the connection broke")? {
                    Some(message) => {
                        if self.on_message(message)? == Next::Leave {
                            return Ok(End::Left);
                        }
                    }
                    None => return Ok(End::Disconnected),
                },
                Some(news) = self.news.1.recv() => self.on_news(news, &sender).await?,
                _ = tick.tick() => self.heartbeat(&sender).await?,
                () = &mut leave, if !self.draining => {
                    tracing::info!("leaving: no new work is taken");
                    self.draining = true;
                    self.drain_until = Some(Instant::now() + limits::DRAIN_MAX);
                }
            }
            self.flush(&sender).await?;
            let late = self
                .drain_until
                .is_some_and(|until| Instant::now() >= until);
            if late || self.draining && self.has_nothing() {
                return Ok(End::Left);
            }
        }
    }

    /// Whether nobody can want anything of this worker.
    fn has_nothing(&self) -> bool {
        self.running.is_empty() && self.unacked.is_empty() && self.outputs.keys().is_empty()
    }

    fn hello(&self) -> Result<Hello, Error> {
        let mut held: HashMap<String, Vec<Held>> = HashMap::new();
        let mut add = |key: &Key, task: TaskId, state: HeldState| {
            held.entry(key.0.clone()).or_default().push(Held {
                attempt: key.1,
                task,
                state,
            });
        };
        for (key, running) in &self.running {
            add(key, running.task, HeldState::Running);
        }
        for (key, unacked) in &self.unacked {
            add(key, unacked.task, HeldState::Running);
        }
        for key in self.outputs.keys() {
            if let Some(task) = self.tasks.get(&key)
                && !self.unacked.contains_key(&key)
            {
                add(&key, *task, HeldState::Output);
            }
        }
        Ok(Hello {
            format: limits::FORMAT,
            worker: self.id.0,
            slots: self.config.slots,
            address: self.address.clone(),
            name: self.config.name.clone(),
            held: encode(&held)?,
            draining: self.draining,
        })
    }

    fn on_message(&mut self, message: CoordinatorMessage) -> Result<Next, Error> {
        match message.kind {
            Some(coordinator_message::Kind::Envelope(envelope)) => {
                let epoch = self.epochs.entry(envelope.job.clone()).or_default();
                if Epoch(envelope.epoch) < *epoch {
                    tracing::warn!(job = envelope.job, "a coordinator that was replaced speaks");
                    return Ok(Next::GoOn);
                }
                *epoch = Epoch(envelope.epoch);
                let body: ToWorker = decode(&envelope.body)?;
                return self.obey(&envelope.job, body, &envelope.details);
            }
            None => {}
        }
        Ok(Next::GoOn)
    }

    fn obey(&mut self, job: &str, message: ToWorker, details: &[u8]) -> Result<Next, Error> {
        let key = |attempt| (job.to_owned(), attempt);
        match message {
            ToWorker::Welcome => {
                // What was said in an earlier reign was not heard.
                let reports = self.unacked.iter_mut().filter(|(key, _)| key.0 == job);
                reports.for_each(|(_, report)| report.sent = None);
            }
            ToWorker::Assign(assignment) => {
                let details: Details = decode(details)?;
                self.start(job, &assignment, details);
            }
            ToWorker::Cancel { attempt } | ToWorker::Discard { attempt } => {
                self.drop_attempt(&key(attempt));
            }
            ToWorker::Accepted { attempt } => {
                self.unacked.remove(&key(attempt));
            }
            ToWorker::Moved { attempt, source } => {
                let details: Details = decode(details)?;
                if let Some(running) = self.running.get(&key(attempt)) {
                    running.sources.put(source, address_of(&details, &source));
                }
            }
            ToWorker::Released => {
                if self.draining {
                    return Ok(Next::Leave);
                }
            }
            ToWorker::Close => self.close_job(job),
        }
        Ok(Next::GoOn)
    }

    fn start(&mut self, job_id: &str, assignment: &Assignment, details: Details) {
        let key = (job_id.to_owned(), assignment.attempt);
        if let Some(unacked) = self.unacked.get_mut(&key) {
            unacked.sent = None;
            return;
        }
        if self.running.contains_key(&key) || self.outputs.contains(&key) {
            return;
        }
        let task = assignment.task;
        if !self.done.insert(key.clone()) {
            let message = "this attempt is over on this worker".to_owned();
            let failure = Failure::Worker { message };
            return self.report_failure(key, task, failure);
        }
        let failed = match self.prepare(job_id, assignment, details) {
            Ok((work, running)) => match self.spawn(key.clone(), work) {
                Ok(()) => {
                    self.running.insert(key, running);
                    return;
                }
                Err(error) => Failure::Worker {
                    message: error.line(),
                },
            },
            Err(failure) => failure,
        };
        self.report_failure(key, task, failed);
    }

    fn report_failure(&mut self, key: Key, task: TaskId, failure: Failure) {
        let message = FromWorker::Failed {
            attempt: key.1,
            failure,
        };
        self.unacked.insert(
            key,
            Unacked {
                task,
                message,
                sent: None,
            },
        );
    }

    fn prepare(
        &mut self,
        job_id: &str,
        assignment: &Assignment,
        details: Details,
    ) -> Result<(Work, Running), Failure> {
        let task = assignment.task;
        if task.stage == Stage::Map && details.split.is_none() {
            let message = "the assignment names no split".to_owned();
            return Err(Failure::Worker { message });
        }
        let job = if let Some(job) = self.jobs.get(job_id) {
            Arc::clone(job)
        } else {
            let resolved = details.function.resolve(&self.config.registry);
            let job = resolved.map_err(|error| Failure::User {
                record: None,
                message: chain(&error),
            })?;
            self.jobs.insert(job_id.to_owned(), Arc::clone(&job));
            job
        };
        let dir = self.attempt_dir(&(job_id.to_owned(), assignment.attempt));
        fs::create_dir_all(&dir).map_err(|error| Failure::Worker {
            message: format!("cannot create {}: {error}", dir.display()),
        })?;
        let running = Running {
            task,
            progress: Arc::default(),
            cancel: Cancel::new(),
            sources: Arc::default(),
        };
        for source in &assignment.sources {
            running.sources.put(*source, address_of(&details, source));
        }
        let maps = details.maps;
        let extents = (task.stage == Stage::Reduce).then(|| {
            Fetcher {
                me: self.id,
                job: job_id.to_owned(),
                attempt: assignment.attempt,
                partition: task.index,
                maps,
                dir: dir.clone(),
                sources: Arc::clone(&running.sources),
                channels: Arc::clone(&self.channels),
                outputs: Arc::clone(&self.outputs),
                cancel: running.cancel.clone(),
                news: self.news.0.clone(),
            }
            .start(&tokio::runtime::Handle::current())
        });
        let work = Work {
            job_id: job_id.to_owned(),
            job,
            assignment: assignment.clone(),
            details,
            maps,
            dir,
            progress: Arc::clone(&running.progress),
            cancel: running.cancel.clone(),
            extents,
        };
        Ok((work, running))
    }

    fn spawn(&self, key: Key, work: Work) -> Result<(), Error> {
        let news = self.news.0.clone();
        std::thread::Builder::new()
            .name(format!("{}", work.assignment.task))
            .spawn(move || {
                let ended = execute(work);
                // The worker itself has ended if nobody receives.
                let _gone = news.blocking_send(FromAttempt::Ended { key, ended });
            })
            .context("cannot start a thread")?;
        Ok(())
    }

    async fn on_news(
        &mut self,
        news: FromAttempt,
        sender: &mpsc::Sender<WorkerMessage>,
    ) -> Result<(), Error> {
        match news {
            FromAttempt::Ended { key, ended } => self.on_ended(key, ended),
            FromAttempt::FetchFailed { key, map, source } => {
                let attempt = key.1;
                let message = FromWorker::FetchFailed {
                    attempt,
                    map,
                    source,
                };
                self.say(sender, &key.0, &message).await?;
            }
        }
        Ok(())
    }

    fn on_ended(&mut self, key: Key, ended: Ended) {
        let Some(running) = self.running.remove(&key) else {
            return self.remove_files(&key);
        };
        if running.cancel.is_cancelled() {
            return self.remove_files(&key);
        }
        let attempt = key.1;
        let message = match ended {
            Ended::Done(report, output) => {
                if let Some(output) = output {
                    self.tasks.insert(key.clone(), running.task);
                    self.outputs.insert(key.clone(), output);
                } else {
                    self.remove_files(&key);
                }
                FromWorker::Finished { attempt, report }
            }
            Ended::Failed(failure) => {
                tracing::info!(%attempt, task = %running.task, "{failure}");
                self.remove_files(&key);
                FromWorker::Failed { attempt, failure }
            }
            Ended::Cancelled => return self.remove_files(&key),
        };
        self.unacked.insert(
            key,
            Unacked {
                task: running.task,
                message,
                sent: None,
            },
        );
    }

    /// Sends reports that are new or were not acknowledged for long.
    async fn flush(&mut self, sender: &mpsc::Sender<WorkerMessage>) -> Result<(), Error> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (key, unacked) in &mut self.unacked {
            if unacked
                .sent
                .is_none_or(|sent| now - sent >= limits::REPORT_AGAIN)
            {
                unacked.sent = Some(now);
                due.push((key.0.clone(), unacked.message.clone()));
            }
        }
        for (job, message) in due {
            self.say(sender, &job, &message).await?;
        }
        Ok(())
    }

    async fn heartbeat(&self, sender: &mpsc::Sender<WorkerMessage>) -> Result<(), Error> {
        let mut by_job: HashMap<&str, Vec<(AttemptId, f64)>> = HashMap::new();
        for job in self.epochs.keys() {
            by_job.entry(job).or_default();
        }
        for ((job, attempt), running) in &self.running {
            let progress = fraction(&running.progress);
            by_job.entry(job).or_default().push((*attempt, progress));
        }
        for (job, attempt) in self.unacked.keys() {
            by_job.entry(job).or_default().push((*attempt, 1.0));
        }
        for (job, running) in by_job {
            let message = FromWorker::Status { running };
            self.say(sender, job, &message).await?;
            if self.draining {
                self.say(sender, job, &FromWorker::Draining).await?;
            }
        }
        Ok(())
    }

    async fn say(
        &self,
        sender: &mpsc::Sender<WorkerMessage>,
        job: &str,
        message: &FromWorker,
    ) -> Result<(), Error> {
        let envelope = Envelope {
            job: job.to_owned(),
            epoch: self.epochs.get(job).copied().unwrap_or_default().0,
            body: encode(message)?,
            details: bytes::Bytes::new(),
        };
        send(sender, worker_message::Kind::Envelope(envelope)).await
    }

    fn attempt_dir(&self, key: &Key) -> PathBuf {
        self.dir.join(&key.0).join(key.1.to_string())
    }

    fn drop_attempt(&mut self, key: &Key) {
        self.unacked.remove(key);
        if let Some(running) = self.running.get(key) {
            // Its thread still writes there; the files go when it has ended.
            return running.cancel.cancel();
        }
        self.remove_files(key);
    }

    fn remove_files(&mut self, key: &Key) {
        self.outputs.remove(key);
        self.tasks.remove(key);
        remove_dir(&self.attempt_dir(key));
    }

    fn close_job(&mut self, job: &str) {
        for (key, running) in &self.running {
            if key.0 == job {
                running.cancel.cancel();
            }
        }
        self.unacked.retain(|key, _| key.0 != job);
        self.tasks.retain(|key, _| key.0 != job);
        self.outputs.remove_job(job);
        self.jobs.remove(job);
        self.done.retain(|key| key.0 != job);
        self.epochs.remove(job);
        remove_dir(&self.dir.join(job));
    }

    /// Stops everything; the process ends.
    pub(crate) fn stop_all(&self) {
        for running in self.running.values() {
            running.cancel.cancel();
        }
    }
}

fn remove_dir(dir: &std::path::Path) {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, dir = %dir.display(), "cannot remove files");
        }
        _ => {}
    }
}

fn address_of(details: &Details, source: &Source) -> String {
    let name = format!("{:x}", source.worker.0);
    details.addresses.get(&name).cloned().unwrap_or_default()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a part of a whole, for people and estimates"
)]
fn fraction(progress: &Progress) -> f64 {
    let snapshot = progress.snapshot();
    if snapshot.total_bytes == 0 {
        return 0.0;
    }
    (snapshot.input_bytes as f64 / snapshot.total_bytes as f64).clamp(0.0, 1.0)
}

async fn send(
    sender: &mpsc::Sender<WorkerMessage>,
    kind: worker_message::Kind,
) -> Result<(), Error> {
    sender
        .send(WorkerMessage { kind: Some(kind) })
        .await
        .map_err(|_| Error::new("the connection to the coordinator broke"))
}
