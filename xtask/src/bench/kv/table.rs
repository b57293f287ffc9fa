//! The table of the database: which figure is compared with which, and the aims.

use crate::bench::kv::Load::{
    self, Get, GetPipelined, GrpcBatch, GrpcPipeline, GrpcPut, Set, SetPipelined,
};
use crate::bench::kv::{CLIENTS, GRPC_CLIENTS, GRPC_CONNECTIONS, Results, VALUE_BYTES};
use crate::bench::measure::Sample;
use crate::bench::report::{Row, Table, median};
use crate::bench::systems::System::{self, Etcd3, Kontiki1, Kontiki3, Redis};
use crate::bench::{BenchArgs, version_of};

/// One figure of ours beside one of another system.
#[derive(Clone, Copy, Debug)]
struct Pair {
    what: &'static str,
    ours: (System, Load),
    peer: (System, Load),
    /// The least ratio of speeds; `None` only reports.
    aim: Option<f64>,
}

const fn pair(
    what: &'static str,
    ours: System,
    peer: System,
    load: Load,
    aim: Option<f64>,
) -> Pair {
    Pair {
        what,
        ours: (ours, load),
        peer: (peer, load),
        aim,
    }
}

const SPEEDS: [Pair; 10] = [
    pair(
        "SET, 3 nodes, pipeline 16",
        Kontiki3,
        Redis,
        SetPipelined,
        Some(0.5),
    ),
    pair(
        "SET, 1 node, pipeline 16",
        Kontiki1,
        Redis,
        SetPipelined,
        Some(1.0),
    ),
    pair(
        "SET, 3 nodes, no pipelining",
        Kontiki3,
        Redis,
        Set,
        Some(0.6),
    ),
    pair("SET, 1 node, no pipelining", Kontiki1, Redis, Set, None),
    pair(
        "GET at the leader of 3, no pipelining",
        Kontiki3,
        Redis,
        Get,
        Some(0.9),
    ),
    pair(
        "GET at the leader of 3, pipeline 16",
        Kontiki3,
        Redis,
        GetPipelined,
        Some(0.9),
    ),
    pair(
        "GET, 1 node, pipeline 16",
        Kontiki1,
        Redis,
        GetPipelined,
        None,
    ),
    pair(
        "gRPC put, 3 nodes, 256 clients, unary calls",
        Kontiki3,
        Etcd3,
        GrpcPut,
        None,
    ),
    Pair {
        what: "gRPC put, 3 nodes, 256 clients, one `Pipeline` call each (etcd: unary)",
        ours: (Kontiki3, GrpcPipeline),
        peer: (Etcd3, GrpcPut),
        aim: Some(10.0),
    },
    Pair {
        what: "gRPC put, 3 nodes, 256 clients, `Batch` of 100 (etcd: unary)",
        ours: (Kontiki3, GrpcBatch),
        peer: (Etcd3, GrpcPut),
        aim: None,
    },
];

/// What an operation costs; the aim of `Some` is to cost no more.
const COSTS: [Pair; 5] = [
    pair(
        "SET, 3 nodes, pipeline 16",
        Kontiki3,
        Redis,
        SetPipelined,
        None,
    ),
    pair(
        "SET, 1 node, pipeline 16",
        Kontiki1,
        Redis,
        SetPipelined,
        None,
    ),
    pair("SET, 3 nodes, no pipelining", Kontiki3, Redis, Set, None),
    pair(
        "GET at the leader of 3, pipeline 16",
        Kontiki3,
        Redis,
        GetPipelined,
        None,
    ),
    pair(
        "gRPC put, 3 nodes, 256 clients",
        Kontiki3,
        Etcd3,
        GrpcPut,
        Some(1.0),
    ),
];

fn short(system: System) -> &'static str {
    match system {
        Redis => "Redis",
        Etcd3 => "etcd, 3 nodes",
        Kontiki1 | Kontiki3 => system.name(),
    }
}

impl Results {
    fn median(&self, key: (System, Load), of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.samples.get(&key)?.iter().filter_map(of).collect())
    }

    fn speeds(&self) -> impl Iterator<Item = Row> {
        SPEEDS.iter().map(|pair| {
            let speed = |key| self.median(key, |sample| Some(sample.per_second));
            let both = (speed(pair.ours), speed(pair.peer));
            let row = Row::at_least(pair.what, both, short(pair.peer.0), pair.aim.unwrap_or(1.0));
            if pair.aim.is_some() {
                row
            } else {
                row.reported()
            }
        })
    }

    fn latencies(&self) -> impl Iterator<Item = Row> {
        SPEEDS.iter().map(|pair| {
            let p99 = |key| self.median(key, |sample| Some(sample.p99_us / 1000.0));
            let both = (p99(pair.ours), p99(pair.peer));
            let what = format!("p99 under that load: {}", pair.what);
            Row::at_most(&what, both, short(pair.peer.0), "ms").reported()
        })
    }

    fn costs(&self, kind: &str, unit: &str, of: fn(&Sample) -> Option<f64>) -> Vec<Row> {
        let rows = COSTS.iter().map(|pair| {
            let both = (self.median(pair.ours, of), self.median(pair.peer, of));
            let what = format!("{kind}: {}", pair.what);
            let row = Row::at_most(&what, both, short(pair.peer.0), unit);
            if pair.aim.is_some() {
                row
            } else {
                row.reported()
            }
        });
        rows.collect()
    }

    fn memory(&self) -> [Row; 2] {
        let of = |system| self.memory.get(&system).map(|bytes| *bytes as f64 / 1e6);
        let row = |what, ours, peer| Row::at_most(what, (of(ours), of(peer)), short(peer), "MB");
        [
            row("memory, 1 M keys of 64 B, all 3 nodes", Kontiki3, Etcd3),
            row("memory, 1 M keys of 64 B, 1 node", Kontiki1, Redis).reported(),
        ]
    }

    fn restart(&self) -> Option<Row> {
        let seconds = self.restart_seconds?;
        let log = self.restart_log_bytes as f64 / 1e9;
        Some(Row {
            what: format!("restart of 3 nodes, 1 M keys, logs of {log:.1} GB, until a read"),
            kontiki: Some(seconds),
            unit: "s".to_owned(),
            aim: "< 5 s".to_owned(),
            met: Some(seconds < 5.0),
            ..Row::default()
        })
    }
}

pub(crate) fn table(args: &BenchArgs, results: &Results) -> Table {
    let mut rows: Vec<Row> = results.speeds().collect();
    rows.extend(results.restart());
    rows.extend(results.memory());
    rows.extend(results.costs("processor time", "us/op", |sample| {
        Some(sample.processor_us)
    }));
    rows.extend(results.costs("fsyncs", "per 1000 op", |sample| {
        sample.fsyncs.map(|n| n * 1e3)
    }));
    rows.extend(results.latencies());
    let mut command = format!("cargo xtask bench kv --rounds {}", args.rounds);
    if args.quick {
        command.push_str(" --quick");
    }
    Table {
        name: "kv",
        title: "The database",
        method: method(),
        rows,
        command,
    }
}

fn method() -> String {
    let redis = version_of("redis-server", &["--version"]);
    let redis = redis.split(" sha").next().unwrap_or_default();
    let etcd = version_of("etcd", &["--version"]);
    format!(
        "Durable everywhere: every acknowledged write was synced to disk, in a cluster on a majority.\n\
         All processes and the client share one machine, and replication goes over loopback, so no\n\
         round trip of a real network is in the figures. SET and GET are `redis-benchmark` with\n\
         {CLIENTS} connections on {VALUE_BYTES} B values and 1 M keys, at the leader. gRPC put is {GRPC_CLIENTS} clients\n\
         over {GRPC_CONNECTIONS} connections in a closed loop at the leader, each with one operation under way, sent as a\n\
         unary call, as a message of a `Pipeline` call that lasts, or in batches; etcd has unary calls only,\n\
         and starts empty, while Kontiki holds the keys already. Redis is one process without replicas (`--appendonly\n\
         yes --appendfsync always`): it promises less than the others. Processor time and memory are\n\
         those of all server processes together; fsyncs are the calls of `fdatasync`, `fsync` and\n\
         `sync_file_range` that perf counted. Versions: {redis}; {etcd}."
    )
}
