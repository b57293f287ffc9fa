//! `CLUSTER`: to a cluster client this node looks like a cluster of one, which has every slot.
//!
//! That is true in the sense that matters: whatever is sent here is executed, at the leader if it
//! is another node. So clients that insist on cluster mode work against any node.

use kv_core::{SLOT_COUNT, hash_slot};
use resp::{Encoder, Request};
use stdx::NodeId;

use super::keys::{count_keys_in_slot, keys_in_slot};
use super::object::write_help;
use crate::resp_server::error::CommandError;
use crate::resp_server::session::{Flow, Session};
use crate::resp_server::table::{Flags, Spec};

type Done = Result<Flow, CommandError>;

const LAST_SLOT: i64 = SLOT_COUNT as i64 - 1;

/// The node's name, forty hexadecimal digits that survive restarts.
fn name(session: &Session<'_>) -> String {
    let status = session.door.handle.status();
    format!("{:0>24}{:016x}", status.cluster_id, status.node_id.get())
}

fn info(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let status = session.door.handle.status();
    let state = if status.leader.is_some() {
        "ok"
    } else {
        "fail"
    };
    let term = status.term.get();
    let text = format!(
        "cluster_enabled:0\r\ncluster_state:{state}\r\ncluster_slots_assigned:{SLOT_COUNT}\r\n\
         cluster_slots_ok:{SLOT_COUNT}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n\
         cluster_known_nodes:1\r\ncluster_size:1\r\ncluster_current_epoch:{term}\r\n\
         cluster_my_epoch:{term}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\n"
    );
    out.verbatim(*b"txt", text.as_bytes());
    Ok(Flow::Continue)
}

fn nodes(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let local = session.client.local;
    let text = format!(
        "{} {}:{}@{} myself,master - 0 0 {} connected 0-{LAST_SLOT}\n",
        name(session),
        local.ip(),
        local.port(),
        local.port(),
        session.door.handle.status().term.get()
    );
    out.verbatim(*b"txt", text.as_bytes());
    Ok(Flow::Continue)
}

fn slots(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let local = session.client.local;
    out.array(1);
    out.array(3);
    out.integer(0);
    out.integer(LAST_SLOT);
    out.array(4);
    out.bulk(local.ip().to_string().as_bytes());
    out.integer(local.port().into());
    out.bulk(name(session).as_bytes());
    out.array(0);
    Ok(Flow::Continue)
}

fn shards(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let local = session.client.local;
    let status = session.door.handle.status();
    let ip = local.ip().to_string();
    out.array(1);
    out.map(2);
    out.bulk(b"slots");
    out.array(2);
    out.integer(0);
    out.integer(LAST_SLOT);
    out.bulk(b"nodes");
    out.array(1);
    out.map(7);
    out.bulk(b"id");
    out.bulk(name(session).as_bytes());
    out.bulk(b"port");
    out.integer(local.port().into());
    for (key, value) in [
        ("ip", ip.as_str()),
        ("endpoint", ip.as_str()),
        ("role", "master"),
        ("health", "online"),
    ] {
        out.bulk(key.as_bytes());
        out.bulk(value.as_bytes());
    }
    out.bulk(b"replication-offset");
    out.integer(i64::try_from(status.applied.get()).unwrap_or(i64::MAX));
    Ok(Flow::Continue)
}

fn myid(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.bulk(name(session).as_bytes());
    Ok(Flow::Continue)
}

fn keyslot(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.integer(hash_slot(&request[2]).into());
    Ok(Flow::Continue)
}

fn nobody(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.array(0);
    Ok(Flow::Continue)
}

fn help(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let lines = [
        "COUNTKEYSINSLOT <slot>",
        "    Return the number of keys in <slot>.",
        "GETKEYSINSLOT <slot> <count>",
        "    Return key names stored by current node in a slot.",
        "INFO",
        "    Return information about the cluster.",
        "KEYSLOT <key>",
        "    Return the hash slot for <key>.",
        "MYID",
        "    Return the node id.",
        "NODES",
        "    Return this node, which serves every slot.",
        "REPLICAS <node-id>",
        "    Return an empty list.",
        "SHARDS",
        "    Return the one shard.",
        "SLOTS",
        "    Return the one range of slots.",
    ];
    write_help(out, "CLUSTER", &lines);
    Ok(Flow::Continue)
}

/// The leader's id, for tools: the other doors tell its address.
fn leader(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    match session.door.handle.status().leader.map(NodeId::get) {
        Some(leader) => out.integer(i64::try_from(leader).unwrap_or(i64::MAX)),
        None => out.null(),
    }
    Ok(Flow::Continue)
}

const CLUSTER: &[Spec] = &[
    Spec::local("cluster|info", 2, info).docs("cluster", "3.0.0", "The state of the cluster."),
    Spec::local("cluster|nodes", 2, nodes).docs("cluster", "3.0.0", "This node."),
    Spec::local("cluster|slots", 2, slots).docs("cluster", "3.0.0", "All slots are here."),
    Spec::local("cluster|shards", 2, shards).docs("cluster", "7.0.0", "All slots are here."),
    Spec::local("cluster|myid", 2, myid).docs("cluster", "3.0.0", "This node's name."),
    Spec::local("cluster|keyslot", 3, keyslot).docs("cluster", "3.0.0", "The slot of a key."),
    Spec::read("cluster|countkeysinslot", 3, count_keys_in_slot).docs(
        "cluster",
        "3.0.0",
        "The number of keys in a slot.",
    ),
    Spec::read("cluster|getkeysinslot", 4, keys_in_slot).docs(
        "cluster",
        "3.0.0",
        "Some keys of a slot.",
    ),
    Spec::local("cluster|replicas", 3, nobody).docs(
        "cluster",
        "5.0.0",
        "None: every node serves everything.",
    ),
    Spec::local("cluster|slaves", 3, nobody).docs(
        "cluster",
        "3.0.0",
        "None: every node serves everything.",
    ),
    Spec::local("cluster|leader", 2, leader).docs(
        "cluster",
        "7.2.0",
        "The number of the leader; not in Redis.",
    ),
    Spec::local("cluster|help", 2, help).docs("cluster", "5.0.0", "The subcommands."),
];

pub(super) const SPECS: &[Spec] = &[Spec::container("cluster", CLUSTER).flags(Flags::NONE).docs(
    "cluster",
    "3.0.0",
    "To cluster clients this looks like a cluster of one node.",
)];
