//! What the server knows about a value besides its bytes.

use resp::{Encoder, Request, parse_i64};

use crate::resp_server::arguments::is;
use crate::resp_server::error::CommandError;
use crate::resp_server::session::{Flow, Session};
use crate::resp_server::table::{Flags, Keys, Reading, Spec};

/// The longest string that Redis keeps in one piece with its header.
const EMBEDDED_BYTES_MAX: usize = 44;

/// The encoding that Redis would choose: some clients' tests ask.
fn encoding(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    match reading.view.get(&request[2])? {
        None => out.null(),
        Some(found) if parse_i64(&found.value).is_some() => out.bulk(b"int"),
        Some(found) if found.value.len() <= EMBEDDED_BYTES_MAX => out.bulk(b"embstr"),
        Some(_) => out.bulk(b"raw"),
    }
    Ok(())
}

fn refcount(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    if reading.view.exists(&request[2])? {
        out.integer(1);
    } else {
        out.null();
    }
    Ok(())
}

/// Nobody notes when a key was last used.
fn idletime(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    if reading.view.exists(&request[2])? {
        out.integer(0);
    } else {
        out.null();
    }
    Ok(())
}

fn freq(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    if reading.view.exists(&request[2])? {
        return Err(CommandError::fixed(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take some \
             time to adjust.",
        ));
    }
    out.null();
    Ok(())
}

/// Bytes that a key takes besides its own and its value's: an estimate.
const RECORD_BYTES: usize = 56;

fn memory_usage(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    match request.len() {
        3 => {}
        5 if is(&request[3], "SAMPLES") => {
            let samples = parse_i64(&request[4]).ok_or(CommandError::NOT_AN_INTEGER)?;
            if samples < 0 {
                return Err(CommandError::SYNTAX);
            }
        }
        _ => return Err(CommandError::SYNTAX),
    }
    match reading.view.get(&request[2])? {
        Some(found) => out.count(request[2].len() + found.value.len() + RECORD_BYTES),
        None => out.null(),
    }
    Ok(())
}

/// Lines of a `HELP` subcommand, between Redis's first and last ones.
pub(super) fn write_help(out: &mut Encoder<'_>, container: &str, lines: &[&str]) {
    out.array(lines.len() + 3);
    out.simple(&format!(
        "{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for line in lines {
        out.simple(line);
    }
    out.simple("HELP");
    out.simple("    Print this help.");
}

fn object_help(
    _session: &mut Session<'_>,
    _request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<Flow, CommandError> {
    let lines = [
        "ENCODING <key>",
        "    Return the encoding that Redis would use for the value.",
        "FREQ <key>",
        "    Fails: access frequencies are not tracked.",
        "IDLETIME <key>",
        "    Return 0: idle times are not tracked.",
        "REFCOUNT <key>",
        "    Return 1: values are not shared.",
    ];
    write_help(out, "OBJECT", &lines);
    Ok(Flow::Continue)
}

fn memory_help(
    _session: &mut Session<'_>,
    _request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<Flow, CommandError> {
    let lines = [
        "USAGE <key> [SAMPLES <count>]",
        "    Estimate the memory of a key.",
    ];
    write_help(out, "MEMORY", &lines);
    Ok(Flow::Continue)
}

const OBJECT: &[Spec] = &[
    Spec::read("object|encoding", 3, encoding)
        .keys(Keys::SECOND)
        .docs("generic", "2.2.3", "How Redis would keep the value."),
    Spec::read("object|refcount", 3, refcount)
        .keys(Keys::SECOND)
        .docs("generic", "2.2.3", "How many keys share the value: one."),
    Spec::read("object|idletime", 3, idletime)
        .keys(Keys::SECOND)
        .docs("generic", "2.2.3", "Not tracked."),
    Spec::read("object|freq", 3, freq)
        .keys(Keys::SECOND)
        .docs("generic", "4.0.0", "Not tracked."),
    Spec::local("object|help", 2, object_help).docs("generic", "6.2.0", "The subcommands."),
];

const MEMORY: &[Spec] = &[
    Spec::read("memory|usage", -3, memory_usage)
        .keys(Keys::SECOND)
        .docs(
            "server",
            "4.0.0",
            "An estimate of the memory that a key takes.",
        ),
    Spec::local("memory|help", 2, memory_help).docs("server", "4.0.0", "The subcommands."),
];

pub(super) const SPECS: &[Spec] = &[
    Spec::container("object", OBJECT).flags(Flags::NONE).docs(
        "generic",
        "2.2.3",
        "What is known about a value.",
    ),
    Spec::container("memory", MEMORY).docs("server", "4.0.0", "What memory is used for."),
];
