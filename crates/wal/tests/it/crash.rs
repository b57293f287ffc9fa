//! The machine stops at every single operation of a workload, in many ways.

use bytes::Bytes;
use stdx::{GroupId, LogIndex, Prng, Term};
use wal::disk::{CrashPlan, MemoryDisk};
use wal::{Append, Format, LogEntry, OpenError, Opened, WalError};

use crate::model::{
    Generator, Operation, OwnedAppend, State, apply_compact, formats, open, state_of, without_empty,
};

/// What a run got done before the crash.
struct Progress {
    /// The naive log after every record, oldest first.
    history: Vec<State>,
    /// How many of them were durable for certain.
    durable: usize,
}

fn workload(seed: u64) -> Vec<Operation> {
    let prng = Prng::from_seed(seed);
    let mut generator = Generator {
        prng,
        groups: 4,
        payload_bytes_max: 150,
    };
    let mut state = State::new();
    let mut operations = Vec::new();
    for _ in 0..70 {
        let operation = generator.operation(&state);
        match &operation {
            Operation::Append(parts) => parts.iter().for_each(|part| part.apply(&mut state)),
            Operation::Compact(group, base) => apply_compact(&mut state, *group, base),
            Operation::Sync => {}
        }
        operations.push(operation);
    }
    operations
}

/// Runs operations until one fails.
fn run(format: &Format, opened: &mut Opened, start: State, operations: &[Operation]) -> Progress {
    let mut progress = Progress {
        history: vec![start],
        durable: 0,
    };
    for operation in operations {
        let mut state = progress.history.last().unwrap().clone();
        let result = match operation {
            Operation::Append(parts) => {
                let steps = match format {
                    Format::Binary => parts.clone(),
                    Format::Text(_) => parts.iter().flat_map(OwnedAppend::steps).collect(),
                };
                for step in steps {
                    step.apply(&mut state);
                    progress.history.push(state.clone());
                }
                opened
                    .log
                    .append(&parts.iter().map(|part| part.borrow()).collect::<Vec<_>>())
            }
            Operation::Compact(group, base) => {
                apply_compact(&mut state, *group, base);
                progress.history.push(state);
                opened.log.compact(*group, base.clone())
            }
            Operation::Sync => opened.log.sync(),
        };
        match result {
            Ok(()) if matches!(operation, Operation::Sync) => {
                progress.durable = progress.history.len() - 1;
            }
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, WalError::Poisoned(_)), "{error}");
                let again = opened.log.sync().unwrap_err();
                assert!(
                    matches!(again, WalError::Poisoned(_)),
                    "poison is for ever: {again}"
                );
                break;
            }
        }
    }
    progress
}

/// The recovered state is one that the log had, not older than the last sync.
///
/// In the binary format that holds for all groups together, in the text format for every group by
/// itself, and there an append becomes durable step by step.
fn check(format: &Format, found: &State, progress: &Progress, context: &str) {
    let possible = &progress.history[progress.durable..];
    let found = without_empty(found.clone());
    let exact = possible
        .iter()
        .any(|state| without_empty(state.clone()) == found);
    if exact {
        return;
    }
    assert!(
        matches!(format, Format::Text(_)),
        "{context}: a state that never was: {found:?}"
    );
    let ids = possible.iter().flat_map(State::keys).chain(found.keys());
    for id in ids {
        let group = found.get(id).cloned().unwrap_or_default();
        let fits = possible
            .iter()
            .any(|state| state.get(id).cloned().unwrap_or_default() == group);
        assert!(
            fits,
            "{context}: {id} has a state that never was: {group:?}"
        );
    }
}

fn plans(seed: u64) -> Vec<CrashPlan> {
    let mut plans = vec![CrashPlan::LoseUnsynced, CrashPlan::KeepUnsynced];
    for variant in 0..3 {
        plans.push(CrashPlan::Sectors {
            seed: seed * 7 + variant,
        });
        plans.push(CrashPlan::Torn {
            seed: seed * 7 + variant,
        });
    }
    plans
}

/// Opens what a crash left, checks it, and goes on from there through another crash.
fn recover(format: &Format, left: &MemoryDisk, progress: &Progress, context: &str) {
    let mut opened = open(left, format).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = state_of(&opened);
    check(format, &found, progress, context);
    // What was recovered counts as durable from now on, and the log goes on.
    let mut prng = Prng::from_seed(left.operations());
    let mut generator = Generator {
        prng: prng.split(),
        groups: 4,
        payload_bytes_max: 150,
    };
    left.crash_at(left.operations() + prng.below(20));
    let mut operations = Vec::new();
    let mut state = found.clone();
    for _ in 0..8 {
        let operation = generator.operation(&state);
        match &operation {
            Operation::Append(parts) => parts.iter().for_each(|part| part.apply(&mut state)),
            Operation::Compact(group, base) => apply_compact(&mut state, *group, base),
            Operation::Sync => {}
        }
        operations.push(operation);
    }
    let progress = run(format, &mut opened, found, &operations);
    drop(opened);
    let left = left.crash(CrashPlan::Sectors {
        seed: prng.next_u64(),
    });
    let again = open(&left, format).unwrap_or_else(|error| panic!("{context}, again: {error}"));
    check(
        format,
        &state_of(&again),
        &progress,
        &format!("{context}, again"),
    );
}

#[test]
fn a_crash_at_any_write_or_sync_loses_nothing_durable() {
    for format in formats() {
        for seed in 0..2 {
            let operations = workload(seed);
            let disk = MemoryDisk::new();
            let mut opened = open(&disk, &format).unwrap();
            let begin = disk.operations();
            run(&format, &mut opened, State::new(), &operations);
            let end = disk.operations();
            assert!(end > begin + 80, "the workload does something");
            for at in begin..end {
                let disk = MemoryDisk::new();
                let mut opened = open(&disk, &format).unwrap();
                disk.crash_at(at);
                let progress = run(&format, &mut opened, State::new(), &operations);
                drop(opened);
                for plan in plans(at) {
                    let context = format!("{}, seed {seed}, stop at {at}, {plan:?}", format.name());
                    recover(&format, &disk.crash(plan), &progress, &context);
                }
            }
        }
    }
}

#[test]
fn a_crash_while_opening_loses_nothing_durable() {
    for format in formats() {
        let operations = workload(77);
        let disk = MemoryDisk::new();
        let mut opened = open(&disk, &format).unwrap();
        disk.crash_at(disk.operations() + 100);
        let progress = run(&format, &mut opened, State::new(), &operations);
        for plan in plans(5) {
            for at in 0..12 {
                let left = disk.crash(plan);
                left.crash_at(at);
                drop(open(&left, &format));
                for second in plans(at) {
                    let context = format!("{}, {plan:?}, {at}, {second:?}", format.name());
                    recover(&format, &left.crash(second), &progress, &context);
                }
            }
        }
    }
}

#[test]
fn a_crash_during_the_first_start_leaves_an_empty_log() {
    for format in formats() {
        for at in 0..30 {
            let disk = MemoryDisk::new();
            disk.crash_at(at);
            if let Err(error) = open(&disk, &format) {
                assert!(matches!(error, OpenError::Io { .. }), "{error}");
            }
            for plan in plans(at) {
                let left = disk.crash(plan);
                let opened = open(&left, &format)
                    .unwrap_or_else(|error| panic!("{}, {at}, {plan:?}: {error}", format.name()));
                assert!(opened.groups.is_empty());
            }
        }
    }
}

#[test]
fn what_was_recovered_after_a_kill_survives_a_power_loss() {
    // A killed process leaves its writes in the operating system's memory. The next one reads them
    // there and counts on them, so they must be on the disk before it goes on.
    for format in formats() {
        for seed in 0..20 {
            let disk = MemoryDisk::new();
            let mut opened = open(&disk, &format).unwrap();
            let operations = workload(seed + 100);
            let count = Prng::from_seed(seed).index(operations.len());
            run(&format, &mut opened, State::new(), &operations[..count]);
            drop(opened);
            let opened = open(&disk, &format).unwrap();
            let found = without_empty(state_of(&opened));
            drop(opened);
            for plan in plans(seed) {
                let after = open(&disk.crash(plan), &format).unwrap();
                let kept = without_empty(state_of(&after));
                assert!(kept == found, "{}, seed {seed}, {plan:?}", format.name());
            }
        }
    }
}

#[test]
fn what_a_crash_left_behind_the_end_never_comes_back() {
    // Two records are written and not synced; of the first one only a hole reaches the disk. After
    // the restart another record takes its place: the very same one, or one that ends exactly where
    // the second old one begins.
    let format = Format::Binary;
    let group = GroupId::new(1);
    let entry = |index, payload: &[u8]| LogEntry {
        index: LogIndex::new(index),
        term: Term::new(1),
        kind: 0,
        payload: Bytes::copy_from_slice(payload),
    };
    for opening_bytes in [0, 32] {
        let disk = MemoryDisk::new();
        let mut opened = open(&disk, &format).unwrap();
        for (index, payload) in [(1, [b'a'; 100]), (2, [b'b'; 100]), (3, [b'c'; 100])] {
            let entries = [entry(index, &payload)];
            opened
                .log
                .append(&[Append::entries(group, &entries)])
                .unwrap();
            if index == 1 {
                opened.log.sync().unwrap();
            }
        }
        let name = "segment-0000000000000001.wal";
        let mut content = disk.content(name);
        let second = content
            .windows(100)
            .position(|bytes| bytes == [b'b'; 100])
            .unwrap();
        content[second - 61..second + 100].fill(0);
        let left = disk.crash(CrashPlan::KeepUnsynced);
        left.put(name, &content);

        let mut opened = open(&left, &format).unwrap();
        assert_eq!(opened.groups[&group].last_index, LogIndex::new(1));
        let entries = [entry(2, &[b'b'; 100][opening_bytes..])];
        opened
            .log
            .append(&[Append::entries(group, &entries)])
            .unwrap();
        drop(opened);
        let opened = open(&left, &format).unwrap();
        assert_eq!(
            opened.groups[&group].last_index,
            LogIndex::new(2),
            "{opening_bytes}"
        );
    }
}
