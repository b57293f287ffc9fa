//! Opening a directory: lock, identity, recovery.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crc32c::crc32c;
use stdx::NodeId;

use crate::binary;
use crate::disk::{Disk, RealDisk, read_all, replace_file};
use crate::error::{CorruptError, OpenError};
use crate::log::Opened;
use crate::options::{Format, Identity, Options};
use crate::text;

/// The file that says whose log a directory holds.
pub(crate) const IDENTITY_NAME: &str = "identity.txt";
/// The file that is locked while a log is open.
const LOCK_NAME: &str = "lock";
/// The version of the identity file.
const VERSION: u32 = 1;

/// Opens the log in a directory, which is made if it isn't there, and recovers what it holds.
///
/// # Errors
///
/// See [`OpenError`]. Nothing in the directory is changed when it is damaged.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the options are made for one call"
)]
pub fn open(dir: &Path, options: Options) -> Result<Opened, OpenError> {
    let fail = |action| {
        move |source| OpenError::Io {
            action,
            path: dir.to_path_buf(),
            source,
        }
    };
    let disk = RealDisk::new(dir).map_err(fail("make the directory"))?;
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(LOCK_NAME))
        .map_err(fail("make a lock file in"))?;
    match lock.try_lock() {
        Ok(()) => open_locked(Arc::new(disk), &options, Some(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            dir: dir.to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(fail("lock")(source)),
    }
}

/// Opens the log on any disk, without locking it: for simulations and tests.
///
/// # Errors
///
/// See [`open`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "the options are made for one call"
)]
pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<Opened, OpenError> {
    open_locked(disk, &options, None)
}

fn open_locked(
    disk: Arc<dyn Disk>,
    options: &Options,
    lock: Option<File>,
) -> Result<Opened, OpenError> {
    if let Some(found) = read_identity(&*disk)? {
        found.check(&*disk, options)?;
    } else {
        match options.format {
            Format::Binary => binary::create(&*disk, options)?,
            Format::Text(_) => text::create(&*disk)?,
        }
        let content = identity_text(options.identity, options.format.name());
        replace_file(&*disk, IDENTITY_NAME, content.as_bytes()).map_err(|source| {
            OpenError::Io {
                action: "write",
                path: disk.path(IDENTITY_NAME),
                source,
            }
        })?;
    }
    match &options.format {
        Format::Binary => binary::recover(disk, options, lock),
        Format::Text(payloads) => text::recover(disk, options, Arc::clone(payloads), lock),
    }
}

/// Whose log a directory holds; `None` if there is none.
///
/// # Errors
///
/// [`OpenError::Corrupt`], [`OpenError::NewerVersion`] or [`OpenError::Io`].
pub fn identity(dir: &Path) -> Result<Option<Identity>, OpenError> {
    if !dir.exists() {
        return Ok(None);
    }
    let disk = RealDisk::new(dir).map_err(|source| OpenError::Io {
        action: "open",
        path: dir.to_path_buf(),
        source,
    })?;
    Ok(read_identity(&disk)?.map(|found| found.identity))
}

/// What an identity file says.
#[derive(Debug)]
pub(crate) struct IdentityFile {
    pub(crate) identity: Identity,
    pub(crate) format: Box<str>,
}

impl IdentityFile {
    fn check(&self, disk: &dyn Disk, options: &Options) -> Result<(), OpenError> {
        let dir = disk.root().to_path_buf();
        if self.identity != options.identity {
            let (expected, found) = (options.identity, self.identity);
            return Err(OpenError::OtherIdentity {
                dir,
                expected,
                found,
            });
        }
        if *self.format != *options.format.name() {
            let (expected, found) = (options.format.name(), self.format.clone());
            return Err(OpenError::OtherFormat {
                dir,
                expected,
                found,
            });
        }
        Ok(())
    }
}

fn identity_text(identity: Identity, format: &str) -> String {
    let text = format!(
        "kontiki log, version {VERSION}\ncluster {:016x}\nnode {}\nformat {format}\n",
        identity.cluster,
        identity.node.get()
    );
    format!("{text}checksum {:08x}\n", crc32c(text.as_bytes()))
}

/// The identity file of a directory, if there is one.
pub(crate) fn read_identity(disk: &dyn Disk) -> Result<Option<IdentityFile>, OpenError> {
    let content = match disk.open(IDENTITY_NAME).and_then(|file| read_all(&*file)) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            let path = disk.path(IDENTITY_NAME);
            return Err(OpenError::Io {
                action: "read",
                path,
                source,
            });
        }
    };
    let corrupt = || CorruptError {
        file: disk.path(IDENTITY_NAME),
        offset: 0,
        expected: "whose log this is, and the checksum of that".into(),
        found: String::from_utf8_lossy(&content[..content.len().min(200)])
            .escape_debug()
            .collect(),
    };
    let text = checked_text(&content).ok_or_else(corrupt)?;
    let version = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("kontiki log, version "));
    let version: u32 = version
        .and_then(|version| version.parse().ok())
        .ok_or_else(corrupt)?;
    if version != VERSION {
        let file = disk.path(IDENTITY_NAME);
        return Err(OpenError::NewerVersion {
            file,
            found: version,
            known: VERSION,
        });
    }
    Ok(Some(parse_identity(text).ok_or_else(corrupt)?))
}

/// The part of a text before its line with the checksum, if that is right.
pub(crate) fn checked_text(content: &[u8]) -> Option<&str> {
    const LINE_BYTES: usize = "checksum 01234567\n".len();
    let text = str::from_utf8(content).ok()?;
    let (text, line) = text.split_at_checked(text.len().checked_sub(LINE_BYTES)?)?;
    (line == format!("checksum {:08x}\n", crc32c(text.as_bytes()))).then_some(text)
}

fn parse_identity(text: &str) -> Option<IdentityFile> {
    let mut lines = text.lines().skip(1);
    let cluster = lines.next()?.strip_prefix("cluster ")?;
    let node = lines.next()?.strip_prefix("node ")?;
    let format = lines.next()?.strip_prefix("format ")?;
    let identity = Identity {
        cluster: u64::from_str_radix(cluster, 16).ok()?,
        node: NodeId::new(node.parse().ok()?),
    };
    Some(IdentityFile {
        identity,
        format: format.into(),
    })
}
