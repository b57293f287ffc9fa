//! The commands on keys: get, put, append, del, list, cas.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use kv_proto::kv::v1 as proto;
use proto::compare_and_set_request::Expected;
use proto::put_request::Expiry;

use crate::client::{Client, ClientArgs};
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
    let request = proto::GetRequest {
        key: args.key.clone().into(),
        consistency: consistency(args.stale),
    };
    let mut client = Client::new(&args.client)?;
    let reply = client
        .kv(async |mut kv| Ok(kv.get(request.clone()).await?.into_inner()))
        .await?;
    let Some(value) = reply.value else {
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
    let expiry = args.expire.map(expire_after).transpose()?;
    let request = proto::PutRequest {
        key: args.key.into(),
        value: value_bytes(args.value)?.into(),
        expiry,
    };
    let mut client = Client::new(&args.client)?;
    client
        .kv(async |mut kv| Ok(kv.put(request.clone()).await?.into_inner()))
        .await?;
    Ok(ExitCode::SUCCESS)
}

fn expire_after(seconds: f64) -> Result<Expiry> {
    let duration = std::time::Duration::try_from_secs_f64(seconds);
    let ms = duration
        .ok()
        .and_then(|d| u64::try_from(d.as_millis()).ok())
        .filter(|ms| *ms > 0);
    let ms = ms.with_context(|| {
        Hint::new(
            format!("--expire {seconds}"),
            "write seconds above 0, such as 2.5",
        )
    })?;
    Ok(Expiry::ExpireAfterMs(ms))
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
    let request = proto::AppendRequest {
        key: args.key.into(),
        value: value_bytes(args.value)?.into(),
    };
    let mut client = Client::new(&args.client)?;
    let reply = client
        .kv(async |mut kv| Ok(kv.append(request.clone()).await?.into_inner()))
        .await?;
    writeln!(io::stdout(), "{}", reply.length)?;
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
    let request = proto::DeleteRequest {
        keys: args.keys.into_iter().map(Into::into).collect(),
    };
    let mut client = Client::new(&args.client)?;
    let reply = client
        .kv(async |mut kv| Ok(kv.delete(request.clone()).await?.into_inner()))
        .await?;
    writeln!(io::stdout(), "{}", reply.deleted)?;
    Ok(if reply.deleted > 0 {
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
    #[arg(long, default_value = "", value_name = "KEY")]
    after: String,
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
    let mut client = Client::new(&args.client)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut after = args.after.into_bytes();
    let mut out = io::BufWriter::new(io::stdout().lock());
    while left > 0 {
        let request = proto::ListRequest {
            prefix: args.prefix.clone().into(),
            after: after.into(),
            limit: u32::try_from(left).unwrap_or(PAGE).min(PAGE),
            keys_only: args.keys_only,
            consistency: consistency(args.stale),
        };
        let page = client
            .kv(async |mut kv| Ok(kv.list(request.clone()).await?.into_inner()))
            .await?;
        for entry in &page.entries {
            write!(out, "{}", entry.key.escape_ascii())?;
            if let Some(value) = &entry.value
                && !args.keys_only
            {
                write!(out, "\t{}", value.value.escape_ascii())?;
            }
            writeln!(out)?;
        }
        out.flush()?;
        left = left.saturating_sub(page.entries.len() as u64);
        if page.next.is_empty() {
            break;
        }
        after = page.next.to_vec();
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
    let expected = expect
        .map(|value| Expected::ExpectedValue(value.into()))
        .or_else(|| expect_version.map(Expected::Version));
    let request = proto::CompareAndSetRequest {
        key: args.key.clone().into(),
        value: value_bytes(args.value)?.into(),
        expected,
    };
    let mut client = Client::new(&args.client)?;
    let reply = client
        .kv(async |mut kv| Ok(kv.compare_and_set(request.clone()).await?.into_inner()))
        .await?;
    if !reply.stored {
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

fn consistency(stale: bool) -> i32 {
    let consistency = if stale {
        proto::Consistency::Stale
    } else {
        proto::Consistency::Linearizable
    };
    consistency.into()
}
