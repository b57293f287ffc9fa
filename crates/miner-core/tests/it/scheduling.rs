//! What the original course asks of a scheduler, and what a production pool needs besides.

use core::time::Duration;

use miner_core::Takes;

use crate::world::{
    JobPlan, Nature, Outcome, Scenario, at, header_job, job, run, scenario, worker,
};

fn finish(scenario: &Scenario) -> (Outcome, Vec<f64>) {
    let outcome = run(scenario).unwrap();
    let seconds = |at: &Option<stdx::Instant>| at.unwrap().since(at_zero()).as_secs_f64();
    let times = outcome.answered.iter().map(seconds).collect();
    (outcome, times)
}

fn at_zero() -> stdx::Instant {
    at(0.0)
}

fn named(mut plan: JobPlan, name: &str) -> JobPlan {
    name.clone_into(&mut plan.message);
    plan
}

#[test]
fn a_small_job_overtakes_a_huge_one() {
    let jobs = vec![job(0.0, 200_000), job(20.0, 500)];
    let (outcome, times) = finish(&scenario(1, vec![worker(1_000.0), worker(1_000.0)], jobs));
    // A quarter of a second of work, and half a range on average before it.
    assert!(times[1] < 21.3, "{times:?}");
    assert!(
        times[0] < 101.5,
        "the huge one loses next to nothing: {times:?}"
    );
    assert!(outcome.counters.preempted > 0);
}

#[test]
fn equal_jobs_finish_in_the_order_of_their_arrival() {
    let jobs = (0..100).map(|number| job(f64::from(number) * 0.01, 2_000));
    let workers = vec![worker(1_000.0), worker(900.0), worker(1_100.0)];
    let (_, times) = finish(&scenario(2, workers, jobs.collect()));
    let inversions = times.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(
        inversions <= 3,
        "{inversions} of 99 pairs are the wrong way round"
    );
}

#[test]
fn the_load_is_divided_by_speed() {
    let workers = vec![worker(500.0), worker(1_000.0), worker(4_000.0)];
    let (outcome, times) = finish(&scenario(3, workers, vec![job(0.0, 550_000)]));
    assert!(times[0] < 101.0, "{times:?}");
    for (hashed, share) in outcome.hashed.iter().zip([50_000, 100_000, 400_000]) {
        let off = hashed.abs_diff(share) * 100 / share;
        assert!(off <= 3, "{:?}", outcome.hashed);
    }
}

#[test]
fn distance_costs_nothing() {
    let mut workers = vec![worker(1_000.0), worker(1_000.0)];
    for worker in &mut workers {
        worker.delay = Duration::from_millis(250);
    }
    let (_, times) = finish(&scenario(4, workers, vec![job(0.0, 100_000)]));
    // 50 s of work, one round trip of half a second, and the end.
    assert!(times[0] < 51.0, "{times:?}");
}

#[test]
fn original_workers_are_fed_without_knowing_their_speed() {
    let mut workers = vec![worker(10_000.0), worker(1_000.0)];
    for worker in &mut workers {
        worker.extended = false;
    }
    let (_, times) = finish(&scenario(5, workers, vec![job(0.0, 600_000)]));
    // 54.5 s of work; the slow one has two ranges of 10,000 for the first 20 s.
    assert!(times[0] < 57.0, "{times:?}");
}

#[test]
fn a_client_with_many_jobs_does_not_delay_another() {
    let mut jobs: Vec<JobPlan> = (0..50)
        .map(|number| named(job(0.0, 2_000), &format!("m{number}")))
        .collect();
    for job in &mut jobs {
        job.client = 7;
    }
    jobs.push(named(job(0.1, 2_000), "the other's"));
    let (_, times) = finish(&scenario(6, vec![worker(1_000.0)], jobs));
    assert!(times[50] < 6.5, "{times:?}");
}

#[test]
fn a_lost_worker_s_ranges_go_to_others() {
    let mut workers = vec![worker(1_000.0), worker(1_000.0)];
    workers[1].dies = Some(at(5.0));
    let (_, times) = finish(&scenario(7, workers, vec![job(0.0, 20_000)]));
    assert!(times[0] < 16.5, "{times:?}");
}

#[test]
fn a_job_waits_for_a_worker() {
    let mut only = worker(1_000.0);
    only.joins = at(30.0);
    let (_, times) = finish(&scenario(8, vec![only], vec![job(0.0, 1_000)]));
    assert!((31.0..31.5).contains(&times[0]), "{times:?}");
}

#[test]
fn a_silent_worker_is_hedged() {
    let mut workers = vec![worker(1_000.0), worker(1_000.0)];
    workers[1].nature = Nature::SilentFrom(at(3.0));
    let (outcome, times) = finish(&scenario(9, workers, vec![job(0.0, 20_000)]));
    // 3 s together, 14 s alone, and a while before the silence is noticed.
    assert!(times[0] < 19.0, "{times:?}");
    assert!(outcome.counters.hedged > 0);
}

#[test]
fn a_worker_that_becomes_slow_holds_nobody_up() {
    let mut workers = vec![worker(1_000.0), worker(1_000.0)];
    workers[1].nature = Nature::SlowFrom(at(3.0), 50.0);
    let (_, times) = finish(&scenario(10, workers, vec![job(0.0, 20_000)]));
    assert!(times[0] < 19.0, "{times:?}");
}

#[test]
fn liars_are_dropped_and_their_work_is_done_again() {
    for nature in [Nature::FalseHash, Nature::Lazy, Nature::OtherRange] {
        // Checks of whole ranges, and of samples.
        for (extended, whole) in [(true, 1 << 16), (false, 1 << 16), (true, 1), (false, 1)] {
            let mut workers = vec![worker(1_000.0), worker(1_000.0)];
            workers[1].nature = nature;
            workers[1].extended = extended;
            let jobs = vec![job(0.0, 20_000), job(1.0, 100)];
            let mut scenario = scenario(11, workers, jobs);
            scenario.config.check_whole_nonces = whole;
            let (outcome, _) = finish(&scenario);
            assert_eq!(outcome.dropped, [1], "{nature:?}");
        }
    }
}

#[test]
fn honest_work_passes_samples() {
    let mut workers = vec![worker(5_000.0), worker(1_000.0)];
    workers[1].extended = false;
    let mut scenario = scenario(12, workers, vec![job(0.0, 100_000)]);
    scenario.config.check_whole_nonces = 1;
    scenario.config.check_nonces_max = 100;
    scenario.config.check_one_in = 1;
    let (outcome, _) = finish(&scenario);
    assert!(outcome.counters.checked > 30 && outcome.dropped.is_empty());
}

#[test]
fn a_lost_client_s_work_stops() {
    let mut huge = job(0.0, 1_000_000);
    huge.vanishes = Some(at(10.0));
    let jobs = vec![huge, job(0.0, 1_000), named(job(30.0, 1_000), "later")];
    let (outcome, _) = (run(&scenario(12, vec![worker(1_000.0)], jobs)).unwrap(), ());
    // What was under way when the client went, and no more.
    assert!(outcome.hashed[0] < 13_000, "{:?}", outcome.hashed);
}

#[test]
fn a_job_with_a_key_goes_on_after_a_restart() {
    let mut plan = job(0.0, 50_000);
    plan.keyed = true;
    let mut scenario = scenario(13, vec![worker(1_000.0)], vec![plan]);
    scenario.restarts = vec![at(30.0)];
    let (outcome, times) = finish(&scenario);
    // At most a save interval and what was under way is done again.
    assert!(times[0] < 54.0, "{times:?}");
    assert!(outcome.hashed[0] < 53_500, "{:?}", outcome.hashed);
}

#[test]
fn a_header_s_search_ends_with_the_first_that_meets_the_target() {
    // One in 1,024 does; all the range would take 200 s.
    let jobs = vec![header_job(0.0, 100_000, 1_024)];
    let (outcome, times) = finish(&scenario(14, vec![worker(500.0), worker(500.0)], jobs));
    assert_eq!(outcome.counters.solved, 1);
    let hashed: u128 = outcome.hashed.iter().sum();
    assert!(hashed < 20_000, "{hashed} nonces in {times:?}");
}

#[test]
fn a_header_that_nothing_solves_is_answered_with_the_nearest() {
    // The world compares the answer with the best of the whole range.
    let jobs = vec![header_job(0.0, 3_000, 1 << 21)];
    let (outcome, times) = finish(&scenario(15, vec![worker(1_000.0)], jobs));
    assert_eq!(outcome.counters.solved, 0);
    // Every nonce is two hashes.
    assert!((6.0..6.5).contains(&times[0]), "{times:?}");
}

#[test]
fn headers_go_only_to_workers_that_take_them() {
    let mut workers = vec![worker(1_000.0), worker(1_000.0), worker(1_000.0)];
    workers[1].takes = Takes::Messages;
    workers[2].takes = Takes::Messages;
    // The header is more urgent; the others have the message to themselves meanwhile.
    let jobs = vec![header_job(0.0, 5_000, 1 << 21), job(0.0, 25_000)];
    let (outcome, times) = finish(&scenario(16, workers, jobs));
    assert!(outcome.dropped.is_empty());
    assert!((10.0..12.0).contains(&times[0]), "{times:?}");
    assert!(times[1] < 14.0, "{times:?}");
}

#[test]
fn a_solved_header_is_answered_again_after_a_restart() {
    let mut plan = header_job(0.0, 1_000_000, 4_096);
    plan.keyed = true;
    let mut scenario = scenario(17, vec![worker(1_000.0)], vec![plan]);
    // Before and around the solution, whenever that is.
    scenario.restarts = (1..20).map(|number| at(f64::from(number) * 1.5)).collect();
    let (outcome, _) = finish(&scenario);
    assert!(outcome.answered[0].is_some());
}
