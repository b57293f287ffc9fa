//! Messages: in order, each once, to many clients.

use std::sync::Arc;

use bytes::Bytes;
use lsp::{Client, ConnectError, Server, WriteError};

use crate::{any_port, number, original, pair, quick, within};

#[tokio::test]
async fn messages_come_back_in_order() {
    within(async {
        for config in [quick(), original()] {
            let (server, client) = pair(config).await;
            for i in 0..200 {
                client.write(number(i)).await.unwrap();
            }
            for i in 0..200 {
                let (id, message) = server.read().await.unwrap();
                assert_eq!(id, client.conn_id());
                let message = message.unwrap();
                assert_eq!(message, number(i));
                server.write(id, message).await.unwrap();
            }
            for i in 0..200 {
                assert_eq!(client.read().await.unwrap(), number(i));
            }
            client.close().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn the_empty_message_and_the_longest_one_arrive() {
    within(async {
        let (server, client) = pair(quick()).await;
        let longest = Bytes::from(vec![0xab; 1_000]);
        client.write(Bytes::new()).await.unwrap();
        client.write(longest.clone()).await.unwrap();
        assert_eq!(server.read().await.unwrap().1.unwrap(), Bytes::new());
        assert_eq!(server.read().await.unwrap().1.unwrap(), longest);
        let too_long = client.write(Bytes::from(vec![0; 1_001])).await;
        assert!(matches!(
            too_long,
            Err(WriteError::TooLong {
                bytes: 1_001,
                bytes_max: 1_000
            })
        ));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_talks_to_many_clients_at_once() {
    const CLIENTS: usize = 50;
    const MESSAGES: usize = 100;
    within(async {
        let server = Arc::new(Server::bind(any_port(), quick()).await.unwrap());
        let echo = Arc::clone(&server);
        let echo = tokio::spawn(async move {
            while let Ok((id, message)) = echo.read().await {
                // A client that has everything may be gone before its end is noticed.
                if let Ok(message) = message {
                    echo.write(id, message).await.unwrap();
                }
            }
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(chat(server.local_addr(), MESSAGES)))
            .collect();
        let mut ids = Vec::new();
        for client in clients {
            ids.push(client.await.unwrap());
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CLIENTS, "each client has an id of its own");
        // The clients are gone without a word, so some may count as lost.
        let _clean_or_lost = server.close().await;
        echo.await.unwrap();
    })
    .await;
}

async fn chat(server: std::net::SocketAddr, messages: usize) -> lsp::ConnId {
    let client = Client::connect(server, quick()).await.unwrap();
    for i in 0..messages {
        client.write(number(i)).await.unwrap();
    }
    for i in 0..messages {
        assert_eq!(client.read().await.unwrap(), number(i));
    }
    client.close().await.unwrap();
    client.conn_id()
}

#[tokio::test]
async fn connections_with_messages_take_turns() {
    within(async {
        let server = Server::bind(any_port(), quick()).await.unwrap();
        let busy = Client::connect(server.local_addr(), quick()).await.unwrap();
        let calm = Client::connect(server.local_addr(), quick()).await.unwrap();
        for i in 0..100 {
            busy.write(number(i)).await.unwrap();
        }
        calm.write(number(0)).await.unwrap();
        // Closing waits for acknowledgements: all of it has arrived.
        busy.close().await.unwrap();
        calm.close().await.unwrap();
        let mut order = Vec::new();
        for _ in 0..101 {
            let (id, message) = server.read().await.unwrap();
            message.unwrap();
            order.push(id);
        }
        let turn = order.iter().position(|&id| id == calm.conn_id());
        assert!(
            turn < Some(2),
            "the calm one's only message came {turn:?}th"
        );
    })
    .await;
}

#[tokio::test]
async fn nobody_answers() {
    within(async {
        // A socket that takes everything and says nothing.
        let silent = std::net::UdpSocket::bind(any_port()).unwrap();
        let remote = silent.local_addr().unwrap();
        let outcome = Client::connect(remote, quick()).await;
        assert!(matches!(outcome, Err(ConnectError::NoAnswer { remote: r }) if r == remote));
    })
    .await;
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_is_refused() {
    let mut config = quick();
    config.core.window_size = 0;
    let error = Server::bind(any_port(), config).await.unwrap_err();
    assert_eq!(error.to_string(), "configuration is not valid");
    let mut config = quick();
    config.socket_buffer_bytes = 1;
    assert!(Client::connect(any_port(), config).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let server = Server::bind(any_port(), quick()).await.unwrap();
    let error = Server::bind(server.local_addr(), quick())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&server.local_addr().to_string()), "{text}");
}
