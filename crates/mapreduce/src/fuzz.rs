//! The body of a fuzz target: what workers, clients and the store may hand to a coordinator.
//! Public so that the fuzzer's crate can run it; no part of the interface.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use mapreduce_core::{
    Action, Batch, Config, Consumed, Digest, Epoch, FromWorker, Held, HeldState, Job, MapDone,
    Outcome, Plan, Record, ReduceDone, Report, Tally, TaskId, WorkerId, check_receipt,
};
use mapreduce_data::{Durability, FunctionSpec, InputOptions, OutputOptions, ShuffleCompression};
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stdx::Instant;

use crate::spec::{JobRequest, JobSpec, Summary, TaskOptions};
use crate::wire::v1::{Envelope, Hello, SubmitRequest, WorkerMessage, worker_message};
use crate::wire::{decode, encode};

const PLAN: Plan = Plan {
    maps: 3,
    reduces: 2,
    seed: 1,
};
/// Lines of one input.
const LINES_MAX: usize = 200;

/// Whatever comes is refused, or taken without a panic.
///
/// The bytes are a protobuf message, or lines of JSON: batches of a journal, messages of workers,
/// jobs. A job that ends well on such messages has a receipt that adds up.
///
/// # Panics
///
/// When that isn't so: that is what a fuzzer looks for.
pub fn jobs(bytes: &[u8]) {
    let mut said = Vec::new();
    if let Ok(message) = WorkerMessage::decode(bytes) {
        let again = WorkerMessage::decode(message.encode_to_vec().as_slice());
        assert_eq!(again.as_ref(), Ok(&message), "a message changed on its way");
        match message.kind {
            Some(worker_message::Kind::Hello(hello)) => {
                let held = decode::<HashMap<String, Vec<Held>>>(&hello.held);
                let held = held.unwrap_or_default().into_values().flatten().collect();
                let slots = hello.slots;
                said.push(FromWorker::Register { slots, held });
            }
            Some(worker_message::Kind::Envelope(envelope)) => said.extend(decode(&envelope.body)),
            None => {}
        }
    }
    if let Ok(SubmitRequest { request, .. }) = SubmitRequest::decode(bytes) {
        let _job: Option<JobRequest> = read(&request);
    }
    let (mut journal, mut config) = (Vec::new(), Config::default());
    for line in bytes.split(|byte| *byte == b'\n').take(LINES_MAX) {
        journal.extend(read::<Batch>(line));
        // What a number with a fraction is written as may not be read as the very same.
        said.extend(decode::<FromWorker>(line));
        if let Some(request) = read::<JobRequest>(line) {
            config = request.config;
        }
        let _others = (read::<JobSpec>(line), read::<Summary>(line));
    }
    drive(config, &journal, said);
}

/// What can be read is written as what reads the same.
fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = decode(bytes).ok()?;
    let json = encode(&value).expect("it was read");
    let again: T = decode(&json).expect("it was just written");
    assert_eq!(
        encode(&again).expect("it was read"),
        json,
        "what is written as JSON is read as something else"
    );
    Some(value)
}

/// A coordinator that is told all this.
fn drive(config: Config, journal: &[Batch], said: Vec<FromWorker>) {
    let mut now = Instant::from_nanos(1);
    let mut job = Job::open(config, PLAN, journal, 9, now);
    settle(&mut job, now);
    for (message, at) in said.into_iter().zip(0_u64..) {
        now = now.after(Duration::from_millis(300));
        let worker = WorkerId(at % 3);
        let epoch = job.epoch();
        job.on_message(now, worker, epoch, message);
        settle(&mut job, now);
        if at % 31 == 30 {
            job.on_disconnected(now, worker);
        }
        job.on_timeout(now);
        settle(&mut job, now);
    }
    let _view = job.view();
    let receipt = job.receipt();
    let adds_up = check_receipt(&receipt);
    if journal.is_empty() && job.outcome() == Some(&Outcome::Succeeded) {
        assert_eq!(adds_up.err(), None, "a job succeeded on lies");
    }
}

fn settle(job: &mut Job, now: Instant) {
    while let Some(action) = job.poll_action() {
        match action {
            Action::Journal { seq, .. } => job.on_journaled(now, seq),
            Action::Publish(_) => job.on_published(now, Ok(())),
            _ => {}
        }
    }
}

/// Good input: a job from its start to its end, its journal, and messages as they travel.
#[must_use]
pub fn samples() -> Vec<Vec<u8>> {
    let held = Vec::new();
    let register = FromWorker::Register { slots: 9, held };
    let mut said = vec![register.clone()];
    let first = Job::open(Config::default(), PLAN, &[], 9, Instant::from_nanos(1)).epoch();
    let attempt = |number| mapreduce_core::AttemptId {
        epoch: first,
        number,
    };
    let tally = Tally {
        records: 2,
        bytes: 3,
        digest: Digest(4),
    };
    let mut records = vec![Record::Opened {
        epoch: first,
        owner: 9,
    }];
    for map in 0..PLAN.maps {
        let report = Report::Map(MapDone {
            input: tally,
            extents: vec![tally; 2],
            ..MapDone::default()
        });
        let attempt = attempt(u64::from(map) + 1);
        records.push(Record::Committed {
            task: TaskId::map(map),
            attempt,
            worker: WorkerId(0),
            done: report.clone(),
        });
        said.push(register.clone());
        said.push(register.clone());
        said.push(FromWorker::Finished { attempt, report });
    }
    said.extend([register.clone(), register.clone()]);
    for reduce in 0..PLAN.reduces {
        let report = reduced(tally);
        let attempt = attempt(u64::from(PLAN.maps + reduce) + 1);
        said.push(FromWorker::Finished { attempt, report });
    }
    let status = FromWorker::Status {
        running: vec![(attempt(1), 0.5), (attempt(2), 1.0)],
    };
    let complaint = FromWorker::FetchFailed {
        attempt: attempt(4),
        map: 1,
        source: attempt(2),
    };
    let more = [status, complaint, FromWorker::Draining];
    let batch = Batch {
        epoch: first,
        owner: 9,
        records,
    };
    vec![
        lines(&said),
        [lines(&[batch]), lines(&said)].concat(),
        [lines(&said[..5]), lines(&more), lines(&said[5..])].concat(),
        [lines(&[request()]), lines(&said)].concat(),
        hello(attempt(1)),
        envelope(first, &more[0]),
    ]
}

fn request() -> JobRequest {
    JobRequest {
        name: "a job".to_owned(),
        function: FunctionSpec::Builtin {
            name: "grep".to_owned(),
            args: BTreeMap::from([("pattern".to_owned(), "x".to_owned())]),
        },
        inputs: vec!["/in/*.txt".to_owned()],
        input: InputOptions {
            format: None,
            split_bytes: 1 << 20,
            splits_min: 2,
        },
        output: "/out".into(),
        overwrite: false,
        reduces: 2,
        options: TaskOptions {
            memory_bytes: 1 << 24,
            output: OutputOptions {
                separator: b'\t',
                durability: Durability::Synced,
            },
            compression: ShuffleCompression::default(),
        },
        config: Config {
            skip_max: 2,
            audit_permille: 1000,
            ..Config::default()
        },
    }
}

fn reduced(tally: Tally) -> Report {
    let consumed = (0..PLAN.maps).map(|map| Consumed {
        map,
        records: tally.records,
        digest: tally.digest,
    });
    Report::Reduce(ReduceDone {
        output: tally,
        file: "file".to_owned(),
        consumed: consumed.collect(),
        ..ReduceDone::default()
    })
}

fn lines<T: Serialize>(values: &[T]) -> Vec<u8> {
    let mut text = Vec::new();
    for value in values {
        text.extend(encode(value).expect("it has a form in JSON"));
        text.push(b'\n');
    }
    text
}

fn hello(attempt: mapreduce_core::AttemptId) -> Vec<u8> {
    let held = Held {
        attempt,
        task: TaskId::map(0),
        state: HeldState::Running,
    };
    let held = HashMap::from([("j1".to_owned(), vec![held])]);
    let hello = Hello {
        format: crate::limits::FORMAT,
        worker: 5,
        slots: 2,
        address: "127.0.0.1:1".to_owned(),
        name: "a worker".to_owned(),
        held: encode(&held).expect("it has a form in JSON"),
        draining: false,
    };
    let kind = Some(worker_message::Kind::Hello(hello));
    WorkerMessage { kind }.encode_to_vec()
}

fn envelope(epoch: Epoch, message: &FromWorker) -> Vec<u8> {
    let envelope = Envelope {
        job: "j1".to_owned(),
        epoch: epoch.0,
        body: encode(message).expect("it has a form in JSON"),
        details: bytes::Bytes::new(),
    };
    let kind = Some(worker_message::Kind::Envelope(envelope));
    WorkerMessage { kind }.encode_to_vec()
}
