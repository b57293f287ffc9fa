//! Who leads, where several coordinators share a database: [`Leadership`] decides, this asks
//! the store.

use std::net::SocketAddr;

use kv::store::{Expected, Store};
use mapreduce_core::{Answer, Ask, LeaderTimes, Leadership, Standing, Term};
use stdx::Instant;
use tokio::task::JoinHandle;
use tokio::time::{self, sleep};

use crate::error::{Context as _, Error};
use crate::limits;
use crate::wire;

const KEY: &[u8] = b"mr/leader";

/// One who would lead.
#[derive(Debug)]
pub(crate) struct Leader {
    store: Store,
    clock: time::Instant,
    leadership: Leadership,
    /// Since when the store has given no answer, and what it said.
    failing: Option<(time::Instant, Error)>,
}

impl Leader {
    pub(crate) fn new(store: Store, owner: u64, address: SocketAddr) -> Self {
        let clock = time::Instant::now();
        let times = LeaderTimes::new(limits::LEADER_RENEW, limits::LEADER_PATIENCE);
        let leadership = Leadership::new(owner, address.to_string(), times, now(clock));
        Self {
            store,
            clock,
            leadership,
            failing: None,
        }
    }

    /// Waits until nobody else leads.
    pub(crate) async fn acquire(&mut self) -> Result<(), Error> {
        let mut told = false;
        while self.leadership.standing() == Standing::Waiting {
            let answer = self.turn().await;
            if let Some(Answer::Found(Some((_, term)))) = answer
                && !told
            {
                told = true;
                let leader = term.address;
                tracing::info!(leader, "another coordinator leads: standing by");
            }
            let since = self.failing.as_ref().map(|(since, _)| *since);
            if since.is_some_and(|since| since.elapsed() > limits::STORE_OPENS)
                && let Some((_, error)) = self.failing.take()
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Says again and again that this one leads; the task ends when it doesn't any more.
    pub(crate) fn keep(mut self) -> JoinHandle<Error> {
        tokio::spawn(async move {
            while self.leadership.standing() == Standing::Leads {
                self.turn().await;
            }
            match self.failing.take() {
                Some((_, error)) => error,
                None => Error::new("another coordinator took over"),
            }
        })
    }

    /// Waits for the next question, asks it, and takes in the answer.
    async fn turn(&mut self) -> Option<Answer> {
        if let Some(at) = self.leadership.poll_timeout() {
            sleep(at.since(now(self.clock))).await;
        }
        let ask = self.leadership.poll_ask(now(self.clock))?;
        // An answer that comes too late to be of use is not waited for.
        let asked = time::timeout(limits::LEADER_PATIENCE, self.ask(ask)).await;
        let asked = asked.unwrap_or_else(|_| Err(Error::new("the store gives no answer")));
        let answer = match asked {
            Ok(answer) => {
                self.failing = None;
                answer
            }
            Err(error) => {
                tracing::warn!("{}", error.line());
                let since = self.failing.as_ref().map(|(since, _)| *since);
                self.failing = Some((since.unwrap_or_else(time::Instant::now), error));
                Answer::Failed
            }
        };
        self.leadership.on_answer(now(self.clock), answer.clone());
        Some(answer)
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, Error> {
        match ask {
            Ask::Read => {
                let found = self.store.get(KEY).await.context("cannot see who leads")?;
                let Some(found) = found else {
                    return Ok(Answer::Found(None));
                };
                let term: Term = wire::decode(&found.value)?;
                Ok(Answer::Found(Some((found.version, term))))
            }
            Ask::Write { term, expected } => {
                let value = wire::encode(&term)?;
                let expected = expected.map_or(Expected::Absent, Expected::Version);
                let written = self.store.put_if(KEY, &value, expected).await;
                let written = written.context("cannot write who leads")?;
                Ok(written.map_or(Answer::Conflict, Answer::Written))
            }
        }
    }
}

fn now(clock: time::Instant) -> Instant {
    let nanos = u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(nanos.saturating_add(1))
}
