//! How long jobs take, compared with the best that any schedule could do.

use miner_core::Config;
use stdx::{Instant, Prng};

use crate::world::{JobPlan, at, job, run, scenario, worker};

/// The mean response time, in seconds, of shortest-remaining-work-first on one machine as fast
/// as all workers together, which takes back work at any moment for nothing: no schedule for
/// the workers is better.
fn bound(jobs: &[JobPlan], speed: f64) -> f64 {
    let mut left: Vec<(f64, f64)> = jobs
        .iter()
        .map(|job| (seconds(job.arrives), job.nonces.count() as f64 / speed))
        .collect();
    let mut total = 0.0;
    let mut now = 0.0;
    loop {
        let arrived = left.iter_mut().filter(|job| job.0 <= now && job.1 > 0.0);
        let shortest = arrived.min_by(|a, b| a.1.total_cmp(&b.1));
        let Some((arrives, work)) = shortest else {
            let coming = left.iter().filter(|job| job.1 > 0.0).map(|job| job.0);
            match coming.min_by(f64::total_cmp) {
                Some(next) => now = next,
                None => return total / left.len() as f64,
            }
            continue;
        };
        let (arrives, done_at) = (*arrives, now + *work);
        let coming = jobs
            .iter()
            .map(|job| seconds(job.arrives))
            .filter(|at| *at > now);
        let next = coming.min_by(f64::total_cmp).unwrap_or(f64::INFINITY);
        if done_at <= next {
            *work = 0.0;
            now = done_at;
            total += now - arrives;
        } else {
            *work -= next - now;
            now = next;
        }
    }
}

fn seconds(at: Instant) -> f64 {
    at.since(Instant::EPOCH).as_secs_f64()
}

/// Jobs whose sizes differ a lot, such that the workers are busy four fifths of the time.
fn trace(seed: u64, count: usize, speed: f64) -> Vec<JobPlan> {
    let mut prng = Prng::from_seed(seed);
    let mut now = 0.0;
    let mut jobs = Vec::new();
    for number in 0..count {
        let uniform = |prng: &mut Prng| (prng.below(1 << 30) + 1) as f64 / (1_u64 << 30) as f64;
        // Bounded Pareto: many of some seconds, few of some minutes; 9 s in the mean.
        let work = (3.0 / uniform(&mut prng).powf(0.7)).min(200.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size"
        )]
        let mut plan = job(now, (work * speed) as u64);
        plan.message = format!("job {number} of trace {seed}");
        plan.arrives = at(now);
        jobs.push(plan);
        now += -uniform(&mut prng).ln() * 9.0 / 0.8;
    }
    jobs
}

#[test]
fn the_mean_response_is_near_the_optimum() {
    let (mut ours, mut best) = (0.0, 0.0);
    for seed in 0..4 {
        let speeds = [300.0, 500.0, 800.0, 400.0];
        let total = speeds.iter().sum();
        let jobs = trace(seed, 60, total);
        let optimum = bound(&jobs, total);
        let mut scenario = scenario(seed, speeds.map(worker).to_vec(), jobs);
        scenario.looks_inside = false;
        let outcome = run(&scenario).unwrap();
        let times = scenario.jobs.iter().zip(&outcome.answered);
        let sum: f64 = times
            .map(|(job, at)| seconds(at.unwrap()) - seconds(job.arrives))
            .sum();
        let mean = sum / 60.0;
        println!(
            "trace {seed}: {mean:.2} s, optimum {optimum:.2} s, {:.3}",
            mean / optimum
        );
        ours += mean;
        best += optimum;
    }
    let ratio = ours / best;
    println!("all: {ratio:.3} times the optimum");
    assert!(ratio < 1.10, "{ratio}");
}

#[test]
fn a_large_job_does_not_starve() {
    // Small jobs without end, which keep the pool busy nine tenths of the time, and a large
    // one. Without ageing it would get a tenth of the workers, after all small ones.
    let speed = 1_000.0;
    let mut jobs: Vec<JobPlan> = (0..400).map(|number| job(f64::from(number), 900)).collect();
    for (number, job) in jobs.iter_mut().enumerate() {
        job.message = format!("small {number}");
    }
    let mut large = job(0.5, 30_000);
    large.message = "large".to_owned();
    jobs.push(large);
    let finished = |ageing| {
        let mut scenario = scenario(
            1,
            vec![worker(speed / 2.0), worker(speed / 2.0)],
            jobs.clone(),
        );
        scenario.config = Config {
            ageing,
            ..Config::default()
        };
        scenario.looks_inside = false;
        let outcome = run(&scenario).unwrap();
        seconds(outcome.answered[400].unwrap())
    };
    // 30 s of work; a job that comes 30 s / 0.5 later is not before it.
    let (none, some) = (finished(0.0), finished(0.5));
    println!("a large job among small ones: {none:.0} s without ageing, {some:.0} s with");
    assert!(none > 250.0, "{none}");
    assert!(some < 120.0, "{some}");
}
