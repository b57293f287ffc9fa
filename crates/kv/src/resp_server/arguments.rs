//! Reading arguments as what they should be.

use kv_core::limits::KEY_BYTES_MAX;
use resp::{Request, parse_i64};

use super::error::CommandError;

/// A whole number.
pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_i64(text).ok_or(CommandError::NOT_AN_INTEGER)
}

/// A key that is short enough to be written.
pub(super) fn key<'a>(request: &Request<'a>, index: usize) -> Result<&'a [u8], CommandError> {
    let key = request.get(index).unwrap_or_default();
    check_key(key)?;
    Ok(key)
}

pub(super) fn check_key(key: &[u8]) -> Result<(), CommandError> {
    if key.len() > KEY_BYTES_MAX {
        Err(CommandError::KEY_TOO_LONG)
    } else {
        Ok(())
    }
}

/// The argument as text for a person, with what isn't text replaced.
pub(super) fn text(argument: &[u8]) -> String {
    String::from_utf8_lossy(argument).into_owned()
}

/// Whether the argument is this word, in any case.
pub(super) fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// The arguments from `index` on.
pub(super) fn from<'a>(
    request: &Request<'a>,
    index: usize,
) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
    request.iter().skip(index)
}
