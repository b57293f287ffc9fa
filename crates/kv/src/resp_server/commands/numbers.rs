//! Counting.

use kv_core::{Batch, Command, Extended};
use resp::Request;

use crate::resp_server::arguments::{integer, key};
use crate::resp_server::error::CommandError;
use crate::resp_server::table::{Flags, Keys, Shape, Spec};

fn add(request: &Request<'_>, batch: &mut Batch, by: i64) -> Result<Shape, CommandError> {
    batch.push(&Command::Increment {
        key: key(request, 1)?,
        by,
    });
    Ok(Shape::Plain)
}

fn incr(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    add(request, batch, 1)
}

fn decr(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    add(request, batch, -1)
}

fn incrby(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    add(request, batch, integer(&request[2])?)
}

fn decrby(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let by = integer(&request[2])?
        .checked_neg()
        .ok_or(CommandError::fixed("ERR decrement would overflow"))?;
    add(request, batch, by)
}

fn incrbyfloat(request: &Request<'_>, batch: &mut Batch) -> Result<Shape, CommandError> {
    let by = &request[2];
    if Extended::parse(by).is_none() {
        return Err(CommandError::NOT_A_FLOAT);
    }
    batch.push(&Command::IncrementFloat {
        key: key(request, 1)?,
        by,
    });
    Ok(Shape::Plain)
}

const COUNTER: Flags = Flags::DENYOOM.with(Flags::FAST);

pub(super) const SPECS: &[Spec] = &[
    Spec::write("incr", 2, incr)
        .flags(COUNTER)
        .keys(Keys::ONE)
        .docs("string", "1.0.0", "Adds 1 to a number."),
    Spec::write("decr", 2, decr)
        .flags(COUNTER)
        .keys(Keys::ONE)
        .docs("string", "1.0.0", "Takes 1 from a number."),
    Spec::write("incrby", 3, incrby)
        .flags(COUNTER)
        .keys(Keys::ONE)
        .docs("string", "1.0.0", "Adds to a number."),
    Spec::write("decrby", 3, decrby)
        .flags(COUNTER)
        .keys(Keys::ONE)
        .docs("string", "1.0.0", "Takes from a number."),
    Spec::write("incrbyfloat", 3, incrbyfloat)
        .flags(COUNTER)
        .keys(Keys::ONE)
        .docs("string", "2.6.0", "Adds a decimal number to a number."),
];
