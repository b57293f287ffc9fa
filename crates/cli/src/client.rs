//! Flags for connecting to a cluster, and what a failed call means to whoever typed it.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use kv::client::{Client, Failed, Options, Outcome};
use tonic::Code;

use crate::error::Hint;

/// Which cluster is asked, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientArgs {
    /// gRPC addresses of one or more nodes of the cluster
    #[arg(
        long,
        env = "KONTIKI_ENDPOINT",
        value_delimiter = ',',
        default_value = "127.0.0.1:7379,127.0.0.1:7380,127.0.0.1:7381",
        value_name = "ADDR,.."
    )]
    pub(crate) endpoint: Vec<String>,
    /// Give up after so many seconds; until then, what is safe to try again is tried again
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub(crate) timeout: f64,
}

impl ClientArgs {
    pub(crate) fn connect(&self) -> Result<Client> {
        let timeout = Duration::try_from_secs_f64(self.timeout).with_context(|| {
            Hint::new(
                format!("--timeout {}", self.timeout),
                "write seconds, such as 2.5",
            )
        })?;
        let options = Options {
            timeout,
            ..Options::new(&self.endpoint)
        };
        Client::new(&options)
            .with_context(|| Hint::new("--endpoint can't be used", "write host:port,host:port"))
    }
}

/// The answer of a write, or an error that says whether it was executed.
pub(crate) fn committed<T>(outcome: Outcome<T>) -> Result<T> {
    match outcome {
        Outcome::Committed(answer) => Ok(answer),
        Outcome::Rejected(failed) => Err(refused(&failed)),
        Outcome::Unknown(failed) => Err(anyhow!(Hint::new(
            format!("the outcome is unknown: {failed}"),
            "read the key to see whether the write was executed"
        ))),
    }
}

/// An error about something that was certainly not executed.
pub(crate) fn refused(failed: &Failed) -> anyhow::Error {
    let hint = match failed.code {
        Code::Unavailable | Code::DeadlineExceeded => {
            "nothing was executed; do the nodes run, and does `kontiki status` show a leader? \
             `kontiki up` starts a cluster, --endpoint names another"
        }
        Code::ResourceExhausted => "nothing was executed: the cluster is busy, try again",
        Code::InvalidArgument | Code::FailedPrecondition => {
            "nothing was executed: change the request"
        }
        _ => "nothing was executed; the node's log may say more",
    };
    anyhow!(Hint::new(failed.to_string(), hint))
}
