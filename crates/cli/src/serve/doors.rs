//! The doors of a node: opened together, closed together.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use kv::grpc::{self, GrpcMetrics};
use kv::http::{HttpServer, Recorder, Sources};
use kv::node::Node;
use kv::resp_server::{self, RespServer};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Everything that clients of one node connect to.
#[derive(Debug)]
pub(crate) struct Doors {
    resp: RespServer,
    grpc: SocketAddr,
    http: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<Result<()>>>,
}

impl Doors {
    pub(crate) async fn open(
        node: &mut Node,
        recorder: Recorder,
        resp_listen: &str,
        http_listen: &str,
    ) -> Result<Self> {
        let http = HttpServer::bind(http_listen)
            .await
            .context("no door for metrics")?;
        let options = resp_server::Options {
            listen: resp_listen.to_owned(),
            ..Default::default()
        };
        let resp =
            RespServer::start(node.handle(), &options).context("no door for Redis clients")?;
        let incoming = node
            .grpc_incoming()
            .context("a node hands its connections out once")?;
        let (handle, metrics) = (node.handle(), GrpcMetrics::default());
        let grpc_address = node.listen_address().context("a node with doors listens")?;
        let http_address = http.local_addr();
        let (stop, stopping) = watch::channel(false);
        let sources = Sources::new(
            handle.clone(),
            Some(recorder),
            metrics.clone(),
            grpc_address,
            Some(&resp),
        );
        let until = stopped(stopping.clone());
        let grpc = tokio::spawn(async move {
            grpc::serve(handle, incoming, metrics, until)
                .await
                .context("gRPC")
        });
        let until = stopped(stopping);
        let http = tokio::spawn(async move { http.serve(sources, until).await.context("HTTP") });
        Ok(Self {
            resp,
            grpc: grpc_address,
            http: http_address,
            stop,
            serving: vec![grpc, http],
        })
    }

    pub(crate) fn addresses(&self) -> String {
        format!(
            "resp={} grpc={} http={}",
            self.resp.local_addr(),
            self.grpc,
            self.http
        )
    }

    /// Finishes what is under way and closes.
    pub(crate) async fn close(self) {
        self.stop.send_replace(true);
        self.resp.shutdown().await;
        for door in self.serving {
            match door.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "a door failed"),
                Err(error) => tracing::error!(%error, "a door panicked"),
            }
        }
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the doors were dropped: time to stop as well.
    let _gone = stopping.wait_for(|stop| *stop).await;
}
