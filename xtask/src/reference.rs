//! docs/reference/cli.md: every `--help` of the binary, in one page.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::sh;

/// Every command, in the order of the page.
const COMMANDS: &[&str] = &[
    "",
    "up",
    "serve",
    "get",
    "put",
    "append",
    "del",
    "list",
    "cas",
    "status",
    "member",
    "member add",
    "member promote",
    "member remove",
    "member transfer",
    "lsp",
    "lsp echo",
    "lsp send",
    "lsp recv",
    "lsp bench",
    "lsp trace",
    "kmeans",
    "kmeans run",
    "kmeans predict",
    "kmeans worker",
    "miner",
    "miner server",
    "miner worker",
    "miner client",
    "miner block",
    "miner speed",
    "wal",
    "wal dump",
    "wal check",
    "completions",
];
const PAGE: &str = "docs/reference/cli.md";

/// Writes the page, or fails if it is stale.
pub(crate) fn run(check: bool) -> Result<()> {
    sh::run_cargo(&["build", "--quiet", "--package", "cli"], &[])?;
    let binary = sh::root().join("target/debug/kontiki");
    let mut page = String::from(
        "# Command line reference\n\nWritten by `cargo xtask docs` from `--help`; don't edit it.\n",
    );
    for command in COMMANDS {
        let mut words: Vec<&str> = command.split_whitespace().collect();
        words.push("--help");
        let output = Command::new(&binary)
            .args(&words)
            .env("COLUMNS", "100")
            .output();
        let output = output.with_context(|| binary.display().to_string())?;
        if !output.status.success() {
            bail!("kontiki {}: {}", words.join(" "), output.status);
        }
        let help = String::from_utf8(output.stdout)?;
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let title = format!("kontiki {command}");
        page.push_str(&format!(
            "\n## {}\n\n```text\n{}\n```\n",
            title.trim(),
            lines.join("\n").trim()
        ));
    }
    let path = sh::root().join(PAGE);
    let old = fs::read_to_string(&path).unwrap_or_default();
    if check && old != page {
        bail!("{PAGE} is stale: run `cargo xtask docs`");
    }
    if old != page {
        fs::create_dir_all(path.parent().context("the page is in a directory")?)?;
        fs::write(&path, page)?;
        println!("written: {PAGE}");
    }
    Ok(())
}
