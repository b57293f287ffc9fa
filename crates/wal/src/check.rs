//! Checking a log without changing it.

use std::path::Path;
use std::sync::Arc;

use stdx::{GroupId, LogIndex};

use crate::disk::{Disk, MemoryDisk, RealDisk, read_all};
use crate::dump::DumpError;
use crate::error::OpenError;
use crate::log::{Opened, Vote};
use crate::open::{open_on, read_identity};
use crate::options::{Format, Identity, Options};

/// What a sound log holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checked {
    /// Whose it is.
    pub identity: Identity,
    /// How it is kept: `binary` or `text`.
    pub format: Box<str>,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Bytes of a last write that was not complete, which a start would drop.
    pub torn_bytes: u64,
    /// Each group's state.
    pub groups: Vec<CheckedGroup>,
}

/// What a sound log holds of one group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckedGroup {
    /// Which.
    pub group: GroupId,
    /// Its election state.
    pub vote: Vote,
    /// What its entries start after.
    pub base: LogIndex,
    /// The last entry; the same if there is none.
    pub last: LogIndex,
}

/// Reads the whole log as a start would, and says what it holds.
///
/// Nothing is locked or changed: all of it happens on a copy in memory, so there must be as much
/// memory as there is log. Beside a running node the newest writes may look unfinished.
///
/// # Errors
///
/// As [`crate::open()`]: damage is named with its file and offset. [`DumpError::Missing`] if there
/// is no log.
pub fn check(dir: &Path) -> Result<Checked, DumpError> {
    let missing = || DumpError::Missing {
        dir: dir.to_path_buf(),
    };
    if !dir.is_dir() {
        return Err(missing());
    }
    let real = RealDisk::new(dir).map_err(|source| failed("open", dir, source))?;
    let found = read_identity(&real)?.ok_or_else(missing)?;
    let copy = MemoryDisk::at(dir);
    let bytes = copy_files(&real, &copy, "")?;
    let mut options = Options::new(found.identity);
    if &*found.format != Format::Binary.name() {
        options.format = Format::escaped_text();
    }
    let Opened {
        groups, torn_bytes, ..
    } = open_on(Arc::new(copy), options)?;
    let groups = groups.into_iter().map(|(group, recovered)| CheckedGroup {
        group,
        vote: recovered.vote,
        base: recovered.base.index,
        last: recovered.last_index,
    });
    Ok(Checked {
        identity: found.identity,
        format: found.format,
        bytes,
        torn_bytes,
        groups: groups.collect(),
    })
}

/// Copies the files of a directory and of the directories in it; how many bytes.
fn copy_files(real: &RealDisk, copy: &MemoryDisk, dir: &str) -> Result<u64, OpenError> {
    let mut bytes = 0;
    let list = real.list(dir);
    for name in list.map_err(|source| failed("list", &real.path(dir), source))? {
        let name = if dir.is_empty() {
            name
        } else {
            format!("{dir}/{name}")
        };
        let path = real.path(&name);
        if path.is_dir() {
            // The text format has one level of them, a group each.
            if dir.is_empty() {
                bytes += copy_files(real, copy, &name)?;
            }
            continue;
        }
        let content = real.open(&name).and_then(|file| read_all(&*file));
        let content = content.map_err(|source| failed("read", &path, source))?;
        bytes += content.len() as u64;
        copy.put(&name, &content);
    }
    Ok(bytes)
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> OpenError {
    OpenError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}
