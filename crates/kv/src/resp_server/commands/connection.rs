//! The connection: hello, authentication, echoes, leaving.

use core::sync::atomic::Ordering;

use resp::{Encoder, Protocol, Request, parse_i64};

use super::info::version;
use crate::resp_server::arguments::{from, integer, is, text};
use crate::resp_server::clients::Labels;
use crate::resp_server::error::CommandError;
use crate::resp_server::session::{Flow, Session};
use crate::resp_server::table::{Flags, Spec};

type Done = Result<Flow, CommandError>;

fn ping(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    match request.len() {
        1 => out.raw(b"+PONG\r\n"),
        2 => out.bulk(&request[1]),
        _ => return Err(CommandError::wrong_arity("ping")),
    }
    Ok(Flow::Continue)
}

fn echo(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.bulk(&request[1]);
    Ok(Flow::Continue)
}

fn quit(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.ok();
    Ok(Flow::Close)
}

fn reset(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    *session.protocol = Protocol::Resp2;
    out.switch(Protocol::Resp2);
    session.client.resp3.store(false, Ordering::Relaxed);
    session.client.no_evict.store(false, Ordering::Relaxed);
    session.client.no_touch.store(false, Ordering::Relaxed);
    let mut labels = session.client.labels.lock();
    *labels = Labels {
        name: Vec::new(),
        ..core::mem::take(&mut *labels)
    };
    out.simple("RESET");
    Ok(Flow::Continue)
}

fn select(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    match integer(&request[1])? {
        0 => out.ok(),
        _ => return Err(CommandError::fixed("ERR DB index is out of range")),
    }
    Ok(Flow::Continue)
}

/// There is one user, without a password: what Redis answers in the same situation.
fn authenticate(user: &[u8]) -> Result<(), CommandError> {
    if user == b"default" {
        return Ok(());
    }
    Err(CommandError::fixed(
        "WRONGPASS invalid username-password pair or user is disabled.",
    ))
}

fn auth(_session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    match request.len() {
        2 => {
            return Err(CommandError::fixed(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        3 => authenticate(&request[1])?,
        _ => return Err(CommandError::SYNTAX),
    }
    out.ok();
    Ok(Flow::Continue)
}

fn hello(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let mut protocol = *session.protocol;
    if let Some(number) = request.get(1) {
        protocol = match parse_i64(number) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(CommandError::fixed("NOPROTO unsupported protocol version")),
            None => {
                return Err(CommandError::fixed(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        };
    }
    let mut name = None;
    let mut words = from(request, 2.min(request.len()));
    while let Some(word) = words.next() {
        if is(word, "AUTH") && words.len() >= 2 {
            authenticate(words.next().unwrap_or_default())?;
            words.next();
        } else if is(word, "SETNAME") && words.len() >= 1 {
            let word = words.next().unwrap_or_default();
            super::client::check_label(word, "Client names")?;
            name = Some(word.to_vec());
        } else {
            return Err(CommandError::new(format!(
                "ERR Syntax error in HELLO option '{}'",
                text(word)
            )));
        }
    }
    if let Some(name) = name {
        session.client.labels.lock().name = name;
    }
    *session.protocol = protocol;
    session
        .client
        .resp3
        .store(protocol == Protocol::Resp3, Ordering::Relaxed);
    out.switch(protocol);
    out.map(7);
    for (key, value) in [
        ("server", "redis"),
        ("version", version::REDIS),
        ("mode", "standalone"),
        ("role", "master"),
    ] {
        out.bulk(key.as_bytes());
        out.bulk(value.as_bytes());
        if key == "version" {
            out.bulk(b"proto");
            out.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
            out.bulk(b"id");
            out.integer(i64::try_from(session.client.id).unwrap_or(i64::MAX));
        }
    }
    out.bulk(b"modules");
    out.array(0);
    Ok(Flow::Continue)
}

const CONNECTION: Flags = Flags::NOSCRIPT.with(Flags::FAST);

pub(super) const SPECS: &[Spec] = &[
    Spec::local("ping", -1, ping).flags(Flags::FAST).docs(
        "connection",
        "1.0.0",
        "Answers, so the connection works.",
    ),
    Spec::local("echo", 2, echo).flags(Flags::FAST).docs(
        "connection",
        "1.0.0",
        "Answers with its argument.",
    ),
    Spec::local("quit", -1, quit)
        .flags(CONNECTION.with(Flags::NO_AUTH))
        .docs("connection", "1.0.0", "Closes the connection."),
    Spec::local("reset", 1, reset)
        .flags(CONNECTION.with(Flags::NO_AUTH))
        .docs("connection", "6.2.0", "Makes the connection like new."),
    Spec::local("select", 2, select).flags(Flags::FAST).docs(
        "connection",
        "1.0.0",
        "Chooses a database; there is only number 0.",
    ),
    Spec::local("auth", -2, auth)
        .flags(CONNECTION.with(Flags::NO_AUTH))
        .docs(
            "connection",
            "1.0.0",
            "Fails or does nothing: there are no passwords.",
        ),
    Spec::local("hello", -1, hello)
        .flags(CONNECTION.with(Flags::NO_AUTH))
        .docs(
            "connection",
            "6.0.0",
            "Chooses the version of the protocol.",
        ),
];
