//! Death at any moment: the log brings back exactly what was there.
//!
//! A child process (this test binary again, told so by an environment variable) applies
//! the entries that a seed gives, with checkpoints, snapshots installed and everything
//! cleared in between, and is killed with SIGKILL at some moment. What a restart finds
//! must be the state after some entry at or behind the last `persist` that returned, and
//! applying the rest must lead where an engine that never died is.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};

use engine::{Engine, FjallEngine, MemoryEngine, Options};
use stdx::{ByteSize, LogIndex, Prng, Term};

use crate::workload::{Workload, temporary};

const ENTRIES: u64 = 100_000;
const CHILD: &str = "KONTIKI_ENGINE_CRASH_CHILD";

fn options() -> Options {
    Options {
        memory_bytes_max: ByteSize::kib(200),
        ..Options::default()
    }
}

fn workload(seed: u64) -> Workload {
    Workload::new(seed, 5_000)
}

/// Applies for ever; prints the index that `persist` returned, and what it's about to do.
fn child(dir: &Path, seed: u64) {
    let engine = FjallEngine::open(dir, options()).unwrap();
    let mut workload = workload(seed);
    let mut prng = Prng::from_seed(!seed);
    let mut out = std::io::stdout().lock();
    for number in 1..=ENTRIES {
        let payload = workload.payload();
        let chance = prng.below(100);
        if LogIndex::new(number) <= engine.applied() {
            continue;
        }
        engine
            .apply(LogIndex::new(number), Term::new(1), &payload, None)
            .unwrap();
        if chance == 0 {
            writeln!(out, "persisted {}", engine.persist().unwrap().get()).unwrap();
        } else if chance == 1 {
            let mut snapshot = engine.snapshot().unwrap();
            engine.install(&mut snapshot).unwrap();
        }
        out.flush().unwrap();
    }
}

/// The part of the test that runs in the child; alone it does nothing.
#[test]
fn crash_child() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let (seed, dir) = arguments.split_once(' ').unwrap();
    child(Path::new(dir), seed.parse().unwrap());
}

fn die_once(dir: &Path, seed: u64, prng: &mut Prng) -> u64 {
    let mut process = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::crash_child", "--nocapture"])
        .env(CHILD, format!("{seed} {}", dir.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let persists = 1 + prng.below(6);
    let (mut persisted, mut seen) = (0, 0);
    for line in lines {
        let line = line.unwrap();
        let Some(index) = line.strip_prefix("persisted ") else {
            continue;
        };
        persisted = index.parse().unwrap();
        seen += 1;
        if seen == persists {
            // Not at once, so that the next checkpoint may be under way.
            std::thread::sleep(std::time::Duration::from_micros(prng.below(20_000)));
            break;
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(seen, persists, "the child died by itself");
    persisted
}

#[test]
fn a_killed_engine_is_brought_back_by_the_log() {
    for seed in 0..4 {
        let dir = temporary();
        let mut prng = Prng::from_seed(seed);
        let model = MemoryEngine::new();
        let mut entries = workload(seed);
        for _ in 0..4 {
            let persisted = die_once(dir.path(), seed, &mut prng);
            let engine = FjallEngine::open(dir.path(), options()).unwrap();
            assert!(engine.applied().get() >= persisted);
            while model.applied() < engine.applied() {
                let payload = entries.payload();
                model
                    .apply(model.applied().next(), Term::new(1), &payload, None)
                    .unwrap();
            }
            compare(&engine, &model);
            for _ in 0..20 {
                let payload = entries.payload();
                let index = model.applied().next();
                model.apply(index, Term::new(1), &payload, None).unwrap();
                engine.apply(index, Term::new(1), &payload, None).unwrap();
            }
            compare(&engine, &model);
            // Nothing that a crash left behind stays.
            let names = std::fs::read_dir(dir.path()).unwrap().count();
            assert_eq!(names, 2, "CURRENT and one generation");
            // The child goes on from here.
            engine.persist().unwrap();
        }
    }
}

fn compare(engine: &FjallEngine, model: &MemoryEngine) {
    let (engine, model) = (engine.view(), model.view());
    assert_eq!(engine.applied(), model.applied());
    assert_eq!(engine.now_ms(), model.now_ms());
    assert_eq!(engine.len(), model.len());
    let (all, same) = (
        engine.list(b"", None, 100_000),
        model.list(b"", None, 100_000),
    );
    assert_eq!(all.unwrap(), same.unwrap());
}
