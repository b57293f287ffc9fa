//! Connections that say nothing but that they live.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use lsp::{Client, Config, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use crate::{Transport, over_lsp};

/// Connections that are asked for at once.
const AT_ONCE: usize = 100;

fn config(transport: Transport, connections: usize) -> Config {
    let mut config = over_lsp::config(transport);
    config.core.connections_max = connections + AT_ONCE;
    config.core.connections_per_address_max = connections + AT_ONCE;
    config
}

pub(crate) async fn serve(
    bind: SocketAddr,
    transport: Transport,
    connections: usize,
) -> Result<()> {
    let server = Server::bind(bind, config(transport, connections)).await?;
    println!("ready");
    loop {
        let (id, message) = server.read().await?;
        if let Err(end) = message {
            println!("{id}: {end}");
        }
    }
}

pub(crate) async fn connect(
    to: SocketAddr,
    transport: Transport,
    connections: usize,
) -> Result<()> {
    allow_sockets()?;
    let mut clients = Vec::with_capacity(connections);
    let mut asking = JoinSet::new();
    for _ in 0..connections {
        let mut config = config(transport, connections);
        // Ten thousand times 4 MiB is more than the machine has.
        config.socket_buffer_bytes = 8_192;
        asking.spawn(Client::connect(to, config));
        if asking.len() == AT_ONCE
            && let Some(client) = asking.join_next().await
        {
            clients.push(client??);
        }
    }
    while let Some(client) = asking.join_next().await {
        clients.push(client??);
    }
    println!("ready {}", clients.len());
    std::future::pending::<()>().await;
    Ok(())
}

/// Each client has a socket, and systems allow few open files unless they are asked.
fn allow_sockets() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}
