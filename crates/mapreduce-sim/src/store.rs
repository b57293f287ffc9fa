//! The store and the output directory: they never fail, and notice what must not happen.

use std::collections::BTreeMap;

use mapreduce_core::{Answer, Ask, Batch, Epoch, Receipt, Record, Stage, Term};
use sim::{Context, Violation};
use stdx::{Instant, NodeId};

use crate::job::Counts;
use crate::message::Message;
use crate::scenario::Scenario;

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    scenario: Scenario,
    /// The leader's key: its version, what it holds, when that was written.
    leader: Option<(u64, Term, Instant)>,
    pub(crate) journal: Vec<Batch>,
    pub(crate) files: BTreeMap<String, Counts>,
    /// The receipt, and what the winners' files held, when the output came into being.
    pub(crate) published: Option<(Epoch, Receipt, Vec<Counts>)>,
    pub(crate) violation: Option<Violation>,
    /// Batches that arrived.
    pub(crate) appends: u64,
    /// The batch with this number is not written: its writer dies first.
    pub(crate) refuse: Option<u64>,
}

impl Store {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.clone(),
            leader: None,
            journal: Vec::new(),
            files: BTreeMap::new(),
            published: None,
            violation: None,
            appends: 0,
            refuse: None,
        }
    }

    pub(crate) fn on_message(
        &mut self,
        context: &mut Context<'_, Message>,
        from: NodeId,
        message: Message,
    ) {
        match message {
            Message::Lead { ask, question } => {
                let answer = self.on_leader(context.now, question);
                context.send(from, Message::LeadAnswer { ask, answer });
            }
            Message::Load { ask } => {
                let journal = self.journal.clone();
                context.send(from, Message::Loaded { ask, journal });
            }
            Message::Append { ask, seq, batch } => {
                self.appends += 1;
                if self.refuse == Some(self.appends) {
                    return;
                }
                let durable = self.append(seq, batch);
                context.send(from, Message::Appended { ask, durable });
            }
            Message::WriteFile { name, counts } => {
                self.files.insert(name.clone(), counts);
                context.send(from, Message::FileWritten { name });
            }
            Message::RemoveFile { name } => {
                self.files.remove(&name);
            }
            Message::Publish {
                ask,
                epoch,
                receipt,
            } => {
                let result = self.publish(epoch, *receipt);
                context.send(from, Message::Published { ask, result });
            }
            _ => {}
        }
    }

    fn on_leader(&mut self, now: Instant, question: Ask) -> Answer {
        let present = self.leader.as_ref().map(|(version, ..)| *version);
        match question {
            Ask::Read => {
                let found = self.leader.as_ref();
                Answer::Found(found.map(|(version, term, _)| (*version, term.clone())))
            }
            Ask::Write { term, expected } if expected == present => {
                self.check_patience(now, &term);
                let version = present.unwrap_or(0) + 1;
                self.leader = Some((version, term, now));
                Answer::Written(version)
            }
            Ask::Write { .. } => Answer::Conflict,
        }
    }

    /// Only a leader that was silent is replaced.
    fn check_patience(&mut self, now: Instant, term: &Term) {
        let Some((_, last, at)) = &self.leader else {
            return;
        };
        let silent = now.since(*at);
        // Clocks differ a little, and haste outlasts the faults.
        let times = self.scenario.leader_times(Instant::EPOCH);
        let patience = times.patience.mul_f64(0.99);
        if last.owner != term.owner && silent < patience {
            let detail = format!("it was replaced {silent:?} after it wrote");
            self.violate("a leader that lives is left alone", detail);
        }
    }

    /// Whether a coordinator has opened the journal with this epoch.
    pub(crate) fn has_opened(&self, epoch: Epoch) -> bool {
        let records = self.journal.iter().flat_map(|batch| &batch.records);
        let mut opened = records.filter_map(|record| match record {
            Record::Opened { epoch, .. } => Some(*epoch),
            _ => None,
        });
        opened.any(|known| known == epoch)
    }

    /// Put if absent; the same value again is the same put.
    fn append(&mut self, seq: u64, batch: Batch) -> bool {
        match self.journal.get(usize::try_from(seq).unwrap_or(usize::MAX)) {
            Some(present) => *present == batch,
            None if seq == self.journal.len() as u64 => {
                self.journal.push(batch);
                true
            }
            None => {
                let detail = format!("batch {seq} of {} was written", self.journal.len());
                self.violate("a journal without gaps", detail);
                false
            }
        }
    }

    fn publish(&mut self, epoch: Epoch, receipt: Receipt) -> Result<(), String> {
        self.check_durable(&receipt);
        if let Some((_, first, _)) = &self.published {
            let same = first.reduces == receipt.reduces;
            if !same {
                self.violate("one output", format!("epoch {} publishes another", epoch.0));
            }
            return if same {
                Ok(())
            } else {
                Err("there is another output".to_owned())
            };
        }
        let mut output = Vec::new();
        for reduce in &receipt.reduces {
            if let Some(counts) = self.files.get(&reduce.done.file) {
                output.push(counts.clone());
            } else {
                let file = &reduce.done.file;
                self.violate("winners' files exist", format!("{file} is not there"));
                output.push(Counts::new());
            }
        }
        self.published = Some((epoch, receipt, output));
        Ok(())
    }

    /// Every winner that is about to be published is the journal's.
    fn check_durable(&mut self, receipt: &Receipt) {
        let durable = |attempt| {
            self.journal.iter().flat_map(|b| &b.records).any(
                |record| matches!(record, Record::Committed { attempt: a, .. } if *a == attempt),
            )
        };
        let maps = receipt.maps.iter().map(|task| task.attempt);
        let winners = maps.chain(receipt.reduces.iter().map(|task| task.attempt));
        let missing: Vec<_> = winners.filter(|attempt| !durable(*attempt)).collect();
        if let Some(attempt) = missing.first() {
            let detail = format!("{attempt} is published and not in the journal");
            self.violate("commits are durable before they are seen", detail);
        }
    }

    fn violate(&mut self, property: &'static str, detail: String) {
        self.violation
            .get_or_insert_with(|| Violation::new(property, detail));
    }

    /// No task has two results in the journal, unless the first one's output was lost.
    pub(crate) fn check_journal(&self) -> Result<(), Violation> {
        let mut winners = BTreeMap::new();
        for record in self.journal.iter().flat_map(|batch| &batch.records) {
            match record {
                Record::Committed { task, attempt, .. } => {
                    if let Some(first) = winners.insert(*task, *attempt) {
                        let detail = format!("{task}: {first}, then {attempt}");
                        return Err(Violation::new("one commit for each task", detail));
                    }
                }
                Record::OutputLost { map, .. } => {
                    winners.retain(|task, _| task.stage != Stage::Map || task.index != *map);
                }
                _ => {}
            }
        }
        Ok(())
    }
}
