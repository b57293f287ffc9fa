//! The server's side of input: requests out of a stream of bytes.

use core::fmt;
use core::ops::Index;

use thiserror::Error;

use crate::inline;
use crate::limits::Limits;
use crate::number::parse_i64;

/// Why a connection must be closed. Prints what Redis answers before it closes.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ProtocolError {
    /// The number after `*` can't be read or is too large.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The line with the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLineTooLong,
    /// The number after `$` can't be read or is too large.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// The line with the length of an argument does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooLong,
    /// An argument begins with something else than `$`.
    #[error("Protocol error: expected '$', got '{}'", Shown(*.0))]
    ExpectedDollar(u8),
    /// An inline request does not end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// Quotes of an inline request don't match.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The arguments together are larger than a request may be. Redis closes without a word.
    #[error("Protocol error: request larger than the limit")]
    RequestTooLarge,
}

/// A byte inside an error line, which must stay one line of text.
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\r' | b'\n' => f.write_str(" "),
            byte if byte == b' ' || byte.is_ascii_graphic() => write!(f, "{}", char::from(byte)),
            byte => write!(f, "\\x{byte:02x}"),
        }
    }
}

/// The place of an argument.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

/// Spans that are kept for the next request; more are given back.
const SPANS_KEPT: usize = 1_024;
/// Bytes of resolved inline words that are kept for the next request.
const SCRATCH_BYTES_KEPT: usize = 4_096;

/// Finds requests in the bytes that a client sent.
///
/// The caller keeps the bytes. It passes everything that follows the last complete request,
/// and must not change bytes that were passed before: the decoder remembers how far it
/// looked. After an error only closing the connection makes sense.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// How far the current request was looked at. Invariant: at most the length of every
    /// later input, until the request is complete.
    position: usize,
    /// Arguments of the current request that are still to come. Zero: between requests.
    missing: usize,
    /// The length of the argument that begins at `position`, once it is known.
    bulk_bytes: Option<usize>,
    /// The arguments found so far.
    spans: Vec<Span>,
    /// Words of an inline request.
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            position: 0,
            missing: 0,
            bulk_bytes: None,
            spans: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Finds the request that `input` begins with; `None` if its end has not arrived.
    ///
    /// A request without arguments is an empty line (or `*0`), which Redis skips in silence.
    ///
    /// # Errors
    ///
    /// When the bytes are no request, or one over a limit: answer with the error, and close.
    #[inline]
    pub fn decode<'a>(&'a mut self, input: &'a [u8]) -> Result<Option<Request<'a>>, ProtocolError> {
        if self.missing == 0 {
            self.spans.clear();
            match input.first() {
                None => return Ok(None),
                Some(b'*') => {
                    if !self.start_multibulk(input)? {
                        return Ok(None);
                    }
                }
                Some(_) => return self.decode_inline(input),
            }
        }
        while self.missing > 0 {
            if !self.take_argument(input)? {
                return if input.len() > self.limits.request_bytes_max {
                    Err(ProtocolError::RequestTooLarge)
                } else {
                    Ok(None)
                };
            }
        }
        let consumed = core::mem::take(&mut self.position);
        Ok(Some(Request {
            spans: &self.spans,
            source: input,
            consumed,
        }))
    }

    /// How many bytes the argument that is arriving still lacks: how much to make room for.
    #[must_use]
    pub fn bytes_missing(&self, input: &[u8]) -> usize {
        self.bulk_bytes.map_or(0, |bytes| {
            (self.position + bytes + CRLF).saturating_sub(input.len())
        })
    }

    /// Gives back memory that a large request needed. For connections that become idle.
    pub fn shrink(&mut self) {
        if self.missing == 0 {
            self.spans.clear();
            self.spans.shrink_to(SPANS_KEPT);
            self.scratch.clear();
            self.scratch.shrink_to(SCRATCH_BYTES_KEPT);
        }
    }

    /// Reads `*<count>\r\n`. False: more bytes are needed.
    #[inline]
    fn start_multibulk(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let (count, next) = match short_number(input, 1) {
            Some(found) => found,
            None => match self.long_number(input, 0, ProtocolError::MultibulkLineTooLong)? {
                Line::Incomplete => return Ok(false),
                Line::Number(number, next) => {
                    let number = number.ok_or(ProtocolError::InvalidMultibulkLength)?;
                    // A negative count is an empty request.
                    (usize::try_from(number).unwrap_or(0), next)
                }
            },
        };
        if count > self.limits.arguments_max {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        self.position = next;
        self.missing = count;
        Ok(true)
    }

    /// Reads `$<length>\r\n<bytes>\r\n`. False: more bytes are needed.
    #[inline]
    fn take_argument(&mut self, input: &[u8]) -> Result<bool, ProtocolError> {
        let bytes = match self.bulk_bytes {
            Some(bytes) => bytes,
            None => match self.take_bulk_length(input)? {
                Some(bytes) => bytes,
                None => return Ok(false),
            },
        };
        let start = self.position;
        let end = start + bytes;
        // As in Redis, the two bytes behind an argument are not looked at.
        if end > self.limits.request_bytes_max {
            return Err(ProtocolError::RequestTooLarge);
        }
        if end + CRLF > input.len() {
            self.bulk_bytes = Some(bytes);
            return Ok(false);
        }
        self.bulk_bytes = None;
        self.spans.push(Span { start, end });
        self.position = end + CRLF;
        self.missing -= 1;
        Ok(true)
    }

    #[inline]
    fn take_bulk_length(&mut self, input: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let at = self.position;
        let found = if input.get(at) == Some(&b'$') {
            short_number(input, at + 1)
        } else {
            None
        };
        let (bytes, next) = match found {
            Some(found) => found,
            None => match self.long_number(input, at, ProtocolError::BulkLineTooLong)? {
                Line::Incomplete => return Ok(None),
                Line::Number(number, next) => {
                    if input[at] != b'$' {
                        return Err(ProtocolError::ExpectedDollar(input[at]));
                    }
                    let bytes = number
                        .and_then(|number| usize::try_from(number).ok())
                        .ok_or(ProtocolError::InvalidBulkLength)?;
                    (bytes, next)
                }
            },
        };
        if bytes > self.limits.bulk_bytes_max {
            return Err(ProtocolError::InvalidBulkLength);
        }
        self.position = next;
        Ok(Some(bytes))
    }

    /// Reads the line at `at`, whose first byte is a type, in full generality.
    #[cold]
    fn long_number(
        &self,
        input: &[u8],
        at: usize,
        too_long: ProtocolError,
    ) -> Result<Line, ProtocolError> {
        let rest = input.get(at..).unwrap_or_default();
        let window = &rest[..rest.len().min(self.limits.line_bytes_max + 1)];
        match window.iter().position(|&byte| byte == b'\r') {
            None if rest.len() > self.limits.line_bytes_max => Err(too_long),
            None => Ok(Line::Incomplete),
            // The line feed must have arrived too, whatever it is.
            Some(end) if end + CRLF > rest.len() => Ok(Line::Incomplete),
            Some(end) => Ok(Line::Number(
                parse_i64(rest.get(1..end).unwrap_or_default()),
                at + end + CRLF,
            )),
        }
    }

    /// Reads a line of words.
    #[cold]
    fn decode_inline<'a>(
        &'a mut self,
        input: &'a [u8],
    ) -> Result<Option<Request<'a>>, ProtocolError> {
        let window = &input[..input.len().min(self.limits.line_bytes_max + 1)];
        let looked = self.position.min(window.len());
        let Some(found) = window[looked..].iter().position(|&byte| byte == b'\n') else {
            self.position = window.len();
            return if input.len() > self.limits.line_bytes_max {
                Err(ProtocolError::InlineTooLong)
            } else {
                Ok(None)
            };
        };
        self.position = 0;
        let end = looked + found;
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        self.scratch.clear();
        let spans = &mut self.spans;
        inline::split(line, &mut self.scratch, |start, end| {
            spans.push(Span { start, end });
        })
        .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        Ok(Some(Request {
            spans: &self.spans,
            source: &self.scratch,
            consumed: end + 1,
        }))
    }
}

/// Bytes of a line end.
const CRLF: usize = 2;

/// A line that announces a length.
enum Line {
    Incomplete,
    /// The number, if it is one, and where the next line begins.
    Number(Option<i64>, usize),
}

/// Digits that the fast path reads. Larger numbers, and all errors, take the slow one.
const SHORT_DIGITS_MAX: usize = 7;

/// Reads a plain number of few digits at `at`, and finds where the next line begins.
#[inline]
fn short_number(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = input.get(at..)?;
    let first = *rest.first()?;
    // A leading zero is only right alone; `$0` is rare enough for the slow path.
    if !matches!(first, b'1'..=b'9') {
        return None;
    }
    let mut number = usize::from(first - b'0');
    for (index, &byte) in rest.iter().enumerate().skip(1).take(SHORT_DIGITS_MAX) {
        if byte == b'\r' {
            let next = index + CRLF;
            return (next <= rest.len()).then_some((number, at + next));
        }
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + usize::from(byte - b'0');
    }
    None
}

/// One request: a command name and its arguments, as slices of the input.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    spans: &'a [Span],
    source: &'a [u8],
    consumed: usize,
}

impl<'a> Request<'a> {
    /// How many bytes of the input the request took.
    #[must_use]
    #[inline]
    pub const fn consumed(&self) -> usize {
        self.consumed
    }

    /// How many arguments there are, the command name included.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether this is an empty line.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// An argument; the command name is number 0.
    #[must_use]
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let span = self.spans.get(index)?;
        Some(&self.source[span.start..span.end])
    }

    /// All arguments, the command name first.
    #[must_use]
    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator + use<'a> {
        let source = self.source;
        self.spans
            .iter()
            .map(move |span| &source[span.start..span.end])
    }
}

impl Index<usize> for Request<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        let span = self.spans[index];
        &self.source[span.start..span.end]
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter()
                    .map(|argument| argument.escape_ascii().to_string()),
            )
            .finish()
    }
}
