//! `kontiki status`: every node at a glance.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use kv::client::{Failed, StatusResponse};
use kv_proto::admin::v1::Role;
use serde::Serialize;
use stdx::ByteSize;
use tokio::task::{JoinSet, LocalSet};

use crate::client::{ClientArgs, refused};
use crate::error::Hint;

/// Show every node: role, term, indexes, lag, disk.
///
/// Exit code 1: the cluster has no leader, or a node does not answer.
#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What is known about a cluster.
#[derive(Clone, Debug, Default, Serialize)]
struct Cluster {
    cluster_id: String,
    /// 0: there is none.
    leader: u64,
    term: u64,
    nodes: Vec<Node>,
    /// Members that did not answer, and why.
    unreachable: BTreeMap<u64, String>,
}

/// What is known about a node.
#[derive(Clone, Debug, Serialize)]
struct Node {
    id: u64,
    address: String,
    version: String,
    role: &'static str,
    term: u64,
    first_index: u64,
    last_index: u64,
    committed: u64,
    applied: u64,
    /// Entries that it lacks, as the leader sees it.
    lag: u64,
    has_lease: bool,
    keys: u64,
    memory_bytes: u64,
    disk: Disk,
    uptime_ms: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Disk {
    wal_bytes: u64,
    wal_segments: u64,
    engine_bytes: u64,
}

pub(crate) async fn run(args: StatusArgs) -> Result<ExitCode> {
    let cluster = LocalSet::new().run_until(collect(&args.client)).await?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &cluster)?;
        writeln!(out)?;
    } else {
        out.write_all(cluster.table().as_bytes())?;
    }
    let healthy = cluster.leader != 0 && cluster.unreachable.is_empty();
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Asks the named nodes, then the members that they know.
async fn collect(args: &ClientArgs) -> Result<Cluster> {
    let mut statuses: BTreeMap<u64, (String, StatusResponse)> = BTreeMap::new();
    let mut failures: BTreeMap<String, Failed> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    let mut waiting: BTreeSet<String> = args.endpoint.iter().cloned().collect();
    while !waiting.is_empty() {
        // Side by side, on this thread: a node that is gone costs its timeout once.
        let mut calls = JoinSet::new();
        for address in std::mem::take(&mut waiting) {
            asked.insert(address.clone());
            let client = ClientArgs {
                endpoint: vec![address],
                ..args.clone()
            }
            .connect()?;
            calls.spawn_local(async move { client.status_of_all().await });
        }
        while let Some(answers) = calls.join_next().await {
            for (address, answer) in answers? {
                match answer {
                    Ok(status) => {
                        let members = status.members.iter().map(|member| member.address.clone());
                        waiting.extend(members.filter(|address| !address.is_empty()));
                        statuses.insert(status.node_id, (address, status));
                    }
                    Err(failed) => {
                        failures.insert(address, failed);
                    }
                }
            }
        }
        waiting.retain(|address| !asked.contains(address));
    }
    if statuses.is_empty() {
        let error = failures.values().next().map_or_else(
            || anyhow!(Hint::new("no node was named", "say --endpoint host:port")),
            refused,
        );
        return Err(error.context("no node answers"));
    }
    let ids: BTreeSet<_> = statuses
        .values()
        .map(|(_, status)| status.cluster_id.clone())
        .collect();
    if ids.len() > 1 {
        bail!(Hint::new(
            "the endpoints belong to different clusters",
            "name nodes of one cluster"
        ));
    }
    Ok(summarise(&statuses, &failures))
}

fn summarise(
    statuses: &BTreeMap<u64, (String, StatusResponse)>,
    failures: &BTreeMap<String, Failed>,
) -> Cluster {
    // Two nodes may believe that they lead, but not in the same term.
    let leader = statuses
        .values()
        .map(|(_, status)| status)
        .filter(|status| status.role == i32::from(Role::Leader))
        .max_by_key(|status| status.term);
    let newest = statuses
        .values()
        .map(|(_, status)| status)
        .max_by_key(|status| status.term);
    let source = leader.or(newest);
    let members = source
        .map(|status| status.members.as_slice())
        .unwrap_or_default();
    let mut cluster = Cluster {
        cluster_id: source
            .map(|status| status.cluster_id.clone())
            .unwrap_or_default(),
        leader: leader.map_or(0, |status| status.node_id),
        term: source.map_or(0, |status| status.term),
        ..Cluster::default()
    };
    for (id, (address, status)) in statuses {
        let lag = members
            .iter()
            .find(|member| member.node_id == *id)
            .map_or(0, |member| member.lag);
        cluster.nodes.push(Node::new(address, status, lag));
    }
    for member in members
        .iter()
        .filter(|member| !statuses.contains_key(&member.node_id))
    {
        let reason = failures.get(&member.address).map_or_else(
            || "its address is not known".to_owned(),
            ToString::to_string,
        );
        cluster.unreachable.insert(member.node_id, reason);
    }
    cluster
}

impl Node {
    fn new(address: &str, status: &StatusResponse, lag: u64) -> Self {
        let (disk, data) = (
            status.disk.unwrap_or_default(),
            status.data.unwrap_or_default(),
        );
        Self {
            id: status.node_id,
            address: address.to_owned(),
            version: status.version.clone(),
            role: role_name(status.role()),
            term: status.term,
            first_index: status.first_index,
            last_index: status.last_index,
            committed: status.committed,
            applied: status.applied,
            lag,
            has_lease: status.has_lease,
            keys: data.keys,
            memory_bytes: data.memory_bytes,
            disk: Disk {
                wal_bytes: disk.wal_bytes,
                wal_segments: disk.wal_segments,
                engine_bytes: disk.engine_bytes,
            },
            uptime_ms: status.uptime_ms,
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Unspecified => "?",
        Role::Follower => "follower",
        Role::PreCandidate => "pre-candidate",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
    }
}

impl Cluster {
    fn table(&self) -> String {
        let mut rows = vec![
            [
                "node",
                "address",
                "role",
                "term",
                "last",
                "committed",
                "applied",
                "lag",
                "keys",
                "memory",
                "log",
                "engine",
                "up",
            ]
            .map(str::to_owned),
        ];
        for node in &self.nodes {
            let role = if node.has_lease {
                format!("{}*", node.role)
            } else {
                node.role.to_owned()
            };
            rows.push([
                node.id.to_string(),
                node.address.clone(),
                role,
                node.term.to_string(),
                node.last_index.to_string(),
                node.committed.to_string(),
                node.applied.to_string(),
                node.lag.to_string(),
                node.keys.to_string(),
                size(node.memory_bytes),
                size(node.disk.wal_bytes),
                size(node.disk.engine_bytes),
                format!("{} s", node.uptime_ms / 1000),
            ]);
        }
        let leader = match self.leader {
            0 => "no leader".to_owned(),
            leader => format!("node {leader} leads"),
        };
        let mut text = format!(
            "cluster {}, term {}, {leader}\n\n",
            self.cluster_id, self.term
        );
        text.push_str(&aligned(&rows));
        if self.nodes.iter().any(|node| node.has_lease) {
            text.push_str("\n* serves linearizable reads by itself\n");
        }
        for (id, reason) in &self.unreachable {
            text.push_str(&format!("\nnode {id} does not answer: {reason}\n"));
        }
        text
    }
}

/// Columns as wide as they need: words to the left, numbers to the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(at, cell)| {
            let width = rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
            // Address and role are words.
            if matches!(at, 1 | 2) {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A size in the largest unit that leaves at least one digit before the point.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [
        ("GiB", ByteSize::mib(1024).get()),
        ("MiB", ByteSize::mib(1).get()),
        ("KiB", ByteSize::kib(1).get()),
    ];
    for (name, unit) in UNITS {
        if bytes >= unit {
            let tenths = bytes.saturating_mul(10) / unit;
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use kv_proto::admin::v1::Member;

    use super::*;

    fn status(id: u64, role: Role, term: u64) -> (u64, (String, StatusResponse)) {
        let member = |id: u64| Member {
            node_id: id,
            address: format!("h:{id}"),
            voter: true,
            lag: id * 10,
            ..Member::default()
        };
        let status = StatusResponse {
            node_id: id,
            cluster_id: "00000000000000aa".to_owned(),
            role: role.into(),
            term,
            members: vec![member(1), member(2), member(3)],
            ..StatusResponse::default()
        };
        (id, (format!("h:{id}"), status))
    }

    #[test]
    fn a_leader_of_an_older_term_does_not_count() {
        let statuses = BTreeMap::from([status(1, Role::Leader, 3), status(2, Role::Leader, 4)]);
        let cluster = summarise(&statuses, &BTreeMap::new());
        assert_eq!((cluster.leader, cluster.term), (2, 4));
        assert_eq!(cluster.nodes[0].lag, 10);
        assert_eq!(cluster.unreachable.keys().collect::<Vec<_>>(), [&3]);
        assert!(
            cluster.table().contains("node 3 does not answer"),
            "{}",
            cluster.table()
        );
    }

    #[test]
    fn a_cluster_without_a_leader_says_so() {
        let cluster = summarise(
            &BTreeMap::from([status(1, Role::Follower, 3)]),
            &BTreeMap::new(),
        );
        assert_eq!(cluster.leader, 0);
        assert!(
            cluster
                .table()
                .starts_with("cluster 00000000000000aa, term 3, no leader\n")
        );
    }

    #[test]
    fn sizes_and_columns_are_readable() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
        let rows =
            [["1", "ab", "x", "10"], ["20", "b", "yy", "1"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), " 1  ab  x   10\n20  b   yy   1\n");
    }
}
