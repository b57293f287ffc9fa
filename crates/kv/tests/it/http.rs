//! The HTTP door.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::doors::Doors;

fn fetch(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_health_and_the_page() {
    let doors = Doors::open().await;
    let mut client = doors.connect();
    assert_eq!(client.line("SET k v"), "+OK");
    assert_eq!(client.line("GET k"), "$1 v");
    assert_eq!(client.line("GET nosuch"), "$-1".replace("$-1", "_"));
    let (status, text) = fetch(doors.http, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    for line in [
        "kontiki_resp_commands_total{class=\"read\"} 2",
        "kontiki_resp_commands_total{class=\"write\"} 1",
        "kontiki_resp_connections 1",
        "kontiki_resp_key_hits_total 1",
        "kontiki_resp_key_misses_total 1",
        "kontiki_resp_pipeline_seconds_count{class=\"writes\"} 1",
        "kontiki_raft_role{role=\"leader\"} 1",
        "kontiki_engine_keys 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert_eq!(fetch(doors.http, "/healthz").0, "HTTP/1.1 200 OK");
    assert_eq!(fetch(doors.http, "/readyz").0, "HTTP/1.1 200 OK");
    assert_eq!(fetch(doors.http, "/nosuch").0, "HTTP/1.1 404 Not Found");
    let (_, page) = fetch(doors.http, "/");
    assert!(page.contains(&doors.grpc.to_string()), "{page}");
    assert!(
        page.contains(&format!("-p {}", doors.resp.local_addr().port())),
        "{page}"
    );
    doors.close().await;
}
