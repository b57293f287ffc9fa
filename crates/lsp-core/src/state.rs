//! The life of a connection as a table.
//!
//! A connection is in one of five phases, and four things can happen to its phase.
//! [`Phase::next`] is the whole table, written out, and the only place that decides; a
//! test prints every phase against every trigger, and the table in `docs/spec/lsp.md` is
//! that print.
//!
//! ```text
//!              Acknowledged           CloseRequested            Drained
//!  Connecting --------------> Open -------------------> Draining -------> Closed
//!      |  \                     |                           |               ^
//!      |   `----------- CloseRequested ------------------------------------'
//!      |                        |                           |
//!      `---- SilenceLimit ------+------ SilenceLimit -------'---> Lost
//! ```
//!
//! There is no message for "closed" in version 1: a peer that closed just falls silent,
//! and the other side takes it for lost. `Closed` is therefore our own doing only.

use core::fmt;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// A client's Connect is on its way. A server's connection never is here.
    Connecting,
    /// Data flows in both directions.
    Open,
    /// Closed by the application; what it wrote before is still being delivered.
    Draining,
    /// Closed, and everything that was written was acknowledged.
    Closed,
    /// The peer was silent for the limit of epochs.
    Lost,
}

/// What can change a connection's phase.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Trigger {
    /// The server acknowledged the Connect.
    Acknowledged,
    /// The application closes the connection.
    CloseRequested,
    /// Nothing that was written is left unacknowledged.
    Drained,
    /// As many epochs as the limit passed without a message from the peer.
    SilenceLimit,
}

impl Phase {
    /// All phases, in the order of a life.
    pub const ALL: [Self; 5] = [
        Self::Connecting,
        Self::Open,
        Self::Draining,
        Self::Closed,
        Self::Lost,
    ];

    /// The phase after `trigger`; `None` where it can't happen or changes nothing.
    // spec: LSP-7.1
    #[must_use]
    pub const fn next(self, trigger: Trigger) -> Option<Self> {
        match (self, trigger) {
            (Self::Connecting, Trigger::Acknowledged) => Some(Self::Open),
            (Self::Connecting, Trigger::CloseRequested) => Some(Self::Closed),
            (Self::Connecting, Trigger::Drained) => None,
            (Self::Open, Trigger::Acknowledged | Trigger::Drained) => None,
            (Self::Open, Trigger::CloseRequested) => Some(Self::Draining),
            (Self::Draining, Trigger::Acknowledged | Trigger::CloseRequested) => None,
            (Self::Draining, Trigger::Drained) => Some(Self::Closed),
            (Self::Connecting | Self::Open | Self::Draining, Trigger::SilenceLimit) => {
                Some(Self::Lost)
            }
            (Self::Closed | Self::Lost, _) => None,
        }
    }

    /// Whether the connection is over: it sends nothing more and has no timer.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Lost)
    }
}

impl Trigger {
    /// All triggers.
    pub const ALL: [Self; 4] = [
        Self::Acknowledged,
        Self::CloseRequested,
        Self::Drained,
        Self::SilenceLimit,
    ];
}

/// The table as Markdown: one row a phase, one column a trigger.
#[derive(Clone, Copy, Debug)]
pub struct TransitionTable;

impl fmt::Display for TransitionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| phase |")?;
        for trigger in Trigger::ALL {
            write!(f, " {trigger:?} |")?;
        }
        write!(f, "\n| --- |{}", " --- |".repeat(Trigger::ALL.len()))?;
        for phase in Phase::ALL {
            write!(f, "\n| {phase:?} |")?;
            for trigger in Trigger::ALL {
                match phase.next(trigger) {
                    Some(next) => write!(f, " {next:?} |")?,
                    None => write!(f, " - |")?,
                }
            }
        }
        Ok(())
    }
}
