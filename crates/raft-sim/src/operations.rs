//! What an operator does to a cluster while faults happen, and what only Raft's own
//! disks can suffer. Drawn into the plan like faults, so that shrinking can drop it.

use std::collections::BTreeSet;

use raft::{LogBase, Membership, MembershipChange};
use sim::{Fault, Liveness, PlanStep, Who};
use stdx::{LogIndex, NodeId};

use crate::checkers::ChangeCheck;
use crate::cluster::{Cluster, node_id};
use crate::options::SYSTEM_KINDS;

/// Does what a step of the plan says, if that is one of Raft's own.
pub fn begin(cluster: &mut Cluster, step: &PlanStep, leader: Option<NodeId>) -> bool {
    match step.fault {
        Fault::BitFlip(who, draw) => {
            rot(cluster, who, draw, leader);
            true
        }
        Fault::System(kind, draw) => {
            if let Some(leader) = leader {
                operate(cluster, leader, SYSTEM_KINDS[usize::from(kind)], draw);
            }
            true
        }
        _ => false,
    }
}

fn operate(cluster: &mut Cluster, leader: NodeId, kind: &str, draw: u64) {
    match kind {
        "transfer" => {
            let to = (!draw.is_multiple_of(3))
                .then(|| pick(&hosts(cluster), draw / 3))
                .flatten();
            // A refusal is an answer like any other.
            let _refused = cluster.act(leader, |node, context| {
                node.input(context, |raft, now| raft.transfer_leadership(now, to))
            });
        }
        "lease" => {
            let options = cluster.options();
            let (election, drift) = (options.raft.election_timeout_min, options.drift_ppm_max);
            let policy = crate::options::draw_policy(draw, election, drift);
            propose_change(cluster, leader, &MembershipChange::Lease(policy));
        }
        "wipe" => wipe(cluster, leader, draw),
        "snapshot" => {
            let id = pick(&hosts(cluster), draw).unwrap_or(leader);
            cluster.act(id, crate::node::RaftNode::take_snapshot);
        }
        _ => {
            if let Some(change) = draw_change(cluster, leader, kind, draw) {
                propose_change(cluster, leader, &change);
            }
        }
    }
}

/// Proposes a change of members to a leader; it must not take what it shouldn't.
pub fn propose_change(cluster: &mut Cluster, leader: NodeId, change: &MembershipChange) -> bool {
    let last_change = last_change(cluster, leader);
    let Some(node) = cluster.world.process(leader) else {
        return false;
    };
    let check = ChangeCheck::before(node.raft(), last_change);
    let taken = cluster.act(leader, |node, context| {
        node.input(context, |raft, now| raft.propose_membership(now, change))
    });
    if !matches!(taken, Some(Ok(_))) {
        return false;
    }
    if let Err(violation) = check.accepted() {
        cluster.fail(violation);
    }
    true
}

/// A machine that is no longer a member is set up anew under its old name.
fn wipe(cluster: &mut Cluster, leader: NodeId, draw: u64) {
    let Some(node) = cluster.world.process(leader) else {
        return;
    };
    let members = node.raft().membership().members();
    let outside: Vec<NodeId> = hosts(cluster)
        .into_iter()
        .filter(|id| !members.contains(id))
        .collect();
    let Some(id) = pick(&outside, draw) else {
        return;
    };
    cluster.crash(id);
    if let Some(disk) = cluster.world.disk(id) {
        disk.wipe();
    }
    if let Some(config) = cluster.world.config(id) {
        config.bootstrap = LogBase::default();
    }
    cluster.start(id);
}

/// The newest membership entry in a node's log.
fn last_change(cluster: &mut Cluster, id: NodeId) -> LogIndex {
    let found = cluster.world.act(id, |node, context| {
        let entries = node.store().memberships(context.disk);
        entries.last().map(|(index, _)| *index)
    });
    found.flatten().unwrap_or_default()
}

fn draw_change(
    cluster: &Cluster,
    leader: NodeId,
    kind: &str,
    draw: u64,
) -> Option<MembershipChange> {
    let membership: &Membership = cluster.world.process(leader)?.raft().membership();
    let list = |set: &BTreeSet<NodeId>| set.iter().copied().collect::<Vec<_>>();
    Some(match kind {
        "learner" => {
            let outside: Vec<NodeId> = hosts(cluster)
                .into_iter()
                .filter(|id| !membership.contains(*id))
                .collect();
            MembershipChange::AddLearner(pick(&outside, draw)?)
        }
        "promote" => MembershipChange::Promote(pick(&list(&membership.learners), draw)?),
        "demote" => MembershipChange::Demote(pick(&list(&membership.voters), draw)?),
        "remove" => MembershipChange::Remove(pick(&list(&membership.members()), draw)?),
        _ => {
            let hosts = hosts(cluster);
            let chosen = |bits: u64| {
                let picked = (0..)
                    .zip(&hosts)
                    .filter(move |(bit, _)| bits >> bit & 1 == 1);
                picked.map(|(_, &id)| id).collect::<BTreeSet<_>>()
            };
            let mut voters = chosen(draw);
            voters.insert(pick(&hosts, draw >> 32)?);
            let learners = chosen(draw >> 16);
            MembershipChange::Replace { voters, learners }
        }
    })
}

/// Lets a log rot, where that leaves a majority of sound machines.
fn rot(cluster: &mut Cluster, who: Who, draw: u64, leader: Option<NodeId>) {
    let voters = cluster.options().voters;
    let lost = cluster.rotten().len() as u64;
    if (lost + 1) * 2 >= voters {
        return;
    }
    let id = match who {
        Who::Leader => leader.unwrap_or(node_id(0)),
        Who::Nth(number) => node_id(number % voters),
    };
    if cluster.rotten().contains(&id) || cluster.world.liveness(id) != Liveness::Up {
        return;
    }
    if cluster.act(id, |node, context| node.rot(context, draw)) == Some(true) {
        cluster.lose(id);
    }
}

fn hosts(cluster: &Cluster) -> Vec<NodeId> {
    cluster.world.hosts().collect()
}

fn pick(from: &[NodeId], draw: u64) -> Option<NodeId> {
    let count = u64::try_from(from.len()).ok().filter(|&count| count > 0)?;
    from.get(usize::try_from(draw % count).ok()?).copied()
}
