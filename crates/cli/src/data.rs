//! The commands on keys: get, put, append, del, list, cas.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use kv::client::{Consistency, Expected, Expiry, Listing, Swap};

use crate::client::{ClientArgs, committed, refused};
use crate::error::Hint;

/// What a comparison or a look-up answers: no.
const NO: u8 = 1;
/// Keys asked for at once while listing.
const PAGE: u32 = 1000;

/// Read a key.
#[derive(Args, Clone, Debug)]
pub(crate) struct GetArgs {
    key: String,
    /// Print the value's bytes and nothing after them
    #[arg(long)]
    raw: bool,
    /// Print the version and the expiry too, on stderr
    #[arg(short, long)]
    verbose: bool,
    /// Be content with what the asked node has applied: fast, and maybe old
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn get(args: GetArgs) -> Result<ExitCode> {
    let client = args.client.connect()?;
    let found = client.get(args.key.clone(), consistency(args.stale)).await;
    let Some(value) = found.map_err(|failed| refused(&failed))? else {
        eprintln!("{:?} does not exist", args.key);
        return Ok(ExitCode::from(NO));
    };
    if args.verbose {
        let expiry = match value.expires_at_ms {
            0 => "never expires".to_owned(),
            at => format!("expires at {at} ms since 1970"),
        };
        eprintln!("version {}, {expiry}", value.version);
    }
    let mut out = io::stdout().lock();
    out.write_all(&value.value)?;
    if !args.raw {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Store a value.
#[derive(Args, Clone, Debug)]
pub(crate) struct PutArgs {
    key: String,
    /// The value; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Let the key expire after so many seconds
    #[arg(long, value_name = "SECONDS")]
    expire: Option<f64>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn put(args: PutArgs) -> Result<ExitCode> {
    let expiry = args.expire.map_or(Ok(Expiry::Never), expire_after)?;
    let (client, value) = (args.client.connect()?, value_bytes(args.value)?);
    committed(client.put(args.key, value, expiry).await)?;
    Ok(ExitCode::SUCCESS)
}

fn expire_after(seconds: f64) -> Result<Expiry> {
    let time = Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| time.as_millis() > 0);
    time.map(Expiry::After).with_context(|| {
        Hint::new(
            format!("--expire {seconds}"),
            "write seconds above 0, such as 2.5",
        )
    })
}

/// Add to the end of a value.
#[derive(Args, Clone, Debug)]
pub(crate) struct AppendArgs {
    key: String,
    /// What to add; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn append(args: AppendArgs) -> Result<ExitCode> {
    let (client, value) = (args.client.connect()?, value_bytes(args.value)?);
    let length = committed(client.append(args.key, value).await)?;
    writeln!(io::stdout(), "{length}")?;
    Ok(ExitCode::SUCCESS)
}

/// Delete keys.
#[derive(Args, Clone, Debug)]
pub(crate) struct DelArgs {
    #[arg(required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn del(args: DelArgs) -> Result<ExitCode> {
    let keys = args.keys.into_iter().map(Into::into).collect();
    let deleted = committed(args.client.connect()?.delete(keys).await)?;
    writeln!(io::stdout(), "{deleted}")?;
    Ok(if deleted > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}

/// List keys and values by prefix.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// What the keys begin with; nothing lists all of them
    #[arg(default_value = "")]
    prefix: String,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Start after this key
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// Leave the values out
    #[arg(long)]
    keys_only: bool,
    /// Be content with what the asked node has applied
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints one key in a line; the value follows after a tab.
pub(crate) async fn list(args: ListArgs) -> Result<ExitCode> {
    let client = args.client.connect()?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut listing = Listing {
        prefix: args.prefix.into(),
        after: args.after.map(Into::into),
        limit: None,
        keys_only: args.keys_only,
        consistency: consistency(args.stale),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    while left > 0 {
        listing.limit = Some(u32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let page = client
            .list(&listing)
            .await
            .map_err(|failed| refused(&failed))?;
        for (key, value) in &page.entries {
            write!(out, "{}", key.escape_ascii())?;
            if let Some(value) = value {
                write!(out, "\t{}", value.value.escape_ascii())?;
            }
            writeln!(out)?;
        }
        out.flush()?;
        left = left.saturating_sub(page.entries.len() as u64);
        if page.next.is_none() {
            break;
        }
        listing.after = page.next;
    }
    Ok(ExitCode::SUCCESS)
}

/// Store a value only if the key still holds what you expect.
#[derive(Args, Clone, Debug)]
#[group(id = "expectation", required = true)]
pub(crate) struct Expectation {
    /// The key must hold this value
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    expect: Option<String>,
    /// The key must have this version, as `get --verbose` shows it
    #[arg(long, value_name = "VERSION")]
    expect_version: Option<u64>,
    /// The key must not exist
    #[arg(long)]
    expect_absent: bool,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct CasArgs {
    key: String,
    /// The value to store; `-` reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    expectation: Expectation,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) async fn cas(args: CasArgs) -> Result<ExitCode> {
    let Expectation {
        expect,
        expect_version,
        expect_absent: _,
    } = args.expectation;
    let expected = match (expect, expect_version) {
        (Some(value), _) => Expected::Value(value.into()),
        (None, Some(version)) => Expected::Version(version),
        (None, None) => Expected::Absent,
    };
    let (client, value) = (args.client.connect()?, value_bytes(args.value)?);
    let swap = client.compare_and_set(args.key.clone(), expected, value);
    if let Swap::Refused(_) = committed(swap.await)? {
        eprintln!("{:?} holds something else: nothing was stored", args.key);
        return Ok(ExitCode::from(NO));
    }
    Ok(ExitCode::SUCCESS)
}

fn value_bytes(argument: String) -> Result<Vec<u8>> {
    if argument != "-" {
        return Ok(argument.into_bytes());
    }
    let mut value = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut value)
        .context("cannot read standard input")?;
    Ok(value)
}

fn consistency(stale: bool) -> Consistency {
    if stale {
        Consistency::Stale
    } else {
        Consistency::Linearizable
    }
}
