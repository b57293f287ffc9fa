//! The doors of a node: opened together, closed together.

use anyhow::Result;
use kv::node::Node;

#[derive(Debug)]
pub(crate) struct Doors {
    addresses: String,
}

impl Doors {
    pub(crate) fn open(node: &mut Node, resp_listen: &str, http_listen: &str) -> Result<Self> {
        let addresses = format!(
            "resp={resp_listen} grpc={} http={http_listen}",
            node.listen_address()
        );
        Ok(Self { addresses })
    }

    pub(crate) fn addresses(&self) -> &str {
        &self.addresses
    }

    pub(crate) async fn close(self) {}
}
