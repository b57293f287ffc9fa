//! The architecture as a table: which crate may use which, directly.
//!
//! Arrows point down only, and every foreign dependency of every crate is decided here, so
//! that a new one is a line in a review and never an accident. ARCHITECTURE.md gives the
//! reasons.

use crate::tidy::{Report, Tree};

/// What one crate may depend on directly, from the bottom of the house to its top.
#[derive(Debug)]
struct Layer {
    name: &'static str,
    /// In `[dependencies]` and `[build-dependencies]`.
    uses: &'static [&'static str],
    /// Besides those, in `[dev-dependencies]`.
    tests_use: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    // Foundations: pure.
    Layer {
        name: "stdx",
        uses: &["bytes"],
        tests_use: &[],
    },
    Layer {
        name: "sim",
        uses: &["bytes", "stdx"],
        tests_use: &["expect-test"],
    },
    // Cores: pure. No clock, no socket, no file, no thread, no runtime.
    Layer {
        name: "raft",
        uses: &["bytes", "crc32c", "stdx", "thiserror"],
        tests_use: &["expect-test", "sim"],
    },
    Layer {
        name: "kv-core",
        uses: &["bytes", "stdx", "thiserror"],
        tests_use: &["expect-test", "sim"],
    },
    Layer {
        name: "resp",
        uses: &["bytes", "thiserror"],
        tests_use: &["expect-test", "stdx"],
    },
    Layer {
        name: "raft-sim",
        uses: &["bytes", "crc32c", "crc32c", "raft", "sim", "stdx"],
        // The core again, with the feature that plants bugs.
        tests_use: &["raft"],
    },
    Layer {
        name: "lsp-core",
        // The wire format is JSON with base64, byte for byte what the other ends send. Version 2
        // is encrypted: Noise's handshake, the cipher of the data phase, and the key stream
        // that randomness is drawn from.
        uses: &[
            "base64",
            "bytes",
            "chacha20",
            "chacha20poly1305",
            "serde",
            "serde_json",
            "snow",
            "stdx",
            "thiserror",
        ],
        tests_use: &["expect-test", "sim"],
    },
    Layer {
        name: "mapreduce-core",
        // The journal's records are values with names, to be read by people too.
        uses: &["serde", "stdx", "thiserror"],
        tests_use: &["serde_json"],
    },
    Layer {
        name: "mapreduce-sim",
        uses: &["mapreduce-core", "sim", "stdx"],
        tests_use: &["mapreduce-core"],
    },
    // Pure as well, with the only SIMD intrinsics of the workspace.
    Layer {
        name: "kmeans-kernels",
        uses: &[],
        tests_use: &["stdx"],
    },
    Layer {
        // Pure, but for measuring the kernels' speed with a clock.
        name: "miner-kernels",
        uses: &["thiserror"],
        tests_use: &["sha2", "stdx"],
    },
    Layer {
        name: "miner-core",
        uses: &["miner-kernels", "serde", "serde_json", "stdx", "thiserror"],
        // Itself, with the feature that plants bugs.
        tests_use: &["miner-core", "sim"],
    },
    // Shells: files, sockets, threads.
    Layer {
        name: "wal",
        uses: &["bytes", "crc32c", "rustix", "stdx", "thiserror"],
        tests_use: &["expect-test", "tempfile"],
    },
    Layer {
        name: "engine",
        uses: &[
            "bytes",
            "crc32c",
            "fjall",
            "foldhash",
            "hashbrown",
            "kv-core",
            "parking_lot",
            "rustix",
            "stdx",
            "thiserror",
            "tracing",
        ],
        tests_use: &["expect-test", "mimalloc", "redb", "tempfile"],
    },
    Layer {
        name: "kv-proto",
        uses: &[
            "bytes",
            "prost",
            "protox",
            "tonic",
            "tonic-prost",
            "tonic-prost-build",
        ],
        tests_use: &[],
    },
    Layer {
        name: "kv",
        uses: &[
            "axum",
            "bytes",
            "crc32c",
            "engine",
            "foldhash",
            "futures-core",
            "hashbrown",
            "kv-core",
            "kv-proto",
            "metrics",
            "metrics-exporter-prometheus",
            "parking_lot",
            "prost",
            "protox",
            "raft",
            "resp",
            "rustix",
            "serde",
            "serde_json",
            "socket2",
            "stdx",
            "thiserror",
            "tokio",
            "tokio-stream",
            "tonic",
            "tonic-health",
            "tonic-prost",
            "tonic-prost-build",
            "tonic-reflection",
            "tracing",
            "wal",
        ],
        tests_use: &["expect-test", "redis", "tempfile", "tracing-subscriber"],
    },
    Layer {
        name: "mapreduce-data",
        uses: &[
            "bytes",
            "crc32c",
            "flate2",
            "foldhash",
            "glob",
            "hashbrown",
            "lz4_flex",
            "memchr",
            "object_store",
            "parquet",
            "regex",
            "reqwest",
            "rustix",
            "rustls",
            "ruzstd",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio-stream",
            "url",
            "xxhash-rust",
        ],
        tests_use: &["expect-test", "stdx", "tempfile"],
    },
    Layer {
        name: "lsp",
        uses: &[
            "bytes",
            "lsp-core",
            "parking_lot",
            "quinn-udp",
            "rustix",
            "socket2",
            "stdx",
            "thiserror",
            "tokio",
            "tracing",
        ],
        // The tests' own peer writes LSP's JSON by hand.
        tests_use: &["base64", "serde_json"],
    },
    Layer {
        name: "kmeans",
        // Its gRPC messages are generated here: they are few, and nobody else uses them.
        uses: &[
            "bytes",
            "kmeans-kernels",
            "mapreduce-data",
            "prost",
            "protox",
            "serde",
            "serde_json",
            "stdx",
            "thiserror",
            "tokio",
            "tokio-stream",
            "tonic",
            "tonic-prost",
            "tonic-prost-build",
            "tracing",
        ],
        tests_use: &["flate2", "tempfile"],
    },
    Layer {
        name: "mapreduce",
        // The command line is in here, because a user's binary with jobs in Rust has it too.
        uses: &[
            "bytes",
            "clap",
            "indicatif",
            "kv",
            "mapreduce-core",
            "mapreduce-data",
            "prost",
            "protox",
            "rustix",
            "serde",
            "serde_json",
            "stdx",
            "thiserror",
            "tokio",
            "tokio-stream",
            "tonic",
            "tonic-prost",
            "tonic-prost-build",
            "tracing",
            "tracing-subscriber",
        ],
        tests_use: &["tempfile"],
    },
    // Beside them: every decoder of bytes from outside, for the fuzzer.
    Layer {
        name: "fuzz-bodies",
        uses: &[
            "bytes",
            "kmeans",
            "kv",
            "kv-core",
            "kv-proto",
            "lsp-core",
            "mapreduce",
            "mapreduce-data",
            "miner-core",
            "prost",
            "raft",
            "resp",
            "stdx",
            "wal",
        ],
        tests_use: &[],
    },
    // The binary, and the tools beside it.
    Layer {
        name: "miner",
        uses: &[
            "bytes",
            "kv",
            "lsp",
            "miner-core",
            "miner-kernels",
            "stdx",
            "thiserror",
            "tokio",
            "tracing",
        ],
        tests_use: &["tempfile"],
    },
    Layer {
        name: "cli",
        uses: &[
            "anyhow",
            "bytes",
            "clap",
            "clap_complete",
            "hdrhistogram",
            "indicatif",
            "kmeans",
            "kv",
            "kv-proto",
            "lsp",
            "lsp-core",
            "mapreduce",
            "mapreduce-data",
            "mimalloc",
            "miner",
            "miner-core",
            "miner-kernels",
            "rustix",
            "serde",
            "serde_json",
            "stdx",
            "tokio",
            "toml",
            "tonic",
            "tracing",
            "tracing-subscriber",
            "wal",
        ],
        tests_use: &["expect-test", "redis", "tempfile"],
    },
    Layer {
        name: "xtask",
        uses: &["anyhow", "clap", "serde", "serde_json", "toml"],
        tests_use: &["tempfile"],
    },
];

pub(crate) fn check(tree: &Tree, report: &mut Report) {
    let members = tree
        .crates()
        .into_iter()
        .map(|name| (name, format!("crates/{name}/Cargo.toml")));
    for (name, path) in members.chain([("xtask", "xtask/Cargo.toml".to_owned())]) {
        let Some(file) = tree.get(&path) else {
            continue;
        };
        let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
            report.add(
                &path,
                0,
                "is in no layer: add it to xtask/src/tidy/layers.rs",
            );
            continue;
        };
        check_manifest(layer, &path, file.text(), report);
    }
}

fn check_manifest(layer: &Layer, path: &str, text: &str, report: &mut Report) {
    // A manifest that does not parse is reported by the check of manifests.
    let Ok(manifest) = text.parse::<toml::Table>() else {
        return;
    };
    for (section, may_test) in [
        ("dependencies", false),
        ("build-dependencies", false),
        ("dev-dependencies", true),
    ] {
        let Some(found) = manifest.get(section).and_then(toml::Value::as_table) else {
            continue;
        };
        for name in found.keys() {
            let name = name.as_str();
            let in_tests = may_test && layer.tests_use.contains(&name);
            if !layer.uses.contains(&name) && !in_tests {
                let line = text.lines().position(|line| line.starts_with(name));
                let text = format!(
                    "`{name}` is not allowed in [{section}] of {}: say why in xtask/src/tidy/layers.rs",
                    layer.name
                );
                report.add(path, line.map_or(0, |line| line + 1), text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tree: &Tree) -> Vec<String> {
        let mut report = Report::default();
        check(tree, &mut report);
        report.lines()
    }

    #[test]
    fn a_core_that_reaches_for_a_runtime_is_found() {
        let manifest = "[dependencies]\nbytes.workspace = true\ntokio.workspace = true\n";
        let lines = run(&Tree::of(&[("crates/raft/Cargo.toml", manifest)]));
        assert_eq!(
            lines,
            [
                "crates/raft/Cargo.toml:3: `tokio` is not allowed in [dependencies] of raft: say why in \
              xtask/src/tidy/layers.rs"
            ]
        );
    }

    #[test]
    fn test_dependencies_are_for_tests_only() {
        let allowed = "[dev-dependencies]\nsim.workspace = true\n";
        assert_eq!(
            run(&Tree::of(&[("crates/raft/Cargo.toml", allowed)])),
            [""; 0]
        );
        let refused = "[dependencies]\nsim.workspace = true\n";
        assert_eq!(
            run(&Tree::of(&[("crates/raft/Cargo.toml", refused)])).len(),
            1
        );
    }

    #[test]
    fn a_crate_in_no_layer_is_found() {
        let lines = run(&Tree::of(&[("crates/new/Cargo.toml", "")]));
        assert_eq!(lines.len(), 1, "{lines:?}");
    }

    #[test]
    fn arrows_between_our_crates_point_down() {
        for (at, layer) in LAYERS.iter().enumerate() {
            for other in layer.uses {
                let below = LAYERS[..at].iter().any(|lower| lower.name == *other);
                let ours = LAYERS.iter().any(|any| any.name == *other);
                assert!(
                    below || !ours,
                    "{} uses {other}, which is above it",
                    layer.name
                );
            }
        }
    }
}
