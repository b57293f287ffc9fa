//! What is wrong with an input is said with file and line.

use std::fs;

use kmeans::{Init, JobError, Options};

use crate::{fit, testdata};

#[track_caller]
fn check(name: &str, contents: &[u8], expected: &str) {
    for parts in [1, 4] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, contents).unwrap();
        let options = Options {
            k: 2,
            mappers: parts,
            ..Options::default()
        };
        let error = fit(std::slice::from_ref(&path), &options).unwrap_err();
        let place = format!("{}/", directory.path().display());
        assert_eq!(error.to_string().replace(&place, ""), expected);
    }
}

#[test]
fn lines_that_are_no_points() {
    check(
        "p.csv",
        b"1,2\n3,4\n\n5,nan\n6,7\n",
        "p.csv, line 4: field 2: `NaN` is not a finite number",
    );
    check(
        "p.csv",
        b"1,2\n3,4\n5,6,7\n",
        "p.csv, line 3: has 3 numbers where the first point has 2",
    );
    check(
        "p.csv",
        b"x,y\n1,2\n3\n",
        "p.csv, line 3: has 1 numbers where the first point has 2",
    );
    check(
        "p.csv",
        b"1,2\n3,four\n5,6\n",
        "p.csv, line 2: field 2: `four` is not a number",
    );
    check(
        "p.csv",
        b"1,2\n3,-inf\n5,6\n",
        "p.csv, line 2: field 2: `-inf` is not a finite number",
    );
    check(
        "p.csv",
        b"x,y\nz,w\n1,2\n",
        "p.csv, line 2: field 1: `z` is not a number",
    );
    check(
        "p.csv",
        b"1,2\n\xff\xfe,3\n4,5\n",
        "p.csv, line 2: field 1: `\u{fffd}\u{fffd}` is not a number",
    );
}

#[test]
fn files_that_are_no_points() {
    check("p.csv", b"\n# nothing\n", "there are no points in p.csv");
    check(
        "p.npy",
        b"x,y\n1,2 and so on\n",
        "p.npy: is not a .npy file",
    );
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    npy.extend(header.bytes());
    let row = |x: f32, y: f32| [x.to_le_bytes(), y.to_le_bytes()].concat();
    npy.extend([row(1.0, 2.0), row(3.0, 4.0)].concat());
    check(
        "p.npy",
        &npy,
        "p.npy: is not as long as its header says: is it complete?",
    );
    npy.extend(row(5.0, f32::NAN));
    check("p.npy", &npy, "p.npy, row 2: `NaN` is not a finite number");
}

#[test]
fn options_that_do_not_fit() {
    let run = |options: Options| fit(&[testdata("iris.csv")], &options).unwrap_err();
    let error = run(Options {
        k: 151,
        ..Options::default()
    });
    assert!(
        matches!(error, JobError::TooFewPoints { k: 151, rows: 150 }),
        "{error}"
    );
    let error = run(Options {
        k: 4,
        init: Init::File(testdata("iris-start.csv")),
        ..Options::default()
    });
    let text = error.to_string();
    assert!(
        text.ends_with("has 3 points of 4 coordinates; 4 of 4 are needed"),
        "{text}"
    );
    let error = run(Options {
        k: 0,
        ..Options::default()
    });
    assert_eq!(error.to_string(), "k is 0; it must be from 1 to 1048576");
    let error = fit(&["no/such/file.csv".into()], &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the input no/such/file.csv matches no file: check the path or the pattern"
    );
}
