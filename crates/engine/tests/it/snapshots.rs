//! Snapshots: consistent while writes go on, refused when damaged, installed whole.

use std::io::Read;

use bytes::BytesMut;
use engine::{Engine, EngineError, FjallEngine, MemoryEngine, Options};
use kv_core::{Batch, begin_payload};
use stdx::{LogIndex, Term};

use crate::workload::{Workload, temporary};

fn payload(pairs: &[(String, Vec<u8>)]) -> BytesMut {
    let mut batch = Batch::new();
    for (key, value) in pairs {
        batch.put(key.as_bytes(), value);
    }
    let mut payload = BytesMut::new();
    begin_payload(&mut payload, 1_000);
    payload.extend_from_slice(batch.bytes());
    payload
}

fn some_pairs(count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|number| (format!("key:{number}"), vec![7; number % 3_000]))
        .collect()
}

fn bytes_of(engine: &dyn Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn both_engines_give_the_same_bytes() {
    let dir = temporary();
    let real = FjallEngine::open(dir.path(), Options::default()).unwrap();
    let model = MemoryEngine::new();
    let mut workload = Workload::new(1, 500);
    for number in 1..=300 {
        let payload = workload.payload();
        for engine in [&real as &dyn Engine, &model] {
            engine
                .apply(LogIndex::new(number), Term::new(3), &payload, None)
                .unwrap();
        }
        if number % 60 == 0 {
            assert_eq!(bytes_of(&real), bytes_of(&model));
        }
    }
}

#[test]
fn a_snapshot_shows_nothing_of_what_is_written_while_it_is_read() {
    let dir = temporary();
    let engine = FjallEngine::open(dir.path(), Options::default()).unwrap();
    engine
        .apply(
            LogIndex::new(1),
            Term::new(1),
            &payload(&some_pairs(2_000)),
            None,
        )
        .unwrap();
    let expected = bytes_of(&engine);
    let mut source = engine.snapshot().unwrap();
    let mut bytes = vec![0; 10_000];
    source.read_exact(&mut bytes).unwrap();
    // Change, remove and clear, each with a checkpoint; the old generation goes away.
    let mut workload = Workload::new(2, 2_000);
    for number in 2..100 {
        engine
            .apply(
                LogIndex::new(number),
                Term::new(1),
                &workload.payload(),
                None,
            )
            .unwrap();
        if number % 20 == 0 {
            engine.checkpoint().unwrap();
        }
    }
    let mut clear = Batch::new();
    clear.push(&kv_core::Command::Clear);
    let mut entry = payload(&[]);
    entry.extend_from_slice(clear.bytes());
    engine
        .apply(LogIndex::new(100), Term::new(1), &entry, None)
        .unwrap();
    engine.checkpoint().unwrap();
    assert!(engine.view().is_empty());
    source.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, expected);
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused_and_changes_nothing() {
    let dir = temporary();
    let engine = FjallEngine::open(dir.path(), Options::default()).unwrap();
    engine
        .apply(
            LogIndex::new(1),
            Term::new(1),
            &payload(&some_pairs(40)),
            None,
        )
        .unwrap();
    let kept = bytes_of(&engine);
    let other = MemoryEngine::new();
    other
        .apply(
            LogIndex::new(1),
            Term::new(9),
            &payload(&some_pairs(3)),
            None,
        )
        .unwrap();
    let snapshot = bytes_of(&other);
    let target = MemoryEngine::new();
    let refused = |result: Result<_, EngineError>| {
        assert!(
            matches!(result, Err(EngineError::Snapshot { .. })),
            "{result:?}"
        );
    };
    for end in 0..snapshot.len() {
        refused(target.install(&mut &snapshot[..end]));
    }
    for bit in 0..snapshot.len() * 8 {
        let mut damaged = snapshot.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        refused(target.install(&mut &damaged[..]));
        if bit % 97 == 0 {
            refused(engine.install(&mut &damaged[..]));
        }
    }
    assert!(target.view().is_empty());
    assert_eq!(bytes_of(&engine), kept);
    // The undamaged one is taken, and stays.
    assert_eq!(
        engine.install(&mut &snapshot[..]).unwrap(),
        (LogIndex::new(1), Term::new(9))
    );
    assert_eq!(bytes_of(&engine), snapshot);
    drop(engine);
    let engine = FjallEngine::open(dir.path(), Options::default()).unwrap();
    assert_eq!(bytes_of(&engine), snapshot);
}
