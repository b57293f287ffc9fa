//! What a user sees when something fails: the chain of causes, then what to do.

use std::fmt;
use std::io;

/// An error with advice. Put outermost of all, or anywhere in the chain.
#[derive(Debug)]
pub(crate) struct Hint {
    message: String,
    hint: String,
}

impl Hint {
    /// A message, and what the user can do about it.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Hint {}

/// An error of the compute engine, whose own hint becomes ours.
pub(crate) fn of_mapreduce(error: mapreduce::Error) -> anyhow::Error {
    let hint = std::iter::successors(
        Some(&error as &(dyn std::error::Error + 'static)),
        |error| error.source(),
    )
    .find_map(|error| error.downcast_ref::<mapreduce::Error>()?.advice())
    .map(str::to_owned);
    match hint {
        Some(hint) => {
            let message = error.to_string();
            anyhow::Error::from(error).context(Hint::new(message, hint))
        }
        None => anyhow::Error::from(error),
    }
}

/// Prints `error:`, the causes under it, and `hint:` where one is known.
pub(crate) fn print(error: &anyhow::Error) {
    eprintln!("{}", render(error));
}

fn render(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        // Some libraries repeat their cause in their own message.
        let cause = cause.to_string();
        if !last.ends_with(&cause) {
            text.push_str(&format!("\n  because: {cause}"));
        }
        last = cause;
    }
    // The context, `Hint` among it, is found by anyhow's own downcast only.
    let hint = error.downcast_ref::<Hint>().map(|hint| hint.hint.clone());
    let hint = hint.or_else(|| {
        error
            .chain()
            .find_map(|e| Some(e.downcast_ref::<Hint>()?.hint.clone()))
    });
    if let Some(hint) = hint {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

/// Whether somebody stopped reading what we print.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::*;

    #[test]
    fn the_chain_and_the_hint_are_shown() {
        let error = anyhow!("connection refused")
            .context(Hint::new(
                "cannot reach 127.0.0.1:1",
                "is the node running?",
            ))
            .context("cannot read the key");
        assert_eq!(
            render(&error),
            "error: cannot read the key\n  because: cannot reach 127.0.0.1:1\n  \
             because: connection refused\nhint: is the node running?"
        );
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_repeated() {
        let inner = io::Error::other("boom");
        let error = Err::<(), _>(inner).context("it failed: boom").unwrap_err();
        assert_eq!(render(&error), "error: it failed: boom");
    }

    #[test]
    fn a_closed_pipe_is_recognised() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_broken_pipe(&error.context("cannot print")));
        assert!(!is_broken_pipe(&anyhow!("other")));
    }
}
