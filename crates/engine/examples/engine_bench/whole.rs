//! The whole engine: apply, read, checkpoint, restart.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use bytes::BytesMut;
use engine::{Engine, FjallEngine, Options};
use kv_core::{Batch, begin_payload};
use stdx::{LogIndex, Prng, Term};

use crate::measure::{Measure, print_row, resident_bytes};

const KEYS: u64 = 1_000_000;
const COMMANDS_PER_ENTRY: u64 = 200;
const VALUE: [u8; 64] = [7; 64];

fn key(number: u64) -> String {
    format!("key:{number:012}")
}

/// Entries that set the keys of these numbers.
fn entries(mut numbers: impl FnMut() -> u64, count: u64) -> Vec<BytesMut> {
    let mut batch = Batch::new();
    (0..count / COMMANDS_PER_ENTRY)
        .map(|_| {
            batch.clear();
            for _ in 0..COMMANDS_PER_ENTRY {
                batch.put(key(numbers()).as_bytes(), &VALUE);
            }
            let mut payload = BytesMut::new();
            begin_payload(&mut payload, 1);
            payload.extend_from_slice(batch.bytes());
            payload
        })
        .collect()
}

fn apply_all(engine: &FjallEngine, entries: &[BytesMut]) -> f64 {
    let start = Instant::now();
    let mut replies = Vec::new();
    for payload in entries {
        replies.clear();
        let index = engine.applied().next();
        engine
            .apply(index, Term::new(1), payload, Some(&mut replies))
            .unwrap();
        assert_eq!(replies.len() as u64, COMMANDS_PER_ENTRY);
    }
    entries.len() as f64 * COMMANDS_PER_ENTRY as f64 / start.elapsed().as_secs_f64()
}

fn read_some(engine: &FjallEngine, prng: &mut Prng, keys: u64, count: u64) -> u64 {
    let mut bytes = 0;
    let mut text = key(0).into_bytes();
    for _ in 0..count {
        let mut number = prng.below(keys);
        for digit in text[4..].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap();
            number /= 10;
        }
        let view = engine.view();
        bytes += view
            .get(&text)
            .unwrap()
            .map_or(0, |found| found.value.len() as u64);
    }
    bytes
}

fn reads_per_second(engine: &FjallEngine, keys: u64, count: u64) -> f64 {
    let mut prng = Prng::from_seed(9);
    let start = Instant::now();
    std::hint::black_box(read_some(engine, &mut prng, keys, count));
    count as f64 / start.elapsed().as_secs_f64()
}

/// Measures all of it in `dir`.
pub(crate) fn run(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    let mut prng = Prng::from_seed(4);
    let options = Options::default();
    let engine = FjallEngine::open(dir, options).unwrap();
    let mut order: Vec<u64> = (0..KEYS).collect();
    prng.shuffle(&mut order);
    let mut next = order.iter();
    let fresh = entries(|| *next.next().unwrap(), KEYS);
    let existing = entries(|| prng.below(KEYS), KEYS);
    let hot = entries(|| 7, KEYS);

    println!("\n| whole engine, 1 M keys of 16 + 64 B | |\n| --- | --- |");
    let memory = resident_bytes();
    println!(
        "| apply SET, new random keys | {:.2} M/s |",
        apply_all(&engine, &fresh) / 1e6
    );
    let memory = (resident_bytes() - memory) / KEYS as f64;
    println!("| memory per key, everything dirty | {memory:.0} B |");
    let measure = Measure::start();
    engine.checkpoint().unwrap();
    print_row("checkpoint of 1 M changed keys", &measure, 1_000_000, dir);
    println!(
        "| apply SET, existing random keys | {:.2} M/s |",
        apply_all(&engine, &existing) / 1e6
    );
    println!(
        "| again (already dirty) | {:.2} M/s |",
        apply_all(&engine, &existing) / 1e6
    );
    println!(
        "| apply SET, one hot key | {:.2} M/s |",
        apply_all(&engine, &hot) / 1e6
    );
    println!(
        "| reads, random keys, one thread | {:.2} M/s |",
        reads_per_second(&engine, KEYS, KEYS) / 1e6
    );
    println!(
        "| reads, hot keys (100), one thread | {:.2} M/s |",
        reads_per_second(&engine, 100, KEYS) / 1e6
    );
    let measure = Measure::start();
    engine.checkpoint().unwrap();
    print_row("checkpoint of 630 k changed keys", &measure, 632_000, dir);
    concurrently(&engine, &existing);
    checkpoint_while_applying(&engine, &existing);

    restart(dir, options, engine);
}

/// Closes the engine and opens it again, with all memory and with little.
fn restart(dir: &Path, options: Options, engine: FjallEngine) {
    engine.persist().unwrap();
    let applied = engine.applied();
    drop(engine);
    let memory = resident_bytes();
    let start = Instant::now();
    let engine = FjallEngine::open(dir, options).unwrap();
    println!(
        "| restart with 1 M keys | {:.2} s |",
        start.elapsed().as_secs_f64()
    );
    println!(
        "| memory per key, after restart | {:.0} B |",
        (resident_bytes() - memory) / KEYS as f64
    );
    assert_eq!((engine.applied(), engine.stats().keys), (applied, KEYS));
    assert!(engine.applied() > LogIndex::ZERO);
    let start = Instant::now();
    let found = engine
        .view()
        .list(b"key:0000005", None, 100)
        .unwrap()
        .items
        .len();
    println!(
        "| list by prefix, {found} of 1 M | {:.1} ms |",
        start.elapsed().as_secs_f64() * 1e3
    );
    drop(engine);
    let small = Options {
        memory_bytes_max: stdx::ByteSize::mib(20),
        ..options
    };
    let engine = FjallEngine::open(dir, small).unwrap();
    let rate = reads_per_second(&engine, KEYS, 200_000);
    println!(
        "| reads, five of six keys only on disk | {:.2} M/s |",
        rate / 1e6
    );
    drop(engine);
    let _ = fs::remove_dir_all(dir);
}

/// One thread applies, one reads.
fn concurrently(engine: &FjallEngine, entries: &[BytesMut]) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut prng, mut count, start) = (Prng::from_seed(5), 0_u64, Instant::now());
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box(read_some(engine, &mut prng, KEYS, 1_000));
                count += 1_000;
            }
            count as f64 / start.elapsed().as_secs_f64()
        });
        let applied = apply_all(engine, entries);
        stop.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap();
        println!(
            "| one thread applies, one reads | {:.2} M/s and {:.2} M/s |",
            applied / 1e6,
            read / 1e6
        );
    });
}

/// One thread applies, one writes checkpoints.
fn checkpoint_while_applying(engine: &FjallEngine, entries: &[BytesMut]) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                engine.checkpoint().unwrap();
                count += 1;
            }
            count
        });
        let mut slowest = 0.0_f64;
        let start = Instant::now();
        for payload in entries {
            let begin = Instant::now();
            engine
                .apply(engine.applied().next(), Term::new(1), payload, None)
                .unwrap();
            slowest = slowest.max(begin.elapsed().as_secs_f64());
        }
        let rate = entries.len() as f64 * COMMANDS_PER_ENTRY as f64 / start.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        let count = writer.join().unwrap();
        println!(
            "| apply while {count} checkpoints run | {:.2} M/s, slowest entry {:.1} ms |",
            rate / 1e6,
            slowest * 1e3
        );
    });
}
