//! The loop that owns the jobs: takes in what happens, and does what the state machine asks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use kv::store::Store;
use mapreduce_core::{
    Action, Batch, Epoch, Event, FromWorker, Heard, Held, Job, JobError, Outcome, Receipt, Stage,
    Taken, TaskId, ToWorker, WorkerId,
};
use mapreduce_data::Registry;
use stdx::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::coordinator::history::{History, What};
use crate::coordinator::publish;
use crate::coordinator::state::{State as Kept, Written};
use crate::error::Error;
use crate::limits;
use crate::spec::{Details, JobRequest, JobSpec, State, Status, Summary, random, wall_ms};
use crate::wire::encode;
use crate::wire::v1::{CoordinatorMessage, Envelope, Hello, coordinator_message};

/// Where answers for one worker go.
pub(crate) type ToWorkerSender = mpsc::Sender<Result<CoordinatorMessage, tonic::Status>>;

/// What happens to a coordinator.
#[derive(Debug)]
pub(crate) enum Input {
    Connected {
        connection: u64,
        hello: Hello,
        held: HashMap<String, Vec<Held>>,
        sender: ToWorkerSender,
    },
    Said {
        connection: u64,
        worker: WorkerId,
        job: String,
        epoch: Epoch,
        message: FromWorker,
    },
    Disconnected {
        connection: u64,
        worker: WorkerId,
    },
    Submit {
        request: Box<JobRequest>,
        reply: oneshot::Sender<Result<String, Error>>,
    },
    Planned {
        spec: Box<Result<JobSpec, Error>>,
        reply: oneshot::Sender<Result<String, Error>>,
    },
    List(oneshot::Sender<Vec<Summary>>),
    Watch {
        job: String,
        reply: oneshot::Sender<Option<watch::Receiver<Status>>>,
    },
    Kill {
        job: String,
        reason: String,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Journaled {
        job: String,
        seq: u64,
        result: Result<Written, Error>,
    },
    Published {
        job: String,
        result: Result<(), Error>,
    },
}

/// A worker's connection.
#[derive(Debug)]
struct Peer {
    connection: u64,
    address: String,
    name: String,
    slots: u32,
    draining: bool,
    held: HashMap<String, Vec<Held>>,
    sender: ToWorkerSender,
}

/// The job that runs.
#[derive(Debug)]
struct Current {
    spec: JobSpec,
    job: Job,
    history: History,
    since: tokio::time::Instant,
    attempts_dir: std::path::PathBuf,
}

/// The loop's state.
#[derive(Debug)]
pub(crate) struct Driver {
    kept: Kept,
    registry: Arc<Registry>,
    owner: u64,
    inputs: mpsc::Sender<Input>,
    clock: tokio::time::Instant,
    peers: BTreeMap<WorkerId, Peer>,
    /// Of all workers that were ever seen: reduces ask for output of those that are away.
    addresses: BTreeMap<WorkerId, String>,
    jobs: BTreeMap<String, watch::Sender<Status>>,
    queue: VecDeque<String>,
    current: Option<Current>,
}

impl Driver {
    /// Reads what the store holds. Jobs that had not ended are carried on.
    pub(crate) async fn open(
        store: Store,
        registry: Registry,
        owner: u64,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Self, Error> {
        let kept = Kept::new(store);
        let mut driver = Self {
            kept: kept.clone(),
            registry: Arc::new(registry),
            owner,
            inputs,
            clock: tokio::time::Instant::now(),
            peers: BTreeMap::new(),
            addresses: BTreeMap::new(),
            jobs: BTreeMap::new(),
            queue: VecDeque::new(),
            current: None,
        };
        let mut summaries = kept.summaries().await?;
        summaries.sort_by_key(|summary| (summary.submitted_ms, summary.id.clone()));
        for summary in summaries {
            if !matches!(summary.state, State::Ended(_)) {
                driver.queue.push_back(summary.id.clone());
            }
            driver.enter(summary, 0);
        }
        Ok(driver)
    }

    fn enter(&mut self, summary: Summary, input_bytes: u64) {
        let id = summary.id.clone();
        let status = Status {
            summary,
            view: None,
            elapsed: core::time::Duration::ZERO,
            input_bytes,
        };
        self.jobs.insert(id, watch::Sender::new(status));
    }

    /// Runs until the coordinator is replaced.
    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) -> Result<(), Error> {
        let mut tick = interval(limits::STATUS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_next().await?;
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.on_input(input).await?,
                    None => return Ok(()),
                },
                _ = tick.tick() => {
                    let now = self.now();
                    if let Some(current) = &mut self.current {
                        current.job.on_timeout(now);
                    }
                    self.show();
                }
            }
            // What else is there already, so that one batch of the journal has it all.
            for _ in 0..limits::INPUTS_MAX {
                let Ok(input) = inputs.try_recv() else {
                    break;
                };
                self.on_input(input).await?;
            }
            self.act().await?;
        }
    }

    fn now(&self) -> Instant {
        let nanos = u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Never 0: that is the start of the clock.
        Instant::from_nanos(nanos.saturating_add(1))
    }

    /// Starts, or carries on with, the job whose turn it is.
    async fn begin_next(&mut self) -> Result<(), Error> {
        while self.current.is_none() {
            let Some(id) = self.queue.pop_front() else {
                return Ok(());
            };
            let spec = self.kept.spec(&id).await?;
            self.begin(spec).await?;
            self.act().await?;
        }
        Ok(())
    }

    async fn begin(&mut self, spec: JobSpec) -> Result<(), Error> {
        let journal = self.kept.journal(&spec.id).await?;
        let now = self.now();
        let config = spec.request.config.clone();
        let mut job = Job::open(config, spec.plan, &journal, self.owner, now);
        let mut history = History::open(&publish::meta_dir(&spec.request.output));
        history.add(What::Opened(job.epoch().0));
        for (id, peer) in &mut self.peers {
            history.add(What::Named(id.to_string(), peer.name.clone()));
            register(&mut job, now, *id, peer, &spec.id);
        }
        let attempts_dir = publish::attempts_dir(&spec.request.output);
        self.current = Some(Current {
            spec,
            job,
            history,
            since: tokio::time::Instant::now(),
            attempts_dir,
        });
        self.show();
        Ok(())
    }

    async fn on_input(&mut self, input: Input) -> Result<(), Error> {
        let now = self.now();
        match input {
            Input::Connected {
                connection,
                hello,
                held,
                sender,
            } => self.on_connected(connection, hello, held, sender),
            Input::Said {
                connection,
                worker,
                job,
                epoch,
                message,
            } => self.on_said(connection, worker, &job, epoch, message),
            Input::Disconnected { connection, worker } => {
                let known = self.peers.get(&worker);
                if known.is_some_and(|peer| peer.connection == connection) {
                    self.peers.remove(&worker);
                    if let Some(current) = &mut self.current {
                        current.job.on_disconnected(now, worker);
                    }
                }
            }
            Input::Submit { request, reply } => self.plan(*request, reply),
            Input::Planned { spec, reply } => self.on_planned(*spec, reply).await?,
            Input::List(reply) => {
                let all = self.jobs.values().map(|job| job.borrow().summary.clone());
                let _gone = reply.send(all.collect());
            }
            Input::Watch { job, reply } => {
                let found = self.jobs.get(&job).map(watch::Sender::subscribe);
                let _gone = reply.send(found);
            }
            Input::Kill { job, reason, reply } => {
                let result = self.kill(&job, reason).await;
                let _gone = reply.send(result);
            }
            Input::Journaled { job, seq, result } => {
                let Some(current) = self.current.as_mut().filter(|c| c.spec.id == job) else {
                    return Ok(());
                };
                match result? {
                    Written::Durable => current.job.on_journaled(now, seq),
                    Written::Taken => match current.job.on_journal_taken(now, seq) {
                        Taken::RecoverAgain => {
                            if let Some(current) = self.current.take() {
                                self.queue.push_front(current.spec.id);
                            }
                        }
                        Taken::Fenced => return Err(replaced()),
                    },
                }
            }
            Input::Published { job, result } => {
                if let Some(current) = self.current.as_mut().filter(|c| c.spec.id == job) {
                    let result = result.map_err(|error| error.line());
                    current.job.on_published(now, result);
                }
            }
        }
        Ok(())
    }

    fn on_connected(
        &mut self,
        connection: u64,
        hello: Hello,
        held: HashMap<String, Vec<Held>>,
        sender: ToWorkerSender,
    ) {
        let id = WorkerId(hello.worker);
        let now = self.now();
        let peer = Peer {
            connection,
            address: hello.address,
            name: hello.name,
            slots: hello.slots,
            draining: hello.draining,
            held,
            sender,
        };
        self.addresses.insert(id, peer.address.clone());
        if let Some(current) = &mut self.current {
            let named = What::Named(id.to_string(), peer.name.clone());
            current.history.add(named);
            register(&mut current.job, now, id, &peer, &current.spec.id);
        }
        self.close_others(&peer);
        self.peers.insert(id, peer);
    }

    /// Tells a worker that came back which of its jobs are over.
    fn close_others(&self, peer: &Peer) {
        let current = self.current.as_ref().map(|current| &current.spec.id);
        let jobs: Vec<String> = peer.held.keys().cloned().collect();
        for job in jobs {
            let over = self
                .jobs
                .get(&job)
                .is_none_or(|job| matches!(job.borrow().summary.state, State::Ended(_)));
            if over
                && current != Some(&job)
                && let Ok(body) = encode(&ToWorker::Close)
            {
                let envelope = Envelope {
                    job,
                    epoch: u64::MAX,
                    body,
                    details: bytes::Bytes::new(),
                };
                send(peer, coordinator_message::Kind::Envelope(envelope));
            }
        }
    }

    fn on_said(
        &mut self,
        connection: u64,
        worker: WorkerId,
        job: &str,
        epoch: Epoch,
        message: FromWorker,
    ) {
        let now = self.now();
        let known = self.peers.get(&worker);
        if known.is_none_or(|peer| peer.connection != connection) {
            return;
        }
        let Some(current) = self.current.as_mut().filter(|c| c.spec.id == job) else {
            return;
        };
        if matches!(message, FromWorker::Register { .. }) {
            // The loop registers workers itself, when they connect and when a job begins.
            return;
        }
        match current.job.on_message(now, worker, epoch, message) {
            Heard::Yes | Heard::Early | Heard::Stale => {}
            Heard::Unregistered => {
                // It was silent and is lost. With its connection closed it comes back and says
                // what it has.
                self.peers.remove(&worker);
            }
        }
    }

    /// Looks at the inputs, on another thread.
    fn plan(&self, request: JobRequest, reply: oneshot::Sender<Result<String, Error>>) {
        if self.queue.len() >= limits::QUEUE_MAX {
            let error = Error::new("too many jobs wait").hint("hand it in again later");
            let _gone = reply.send(Err(error));
            return;
        }
        let registry = Arc::clone(&self.registry);
        let inputs = self.inputs.clone();
        tokio::task::spawn_blocking(move || {
            let spec = Box::new(super::service::plan(request, &registry));
            // The loop is gone when the coordinator ends.
            let _gone = inputs.blocking_send(Input::Planned { spec, reply });
        });
    }

    async fn on_planned(
        &mut self,
        spec: Result<JobSpec, Error>,
        reply: oneshot::Sender<Result<String, Error>>,
    ) -> Result<(), Error> {
        let result = match spec {
            Ok(spec) => {
                let summary = spec.summary(State::Queued);
                // The summary is what makes it a job: the last of the two.
                self.kept.put_spec(&spec).await?;
                self.kept.put_summary(&summary).await?;
                self.enter(summary, spec.input_bytes());
                self.queue.push_back(spec.id.clone());
                Ok(spec.id)
            }
            Err(error) => Err(error),
        };
        let _gone = reply.send(result);
        Ok(())
    }

    async fn kill(&mut self, id: &str, reason: String) -> Result<(), Error> {
        let now = self.now();
        if let Some(current) = self.current.as_mut().filter(|c| c.spec.id == id) {
            current.job.kill(now, reason);
            return Ok(());
        }
        if let Some(at) = self.queue.iter().position(|queued| queued == id) {
            self.queue.remove(at);
            let outcome = Outcome::Failed(JobError::Killed { reason });
            return self.finish(id, outcome).await;
        }
        Err(if self.jobs.contains_key(id) {
            Error::new(format!("job {id} has ended already"))
        } else {
            Error::new(format!("there is no job {id}")).hint("see `kontiki mr list`")
        })
    }

    /// Does what the state machine asks for.
    async fn act(&mut self) -> Result<(), Error> {
        while let Some(current) = &mut self.current {
            let Some(action) = current.job.poll_action() else {
                if current.job.is_fenced() {
                    return Err(replaced());
                }
                return Ok(());
            };
            match action {
                Action::Send { worker, message } => self.send_to(worker, &message),
                Action::Journal { seq, batch } => self.journal(seq, batch),
                Action::Publish(receipt) => self.publish(*receipt),
                Action::Remove { attempt, task } => self.remove(attempt, task),
                Action::Tell(event) => self.tell(event),
                Action::Ended(outcome) => self.on_job_ended(outcome).await?,
            }
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        tracing::debug!(?event, "job");
        if let Some(current) = &mut self.current {
            current.history.add(What::Event(event));
        }
    }

    fn send_to(&mut self, worker: WorkerId, message: &ToWorker) {
        let Some(current) = &self.current else {
            return;
        };
        let details = match message {
            ToWorker::Assign(assignment) => {
                let sources = assignment.sources.iter().map(|source| source.worker);
                let details = self.details(current, Some(assignment.task), sources);
                encode(&details)
            }
            ToWorker::Moved { source, .. } => {
                let details = self.details(current, None, [source.worker].into_iter());
                encode(&details)
            }
            _ => Ok(bytes::Bytes::new()),
        };
        let (Ok(body), Ok(details)) = (encode(message), details) else {
            tracing::error!(?message, "a message can't be written as JSON");
            return;
        };
        let envelope = Envelope {
            job: current.spec.id.clone(),
            epoch: current.job.epoch().0,
            body,
            details,
        };
        if let Some(peer) = self.peers.get_mut(&worker) {
            send(peer, coordinator_message::Kind::Envelope(envelope));
        }
    }

    fn details(
        &self,
        current: &Current,
        task: Option<TaskId>,
        sources: impl Iterator<Item = WorkerId>,
    ) -> Details {
        let spec = &current.spec;
        let split = task
            .filter(|task| task.stage == Stage::Map)
            .and_then(|task| spec.splits.get(task.index as usize).cloned());
        let addresses = sources.filter_map(|worker| {
            let address = self.addresses.get(&worker)?.clone();
            Some((format!("{:x}", worker.0), address))
        });
        Details {
            function: spec.request.function.clone(),
            maps: spec.plan.maps,
            reduces: spec.plan.reduces,
            options: spec.request.options,
            attempts_dir: current.attempts_dir.clone(),
            split,
            addresses: addresses.collect(),
        }
    }

    fn journal(&self, seq: u64, batch: Batch) {
        let Some(current) = &self.current else {
            return;
        };
        let (kept, inputs) = (self.kept.clone(), self.inputs.clone());
        let job = current.spec.id.clone();
        tokio::spawn(async move {
            let result = kept.append(&job, seq, &batch).await;
            let _gone = inputs.send(Input::Journaled { job, seq, result }).await;
        });
    }

    fn publish(&self, receipt: Receipt) {
        let Some(current) = &self.current else {
            return;
        };
        let inputs = self.inputs.clone();
        let job = current.spec.id.clone();
        let output = current.spec.request.output.clone();
        let history = current.history.path().to_path_buf();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = mapreduce_core::check_receipt(&receipt) {
                tracing::error!(error, "the receipt does not add up");
            }
            let result = publish::publish(&output, &job, &receipt);
            if let Err(error) = crate::timeline::draw(&history) {
                tracing::warn!("no timeline: {}", error.line());
            }
            let _gone = inputs.blocking_send(Input::Published { job, result });
        });
    }

    /// The file of an attempt that will never be a result.
    fn remove(&self, attempt: mapreduce_core::AttemptId, task: TaskId) {
        let Some(current) = &self.current else {
            return;
        };
        let name = format!("{}-{task}-{attempt}", current.spec.id);
        let path = current.attempts_dir.join(name);
        tokio::task::spawn_blocking(move || match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "cannot remove a file");
            }
            _ => {}
        });
    }

    async fn on_job_ended(&mut self, outcome: Outcome) -> Result<(), Error> {
        self.show();
        let Some(mut current) = self.current.take() else {
            return Ok(());
        };
        let words = match &outcome {
            Outcome::Succeeded => "succeeded".to_owned(),
            Outcome::Failed(error) => format!("failed: {error}"),
        };
        current.history.add(What::Ended(words));
        if let Err(error) = crate::timeline::draw(current.history.path()) {
            tracing::warn!("no timeline: {}", error.line());
        }
        if matches!(outcome, Outcome::Failed(_)) {
            let attempts = current.attempts_dir.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = std::fs::remove_dir_all(&attempts) {
                    tracing::warn!(%error, "files of attempts stay behind");
                }
            });
        }
        for peer in self.peers.values_mut() {
            peer.held.remove(&current.spec.id);
        }
        self.finish(&current.spec.id, outcome).await
    }

    async fn finish(&self, id: &str, outcome: Outcome) -> Result<(), Error> {
        let Some(sender) = self.jobs.get(id) else {
            return Ok(());
        };
        let mut status = sender.borrow().clone();
        status.summary.error = match &outcome {
            Outcome::Failed(error) => Some(error.to_string()),
            Outcome::Succeeded => None,
        };
        status.summary.state = State::Ended(outcome);
        self.kept.put_summary(&status.summary).await?;
        sender.send_replace(status);
        Ok(())
    }

    /// Publishes how the running job stands, to those who watch.
    fn show(&self) {
        let Some(current) = &self.current else {
            return;
        };
        let Some(sender) = self.jobs.get(&current.spec.id) else {
            return;
        };
        let status = Status {
            summary: current.spec.summary(State::Running),
            view: Some(current.job.view()),
            elapsed: current.since.elapsed(),
            input_bytes: current.spec.input_bytes(),
        };
        sender.send_replace(status);
    }
}

fn register(job: &mut Job, now: Instant, id: WorkerId, peer: &Peer, job_id: &str) {
    let held = peer.held.get(job_id).cloned().unwrap_or_default();
    let slots = peer.slots;
    let epoch = job.epoch();
    job.on_message(now, id, epoch, FromWorker::Register { slots, held });
    if peer.draining {
        job.on_message(now, id, epoch, FromWorker::Draining);
    }
}

/// Sends what there is room for: what is lost is sent again.
fn send(peer: &Peer, kind: coordinator_message::Kind) {
    let message = CoordinatorMessage { kind: Some(kind) };
    if peer.sender.try_send(Ok(message)).is_err() {
        tracing::debug!(worker = peer.name, "a message is dropped");
    }
}

fn replaced() -> Error {
    Error::new("another coordinator took over this job")
        .hint("nothing is lost: the other one carries on; stop this one")
}

/// A name for a job: sorts by time.
pub(crate) fn new_id() -> String {
    format!("j{:09x}{:03x}", wall_ms() / 1000, random() & 0xfff)
}
