//! Rows of numbers, column by column: no text is made of them.

use std::io;

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};

use crate::error::InputError;
use crate::input::numbers::{NumberGroup, NumberTable};
use crate::input::parquet::chunks::Chunks;
use crate::input::parquet::guarded;

/// Rows that are read at once.
const BATCH_ROWS: usize = 1024;
/// What a column may hold.
const NUMBERS: [Physical; 5] = [
    Physical::BOOLEAN,
    Physical::INT32,
    Physical::INT64,
    Physical::FLOAT,
    Physical::DOUBLE,
];

pub(crate) fn inspect(location: &str, chunks: Chunks) -> Result<NumberTable, InputError> {
    let reader = guarded(|| SerializedFileReader::new(chunks));
    let reader = reader.map_err(|error| InputError::io(location, error))?;
    let metadata = reader.metadata();
    let mut columns = Vec::new();
    for column in metadata.file_metadata().schema_descr().columns() {
        let name = column.path().string();
        let kind = column.physical_type();
        let plain = column.path().parts().len() == 1 && column.max_rep_level() == 0;
        if !plain || !NUMBERS.contains(&kind) {
            return Err(InputError::Unsupported {
                location: location.to_owned(),
                reason: format!(
                    "its column `{name}` ({kind}) is no number: write the columns of numbers to \
                     a file of their own"
                ),
            });
        }
        columns.push(name);
    }
    let groups = metadata.row_groups().iter().map(|group| NumberGroup {
        rows: u64::try_from(group.num_rows()).unwrap_or(0),
        bytes: u64::try_from(group.compressed_size()).unwrap_or(0),
    });
    Ok(NumberTable {
        columns,
        groups: groups.collect(),
    })
}

/// Calls `visit` with the rows of one row group until it answers false.
pub(crate) fn read_group(
    chunks: Chunks,
    group: u64,
    visit: &mut dyn FnMut(&[f64]) -> bool,
) -> io::Result<()> {
    let reader = guarded(|| SerializedFileReader::new(chunks))?;
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    let group = usize::try_from(group).map_err(|_| damaged())?;
    if group >= reader.num_row_groups() {
        return Err(damaged());
    }
    let group = guarded(|| reader.get_row_group(group))?;
    let rows = usize::try_from(group.metadata().num_rows()).map_err(|_| damaged())?;
    let mut columns = guarded(|| open(&*group))?;
    let mut row = vec![0.0; columns.len()];
    let mut done = 0;
    while done < rows {
        let count = BATCH_ROWS.min(rows - done);
        for column in &mut columns {
            guarded(|| column.fill(count))?;
        }
        for at in 0..count {
            for (to, column) in row.iter_mut().zip(&columns) {
                *to = column.values[at];
            }
            if !visit(&row) {
                return Ok(());
            }
        }
        done += count;
    }
    Ok(())
}

fn open(group: &dyn RowGroupReader) -> Result<Vec<Column>, ParquetError> {
    let schema = group.metadata().schema_descr();
    let open = |at: usize| {
        Ok(Column {
            reader: group.get_column_reader(at)?,
            optional: schema.column(at).max_def_level() > 0,
            present: Vec::new(),
            values: Vec::new(),
        })
    };
    (0..group.num_columns()).map(open).collect()
}

struct Column {
    reader: ColumnReader,
    optional: bool,
    /// Whether the next value is there: 1, or 0 for null.
    present: Vec<i16>,
    /// The batch.
    values: Vec<f64>,
}

impl Column {
    /// Reads the next `count` values.
    #[expect(clippy::cast_precision_loss, reason = "points are floats in the end")]
    fn fill(&mut self, count: usize) -> Result<(), ParquetError> {
        self.values.clear();
        self.present.clear();
        let levels = self.optional.then_some(&mut self.present);
        let values = &mut self.values;
        match &mut self.reader {
            ColumnReader::BoolColumnReader(r) => {
                read(r, count, levels, values, |v| f64::from(u8::from(v)))
            }
            ColumnReader::Int32ColumnReader(r) => read(r, count, levels, values, f64::from),
            ColumnReader::Int64ColumnReader(r) => read(r, count, levels, values, |v| v as f64),
            ColumnReader::FloatColumnReader(r) => read(r, count, levels, values, f64::from),
            ColumnReader::DoubleColumnReader(r) => read(r, count, levels, values, |v| v),
            _ => Err(ParquetError::General(
                "a column holds no numbers".to_owned(),
            )),
        }
    }
}

/// Values that are there come without gaps; the levels tell where the gaps are.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    mut levels: Option<&mut Vec<i16>>,
    values: &mut Vec<f64>,
    number: impl Fn(T::T) -> f64,
) -> Result<(), ParquetError> {
    let mut found = Vec::with_capacity(count);
    let (records, _, _) = reader.read_records(count, levels.as_deref_mut(), None, &mut found)?;
    let mut found = found.into_iter().map(number);
    match levels {
        None => values.extend(found),
        Some(levels) => values.extend(levels.iter().map(|&level| {
            let there = (level > 0).then(|| found.next()).flatten();
            there.unwrap_or(f64::NAN)
        })),
    }
    if records == count && values.len() == count {
        return Ok(());
    }
    Err(ParquetError::EOF(
        "a column has fewer values than its row group has rows".to_owned(),
    ))
}
