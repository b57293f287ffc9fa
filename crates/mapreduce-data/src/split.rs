//! Splits: which part of which input a map task reads.

use serde::{Deserialize, Serialize};

use crate::error::InputError;

/// What a map task reads. Splits of one file together cover every record exactly once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Split {
    /// Which of the job's inputs it belongs to, counted from 0.
    pub input: u32,
    /// A path, or a URL of an object.
    pub location: String,
    /// The first byte; in Parquet the first row group.
    pub start: u64,
    /// How many bytes; in Parquet how many row groups. A record belongs to the split in which it
    /// starts.
    pub len: u64,
    /// The length of the whole file or object when the split was planned.
    pub file_len: u64,
    /// How records are found.
    pub format: Format,
    /// How bytes are unpacked first.
    pub compression: Compression,
}

/// How records are found in bytes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Lines; `\n` or `\r\n` ends one, and the last may have no end.
    #[default]
    Text,
    /// Lines of fields.
    Csv(CsvOptions),
    /// Lines that are JSON values each; blank lines are skipped.
    JsonLines,
    /// Rows, each given as a line of JSON.
    Parquet,
}

/// How CSV is read.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CsvOptions {
    /// Between fields.
    pub delimiter: u8,
    /// The first line names the columns and is no record.
    pub header: bool,
    /// Quoted fields may contain line feeds: such a file can't be split.
    pub multiline: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            delimiter: b',',
            header: false,
            multiline: false,
        }
    }
}

/// How bytes are packed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// They aren't.
    #[default]
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
    /// `.lz4`, the frame format.
    Lz4,
}

/// How inputs are found and cut.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct InputOptions {
    /// The format of all of them; `None` goes by the name (`.csv`, `.jsonl`, `.parquet`, else text).
    pub format: Option<Format>,
    /// How large splits should be; files that can't be split are one each.
    pub split_bytes: u64,
    /// How many splits there should be at least, as far as the data allows (one for each slot, say).
    pub splits_min: usize,
}

impl Default for InputOptions {
    fn default() -> Self {
        Self {
            format: None,
            split_bytes: 64 << 20,
            splits_min: 1,
        }
    }
}

/// Finds the files and objects that `inputs` name and cuts them into splits, in the order of
/// `inputs` and of names.
///
/// An input is a path of a file or a directory (then all files under it whose names do not start
/// with `.` or `_`), a pattern (`logs/*.gz`, `**` for any depth), or a URL of an object store.
///
/// # Errors
///
/// When an input names nothing, or can't be looked at.
pub fn plan_splits(inputs: &[String], options: &InputOptions) -> Result<Vec<Split>, InputError> {
    crate::input::plan(inputs, options)
}
