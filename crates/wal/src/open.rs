//! Opening a directory: lock, identity, recovery.

use std::path::Path;

use crate::error::OpenError;
use crate::log::Opened;
use crate::options::{Identity, Options};

/// Opens the log in a directory, which is made if it isn't there, and recovers what it holds.
///
/// # Errors
///
/// See [`OpenError`]. Nothing in the directory is changed when it is damaged.
pub fn open(dir: &Path, _options: Options) -> Result<Opened, OpenError> {
    Err(OpenError::InUse {
        dir: dir.to_path_buf(),
    })
}

/// Whose log a directory holds; `None` if there is none.
///
/// # Errors
///
/// [`OpenError::Corrupt`], [`OpenError::NewerVersion`] or [`OpenError::Io`].
pub fn identity(_dir: &Path) -> Result<Option<Identity>, OpenError> {
    Ok(None)
}
