//! The map side.

use crate::error::{InputError, TaskError};
use crate::progress::{Cancel, Progress};
use crate::task::{MapOutput, MapTask};

pub(crate) fn run(
    task: &MapTask,
    _progress: &Progress,
    cancel: &Cancel,
) -> Result<MapOutput, TaskError> {
    cancel.check()?;
    Err(TaskError::Input(InputError::Unsupported {
        location: task.split.location.clone(),
        reason: "this build runs nothing".to_owned(),
    }))
}
