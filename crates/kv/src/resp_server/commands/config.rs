//! `CONFIG`: the few parameters that clients and benchmarks look at.

use kv_core::glob_match;
use kv_core::limits::VALUE_BYTES_MAX;
use resp::{Encoder, Request};

use super::object::write_help;
use crate::resp_server::arguments::{from, is, text};
use crate::resp_server::error::CommandError;
use crate::resp_server::limits::KEEPALIVE;
use crate::resp_server::session::{Door, Flow, Session};
use crate::resp_server::table::{Flags, Spec};

type Done = Result<Flow, CommandError>;

/// The parameter that can be changed while the server runs.
const MAXCLIENTS: &str = "maxclients";

/// What never changes here, as Redis would put it. Writes are on the disks of a majority before
/// they are acknowledged: Redis calls that an append-only file with a sync for every write.
const FIXED: &[(&str, &str)] = &[
    ("appendfsync", "always"),
    ("appendonly", "yes"),
    (
        "client-output-buffer-limit",
        "normal 0 0 0 slave 0 0 0 pubsub 0 0 0",
    ),
    ("cluster-enabled", "no"),
    ("cluster-require-full-coverage", "yes"),
    ("databases", "1"),
    ("enable-debug-command", "no"),
    ("latency-monitor-threshold", "0"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", ""),
    ("requirepass", ""),
    ("save", ""),
    ("slowlog-log-slower-than", "-1"),
    ("slowlog-max-len", "0"),
    ("timeout", "0"),
];

fn parameters(door: &Door, local_port: u16) -> Vec<(&'static str, String)> {
    let mut parameters: Vec<(&str, String)> = FIXED
        .iter()
        .map(|&(name, value)| (name, value.to_owned()))
        .collect();
    parameters.push((MAXCLIENTS, door.clients.limit().to_string()));
    parameters.push(("port", local_port.to_string()));
    parameters.push(("proto-max-bulk-len", VALUE_BYTES_MAX.to_string()));
    parameters.push(("tcp-keepalive", KEEPALIVE.as_secs().to_string()));
    parameters.sort_unstable();
    parameters
}

fn get(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let patterns: Vec<Vec<u8>> = from(request, 2).map(<[u8]>::to_ascii_lowercase).collect();
    let found: Vec<_> = parameters(session.door, session.client.local.port())
        .into_iter()
        .filter(|(name, _)| {
            patterns
                .iter()
                .any(|pattern| glob_match(pattern, name.as_bytes()))
        })
        .collect();
    out.map(found.len());
    for (name, value) in found {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    }
    Ok(Flow::Continue)
}

fn set(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    if !request.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity("config|set"));
    }
    let known = parameters(session.door, session.client.local.port());
    let mut limit = None;
    let mut words = from(request, 2);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        let Some((name, now)) = known.iter().find(|(known, _)| is(name, known)) else {
            return Err(CommandError::new(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                text(name)
            )));
        };
        let value = text(value);
        if *name == MAXCLIENTS {
            let parsed = value.parse::<usize>().ok().filter(|&limit| limit > 0);
            limit = Some(parsed.ok_or_else(|| refused(name, "argument must be 1 or more"))?);
        } else if value != *now {
            // Not silently: a client that asks for another behaviour must know it isn't there.
            return Err(refused(name, "can't set immutable config"));
        }
    }
    if let Some(limit) = limit {
        session.door.clients.set_limit(limit);
    }
    out.ok();
    Ok(Flow::Continue)
}

fn refused(name: &str, why: &str) -> CommandError {
    CommandError::new(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"
    ))
}

fn resetstat(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    session.door.stats.reset();
    out.ok();
    Ok(Flow::Continue)
}

fn rewrite(_session: &mut Session<'_>, _request: &Request<'_>, _out: &mut Encoder<'_>) -> Done {
    Err(CommandError::fixed(
        "ERR The server is running without a config file",
    ))
}

fn help(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let lines = [
        "GET <pattern> [<pattern> ...]",
        "    Return parameters matching the glob-like patterns and their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Set maxclients. Other parameters only accept the value they have.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Fails: there is no configuration file.",
    ];
    write_help(out, "CONFIG", &lines);
    Ok(Flow::Continue)
}

const OPERATOR: Flags = Flags::ADMIN.with(Flags::NOSCRIPT);

const CONFIG: &[Spec] = &[
    Spec::local("config|get", -3, get).flags(OPERATOR).docs(
        "server",
        "2.0.0",
        "Parameters and their values.",
    ),
    Spec::local("config|set", -4, set).flags(OPERATOR).docs(
        "server",
        "2.0.0",
        "Changes maxclients.",
    ),
    Spec::local("config|resetstat", 2, resetstat)
        .flags(OPERATOR)
        .docs("server", "2.0.0", "Starts the statistics from zero."),
    Spec::local("config|rewrite", 2, rewrite)
        .flags(OPERATOR)
        .docs("server", "2.8.0", "Fails: there is no configuration file."),
    Spec::local("config|help", 2, help).docs("server", "5.0.0", "The subcommands."),
];

pub(super) const SPECS: &[Spec] =
    &[Spec::container("config", CONFIG).docs("server", "2.0.0", "Parameters of the server.")];
