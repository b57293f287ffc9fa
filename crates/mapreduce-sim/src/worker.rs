//! A worker: executes attempts in virtual time, keeps map output in memory.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use mapreduce_core::{
    Assignment, AttemptId, Epoch, Failure, FromWorker, Held, HeldState, Report, Source, Stage,
    TaskId, ToWorker, WorkerId,
};
use sim::Context;
use stdx::{Instant, NodeId};

use crate::coordinator::file_name;
use crate::job::{self, Counts, Word};
use crate::message::Message;
use crate::scenario::{COORDINATORS, STORE, Scenario};

const HEARTBEAT: Duration = Duration::from_millis(300);
const FETCH_AGAIN: Duration = Duration::from_millis(400);
const REPORT_AGAIN: Duration = Duration::from_millis(800);
/// A coordinator that is silent for so long is given up for the other.
const PATIENCE: Duration = Duration::from_secs(3);

/// An execution.
#[derive(Debug)]
struct Running {
    task: TaskId,
    skip: Vec<u64>,
    started: Instant,
    /// When the work is done; reduces begin when they have everything.
    ends: Option<Instant>,
    sources: BTreeMap<u32, Source>,
    parts: BTreeMap<u32, Vec<Word>>,
    fetch_at: Instant,
    /// What is written to the output directory, until that is acknowledged.
    writing: Option<(Report, Counts)>,
}

/// A report that waits for its acknowledgement.
#[derive(Debug)]
struct Unacked {
    task: TaskId,
    message: FromWorker,
    again: Instant,
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    scenario: Scenario,
    id: WorkerId,
    slow: u32,
    coordinator: usize,
    heard: Instant,
    registered: bool,
    pub(crate) epoch: Epoch,
    nodes: BTreeMap<WorkerId, NodeId>,
    running: BTreeMap<AttemptId, Running>,
    unacked: BTreeMap<AttemptId, Unacked>,
    outputs: BTreeMap<AttemptId, (TaskId, Vec<Vec<Word>>)>,
    done: BTreeSet<AttemptId>,
    beat: Instant,
}

impl Worker {
    pub(crate) fn new(scenario: &Scenario, at: u32, context: &mut Context<'_, Message>) -> Self {
        let slow = scenario.slowness.get(at as usize).copied().unwrap_or(1);
        Self {
            scenario: scenario.clone(),
            id: WorkerId(context.prng.next_u64()),
            slow,
            coordinator: 0,
            heard: context.now,
            registered: false,
            epoch: Epoch(0),
            nodes: BTreeMap::new(),
            running: BTreeMap::new(),
            unacked: BTreeMap::new(),
            outputs: BTreeMap::new(),
            done: BTreeSet::new(),
            beat: context.now,
        }
    }

    pub(crate) fn timeout(&self) -> Option<Instant> {
        let ends = self.running.values().filter_map(|running| running.ends);
        let fetches = self.running.values().map(|running| running.fetch_at);
        let soonest = ends.chain(fetches).chain([self.beat]).min();
        soonest.map(|at| at.max(Instant::from_nanos(1)))
    }

    pub(crate) fn on_message(
        &mut self,
        context: &mut Context<'_, Message>,
        from: NodeId,
        message: Message,
    ) {
        match message {
            Message::Alive(epoch) if epoch >= self.epoch => self.follow(context, from, epoch),
            Message::RegisterAgain(epoch) if epoch >= self.epoch => self.registered = false,
            Message::Order { epoch, body, nodes } if epoch >= self.epoch => {
                self.follow(context, from, epoch);
                self.nodes.extend(nodes);
                self.obey(context, body);
            }
            Message::Fetch {
                reduce,
                map,
                source,
                partition,
            } => {
                let words = self.part(context, source, partition);
                let reply = Message::Fetched {
                    reduce,
                    map,
                    source,
                    words,
                };
                context.send(from, reply);
            }
            Message::Fetched {
                reduce,
                map,
                source,
                words,
            } => self.on_fetched(context, reduce, map, source, words),
            Message::FileWritten { name } => self.on_written(context.now, &name),
            _ => {}
        }
    }

    fn follow(&mut self, context: &Context<'_, Message>, from: NodeId, epoch: Epoch) {
        self.epoch = epoch;
        self.heard = context.now;
        if let Some(at) = COORDINATORS.iter().position(|node| *node == from) {
            if at != self.coordinator {
                self.registered = false;
            }
            self.coordinator = at;
        }
    }

    fn part(
        &self,
        context: &mut Context<'_, Message>,
        source: AttemptId,
        partition: u32,
    ) -> Option<Vec<Word>> {
        let (_, parts) = self.outputs.get(&source)?;
        let mut words = parts.get(partition as usize)?.clone();
        if context.prng.below(1000) < self.scenario.alter_per_mille {
            words.push(7);
        }
        Some(words)
    }

    fn obey(&mut self, context: &mut Context<'_, Message>, order: ToWorker) {
        match order {
            ToWorker::Assign(assignment) => self.start(context, &assignment),
            ToWorker::Cancel { attempt } | ToWorker::Discard { attempt } => {
                self.running.remove(&attempt);
                self.unacked.remove(&attempt);
                self.outputs.remove(&attempt);
                self.done.insert(attempt);
            }
            ToWorker::Accepted { attempt } => {
                self.unacked.remove(&attempt);
            }
            ToWorker::Moved { attempt, source } => {
                if let Some(running) = self.running.get_mut(&attempt) {
                    running.sources.insert(source.map, source);
                    running.fetch_at = running.fetch_at.min(context.now);
                }
            }
            ToWorker::Welcome => self.registered = true,
            ToWorker::Released => {}
            ToWorker::Close => {
                self.running.clear();
                self.unacked.clear();
                self.outputs.clear();
            }
        }
    }

    fn start(&mut self, context: &mut Context<'_, Message>, assignment: &Assignment) {
        let Assignment {
            attempt,
            task,
            skip,
            sources,
        } = assignment;
        let known = self.running.contains_key(attempt)
            || self.unacked.contains_key(attempt)
            || self.outputs.contains_key(attempt);
        if known {
            return;
        }
        if !self.done.insert(*attempt) {
            let message = "over".to_owned();
            return self.fail(context.now, *attempt, *task, Failure::Worker { message });
        }
        let now = context.now;
        let ends = (task.stage == Stage::Map).then(|| now.after(self.span(context)));
        let running = Running {
            task: *task,
            skip: skip.clone(),
            started: now,
            ends,
            sources: sources.iter().map(|source| (source.map, *source)).collect(),
            parts: BTreeMap::new(),
            fetch_at: if ends.is_some() { far() } else { now },
            writing: None,
        };
        self.running.insert(*attempt, running);
    }

    fn span(&self, context: &mut Context<'_, Message>) -> Duration {
        let millis = u64::try_from(self.scenario.task_time.as_millis()).unwrap_or(1_000);
        let millis = millis / 2 + context.prng.below(millis + 1);
        Duration::from_millis(millis * u64::from(self.slow))
    }

    pub(crate) fn on_timeout(&mut self, context: &mut Context<'_, Message>) {
        let now = context.now;
        let due: Vec<AttemptId> = self
            .running
            .iter()
            .filter(|(_, r)| r.ends.is_some_and(|ends| ends <= now))
            .map(|(id, _)| *id)
            .collect();
        for attempt in due {
            self.finish(context, attempt);
        }
        self.fetch(context);
        if self.beat <= now {
            self.beat = now.after(HEARTBEAT);
            self.heartbeat(context);
        }
    }

    /// The work of an attempt is done.
    fn finish(&mut self, context: &mut Context<'_, Message>, attempt: AttemptId) {
        let now = context.now;
        let Some(running) = self.running.get_mut(&attempt) else {
            return;
        };
        running.ends = None;
        let task = running.task;
        if context.prng.below(1000) < self.scenario.fail_per_mille {
            self.running.remove(&attempt);
            let message = "bad luck".to_owned();
            return self.fail(now, attempt, task, Failure::Worker { message });
        }
        match task.stage {
            Stage::Map => {
                let salt = u32::try_from(context.prng.below(1_000)).unwrap_or(0);
                let result = job::map(&self.scenario.input, task.index, &running.skip, salt);
                self.running.remove(&attempt);
                match result {
                    Ok((done, parts)) => {
                        self.outputs.insert(attempt, (task, parts));
                        self.report(now, attempt, task, Report::Map(done));
                    }
                    Err(record) => {
                        let record = Some(record);
                        let message = "bad record".to_owned();
                        self.fail(now, attempt, task, Failure::User { record, message });
                    }
                }
            }
            Stage::Reduce => {
                let name = file_name(task, attempt);
                let (done, counts) = job::reduce(&running.parts, name);
                running.writing = Some((Report::Reduce(done), counts));
                running.fetch_at = now;
            }
        }
    }

    fn on_written(&mut self, now: Instant, name: &str) {
        let found = self
            .running
            .iter()
            .find(|(id, running)| file_name(running.task, **id) == name)
            .map(|(id, _)| *id);
        let Some(attempt) = found else {
            return;
        };
        if let Some(running) = self.running.get_mut(&attempt)
            && let Some((report, _)) = running.writing.take()
        {
            let task = running.task;
            self.running.remove(&attempt);
            self.report(now, attempt, task, report);
        }
    }

    fn report(&mut self, now: Instant, attempt: AttemptId, task: TaskId, report: Report) {
        let message = FromWorker::Finished { attempt, report };
        self.unacked.insert(
            attempt,
            Unacked {
                task,
                message,
                again: now,
            },
        );
        self.beat = now;
    }

    fn fail(&mut self, now: Instant, attempt: AttemptId, task: TaskId, failure: Failure) {
        let message = FromWorker::Failed { attempt, failure };
        self.unacked.insert(
            attempt,
            Unacked {
                task,
                message,
                again: now,
            },
        );
        self.beat = now;
    }

    /// Asks for what reduces miss, and writes what they have made.
    fn fetch(&mut self, context: &mut Context<'_, Message>) {
        let now = context.now;
        let maps = self.scenario.input.splits.len();
        let mut complete = Vec::new();
        let mut complaints = Vec::new();
        for (id, running) in &mut self.running {
            if running.fetch_at > now {
                continue;
            }
            running.fetch_at = now.after(FETCH_AGAIN);
            if let Some((_, counts)) = &running.writing {
                let name = file_name(running.task, *id);
                let counts = counts.clone();
                context.send(STORE, Message::WriteFile { name, counts });
            } else if running.parts.len() == maps && running.ends.is_none() {
                complete.push(*id);
            }
            for (map, source) in &running.sources {
                if running.parts.contains_key(map) || running.writing.is_some() {
                    continue;
                }
                let fetch = Message::Fetch {
                    reduce: *id,
                    map: *map,
                    source: source.attempt,
                    partition: running.task.index,
                };
                if let Some(node) = self.nodes.get(&source.worker) {
                    context.send(*node, fetch);
                }
                // Nothing for long: the coordinator should know.
                if now.since(running.started) > Duration::from_secs(2) {
                    complaints.push(FromWorker::FetchFailed {
                        attempt: *id,
                        map: *map,
                        source: source.attempt,
                    });
                }
            }
        }
        for id in complete {
            let span = self.span(context);
            if let Some(running) = self.running.get_mut(&id) {
                running.ends = Some(now.after(span));
                running.fetch_at = far();
            }
        }
        for complaint in complaints {
            self.say(context, complaint);
        }
    }

    fn on_fetched(
        &mut self,
        context: &mut Context<'_, Message>,
        reduce: AttemptId,
        map: u32,
        source: AttemptId,
        words: Option<Vec<Word>>,
    ) {
        let Some(running) = self.running.get_mut(&reduce) else {
            return;
        };
        let asked = running
            .sources
            .get(&map)
            .is_some_and(|s| s.attempt == source);
        if running.writing.is_some() || running.ends.is_some() || !asked {
            return;
        }
        match words {
            Some(words) => {
                running.parts.insert(map, words);
                if running.parts.len() == self.scenario.input.splits.len() {
                    running.fetch_at = context.now;
                }
            }
            None => self.say(
                context,
                FromWorker::FetchFailed {
                    attempt: reduce,
                    map,
                    source,
                },
            ),
        }
    }

    fn heartbeat(&mut self, context: &mut Context<'_, Message>) {
        let now = context.now;
        if now.since(self.heard) > PATIENCE {
            self.heard = now;
            self.coordinator = 1 - self.coordinator;
            self.registered = false;
        }
        if !self.registered {
            let slots = self.scenario.slots;
            let held = self.held();
            return self.say(context, FromWorker::Register { slots, held });
        }
        let mut running: Vec<(AttemptId, f64)> = Vec::new();
        for (id, attempt) in &self.running {
            running.push((*id, progress(attempt, now)));
        }
        running.extend(self.unacked.keys().map(|id| (*id, 1.0)));
        self.say(context, FromWorker::Status { running });
        let mut due = Vec::new();
        for unacked in self.unacked.values_mut() {
            if unacked.again <= now {
                unacked.again = now.after(REPORT_AGAIN);
                due.push(unacked.message.clone());
            }
        }
        for message in due {
            self.say(context, message);
        }
    }

    fn held(&self) -> Vec<Held> {
        let held = |attempt: &AttemptId, task: TaskId, state| Held {
            attempt: *attempt,
            task,
            state,
        };
        let running = self.running.iter();
        let running = running.map(|(id, r)| held(id, r.task, HeldState::Running));
        let unacked = self.unacked.iter();
        let unacked = unacked.map(|(id, u)| held(id, u.task, HeldState::Running));
        let outputs = self.outputs.iter();
        let outputs = outputs
            .filter(|(id, _)| !self.unacked.contains_key(id))
            .map(|(id, (task, _))| held(id, *task, HeldState::Output));
        running.chain(unacked).chain(outputs).collect()
    }

    fn say(&self, context: &mut Context<'_, Message>, body: FromWorker) {
        let message = Message::Say {
            worker: self.id,
            epoch: self.epoch,
            body,
        };
        context.send(COORDINATORS[self.coordinator], message);
    }
}

fn progress(running: &Running, now: Instant) -> f64 {
    running.ends.map_or(0.0, |ends| {
        let whole = ends.since(running.started).as_secs_f64().max(0.001);
        (now.since(running.started).as_secs_f64() / whole).clamp(0.0, 1.0)
    })
}

fn far() -> Instant {
    Instant::from_nanos(u64::MAX)
}
