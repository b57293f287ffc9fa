//! `Kv.Pipeline`: batches one after another in one call.
//!
//! Whatever has arrived by the time the last batch is answered runs as one batch, so a client that
//! sends ahead pays for one entry of the log, and one answer on the wire may carry the answers
//! to many requests. Memory is bounded by the flow control window of the stream on one side, and
//! by [`ANSWERS_MAX`] on the other: a client that reads no answers is asked for no more requests.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;

use kv_proto::kv::v1 as pb;
use tokio::sync::mpsc;
use tokio_stream::Stream as _;
use tonic::{Status, Streaming};

use super::kv_service::{KvService, OPERATIONS_MAX};

/// Answers that wait for the client.
pub(super) const ANSWERS_MAX: usize = 64;

type Next = Option<Result<pb::BatchRequest, Status>>;

/// Requests that run together.
#[derive(Debug, Default)]
struct Gathered {
    operations: Vec<pb::Operation>,
    /// How many of them belong to each request.
    counts: Vec<usize>,
    /// What came behind the last of them, if it isn't one that runs with them.
    then: Option<Next>,
}

impl Gathered {
    /// Takes a request in, or keeps it for the next round.
    fn take(&mut self, request: pb::BatchRequest) {
        let count = request.operations.len();
        if self.counts.is_empty() || self.operations.len() + count <= OPERATIONS_MAX {
            self.counts.push(count);
            self.operations.extend(request.operations);
        } else {
            self.then = Some(Some(Ok(request)));
        }
    }
}

/// Runs until the client has no more requests, goes away, breaks the protocol, or the door closes.
pub(super) async fn serve(
    service: KvService,
    mut requests: Streaming<pb::BatchRequest>,
    answers: mpsc::Sender<Result<pb::BatchResponse, Status>>,
) {
    let mut closing = service.closing.clone();
    let mut pending: Option<Next> = None;
    loop {
        let next = if let Some(next) = pending.take() {
            next
        } else {
            tokio::select! {
                next = poll_fn(|context| Pin::new(&mut requests).poll_next(context)) => next,
                _ = closing.wait_for(|closing| *closing) => Some(Err(Status::unavailable(
                    "the node is shutting down; unanswered batches were not executed",
                ))),
                () = answers.closed() => None,
            }
        };
        let first = match next {
            Some(Ok(first)) => first,
            Some(Err(status)) => {
                // The client may be gone, which is fine.
                drop(answers.send(Err(status)).await);
                return;
            }
            None => return,
        };
        let mut gathered = Gathered::default();
        gathered.take(first);
        gather(&mut requests, &mut gathered).await;
        pending = gathered.then.take();
        if answer(&service, gathered, &answers).await.is_err() {
            return;
        }
    }
}

/// Adds the requests that are there already.
async fn gather(requests: &mut Streaming<pb::BatchRequest>, gathered: &mut Gathered) {
    poll_fn(|context| {
        while gathered.then.is_none() && gathered.counts.len() < ANSWERS_MAX {
            match Pin::new(&mut *requests).poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(request))) => gathered.take(request),
                Poll::Ready(end) => gathered.then = Some(end),
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Runs what was gathered and answers each request, unless the client is gone.
async fn answer(
    service: &KvService,
    gathered: Gathered,
    answers: &mpsc::Sender<Result<pb::BatchResponse, Status>>,
) -> Result<(), mpsc::error::SendError<Result<pb::BatchResponse, Status>>> {
    let operations = gathered.operations;
    service.count_pipelined(operations.len());
    let mut results = match service.run(pb::BatchRequest { operations }).await {
        Ok(response) => response.results.into_iter(),
        Err(status) => return answers.send(Err(status)).await,
    };
    for count in gathered.counts {
        let results = results.by_ref().take(count).collect();
        answers.send(Ok(pb::BatchResponse { results })).await?;
    }
    Ok(())
}
