//! The life of a connection of version 2 as a table.
//!
//! As in version 1, [`State::next`] is the whole table and the only place that decides. There
//! are two states more: a server's connection whose client hasn't come back yet, and one
//! that is drained and says goodbye.

#[cfg(test)]
use core::fmt;

use crate::state::Phase;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum State {
    /// A client's offer is on its way.
    Connecting,
    /// A server's answer is; the application doesn't know of the connection yet.
    Accepting,
    /// Data flows in both directions.
    Open,
    /// Closed by the application; what it wrote before is still being delivered.
    Draining,
    /// Everything was delivered; the peer is told that this is the end.
    Closing,
    /// Closed.
    Closed,
    /// Ended by the peer, by silence, or for a fault.
    Lost,
}

/// What can change a connection's state.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Trigger {
    /// The peer proved that it has the keys.
    Established,
    /// The application closes the connection.
    CloseRequested,
    /// Nothing that was written is left unacknowledged.
    Drained,
    /// The peer knows that we closed, or was told often enough.
    Told,
    /// The peer closed the connection.
    PeerClosed,
    /// The peer doesn't know the connection.
    Reset,
    /// The peer broke the protocol.
    Violation,
    /// As many epochs as the limit passed without a packet from the peer.
    SilenceLimit,
}

impl State {
    /// All states, in the order of a life.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Accepting,
        Self::Open,
        Self::Draining,
        Self::Closing,
        Self::Closed,
        Self::Lost,
    ];

    /// The state after `trigger`; `None` where it can't happen or changes nothing.
    // spec: LSP2-7.1
    pub(crate) const fn next(self, trigger: Trigger) -> Option<Self> {
        match (self, trigger) {
            (Self::Connecting | Self::Accepting, Trigger::Established) => Some(Self::Open),
            (Self::Connecting | Self::Accepting, Trigger::CloseRequested)
            | (Self::Accepting, Trigger::SilenceLimit)
            | (
                Self::Closing,
                Trigger::Told
                | Trigger::PeerClosed
                | Trigger::Reset
                | Trigger::Violation
                | Trigger::SilenceLimit,
            ) => Some(Self::Closed),
            (Self::Open, Trigger::CloseRequested) => Some(Self::Draining),
            (Self::Draining, Trigger::Drained) => Some(Self::Closing),
            (Self::Connecting, Trigger::SilenceLimit)
            | (
                Self::Open | Self::Draining,
                Trigger::PeerClosed | Trigger::Reset | Trigger::Violation | Trigger::SilenceLimit,
            ) => Some(Self::Lost),
            (
                Self::Connecting | Self::Accepting,
                Trigger::Drained
                | Trigger::Told
                | Trigger::PeerClosed
                | Trigger::Reset
                | Trigger::Violation,
            )
            | (Self::Open, Trigger::Established | Trigger::Drained | Trigger::Told)
            | (Self::Draining, Trigger::Established | Trigger::CloseRequested | Trigger::Told)
            | (Self::Closing, Trigger::Established | Trigger::CloseRequested | Trigger::Drained)
            | (Self::Closed | Self::Lost, _) => None,
        }
    }

    /// Whether the connection is over.
    pub(crate) const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Lost)
    }

    /// The same in terms of version 1.
    pub(crate) const fn phase(self) -> Phase {
        match self {
            Self::Connecting | Self::Accepting => Phase::Connecting,
            Self::Open => Phase::Open,
            Self::Draining | Self::Closing => Phase::Draining,
            Self::Closed => Phase::Closed,
            Self::Lost => Phase::Lost,
        }
    }
}

#[cfg(test)]
impl Trigger {
    /// All triggers.
    pub(crate) const ALL: [Self; 8] = [
        Self::Established,
        Self::CloseRequested,
        Self::Drained,
        Self::Told,
        Self::PeerClosed,
        Self::Reset,
        Self::Violation,
        Self::SilenceLimit,
    ];
}

#[cfg(test)]
/// The table as Markdown: one row a state, one column a trigger.
pub(crate) struct TransitionTable;

#[cfg(test)]
impl fmt::Display for TransitionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| state |")?;
        for trigger in Trigger::ALL {
            write!(f, " {trigger:?} |")?;
        }
        write!(f, "\n| --- |{}", " --- |".repeat(Trigger::ALL.len()))?;
        for state in State::ALL {
            write!(f, "\n| {state:?} |")?;
            for trigger in Trigger::ALL {
                match state.next(trigger) {
                    Some(next) => write!(f, " {next:?} |")?,
                    None => write!(f, " - |")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    // spec: LSP2-7.1
    #[test]
    fn the_table_is_the_specifications() {
        let table = TransitionTable.to_string();
        expect![[r#"
            | state | Established | CloseRequested | Drained | Told | PeerClosed | Reset | Violation | SilenceLimit |
            | --- | --- | --- | --- | --- | --- | --- | --- | --- |
            | Connecting | Open | Closed | - | - | - | - | - | Lost |
            | Accepting | Open | Closed | - | - | - | - | - | Closed |
            | Open | - | Draining | - | - | Lost | Lost | Lost | Lost |
            | Draining | - | - | Closing | - | Lost | Lost | Lost | Lost |
            | Closing | - | - | - | Closed | Closed | Closed | Closed | Closed |
            | Closed | - | - | - | - | - | - | - | - |
            | Lost | - | - | - | - | - | - | - | - |"#]].assert_eq(&table);
        let spec = include_str!("../../../../docs/spec/lsp2.md");
        assert!(spec.contains(&table), "docs/spec/lsp2.md has another table");
    }

    #[test]
    fn what_is_over_stays_over() {
        for state in State::ALL.into_iter().filter(|state| state.is_over()) {
            for trigger in Trigger::ALL {
                assert_eq!(state.next(trigger), None);
            }
        }
    }
}
