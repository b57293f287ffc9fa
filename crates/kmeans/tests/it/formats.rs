//! The same points in any format give the same clusters.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use kmeans::{Dataset, Init, Options, Outcome};

use crate::{bits, fit, fixture, names, testdata};

/// Iris from its fixed start, out of these files.
fn iris(files: &[PathBuf], mappers: usize) -> (Outcome, Vec<u32>) {
    let options = Options {
        k: 3,
        mappers,
        tolerance: 0.0,
        init: Init::File(testdata("iris-start.csv")),
        ..Options::default()
    };
    fit(files, &options).unwrap()
}

#[track_caller]
fn check(files: &[PathBuf]) {
    let expected = fixture("iris", 3, 1);
    for mappers in [1, 2, 5] {
        let found = iris(files, mappers);
        assert_eq!(bits(&found.0.centers), bits(&expected.0.centers));
        assert_eq!(found.1, expected.1);
    }
}

#[test]
fn packed_lines() {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read(testdata("iris.csv")).unwrap();
    let named = [b"a,b,c,d\r\n".to_vec(), text].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&named).unwrap();
    let path = directory.path().join("iris.csv.gz");
    fs::write(&path, gzip.finish().unwrap()).unwrap();
    check(std::slice::from_ref(&path));
    // The line is counted in what it unpacks to.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"a,b\n1,2\n3,x\n").unwrap();
    fs::write(&path, gzip.finish().unwrap()).unwrap();
    let error = fit(&[path], &Options::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("iris.csv.gz, line 3: field 2: `x` is not a number"),
        "{text}"
    );
}

#[test]
fn numpy() {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(testdata("iris.csv")).unwrap();
    let numbers = text.lines().flat_map(|line| line.split(','));
    let numbers: Vec<f64> = numbers.map(|number| number.parse().unwrap()).collect();
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (150, 4), }\n";
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    npy.extend(header.bytes());
    npy.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    let path = directory.path().join("iris.npy");
    fs::write(&path, npy).unwrap();
    check(&[path]);
}

/// Written by pyarrow, in four row groups.
#[test]
fn parquet() {
    check(&[testdata("iris.parquet")]);
    assert!(
        Dataset::inspect(&names(&[testdata("iris.parquet")]))
            .unwrap()
            .is_binary()
    );
}

#[test]
fn parquet_that_is_no_points() {
    let error = |name| {
        fit(&[testdata(name)], &Options::default())
            .unwrap_err()
            .to_string()
    };
    let text = error("names.parquet");
    assert!(
        text.contains("names.parquet: its column `name` (BYTE_ARRAY) is no number"),
        "{text}"
    );
    let text = error("null.parquet");
    assert!(
        text.ends_with("null.parquet, row 3: `NaN` is not a finite number (so does a null read)"),
        "{text}"
    );
}

/// One job over a pattern, whose files have different formats.
#[test]
fn a_pattern_over_several_formats() {
    let directory = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(testdata("iris.csv")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(directory.path().join("a.csv"), lines[..70].join("\n")).unwrap();
    fs::write(directory.path().join("b.txt"), lines[70..].join(" \r\n")).unwrap();
    fs::write(directory.path().join("c.log"), "not points").unwrap();
    check(&[directory.path().join("[ab].*")]);
}
