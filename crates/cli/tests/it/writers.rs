//! Redis clients that write one key for each word, and go on whatever happens to the nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cluster::PATIENCE;

const ANSWER_MAX: Duration = Duration::from_secs(2);
/// A node that is down refuses at once: don't ask it a million times.
const PAUSE: Duration = Duration::from_millis(50);

/// The value that stands under a word.
pub(crate) fn value_of(word: &str) -> String {
    // Any function of the word will do; this one catches a value under the wrong key.
    let sum = word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{sum:016x} {word}")
}

/// What the writers do together.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) words: Vec<String>,
    urls: Vec<String>,
    /// Words fall due evenly over this time.
    duration: Duration,
    started: Instant,
    next: AtomicUsize,
    /// Errors that were seen, by their code.
    pub(crate) errors: Mutex<BTreeMap<String, u64>>,
}

impl Work {
    pub(crate) fn new(words: Vec<String>, urls: Vec<String>, duration: Duration) -> Arc<Self> {
        let (next, errors) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self {
            words,
            urls,
            duration,
            started: Instant::now(),
            next,
            errors,
        })
    }

    /// The next word, when it is due.
    async fn take(&self) -> Option<&str> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let word = self.words.get(at)?;
        let narrow = |number: usize| u32::try_from(number).expect("a word list");
        let share = f64::from(narrow(at)) / f64::from(narrow(self.words.len()));
        sleep_until(self.started + self.duration.mul_f64(share)).await;
        Some(word)
    }
}

/// Writes words until there are none left.
///
/// Every word is written again until the cluster has acknowledged it; an error after which
/// a client must not simply try again is a panic.
pub(crate) async fn write(work: Arc<Work>, first_node: usize) {
    let mut node = first_node;
    let mut connection: Option<MultiplexedConnection> = None;
    while let Some(word) = work.take().await {
        let value = value_of(word);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let url = &work.urls[node % work.urls.len()];
            let Err(error) = set(&mut connection, url, word, &value).await else {
                break;
            };
            let code = retryable(&error);
            let code = code.unwrap_or_else(|| panic!("not an error to try again: {error}"));
            *work.errors.lock().await.entry(code).or_default() += 1;
            // A refusal leaves the connection usable; anything else does not.
            if error.code().is_none() {
                connection = None;
                node += 1;
            }
            assert!(
                Instant::now() < deadline,
                "{word:?} was never acknowledged: {error}"
            );
            sleep(PAUSE).await;
        }
    }
}

async fn set(
    connection: &mut Option<MultiplexedConnection>,
    url: &str,
    key: &str,
    value: &str,
) -> Result<(), RedisError> {
    let connection = if let Some(connection) = connection {
        connection
    } else {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_MAX))
            .set_response_timeout(Some(ANSWER_MAX));
        let client = redis::Client::open(url)?;
        let new = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        connection.insert(new)
    };
    redis::cmd("SET")
        .arg(key)
        .arg(value)
        .query_async(connection)
        .await
}

/// The name of an error after which a client may send the same again.
fn retryable(error: &RedisError) -> Option<String> {
    let name = match error.code() {
        Some(code @ ("CLUSTERDOWN" | "TRYAGAIN" | "UNKNOWN" | "LOADING")) => code,
        Some(_) => return None,
        None if error.is_timeout() => "timeout",
        None if error.is_connection_refusal() => "connection refused",
        None if error.is_io_error() || error.is_connection_dropped() => "connection lost",
        None => return None,
    };
    Some(name.to_owned())
}
