//! Bodies of fuzz targets. Public so that a fuzzer's crate outside the workspace and the
//! tests within it run the same code; no part of the interface.

use core::time::Duration;

use miner_kernels::{Best, Kernel};
use stdx::Instant;

use crate::{
    Action, Claim, ClientId, Config, JobRecord, Message, Pool, RangeId, Submission, WorkerId,
};

/// Whatever reads as a message or a record writes as one that reads the same.
///
/// # Panics
///
/// When it doesn't: that is what a fuzzer looks for.
pub fn codec(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        let again = Message::decode(&message.encode());
        // Escapes may make it longer than what is taken.
        if let Ok(again) = again {
            assert_eq!(again, message);
        }
    }
    if let Ok(record) = JobRecord::decode(bytes) {
        assert_eq!(JobRecord::decode(&record.encode()).ok(), Some(record));
    }
}

/// A pool takes any sequence of inputs, from honest and dishonest ends, and keeps its
/// promises to itself.
///
/// # Panics
///
/// When an invariant breaks: that is what a fuzzer looks for.
pub fn pool(bytes: &[u8]) {
    let mut pool = Pool::new(Config::default(), 7);
    let mut now = Instant::EPOCH;
    let mut given = Vec::new();
    let mut checks = Vec::new();
    for step in bytes.chunks_exact(3) {
        let [what, who, how] = [step[0], step[1], step[2]];
        let (worker, client) = (
            WorkerId::new(u64::from(who % 4)),
            ClientId::new(u64::from(who % 4)),
        );
        now = now.after(Duration::from_millis(u64::from(how)));
        match what % 8 {
            0 => drop(pool.on_worker_joined(now, worker, (who > 127).then_some(f64::from(how)))),
            1 => pool.on_worker_lost(now, worker),
            2 => pool.on_client_lost(now, client),
            3 => drop(pool.submit(now, client, submission(who, how))),
            4 | 5 => answer(&mut pool, now, &mut given, how),
            6 => {
                if let Some((check, message, nonces)) = checks.pop() {
                    let message: std::sync::Arc<miner_kernels::Message> = message;
                    let nonces: crate::Nonces = nonces;
                    let all = nonces.first()..=nonces.last();
                    let best = message.minimum(Kernel::PORTABLE, all);
                    pool.on_checked(now, check, best.expect("no range is empty"));
                }
            }
            _ => pool.on_timeout(now),
        }
        while let Some(action) = pool.poll_action() {
            match action {
                Action::Assign {
                    worker,
                    range,
                    message,
                    nonces,
                    ..
                } => {
                    given.push((worker, range, message, nonces));
                }
                Action::Check {
                    check,
                    message,
                    nonces,
                } => checks.push((check, message, nonces)),
                Action::Save(record) => {
                    assert_eq!(JobRecord::decode(&record.encode()).ok(), Some(record));
                }
                _ => {}
            }
        }
        pool.check_invariants();
    }
}

fn submission(who: u8, how: u8) -> Submission {
    Submission {
        message: format!("message {}", how % 3),
        lower: u64::from(how) * 3,
        upper: u64::from(who) * 40,
        key: how.is_multiple_of(2).then(|| format!("key {}", how % 8)),
        progress: crate::Progress::Wanted,
    }
}

/// Answers one of the ranges that were given out: rightly, wrongly, or under a false id.
fn answer(
    pool: &mut Pool,
    now: Instant,
    given: &mut Vec<(WorkerId, RangeId, std::sync::Arc<str>, crate::Nonces)>,
    how: u8,
) {
    if given.is_empty() {
        return;
    }
    let (worker, range, message, nonces) = given.remove(usize::from(how) % given.len());
    let all = nonces.first()..=nonces.last();
    let message = miner_kernels::Message::new(message.as_bytes());
    let best = message.minimum(Kernel::PORTABLE, all);
    let mut best = best.expect("no range is empty");
    if how % 16 == 1 {
        best = Best {
            hash: best.hash ^ 1,
            ..best
        };
    }
    let range = match how % 8 {
        2 => Some(RangeId::new(range.get() ^ 1)),
        3 => None,
        _ => Some(range),
    };
    let claim = Claim {
        range,
        best,
        minima: Vec::new(),
    };
    pool.on_result(now, worker, &claim);
}
