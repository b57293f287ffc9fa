//! Merging sorted extents: a tree of losers over the first eight bytes of each one's key.

use core::cmp::Ordering;

use crate::run::cursor::Cursor;
use crate::run::format::RunError;

const NONE: usize = usize::MAX;

/// The first eight bytes of a key as a number in the order of keys; shorter keys are filled with
/// zeros, so that equal numbers say nothing yet.
#[inline]
pub(crate) fn prefix(key: &[u8]) -> u64 {
    if let Some(head) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(head)
}

/// Which of the merged extents failed, and how.
#[derive(Debug)]
pub(crate) struct MergeError {
    pub(crate) source: usize,
    pub(crate) error: RunError,
}

/// All pairs of some extents by key, and for equal keys by the place of the extent.
#[derive(Debug)]
pub(crate) struct Merge {
    cursors: Vec<Cursor>,
    heads: Vec<u64>,
    live: Vec<bool>,
    /// At `1..len` the loser of each match; at 0 the winner.
    tree: Vec<usize>,
    left: usize,
}

impl Merge {
    pub(crate) fn new(mut cursors: Vec<Cursor>) -> Result<Self, MergeError> {
        let count = cursors.len();
        let mut live = vec![false; count];
        let mut heads = vec![u64::MAX; count];
        for (source, cursor) in cursors.iter_mut().enumerate() {
            live[source] = cursor
                .advance()
                .map_err(|error| MergeError { source, error })?;
            if live[source] {
                heads[source] = prefix(cursor.key());
            }
        }
        let left = live.iter().filter(|live| **live).count();
        let mut merge = Self {
            cursors,
            heads,
            live,
            tree: vec![NONE; count.max(1)],
            left,
        };
        for leaf in 0..count {
            merge.enter(leaf);
        }
        Ok(merge)
    }

    /// Plays a leaf's matches while the tree is being filled.
    fn enter(&mut self, leaf: usize) {
        let mut player = leaf;
        let mut node = usize::midpoint(leaf, self.cursors.len());
        while node > 0 {
            let other = self.tree[node];
            if other == NONE {
                self.tree[node] = player;
                return;
            }
            if self.less(other, player) {
                self.tree[node] = player;
                player = other;
            }
            node /= 2;
        }
        self.tree[0] = player;
    }

    #[inline]
    fn less(&self, a: usize, b: usize) -> bool {
        if self.heads[a] != self.heads[b] {
            return self.heads[a] < self.heads[b];
        }
        self.less_in_full(a, b)
    }

    fn less_in_full(&self, a: usize, b: usize) -> bool {
        match (self.live[a], self.live[b]) {
            (true, true) => match self.cursors[a].key().cmp(self.cursors[b].key()) {
                Ordering::Equal => a < b,
                order => order == Ordering::Less,
            },
            (a_lives, _) => a_lives,
        }
    }

    /// The cursor at the least pair.
    #[inline]
    pub(crate) fn peek(&self) -> Option<&Cursor> {
        if self.left == 0 {
            return None;
        }
        Some(&self.cursors[self.tree[0]])
    }

    /// Whether the least pair has this key.
    #[inline]
    pub(crate) fn at_key(&self, key: &[u8], head: u64) -> bool {
        let Some(cursor) = self.peek() else {
            return false;
        };
        self.heads[self.tree[0]] == head && cursor.key() == key
    }

    /// The first eight bytes of the least key.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.heads[self.tree[0]]
    }

    /// Leaves the least pair behind.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<(), MergeError> {
        let source = self.tree[0];
        let cursor = &mut self.cursors[source];
        let live = cursor
            .advance()
            .map_err(|error| MergeError { source, error })?;
        if live {
            self.heads[source] = prefix(cursor.key());
        } else {
            self.heads[source] = u64::MAX;
            self.live[source] = false;
            self.left -= 1;
        }
        let mut winner = source;
        let mut node = usize::midpoint(source, self.cursors.len());
        while node > 0 {
            let other = self.tree[node];
            if self.less(other, winner) {
                self.tree[node] = winner;
                winner = other;
            }
            node /= 2;
        }
        self.tree[0] = winner;
        Ok(())
    }

    /// What became of the extents.
    pub(crate) fn into_cursors(self) -> Vec<Cursor> {
        self.cursors
    }
}
