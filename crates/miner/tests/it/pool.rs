//! Our server with our workers and clients.

use std::time::Duration;

use bytes::Bytes;
use kv::store::Store;
use miner::client::{Outcome, ask};
use miner_core::{Message, Progress, RequestExtension, Takes};
use miner_kernels::Best;

use crate::world::{Running, check, expected, lsp_config};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_done_whatever_its_size() {
    let server = Running::start(None).await;
    let _worker = server.worker();
    for upper in [0, 1, 2, 9_999, 10_000, 3_000_000] {
        check(&server.job("msg", upper)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_and_workers() {
    let server = Running::start(None).await;
    let _workers = [server.worker(), server.worker(), server.worker()];
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..20 {
        let job = server.job(&format!("client {number}"), 200_000 + number);
        clients.spawn(async move { check(&job).await });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_a_worker_and_survives_its_loss() {
    let server = Running::start(None).await;
    let job = server.job("patient", 20_000_000);
    let client = tokio::spawn(async move { check(&job).await });
    let first = raw_worker(&server).await;
    // The first worker takes a range and is never heard of again.
    let (_, range) = next_range(&first).await;
    assert!(range.is_some());
    drop(first);
    let _second = server.worker();
    client.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_client_s_work_stops() {
    let server = Running::start(None).await;
    let worker = raw_worker(&server).await;
    let job = server.job("given up", u64::MAX);
    let client = tokio::spawn(async move { ask(&job, |_| {}).await });
    let (_, first) = next_range(&worker).await;
    let (_, second) = next_range(&worker).await;
    client.abort();
    // Both of its ranges are taken back, and no other comes.
    let mut cancelled = Vec::new();
    while cancelled.len() < 2 {
        match read(&worker).await {
            Message::Cancel { range } => cancelled.push(Some(range)),
            other => panic!("{other:?}"),
        }
    }
    cancelled.sort_unstable();
    assert_eq!(cancelled, [first, second]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lies_is_dropped() {
    let server = Running::start(None).await;
    let liar = raw_worker(&server).await;
    let job = server.job("truth", 1_000_000);
    let client = tokio::spawn(async move { check(&job).await });
    let (nonces, range) = next_range(&liar).await;
    let best = Best {
        hash: 1,
        nonce: nonces.0,
    };
    let lie = Message::Result {
        best,
        range: range.map(|range| (range, Vec::new())),
    };
    liar.write(Bytes::from(lie.encode())).await.unwrap();
    while liar.read().await.is_ok() {}
    let _honest = server.worker();
    client.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_reported_to_who_wants_it() {
    let server = Running::start(None).await;
    let worker = raw_worker(&server).await;
    let mut job = server.job("progress", 5_000);
    job.progress = Progress::Wanted;
    let (sender, mut reports) = tokio::sync::mpsc::channel(100);
    let client = tokio::spawn(async move {
        let outcome = ask(&job, |done| sender.try_send(done).unwrap_or(())).await;
        assert_eq!(
            outcome.unwrap(),
            Outcome::Result(expected("progress", 5_000))
        );
    });
    let first = reports.recv().await.unwrap();
    assert_eq!((first.done, first.total), (0, 5_001));
    drop(worker);
    let _second = server.worker();
    client.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_key_survives_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let location = kv::store::Location::Directory(dir.path().join("pool"));
    let server = Running::start(Some(Store::open(&location).await.unwrap())).await;
    let mut job = server.job("again", 3_000_000);
    job.key = Some("a key".to_owned());
    // One range is done in the first life of the server.
    let worker = raw_worker(&server).await;
    let asked = job.clone();
    let client = tokio::spawn(async move { ask(&asked, |_| {}).await });
    let ((first, last), range) = next_range(&worker).await;
    let kernel = miner_kernels::Kernel::PORTABLE;
    let message = miner_kernels::Message::new(b"again");
    let best = message.minimum(kernel, first..=last).unwrap();
    let result = Message::Result {
        best,
        range: range.map(|range| (range, Vec::new())),
    };
    worker.write(Bytes::from(result.encode())).await.unwrap();
    // Another range comes because that one was taken; a record of it is written on the way out.
    next_range(&worker).await;
    next_range(&worker).await;
    client.abort();
    server.stop().await;

    let server = Running::start(Some(Store::open(&location).await.unwrap())).await;
    let _worker = server.worker();
    job.server = server.address;
    check(&job).await;
    // The answer is kept for a client that did not get it.
    check(&job).await;
    // The key belongs to this job.
    job.upper += 1;
    job.reconnect_for = Duration::ZERO;
    assert_eq!(ask(&job, |_| {}).await.unwrap(), Outcome::Disconnected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_turned_away_and_hurts_nobody() {
    let server = Running::start(None).await;
    for nonsense in [&b"hello"[..], b"{\"Type\":7}", b"{\"Type\":2}", b"\xff\xff"] {
        let stranger = lsp::Client::connect(server.address, lsp_config())
            .await
            .unwrap();
        stranger.write(Bytes::from_static(nonsense)).await.unwrap();
        while stranger.read().await.is_ok() {}
    }
    let _worker = server.worker();
    check(&server.job("fine", 1_000)).await;
    server.stop().await;
}

/// A worker of ours as far as the server knows.
async fn raw_worker(server: &Running) -> lsp::Client {
    let worker = lsp::Client::connect(server.address, lsp_config())
        .await
        .unwrap();
    let join = Message::Join {
        speed: Some(10_000.0),
        takes: Takes::Messages,
    };
    let join = join.encode();
    worker.write(Bytes::from(join)).await.unwrap();
    worker
}

async fn read(client: &lsp::Client) -> Message {
    Message::decode(&client.read().await.unwrap()).unwrap()
}

async fn next_range(worker: &lsp::Client) -> ((u64, u64), Option<u64>) {
    match read(worker).await {
        Message::Request {
            lower,
            upper,
            extension: RequestExtension::Worker { range, .. },
            ..
        } => ((lower, upper), Some(range)),
        other => panic!("{other:?}"),
    }
}
