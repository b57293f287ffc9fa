//! The gRPC door: the services `Kv` and `Admin`, with reflection and health.
//!
//! Any node answers any call: writes are forwarded to the leader, linearizable reads wait for its
//! confirmation. Only changes of members and of the leader must be sent to the leader; the error
//! says where that is, in the metadata key `kontiki-leader`.

mod admin;
mod deadline;
mod fuzz;
mod health;
mod kv_service;
mod pipeline;
mod stats;
mod status;

use core::future::Future;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use kv_core::limits::BATCH_BYTES_MAX;
use kv_proto::admin::v1::admin_server::AdminServer;
use kv_proto::kv::v1::kv_server::KvServer;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::node::Handle;

pub use fuzz::fuzz_requests;
pub(crate) use stats::{GrpcStats, Method};
pub use status::{LEADER_KEY, OUTCOME_KEY, OUTCOME_REJECTED};

/// Bytes of one message: the largest batch, and what is around it.
const MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + (1 << 20);

/// Calls under way on one connection; more wait in the client.
const STREAMS_MAX: u32 = 1_024;

/// Bytes that a client may send before the server has looked at them.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Idle connections are asked whether they are still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why the door stopped.
#[derive(Debug, Error)]
pub enum GrpcError {
    /// The descriptions of the services can't be read: a mistake in the build.
    #[error("the reflection service could not be made")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// Serving failed.
    #[error("the gRPC door failed")]
    Serve(#[source] tonic::transport::Error),
}

/// What the gRPC door counts, shared with the HTTP door's metrics.
#[derive(Clone, Debug, Default)]
pub struct GrpcMetrics(pub(crate) Arc<GrpcStats>);

/// Serves connections as they come in, until `shutdown`; then calls under way are finished.
///
/// # Errors
///
/// When the services can't be made or the server fails.
pub async fn serve(
    handle: Handle,
    incoming: mpsc::Receiver<TcpStream>,
    metrics: GrpcMetrics,
    shutdown: impl Future<Output = ()>,
) -> Result<(), GrpcError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(kv_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(GrpcError::Reflection)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    let (closing, is_closing) = watch::channel(false);
    let shutdown = async {
        shutdown.await;
        // Calls that would never end by themselves end now.
        closing.send_replace(true);
    };
    let kv = kv_service::KvService {
        handle: handle.clone(),
        stats: metrics.0,
        closing: is_closing,
    };
    let kv = KvServer::new(kv)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let admin = AdminServer::new(admin::AdminService {
        handle: handle.clone(),
    });
    let server = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(kv)
        .add_service(admin)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(incoming).map(Ok::<_, io::Error>),
            shutdown,
        );
    tokio::select! {
        served = server => served.map_err(GrpcError::Serve),
        never = health::report(handle, reporter) => match never {},
    }
}
