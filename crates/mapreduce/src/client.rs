//! A client of a coordinator.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::error::{Context as _, Error};
use crate::limits;
use crate::spec::{JobRequest, State, Status, Summary};
use crate::wire::v1::coordinator_client::CoordinatorClient;
use crate::wire::v1::{KillRequest, ListRequest, LogsRequest, SubmitRequest, WatchRequest};
use crate::wire::{decode, encode};

/// A client. It finds the coordinator that leads among several addresses, and finds it again.
#[derive(Clone, Debug)]
pub struct Client {
    addresses: Vec<String>,
    patience: Duration,
    client: Option<CoordinatorClient<Channel>>,
}

impl Client {
    /// A client of whoever leads at one of these addresses.
    #[must_use]
    pub const fn new(addresses: Vec<String>, patience: Duration) -> Self {
        Self {
            addresses,
            patience,
            client: None,
        }
    }

    /// Hands in a job; returns its name.
    ///
    /// # Errors
    ///
    /// When the job can't be run as it is, or no coordinator answers.
    pub async fn submit(&mut self, request: &JobRequest) -> Result<String, Error> {
        let request = SubmitRequest {
            format: limits::FORMAT,
            request: encode(request)?,
        };
        let mut client = self.connected().await?;
        let reply = client.submit(request).await;
        let reply = reply.map_err(|status| refused("the job was not accepted", &status))?;
        Ok(reply.into_inner().job)
    }

    /// Every job that the coordinator knows, oldest first.
    ///
    /// # Errors
    ///
    /// When no coordinator answers.
    pub async fn list(&mut self) -> Result<Vec<Summary>, Error> {
        let mut client = self.connected().await?;
        let reply = client.list(ListRequest {}).await;
        let reply = reply.map_err(|status| refused("cannot list the jobs", &status))?;
        let jobs = reply.into_inner().jobs;
        let mut jobs: Vec<Summary> = jobs
            .iter()
            .map(|job| decode(job))
            .collect::<Result<_, _>>()?;
        jobs.sort_by_key(|job| job.submitted_ms);
        Ok(jobs)
    }

    /// How a job stands now.
    ///
    /// # Errors
    ///
    /// When there is no such job, or no coordinator answers.
    pub async fn status(&mut self, job: &str) -> Result<Status, Error> {
        let request = WatchRequest {
            job: job.to_owned(),
            once: true,
        };
        let mut client = self.connected().await?;
        let failed = |status: tonic::Status| refused("cannot see the job", &status);
        let mut replies = client.watch(request).await.map_err(failed)?.into_inner();
        let reply = replies.message().await.map_err(failed)?;
        let reply = reply.ok_or_else(|| Error::new("the coordinator gave no answer"))?;
        decode(&reply.status)
    }

    /// Shows how a job stands until it has ended, also when the coordinator is replaced.
    ///
    /// # Errors
    ///
    /// When there is no such job, or no coordinator answers for too long.
    pub async fn watch(
        &mut self,
        job: &str,
        mut show: impl FnMut(&Status),
    ) -> Result<Status, Error> {
        loop {
            let mut client = self.connected().await?;
            let request = WatchRequest {
                job: job.to_owned(),
                once: false,
            };
            let mut replies = match client.watch(request).await {
                Ok(replies) => replies.into_inner(),
                Err(status) if status.code() == tonic::Code::NotFound => {
                    return Err(refused("cannot see the job", &status));
                }
                Err(_) => {
                    self.client = None;
                    sleep(limits::CONNECT_BACKOFF.1).await;
                    continue;
                }
            };
            while let Ok(Some(reply)) = replies.message().await {
                let status: Status = decode(&reply.status)?;
                show(&status);
                if matches!(status.summary.state, State::Ended(_)) {
                    return Ok(status);
                }
            }
            self.client = None;
            sleep(limits::CONNECT_BACKOFF.0).await;
        }
    }

    /// Ends a job.
    ///
    /// # Errors
    ///
    /// When there is no such job, it has ended, or no coordinator answers.
    pub async fn kill(&mut self, job: &str, reason: &str) -> Result<(), Error> {
        let request = KillRequest {
            job: job.to_owned(),
            reason: reason.to_owned(),
        };
        let mut client = self.connected().await?;
        let reply = client.kill(request).await;
        reply.map_err(|status| refused("the job was not killed", &status))?;
        Ok(())
    }

    /// What happened in a job so far.
    ///
    /// # Errors
    ///
    /// When there is no such job, it has no history, or no coordinator answers.
    pub async fn logs(&mut self, job: &str, mut line: impl FnMut(&str)) -> Result<(), Error> {
        let request = LogsRequest {
            job: job.to_owned(),
        };
        let mut client = self.connected().await?;
        let failed = |status: tonic::Status| refused("cannot read the history", &status);
        let mut lines = client.logs(request).await.map_err(failed)?.into_inner();
        while let Some(next) = lines.message().await.map_err(failed)? {
            line(&next.text);
        }
        Ok(())
    }

    /// A connection to whoever leads.
    async fn connected(&mut self) -> Result<CoordinatorClient<Channel>, Error> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let since = Instant::now();
        loop {
            let mut last = None;
            for address in &self.addresses {
                match self.try_address(address).await {
                    Ok(client) => {
                        self.client = Some(client.clone());
                        return Ok(client);
                    }
                    Err(error) => last = Some(error),
                }
            }
            if since.elapsed() >= self.patience {
                let addresses = self.addresses.join(", ");
                let error = Error::new(format!("no coordinator answers at {addresses}"))
                    .hint("start one with `kontiki mr coordinator`, or check --coordinator");
                return Err(match last {
                    Some(last) => error.because(last),
                    None => error,
                });
            }
            sleep(limits::CONNECT_BACKOFF.1 / 5).await;
        }
    }

    /// Connects, and makes sure that it leads.
    async fn try_address(&self, address: &str) -> Result<CoordinatorClient<Channel>, Error> {
        let channel = crate::worker::dial(address).await?;
        let mut client = CoordinatorClient::new(channel)
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
        if self.addresses.len() > 1 {
            let asked = client.list(ListRequest {}).await;
            asked.context(format!("{address} does not serve"))?;
        }
        Ok(client)
    }
}

fn refused(what: &str, status: &tonic::Status) -> Error {
    let error = Error::new(what).because(Error::new(status.message()));
    match status
        .metadata()
        .get("hint")
        .and_then(|hint| hint.to_str().ok())
    {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
