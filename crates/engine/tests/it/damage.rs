//! Directories that are not what they should be: a clear refusal, never a guess.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use engine::{Engine, EngineError, FjallEngine, Options};
use kv_core::{Batch, begin_payload};
use stdx::{LogIndex, Term};

use crate::workload::{Workload, temporary};

fn open(dir: &Path) -> Result<FjallEngine, EngineError> {
    FjallEngine::open(dir, Options::default())
}

fn filled(dir: &Path) -> FjallEngine {
    let engine = open(dir).unwrap();
    let mut workload = Workload::new(1, 500);
    workload.clears = false;
    for number in 1..=200 {
        engine
            .apply(
                LogIndex::new(number),
                Term::new(1),
                &workload.payload(),
                None,
            )
            .unwrap();
    }
    engine.persist().unwrap();
    engine
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = temporary();
    let _engine = filled(dir.path());
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, EngineError::InUse { .. }), "{error:?}");
}

#[test]
fn a_newer_format_is_refused() {
    let dir = temporary();
    drop(filled(dir.path()));
    fs::write(
        dir.path().join("CURRENT"),
        "kontiki-engine 2 generation 1\n",
    )
    .unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, EngineError::Format { .. }), "{error:?}");
    assert!(error.to_string().contains("format 2"), "{error}");
    for text in [
        "",
        "kontiki-engine 1",
        "something else",
        "kontiki-engine 1 generation x",
    ] {
        fs::write(dir.path().join("CURRENT"), text).unwrap();
        assert!(
            matches!(open(dir.path()), Err(EngineError::Corrupt { .. })),
            "{text:?}"
        );
    }
}

#[test]
fn a_first_start_that_was_interrupted_is_made_up_for() {
    let dir = temporary();
    drop(open(dir.path()).unwrap());
    let all = files(dir.path());
    for path in &all {
        // As if the crash came before this file was there.
        let _ = fs::remove_file(dir.path().join("CURRENT"));
        fs::remove_file(path)
            .or_else(|_| fs::metadata(dir.path()).map(|_| ()))
            .unwrap();
        let engine = open(dir.path()).unwrap();
        assert_eq!(engine.applied(), LogIndex::ZERO, "{path:?}");
    }
    assert!(all.len() > 3, "{all:?}");
}

#[test]
fn a_lost_marker_does_not_make_an_empty_database() {
    let dir = temporary();
    drop(filled(dir.path()));
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    assert!(matches!(open(dir.path()), Err(EngineError::Corrupt { .. })));
    assert!(matches!(open(dir.path()), Err(EngineError::Corrupt { .. })));
}

#[test]
fn records_that_another_group_wrote_are_not_ours() {
    let dir = temporary();
    drop(filled(dir.path()));
    let other = FjallEngine::open(
        dir.path(),
        Options {
            group: 7,
            ..Options::default()
        },
    )
    .unwrap();
    assert!(other.view().is_empty());
    assert_eq!(other.applied(), LogIndex::ZERO);
}

#[test]
fn a_gap_in_the_log_poisons_and_a_replay_does_nothing() {
    let dir = temporary();
    let engine = filled(dir.path());
    let mut replies = Vec::new();
    let mut batch = Batch::new();
    batch.push(&kv_core::Command::Clear);
    let mut payload = BytesMut::new();
    begin_payload(&mut payload, 1);
    payload.extend_from_slice(batch.bytes());
    engine
        .apply(
            LogIndex::new(200),
            Term::new(1),
            &payload,
            Some(&mut replies),
        )
        .unwrap();
    assert!(replies.is_empty());
    assert!(!engine.view().is_empty());
    let gap = engine.apply(LogIndex::new(202), Term::new(1), &payload, None);
    assert!(matches!(
        gap,
        Err(EngineError::Gap {
            index: 202,
            applied: 200
        })
    ));
    let next = engine.apply(LogIndex::new(201), Term::new(1), &payload, None);
    assert!(matches!(next, Err(EngineError::Poisoned)));
    assert!(matches!(engine.checkpoint(), Err(EngineError::Poisoned)));
}

#[test]
fn an_entry_that_cannot_be_understood_poisons() {
    let dir = temporary();
    let engine = filled(dir.path());
    let error = engine
        .apply(LogIndex::new(201), Term::new(1), b"\x09nonsense", None)
        .unwrap_err();
    assert!(matches!(error, EngineError::Entry(_)));
    assert!(error.source().is_some());
    assert!(matches!(engine.persist(), Err(EngineError::Poisoned)));
    // What is on disk is still the state before it.
    drop(engine);
    assert_eq!(open(dir.path()).unwrap().applied(), LogIndex::new(200));
}

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
    found.sort();
    found
}

/// A flipped bit in a table is found, or it was in bytes that nobody reads.
#[test]
fn flipped_bits_are_refused_or_harmless() {
    let dir = temporary();
    let engine = filled(dir.path());
    let view = engine.view();
    let expected = view.list(b"", None, 10_000).unwrap();
    drop(view);
    drop(engine);
    let mut prng = stdx::Prng::from_seed(9);
    let (mut refused, mut harmless) = (0, 0);
    for path in files(dir.path()) {
        if !path.components().any(|part| part.as_os_str() == "tables") {
            continue;
        }
        let original = fs::read(&path).unwrap();
        for _ in 0..40 {
            let mut damaged = original.clone();
            let bit = prng.index(damaged.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            match open(dir.path()) {
                Err(_) => refused += 1,
                Ok(engine) => {
                    assert_eq!(engine.view().list(b"", None, 10_000).unwrap(), expected);
                    harmless += 1;
                }
            }
        }
        fs::write(&path, &original).unwrap();
    }
    assert!(refused > harmless, "{refused} refused, {harmless} harmless");
}
