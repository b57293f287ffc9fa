//! Rows of Parquet files as lines of JSON.

use std::fs::File;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

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
