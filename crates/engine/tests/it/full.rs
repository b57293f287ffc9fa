//! A full disk: a checkpoint that finds no room is undone, and the engine goes on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::BytesMut;
use engine::{Engine, FjallEngine, Options};
use kv_core::{Batch, begin_payload};
use stdx::{LogIndex, Term};

use crate::workload::temporary;

/// Writes a number of keys as one entry.
fn fill(engine: &FjallEngine, round: u64, keys: u64) {
    let mut batch = Batch::new();
    for number in 0..keys {
        let value = format!("{round:0100}");
        batch.put(format!("key:{number}").as_bytes(), value.as_bytes());
    }
    let mut payload = BytesMut::new();
    begin_payload(&mut payload, 1);
    payload.extend_from_slice(batch.bytes());
    let index = engine.applied().next();
    engine.apply(index, Term::new(1), &payload, None).unwrap();
}

fn check(engine: &FjallEngine, round: u64, keys: u64) {
    let view = engine.view();
    assert_eq!(view.len(), keys);
    for number in 0..keys {
        let found = view.get(format!("key:{number}").as_bytes()).unwrap();
        assert_eq!(found.unwrap().value, format!("{round:0100}").as_bytes());
    }
}

/// Everything below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_checkpoint_without_room_is_undone_and_leaves_nothing_behind() {
    let dir = temporary();
    let engine = FjallEngine::open(dir.path(), Options::default()).unwrap();
    fill(&engine, 1, 100);
    engine.checkpoint().unwrap();
    fill(&engine, 2, 100);
    let mut leftovers = Vec::new();
    for bytes in [50, 500, 1_000, 5_000] {
        engine.set_checkpoint_budget(Some(bytes));
        let error = engine.checkpoint().unwrap_err();
        let text = error.to_string();
        assert!(error.is_disk_full() && !text.contains('\n'), "{text}");
        assert!(text.contains("free some space"), "{text}");
        check(&engine, 2, 100);
        assert!(engine.stats().dirty_bytes > 10_000);
        assert_eq!(engine.stats().checkpoint_index, 1);
        leftovers.push(files(dir.path()).len());
    }
    // Half a table each time, which the next attempt removes first.
    assert!(
        leftovers.is_sorted_by(|one, two| one >= two),
        "{leftovers:?}"
    );
    fill(&engine, 3, 100);
    engine.set_checkpoint_budget(None);
    assert_eq!(engine.checkpoint().unwrap(), LogIndex::new(3));
    drop(engine);
    let engine = FjallEngine::open(dir.path(), Options::default()).unwrap();
    assert_eq!(engine.applied(), LogIndex::new(3));
    check(&engine, 3, 100);
}

#[test]
fn applying_goes_on_when_its_own_checkpoint_finds_no_room() {
    let dir = temporary();
    let options = Options {
        dirty_bytes_max: stdx::ByteSize::kib(8),
        ..Options::default()
    };
    let engine = FjallEngine::open(dir.path(), options).unwrap();
    engine.set_checkpoint_budget(Some(0));
    for round in 0..20 {
        fill(&engine, round, 100);
    }
    check(&engine, 19, 100);
    assert_eq!(engine.stats().checkpoints, 0);
    engine.set_checkpoint_budget(None);
    engine.checkpoint().unwrap();
    assert_eq!(engine.stats().dirty_bytes, 0);
}

#[test]
fn a_snapshot_without_room_is_refused_and_can_be_made_later() {
    let dir = temporary();
    let engine = FjallEngine::open(dir.path(), Options::default()).unwrap();
    fill(&engine, 1, 100);
    engine.set_checkpoint_budget(Some(10));
    let error = engine.snapshot().map(drop).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    engine.set_checkpoint_budget(None);
    let mut source = engine.snapshot().unwrap();
    // An installation needs room as well, and changes nothing without it.
    let other = temporary();
    let target = FjallEngine::open(other.path(), Options::default()).unwrap();
    fill(&target, 9, 10);
    target.set_checkpoint_budget(Some(1_000));
    let error = target.install(&mut source).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    check(&target, 9, 10);
    target.set_checkpoint_budget(None);
    target.install(&mut engine.snapshot().unwrap()).unwrap();
    check(&target, 1, 100);
}

/// A small file system of its own, until it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` when this process may not mount anything.
    fn mount(options: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(disk.0.path())
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        mounted.then_some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        drop(unmounted);
    }
}

#[test]
fn a_real_disk_that_fills_up_is_survived() {
    // Space can be foreseen and inodes can't, so each goes its own way.
    let Some(disk) = SmallDisk::mount("size=24m,nr_inodes=200") else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let dir = disk.0.path().join("engine");
    let engine = FjallEngine::open(&dir, Options::default()).unwrap();
    fill(&engine, 1, 10_000);
    engine.checkpoint().unwrap();

    fill(&engine, 2, 10_000);
    let ballast = disk.0.path().join("ballast");
    while fs::write(&ballast, vec![1; 1 << 20]).is_ok() {
        fs::rename(
            &ballast,
            disk.0
                .path()
                .join(format!("ballast-{}", files(disk.0.path()).len())),
        )
        .unwrap();
    }
    let error = engine.checkpoint().unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    check(&engine, 2, 10_000);
    remove_ballast(disk.0.path());
    engine.checkpoint().unwrap();

    fill(&engine, 3, 10_000);
    let mut number = 0;
    while File::create(disk.0.path().join(format!("ballast-{number}"))).is_ok() {
        number += 1;
    }
    let error = engine.checkpoint().unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    check(&engine, 3, 10_000);
    // The next one opens the LSM again first, without any room; that may even make some.
    if let Err(error) = engine.checkpoint() {
        assert!(error.is_disk_full(), "{error}");
    }
    check(&engine, 3, 10_000);
    remove_ballast(disk.0.path());
    engine.checkpoint().unwrap();
    fill(&engine, 4, 10);
    drop(engine);
    let engine = FjallEngine::open(&dir, Options::default()).unwrap();
    assert_eq!(engine.applied(), LogIndex::new(3));
    check(&engine, 3, 10_000);
}

fn remove_ballast(dir: &Path) {
    for path in files(dir) {
        if path.to_string_lossy().contains("ballast") {
            fs::remove_file(path).unwrap();
        }
    }
}
