//! Runs a job in this process: `local --job wordcount --input F.. --output DIR`, or `--map CMD
//! --reduce CMD` for a streaming job, or `--arg NAME=VALUE` for a built-in one's arguments.
#![expect(clippy::print_stderr, reason = "an example talks to people")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use mapreduce_data::local::{self, LocalOptions};
use mapreduce_data::{
    Args, Cancel, FunctionSpec, InputOptions, OutputOptions, Registry, ShuffleCompression,
    StreamingSpec, plan_splits,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut words = std::env::args().skip(1);
    while let (Some(flag), Some(value)) = (words.next(), words.next()) {
        flags.entry(flag).or_default().push(value);
    }
    let one = |flag: &str| flags.get(flag).and_then(|values| values.last());
    let number = |flag: &str, default: u64| one(flag).map_or(Ok(default), |text| text.parse());
    let spec = if let Some(name) = one("--job") {
        let pairs = flags.get("--arg").into_iter().flatten();
        let args: Option<Args> = pairs
            .map(|pair| {
                pair.split_once('=')
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
            })
            .collect();
        FunctionSpec::Builtin {
            name: name.clone(),
            args: args.ok_or("--arg NAME=VALUE")?,
        }
    } else {
        FunctionSpec::Streaming(StreamingSpec {
            map: one("--map").ok_or("--job or --map")?.clone(),
            reduce: one("--reduce").cloned(),
            combine: one("--combine").cloned(),
            env: BTreeMap::new(),
        })
    };
    let slots = usize::try_from(number("--slots", 2)?)?;
    let output = PathBuf::from(one("--output").ok_or("--output")?);
    let started = Instant::now();
    let options = InputOptions {
        split_bytes: number("--split-mib", 64)? << 20,
        splits_min: slots,
        ..InputOptions::default()
    };
    let splits = plan_splits(flags.get("--input").ok_or("--input")?, &options)?;
    let options = LocalOptions {
        partitions: u32::try_from(number("--reduces", 2)?)?,
        threads: slots,
        memory_bytes: number("--memory-mib", 256)? << 20,
        scratch: output.join("_scratch"),
        output,
        options: OutputOptions::default(),
        compression: ShuffleCompression::default(),
    };
    let made = local::run(&spec, &Registry::new(), &splits, &options, &Cancel::new())?;
    let records: u64 = made.reduces.iter().map(|reduce| reduce.records).sum();
    let spills: u64 = made.maps.iter().map(|map| map.spills).sum();
    eprintln!(
        "{} map tasks ({spills} spills), {} reduce tasks, {records} lines in {:.3} s",
        made.maps.len(),
        made.reduces.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}
