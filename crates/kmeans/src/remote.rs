//! A job with processes: the master's side, the worker's side, and what they say.

use std::time::Duration;

use mapreduce_data::Compression;

use crate::input::{Format, Segment, npy};

mod codec;
mod fuzz;
mod journal;
mod master;
mod pool;
mod worker;

pub(crate) use fuzz::run as fuzz_message;
#[doc(hidden)]
pub use fuzz::samples as fuzz_message_samples;
pub use journal::Journal;
pub use master::{Setup, run};
pub use worker::{WorkerConfig, serve};

#[expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::doc_markdown,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "generated code"
)]
mod proto {
    tonic::include_proto!("kontiki.kmeans.v1");
}

/// A connection that takes longer than this is none: it is this machine, or one near it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WINDOW_BYTES: u32 = 8 << 20;

type Client = proto::worker_client::WorkerClient<tonic::transport::Channel>;

/// Connects to a worker.
async fn connect(address: &str) -> Result<Client, tonic::Status> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect()
        .await
        .map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    Ok(Client::new(channel)
        .max_decoding_message_size(crate::limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(crate::limits::MESSAGE_BYTES_MAX))
}

const TEXT: u32 = 1;
const NPY: u32 = 2;
const PARQUET: u32 = 3;

/// Their places are their numbers.
const COMPRESSIONS: [Compression; 4] = [
    Compression::None,
    Compression::Gzip,
    Compression::Zstd,
    Compression::Lz4,
];

fn segment_to_proto(segment: &Segment) -> proto::Segment {
    let bare = proto::Segment {
        location: segment.location.clone(),
        start: segment.start,
        length: segment.length,
        size: segment.size,
        ..proto::Segment::default()
    };
    match segment.format {
        Format::Text {
            compression,
            header,
        } => proto::Segment {
            format: TEXT,
            compression: (0..)
                .zip(COMPRESSIONS)
                .find_map(|(number, known)| (known == compression).then_some(number))
                .expect("all are listed"),
            header,
            ..bare
        },
        Format::Npy(kind) => proto::Segment {
            format: NPY,
            kind: kind.name().to_owned(),
            ..bare
        },
        Format::Parquet { group, before } => proto::Segment {
            format: PARQUET,
            group,
            before,
            ..bare
        },
    }
}

fn segment_from_proto(segment: &proto::Segment) -> Option<Segment> {
    let format = match segment.format {
        TEXT => Format::Text {
            compression: *COMPRESSIONS.get(segment.compression as usize)?,
            header: segment.header,
        },
        NPY => Format::Npy(npy::Kind::from_name(&segment.kind)?),
        PARQUET => Format::Parquet {
            group: segment.group,
            before: segment.before,
        },
        _ => return None,
    };
    segment.start.checked_add(segment.length)?;
    Some(Segment {
        location: segment.location.clone(),
        size: segment.size,
        format,
        start: segment.start,
        length: segment.length,
    })
}
