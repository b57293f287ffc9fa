//! Slow readers: they bound who writes to them, and nobody else.

use std::time::Duration;

use bytes::Bytes;
use lsp::{Client, Config, Server};

use crate::{any_port, number, pair, quick, within};

/// How long a write may take before it counts as waiting. Its value decides how long the
/// test takes, not whether it passes.
const PATIENCE: Duration = Duration::from_millis(200);

fn tight() -> Config {
    let mut config = quick();
    config.core.window_size = 4;
    config.core.max_unacked_messages = 4;
    config.core.send_messages_max = 16;
    config.core.receive_messages_max = 8;
    config
}

/// Writes numbers until a write waits; how many were taken.
async fn fill(client: &Client, first: usize) -> usize {
    for i in first.. {
        let write = client.write(number(i));
        if tokio::time::timeout(PATIENCE, write).await.is_err() {
            return i - first;
        }
    }
    unreachable!("numbers don't end")
}

#[tokio::test]
async fn a_reader_that_does_not_read_bounds_the_writer() {
    within(async {
        let (server, client) = pair(tight()).await;
        let taken = fill(&client, 0).await;
        // Unread there, under way, and queued here.
        assert!(taken <= 8 + 4 + 16 + 1, "{taken} messages were taken");
        for i in 0..taken {
            assert_eq!(server.read().await.unwrap().1.unwrap(), number(i));
        }
        // Reading made room; nothing was lost or repeated.
        client.write(number(taken)).await.unwrap();
        assert_eq!(server.read().await.unwrap().1.unwrap(), number(taken));
    })
    .await;
}

#[tokio::test]
async fn a_writer_that_waits_is_woken_by_room() {
    within(async {
        let (server, client) = pair(tight()).await;
        let write = async {
            for i in 0..1_000 {
                client.write(number(i)).await.unwrap();
            }
        };
        let read = async {
            for i in 0..1_000 {
                assert_eq!(server.read().await.unwrap().1.unwrap(), number(i));
            }
        };
        tokio::join!(write, read);
    })
    .await;
}

#[tokio::test]
async fn a_writer_that_waits_is_woken_by_the_loss() {
    within(async {
        let (server, client) = pair(tight()).await;
        fill(&client, 0).await;
        let (outcome, ()) = tokio::join!(client.write(number(0)), async {
            // Dropping it closes it: what it doesn't have to say needs no time.
            drop(server);
        });
        assert!(outcome.is_err() || client.read().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_slow_client_does_not_slow_another() {
    within(async {
        let server = Server::bind(any_port(), tight()).await.unwrap();
        let slow = Client::connect(server.local_addr(), tight()).await.unwrap();
        let fast = Client::connect(server.local_addr(), tight()).await.unwrap();
        let (slow_id, fast_id) = (slow.conn_id(), fast.conn_id());
        let stuck = async {
            for i in 0..200 {
                server.write(slow_id, number(i)).await.unwrap();
            }
        };
        let flowing = async {
            for i in 0..2_000 {
                server.write(fast_id, number(i)).await.unwrap();
            }
        };
        let reading = async {
            for i in 0..2_000 {
                assert_eq!(fast.read().await.unwrap(), number(i));
            }
            // Only now does the slow one begin to read.
            for i in 0..200 {
                assert_eq!(slow.read().await.unwrap(), number(i));
            }
        };
        tokio::join!(stuck, flowing, reading);
    })
    .await;
}

#[tokio::test]
async fn bytes_are_bounded_as_well_as_messages() {
    within(async {
        let mut config = quick();
        config.core.window_size = 4;
        config.core.send_bytes_max = 10_000;
        config.core.receive_bytes_max = 10_000;
        let (server, client) = pair(config).await;
        let message = Bytes::from(vec![1; 1_000]);
        let mut taken = 0;
        while tokio::time::timeout(PATIENCE, client.write(message.clone()))
            .await
            .is_ok()
        {
            taken += 1;
        }
        // Unread there, under way, and queued here.
        assert!(
            taken <= 10 + 4 + 10 + 1,
            "{taken} messages of 1,000 bytes were taken"
        );
        for _ in 0..taken {
            assert_eq!(server.read().await.unwrap().1.unwrap(), message);
        }
    })
    .await;
}
