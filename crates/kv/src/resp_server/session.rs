//! What a command that isn't about data may see and change.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use resp::Protocol;

use super::clients::{Client, Clients};
use super::stats::Stats;
use super::table::CommandTable;
use crate::node::Handle;

/// What all connections of the door share.
pub(crate) struct Door {
    pub(super) handle: Handle,
    pub(super) commands: CommandTable,
    pub(super) clients: Clients,
    pub(super) stats: Stats,
    pub(super) started: Instant,
    /// Forty hexadecimal digits, new at every start.
    pub(super) run_id: String,
    /// What was counted when somebody last asked: for operations per second.
    pub(super) sampled: Mutex<(Instant, u64)>,
}

/// One request's access to its connection.
pub(super) struct Session<'a> {
    pub(super) door: &'a Door,
    pub(super) client: &'a Arc<Client>,
    pub(super) protocol: &'a mut Protocol,
}

/// What happens after a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flow {
    /// The next one.
    Continue,
    /// The reply is sent and the connection closed.
    Close,
    /// A pause first.
    Sleep(Duration),
}
