//! Diagnostics go to stderr, one line each; stdout is for answers.

use std::io::{self, IsTerminal as _, Write};

use anyhow::{Result, anyhow};
use clap::Args;
use tracing_subscriber::EnvFilter;

use crate::error::Hint;

/// What is logged.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// What to log to stderr: error, warn, info, debug, trace, or filters such as `warn,kv=debug`.
    #[arg(
        long,
        global = true,
        default_value = "warn",
        env = "KONTIKI_LOG_LEVEL",
        value_name = "FILTER"
    )]
    pub(crate) log_level: String,
}

/// Starts logging. `prefix` comes before each line, to tell several processes apart.
pub(crate) fn start(args: &LogArgs, prefix: Option<String>) -> Result<()> {
    let filter = EnvFilter::try_new(&args.log_level).map_err(|error| {
        anyhow!(error).context(Hint::new(
            format!("--log-level {} is not understood", args.log_level),
            "use a level such as info, or filters such as warn,kv=debug",
        ))
    })?;
    // Colour only for eyes: not into files, and not against the user's wish (no-color.org).
    let colour =
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let prefix = prefix.unwrap_or_default();
    tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_writer(move || Prefixed {
            prefix: prefix.clone(),
        })
        .try_init()
        .map_err(|error| anyhow!("cannot start logging: {error}"))
}

/// Writes each log line with its prefix in one call, so that lines of several processes on
/// one terminal don't mix.
struct Prefixed {
    prefix: String,
}

impl Write for Prefixed {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = self.prefix.clone().into_bytes();
        text.extend_from_slice(line);
        io::stderr().write_all(&text)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
