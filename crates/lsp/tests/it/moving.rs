//! Clients whose address changes: by their own doing, or by that of a router on the way.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use lsp::{Client, Config, Protocol, RebindError, Server};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::{any_port, number, pair, quick, within};

const MESSAGES: usize = 3_000;

fn speaking(protocol: Protocol) -> Config {
    let mut config = quick();
    // A busy machine may stop a test for longer than a quick peer has patience.
    config.core.epoch_limit = 100;
    config.core.protocol = protocol;
    config
}

/// Sends numbered messages in both directions and checks that each arrives once and in
/// order; `meanwhile` is called before each is written.
async fn talk(server: &Server, client: &Client, mut meanwhile: impl AsyncFnMut(usize)) {
    client.write(Bytes::from_static(b"first")).await.unwrap();
    let (id, _) = server.read().await.unwrap();
    let up = async {
        for i in 0..MESSAGES {
            meanwhile(i).await;
            client.write(number(i)).await.unwrap();
        }
    };
    let there = async {
        for i in 0..MESSAGES {
            let (_, message) = server.read().await.unwrap();
            assert_eq!(message.unwrap(), number(i));
            server.write(id, number(i)).await.unwrap();
        }
    };
    let back = async {
        for i in 0..MESSAGES {
            assert_eq!(client.read().await.unwrap(), number(i));
        }
    };
    tokio::join!(up, there, back);
}

#[tokio::test]
async fn a_client_goes_over_to_another_socket_and_loses_nothing() {
    within(async {
        let (server, client) = pair(speaking(Protocol::V2)).await;
        let mut ports = vec![client.local_addr().port()];
        talk(&server, &client, async |i| {
            if i % 500 == 250 {
                client.rebind().await.unwrap();
                ports.push(client.local_addr().port());
            }
        })
        .await;
        assert_eq!(ports.len(), 7);
        assert!(ports.windows(2).all(|pair| pair[0] != pair[1]));
        let remote = server.remote_addr(client.conn_id()).unwrap();
        assert_eq!(remote.port(), *ports.last().unwrap(), "the server followed");
        client.close().await.unwrap();
        assert!(matches!(client.rebind().await, Err(RebindError::Over)));
    })
    .await;
}

#[tokio::test]
async fn a_connection_of_version_1_stays_where_it_is() {
    within(async {
        let (server, client) = pair(speaking(Protocol::V1)).await;
        let before = client.local_addr();
        assert!(matches!(client.rebind().await, Err(RebindError::Unable)));
        assert_eq!(client.local_addr(), before);
        client.write(number(1)).await.unwrap();
        assert_eq!(server.read().await.unwrap().1.unwrap(), number(1));
    })
    .await;
}

/// A router that gives one client an address of its own, and another one when it is told
/// to forget it.
struct Router {
    inside: SocketAddr,
    forget: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Router {
    async fn towards(server: SocketAddr) -> Self {
        let inside = UdpSocket::bind(any_port()).await.unwrap();
        let address = inside.local_addr().unwrap();
        let forget = Arc::new(Notify::new());
        let task = tokio::spawn(Self::route(inside, server, Arc::clone(&forget)));
        Self {
            inside: address,
            forget,
            task,
        }
    }

    async fn route(inside: UdpSocket, server: SocketAddr, forget: Arc<Notify>) {
        let mut outside = UdpSocket::bind(any_port()).await.unwrap();
        let mut client = None;
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            // What can't be sent is lost, as at any router.
            tokio::select! {
                arrived = inside.recv_from(&mut up) => {
                    let (bytes, from) = arrived.unwrap();
                    client = Some(from);
                    let _lost = outside.send_to(&up[..bytes], server).await;
                }
                arrived = outside.recv_from(&mut down) => {
                    if let (Ok((bytes, _)), Some(client)) = (arrived, client) {
                        let _lost = inside.send_to(&down[..bytes], client).await;
                    }
                }
                () = forget.notified() => {
                    outside = UdpSocket::bind(any_port()).await.unwrap();
                }
            }
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_router_that_forgets_its_client_costs_no_message() {
    within(async {
        let config = speaking(Protocol::V2);
        let server = Server::bind(any_port(), config.clone()).await.unwrap();
        let router = Router::towards(server.local_addr()).await;
        let client = Client::connect(router.inside, config).await.unwrap();
        let id = client.conn_id();
        let mut seen = std::collections::BTreeSet::new();
        talk(&server, &client, async |i| {
            seen.extend(server.remote_addr(id));
            if i % 1_000 == 500 {
                router.forget.notify_one();
            }
        })
        .await;
        seen.extend(server.remote_addr(id));
        assert!(seen.len() > 1, "the server followed: {seen:?}");
        client.close().await.unwrap();
    })
    .await;
}
