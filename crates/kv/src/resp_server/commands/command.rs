//! `COMMAND`: the table itself, by which clients route.

use kv_core::glob_match;
use resp::{Encoder, Request};

use super::object::write_help;
use crate::resp_server::arguments::{from, is};
use crate::resp_server::error::CommandError;
use crate::resp_server::session::{Flow, Session};
use crate::resp_server::table::{CommandTable, Flags, Handler, Keys, Spec};

type Done = Result<Flow, CommandError>;

/// One entry, in the ten fields of Redis 7.
fn write_entry(spec: &Spec, out: &mut Encoder<'_>) {
    out.array(10);
    out.bulk(spec.name.as_bytes());
    out.integer(spec.arity.into());
    let flags: Vec<_> = spec.flags.names().collect();
    out.set(flags.len());
    for flag in flags {
        out.simple(flag);
    }
    for number in [spec.keys.first, spec.keys.last, spec.keys.step] {
        out.integer(number.into());
    }
    let categories = spec.categories();
    out.set(categories.len());
    for category in &categories {
        out.simple(category);
    }
    out.array(0);
    write_key_spec(spec, out);
    out.array(spec.subcommands().len());
    for subcommand in spec.subcommands() {
        // Containers have no containers in them: this goes one level deep.
        write_entry(subcommand, out);
    }
}

/// Where the keys are, in Redis 7's own words.
fn write_key_spec(spec: &Spec, out: &mut Encoder<'_>) {
    let Keys { first, last, step } = spec.keys;
    if spec.keys == Keys::NONE {
        out.array(0);
        return;
    }
    let writes = spec.flags.has(Flags::WRITE);
    out.array(1);
    out.map(3);
    out.bulk(b"flags");
    out.set(2);
    out.simple(if writes { "RW" } else { "RO" });
    out.simple(if writes { "UPDATE" } else { "ACCESS" });
    out.bulk(b"begin_search");
    out.map(2);
    out.bulk(b"type");
    out.bulk(b"index");
    out.bulk(b"spec");
    out.map(1);
    out.bulk(b"index");
    out.integer(first.into());
    out.bulk(b"find_keys");
    out.map(2);
    out.bulk(b"type");
    out.bulk(b"range");
    out.bulk(b"spec");
    out.map(3);
    // Counted from the first key here, but from the end if negative.
    out.bulk(b"lastkey");
    out.integer(if last < 0 { last } else { last - first }.into());
    out.bulk(b"keystep");
    out.integer(step.into());
    out.bulk(b"limit");
    out.integer(0);
}

fn all(session: &Session<'_>, out: &mut Encoder<'_>) {
    let top = session.door.commands.top();
    out.array(top.len());
    for spec in top {
        write_entry(spec, out);
    }
}

/// The command of a name, or of a container and a subcommand with a bar between.
fn find(commands: &CommandTable, name: &[u8]) -> Option<&'static Spec> {
    if let Some(command) = commands.find(name) {
        return Some(command.spec);
    }
    commands
        .all()
        .iter()
        .copied()
        .find(|spec| is(name, spec.name))
}

fn info(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    if request.len() == 2 {
        all(session, out);
        return Ok(Flow::Continue);
    }
    out.array(request.len() - 2);
    for name in from(request, 2) {
        match find(&session.door.commands, name) {
            Some(spec) => write_entry(spec, out),
            None => out.null_array(),
        }
    }
    Ok(Flow::Continue)
}

fn write_docs(spec: &Spec, out: &mut Encoder<'_>) {
    let subcommands = spec.subcommands();
    out.bulk(spec.name.as_bytes());
    out.map(if subcommands.is_empty() { 3 } else { 4 });
    for (key, value) in [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group),
    ] {
        out.bulk(key.as_bytes());
        out.bulk(value.as_bytes());
    }
    if !subcommands.is_empty() {
        out.bulk(b"subcommands");
        out.map(subcommands.len());
        for subcommand in subcommands {
            write_docs(subcommand, out);
        }
    }
}

fn docs(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let commands = &session.door.commands;
    let specs: Vec<&Spec> = if request.len() == 2 {
        commands.top().to_vec()
    } else {
        from(request, 2)
            .filter_map(|name| find(commands, name))
            .collect()
    };
    out.map(specs.len());
    for spec in specs {
        write_docs(spec, out);
    }
    Ok(Flow::Continue)
}

fn count(session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    out.count(session.door.commands.top().len());
    Ok(Flow::Continue)
}

fn list(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let commands = &session.door.commands;
    let names: Vec<&str> = match request.len() {
        2 => commands.all().iter().map(|spec| spec.name).collect(),
        5 if is(&request[2], "FILTERBY") => {
            let value = &request[4];
            let matches: &dyn Fn(&Spec) -> bool = if is(&request[3], "PATTERN") {
                &|spec| glob_match(&value.to_ascii_lowercase(), spec.name.as_bytes())
            } else if is(&request[3], "ACLCAT") {
                &|spec| {
                    spec.categories()
                        .iter()
                        .any(|category| is(value, &category[1..]))
                }
            } else if is(&request[3], "MODULE") {
                &|_| false
            } else {
                return Err(CommandError::SYNTAX);
            };
            commands
                .all()
                .iter()
                .filter(|spec| matches(spec))
                .map(|spec| spec.name)
                .collect()
        }
        _ => return Err(CommandError::SYNTAX),
    };
    out.array(names.len());
    for name in names {
        out.bulk(name.as_bytes());
    }
    Ok(Flow::Continue)
}

fn getkeys(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let arguments: Vec<&[u8]> = from(request, 2).collect();
    let commands = &session.door.commands;
    let mut spec = commands
        .find(arguments[0])
        .map(|command| command.spec)
        .ok_or(CommandError::fixed("ERR Invalid command specified"))?;
    if let (Handler::Container(subcommands), Some(word)) = (spec.handler, arguments.get(1)) {
        spec = subcommands
            .iter()
            .find(|spec| {
                spec.name
                    .split_once('|')
                    .is_some_and(|(_, name)| is(word, name))
            })
            .ok_or(CommandError::fixed("ERR Invalid command specified"))?;
    }
    if spec.keys == Keys::NONE {
        return Err(CommandError::fixed("ERR The command has no key arguments"));
    }
    if !spec.accepts(arguments.len()) {
        return Err(CommandError::fixed(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    let index = |at: i32| usize::try_from(at).unwrap_or(0);
    let last = if spec.keys.last < 0 {
        arguments.len() - index(-spec.keys.last)
    } else {
        index(spec.keys.last)
    };
    let keys: Vec<&[u8]> = (index(spec.keys.first)..=last)
        .step_by(index(spec.keys.step))
        .filter_map(|at| arguments.get(at).copied())
        .collect();
    out.array(keys.len());
    for key in keys {
        out.bulk(key);
    }
    Ok(Flow::Continue)
}

/// `COMMAND` alone answers with the table; with a subcommand it is a container.
fn command(session: &mut Session<'_>, request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    if request.len() == 1 {
        all(session, out);
        return Ok(Flow::Continue);
    }
    let Some(spec) = COMMAND.iter().find(|spec| {
        spec.name
            .split_once('|')
            .is_some_and(|(_, name)| is(&request[1], name))
    }) else {
        return Err(super::unknown::subcommand(&SPECS[0], request));
    };
    match (spec.accepts(request.len()), spec.handler) {
        (true, Handler::Local(local)) => local(session, request, out),
        _ => Err(CommandError::wrong_arity(spec.name)),
    }
}

fn help(_session: &mut Session<'_>, _request: &Request<'_>, out: &mut Encoder<'_>) -> Done {
    let lines = [
        "(no subcommand)",
        "    Return details about all commands.",
        "COUNT",
        "    Return the total number of commands.",
        "LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <value>]",
        "    Return a list of the commands.",
        "INFO [<command-name> ...]",
        "    Return details about commands.",
        "DOCS [<command-name> ...]",
        "    Return documentation of commands.",
        "GETKEYS <full-command>",
        "    Return the keys of a full command.",
    ];
    write_help(out, "COMMAND", &lines);
    Ok(Flow::Continue)
}

const COMMAND: &[Spec] = &[
    Spec::local("command|count", 2, count).docs("server", "2.8.13", "The number of commands."),
    Spec::local("command|info", -2, info).docs("server", "2.8.13", "Entries of the table."),
    Spec::local("command|docs", -2, docs).docs("server", "7.0.0", "Documentation of commands."),
    Spec::local("command|list", -2, list).docs("server", "7.0.0", "The names of commands."),
    Spec::local("command|getkeys", -3, getkeys).docs(
        "server",
        "2.8.13",
        "The keys of a command line.",
    ),
    Spec::local("command|help", 2, help).docs("server", "5.0.0", "The subcommands."),
];

pub(super) const SPECS: &[Spec] =
    &[Spec::local("command", -1, command).docs("server", "2.8.13", "The table of commands.")];
