//! A job with processes: the master's side, the worker's side, and what they say.

use std::time::Duration;

use crate::input::{Format, Segment, npy};

mod codec;
mod journal;
mod master;
mod pool;
mod worker;

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

fn segment_to_proto(segment: &Segment) -> proto::Segment {
    let (format, kind) = match segment.format {
        Format::Text => (TEXT, String::new()),
        Format::Npy(kind) => (NPY, kind.name().to_owned()),
    };
    proto::Segment {
        path: segment.path.to_string_lossy().into_owned(),
        format,
        start: segment.start,
        length: segment.length,
        kind,
    }
}

fn segment_from_proto(segment: &proto::Segment) -> Option<Segment> {
    let format = match segment.format {
        TEXT => Format::Text,
        NPY => Format::Npy(npy::Kind::from_name(&segment.kind)?),
        _ => return None,
    };
    segment.start.checked_add(segment.length)?;
    Some(Segment {
        path: segment.path.clone().into(),
        format,
        start: segment.start,
        length: segment.length,
    })
}
