//! The whole engine: apply, read, checkpoint, restart.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use bytes::BytesMut;
use engine::{Engine, FjallEngine, Options};
use kv_core::{Batch, Command, Deadline, Expiry, Put, begin_payload};
use stdx::{LogIndex, Prng, Term};

use crate::measure::{Measure, print_row, resident_bytes, thread_cpu_seconds};

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

/// Millions a second of wall and of processor time.
struct Rate {
    wall: f64,
    cpu: f64,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} M/s, {:.2} M per CPU second",
            self.wall / 1e6,
            self.cpu / 1e6
        )
    }
}

fn rate(count: u64, run: impl FnOnce()) -> Rate {
    let (start, cpu) = (Instant::now(), thread_cpu_seconds());
    run();
    let (wall, cpu) = (start.elapsed().as_secs_f64(), thread_cpu_seconds() - cpu);
    Rate {
        wall: count as f64 / wall,
        cpu: count as f64 / cpu,
    }
}

/// Commands that look before they write, on random keys of their own.
fn other_commands(engine: &FjallEngine, prng: &mut Prng) {
    let count = 200_000;
    let mut measure = |name: &str, push: &dyn Fn(&mut Batch, &str)| {
        let mut batch = Batch::new();
        let payloads: Vec<_> = (0..count / COMMANDS_PER_ENTRY)
            .map(|_| {
                batch.clear();
                for _ in 0..COMMANDS_PER_ENTRY {
                    push(&mut batch, &format!("other:{:010}", prng.below(100_000)));
                }
                let mut payload = BytesMut::new();
                begin_payload(&mut payload, 1);
                payload.extend_from_slice(batch.bytes());
                payload
            })
            .collect();
        println!(
            "| apply {name}, 100 k keys | {} |",
            apply_all(engine, &payloads)
        );
    };
    measure("INCR", &|batch, key| {
        batch.push(&Command::Increment {
            key: key.as_bytes(),
            by: 1,
        });
    });
    let expiry = Expiry::Set(Deadline::After(1_000_000));
    measure("SET EX", &|batch, key| {
        let put = Put {
            expiry,
            ..Put::new(key.as_bytes(), &VALUE)
        };
        batch.push(&Command::Put(put));
    });
    measure("DEL", &|batch, key| {
        batch.push(&Command::Delete {
            keys: vec![key.as_bytes()],
        });
    });
}

fn apply_all(engine: &FjallEngine, entries: &[BytesMut]) -> Rate {
    rate(entries.len() as u64 * COMMANDS_PER_ENTRY, || {
        let mut replies = Vec::new();
        for payload in entries {
            replies.clear();
            let index = engine.applied().next();
            engine
                .apply(index, Term::new(1), payload, Some(&mut replies))
                .unwrap();
            assert_eq!(replies.len() as u64, COMMANDS_PER_ENTRY);
        }
    })
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

/// Reads in pipelines of 16, as a client that doesn't wait sends them.
fn pipelined_reads_per_second(engine: &FjallEngine, count: u64) -> Rate {
    let mut prng = Prng::from_seed(10);
    let keys: Vec<_> = (0..256 << 10).map(|_| key(prng.below(KEYS))).collect();
    rate(count, || {
        for pipeline in keys
            .chunks(16)
            .cycle()
            .take(usize::try_from(count / 16).unwrap())
        {
            let view = engine.view();
            let pipeline: [&[u8]; 16] = std::array::from_fn(|at| pipeline[at].as_bytes());
            view.warm(&pipeline);
            for key in pipeline {
                std::hint::black_box(view.get(key).unwrap());
            }
        }
    })
}

fn reads_per_second(engine: &FjallEngine, keys: u64, count: u64) -> Rate {
    let mut prng = Prng::from_seed(9);
    rate(count, || {
        std::hint::black_box(read_some(engine, &mut prng, keys, count));
    })
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
        "| apply SET, new random keys | {} |",
        apply_all(&engine, &fresh)
    );
    let memory = (resident_bytes() - memory) / KEYS as f64;
    println!("| memory per key, everything dirty | {memory:.0} B |");
    let measure = Measure::start();
    engine.checkpoint().unwrap();
    print_row("checkpoint of 1 M changed keys", &measure, 1_000_000, dir);
    println!(
        "| apply SET, existing random keys | {} |",
        apply_all(&engine, &existing)
    );
    println!(
        "| again (already dirty) | {} |",
        apply_all(&engine, &existing)
    );
    println!("| apply SET, one hot key | {} |", apply_all(&engine, &hot));
    other_commands(&engine, &mut prng);
    println!(
        "| reads, random keys, one thread | {} |",
        reads_per_second(&engine, KEYS, KEYS)
    );
    println!(
        "| reads, hot keys (100), one thread | {} |",
        reads_per_second(&engine, 100, KEYS)
    );
    println!(
        "| reads, 256 k random keys, pipelines of 16 | {} |",
        pipelined_reads_per_second(&engine, KEYS)
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
    let own = std::env::current_exe().unwrap();
    std::process::Command::new(own)
        .arg("open")
        .arg(dir)
        .status()
        .unwrap();
    let measure = Measure::start();
    let engine = FjallEngine::open(dir, options).unwrap();
    println!(
        "| restart with 1 M keys | {:.2} s, {:.2} CPU s |",
        measure.wall(),
        measure.cpu()
    );
    assert_eq!(engine.applied(), applied);
    assert!(engine.stats().keys >= KEYS);
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
    let start = Instant::now();
    let mut snapshot = Vec::new();
    std::io::Read::read_to_end(&mut engine.snapshot().unwrap(), &mut snapshot).unwrap();
    let rate = snapshot.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!(
        "| snapshot of {} MB | {rate:.0} MB/s |",
        snapshot.len() / 1_000_000
    );
    let start = Instant::now();
    engine.install(&mut &snapshot[..]).unwrap();
    let rate = snapshot.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("| installed | {rate:.0} MB/s |");
    drop(engine);
    let small = Options {
        memory_bytes_max: stdx::ByteSize::mib(20),
        ..options
    };
    let engine = FjallEngine::open(dir, small).unwrap();
    let rate = reads_per_second(&engine, KEYS, 200_000);
    println!("| reads, five of six keys only on disk | {rate} |");
    drop(engine);
    if std::env::var_os("KEEP").is_none() {
        let _ = fs::remove_dir_all(dir);
    }
}

/// Opens an engine in a process of its own, which then knows what it takes.
pub(crate) fn open(dir: &Path) {
    let memory = resident_bytes();
    let engine = FjallEngine::open(dir, Options::default()).unwrap();
    let stats = engine.stats();
    let bytes = (resident_bytes() - memory) / stats.keys as f64;
    println!(
        "| memory per key after restart, and as the engine counts it | {bytes:.0} B, {:.0} B |",
        stats.resident_bytes as f64 / stats.keys as f64
    );
}

/// One thread applies, one reads.
fn concurrently(engine: &FjallEngine, entries: &[BytesMut]) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut prng, mut count) = (Prng::from_seed(5), 0_u64);
            let (start, cpu) = (Instant::now(), thread_cpu_seconds());
            while !stop.load(Ordering::Relaxed) {
                std::hint::black_box(read_some(engine, &mut prng, KEYS, 1_000));
                count += 1_000;
            }
            Rate {
                wall: count as f64 / start.elapsed().as_secs_f64(),
                cpu: count as f64 / (thread_cpu_seconds() - cpu),
            }
        });
        let applied = apply_all(engine, entries);
        stop.store(true, Ordering::Relaxed);
        let read = reader.join().unwrap();
        println!("| one thread applies, one reads | applies {applied}; reads {read} |");
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
