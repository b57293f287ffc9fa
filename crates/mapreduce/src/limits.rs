//! Every limit of the shell, by name. Those of a job are in `mapreduce_core::Config`, those of a
//! task's data in `mapreduce_data::limits`.

use std::time::Duration;

/// The version of the JSON in messages and in the store.
pub const FORMAT: u32 = 1;
/// Messages to one worker that may wait; more are dropped, and sent again later.
pub const TO_WORKER_MAX: usize = 4_096;
/// Inputs of the coordinator's loop that may wait.
pub const INPUTS_MAX: usize = 4_096;
/// Results of attempts that may wait in a worker.
pub const RESULTS_MAX: usize = 1_024;
/// The largest message between processes: the report of a reduce names every map.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How often a worker tells what it does.
pub const HEARTBEAT: Duration = Duration::from_millis(200);
/// A report that nobody acknowledged for so long is sent again.
pub const REPORT_AGAIN: Duration = Duration::from_secs(1);
/// What a message of the shuffle carries.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may be on their way to one reader.
pub const CHUNKS_MAX: usize = 4;
/// An extent up to this is fetched into memory, a larger one into a file.
pub const FETCH_MEMORY_MAX: u64 = 16 << 20;
/// Extents that one reduce fetches at once.
pub const FETCHES_MAX: usize = 3;
/// One message of a fetch must arrive within this.
pub const FETCH_PATIENCE: Duration = Duration::from_secs(10);
/// Waiting between two tries to fetch, at first and at most.
pub const FETCH_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Waiting between two tries to connect, at first and at most.
pub const CONNECT_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(500));
/// How often the status of a job is published to those who watch.
pub const STATUS_EVERY: Duration = Duration::from_millis(100);
/// Tries of a write to the store whose outcome stays unknown.
pub const STORE_TRIES_MAX: u32 = 20;
/// Jobs that wait for their turn.
pub const QUEUE_MAX: usize = 1_000;
/// How often a coordinator says that it is alive, where several could be.
pub const LEADER_RENEW: Duration = Duration::from_secs(1);
/// A coordinator that didn't for so long is replaced.
pub const LEADER_PATIENCE: Duration = Duration::from_secs(5);
/// A draining worker stays so long for those who need its output.
pub const DRAIN_MAX: Duration = Duration::from_secs(60);
/// Restarts of one process by `run`.
pub const RESTARTS_MAX: u32 = 200;
/// A store of one's own is open within this.
pub const STORE_OPENS: Duration = Duration::from_secs(30);
