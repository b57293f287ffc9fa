//! The log in memory: where it begins and ends, the term of every position, and the
//! newest entries.
//!
//! Terms are kept as runs: a log of a million entries in three terms costs three
//! pairs, and that answers "which term is at i?" for the whole log without a disk.
//! Bodies are kept for as long as somebody is likely to need them, always a suffix of the
//! log. They are kept as the batches they came in: what a leader proposed between two polls,
//! what one message brought. The disk, every follower and the state machine mostly want just
//! such a batch, and share it: an entry isn't copied on its way through a node.
//!
//! Backtracking works on the runs, too. Log matching (paper, section 5.3) says that two
//! logs with the same term at the same index are equal up to there, so whoever searches
//! for that place may skip whole runs.

use std::collections::VecDeque;
use std::sync::Arc;

use stdx::{LogIndex, Term};

use crate::entry::{Entries, Entry, LogBase};
use crate::membership::Membership;

/// The log of one node.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    base: LogBase,
    /// First index and term of each run of equal terms after the base.
    // Invariant: indexes and terms both rise strictly.
    runs: VecDeque<(LogIndex, Term)>,
    last: LogIndex,
    /// The newest entries, in batches that follow each other.
    // Invariant: together with `open` a suffix of the log, without gaps; none is empty.
    batches: VecDeque<Batch>,
    /// A leader's entries that nobody has asked for yet.
    open: Vec<Entry>,
    open_bytes: usize,
    /// Bytes of all entries in memory.
    cache_bytes: usize,
}

/// Entries that came together.
#[derive(Clone, Debug)]
struct Batch {
    first: LogIndex,
    entries: Entries,
    bytes: usize,
}

impl Batch {
    fn last(&self) -> LogIndex {
        LogIndex::new(self.first.get() + self.entries.len() as u64 - 1)
    }
}

impl Log {
    pub(crate) fn new(base: LogBase, last: LogIndex, runs: Vec<(LogIndex, Term)>) -> Self {
        assert!(last >= base.index, "a log ends where it begins or later");
        assert!(
            runs.is_empty() == (last == base.index),
            "a log has term runs exactly when it has entries"
        );
        Self {
            base,
            runs: runs.into(),
            last,
            batches: VecDeque::new(),
            open: Vec::new(),
            open_bytes: 0,
            cache_bytes: 0,
        }
    }

    /// Appends an entry of this leader's own.
    pub(crate) fn append(&mut self, entry: Entry) {
        self.extend_runs(&entry);
        let bytes = entry.encoded_len();
        self.cache_bytes += bytes;
        self.open_bytes += bytes;
        self.open.push(entry);
    }

    /// Appends entries of a message.
    pub(crate) fn append_batch(&mut self, entries: Entries) {
        self.seal();
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return;
        };
        let mut bytes = 0;
        for entry in &entries {
            self.extend_runs(entry);
            bytes += entry.encoded_len();
        }
        self.cache_bytes += bytes;
        self.batches.push_back(Batch {
            first,
            entries,
            bytes,
        });
    }

    fn extend_runs(&mut self, entry: &Entry) {
        assert_eq!(entry.index, self.last.next(), "a log has no gaps");
        let last_term = self.last_term();
        assert!(entry.term >= last_term, "terms in a log never fall");
        if entry.term > last_term || self.runs.is_empty() {
            self.runs.push_back((entry.index, entry.term));
        }
        self.last = entry.index;
    }

    /// Makes what was proposed until now a batch that can be shared.
    fn seal(&mut self) {
        let Some(first) = self.open.first().map(|entry| entry.index) else {
            return;
        };
        let entries = self.open.drain(..).collect();
        let bytes = core::mem::take(&mut self.open_bytes);
        self.batches.push_back(Batch {
            first,
            entries,
            bytes,
        });
    }

    /// Drops the entries from `from` on.
    pub(crate) fn truncate_from(&mut self, from: LogIndex) {
        assert!(from > self.base.index, "the base can't be truncated");
        self.seal();
        while self.batches.back().is_some_and(|batch| batch.first >= from) {
            let batch = self
                .batches
                .pop_back()
                .expect("the back was just looked at");
            self.cache_bytes -= batch.bytes;
        }
        if let Some(batch) = self.batches.back_mut()
            && batch.last() >= from
        {
            batch.entries = batch.entries.part(0, offset(batch.first, from));
            self.cache_bytes -= batch.bytes;
            batch.bytes = batch.entries.encoded_len();
            self.cache_bytes += batch.bytes;
        }
        while self.runs.back().is_some_and(|&(first, _)| first >= from) {
            self.runs.pop_back();
        }
        self.last = self.last.min(from.previous());
    }

    /// Drops the entries through `base.index`, which must be in the log.
    pub(crate) fn compact(&mut self, base: LogBase) {
        assert_eq!(
            self.term_at(base.index),
            Some(base.term),
            "the new base is in the log"
        );
        self.seal();
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.last() <= base.index)
        {
            self.forget_oldest();
        }
        let first = base.index.next();
        if let Some(batch) = self.batches.front_mut()
            && batch.first < first
        {
            let skip = offset(batch.first, first);
            batch.entries = batch.entries.part(skip, batch.entries.len() - skip);
            batch.first = first;
            self.cache_bytes -= batch.bytes;
            batch.bytes = batch.entries.encoded_len();
            self.cache_bytes += batch.bytes;
        }
        let mut kept = None;
        while self.runs.front().is_some_and(|&(run, _)| run <= first) {
            kept = self.runs.pop_front();
        }
        if let Some((_, term)) = kept
            && first <= self.last
        {
            self.runs.push_front((first, term));
        }
        self.base = base;
    }

    /// Replaces the whole log by a snapshot's base.
    pub(crate) fn reset(&mut self, base: &LogBase) {
        *self = Self::new(base.clone(), base.index, Vec::new());
    }

    /// Forgets bodies before `keep_from`, oldest first and in whole batches, until
    /// `bytes_max` are left.
    pub(crate) fn evict(&mut self, keep_from: LogIndex, bytes_max: usize) {
        while self.cache_bytes > bytes_max
            && self
                .batches
                .front()
                .is_some_and(|batch| batch.last() < keep_from)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.cache_bytes -= batch.bytes;
        }
    }

    /// Cached entries from `from` through `to` at most, `bytes_max` at most but at least
    /// one, and their bytes. What lies in one batch is shared, not copied.
    pub(crate) fn slice(
        &mut self,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> (Entries, usize) {
        assert!(
            from >= self.cached_from(),
            "an entry before the cache needs a fetch"
        );
        assert!(from <= to, "an empty slice is never asked for");
        self.seal();
        let at = self.batch_at(from);
        let batch = &self.batches[at];
        if batch.first == from && batch.last() == to && batch.bytes <= bytes_max {
            return (batch.entries.clone(), batch.bytes);
        }
        let (count, bytes) = self.measure(at, from, to, bytes_max);
        let skip = offset(batch.first, from);
        if skip + count <= batch.entries.len() {
            return (batch.entries.part(skip, count), bytes);
        }
        let following = self
            .batches
            .range(at..)
            .flat_map(|batch| batch.entries.iter());
        (following.skip(skip).take(count).cloned().collect(), bytes)
    }

    /// How many entries from `from` on fit, and their bytes.
    fn measure(
        &self,
        batch: usize,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> (usize, usize) {
        let mut skip = offset(self.batches[batch].first, from);
        let (mut count, mut bytes) = (0, 0);
        for batch in self.batches.range(batch..) {
            for entry in &batch.entries[skip..] {
                let len = entry.encoded_len();
                if entry.index > to || (count > 0 && bytes + len > bytes_max) {
                    return (count, bytes);
                }
                count += 1;
                bytes += len;
            }
            skip = 0;
        }
        (count, bytes)
    }

    /// Cached entries from `from` through `to` at most, as many as can be had without a
    /// copy: for the state machine.
    pub(crate) fn run(&mut self, from: LogIndex, to: LogIndex, bytes_max: usize) -> Entries {
        self.seal();
        let last = self.batches[self.batch_at(from)].last();
        self.slice(from, to.min(last), bytes_max).0
    }

    /// The batch that holds a cached, sealed entry.
    fn batch_at(&self, index: LogIndex) -> usize {
        match self.batches.back() {
            Some(newest) if index >= newest.first => self.batches.len() - 1,
            _ => self.batches.partition_point(|batch| batch.first <= index) - 1,
        }
    }

    /// A cached entry.
    pub(crate) fn cached(&self, index: LogIndex) -> Option<&Entry> {
        if index < self.cached_from() || index > self.last {
            return None;
        }
        match self.open.first() {
            Some(first) if index >= first.index => self.open.get(offset(first.index, index)),
            _ => {
                let batch = &self.batches[self.batch_at(index)];
                batch.entries.get(offset(batch.first, index))
            }
        }
    }

    /// Bytes of the cached entries from `from` through `to`.
    pub(crate) fn bytes_between(&self, from: LogIndex, to: LogIndex) -> usize {
        let wanted = |entry: &&Entry| entry.index >= from && entry.index <= to;
        let mut bytes: usize = self
            .open
            .iter()
            .filter(wanted)
            .map(Entry::encoded_len)
            .sum();
        for batch in self.batches.iter().rev() {
            if batch.last() < from {
                break;
            }
            bytes += if batch.first >= from && batch.last() <= to {
                batch.bytes
            } else {
                batch
                    .entries
                    .iter()
                    .filter(wanted)
                    .map(Entry::encoded_len)
                    .sum()
            };
        }
        bytes
    }

    /// The first index whose body is in memory; beyond the end if none is.
    pub(crate) fn cached_from(&self) -> LogIndex {
        let oldest = self.batches.front().map(|batch| batch.first);
        let open = || self.open.first().map(|entry| entry.index);
        oldest.or_else(open).unwrap_or_else(|| self.last.next())
    }

    pub(crate) const fn base(&self) -> &LogBase {
        &self.base
    }

    pub(crate) const fn last_index(&self) -> LogIndex {
        self.last
    }

    pub(crate) fn last_term(&self) -> Term {
        self.runs.back().map_or(self.base.term, |&(_, term)| term)
    }

    /// The term at an index of the log or at its base.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index > self.last || index < self.base.index {
            return None;
        }
        if index == self.base.index {
            return Some(self.base.term);
        }
        // Questions are mostly about the newest run.
        if let Some(&(first, term)) = self.runs.back()
            && index >= first
        {
            return Some(term);
        }
        let run = self.runs.partition_point(|&(first, _)| first <= index);
        Some(self.runs[run - 1].1)
    }

    /// Whether the log holds this entry; the claim of nothing always fits.
    pub(crate) fn matches(&self, index: LogIndex, term: Term) -> bool {
        index == LogIndex::ZERO || self.term_at(index) == Some(term)
    }

    /// The last place, not after `index`, whose term isn't newer than `term`: two logs
    /// can't agree between it and `index`. `None` if that lies before the base.
    pub(crate) fn backtrack(&self, index: LogIndex, term: Term) -> Option<(LogIndex, Term)> {
        let mut index = index.min(self.last);
        if index < self.base.index {
            return None;
        }
        for &(first, run_term) in self.runs.iter().rev() {
            if first > index {
                continue;
            }
            if run_term <= term {
                return Some((index, run_term));
            }
            index = first.previous();
        }
        (self.base.term <= term).then_some((self.base.index, self.base.term))
    }

    /// Whether a candidate with this last entry may lead (paper, section 5.4.1).
    pub(crate) fn is_up_to_date(&self, last_index: LogIndex, last_term: Term) -> bool {
        (last_term, last_index) >= (self.last_term(), self.last)
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.last >= self.base.index, "a log ends after its base");
        let mut previous = (self.base.index, self.base.term);
        for &run in &self.runs {
            assert!(run.0 > previous.0, "runs begin one after the other");
            assert!(run.1 >= previous.1, "terms never fall");
            previous = run;
        }
        assert!(previous.0 <= self.last, "the last run begins in the log");
        assert!(
            self.cached_from() > self.base.index,
            "the base is not cached"
        );
        if let (Some(front), Some(back)) = (self.batches.front(), self.batches.back()) {
            for batch in [front, back] {
                let (first, last) = (batch.entries.first(), batch.entries.last());
                let (first, last) = first.zip(last).expect("a batch is never empty");
                assert_eq!(first.index, batch.first, "a batch begins where it says");
                assert_eq!(
                    self.term_at(first.index),
                    Some(first.term),
                    "runs tell the truth"
                );
                assert_eq!(
                    self.term_at(last.index),
                    Some(last.term),
                    "runs tell the truth"
                );
            }
            let open = self
                .open
                .first()
                .map_or_else(|| self.last.next(), |entry| entry.index);
            assert_eq!(back.last().next(), open, "batches have no gap behind them");
        }
    }
}

/// How far `index` is behind `first`.
fn offset(first: LogIndex, index: LogIndex) -> usize {
    usize::try_from(index.distance_from(first)).expect("what is in memory can be counted")
}

/// The memberships of a log, one for each place where they changed.
#[derive(Clone, Debug)]
pub(crate) struct Memberships {
    /// The base's, then those of entries, in order.
    // Invariant: never empty.
    history: Vec<(LogIndex, Arc<Membership>)>,
}

impl Memberships {
    pub(crate) fn new(base: &LogBase, entries: Vec<(LogIndex, Arc<Membership>)>) -> Self {
        let mut history = vec![(base.index, Arc::clone(&base.membership))];
        history.extend(entries.into_iter().filter(|(index, _)| *index > base.index));
        Self { history }
    }

    pub(crate) fn push(&mut self, index: LogIndex, membership: Arc<Membership>) {
        assert!(index > self.index(), "memberships are appended in order");
        self.history.push((index, membership));
    }

    /// Takes back what was appended from `from` on; says whether anything was.
    pub(crate) fn truncate_from(&mut self, from: LogIndex) -> bool {
        let kept = self
            .history
            .partition_point(|&(index, _)| index < from)
            .max(1);
        let changed = kept < self.history.len();
        self.history.truncate(kept);
        changed
    }

    pub(crate) fn compact(&mut self, through: LogIndex) {
        let before = self.history.partition_point(|&(index, _)| index <= through);
        self.history.drain(..before.saturating_sub(1));
    }

    /// The members in effect.
    pub(crate) fn current(&self) -> &Arc<Membership> {
        &self.history.last().expect("the base has a membership").1
    }

    /// Where the members in effect came into effect.
    pub(crate) fn index(&self) -> LogIndex {
        self.history.last().expect("the base has a membership").0
    }

    /// The members in effect at an index, not before the base.
    pub(crate) fn at(&self, index: LogIndex) -> &Arc<Membership> {
        let after = self
            .history
            .partition_point(|&(first, _)| first <= index)
            .max(1);
        &self.history[after - 1].1
    }

    /// Those that came into effect in `(after, through]`.
    pub(crate) fn between(
        &self,
        after: LogIndex,
        through: LogIndex,
    ) -> impl Iterator<Item = &(LogIndex, Arc<Membership>)> {
        self.history
            .iter()
            .filter(move |(index, _)| *index > after && *index <= through)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Payload;

    fn log(terms: &[u64]) -> Log {
        let mut log = Log::new(LogBase::default(), LogIndex::ZERO, Vec::new());
        for (at, &term) in terms.iter().enumerate() {
            log.append(Entry {
                index: LogIndex::new(at as u64 + 1),
                term: Term::new(term),
                payload: Payload::Noop,
            });
        }
        log.check_invariants();
        log
    }

    fn terms(log: &Log) -> Vec<u64> {
        let first = log.base().index.get();
        (first..=log.last_index().get())
            .map(|index| log.term_at(LogIndex::new(index)).unwrap().get())
            .collect()
    }

    #[test]
    fn every_truncation_and_compaction_keeps_the_terms() {
        let all = [1, 1, 2, 2, 2, 5, 7, 7];
        for cut in 1..=9_u64 {
            let mut cut_log = log(&all);
            cut_log.truncate_from(LogIndex::new(cut));
            cut_log.check_invariants();
            let kept = usize::try_from(cut).unwrap() - 1;
            assert_eq!(terms(&cut_log)[1..], all[..kept.min(8)]);
            for through in 0..cut.min(9) {
                let mut compacted = log(&all);
                compacted.truncate_from(LogIndex::new(cut));
                let index = LogIndex::new(through);
                let term = compacted.term_at(index).unwrap();
                compacted.compact(LogBase {
                    index,
                    term,
                    ..LogBase::default()
                });
                compacted.check_invariants();
                let from = usize::try_from(through).unwrap();
                assert_eq!(terms(&compacted)[1..], all[from..kept.min(8)]);
            }
        }
    }

    #[test]
    fn backtracking_finds_the_last_place_that_may_agree() {
        let log = log(&[1, 1, 2, 2, 5, 5]);
        for index in 0..=8_u64 {
            for term in 0..=6_u64 {
                let naive = (0..=index.min(6))
                    .rev()
                    .map(|at| (LogIndex::new(at), log.term_at(LogIndex::new(at)).unwrap()))
                    .find(|&(_, at_term)| at_term <= Term::new(term));
                assert_eq!(log.backtrack(LogIndex::new(index), Term::new(term)), naive);
            }
        }
    }

    #[test]
    fn slices_are_bounded_by_bytes_and_shared() {
        let mut log = log(&[1, 1, 1, 1]);
        let one = log.cached(LogIndex::new(1)).unwrap().encoded_len();
        let (first, last) = (LogIndex::new(1), LogIndex::new(4));
        assert_eq!(log.slice(first, last, 0).0.len(), 1);
        assert_eq!(log.slice(first, last, 2 * one).0.len(), 2);
        let (all, bytes) = log.slice(first, last, usize::MAX);
        assert_eq!(bytes, 4 * one);
        assert_eq!(all.len(), 4);
        assert_eq!(log.slice(first, last, usize::MAX).0.as_ptr(), all.as_ptr());
    }

    #[test]
    fn slices_across_batches_are_what_the_log_says() {
        for cuts in 0..16_u64 {
            let mut log = log(&[]);
            for index in 1..=5_u64 {
                let (index, term) = (LogIndex::new(index), Term::new(1));
                log.append(Entry {
                    index,
                    term,
                    payload: Payload::Noop,
                });
                if cuts & (1 << (index.get() - 1)) != 0 {
                    log.seal();
                }
                log.check_invariants();
            }
            for from in 1..=5_u64 {
                for to in from..=5 {
                    let (first, last) = (LogIndex::new(from), LogIndex::new(to));
                    let (entries, bytes) = log.slice(first, last, usize::MAX);
                    let indexes: Vec<u64> = entries.iter().map(|entry| entry.index.get()).collect();
                    assert_eq!(indexes, (from..=to).collect::<Vec<_>>());
                    assert_eq!(bytes, entries.encoded_len());
                    assert_eq!(bytes, log.bytes_between(first, last));
                }
            }
        }
    }

    #[test]
    fn eviction_spares_what_must_stay() {
        let mut log = log(&[1, 1]);
        log.seal();
        for index in 3..=4 {
            let (index, term) = (LogIndex::new(index), Term::new(1));
            log.append(Entry {
                index,
                term,
                payload: Payload::Noop,
            });
        }
        log.seal();
        log.evict(LogIndex::new(2), 0);
        assert_eq!(log.cached_from(), LogIndex::new(1), "batches go whole");
        log.evict(LogIndex::new(4), 0);
        assert_eq!(log.cached_from(), LogIndex::new(3));
        log.check_invariants();
        log.evict(LogIndex::new(9), 0);
        assert_eq!(log.cached_from(), LogIndex::new(5));
        log.check_invariants();
    }
}
