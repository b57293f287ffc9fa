//! Printing a log for a person, without opening it for writing.

use std::io::{self, Write};
use std::path::Path;

use thiserror::Error;

use crate::binary::dump_segments;
use crate::disk::{Disk, RealDisk};
use crate::error::OpenError;
use crate::log::LogEntry;
use crate::open::read_identity;
use crate::text::{PayloadText, dump_groups, escape};

/// Why a log could not be printed.
#[derive(Debug, Error)]
pub enum DumpError {
    /// It could not be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is none.
    #[error("there is no log in {}: give the directory that holds {}", dir.display(), crate::open::IDENTITY_NAME)]
    Missing {
        /// Where it should be.
        dir: std::path::PathBuf,
    },
    /// The output failed.
    #[error("could not print")]
    Output(#[from] io::Error),
}

/// Prints whose log a directory holds, its files, and every record in them.
///
/// Nothing is locked or changed, so it works beside a running node, whose newest writes may then
/// look unfinished. Damage is reported where it stands, and what comes after in the same file is
/// not printed.
///
/// # Errors
///
/// See [`DumpError`].
pub fn dump(dir: &Path, payloads: &dyn PayloadText, out: &mut dyn Write) -> Result<(), DumpError> {
    let missing = || DumpError::Missing {
        dir: dir.to_path_buf(),
    };
    if !dir.is_dir() {
        return Err(missing());
    }
    let disk = RealDisk::new(dir).map_err(|source| OpenError::Io {
        action: "open",
        path: dir.to_path_buf(),
        source,
    })?;
    dump_on(&disk, payloads, out)
}

/// Prints the log on any disk.
///
/// # Errors
///
/// See [`dump`].
pub fn dump_on(
    disk: &dyn Disk,
    payloads: &dyn PayloadText,
    out: &mut dyn Write,
) -> Result<(), DumpError> {
    let Some(found) = read_identity(disk)? else {
        return Err(DumpError::Missing {
            dir: disk.root().to_path_buf(),
        });
    };
    writeln!(out, "log of {}, {} format", found.identity, found.format)?;
    if &*found.format == "binary" {
        dump_segments(disk, payloads, out)
    } else {
        dump_groups(disk, out)
    }
}

/// One line for an entry. It is for people only, so it need not be possible to read it back.
pub(crate) fn entry_line(entry: &LogEntry, payloads: &dyn PayloadText) -> String {
    let kind = payloads.kind_name(entry.kind);
    let kind = kind.unwrap_or_else(|| entry.kind.to_string().into());
    let rendered = payloads.render(entry.kind, &entry.payload);
    let text = rendered
        .filter(|text| !text.contains(char::is_control))
        .unwrap_or_else(|| escape(&entry.payload));
    format!("{} {} {kind} {text}", entry.index, entry.term)
}
