//! Datagrams that are no messages, or somebody else's.

use std::net::UdpSocket;

use crate::tiny::{ACK, CONNECT, Tiny};
use crate::{any_port, number, pair, quick, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_counted_and_hurts_nobody() {
    within(async {
        let (server, client) = pair(quick()).await;
        let stranger = UdpSocket::bind(any_port()).unwrap();
        let long = [b'x'; 60_000];
        let garbage: [&[u8]; 8] = [
            b"",
            b"{",
            b"not json",
            b"[1,2,3,4,5,6]",
            br#"{"Type":9,"ConnID":1,"SeqNum":1,"Size":0,"Checksum":0,"Payload":null}"#,
            br#"{"Type":1,"ConnID":-1,"SeqNum":1,"Size":0,"Checksum":0,"Payload":null}"#,
            &[0xff; 40],
            &long,
        ];
        for datagram in garbage {
            stranger.send_to(datagram, server.local_addr()).unwrap();
        }
        // The stranger's datagrams are ahead of this one in the server's buffer.
        client.write(number(1)).await.unwrap();
        assert_eq!(server.read().await.unwrap().1.unwrap(), number(1));
        let stats = server.endpoint_stats();
        assert_eq!(stats.malformed, 8, "{stats:?}");
        assert_eq!(server.connections(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_can_neither_speak_nor_end_a_connection() {
    within(async {
        let (server, client) = pair(quick()).await;
        let id = client.conn_id().get();
        let forger = Tiny::new(UdpSocket::bind(any_port()).unwrap());
        for seq in 0..100 {
            forger.send_data(server.local_addr(), id, seq, b"forged");
            forger.send(server.local_addr(), ACK, id, seq);
            forger.send_data(client.local_addr(), id, seq, b"forged");
        }
        client.write(number(1)).await.unwrap();
        let (from, message) = server.read().await.unwrap();
        assert_eq!((from.get(), message.unwrap()), (id, number(1)));
        server.write(from, number(2)).await.unwrap();
        assert_eq!(client.read().await.unwrap(), number(2));
        // The forger can have a connection of its own, and no other.
        assert_ne!(forger.connect(server.local_addr(), 5), id);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connects_beyond_the_limits_are_refused_and_counted() {
    within(async {
        let mut config = quick();
        config.core.unproven_connections_max = 10;
        let (server, client) = pair(config).await;
        let strangers: Vec<Tiny> = (0..50)
            .map(|_| Tiny::new(UdpSocket::bind(any_port()).unwrap()))
            .collect();
        for stranger in &strangers {
            stranger.send(server.local_addr(), CONNECT, 0, 3);
        }
        client.write(number(1)).await.unwrap();
        assert_eq!(server.read().await.unwrap().1.unwrap(), number(1));
        let stats = server.endpoint_stats();
        assert!(stats.refused >= 40, "{stats:?}");
        assert!(server.connections() <= 11);
    })
    .await;
}
