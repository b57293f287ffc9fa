//! Bodies of fuzz targets. Public so that a fuzzer's crate outside the workspace and the tests
//! within it run the same code; no part of the interface.

use std::io::{Cursor as Bytes, Read as _, Write as _};

use crate::builtin::Words;
use crate::error::Stopped;
use crate::fields;
use crate::input::{Reader, unpack};
use crate::run::{Check, Cursor, RunWriter, verify};
use crate::split::{Compression, CsvOptions, Format, Split};
use crate::streaming::{self, Errors, Sink};
use crate::task::ShuffleCompression;

/// An extent is refused, or its pairs can be written and read again; and what the pairs' reader
/// accepts, the blocks' reader accepts too.
///
/// # Panics
///
/// When that isn't so: that is what a fuzzer looks for.
pub fn extent(bytes: &[u8]) {
    let mut cursor = Cursor::in_memory(bytes.to_vec(), Check::Digest);
    let mut pairs = Vec::new();
    loop {
        match cursor.advance() {
            Ok(true) => pairs.push((cursor.key().to_vec(), cursor.value().to_vec())),
            Ok(false) => break,
            Err(_) => return,
        }
    }
    let totals = cursor.totals();
    let mut body = Bytes::new(bytes);
    let verified = verify(&mut body, bytes.len() as u64, &mut |_| Ok(()));
    assert_eq!(verified.expect("its blocks were just read"), totals);
    let written = write(&pairs, ShuffleCompression::Always);
    let mut again = Cursor::in_memory(written, Check::Digest);
    for (key, value) in &pairs {
        assert!(again.advance().expect("it was just written"));
        assert_eq!(
            (again.key(), again.value()),
            (key.as_slice(), value.as_slice())
        );
    }
    if !pairs.is_empty() {
        assert!(!again.advance().expect("it was just written"));
        assert_eq!(again.totals(), totals);
    }
}

fn write(pairs: &[(Vec<u8>, Vec<u8>)], compression: ShuffleCompression) -> Vec<u8> {
    let mut writer = RunWriter::new(Vec::new(), compression, true);
    for (key, value) in pairs {
        writer.push(key, value).expect("memory takes everything");
    }
    writer.end_extent().expect("memory takes everything");
    writer.finish().expect("memory takes everything")
}

/// Good extents.
#[must_use]
pub fn extent_samples() -> Vec<Vec<u8>> {
    let few = [("a", "1"), ("a", "2"), ("b", "")];
    let few = few.map(|(key, value)| (key.into(), value.into()));
    let many: Vec<(Vec<u8>, Vec<u8>)> = (0..6_000)
        .map(|n: u32| (format!("key {n:08}").into_bytes(), b"the value".to_vec()))
        .collect();
    vec![
        write(&few, ShuffleCompression::Never),
        write(&few, ShuffleCompression::Always),
        write(&many, ShuffleCompression::Never),
        write(&many, ShuffleCompression::Always),
    ]
}

#[derive(Debug, Default, Eq, PartialEq)]
struct Heard {
    lines: Vec<Vec<u8>>,
    reports: Vec<String>,
}

impl Sink for Heard {
    fn line(&mut self, line: &[u8]) -> Result<(), Stopped> {
        let (key, value) = streaming::split_pair(line);
        assert!(key.len() + value.len() <= line.len());
        self.lines.push(line.to_vec());
        Ok(())
    }

    fn count(&mut self, group: &str, name: &str, amount: i64) {
        self.reports.push(format!("{group},{name},{amount}"));
    }

    fn status(&mut self, text: &str) {
        self.reports.push(text.to_owned());
    }
}

/// What a program writes to its outputs reads the same however it is cut into pieces. The first
/// byte says how. The bytes are tried as a command line, as fields and as words as well.
///
/// # Panics
///
/// When that isn't so: that is what a fuzzer looks for.
pub fn streaming(bytes: &[u8]) {
    let Some((cut, text)) = bytes.split_first() else {
        return;
    };
    let hear = |piece: usize| {
        let (mut heard, mut partial, mut errors) =
            (Heard::default(), Vec::new(), Errors::default());
        for piece in text.chunks(piece) {
            streaming::lines(&mut partial, piece, &mut heard).expect("no line is too long");
            errors.push(piece, &mut |report| streaming::pass_on(report, &mut heard));
        }
        errors.finish(&mut |report| streaming::pass_on(report, &mut heard));
        (heard.lines, heard.reports, partial, errors.tail())
    };
    assert_eq!(hear(usize::from(*cut) + 1), hear(text.len().max(1)));
    let words = core::str::from_utf8(text).map(streaming::split_command);
    if let Ok(Ok(words)) = words {
        assert!(!words[0].is_empty());
    }
    let split = fields::split(text, b',');
    assert_eq!(split.join(&b','), text);
    for field in split {
        assert!(fields::unquote(field).len() <= field.len());
    }
    for words in [Words::Whitespace, Words::Letters] {
        let found: usize = words.of(text).map(<[u8]>::len).sum();
        assert!(found <= text.len());
    }
}

/// Good output of programs, and command lines.
#[must_use]
pub fn streaming_samples() -> Vec<Vec<u8>> {
    [
        "\x02key\tvalue\nkey\t1\nno tab\n\npartial",
        "\x05reporter:counter:group,name,5\nreporter:status:half way\na traceback\n",
        "\x01python3 'my map.py' --flag \"a \\\" b\" c\\ d",
        "\x07a,\"b,\"\"c\"\"\",d\nd\u{e9}j\u{e0} vu",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Unpacked bytes that a fuzzer waits for: small files can unpack to large ones.
const UNPACKED_BYTES_MAX: u64 = 1 << 20;

fn split(format: Format, start: u64, len: u64, file_len: u64) -> Split {
    Split {
        input: 0,
        location: "fuzz".to_owned(),
        start,
        len,
        file_len,
        format,
        compression: Compression::None,
    }
}

/// Positions and bytes of the records of a split of `text`.
fn records(text: &[u8], split: &Split) -> Vec<(u64, Vec<u8>)> {
    let start = split.start.saturating_sub(1);
    let from = usize::try_from(start).expect("it is within the text");
    let source = Box::new(Bytes::new(text[from..].to_vec()));
    let mut reader = Reader::over(source, split, start);
    let mut found = Vec::new();
    while let Some(block) = reader.next_block().expect("no record is too long") {
        let before = found.len();
        found.extend(block.records().map(|(at, record)| (at, record.to_vec())));
        assert_eq!((found.len() - before) as u64, block.count());
    }
    found
}

/// A file gives the same records however it is cut; and packed, it is refused or unpacked. The first
/// byte chooses the format, the second says where it is cut.
///
/// # Panics
///
/// When that isn't so: that is what a fuzzer looks for.
pub fn inputs(bytes: &[u8]) {
    let [what, cut, text @ ..] = bytes else {
        return;
    };
    let len = text.len() as u64;
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
        let source = unpack(compression, Box::new(Bytes::new(text.to_vec())));
        if let Ok(source) = source {
            let mut unpacked = Vec::new();
            let _refused = source.take(UNPACKED_BYTES_MAX).read_to_end(&mut unpacked);
        }
    }
    let multiline = what % 3 == 2;
    let format = match what % 3 {
        0 => Format::Text,
        1 => Format::JsonLines,
        _ => Format::Csv(CsvOptions {
            multiline,
            ..CsvOptions::default()
        }),
    };
    let whole = records(text, &split(format.clone(), 0, len, len));
    for (at, record) in &whole {
        let at = usize::try_from(*at).expect("it is within the text");
        assert!(text[at..].starts_with(record));
    }
    if multiline {
        // Such a file is never cut.
        return;
    }
    let cut = len * u64::from(*cut) / 256;
    let mut parts = records(text, &split(format.clone(), 0, cut, len));
    parts.extend(records(text, &split(format, cut, len - cut, len)));
    assert_eq!(parts, whole, "cut at {cut}");
}

/// Good inputs.
///
/// # Panics
///
/// Never: memory takes everything.
#[must_use]
pub fn input_samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = [
        "\x00\x50a line\nanother\r\n\nthe last has no end",
        "\x01\x40{\"a\":1}\n\n[1,2]\n  \n\"text\"\n",
        "\x02\x00a,b\n\"two\nlines\",\"quote \"\" in it\"\nc,d\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    let text = b"packed\ntext\n".repeat(20);
    let mut gzip = flate2::write::GzEncoder::new(vec![0, 0], flate2::Compression::fast());
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(vec![0, 0]);
    gzip.write_all(&text).expect("memory takes everything");
    lz4.write_all(&text).expect("memory takes everything");
    let mut zstd = vec![0, 0];
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    zstd.extend(ruzstd::encoding::compress_to_vec(&*text, level));
    samples.push(gzip.finish().expect("memory takes everything"));
    samples.push(lz4.finish().expect("memory takes everything"));
    samples.push(zstd);
    samples
}

/// A Parquet file is refused, or its rows can be read to their end: as lines, and as numbers if it
/// holds numbers.
#[cfg(feature = "parquet")]
pub fn parquet(bytes: &[u8]) {
    crate::input::fuzz_parquet(bytes);
}

/// Good Parquet files.
#[cfg(feature = "parquet")]
#[must_use]
pub fn parquet_samples() -> Vec<Vec<u8>> {
    crate::input::fuzz_parquet_samples()
}
