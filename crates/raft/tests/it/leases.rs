//! Leases that belong to the group: in the log, or waited out.

use std::time::Duration;

use bytes::BytesMut;
use raft::{
    AppendEntries, Entry, HardState, Inherited, Lease, LeaseClaim, LeaseClock, LeaseGrant,
    LeasePolicy, LimboIndex, LogBase, MembershipChange, Message, Payload, ProposeError, Raft,
    RequestVote, Restored, RoleKind, Round, Session, TimeoutNow, TrueTime,
};
use stdx::{Instant, LogIndex, NodeId, Term};

use crate::cluster::{Cluster, config, id};

const MS: Duration = Duration::from_millis(1);
const LEASE: Lease = Lease {
    duration: Duration::from_secs(5),
    drift_ppm: 500,
};
const LOG: LeasePolicy = LeasePolicy::Log(LEASE, LeaseClock::Drift);

/// A group whose first node leads under this policy, with a lease if there is one to be had.
fn under(policy: LeasePolicy) -> Cluster {
    let mut cluster = Cluster::new(3, config(), 1);
    cluster.elect(id(1));
    let change = MembershipChange::Lease(policy);
    cluster
        .input(id(1), |raft, now| raft.propose_membership(now, &change))
        .unwrap();
    cluster.advance(300 * MS);
    assert_eq!(cluster.raft(id(3)).lease_policy(), policy);
    assert!(readable(&cluster, 1), "the leader has a lease");
    cluster
}

fn readable(cluster: &Cluster, node: u64) -> bool {
    cluster.raft(id(node)).readable_now(cluster.clock(id(node)))
}

fn inherited(cluster: &Cluster, node: NodeId) -> Option<Inherited> {
    cluster.raft(node).inherited_now(cluster.clock(node))
}

/// Cuts the leader off and waits for another one.
fn succeed(cluster: &mut Cluster) -> NodeId {
    cluster.cut_all(&[id(1)], &[id(2), id(3)]);
    for _ in 0..60 {
        cluster.advance(50 * MS);
        if let Some(leader) = cluster.leader().filter(|&leader| leader != id(1)) {
            return leader;
        }
    }
    panic!("nobody is elected");
}

#[test]
pub(crate) fn a_new_leader_takes_writes_and_commits_when_the_old_lease_is_over() {
    let mut cluster = under(LOG);
    let leader = succeed(&mut cluster);
    assert!(readable(&cluster, 1), "the old one doesn't know");
    let proposed = cluster.propose(leader, "b").unwrap();
    cluster.settle();
    let mut waited = 0;
    while cluster.raft(leader).committed() < proposed.index {
        assert!(cluster.raft(leader).commits_from().is_some());
        assert!(!readable(&cluster, leader.get()));
        cluster.advance(20 * MS);
        waited += 1;
        assert!(waited < 300, "a lease ends some time");
    }
    assert!(waited > 50, "it waited for what was left of five seconds");
    assert!(!readable(&cluster, 1), "the old one stopped before");
    assert!(
        readable(&cluster, leader.get()),
        "the new one has a lease at once"
    );
    assert_eq!(cluster.raft(id(1)).role(), RoleKind::Follower);
}

#[test]
pub(crate) fn a_new_leader_serves_what_is_not_in_limbo_at_once() {
    let mut cluster = under(LOG);
    cluster.propose(id(1), "sure").unwrap();
    cluster.advance(300 * MS);
    // The old leader's last write arrives, and its acknowledgements don't.
    for follower in [2, 3] {
        cluster.cut.insert((id(follower), id(1)));
    }
    cluster.propose(id(1), "limbo").unwrap();
    cluster.settle();
    let leader = succeed(&mut cluster);
    let found = inherited(&cluster, leader).expect("it serves before it has committed anything");
    let limbo = cluster
        .raft(leader)
        .limbo_index(found, |data, limbo: &mut LimboIndex| {
            limbo.add_key(data.clone());
        });
    assert!(limbo.holds_key(b"limbo"));
    assert!(!limbo.holds_key(b"sure"));
    assert!(!limbo.holds_key(b"another"));
    let blind = cluster
        .raft(leader)
        .limbo_index(found, |_, limbo| limbo.add_everything());
    assert!(blind.holds_key(b"another"));
    cluster.advance(6_000 * MS);
    assert_eq!(
        inherited(&cluster, leader),
        None,
        "it has a lease of its own"
    );
    assert!(readable(&cluster, leader.get()));
}

#[test]
pub(crate) fn inherited_reads_count_from_when_votes_were_asked_for() {
    let mut cluster = under(LOG);
    cluster.cut_all(&[id(1)], &[id(2), id(3)]);
    while [2, 3]
        .iter()
        .all(|&node| cluster.raft(id(node)).role() != RoleKind::PreCandidate)
    {
        cluster.advance(10 * MS);
        // Answers take their time, in both rounds.
        cluster.held.insert((id(2), id(3)));
        cluster.held.insert((id(3), id(2)));
    }
    cluster.held.clear();
    while cluster.leader() == Some(id(1)) {
        let flight = cluster.deliver_one().expect("votes are on their way");
        if matches!(flight.message, Message::RequestVote(_)) {
            cluster.skip(400 * MS);
        }
    }
    let leader = cluster.leader().unwrap();
    let found = inherited(&cluster, leader).expect("it serves");
    let commits_from = cluster.raft(leader).commits_from().unwrap();
    assert!(found.until <= commits_from, "nobody else waits for longer");
}

#[test]
pub(crate) fn a_planned_hand_over_makes_nobody_wait() {
    for policy in [LOG, LeasePolicy::WaitOut(LEASE)] {
        let mut cluster = under(policy);
        cluster.advance(6_000 * MS);
        cluster
            .input(id(1), |raft, now| {
                raft.transfer_leadership(now, Some(id(2)))
            })
            .unwrap();
        assert!(!readable(&cluster, 1), "before anybody is told");
        cluster.settle();
        assert_eq!(cluster.leader(), Some(id(2)));
        assert_eq!(cluster.raft(id(2)).commits_from(), None, "{policy:?}");
        cluster.propose(id(2), "at once").unwrap();
        cluster.advance(150 * MS);
        assert!(readable(&cluster, 2), "{policy:?}");
    }
}

#[test]
pub(crate) fn a_group_without_leases_of_its_own_is_understood_by_older_nodes() {
    let mut cluster = Cluster::new(3, config(), 1);
    cluster.elect(id(1));
    cluster.propose(id(1), "a").unwrap();
    cluster
        .input(id(1), |raft, now| {
            raft.transfer_leadership(now, Some(id(2)))
        })
        .unwrap();
    let mut handed_over = false;
    while let Some(flight) = cluster.deliver_one() {
        let mut bytes = BytesMut::new();
        raft::wire::encode(&flight.message, &mut bytes);
        assert_eq!(bytes[0], raft::wire::VERSION, "{:?}", flight.message);
        handed_over |= matches!(flight.message, Message::TimeoutNow(_));
    }
    assert!(handed_over);
    assert_eq!(cluster.leader(), Some(id(2)));
}

#[test]
pub(crate) fn a_lease_is_waited_out_before_anything_is_taken() {
    let mut cluster = under(LeasePolicy::WaitOut(LEASE));
    cluster.advance(6_000 * MS);
    let leader = succeed(&mut cluster);
    assert!(readable(&cluster, 1));
    assert_eq!(cluster.propose(leader, "b"), Err(ProposeError::LeaseWait));
    assert_eq!(inherited(&cluster, leader), None);
    let mut waited = 0;
    while cluster.propose(leader, "b").is_err() {
        cluster.advance(20 * MS);
        waited += 1;
        assert!(waited < 300, "a lease ends some time");
    }
    assert!(waited > 50, "it waited for what was left of five seconds");
    assert!(!readable(&cluster, 1), "the old one stopped before");
    assert_eq!(
        cluster.raft(id(1)).role(),
        RoleKind::Follower,
        "and stepped down"
    );
    cluster.advance(200 * MS);
    assert!(readable(&cluster, leader.get()));
}

#[test]
pub(crate) fn without_leases_every_read_asks() {
    let mut cluster = under(LOG);
    let change = MembershipChange::Lease(LeasePolicy::Off);
    cluster
        .input(id(1), |raft, now| raft.propose_membership(now, &change))
        .unwrap();
    assert!(!readable(&cluster, 1), "from when it is appended");
    cluster.advance(300 * MS);
    assert_eq!(cluster.raft(id(1)).lease_until(), None);
    let change = MembershipChange::Lease(LeasePolicy::Log(
        Lease {
            duration: Duration::from_secs(3_600),
            ..LEASE
        },
        LeaseClock::Drift,
    ));
    assert!(
        cluster
            .input(id(1), |raft, now| raft.propose_membership(now, &change))
            .is_err()
    );
}

#[test]
pub(crate) fn true_time_makes_no_lease_when_it_is_unsure() {
    let policy = LeasePolicy::Log(LEASE, LeaseClock::Interval);
    let mut cluster = Cluster::new(3, config(), 1);
    cluster.elect(id(1));
    let change = MembershipChange::Lease(policy);
    let tell = |cluster: &mut Cluster, sure: bool| {
        let true_now = cluster.now.as_nanos();
        let reading = TrueTime {
            earliest: true_now - 1_000_000,
            latest: true_now + 1_000_000,
        };
        for node in 1..=3 {
            cluster.input(id(node), |raft, now| {
                raft.on_true_time(now, sure.then_some(reading));
            });
        }
    };
    cluster
        .input(id(1), |raft, now| raft.propose_membership(now, &change))
        .unwrap();
    cluster.advance(2_000 * MS);
    assert!(!readable(&cluster, 1), "nobody knows the time");
    tell(&mut cluster, true);
    cluster.advance(2_000 * MS);
    assert!(readable(&cluster, 1));
    tell(&mut cluster, false);
    assert!(!readable(&cluster, 1));
}

#[test]
pub(crate) fn a_clock_that_leapt_is_not_believed() {
    let mut cluster = under(LOG);
    cluster.input(id(1), Raft::on_clock_disrupted);
    assert!(!readable(&cluster, 1));
    cluster.advance(3_000 * MS);
    assert!(readable(&cluster, 1), "it is regained in the normal way");
    let leader = succeed(&mut cluster);
    let before = cluster.raft(leader).commits_from().unwrap();
    cluster.input(leader, Raft::on_clock_disrupted);
    let after = cluster.raft(leader).commits_from().unwrap();
    assert!(after > before, "waiting begins anew");
    assert_eq!(inherited(&cluster, leader), None);
}

/// The first of three nodes, with one entry of term 1.
fn node(term: u64) -> Raft {
    let restored = Restored {
        hard_state: HardState {
            term: Term::new(term),
            vote: None,
        },
        base: LogBase::bootstrap([id(1), id(2), id(3)]),
        last_index: LogIndex::new(1),
        terms: vec![(LogIndex::new(1), Term::new(1))],
        ..Restored::default()
    };
    let config = config().validate().unwrap();
    Raft::new(config, id(1), restored, Instant::EPOCH, 1)
}

fn heartbeat(term: u64, lease: Duration) -> AppendEntries {
    AppendEntries {
        term: Term::new(term),
        session: Session(1),
        prev_index: LogIndex::new(1),
        prev_term: Term::new(1),
        commit: LogIndex::ZERO,
        round: Round(1),
        revoked: 0,
        lease: LeaseGrant {
            duration: lease,
            appended_by: 0,
        },
        entries: Vec::<Entry>::new().into(),
    }
}

fn ask(raft: &mut Raft, now: Instant, term: u64, longest: Duration) -> Duration {
    let request = RequestVote {
        term: Term::new(term),
        last_index: LogIndex::new(1),
        last_term: Term::new(1),
        transfer: None,
        lease: LeaseClaim {
            longest,
            inherit: Duration::ZERO,
        },
    };
    raft.on_message(now, id(3), request.into());
    while let Some(persist) = raft.poll_persist() {
        raft.on_persisted(now, persist.into_durable());
    }
    while let Some(envelope) = raft.poll_transmit() {
        if let Message::RequestVoteReply(reply) = envelope.message {
            assert!(reply.granted);
            return reply.old_lease;
        }
    }
    panic!("no vote");
}

#[test]
pub(crate) fn a_voter_remembers_the_longest_of_several_old_leases() {
    let mut raft = node(1);
    let at = |millis: u32| Instant::EPOCH.after(20_000 * MS + millis * MS);
    raft.on_message(at(0), id(2), heartbeat(2, 5_000 * MS).into());
    raft.on_message(at(10), id(3), heartbeat(3, 100 * MS).into());
    assert_eq!(ask(&mut raft, at(2_000), 4, Duration::ZERO), 3_000 * MS);
}

#[test]
pub(crate) fn a_restarted_voter_reckons_with_what_it_forgot() {
    let mut raft = node(3);
    let now = Instant::EPOCH.after(2_000 * MS);
    assert_eq!(ask(&mut raft, now, 4, 5_000 * MS), 3_000 * MS);
    let mut raft = node(3);
    let now = Instant::EPOCH.after(6_000 * MS);
    assert_eq!(ask(&mut raft, now, 4, 5_000 * MS), Duration::ZERO);
}

#[test]
pub(crate) fn a_lease_is_void_only_where_the_log_still_ends_there() {
    for (void_at, void) in [(0, false), (1, true), (2, false)] {
        let mut raft = node(1);
        let now = Instant::EPOCH.after(20_000 * MS);
        raft.on_message(now, id(2), heartbeat(2, Duration::ZERO).into());
        let request = TimeoutNow {
            term: Term::new(2),
            number: 1,
            void_at: LogIndex::new(void_at),
        };
        raft.on_message(now, id(2), request.into());
        while let Some(persist) = raft.poll_persist() {
            raft.on_persisted(now, persist.into_durable());
        }
        let ticket =
            core::iter::from_fn(|| raft.poll_transmit()).find_map(|envelope| {
                match envelope.message {
                    Message::RequestVote(request) => request.transfer,
                    _ => None,
                }
            });
        assert_eq!(ticket.map(|ticket| ticket.void), Some(void), "{void_at}");
    }
}

#[test]
pub(crate) fn an_idle_leader_renews_its_lease_with_entries() {
    let mut cluster = under(LOG);
    let before = cluster.raft(id(1)).last_index();
    cluster.advance(20_000 * MS);
    assert!(readable(&cluster, 1));
    let renewals = cluster.raft(id(1)).last_index().distance_from(before);
    assert!(
        (10..=13).contains(&renewals),
        "{renewals} in twenty seconds"
    );
    let newest = cluster
        .raft(id(1))
        .cached_entry(cluster.raft(id(1)).last_index());
    assert!(newest.is_none_or(|entry| entry.payload == Payload::Noop));
}
