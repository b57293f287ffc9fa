//! Quorums against their definition, over every small case.

use std::collections::BTreeSet;

use raft::Membership;
use raft::quorum::{Tally, majority_value, majority_value_naive, tally};
use stdx::NodeId;

/// Every list of `len` numbers below `bound`.
fn lists(len: usize, bound: u64) -> impl Iterator<Item = Vec<u64>> {
    let count = bound.pow(u32::try_from(len).unwrap());
    (0..count).map(move |mut number| {
        (0..len)
            .map(|_| {
                let digit = number % bound;
                number /= bound;
                digit
            })
            .collect()
    })
}

#[test]
fn the_majority_value_is_what_its_definition_says() {
    assert_eq!(majority_value([].into_iter()), u64::MAX);
    for len in 1..=6 {
        for values in lists(len, 5) {
            let value = majority_value(values.iter().copied());
            assert_eq!(value, majority_value_naive(&values), "{values:?}");
            let reached = values.iter().filter(|&&other| other >= value).count();
            assert!(reached * 2 > len, "{values:?}");
            let more = values.iter().filter(|&&other| other > value).count();
            assert!(more * 2 <= len, "{values:?}");
        }
    }
}

fn set(mask: u64) -> BTreeSet<NodeId> {
    (0..4)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| NodeId::new(bit + 1))
        .collect()
}

/// 0: no answer, 1: yes, 2: no.
fn votes(answers: &[u64]) -> Vec<(NodeId, bool)> {
    let answered = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| **answer > 0);
    answered
        .map(|(at, answer)| (NodeId::new(at as u64 + 1), *answer == 1))
        .collect()
}

/// An election is won when every half has a majority of yes, and lost when no answers that
/// may still come could make it so.
#[test]
fn an_election_ends_when_nothing_can_change_it() {
    let won = |members: &Membership, answers: &[u64]| {
        [&members.voters, &members.outgoing].iter().all(|half| {
            let yes = votes(answers)
                .iter()
                .filter(|(id, yes)| *yes && half.contains(id))
                .count();
            half.is_empty() || yes * 2 > half.len()
        })
    };
    for voters in 1..16 {
        for outgoing in 0..16 {
            let members = Membership {
                voters: set(voters),
                outgoing: set(outgoing),
                ..Membership::default()
            };
            for answers in lists(4, 3) {
                let optimist: Vec<u64> = answers
                    .iter()
                    .map(|&answer| if answer == 0 { 1 } else { answer })
                    .collect();
                let expected = match (won(&members, &answers), won(&members, &optimist)) {
                    (true, _) => Tally::Won,
                    (false, true) => Tally::Open,
                    (false, false) => Tally::Lost,
                };
                assert_eq!(
                    tally(&members, &votes(&answers), false),
                    expected,
                    "{members:?} {answers:?}"
                );
            }
        }
    }
}
