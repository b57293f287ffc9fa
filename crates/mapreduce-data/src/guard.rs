//! User code may panic; a task then fails like any other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::UserError;

/// Calls user code. What it shares with the engine is thrown away after a panic, with the task.
pub(crate) fn call<T>(user: impl FnOnce() -> Result<T, UserError>) -> Result<T, UserError> {
    catch_unwind(AssertUnwindSafe(user))
        .unwrap_or_else(|payload| Err(UserError::Panicked(text_of(&*payload))))
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    let text = payload.downcast_ref::<String>();
    text.cloned()
        .unwrap_or_else(|| "without a message".to_owned())
}
