//! A node with all its doors open, and a plain client that speaks RESP over a socket.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::BytesMut;
use kv::grpc::{self, GrpcMetrics};
use kv::http::{HttpServer, Sources};
use kv::resp_server::{Options, RespServer};
use resp::{Encoder, Protocol, Value, ValueDecoder, encode_request};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cluster::{TestCluster, n, within};

/// A single node and its doors.
pub(crate) struct Doors {
    cluster: TestCluster,
    pub(crate) resp: RespServer,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    stop: Vec<oneshot::Sender<()>>,
    servers: Vec<JoinHandle<()>>,
}

impl Doors {
    pub(crate) async fn open() -> Self {
        Self::open_with(Options::default()).await
    }

    pub(crate) async fn open_with(options: Options) -> Self {
        let mut cluster = TestCluster::started(1).await;
        let node = cluster.nodes.get_mut(&n(1)).unwrap();
        let handle = node.handle();
        let (incoming, grpc) = (
            node.grpc_incoming().unwrap(),
            node.listen_address().unwrap(),
        );
        within("readiness", handle.wait_ready()).await;
        let options = Options {
            listen: "127.0.0.1:0".to_owned(),
            threads: NonZeroUsize::new(2).unwrap(),
            ..options
        };
        let resp = RespServer::start(handle.clone(), &options).unwrap();
        let metrics = GrpcMetrics::default();
        let web = HttpServer::bind("127.0.0.1:0").await.unwrap();
        let http = web.local_addr();
        let sources = Sources::new(handle.clone(), None, metrics.clone(), grpc, Some(&resp));
        let (stop_grpc, stopping_grpc) = oneshot::channel::<()>();
        let (stop_http, stopping_http) = oneshot::channel::<()>();
        let servers = vec![
            tokio::spawn(async move {
                let stopping = async { drop(stopping_grpc.await) };
                grpc::serve(handle, incoming, metrics, stopping)
                    .await
                    .unwrap();
            }),
            tokio::spawn(async move {
                web.serve(sources, async { drop(stopping_http.await) })
                    .await
                    .unwrap();
            }),
        ];
        Self {
            cluster,
            resp,
            grpc,
            http,
            stop: vec![stop_grpc, stop_http],
            servers,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.resp.local_addr())
    }

    pub(crate) async fn close(mut self) {
        for stop in self.stop {
            stop.send(())
                .expect("the server runs until it is told to stop");
        }
        for server in self.servers {
            within("a server's end", server).await.unwrap();
        }
        within("the end of the RESP door", self.resp.shutdown()).await;
        self.cluster.shut_down(n(1)).await;
    }
}

/// A blocking client.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: BytesMut,
    decoder: ValueDecoder,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            stream,
            input: BytesMut::new(),
            decoder: ValueDecoder::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> Value {
        loop {
            if let Some(value) = self.decoder.decode(&mut self.input).unwrap() {
                return value;
            }
            let mut buffer = [0; 16 << 10];
            let count = self.stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "the server closed the connection");
            self.input.extend_from_slice(&buffer[..count]);
        }
    }

    /// Everything until the server closes the connection.
    pub(crate) fn receive_all(&mut self) -> String {
        let mut bytes = self.input.split().to_vec();
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                // The server closed while bytes of ours were unread.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        text_of(&bytes)
    }

    pub(crate) fn call(&mut self, arguments: &[&str]) -> Value {
        let mut request = BytesMut::new();
        encode_request(&mut request, arguments);
        self.send(&request);
        self.receive()
    }

    /// Sends a line as `redis-cli` takes it, and shows the reply.
    pub(crate) fn line(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        show(&self.receive())
    }
}

/// A value as the third version of the protocol writes it.
pub(crate) fn show(value: &Value) -> String {
    let mut out = BytesMut::new();
    Encoder::new(&mut out, Protocol::Resp3).value(value);
    let text = text_of(&out);
    text.trim_end_matches(r"\r\n").replace(r"\r\n", " ")
}

/// Bytes as text, with everything escaped that isn't.
fn text_of(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace(r"\'", "'")
}
