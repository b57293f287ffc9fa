//! Giving segments back, oldest first.
//!
//! A segment is needed while it holds an entry past its group's base, or the record that last said
//! a group's vote or base. A group that is idle would keep its old segment for ever, and with it
//! all that came after. So what it needs is written again into the newest segment if it is small.

use std::sync::Arc;

use stdx::{GroupId, LogIndex};

use super::{BinaryLog, Reserve};
use crate::error::WalError;
use crate::limits::{CARRY_FRACTION, CARRY_SEGMENTS_MIN};
use crate::log::LogReader as _;

use super::reader::BinaryReader;

/// A group that needs the oldest segment.
#[derive(Clone, Copy, Debug)]
struct Pin {
    group: GroupId,
    /// Bytes of entries that would have to be written again; 0 if only the vote and the base.
    live_bytes: u64,
    /// The entries, if they are what pins it.
    entries: Option<(LogIndex, LogIndex)>,
}

impl BinaryLog {
    /// Gives back all segments that aren't needed. Everything written must be durable.
    pub(super) fn reclaim(&mut self) -> Result<(), WalError> {
        debug_assert_eq!(
            self.active.synced, self.active.ending.end,
            "call sync first"
        );
        loop {
            let (oldest, count) = {
                let index = self.shared.read();
                (index.segments.keys().next().copied(), index.segments.len())
            };
            let Some(oldest) = oldest.filter(|&oldest| oldest < self.active.segment.sequence)
            else {
                return Ok(());
            };
            let pins = self.pins(oldest);
            if !pins.is_empty() && !self.carry(&pins, count)? {
                return Ok(());
            }
            self.retire(oldest)?;
        }
    }

    fn pins(&self, oldest: u64) -> Vec<Pin> {
        let index = self.shared.read();
        let pins = self.groups.iter().filter_map(|(&id, group)| {
            let group_index = index.groups.get(&id)?;
            let by_entries = group_index.oldest_segment() == Some(oldest);
            let by_words = group.oldest_segment() == Some(oldest);
            (by_entries || by_words).then(|| Pin {
                group: id,
                live_bytes: if by_entries {
                    group_index.live_bytes()
                } else {
                    0
                },
                entries: by_entries.then(|| (group_index.base.next(), group_index.last)),
            })
        });
        pins.collect()
    }

    /// Writes again what pins the oldest segment, if it is worth it; false if not.
    fn carry(&mut self, pins: &[Pin], segments: usize) -> Result<bool, WalError> {
        let live_bytes: u64 = pins.iter().map(|pin| pin.live_bytes).sum();
        let bytes_max = u64::from(self.pool.segment_bytes()) / CARRY_FRACTION;
        if live_bytes > 0 && (segments < CARRY_SEGMENTS_MIN || live_bytes > bytes_max) {
            return Ok(false);
        }
        self.staged.clear();
        let reader = BinaryReader::new(Arc::clone(&self.shared));
        for pin in pins {
            let entries = match pin.entries {
                // What can't be read stays where it is: whoever needs it gets the error.
                Some((from, to)) => match reader.entries(pin.group, from, to, usize::MAX) {
                    Ok(entries) => {
                        let last = entries.last().map(|entry| entry.index);
                        assert_eq!(last, Some(to), "all live entries are carried");
                        entries
                    }
                    Err(_unreadable) => return Ok(false),
                },
                None => Vec::new(),
            };
            self.stage_carried(pin.group, &entries)?;
        }
        match self.write_staged(Reserve::Keep) {
            Ok(()) => {}
            // Nothing is lost, and the next compaction tries again.
            Err(WalError::DiskFull { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        self.sync_active()?;
        Ok(true)
    }

    fn retire(&mut self, oldest: u64) -> Result<(), WalError> {
        let removed = self.shared.write().segments.remove(&oldest);
        let segment = removed.expect("the oldest segment was just looked up");
        self.closed.remove(&oldest);
        let retired = self.pool.retire(&*self.disk, segment);
        retired.map_err(|failure| self.poisoned(failure))
    }
}
