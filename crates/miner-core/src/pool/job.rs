//! A job: what is left, what is under way, what is done and thanks to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use miner_kernels::{Best, Problem, Puzzle};
use stdx::Instant;

use crate::config::Config;
use crate::limits::RECORD_BYTES_MAX;
use crate::message::Progress;
use crate::nonces::{NonceSet, Nonces};
use crate::planted::planted;
use crate::pool::{ClientId, JobId, RangeId, WorkerId};
use crate::record::JobRecord;

/// Who waits for a job.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owner {
    /// A client that is connected.
    Client(ClientId),
    /// Nobody: the client is gone, or it was told. The job is kept for a while.
    Away { until: Instant },
    /// A client of an earlier life of the server, which may come back. The job is worked on.
    Restored { until: Instant },
}

/// What was done, by one worker or by those that are gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credit {
    pub(crate) done: NonceSet,
    /// The best of `done`.
    pub(crate) best: Option<Best>,
}

impl Credit {
    pub(crate) fn add(&mut self, nonces: Nonces, best: Best) {
        self.done.insert(nonces);
        self.best = self.best.into_iter().chain([best]).min();
    }
}

/// A part of a job in the hands of one worker, or of more if the first is late.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) nonces: Nonces,
    /// Never empty.
    pub(crate) holders: Vec<RangeId>,
}

/// Hashes of messages that a nonce costs: a header is hashed twice.
pub(crate) const fn weight(problem: Problem) -> u128 {
    match problem {
        Problem::Cmu => 1,
        Problem::Bitcoin => 2,
    }
}

/// A job.
///
/// Invariant: `todo`, `chunks`, `held`, `credits` and `settled` are a partition of `nonces`.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) message: Arc<str>,
    pub(crate) puzzle: Arc<Puzzle>,
    pub(crate) nonces: Nonces,
    pub(crate) key: Option<String>,
    pub(crate) owner: Owner,
    pub(crate) arrived: Instant,
    /// Nobody has it.
    pub(crate) todo: NonceSet,
    /// Under way, by a number that is never used again within the job.
    pub(crate) chunks: BTreeMap<u64, Chunk>,
    pub(crate) next_chunk: u64,
    /// Claimed, and waiting for a check.
    pub(crate) held: NonceSet,
    /// Done by workers that are here.
    pub(crate) credits: BTreeMap<WorkerId, Credit>,
    /// Done by workers that left in good standing.
    pub(crate) settled: Credit,
    pub(crate) answer: Option<Best>,
    pub(crate) progress: Progress,
    /// When the client is told next.
    pub(crate) progress_at: Instant,
    /// Whether the saved record is behind.
    pub(crate) is_dirty: bool,
    pub(crate) saved: Option<Instant>,
}

impl Job {
    pub(crate) fn new(
        now: Instant,
        message: &str,
        puzzle: Puzzle,
        nonces: Nonces,
        owner: Owner,
    ) -> Self {
        Self {
            message: Arc::from(message),
            puzzle: Arc::new(puzzle),
            nonces,
            key: None,
            owner,
            arrived: now,
            todo: [nonces].into_iter().collect(),
            chunks: BTreeMap::new(),
            next_chunk: 0,
            held: NonceSet::default(),
            credits: BTreeMap::new(),
            settled: Credit::default(),
            answer: None,
            progress: Progress::Unwanted,
            progress_at: now,
            is_dirty: false,
            saved: None,
        }
    }

    /// Whether ranges of it may be handed out.
    pub(crate) fn is_active(&self) -> bool {
        self.answer.is_none() && !matches!(self.owner, Owner::Away { .. })
    }

    pub(crate) fn is_waited_for_by(&self, client: ClientId) -> bool {
        self.owner == Owner::Client(client) && self.answer.is_none()
    }

    /// Whether all is done and checked.
    pub(crate) fn is_complete(&self) -> bool {
        self.todo.is_empty() && self.chunks.is_empty() && self.held.is_empty()
    }

    /// Hashes of messages that one of its nonces costs.
    pub(crate) fn weight(&self) -> u128 {
        weight(self.puzzle.problem())
    }

    /// Nonces that are not done.
    pub(crate) fn left(&self) -> u128 {
        let under_way = self.chunks.values().map(|chunk| chunk.nonces.count());
        self.todo.count() + under_way.sum::<u128>()
    }

    pub(crate) fn done(&self) -> u128 {
        self.nonces.count().saturating_sub(self.left())
    }

    pub(crate) fn best(&self) -> Option<Best> {
        let credits = self.credits.values().filter_map(|credit| credit.best);
        credits.chain(self.settled.best).min()
    }

    /// A worker leaves in good standing.
    pub(crate) fn settle(&mut self, worker: WorkerId) {
        if let Some(credit) = self.credits.remove(&worker) {
            self.settled.done.absorb(&credit.done);
            self.settled.best = self.settled.best.into_iter().chain(credit.best).min();
        }
    }

    /// When it is dropped if its client doesn't come.
    pub(crate) const fn expires(&self) -> Option<Instant> {
        match self.owner {
            Owner::Client(_) => None,
            Owner::Away { until } | Owner::Restored { until } => Some(until),
        }
    }

    pub(crate) fn next_progress(&self) -> Option<Instant> {
        let wanted = self.progress == Progress::Wanted && self.answer.is_none();
        (wanted && matches!(self.owner, Owner::Client(_))).then_some(self.progress_at)
    }

    pub(crate) fn save_at(&self, config: &Config) -> Instant {
        self.saved
            .map_or(self.arrived, |saved| saved.after(config.save_interval))
    }

    /// What to keep of it, if it has a key. What is under way counts as not done.
    pub(crate) fn record(&self, config: &Config) -> Option<JobRecord> {
        let mut todo = self.todo.clone();
        for chunk in self.chunks.values() {
            if !planted!(config, OutstandingSavedAsDone) {
                todo.insert(chunk.nonces);
            }
        }
        todo.absorb(&self.held);
        let record = JobRecord {
            key: self.key.clone()?,
            problem: self.puzzle.problem(),
            message: self.message.to_string(),
            nonces: self.nonces,
            todo: todo.ranges().collect(),
            best: self.answer.or_else(|| self.best()),
        };
        // Shredded into more parts than a record may have: the older record stays good.
        (record.todo.len() < RECORD_BYTES_MAX / 64).then_some(record)
    }

    pub(crate) fn check_invariants(&self, id: JobId) {
        let chunks = self.chunks.values().map(|chunk| chunk.nonces);
        let mut all: NonceSet = chunks.collect();
        all.absorb(&self.todo);
        all.absorb(&self.held);
        all.absorb(&self.settled.done);
        for credit in self.credits.values() {
            all.absorb(&credit.done);
            assert_eq!(
                credit.best.is_none(),
                credit.done.is_empty(),
                "{id}: a best"
            );
        }
        let all: Vec<Nonces> = all.ranges().collect();
        assert_eq!(all, [self.nonces], "{id}: its parts make up the job");
        assert!(self.chunks.values().all(|chunk| !chunk.holders.is_empty()));
    }
}
