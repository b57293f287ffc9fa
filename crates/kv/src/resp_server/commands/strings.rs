//! Reading strings.

use kv_core::limits::VALUE_BYTES_MAX;
use resp::{Encoder, Request};

use crate::resp_server::arguments::{from, integer, is};
use crate::resp_server::error::CommandError;
use crate::resp_server::limits::REPLY_BYTES_MAX;
use crate::resp_server::table::{Flags, Keys, Reading, Spec};

fn get(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    if let Some(found) = reading.view.get(&request[1])? {
        reading.hits.hits += 1;
        out.bulk(&found.value);
    } else {
        reading.hits.misses += 1;
        out.null();
    }
    Ok(())
}

fn mget(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let before = out.len();
    out.array(request.len() - 1);
    for key in from(request, 1) {
        let found = reading.view.get(key)?;
        if found.is_some() {
            reading.hits.hits += 1;
        } else {
            reading.hits.misses += 1;
        }
        out.optional_bulk(found.as_ref().map(|found| &*found.value));
        if out.len() - before > REPLY_BYTES_MAX {
            return Err(CommandError::REPLY_TOO_LARGE);
        }
    }
    Ok(())
}

fn strlen(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let found = reading.view.get(&request[1])?;
    out.count(found.map_or(0, |found| found.value.len()));
    Ok(())
}

fn getrange(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let (start, end) = (integer(&request[2])?, integer(&request[3])?);
    match reading.view.get(&request[1])? {
        Some(found) => out.bulk(slice(&found.value, start, end)),
        None => out.bulk(b""),
    }
    Ok(())
}

/// From `start` to `end`, both included; negative ones count from the end.
fn slice(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let len = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let absolute = |index: i64| {
        if index < 0 {
            (len + index).max(0)
        } else {
            index
        }
    };
    let (start, end) = (absolute(start), absolute(end).min(len - 1));
    if start > end || len == 0 {
        return &[];
    }
    let index = |at: i64| usize::try_from(at).unwrap_or(0);
    value.get(index(start)..=index(end)).unwrap_or_default()
}

/// The longest common subsequence is computed in a table of the product of the lengths.
const LCS_CELLS_MAX: usize = 1 << 24;

fn lcs(
    reading: &mut Reading<'_, '_>,
    request: &Request<'_>,
    out: &mut Encoder<'_>,
) -> Result<(), CommandError> {
    let length_only = match request.len() {
        3 => false,
        4 if is(&request[3], "LEN") => true,
        4 if is(&request[3], "IDX") => {
            return Err(CommandError::fixed("ERR LCS with IDX is not supported"));
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let first = reading.view.get(&request[1])?;
    let second = reading.view.get(&request[2])?;
    let a = first.as_ref().map_or(&b""[..], |found| &found.value);
    let b = second.as_ref().map_or(&b""[..], |found| &found.value);
    debug_assert!(a.len() <= VALUE_BYTES_MAX, "values are bounded");
    if (a.len() + 1).saturating_mul(b.len() + 1) > LCS_CELLS_MAX {
        return Err(CommandError::fixed("ERR String too long for LCS"));
    }
    let common = common_subsequence(a, b);
    if length_only {
        out.count(common.len());
    } else {
        out.bulk(&common);
    }
    Ok(())
}

fn common_subsequence(a: &[u8], b: &[u8]) -> Vec<u8> {
    let width = b.len() + 1;
    let mut lengths = vec![0_u32; (a.len() + 1) * width];
    for (row, &x) in a.iter().enumerate() {
        for (column, &y) in b.iter().enumerate() {
            lengths[(row + 1) * width + column + 1] = if x == y {
                lengths[row * width + column] + 1
            } else {
                lengths[row * width + column + 1].max(lengths[(row + 1) * width + column])
            };
        }
    }
    let (mut row, mut column, mut common) = (a.len(), b.len(), Vec::new());
    while row > 0 && column > 0 {
        if a[row - 1] == b[column - 1] {
            common.push(a[row - 1]);
            (row, column) = (row - 1, column - 1);
        } else if lengths[(row - 1) * width + column] > lengths[row * width + column - 1] {
            row -= 1;
        } else {
            column -= 1;
        }
    }
    common.reverse();
    common
}

pub(super) const SPECS: &[Spec] = &[
    Spec::read("get", 2, get)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("string", "1.0.0", "The value of a key."),
    Spec::read("mget", -2, mget)
        .flags(Flags::FAST)
        .keys(Keys::ALL)
        .docs(
            "string",
            "1.0.0",
            "The values of several keys, all at the same moment.",
        ),
    Spec::read("strlen", 2, strlen)
        .flags(Flags::FAST)
        .keys(Keys::ONE)
        .docs("string", "2.2.0", "The length of a value."),
    Spec::read("getrange", 4, getrange).keys(Keys::ONE).docs(
        "string",
        "2.4.0",
        "A part of a value.",
    ),
    Spec::read("substr", 4, getrange).keys(Keys::ONE).docs(
        "string",
        "1.0.0",
        "The old name of GETRANGE.",
    ),
    Spec::read("lcs", -3, lcs).keys(Keys::TWO).docs(
        "string",
        "7.0.0",
        "The longest common subsequence of two values, or its length.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_as_in_redis() {
        for (start, end, expected) in [
            (0, 3, "This"),
            (-3, -1, "ing"),
            (0, -1, "This is a string"),
            (10, 100, "string"),
            (5, 1, ""),
            (-1, -5, ""),
            (-100, 3, "This"),
            (16, 20, ""),
            (0, i64::MAX, "This is a string"),
            (i64::MIN, i64::MAX, "This is a string"),
            (0, -100, "T"),
        ] {
            let found = slice(b"This is a string", start, end);
            assert_eq!(found, expected.as_bytes(), "{start} {end}");
        }
        assert_eq!(slice(b"", 0, -1), b"");
    }

    #[test]
    fn common_subsequences_are_the_longest() {
        assert_eq!(common_subsequence(b"ohmytext", b"mynewtext"), b"mytext");
        assert_eq!(common_subsequence(b"", b"x"), b"");
    }
}
