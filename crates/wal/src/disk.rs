//! The little that this crate needs of a file system, so that tests can crash it.
//!
//! Names are relative to the log's directory, with `/` between parts.

mod memory;
mod real;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use memory::{CrashPlan, MemoryDisk};
pub use real::RealDisk;

/// A directory with files in it.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Where it is, for messages.
    fn root(&self) -> &Path;

    /// The names in a directory (`""` for the root), sorted; without those that no UTF-8 string can
    /// name.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes a directory unless it is there.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// Makes an empty file; if there is one, it is emptied.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what has it. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// The full path of a name, for messages.
    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn size(&self) -> io::Result<u64>;

    /// Reads up to `buf.len()` bytes; 0 only at the end of the file.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `buf`.
    ///
    /// # Errors
    ///
    /// What the operating system says; some bytes may then be written and some not.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves blocks through `bytes` and makes the file at least so long.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`io::ErrorKind::StorageFull`] if there is no room.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Makes everything written so far durable (`fdatasync`).
    ///
    /// # Errors
    ///
    /// What the operating system says. It must not be tried again.
    fn sync_data(&self) -> io::Result<()>;
}

/// Reads until `buf` is full or the file ends; how many bytes were read.
pub(crate) fn read_full_at(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// The whole content of a small file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut content = vec![0; size];
    let filled = read_full_at(file, &mut content, 0)?;
    content.truncate(filled);
    Ok(content)
}

/// Puts `content` under `name` so that after a crash either the old or the new content is there.
pub(crate) fn replace_file(
    disk: &dyn Disk,
    name: &str,
    content: &[u8],
) -> io::Result<Arc<dyn DiskFile>> {
    let staged = format!("{name}.tmp");
    let file = disk.create(&staged)?;
    file.write_all_at(content, 0)?;
    file.sync_data()?;
    disk.rename(&staged, name)?;
    disk.sync_dir(parent(name))?;
    Ok(file)
}

/// The directory part of a name.
pub(crate) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}
