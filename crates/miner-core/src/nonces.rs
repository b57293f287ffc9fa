//! Ranges of nonces, and sets of ranges.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A range of nonces, both ends included, so that the last of all nonces can be in one.
/// Never empty.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct Nonces {
    first: u64,
    last: u64,
}

/// Two ends in the wrong order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a range that ends before it begins")]
pub struct Reversed;

impl Nonces {
    /// A range; `None` if it would be empty.
    #[must_use]
    pub const fn new(first: u64, last: u64) -> Option<Self> {
        if first > last {
            return None;
        }
        Some(Self { first, last })
    }

    /// The first nonce.
    #[must_use]
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The last nonce, which belongs to the range.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.last
    }

    /// How many: up to 2 to the power 64.
    #[must_use]
    pub fn count(self) -> u128 {
        u128::from(self.last - self.first) + 1
    }

    /// Whether a nonce belongs to it.
    #[must_use]
    pub const fn contains(self, nonce: u64) -> bool {
        self.first <= nonce && nonce <= self.last
    }

    /// The part at the front with at most `count` nonces, and at least one, and the rest.
    ///
    /// # Panics
    ///
    /// Never: a part is counted like its range.
    #[must_use]
    pub fn split(self, count: u128) -> (Self, Option<Self>) {
        if count >= self.count() {
            return (self, None);
        }
        let count = u64::try_from(count.max(1)).expect("less than the range has");
        let last = self.first + (count - 1);
        let front = Self {
            first: self.first,
            last,
        };
        (front, Self::new(last + 1, self.last))
    }

    /// Piece `at` of `pieces` of nearly the same size; `None` if there are fewer nonces
    /// than pieces and this one is empty.
    ///
    /// # Panics
    ///
    /// When there is no such piece.
    #[must_use]
    pub fn piece(self, at: usize, pieces: usize) -> Option<Self> {
        let bound = |at: usize| self.count() * at as u128 / pieces as u128;
        let (start, end) = (bound(at), bound(at + 1));
        if start == end {
            return None;
        }
        let offset = |value: u128| self.first + u64::try_from(value).expect("within the range");
        Self::new(offset(start), offset(end - 1))
    }
}

impl TryFrom<(u64, u64)> for Nonces {
    type Error = Reversed;

    fn try_from((first, last): (u64, u64)) -> Result<Self, Reversed> {
        Self::new(first, last).ok_or(Reversed)
    }
}

impl From<Nonces> for (u64, u64) {
    fn from(nonces: Nonces) -> Self {
        (nonces.first, nonces.last)
    }
}

/// A set of nonces, as few ranges.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NonceSet {
    /// By the first nonce. Invariant: neighbours neither overlap nor touch.
    ranges: BTreeMap<u64, Nonces>,
    /// Invariant: the sum of the ranges' counts.
    count: u128,
}

impl NonceSet {
    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many nonces.
    #[must_use]
    pub const fn count(&self) -> u128 {
        self.count
    }

    /// The ranges, from the smallest.
    pub fn ranges(&self) -> impl Iterator<Item = Nonces> + '_ {
        self.ranges.values().copied()
    }

    /// Puts in a range that has nothing in common with the set.
    ///
    /// # Panics
    ///
    /// When it overlaps what is there: nonces are never owned twice.
    pub fn insert(&mut self, nonces: Nonces) {
        self.count += nonces.count();
        let (mut first, mut last) = (nonces.first, nonces.last);
        if let Some((_, before)) = self.ranges.range(..=first).next_back() {
            let before = *before;
            assert!(before.last < first, "{nonces:?} overlaps {before:?}");
            if before.last + 1 == first {
                self.ranges.remove(&before.first);
                first = before.first;
            }
        }
        if let Some((_, after)) = self.ranges.range(nonces.first..).next() {
            let after = *after;
            assert!(last < after.first, "{nonces:?} overlaps {after:?}");
            if last + 1 == after.first {
                self.ranges.remove(&after.first);
                last = after.last;
            }
        }
        self.ranges.insert(first, Nonces { first, last });
    }

    /// Takes up to `count` nonces, and at least one, from the front.
    pub fn take(&mut self, count: u128) -> Option<Nonces> {
        let (_, range) = self.ranges.pop_first()?;
        let (front, rest) = range.split(count);
        if let Some(rest) = rest {
            self.ranges.insert(rest.first, rest);
        }
        self.count -= front.count();
        Some(front)
    }

    /// Puts in all of another set.
    pub fn absorb(&mut self, other: &Self) {
        for range in other.ranges() {
            self.insert(range);
        }
    }
}

impl FromIterator<Nonces> for NonceSet {
    fn from_iter<I: IntoIterator<Item = Nonces>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use stdx::Prng;

    use super::*;

    fn nonces(first: u64, last: u64) -> Nonces {
        Nonces::new(first, last).unwrap()
    }

    #[test]
    fn all_nonces_are_a_range() {
        let all = nonces(0, u64::MAX);
        assert_eq!(all.count(), 1 << 64);
        let (front, rest) = all.split(1 << 63);
        assert_eq!(front, nonces(0, (1 << 63) - 1));
        assert_eq!(rest, Some(nonces(1 << 63, u64::MAX)));
        assert_eq!(all.split(0).0, nonces(0, 0));
        assert_eq!(Nonces::new(1, 0), None);
        assert_eq!(all.piece(15, 16), Some(nonces(15 << 60, u64::MAX)));
    }

    #[test]
    fn pieces_make_up_the_range() {
        for count in 1..50 {
            let range = nonces(7, 6 + count);
            let pieces = (0..16).filter_map(|at| range.piece(at, 16));
            let set: NonceSet = pieces.collect();
            assert_eq!(set.ranges().collect::<Vec<_>>(), [range]);
        }
    }

    #[test]
    fn a_set_is_what_a_list_of_flags_is() {
        let mut prng = Prng::from_seed(1);
        for _ in 0..200 {
            let (mut set, mut flags) = (NonceSet::default(), [false; 64]);
            for _ in 0..40 {
                let first = prng.index(64);
                let last = (first + prng.index(6)).min(63);
                if prng.chance(1, 3) {
                    let taken = set.take(u128::from(prng.below(5)));
                    let expected = flags.iter().position(|flag| *flag);
                    assert_eq!(taken.map(Nonces::first), expected.map(|at| at as u64));
                    for nonce in taken.into_iter().flat_map(|t| t.first()..=t.last()) {
                        flags[usize::try_from(nonce).unwrap()] = false;
                    }
                } else if flags[first..=last].iter().all(|flag| !flag) {
                    set.insert(nonces(first as u64, last as u64));
                    flags[first..=last].fill(true);
                }
                let count = flags.iter().filter(|flag| **flag).count();
                assert_eq!(set.count(), count as u128);
                let changes = flags.windows(2).filter(|pair| !pair[0] && pair[1]).count();
                assert_eq!(set.ranges().count(), changes + usize::from(flags[0]));
            }
        }
    }
}
