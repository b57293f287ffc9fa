//! Readers beside an applier, checkpoints and evictions: what they see never goes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::BytesMut;
use engine::{Engine, FjallEngine, Options};
use kv_core::{Batch, Command, begin_payload, number::parse_i64};
use stdx::{ByteSize, Prng, Term};

use crate::workload::temporary;

const KEYS: u64 = 3_000;
const ENTRIES: u32 = 10_000;

fn key(number: u64) -> String {
    // In few slots, so that each round of eviction drops many at once.
    format!("counter:{{{}}}:{number}", number % 16)
}

fn increments(prng: &mut Prng) -> BytesMut {
    let mut batch = Batch::new();
    for _ in 0..20 {
        let key = key(prng.below(KEYS));
        batch.push(&Command::Increment {
            key: key.as_bytes(),
            by: 1,
        });
    }
    let mut payload = BytesMut::new();
    begin_payload(&mut payload, 1);
    payload.extend_from_slice(batch.bytes());
    payload
}

/// Reads counters until told to stop; how many it read.
fn watch(engine: &FjallEngine, seed: u64, stop: &AtomicBool) -> u64 {
    let mut prng = Prng::from_seed(seed);
    let mut last = vec![0; usize::try_from(KEYS).unwrap()];
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let number = prng.below(KEYS);
        let view = engine.view();
        let found = view.get(key(number).as_bytes()).unwrap();
        let value = found.map_or(0, |found| parse_i64(&found.value).unwrap());
        let last = &mut last[usize::try_from(number).unwrap()];
        assert!(
            *last <= value,
            "counter {number} went from {last} back to {value}"
        );
        *last = value;
        count += 1;
    }
    count
}

#[test]
fn nothing_that_was_read_is_unread_while_records_move_between_memory_and_disk() {
    let dir = temporary();
    let options = Options {
        memory_bytes_max: ByteSize::kib(8),
        ..Options::default()
    };
    let engine = FjallEngine::open(dir.path(), options).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watchers = [1, 2].map(|seed| {
            scope.spawn({
                let (engine, stop) = (&engine, &stop);
                move || watch(engine, seed, stop)
            })
        });
        let checkpoints = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                engine.checkpoint().unwrap();
            }
        });
        let mut prng = Prng::from_seed(3);
        for _ in 0..ENTRIES {
            let payload = increments(&mut prng);
            engine
                .apply(engine.applied().next(), Term::new(1), &payload, None)
                .unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        checkpoints.join().unwrap();
        assert!(
            watchers
                .map(|watcher| watcher.join().unwrap())
                .iter()
                .all(|&count| count > 0)
        );
    });
    let view = engine.view();
    let items = view.list(b"counter:", None, 10_000).unwrap().items;
    let sum: i64 = items
        .iter()
        .map(|item| parse_i64(&item.value).unwrap())
        .sum();
    assert_eq!(sum, i64::from(ENTRIES) * 20);
    drop(view);
    let stats = engine.stats();
    assert!(stats.evictions > 0, "{stats:?}");
    assert!(stats.disk_reads > 0, "{stats:?}");
    assert!(stats.checkpoints > 1, "{stats:?}");
}
