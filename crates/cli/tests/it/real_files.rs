//! MapReduce and k-means on real input: the licence texts and documentation that most Linux
//! machines have under `/usr/share`, and scikit-learn's digits. What comes out is compared with
//! plain loops over the same files.
//!
//! Environment: `KONTIKI_DEMO_FILES` (how many copyright files of packages; default 40).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const LICENCES: &str = "/usr/share/common-licenses";
const PACKAGES: &str = "/usr/share/doc";

/// Runs `kontiki` and gives what it printed.
fn kontiki(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    let started = Instant::now();
    let ended = command.args(words).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{words:?}: {stderr}");
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "kontiki {} ..: {seconds:.1} s",
        words[..3.min(words.len())].join(" ")
    );
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

/// Files that are read: some have several names.
fn files() -> Vec<String> {
    let count = std::env::var("KONTIKI_DEMO_FILES").ok();
    let count = count.and_then(|text| text.parse().ok()).unwrap_or(40);
    let inside = |directory: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let packages = inside(PACKAGES).into_iter();
    let copyrights = packages.map(|package| package.join("copyright"));
    let mut all = inside(LICENCES);
    all.extend(copyrights.filter(|path| path.is_file()).take(count));
    all.retain(|path| path.is_file());
    all.iter().map(|path| path.display().to_string()).collect()
}

/// The words of a file: what is between white space.
fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let space = |byte: &u8| *byte == b' ' || (b'\t'..=b'\r').contains(byte);
    text.split(space).filter(|word| !word.is_empty())
}

/// All lines of a job's output: sorted, as bytes.
fn lines(output: &Path) -> Vec<Vec<u8>> {
    assert!(output.join("_SUCCESS").exists());
    let mut lines = Vec::new();
    for entry in fs::read_dir(output).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("mr-out-") {
            let bytes = fs::read(&path).unwrap();
            lines.extend(
                bytes
                    .split_inclusive(|byte| *byte == b'\n')
                    .map(<[u8]>::to_vec),
            );
        }
    }
    lines.sort();
    lines
}

fn job(name: &str, files: &[String], output: &Path) -> Vec<Vec<u8>> {
    let shown = output.display().to_string();
    let mut command = vec!["mr", "run", name, "--workers", "2", "--reduces", "3"];
    command.extend(["--output", &shown]);
    for file in files {
        command.extend(["--input", file]);
    }
    kontiki(&command);
    kontiki(&["mr", "verify", &shown]);
    lines(output)
}

#[test]
fn words_of_licences_and_documentation() {
    let files = files();
    if files.len() < 10 {
        println!("skipped: {LICENCES} and {PACKAGES} are not here");
        return;
    }
    let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut places: BTreeMap<Vec<u8>, BTreeSet<&str>> = BTreeMap::new();
    let mut bytes = 0;
    for file in &files {
        let text = fs::read(file).unwrap();
        bytes += text.len();
        for word in words(&text) {
            *counts.entry(word.to_vec()).or_default() += 1;
            places.entry(word.to_vec()).or_default().insert(file);
        }
    }
    println!(
        "{} files, {bytes} bytes, {} words",
        files.len(),
        counts.len()
    );
    let directory = tempfile::tempdir().unwrap();

    let found = job("wordcount", &files, &directory.path().join("words"));
    let line = |(word, count): (&Vec<u8>, &u64)| [word, format!("\t{count}\n").as_bytes()].concat();
    let mut expected: Vec<Vec<u8>> = counts.iter().map(line).collect();
    expected.sort();
    assert!(found == expected, "not the counts of a plain loop");
    let most = counts.iter().max_by_key(|(_, count)| **count).unwrap();
    println!(
        "most frequent: {:?}, {} times",
        most.0.escape_ascii().to_string(),
        most.1
    );

    let found = job("inverted-index", &files, &directory.path().join("index"));
    let line = |(word, files): (&Vec<u8>, &BTreeSet<&str>)| {
        let files: Vec<&str> = files.iter().copied().collect();
        let rest = format!("\t{} {}\n", files.len(), files.join(","));
        [word, rest.as_bytes()].concat()
    };
    let mut expected: Vec<Vec<u8>> = places.iter().map(line).collect();
    expected.sort();
    assert!(found == expected, "not the index of a plain loop");
}

/// What scikit-learn finds from the same start is in the fixtures; processes find it, too, with any
/// number of them, and when every third answer is a failure.
#[test]
fn digits_iris_and_blobs_in_the_clusters_of_scikit_learn() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kmeans/tests/testdata");
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let all = json(&testdata.join("expected.json"));
    for (name, failures) in [("digits", "0"), ("iris", "0.3"), ("blobs", "0.3")] {
        let expected = &all[name];
        let k = expected["k"].to_string();
        let at = |suffix: &str| {
            testdata
                .join(format!("{name}{suffix}.csv"))
                .display()
                .to_string()
        };
        let (input, start) = (at(""), at("-start"));
        let mut centroids: Option<Vec<u8>> = None;
        for (mappers, reducers) in [("1", "1"), ("3", "2"), ("2", "5")] {
            let directory = tempfile::tempdir().unwrap();
            let output = directory.path().display().to_string();
            let mut words = vec![
                "kmeans", "run", "--input", &input, "--init", &start, "-k", &k,
            ];
            words.extend(["--mappers", mappers, "--reducers", reducers]);
            words.extend(["--fail-probability", failures]);
            words.extend(["--tolerance", "0", "--output", &output]);
            println!("{name}: {}", kontiki(&words));
            let summary = json(&directory.path().join("summary.json"));
            let ours = summary["inertia"].as_f64().unwrap();
            let theirs = expected["inertia"].as_f64().unwrap();
            assert!(
                (ours / theirs - 1.0).abs() < 1e-6,
                "{name}: {ours} but {theirs}"
            );
            assert_eq!(summary["iterations"], expected["iterations"], "{name}");
            let found = fs::read(directory.path().join("centroids.csv")).unwrap();
            let first = centroids.get_or_insert_with(|| found.clone());
            assert!(*first == found, "{name} with {mappers} and {reducers}");
        }
    }
}
