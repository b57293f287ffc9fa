//! Bugs on purpose, to prove that the simulator would find them.
//!
//! Compiled in only with the feature `planted`; without it [`planted!`] is the constant
//! `false`.

/// A bug that some miner pool had, or might well have.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlantedBug {
    /// The last nonce of a job is not looked at, as in a loop that ends one too early.
    LastNonceSkipped,
    /// A result for a range that is no longer the worker's is taken for its oldest range.
    LateResultCredited,
    /// What a worker claims is taken without hashing it again.
    NoRehash,
    /// A worker that was caught keeps the credit for what it did before.
    LiarKeepsCredit,
    /// The ranges of a lost worker are not given to others.
    LostRangesForgotten,
    /// A header is given to a worker that knows messages only.
    HeadersToAll,
    /// The first result for a header is its answer, whether it meets the target or not.
    UnsolvedAnswered,
    /// A restart takes what was under way for done.
    OutstandingSavedAsDone,
}

/// Whether a bug is to be shown; the constant `false` without the feature.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($config:expr, $bug:ident) => {
        $config.planted == Some($crate::planted::PlantedBug::$bug)
    };
}
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($config:expr, $bug:ident) => {{
        let _: &$crate::config::Config = &$config;
        false
    }};
}
pub(crate) use planted;
