//! The client's side: requests out, replies in. For tests and benches.

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

use crate::number::{U64_DIGITS_MAX, format_u64, parse_i64};

/// Writes a request as an array of bulk strings.
pub fn encode_request<A: AsRef<[u8]>>(out: &mut BytesMut, arguments: &[A]) {
    let mut digits = [0; U64_DIGITS_MAX];
    out.extend_from_slice(b"*");
    out.extend_from_slice(format_u64(arguments.len() as u64, &mut digits));
    out.extend_from_slice(b"\r\n");
    for argument in arguments {
        let argument = argument.as_ref();
        out.extend_from_slice(b"$");
        out.extend_from_slice(format_u64(argument.len() as u64, &mut digits));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A short text.
    Simple(Bytes),
    /// An error; the first word is its code.
    Error(Bytes),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Bytes),
    /// A floating-point number.
    Double(f64),
    /// Yes or no.
    Boolean(bool),
    /// A whole number of any size, in decimal.
    BigNumber(Bytes),
    /// Text for people.
    Verbatim {
        /// `txt` or `mkd`.
        format: [u8; 3],
        /// The text.
        text: Bytes,
    },
    /// Values in order.
    Array(Vec<Self>),
    /// Values without order.
    Set(Vec<Self>),
    /// A message that answers nothing.
    Push(Vec<Self>),
    /// Keys and values.
    Map(Vec<(Self, Self)>),
}

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ValueError {
    /// No type begins with this byte.
    #[error("unknown type byte 0x{0:02x}")]
    UnknownType(u8),
    /// A length, number or text can't be read.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Longer or deeper than the decoder allows.
    #[error("reply over the limit of {0}")]
    TooLarge(&'static str),
}

/// Bytes of a string in a reply.
const STRING_BYTES_MAX: usize = 512 << 20;
/// Values in an aggregate.
const ELEMENTS_MAX: usize = 1 << 24;
/// Aggregates in each other.
const DEPTH_MAX: usize = 32;
/// Bytes of a line.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Room that the head of an aggregate may reserve before its values have arrived.
const RESERVED_MAX: usize = 1_024;

/// What kind of aggregate is being collected.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Array,
    Set,
    Push,
    Map,
    /// Facts about the reply that follows, which nobody asked for: read and dropped.
    Attribute,
}

/// An aggregate whose values are still arriving.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    missing: usize,
    values: Vec<Value>,
}

/// One step of decoding.
enum Step {
    Leaf(Value),
    Open(Kind, usize),
}

/// Reads replies out of a buffer, taking what it read.
#[derive(Debug, Default)]
pub struct ValueDecoder {
    stack: Vec<Partial>,
}

impl ValueDecoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next reply out of `input`; `None` if its end has not arrived.
    ///
    /// # Errors
    ///
    /// When the bytes are no reply. The connection can only be closed then.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Value>, ValueError> {
        while let Some(step) = take_step(input)? {
            let mut value = match step {
                Step::Leaf(value) => value,
                Step::Open(kind, missing) => {
                    if self.stack.len() == DEPTH_MAX {
                        return Err(ValueError::TooLarge("depth"));
                    }
                    self.stack.push(Partial {
                        kind,
                        missing,
                        values: Vec::with_capacity(missing.min(RESERVED_MAX)),
                    });
                    if missing > 0 {
                        continue;
                    }
                    match self.close() {
                        Some(value) => value,
                        None => continue,
                    }
                }
            };
            loop {
                let Some(top) = self.stack.last_mut() else {
                    return Ok(Some(value));
                };
                top.values.push(value);
                top.missing -= 1;
                if top.missing > 0 {
                    break;
                }
                match self.close() {
                    Some(closed) => value = closed,
                    None => break,
                }
            }
        }
        Ok(None)
    }

    /// Ends the innermost aggregate. Nothing remains of an attribute.
    fn close(&mut self) -> Option<Value> {
        let top = self.stack.pop()?;
        Some(match top.kind {
            Kind::Array => Value::Array(top.values),
            Kind::Set => Value::Set(top.values),
            Kind::Push => Value::Push(top.values),
            Kind::Map => {
                let mut values = top.values.into_iter();
                let mut pairs = Vec::with_capacity(values.len() / 2);
                while let (Some(key), Some(value)) = (values.next(), values.next()) {
                    pairs.push((key, value));
                }
                Value::Map(pairs)
            }
            Kind::Attribute => return None,
        })
    }
}

/// Takes a leaf or the head of an aggregate; `None` if it has not arrived in full.
fn take_step(input: &mut BytesMut) -> Result<Option<Step>, ValueError> {
    let Some(&kind) = input.first() else {
        return Ok(None);
    };
    let window = &input[1..input.len().min(LINE_BYTES_MAX)];
    let Some(text_bytes) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() >= LINE_BYTES_MAX {
            Err(ValueError::TooLarge("line"))
        } else {
            Ok(None)
        };
    };
    let end = 1 + text_bytes;
    let line = &input[1..end];
    let leaf = match kind {
        b'$' | b'=' => return take_string(input, kind, end),
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let step = open(kind, line)?;
            input.advance(end + 2);
            return Ok(Some(step));
        }
        b':' => Value::Integer(parse_i64(line).ok_or(ValueError::Malformed("integer"))?),
        b'_' if line.is_empty() => Value::Null,
        b'#' if line == b"t" => Value::Boolean(true),
        b'#' if line == b"f" => Value::Boolean(false),
        b',' => Value::Double(parse_double(line)?),
        b'_' | b'#' => return Err(ValueError::Malformed("null or boolean")),
        b'+' | b'-' | b'(' => {
            let mut text = input.split_to(end + 2).freeze();
            text.truncate(end);
            text.advance(1);
            return Ok(Some(Step::Leaf(match kind {
                b'+' => Value::Simple(text),
                b'-' => Value::Error(text),
                _ => Value::BigNumber(text),
            })));
        }
        other => return Err(ValueError::UnknownType(other)),
    };
    input.advance(end + 2);
    Ok(Some(Step::Leaf(leaf)))
}

/// The head of an aggregate; -1 is the null of the second version.
fn open(kind: u8, line: &[u8]) -> Result<Step, ValueError> {
    if kind == b'*' && line == b"-1" {
        return Ok(Step::Leaf(Value::Null));
    }
    let len = parse_i64(line)
        .and_then(|len| usize::try_from(len).ok())
        .ok_or(ValueError::Malformed("length"))?;
    if len > ELEMENTS_MAX {
        return Err(ValueError::TooLarge("elements"));
    }
    Ok(match kind {
        b'*' => Step::Open(Kind::Array, len),
        b'~' => Step::Open(Kind::Set, len),
        b'>' => Step::Open(Kind::Push, len),
        b'%' => Step::Open(Kind::Map, len * 2),
        _ => Step::Open(Kind::Attribute, len * 2),
    })
}

/// A string with a length, whose head ends at `end`.
fn take_string(input: &mut BytesMut, kind: u8, end: usize) -> Result<Option<Step>, ValueError> {
    let line = &input[1..end];
    if kind == b'$' && line == b"-1" {
        input.advance(end + 2);
        return Ok(Some(Step::Leaf(Value::Null)));
    }
    let len = parse_i64(line)
        .and_then(|len| usize::try_from(len).ok())
        .ok_or(ValueError::Malformed("length"))?;
    if len > STRING_BYTES_MAX {
        return Err(ValueError::TooLarge("bytes"));
    }
    let start = end + 2;
    let Some(tail) = input.get(start + len..start + len + 2) else {
        return Ok(None);
    };
    if tail != b"\r\n" {
        return Err(ValueError::Malformed("string end"));
    }
    input.advance(start);
    let mut text = input.split_to(len + 2).freeze();
    text.truncate(len);
    if kind == b'$' {
        return Ok(Some(Step::Leaf(Value::Bulk(text))));
    }
    let Some(&[a, b, c, b':']) = text.first_chunk::<4>() else {
        return Err(ValueError::Malformed("verbatim string"));
    };
    text.advance(4);
    Ok(Some(Step::Leaf(Value::Verbatim {
        format: [a, b, c],
        text,
    })))
}

fn parse_double(line: &[u8]) -> Result<f64, ValueError> {
    let error = ValueError::Malformed("double");
    let text = core::str::from_utf8(line).map_err(|_| error)?;
    text.parse().map_err(|_| error)
}
