//! What must hold when a run is over.

use mapreduce_core::{JobError, Outcome, Receipt, check_receipt};
use sim::Violation;

use crate::job::{Counts, sequential};
use crate::scenario::Scenario;
use crate::store::Store;

/// Looks at the end of a run.
pub(crate) fn check(
    scenario: &Scenario,
    store: &Store,
    outcome: Option<&Outcome>,
) -> Result<(), Violation> {
    if let Some(violation) = &store.violation {
        return Err(violation.clone());
    }
    store.check_journal()?;
    match outcome {
        None => Err(Violation::new(
            "every job ends",
            "no coordinator saw the end",
        )),
        Some(Outcome::Succeeded) => match &store.published {
            Some((_, receipt, output)) => check_output(scenario, receipt, output),
            None => Err(Violation::new(
                "success means output",
                "nothing is published",
            )),
        },
        Some(Outcome::Failed(JobError::NonDeterministic { .. }))
            if scenario.input.unsteady.is_some() =>
        {
            if store.published.is_some() {
                let detail = "output of a job that failed is published";
                return Err(Violation::new("failure means no output", detail));
            }
            Ok(())
        }
        Some(Outcome::Failed(error)) => Err(Violation::new(
            "jobs succeed",
            format!("it failed: {error}"),
        )),
    }
}

fn check_output(
    scenario: &Scenario,
    receipt: &Receipt,
    output: &[Counts],
) -> Result<(), Violation> {
    check_receipt(receipt).map_err(|why| Violation::new("the receipt adds up", why))?;
    if scenario.input.unsteady.is_some() {
        // Which of its results was taken is chance; that it is one of them was checked.
        return Ok(());
    }
    let (expected, counters) = sequential(&scenario.input);
    let mut merged = Counts::new();
    for part in output {
        for (word, count) in part {
            if merged.insert(*word, *count).is_some() {
                let detail = format!("word {word} is in two files");
                return Err(Violation::new("each key in one file", detail));
            }
        }
    }
    if merged != expected {
        let detail = format!("{merged:?} instead of {expected:?}");
        return Err(Violation::new("the sequential run's result", detail));
    }
    let got: std::collections::BTreeMap<_, _> = receipt
        .counters
        .iter()
        .filter(|(_, value)| **value != 0)
        .collect();
    let want: std::collections::BTreeMap<_, _> =
        counters.iter().filter(|(_, value)| **value != 0).collect();
    if got != want {
        let detail = format!("{got:?} instead of {want:?}");
        return Err(Violation::new("counters of winners only", detail));
    }
    Ok(())
}
