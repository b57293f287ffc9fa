//! Runs every fuzz target on its samples and on seeded mutations of them for about two seconds.
//!
//! `FUZZ_SECONDS=60 cargo test -p fuzz-bodies` runs longer. The inputs are the same in every run
//! and only their number depends on the machine, so a finding comes again.

#![expect(
    clippy::print_stdout,
    reason = "a finding is shown, and how far each target came"
)]

use std::time::{Duration, Instant};

use fuzz_bodies::{Mutator, TARGETS, target};

/// Time for each target unless the environment says otherwise.
const SECONDS: u64 = 2;
/// What all sequences of inputs begin with.
const SEED: u64 = 0x5eed;

/// Shows the input when the target panics.
struct Shown<'a> {
    target: &'static str,
    round: u64,
    input: &'a [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                target,
                round,
                input,
            } = self;
            println!(
                "{target} found something in input {round}: {}",
                input.escape_ascii()
            );
        }
    }
}

fn fuzz(name: &str) {
    let target = target(name).expect("the test is named like the target");
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let samples = (target.samples)();
    assert!(!samples.is_empty(), "a target has samples to start from");
    for (input, round) in samples.iter().zip(0..) {
        let _shown = Shown {
            target: target.name,
            round,
            input,
        };
        (target.run)(input);
    }
    let mut mutator = Mutator::new(SEED, samples);
    let mut round = 0;
    while Instant::now() < end {
        for _ in 0..100 {
            let input = mutator.next_input();
            let _shown = Shown {
                target: target.name,
                round,
                input: &input,
            };
            (target.run)(&input);
            round += 1;
        }
    }
    println!("{name}: {round} inputs");
    assert!(round > 0);
}

/// One test per target, and the list of what has one.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                fuzz(stringify!($name));
            }
        )*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    wal_recover
    raft_wire
    resp_requests
    resp_replies
    kv_commands
    kv_replies
    kv_apply
    lsp_codec
    lsp_endpoint
    mapreduce_run
    mapreduce_jobs
    mapreduce_streaming
    mapreduce_inputs
    mapreduce_parquet
    kmeans_lines
    kmeans_files
    kmeans_messages
    lsp_codec_v2
    lsp_endpoint_v2
    kv_protobuf
    kv_requests
    kv_resp_commands
    peer_frames
    miner_codec
    miner_header
    miner_pool
}

#[test]
fn every_target_has_a_test_and_a_binary() {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for name in names {
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
        let source = fuzz.join("fuzz_targets").join(format!("{name}.rs"));
        let source = std::fs::read_to_string(&source).unwrap();
        assert!(
            source.contains(&format!("run(\"{name}\", ")),
            "{name} runs another target"
        );
    }
}
