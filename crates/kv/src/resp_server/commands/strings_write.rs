//! Writing strings.

use kv_core::limits::VALUE_BYTES_MAX;
use kv_core::{AppendReturning, Batch, Command, Condition, Deadline, Expiry, Put, Returning};
use resp::Request;

use crate::resp_server::arguments::{from, integer, is, key};
use crate::resp_server::error::CommandError;
use crate::resp_server::table::{Flags, Keys, Shape, Spec};

/// What follows the value of `SET` or the key of `GETEX`.
#[derive(Default)]
struct Options {
    expiry: Option<Expiry>,
    /// Which word set the expiry: a different one may not follow.
    word: Option<&'static str>,
    if_absent: bool,
    if_present: bool,
    old: bool,
}

const EXPIRY_WORDS: [&str; 4] = ["EX", "PX", "EXAT", "PXAT"];

impl Options {
    /// Reads the arguments from `index` on; `set` tells the two commands apart.
    fn parse(request: &Request<'_>, index: usize, set: bool) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut deadline = None;
        let mut words = from(request, index);
        while let Some(word) = words.next() {
            if set && is(word, "NX") && !options.if_present {
                options.if_absent = true;
            } else if set && is(word, "XX") && !options.if_absent {
                options.if_present = true;
            } else if set && is(word, "GET") {
                options.old = true;
            } else if set && is(word, "KEEPTTL") && options.may("KEEPTTL") {
                options.word = Some("KEEPTTL");
                options.expiry = Some(Expiry::Keep);
            } else if !set && is(word, "PERSIST") && options.may("PERSIST") {
                options.word = Some("PERSIST");
                options.expiry = Some(Expiry::Clear);
            } else if let Some(unit) = EXPIRY_WORDS.into_iter().find(|unit| is(word, unit))
                && options.may(unit)
            {
                options.word = Some(unit);
                deadline = Some((unit, words.next().ok_or(CommandError::SYNTAX)?));
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        if let Some((unit, number)) = deadline {
            let name = if set { "set" } else { "getex" };
            options.expiry = Some(Expiry::Set(parse_deadline(unit, number, name)?));
        }
        Ok(options)
    }

    /// Whether this word may follow what was said about the expiry: itself may, as in Redis.
    fn may(&self, word: &str) -> bool {
        self.word.is_none_or(|known| known == word)
    }

    const fn condition(&self) -> Condition<'static> {
        match (self.if_absent, self.if_present) {
            (true, _) => Condition::IfAbsent,
            (_, true) => Condition::IfPresent,
            _ => Condition::Always,
        }
    }
}

/// A deadline in one of the four ways to write it; it must be above zero.
fn parse_deadline(unit: &str, number: &[u8], name: &str) -> Result<Deadline, CommandError> {
    let number = integer(number)?;
    let factor = if unit.starts_with("EX") { 1_000 } else { 1 };
    let millis = number
        .checked_mul(factor)
        .filter(|&millis| millis > 0)
        .ok_or_else(|| CommandError::invalid_expire(name))?;
    Ok(if unit.ends_with("AT") {
        Deadline::At(millis)
    } else {
        Deadline::After(millis)
    })
}

fn set(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let key = key(request, 1)?;
    if request.len() == 3 {
        batch.put(key, &request[2]);
        return Ok(Shape::Plain);
    }
    let options = Options::parse(request, 3, true)?;
    batch.push(&Command::Put(Put {
        key,
        value: &request[2],
        expiry: options.expiry.unwrap_or(Expiry::Clear),
        condition: options.condition(),
        returning: if options.old {
            Returning::Old
        } else {
            Returning::Status
        },
    }));
    Ok(Shape::Plain)
}

fn setnx(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let put = Put::new(key(request, 1)?, &request[2]);
    batch.push(&Command::Put(Put {
        condition: Condition::IfAbsent,
        ..put
    }));
    Ok(Shape::Flag)
}

fn setex(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    set_for(request, batch, "EX", "setex")
}

fn psetex(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    set_for(request, batch, "PX", "psetex")
}

fn set_for(
    request: &Request<'_>,
    batch: &mut Batch,
    unit: &str,
    name: &str,
) -> Result<Shape, CommandError> {
    let deadline = parse_deadline(unit, &request[2], name)?;
    let put = Put::new(key(request, 1)?, &request[3]);
    batch.push(&Command::Put(Put {
        expiry: Expiry::Set(deadline),
        ..put
    }));
    Ok(Shape::Plain)
}

fn getset(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let put = Put::new(key(request, 1)?, &request[2]);
    batch.push(&Command::Put(Put {
        returning: Returning::Old,
        ..put
    }));
    Ok(Shape::Plain)
}

fn getdel(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    batch.push(&Command::GetDelete {
        key: key(request, 1)?,
    });
    Ok(Shape::Plain)
}

fn getex(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let options = Options::parse(request, 2, false)?;
    let expiry = options.expiry.unwrap_or(Expiry::Keep);
    batch.push(&Command::GetExpire {
        key: key(request, 1)?,
        expiry,
    });
    Ok(Shape::Plain)
}

fn append(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    batch.push(&Command::Append {
        key: key(request, 1)?,
        value: &request[2],
        returning: AppendReturning::NewLength,
    });
    Ok(Shape::Plain)
}

fn setrange(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let offset = u64::try_from(integer(&request[2])?).map_err(|_| CommandError::OFFSET)?;
    let value = &request[3];
    if !value.is_empty() && offset.saturating_add(value.len() as u64) > VALUE_BYTES_MAX as u64 {
        return Err(CommandError::TOO_LARGE);
    }
    batch.push(&Command::SetRange {
        key: key(request, 1)?,
        offset,
        value,
    });
    Ok(Shape::Plain)
}

fn mset(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    put_pairs(request, batch, "mset", false)
}

fn msetnx(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    put_pairs(request, batch, "msetnx", true)
}

fn put_pairs(
    request: &Request<'_>,
    batch: &mut Batch,
    name: &str,
    only_if_none_exists: bool,
) -> Result<Shape, CommandError> {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(name));
    }
    let pairs = (1..request.len())
        .step_by(2)
        .map(|index| {
            Ok((
                key(request, index)?,
                request.get(index + 1).unwrap_or_default(),
            ))
        })
        .collect::<Result<Vec<_>, CommandError>>()?;
    batch.push(&Command::MultiPut {
        pairs,
        only_if_none_exists,
    });
    Ok(Shape::Plain)
}

pub(super) const SPECS: &[Spec] = &[
    Spec::write("set", -3, set)
        .flags(Flags::DENYOOM)
        .keys(Keys::ONE)
        .docs(
            "string",
            "1.0.0",
            "Stores a value, conditionally and with an expiry if asked.",
        ),
    Spec::write("setnx", 3, setnx)
        .flags(Flags::DENYOOM.with(Flags::FAST))
        .keys(Keys::ONE)
        .docs(
            "string",
            "1.0.0",
            "Stores a value if the key does not exist.",
        ),
    Spec::write("setex", 4, setex)
        .flags(Flags::DENYOOM)
        .keys(Keys::ONE)
        .docs(
            "string",
            "2.0.0",
            "Stores a value that expires after seconds.",
        ),
    Spec::write("psetex", 4, psetex)
        .flags(Flags::DENYOOM)
        .keys(Keys::ONE)
        .docs(
            "string",
            "2.6.0",
            "Stores a value that expires after milliseconds.",
        ),
    Spec::write("getset", 3, getset)
        .flags(Flags::DENYOOM.with(Flags::FAST))
        .keys(Keys::ONE)
        .docs(
            "string",
            "1.0.0",
            "Stores a value and answers with the old one.",
        ),
    Spec::write("getdel", 2, getdel)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs(
            "string",
            "6.2.0",
            "Answers with the value and deletes the key.",
        ),
    Spec::write("getex", -2, getex)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs(
            "string",
            "6.2.0",
            "Answers with the value and changes the expiry.",
        ),
    Spec::write("append", 3, append)
        .flags(Flags::DENYOOM.with(Flags::FAST))
        .keys(Keys::ONE)
        .docs("string", "2.0.0", "Adds to the end of a value."),
    Spec::write("setrange", 4, setrange)
        .flags(Flags::DENYOOM)
        .keys(Keys::ONE)
        .docs(
            "string",
            "2.2.0",
            "Overwrites a part of a value, padding with zero bytes.",
        ),
    Spec::write("mset", -3, mset)
        .flags(Flags::DENYOOM)
        .keys(Keys::PAIRS)
        .docs(
            "string",
            "1.0.1",
            "Stores several values at the same moment.",
        ),
    Spec::write("msetnx", -3, msetnx)
        .flags(Flags::DENYOOM)
        .keys(Keys::PAIRS)
        .docs(
            "string",
            "1.0.1",
            "Stores several values if none of the keys exists.",
        ),
];
