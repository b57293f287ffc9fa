//! How a job of ours is run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::sh;

/// Builds the program that runs jobs and says where it is.
pub(super) fn build() -> Result<PathBuf> {
    let target = sh::root().join("target");
    let shown = target.display().to_string();
    let words = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "mapreduce-data",
    ];
    sh::run_cargo(
        &[&words[..], &["--example", "local", "--target-dir", &shown]].concat(),
        &[],
    )?;
    Ok(target.join("release/examples/local"))
}

/// A job with two slots over one input.
#[derive(Debug)]
pub(super) struct Job<'a> {
    /// `wordcount`, `sort`.
    pub(super) builtin: Option<&'a str>,
    /// Command lines of map and reduce.
    pub(super) streaming: Option<(&'a str, &'a str)>,
    pub(super) input: &'a Path,
    pub(super) output: &'a Path,
    pub(super) reduces: u32,
    /// Of each slot.
    pub(super) memory_mib: u32,
    pub(super) split_mib: u32,
}

impl Job<'_> {
    pub(super) fn command(&self, kontiki: &Path) -> Command {
        let mut command = Command::new(kontiki);
        if let Some(name) = self.builtin {
            command.args(["--job", name]);
        }
        if let Some((map, reduce)) = self.streaming {
            command.args(["--map", map, "--reduce", reduce]);
        }
        command
            .arg("--input")
            .arg(self.input)
            .arg("--output")
            .arg(self.output);
        let numbers = [
            ("--reduces", self.reduces),
            ("--memory-mib", self.memory_mib),
            ("--split-mib", self.split_mib),
            ("--slots", 2),
        ];
        for (flag, number) in numbers {
            command.args([flag, &number.to_string()]);
        }
        command
    }
}
