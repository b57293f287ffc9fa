//! Damaged runs are typed errors that say whose they are, never a wrong result.

use std::fs;
use std::io::Cursor;

use mapreduce_data::local::LocalSource;
use mapreduce_data::{
    Cancel, Digest, Durability, Extent, Fetched, MapOutput, MapTask, OutputOptions, Progress,
    ReduceOutput, ReduceTask, ShuffleCompression, ShuffleSource, SourceError, TaskError, run_map,
    run_reduce,
};
use stdx::Prng;

use crate::world::{World, builtin, text};

/// The output of one map task, as bytes that may be changed.
struct Given {
    extent: Extent,
    bytes: Vec<u8>,
    given: bool,
}

impl ShuffleSource for Given {
    fn next(&mut self) -> Result<Option<Fetched<'_>>, (u32, SourceError)> {
        if core::mem::replace(&mut self.given, true) {
            return Ok(None);
        }
        Ok(Some(Fetched {
            map_task: 7,
            extent: self.extent,
            body: Box::new(Cursor::new(self.bytes.as_slice())),
        }))
    }
}

fn map(world: &World, compression: ShuffleCompression) -> MapOutput {
    let input = [world.write("text", text(12, 60_000))];
    let mut splits = world.splits(&input);
    let task = MapTask {
        task: 0,
        split: splits.remove(0),
        job: builtin("sort", &[]).resolve(&world.registry).unwrap(),
        partitions: 1,
        memory_bytes: 4 << 20,
        dir: world.path("map"),
        skip: std::collections::BTreeSet::new(),
        compression,
    };
    run_map(&task, &Progress::new(), &Cancel::new()).unwrap()
}

fn reduce(world: &World, source: &mut dyn ShuffleSource) -> Result<ReduceOutput, TaskError> {
    let task = ReduceTask {
        partition: 0,
        job: builtin("sort", &[]).resolve(&world.registry).unwrap(),
        partitions: 1,
        memory_bytes: 4 << 20,
        dir: world.path("reduce"),
        output: world.path("output"),
        options: OutputOptions {
            durability: Durability::Cached,
            ..OutputOptions::default()
        },
    };
    run_reduce(&task, source, &Progress::new(), &Cancel::new())
}

fn expect_source(result: Result<ReduceOutput, TaskError>, what: &str) -> SourceError {
    match result {
        Err(TaskError::Source {
            map_task: 7,
            source,
        }) => source,
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn a_bit_that_flips_anywhere_is_found() {
    for compression in [ShuffleCompression::Never, ShuffleCompression::Always] {
        let world = World::new();
        let output = map(&world, compression);
        let bytes = fs::read(&output.file).unwrap();
        let extent = output.extents[0];
        assert_eq!((extent.offset, extent.len), (0, bytes.len() as u64));
        let given = |bytes: Vec<u8>| Given {
            extent,
            bytes,
            given: false,
        };
        let whole = reduce(&world, &mut given(bytes.clone())).unwrap();
        assert_eq!(whole.consumed[0].digest, extent.digest);
        let mut prng = Prng::from_seed(13);
        for round in 0..150 {
            let mut damaged = bytes.clone();
            // The first header, the last block, and anywhere.
            let at = match round % 3 {
                0 => prng.index(24),
                1 => bytes.len() - 1 - prng.index(56),
                _ => prng.index(bytes.len()),
            };
            damaged[at] ^= 1 << prng.index(8);
            let source = expect_source(reduce(&world, &mut given(damaged)), "a flipped bit");
            assert!(
                matches!(source, SourceError::Corrupt(_)),
                "byte {at}: {source:?}"
            );
        }
        for len in [
            0,
            10,
            24,
            bytes.len() / 2,
            bytes.len() - 56,
            bytes.len() - 1,
        ] {
            let mut torn = given(bytes[..len].to_vec());
            expect_source(reduce(&world, &mut torn), "torn off");
            // The same where the length was torn with it.
            torn.extent.len = len as u64;
            torn.given = false;
            if len > 0 {
                expect_source(reduce(&world, &mut torn), "torn off, and its length too");
            }
        }
    }
}

#[test]
fn blocks_that_are_missing_or_out_of_order_are_found() {
    let world = World::new();
    let output = map(&world, ShuffleCompression::Never);
    let bytes = fs::read(&output.file).unwrap();
    // Each block says how long it is.
    let mut starts = vec![0];
    while let Some(header) = bytes
        .get(*starts.last().unwrap()..)
        .filter(|rest| !rest.is_empty())
    {
        let stored = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        starts.push(starts.last().unwrap() + 24 + stored);
    }
    let block = |index: usize| &bytes[starts[index]..starts[index + 1]];
    let count = starts.len() - 1;
    assert!(count >= 2, "{count} blocks");
    let last = block(count - 1).to_vec();
    let extent = |bytes: &[u8]| Extent {
        len: bytes.len() as u64,
        ..output.extents[0]
    };
    let all: Vec<&[u8]> = (0..count).map(block).collect();
    let without_first = all[1..].concat();
    let doubled = [all[0], &all.concat()].concat();
    let followed = [&bytes[..], &last].concat();
    for (what, changed) in [
        ("without its first block", without_first),
        ("a block twice", doubled),
        ("something behind it", followed),
        ("only the end", last),
    ] {
        let mut given = Given {
            extent: extent(&changed),
            bytes: changed,
            given: false,
        };
        let source = expect_source(reduce(&world, &mut given), what);
        assert!(
            matches!(source, SourceError::Corrupt(_)),
            "{what}: {source:?}"
        );
    }
}

#[test]
fn another_extent_than_the_map_task_reported_is_found() {
    let world = World::new();
    let output = map(&world, ShuffleCompression::Auto);
    let bytes = fs::read(&output.file).unwrap();
    let mut given = Given {
        extent: output.extents[0],
        bytes,
        given: false,
    };
    given.extent.digest = Digest::of(b"other", b"");
    let source = expect_source(reduce(&world, &mut given), "another digest");
    assert!(matches!(source, SourceError::Differs { .. }), "{source:?}");
    given.extent = output.extents[0];
    given.extent.records += 1;
    given.given = false;
    let source = expect_source(reduce(&world, &mut given), "another number");
    assert!(matches!(source, SourceError::Differs { .. }), "{source:?}");
}

#[test]
fn a_file_that_is_gone_is_the_sources_fault() {
    let world = World::new();
    let output = map(&world, ShuffleCompression::Auto);
    fs::remove_file(&output.file).unwrap();
    let maps = [output];
    let error = reduce(&world, &mut LocalSource::new(0, &maps)).unwrap_err();
    let expected = matches!(
        error,
        TaskError::Source {
            map_task: 0,
            source: SourceError::Io(_)
        }
    );
    assert!(expected, "{error:?}");
}

#[test]
fn a_disk_that_can_not_be_written_is_named() {
    let world = World::new();
    let output = map(&world, ShuffleCompression::Auto);
    let maps = [output];
    // A directory is where the output should go.
    fs::create_dir(world.path("output")).unwrap();
    let error = reduce(&world, &mut LocalSource::new(0, &maps)).unwrap_err();
    let expected = matches!(&error, TaskError::Disk { path, .. } if *path == world.path("output"));
    assert!(expected, "{error:?}");
}
