//! Printing the files of the text format, which are text already.

use std::io::Write;

use super::group::{group_of_dir, log_name, metadata_name};
use crate::disk::{Disk, read_all};
use crate::dump::DumpError;
use crate::error::OpenError;

/// Prints all groups' files.
pub(crate) fn dump_groups(disk: &dyn Disk, out: &mut dyn Write) -> Result<(), DumpError> {
    let list = disk.list("").map_err(|source| OpenError::Io {
        action: "list",
        path: disk.root().to_path_buf(),
        source,
    })?;
    for group in list.iter().filter_map(|name| group_of_dir(name)) {
        for name in [metadata_name(group), log_name(group)] {
            let content = disk.open(&name).and_then(|file| read_all(&*file));
            let content = content.map_err(|source| OpenError::Io {
                action: "read",
                path: disk.path(&name),
                source,
            })?;
            writeln!(out, "{name}:")?;
            for line in String::from_utf8_lossy(&content).lines() {
                writeln!(out, "  {}", line.escape_debug())?;
            }
        }
    }
    Ok(())
}
