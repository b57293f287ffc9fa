//! The engine on disk against the engine in memory.

use std::collections::BTreeSet;

use bytes::Bytes;
use engine::{Engine, FjallEngine, MemoryEngine, Options};
use stdx::{ByteSize, LogIndex, Prng, Term};

use crate::workload::{Workload, temporary};

/// Both engines, and what happens to them.
struct Pair {
    dir: tempfile::TempDir,
    options: Options,
    real: FjallEngine,
    model: MemoryEngine,
    workload: Workload,
    prng: Prng,
    /// Payloads behind the last checkpoint at most.
    log: Vec<(LogIndex, bytes::BytesMut)>,
    /// Evictions and look-ups on disk, of engines that were closed too.
    evictions: u64,
    disk_reads: u64,
    /// Checkpoints that found the disk full.
    full: u64,
}

impl Pair {
    fn new(seed: u64, keys: u64, memory_bytes: u64) -> Self {
        let dir = temporary();
        let options = Options {
            memory_bytes_max: ByteSize::bytes(memory_bytes),
            dirty_bytes_max: ByteSize::bytes(64 << 10),
            ..Options::default()
        };
        Self {
            real: FjallEngine::open(dir.path(), options).unwrap(),
            model: MemoryEngine::new(),
            workload: Workload::new(seed, keys),
            prng: Prng::from_seed(!seed),
            log: Vec::new(),
            evictions: 0,
            disk_reads: 0,
            full: 0,
            dir,
            options,
        }
    }

    fn count_disk_use(&mut self) {
        let stats = self.real.stats();
        self.evictions += stats.evictions;
        self.disk_reads += stats.disk_reads;
    }

    fn apply(&mut self) {
        let payload = self.workload.payload();
        let index = self.model.applied().next();
        let (mut real, mut model) = (Vec::new(), Vec::new());
        self.model
            .apply(index, Term::new(1), &payload, Some(&mut model))
            .unwrap();
        self.real
            .apply(index, Term::new(1), &payload, Some(&mut real))
            .unwrap();
        assert_eq!(real, model, "replies to entry {index}");
        self.log.push((index, payload));
    }

    fn compare_one(&mut self) {
        let key = self.workload.key();
        let (real, model) = (self.real.view(), self.model.view());
        assert_eq!(real.get(&key).unwrap(), model.get(&key).unwrap());
        assert_eq!(real.meta(&key).unwrap(), model.meta(&key).unwrap());
    }

    fn compare_all(&mut self) {
        let (real, model) = (self.real.view(), self.model.view());
        assert_eq!(real.applied(), model.applied());
        assert_eq!(real.now_ms(), model.now_ms());
        assert_eq!(real.len(), model.len());
        let (all, same) = (
            real.list(b"", None, 100_000),
            model.list(b"", None, 100_000),
        );
        assert_eq!(all.unwrap(), same.unwrap());
        let after = self.workload.key();
        for prefix in [&b"key:1"[..], b"{t}:", b"nothing"] {
            let real = real.list(prefix, Some(&after), 7).unwrap();
            assert_eq!(real, model.list(prefix, Some(&after), 7).unwrap());
        }
        let slot = kv_core::hash_slot(b"t");
        assert_eq!(
            real.count_in_slot(slot).unwrap(),
            model.count_in_slot(slot).unwrap()
        );
        let keys = |keys: Vec<Bytes>| keys.into_iter().collect::<BTreeSet<_>>();
        let every = |_: &[u8]| true;
        let expected = keys(model.keys(100_000, &every).unwrap());
        assert_eq!(keys(real.keys(100_000, &every).unwrap()), expected);
        let (mut cursor, mut scanned) = (0, Vec::new());
        loop {
            let page = real.scan(cursor, 10, &every).unwrap();
            scanned.extend(page.keys);
            cursor = page.cursor;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned.len(), expected.len());
        assert_eq!(keys(scanned), expected);
        drop((real, model));
        assert_eq!(self.real.next_deadline(), self.model.next_deadline());
        assert_eq!(self.real.stats().data_bytes, self.model.stats().data_bytes);
    }

    fn checkpoint(&mut self) {
        let index = self.real.checkpoint().unwrap();
        assert_eq!(index, self.model.applied());
        self.log.clear();
    }

    /// A checkpoint that finds the disk full, most of the time.
    fn checkpoint_on_a_full_disk(&mut self) {
        self.real
            .set_checkpoint_budget(Some(self.prng.below(4_000)));
        match self.real.checkpoint() {
            Ok(_) => self.log.clear(),
            Err(error) => {
                assert!(error.is_disk_full(), "{error}");
                self.full += 1;
            }
        }
        self.real.set_checkpoint_budget(None);
    }

    /// Closes without a checkpoint, opens, and applies what is behind the last one.
    fn reopen(&mut self) {
        self.count_disk_use();
        let Self { dir, options, .. } = self;
        let spare = temporary();
        self.real = FjallEngine::open(spare.path(), *options).unwrap();
        self.real = FjallEngine::open(dir.path(), *options).unwrap();
        assert!(self.real.applied() <= self.model.applied());
        for (index, payload) in &self.log {
            // Those at or before the applied index are skipped.
            self.real
                .apply(*index, Term::new(1), payload, None)
                .unwrap();
        }
        assert_eq!(self.real.applied(), self.model.applied());
    }

    /// A snapshot of one engine installed in a new one of the other kind, and back.
    fn exchange_snapshots(&mut self) {
        self.count_disk_use();
        let mut source = self.real.snapshot().unwrap();
        assert_eq!(source.index(), self.model.applied());
        let model = MemoryEngine::new();
        model.install(&mut source).unwrap();
        drop(source);
        self.model = model;
        self.compare_all();
        let mut source = self.model.snapshot().unwrap();
        let installed = self.real.install(&mut source).unwrap();
        assert_eq!(installed, (self.model.applied(), Term::new(1)));
        self.log.clear();
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.prng.below(1_000) {
                0..922 => self.apply(),
                922..972 => self.compare_one(),
                972..982 => self.checkpoint(),
                982..987 => self.checkpoint_on_a_full_disk(),
                987..992 => self.reopen(),
                992..996 => self.exchange_snapshots(),
                _ => self.compare_all(),
            }
        }
        self.compare_all();
    }
}

#[test]
fn the_engine_on_disk_behaves_as_the_one_in_memory() {
    let mut full = 0;
    for seed in 0..3 {
        let mut pair = Pair::new(seed, 300, 1 << 30);
        pair.run(1_000);
        full += pair.full;
    }
    assert!(full > 3, "{full}");
}

#[test]
fn so_it_does_when_most_records_are_only_on_disk() {
    for seed in 10..13 {
        let mut pair = Pair::new(seed, 2_000, 8_000);
        pair.workload.clears = seed == 10;
        pair.run(1_000);
        pair.count_disk_use();
        assert!(pair.evictions > 100, "{}", pair.evictions);
        assert!(pair.disk_reads > 100, "{}", pair.disk_reads);
    }
}

#[test]
fn checkpoints_taken_while_entries_are_applied_are_states_between_two_entries() {
    for seed in 20..23 {
        let mut pair = Pair::new(seed, 3_000, 1 << 30);
        pair.workload.clears = seed == 22;
        let mut payloads = Vec::new();
        let indexes = std::thread::scope(|scope| {
            let real = &pair.real;
            let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(1);
            let checkpoints = scope.spawn(move || {
                let mut indexes = Vec::new();
                while stopped.try_recv().is_err() {
                    // Every other one finds the disk full halfway.
                    real.set_checkpoint_budget(Some(2_000));
                    match real.checkpoint() {
                        Ok(index) => indexes.push(index),
                        Err(error) => assert!(error.is_disk_full(), "{error}"),
                    }
                    real.set_checkpoint_budget(None);
                    indexes.push(real.checkpoint().unwrap());
                }
                indexes
            });
            for number in 1..=3_000 {
                let payload = pair.workload.payload();
                real.apply(LogIndex::new(number), Term::new(1), &payload, None)
                    .unwrap();
                payloads.push(payload);
            }
            stop.send(()).unwrap();
            checkpoints.join().unwrap()
        });
        assert!(
            indexes.iter().any(|index| index.get() % 3_000 != 0),
            "{indexes:?}"
        );
        // What is on disk is the state at the last checkpoint's index.
        drop(std::mem::replace(
            &mut pair.real,
            FjallEngine::open(temporary().path(), pair.options).unwrap(),
        ));
        pair.real = FjallEngine::open(pair.dir.path(), pair.options).unwrap();
        let last = pair.real.applied();
        // An apply makes one of its own when too much has changed.
        assert!(Some(&last) >= indexes.last(), "{last} {indexes:?}");
        for (number, payload) in (1..).zip(&payloads) {
            if LogIndex::new(number) <= last {
                pair.model
                    .apply(LogIndex::new(number), Term::new(1), payload, None)
                    .unwrap();
            }
        }
        pair.compare_all();
    }
}
