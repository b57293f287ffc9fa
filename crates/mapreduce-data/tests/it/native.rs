//! Rust functions: errors, panics, bad records, counters, the order of values.

use std::sync::Arc;

use mapreduce_data::typed::{Pairs, Typed, TypedJob};
use mapreduce_data::{
    Args, Cancel, Emit, FunctionSpec, Job, MapTask, Mapper, Output, Partitioner, Progress, Record,
    Reducer, ShuffleCompression, TaskContext, TaskError, UserError, Values, run_map,
};

use crate::world::World;

/// What the mapper does with a line that starts with `bad`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OnBad {
    Fail,
    Panic,
}

/// Emits (first word, position), joins the values with commas.
#[derive(Clone, Copy, Debug)]
struct Positions {
    on_bad: OnBad,
    partition: Option<u32>,
}

impl Job for Positions {
    fn mapper(&self, _: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(*self))
    }

    fn reducer(&self, _: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(Box::new(*self))
    }

    fn partitioner(&self) -> Box<dyn Partitioner> {
        Box::new(*self)
    }
}

impl Partitioner for Positions {
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        self.partition
            .unwrap_or_else(|| mapreduce_data::key_hash(key) % partitions)
    }
}

impl Mapper for Positions {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        if record.bytes.starts_with(b"bad") {
            match self.on_bad {
                OnBad::Fail => return Err(UserError::new("a bad line")),
                OnBad::Panic => panic!("a very bad line"),
            }
        }
        out.count("test", "lines", 1);
        let key = record
            .bytes
            .split(|byte| *byte == b' ')
            .next()
            .unwrap_or(b"");
        out.emit(key, record.position.to_string().as_bytes())?;
        Ok(())
    }
}

impl Reducer for Positions {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        if key == b"skipped" {
            // Leaves its values.
            return Ok(());
        }
        let mut all = Vec::new();
        while let Some(value) = values.next()? {
            all.push(String::from_utf8_lossy(value).into_owned());
        }
        out.count("test", "keys", 1);
        out.write(key, all.join(",").as_bytes())?;
        Ok(())
    }
}

fn world(on_bad: OnBad, partition: Option<u32>) -> (World, FunctionSpec) {
    let mut world = World::new();
    world.registry = world.registry.with("positions", move |_| {
        Ok(Arc::new(Positions { on_bad, partition }))
    });
    let spec = FunctionSpec::Native {
        name: "positions".to_owned(),
        args: Args::new(),
    };
    (world, spec)
}

#[test]
fn the_values_of_a_key_come_in_the_order_of_the_input() {
    let (mut world, job) = world(OnBad::Fail, None);
    let text: String = (0..3_000).map(|n| format!("k{} {n}\n", n % 7)).collect();
    let input = [world.write("text", &text)];
    let mut expected: Vec<(String, Vec<String>)> =
        (0..7).map(|key| (format!("k{key}"), Vec::new())).collect();
    let mut position = 0;
    for (n, line) in text.lines().enumerate() {
        expected[n % 7].1.push(position.to_string());
        position += line.len() + 1;
    }
    let expected: Vec<String> = expected
        .iter()
        .map(|(key, positions)| format!("{key}\t{}", positions.join(",")))
        .collect();
    let mut outputs = Vec::new();
    for (split_bytes, threads) in [(1 << 30, 1), (999, 2), (100, 4)] {
        world.split_bytes = split_bytes;
        world.threads = threads;
        assert_eq!(world.lines(&job, &input), expected);
        outputs.push(world.run(&job, &input));
    }
    assert!(outputs.iter().all(|output| *output == outputs[0]));
}

#[test]
fn counters_come_from_both_sides_and_left_values_are_counted() {
    let (world, job) = world(OnBad::Fail, None);
    let input = [world.write("text", "a 1\nskipped 2\nskipped 3\nb 4\n")];
    let made = world.try_run(&job, &input).unwrap();
    crate::world::check(&made);
    assert_eq!(made.maps[0].counters.value("test:lines"), Some(4));
    let keys: i64 = made
        .reduces
        .iter()
        .filter_map(|reduce| reduce.counters.value("test:keys"))
        .sum();
    assert_eq!(keys, 2);
    assert_eq!(
        made.reduces.iter().map(|reduce| reduce.keys).sum::<u64>(),
        3
    );
}

#[test]
fn a_bad_record_is_named_and_can_be_skipped() {
    for on_bad in [OnBad::Fail, OnBad::Panic] {
        let (world, spec) = world(on_bad, None);
        let input = [world.write("text", "a 1\nbad 2\nb 3\nbad 4\n")];
        let mut task = MapTask {
            task: 0,
            split: world.splits(&input).remove(0),
            job: spec.resolve(&world.registry).unwrap(),
            partitions: 1,
            memory_bytes: 8 << 20,
            dir: world.path("attempt"),
            skip: std::collections::BTreeSet::new(),
            compression: ShuffleCompression::Auto,
        };
        let mut run = |skip: &[u64]| {
            task.skip = skip.iter().copied().collect();
            run_map(&task, &Progress::new(), &Cancel::new())
        };
        for (skip, bad) in [(&[][..], 4), (&[4][..], 14)] {
            let error = run(skip).unwrap_err();
            let TaskError::User { record, source } = error else {
                panic!("{error}");
            };
            assert_eq!(record, Some(bad));
            let text = source.to_string();
            let expected = if on_bad == OnBad::Fail {
                "a bad line"
            } else {
                "panicked: a very bad line"
            };
            assert_eq!(text, expected);
        }
        let output = run(&[4, 14]).unwrap();
        assert_eq!(output.skipped, [4, 14]);
        assert_eq!((output.input_records, output.emitted_records), (4, 2));
    }
}

#[test]
fn a_partition_that_is_not_there_is_the_partitioners_fault() {
    let (world, job) = world(OnBad::Fail, Some(3));
    let input = [world.write("text", "a 1\n")];
    let error = world.try_run(&job, &input).unwrap_err();
    assert!(
        matches!(error, TaskError::User { record: None, .. }),
        "{error:?}"
    );
}

/// Sums of numbers by what they are rounded down to.
#[derive(Debug)]
struct Sums;

impl TypedJob for Sums {
    type Key = i64;
    type Value = f64;

    fn map(&self, record: &Record<'_>, pairs: &mut Pairs<'_, Self>) -> Result<(), UserError> {
        let text = core::str::from_utf8(record.bytes).map_err(|_| UserError::new("not UTF-8"))?;
        let number: f64 = text.parse().map_err(|_| UserError::new("not a number"))?;
        pairs.count("test", "numbers", 1);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the test's numbers are small"
        )]
        pairs.emit(&(number.floor() as i64), &number)
    }

    fn combines(&self) -> bool {
        true
    }

    fn combine(&self, _: &i64, left: f64, right: f64) -> f64 {
        left + right
    }

    fn partition(&self, key: &i64, _: u32) -> Option<u32> {
        Some(u32::from(*key >= 0))
    }

    fn reduce(
        &self,
        key: i64,
        values: &mut dyn Iterator<Item = f64>,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        let sum: f64 = values.sum();
        out.write(key.to_string().as_bytes(), sum.to_string().as_bytes())?;
        Ok(())
    }
}

#[test]
fn typed_jobs_have_keys_in_their_order() {
    let mut world = World::new();
    world.partitions = 2;
    world.split_bytes = 1 << 30;
    world.registry = world.registry.with("sums", |_| Ok(Typed::job(Sums)));
    let job = FunctionSpec::Native {
        name: "sums".to_owned(),
        args: Args::new(),
    };
    let input = [world.write("numbers", "1.5\n-300.5\n2\n1.25\n-2\n-1.5\n0\n")];
    let outputs = world.run(&job, &input);
    assert_eq!(
        outputs,
        [&b"-301\t-300.5\n-2\t-3.5\n"[..], b"0\t0\n1\t2.75\n2\t2\n"]
    );
    let input = [world.write("numbers", "1.5\nx\n")];
    let error = world.try_run(&job, &input).unwrap_err();
    assert!(
        matches!(
            error,
            TaskError::User {
                record: Some(4),
                ..
            }
        ),
        "{error:?}"
    );
}
