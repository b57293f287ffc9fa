//! The door through which other workers fetch map output.

use std::io::Read as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::limits;
use crate::wire;
use crate::wire::v1::shuffle_server::Shuffle;
use crate::wire::v1::{Chunk, FetchRequest};
use crate::worker::outputs::Outputs;

/// Serves extents.
#[derive(Debug)]
pub(crate) struct Service {
    outputs: Arc<Outputs>,
}

impl Service {
    pub(crate) const fn new(outputs: Arc<Outputs>) -> Self {
        Self { outputs }
    }
}

#[tonic::async_trait]
impl Shuffle for Service {
    type FetchStream = ReceiverStream<Result<Chunk, Status>>;

    async fn fetch(
        &self,
        request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let FetchRequest {
            job,
            attempt,
            partition,
        } = request.into_inner();
        let attempt = attempt
            .parse()
            .map_err(|error| Status::invalid_argument(format!("{error}")))?;
        let (sender, receiver) = mpsc::channel(limits::CHUNKS_MAX);
        let outputs = Arc::clone(&self.outputs);
        tokio::task::spawn_blocking(move || {
            let sent = match outputs.open(&(job, attempt), partition) {
                Ok(Some((file, extent))) => send(file, &extent, &sender),
                Ok(None) => Err(Status::not_found("this worker does not have that output")),
                Err(error) => Err(Status::internal(format!("cannot read the output: {error}"))),
            };
            if let Err(status) = sent {
                // Nobody listens any longer when the reader is gone.
                let _gone = sender.blocking_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Sends an extent in pieces; ends quietly when the reader is gone.
fn send(
    mut file: std::fs::File,
    extent: &mapreduce_data::Extent,
    sender: &mpsc::Sender<Result<Chunk, Status>>,
) -> Result<(), Status> {
    let json = wire::encode(extent).map_err(|error| Status::internal(error.line()))?;
    let first = Chunk {
        extent: json,
        data: Bytes::new(),
    };
    if sender.blocking_send(Ok(first)).is_err() {
        return Ok(());
    }
    let mut left = extent.len;
    while left > 0 {
        let take = left.min(limits::CHUNK_BYTES as u64);
        let size = usize::try_from(take).unwrap_or(limits::CHUNK_BYTES);
        let mut data = BytesMut::zeroed(size);
        file.read_exact(&mut data)
            .map_err(|error| Status::data_loss(format!("cannot read the output: {error}")))?;
        let chunk = Chunk {
            extent: Bytes::new(),
            data: data.freeze(),
        };
        if sender.blocking_send(Ok(chunk)).is_err() {
            return Ok(());
        }
        left -= take;
    }
    Ok(())
}
