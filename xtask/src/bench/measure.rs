//! One measurement: a load runs against a server while its processor time and its fsyncs
//! are counted.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process};

use anyhow::{Context as _, Result, bail, ensure};

use crate::bench::process::processor_time;

const FSYNC_EVENTS: &str =
    "syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync,syscalls:sys_enter_sync_file_range";

/// What was measured in one run of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor time of all server processes, for each operation.
    pub(crate) processor_us: f64,
    /// `None` where perf may not count system calls.
    pub(crate) fsyncs: Option<f64>,
}

/// Where the tools are, and whether fsyncs can be counted.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) loader: PathBuf,
    perf: bool,
}

impl Tools {
    pub(crate) fn new(loader: PathBuf) -> Self {
        let probe = Command::new("perf")
            .args(["stat", "-e", FSYNC_EVENTS, "true"])
            .output();
        let perf = probe.is_ok_and(|output| output.status.success());
        if !perf {
            eprintln!("skip: perf cannot count system calls here: no fsyncs per operation");
        }
        Self { loader, perf }
    }

    /// `redis-benchmark` on one command.
    pub(crate) fn redis_benchmark(
        &self,
        pids: &[u32],
        port: u16,
        load: &RedisLoad,
    ) -> Result<Sample> {
        let words = [
            format!(
                "-p {port} -t {} -c {} -P {}",
                load.command, load.clients, load.pipeline
            ),
            format!(
                "-n {} -r {} -d {} --csv",
                load.requests, load.keys, load.value_bytes
            ),
        ];
        let words: Vec<String> = words
            .iter()
            .flat_map(|words| words.split(' '))
            .map(str::to_owned)
            .collect();
        let measured = self.counted(pids, Path::new("redis-benchmark"), &words)?;
        let (per_second, p50_us, p99_us) = parse_redis_benchmark(&measured.output)?;
        Ok(measured.sample(load.requests as f64, per_second, p50_us, p99_us))
    }

    /// The loader, with these arguments.
    pub(crate) fn load(&self, pids: &[u32], words: &[String]) -> Result<Sample> {
        let measured = self.counted(pids, &self.loader, words)?;
        let json: serde_json::Value = serde_json::from_str(measured.output.trim())
            .with_context(|| measured.output.clone())?;
        let number = |key: &str| {
            json.get(key)
                .and_then(serde_json::Value::as_f64)
                .unwrap_or(0.0)
        };
        if number("errors") > 0.0 {
            eprintln!("  note: {} calls failed", number("errors"));
        }
        let warmed = number("seconds") / (number("seconds") + WARMUP_SECONDS);
        // Processor time and fsyncs are counted over the warm-up too.
        let operations = number("operations") / warmed;
        Ok(measured.sample(
            operations,
            number("per_second"),
            number("p50_us"),
            number("p99_us"),
        ))
    }

    fn counted(&self, pids: &[u32], program: &Path, words: &[String]) -> Result<Measured> {
        let counts = env::temp_dir().join(format!("kontiki-bench-{}.perf", process::id()));
        let mut command = if self.perf {
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            let mut perf = Command::new("perf");
            perf.args([
                "stat",
                "-x",
                ",",
                "-e",
                FSYNC_EVENTS,
                "-p",
                &pids.join(","),
                "-o",
            ]);
            perf.arg(&counts).arg("--").arg(program);
            perf
        } else {
            Command::new(program)
        };
        let before = processor_time(pids);
        let output = command.args(words).output();
        let output = output.with_context(|| format!("cannot run {}", program.display()))?;
        let processor_us = (processor_time(pids).saturating_sub(before)).as_secs_f64() * 1e6;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!(
                "{} {}: {}: {errors}",
                program.display(),
                words.join(" "),
                output.status
            );
        }
        let fsyncs = if self.perf {
            let text = fs::read_to_string(&counts).context("perf has written its counts")?;
            fs::remove_file(&counts)?;
            Some(parse_perf(&text))
        } else {
            None
        };
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Measured {
            output,
            processor_us,
            fsyncs,
        })
    }
}

/// The loader's default.
const WARMUP_SECONDS: f64 = 2.0;

/// A load of redis-benchmark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RedisLoad {
    pub(crate) command: &'static str,
    pub(crate) clients: u32,
    pub(crate) pipeline: u32,
    pub(crate) requests: u64,
    pub(crate) keys: u64,
    pub(crate) value_bytes: u32,
}

#[derive(Debug)]
struct Measured {
    output: String,
    processor_us: f64,
    fsyncs: Option<f64>,
}

impl Measured {
    fn sample(&self, operations: f64, per_second: f64, p50_us: f64, p99_us: f64) -> Sample {
        Sample {
            per_second,
            p50_us,
            p99_us,
            processor_us: self.processor_us / operations,
            fsyncs: self.fsyncs.map(|fsyncs| fsyncs / operations),
        }
    }
}

/// Requests a second, and the latencies in microseconds, of the last line.
fn parse_redis_benchmark(csv: &str) -> Result<(f64, f64, f64)> {
    let line = csv
        .lines()
        .rfind(|line| line.starts_with('"'))
        .unwrap_or("");
    let numbers: Vec<f64> = line
        .split(',')
        .filter_map(|field| field.trim_matches('"').parse().ok())
        .collect();
    // test, rps, then milliseconds: average, min, p50, p95, p99, max
    ensure!(
        numbers.len() == 7,
        "redis-benchmark printed something else: {csv}"
    );
    Ok((numbers[0], numbers[3] * 1000.0, numbers[5] * 1000.0))
}

/// The sum of the counts in `perf stat -x,`.
fn parse_perf(text: &str) -> f64 {
    let counts = text
        .lines()
        .filter_map(|line| line.split(',').next()?.parse::<f64>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_redis_benchmark_is_read() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                   \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"SET\",\"37285.61\",\"1.272\",\"0.248\",\"1.175\",\"1.863\",\"3.239\",\"8.775\"\n";
        assert_eq!(
            parse_redis_benchmark(csv).unwrap(),
            (37285.61, 1175.0, 3239.0)
        );
        assert!(parse_redis_benchmark("Could not connect").is_err());
    }

    #[test]
    fn the_counts_of_perf_are_added() {
        let text = "# started on Sat\n\n120,,syscalls:sys_enter_fdatasync,1000,100.00,,\n\
                    3,,syscalls:sys_enter_fsync,1000,100.00,,\n";
        assert!((parse_perf(text) - 123.0).abs() < f64::EPSILON);
    }
}
