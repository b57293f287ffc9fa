//! What a leader counts is true, and it counts enough: `matchIndex` is an index "known to
//! be replicated" (Ongaro and Ousterhout 2014, figure 2), durably; the commit index moves
//! only over a majority of each half of the members, and only to an entry of the leader's
//! own term (section 5.4.2, figure 8). The count is made anew here, the naive way.

use std::collections::{BTreeMap, BTreeSet};

use raft::RoleKind;
use sim::Violation;
use stdx::{LogIndex, NodeId, Term};

use super::{Nodes, Seen};

const PROPERTY: &str = "replication";

#[derive(Debug, Default)]
pub(super) struct Replication {
    committed: BTreeMap<NodeId, (LogIndex, Term, RoleKind)>,
}

impl Replication {
    pub(super) fn observe(&mut self, seen: Seen<'_>, nodes: &impl Nodes) -> Result<(), Violation> {
        let raft = seen.node.raft();
        let now = (raft.committed(), raft.term(), raft.role());
        let before = self.committed.insert(seen.id, now);
        if let Some((index, term, _)) = before
            && (now.0 < index || now.1 < term)
        {
            let detail = format!("{} went back from {index} {term} to {now:?}", seen.id);
            return Err(Violation::new(PROPERTY, detail));
        }
        if raft.role() != RoleKind::Leader {
            return Ok(());
        }
        check_matched(seen, nodes)?;
        match before {
            Some((index, term, RoleKind::Leader)) if term == now.1 && now.0 > index => {
                check_commit(seen)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn forget(&mut self, id: NodeId) -> bool {
        self.committed.remove(&id).is_some()
    }
}

fn check_matched(seen: Seen<'_>, nodes: &impl Nodes) -> Result<(), Violation> {
    let raft = seen.node.raft();
    for peer in raft.progress() {
        let Some(follower) = nodes.node(peer.id) else {
            continue;
        };
        // A follower in a newer term may have dropped entries since.
        if peer.id == seen.id
            || peer.matched == LogIndex::ZERO
            || follower.raft().term() > raft.term()
        {
            continue;
        }
        let store = follower.store();
        let holds = store.durable_last() >= peer.matched;
        let other = peer.matched > store.base().index
            && peer.matched > raft.base().index
            && store.term_at(peer.matched) != raft.term_at(peer.matched);
        if !holds || other || follower.raft().term() < raft.term() {
            let detail = format!(
                "{} counts {} at {}, which holds {} durably, in {}",
                seen.id,
                peer.id,
                peer.matched,
                store.durable_last(),
                follower.raft().term()
            );
            return Err(Violation::new(PROPERTY, detail));
        }
    }
    Ok(())
}

fn check_commit(seen: Seen<'_>) -> Result<(), Violation> {
    let raft = seen.node.raft();
    let committed = raft.committed();
    if raft.term_at(committed) != Some(raft.term()) {
        let detail = format!(
            "{} counted replicas of {committed}, of an old term",
            seen.id
        );
        return Err(Violation::new(PROPERTY, detail));
    }
    let mut holders: BTreeSet<NodeId> = raft
        .progress()
        .iter()
        .filter(|peer| peer.id != seen.id && peer.matched >= committed)
        .map(|peer| peer.id)
        .collect();
    if seen.node.store().durable_last() >= committed {
        holders.insert(seen.id);
    }
    let membership = raft.membership();
    for half in [&membership.voters, &membership.outgoing] {
        if !half.is_empty() && half.intersection(&holders).count() <= half.len() / 2 {
            let detail = format!(
                "{} committed {committed} with {holders:?}, not a majority of {half:?}",
                seen.id
            );
            return Err(Violation::new(PROPERTY, detail));
        }
    }
    Ok(())
}
