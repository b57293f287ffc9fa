//! The sparse index in memory: where to start reading for an entry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use stdx::{GroupId, LogIndex};

use super::segment::Segment;
use crate::limits::INDEX_STEP_BYTES;
use crate::shape::BaseRule;

/// What the writer shares with the readers.
#[derive(Debug, Default)]
pub(super) struct Shared {
    index: RwLock<Index>,
}

impl Shared {
    pub(super) fn new(index: Index) -> Self {
        Self {
            index: RwLock::new(index),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All groups and all segments.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) groups: BTreeMap<GroupId, GroupIndex>,
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Position {
    pub(super) sequence: u64,
    pub(super) offset: u32,
}

/// Entries from `first` on, up to the next point, start in this segment at or after this offset,
/// and within [`INDEX_STEP_BYTES`] of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Point {
    pub(super) first: LogIndex,
    pub(super) position: Position,
    /// Bytes of this group's records before this one, ever.
    bytes_before: u64,
}

/// One group's part.
#[derive(Debug, Default)]
pub(super) struct GroupIndex {
    /// Entries through this one are gone.
    pub(super) base: LogIndex,
    /// The last entry there is.
    pub(super) last: LogIndex,
    points: VecDeque<Point>,
    /// Bytes of this group's records, ever.
    bytes: u64,
}

impl GroupIndex {
    /// Takes in a record with entries `first..=last`.
    pub(super) fn append(
        &mut self,
        first: LogIndex,
        last: LogIndex,
        position: Position,
        bytes: u64,
    ) {
        let continues = first == self.last.next();
        if first > self.last.next() {
            // Only while replaying: the segments with the entries between are gone.
            self.points.clear();
        }
        while self.points.back().is_some_and(|point| point.first >= first) {
            self.points.pop_back();
        }
        let near = self.points.back().is_some_and(|point| {
            point.position.sequence == position.sequence
                && position.offset - point.position.offset < INDEX_STEP_BYTES
        });
        if !continues || !near {
            let bytes_before = self.bytes;
            self.points.push_back(Point {
                first,
                position,
                bytes_before,
            });
        }
        self.bytes += bytes;
        self.last = last;
    }

    /// Moves the base.
    pub(super) fn rebase(&mut self, base: LogIndex, rule: BaseRule) {
        self.base = base;
        if rule == BaseRule::Reset || base >= self.last {
            self.points.clear();
            self.last = base;
        }
        while self
            .points
            .get(1)
            .is_some_and(|second| second.first <= base.next())
        {
            self.points.pop_front();
        }
    }

    /// The oldest segment that holds an entry.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.points.front().map(|point| point.position.sequence)
    }

    /// About how many bytes the records with entries take.
    pub(super) fn live_bytes(&self) -> u64 {
        self.points
            .front()
            .map_or(0, |front| self.bytes - front.bytes_before)
    }

    /// Where to read the entries `from..=to`: a point, and the last entry to be read from it. Only so
    /// many points as hold about `bytes_max` bytes of records, but at least one.
    pub(super) fn spans(
        &self,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> impl Iterator<Item = (Position, LogIndex)> + '_ {
        let start = self
            .points
            .partition_point(|point| point.first <= from)
            .saturating_sub(1);
        let before = self.points.get(start).map_or(0, |point| point.bytes_before);
        (start..self.points.len())
            .map(|at| (self.points[at], self.points.get(at + 1)))
            .take_while(move |(point, _)| {
                let bytes = point.bytes_before - before;
                point.first <= to && (bytes == 0 || bytes < bytes_max as u64)
            })
            .map(move |(point, next)| {
                let through = next.map_or(to, |next| next.first.previous().min(to));
                (point.position, through)
            })
    }
}
