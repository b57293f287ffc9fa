//! Sets of numbers as sorted ranges: packets that arrived, bytes that are acknowledged.
//!
//! A vector, not a tree: there are one or two ranges nearly always and a few dozen at high
//! loss, and most insertions are at the end.

use core::ops::Range;

/// Disjoint ranges in ascending order, none empty, none adjacent to another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a range, joining what it touches. Whether any of it is new.
    pub(crate) fn insert(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        if let Some(last) = self.0.last_mut()
            && range.start >= last.start
        {
            // The usual case, at the end.
            if range.start <= last.end {
                let news = range.end > last.end;
                last.end = last.end.max(range.end);
                return news;
            }
            self.0.push(range);
            return true;
        }
        let first = self.0.partition_point(|other| other.end < range.start);
        let past = self.0.partition_point(|other| other.start <= range.end);
        if first == past {
            self.0.insert(first, range);
            return true;
        }
        let start = range.start.min(self.0[first].start);
        let end = range.end.max(self.0[past - 1].end);
        let covered = self.0[first].start <= range.start && self.0[first].end >= range.end;
        self.0[first] = start..end;
        self.0.drain(first + 1..past);
        !covered
    }

    /// Takes a range away.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|other| other.end <= range.start);
        let past = self.0.partition_point(|other| other.start < range.end);
        if first >= past {
            return;
        }
        let left = self.0[first].start..range.start;
        let right = range.end..self.0[past - 1].end;
        let rest = [left, right].into_iter().filter(|range| !range.is_empty());
        self.0.splice(first..past, rest);
    }

    pub(crate) fn contains(&self, value: u64) -> bool {
        let index = self.0.partition_point(|range| range.end <= value);
        self.0.get(index).is_some_and(|range| range.start <= value)
    }

    /// Takes off the first range.
    pub(crate) fn pop_first(&mut self) -> Option<Range<u64>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    pub(crate) fn first(&self) -> Option<Range<u64>> {
        self.0.first().cloned()
    }

    pub(crate) fn last(&self) -> Option<Range<u64>> {
        self.0.last().cloned()
    }

    /// From the highest down.
    pub(crate) fn descending(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().rev().cloned()
    }

    /// From the lowest up.
    pub(crate) fn ascending(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// Gives back memory of busier times.
    pub(crate) fn shrink(&mut self) {
        if self.0.capacity() > 2 * self.0.len() + 2 {
            self.0.shrink_to_fit();
        }
    }

    pub(crate) fn check_invariants(&self) {
        for range in &self.0 {
            assert!(!range.is_empty(), "no range is empty");
        }
        for pair in self.0.windows(2) {
            assert!(pair[0].end < pair[1].start, "ranges are apart, in order");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stdx::Prng;

    use super::*;

    /// Against a set of single numbers.
    #[test]
    fn it_is_a_set() {
        let mut prng = Prng::from_seed(1);
        for _ in 0..300 {
            let mut ranges = Ranges::new();
            let mut set = BTreeSet::new();
            for _ in 0..40 {
                let start = prng.below(60);
                let range = start..start + prng.below(9);
                if prng.chance(2, 3) {
                    let news = range.clone().any(|value| !set.contains(&value));
                    assert_eq!(ranges.insert(range.clone()), news, "{range:?}");
                    set.extend(range);
                } else {
                    ranges.remove(range.clone());
                    set.retain(|value| !range.contains(value));
                }
                ranges.check_invariants();
                let all: Vec<u64> = ranges.ascending().flatten().collect();
                assert_eq!(all, set.iter().copied().collect::<Vec<_>>());
                assert!((0..70).all(|value| ranges.contains(value) == set.contains(&value)));
            }
        }
    }
}
