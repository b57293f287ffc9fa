//! `Kv.Pipeline`: one call, many batches.

use kv_proto::kv::v1 as pb;
use kv_proto::kv::v1::kv_client::KvClient;
use pb::operation::Operation;
use pb::operation_result::Result as OperationResult;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::cluster::within;
use crate::doors::Doors;

struct Pipe {
    requests: mpsc::Sender<pb::BatchRequest>,
    answers: Streaming<pb::BatchResponse>,
}

impl Pipe {
    async fn open(doors: &Doors) -> Self {
        let endpoint = Channel::from_shared(format!("http://{}", doors.grpc)).unwrap();
        let mut client = KvClient::new(endpoint.connect().await.unwrap());
        let (requests, stream) = mpsc::channel(10_000);
        let answers = client.pipeline(ReceiverStream::new(stream)).await.unwrap();
        Self {
            requests,
            answers: answers.into_inner(),
        }
    }

    fn send(&self, operations: impl IntoIterator<Item = Operation>) {
        let operations = operations
            .into_iter()
            .map(|operation| pb::Operation {
                operation: Some(operation),
            })
            .collect();
        self.requests
            .try_send(pb::BatchRequest { operations })
            .unwrap();
    }

    async fn answer(&mut self) -> Vec<String> {
        let answer = within("an answer", self.answers.message()).await;
        let results = answer.unwrap().expect("the call goes on").results;
        results.into_iter().map(show).collect()
    }
}

fn show(result: pb::OperationResult) -> String {
    match result.result.unwrap() {
        OperationResult::Put(_) => "put".to_owned(),
        OperationResult::Append(append) => append.length.to_string(),
        OperationResult::Get(get) => match get.value {
            Some(value) => String::from_utf8(value.value.to_vec()).unwrap(),
            None => "none".to_owned(),
        },
        OperationResult::Failure(failure) => failure.message,
        other => format!("{other:?}"),
    }
}

fn put(key: &'static str, value: &'static str) -> Operation {
    Operation::Put(pb::PutRequest {
        key: key.into(),
        value: value.into(),
        ..pb::PutRequest::default()
    })
}

fn append(key: &'static str, value: &'static str) -> Operation {
    Operation::Append(pb::AppendRequest {
        key: key.into(),
        value: value.into(),
    })
}

fn get(key: &'static str) -> Operation {
    Operation::Get(pb::GetRequest {
        key: key.into(),
        consistency: 0,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_answered_in_turn_and_failures_do_not_end_the_call() {
    let doors = Doors::open().await;
    let mut pipe = Pipe::open(&doors).await;
    pipe.send([put("a", "1"), get("a")]);
    assert_eq!(pipe.answer().await, ["put", "1"]);
    pipe.send([put("", "x"), get("b")]);
    pipe.send([]);
    pipe.send([append("a", "2")]);
    pipe.send([get("a")]);
    assert_eq!(pipe.answer().await, ["the key is empty", "none"]);
    assert_eq!(pipe.answer().await, [""; 0]);
    assert_eq!(pipe.answer().await, ["2"]);
    assert_eq!(pipe.answer().await, ["12"]);
    let Pipe { requests, answers } = &mut pipe;
    drop(core::mem::replace(requests, mpsc::channel(1).0));
    let end = within("the end", answers.message()).await;
    assert_eq!(end.unwrap(), None, "all is answered");
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_ahead_gets_every_answer_in_order() {
    let doors = Doors::open().await;
    let mut pipe = Pipe::open(&doors).await;
    for _ in 0..5_000 {
        pipe.send([append("n", "x")]);
    }
    for length in 1..=5_000 {
        assert_eq!(pipe.answer().await, [length.to_string()]);
    }
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_the_limit_ends_the_call() {
    let doors = Doors::open().await;
    let mut pipe = Pipe::open(&doors).await;
    pipe.send((0..10_001).map(|_| get("a")));
    let status = within("the end", pipe.answers.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    doors.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_call_does_not_keep_the_door_from_closing() {
    let doors = Doors::open().await;
    let mut pipe = Pipe::open(&doors).await;
    pipe.send([put("a", "1")]);
    assert_eq!(pipe.answer().await, ["put"]);
    within("the end of the doors", doors.close()).await;
    let status = within("the end", pipe.answers.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
}
