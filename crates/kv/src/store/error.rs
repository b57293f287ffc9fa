//! What can go wrong with a store.

use std::sync::Arc;

use thiserror::Error;

use crate::client::AddressError;
use crate::node::StartError;

/// Why a store could not do what it was asked.
///
/// Only [`Self::Unknown`] leaves open whether a write was executed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory can't be opened.
    #[error(transparent)]
    Start(Box<StartError>),
    /// An address can't be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It can never be done: an empty key, a value that is too long. Nothing was changed.
    #[error("{what}")]
    Invalid {
        /// What is wrong.
        what: Box<str>,
    },
    /// It can't be done at the moment: no leader, overload, a full disk. Nothing was changed; the
    /// same may work later.
    #[error("{what}")]
    Unavailable {
        /// What is in the way.
        what: Box<str>,
    },
    /// A write may have been executed, may be executed later, or never.
    #[error("the outcome of the write is unknown: {what}")]
    Unknown {
        /// What happened.
        what: Box<str>,
    },
    /// The store failed and must be opened again, after what the message says is mended. What was
    /// acknowledged before is safe.
    #[error("the store failed: {reason}")]
    Failed {
        /// Why.
        reason: Arc<str>,
    },
    /// The store was closed. Nothing was changed.
    #[error("the store is closed")]
    Closed,
}

impl From<StartError> for StoreError {
    fn from(error: StartError) -> Self {
        Self::Start(Box::new(error))
    }
}

impl StoreError {
    /// Whether nothing was changed and the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
