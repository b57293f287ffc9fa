//! One request to one system.

use anyhow::{Result, bail};
use kontiki::kv_client::KvClient as Kontiki;
use kontiki::operation::Operation as Kind;
use kv_proto::kv::v1 as kontiki;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::{System, key, value};

pub mod etcd {
    tonic::include_proto!("etcdserverpb");
}

use etcd::kv_client::KvClient as Etcd;

/// Operations in one call of [`System::KontikiBatch`].
pub const BATCH: u64 = 100;

/// One call that carries one request after another.
#[derive(Debug)]
pub struct Pipe {
    requests: mpsc::Sender<kontiki::BatchRequest>,
    responses: tonic::Streaming<kontiki::BatchResponse>,
}

impl Pipe {
    async fn run(&mut self, kind: Kind) -> Result<(), tonic::Status> {
        let operations = vec![kontiki::Operation {
            operation: Some(kind),
        }];
        let gone = || tonic::Status::unavailable("the call has ended");
        let request = kontiki::BatchRequest { operations };
        self.requests.send(request).await.map_err(|_| gone())?;
        let reply = self.responses.message().await?.ok_or_else(gone)?;
        check(reply)
    }
}

fn check(reply: kontiki::BatchResponse) -> Result<(), tonic::Status> {
    for result in reply.results {
        if let Some(kontiki::operation_result::Result::Failure(failure)) = result.result {
            return Err(tonic::Status::unavailable(failure.message));
        }
    }
    Ok(())
}

/// A connection to one of the systems.
#[derive(Debug)]
pub enum Client {
    KontikiPipeline(Kontiki<Channel>, Option<Pipe>),
    Kontiki(Kontiki<Channel>),
    KontikiBatch(Kontiki<Channel>),
    Etcd(Etcd<Channel>),
}

impl Client {
    pub async fn connect(system: System, endpoint: &str) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{endpoint}"))?
            .tcp_nodelay(true)
            .connect()
            .await?;
        Ok(match system {
            System::Kontiki => Self::Kontiki(Kontiki::new(channel)),
            System::KontikiBatch => Self::KontikiBatch(Kontiki::new(channel)),
            System::KontikiPipeline => Self::KontikiPipeline(Kontiki::new(channel), None),
            System::Etcd => Self::Etcd(Etcd::new(channel)),
            System::Resp => bail!("RESP is loaded with redis-benchmark, or `fill`"),
        })
    }

    /// Another client on the same connection.
    pub async fn another(&self) -> Result<Self> {
        Ok(match self {
            Self::Kontiki(client) => Self::Kontiki(client.clone()),
            Self::KontikiBatch(client) => Self::KontikiBatch(client.clone()),
            Self::Etcd(client) => Self::Etcd(client.clone()),
            Self::KontikiPipeline(client, _) => {
                let mut client = client.clone();
                let (requests, stream) = mpsc::channel(1);
                let responses = client.pipeline(ReceiverStream::new(stream)).await?;
                let responses = responses.into_inner();
                Self::KontikiPipeline(
                    client,
                    Some(Pipe {
                        requests,
                        responses,
                    }),
                )
            }
        })
    }

    /// Operations that one call stands for.
    pub fn weight(&self) -> u64 {
        if let Self::KontikiBatch(_) = self {
            BATCH
        } else {
            1
        }
    }

    pub async fn put(&mut self, number: u64, keys: u64, bytes: usize) -> Result<(), tonic::Status> {
        let (name, value) = (key(number), value(bytes, number));
        match self {
            Self::KontikiPipeline(_, pipe) => {
                let pipe = pipe.as_mut().expect("a client has a pipe");
                let (key, value) = (name.into(), value.into());
                pipe.run(Kind::Put(kontiki::PutRequest {
                    key,
                    value,
                    ..kontiki::PutRequest::default()
                }))
                .await?;
            }
            Self::Kontiki(client) => {
                let (key, value) = (name.into(), value.into());
                client
                    .put(kontiki::PutRequest {
                        key,
                        value,
                        ..kontiki::PutRequest::default()
                    })
                    .await?;
            }
            Self::Etcd(client) => {
                client
                    .put(etcd::PutRequest {
                        key: name.into(),
                        value: value.into(),
                    })
                    .await?;
            }
            Self::KontikiBatch(client) => {
                let operations = (0..BATCH).map(|i| {
                    let key = key((number + i * 7919) % keys).into();
                    let put = kontiki::PutRequest {
                        key,
                        value: value.clone().into(),
                        ..kontiki::PutRequest::default()
                    };
                    kontiki::Operation {
                        operation: Some(Kind::Put(put)),
                    }
                });
                let request = kontiki::BatchRequest {
                    operations: operations.collect(),
                };
                check(client.batch(request).await?.into_inner())?;
            }
        }
        Ok(())
    }

    pub async fn get(&mut self, number: u64, keys: u64) -> Result<(), tonic::Status> {
        let name = key(number);
        match self {
            Self::KontikiPipeline(_, pipe) => {
                let pipe = pipe.as_mut().expect("a client has a pipe");
                pipe.run(Kind::Get(kontiki::GetRequest {
                    key: name.into(),
                    consistency: 0,
                }))
                .await?;
            }
            Self::Kontiki(client) => {
                client
                    .get(kontiki::GetRequest {
                        key: name.into(),
                        consistency: 0,
                    })
                    .await?;
            }
            Self::Etcd(client) => {
                client
                    .range(etcd::RangeRequest { key: name.into() })
                    .await?;
            }
            Self::KontikiBatch(client) => {
                let operations = (0..BATCH).map(|i| {
                    let key = key((number + i * 7919) % keys).into();
                    let get = kontiki::GetRequest {
                        key,
                        consistency: 0,
                    };
                    kontiki::Operation {
                        operation: Some(Kind::Get(get)),
                    }
                });
                client
                    .batch(kontiki::BatchRequest {
                        operations: operations.collect(),
                    })
                    .await?;
            }
        }
        Ok(())
    }
}
