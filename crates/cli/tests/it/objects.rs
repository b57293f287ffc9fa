//! Jobs over inputs in an object store, by real processes: the result is that of the same files on
//! the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[path = "../../../mapreduce-data/tests/it/s3.rs"]
mod s3;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../kmeans/tests/testdata")
        .join(name)
}

/// Runs `kontiki` with the store's environment; panics with what it said if it fails.
fn run(store: &s3::Store, words: &[&str], output: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    command.args(words).arg("--output").arg(output);
    command.envs(store.environment()).stdin(Stdio::null());
    let ended = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{words:?}: {stderr}");
}

#[test]
fn kmeans_reads_objects_of_every_format() {
    let store = s3::Store::start();
    let csv = fs::read(testdata("iris.csv")).unwrap();
    store.put("data/iris/points.csv", csv);
    store.put(
        "data/iris.parquet",
        fs::read(testdata("iris.parquet")).unwrap(),
    );
    store.put(
        "data/start.csv",
        fs::read(testdata("iris-start.csv")).unwrap(),
    );
    let directory = tempfile::tempdir().unwrap();
    let local = testdata("iris.csv").display().to_string();
    let centroids = |input: &str, name: &str| {
        let output = directory.path().join(name);
        let words = [
            "kmeans",
            "run",
            "--input",
            input,
            "-k",
            "3",
            "--mappers",
            "2",
        ];
        run(
            &store,
            &[&words[..], &["--init", "s3://data/start.csv"]].concat(),
            &output,
        );
        fs::read(output.join("centroids.csv")).unwrap()
    };
    let expected = centroids(&local, "local");
    assert_eq!(centroids("s3://data/iris/", "prefix"), expected);
    assert_eq!(centroids("s3://data/iris.parquet", "parquet"), expected);
    assert!(store.requests() > 10);
}

#[test]
fn mapreduce_counts_words_of_objects() {
    let store = s3::Store::start();
    let text = "to be or not to be\n".repeat(5_000);
    store.put("data/logs/a.txt", text.clone());
    store.put("data/logs/b.txt", "be\n");
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out");
    let words = ["mr", "run", "wordcount", "--input", "s3://data/logs/*.txt"];
    let more = ["--workers", "2", "--split-size", "16 KiB", "--reduces", "1"];
    run(&store, &[&words[..], &more].concat(), &output);
    let counted = fs::read_to_string(output.join("mr-out-0")).unwrap();
    assert_eq!(counted, "be\t10001\nnot\t5000\nor\t5000\nto\t10000\n");
}

/// What was not found is said in one line, with the input as it was given.
#[test]
fn a_missing_object_is_named() {
    let store = s3::Store::start();
    store.put("data/there", "1,2\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    command.args(["kmeans", "run", "--input", "s3://data/none.csv", "-k", "3"]);
    let ended = command.envs(store.environment()).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("the input s3://data/none.csv matches no file"),
        "{stderr}"
    );
}
