//! Bitcoin headers through the pool.

use bytes::Bytes;
use miner::client::{AskError, Job, Outcome, ask};
use miner_core::{Message, Takes};
use miner_kernels::{Best, Header, Problem};

use crate::world::{Running, lsp_config};

/// The genesis block of regtest, in which one hash in two is good.
const REGTEST: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3ed\
                       fd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4adae5494dffff7f2000000000";

/// The genesis block of the main chain, with another nonce.
const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3ed\
                       fd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d00000000";

fn header_job(server: &Running, header: Header, lower: u32, upper: u32) -> Job {
    Job {
        problem: Problem::Bitcoin,
        lower: lower.into(),
        upper: upper.into(),
        ..server.job(&header.to_string(), 0)
    }
}

async fn answer(job: &Job) -> Best {
    match ask(job, |_| {}).await.unwrap() {
        Outcome::Result(best) => best,
        Outcome::Disconnected => panic!("disconnected"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_regtest_is_mined_by_a_pool() {
    let server = Running::start(None).await;
    let _workers = [server.worker(), server.worker()];
    let genesis: Header = REGTEST.parse().unwrap();
    let mut previous = genesis.with_nonce(2);
    for height in 1..=10_u32 {
        let mut bytes = *genesis.as_bytes();
        bytes[4..36].copy_from_slice(&previous.hash().0);
        bytes[68..72].copy_from_slice(&(1_296_688_602 + height).to_le_bytes());
        let header = Header::new(bytes);
        let best = answer(&header_job(&server, header, 0, u32::MAX)).await;
        let found = header.with_nonce(u32::try_from(best.nonce).unwrap());
        assert!(header.target().unwrap().is_met_by(found.hash()), "{height}");
        previous = found;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_genesis_block_is_found_by_a_pool() {
    let server = Running::start(None).await;
    let _workers = [server.worker(), server.worker()];
    let header: Header = GENESIS.parse().unwrap();
    let nonce = 2_083_236_893;
    let best = answer(&header_job(&server, header, nonce - 3_000_000, u32::MAX)).await;
    assert_eq!(best.nonce, u64::from(nonce));
    // Where there is none, the nearest is the answer.
    let best = answer(&header_job(&server, header, 0, 100_000)).await;
    let nearest = header.minimum(miner_kernels::Kernel::PORTABLE, 0..=100_000);
    assert_eq!(Some(best), nearest);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_original_miner_is_not_asked_for_a_header() {
    let server = Running::start(None).await;
    let miner = lsp::Client::connect(server.address, lsp_config())
        .await
        .unwrap();
    let join = Message::Join {
        speed: None,
        takes: Takes::Messages,
    };
    miner.write(Bytes::from(join.encode())).await.unwrap();
    let header = header_job(&server, REGTEST.parse().unwrap(), 0, u32::MAX);
    let asking = tokio::spawn(async move { answer(&header).await });
    // It is asked for a message that came after the header, and not for the header.
    let text = server.job("for everybody", 100);
    let text = tokio::spawn(async move { ask(&text, |_| {}).await });
    let request = Message::decode(&miner.read().await.unwrap()).unwrap();
    match request {
        Message::Request { data, .. } => assert_eq!(data, "for everybody"),
        other => panic!("{other:?}"),
    }
    let _worker = server.worker();
    asking.await.unwrap();
    text.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_know_headers_is_found_out() {
    // An original server skips what it doesn't know and hashes the digits as text.
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let server = lsp::Server::bind(local, lsp_config()).await.unwrap();
    let mut job = header_job(&Running::start(None).await, REGTEST.parse().unwrap(), 0, 9);
    job.server = server.local_addr();
    let asking = tokio::spawn(async move { ask(&job, |_| {}).await });
    let (conn, request) = server.read().await.unwrap();
    let Message::Request {
        data, lower, upper, ..
    } = Message::decode(&request.unwrap()).unwrap()
    else {
        panic!("not a request");
    };
    let text = miner_kernels::Message::new(data.as_bytes());
    let best = text
        .minimum(miner_kernels::Kernel::PORTABLE, lower..=upper)
        .unwrap();
    let result = Message::Result { best, range: None };
    server
        .write(conn, Bytes::from(result.encode()))
        .await
        .unwrap();
    assert!(matches!(asking.await.unwrap(), Err(AskError::NotAHash)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_header_is_not_asked_for() {
    let server = Running::start(None).await;
    let mut job = server.job("00", 5);
    job.problem = Problem::Bitcoin;
    assert!(matches!(ask(&job, |_| {}).await, Err(AskError::Header)));
    // Bits of zero are no target.
    job.message = "0".repeat(160);
    assert!(matches!(ask(&job, |_| {}).await, Err(AskError::Header)));
    server.stop().await;
}
