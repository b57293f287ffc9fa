//! Bodies of fuzz targets. Public so that a fuzzer's crate outside the workspace and the
//! tests within it run the same code; no part of the interface.

use core::time::Duration;

use std::sync::Arc;

use miner_kernels::{Best, Header, Kernel, Problem, Puzzle, Target};
use stdx::Instant;

use crate::{
    Action, CheckId, Claim, ClientId, Config, JobRecord, Message, Nonces, Pool, Progress, RangeId,
    RequestExtension, Submission, Takes, WorkerId,
};

/// Good input of [`codec`].
#[must_use]
pub fn codec_samples() -> Vec<Vec<u8>> {
    let best = Best { hash: 1, nonce: 2 };
    let request = |data: &str, extension| Message::Request {
        data: data.to_owned(),
        lower: 3,
        upper: 70_000,
        extension,
    };
    let client = |problem| RequestExtension::Client {
        key: Some("key".to_owned()),
        progress: Progress::Wanted,
        problem,
    };
    let problem = Problem::Bitcoin;
    let messages = [
        Message::Join {
            speed: None,
            takes: Takes::Messages,
        },
        Message::Join {
            speed: Some(6e7),
            takes: Takes::Headers,
        },
        request("msg", RequestExtension::None),
        request("msg", client(Problem::Cmu)),
        request(HEADER, client(problem)),
        request(HEADER, RequestExtension::Worker { range: 9, problem }),
        Message::Result { best, range: None },
        Message::Result {
            best,
            range: Some((5, vec![1; 16])),
        },
        Message::Progress { done: 1, total: 2 },
        Message::Cancel { range: 7 },
    ];
    let record = |problem, message: &str| JobRecord {
        key: "key".to_owned(),
        problem,
        message: message.to_owned(),
        nonces: Nonces::new(0, 99).expect("in order"),
        todo: Nonces::new(5, 99).into_iter().collect(),
        best: Some(best),
    };
    let records = [record(Problem::Cmu, "msg"), record(problem, HEADER)];
    let messages = messages.iter().map(Message::encode);
    messages
        .chain(records.iter().map(JobRecord::encode))
        .collect()
}

/// The header of the first block after the genesis block, without its nonce.
const HEADER: &str = "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000\
                      982051fd1e4ba744bbbe680e1fee14677ba1a3c3540bf7b1cdb606e857233e0e\
                      61bc6649ffff001d00000000";

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

/// Headers and targets are read from any bytes; what is read is what is written, and all ways of
/// hashing agree.
///
/// # Panics
///
/// When something doesn't hold: that is what a fuzzer looks for.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = String::from_utf8_lossy(bytes).parse::<Header>() {
        assert_eq!(header.to_string().parse(), Ok(header));
    }
    let Some((bytes, _)) = bytes.split_first_chunk::<80>() else {
        return;
    };
    let header = Header::new(*bytes);
    assert_eq!(header.with_nonce(header.nonce()), header);
    let Ok(puzzle) = Puzzle::header(header) else {
        return;
    };
    let target = header.target().expect("the puzzle has it");
    // What is less than the target in its text is less as a number.
    let hash = header.hash();
    let is_met = hash.to_string() <= target.to_string();
    assert_eq!(target.is_met_by(hash), is_met);
    assert_eq!(puzzle.is_solved_by(header.nonce().into()), is_met);
    assert_eq!(puzzle.hash(header.nonce().into()), hash.top());
    if is_met {
        assert!(target.probability() > 0.0);
    }
    // The mantissa and the length of the compact form, the other way round.
    let bits = header.bits();
    let digits = target.to_string();
    let length = digits.trim_start_matches('0').len().div_ceil(2);
    assert!(u32::try_from(length).is_ok_and(|length| length <= bits >> 24));
    assert_eq!(Target::from_bits(bits), Ok(target));
    let nonces = header.nonce()..=header.nonce().saturating_add(40);
    let plain = nonces.clone().map(|nonce| Best {
        hash: puzzle.hash(nonce.into()),
        nonce: nonce.into(),
    });
    let plain = plain.min();
    for kernel in Kernel::all() {
        assert_eq!(header.minimum(kernel, nonces.clone()), plain, "{kernel}");
    }
}

/// Good input of [`header`].
#[must_use]
pub fn header_samples() -> Vec<Vec<u8>> {
    let header: Header = HEADER.parse().expect("a header");
    let mut easy = *header.as_bytes();
    easy[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
    vec![
        HEADER.as_bytes().to_vec(),
        header.as_bytes().to_vec(),
        easy.to_vec(),
    ]
}

/// Good input of [`pool`]: a worker, a client, a job and answers.
#[must_use]
pub fn pool_samples() -> Vec<Vec<u8>> {
    let job = [[0, 200, 50], [3, 130, 4], [4, 0, 4], [6, 0, 4]];
    let header = [[0, 255, 50], [3, 131, 9], [4, 0, 4], [7, 0, 200]];
    vec![job.concat(), header.concat()]
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
            0 => {
                let speed = (who > 127).then_some(f64::from(how));
                let takes = if who > 191 {
                    Takes::Headers
                } else {
                    Takes::Messages
                };
                let _joined = pool.on_worker_joined(now, worker, speed, takes);
            }
            1 => pool.on_worker_lost(now, worker),
            2 => pool.on_client_lost(now, client),
            3 => drop(pool.submit(now, client, submission(who, how))),
            4 | 5 => answer(&mut pool, now, &mut given, how),
            6 => {
                if let Some((check, puzzle, nonces)) = checks.pop() {
                    let (check, puzzle, nonces): (CheckId, Arc<Puzzle>, Nonces) =
                        (check, puzzle, nonces);
                    let all = nonces.first()..=nonces.last();
                    let best = puzzle.minimum(Kernel::PORTABLE, all);
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
                    problem,
                    message,
                    nonces,
                    ..
                } => given.push(Given {
                    worker,
                    range,
                    puzzle: crate::submission::puzzle(problem, &message, nonces)
                        .expect("the pool took it"),
                    nonces,
                }),
                Action::Check {
                    check,
                    puzzle,
                    nonces,
                } => checks.push((check, puzzle, nonces)),
                Action::Save(record) => {
                    let again = JobRecord::decode(&record.encode()).ok();
                    assert_eq!(again.as_ref(), Some(&record));
                    // A server that takes it up has nothing to complain of.
                    let mut other = Pool::new(Config::default(), 8);
                    assert!(other.restore(now, record).is_ok());
                    other.check_invariants();
                }
                _ => {}
            }
        }
        pool.check_invariants();
    }
}

/// What a worker was asked for.
struct Given {
    worker: WorkerId,
    range: RangeId,
    puzzle: Puzzle,
    nonces: Nonces,
}

fn submission(who: u8, how: u8) -> Submission {
    let problem = if how % 5 == 4 {
        Problem::Bitcoin
    } else {
        Problem::Cmu
    };
    let message = match problem {
        Problem::Cmu => format!("message {}", how % 3),
        // Some can be solved, some can't, and one is no header.
        Problem::Bitcoin if who > 250 => "01".to_owned(),
        Problem::Bitcoin if who.is_multiple_of(2) => HEADER.to_owned(),
        Problem::Bitcoin => HEADER.replace("ffff001d", "ffff7f1f"),
    };
    Submission {
        problem,
        message,
        lower: u64::from(how) * 3,
        upper: u64::from(who) * 40,
        key: how.is_multiple_of(2).then(|| format!("key {}", how % 8)),
        progress: Progress::Wanted,
    }
}

/// Answers one of the ranges that were given out: rightly, wrongly, or under a false id.
fn answer(pool: &mut Pool, now: Instant, given: &mut Vec<Given>, how: u8) {
    if given.is_empty() {
        return;
    }
    let Given {
        worker,
        range,
        puzzle,
        nonces,
    } = given.remove(usize::from(how) % given.len());
    let all = nonces.first()..=nonces.last();
    let best = puzzle.minimum(Kernel::PORTABLE, all);
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
