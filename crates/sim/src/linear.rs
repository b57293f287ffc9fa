//! Is a history of key/value operations linearizable?
//!
//! Herlihy and Wing (1990) define it; Wing and Gong (1993) search for an order; Lowe
//! (2017) remembers the states that were tried, which is what makes the search fast in
//! practice (as in Porcupine). Keys are independent objects, so each key's history is
//! checked by itself: linearizability is local (Herlihy and Wing, theorem 1).

mod search;

use core::fmt;
use std::collections::BTreeMap;

use bytes::Bytes;
use stdx::Instant;

/// What a client asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Read the value.
    Get,
    /// Set the value.
    Put(Bytes),
    /// Add to the end of the value; an absent one counts as empty.
    Append(Bytes),
    /// Remove the value.
    Delete,
    /// Set the value if it is as expected (`None`: absent).
    CompareAndSet {
        /// What it must be.
        expected: Option<Bytes>,
        /// What it becomes.
        value: Bytes,
    },
}

/// What the client was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// A write was done.
    Done,
    /// A read found this.
    Found(Option<Bytes>),
    /// A compare-and-set was refused, because the value was another.
    Refused,
    /// No answer: it may have happened, may still happen, or never.
    Unknown,
}

/// One operation of a client: called, and returned or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// Who called, for the report.
    pub client: u64,
    /// What was asked.
    pub operation: Operation,
    /// What was answered.
    pub outcome: Outcome,
    /// When it was called, on a clock that all calls share.
    pub called: Instant,
    /// When it returned; of no meaning if the outcome is unknown.
    pub returned: Instant,
}

/// All calls of a run, by key.
#[derive(Clone, Debug, Default)]
pub struct History {
    keys: BTreeMap<Bytes, Vec<Call>>,
}

/// What a check found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none: the key, and the calls around the place where every order broke.
    Violated {
        /// The key.
        key: Bytes,
        /// The calls that no order could accommodate, as text.
        story: String,
    },
    /// The search was given up after so many states.
    Undecided {
        /// The key.
        key: Bytes,
        /// States that were looked at.
        states: u64,
    },
}

impl History {
    /// An empty history.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
        }
    }

    /// Adds a call on a key. Calls may be added in any order.
    pub fn push(&mut self, key: Bytes, call: Call) {
        self.keys.entry(key).or_default().push(call);
    }

    /// How many calls there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Looks for an order, in at most `states_max` states per key.
    #[must_use]
    pub fn check(&self, states_max: u64) -> Verdict {
        for (key, calls) in &self.keys {
            match search::search(calls, states_max) {
                search::Found::Order => {}
                search::Found::NoOrder { stuck } => {
                    return Verdict::Violated {
                        key: key.clone(),
                        story: story(calls, &stuck),
                    };
                }
                search::Found::GaveUp { states } => {
                    return Verdict::Undecided {
                        key: key.clone(),
                        states,
                    };
                }
            }
        }
        Verdict::Linearizable
    }
}

/// The calls near the place where the longest order broke.
fn story(calls: &[Call], stuck: &[usize]) -> String {
    const CALLS_SHOWN: usize = 12;
    let mut text = String::new();
    for &at in stuck.iter().take(CALLS_SHOWN) {
        text.push_str(&format!("\n  {}", calls[at]));
    }
    if stuck.len() > CALLS_SHOWN {
        text.push_str(&format!("\n  and {} later ones", stuck.len() - CALLS_SHOWN));
    }
    text
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            operation,
            outcome,
            called,
            returned,
        } = self;
        match outcome {
            Outcome::Unknown => write!(
                f,
                "{called} ..            client {client} {operation:?}: unknown"
            ),
            _ => write!(
                f,
                "{called} .. {returned} client {client} {operation:?}: {outcome:?}"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
