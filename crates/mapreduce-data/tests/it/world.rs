//! What the tests share: a temporary directory, inputs in it, and jobs over them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use mapreduce_data::local::{self, LocalOptions, LocalOutput};
use mapreduce_data::{
    Args, Cancel, Durability, FunctionSpec, InputOptions, OutputOptions, Registry,
    ShuffleCompression, Split, TaskError, plan_splits,
};
use stdx::Prng;
use tempfile::TempDir;

pub(crate) struct World {
    dir: TempDir,
    pub(crate) registry: Registry,
    pub(crate) partitions: u32,
    pub(crate) threads: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) split_bytes: u64,
    pub(crate) compression: ShuffleCompression,
    pub(crate) input: InputOptions,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            registry: Registry::new(),
            partitions: 3,
            threads: 1,
            memory_bytes: 16 << 20,
            split_bytes: 64 << 10,
            compression: ShuffleCompression::Auto,
            input: InputOptions::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and gives its path as an input.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    pub(crate) fn splits(&self, inputs: &[String]) -> Vec<Split> {
        let options = InputOptions {
            split_bytes: self.split_bytes,
            ..self.input.clone()
        };
        plan_splits(inputs, &options).unwrap()
    }

    pub(crate) fn try_run(
        &self,
        spec: &FunctionSpec,
        inputs: &[String],
    ) -> Result<LocalOutput, TaskError> {
        let output = self.path("out");
        if output.exists() {
            fs::remove_dir_all(&output).unwrap();
        }
        let options = LocalOptions {
            partitions: self.partitions,
            threads: self.threads,
            memory_bytes: self.memory_bytes,
            scratch: self.path("scratch"),
            output,
            options: OutputOptions {
                durability: Durability::Cached,
                ..OutputOptions::default()
            },
            compression: self.compression,
        };
        local::run(
            spec,
            &self.registry,
            &self.splits(inputs),
            &options,
            &Cancel::new(),
        )
    }

    /// Runs a job and gives the bytes of each output file.
    pub(crate) fn run(&self, spec: &FunctionSpec, inputs: &[String]) -> Vec<Vec<u8>> {
        let made = self.try_run(spec, inputs).unwrap();
        check(&made);
        made.reduces
            .iter()
            .map(|reduce| fs::read(&reduce.file).unwrap())
            .collect()
    }

    /// All lines of a job's output, sorted.
    pub(crate) fn lines(&self, spec: &FunctionSpec, inputs: &[String]) -> Vec<String> {
        sorted_lines(&self.run(spec, inputs))
    }
}

/// What goes into the shuffle comes out of it.
pub(crate) fn check(made: &LocalOutput) {
    for (partition, reduce) in made.reduces.iter().enumerate() {
        let sent = made.maps.iter().zip(0_u32..).filter_map(|(map, number)| {
            let extent = map.extents[partition];
            (extent.len > 0).then_some((number, extent.records, extent.bytes, extent.digest))
        });
        let got = reduce.consumed.iter();
        let got = got.map(|got| (got.map_task, got.records, got.bytes, got.digest));
        assert!(sent.eq(got), "partition {partition}");
        let bytes = fs::metadata(&reduce.file).unwrap().len();
        assert_eq!(bytes, reduce.bytes);
    }
}

pub(crate) fn sorted_lines(outputs: &[Vec<u8>]) -> Vec<String> {
    let mut lines: Vec<String> = outputs
        .iter()
        .flat_map(|output| {
            String::from_utf8_lossy(output)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    lines
}

pub(crate) fn builtin(name: &str, args: &[(&str, &str)]) -> FunctionSpec {
    let args: Args = args
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    FunctionSpec::Builtin {
        name: name.to_owned(),
        args,
    }
}

/// Lines of words, a few of them frequent.
pub(crate) fn text(seed: u64, bytes: usize) -> String {
    let mut prng = Prng::from_seed(seed);
    let mut text = String::new();
    while text.len() < bytes {
        for _ in 0..1 + prng.index(12) {
            let rank = prng.index(1 + prng.clone().index(3_000));
            text.push_str(&format!("w{rank:x}"));
            if rank.is_multiple_of(97) {
                text.push_str("-a-word-that-is-longer-than-others");
            }
            text.push(if prng.chance(1, 20) { '\t' } else { ' ' });
        }
        text.push('\n');
    }
    text
}

/// `word TAB count`, sorted.
pub(crate) fn word_counts(text: &str) -> Vec<String> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for word in text.split_ascii_whitespace() {
        *counts.entry(word).or_default() += 1;
    }
    let mut lines: Vec<String> = counts
        .iter()
        .map(|(word, n)| format!("{word}\t{n}"))
        .collect();
    lines.sort();
    lines
}

/// Whether a program can be run.
pub(crate) fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
    if !found {
        println!("skipped: no {program} here");
    }
    found
}
