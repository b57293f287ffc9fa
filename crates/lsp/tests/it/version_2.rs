//! Version 2 on real sockets: the same calls, and what only it can do.

use bytes::Bytes;
use lsp::{Client, Config, ConnError, Protocol, PublicKey, ReadError, Server, Version};

use crate::{any_port, number, pair, quick, within};

fn speaking(protocol: Protocol) -> Config {
    let mut config = quick();
    config.core.protocol = protocol;
    config
}

#[tokio::test]
async fn messages_of_any_length_come_back_in_order() {
    within(async {
        let (server, client) = pair(speaking(Protocol::V2)).await;
        assert_eq!(client.stats().unwrap().version, Some(Version::V2));
        for length in [0, 1, 1_200, 100_000, 1_000_000] {
            let message = Bytes::from(vec![0xab; length]);
            client.write(message.clone()).await.unwrap();
            let (id, echoed) = server.read().await.unwrap();
            server.write(id, echoed.unwrap()).await.unwrap();
            assert_eq!(client.read().await.unwrap(), message);
        }
        client.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn ends_that_speak_both_agree_on_what_both_know() {
    within(async {
        for (there, here, spoken) in [
            (Protocol::Auto, Protocol::Auto, Version::V2),
            (Protocol::V1, Protocol::Auto, Version::V1),
            (Protocol::Auto, Protocol::V1, Version::V1),
        ] {
            let server = Server::bind(any_port(), speaking(there)).await.unwrap();
            let client = Client::connect(server.local_addr(), speaking(here))
                .await
                .unwrap();
            assert_eq!(client.stats().unwrap().version, Some(spoken));
            for i in 0..100 {
                client.write(number(i)).await.unwrap();
            }
            for i in 0..100 {
                assert_eq!(server.read().await.unwrap().1.unwrap(), number(i));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_close_is_told_and_no_loss() {
    within(async {
        let (server, client) = pair(speaking(Protocol::V2)).await;
        client.write(number(1)).await.unwrap();
        client.close().await.unwrap();
        let (id, message) = server.read().await.unwrap();
        assert_eq!(message.unwrap(), number(1));
        assert_eq!(
            server.read().await.unwrap(),
            (id, Err(ConnError::ClosedByPeer))
        );

        let client = Client::connect(server.local_addr(), speaking(Protocol::V2))
            .await
            .unwrap();
        // A server that closes before it knows of a client has nobody to tell.
        client.write(number(2)).await.unwrap();
        assert_eq!(server.read().await.unwrap().1.unwrap(), number(2));
        server.close().await.unwrap();
        assert!(matches!(client.read().await, Err(ReadError::ClosedByPeer)));
    })
    .await;
}

#[tokio::test]
async fn a_slow_reader_bounds_the_writer_and_gets_everything() {
    within(async {
        let mut config = speaking(Protocol::V2);
        config.core.message_bytes_max = 20_000;
        config.core.send_bytes_max = 100_000;
        config.core.receive_bytes_max = 100_000;
        let (server, client) = pair(config).await;
        let message = Bytes::from(vec![7; 10_000]);
        let write = async {
            for _ in 0..500 {
                client.write(message.clone()).await.unwrap();
            }
        };
        let read = async {
            for _ in 0..500 {
                assert_eq!(server.read().await.unwrap().1.unwrap(), message);
            }
        };
        tokio::join!(write, read);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_pins_a_key_talks_to_nobody_else() {
    within(async {
        let server = Server::bind(any_port(), speaking(Protocol::V2))
            .await
            .unwrap();
        let mut config = speaking(Protocol::V2);
        config.core.keys.server = Some(server.public_key());
        Client::connect(server.local_addr(), config.clone())
            .await
            .unwrap();
        config.core.keys.server = Some(PublicKey::new([9; 32]));
        assert!(Client::connect(server.local_addr(), config).await.is_err());
    })
    .await;
}
