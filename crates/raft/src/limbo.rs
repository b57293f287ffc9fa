//! What a new leader must not answer reads of: keys that undecided entries may touch.
//!
//! Between what a new leader knows to be committed and the last entry of an earlier term lies
//! the *limbo*: the old leader may have committed any of these entries and told somebody, or
//! none. Reads of everything else are the same either way.
//!
//! The core sees bytes. The driver says which keys an entry's bytes touch by filling a
//! [`LimboIndex`]; whatever it can't name it reports with [`LimboIndex::add_everything`].

use std::collections::BTreeSet;

use bytes::Bytes;
use stdx::{Instant, LogIndex};

use crate::entry::Payload;
use crate::planted::planted;
use crate::raft::Raft;

/// A new leader may serve reads of what is not in limbo, from exactly the committed state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Inherited {
    /// By this node's clock, to be compared after the state was looked at.
    pub until: Instant,
    /// The state to serve from stands here or later; the limbo begins after it.
    pub committed: LogIndex,
    /// Where the limbo ends: the last entry of an earlier term.
    pub through: LogIndex,
}

/// Keys and ranges that entries in limbo may touch.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LimboIndex {
    keys: BTreeSet<Bytes>,
    /// From the first key on, up to but without the second; without an end if that is `None`.
    ranges: Vec<(Bytes, Option<Bytes>)>,
    everything: bool,
}

/// Keys after which single keys are no longer told apart.
const KEYS_MAX: usize = 1 << 16;

impl LimboIndex {
    /// An entry touches one key.
    pub fn add_key(&mut self, key: Bytes) {
        if self.keys.len() >= KEYS_MAX {
            self.add_everything();
        } else if !self.everything {
            self.keys.insert(key);
        }
    }

    /// An entry touches every key from `start` on, up to but without `end`.
    pub fn add_range(&mut self, start: Bytes, end: Option<Bytes>) {
        if self.ranges.len() >= KEYS_MAX {
            self.add_everything();
        } else if !self.everything {
            self.ranges.push((start, end));
        }
    }

    /// An entry may touch anything: it clears all keys, or nobody knows what it does.
    pub fn add_everything(&mut self) {
        *self = Self {
            everything: true,
            ..Self::default()
        };
    }

    /// Whether a read of a key must wait.
    #[must_use]
    pub fn holds_key(&self, key: &[u8]) -> bool {
        self.everything
            || self.keys.contains(key)
            || self.ranges.iter().any(|(start, end)| {
                start.as_ref() <= key && end.as_ref().is_none_or(|end| key < end.as_ref())
            })
    }

    /// Whether a read of all keys from `start` on, up to but without `end`, must wait.
    #[must_use]
    pub fn holds_range(&self, start: &[u8], end: Option<&[u8]>) -> bool {
        let before_end = |key: &[u8]| end.is_none_or(|end| key < end);
        self.everything
            || self
                .keys
                .iter()
                .any(|key| start <= key.as_ref() && before_end(key))
            || self.ranges.iter().any(|(from, to)| {
                before_end(from) && to.as_ref().is_none_or(|to| start < to.as_ref())
            })
    }

    /// Whether every read must wait.
    #[must_use]
    pub const fn holds_everything(&self) -> bool {
        self.everything
    }

    /// Whether no read must wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.everything && self.keys.is_empty() && self.ranges.is_empty()
    }
}

impl Raft {
    /// Whether this node is a new leader that may serve reads before it has committed
    /// anything of its own, and which it may not.
    #[must_use]
    pub fn inherited(&self) -> Option<Inherited> {
        let leader = self.leading()?;
        let serves = leader.inherit_until > Instant::EPOCH && leader.transfer_target().is_none();
        (serves && self.commit < leader.term_start).then(|| Inherited {
            until: leader.inherit_until,
            committed: self.commit,
            through: leader.term_start.previous(),
        })
    }

    /// Whether an inherited read may be served at `now` from what is applied here.
    #[must_use]
    pub fn inherited_now(&self, now: Instant) -> Option<Inherited> {
        self.inherited()
            .filter(|inherited| now < inherited.until && self.applied >= inherited.committed)
    }

    /// The keys in limbo, by the driver's knowledge of its commands.
    ///
    /// To be made once for each time that [`Self::inherited`] becomes `Some`. An entry whose
    /// bytes are no longer in memory may touch anything.
    #[must_use]
    pub fn limbo_index(
        &self,
        inherited: Inherited,
        mut touches: impl FnMut(&Bytes, &mut LimboIndex),
    ) -> LimboIndex {
        let mut limbo = LimboIndex::default();
        if planted!(self.config, LimboIgnored) {
            return limbo;
        }
        let mut index = inherited.committed.next();
        while index <= inherited.through && !limbo.holds_everything() {
            match self.log.cached(index).map(|entry| &entry.payload) {
                Some(Payload::Data(data)) => touches(data, &mut limbo),
                Some(Payload::Noop | Payload::Membership(_)) => {}
                None => limbo.add_everything(),
            }
            index = index.next();
        }
        limbo
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn keys_and_ranges_are_found_by_key_and_by_range() {
        let mut limbo = LimboIndex::default();
        assert!(limbo.is_empty());
        limbo.add_key(key("c"));
        limbo.add_range(key("m"), Some(key("p")));
        limbo.add_range(key("x"), None);
        for (text, held) in [
            ("b", false),
            ("c", true),
            ("ca", false),
            ("m", true),
            ("oz", true),
            ("p", false),
            ("z", true),
        ] {
            assert_eq!(limbo.holds_key(text.as_bytes()), held, "{text}");
        }
        for (start, end, held) in [
            ("a", Some("c"), false),
            ("a", Some("d"), true),
            ("d", Some("m"), false),
            ("d", Some("n"), true),
            ("o", Some("oa"), true),
            ("p", Some("x"), false),
            ("p", None, true),
        ] {
            let end = end.map(str::as_bytes);
            assert_eq!(limbo.holds_range(start.as_bytes(), end), held, "{start}");
        }
        limbo.add_everything();
        assert!(limbo.holds_key(b"b") && limbo.holds_range(b"a", Some(b"b")));
    }
}
