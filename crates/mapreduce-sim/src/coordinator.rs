//! A coordinator: the core, driven by messages.

use core::time::Duration;
use std::collections::BTreeMap;

use mapreduce_core::{
    Action, Answer, Batch, FromWorker, Heard, Job, Leadership, Outcome, Plan, Receipt, Standing,
    Taken, WorkerId,
};
use sim::Context;
use stdx::{Instant, NodeId};

use crate::message::Message;
use crate::scenario::{STORE, Scenario};

/// What the store was asked and didn't answer for so long is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(700);
const TICK: Duration = Duration::from_millis(100);

/// A coordinator. Questions to the store are numbered: an answer to an earlier one, or to the
/// process that ran here before, is no answer.
#[derive(Debug)]
pub(crate) struct Coordinator {
    scenario: Scenario,
    owner: u64,
    leadership: Leadership,
    /// Whether that was made while coordinators were hasty.
    hasty: bool,
    /// The question about the leadership that is on its way.
    leading: Option<(u64, Instant)>,
    pub(crate) job: Option<Job>,
    pub(crate) outcome: Option<Outcome>,
    nodes: BTreeMap<WorkerId, NodeId>,
    loading: Option<u64>,
    writing: Option<(u64, u64, Batch)>,
    publishing: Option<(u64, Box<Receipt>)>,
    asked: Instant,
    pub(crate) wakes: Instant,
}

impl Coordinator {
    pub(crate) fn new(scenario: &Scenario, context: &mut Context<'_, Message>) -> Self {
        let owner = context.prng.next_u64();
        let mut coordinator = Self {
            scenario: scenario.clone(),
            owner,
            leadership: leadership(scenario, owner, context),
            hasty: scenario.is_hasty(context.reference()),
            leading: None,
            job: None,
            outcome: None,
            nodes: BTreeMap::new(),
            loading: None,
            writing: None,
            publishing: None,
            asked: context.now,
            wakes: context.now,
        };
        coordinator.lead(context);
        coordinator
    }

    pub(crate) fn on_message(
        &mut self,
        context: &mut Context<'_, Message>,
        from: NodeId,
        message: Message,
    ) {
        let now = context.now;
        match message {
            Message::LeadAnswer { ask, answer } => {
                let ours = self.leading.take_if(|(asked, _)| *asked == ask);
                if ours.is_some() {
                    self.leadership.on_answer(now, answer);
                }
            }
            Message::Loaded { ask, journal } => {
                let ours = self.loading.take_if(|asked| *asked == ask);
                if ours.is_some() {
                    let plan = Plan {
                        maps: u32::try_from(self.scenario.input.splits.len()).unwrap_or(0),
                        reduces: self.scenario.input.reduces,
                        seed: self.scenario.seed,
                    };
                    let config = self.scenario.config.clone();
                    self.job = Some(Job::open(config, plan, &journal, self.owner, now));
                }
            }
            Message::Appended { ask, durable } => self.on_appended(now, ask, durable),
            Message::Published { ask, result } => {
                let ours = self.publishing.take_if(|(asked, _)| *asked == ask);
                if let (Some(_), Some(job)) = (ours, &mut self.job) {
                    job.on_published(now, result);
                }
            }
            Message::Say {
                worker,
                epoch,
                body,
            } => {
                let Some(job) = &mut self.job else {
                    return;
                };
                let beats = matches!(body, FromWorker::Status { .. });
                if matches!(body, FromWorker::Register { .. }) {
                    self.nodes.insert(worker, from);
                }
                let ours = job.epoch();
                match job.on_message(now, worker, epoch, body) {
                    // A sign of life for a sign of life.
                    Heard::Yes if beats => context.send(from, Message::Alive(ours)),
                    Heard::Yes | Heard::Early => {}
                    Heard::Stale if job.is_fenced() => {}
                    Heard::Stale | Heard::Unregistered => {
                        context.send(from, Message::RegisterAgain(ours));
                    }
                }
            }
            _ => {}
        }
        self.lead(context);
        self.act(context);
    }

    fn on_appended(&mut self, now: Instant, ask: u64, durable: bool) {
        let Some(job) = &mut self.job else {
            return;
        };
        let Some((_, seq, _)) = self.writing.take_if(|(asked, ..)| *asked == ask) else {
            return;
        };
        if durable {
            job.on_journaled(now, seq);
        } else if job.on_journal_taken(now, seq) == Taken::RecoverAgain {
            self.job = None;
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
        let late = |asked: &Instant| asked.after(ASK_AGAIN) <= now;
        if self.leading.take_if(|(_, asked)| late(asked)).is_some() {
            self.leadership.on_answer(now, Answer::Failed);
        }
        self.lead(context);
        if let Some(job) = &mut self.job {
            job.on_timeout(now);
        }
        if late(&self.asked) {
            self.asked = now;
            self.ask_again(context);
        }
        self.act(context);
        let tick = now.after(TICK);
        let soon = self.leadership.poll_timeout().unwrap_or(tick);
        self.wakes = tick.min(soon.max(now.after(Duration::from_millis(1))));
    }

    /// Leads, waits for its turn, or begins again as another one.
    fn lead(&mut self, context: &mut Context<'_, Message>) {
        // The faults end at a time of the world; clocks differ.
        let (now, world) = (context.now, context.reference());
        if self.job.as_ref().is_some_and(Job::is_fenced) {
            self.leadership.resign();
        }
        let calms = self.hasty && !self.scenario.is_hasty(world);
        let waits = self.leadership.standing() == Standing::Waiting;
        if self.leadership.standing() == Standing::Deposed || waits && calms {
            // Its memory of the job is worth nothing; its successor may die, though.
            context.trace("deposed", &[], String::new);
            self.owner = context.prng.next_u64();
            self.leadership = leadership(&self.scenario, self.owner, context);
            self.hasty = self.scenario.is_hasty(world);
            self.leading = None;
        }
        let leads = self.leadership.standing() == Standing::Leads;
        let fenced = self.job.as_ref().is_some_and(Job::is_fenced);
        if !leads && (fenced || !self.scenario.is_deaf(world)) {
            self.job = None;
            self.loading = None;
            self.writing = None;
            self.publishing = None;
        }
        if let Some(question) = self.leadership.poll_ask(now) {
            let ask = context.prng.next_u64();
            self.leading = Some((ask, now));
            context.send(STORE, Message::Lead { ask, question });
        }
        let leads = self.leadership.standing() == Standing::Leads;
        if leads && self.job.is_none() && self.loading.is_none() {
            let ask = context.prng.next_u64();
            self.asked = now;
            self.loading = Some(ask);
            context.send(STORE, Message::Load { ask });
        }
    }

    fn ask_again(&self, context: &mut Context<'_, Message>) {
        if let Some(ask) = self.loading {
            context.send(STORE, Message::Load { ask });
        }
        if let Some((ask, seq, batch)) = self.writing.clone() {
            context.send(STORE, Message::Append { ask, seq, batch });
        }
        if let (Some((ask, receipt)), Some(job)) = (self.publishing.clone(), &self.job) {
            let epoch = job.epoch();
            context.send(
                STORE,
                Message::Publish {
                    ask,
                    epoch,
                    receipt,
                },
            );
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
                    let ask = context.prng.next_u64();
                    self.asked = context.now;
                    self.writing = Some((ask, seq, batch.clone()));
                    context.send(STORE, Message::Append { ask, seq, batch });
                }
                Action::Publish(receipt) => {
                    let ask = context.prng.next_u64();
                    self.asked = context.now;
                    self.publishing = Some((ask, receipt.clone()));
                    context.send(
                        STORE,
                        Message::Publish {
                            ask,
                            epoch,
                            receipt,
                        },
                    );
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

fn leadership(scenario: &Scenario, owner: u64, context: &Context<'_, Message>) -> Leadership {
    let times = scenario.leader_times(context.reference());
    Leadership::new(owner, String::new(), times, context.now)
}

pub(crate) fn file_name(
    task: mapreduce_core::TaskId,
    attempt: mapreduce_core::AttemptId,
) -> String {
    format!("{task}-{attempt}")
}
