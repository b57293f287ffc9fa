//! Originals: they get what the course's protocol has and nothing else, byte for byte.

use bytes::Bytes;
use miner_kernels::{Kernel, Message};

use crate::world::{Running, expected, lsp_config, worker_of};

async fn connect(server: &Running) -> lsp::Client {
    lsp::Client::connect(server.address, lsp_config())
        .await
        .unwrap()
}

async fn text(client: &lsp::Client) -> String {
    String::from_utf8(client.read().await.unwrap().to_vec()).unwrap()
}

const JOIN: &[u8] = br#"{"Type":0,"Data":"","Lower":0,"Upper":0,"Hash":0,"Nonce":0}"#;

/// The number after a key.
fn number(text: &str, key: &str) -> u64 {
    let rest = text.split_once(&format!("\"{key}\":")).unwrap().1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_miner_and_an_original_client() {
    let server = Running::start(None).await;
    let miner = connect(&server).await;
    miner.write(Bytes::from_static(JOIN)).await.unwrap();
    let client = connect(&server).await;
    let request = br#"{"Type":1,"Data":"msg","Lower":0,"Upper":25000,"Hash":0,"Nonce":0}"#;
    client.write(Bytes::from_static(request)).await.unwrap();
    let message = Message::new(b"msg");
    let mut next = 0;
    while next <= 25_000 {
        let request = text(&miner).await;
        let (lower, upper) = (number(&request, "Lower"), number(&request, "Upper"));
        let plain = format!(
            r#"{{"Type":1,"Data":"msg","Lower":{lower},"Upper":{upper},"Hash":0,"Nonce":0}}"#
        );
        assert_eq!(request, plain);
        assert_eq!(lower, next);
        next = upper + 1;
        let best = message.minimum(Kernel::PORTABLE, lower..=upper).unwrap();
        let (hash, nonce) = (best.hash, best.nonce);
        let result =
            format!(r#"{{"Type":2,"Data":"","Lower":0,"Upper":0,"Hash":{hash},"Nonce":{nonce}}}"#);
        miner.write(Bytes::from(result)).await.unwrap();
    }
    let best = expected("msg", 25_000);
    let (hash, nonce) = (best.hash, best.nonce);
    let plain =
        format!(r#"{{"Type":2,"Data":"","Lower":0,"Upper":0,"Hash":{hash},"Nonce":{nonce}}}"#);
    assert_eq!(text(&client).await, plain);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_worker_serves_an_original_server() {
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let server = lsp::Server::bind(local, lsp_config()).await.unwrap();
    let worker = worker_of(server.local_addr());
    let (conn, join) = server.read().await.unwrap();
    assert_eq!(
        number(core::str::from_utf8(&join.unwrap()).unwrap(), "Type"),
        0
    );
    for (lower, upper) in [(0, 9_999), (10_000, 10_000), (20_000, 900_000), (5, 9)] {
        let request = format!(
            r#"{{"Type":1,"Data":"old","Lower":{lower},"Upper":{upper},"Hash":0,"Nonce":0}}"#
        );
        server.write(conn, Bytes::from(request)).await.unwrap();
    }
    // The results come in the order of the requests, which is how an original tells them apart.
    for (lower, upper) in [(0, 9_999), (10_000, 10_000), (20_000, 900_000), (5, 9)] {
        let (_, result) = server.read().await.unwrap();
        let result = String::from_utf8(result.unwrap().to_vec()).unwrap();
        let best = Message::new(b"old")
            .minimum(Kernel::PORTABLE, lower..=upper)
            .unwrap();
        let (hash, nonce) = (best.hash, best.nonce);
        let plain =
            format!(r#"{{"Type":2,"Data":"","Lower":0,"Upper":0,"Hash":{hash},"Nonce":{nonce}}}"#);
        assert_eq!(result, plain);
    }
    // A miner that lost its server exits.
    server.close().await.unwrap();
    drop(server);
    worker.await.unwrap();
}
