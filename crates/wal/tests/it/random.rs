//! Long random runs against the naive log, with restarts.

use stdx::Prng;
use wal::disk::{CrashPlan, MemoryDisk};
use wal::{Format, Opened};

use crate::model::{
    Generator, Operation, State, apply_compact, formats, open, state_of, without_empty,
};

fn run(format: &Format, seed: u64, steps: u32) {
    let disk = MemoryDisk::new();
    let mut prng = Prng::from_seed(seed);
    let mut generator = Generator {
        prng: prng.split(),
        groups: 5,
        payload_bytes_max: 120,
    };
    let mut state = State::new();
    let mut opened = open(&disk, format).unwrap();
    for step in 0..steps {
        let operation = generator.operation(&state);
        apply(&mut opened, &mut state, &operation);
        if prng.chance(1, 50) {
            drop(opened);
            opened = open(&disk.crash(CrashPlan::KeepUnsynced), format).unwrap();
            drop(opened);
            opened = open(&disk, format).unwrap();
            let found = without_empty(state_of(&opened));
            assert_eq!(
                found,
                without_empty(state.clone()),
                "seed {seed}, step {step}"
            );
        } else if prng.chance(1, 10) {
            read_something(&opened, &state, &mut prng);
        }
    }
}

fn apply(opened: &mut Opened, state: &mut State, operation: &Operation) {
    match operation {
        Operation::Append(parts) => {
            let batch: Vec<_> = parts.iter().map(|part| part.borrow()).collect();
            opened.log.append(&batch).unwrap();
            for part in parts {
                part.apply(state);
            }
        }
        Operation::Sync => opened.log.sync().unwrap(),
        Operation::Compact(group, base) => {
            opened.log.compact(*group, base.clone()).unwrap();
            apply_compact(state, *group, base);
        }
    }
}

fn read_something(opened: &Opened, state: &State, prng: &mut Prng) {
    let groups: Vec<_> = state
        .iter()
        .filter(|(_, group)| !group.entries.is_empty())
        .collect();
    let Some(&(&id, group)) = prng.choose(&groups) else {
        return;
    };
    let from = prng.index(group.entries.len());
    let to = from + prng.index(group.entries.len() - from);
    let reader = opened.log.reader();
    let bounds = (group.entries[from].index, group.entries[to].index);
    let read = reader.entries(id, bounds.0, bounds.1, usize::MAX).unwrap();
    assert_eq!(read, group.entries[from..=to]);
}

#[test]
fn a_log_holds_what_a_naive_one_holds() {
    for format in formats() {
        for seed in 0..8 {
            run(&format, seed, 2_000);
        }
    }
}
