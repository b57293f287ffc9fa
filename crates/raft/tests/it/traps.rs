//! One test for each of the known traps that concerns the core; `TRAPS.md` has the list.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft::{
    AppendEntries, AppendEntriesReply, AppendOutcome, Config, Entry, Event, HardState,
    InstallSnapshot, Lease, LogBase, MembershipChange, MembershipError, Message, Payload, Raft,
    ReadToken, RequestPreVote, RequestPreVoteReply, RequestVote, RequestVoteReply, Restored,
    RoleKind, Round, Session, SnapshotAction, SnapshotId, TimeoutNow, TransferTicket,
};
use stdx::{Instant, LogIndex, NodeId, Term};

use crate::cluster::{Cluster, Flight, config, id};

const MS: Duration = Duration::from_millis(1);

fn t(term: u64) -> Term {
    Term::new(term)
}

fn i(index: u64) -> LogIndex {
    LogIndex::new(index)
}

fn entry(index: u64, term: u64) -> Entry {
    Entry {
        index: i(index),
        term: t(term),
        payload: Payload::Noop,
    }
}

fn three() -> Cluster {
    Cluster::new(3, config(), 1)
}

/// A node of a group of three whose log has these terms.
fn node(terms: &[u64], hard_state: HardState) -> Raft {
    let restored = restored(terms, hard_state);
    let config = config().validate().unwrap();
    Raft::new(config, id(1), restored, Instant::EPOCH, 1)
}

fn restored(terms: &[u64], hard_state: HardState) -> Restored {
    let mut runs: Vec<(LogIndex, Term)> = Vec::new();
    for (at, &term) in terms.iter().enumerate() {
        if runs.last().is_none_or(|last| last.1 != t(term)) {
            runs.push((i(at as u64 + 1), t(term)));
        }
    }
    Restored {
        hard_state,
        base: LogBase::bootstrap([id(1), id(2), id(3)]),
        last_index: i(terms.len() as u64),
        terms: runs,
        ..Restored::default()
    }
}

fn append(term: u64, prev: (u64, u64), entries: Vec<Entry>, commit: u64) -> AppendEntries {
    AppendEntries {
        term: t(term),
        session: Session(1),
        prev_index: i(prev.0),
        prev_term: t(prev.1),
        commit: i(commit),
        round: Round(1),
        revoked: 0,
        lease: raft::LeaseGrant::default(),
        entries: entries.into(),
    }
}

/// Everything a node wants to send, its disk working.
fn sent(raft: &mut Raft) -> Vec<Message> {
    let mut sent = Vec::new();
    loop {
        raft.check_invariants();
        if let Some(persist) = raft.poll_persist() {
            raft.on_persisted(Instant::EPOCH, persist.into_durable());
        } else if let Some(envelope) = raft.poll_transmit() {
            sent.push(envelope.message);
        } else {
            return sent;
        }
    }
}

fn after_promises() -> Instant {
    Instant::EPOCH.after(1_000 * MS)
}

#[test]
pub(crate) fn trap_01_an_old_terms_entry_is_not_committed_by_counting() {
    // n1 leads t3 with an entry of t2 that two of three have; its own entry isn't there yet.
    let mut raft = node(
        &[1, 2],
        HardState {
            term: t(2),
            vote: None,
        },
    );
    let now = raft.poll_timeout().unwrap();
    raft.on_timeout(now);
    sent(&mut raft);
    let yes = RequestPreVoteReply {
        term: t(3),
        granted: true,
    };
    raft.on_message(now, id(2), yes.into());
    sent(&mut raft);
    raft.on_message(
        now,
        id(2),
        RequestVoteReply {
            term: t(3),
            granted: true,
            old_lease: Duration::ZERO,
        }
        .into(),
    );
    assert_eq!(raft.role(), RoleKind::Leader);
    sent(&mut raft);
    let reply = |matched| AppendEntriesReply {
        term: t(3),
        session: Session(3),
        round: Round(1),
        promise: 1_000 * MS,
        outcome: AppendOutcome::Accepted {
            matched: i(matched),
            received: i(matched),
        },
    };
    raft.on_message(now, id(2), reply(2).into());
    assert_eq!(raft.committed(), i(0), "i2 is on a majority, and of t2");
    raft.on_message(now, id(2), reply(3).into());
    assert_eq!(
        raft.committed(),
        i(3),
        "i3 is of t3, and takes the others along"
    );
}

#[test]
pub(crate) fn trap_01_a_heartbeat_commits_only_what_was_compared() {
    let mut raft = node(
        &[1, 1, 1],
        HardState {
            term: t(1),
            vote: None,
        },
    );
    let now = after_promises();
    // The leader of t2 has committed i3, but of t2; what is here at i3 is another entry.
    raft.on_message(now, id(2), append(2, (1, 1), vec![], 3).into());
    assert_eq!(raft.committed(), i(1));
}

#[test]
pub(crate) fn trap_02_reads_wait_for_the_terms_first_entry() {
    let mut cluster = three();
    cluster.elect(id(1));
    cluster.propose(id(1), "a").unwrap();
    cluster.settle();
    cluster.crash(id(1));
    cluster.skip(1_000 * MS);
    cluster.campaign(id(2));
    while cluster.raft(id(2)).role() != RoleKind::Leader {
        cluster.deliver_one().unwrap();
    }
    cluster.take_events();
    assert_eq!(cluster.raft(id(2)).read_floor(), None);
    cluster
        .input(id(2), |raft, now| raft.read_index(now, ReadToken(1)))
        .unwrap();
    let served = |cluster: &mut Cluster| {
        let events = cluster.take_events();
        events
            .iter()
            .any(|(_, event)| matches!(event, Event::ReadReady { .. }))
    };
    assert!(!served(&mut cluster), "it doesn't know what is committed");
    cluster.settle();
    assert!(served(&mut cluster));
    assert_eq!(cluster.raft(id(2)).read_floor(), Some(i(3)));
}

#[test]
pub(crate) fn trap_03_members_change_only_after_an_own_commit_and_one_at_a_time() {
    let mut cluster = Cluster::new(4, config(), 1);
    cluster.campaign(id(1));
    while cluster.raft(id(1)).role() != RoleKind::Leader {
        cluster.deliver_one().unwrap();
    }
    let remove = |cluster: &mut Cluster, node| {
        let change = MembershipChange::Remove(id(node));
        cluster.input(id(1), |raft, now| raft.propose_membership(now, &change))
    };
    assert_eq!(
        remove(&mut cluster, 4),
        Err(MembershipError::TermNotCommitted)
    );
    cluster.settle();
    remove(&mut cluster, 4).unwrap();
    assert_eq!(remove(&mut cluster, 3), Err(MembershipError::InProgress));
    cluster.settle();
    assert!(
        !cluster.members(id(1)).is_joint(),
        "the joint state is left by itself"
    );
    remove(&mut cluster, 3).unwrap();
    cluster.settle();
    assert_eq!(
        cluster.members(id(2)).voters,
        BTreeSet::from([id(1), id(2)])
    );
}

#[test]
pub(crate) fn trap_04_members_are_in_effect_when_appended() {
    // n1 appended "n1 alone" as a joint step, and nobody else has it: n1 needs both halves.
    let mut cluster = three();
    cluster.elect(id(1));
    cluster.cut_all(&[id(1)], &[id(2), id(3)]);
    let change = MembershipChange::Replace {
        voters: BTreeSet::from([id(1)]),
        learners: BTreeSet::new(),
    };
    cluster
        .input(id(1), |raft, now| raft.propose_membership(now, &change))
        .unwrap();
    assert!(cluster.members(id(1)).is_joint());
    cluster.advance(10_000 * MS);
    assert_ne!(
        cluster.raft(id(1)).role(),
        RoleKind::Leader,
        "one of three is no majority"
    );
    // The others never saw it; they roll it back.
    cluster.heal();
    cluster.advance(10_000 * MS);
    let all = BTreeSet::from([id(1), id(2), id(3)]);
    assert_eq!(cluster.members(id(1)).voters, all);
    assert!(!cluster.members(id(1)).is_joint());
}

#[test]
pub(crate) fn trap_05_a_promoted_learner_that_does_not_know_votes() {
    let base = LogBase::default();
    let restored = Restored {
        base,
        ..Restored::default()
    };
    let config = config().validate().unwrap();
    let mut raft = Raft::new(config, id(9), restored, Instant::EPOCH, 1);
    assert!(!raft.membership().contains(id(9)));
    let vote = RequestVote {
        term: t(4),
        last_index: i(7),
        last_term: t(3),
        transfer: None,
        lease: raft::LeaseClaim::default(),
    };
    raft.on_message(after_promises(), id(1), vote.into());
    let reply = RequestVoteReply {
        term: t(4),
        granted: true,
        old_lease: Duration::ZERO,
    };
    assert_eq!(sent(&mut raft), [Message::from(reply)]);
}

#[test]
pub(crate) fn trap_06_rejoin_session() {
    let mut cluster = three();
    cluster.elect(id(1));
    cluster.held.insert((id(3), id(1)));
    cluster.propose(id(1), "a").unwrap();
    cluster.settle();
    let late: Vec<Flight> = cluster
        .wire
        .iter()
        .filter(|flight| flight.from == id(3))
        .cloned()
        .collect();
    assert!(!late.is_empty(), "n3 acknowledged something");
    for change in [
        MembershipChange::Remove(id(3)),
        MembershipChange::AddLearner(id(3)),
    ] {
        cluster
            .input(id(1), |raft, now| raft.propose_membership(now, &change))
            .unwrap();
        cluster.cut_all(&[id(1)], &[id(3)]);
        cluster.settle();
    }
    let matched = |cluster: &Cluster| {
        let progress = cluster.raft(id(1)).progress();
        progress
            .iter()
            .find(|peer| peer.id == id(3))
            .unwrap()
            .matched
    };
    assert_eq!(matched(&cluster), i(0));
    for flight in late {
        cluster.deliver(flight);
    }
    assert_eq!(
        matched(&cluster),
        i(0),
        "acknowledgements of its first stay don't count"
    );
}

#[test]
pub(crate) fn trap_07_a_completion_of_a_truncated_write_counts_for_nothing() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(1),
            vote: None,
        },
    );
    let now = after_promises();
    // i2:t1, then i2:t2 instead of it, then i2:t1 again from a leader of t3.
    raft.on_message(now, id(2), append(1, (1, 1), vec![entry(2, 1)], 0).into());
    let first = raft.poll_persist().unwrap();
    raft.on_message(now, id(3), append(2, (1, 1), vec![entry(2, 2)], 0).into());
    let second = raft.poll_persist().unwrap();
    let third = vec![entry(2, 1), entry(3, 3)];
    raft.on_message(now, id(2), append(3, (1, 1), third, 0).into());
    let third = raft.poll_persist().unwrap();
    raft.on_persisted(now, first.into_durable());
    assert_eq!(
        raft.durable(),
        i(1),
        "the log says i2:t1, the disk is on its way to i2:t2"
    );
    raft.on_persisted(now, second.into_durable());
    assert_eq!(raft.durable(), i(1));
    raft.on_persisted(now, third.into_durable());
    assert_eq!(raft.durable(), i(3));
    raft.check_invariants();
}

#[test]
pub(crate) fn trap_07_promises_wait_for_their_own_write() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(1),
            vote: None,
        },
    );
    let now = after_promises();
    let mut writes = Vec::new();
    for index in 2..5 {
        raft.on_message(
            now,
            id(2),
            append(1, (index - 1, 1), vec![entry(index, 1)], 0).into(),
        );
        writes.push(raft.poll_persist().unwrap());
    }
    assert_eq!(raft.poll_transmit(), None);
    for (at, write) in writes.into_iter().enumerate() {
        raft.on_persisted(now, write.into_durable());
        let envelope = raft.poll_transmit().unwrap();
        let Message::AppendEntriesReply(reply) = envelope.message else {
            panic!("an acknowledgement")
        };
        let matched = i(at as u64 + 2);
        let AppendOutcome::Accepted {
            matched: durable, ..
        } = reply.outcome
        else {
            panic!("an acceptance")
        };
        assert_eq!(durable, matched);
        assert_eq!(raft.poll_transmit(), None);
    }
}

#[test]
pub(crate) fn trap_09_pre_votes_teach_terms_and_elect_nobody() {
    // (a) A refusal says which term it is.
    let mut raft = node(
        &[1, 3],
        HardState {
            term: t(5),
            vote: None,
        },
    );
    let now = after_promises();
    let ask = RequestPreVote {
        term: t(3),
        last_index: i(9),
        last_term: t(9),
    };
    raft.on_message(now, id(2), ask.into());
    let no = RequestPreVoteReply {
        term: t(5),
        granted: false,
    };
    assert_eq!(sent(&mut raft), [Message::from(no)]);
    // ... and is believed.
    let mut asker = node(
        &[1],
        HardState {
            term: t(2),
            vote: None,
        },
    );
    let now = asker.poll_timeout().unwrap();
    asker.on_timeout(now);
    assert_eq!(asker.role(), RoleKind::PreCandidate);
    asker.on_message(now, id(2), no.into());
    assert_eq!((asker.role(), asker.term()), (RoleKind::Follower, t(5)));
    // (c) A pre-candidate follows nobody and keeps its term and vote.
    let mut asker = node(
        &[1],
        HardState {
            term: t(2),
            vote: Some(id(3)),
        },
    );
    asker.on_timeout(asker.poll_timeout().unwrap());
    assert_eq!(
        (asker.leader(), asker.term(), asker.vote()),
        (None, t(2), Some(id(3)))
    );
    // (d) A pre-vote for a campaign that is over doesn't count for the vote.
    let yes = RequestPreVoteReply {
        term: t(3),
        granted: true,
    };
    asker.on_message(now, id(2), yes.into());
    assert_eq!((asker.role(), asker.term()), (RoleKind::Candidate, t(3)));
    sent(&mut asker);
    asker.on_message(now, id(3), yes.into());
    assert_eq!(asker.role(), RoleKind::Candidate);
}

#[test]
pub(crate) fn trap_09_an_old_leader_is_told_the_newer_term() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(5),
            vote: None,
        },
    );
    raft.on_message(after_promises(), id(2), append(4, (1, 1), vec![], 0).into());
    let sent = sent(&mut raft);
    assert!(matches!(&sent[..], [Message::AppendEntriesReply(reply)] if reply.term == t(5)));
}

#[test]
pub(crate) fn trap_10_a_leader_without_a_quorum_steps_down_and_is_silent() {
    let mut cluster = Cluster::new(5, config(), 1);
    cluster.elect(id(1));
    // A bridge: n2 hears n1, and n1 hears nobody else.
    cluster.cut_all(&[id(1)], &[id(3), id(4), id(5)]);
    cluster.advance(2_200 * MS);
    assert_ne!(cluster.raft(id(1)).role(), RoleKind::Leader);
    cluster.advance(5_000 * MS);
    let leader = cluster
        .leader()
        .expect("the others, n2 among them, have a quorum");
    assert_ne!(leader, id(1));
    let follows = [id(2), id(3), id(4), id(5)].map(|node| cluster.raft(node).leader());
    assert_eq!(follows, [Some(leader); 4]);
}

#[test]
pub(crate) fn trap_11_a_restarted_node_refuses_votes_for_as_long_as_it_could_have_promised() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(1),
            vote: Some(id(2)),
        },
    );
    let vote = RequestVote {
        term: t(2),
        last_index: i(1),
        last_term: t(1),
        transfer: None,
        lease: raft::LeaseClaim::default(),
    };
    let ticket = TransferTicket {
        term: t(1),
        number: 1,
        void: false,
    };
    let forced = RequestVote {
        transfer: Some(ticket),
        ..vote
    };
    for request in [vote, forced] {
        raft.on_message(Instant::EPOCH.after(999 * MS), id(3), request.into());
        assert_eq!(sent(&mut raft), []);
        assert_eq!(raft.term(), t(1), "it doesn't even look");
    }
    raft.on_message(Instant::EPOCH.after(1_000 * MS), id(3), vote.into());
    let yes = RequestVoteReply {
        term: t(2),
        granted: true,
        old_lease: Duration::ZERO,
    };
    assert_eq!(sent(&mut raft), [Message::from(yes)]);
}

#[test]
pub(crate) fn trap_12_the_lease_counts_from_when_the_round_was_sent() {
    let mut cluster = three();
    cluster.elect(id(1));
    // A round is sent; its answers arrive 400 ms later.
    for peer in [2, 3] {
        cluster.held.insert((id(peer), id(1)));
    }
    cluster.campaign(id(1));
    cluster.settle();
    let sent = cluster.clock(id(1));
    cluster.skip(400 * MS);
    cluster.held.clear();
    cluster.settle();
    let lease = Lease::default().duration;
    assert_eq!(cluster.raft(id(1)).lease_until(), Some(sent.after(lease)));
    let end = sent.after(lease);
    assert!(
        cluster
            .raft(id(1))
            .readable_now(Instant::from_nanos(end.as_nanos() - 1))
    );
    assert!(!cluster.raft(id(1)).readable_now(end));
}

#[test]
pub(crate) fn trap_13_a_transfer_voids_the_lease_before_it_tells_anybody() {
    let mut cluster = three();
    cluster.elect(id(1));
    cluster.advance(300 * MS);
    let now = cluster.clock(id(1));
    let raft = cluster
        .nodes
        .get_mut(&id(1))
        .unwrap()
        .raft
        .as_mut()
        .unwrap();
    assert!(raft.readable_now(now));
    raft.transfer_leadership(now, Some(id(2))).unwrap();
    assert_eq!(raft.lease_until(), None);
    let envelope = raft.poll_transmit().unwrap();
    assert!(matches!(envelope.message, Message::TimeoutNow(_)));
    // Answers that come now, to rounds sent before or during the transfer, don't help.
    cluster.advance(500 * MS);
    assert_eq!(cluster.raft(id(1)).lease_until(), None);
}

#[test]
pub(crate) fn trap_13_a_revoked_ticket_elects_nobody() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(1),
            vote: Some(id(2)),
        },
    );
    let now = after_promises();
    let heard = AppendEntries {
        revoked: 1,
        ..append(1, (1, 1), vec![], 0)
    };
    raft.on_message(now, id(2), heard.into());
    sent(&mut raft);
    let request = |number| RequestVote {
        term: t(2),
        last_index: i(1),
        last_term: t(1),
        transfer: Some(TransferTicket {
            term: t(1),
            number,
            void: false,
        }),
        lease: raft::LeaseClaim::default(),
    };
    raft.on_message(now, id(3), request(1).into());
    assert_eq!(sent(&mut raft), []);
    assert_eq!(raft.term(), t(1));
    raft.on_message(now, id(3), request(2).into());
    let yes = RequestVoteReply {
        term: t(2),
        granted: true,
        old_lease: Duration::ZERO,
    };
    assert_eq!(sent(&mut raft), [Message::from(yes)]);
}

#[test]
pub(crate) fn trap_13_a_request_to_campaign_from_the_past_is_ignored() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(5),
            vote: None,
        },
    );
    let now = after_promises();
    raft.on_message(now, id(2), append(5, (1, 1), vec![], 0).into());
    raft.on_message(
        now,
        id(2),
        TimeoutNow {
            term: t(4),
            number: 1,
            void_at: LogIndex::ZERO,
        }
        .into(),
    );
    raft.on_message(
        now,
        id(3),
        TimeoutNow {
            term: t(5),
            number: 1,
            void_at: LogIndex::ZERO,
        }
        .into(),
    );
    assert_eq!((raft.role(), raft.term()), (RoleKind::Follower, t(5)));
}

#[test]
pub(crate) fn trap_13_a_removed_leader_hands_over_and_steps_down() {
    let mut cluster = three();
    cluster.elect(id(1));
    let change = MembershipChange::Remove(id(1));
    cluster
        .input(id(1), |raft, now| raft.propose_membership(now, &change))
        .unwrap();
    cluster.settle();
    // Nobody waited for a timeout.
    assert!(cluster.leader().is_some_and(|leader| leader != id(1)));
    assert_eq!(cluster.raft(id(1)).role(), RoleKind::Follower);
}

#[test]
pub(crate) fn trap_14_of_three_leaders_in_quick_succession_one_has_a_lease() {
    let mut cluster = Cluster::new(5, config(), 1);
    cluster.elect(id(1));
    cluster.advance(200 * MS);
    // n1 hands over to n2, n2 to n3, and neither hears of its successor.
    for (from, to) in [(1, 2), (2, 3)] {
        cluster
            .input(id(from), |raft, now| {
                raft.transfer_leadership(now, Some(id(to)))
            })
            .unwrap();
        let others: Vec<_> = (1..=5).filter(|&node| node != from).map(id).collect();
        while cluster.raft(id(to)).role() == RoleKind::Follower {
            cluster.deliver_one().unwrap();
        }
        cluster.cut_all(&[id(from)], &others);
        cluster.settle();
        assert_eq!(cluster.raft(id(to)).role(), RoleKind::Leader);
        cluster.advance(50 * MS);
        let holders: Vec<NodeId> = (1..=5)
            .map(id)
            .filter(|&node| cluster.raft(node).readable_now(cluster.clock(node)))
            .collect();
        assert_eq!(holders, [id(to)]);
    }
}

#[test]
pub(crate) fn trap_15_the_lease_is_as_short_as_the_followers_promise() {
    let mut cluster = three();
    let short = Config {
        election_timeout_min: 300 * MS,
        election_timeout_max: 600 * MS,
        lease: None,
        ..config()
    };
    for peer in [2, 3] {
        cluster.crash(id(peer));
        cluster.nodes.get_mut(&id(peer)).unwrap().config = short.clone();
        cluster.start(id(peer));
    }
    cluster.elect(id(1));
    let left = cluster
        .raft(id(1))
        .lease_until()
        .unwrap()
        .since(cluster.clock(id(1)));
    assert!(
        left < 300 * MS,
        "n1 would take {:?}, they promise 300 ms",
        Lease::default()
    );
    assert!(left > 290 * MS);
}

#[test]
pub(crate) fn trap_17_a_leader_whose_disk_hangs_does_not_lead_on() {
    let mut cluster = three();
    cluster.elect(id(1));
    cluster.nodes.get_mut(&id(1)).unwrap().disk_held = true;
    cluster.propose(id(1), "a").unwrap();
    cluster.advance(4_500 * MS);
    let leader = cluster.leader().unwrap();
    assert_ne!(leader, id(1));
    assert_eq!(cluster.nodes[&leader].state, ["a"]);
    assert!(
        cluster.nodes[&id(1)].state.is_empty(),
        "nothing is applied before it is durable"
    );
    // Nor does it campaign while it hangs.
    cluster.crash(leader);
    cluster.campaign(id(1));
    assert_eq!(cluster.raft(id(1)).role(), RoleKind::Follower);
}

#[test]
pub(crate) fn trap_18_term_and_vote_are_written_together_before_the_vote_is_given() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(1),
            vote: None,
        },
    );
    let now = after_promises();
    let vote = RequestVote {
        term: t(7),
        last_index: i(1),
        last_term: t(1),
        transfer: None,
        lease: raft::LeaseClaim::default(),
    };
    raft.on_message(now, id(3), vote.into());
    assert_eq!(raft.poll_transmit(), None, "not before the disk has it");
    let persist = raft.poll_persist().unwrap();
    assert_eq!(
        persist.hard_state(),
        Some(HardState {
            term: t(7),
            vote: Some(id(3))
        })
    );
    raft.on_persisted(now, persist.into_durable());
    assert!(raft.poll_transmit().is_some());
    // Restarted, it doesn't vote for anybody else in that term.
    let mut raft = node(
        &[1],
        HardState {
            term: t(7),
            vote: Some(id(3)),
        },
    );
    raft.on_message(now, id(2), vote.into());
    let no = RequestVoteReply {
        term: t(7),
        granted: false,
        old_lease: Duration::ZERO,
    };
    assert_eq!(sent(&mut raft), [Message::from(no)]);
}

#[test]
pub(crate) fn trap_18_a_candidates_own_vote_counts_when_it_is_on_disk() {
    let base = LogBase::bootstrap([id(1)]);
    let config = config().validate().unwrap();
    let restored = Restored {
        base,
        ..Restored::default()
    };
    let mut raft = Raft::new(config, id(1), restored, Instant::EPOCH, 1);
    raft.on_timeout(raft.poll_timeout().unwrap());
    assert_eq!(raft.role(), RoleKind::Candidate);
    let persist = raft.poll_persist().unwrap();
    assert_eq!(raft.role(), RoleKind::Candidate);
    raft.on_persisted(Instant::EPOCH, persist.into_durable());
    assert_eq!(raft.role(), RoleKind::Leader);
}

fn piece(term: u64, base: (u64, u64), snapshot: u64, offset: u64, data: &'static [u8]) -> Message {
    let base = LogBase {
        index: i(base.0),
        term: t(base.1),
        membership: Arc::clone(&LogBase::bootstrap([id(1), id(2), id(3)]).membership),
    };
    InstallSnapshot {
        term: t(term),
        session: Session(1),
        round: Round(1),
        revoked: 0,
        lease: raft::LeaseGrant::default(),
        base,
        snapshot: SnapshotId(snapshot),
        offset,
        crc: crc32c::crc32c(data),
        done: true,
        data: Bytes::from_static(data),
    }
    .into()
}

#[test]
pub(crate) fn trap_19_a_snapshot_never_replaces_newer_state() {
    let mut raft = node(
        &[1, 1, 1],
        HardState {
            term: t(1),
            vote: None,
        },
    );
    let now = after_promises();
    raft.on_message(now, id(2), append(1, (3, 1), vec![], 3).into());
    assert_eq!(raft.committed(), i(3));
    raft.on_message(now, id(2), piece(1, (2, 1), 7, 0, b"old"));
    assert_eq!(raft.poll_snapshot(), None, "nothing to store");
    assert_eq!(raft.last_index(), i(3));
    // One that ends where the log goes on needn't be installed either: it only commits.
    let mut raft = node(
        &[1, 1, 1],
        HardState {
            term: t(1),
            vote: None,
        },
    );
    raft.on_message(now, id(2), piece(1, (2, 1), 7, 0, b"known"));
    assert_eq!(raft.poll_snapshot(), None);
    assert_eq!((raft.committed(), raft.last_index()), (i(2), i(3)));
}

#[test]
pub(crate) fn trap_19_an_installed_snapshot_replaces_log_and_members_at_once() {
    let mut raft = node(
        &[1, 1, 1],
        HardState {
            term: t(2),
            vote: None,
        },
    );
    let now = after_promises();
    raft.on_message(now, id(2), piece(2, (9, 2), 7, 0, b"state"));
    let store = raft.poll_snapshot().unwrap();
    assert!(matches!(
        store,
        SnapshotAction::StoreChunk { offset: 0, .. }
    ));
    // A second one can't start while the first is being installed.
    raft.on_snapshot_chunk_stored(now, SnapshotId(7), 5);
    assert!(matches!(
        raft.poll_snapshot(),
        Some(SnapshotAction::Install { .. })
    ));
    raft.on_message(now, id(2), piece(2, (12, 2), 8, 0, b"later"));
    assert_eq!(raft.poll_snapshot(), None);
    raft.on_snapshot_installed(now, SnapshotId(7));
    raft.check_invariants();
    assert_eq!(
        (raft.base().index, raft.last_index(), raft.applied()),
        (i(9), i(9), i(9))
    );
    let acknowledged = |raft: &mut Raft| {
        let mut sent = Vec::new();
        while let Some(envelope) = raft.poll_transmit() {
            sent.push(envelope.message);
        }
        sent.iter()
            .any(|message| matches!(message, Message::InstallSnapshotReply(_)))
    };
    assert!(!acknowledged(&mut raft), "its base isn't on disk yet");
    let persist = raft.poll_persist().unwrap();
    assert_eq!(persist.base().map(|base| base.index), Some(i(9)));
    raft.on_persisted(now, persist.into_durable());
    assert!(acknowledged(&mut raft));
}

#[test]
pub(crate) fn trap_19_a_damaged_piece_is_dropped() {
    let mut raft = node(
        &[1],
        HardState {
            term: t(1),
            vote: None,
        },
    );
    let Message::InstallSnapshot(mut damaged) = piece(1, (9, 1), 7, 0, b"state") else {
        panic!("a piece")
    };
    damaged.crc ^= 1;
    raft.on_message(after_promises(), id(2), damaged.into());
    assert_eq!(raft.poll_snapshot(), None);
}

#[test]
pub(crate) fn trap_22_a_removed_node_disturbs_nobody() {
    let mut cluster = three();
    cluster.elect(id(1));
    let change = MembershipChange::Remove(id(3));
    cluster
        .input(id(1), |raft, now| raft.propose_membership(now, &change))
        .unwrap();
    cluster.settle();
    let term = cluster.raft(id(1)).term();
    cluster.advance(30_000 * MS);
    assert_eq!(
        (cluster.leader(), cluster.raft(id(1)).term()),
        (Some(id(1)), term)
    );
}

#[test]
pub(crate) fn trap_24_a_restarted_leader_is_a_follower() {
    let mut cluster = three();
    cluster.elect(id(1));
    cluster.crash(id(1));
    cluster.start(id(1));
    assert_eq!(cluster.raft(id(1)).role(), RoleKind::Follower);
    assert_eq!(cluster.raft(id(1)).lease_until(), None);
}

#[test]
pub(crate) fn trap_25_a_leader_that_was_paused_trusts_neither_its_lease_nor_itself() {
    let mut cluster = three();
    cluster.elect(id(1));
    cluster.advance(500 * MS);
    // Stopped for ten seconds by a clock that went on meanwhile.
    cluster.skip(10_000 * MS);
    assert!(!cluster.raft(id(1)).readable_now(cluster.clock(id(1))));
    cluster.input(id(1), Raft::on_timeout);
    assert_eq!(cluster.raft(id(1)).role(), RoleKind::Follower);
}
