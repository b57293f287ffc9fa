//! Shrinking: the fewest steps of a plan with which a run still fails.

use crate::fault::Plan;

/// Drops steps as long as the run still fails (Zeller and Hildebrandt's delta debugging,
/// 2002: halves first, then smaller pieces), in at most `runs_max` runs.
pub fn shrink(plan: &Plan, runs_max: usize, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut runs = 0;
    let mut piece = best.steps.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < best.steps.len() && runs < runs_max {
            let mut candidate = best.clone();
            let end = (at + piece).min(candidate.steps.len());
            candidate.steps.drain(at..end);
            runs += 1;
            if fails(&candidate) {
                best = candidate;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    best
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use stdx::Prng;

    use super::*;
    use crate::fault::{Fault, Weights};

    #[test]
    fn two_guilty_steps_of_a_hundred_remain() {
        let weights = Weights::none(&["op"]).with("op", 1);
        let mut prng = Prng::from_seed(1);
        let gap = Duration::from_millis(10);
        let plan = Plan::draw(&mut prng, &weights, Duration::from_secs(1), gap);
        let guilty = [plan.steps[17], plan.steps[60]];
        let shrunk = shrink(&plan, 1_000, |candidate| {
            guilty.iter().all(|step| candidate.steps.contains(step))
        });
        assert_eq!(shrunk.steps, guilty);
        assert!(matches!(shrunk.steps[0].fault, Fault::System(0, _)));
    }
}
