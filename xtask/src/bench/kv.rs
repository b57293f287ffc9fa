//! The database beside Redis and etcd.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::bench::measure::{RedisLoad, Sample, Tools};
use crate::bench::process::resident_bytes;
use crate::bench::report::Table;
use crate::bench::restart;
use crate::bench::systems::{Programs, Running, System, clean};
use crate::bench::{BenchArgs, build_kontiki, build_peer, directory};
use crate::sh;

mod table;

const KEYS: u64 = 1_000_000;
const VALUE_BYTES: u32 = 64;
const CLIENTS: u32 = 50;
const PIPELINE: u32 = 16;
const GRPC_CLIENTS: u32 = 256;
/// Both Kontiki and etcd do most with few connections.
const GRPC_CONNECTIONS: u32 = 4;

/// What is measured on a system.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Load {
    Get,
    GetPipelined,
    Set,
    SetPipelined,
    GrpcPut,
    GrpcPipeline,
    GrpcBatch,
}

impl Load {
    const RESP: [Self; 4] = [Self::Get, Self::GetPipelined, Self::Set, Self::SetPipelined];

    fn of(system: System) -> Vec<Self> {
        match system {
            System::Redis => Self::RESP.to_vec(),
            System::Etcd3 => vec![Self::GrpcPut],
            System::Kontiki1 | System::Kontiki3 => [
                &Self::RESP[..],
                &[Self::GrpcPut, Self::GrpcPipeline, Self::GrpcBatch],
            ]
            .concat(),
        }
    }

    /// About five seconds of work for Redis.
    fn redis(self, quick: bool) -> Option<RedisLoad> {
        let (command, pipeline, requests) = match self {
            Self::Get => ("get", 1, 400_000),
            Self::GetPipelined => ("get", PIPELINE, 2_500_000),
            Self::Set => ("set", 1, 200_000),
            Self::SetPipelined => ("set", PIPELINE, 1_500_000),
            Self::GrpcPut | Self::GrpcPipeline | Self::GrpcBatch => return None,
        };
        let requests = if quick { requests / 5 } else { requests };
        let (clients, keys, value_bytes) = (CLIENTS, KEYS, VALUE_BYTES);
        Some(RedisLoad {
            command,
            clients,
            pipeline,
            requests,
            keys,
            value_bytes,
        })
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
struct Results {
    samples: BTreeMap<(System, Load), Vec<Sample>>,
    memory: BTreeMap<System, u64>,
    restart_seconds: Option<f64>,
    restart_log_bytes: u64,
}

pub(crate) fn run(args: &BenchArgs) -> Result<Table> {
    if !sh::have("redis-benchmark", &["--version"]) {
        bail!("redis-benchmark is the client of most rows: install redis-tools");
    }
    let loader = build_peer("loader")?;
    let data = directory()?.join("data");
    clean(&data)?;
    let programs = Programs {
        kontiki: build_kontiki()?,
        loader: loader.clone(),
        directory: data,
    };
    let tools = Tools::new(loader);
    let chosen = |system: &System| args.only.is_empty() || args.only.contains(system);
    let systems: Vec<System> = System::ALL
        .into_iter()
        .filter(chosen)
        .filter(|system| system.is_available())
        .collect();
    let mut results = Results::default();
    for round in 1..=args.rounds {
        for system in &systems {
            eprintln!("round {round} of {}: {}", args.rounds, system.name());
            session(&programs, &tools, *system, args.quick, &mut results)
                .with_context(|| system.name())?;
        }
    }
    if systems.contains(&System::Kontiki3) && !args.no_restart {
        // A failure here must not cost the figures that took minutes.
        match restart::run(&programs, args.quick) {
            Ok(restarted) => {
                results.restart_seconds = Some(restarted.seconds);
                results.restart_log_bytes = restarted.log_bytes;
            }
            Err(error) => eprintln!("warning: no row for the restart: {error:#}"),
        }
    }
    Ok(table::table(args, &results))
}

/// Starts a system, runs every load on it, kills it.
fn session(
    programs: &Programs,
    tools: &Tools,
    system: System,
    quick: bool,
    results: &mut Results,
) -> Result<()> {
    let running = programs.start(system)?;
    let first = !results.memory.contains_key(&system);
    if system != System::Etcd3 {
        fill(programs, &running)?;
        results
            .memory
            .entry(system)
            .or_insert_with(|| resident_bytes(&running.pids()));
    }
    for load in Load::of(system) {
        let sample = measure(tools, &running, load, quick)?;
        eprintln!(
            "  {load:?}: {:.0}/s, p50 {:.0} us, p99 {:.0} us, {:.2} us processor, {} fsyncs/op",
            sample.per_second,
            sample.p50_us,
            sample.p99_us,
            sample.processor_us,
            sample
                .fsyncs
                .map_or_else(|| "?".to_owned(), |fsyncs| format!("{fsyncs:.4}")),
        );
        results
            .samples
            .entry((system, load))
            .or_default()
            .push(sample);
    }
    if system == System::Etcd3 && first {
        // Last, and once: it takes a while, and etcd is faster without a million keys.
        fill(programs, &running)?;
        results
            .memory
            .insert(system, resident_bytes(&running.pids()));
    }
    Ok(())
}

fn fill(programs: &Programs, running: &Running) -> Result<()> {
    let keys = KEYS.to_string();
    match (running.resp_port, &running.grpc) {
        (Some(port), _) => {
            let endpoint = format!("127.0.0.1:{port}");
            programs.fill(&["--system", "resp", "--endpoint", &endpoint, "--keys", &keys])
        }
        (None, Some(grpc)) => {
            programs.fill(&["--system", "etcd", "--endpoint", grpc, "--keys", &keys])
        }
        (None, None) => bail!("the system has no door"),
    }
}

fn measure(tools: &Tools, running: &Running, load: Load, quick: bool) -> Result<Sample> {
    if let Some(redis) = load.redis(quick) {
        let port = running.resp_port.context("the system speaks RESP")?;
        return tools.redis_benchmark(&running.pids(), port, &redis);
    }
    let system = match (running.system, load) {
        (System::Etcd3, _) => "etcd",
        (_, Load::GrpcBatch) => "kontiki-batch",
        (_, Load::GrpcPipeline) => "kontiki-pipeline",
        _ => "kontiki",
    };
    let grpc = running.grpc.as_deref().context("the system speaks gRPC")?;
    let seconds = if quick { 2 } else { 8 };
    let words = format!(
        "put --system {system} --endpoints {grpc} --clients {GRPC_CLIENTS} \
         --connections {GRPC_CONNECTIONS} --keys {KEYS} \
         --value-bytes {VALUE_BYTES} --seconds {seconds}"
    );
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    tools.load(&running.pids(), &words)
}
