//! The body of a fuzz target, and its samples.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{Chunks, Rows, inspect_numbers, read_numbers};

/// Lines that are waited for: a small file can name many rows.
const LINES_BYTES_MAX: u64 = 1 << 20;
const ROWS_MAX: u32 = 100_000;

pub(crate) fn run(bytes: &[u8]) {
    let chunks = || Chunks::Memory(Bytes::copy_from_slice(bytes));
    if let Ok(rows) = Rows::open(chunks(), |_| true) {
        let mut lines = Vec::new();
        let _damaged = rows.take(LINES_BYTES_MAX).read_to_end(&mut lines);
    }
    let Ok(table) = inspect_numbers("fuzz", chunks()) else {
        return;
    };
    let mut rows = 0;
    for group in (0..table.groups.len()).take(4) {
        let _damaged = read_numbers(chunks(), group as u64, &mut |row| {
            assert_eq!(row.len(), table.columns.len());
            rows += 1;
            rows < ROWS_MAX
        });
    }
}

/// A file of numbers and one with text, plain and packed.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let numbers = "message m { required double x; optional int64 n; }";
    let names = "message m { required double x; required binary name (UTF8); }";
    let packed = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::LZ4_RAW,
    ];
    let each = packed.into_iter().flat_map(|packed| {
        [numbers, names].map(|schema| write(schema, packed).expect("memory takes everything"))
    });
    each.collect()
}

fn write(schema: &str, packed: Compression) -> Result<Vec<u8>, ParquetError> {
    let schema = Arc::new(parse_message_type(schema)?);
    let properties = WriterProperties::builder().set_compression(packed);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()))?;
    for _ in 0..2 {
        let mut group = writer.next_row_group()?;
        let mut columns = 0;
        while let Some(mut column) = group.next_column()? {
            columns += 1;
            if columns == 1 {
                let typed = column.typed::<DoubleType>();
                typed.write_batch(&[0.5, -1.0, 7.25, 1e9], None, None)?;
            } else if matches!(
                column.untyped(),
                parquet::column::writer::ColumnWriter::Int64ColumnWriter(_)
            ) {
                let typed = column.typed::<Int64Type>();
                typed.write_batch(&[3, 4], Some(&[1, 0, 0, 1]), None)?;
            } else {
                let names = ["a", "b", "a", ""].map(ByteArray::from);
                let typed = column.typed::<ByteArrayType>();
                typed.write_batch(&names, None, None)?;
            }
            column.close()?;
        }
        group.close()?;
    }
    writer.into_inner()
}
