//! The server's side of output: replies into one buffer.

use bytes::BytesMut;

use crate::number::{U64_DIGITS_MAX, format_u64};
use crate::value::Value;

/// The version of the protocol that a client asked for with `HELLO`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// What every client understands.
    #[default]
    Resp2,
    /// With maps, sets, doubles, booleans, nulls and pushes of their own.
    Resp3,
}

/// Writes replies at the end of a buffer.
///
/// Types that the second version lacks are written as what Redis writes there: a map as an
/// array of twice the length, a boolean as 0 or 1, and so on.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut BytesMut,
    protocol: Protocol,
}

impl<'a> Encoder<'a> {
    /// An encoder for a client that speaks `protocol`.
    #[must_use]
    #[inline]
    pub const fn new(out: &'a mut BytesMut, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The version that is written.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Writes another version from now on.
    pub const fn switch(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How many bytes the buffer holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Takes back what was written behind `len`.
    pub fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    /// Bytes that are encoded already.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// `OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A short text; line ends in it become spaces.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error; its first word is the code that clients act on.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text.as_bytes());
    }

    /// A number.
    #[inline]
    pub fn integer(&mut self, number: i64) {
        if number < 0 {
            self.header(b":-", number.unsigned_abs());
        } else {
            self.header(b":", number.unsigned_abs());
        }
    }

    /// A count, which must not exceed what a client's number holds.
    #[inline]
    pub fn count(&mut self, count: usize) {
        self.header(b":", count as u64);
    }

    /// Bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + U64_DIGITS_MAX + 5);
        self.header(b"$", bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Bytes, or nothing.
    #[inline]
    pub fn optional_bulk(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// Nothing, where bytes were expected.
    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.raw(b"$-1\r\n"),
            Protocol::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// Nothing, where an array was expected.
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.raw(b"*-1\r\n"),
            Protocol::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// The head of an array: so many values must follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b"*", len as u64);
    }

    /// The head of a map: so many pairs of values must follow.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(pairs * 2),
            Protocol::Resp3 => self.header(b"%", pairs as u64),
        }
    }

    /// The head of a set: so many values must follow.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(len),
            Protocol::Resp3 => self.header(b"~", len as u64),
        }
    }

    /// The head of a message that answers nothing: so many values must follow.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(len),
            Protocol::Resp3 => self.header(b">", len as u64),
        }
    }

    /// Yes or no.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, value) {
            (Protocol::Resp2, _) => self.integer(i64::from(value)),
            (Protocol::Resp3, true) => self.raw(b"#t\r\n"),
            (Protocol::Resp3, false) => self.raw(b"#f\r\n"),
        }
    }

    /// A floating-point number.
    pub fn double(&mut self, number: f64) {
        let text = double_text(number);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A whole number of any size, in decimal.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text that is shown to people as it is; `format` is `txt` or `mkd`.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b"=", (text.len() + 4) as u64);
                self.raw(&format);
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// A whole value, depth first without recursion: values come from outside in tests.
    pub fn value(&mut self, value: &Value) {
        let mut rest = vec![value];
        while let Some(value) = rest.pop() {
            match value {
                Value::Array(values) => {
                    self.array(values.len());
                    rest.extend(values.iter().rev());
                }
                Value::Set(values) => {
                    self.set(values.len());
                    rest.extend(values.iter().rev());
                }
                Value::Push(values) => {
                    self.push(values.len());
                    rest.extend(values.iter().rev());
                }
                Value::Map(pairs) => {
                    self.map(pairs.len());
                    rest.extend(pairs.iter().rev().flat_map(|(key, value)| [value, key]));
                }
                leaf => self.leaf(leaf),
            }
        }
    }

    fn leaf(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Simple(text) => self.line(b'+', text),
            Value::Error(text) => self.line(b'-', text),
            Value::Integer(number) => self.integer(*number),
            Value::Bulk(bytes) => self.bulk(bytes),
            Value::Double(number) => self.double(*number),
            Value::Boolean(value) => self.boolean(*value),
            Value::BigNumber(digits) => self.big_number(&String::from_utf8_lossy(digits)),
            Value::Verbatim { format, text } => self.verbatim(*format, text),
            Value::Array(_) | Value::Set(_) | Value::Push(_) | Value::Map(_) => {}
        }
    }

    /// A type byte, a line of text, a line end.
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.raw(&[kind]);
        let start = self.out.len();
        self.raw(text);
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.raw(b"\r\n");
    }

    /// A type, a number, a line end.
    #[inline]
    fn header(&mut self, kind: &[u8], number: u64) {
        let mut digits = [0; U64_DIGITS_MAX];
        let digits = format_u64(number, &mut digits);
        self.out.reserve(kind.len() + digits.len() + 2);
        self.out.extend_from_slice(kind);
        self.out.extend_from_slice(digits);
        self.out.extend_from_slice(b"\r\n");
    }
}

/// A number as Redis prints doubles: the shortest text that reads back as the same number.
fn double_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude == 0.0 || (1e-5..1e17).contains(&magnitude) {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}
