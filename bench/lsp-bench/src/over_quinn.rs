//! QUIC by quinn: one stream, messages back to back.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};

use crate::meter::{Meter, Stamper};
use crate::{Receive, Send, Transport};

const NAME: &str = "bench";

fn transport_config(transport: Transport) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    if transport == Transport::QuinnBbr {
        config.congestion_controller_factory(Arc::new(BbrConfig::default()));
    } else {
        config.congestion_controller_factory(Arc::new(CubicConfig::default()));
    }
    Arc::new(config)
}

pub(crate) async fn receive(args: &Receive) -> Result<serde_json::Value> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    std::fs::write(&args.certificate, made.cert.der())
        .with_context(|| args.certificate.display().to_string())?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let chain = vec![CertificateDer::from(made.cert)];
    let mut config = ServerConfig::with_single_cert(chain, key.into())?;
    config.transport_config(transport_config(args.transport));
    let endpoint = Endpoint::server(config, args.bind)?;
    println!("ready");
    let connection = endpoint.accept().await.context("no connection")?.await?;
    let mut stream = connection.accept_uni().await?;
    let mut meter = Meter::new(args.span())?;
    let mut message = vec![0; args.message];
    loop {
        let read = stream.read_exact(&mut message);
        match meter.left() {
            None => read.await?,
            Some(left) => match tokio::time::timeout(left, read).await {
                Ok(read) => read?,
                Err(_) => return Ok(meter.report()),
            },
        }
        if meter.take(&message)? {
            return Ok(meter.report());
        }
    }
}

pub(crate) async fn send(args: &Send) -> Result<()> {
    let certificate =
        std::fs::read(&args.certificate).with_context(|| args.certificate.display().to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate))?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(transport_config(args.transport));
    let mut endpoint = Endpoint::client("0.0.0.0:0".parse()?)?;
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(args.to, NAME)?.await?;
    let mut stream = connection.open_uni().await?;
    let mut stamper = Stamper::new(args.message, args.rate)?;
    loop {
        let (message, wait) = stamper.next();
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
        stream.write_all(message).await?;
        tokio::task::consume_budget().await;
    }
}
