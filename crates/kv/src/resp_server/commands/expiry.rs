//! Keys that go away by themselves. Only the replicated time decides when: the stamps that
//! leaders put on log entries, so all nodes agree on what exists.

use std::time::{SystemTime, UNIX_EPOCH};

use kv_core::{Batch, Command, Deadline, ExpireCondition};
use resp::{Encoder, Request};

use crate::resp_server::arguments::{from, integer, is, key, text};
use crate::resp_server::error::CommandError;
use crate::resp_server::table::{Flags, Keys, Reading, Shape, Spec};

/// The words after the time.
fn parse_condition(request: &Request<'_>) -> Result<ExpireCondition, CommandError> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for word in from(request, 3) {
        if is(word, "NX") {
            nx = true;
        } else if is(word, "XX") {
            xx = true;
        } else if is(word, "GT") {
            gt = true;
        } else if is(word, "LT") {
            lt = true;
        } else {
            return Err(CommandError::new(format!(
                "ERR Unsupported option {}",
                text(word)
            )));
        }
    }
    if nx && (xx || gt || lt) {
        return Err(CommandError::fixed(
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if gt && lt {
        return Err(CommandError::fixed(
            "ERR GT and LT options at the same time are not compatible",
        ));
    }
    Ok(match (nx, xx, gt, lt) {
        (true, ..) => ExpireCondition::IfNone,
        (_, _, true, _) => ExpireCondition::IfLater,
        (_, true, _, true) => ExpireCondition::IfSomeAndSooner,
        (_, _, _, true) => ExpireCondition::IfSooner,
        (_, true, ..) => ExpireCondition::IfSome,
        _ => ExpireCondition::Always,
    })
}

fn set_deadline(
    request: &Request<'_>,
    batch: &mut Batch,
    (name, factor): (&str, i64),
    deadline: fn(i64) -> Deadline,
) -> Result<Shape, CommandError> {
    let condition = parse_condition(request)?;
    let millis = integer(&request[2])?
        .checked_mul(factor)
        .ok_or_else(|| CommandError::invalid_expire(name))?;
    batch.push(&Command::Expire {
        key: key(request, 1)?,
        deadline: deadline(millis),
        condition,
    });
    Ok(Shape::Plain)
}

fn expire(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    set_deadline(request, batch, ("expire", 1_000), Deadline::After)
}

fn pexpire(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    set_deadline(request, batch, ("pexpire", 1), Deadline::After)
}

fn expireat(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    set_deadline(request, batch, ("expireat", 1_000), Deadline::At)
}

fn pexpireat(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    set_deadline(request, batch, ("pexpireat", 1), Deadline::At)
}

fn persist(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    batch.push(&Command::Persist {
        key: key(request, 1)?,
    });
    Ok(Shape::Plain)
}

/// What Redis answers where there is no key, and where there is no deadline.
const NO_KEY: i64 = -2;
const NO_DEADLINE: i64 = -1;

/// The deadline of a key in milliseconds since 1970, or one of the above.
fn deadline(reading: &Reading<'_, '_>, key: &[u8]) -> Result<i64, CommandError> {
    Ok(match reading.view.meta(key)? {
        None => NO_KEY,
        Some(meta) if meta.expires_ms == 0 => NO_DEADLINE,
        Some(meta) => i64::try_from(meta.expires_ms).unwrap_or(i64::MAX),
    })
}

/// The time that a key has left, in milliseconds. Counted from this node's clock or the replicated
/// time, whichever is later, as the replicated time stands still while nothing is written.
fn time_left(reading: &Reading<'_, '_>, key: &[u8]) -> Result<i64, CommandError> {
    let deadline = deadline(reading, key)?;
    if deadline < 0 {
        return Ok(deadline);
    }
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
    let replicated = i64::try_from(reading.view.now_ms()).unwrap_or(i64::MAX);
    Ok((deadline - clock.max(replicated)).max(0))
}

/// Whole seconds, rounded to the nearest.
const fn seconds(millis: i64) -> i64 {
    if millis < 0 {
        millis
    } else {
        millis.saturating_add(500) / 1_000
    }
}

fn ttl(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    out.integer(seconds(time_left(reading, &request[1])?));
    Ok(())
}

fn pttl(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    out.integer(time_left(reading, &request[1])?);
    Ok(())
}

fn expiretime(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    out.integer(seconds(deadline(reading, &request[1])?));
    Ok(())
}

fn pexpiretime(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    out.integer(deadline(reading, &request[1])?);
    Ok(())
}

pub(super) const SPECS: &[Spec] = &[
    Spec::write("expire", -3, expire)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "1.0.0", "Lets a key expire after seconds."),
    Spec::write("pexpire", -3, pexpire)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "2.6.0", "Lets a key expire after milliseconds."),
    Spec::write("expireat", -3, expireat)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs(
            "generic",
            "1.2.0",
            "Lets a key expire at a time in seconds.",
        ),
    Spec::write("pexpireat", -3, pexpireat)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs(
            "generic",
            "2.6.0",
            "Lets a key expire at a time in milliseconds.",
        ),
    Spec::write("persist", 2, persist)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "2.2.0", "Lets a key live for ever."),
    Spec::read("ttl", 2, ttl)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "1.0.0", "The seconds that a key has left."),
    Spec::read("pttl", 2, pttl)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "2.6.0", "The milliseconds that a key has left."),
    Spec::read("expiretime", 2, expiretime)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "7.0.0", "When a key expires, in seconds."),
    Spec::read("pexpiretime", 2, pexpiretime)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("generic", "7.0.0", "When a key expires, in milliseconds."),
];
