//! Bytes from outside, taken apart with every length checked against what is left.

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};
use stdx::{LogIndex, NodeId, Term};

use super::{DecodeError, VERSION, VERSION_LEASES};
use crate::limits::MEMBERS_MAX;
use crate::message::TransferTicket;

/// An index, far enough from the end of numbers that counting on can't overflow.
pub(super) fn as_index(found: u64) -> Result<LogIndex, DecodeError> {
    if found > u64::MAX / 2 {
        return Err(DecodeError::TooLarge {
            what: "log index",
            found,
        });
    }
    Ok(LogIndex::new(found))
}

/// Bytes from outside, and how to take something off them.
pub(super) struct Input<'a>(pub(super) &'a mut Bytes);

impl Input<'_> {
    fn need(&self, len: usize) -> Result<(), DecodeError> {
        if self.0.len() < len {
            Err(DecodeError::Truncated)
        } else {
            Ok(())
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.need(4)?;
        Ok(self.0.get_u32_le())
    }

    pub(super) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.need(8)?;
        Ok(self.0.get_u64_le())
    }

    pub(super) fn version(&mut self) -> Result<u8, DecodeError> {
        match self.u8()? {
            found @ (VERSION | VERSION_LEASES) => Ok(found),
            found => Err(DecodeError::Version { found }),
        }
    }

    pub(super) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(DecodeError::Unknown {
                what: "flag",
                found,
            }),
        }
    }

    /// A term, far enough from the end of numbers that the next one exists.
    pub(super) fn term(&mut self) -> Result<Term, DecodeError> {
        let found = self.u64()?;
        if found > u64::MAX / 2 {
            return Err(DecodeError::TooLarge {
                what: "term",
                found,
            });
        }
        Ok(Term::new(found))
    }

    pub(super) fn index(&mut self) -> Result<LogIndex, DecodeError> {
        as_index(self.u64()?)
    }

    pub(super) fn position(&mut self) -> Result<(LogIndex, Term), DecodeError> {
        Ok((self.index()?, self.term()?))
    }

    pub(super) fn ticket(&mut self) -> Result<Option<TransferTicket>, DecodeError> {
        let void = match self.u8()? {
            0 => return Ok(None),
            1 => false,
            2 => true,
            found => {
                return Err(DecodeError::Unknown {
                    what: "flag",
                    found,
                });
            }
        };
        Ok(Some(TransferTicket {
            term: self.term()?,
            number: self.u32()?,
            void,
        }))
    }

    /// How many things follow, each of which takes at least `each` bytes.
    pub(super) fn count(
        &mut self,
        what: &'static str,
        each: usize,
        max: usize,
    ) -> Result<usize, DecodeError> {
        let found = self.u32()?;
        let count = found as usize;
        if count > max {
            return Err(DecodeError::TooLarge {
                what,
                found: found.into(),
            });
        }
        self.need(count.saturating_mul(each))?;
        Ok(count)
    }

    pub(super) fn byte_string(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.count("byte string", 1, usize::MAX)?;
        Ok(self.0.split_to(len))
    }

    pub(super) fn ids(&mut self) -> Result<BTreeSet<NodeId>, DecodeError> {
        let count = self.count("membership", 8, MEMBERS_MAX)?;
        let mut ids = BTreeSet::new();
        for _ in 0..count {
            let id = NodeId::new(self.u64()?);
            // One way to write each set: sorted, without repetition, without zero.
            if id == NodeId::ZERO || ids.last().is_some_and(|&last| last >= id) {
                return Err(DecodeError::Unknown {
                    what: "order of ids",
                    found: 0,
                });
            }
            ids.insert(id);
        }
        Ok(ids)
    }

    pub(super) fn finish(&self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }
}
