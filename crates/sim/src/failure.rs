//! What is told about a failed run: the property, the story, and how to see it again.

use core::fmt;

use stdx::Instant;

use crate::fault::Plan;

/// A property that didn't hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The checker's name.
    pub property: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// A violation of `property`.
    #[must_use]
    pub fn new(property: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { property, detail }
    }
}

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The system's name, as `cargo xtask sim` takes it.
    pub system: &'static str,
    /// What the run was drawn from.
    pub seed: u64,
    /// Further arguments of the command that replays it.
    pub arguments: String,
    /// What didn't hold.
    pub violation: Violation,
    /// The world's time then.
    pub at: Instant,
    /// Hash of the trace until then.
    pub hash: u64,
    /// The options that were drawn.
    pub options: String,
    /// The faults, all or what is left after shrinking.
    pub plan: Plan,
    /// The end of the trace.
    pub trace: Vec<String>,
}

impl Failure {
    /// The one command that shows the failure again.
    #[must_use]
    pub fn replay(&self) -> String {
        let Self {
            system,
            seed,
            arguments,
            ..
        } = self;
        format!("cargo xtask sim {system} --seed {seed:#x}{arguments}")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.violation.property, self.violation.detail)?;
        writeln!(f, "at {}, trace hash {:#018x}", self.at, self.hash)?;
        writeln!(f, "options: {}", self.options)?;
        writeln!(f, "plan ({} steps):\n{}", self.plan.steps.len(), self.plan)?;
        if !self.trace.is_empty() {
            writeln!(f, "the end of the trace:")?;
            for line in &self.trace {
                writeln!(f, "{line}")?;
            }
        }
        write!(f, "replay: {}", self.replay())
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_that_replays_it() {
        let failure = Failure {
            system: "raft",
            seed: 0x51c4,
            arguments: " --steps 900".to_owned(),
            violation: Violation::new("election_safety", "n1 and n2 lead t4"),
            at: Instant::from_nanos(1_500_000_000),
            hash: 7,
            options: "nodes=3".to_owned(),
            plan: Plan::default(),
            trace: Vec::new(),
        };
        let text = failure.to_string();
        assert!(text.starts_with("election_safety: n1 and n2 lead t4\n"));
        assert!(text.ends_with("replay: cargo xtask sim raft --seed 0x51c4 --steps 900"));
    }
}
