//! What a group's log looks like, without the entries: where it starts and ends, and the terms.

use stdx::{LogIndex, Term};

use crate::log::LogEntry;

/// What a new base does to the entries behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BaseRule {
    /// They stay.
    Keep,
    /// They go: the log continues from the base.
    Reset,
}

/// The extent and the terms of one group's log.
///
/// While a log is replayed, entries may be known before the base that they stand on, because the
/// segment with the older ones is gone: then `first` is not `base + 1`. Once open, it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shape {
    base: LogIndex,
    base_term: Term,
    first: LogIndex,
    last: LogIndex,
    /// First index of every run of entries with the same term, in `first..=last`.
    terms: Vec<(LogIndex, Term)>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            base: LogIndex::ZERO,
            base_term: Term::ZERO,
            first: LogIndex::new(1),
            last: LogIndex::ZERO,
            terms: Vec::new(),
        }
    }
}

impl Shape {
    pub(crate) const fn base(&self) -> LogIndex {
        self.base
    }

    pub(crate) const fn first(&self) -> LogIndex {
        self.first
    }

    pub(crate) const fn last(&self) -> LogIndex {
        self.last
    }

    pub(crate) fn terms(&self) -> &[(LogIndex, Term)] {
        &self.terms
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last < self.first
    }

    /// True if the entries follow on the base without a gap.
    pub(crate) fn is_complete(&self) -> bool {
        self.first == self.base.next()
    }

    /// The term of the entry at `index` or of the base; `None` for anything else.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base {
            return Some(self.base_term);
        }
        if index < self.first || index > self.last {
            return None;
        }
        let run = self.terms.partition_point(|&(start, _)| start <= index);
        run.checked_sub(1).map(|run| self.terms[run].1)
    }

    /// What installing a snapshot that ends at this entry does (Raft paper, section 7).
    pub(crate) fn base_rule(&self, index: LogIndex, term: Term) -> BaseRule {
        if self.term_at(index) == Some(term) {
            BaseRule::Keep
        } else {
            BaseRule::Reset
        }
    }

    /// Whether entries may be appended: consecutive, after the base, without a gap. The error is
    /// the index that was expected and the one that was found.
    pub(crate) fn check(&self, entries: &[LogEntry]) -> Result<(), (LogIndex, LogIndex)> {
        let Some(head) = entries.first() else {
            return Ok(());
        };
        if head.index <= self.base || head.index > self.last.next() {
            return Err((self.last.next(), head.index));
        }
        for pair in entries.windows(2) {
            if pair[1].index != pair[0].index.next() {
                return Err((pair[0].index.next(), pair[1].index));
            }
        }
        Ok(())
    }

    /// Takes in one entry. If it isn't the next one, it replaces what stood there and after; if
    /// there is a gap before it, everything before it is forgotten.
    pub(crate) fn push(&mut self, index: LogIndex, term: Term) {
        if index != self.last.next() || self.is_empty() {
            self.cut(index);
        }
        if self.terms.last().is_none_or(|&(_, newest)| newest != term) {
            self.terms.push((index, term));
        }
        self.last = index;
    }

    fn cut(&mut self, index: LogIndex) {
        if index > self.last.next() || index <= self.first {
            self.terms.clear();
            self.first = index;
        } else {
            let kept = self.terms.partition_point(|&(start, _)| start < index);
            self.terms.truncate(kept);
        }
        self.last = index.previous();
    }

    /// Moves the base.
    pub(crate) fn rebase(&mut self, index: LogIndex, term: Term, rule: BaseRule) {
        self.base = index;
        self.base_term = term;
        if rule == BaseRule::Reset || index >= self.last {
            self.terms.clear();
            self.first = index.next();
            self.last = index;
        } else if index >= self.first {
            let first = index.next();
            let run = self.terms.partition_point(|&(start, _)| start <= first) - 1;
            self.terms.drain(..run);
            self.terms[0].0 = first;
            self.first = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(terms: &[u64]) -> Shape {
        let mut shape = Shape::default();
        for (&term, index) in terms.iter().zip(1..) {
            shape.push(LogIndex::new(index), Term::new(term));
        }
        shape
    }

    fn runs(shape: &Shape) -> Vec<(u64, u64)> {
        shape
            .terms
            .iter()
            .map(|&(index, term)| (index.get(), term.get()))
            .collect()
    }

    #[test]
    fn terms_are_kept_as_runs() {
        let mut shape = shape(&[1, 1, 2, 2, 2, 5]);
        assert_eq!(runs(&shape), [(1, 1), (3, 2), (6, 5)]);
        shape.push(LogIndex::new(4), Term::new(6));
        assert_eq!(runs(&shape), [(1, 1), (3, 2), (4, 6)]);
        assert_eq!(shape.last(), LogIndex::new(4));
        assert_eq!(shape.term_at(LogIndex::new(3)), Some(Term::new(2)));
        assert_eq!(shape.term_at(LogIndex::new(5)), None);
    }

    #[test]
    fn a_base_with_the_same_term_keeps_what_follows() {
        let mut kept = shape(&[1, 1, 2, 2]);
        let rule = kept.base_rule(LogIndex::new(3), Term::new(2));
        kept.rebase(LogIndex::new(3), Term::new(2), rule);
        assert_eq!((kept.first().get(), kept.last().get()), (4, 4));
        assert_eq!(runs(&kept), [(4, 2)]);

        let mut reset = shape(&[1, 1, 2, 2]);
        let rule = reset.base_rule(LogIndex::new(3), Term::new(7));
        reset.rebase(LogIndex::new(3), Term::new(7), rule);
        assert_eq!(reset.last(), LogIndex::new(3));
        assert!(reset.is_empty());
    }

    #[test]
    fn entries_may_be_replayed_before_their_base() {
        let mut shape = Shape::default();
        for index in 101..=103 {
            shape.push(LogIndex::new(index), Term::new(4));
        }
        assert!(!shape.is_complete());
        shape.rebase(LogIndex::new(100), Term::new(4), BaseRule::Keep);
        assert!(shape.is_complete());
        assert_eq!(shape.last(), LogIndex::new(103));
    }
}
