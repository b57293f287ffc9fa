//! The format that a person can read.

mod payload;

pub use payload::{EscapedText, PayloadText};

use std::fs::File;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::OpenError;
use crate::log::Opened;
use crate::options::Options;

pub(crate) fn create(_disk: &dyn Disk) -> Result<(), OpenError> {
    Ok(())
}

pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    _options: &Options,
    _payloads: Arc<dyn PayloadText>,
    _lock: Option<File>,
) -> Result<Opened, OpenError> {
    Err(OpenError::InUse {
        dir: disk.root().to_path_buf(),
    })
}
