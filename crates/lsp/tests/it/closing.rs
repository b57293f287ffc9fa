//! Ends that somebody asked for: close drains, and what is over stays over.

use lsp::{Client, CloseError, ConnError, ConnId, ReadError, Server, ServerClosed, WriteError};

use crate::{any_port, number, pair, quick, within};

#[tokio::test]
async fn a_client_that_closes_has_delivered_everything() {
    within(async {
        let (server, client) = pair(quick()).await;
        for i in 0..500 {
            client.write(number(i)).await.unwrap();
        }
        client.close().await.unwrap();
        for i in 0..500 {
            assert_eq!(server.read().await.unwrap().1.unwrap(), number(i));
        }
        // What was read before the silence comes before the loss.
        let (id, end) = server.read().await.unwrap();
        assert_eq!((id, end), (client.conn_id(), Err(ConnError::Lost)));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_closes_has_delivered_everything() {
    within(async {
        let (server, client) = pair(quick()).await;
        client.write(number(0)).await.unwrap();
        let (id, _) = server.read().await.unwrap();
        for i in 0..500 {
            server.write(id, number(i)).await.unwrap();
        }
        let (closed, ()) = tokio::join!(server.close(), async {
            for i in 0..500 {
                assert_eq!(client.read().await.unwrap(), number(i));
            }
        });
        closed.unwrap();
        assert!(matches!(server.read().await, Err(ServerClosed::Closed)));
        assert!(matches!(client.read().await, Err(ReadError::Lost)));
        // The port is free again.
        Server::bind(server.local_addr(), quick()).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn after_close_nothing_is_read_or_written() {
    within(async {
        let (server, client) = pair(quick()).await;
        client.write(number(0)).await.unwrap();
        let (id, _) = server.read().await.unwrap();
        server.write(id, number(1)).await.unwrap();
        client.close().await.unwrap();
        assert!(matches!(client.read().await, Err(ReadError::Closed)));
        assert!(matches!(
            client.write(number(2)).await,
            Err(WriteError::Closed)
        ));
        client.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_closed_connection_is_reported_once_and_then_silent() {
    within(async {
        let server = Server::bind(any_port(), quick()).await.unwrap();
        let one = Client::connect(server.local_addr(), quick()).await.unwrap();
        one.write(number(0)).await.unwrap();
        one.write(number(1)).await.unwrap();
        let (id, _) = server.read().await.unwrap();
        server.write(id, number(7)).await.unwrap();
        server.close_conn(id).unwrap();
        assert_eq!(server.read().await.unwrap(), (id, Err(ConnError::Closed)));
        // What was written before is still delivered; the second message is not.
        assert_eq!(one.read().await.unwrap(), number(7));
        let two = Client::connect(server.local_addr(), quick()).await.unwrap();
        two.write(number(2)).await.unwrap();
        assert_eq!(server.read().await.unwrap(), (two.conn_id(), Ok(number(2))));
        let unknown = server.write(id, number(8)).await;
        assert!(matches!(unknown, Err(WriteError::Unknown { id: i }) if i == id));
        assert!(matches!(
            server.close_conn(id),
            Err(CloseError::Unknown { .. })
        ));
    })
    .await;
}

#[tokio::test]
async fn ids_that_never_were_are_unknown() {
    let server = Server::bind(any_port(), quick()).await.unwrap();
    let id = ConnId::new(9);
    assert!(matches!(
        server.close_conn(id),
        Err(CloseError::Unknown { .. })
    ));
    assert!(matches!(
        server.write(id, number(0)).await,
        Err(WriteError::Unknown { .. })
    ));
}

#[tokio::test]
async fn a_read_that_waits_ends_when_the_server_closes() {
    within(async {
        let server = Server::bind(any_port(), quick()).await.unwrap();
        let (read, closed) = tokio::join!(server.read(), server.close());
        assert!(matches!(read, Err(ServerClosed::Closed)));
        closed.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_dropped_client_delivers_in_the_background() {
    within(async {
        let (server, client) = pair(quick()).await;
        for i in 0..100 {
            client.write(number(i)).await.unwrap();
        }
        drop(client);
        for i in 0..100 {
            assert_eq!(server.read().await.unwrap().1.unwrap(), number(i));
        }
    })
    .await;
}

#[tokio::test]
async fn two_ends_that_close_at_once_both_drain() {
    within(async {
        let (server, client) = pair(quick()).await;
        client.write(number(0)).await.unwrap();
        let (id, _) = server.read().await.unwrap();
        for i in 0..50 {
            client.write(number(i)).await.unwrap();
            server.write(id, number(i)).await.unwrap();
        }
        // One of them may be gone before the other's last Ack is repeated to it; it never
        // waits longer than the limit of silence.
        let (server_closed, client_closed) = tokio::join!(server.close(), client.close());
        assert!(server_closed.is_ok() || client_closed.is_ok());
    })
    .await;
}
