//! A connection to a cluster: any node will do, and one that is gone is passed over.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use kv_proto::admin::v1::admin_client::AdminClient;
use kv_proto::kv::v1::kv_client::KvClient;
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::error::Hint;

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Between attempts on a cluster that has no leader at the moment.
const PAUSE: Duration = Duration::from_millis(100);
/// The largest value, and room for what comes with it.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Which cluster is asked, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientArgs {
    /// gRPC addresses of one or more nodes; the first that answers is asked
    #[arg(
        long,
        env = "KONTIKI_ENDPOINT",
        value_delimiter = ',',
        default_value = "127.0.0.1:7379,127.0.0.1:7380,127.0.0.1:7381",
        value_name = "ADDR,.."
    )]
    pub(crate) endpoint: Vec<String>,
    /// Give up after so many seconds; until then, what was certainly not executed is tried again
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub(crate) timeout: f64,
}

impl ClientArgs {
    /// The same, without trying again.
    pub(crate) fn once(&self) -> Self {
        Self {
            timeout: self.timeout.min(CONNECT_MAX.as_secs_f64()),
            ..self.clone()
        }
    }
}

/// Connections to the doors of one cluster.
#[derive(Debug)]
pub(crate) struct Client {
    endpoints: Vec<String>,
    deadline: Instant,
    /// The node that is asked, and the connection to it.
    at: usize,
    channel: Option<Channel>,
}

impl Client {
    pub(crate) fn new(args: &ClientArgs) -> Result<Self> {
        let timeout = Duration::try_from_secs_f64(args.timeout).with_context(|| {
            Hint::new(
                format!("--timeout {}", args.timeout),
                "write seconds, such as 2.5",
            )
        })?;
        let deadline = Instant::now() + timeout;
        Ok(Self {
            endpoints: args.endpoint.clone(),
            deadline,
            at: 0,
            channel: None,
        })
    }

    /// Calls the data door, again where the call was certainly not executed and time is left.
    pub(crate) async fn kv<T>(
        &mut self,
        call: impl AsyncFn(KvClient<Channel>) -> Result<T, Status>,
    ) -> Result<T> {
        self.retry(async |channel| {
            let client = KvClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            call(client).await
        })
        .await
    }

    /// Calls the operator's door in the same way.
    pub(crate) async fn admin<T>(
        &mut self,
        call: impl AsyncFn(AdminClient<Channel>) -> Result<T, Status>,
    ) -> Result<T> {
        self.retry(async |channel| call(AdminClient::new(channel)).await)
            .await
    }

    async fn retry<T>(&mut self, call: impl AsyncFn(Channel) -> Result<T, Status>) -> Result<T> {
        loop {
            let failure = match self.channel().await {
                Err(error) => error,
                Ok(channel) => match call(channel).await {
                    Ok(reply) => return Ok(reply),
                    Err(status) if is_retryable(&status) => self.explain(&status),
                    Err(status) => return Err(self.explain(&status)),
                },
            };
            // Another node may know more.
            self.channel = None;
            self.at = (self.at + 1) % self.endpoints.len();
            if Instant::now() + PAUSE > self.deadline {
                return Err(failure);
            }
            // A full round without success: give an election its time.
            if self.at == 0 {
                sleep(PAUSE).await;
            }
        }
    }

    async fn channel(&mut self) -> Result<Channel> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let address = &self.endpoints[self.at];
        let unusable = || {
            let hint =
                "is a node running there? `kontiki up` starts a cluster, --endpoint names another";
            Hint::new(format!("cannot reach {address}"), hint)
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let endpoint = Endpoint::from_shared(format!("http://{address}")).with_context(unusable)?;
        let channel = endpoint
            .connect_timeout(CONNECT_MAX.min(left.max(PAUSE)))
            .timeout(left.max(PAUSE))
            .tcp_nodelay(true)
            .connect()
            .await
            .with_context(unusable)?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// The address that is asked at the moment.
    fn address(&self) -> &str {
        &self.endpoints[self.at]
    }

    /// An error with what to do about it.
    fn explain(&self, status: &Status) -> anyhow::Error {
        let hint = match status.code() {
            Code::Aborted | Code::DeadlineExceeded | Code::Cancelled => {
                "the outcome is unknown: read the key to see whether the write was executed"
            }
            Code::Unavailable => "nothing was executed: try again, or look at `kontiki status`",
            Code::ResourceExhausted => "nothing was executed: the cluster is busy, try again",
            Code::InvalidArgument | Code::FailedPrecondition => "the request itself must change",
            _ => "see the node's log",
        };
        let message = format!("{} answered: {}", self.address(), status.message());
        anyhow!(Hint::new(message, hint))
    }
}

/// Certainly not executed, and likely to work soon.
fn is_retryable(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
}
