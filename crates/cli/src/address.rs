//! Addresses: what may be listened on, and whether a port is free.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use anyhow::Result;

use crate::error::Hint;

/// Whether only this machine can reach a listener on `host:port`.
fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// There is no authentication yet: whoever reaches a listener may do everything.
pub(crate) fn refuse_open(addresses: &[&str], insecure: bool) -> Result<()> {
    if insecure {
        return Ok(());
    }
    if let Some(open) = addresses.iter().find(|address| !is_local(address)) {
        return Err(Hint::new(
            format!(
                "{open} can be reached from other machines, and there is no authentication yet"
            ),
            "listen on 127.0.0.1; or, in a network that you trust, add --insecure-listen",
        )
        .into());
    }
    Ok(())
}

/// Whether somebody listens there already.
pub(crate) fn is_taken(address: SocketAddr) -> io::Result<bool> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_local() {
        for local in ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:1"] {
            assert!(is_local(local), "{local}");
            refuse_open(&[local], false).unwrap();
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1"] {
            assert!(!is_local(open), "{open}");
            assert!(
                refuse_open(&["127.0.0.1:1", open], false).is_err(),
                "{open}"
            );
            refuse_open(&[open], true).unwrap();
        }
    }

    #[test]
    fn a_taken_port_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_taken(address).unwrap());
        drop(listener);
        assert!(!is_taken(address).unwrap());
    }
}
