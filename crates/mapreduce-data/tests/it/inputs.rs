//! Splits cover every record exactly once, in every format.

use std::io::Write as _;
use std::process::{Command, Stdio};

use mapreduce_data::{
    Cancel, Compression, CsvOptions, Format, InputError, InputOptions, MapTask, Progress,
    ShuffleCompression, TaskError, run_map,
};
use stdx::Prng;

use crate::world::{World, builtin, have, text, word_counts};

/// All lines, through a job that changes nothing.
fn lines(world: &World, inputs: &[String]) -> Vec<String> {
    world.lines(&builtin("sort", &[]), inputs)
}

#[test]
fn every_cut_gives_every_line_once() {
    let mut world = World::new();
    world.partitions = 1;
    let mut prng = Prng::from_seed(8);
    for round in 0..60 {
        let mut text = String::new();
        for n in 0..prng.index(30) {
            text.push_str(&format!("{n}{}", "y".repeat(prng.index(12))));
            text.push_str(if prng.chance(1, 4) { "\r\n" } else { "\n" });
        }
        if prng.chance(1, 2) {
            text.push_str("no end");
        }
        let input = [world.write("text", &text)];
        let mut expected: Vec<&str> = text.lines().collect();
        expected.sort_unstable();
        world.split_bytes = 1 + prng.below(40);
        assert_eq!(lines(&world, &input), expected, "round {round}: {text:?}");
        let splits = world.splits(&input);
        let total: u64 = splits.iter().map(|split| split.len).sum();
        assert_eq!(total, text.len() as u64);
    }
}

#[test]
fn long_lines_are_read_and_too_long_ones_refused() {
    let mut world = World::new();
    world.memory_bytes = 8 << 20;
    let text = format!("{}\n{}\n", "a".repeat(3 << 20), "b".repeat(700_000));
    let input = [world.write("text", &text)];
    world.split_bytes = 1 << 20;
    let found: Vec<usize> = lines(&world, &input).iter().map(String::len).collect();
    assert_eq!(found, [3 << 20, 700_000]);
    let input = [world.write("long", vec![b'a'; (64 << 20) + 2_000_000])];
    world.split_bytes = 1 << 40;
    let error = world
        .try_run(&builtin("distinct", &[]), &input)
        .unwrap_err();
    let expected = matches!(
        error,
        TaskError::Input(InputError::RecordTooLong { offset: 0, .. })
    );
    assert!(expected, "{error:?}");
}

#[test]
fn packed_files_are_unpacked() {
    let world = World::new();
    let text = text(9, 300_000);
    let halves = text.split_at(text[..100_000].rfind('\n').unwrap() + 1);
    let mut gzip = Vec::new();
    let mut lz4 = Vec::new();
    // Two members: all are read.
    for half in [halves.0, halves.1] {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(half.as_bytes()).unwrap();
        gzip.extend(encoder.finish().unwrap());
    }
    let mut encoder = lz4_flex::frame::FrameEncoder::new(&mut lz4);
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let zstd = |half: &str| {
        ruzstd::encoding::compress_to_vec(
            half.as_bytes(),
            ruzstd::encoding::CompressionLevel::Fastest,
        )
    };
    let zstd = [zstd(halves.0), zstd(halves.1)].concat();
    for (name, bytes) in [("text.gz", gzip), ("text.lz4", lz4), ("text.zst", zstd)] {
        let input = [world.write(name, &bytes)];
        assert_eq!(world.splits(&input).len(), 1);
        assert_ne!(world.splits(&input)[0].compression, Compression::None);
        assert_eq!(
            world.lines(&builtin("wordcount", &[]), &input),
            word_counts(&text),
            "{name}"
        );
        // Cut short: an error, not fewer words.
        let input = [world.write(name, &bytes[..bytes.len() * 2 / 3])];
        let error = world
            .try_run(&builtin("wordcount", &[]), &input)
            .unwrap_err();
        assert!(
            matches!(error, TaskError::Input(InputError::Io { .. })),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn files_of_the_real_packers_are_read() {
    let world = World::new();
    let text = text(10, 200_000);
    for (program, name) in [
        ("gzip", "text.gz"),
        ("zstd", "text.zst"),
        ("lz4", "text.lz4"),
    ] {
        if !have(program) {
            continue;
        }
        let mut packer = Command::new(program)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = packer.stdin.take().unwrap();
        let bytes = text.clone();
        let feeder = std::thread::spawn(move || stdin.write_all(bytes.as_bytes()));
        let packed = packer.wait_with_output().unwrap().stdout;
        feeder.join().unwrap().unwrap();
        let input = [world.write(name, packed)];
        assert_eq!(
            world.lines(&builtin("wordcount", &[]), &input),
            word_counts(&text),
            "{name}"
        );
    }
}

#[test]
fn csv_has_headers_and_quoted_line_ends() {
    let mut world = World::new();
    let mut csv = "name,says\n".to_owned();
    for n in 0..50 {
        csv.push_str(&format!("n{n},\"line one\nline \"\"two\"\" of {n}\"\n"));
    }
    let input = [world.write("a.csv", &csv)];
    world.split_bytes = 64;
    let format = |multiline| {
        Some(Format::Csv(CsvOptions {
            delimiter: b',',
            header: true,
            multiline,
        }))
    };
    world.input.format = format(true);
    assert_eq!(world.splits(&input).len(), 1, "it can't be cut");
    let made = world.try_run(&builtin("distinct", &[]), &input).unwrap();
    assert_eq!(made.maps[0].input_records, 50);
    world.input.format = format(false);
    let made = world.try_run(&builtin("distinct", &[]), &input).unwrap();
    assert_eq!(
        made.maps.iter().map(|map| map.input_records).sum::<u64>(),
        100
    );
}

#[test]
fn json_lines_are_checked() {
    let world = World::new();
    let input = [world.write("a.jsonl", "{\"a\": 1}\n\n  \n[2]\n")];
    assert_eq!(lines(&world, &input), ["[2]", "{\"a\": 1}"]);
    let input = [world.write("b.jsonl", "{\"a\": 1}\n{\"a\": \n")];
    let error = world.try_run(&builtin("sort", &[]), &input).unwrap_err();
    assert!(
        matches!(
            error,
            TaskError::User {
                record: Some(9),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn the_digest_of_the_input_does_not_depend_on_how_it_is_read() {
    let world = World::new();
    let input = [world.write("a", text(11, 2_000_000)), world.write("b", "x")];
    let digests = |job: &str| {
        let made = world.try_run(&builtin(job, &[]), &input).unwrap();
        made.maps
            .iter()
            .map(|map| (map.input_digest, map.input_records, map.input_bytes))
            .collect::<Vec<_>>()
    };
    // One reads blocks, the other records.
    assert_eq!(digests("wordcount"), digests("distinct"));
    let options = InputOptions::default();
    assert!(digests("distinct").len() > 2, "{options:?}");
}

#[test]
fn a_file_that_lost_bytes_since_it_was_planned_is_refused() {
    let world = World::new();
    let input = [world.write("a", "one\ntwo\n")];
    let split = world.splits(&input).remove(0);
    world.write("a", "one\n");
    let task = MapTask {
        task: 0,
        split,
        job: builtin("distinct", &[]).resolve(&world.registry).unwrap(),
        partitions: 1,
        memory_bytes: 8 << 20,
        dir: world.path("attempt"),
        skip: std::collections::BTreeSet::new(),
        compression: ShuffleCompression::Auto,
    };
    let error = run_map(&task, &Progress::new(), &Cancel::new()).unwrap_err();
    assert!(
        matches!(error, TaskError::Input(InputError::Io { .. })),
        "{error:?}"
    );
}
