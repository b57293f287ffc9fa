//! The server itself: time, waiting, and what operators' tools ask.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use resp::{Encoder, Request};

use super::object::write_help;
use crate::resp_server::arguments::{integer, is};
use crate::resp_server::error::CommandError;
use crate::resp_server::limits::SLEEP_MAX;
use crate::resp_server::session::{Flow, Session};
use crate::resp_server::table::{Flags, Spec};

type Done = Result<Flow, CommandError>;

fn time(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    out.array(2);
    out.bulk(since.as_secs().to_string().as_bytes());
    out.bulk(since.subsec_micros().to_string().as_bytes());
    Ok(Flow::Continue)
}

/// Other nodes that certainly have every acknowledged write: a majority less this one. There is
/// nothing to wait for, because a write isn't acknowledged before.
fn wait(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    integer(&request[1])?;
    let timeout = integer(&request[2])
        .map_err(|_| CommandError::fixed("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::fixed("ERR timeout is negative"));
    }
    let status = session.door.handle.status();
    let voters = status.members.iter().filter(|member| member.voter).count();
    out.count(voters / 2);
    Ok(Flow::Continue)
}

/// Every node serves everything, so there is nothing to switch.
fn readonly(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.ok();
    Ok(Flow::Continue)
}

fn debug_sleep(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let seconds = core::str::from_utf8(&request[2])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(CommandError::NOT_A_FLOAT)?;
    let pause = Duration::try_from_secs_f64(seconds)
        .map_err(|_| CommandError::NOT_A_FLOAT)?
        .min(SLEEP_MAX);
    out.ok();
    Ok(Flow::Sleep(pause))
}

fn debug_help(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let lines = [
        "SLEEP <seconds>",
        "    Stop this connection, and only this one, for <seconds>. Decimals allowed.",
    ];
    write_help(out, "DEBUG", &lines);
    Ok(Flow::Continue)
}

fn nothing(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.array(0);
    Ok(Flow::Continue)
}

fn zero(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.integer(0);
    Ok(Flow::Continue)
}

fn slowlog_get(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let error = CommandError::fixed("ERR count should be greater than or equal to -1");
    if let Some(Err(_) | Ok(..-1)) = request.get(2).map(integer) {
        return Err(error);
    }
    nothing(session, request, out)
}

fn slowlog_help(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let lines = [
        "GET [<count>]",
        "LEN",
        "RESET",
        "    Slow commands are not logged.",
    ];
    write_help(out, "SLOWLOG", &lines);
    Ok(Flow::Continue)
}

fn latency_help(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let lines = [
        "HISTORY <event>",
        "LATEST",
        "RESET [<event> ...]",
        "    Latencies are in the metrics of the HTTP door.",
    ];
    write_help(out, "LATENCY", &lines);
    Ok(Flow::Continue)
}

fn lolwut(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    if request.get(1).is_some_and(|word| !is(word, "VERSION")) {
        return Err(CommandError::SYNTAX);
    }
    out.verbatim(
        *b"txt",
        format!("Kontiki {}\n", super::version::KONTIKI).as_bytes(),
    );
    Ok(Flow::Continue)
}

const OPERATOR: Flags = Flags::ADMIN.with(Flags::NOSCRIPT);

const DEBUG: &[Spec] = &[
    Spec::local("debug|sleep", 3, debug_sleep)
        .flags(OPERATOR)
        .docs("server", "1.0.0", "Stops this connection for some seconds."),
    Spec::local("debug|help", 2, debug_help).docs("server", "1.0.0", "The subcommands."),
];

const SLOWLOG: &[Spec] = &[
    Spec::local("slowlog|get", -2, slowlog_get)
        .flags(Flags::ADMIN)
        .docs("server", "2.2.12", "Nothing: slow commands are not logged."),
    Spec::local("slowlog|len", 2, zero)
        .flags(Flags::ADMIN)
        .docs("server", "2.2.12", "Zero: slow commands are not logged."),
    Spec::local("slowlog|reset", 2, readonly)
        .flags(Flags::ADMIN)
        .docs("server", "2.2.12", "Does nothing."),
    Spec::local("slowlog|help", 2, slowlog_help).docs("server", "6.2.0", "The subcommands."),
];

const LATENCY: &[Spec] = &[
    Spec::local("latency|latest", 2, nothing)
        .flags(OPERATOR)
        .docs("server", "2.8.13", "Nothing: see the metrics."),
    Spec::local("latency|history", 3, nothing)
        .flags(OPERATOR)
        .docs("server", "2.8.13", "Nothing: see the metrics."),
    Spec::local("latency|reset", -2, zero).flags(OPERATOR).docs(
        "server",
        "2.8.13",
        "Does nothing.",
    ),
    Spec::local("latency|help", 2, latency_help).docs("server", "2.8.13", "The subcommands."),
];

pub(super) const SPECS: &[Spec] = &[
    Spec::local("time", 1, time).flags(Flags::FAST).docs(
        "server",
        "2.6.0",
        "The time of this node.",
    ),
    Spec::local("wait", 3, wait)
        .only_flags(Flags::NOSCRIPT)
        .docs(
            "generic",
            "3.0.0",
            "How many other nodes have every acknowledged write.",
        ),
    Spec::local("readonly", 1, readonly)
        .flags(Flags::FAST)
        .docs("cluster", "3.0.0", "Does nothing: every node serves reads."),
    Spec::local("readwrite", 1, readonly)
        .flags(Flags::FAST)
        .docs(
            "cluster",
            "3.0.0",
            "Does nothing: every node serves writes.",
        ),
    Spec::local("lolwut", -1, lolwut)
        .only_flags(Flags::READONLY.with(Flags::FAST))
        .docs("server", "5.0.0", "The version."),
    Spec::container("debug", DEBUG)
        .flags(OPERATOR.with(Flags::LOADING).with(Flags::STALE))
        .docs("server", "1.0.0", "For testing clients."),
    Spec::container("slowlog", SLOWLOG).docs("server", "2.2.12", "Slow commands: not logged."),
    Spec::container("latency", LATENCY).docs("server", "2.8.13", "Latencies: see the metrics."),
];
