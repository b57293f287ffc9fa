//! `kontiki wal` on the log of a node that was stopped.

use std::fs;
use std::path::{Path, PathBuf};

use kv::store::{Location, Store};

use crate::cluster::run;

/// Runs `kontiki wal LOOK DIR`; returns the exit code and what it printed.
fn look(words: &[&str], dir: &Path) -> (Option<i32>, String, String) {
    let mut args = vec!["wal"];
    args.extend(words);
    args.push(dir.to_str().unwrap());
    let output = run(&args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A node's directory with a few writes in its log.
fn node_with_writes(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let location = Location::Directory(dir.to_path_buf());
        let store = Store::open(&location).await.unwrap();
        for number in 0..20 {
            let key = format!("key-{number}");
            store.put(key.as_bytes(), &[b'v'; 100]).await.unwrap();
        }
        store.close().await.unwrap();
    });
}

fn segment(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir.join("wal")).unwrap();
    let names = entries.map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.to_string_lossy().contains("segment-"))
        .min()
        .unwrap()
}

#[test]
fn a_log_is_printed_and_checked_and_damage_is_found() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("node");
    node_with_writes(&dir);
    let before = fs::read(segment(&dir)).unwrap();

    let (code, out, errors) = look(&["dump"], &dir);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.starts_with("log of node n1 of cluster "), "{out}");
    assert!(out.contains("term t1 voted for n1"), "{out}");
    assert!(out.contains(" noop "), "{out}");
    assert!(
        out.contains("put \"key-7\" \"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\".. (100 bytes)"),
        "{out}"
    );
    // The log's own directory will do, and all of a value is shown on request.
    let (code, full, _) = look(&["dump", "--full"], &dir.join("wal"));
    assert_eq!(code, Some(0));
    assert!(
        full.contains(&"v".repeat(100)) && !full.contains(".. ("),
        "{full}"
    );

    let (code, out, errors) = look(&["check"], &dir);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains(": sound\n"), "{out}");
    assert!(
        out.contains("g1: term t1, voted for n1, entries after i0 through i2"),
        "{out}"
    );
    assert_eq!(
        fs::read(segment(&dir)).unwrap(),
        before,
        "looking changes nothing"
    );

    let mut damaged = before;
    damaged[1_000] ^= 1;
    fs::write(segment(&dir), damaged).unwrap();
    let (code, out, errors) = look(&["check"], &dir);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    let name = segment(&dir).display().to_string();
    assert!(
        errors.contains(&name) && errors.contains("corrupt at byte"),
        "{errors}"
    );
    let (code, out, _) = look(&["dump"], &dir);
    assert_eq!(code, Some(0));
    assert!(out.contains("a damaged or unfinished record"), "{out}");
    assert!(out.contains("was durable"), "{out}");
}

#[test]
fn a_directory_without_a_log_is_refused_with_advice() {
    let root = tempfile::tempdir().unwrap();
    for words in [["dump"], ["check"]] {
        let (code, _, errors) = look(&words, root.path());
        assert_eq!(code, Some(2));
        assert!(errors.contains("there is no log in"), "{errors}");
        let (code, _, errors) = look(&words, &root.path().join("nowhere"));
        assert_eq!(code, Some(2));
        assert!(
            errors.contains("hint: give a node's data directory"),
            "{errors}"
        );
    }
}
