//! What a majority agrees on.
//!
//! One question covers commit index, heartbeat rounds, leases and who was heard: what is
//! the highest value that a majority has reached? Sort the values and look at the middle.
//! Groups are small, so the values live on the stack. A joint configuration asks both
//! halves and believes the lower answer.
//!
//! Clever versions of this have committed without a quorum (trap 8), so debug builds
//! compare every answer with the definition, counted naively.

use stdx::NodeId;

use crate::limits::MEMBERS_MAX;
use crate::membership::Membership;

/// The highest value reached by a majority of `values`; the highest there is for none,
/// because an absent half of a joint configuration has no objection.
pub fn majority_value(values: impl Iterator<Item = u64>) -> u64 {
    let mut sorted = [0_u64; MEMBERS_MAX];
    let mut count = 0;
    for value in values {
        let mut slot = count;
        while slot > 0 && sorted[slot - 1] < value {
            sorted[slot] = sorted[slot - 1];
            slot -= 1;
        }
        sorted[slot] = value;
        count += 1;
    }
    if count == 0 {
        return u64::MAX;
    }
    // Sorted from the highest: the one in the middle was reached by a majority.
    let value = sorted[count / 2];
    debug_assert_eq!(
        value,
        majority_value_naive(&sorted[..count]),
        "a majority is a majority"
    );
    value
}

/// The same by its definition.
#[must_use]
pub fn majority_value_naive(values: &[u64]) -> u64 {
    values
        .iter()
        .copied()
        .filter(|&value| values.iter().filter(|&&other| other >= value).count() * 2 > values.len())
        .max()
        .unwrap_or(u64::MAX)
}

/// How an election stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tally {
    /// A quorum said yes.
    Won,
    /// No quorum can say yes any more.
    Lost,
    /// Neither yet.
    Open,
}

/// Counts votes: one entry for each node that answered. `one_side` is for a planted bug.
#[must_use]
pub fn tally(membership: &Membership, votes: &[(NodeId, bool)], one_side: bool) -> Tally {
    let half = |voters: &std::collections::BTreeSet<NodeId>| {
        if voters.is_empty() {
            return Tally::Won;
        }
        let count = |answer: bool| {
            votes
                .iter()
                .filter(|(id, vote)| *vote == answer && voters.contains(id))
                .count()
        };
        let (yes, no) = (count(true), count(false));
        if yes * 2 > voters.len() {
            Tally::Won
        } else if (voters.len() - no) * 2 <= voters.len() {
            Tally::Lost
        } else {
            Tally::Open
        }
    };
    let incoming = half(&membership.voters);
    let outgoing = if one_side {
        Tally::Won
    } else {
        half(&membership.outgoing)
    };
    match (incoming, outgoing) {
        (Tally::Won, Tally::Won) => Tally::Won,
        (Tally::Lost, _) | (_, Tally::Lost) => Tally::Lost,
        _ => Tally::Open,
    }
}
