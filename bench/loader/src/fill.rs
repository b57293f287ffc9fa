//! Writes a known set of keys as fast as the system takes them.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use crate::calls::etcd;
use crate::{Fill, System, key, report, value};

/// Commands that wait for their answer on one RESP connection.
const PIPELINE: u64 = 256;
const CONNECTIONS: u64 = 8;
/// etcd's own limit for one transaction.
const TRANSACTION: u64 = 128;

pub async fn run(args: &Fill) -> Result<()> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for part in 0..CONNECTIONS {
        let range = args.keys * part / CONNECTIONS..args.keys * (part + 1) / CONNECTIONS;
        let args = args.clone();
        tasks.spawn(async move {
            for pass in 0..args.passes {
                match args.system {
                    System::Resp => fill_resp(&args, range.clone(), pass).await?,
                    System::Etcd => fill_etcd(&args, range.clone(), pass).await?,
                    other => bail!("fill does not speak {other:?}: use resp or etcd"),
                }
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    report(
        args.keys * args.passes,
        0,
        began.elapsed(),
        &Histogram::new(3)?,
    );
    Ok(())
}

async fn fill_resp(args: &Fill, range: std::ops::Range<u64>, pass: u64) -> Result<()> {
    let mut stream = TcpStream::connect(&args.endpoint)
        .await
        .context(args.endpoint.clone())?;
    stream.set_nodelay(true)?;
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    let mut next = range.start;
    while next < range.end {
        let count = PIPELINE.min(range.end - next);
        request.clear();
        for number in next..next + count {
            let (key, value) = (key(number), value(args.value_bytes, number + pass));
            request.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n${}\r\n", key.len()).as_bytes());
            request.extend_from_slice(&key);
            request.extend_from_slice(format!("\r\n${}\r\n", value.len()).as_bytes());
            request.extend_from_slice(&value);
            request.extend_from_slice(b"\r\n");
        }
        stream.write_all(&request).await?;
        answer.resize(count as usize * b"+OK\r\n".len(), 0);
        stream.read_exact(&mut answer).await?;
        let fine = answer.chunks(5).all(|answer| answer == b"+OK\r\n");
        ensure!(
            fine,
            "a write was refused: {}",
            String::from_utf8_lossy(&answer[..answer.len().min(200)])
        );
        next += count;
    }
    Ok(())
}

async fn fill_etcd(args: &Fill, range: std::ops::Range<u64>, pass: u64) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{}", args.endpoint))?
        .connect()
        .await?;
    let mut client = etcd::kv_client::KvClient::new(channel);
    let mut next = range.start;
    while next < range.end {
        let count = TRANSACTION.min(range.end - next);
        let success = (next..next + count).map(|number| {
            let value = value(args.value_bytes, number + pass).into();
            let put = etcd::PutRequest {
                key: key(number).into(),
                value,
            };
            etcd::RequestOp {
                request: Some(etcd::request_op::Request::RequestPut(put)),
            }
        });
        let reply = client
            .txn(etcd::TxnRequest {
                success: success.collect(),
            })
            .await?
            .into_inner();
        ensure!(reply.succeeded, "etcd refused a transaction");
        next += count;
    }
    Ok(())
}
