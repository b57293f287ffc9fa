//! Data many times the memory: more runs on disk, the same result.

use std::path::PathBuf;
use std::{fs, thread};

use mapreduce_data::{Cancel, SpecError, TaskError};
use stdx::Prng;

use crate::world::{World, builtin, text, word_counts};

/// Random lines of 20 to 60 characters.
fn lines(seed: u64, bytes: usize) -> Vec<u8> {
    let mut prng = Prng::from_seed(seed);
    let mut lines = Vec::with_capacity(bytes + 64);
    while lines.len() < bytes {
        for _ in 0..20 + prng.index(40) {
            lines.push(b'!' + prng.index(90).to_le_bytes()[0]);
        }
        lines.push(b'\n');
    }
    lines
}

#[test]
fn a_sort_of_ten_times_the_memory_spills_and_gives_the_same() {
    let mut world = World::new();
    let bytes = lines(3, 42 << 20);
    let input = [world.write("lines", &bytes)];
    let mut expected: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    expected.sort_unstable();
    let expected = expected.concat();
    world.memory_bytes = 4 << 20;
    world.split_bytes = 1 << 40;
    world.partitions = 2;
    let made = world.try_run(&builtin("sort", &[]), &input).unwrap();
    crate::world::check(&made);
    assert_eq!(made.maps.len(), 1);
    assert!(
        made.maps[0].spills >= 10,
        "the map side spilled {}",
        made.maps[0].spills
    );
    let reduce_spills: u64 = made.reduces.iter().map(|reduce| reduce.spills).sum();
    assert!(reduce_spills > 0, "the reduce side did not spill");
    let found: Vec<Vec<u8>> = made
        .reduces
        .iter()
        .map(|reduce| fs::read(&reduce.file).unwrap())
        .collect();
    assert!(found.concat() == expected, "not the same lines");
    assert!(!world.path("scratch").exists(), "nothing is left over");
}

#[test]
fn many_map_tasks_are_merged_in_several_passes() {
    let mut world = World::new();
    let bytes = lines(4, 6 << 20);
    let input = [world.write("lines", &bytes)];
    // 8 runs at once is what 4 MiB allow.
    world.memory_bytes = 4 << 20;
    world.split_bytes = 50_000;
    world.partitions = 1;
    world.threads = 2;
    let made = world.try_run(&builtin("sort", &[]), &input).unwrap();
    crate::world::check(&made);
    assert!(made.maps.len() > 100);
    let mut expected: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    expected.sort_unstable();
    assert!(fs::read(&made.reduces[0].file).unwrap() == expected.concat());
    assert!(made.reduces[0].spills > 10);
}

#[test]
fn combining_within_little_memory_gives_the_same_map_output() {
    let mut world = World::new();
    // Each line is a word of its own, so that the table fills.
    let text: String = (0..300_000_u64)
        .map(|n| format!("word-{}\n", n * 7919 % 250_007))
        .collect();
    let input = [world.write("text.csv", &text)];
    world.split_bytes = 1 << 40;
    let job = builtin("wordcount", &[]);
    world.memory_bytes = 256 << 20;
    let large = world.try_run(&job, &input).unwrap();
    assert_eq!(large.maps[0].spills, 0);
    world.memory_bytes = 4 << 20;
    let small = world.try_run(&job, &input).unwrap();
    assert!(small.maps[0].spills > 0);
    let digests = |extents: &[mapreduce_data::Extent]| {
        let of = extents
            .iter()
            .map(|extent| (extent.records, extent.bytes, extent.digest));
        of.collect::<Vec<_>>()
    };
    assert_eq!(
        digests(&large.maps[0].extents),
        digests(&small.maps[0].extents)
    );
    let outputs: Vec<Vec<u8>> = small
        .reduces
        .iter()
        .map(|reduce| fs::read(&reduce.file).unwrap())
        .collect();
    assert_eq!(crate::world::sorted_lines(&outputs), word_counts(&text));
}

#[test]
fn a_cancelled_task_ends_and_says_so() {
    let world = World::new();
    let input = [world.write("text", text(5, 200_000))];
    let splits = world.splits(&input);
    let options = mapreduce_data::local::LocalOptions {
        partitions: 1,
        threads: 1,
        memory_bytes: 8 << 20,
        scratch: world.path("scratch"),
        output: world.path("out"),
        options: mapreduce_data::OutputOptions::default(),
        compression: mapreduce_data::ShuffleCompression::Auto,
    };
    let cancel = Cancel::new();
    // Never ends by itself.
    let spec = mapreduce_data::FunctionSpec::Streaming(mapreduce_data::StreamingSpec {
        map: "sleep 1000".to_owned(),
        ..mapreduce_data::StreamingSpec::default()
    });
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            let registry = mapreduce_data::Registry::new();
            mapreduce_data::local::run(&spec, &registry, &splits, &options, &cancel)
        });
        let started: PathBuf = options.scratch.join("map-0");
        while !started.exists() {
            thread::yield_now();
        }
        cancel.cancel();
        assert!(matches!(run.join().unwrap(), Err(TaskError::Cancelled)));
    });
}

#[test]
fn too_little_memory_or_no_partition_is_refused() {
    let mut world = World::new();
    let input = [world.write("text", "a\n")];
    world.memory_bytes = 1_000;
    let error = world
        .try_run(&builtin("wordcount", &[]), &input)
        .unwrap_err();
    assert!(
        matches!(error, TaskError::Spec(SpecError::Task(_))),
        "{error}"
    );
    world.memory_bytes = 8 << 20;
    world.partitions = 0;
    let error = world
        .try_run(&builtin("wordcount", &[]), &input)
        .unwrap_err();
    assert!(
        matches!(error, TaskError::Spec(SpecError::Task(_))),
        "{error}"
    );
}
