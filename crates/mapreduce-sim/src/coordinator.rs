//! A coordinator: the core, driven by messages.

use core::time::Duration;
use std::collections::BTreeMap;

use mapreduce_core::{
    Action, Batch, Epoch, FromWorker, Heard, Job, Outcome, Plan, Receipt, Taken, WorkerId,
};
use sim::Context;
use stdx::{Instant, NodeId};

use crate::message::Message;
use crate::scenario::{STORE, Scenario};

/// What the store was asked and didn't answer for so long is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(700);
/// One that was replaced tries to take over again after this.
const STAND_BY: Duration = Duration::from_secs(60);

/// A coordinator.
#[derive(Debug)]
pub(crate) struct Coordinator {
    scenario: Scenario,
    owner: u64,
    pub(crate) job: Option<Job>,
    pub(crate) outcome: Option<Outcome>,
    nodes: BTreeMap<WorkerId, NodeId>,
    writing: Option<(u64, Batch)>,
    publishing: Option<Box<Receipt>>,
    asked: Instant,
    fenced: Option<Instant>,
    pub(crate) wakes: Instant,
}

impl Coordinator {
    pub(crate) fn new(scenario: &Scenario, context: &mut Context<'_, Message>) -> Self {
        context.send(STORE, Message::Load);
        Self {
            scenario: scenario.clone(),
            owner: context.prng.next_u64(),
            job: None,
            outcome: None,
            nodes: BTreeMap::new(),
            writing: None,
            publishing: None,
            asked: context.now,
            fenced: None,
            wakes: context.now.after(ASK_AGAIN),
        }
    }

    pub(crate) fn on_message(
        &mut self,
        context: &mut Context<'_, Message>,
        from: NodeId,
        message: Message,
    ) {
        let now = context.now;
        match message {
            Message::Loaded(journal) if self.job.is_none() => {
                let plan = Plan {
                    maps: u32::try_from(self.scenario.input.splits.len()).unwrap_or(0),
                    reduces: self.scenario.input.reduces,
                    seed: self.scenario.seed,
                };
                let config = self.scenario.config.clone();
                self.job = Some(Job::open(config, plan, &journal, self.owner, now));
            }
            Message::Appended { seq, durable } => self.on_appended(now, seq, durable),
            Message::Published { epoch, result } => {
                if let Some(job) = &mut self.job
                    && job.epoch() == epoch
                    && self.publishing.take().is_some()
                {
                    job.on_published(now, result);
                }
            }
            Message::Say {
                worker,
                epoch,
                body,
            } => {
                let registers = matches!(body, FromWorker::Register { .. });
                let beats = matches!(body, FromWorker::Status { .. });
                let Some(job) = &mut self.job else {
                    return;
                };
                let ours = job.epoch();
                match job.on_message(now, worker, epoch, body) {
                    Heard::Yes if registers => {
                        self.nodes.insert(worker, from);
                        context.send(from, Message::Reign(ours));
                    }
                    // A sign of life for a sign of life.
                    Heard::Yes if beats => context.send(from, Message::Reign(ours)),
                    Heard::Yes => {}
                    Heard::Stale => context.send(from, Message::RegisterAgain(Epoch(0))),
                    Heard::Unregistered => context.send(from, Message::RegisterAgain(ours)),
                }
            }
            _ => {}
        }
        self.act(context);
    }

    fn on_appended(&mut self, now: Instant, seq: u64, durable: bool) {
        let Some(job) = &mut self.job else {
            return;
        };
        if self
            .writing
            .take_if(|(writing, _)| *writing == seq)
            .is_none()
        {
            return;
        }
        if durable {
            job.on_journaled(now, seq);
        } else if job.on_journal_taken(now, seq) == Taken::RecoverAgain {
            self.job = None;
            self.asked = Instant::EPOCH;
        }
    }

    /// The connection of a worker broke, and it was noticed.
    pub(crate) fn on_disconnected(&mut self, context: &mut Context<'_, Message>, node: NodeId) {
        let gone: Vec<WorkerId> = self
            .nodes
            .iter()
            .filter(|(_, at)| **at == node)
            .map(|(worker, _)| *worker)
            .collect();
        if let Some(job) = &mut self.job {
            for worker in gone {
                job.on_disconnected(context.now, worker);
            }
        }
        self.act(context);
    }

    pub(crate) fn on_timeout(&mut self, context: &mut Context<'_, Message>) {
        let now = context.now;
        let fenced = self.job.as_ref().is_some_and(Job::is_fenced);
        if fenced {
            // Its memory of the job is worth nothing; its successor may die, though.
            let since = *self.fenced.get_or_insert(now);
            if since.after(STAND_BY) <= now {
                self.fenced = None;
                self.job = None;
                self.writing = None;
                self.publishing = None;
                self.asked = now;
                self.owner = context.prng.next_u64();
                context.send(STORE, Message::Load);
            }
        } else if let Some(job) = &mut self.job {
            job.on_timeout(now);
        }
        if self.asked.after(ASK_AGAIN) <= now && !fenced {
            self.asked = now;
            self.ask_again(context);
        }
        self.act(context);
        self.wakes = now.after(Duration::from_millis(100));
    }

    fn ask_again(&self, context: &mut Context<'_, Message>) {
        if self.job.is_none() {
            context.send(STORE, Message::Load);
        }
        if let Some((seq, batch)) = &self.writing {
            let (seq, batch) = (*seq, batch.clone());
            context.send(STORE, Message::Append { seq, batch });
        }
        if let (Some(receipt), Some(job)) = (&self.publishing, &self.job) {
            let (epoch, receipt) = (job.epoch(), receipt.clone());
            context.send(STORE, Message::Publish { epoch, receipt });
        }
    }

    fn act(&mut self, context: &mut Context<'_, Message>) {
        let Some(job) = &mut self.job else {
            return;
        };
        let epoch = job.epoch();
        while let Some(action) = job.poll_action() {
            match action {
                Action::Send { worker, message } => {
                    if let Some(node) = self.nodes.get(&worker) {
                        let order = Message::Order {
                            epoch,
                            body: message,
                            nodes: self.nodes.clone(),
                        };
                        context.send(*node, order);
                    }
                }
                Action::Journal { seq, batch } => {
                    self.asked = context.now;
                    self.writing = Some((seq, batch.clone()));
                    context.send(STORE, Message::Append { seq, batch });
                }
                Action::Publish(receipt) => {
                    self.asked = context.now;
                    self.publishing = Some(receipt.clone());
                    context.send(STORE, Message::Publish { epoch, receipt });
                }
                Action::Remove { attempt, task } => {
                    let name = file_name(task, attempt);
                    context.send(STORE, Message::RemoveFile { name });
                }
                Action::Tell(event) => context.trace("tell", &[], || format!("{event:?}")),
                Action::Ended(outcome) => self.outcome = Some(outcome),
            }
        }
    }
}

pub(crate) fn file_name(
    task: mapreduce_core::TaskId,
    attempt: mapreduce_core::AttemptId,
) -> String {
    format!("{task}-{attempt}")
}
