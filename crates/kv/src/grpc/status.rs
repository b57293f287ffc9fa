//! Errors as gRPC status codes, with the leader's address where it helps.

use engine::EngineError;
use kv_core::ReplyError;
use tonic::{Code, Status};

use crate::node::{AdminError, ExecuteError, Handle, ReadError};

/// The metadata key under which an error names the leader's gRPC door.
pub const LEADER_KEY: &str = "kontiki-leader";

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
    with_leader(Status::new(code, error.to_string()), handle)
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
    with_leader(Status::new(code, error.to_string()), handle)
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
