//! The endpoint on real sockets: the original's semantics, lost peers, flow control,
//! hostile datagrams, and a peer of another make.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod closing;
mod flow;
mod hostile;
mod lost;
mod messages;
mod moving;
mod other_peer;
mod tiny;
mod version_2;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use lsp::{Client, Config, Server};

/// A configuration that notices a lost peer after about 200 ms.
fn quick() -> Config {
    let mut config = Config::default();
    config.core.epoch = Duration::from_millis(40);
    config
}

/// The specification's way of doing things, with epochs short enough for tests.
fn original() -> Config {
    let mut config = Config::original();
    config.core.epoch = Duration::from_millis(40);
    config
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn pair(config: Config) -> (Server, Client) {
    let server = Server::bind(any_port(), config.clone()).await.unwrap();
    let client = Client::connect(server.local_addr(), config).await.unwrap();
    (server, client)
}

fn number(i: usize) -> Bytes {
    Bytes::from(i.to_string())
}

/// Runs a test that must not hang: the bound is far above what it needs.
async fn within<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .expect("the test takes less than a minute")
}
