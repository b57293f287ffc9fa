//! Linearizability of the clients' history (Herlihy and Wing 1990).

use sim::Violation;
use sim::linear::{History, Verdict};

/// States per key after which the search is given up.
const STATES_MAX: u64 = 2_000_000;

/// Checks a whole history.
///
/// # Errors
///
/// When there is no order, or the search gave up.
pub fn check_history(history: &History) -> Result<(), Violation> {
    match history.check(STATES_MAX) {
        Verdict::Linearizable => Ok(()),
        Verdict::Violated { key, story } => {
            let detail = format!("no order for key {key:?}: {story}");
            Err(Violation::new("linearizable", detail))
        }
        Verdict::Undecided { key, states } => {
            let detail = format!("undecided for key {key:?} after {states} states");
            Err(Violation::new("linearizable_undecided", detail))
        }
    }
}
