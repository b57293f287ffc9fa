//! What the fuzz targets do with their bytes.
//!
//! Every place where bytes from outside come in has a [`Target`] here: a function that takes any
//! bytes and panics when a promise is broken, and samples of good input to start from. `fuzz/`
//! hands the functions to cargo-fuzz, which needs a nightly toolchain; the tests of this crate run
//! the same functions under a seeded generator of mutations ([`Mutator`]), which needs nothing.
//!
//! A finding becomes a test of the crate that it was found in. How to reproduce one is in
//! `docs/internals/fuzzing.md`.

mod commands;
mod messages;
mod mutate;
mod protobuf;
mod table;

pub use mutate::Mutator;

/// One door for bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of the binary in `fuzz/`.
    pub name: &'static str,
    /// Takes any bytes; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Good input.
    pub samples: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 26] = [
    Target {
        name: "wal_recover",
        run: wal::fuzz_recover,
        samples: wal::fuzz_samples,
    },
    Target {
        name: "raft_wire",
        run: messages::run,
        samples: messages::samples,
    },
    Target {
        name: "resp_requests",
        run: resp::fuzz::requests,
        samples: resp_requests,
    },
    Target {
        name: "resp_replies",
        run: resp::fuzz::replies,
        samples: resp_replies,
    },
    Target {
        name: "kv_commands",
        run: commands::run_commands,
        samples: commands::command_samples,
    },
    Target {
        name: "kv_replies",
        run: commands::run_replies,
        samples: commands::reply_samples,
    },
    Target {
        name: "kv_apply",
        run: commands::run_apply,
        samples: commands::command_samples,
    },
    Target {
        name: "lsp_codec",
        run: lsp_core::fuzz::codec,
        samples: lsp_datagrams,
    },
    Target {
        name: "lsp_endpoint",
        run: lsp_core::fuzz::endpoint,
        samples: lsp_steps,
    },
    Target {
        name: "mapreduce_run",
        run: mapreduce_data::fuzz::extent,
        samples: mapreduce_data::fuzz::extent_samples,
    },
    Target {
        name: "mapreduce_jobs",
        run: mapreduce::fuzz::jobs,
        samples: mapreduce::fuzz::samples,
    },
    Target {
        name: "mapreduce_streaming",
        run: mapreduce_data::fuzz::streaming,
        samples: mapreduce_data::fuzz::streaming_samples,
    },
    Target {
        name: "mapreduce_inputs",
        run: mapreduce_data::fuzz::inputs,
        samples: mapreduce_data::fuzz::input_samples,
    },
    Target {
        name: "mapreduce_parquet",
        run: mapreduce_data::fuzz::parquet,
        samples: mapreduce_data::fuzz::parquet_samples,
    },
    Target {
        name: "kmeans_lines",
        run: kmeans::fuzz::lines,
        samples: kmeans::fuzz::line_samples,
    },
    Target {
        name: "kmeans_files",
        run: kmeans::fuzz::file,
        samples: kmeans::fuzz::file_samples,
    },
    Target {
        name: "kmeans_messages",
        run: kmeans::fuzz::message,
        samples: kmeans::fuzz::message_samples,
    },
    Target {
        name: "lsp_codec_v2",
        run: lsp_core::fuzz::codec_v2,
        samples: lsp_core::fuzz::codec_v2_samples,
    },
    Target {
        name: "lsp_endpoint_v2",
        run: lsp_core::fuzz::endpoint_v2,
        samples: lsp_core::fuzz::endpoint_v2_samples,
    },
    Target {
        name: "kv_protobuf",
        run: protobuf::run,
        samples: protobuf::samples,
    },
    Target {
        name: "kv_requests",
        run: kv::grpc::fuzz_requests,
        samples: protobuf::write_samples,
    },
    Target {
        name: "kv_resp_commands",
        run: kv::resp_server::fuzz_commands,
        samples: resp_commands,
    },
    Target {
        name: "peer_frames",
        run: kv::fuzz_frames,
        samples: kv::fuzz_frames_samples,
    },
    Target {
        name: "miner_codec",
        run: miner_core::fuzz::codec,
        samples: miner_core::fuzz::codec_samples,
    },
    Target {
        name: "miner_header",
        run: miner_core::fuzz::header,
        samples: miner_core::fuzz::header_samples,
    },
    Target {
        name: "miner_pool",
        run: miner_core::fuzz::pool,
        samples: miner_core::fuzz::pool_samples,
    },
];

/// The target with this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs one target by name, for the binaries in `fuzz/`.
///
/// # Panics
///
/// When there is no such target, or when it finds something.
pub fn run(name: &str, bytes: &[u8]) {
    let target = target(name).expect("the binaries in fuzz/ are named like the targets");
    (target.run)(bytes);
}

fn resp_requests() -> Vec<Vec<u8>> {
    [
        "\0*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
        "\x01*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nx\r\n",
        "\x02*0\r\n*-1\r\n*1\r\n$0\r\n\r\n",
        "\x05PING\r\nSET \"a b\" 'c d'\r\n\r\nGET x\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn resp_commands() -> Vec<Vec<u8>> {
    [
        "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
        "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nPX\r\n$3\r\n100\r\n",
        "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n2\r\n",
        "*3\r\n$6\r\nINCRBY\r\n$1\r\nn\r\n$2\r\n-7\r\n",
        "*4\r\n$6\r\nEXPIRE\r\n$1\r\nk\r\n$2\r\n10\r\n$2\r\nGT\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn resp_replies() -> Vec<Vec<u8>> {
    [
        "+OK\r\n-ERR no\r\n:42\r\n$5\r\nhello\r\n$-1\r\n",
        "*2\r\n:1\r\n*1\r\n_\r\n%1\r\n+a\r\n,1.5\r\n~1\r\n#t\r\n",
        "=7\r\ntxt:abc\r\n(123456789012345678901\r\n>2\r\n+a\r\n+b\r\n",
        "|1\r\n+ttl\r\n:1\r\n:2\r\n,nan\r\n,-inf\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn lsp_datagrams() -> Vec<Vec<u8>> {
    use lsp_core::{ConnId, Message, SeqNum, wire};

    let (id, seq) = (ConnId::new(1), SeqNum::new(2));
    let payload = bytes::Bytes::from_static(b"payload");
    let offer = bytes::Bytes::new();
    let messages = [
        Message::Connect { isn: seq, offer },
        Message::Data { id, seq, payload },
        Message::Ack { id, seq },
        Message::CAck { id, seq },
    ];
    let encode = |message| {
        let mut datagram = Vec::new();
        wire::encode(message, &mut datagram);
        datagram
    };
    messages.iter().map(encode).collect()
}

/// Steps for the endpoint: what to do, how many bytes, the bytes.
fn lsp_steps() -> Vec<Vec<u8>> {
    let mut real = Vec::new();
    for (what, datagram) in (0_u8..).step_by(16).zip(lsp_datagrams()) {
        real.push(what);
        real.push(u8::try_from(datagram.len()).unwrap_or(u8::MAX));
        real.extend_from_slice(&datagram);
    }
    // The same with the forged messages that the body makes of a few bytes.
    let forged = [
        [4, 4, 0, 1, 0, 3],
        [4, 4, 1, 1, 0, 4],
        [68, 4, 2, 1, 0, 5],
        [8, 4, 3, 1, 0, 6],
    ];
    vec![real, forged.concat()]
}
