//! Bugs on purpose, to prove that the simulator would find them.
//!
//! Compiled in only with the feature `planted`. Each bug is one condition at the place where
//! the right code stands; without the feature `planted!` is the constant `false`.

/// A bug that a `MapReduce` coordinator might well have. Its checker is in `mapreduce-sim`.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PlantedBug {
    /// A second report of a task is committed too.
    DoubleCommit,
    /// Completed maps whose output died with their worker are not executed again.
    LostReexecution,
    /// What waits for the journal is acted on as if it were durable.
    EarlyVisibility,
    /// The report of an attempt that was given up becomes the result.
    ZombieAccepted,
    /// Counters of all executions are added up, not only those of winners.
    LoserCounters,
    /// A coordinator whose place in the journal was taken goes on.
    ConflictIgnored,
    /// Two executions that differ are not noticed.
    MismatchIgnored,
    /// A reduce is believed that read something else than the maps wrote.
    ConservationUnchecked,
    /// A coordinator speaks before its epoch is durable.
    SpeaksEarly,
    /// A standby takes over from a leader that lives.
    ImpatientStandby,
}

#[cfg(feature = "planted")]
impl PlantedBug {
    /// Every bug.
    pub const ALL: [Self; 10] = [
        Self::DoubleCommit,
        Self::LostReexecution,
        Self::EarlyVisibility,
        Self::ZombieAccepted,
        Self::LoserCounters,
        Self::ConflictIgnored,
        Self::MismatchIgnored,
        Self::ConservationUnchecked,
        Self::SpeaksEarly,
        Self::ImpatientStandby,
    ];
}

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
