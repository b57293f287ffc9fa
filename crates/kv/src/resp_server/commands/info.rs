//! `INFO`: the text that clients and monitoring read.

use core::fmt::{self, Display, Write as _};
use std::process;
use std::time::Instant;

use resp::{Encoder, Request};

use crate::node::NodeStatus;
use crate::resp_server::arguments::from;
use crate::resp_server::error::CommandError;
use crate::resp_server::session::{Door, Flow, Session};
use crate::resp_server::table::Spec;

/// Versions that are told to clients.
pub(in crate::resp_server) mod version {
    /// The version of Redis whose commands these are.
    pub(in crate::resp_server) const REDIS: &str = "7.2.0";
    /// This software's own.
    pub(in crate::resp_server) const KONTIKI: &str = env!("CARGO_PKG_VERSION");
}

/// Sections that are shown unless others are named.
const DEFAULT: [&str; 8] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cluster",
    "keyspace",
];
/// Sections that must be named, or asked for with `all` or `everything`.
const EXTRA: [&str; 2] = ["kontiki", "commandstats"];

/// Lines of `name:value`.
struct Text(String);

impl Text {
    fn section(&mut self, title: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        self.push(format_args!("# {title}\r\n"));
    }

    fn line(&mut self, name: &str, value: impl Display) {
        self.push(format_args!("{name}:{value}\r\n"));
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        let written = self.0.write_fmt(text);
        debug_assert!(written.is_ok(), "writing to a string can't fail");
    }
}

fn info(
    session: &mut Session<'_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<Flow, CommandError> {
    let mut wanted: Vec<String> = Vec::new();
    for word in from(request, 1) {
        match word.to_ascii_lowercase().as_slice() {
            b"default" => wanted.extend(DEFAULT.map(str::to_owned)),
            b"all" | b"everything" => {
                wanted.extend(DEFAULT.iter().chain(&EXTRA).map(|&name| name.to_owned()));
            }
            name => wanted.push(String::from_utf8_lossy(name).into_owned()),
        }
    }
    if request.len() == 1 {
        wanted.extend(DEFAULT.map(str::to_owned));
        wanted.push("kontiki".to_owned());
    }
    let status = session.door.handle.status();
    let mut text = Text(String::new());
    for name in DEFAULT.iter().chain(&EXTRA) {
        if wanted.iter().any(|wanted| wanted == name) {
            write_section(name, session, &status, &mut text);
        }
    }
    out.verbatim(*b"txt", text.0.as_bytes());
    Ok(Flow::Continue)
}

fn write_section(name: &str, session: &Session<'_>, status: &NodeStatus, text: &mut Text) {
    let door = session.door;
    match name {
        "server" => server(door, session.client.local.port(), text),
        "clients" => {
            text.section("Clients");
            text.line("connected_clients", door.clients.len());
            text.line("cluster_connections", 0);
            text.line("maxclients", door.clients.limit());
            text.line("blocked_clients", 0);
            text.line("tracking_clients", 0);
        }
        "memory" => memory(status, text),
        "persistence" => {
            text.section("Persistence");
            text.line("loading", 0);
            text.line("async_loading", 0);
            text.line("rdb_bgsave_in_progress", 0);
            text.line("rdb_last_bgsave_status", "ok");
            text.line("aof_enabled", 1);
            text.line("aof_rewrite_in_progress", 0);
            text.line(
                "aof_last_write_status",
                if status.disk.full { "err" } else { "ok" },
            );
            text.line("aof_current_size", status.disk.wal_bytes);
        }
        "stats" => stats(door, text),
        "replication" => {
            text.section("Replication");
            // Every node takes writes: to a client each of them is a master.
            text.line("role", "master");
            text.line("connected_slaves", 0);
            text.line("master_failover_state", "no-failover");
            text.line("master_replid", &door.run_id);
            text.line("master_repl_offset", status.applied.get());
            text.line("second_repl_offset", -1);
            text.line("repl_backlog_active", 0);
        }
        "cluster" => {
            text.section("Cluster");
            text.line("cluster_enabled", 0);
        }
        "keyspace" => {
            text.section("Keyspace");
            if status.data.keys > 0 {
                text.line(
                    "db0",
                    format_args!("keys={},expires=0,avg_ttl=0", status.data.keys),
                );
            }
        }
        "kontiki" => kontiki(status, text),
        _ => commandstats(door, text),
    }
}

fn server(door: &Door, port: u16, text: &mut Text) {
    let uptime = door.started.elapsed().as_secs();
    text.section("Server");
    text.line("redis_version", version::REDIS);
    text.line("redis_git_sha1", "00000000");
    text.line("redis_git_dirty", 0);
    text.line("redis_mode", "standalone");
    text.line("kontiki_version", version::KONTIKI);
    text.line("os", std::env::consts::OS);
    text.line("arch_bits", usize::BITS);
    text.line("multiplexing_api", "tokio");
    text.line("process_id", process::id());
    text.line("run_id", &door.run_id);
    text.line("tcp_port", port);
    text.line("uptime_in_seconds", uptime);
    text.line("uptime_in_days", uptime / 86_400);
    text.line("hz", 10);
    text.line("executable", "kontiki");
    text.line("config_file", "");
}

fn memory(status: &NodeStatus, text: &mut Text) {
    let used = status.data.memory_bytes;
    text.section("Memory");
    text.line("used_memory", used);
    text.line("used_memory_human", format_args!("{}K", used / 1_024));
    text.line("used_memory_dataset", used);
    text.line("maxmemory", 0);
    text.line("maxmemory_human", "0B");
    text.line("maxmemory_policy", "noeviction");
    text.line("mem_fragmentation_ratio", "1.00");
}

fn stats(door: &Door, text: &mut Text) {
    let totals = door.stats.totals();
    let now = Instant::now();
    let (since, before) = core::mem::replace(&mut *door.sampled.lock(), (now, totals.commands));
    let millis = now.duration_since(since).as_millis().max(1);
    let rate = u128::from(totals.commands.saturating_sub(before)) * 1_000 / millis;
    text.section("Stats");
    text.line("total_connections_received", totals.connections);
    text.line("total_commands_processed", totals.commands);
    // Since somebody last asked.
    text.line("instantaneous_ops_per_sec", rate);
    text.line("total_net_input_bytes", totals.bytes_in);
    text.line("total_net_output_bytes", totals.bytes_out);
    text.line("rejected_connections", door.clients.refused());
    text.line("expired_keys", 0);
    text.line("evicted_keys", 0);
    text.line("keyspace_hits", totals.key_hits);
    text.line("keyspace_misses", totals.key_misses);
    text.line("pubsub_channels", 0);
    text.line("pubsub_patterns", 0);
    text.line("total_error_replies", totals.errors);
}

/// What Redis has no word for.
fn kontiki(status: &NodeStatus, text: &mut Text) {
    text.section("Kontiki");
    text.line("node_id", status.node_id.get());
    text.line("cluster_id", &status.cluster_id);
    text.line("raft_role", status.role.name());
    text.line("raft_term", status.term.get());
    text.line("raft_leader", status.leader.map_or(0, stdx::NodeId::get));
    text.line("raft_last_index", status.last_index.get());
    text.line("raft_committed", status.committed.get());
    text.line("raft_applied", status.applied.get());
    text.line("raft_has_lease", u8::from(status.has_lease));
    text.line("raft_members", status.members.len());
    text.line("wal_bytes", status.disk.wal_bytes);
    text.line("engine_bytes", status.disk.engine_bytes);
}

fn commandstats(door: &Door, text: &mut Text) {
    text.section("Commandstats");
    let totals = door.stats.totals();
    for (spec, calls) in door.commands.all().iter().zip(totals.calls) {
        if calls > 0 {
            text.push(format_args!("cmdstat_{}:calls={calls}\r\n", spec.name));
        }
    }
}

pub(super) const SPECS: &[Spec] =
    &[Spec::local("info", -1, info).docs("server", "1.0.0", "What the server does, as text.")];
