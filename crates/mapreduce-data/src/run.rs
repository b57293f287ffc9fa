//! Runs: sorted pairs in blocks with checksums, in memory or in files.
//!
//! An *extent* is the sorted pairs of one map task for one partition. It is a sequence of blocks,
//! numbered from 0, and an end block with the totals. A run file is a sequence of extents.
//!
//! A block has a header of 24 bytes, little-endian: `K`, the version (1), the kind, a zero byte, the
//! block's number, its length as stored, its length when unpacked, how many pairs it holds, and the
//! CRC32C of the 20 bytes before and of the block as stored. A pair is the length of its key and of
//! its value (LEB128), the key, the value; it never crosses blocks.

mod cursor;
mod format;
mod merge;
mod writer;

pub(crate) use cursor::{Check, Cursor, VerifyError, verify};
pub(crate) use format::{RunError, decode_record, encode_lengths};
pub(crate) use merge::{Merge, MergeError, prefix};
pub(crate) use writer::{RunFile, RunWriter};
