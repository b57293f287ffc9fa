//! `kontiki lsp`: messages over UDP from the command line, and what one needs to see why
//! they don't arrive.

mod bench;
mod echo;
mod receive;
mod send;
mod trace;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use lsp::{Client, Config, KEY_BYTES, Protocol, PublicKey, Server, Version};
use tokio::signal::unix::{SignalKind, signal};

use crate::address::refuse_open;
use crate::error::Hint;

/// Send and receive messages over UDP: in order, exactly once, with lost peers noticed.
///
/// The Live Sequence Protocol carries messages over UDP. Any end of the original course's
/// protocol can be at the other side of these commands; between two of them, version 2
/// encrypts and goes faster. Try it:
///
///   kontiki lsp echo                          # in one terminal
///   kontiki lsp bench 127.0.0.1:7700          # in another
///
/// or a file, with a progress bar:
///
///   kontiki lsp recv --into copy.bin
///   kontiki lsp send 127.0.0.1:7700 file.bin
///
/// and when something is odd, put a relay in between that prints each packet:
///
///   kontiki lsp trace 127.0.0.1:7700 --listen 127.0.0.1:7701
///   kontiki lsp send 127.0.0.1:7701 file.bin
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct LspArgs {
    #[command(subcommand)]
    command: LspCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum LspCommand {
    /// Send every message back to where it came from.
    Echo(echo::EchoArgs),
    /// Send a file, or lines from standard input.
    Send(send::SendArgs),
    /// Receive a file, or print messages as lines.
    Recv(receive::ReceiveArgs),
    /// Measure messages a second and round trips against an echo server.
    Bench(bench::BenchArgs),
    /// Relay between clients and a server, and print each packet.
    Trace(trace::TraceArgs),
}

pub(crate) async fn run(args: LspArgs) -> Result<ExitCode> {
    match args.command {
        LspCommand::Echo(args) => echo::run(args).await,
        LspCommand::Send(args) => send::run(args).await,
        LspCommand::Recv(args) => receive::run(args).await,
        LspCommand::Bench(args) => bench::run(args).await,
        LspCommand::Trace(args) => trace::run(args).await,
    }
}

/// Which versions are spoken.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Spoken {
    /// Version 2 with those who know it, version 1 with the others
    #[default]
    Auto,
    /// Version 1 only
    V1,
    /// Version 2 only: always encrypted
    V2,
}

/// How an end behaves.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Protocol")]
struct ProtocolArgs {
    /// Which version to speak
    #[arg(long, value_enum, default_value_t)]
    protocol: Spoken,
    /// Keep the original's timing to the letter: a window of one, repetition on epochs only
    #[arg(long)]
    original: bool,
    /// Milliseconds of an epoch: how often a silent end shows that it lives
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    epoch: u64,
    /// Silent epochs after which the other end counts as lost
    #[arg(long, default_value_t = 5, value_name = "N")]
    epoch_limit: u32,
    /// Messages under way at most, in version 1 [default: 200, with --original 1]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
}

impl ProtocolArgs {
    fn config(&self) -> Config {
        let mut config = if self.original {
            Config::original()
        } else {
            Config::default()
        };
        config.core.protocol = match self.protocol {
            Spoken::Auto => Protocol::Auto,
            Spoken::V1 => Protocol::V1,
            Spoken::V2 => Protocol::V2,
        };
        config.core.epoch = Duration::from_millis(self.epoch);
        config.core.epoch_limit = self.epoch_limit;
        if let Some(window) = self.window {
            config.core.window_size = window;
            config.core.max_unacked_messages = window;
        }
        config
    }
}

/// Where a server listens.
#[derive(Args, Clone, Debug)]
struct ListenArgs {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:7700", value_name = "ADDRESS")]
    listen: String,
    /// Listen on an address that other machines can reach, though nobody is authenticated
    #[arg(long)]
    insecure_listen: bool,
}

impl ListenArgs {
    fn address(&self) -> Result<SocketAddr> {
        refuse_open(&[&self.listen], self.insecure_listen)?;
        resolve(&self.listen)
    }

    /// Starts a server and says where it is.
    async fn bind(&self, config: Config) -> Result<Server> {
        let address = self.address()?;
        let speaks_v2 = config.core.protocol != Protocol::V1;
        let server = Server::bind(address, config).await?;
        eprintln!("listening on {}", server.local_addr());
        if speaks_v2 {
            let key = hex(server.public_key().as_bytes());
            eprintln!("clients that want to be sure whom they talk to add --server-key {key}");
        }
        Ok(server)
    }
}

/// Whom a client talks to.
#[derive(Args, Clone, Debug)]
struct ServerArgs {
    /// The server's address, such as 127.0.0.1:7700
    #[arg(value_name = "ADDRESS")]
    server: String,
    /// Talk to the server with this key and to no other; implies version 2
    #[arg(long, value_parser = public_key, value_name = "HEX")]
    server_key: Option<PublicKey>,
}

impl ServerArgs {
    async fn connect(&self, mut config: Config) -> Result<Client> {
        let address = resolve(&self.server)?;
        if let Some(key) = self.server_key {
            config.core.protocol = Protocol::V2;
            config.core.keys.server = Some(key);
        }
        Client::connect(address, config).await.map_err(|error| {
            anyhow!(error).context(Hint::new(
                format!("cannot connect to {address}"),
                "is `kontiki lsp echo` or `recv` running there, and is UDP let through?",
            ))
        })
    }
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let hint = || {
        Hint::new(
            format!("{address} is no address"),
            "write HOST:PORT, such as 127.0.0.1:7700",
        )
    };
    let mut found = address.to_socket_addrs().with_context(hint)?;
    found.next().with_context(hint)
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let wrong = || format!("a key is {} hexadecimal digits", 2 * KEY_BYTES);
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut bytes = [0; KEY_BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let digits = &text[2 * at..2 * at + 2];
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(PublicKey::new(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const fn version_name(version: Option<Version>) -> &'static str {
    match version {
        Some(Version::V1) => "LSP/1",
        Some(Version::V2) => "LSP/2, encrypted",
        None => "LSP",
    }
}

/// Waits until the user wants an end.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.context("cannot listen to signals"),
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_they_are_read() {
        let key = PublicKey::new(core::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        assert_eq!(public_key(&hex(key.as_bytes())), Ok(key));
        assert!(public_key("ab").is_err());
        assert!(public_key(&"\u{e9}".repeat(32)).is_err());
        assert!(public_key(&"+1".repeat(32)).is_err());
    }

    #[test]
    fn addresses_have_a_port() {
        assert!(resolve("127.0.0.1:1").is_ok());
        let error = resolve("127.0.0.1").unwrap_err();
        assert_eq!(error.to_string(), "127.0.0.1 is no address");
    }
}
