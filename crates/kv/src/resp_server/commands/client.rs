//! `CLIENT`: who is connected, what they are called, and ending them.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use resp::{Encoder, Request, parse_i64};

use super::object::write_help;
use crate::resp_server::arguments::{from, integer, is, text};
use crate::resp_server::clients::Client;
use crate::resp_server::error::CommandError;
use crate::resp_server::limits::LABEL_BYTES_MAX;
use crate::resp_server::session::{Door, Flow, Session};
use crate::resp_server::table::{Flags, Spec};

type Done = Result<Flow, CommandError>;

/// Names stand in `CLIENT LIST`, where a space or a line end would be misread.
pub(super) fn check_label(label: &[u8], what: &str) -> Result<(), CommandError> {
    if label.len() > LABEL_BYTES_MAX {
        return Err(CommandError::new(format!(
            "ERR {what} is longer than 1024 bytes"
        )));
    }
    if label.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(());
    }
    Err(CommandError::new(format!(
        "ERR {what} cannot contain spaces, newlines or special characters."
    )))
}

fn id(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.integer(id_of(session.client));
    Ok(Flow::Continue)
}

fn id_of(client: &Client) -> i64 {
    i64::try_from(client.id).unwrap_or(i64::MAX)
}

fn setname(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let name = &request[2];
    check_label(name, "Client names")?;
    session.client.labels.lock().name = name.to_vec();
    out.ok();
    Ok(Flow::Continue)
}

fn getname(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let labels = session.client.labels.lock();
    out.optional_bulk(Some(labels.name.as_slice()).filter(|name| !name.is_empty()));
    Ok(Flow::Continue)
}

fn setinfo(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let (option, value) = (&request[2], &request[3]);
    let mut labels = session.client.labels.lock();
    let (slot, what) = if is(option, "LIB-NAME") {
        (&mut labels.library, "lib-name")
    } else if is(option, "LIB-VER") {
        (&mut labels.library_version, "lib-ver")
    } else {
        return Err(CommandError::new(format!(
            "ERR Unrecognized option '{}'",
            text(option)
        )));
    };
    check_label(value, what)?;
    *slot = value.to_vec();
    out.ok();
    Ok(Flow::Continue)
}

/// The line of a client in `CLIENT LIST`.
fn describe(door: &Door, client: &Client) -> String {
    let labels = client.labels.lock().clone();
    let age = Instant::now().saturating_duration_since(client.since);
    let idle = age
        .as_millis()
        .saturating_sub(u128::from(client.heard_ms.load(Ordering::Relaxed)));
    let command = door
        .commands
        .spec(client.last_command.load(Ordering::Relaxed))
        .map_or("NULL", |spec| spec.name);
    let mut flags = String::new();
    if client.no_evict.load(Ordering::Relaxed) {
        flags.push('e');
    }
    if client.no_touch.load(Ordering::Relaxed) {
        flags.push('T');
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let mut line = String::new();
    let written = write!(
        line,
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db=0 sub=0 psub=0 ssub=0 \
         multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 \
         tot-mem=0 events=r cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        client.id,
        client.peer,
        client.local,
        text(&labels.name),
        age.as_secs(),
        idle / 1_000,
        if client.resp3.load(Ordering::Relaxed) {
            3
        } else {
            2
        },
        text(&labels.library),
        text(&labels.library_version),
    );
    debug_assert!(written.is_ok(), "writing to a string can't fail");
    line.push('\n');
    line
}

fn info(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.verbatim(*b"txt", describe(session.door, session.client).as_bytes());
    Ok(Flow::Continue)
}

/// Which clients are meant.
#[derive(Default)]
struct Filter {
    ids: Option<Vec<u64>>,
    peer: Option<String>,
    local: Option<String>,
    /// Another type than a normal client: there are none.
    nobody: bool,
    age_secs_min: Option<u64>,
    skip_me: bool,
}

impl Filter {
    fn takes(&self, client: &Client) -> bool {
        !self.nobody
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self
                .peer
                .as_ref()
                .is_none_or(|peer| *peer == client.peer.to_string())
            && self
                .local
                .as_ref()
                .is_none_or(|local| *local == client.local.to_string())
            && self
                .age_secs_min
                .is_none_or(|age| client.since.elapsed().as_secs() >= age)
    }

    fn set_type(&mut self, name: &[u8]) -> Result<(), CommandError> {
        self.nobody = match name.to_ascii_lowercase().as_slice() {
            b"normal" => false,
            b"master" | b"replica" | b"slave" | b"pubsub" => true,
            _ => {
                return Err(CommandError::new(format!(
                    "ERR Unknown client type '{}'",
                    text(name)
                )));
            }
        };
        Ok(())
    }
}

fn parse_id(argument: &[u8]) -> Result<u64, CommandError> {
    parse_i64(argument)
        .and_then(|id| u64::try_from(id).ok())
        .filter(|&id| id > 0)
        .ok_or(CommandError::fixed("ERR Invalid client ID"))
}

fn list(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let mut filter = Filter::default();
    match request.get(2) {
        None => {}
        Some(word) if is(word, "TYPE") && request.len() == 4 => filter.set_type(&request[3])?,
        Some(word) if is(word, "ID") && request.len() > 3 => {
            filter.ids = Some(from(request, 3).map(parse_id).collect::<Result<_, _>>()?);
        }
        Some(_) => return Err(CommandError::SYNTAX),
    }
    let lines: String = session
        .door
        .clients
        .list()
        .iter()
        .filter(|client| filter.takes(client))
        .map(|client| describe(session.door, client))
        .collect();
    out.verbatim(*b"txt", lines.as_bytes());
    Ok(Flow::Continue)
}

fn parse_kill(request: &Request<'_>) -> Result<Filter, CommandError> {
    let mut filter = Filter {
        skip_me: true,
        ..Filter::default()
    };
    let mut words = from(request, 2);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(CommandError::SYNTAX)?;
        if is(word, "ID") {
            filter.ids = Some(vec![parse_id(value).map_err(|_| {
                CommandError::fixed("ERR client-id should be greater than 0")
            })?]);
        } else if is(word, "TYPE") {
            filter.set_type(value)?;
        } else if is(word, "ADDR") {
            filter.peer = Some(text(value));
        } else if is(word, "LADDR") {
            filter.local = Some(text(value));
        } else if is(word, "USER") {
            if value != b"default" {
                return Err(CommandError::new(format!(
                    "ERR No such user '{}'",
                    text(value)
                )));
            }
        } else if is(word, "MAXAGE") {
            filter.age_secs_min = Some(u64::try_from(integer(value)?).unwrap_or(0));
        } else if is(word, "SKIPME") && is(value, "yes") {
            filter.skip_me = true;
        } else if is(word, "SKIPME") && is(value, "no") {
            filter.skip_me = false;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    Ok(filter)
}

fn kill(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    // The old form names an address and may end its own connection.
    let old = request.len() == 3;
    let filter = if old {
        Filter {
            peer: Some(text(&request[2])),
            ..Filter::default()
        }
    } else {
        parse_kill(request)?
    };
    let (mut count, mut own) = (0, false);
    for client in session.door.clients.list() {
        let is_own = client.id == session.client.id;
        if !filter.takes(&client) || (is_own && filter.skip_me) {
            continue;
        }
        count += 1;
        if is_own {
            own = true;
        } else {
            client.stop();
        }
    }
    match (old, count) {
        (true, 0) => return Err(CommandError::fixed("ERR No such client")),
        (true, _) => out.ok(),
        (false, _) => out.count(count),
    }
    Ok(if own { Flow::Close } else { Flow::Continue })
}

/// Sets a flag of the connection that nothing depends on here.
fn set_flag(flag: &AtomicBool, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let on = is(&request[2], "ON");
    if !on && !is(&request[2], "OFF") {
        return Err(CommandError::SYNTAX);
    }
    flag.store(on, Ordering::Relaxed);
    out.ok();
    Ok(Flow::Continue)
}

fn no_evict(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    set_flag(&session.client.no_evict, request, out)
}

fn no_touch(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    set_flag(&session.client.no_touch, request, out)
}

fn tracking(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    if is(&request[2], "OFF") {
        out.ok();
        return Ok(Flow::Continue);
    }
    if is(&request[2], "ON") {
        return Err(CommandError::fixed(
            "ERR client-side caching is not supported",
        ));
    }
    Err(CommandError::SYNTAX)
}

fn getredir(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.integer(-1);
    Ok(Flow::Continue)
}

fn trackinginfo(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.map(3);
    out.bulk(b"flags");
    out.set(1);
    out.bulk(b"off");
    out.bulk(b"redirect");
    out.integer(-1);
    out.bulk(b"prefixes");
    out.array(0);
    Ok(Flow::Continue)
}

fn reply(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    if is(&request[2], "ON") {
        out.ok();
        return Ok(Flow::Continue);
    }
    if is(&request[2], "OFF") || is(&request[2], "SKIP") {
        return Err(CommandError::fixed(
            "ERR CLIENT REPLY OFF and SKIP are not supported",
        ));
    }
    Err(CommandError::SYNTAX)
}

/// Nobody ever blocks here.
fn unblock(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    match request.get(3) {
        _ if request.len() > 4 => return Err(CommandError::SYNTAX),
        Some(word) if !is(word, "TIMEOUT") && !is(word, "ERROR") => {
            return Err(CommandError::fixed(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
        _ => {}
    }
    integer(&request[2])?;
    out.integer(0);
    Ok(Flow::Continue)
}

fn help(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let lines = [
        "GETNAME",
        "    Return the name of the current connection.",
        "GETREDIR",
        "    Return -1: client-side caching is not supported.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections: ADDR, LADDR, TYPE, USER, SKIPME, ID, MAXAGE.",
        "LIST [TYPE <type> | ID <id> [...]]",
        "    Return information about client connections.",
        "NO-EVICT (ON|OFF)",
        "    Accepted without effect: clients are never evicted.",
        "NO-TOUCH (ON|OFF)",
        "    Accepted without effect: reads leave no trace.",
        "REPLY ON",
        "    Accepted without effect.",
        "SETINFO <option> <value>",
        "    Set LIB-NAME or LIB-VER.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "TRACKING OFF",
        "    Accepted without effect.",
        "TRACKINGINFO",
        "    Report that client-side caching is off.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Return 0: no command blocks.",
    ];
    write_help(out, "CLIENT", &lines);
    Ok(Flow::Continue)
}

const QUIET: Flags = Flags::NOSCRIPT;

const CLIENT: &[Spec] = &[
    Spec::local("client|id", 2, id).flags(QUIET).docs(
        "connection",
        "5.0.0",
        "The connection's number.",
    ),
    Spec::local("client|setname", 3, setname).flags(QUIET).docs(
        "connection",
        "2.6.9",
        "Names the connection.",
    ),
    Spec::local("client|getname", 2, getname).flags(QUIET).docs(
        "connection",
        "2.6.9",
        "The connection's name.",
    ),
    Spec::local("client|setinfo", 4, setinfo).flags(QUIET).docs(
        "connection",
        "7.2.0",
        "Notes which library the client uses.",
    ),
    Spec::local("client|info", 2, info).flags(QUIET).docs(
        "connection",
        "6.2.0",
        "What is known about the connection.",
    ),
    Spec::local("client|list", -2, list)
        .flags(QUIET.with(Flags::ADMIN))
        .docs(
            "connection",
            "2.4.0",
            "What is known about all connections.",
        ),
    Spec::local("client|kill", -3, kill)
        .flags(QUIET.with(Flags::ADMIN))
        .docs("connection", "2.4.0", "Ends connections."),
    Spec::local("client|no-evict", 3, no_evict)
        .flags(QUIET.with(Flags::ADMIN))
        .docs(
            "connection",
            "7.0.0",
            "Accepted: no connection is ever evicted.",
        ),
    Spec::local("client|no-touch", 3, no_touch)
        .flags(QUIET)
        .docs("connection", "7.2.0", "Accepted: reads leave no trace."),
    Spec::local("client|reply", 3, reply)
        .flags(QUIET)
        .docs("connection", "3.2.0", "Accepts ON."),
    Spec::local("client|tracking", -3, tracking)
        .flags(QUIET)
        .docs("connection", "6.0.0", "Accepts OFF."),
    Spec::local("client|trackinginfo", 2, trackinginfo)
        .flags(QUIET)
        .docs("connection", "6.2.0", "Reports that tracking is off."),
    Spec::local("client|getredir", 2, getredir)
        .flags(QUIET)
        .docs("connection", "6.0.0", "Reports that tracking is off."),
    Spec::local("client|unblock", -3, unblock)
        .flags(QUIET.with(Flags::ADMIN))
        .docs("connection", "5.0.0", "Reports that nobody is blocked."),
    Spec::local("client|help", 2, help).docs("connection", "5.0.0", "The subcommands."),
];

pub(super) const SPECS: &[Spec] =
    &[Spec::container("client", CLIENT).docs("connection", "2.4.0", "About connections.")];
