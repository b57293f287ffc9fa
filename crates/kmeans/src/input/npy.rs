//! Numpy's `.npy` format: a header in Python's notation, then the numbers.

use std::io::Read as _;

use kmeans_kernels::MAGNITUDE_MAX;
use mapreduce_data::{Found, open_range};

use crate::input::{Format, InputError, Segment, objection};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Numpy aligns headers to 64 bytes; a plain array's has one or two lines of that.
const HEADER_BYTES_MAX: u64 = 1 << 16;
/// Rows are read in pieces of about this many bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// The type of the numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    F32,
    F64,
    I32,
    I64,
    U8,
}

impl Kind {
    const ALL: [(&str, Self); 5] = [
        ("<f4", Self::F32),
        ("<f8", Self::F64),
        ("<i4", Self::I32),
        ("<i8", Self::I64),
        ("|u1", Self::U8),
    ];

    /// The name in a header.
    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.expect("every kind is listed").0
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind)
    }

    pub(crate) const fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// What a header says.
#[derive(Debug, Eq, PartialEq)]
struct Header {
    kind: Kind,
    rows: u64,
    columns: u64,
}

/// Reads a file's header.
pub(crate) fn inspect(found: &Found) -> Result<Option<(Segment, usize)>, InputError> {
    let location = &found.location;
    let most = found.len.min(HEADER_BYTES_MAX);
    let mut bytes = Vec::new();
    open_range(location, 0..most)?
        .read_to_end(&mut bytes)
        .map_err(InputError::io(location))?;
    let (header, data) = header(&bytes).map_err(|what| InputError::file(location, what))?;
    if header.rows == 0 {
        return Ok(None);
    }
    let row_bytes = header.columns.checked_mul(header.kind.bytes());
    let length = row_bytes.and_then(|bytes| bytes.checked_mul(header.rows));
    let wrong = |what: &str| InputError::file(location, what);
    match length {
        Some(length) if data.checked_add(length) == Some(found.len) => {
            let segment = Segment {
                location: location.clone(),
                size: found.len,
                format: Format::Npy(header.kind),
                start: data,
                length,
            };
            let columns = usize::try_from(header.columns).map_err(|_| wrong("is too wide"))?;
            Ok(Some((segment, columns)))
        }
        _ => Err(wrong("is not as long as its header says: is it complete?")),
    }
}

/// Understands the first bytes of a file; also says where the numbers begin.
fn header(bytes: &[u8]) -> Result<(Header, u64), String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("is not a .npy file")?;
    let ends = || "ends within its header".to_owned();
    let (version, rest) = rest.split_at_checked(2).ok_or_else(ends)?;
    let width = if version[0] == 1 { 2 } else { 4 };
    let (length, rest) = rest.split_at_checked(width).ok_or_else(ends)?;
    let length = length
        .iter()
        .rev()
        .fold(0, |length, &byte| length << 8 | usize::from(byte));
    let before = MAGIC.len() + 2 + width;
    if (before + length) as u64 > HEADER_BYTES_MAX {
        return Err("has a header that is too long".to_owned());
    }
    let text = rest.get(..length).ok_or_else(ends)?;
    let text = std::str::from_utf8(text).map_err(|_| "has a header that is no text")?;
    Ok((parse(text)?, (before + length) as u64))
}

/// Calls `visit` with every row until it answers false.
pub(crate) fn read(
    segment: &Segment,
    kind: Kind,
    dimension: usize,
    mut visit: impl FnMut(&[f64]) -> bool,
) -> Result<(), InputError> {
    let location = &segment.location;
    let mut file = open_range(location, segment.start..segment.start + segment.length)?;
    let row_bytes = kind.bytes() * dimension as u64;
    let rows = segment.length / row_bytes;
    let piece_rows = (PIECE_BYTES / row_bytes).max(1);
    let mut row = vec![0.0; dimension];
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < rows {
        let count = piece_rows.min(rows - done);
        let bytes = usize::try_from(count * row_bytes).expect("a piece fits in memory");
        buffer.resize(bytes, 0);
        file.read_exact(&mut buffer)
            .map_err(InputError::io(location))?;
        for bytes in buffer.chunks_exact(bytes / usize::try_from(count).expect("as above")) {
            decode(kind, bytes, &mut row);
            // Without a branch for each number; NaN fails it, too.
            let fine = row
                .iter()
                .fold(true, |fine, value| fine & (value.abs() <= MAGNITUDE_MAX));
            if let Some(what) = (!fine)
                .then(|| row.iter().find_map(|&v| objection(v)))
                .flatten()
            {
                return Err(InputError::Row {
                    path: location.clone(),
                    row: header_rows(segment, row_bytes)? + done,
                    what,
                });
            }
            if !visit(&row) {
                return Ok(());
            }
            done += 1;
        }
    }
    Ok(())
}

/// The rows of the file before this segment.
fn header_rows(segment: &Segment, row_bytes: u64) -> Result<u64, InputError> {
    let whole = inspect(&Found {
        input: 0,
        location: segment.location.clone(),
        len: segment.size,
    })?;
    Ok(whole.map_or(0, |(whole, _)| (segment.start - whole.start) / row_bytes))
}

fn decode(kind: Kind, bytes: &[u8], row: &mut [f64]) {
    /// Numbers of `N` bytes.
    fn each<const N: usize>(bytes: &[u8], row: &mut [f64], number: impl Fn([u8; N]) -> f64) {
        let (chunks, _) = bytes.as_chunks::<N>();
        for (to, bytes) in row.iter_mut().zip(chunks) {
            *to = number(*bytes);
        }
    }
    match kind {
        Kind::F32 => each(bytes, row, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Kind::F64 => each(bytes, row, f64::from_le_bytes),
        Kind::I32 => each(bytes, row, |bytes| f64::from(i32::from_le_bytes(bytes))),
        Kind::I64 => each(bytes, row, |bytes| i64::from_le_bytes(bytes) as f64),
        Kind::U8 => each(bytes, row, |[byte]| f64::from(byte)),
    }
}

/// What the first bytes of a file say, for the fuzzer: rows, columns, and where the numbers begin.
pub(crate) fn understand(bytes: &[u8]) -> Option<(u64, u64, u64)> {
    let (header, data) = header(bytes).ok()?;
    Some((header.rows, header.columns, data))
}

/// Understands `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }`.
fn parse(text: &str) -> Result<Header, String> {
    let after = |key: &str| {
        let rest = text.split_once(key).map(|(_, rest)| rest.trim_start());
        rest.and_then(|rest| rest.strip_prefix(':'))
            .map(str::trim_start)
    };
    let quoted = |text: &str| -> Option<String> {
        let rest = text.strip_prefix('\'')?;
        rest.split_once('\'').map(|(name, _)| name.to_owned())
    };
    let descr = after("'descr'")
        .and_then(quoted)
        .ok_or("has no type in its header")?;
    let kind = Kind::from_name(&descr).ok_or_else(|| {
        format!("holds `{descr}`: only <f4, <f8, <i4, <i8 and |u1 can be read, use .astype('<f4')")
    })?;
    let order = after("'fortran_order'").ok_or("has no order in its header")?;
    if !order.starts_with("False") {
        return Err("is stored by columns: save numpy.ascontiguousarray(points)".to_owned());
    }
    let shape = after("'shape'").and_then(|rest| rest.strip_prefix('(')?.split_once(')'));
    let (shape, _) = shape.ok_or("has no shape in its header")?;
    let sides = shape
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty());
    let sides: Result<Vec<u64>, _> = sides.map(str::parse).collect();
    let (rows, columns) = match sides.as_deref() {
        Ok(&[rows]) => (rows, 1),
        Ok(&[rows, columns]) if columns > 0 => (rows, columns),
        _ => {
            return Err(format!(
                "has the shape ({shape}): points are rows of a matrix"
            ));
        }
    };
    Ok(Header {
        kind,
        rows,
        columns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_understood() {
        let header = parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }   \n");
        let expected = Header {
            kind: Kind::F32,
            rows: 3,
            columns: 2,
        };
        assert_eq!(header, Ok(expected));
        let line = parse("{'descr': '|u1', 'fortran_order': False, 'shape': (7,), }").unwrap();
        assert_eq!((line.rows, line.columns), (7, 1));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, part) in [
            ("{}", "no type"),
            (
                "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2)}",
                ">f4",
            ),
            (
                "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2)}",
                "columns",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 1)}",
                "(3, 2, 1)",
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (3, x)}",
                "(3, x)",
            ),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
