//! Every job ends, with an error that says why, whatever its workers do, within a day of the
//! job's own time.

use std::time::Duration;

use mapreduce_core::{
    Config, Digest, Failure, FromWorker, JobError, Outcome, Report, Stage, TaskId, ToWorker,
    WorkerId,
};

use crate::bench::{Bench, report};

#[track_caller]
fn error(outcome: Outcome) -> JobError {
    match outcome {
        Outcome::Failed(error) => error,
        Outcome::Succeeded => panic!("it succeeded"),
    }
}

#[test]
fn without_any_worker() {
    let mut bench = Bench::new(Config::default());
    let error = error(bench.run(&[], |_, _, _| {}));
    assert_eq!(error, JobError::NoWorkers { seconds: 60 });
}

#[test]
fn with_a_worker_that_only_leaves() {
    let mut bench = Bench::new(Config::default());
    bench.register(1, 2);
    for (worker, assignment) in bench.assigned() {
        let attempt = assignment.attempt;
        let message = "not now".to_owned();
        bench.say(worker, FromWorker::Draining);
        let failure = Failure::Worker { message };
        bench.say(worker, FromWorker::Failed { attempt, failure });
    }
    let error = error(bench.run(&[1], |_, _, _| {}));
    assert_eq!(error, JobError::NoWorkers { seconds: 60 });
}

#[test]
fn with_a_worker_without_slots() {
    let mut bench = Bench::new(Config::default());
    bench.register(1, 0);
    let outcome = bench.run(&[1], |bench, worker, message| {
        if let ToWorker::Assign(assignment) = message {
            bench.finish(worker, &assignment);
        }
    });
    assert_eq!(outcome, Outcome::Succeeded);
}

#[test]
fn with_a_worker_that_hangs() {
    let mut bench = Bench::new(Config::default());
    bench.register(1, 2);
    let error = error(bench.run(&[1], |_, _, _| {}));
    assert!(
        matches!(
            error,
            JobError::TaskFailed {
                last: Failure::Stalled { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn with_workers_that_come_and_go() {
    let mut bench = Bench::new(Config::default());
    let mut next = 1;
    bench.register(next, 1);
    let error = error(bench.run(&[], |bench, worker, message| {
        if let ToWorker::Assign(_) = message {
            bench.job.on_disconnected(bench.now, WorkerId(worker));
            bench.settle();
            next += 1;
            bench.register(next, 1);
        }
    }));
    assert!(
        matches!(error, JobError::TaskLost { times: 21, .. }),
        "{error}"
    );
}

#[test]
fn with_code_that_fails_at_another_record_each_time() {
    let config = Config {
        skip_max: 2,
        ..Config::default()
    };
    let mut bench = Bench::new(config);
    bench.register(1, 1);
    let mut record = 0;
    let error = error(bench.run(&[1], |bench, worker, message| {
        if let ToWorker::Assign(assignment) = message {
            record += 1;
            let failure = Failure::User {
                record: Some(record),
                message: "no".to_owned(),
            };
            let attempt = assignment.attempt;
            bench.say(worker, FromWorker::Failed { attempt, failure });
        }
    }));
    // 4 errors, and 2 for each of the 2 records that may be left out.
    assert!(
        matches!(error, JobError::TaskFailed { times: 8, .. }),
        "{error}"
    );
}

#[test]
fn with_outputs_that_are_always_lost() {
    let mut bench = Bench::new(Config::default());
    bench.register(1, 3);
    let error = error(bench.run(&[1], |bench, worker, message| match message {
        ToWorker::Assign(assignment) if assignment.task.stage == Stage::Map => {
            bench.finish(worker, &assignment);
        }
        ToWorker::Assign(assignment) => {
            for source in assignment.sources {
                bench.say(
                    worker,
                    FromWorker::FetchFailed {
                        attempt: assignment.attempt,
                        map: source.map,
                        source: source.attempt,
                    },
                );
            }
        }
        ToWorker::Moved { attempt, source } => {
            let (map, source) = (source.map, source.attempt);
            for _ in 0..3 {
                bench.say(
                    worker,
                    FromWorker::FetchFailed {
                        attempt,
                        map,
                        source,
                    },
                );
            }
        }
        _ => {}
    }));
    let known = matches!(error, JobError::OutputLost { times: 21, .. })
        || matches!(
            error,
            JobError::TaskFailed {
                last: Failure::Stalled { .. },
                ..
            }
        );
    assert!(known, "{error}");
}

#[test]
fn with_reduces_that_read_something_else() {
    let mut bench = Bench::new(Config::default());
    bench.register(1, 2);
    let error = error(bench.run(&[1], |bench, worker, message| {
        let ToWorker::Assign(assignment) = message else {
            return;
        };
        let mut report = report(&assignment);
        if let Report::Reduce(done) = &mut report {
            done.consumed[1].digest = Digest(0xbad);
        }
        let attempt = assignment.attempt;
        bench.say(worker, FromWorker::Finished { attempt, report });
    }));
    let last = Failure::Conservation { map: 1 };
    assert!(
        matches!(&error, JobError::TaskFailed { last: found, .. } if *found == last),
        "{error}"
    );
}

#[test]
fn with_reports_of_the_wrong_shape() {
    let mut bench = Bench::new(Config::default());
    bench.register(1, 2);
    let error = error(bench.run(&[1], |bench, worker, message| {
        if let ToWorker::Assign(mut assignment) = message {
            let attempt = assignment.attempt;
            assignment.task = TaskId::reduce(0);
            let report = report(&assignment);
            bench.say(worker, FromWorker::Finished { attempt, report });
        }
    }));
    assert!(
        matches!(
            error,
            JobError::TaskFailed {
                last: Failure::Malformed { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn when_its_time_is_over() {
    let config = Config {
        deadline: Some(Duration::from_secs(30)),
        ..Config::default()
    };
    let mut bench = Bench::new(config);
    bench.register(1, 2);
    let error = error(bench.run(&[1], |_, _, _| {}));
    assert_eq!(error, JobError::Deadline { seconds: 30 });
}
