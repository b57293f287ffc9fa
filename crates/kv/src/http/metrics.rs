//! The doors' counters and the node's state in Prometheus's text format. What the node itself
//! counts comes from the process's recorder.

use core::fmt::{Display, Write as _};

use crate::grpc::Method;
use crate::http::Sources;
use crate::node::NodeStatus;
use crate::resp_server::{BUCKETS, HistogramTotals, RespDoor};

/// Text in the making.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.push(&format_args!(
            "# HELP {name} {help}\n# TYPE {name} {kind}\n"
        ));
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        if labels.is_empty() {
            self.push(&format_args!("{name} {value}\n"));
        } else {
            self.push(&format_args!("{name}{{{labels}}} {value}\n"));
        }
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }

    fn push(&mut self, text: &impl Display) {
        let written = write!(self.0, "{text}");
        debug_assert!(written.is_ok(), "writing to a string can't fail");
    }
}

/// Everything that isn't in the recorder.
pub(super) fn render(sources: &Sources) -> String {
    let mut text = Exposition::default();
    if let Some((door, _)) = &sources.resp {
        resp(door, &mut text);
    }
    grpc(sources, &mut text);
    node(&sources.handle.status(), &mut text);
    text.0
}

fn resp(door: &RespDoor, text: &mut Exposition) {
    let totals = door.totals();
    let (connected, refused) = door.connections();
    let name = "kontiki_resp_commands_total";
    text.head(name, "counter", "Commands of Redis clients by class.");
    for (class, calls) in door.calls_by_class(&totals) {
        text.sample(name, &format!("class=\"{class}\""), calls);
    }
    for (name, kind, help, value) in [
        (
            "kontiki_resp_errors_total",
            "counter",
            "Commands answered with an error.",
            totals.errors,
        ),
        (
            "kontiki_resp_connections",
            "gauge",
            "Redis clients connected.",
            connected as u64,
        ),
        (
            "kontiki_resp_connections_total",
            "counter",
            "Redis clients that connected.",
            totals.connections,
        ),
        (
            "kontiki_resp_connections_refused_total",
            "counter",
            "Redis clients refused because there were too many.",
            refused,
        ),
        (
            "kontiki_resp_received_bytes_total",
            "counter",
            "Bytes of requests.",
            totals.bytes_in,
        ),
        (
            "kontiki_resp_sent_bytes_total",
            "counter",
            "Bytes of replies.",
            totals.bytes_out,
        ),
        (
            "kontiki_resp_key_hits_total",
            "counter",
            "Keys found.",
            totals.key_hits,
        ),
        (
            "kontiki_resp_key_misses_total",
            "counter",
            "Keys not found.",
            totals.key_misses,
        ),
    ] {
        text.one(name, kind, help, value);
    }
    let name = "kontiki_resp_pipeline_seconds";
    text.head(
        name,
        "histogram",
        "Time for the reads or the writes of one pipeline.",
    );
    histogram(name, "reads", &totals.reads, text);
    histogram(name, "writes", &totals.writes, text);
}

fn histogram(name: &str, class: &str, totals: &HistogramTotals, text: &mut Exposition) {
    let label = format!("class=\"{class}\"");
    let (bucket_name, mut below) = (format!("{name}_bucket"), 0);
    for (index, count) in totals.buckets.iter().enumerate() {
        below += count;
        if index == BUCKETS - 1 {
            text.sample(&bucket_name, &format!("{label},le=\"+Inf\""), below);
        } else {
            let bound = (1_u64 << index) as f64 / 1e6;
            text.sample(&bucket_name, &format!("{label},le=\"{bound}\""), below);
        }
    }
    text.sample(
        &format!("{name}_sum"),
        &label,
        totals.sum_nanos as f64 / 1e9,
    );
    text.sample(&format!("{name}_count"), &label, below);
}

fn grpc(sources: &Sources, text: &mut Exposition) {
    let stats = &sources.grpc.0;
    let name = "kontiki_grpc_calls_total";
    text.head(name, "counter", "gRPC calls by method.");
    for method in Method::ALL {
        text.sample(
            name,
            &format!("method=\"{}\"", method.name()),
            stats.calls(method),
        );
    }
    text.one(
        "kontiki_grpc_operations_total",
        "counter",
        "Operations in gRPC calls; a batch counts each of its own.",
        stats.operations(),
    );
    text.one(
        "kontiki_grpc_errors_total",
        "counter",
        "gRPC calls that failed.",
        stats.errors(),
    );
}

/// The numbers of a node's status: name, what it is, value.
fn gauges(status: &NodeStatus) -> [(&'static str, &'static str, u64); 14] {
    let NodeStatus { disk, data, .. } = status;
    [
        ("raft_term", "The current term.", status.term.get()),
        (
            "raft_last_index",
            "The last index of the log.",
            status.last_index.get(),
        ),
        (
            "raft_durable_index",
            "The last index on this disk.",
            status.durable.get(),
        ),
        (
            "raft_committed_index",
            "The last committed index.",
            status.committed.get(),
        ),
        (
            "raft_applied_index",
            "The last applied index.",
            status.applied.get(),
        ),
        (
            "raft_first_index",
            "The first index still in the log.",
            status.first_index.get(),
        ),
        (
            "raft_has_lease",
            "Whether reads need not ask.",
            u64::from(status.has_lease),
        ),
        ("wal_bytes", "Bytes of the log on disk.", disk.wal_bytes),
        ("wal_segments", "Files of the log.", disk.wal_segments),
        (
            "disk_full",
            "Whether writes are refused.",
            u64::from(disk.full),
        ),
        (
            "engine_disk_bytes",
            "Bytes of the engine on disk.",
            disk.engine_bytes,
        ),
        ("engine_keys", "Keys.", data.keys),
        (
            "engine_memory_bytes",
            "Memory for keys and values.",
            data.memory_bytes,
        ),
        (
            "uptime_seconds",
            "Seconds since the start.",
            status.uptime.as_secs(),
        ),
    ]
}

fn node(status: &NodeStatus, text: &mut Exposition) {
    for (name, help, value) in gauges(status) {
        text.one(&format!("kontiki_{name}"), "gauge", help, value);
    }
    let name = "kontiki_raft_role";
    text.head(
        name,
        "gauge",
        "The role this node plays: 1 for the one it has.",
    );
    text.sample(name, &format!("role=\"{}\"", status.role.name()), 1);
    let name = "kontiki_raft_peer_lag_entries";
    text.head(
        name,
        "gauge",
        "Entries that a member still lacks; known to the leader.",
    );
    for member in &status.members {
        text.sample(
            name,
            &format!("peer=\"{}\"", member.node_id.get()),
            member.lag,
        );
    }
}
