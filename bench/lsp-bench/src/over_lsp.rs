//! LSP, both versions.

use anyhow::{Result, bail};
use bytes::Bytes;
use lsp::{Client, Config, Protocol, Server};

use crate::meter::{Meter, Stamper};
use crate::{Receive, Send, Transport};

pub(crate) fn config(transport: Transport) -> Config {
    let mut config = match transport {
        Transport::Lsp1Original => Config::original(),
        _ => Config::default(),
    };
    config.core.protocol = match transport {
        Transport::Lsp2 => Protocol::V2,
        _ => Protocol::V1,
    };
    // A queue of a second at 20 Mbit/s is enough, and shows latency for what it is.
    config.core.send_bytes_max = 4 << 20;
    config
}

pub(crate) async fn receive(args: &Receive) -> Result<serde_json::Value> {
    let server = Server::bind(args.bind, config(args.transport)).await?;
    println!("ready");
    let mut meter = Meter::new(args.span())?;
    loop {
        let read = match meter.left() {
            None => server.read().await?,
            Some(left) => match tokio::time::timeout(left, server.read()).await {
                Ok(read) => read?,
                Err(_) => return Ok(meter.report()),
            },
        };
        let (_, message) = read;
        let mut over = meter.take(&message?)?;
        // As long as there is more, nothing needs to wait.
        while !over && let Some((_, message)) = server.try_read()? {
            over = meter.take(&message?)?;
        }
        if over {
            return Ok(meter.report());
        }
    }
}

pub(crate) async fn send(args: &Send) -> Result<()> {
    let client = Client::connect(args.to, config(args.transport)).await?;
    let mut stamper = Stamper::new(args.message, args.rate)?;
    let mut reported = std::time::Instant::now();
    loop {
        if args.verbose && reported.elapsed() > std::time::Duration::from_secs(1) {
            reported = std::time::Instant::now();
            eprintln!("{:?}", client.stats());
        }
        let (message, wait) = stamper.next();
        let message = Bytes::copy_from_slice(message);
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
        if let Err(error) = client.write(message).await {
            bail!("the receiver is gone: {error}");
        }
        // A write that doesn't wait never lets anything else run on this thread.
        tokio::task::consume_budget().await;
    }
}
