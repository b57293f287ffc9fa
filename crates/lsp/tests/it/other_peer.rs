//! Our ends against a peer of another make, with the original's defaults and with ours.

use std::net::UdpSocket;

use bytes::Bytes;
use lsp::{Client, Config, Server};

use crate::tiny::{ACK, CACK, CONNECT, DATA, Tiny};
use crate::{any_port, number, original, quick, within};

fn tiny() -> Tiny {
    Tiny::new(UdpSocket::bind(any_port()).unwrap())
}

/// A student's client: connects, sends and waits for the echo, one message at a time.
fn chat(peer: &Tiny, server: std::net::SocketAddr, messages: u64) {
    const ISN: u64 = 200;
    let id = peer.connect(server, ISN);
    for i in 1..=messages {
        let text = format!("message {i}");
        peer.send_data(server, id, ISN + i, text.as_bytes());
        let (mut acked, mut echoed) = (false, false);
        while !acked || !echoed {
            let heard = peer.hear_message();
            assert_eq!((heard.from, heard.id), (server, id));
            match heard.kind {
                ACK if heard.seq == ISN + i => acked = true,
                CACK if heard.seq >= ISN + i => acked = true,
                DATA if heard.seq == ISN + i => {
                    assert_eq!(heard.payload, text.as_bytes());
                    peer.send(server, ACK, id, heard.seq);
                    echoed = true;
                }
                // An Ack of before, or data again whose Ack crossed it.
                ACK | CACK => {}
                _ => peer.send(server, ACK, id, heard.seq),
            }
        }
    }
}

async fn echo(server: Server) {
    while let Ok((id, message)) = server.read().await {
        match message {
            Ok(message) => server.write(id, message).await.unwrap(),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_talks_to_our_server() {
    within(async {
        for config in [original(), quick(), Config::original(), Config::default()] {
            let server = Server::bind(any_port(), config).await.unwrap();
            let address = server.local_addr();
            let echo = tokio::spawn(echo(server));
            let chat = tokio::task::spawn_blocking(move || chat(&tiny(), address, 50));
            chat.await.unwrap();
            echo.abort();
        }
    })
    .await;
}

/// A student's server for one client, which ignores the first copy of everything.
fn deaf_at_first(peer: &Tiny, messages: usize) -> Vec<Vec<u8>> {
    let mut seen = std::collections::BTreeMap::new();
    let mut delivered = std::collections::BTreeMap::new();
    while delivered.len() < messages {
        let heard = peer.hear_message();
        let copies = seen.entry((heard.kind, heard.seq)).or_insert(0);
        *copies += 1;
        if *copies < 2 {
            continue;
        }
        match heard.kind {
            CONNECT => {
                let sent = r#"{"Type":0,"ConnID":0,"SeqNum":"#;
                assert!(heard.text.starts_with(sent), "{}", heard.text);
                let rest = r#","Size":0,"Checksum":0,"Payload":null}"#;
                assert!(heard.text.ends_with(rest), "{}", heard.text);
                peer.send(heard.from, ACK, 1, heard.seq);
            }
            DATA => {
                peer.send(heard.from, ACK, 1, heard.seq);
                delivered.insert(heard.seq, heard.payload);
            }
            _ => {}
        }
    }
    delivered.into_values().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_repeats_itself_to_a_foreign_server() {
    within(async {
        for config in [original(), quick()] {
            let peer = tiny();
            let address = peer.local();
            let server = tokio::task::spawn_blocking(move || deaf_at_first(&peer, 5));
            let client = Client::connect(address, config).await.unwrap();
            assert_eq!(client.conn_id().get(), 1);
            for i in 0..5 {
                client.write(number(i)).await.unwrap();
            }
            let delivered = server.await.unwrap();
            let expected: Vec<Bytes> = (0..5).map(number).collect();
            assert_eq!(delivered, expected);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_an_idle_foreign_client() {
    within(async {
        let server = Server::bind(any_port(), original()).await.unwrap();
        let address = server.local_addr();
        let beats = tokio::task::spawn_blocking(move || {
            let peer = tiny();
            let id = peer.connect(address, 1);
            // Twice as many as the limit of silence, each answered.
            for _ in 0..10 {
                let heard = peer.hear();
                assert_eq!((heard.kind, heard.id, heard.seq), (ACK, id, 0));
                peer.send(address, ACK, id, 0);
            }
            peer.send_data(address, id, 2, b"still here");
        });
        let (_, message) = server.read().await.unwrap();
        assert_eq!(message.unwrap(), "still here");
        beats.await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_clients_gap_is_filled_before_anything_is_read() {
    within(async {
        let server = Server::bind(any_port(), quick()).await.unwrap();
        let address = server.local_addr();
        let peer = tiny();
        let id = peer.connect(address, 10);
        for seq in [13, 12, 12, 11, 13] {
            peer.send_data(address, id, seq, &[u8::try_from(seq).unwrap()]);
        }
        for seq in [11, 12, 13] {
            assert_eq!(server.read().await.unwrap().1.unwrap(), vec![seq]);
        }
    })
    .await;
}
