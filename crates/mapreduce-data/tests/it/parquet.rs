//! Rows of Parquet files as lines of JSON.

use std::fs::File;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use mapreduce_data::{InputError, InputOptions, NumberTable, plan_splits};

use crate::world::{World, builtin};

/// `groups` row groups of `rows` rows of a number and a name.
fn write(world: &World, groups: i64, rows: i64) -> String {
    let path = world.write("a.parquet", "");
    let schema = "message m { required int64 n; required binary name (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let file = File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    for group in 0..groups {
        let numbers: Vec<i64> = (group * rows..(group + 1) * rows).collect();
        let names: Vec<ByteArray> = numbers
            .iter()
            .map(|n| ByteArray::from(format!("name \"{n}\"").as_str()))
            .collect();
        let mut row_group = writer.next_row_group().unwrap();
        let mut column = row_group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&numbers, None, None)
            .unwrap();
        column.close().unwrap();
        let mut column = row_group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&names, None, None)
            .unwrap();
        column.close().unwrap();
        row_group.close().unwrap();
    }
    writer.close().unwrap();
    path
}

#[test]
fn every_row_is_a_line_of_json_however_row_groups_are_cut() {
    let mut world = World::new();
    let input = [write(&world, 5, 40)];
    let mut expected: Vec<String> = (0..200)
        .map(|n| format!("{{\"n\":{n},\"name\":\"name \\\"{n}\\\"\"}}"))
        .collect();
    expected.sort();
    for (split_bytes, splits) in [(1, 5), (1 << 30, 1)] {
        world.split_bytes = split_bytes;
        assert_eq!(world.splits(&input).len(), splits);
        assert_eq!(world.lines(&builtin("sort", &[]), &input), expected);
    }
}

/// Two row groups of three columns of numbers, the last of which has nulls.
fn write_numbers(world: &World) -> String {
    let path = world.write("numbers.parquet", "");
    let schema = "message m { required float a; required int64 b; optional double c; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer =
        SerializedFileWriter::new(File::create(&path).unwrap(), schema, properties).unwrap();
    for group in 0..2 {
        let rows: Vec<i64> = (0..3_000).map(|n| group * 3_000 + n).collect();
        let mut row_group = writer.next_row_group().unwrap();
        let a: Vec<f32> = rows.iter().map(|&n| n as f32 / 2.0).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column
            .typed::<FloatType>()
            .write_batch(&a, None, None)
            .unwrap();
        column.close().unwrap();
        let mut column = row_group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&rows, None, None)
            .unwrap();
        column.close().unwrap();
        // Every seventh is null.
        let levels: Vec<i16> = rows.iter().map(|n| i16::from(n % 7 != 0)).collect();
        let there = rows.iter().filter(|&n| n % 7 != 0);
        let c: Vec<f64> = there.map(|&n| n as f64 * 10.0).collect();
        let mut column = row_group.next_column().unwrap().unwrap();
        column
            .typed::<DoubleType>()
            .write_batch(&c, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        row_group.close().unwrap();
    }
    writer.close().unwrap();
    path
}

#[test]
fn numbers_are_read_by_row_groups_without_text() {
    let world = World::new();
    let path = write_numbers(&world);
    let len = std::fs::metadata(&path).unwrap().len();
    let table = NumberTable::inspect(&path, len).unwrap();
    assert_eq!(table.columns, ["a", "b", "c"]);
    assert_eq!(table.groups.len(), 2);
    let mut next = 0;
    for group in 0..2 {
        NumberTable::read(&path, len, group, |row| {
            let n = f64::from(next);
            assert_eq!(row[..2], [n / 2.0, n]);
            let null = next % 7 == 0;
            assert!(if null {
                row[2].is_nan()
            } else {
                row[2] == n * 10.0
            });
            next += 1;
            true
        })
        .unwrap();
    }
    assert_eq!(next, 6_000);
    let mut rows = 0;
    NumberTable::read(&path, len, 1, |_| {
        rows += 1;
        rows < 5
    })
    .unwrap();
    assert_eq!(rows, 5, "it stops when told");
    assert!(NumberTable::read(&path, len, 2, |_| true).is_err());
}

#[test]
fn what_holds_no_numbers_or_is_no_parquet_is_refused() {
    let world = World::new();
    let names = write(&world, 1, 3);
    let error = NumberTable::inspect(&names, 0).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("its column `name` (BYTE_ARRAY) is no number"),
        "{error}"
    );
    let text = world.write("text.parquet", "1,2\n3,4\n");
    let error = NumberTable::inspect(&text, 8).unwrap_err();
    assert!(matches!(error, InputError::Io { .. }), "{error}");
    let missing = world.path("none.parquet").display().to_string();
    assert!(NumberTable::inspect(&missing, 0).is_err());
}

/// Every byte of a small file changed, one after the other: an error or rows, and nothing worse.
#[test]
fn damage_never_panics() {
    let world = World::new();
    let good = std::fs::read(write(&world, 1, 4)).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        let path = world.write("bad.parquet", bad);
        let _refused = NumberTable::inspect(&path, 0);
        let input = [path];
        // A job syncs its files, so not for every byte.
        if at % 8 == 0 && plan_splits(&input, &InputOptions::default()).is_ok() {
            let _refused = world.try_run(&builtin("sort", &[]), &input);
        }
    }
}
