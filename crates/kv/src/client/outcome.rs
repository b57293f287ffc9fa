//! What became of a call.

use core::error::Error;
use core::fmt;

use tonic::{Code, ConnectError, Status};

use crate::grpc::{OUTCOME_KEY, OUTCOME_REJECTED};

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a write may have been refused, or its outcome may be unknown"]
pub enum Outcome<T> {
    /// It is durable on a majority, and every later read sees it.
    Committed(T),
    /// It was certainly not executed, and never will be.
    Rejected(Failed),
    /// It may have been executed, may be executed later, or never. Only reading tells.
    Unknown(Failed),
}

impl<T> Outcome<T> {
    /// The same with another answer.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Committed(answer) => Outcome::Committed(change(answer)),
            Self::Rejected(failed) => Outcome::Rejected(failed),
            Self::Unknown(failed) => Outcome::Unknown(failed),
        }
    }

    /// The answer of a committed write.
    ///
    /// # Errors
    ///
    /// When it was not executed or may not have been; the error's text says which.
    pub fn committed(self) -> Result<T, Failed> {
        match self {
            Self::Committed(answer) => Ok(answer),
            Self::Rejected(failed) => Err(failed),
            Self::Unknown(failed) => Err(Failed {
                message: format!("the outcome is unknown: {}", failed.message).into(),
                ..failed
            }),
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failed {
    /// The kind of failure.
    pub code: Code,
    /// What happened, for people.
    pub message: Box<str>,
}

impl Failed {
    pub(super) fn new(status: &Status) -> Self {
        // What the connection says is more useful than "transport error".
        let mut message = status.message().to_owned();
        let mut source = status.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = error.source();
        }
        Self {
            code: status.code(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failed {}

/// Whether a failed write certainly did nothing: the server says so, or was never reached.
pub(super) fn was_not_executed(status: &Status) -> bool {
    let said = status
        .metadata()
        .get(OUTCOME_KEY)
        .is_some_and(|value| value == OUTCOME_REJECTED);
    let refused = matches!(
        status.code(),
        Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented
    );
    said || refused || was_not_sent(status)
}

/// Whether the connection could not even be made.
fn was_not_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Whether the same write may be executed if it is sent again.
pub(super) fn may_work_later(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(code: Code) -> Status {
        let mut status = Status::new(code, "");
        let value = OUTCOME_REJECTED.parse().unwrap();
        status.metadata_mut().insert(OUTCOME_KEY, value);
        status
    }

    #[test]
    fn only_what_the_server_vouches_for_is_tried_again() {
        assert!(was_not_executed(&marked(Code::Unavailable)));
        assert!(may_work_later(&marked(Code::Unavailable)));
        // A broken connection looks the same but for the mark.
        assert!(!was_not_executed(&Status::unavailable("broken pipe")));
        assert!(!was_not_executed(&Status::aborted("leadership lost")));
        assert!(!was_not_executed(&Status::deadline_exceeded("too late")));
        assert!(!was_not_executed(&Status::cancelled("gone")));
        assert!(was_not_executed(&Status::invalid_argument(
            "the key is empty"
        )));
        assert!(!may_work_later(&Status::invalid_argument(
            "the key is empty"
        )));
    }
}
