//! The disk engines alone: what a checkpoint costs in each, and a point read.

use std::fs;
use std::path::Path;
use std::time::Instant;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use redb::{Durability, ReadableDatabase, TableDefinition};
use stdx::Prng;

use crate::measure::{Measure, print_row};

const KEYS: u64 = 1_000_000;
const BATCH: usize = 100_000;
const BATCHES: usize = 10;
const VALUE: [u8; 68] = [7; 68];
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// A key as the engine lays it out: group, slot, kind, 16 bytes.
fn key(number: u64) -> Vec<u8> {
    let text = format!("key:{number:012}");
    let slot = kv_core::hash_slot(text.as_bytes());
    [&kv_core::layout::prefix(0, slot, 1), text.as_bytes()].concat()
}

/// The batches of one run: random keys of the key space, each batch sorted or not.
fn batches(sorted: bool) -> Vec<Vec<Vec<u8>>> {
    let mut prng = Prng::from_seed(1);
    (0..BATCHES)
        .map(|_| {
            let mut keys: Vec<_> = (0..BATCH).map(|_| key(prng.below(KEYS))).collect();
            if sorted {
                keys.sort_unstable();
                keys.dedup();
            }
            keys
        })
        .collect()
}

fn open(dir: &Path) -> (Database, Keyspace) {
    let _ = fs::remove_dir_all(dir);
    let db = Database::builder(dir)
        .worker_threads(1)
        .manual_journal_persist(true)
        .open()
        .unwrap();
    let keyspace = db
        .keyspace("records", KeyspaceCreateOptions::default)
        .unwrap();
    (db, keyspace)
}

fn wait_for_compaction(db: &Database) {
    // Background work belongs to the price; there is no event for its end.
    while db.outstanding_flushes() > 0 || db.active_compactions() > 0 {
        std::thread::yield_now();
    }
}

fn fjall_batches(dir: &Path, sorted: bool, persist: bool) {
    let batches = batches(sorted);
    let (db, keyspace) = open(dir);
    let measure = Measure::start();
    for keys in &batches {
        let mut batch = fjall::OwnedWriteBatch::with_capacity(db.clone(), BATCH);
        for key in keys {
            batch.insert(&keyspace, key.as_slice(), VALUE.as_slice());
        }
        batch.commit().unwrap();
        if persist {
            db.persist(PersistMode::SyncAll).unwrap();
        }
    }
    wait_for_compaction(&db);
    let name = format!(
        "fjall batch, {}{}",
        if sorted { "sorted" } else { "random" },
        if persist { ", fsync" } else { "" }
    );
    print_row(&name, &measure, BATCH * BATCHES, dir);
}

fn fjall_ingestions(dir: &Path) {
    let batches = batches(true);
    let (db, keyspace) = open(dir);
    let measure = Measure::start();
    for keys in &batches {
        let mut ingestion = keyspace.start_ingestion().unwrap();
        for key in keys {
            ingestion.write(key.as_slice(), VALUE.as_slice()).unwrap();
        }
        ingestion.finish().unwrap();
    }
    wait_for_compaction(&db);
    print_row(
        "fjall ingestion, sorted, durable",
        &measure,
        BATCH * BATCHES,
        dir,
    );
    many_small_ingestions(&db, &keyspace, dir);
    let mut prng = Prng::from_seed(2);
    let keys: Vec<_> = (0..200_000).map(|_| key(prng.below(KEYS))).collect();
    let start = Instant::now();
    let found = keys
        .iter()
        .filter(|key| keyspace.get(key).unwrap().is_some())
        .count();
    let rate = keys.len() as f64 / start.elapsed().as_secs_f64();
    println!("| fjall point read, random ({found} found) | {rate:.0} /s |");
    let absent: Vec<_> = (0..200_000).map(|n| key(KEYS * 2 + n)).collect();
    let start = Instant::now();
    let found = absent
        .iter()
        .filter(|key| keyspace.get(key).unwrap().is_some())
        .count();
    let rate = absent.len() as f64 / start.elapsed().as_secs_f64();
    println!("| fjall point read, absent ({found} found) | {rate:.0} /s |");
    let start = Instant::now();
    let bytes: usize = keyspace
        .iter()
        .map(|pair| pair.into_inner().map(|(k, v)| k.len() + v.len()).unwrap())
        .sum();
    println!(
        "| fjall full iteration ({bytes} B) | {:.2} s |",
        start.elapsed().as_secs_f64()
    );
}

/// Does space stay bounded, and how many tables does a read have to look through?
fn many_small_ingestions(db: &Database, keyspace: &Keyspace, dir: &Path) {
    let mut prng = Prng::from_seed(3);
    let measure = Measure::start();
    for _ in 0..200 {
        let mut keys: Vec<_> = (0..5_000).map(|_| key(prng.below(KEYS))).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut ingestion = keyspace.start_ingestion().unwrap();
        for key in &keys {
            ingestion.write(key.as_slice(), VALUE.as_slice()).unwrap();
        }
        ingestion.finish().unwrap();
    }
    wait_for_compaction(db);
    print_row("then 200 ingestions of 5 k", &measure, 1_000_000, dir);
    let (tables, first) = (keyspace.table_count(), keyspace.l0_table_count());
    println!("| tables after that | {tables}, {first} of them in level 0 |");
}

fn redb_batches(dir: &Path, sorted: bool, durability: Durability) {
    let batches = batches(sorted);
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    let db = redb::Database::create(dir.join("redb")).unwrap();
    let name = format!(
        "redb, {}, {durability:?}",
        if sorted { "sorted" } else { "random" }
    );
    let measure = Measure::start();
    for keys in &batches {
        let mut transaction = db.begin_write().unwrap();
        transaction.set_durability(durability).unwrap();
        let mut table = transaction.open_table(TABLE).unwrap();
        for key in keys {
            table.insert(key.as_slice(), VALUE.as_slice()).unwrap();
        }
        drop(table);
        transaction.commit().unwrap();
    }
    print_row(&name, &measure, BATCH * BATCHES, dir);
    if !sorted {
        return;
    }
    let mut prng = Prng::from_seed(2);
    let keys: Vec<_> = (0..200_000).map(|_| key(prng.below(KEYS))).collect();
    let transaction = db.begin_read().unwrap();
    let table = transaction.open_table(TABLE).unwrap();
    let start = Instant::now();
    let found = keys
        .iter()
        .filter(|key| table.get(key.as_slice()).unwrap().is_some())
        .count();
    let rate = keys.len() as f64 / start.elapsed().as_secs_f64();
    println!("| redb point read, random ({found} found) | {rate:.0} /s |");
}

/// Measures all of it in `dir`.
pub(crate) fn run(dir: &Path) {
    println!(
        "\n| 10 checkpoints of 100 k of 1 M keys, 23 + 68 B | wall | CPU | CPU per key | on disk |"
    );
    println!("| --- | --- | --- | --- | --- |");
    fjall_batches(dir, true, false);
    fjall_batches(dir, false, false);
    fjall_batches(dir, true, true);
    fjall_ingestions(dir);
    redb_batches(dir, true, Durability::None);
    redb_batches(dir, true, Durability::Immediate);
    redb_batches(dir, false, Durability::None);
    let _ = fs::remove_dir_all(dir);
}
