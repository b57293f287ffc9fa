//! The jobs that every build has.

use std::sync::Arc;

use crate::error::{SpecError, UserError};
use crate::function::Job;
use crate::spec::Args;

mod distinct;
mod grep;
mod index;
mod join;
mod scan;
mod sort;
mod wordcount;
mod words;

pub(crate) use words::Words;

/// Makes a job of its arguments.
type Factory = fn(&Arguments<'_>) -> Result<Arc<dyn Job>, SpecError>;

/// By name: what it does, the arguments that it takes, how it is made.
const JOBS: &[(&str, &[&str], Factory)] = &[
    ("distinct", &[], distinct::make),
    ("grep", &["pattern"], grep::make),
    ("inverted-index", &["words"], index::make),
    ("join", &["delimiter", "key"], join::make),
    ("sort", &["boundaries"], sort::make),
    ("wordcount", &["words"], wordcount::make),
];

/// The names of the built-in jobs and the arguments of each.
pub fn builtin_jobs() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    JOBS.iter().map(|(name, arguments, _)| (*name, *arguments))
}

pub(crate) fn resolve(name: &str, args: &Args) -> Result<Arc<dyn Job>, SpecError> {
    let found = JOBS.iter().find(|(known, ..)| *known == name);
    let Some((job, known, factory)) = found else {
        let known: Vec<&str> = JOBS.iter().map(|(name, ..)| *name).collect();
        return Err(SpecError::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        });
    };
    if let Some(unknown) = args.keys().find(|arg| !known.contains(&arg.as_str())) {
        let reason = format!("it has no such argument; it has [{}]", known.join(", "));
        return Err(SpecError::argument(job, unknown, &reason));
    }
    factory(&Arguments { job, args })
}

/// The arguments of a job, and its name for errors.
struct Arguments<'a> {
    job: &'a str,
    args: &'a Args,
}

impl Arguments<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        self.args.get(name).map(String::as_str)
    }

    fn error(&self, name: &str, reason: &str) -> SpecError {
        SpecError::argument(self.job, name, reason)
    }
}

/// Counts travel as 8 bytes, little-endian.
fn count_of(value: &[u8]) -> Result<u64, UserError> {
    let bytes = value
        .try_into()
        .map_err(|_| UserError::new("a count must have 8 bytes"))?;
    Ok(u64::from_le_bytes(bytes))
}
