//! How fast the log is here: durable batches, bytes, recovery, reading.
//!
//! `cargo run --release -p wal --example wal_bench [directory]`; the directory defaults to a
//! temporary one and must be on the disk that is to be measured. Writes about 2.5 GB.

#![expect(
    clippy::print_stdout,
    reason = "an example that prints what it measured"
)]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stdx::{GroupId, LogIndex, NodeId, Term};
use wal::{Append, Base, Identity, Log, LogEntry, Options};

const GIB: f64 = (1_u64 << 30) as f64;
const MIB: f64 = (1_u64 << 20) as f64;

fn main() -> Result<(), Box<dyn Error>> {
    let temporary;
    let dir = if let Some(dir) = std::env::args().nth(1) {
        Path::new(&dir).join("wal_bench")
    } else {
        temporary = tempfile::tempdir()?;
        temporary.path().to_path_buf()
    };
    println!("in {}", dir.display());
    println!("\ndurable batches (append + sync), 3 s each:");
    println!(
        "{:>7} {:>8} {:>9} {:>9} {:>9} {:>8}",
        "groups", "entries", "bytes", "batch/s", "entry/s", "MiB/s"
    );
    for (groups, entries, bytes) in [
        (1, 1, 64),
        (1, 16, 64),
        (1, 800, 64),
        (64, 1, 64),
        (64, 16, 256),
        (1, 1, 65_536),
        (1, 1, 1 << 20),
    ] {
        batches(&dir.join("batches"), groups, entries, bytes)?;
    }
    for (entries, bytes) in [(1, 100), (800, 64), (1, 4_096), (1, 262_144)] {
        recovery(&dir.join("recovery"), entries, bytes)?;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn open(dir: &Path) -> Result<wal::Opened, wal::OpenError> {
    wal::open(
        dir,
        Options::new(Identity {
            cluster: 1,
            node: NodeId::new(1),
        }),
    )
}

fn entries(first: u64, count: u64, payload: &Bytes) -> Vec<LogEntry> {
    (first..first + count)
        .map(|index| LogEntry {
            index: LogIndex::new(index),
            term: Term::new(1),
            kind: 1,
            payload: payload.clone(),
        })
        .collect()
}

/// Appends and syncs for a while, compacting as a node would.
fn batches(dir: &Path, groups: u64, count: u64, bytes: usize) -> Result<(), Box<dyn Error>> {
    let mut opened = open(dir)?;
    let payload = Bytes::from(vec![7; bytes]);
    let start = Instant::now();
    let mut next = 1;
    let mut rounds = 0_u32;
    let mut written = 0;
    while start.elapsed() < Duration::from_secs(3) {
        let entries = entries(next, count, &payload);
        let batch: Vec<_> = (0..groups)
            .map(|group| Append::entries(GroupId::new(group), &entries))
            .collect();
        opened.log.append(&batch)?;
        opened.log.sync()?;
        next += count;
        rounds += 1;
        written += count * groups * bytes as u64;
        if written > 400 << 20 {
            written = 0;
            compact(&mut *opened.log, groups, next - 1)?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let per_second = f64::from(rounds) / seconds;
    let entries = per_second * (count * groups) as f64;
    let mib = entries * bytes as f64 / MIB;
    println!("{groups:>7} {count:>8} {bytes:>9} {per_second:>9.0} {entries:>9.0} {mib:>8.1}");
    drop(opened);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn compact(log: &mut dyn Log, groups: u64, through: u64) -> Result<(), wal::WalError> {
    let base = Base {
        index: LogIndex::new(through),
        term: Term::new(1),
        data: Bytes::new(),
    };
    for group in 0..groups {
        log.compact(GroupId::new(group), base.clone())?;
    }
    log.sync()
}

/// Fills a log with a gibibyte, opens it, and reads it all.
fn recovery(dir: &Path, count: u64, bytes: usize) -> Result<(), Box<dyn Error>> {
    let mut opened = open(dir)?;
    let payload = Bytes::from(vec![7; bytes]);
    let group = GroupId::new(1);
    let mut next = 1;
    while opened.log.usage().bytes < 1 << 30 {
        opened
            .log
            .append(&[Append::entries(group, &entries(next, count, &payload))])?;
        next += count;
    }
    opened.log.sync()?;
    let size = opened.log.usage().bytes as f64 / GIB;
    drop(opened);

    let (memory_before, busy_before) = (resident_mib(), busy_seconds());
    let start = Instant::now();
    let opened = open(dir)?;
    let opening = start.elapsed().as_secs_f64();
    let opening_busy = busy_seconds() - busy_before;
    let memory = resident_mib() - memory_before;

    let reader = opened.log.reader();
    let start = Instant::now();
    let mut from = LogIndex::new(1);
    let last = LogIndex::new(next - 1);
    while from <= last {
        let read = reader.entries(group, from, last, 1 << 20)?;
        from = from.plus(read.len() as u64);
    }
    let reading = start.elapsed().as_secs_f64();
    println!(
        "\n{size:.2} GiB in {} entries of {bytes} B, {count} in a record: opened in {opening:.2} s \
         ({:.2} GiB/s; {opening_busy:.2} s of processor time; {memory:.0} MiB more memory), read in \
         {reading:.2} s ({:.2} GiB/s)",
        next - 1,
        size / opening,
        size / reading,
    );
    drop(opened);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

/// Processor time of this process, where the operating system tells: in hundredths of a second.
fn busy_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

/// Memory of this process, where the operating system tells.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1_024.0
}
