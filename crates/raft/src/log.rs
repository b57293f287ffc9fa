//! The log in memory: where it begins and ends, the term of every position, and the
//! newest entries.
//!
//! Terms are kept as runs: a log of a million entries in three terms costs three
//! pairs, and that answers "which term is at i?" for the whole log without a disk.
//! Bodies are kept in a ring for as long as somebody is likely to need them; the ring
//! is always a suffix of the log, so position i is one subtraction away.
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
#[derive(Debug)]
pub(crate) struct Log {
    base: LogBase,
    /// First index and term of each run of equal terms after the base.
    // Invariant: indexes and terms both rise strictly.
    runs: VecDeque<(LogIndex, Term)>,
    last: LogIndex,
    // Invariant: a suffix of the log, without gaps.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// The slice made last: the disk and all followers mostly want the same one.
    shared: Option<(LogIndex, usize, Entries)>,
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
            cache: VecDeque::new(),
            cache_bytes: 0,
            shared: None,
        }
    }

    pub(crate) fn append(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last.next(), "a log has no gaps");
        let last_term = self.last_term();
        assert!(entry.term >= last_term, "terms in a log never fall");
        if entry.term > last_term || self.runs.is_empty() {
            self.runs.push_back((entry.index, entry.term));
        }
        self.last = entry.index;
        self.cache_bytes += entry.encoded_len();
        self.cache.push_back(entry);
    }

    /// Drops the entries from `from` on.
    pub(crate) fn truncate_from(&mut self, from: LogIndex) {
        assert!(from > self.base.index, "the base can't be truncated");
        while self.cache.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.cache.pop_back().expect("the back was just looked at");
            self.cache_bytes -= entry.encoded_len();
        }
        while self.runs.back().is_some_and(|&(first, _)| first >= from) {
            self.runs.pop_back();
        }
        self.last = self.last.min(from.previous());
        self.shared = None;
    }

    /// Drops the entries through `base.index`, which must be in the log.
    pub(crate) fn compact(&mut self, base: LogBase) {
        assert_eq!(
            self.term_at(base.index),
            Some(base.term),
            "the new base is in the log"
        );
        while self
            .cache
            .front()
            .is_some_and(|entry| entry.index <= base.index)
        {
            let entry = self
                .cache
                .pop_front()
                .expect("the front was just looked at");
            self.cache_bytes -= entry.encoded_len();
        }
        let first = base.index.next();
        let mut kept = None;
        while self.runs.front().is_some_and(|&(run, _)| run <= first) {
            kept = self.runs.pop_front();
        }
        if let Some((_, term)) = kept
            && first <= self.last
        {
            self.runs.push_front((first, term));
        }
        self.shared = None;
        self.base = base;
    }

    /// Replaces the whole log by a snapshot's base.
    pub(crate) fn reset(&mut self, base: &LogBase) {
        *self = Self::new(base.clone(), base.index, Vec::new());
    }

    /// Forgets bodies before `keep_from`, oldest first, until `bytes_max` are left.
    pub(crate) fn evict(&mut self, keep_from: LogIndex, bytes_max: usize) {
        while self.cache_bytes > bytes_max {
            match self.cache.front() {
                Some(entry) if entry.index < keep_from => {
                    self.cache_bytes -= entry.encoded_len();
                    self.cache.pop_front();
                }
                Some(_) | None => break,
            }
        }
    }

    /// Cached entries from `from` through `to` at most, `bytes_max` at most but at least
    /// one; without a copy when the same slice was just asked for.
    /// Also returns their bytes.
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
        if let Some((first, bytes, entries)) = &self.shared
            && *first == from
            && *bytes <= bytes_max
            && entries.last().is_some_and(|entry| entry.index == to)
        {
            return (entries.clone(), *bytes);
        }
        let (count, bytes) = self.measure(from, to, bytes_max);
        let start = self.position(from);
        let entries: Entries = self.cache.range(start..start + count).cloned().collect();
        self.shared = Some((from, bytes, entries.clone()));
        (entries, bytes)
    }

    /// Copies of cached entries, for the state machine.
    pub(crate) fn copy(&self, from: LogIndex, to: LogIndex, bytes_max: usize) -> Vec<Entry> {
        let (count, _) = self.measure(from, to, bytes_max);
        let start = self.position(from);
        self.cache.range(start..start + count).cloned().collect()
    }

    fn measure(&self, from: LogIndex, to: LogIndex, bytes_max: usize) -> (usize, usize) {
        let start = self.position(from);
        let end = self.position(to) + 1;
        let mut bytes = 0;
        let mut count = 0;
        for entry in self.cache.range(start..end) {
            let len = entry.encoded_len();
            if count > 0 && bytes + len > bytes_max {
                break;
            }
            bytes += len;
            count += 1;
        }
        (count, bytes)
    }

    fn position(&self, index: LogIndex) -> usize {
        usize::try_from(index.get() - self.cached_from().get()).expect("the cache fits memory")
    }

    /// A cached entry.
    pub(crate) fn cached(&self, index: LogIndex) -> Option<&Entry> {
        if index < self.cached_from() {
            return None;
        }
        self.cache.get(self.position(index))
    }

    /// The first index whose body is in memory; beyond the end if none is.
    pub(crate) fn cached_from(&self) -> LogIndex {
        LogIndex::new(self.last.get() + 1 - self.cache.len() as u64)
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
        if let (Some(front), Some(back)) = (self.cache.front(), self.cache.back()) {
            assert_eq!(
                front.index,
                self.cached_from(),
                "the cache begins where it says"
            );
            assert_eq!(back.index, self.last, "the cache ends where the log ends");
            assert_eq!(
                self.term_at(back.index),
                Some(back.term),
                "runs tell the truth"
            );
            assert_eq!(
                self.term_at(front.index),
                Some(front.term),
                "runs tell the truth"
            );
        }
    }
}

/// The memberships of a log, one for each place where they changed.
#[derive(Debug)]
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
    fn eviction_spares_what_must_stay() {
        let mut log = log(&[1, 1, 1, 1]);
        log.evict(LogIndex::new(3), 0);
        assert_eq!(log.cached_from(), LogIndex::new(3));
        log.check_invariants();
        log.evict(LogIndex::new(9), 0);
        assert_eq!(log.cached_from(), LogIndex::new(5));
        log.check_invariants();
    }
}
