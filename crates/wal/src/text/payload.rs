//! How an entry's payload looks in the text format.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// Renders payloads for people, and reads them back.
///
/// An implementation may give up on any payload: the writer checks that what was rendered can be
/// read back, and otherwise uses the escaping of [`EscapedText`], so nothing is ever lost.
pub trait PayloadText: Send + Sync + fmt::Debug {
    /// A word for a kind of entry (`noop`, `set`): ASCII letters, digits, `-` and `_`, not
    /// starting with a digit or `-`. `None` shows the number.
    fn kind_name(&self, kind: u8) -> Option<Cow<'static, str>>;

    /// The kind that has this name.
    fn kind_named(&self, name: &str) -> Option<u8>;

    /// One line for the payload; `None` if it can't be shown in its own way.
    fn render(&self, kind: u8, payload: &[u8]) -> Option<String>;

    /// The payload that was rendered so.
    fn parse(&self, kind: u8, text: &str) -> Option<Bytes>;
}

/// Payloads as text in which everything but printable ASCII is escaped as in Rust strings.
#[derive(Clone, Copy, Debug, Default)]
pub struct EscapedText;

impl PayloadText for EscapedText {
    fn kind_name(&self, _kind: u8) -> Option<Cow<'static, str>> {
        None
    }

    fn kind_named(&self, _name: &str) -> Option<u8> {
        None
    }

    fn render(&self, _kind: u8, payload: &[u8]) -> Option<String> {
        Some(escape(payload))
    }

    fn parse(&self, _kind: u8, text: &str) -> Option<Bytes> {
        unescape(text)
    }
}

/// Printable ASCII as it is, everything else as `\n`, `\r`, `\t`, `\\` or `\x1f`.
pub(crate) fn escape(payload: &[u8]) -> String {
    let mut text = String::with_capacity(payload.len());
    for &byte in payload {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                text.push_str("\\x");
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    text
}

/// The inverse of [`escape`]; `None` for what it never produces.
pub(super) fn unescape(text: &str) -> Option<Bytes> {
    let mut payload = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        payload.push(match byte {
            b'\\' => match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'\\' => b'\\',
                b'x' => hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)?,
                _ => return None,
            },
            b' '..=b'~' => byte,
            _ => return None,
        });
    }
    Some(payload.into())
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).chain(*b"\\x41 tail ").collect();
        let text = escape(&all);
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(unescape(&text).unwrap(), all);
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["\\", "\\q", "\\x1", "\\xzz", "\n", "\u{e4}"] {
            assert_eq!(unescape(text), None, "{text:?}");
        }
    }
}
