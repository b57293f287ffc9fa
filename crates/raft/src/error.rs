//! What an owner of a node may be told instead of a result. An error changes nothing.

use stdx::NodeId;

use crate::membership::ChangeError;

/// Why a proposal wasn't taken: certainly not executed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProposeError {
    /// Only the leader takes proposals.
    #[error("not the leader{}", hint_text(*.hint))]
    NotLeader {
        /// Who may be.
        hint: Option<NodeId>,
    },
    /// Larger than an entry may be.
    #[error("{bytes} bytes are more than the {bytes_max} an entry may have")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Too much is proposed and not yet committed.
    #[error("{bytes} bytes of proposals wait for a quorum, {bytes_max} are allowed: try again")]
    Overloaded {
        /// Bytes that wait.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Leadership is being handed over.
    #[error("leadership is being handed to {to}: try again there")]
    Transferring {
        /// To whom.
        to: NodeId,
    },
    /// An earlier leader may still have a lease, and this group waits it out.
    #[error("an earlier leader's lease isn't over yet: try again")]
    LeaseWait,
}

/// Why a change of members wasn't taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader changes members.
    #[error("not the leader{}", hint_text(*.hint))]
    NotLeader {
        /// Who may be.
        hint: Option<NodeId>,
    },
    /// Leadership is being handed over.
    #[error("leadership is being handed to {to}: try again there")]
    Transferring {
        /// To whom.
        to: NodeId,
    },
    /// No entry of the leader's own term is committed yet (trap 3).
    #[error("the leader has not committed an entry of its term yet: try again")]
    TermNotCommitted,
    /// An earlier change isn't through.
    #[error("an earlier change of members is still under way: try again")]
    InProgress,
    /// The learner lacks too much to be given a vote.
    #[error("{id} lacks {lag} entries, {lag_max} are allowed: try again when it has caught up")]
    LearnerBehind {
        /// The learner.
        id: NodeId,
        /// Entries it lacks.
        lag: u64,
        /// The limit.
        lag_max: u64,
    },
    /// It makes no sense for these members.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Why a transfer wasn't started.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can hand leadership over.
    #[error("not the leader{}", hint_text(*.hint))]
    NotLeader {
        /// Who may be.
        hint: Option<NodeId>,
    },
    /// Only another voter can take over.
    #[error("{to} is not another voter")]
    NotVoter {
        /// Who was asked for.
        to: NodeId,
    },
    /// There is no other voter that answers.
    #[error("no other voter answers")]
    NoTarget,
    /// A transfer is under way.
    #[error("leadership is being handed to {to} already")]
    InProgress {
        /// To whom.
        to: NodeId,
    },
}

/// Why a read wasn't taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// Nobody is known to lead.
    #[error("no leader is known: try again")]
    NoLeader,
    /// Too many reads wait.
    #[error("{count} reads wait for a quorum already: try again")]
    Overloaded {
        /// How many.
        count: usize,
    },
}

fn hint_text(hint: Option<NodeId>) -> String {
    hint.map_or_else(String::new, |id| format!("; {id} may be"))
}
