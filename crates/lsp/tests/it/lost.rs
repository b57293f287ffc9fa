//! Peers that vanish.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use lsp::{Client, CloseError, ConnError, ReadError, Server, WriteError};

use crate::{any_port, number, quick, within};

const SERVER: &str = "LSP_TEST_SERVER";
const MESSAGES: usize = 20;

/// Not a test of its own: what the killed process runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other half of tests that kill a process"]
async fn child_client() {
    let Ok(server) = std::env::var(SERVER) else {
        return;
    };
    let client = Client::connect(server.parse().unwrap(), quick())
        .await
        .unwrap();
    for i in 0..MESSAGES {
        client.write(number(i)).await.unwrap();
    }
    // Until it is killed; a parent that is gone is noticed, too.
    while client.read().await.is_ok() {}
}

/// The other half of tests in which a server is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other half of tests that kill a process"]
async fn child_server() {
    if std::env::var(SERVER).is_err() {
        return;
    }
    let server = Server::bind(any_port(), quick()).await.unwrap();
    println!("\nlistening {}", server.local_addr());
    while let Ok((id, message)) = server.read().await {
        match message {
            Ok(message) => server.write(id, message).await.unwrap(),
            Err(_) => return,
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.0.kill();
        self.0.wait().unwrap();
    }
}

fn child(test: &str, server: &str) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(SERVER, server)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    Killed(child)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_client_is_reported_once_after_its_messages() {
    within(async {
        let server = Server::bind(any_port(), quick()).await.unwrap();
        let child = child("lost::child_client", &server.local_addr().to_string());
        let mut ids = Vec::new();
        for i in 0..MESSAGES / 2 {
            let (id, message) = server.read().await.unwrap();
            assert_eq!(message.unwrap(), number(i));
            ids.push(id);
        }
        drop(child);
        // What arrived before the kill is read before the loss, however late.
        let (lost, left) = loop {
            let (id, message) = server.read().await.unwrap();
            match message {
                Ok(_) => ids.push(id),
                Err(end) => break ((id, end), ids.len()),
            }
        };
        assert_eq!(lost, (ids[0], ConnError::Lost));
        assert!(left <= MESSAGES);
        assert!(matches!(
            server.write(ids[0], number(0)).await,
            Err(WriteError::Unknown { .. })
        ));
        server.close().await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_noticed_and_stays_lost() {
    within(async {
        let mut child = child("lost::child_server", "yes");
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let address = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.strip_prefix("listening ")?.to_owned()))
            .unwrap();
        let client = Client::connect(address.parse().unwrap(), quick())
            .await
            .unwrap();
        for i in 0..5 {
            client.write(number(i)).await.unwrap();
        }
        assert_eq!(client.read().await.unwrap(), number(0));
        drop(child);
        let error = loop {
            if let Err(error) = client.read().await {
                break error;
            }
        };
        assert!(matches!(error, ReadError::Lost));
        assert!(matches!(client.read().await, Err(ReadError::Lost)));
        assert!(client.write(number(9)).await.is_err());
        assert!(matches!(
            client.close().await,
            Err(CloseError::Lost { connections: 1 })
        ));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_towards_a_lost_client_fails_and_ends() {
    within(async {
        let server = Server::bind(any_port(), quick()).await.unwrap();
        let silent = std::net::UdpSocket::bind(any_port()).unwrap();
        let peer = crate::tiny::Tiny::new(silent);
        let id = peer.connect(server.local_addr(), 7);
        peer.send_data(server.local_addr(), id, 8, b"hello");
        let (id, message) = server.read().await.unwrap();
        assert_eq!(message.unwrap(), "hello");
        // Nobody acknowledges this.
        server.write(id, number(1)).await.unwrap();
        let closed = server.close().await;
        assert!(
            matches!(closed, Err(CloseError::Lost { connections: 1 })),
            "{closed:?}"
        );
    })
    .await;
}
