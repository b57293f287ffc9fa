//! The node's port: other nodes and gRPC clients come to the same one.

use core::time::Duration;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use crate::node::inbox::Received;
use crate::node::submission::{Responder, Submission};
use crate::transport::Book;
use crate::transport::frame::{FrameError, ItemBuilder, ItemReader, Kind, PREFACE, decode_raft};
use crate::transport::join::answer_ask;
use crate::transport::link::{decode_forward, prepare, write_items};
use crate::transport::outbox::Outbox;
use crate::transport::peers::Transport;

/// How long a new connection may take to say what it is.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that haven't said yet what they are.
const UNKNOWN_MAX: usize = 256;

/// Pause when the operating system gives no more connections (file descriptors run out).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections for ever: other nodes are served here, all others go to `grpc`.
pub(crate) async fn serve(
    transport: Transport,
    listener: TcpListener,
    grpc: mpsc::Sender<TcpStream>,
) {
    let unknown = Arc::new(Semaphore::new(UNKNOWN_MAX));
    loop {
        let Ok(permit) = Arc::clone(&unknown).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("could not accept a connection: {error}; trying again");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Answers are small, and nothing follows them that they could wait for.
        if let Err(error) = stream.set_nodelay(true) {
            // The client is gone already, which its task finds out.
            tracing::debug!("could not set TCP_NODELAY: {error}");
        }
        let task_transport = transport.clone();
        let grpc = grpc.clone();
        transport.spawn(async move {
            let peer = timeout(FIRST_BYTES_TIMEOUT, is_peer(&stream)).await;
            drop(permit);
            match peer {
                Ok(Ok(true)) => serve_peer(&task_transport, stream).await,
                // A closed channel means that this node has no gRPC door.
                Ok(Ok(false)) => drop(grpc.send(stream).await),
                // Gone, or silent: nobody to tell.
                Ok(Err(_)) | Err(_) => {}
            }
        });
    }
}

/// Looks at the first byte without taking it. HTTP/2 begins with "PRI".
async fn is_peer(stream: &TcpStream) -> std::io::Result<bool> {
    prepare(stream)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(first[0] == PREFACE[0])
}

async fn serve_peer(transport: &Transport, stream: TcpStream) {
    let address = stream
        .peer_addr()
        .map_or_else(|_| "?".to_owned(), |address| address.to_string());
    match converse(transport, stream).await {
        // The other side dials again and says why it went; a line here would repeat it.
        Ok(()) | Err(FrameError::Closed) => {}
        Err(FrameError::Io(error)) if error.kind() != std::io::ErrorKind::Other => {
            tracing::debug!("connection from {address} ended: {error}");
        }
        Err(error) => tracing::warn!("refused the connection from {address}: {error}"),
    }
}

async fn converse(transport: &Transport, stream: TcpStream) -> Result<(), FrameError> {
    let (mut reader, mut writer) = stream.into_split();
    let mut preface = [0; PREFACE.len()];
    timeout(FIRST_BYTES_TIMEOUT, reader.read_exact(&mut preface))
        .await
        .map_err(|_| FrameError::Closed)??;
    if preface != PREFACE {
        return Err(FrameError::Malformed {
            what: "the preface (another version?)",
        });
    }
    let mut reader = ItemReader::new(reader);
    let first = timeout(FIRST_BYTES_TIMEOUT, reader.next()).await;
    let (kind, body) = first.map_err(|_| FrameError::Closed)??;
    if kind == Kind::Ask {
        let answer = answer_ask(transport, body).await?;
        writer.write_all(&answer).await?;
        writer.shutdown().await?;
        return Ok(());
    }
    let from = match transport.check_hello(kind, body, None) {
        Ok(from) => from,
        Err(error) => {
            let mut refusal = ItemBuilder::new(Kind::Refusal);
            refusal
                .body()
                .extend_from_slice(error.to_string().as_bytes());
            writer.write_all(&refusal.finish()).await?;
            return Err(error);
        }
    };
    writer.write_all(&transport.hello(from)).await?;
    let outbox = Arc::new(Outbox::new(transport.queue_bytes_max()));
    outbox.open();
    let result = tokio::select! {
        error = read_items(&mut reader, transport, from, &outbox) => Err(error),
        result = write_items(writer, &outbox) => result.map_err(FrameError::Io),
    };
    // Nothing is forwarded on this side of a connection.
    drop(outbox.close());
    result
}

async fn read_items<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut ItemReader<R>,
    transport: &Transport,
    from: stdx::NodeId,
    outbox: &Arc<Outbox>,
) -> FrameError {
    loop {
        let handled = match reader.next().await {
            Ok((Kind::Raft, body)) => {
                let bytes = body.len();
                decode_raft(body).map(|messages| {
                    if !transport.owner().receive(Received {
                        from,
                        messages,
                        bytes,
                    }) {
                        metrics::counter!("kontiki_peer_received_dropped_total").increment(1);
                    }
                })
            }
            Ok((Kind::Forward, body)) => decode_forward(body).map(|(id, group, batch)| {
                let connection = Arc::clone(outbox);
                let responder = Responder::Remote { connection, id };
                transport.owner().submit(Submission {
                    group,
                    batch,
                    responder,
                });
            }),
            Ok((Kind::Book, mut body)) => {
                Book::decode(&mut body).map(|book| transport.merge_book(&book))
            }
            Ok(_) => Err(FrameError::Malformed {
                what: "an item on an accepted connection",
            }),
            Err(error) => Err(error),
        };
        if let Err(error) = handled {
            return error;
        }
    }
}
