//! Messages that cross.

use std::time::Duration;

use mapreduce_core::{Config, FromWorker, Outcome, Stage, ToWorker, WorkerId};

use crate::bench::{Bench, PLAN};

fn quick() -> Config {
    Config {
        audit_permille: 0,
        backup_copies_max: 0,
        ..Config::default()
    }
}

/// A worker says that it still waits for an answer to its report while the answer is on its
/// way: its output must stay, it is the task's result.
#[test]
fn a_status_that_crosses_the_commit_keeps_the_output() {
    let mut bench = Bench::new(quick());
    bench.register(1, 1);
    let (worker, assignment) = bench.assigned().remove(0);
    let attempt = assignment.attempt;
    bench.finish(worker, &assignment);
    bench.sent.clear();
    let running = vec![(attempt, 1.0)];
    bench.say(1, FromWorker::Status { running });
    let answers: Vec<_> = bench.sent.drain(..).collect();
    assert_eq!(answers, [(WorkerId(1), ToWorker::Accepted { attempt })]);
}

/// While the output of a map is lost, no reduce is told to begin with the rest: what it isn't
/// told of it couldn't ask for.
#[test]
fn a_reduce_is_told_of_every_map_or_of_none() {
    let mut bench = Bench::new(quick());
    bench.register(1, 3);
    bench.register(2, 3);
    let mut maps = 0;
    while maps < PLAN.maps {
        let assigned = bench.assigned();
        assert!(!assigned.is_empty(), "{maps} maps are done");
        for (worker, assignment) in assigned {
            bench.finish(worker, &assignment);
            maps += 1;
            if maps == PLAN.maps {
                break;
            }
        }
    }
    // The orders to reduce are lost, and so is a worker with its maps' output.
    let orders = bench.assigned();
    assert!(
        orders
            .iter()
            .all(|(_, order)| order.task.stage == Stage::Reduce)
    );
    assert!(!orders.is_empty());
    bench.job.on_disconnected(bench.now, WorkerId(1));
    bench.wait(Duration::from_millis(600));
    let outcome = bench.run(&[2], |bench, worker, message| {
        if let ToWorker::Assign(assignment) = message {
            if assignment.task.stage == Stage::Reduce {
                assert_eq!(assignment.sources.len(), PLAN.maps as usize);
            }
            bench.finish(worker, &assignment);
        }
    });
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(bench.receipt.is_some());
}
