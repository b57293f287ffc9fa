//! Bugs on purpose, to prove that the simulator would find them.
//!
//! Compiled in only with the feature `planted`. Each bug is one condition at the place
//! where the right code stands; without the feature [`planted!`] is the constant
//! `false` and nothing of it is left in the binary.

#[cfg(feature = "planted")]
use stdx::Prng;

/// A bug that some implementation of Raft had, or might well have.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PlantedBug {
    /// A vote is sent before the disk has it.
    VoteBeforeDurable,
    /// An append is acknowledged before the disk has it.
    AckBeforeDurable,
    /// Replicas of an old term's entry are counted to commit it (figure 8).
    CommitOldTerm,
    /// A completed disk write counts although its entries were truncated since.
    StaleCompletion,
    /// The lease survives the start of a leadership transfer.
    LeaseKeptOnTransfer,
    /// The lease is measured from the arrival of a reply.
    LeaseFromReceipt,
    /// A node that restarted votes at once, whatever it promised before.
    VoteRightAfterRestart,
    /// Reads are answered before the term's first entry is committed.
    ReadBeforeNoop,
    /// A read is answered without asking a quorum.
    ReadWithoutRound,
    /// A restarted node forgets whom it voted for.
    ForgottenVote,
    /// Votes of learners count.
    LearnerCounted,
    /// Entries are appended without a look at the one before them.
    NoPrevCheck,
    /// Entries that contradict the leader's stay.
    ConflictKept,
    /// A heartbeat commits what was never compared with the leader's log.
    HeartbeatCommitsUnmatched,
    /// Members may be changed before the leader committed an entry of its term.
    ChangeBeforeOwnTerm,
    /// A second change of members may start while the first isn't committed.
    TwoChangesAtOnce,
    /// A joint configuration decides with its new half only.
    JointNeedsOneSide,
    /// Acknowledgements of a member's former stay count.
    StaleSession,
    /// A snapshot replaces newer state.
    SnapshotOverNewer,
    /// Pre-votes elect a leader.
    PreVoteElects,
    /// A vote goes to a candidate whose log is behind.
    VoteForStaleLog,
    /// A node votes for a second candidate in one term.
    SecondVote,
    /// A new leader commits at once, whatever lease an earlier one may have.
    CommitNotDeferred,
    /// A new leader serves inherited reads of keys in limbo, too.
    LimboIgnored,
    /// Inherited reads are served for as long, counted from the election's end.
    InheritedFromElection,
    /// Only the last leader's lease is remembered, also when it never got one.
    OldLeaseOneDeep,
    /// A node that restarted says that it knows of no old lease.
    OldLeaseForgotten,
    /// Every node has a lease length of its own.
    MixedLeaseLengths,
    /// A successor trusts that a lease was given up although the log went on since.
    VoidLeaseAnywhere,
    /// Nobody tells the core that its clock leapt.
    ClockJumpUnnoticed,
}

#[cfg(feature = "planted")]
impl PlantedBug {
    /// Every bug, in the order above.
    pub const ALL: [Self; 30] = [
        Self::VoteBeforeDurable,
        Self::AckBeforeDurable,
        Self::CommitOldTerm,
        Self::StaleCompletion,
        Self::LeaseKeptOnTransfer,
        Self::LeaseFromReceipt,
        Self::VoteRightAfterRestart,
        Self::ReadBeforeNoop,
        Self::ReadWithoutRound,
        Self::ForgottenVote,
        Self::LearnerCounted,
        Self::NoPrevCheck,
        Self::ConflictKept,
        Self::HeartbeatCommitsUnmatched,
        Self::ChangeBeforeOwnTerm,
        Self::TwoChangesAtOnce,
        Self::JointNeedsOneSide,
        Self::StaleSession,
        Self::SnapshotOverNewer,
        Self::PreVoteElects,
        Self::VoteForStaleLog,
        Self::SecondVote,
        Self::CommitNotDeferred,
        Self::LimboIgnored,
        Self::InheritedFromElection,
        Self::OldLeaseOneDeep,
        Self::OldLeaseForgotten,
        Self::MixedLeaseLengths,
        Self::VoidLeaseAnywhere,
        Self::ClockJumpUnnoticed,
    ];

    /// One of them.
    pub fn draw(prng: &mut Prng) -> Self {
        Self::ALL[prng.index(Self::ALL.len())]
    }
}

/// Whether a bug is to be shown; the constant `false` without the feature.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($config:expr, $bug:ident) => {
        $config.planted == Some($crate::planted::PlantedBug::$bug)
    };
}
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($config:expr, $bug:ident) => {{
        let _: &$crate::config::Config = &$config;
        false
    }};
}
pub(crate) use planted;
