//! The HTTP door: metrics for Prometheus, health for orchestrators, and a page that says where
//! everything is.

mod metrics;

use core::future::Future;
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::grpc::GrpcMetrics;
use crate::node::Handle;
use crate::readiness::is_ready;
use crate::resp_server::{RespDoor, RespServer};

/// How often histograms are condensed, so that they don't grow between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the door could not be opened or kept open. Says what to do.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address is taken.
    #[error("port in use: something listens on {address} already; stop it or choose another port")]
    PortInUse {
        /// The address.
        address: Box<str>,
    },
    /// The address can't be used.
    #[error("could not listen on {address} for HTTP")]
    Listen {
        /// The address.
        address: Box<str>,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Serving failed.
    #[error("the HTTP door failed")]
    Serve(#[source] io::Error),
}

/// The recorder of the process's metrics.
#[derive(Clone, Debug)]
pub struct Recorder(PrometheusHandle);

impl Recorder {
    /// Installs the recorder. Do it before a node starts, once per process.
    ///
    /// # Errors
    ///
    /// When the process has a recorder already.
    pub fn install() -> Result<Self, BuildError> {
        PrometheusBuilder::new().install_recorder().map(Self)
    }
}

/// What the door shows.
pub struct Sources {
    /// The node.
    pub handle: Handle,
    /// The process's metrics; none in tests with several nodes in one process.
    pub recorder: Option<Recorder>,
    /// What the gRPC door counts.
    pub grpc: GrpcMetrics,
    /// Where the gRPC door is.
    pub grpc_address: SocketAddr,
    /// The RESP door, if it is open.
    pub(crate) resp: Option<(Arc<RespDoor>, SocketAddr)>,
}

impl Sources {
    /// Sources for a node.
    #[must_use]
    pub fn new(
        handle: Handle,
        recorder: Option<Recorder>,
        grpc: GrpcMetrics,
        grpc_address: SocketAddr,
        resp: Option<&RespServer>,
    ) -> Self {
        let resp = resp.map(|server| (server.door(), server.local_addr()));
        Self {
            handle,
            recorder,
            grpc,
            grpc_address,
            resp,
        }
    }
}

impl core::fmt::Debug for Sources {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sources")
            .field("grpc_address", &self.grpc_address)
            .finish_non_exhaustive()
    }
}

/// The door, listening and not yet serving.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    local: SocketAddr,
}

impl HttpServer {
    /// Listens on `host:port`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address can't be listened on.
    pub async fn bind(listen: &str) -> Result<Self, HttpError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => HttpError::PortInUse {
                address: listen.into(),
            },
            _ => HttpError::Listen {
                address: listen.into(),
                source,
            },
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local })
    }

    /// Where the door is, with the port that the system chose.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until `shutdown`; then requests under way are finished.
    ///
    /// # Errors
    ///
    /// When serving fails.
    pub async fn serve(
        self,
        sources: Sources,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), HttpError> {
        let upkeep = upkeep(sources.recorder.clone());
        let page = Arc::new(Page {
            sources,
            http: self.local,
        });
        let router = Router::new()
            .route("/", get(index))
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(page);
        let server = axum::serve(self.listener, router).with_graceful_shutdown(shutdown);
        tokio::select! {
            served = server => served.map_err(HttpError::Serve),
            () = upkeep => Ok(()),
        }
    }
}

/// Condenses histograms, for ever.
async fn upkeep(recorder: Option<Recorder>) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        if let Some(Recorder(recorder)) = &recorder {
            recorder.run_upkeep();
        }
    }
}

struct Page {
    sources: Sources,
    http: SocketAddr,
}

const TEXT: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; charset=utf-8");

async fn index(State(page): State<Arc<Page>>) -> impl IntoResponse {
    let status = page.sources.handle.status();
    let (grpc, http) = (page.sources.grpc_address, page.http);
    let resp = match &page.sources.resp {
        Some((_, address)) => {
            format!(
                "Redis     redis-cli -h {} -p {}\n",
                address.ip(),
                address.port()
            )
        }
        None => String::new(),
    };
    let leader = status
        .leader
        .map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
    let text = format!(
        "Kontiki {}: node {} of cluster {}, {}, led by {leader}.\n\n\
         {resp}\
         gRPC      {grpc}, services kontiki.kv.v1.Kv and kontiki.admin.v1.Admin, with reflection\n\
         metrics   http://{http}/metrics for Prometheus\n\
         health    http://{http}/healthz while the process lives, /readyz while it can serve\n",
        env!("CARGO_PKG_VERSION"),
        status.node_id,
        status.cluster_id,
        status.role.name(),
    );
    ([TEXT], text)
}

async fn metrics(State(page): State<Arc<Page>>) -> impl IntoResponse {
    let mut text = metrics::render(&page.sources);
    if let Some(Recorder(recorder)) = &page.sources.recorder {
        text += &recorder.render();
    }
    let kind = (
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    );
    ([kind], text)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(page): State<Arc<Page>>) -> Response {
    if is_ready(&page.sources.handle) {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no leader is known\n").into_response()
    }
}
