//! One request to one system.

use anyhow::{Result, bail};
use kontiki::kv_client::KvClient as Kontiki;
use kontiki::operation::Operation as Kind;
use kv_proto::kv::v1 as kontiki;
use tonic::transport::{Channel, Endpoint};

use crate::{System, key, value};

pub mod etcd {
    tonic::include_proto!("etcdserverpb");
}

use etcd::kv_client::KvClient as Etcd;

/// Operations in one call of [`System::KontikiBatch`].
pub const BATCH: u64 = 100;

/// A connection to one of the systems.
#[derive(Clone, Debug)]
pub enum Client {
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
            System::Etcd => Self::Etcd(Etcd::new(channel)),
            System::Resp => bail!("RESP is loaded with redis-benchmark, or `fill`"),
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
            Self::Kontiki(client) => {
                let (key, value) = (name.into(), value.into());
                client
                    .put(kontiki::PutRequest {
                        key,
                        value,
                        expiry: None,
                        return_version: false,
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
                        expiry: None,
                        return_version: false,
                    };
                    kontiki::Operation {
                        operation: Some(Kind::Put(put)),
                    }
                });
                let request = kontiki::BatchRequest {
                    operations: operations.collect(),
                };
                let reply = client.batch(request).await?.into_inner();
                for result in reply.results {
                    if let Some(kontiki::operation_result::Result::Failure(failure)) = result.result
                    {
                        return Err(tonic::Status::unavailable(failure.message));
                    }
                }
            }
        }
        Ok(())
    }

    pub async fn get(&mut self, number: u64, keys: u64) -> Result<(), tonic::Status> {
        let name = key(number);
        match self {
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
