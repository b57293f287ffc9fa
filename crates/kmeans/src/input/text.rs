//! Numbers in lines: CSV with commas or semicolons, or columns with blanks.
//!
//! `x, y` with blanks anywhere, Windows line ends, empty lines, lines that start with `#`, and
//! one line of names at the top are all fine. A number with at most 15 digits and a small
//! exponent, which is nearly every number in nearly every file, is converted with one exact
//! division or multiplication; the others go to the standard library. Both round correctly.

use mapreduce_data::{Compression, Found, Reader, Split};

use crate::input::{Format, InputError, Segment, objection};

/// Powers of ten that `f64` holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// Integers up to this are exact as well.
const EXACT_MAX: u64 = 1 << 53;

/// Finds the first point of a file, and so its dimension and where its header ends.
pub(crate) fn inspect(
    found: &Found,
    compression: Compression,
) -> Result<Option<(Segment, usize)>, InputError> {
    let segment = |header| Segment {
        location: found.location.clone(),
        size: found.len,
        format: Format::Text {
            compression,
            header,
        },
        start: 0,
        length: found.len,
    };
    let mut dimension = None;
    let mut header = None;
    let mut row = Vec::new();
    lines(&segment(0), compression, |offset, line| {
        if is_blank(line) {
            return Ok(true);
        }
        match parse(line, &mut row) {
            Ok(()) => {
                dimension = Some(row.len());
                Ok(false)
            }
            // One line of names, without a single number.
            Err(_) if header.is_none() && names_only(line) => {
                header = Some(offset + line.len() as u64 + 1);
                Ok(true)
            }
            Err(what) => Err(what),
        }
    })?;
    Ok(dimension.map(|dimension| (segment(header.unwrap_or(0)), dimension)))
}

/// Calls `visit` with every row that starts in the segment, until it answers false.
pub(crate) fn read(
    segment: &Segment,
    (compression, header): (Compression, u64),
    dimension: usize,
    mut visit: impl FnMut(&[f64]) -> bool,
) -> Result<(), InputError> {
    let mut row = Vec::with_capacity(dimension);
    lines(segment, compression, |offset, line| {
        if offset < header {
            return Ok(true);
        }
        parse(line, &mut row).or_else(|what| if is_blank(line) { Ok(()) } else { Err(what) })?;
        if row.len() == dimension {
            return Ok(visit(&row));
        }
        if is_blank(line) {
            return Ok(true);
        }
        let count = row.len();
        Err(format!(
            "has {count} numbers where the first point has {dimension}"
        ))
    })
}

/// The lines that start in a range of a file.
fn split(segment: &Segment, compression: Compression) -> Split {
    Split {
        input: 0,
        location: segment.location.clone(),
        start: segment.start,
        len: segment.length,
        file_len: segment.size,
        format: mapreduce_data::Format::Text,
        compression,
    }
}

/// Calls `visit` with the offset and the bytes of every line that starts in the segment, until it
/// answers false.
fn lines(
    segment: &Segment,
    compression: Compression,
    mut visit: impl FnMut(u64, &[u8]) -> Result<bool, String>,
) -> Result<(), InputError> {
    let mut reader = Reader::open(&split(segment, compression))?;
    while let Some(block) = reader.next_block()? {
        for (offset, line) in block.records() {
            match visit(offset, line) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(what) => return Err(at_line(segment, compression, offset, what)),
            }
        }
    }
    Ok(())
}

/// Counts the lines before an offset: only done when something is wrong.
fn at_line(segment: &Segment, compression: Compression, offset: u64, what: String) -> InputError {
    let whole = Segment {
        start: 0,
        length: segment.size,
        ..segment.clone()
    };
    let count = || -> Result<u64, mapreduce_data::InputError> {
        let mut reader = Reader::open(&split(&whole, compression))?;
        let mut line = 1;
        while let Some(block) = reader.next_block()? {
            for (start, _) in block.records() {
                if start >= offset {
                    return Ok(line);
                }
                line += 1;
            }
        }
        Ok(line)
    };
    match count() {
        Ok(line) => InputError::Line {
            path: segment.location.clone(),
            line,
            what,
        },
        Err(error) => error.into(),
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn is_blank(line: &[u8]) -> bool {
    line.iter()
        .find(|&&byte| !is_space(byte))
        .is_none_or(|&byte| byte == b'#')
}

/// Whether a line that is no point can be a header: no field is a number.
fn names_only(line: &[u8]) -> bool {
    let fields = line.split(|byte| matches!(byte, b',' | b';' | b'\t'));
    let mut names = fields.map(<[u8]>::trim_ascii);
    names.all(|field| std::str::from_utf8(field).is_ok_and(|text| text.parse::<f64>().is_err()))
}

/// Splits a line into numbers. An error says what is wrong with which field.
pub(crate) fn parse(line: &[u8], row: &mut Vec<f64>) -> Result<(), String> {
    row.clear();
    let mut at = skip_spaces(line, 0);
    loop {
        let Some((value, end)) = number(line, at) else {
            return Err(not_a_number(line, at, row.len() + 1));
        };
        if let Some(what) = objection(value) {
            return Err(format!("field {}: {what}", row.len() + 1));
        }
        row.push(value);
        at = skip_spaces(line, end);
        match line.get(at) {
            None => return Ok(()),
            Some(b',' | b';') => at = skip_spaces(line, at + 1),
            Some(_) if at > end => {}
            Some(_) => return Err(not_a_number(line, end, row.len())),
        }
    }
}

fn skip_spaces(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(|&byte| is_space(byte)) {
        at += 1;
    }
    at
}

fn not_a_number(line: &[u8], at: usize, field: usize) -> String {
    const SHOWN: usize = 40;
    let is_end = |byte: &u8| matches!(byte, b',' | b';') || is_space(*byte);
    let start = line[..at]
        .iter()
        .rposition(is_end)
        .map_or(0, |before| before + 1);
    let text = &line[start..];
    let text = &text[..text
        .iter()
        .position(is_end)
        .unwrap_or(text.len())
        .min(SHOWN)];
    let text = String::from_utf8_lossy(text);
    if text.is_empty() {
        format!("field {field} is empty")
    } else {
        format!("field {field}: `{}` is not a number", text.escape_debug())
    }
}

/// A number at `at`, and where it ends.
fn number(line: &[u8], at: usize) -> Option<(f64, usize)> {
    let mut cursor = at;
    let negative = line.get(at) == Some(&b'-');
    cursor += usize::from(negative || line.get(at) == Some(&b'+'));
    let mut mantissa = 0u64;
    let first = cursor;
    while let Some(digit) = digit(line, cursor) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        cursor += 1;
    }
    let mut digits = cursor - first;
    let mut scale = 0;
    if line.get(cursor) == Some(&b'.') {
        cursor += 1;
        let first = cursor;
        while let Some(digit) = digit(line, cursor) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            cursor += 1;
        }
        scale = cursor - first;
        digits += scale;
    }
    let simple = !line
        .get(cursor)
        .is_some_and(|&byte| byte.is_ascii_alphabetic());
    if simple && digits > 0 && digits <= 19 && mantissa <= EXACT_MAX && scale < TENS.len() {
        let value = mantissa as f64 / TENS[scale];
        return Some((if negative { -value } else { value }, cursor));
    }
    let ends = |&byte: &u8| matches!(byte, b',' | b';') || is_space(byte);
    let end = line[at..]
        .iter()
        .position(ends)
        .map_or(line.len(), |length| at + length);
    let text = std::str::from_utf8(&line[at..end]).ok()?;
    Some((text.parse().ok()?, end))
}

fn digit(line: &[u8], at: usize) -> Option<u64> {
    let digit = line.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<&[f64], &str>) {
        let mut row = Vec::new();
        let result = parse(line.as_bytes(), &mut row).map(|()| row);
        assert_eq!(
            result.as_deref().map_err(String::as_str),
            expected,
            "{line}"
        );
    }

    #[test]
    fn lines_in_many_styles() {
        check("0.4, 7.2 ", Ok(&[0.4, 7.2]));
        check("0.4,7.2\r", Ok(&[0.4, 7.2]));
        check(" 1;-2;+3.5", Ok(&[1.0, -2.0, 3.5]));
        check("1 2\t3", Ok(&[1.0, 2.0, 3.0]));
        check("1e3,-2.5E-4,.5,5.", Ok(&[1000.0, -0.00025, 0.5, 5.0]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        check("1,,2", Err("field 2 is empty"));
        check("1,2,", Err("field 3 is empty"));
        check("1,abc,2", Err("field 2: `abc` is not a number"));
        check("1,2x", Err("field 2: `2x` is not a number"));
        check("1-2", Err("field 1: `1-2` is not a number"));
        check("1,nan", Err("field 2: `NaN` is not a finite number"));
        check("inf,1", Err("field 1: `inf` is not a finite number"));
        check(
            "1e300",
            Err("field 1: 1e300 is too large: the limit is 1e15, rescale the data"),
        );
        check("", Err("field 1 is empty"));
    }

    #[test]
    fn numbers_are_rounded_as_the_standard_library_does() {
        let mut prng = stdx::Prng::from_seed(1);
        for _ in 0..20_000 {
            let value = f64::from_bits(prng.next_u64());
            let digits = prng.index(20);
            for text in [
                format!("{value:e}"),
                format!("{:.digits$}", prng.next_u64() as f64 / 1e17),
                format!("{}", prng.next_u64() >> prng.index(60)),
                format!("-0.{:021}", prng.next_u64()),
            ] {
                let expected: f64 = text.parse().unwrap();
                let (found, end) = number(text.as_bytes(), 0).unwrap();
                assert!(found == expected || expected.is_nan(), "{text}");
                assert!(end == text.len() || expected.is_nan(), "{text}");
            }
        }
    }
}
