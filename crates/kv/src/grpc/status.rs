//! Errors as gRPC status codes, with the leader's address where it helps.

use engine::EngineError;
use kv_core::ReplyError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::node::{AdminError, ExecuteError, Handle, ReadError};

/// The metadata key under which an error names the leader's gRPC door.
pub const LEADER_KEY: &str = "kontiki-leader";

/// The metadata key and value by which the server vouches that a failed write was not executed.
pub const OUTCOME_KEY: &str = "kontiki-outcome";
/// See [`OUTCOME_KEY`].
pub const OUTCOME_REJECTED: &str = "rejected";

/// Marks an error of a write that was certainly not executed.
fn rejected(mut status: Status) -> Status {
    let value = MetadataValue::from_static(OUTCOME_REJECTED);
    status.metadata_mut().insert(OUTCOME_KEY, value);
    status
}

/// Names the leader in an answer of a node that isn't.
pub(super) fn name_leader(metadata: &mut MetadataMap, handle: &Handle) {
    if !handle.shared.published.is_leading()
        && let Some((_, Some(address))) = handle.leader()
        && let Ok(address) = address.parse()
    {
        metadata.insert(LEADER_KEY, address);
    }
}

/// Adds the leader's address to an error.
fn with_leader(mut status: Status, handle: &Handle) -> Status {
    if let Some((_, Some(address))) = handle.leader()
        && let Ok(address) = address.parse()
    {
        status.metadata_mut().insert(LEADER_KEY, address);
    }
    status
}

pub(super) fn of_execute(error: ExecuteError, handle: &Handle) -> Status {
    let code = match error {
        ExecuteError::NoLeader { .. } | ExecuteError::ShuttingDown => Code::Unavailable,
        ExecuteError::Overloaded | ExecuteError::DiskFull => Code::ResourceExhausted,
        ExecuteError::TooLarge { .. } => Code::InvalidArgument,
        ExecuteError::Unknown => Code::Aborted,
    };
    let status = with_leader(Status::new(code, error.to_string()), handle);
    if error == ExecuteError::Unknown {
        status
    } else {
        rejected(status)
    }
}

pub(super) fn of_read(error: ReadError, handle: &Handle) -> Status {
    let code = match error {
        ReadError::NoLeader { .. } | ReadError::ShuttingDown | ReadError::TimedOut => {
            Code::Unavailable
        }
        ReadError::Overloaded => Code::ResourceExhausted,
    };
    with_leader(Status::new(code, error.to_string()), handle)
}

pub(super) fn of_admin(error: &AdminError, handle: &Handle) -> Status {
    let code = match error {
        AdminError::NotLeader { .. } | AdminError::ShuttingDown => Code::Unavailable,
        AdminError::Refused { .. } => Code::FailedPrecondition,
        AdminError::TimedOut => Code::DeadlineExceeded,
        AdminError::Unknown => Code::Aborted,
    };
    let status = with_leader(Status::new(code, error.to_string()), handle);
    match error {
        AdminError::TimedOut | AdminError::Unknown => status,
        AdminError::NotLeader { .. } | AdminError::ShuttingDown | AdminError::Refused { .. } => {
            rejected(status)
        }
    }
}

/// Storage that fails is logged where it fails.
pub(super) fn of_engine(error: &EngineError) -> Status {
    Status::internal(format!("storage failed: {error}"))
}

pub(super) fn of_reply(error: ReplyError) -> Status {
    let code = match error {
        ReplyError::TooLarge | ReplyError::InvalidExpireTime => Code::InvalidArgument,
        ReplyError::NotAnInteger
        | ReplyError::NotAFloat
        | ReplyError::Overflow
        | ReplyError::NotFinite
        | ReplyError::WrongType
        | ReplyError::VersionMismatch { .. }
        | ReplyError::ValueMismatch { .. }
        | ReplyError::NoSuchKey => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}
