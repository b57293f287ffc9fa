//! The key space: what exists, its names, taking it away.

use kv_core::{Batch, Command, SLOT_COUNT, glob_match};
use resp::{Encoder, Request, parse_i64};

use crate::resp_server::arguments::{from, integer, is, key};
use crate::resp_server::error::CommandError;
use crate::resp_server::limits::REPLY_BYTES_MAX;
use crate::resp_server::random;
use crate::resp_server::table::{Flags, Keys, Reading, Shape, Spec};

fn del(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    // A key that can't exist need not be named: the count is the same.
    let keys = from(request, 1)
        .filter(|key| super::super::arguments::check_key(key).is_ok())
        .collect();
    batch.push(&Command::Delete { keys });
    Ok(Shape::Plain)
}

fn exists(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let mut count = 0;
    for key in from(request, 1) {
        count += usize::from(reading.view.exists(key)?);
    }
    out.count(count);
    Ok(())
}

fn type_of(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    out.simple(if reading.view.exists(&request[1])? {
        "string"
    } else {
        "none"
    });
    Ok(())
}

/// The most keys that `KEYS` answers with.
const KEYS_MAX: usize = 1 << 24;

fn keys(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let pattern = &request[1];
    let every = pattern == b"*";
    let found = reading
        .view
        .keys(KEYS_MAX, &|key| every || glob_match(pattern, key))?;
    let bytes: usize = found.iter().map(|key| key.len() + 16).sum();
    if bytes > REPLY_BYTES_MAX {
        return Err(CommandError::REPLY_TOO_LARGE);
    }
    out.array(found.len());
    for key in &found {
        out.bulk(key);
    }
    Ok(())
}

/// Keys that one step of `SCAN` looks at, unless told otherwise, and at most: a view holds up
/// writes.
const SCAN_COUNT: i64 = 10;
const SCAN_COUNT_MAX: i64 = 100_000;

fn scan(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let cursor = core::str::from_utf8(&request[1])
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(CommandError::INVALID_CURSOR)?;
    let (mut count, mut pattern, mut strings) = (SCAN_COUNT, None, true);
    let mut words = from(request, 2);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(CommandError::SYNTAX)?;
        if is(word, "COUNT") {
            count = integer(value)?;
            if count < 1 {
                return Err(CommandError::SYNTAX);
            }
        } else if is(word, "MATCH") {
            pattern = (value != b"*").then_some(value);
        } else if is(word, "TYPE") {
            strings = is(value, "string");
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let count = usize::try_from(count.min(SCAN_COUNT_MAX)).unwrap_or(1);
    let matches = |key: &[u8]| strings && pattern.is_none_or(|pattern| glob_match(pattern, key));
    let page = reading.view.scan(cursor, count, &matches)?;
    out.array(2);
    out.bulk(page.cursor.to_string().as_bytes());
    out.array(page.keys.len());
    for key in &page.keys {
        out.bulk(key);
    }
    Ok(())
}

/// Keys of a slot among which a random one is chosen.
const RANDOM_KEYS: usize = 64;

fn randomkey(
    reading: &mut Reading<'_, '_>,
    _request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    if reading.view.is_empty() {
        out.null();
        return Ok(());
    }
    // The first slot with keys from a random one on: not uniform, like Redis's.
    let start = random::below(usize::from(SLOT_COUNT));
    for step in 0..usize::from(SLOT_COUNT) {
        let slot = u16::try_from((start + step) % usize::from(SLOT_COUNT)).unwrap_or(0);
        let keys = reading.view.keys_in_slot(slot, RANDOM_KEYS)?;
        if !keys.is_empty() {
            out.bulk(&keys[random::below(keys.len())]);
            return Ok(());
        }
    }
    out.null();
    Ok(())
}

fn dbsize(
    reading: &mut Reading<'_, '_>,
    _request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    out.integer(i64::try_from(reading.view.len()).unwrap_or(i64::MAX));
    Ok(())
}

fn rename(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let (source, target) = (key(request, 1)?, key(request, 2)?);
    batch.push(&Command::Rename {
        source,
        target,
        only_if_absent: false,
    });
    Ok(Shape::Plain)
}

fn renamenx(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let (source, target) = (key(request, 1)?, key(request, 2)?);
    batch.push(&Command::Rename {
        source,
        target,
        only_if_absent: true,
    });
    Ok(Shape::Plain)
}

fn flush(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    match request.get(1) {
        Some(word) if request.len() > 2 || !(is(word, "ASYNC") || is(word, "SYNC")) => {
            Err(CommandError::SYNTAX)
        }
        _ => {
            batch.push(&Command::Clear);
            Ok(Shape::Plain)
        }
    }
}

fn cluster_slot(text: &[u8]) -> Result<u16, CommandError> {
    parse_i64(text)
        .and_then(|slot| u16::try_from(slot).ok())
        .filter(|&slot| slot < SLOT_COUNT)
        .ok_or(CommandError::fixed("ERR Invalid slot"))
}

pub(super) fn count_keys_in_slot(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let count = reading.view.count_in_slot(cluster_slot(&request[2])?)?;
    out.integer(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn keys_in_slot(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let slot = cluster_slot(&request[2])?;
    let count = parse_i64(&request[3])
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(CommandError::fixed("ERR Invalid number of keys"))?;
    let keys = reading.view.keys_in_slot(slot, count.min(KEYS_MAX))?;
    out.array(keys.len());
    for key in &keys {
        out.bulk(key);
    }
    Ok(())
}

pub(super) const SPECS: &[Spec] = &[
    Spec::write("del", -2, del)
        .keys(Keys::ALL)
        .docs("generic", "1.0.0", "Deletes keys."),
    Spec::write("unlink", -2, del)
        .flags(Flags::FAST)
        .keys(Keys::ALL)
        .docs("generic", "4.0.0", "Deletes keys; here the same as DEL."),
    Spec::read("exists", -2, exists)
        .flags(Flags::FAST)
        .keys(Keys::ALL)
        .docs("generic", "1.0.0", "How many of the keys exist."),
    Spec::read("touch", -2, exists)
        .flags(Flags::FAST)
        .keys(Keys::ALL)
        .docs(
            "generic",
            "3.2.1",
            "How many of the keys exist; nothing else is touched.",
        ),
    Spec::read("type", 2, type_of)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "1.0.0", "The type of a value."),
    Spec::read("keys", 2, keys).docs(
        "generic",
        "1.0.0",
        "All keys that match a pattern. Prefer SCAN.",
    ),
    Spec::read("scan", -2, scan).docs("generic", "2.8.0", "Some of the keys, and where to go on."),
    Spec::read("randomkey", 1, randomkey).docs("generic", "1.0.0", "Some key."),
    Spec::read("dbsize", 1, dbsize).flags(Flags::FAST).docs(
        "server",
        "1.0.0",
        "The number of keys.",
    ),
    Spec::write("rename", 3, rename).keys(Keys::TWO).docs(
        "generic",
        "1.0.0",
        "Gives a key another name, replacing what has it.",
    ),
    Spec::write("renamenx", 3, renamenx)
        .flags(Flags::FAST)
        .keys(Keys::TWO)
        .docs(
            "generic",
            "1.0.0",
            "Gives a key another name if nothing has it.",
        ),
    Spec::write("flushdb", -1, flush).docs("server", "1.0.0", "Deletes every key."),
    Spec::write("flushall", -1, flush).docs("server", "1.0.0", "Deletes every key."),
];
