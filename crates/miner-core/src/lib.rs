//! The miner pool as a state machine: jobs of clients, cut into ranges for workers.
//!
//! A client asks for the smallest hash over a range of nonces, of a message or of a Bitcoin header;
//! the search for a header's ends as soon as one meets the target. The [`Pool`] cuts the range
//! into pieces that suit each worker's speed, keeps every worker busy across the distance,
//! lets small jobs overtake large ones, hands the ranges of lost and late workers to others,
//! and believes nobody: what a worker claims is hashed again before it counts.
//!
//! Nothing here does input or output or reads a clock. What arrives goes in through
//! `on_..` methods and [`Pool::submit`], with the time; what is to be done comes out of
//! [`Pool::poll_action`], and [`Pool::poll_timeout`] says when to call back.
//!
//! ```
//! use miner_core::{Action, Claim, ClientId, Config, Pool, Submission, Takes, WorkerId};
//! use miner_kernels::{Kernel, Message};
//! use stdx::Instant;
//!
//! let now = Instant::EPOCH;
//! let mut pool = Pool::new(Config::default(), 1);
//! let job = Submission { message: "msg".into(), lower: 0, upper: 2, ..Submission::default() };
//! pool.submit(now, ClientId::new(7), job)?;
//! pool.on_worker_joined(now, WorkerId::new(1), None, Takes::Messages)?;
//! while let Some(action) = pool.poll_action() {
//!     match action {
//!         Action::Assign { worker, range, message, nonces, .. } => {
//!             let all = nonces.first()..=nonces.last();
//!             let best = Message::new(message.as_bytes()).minimum(Kernel::PORTABLE, all);
//!             let best = best.expect("no range is empty");
//!             let claim = Claim { range: Some(range), best, minima: Vec::new() };
//!             pool.on_result(now, worker, &claim);
//!         }
//!         Action::Check { check, puzzle, nonces } => {
//!             let all = nonces.first()..=nonces.last();
//!             let best = puzzle.minimum(Kernel::PORTABLE, all);
//!             pool.on_checked(now, check, best.expect("no range is empty"));
//!         }
//!         Action::Answer { client, best } => {
//!             assert_eq!((client.get(), best.nonce), (7, 1));
//!         }
//!         other => panic!("{other:?}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Who is served first
//!
//! The job with the least work left, because that makes the mean response time smallest; but
//! a job that waits gets ahead of those that come much later, so that none starves
//! ([`Config::ageing`]). The jobs of one client stand in one queue of their own: a client
//! with a hundred jobs delays another's first job no more than its own first one does.
//!
//! # Whom to believe
//!
//! One hash shows that a claimed nonce has the claimed hash. It doesn't show that no other
//! nonce of the range has a smaller one; only hashing the range again would. So the server's
//! own kernel samples: every result of a worker until one of some size has passed, and then one in
//! [`Config::check_one_in`], is checked over a sixteenth of its range. A worker of ours reports
//! the minimum of each sixteenth, and one of them must come out exactly; from an original worker
//! there is only the total, which must not be beaten. A worker that is caught loses its
//! connection and all its credit in unfinished jobs, and that work is done again. What remains
//! is stated openly: a worker that cheats rarely is caught with the probability of being
//! sampled while cheating, and a job that was answered before that stays answered.
//!
//! A nonce that meets a header's target needs no such trust: one hash proves it.
//!
//! # Trade-offs
//!
//! Speeds are counted in hashes of messages; a header's nonce counts as two, which is what
//! it costs with every kernel, within a tenth.
//!
//! What a worker works on is not taken back when a smaller job arrives, only what waits behind
//! it; a small job so waits for up to [`Config::range_span`]. The order of jobs is recomputed
//! for every batch of inputs, which costs microseconds for a thousand jobs.
//!
//! # It is not
//!
//! * a defence against many colluding workers: there is no voting;
//! * a proof of work done: a job's answer is as good as its least sampled worker;
//! * a store: [`Action::Save`] says what to keep, and the shell keeps it.

mod config;
#[doc(hidden)]
pub mod fuzz;
pub mod limits;
mod message;
mod nonces;
mod planted;
mod pool;
mod record;
mod submission;

pub use config::{Config, ConfigError};
pub use message::{DecodeError, Message, Progress, RequestExtension, Takes};
pub use nonces::{NonceSet, Nonces, Reversed};
#[cfg(feature = "planted")]
pub use planted::PlantedBug;
pub use pool::{
    Action, CheckId, Claim, ClientId, Counters, DropReason, JobId, Pool, PoolFull, RangeId,
    WorkerId, WorkerStatus,
};
pub use record::{JobRecord, RecordError};
pub use submission::{Submission, SubmitError};
