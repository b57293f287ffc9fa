//! Finds out which commit is being built, for `kontiki --version`.

use std::path::Path;
use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A new commit appends to the log of HEAD, also in a worktree.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let version = env!("CARGO_PKG_VERSION");
    let commit = git(&["describe", "--tags", "--always", "--dirty"]);
    let commit = commit.unwrap_or_else(|| "not built from a git checkout".to_owned());
    println!("cargo::rustc-env=KONTIKI_VERSION={version} ({commit})");
}
