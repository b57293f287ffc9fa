//! How a job of ours is run: `kontiki mr run`, with a coordinator and two workers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::bench::build_kontiki;
use crate::sh;

/// What runs jobs.
#[derive(Clone, Debug)]
pub(crate) enum Runner {
    /// `kontiki mr run`: processes.
    Processes(PathBuf),
    /// An example of `mapreduce-data`: the same tasks on two threads of one process.
    Threads(PathBuf),
}

/// Builds what runs jobs. A `kontiki` without `mr` is no reason not to measure the tasks.
pub(super) fn build() -> Result<Runner> {
    let kontiki = build_kontiki()?;
    if sh::have(&kontiki.display().to_string(), &["mr", "run", "--help"]) {
        return Ok(Runner::Processes(kontiki));
    }
    eprintln!("note: this kontiki has no `mr run`: jobs run on two threads of one process");
    let target = sh::root().join("target");
    let shown = target.display().to_string();
    let words = ["build", "--quiet", "--release", "--package"];
    let what = [
        "mapreduce-data",
        "--example",
        "local",
        "--target-dir",
        &shown,
    ];
    sh::run_cargo(&[&words[..], &what].concat(), &[])?;
    Ok(Runner::Threads(target.join("release/examples/local")))
}

/// A job with two slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    pub(super) what: What<'a>,
    pub(super) input: &'a Path,
    pub(super) output: &'a Path,
    pub(super) reduces: u32,
    /// Of each slot.
    pub(super) memory_mib: u32,
    pub(super) split_mib: u32,
}

/// What a job does.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    /// A built-in job, and perhaps an argument of it.
    Builtin(&'a str, Option<&'a str>),
    /// Command lines of map and reduce.
    Streaming(&'a str, &'a str),
}

impl Job<'_> {
    pub(super) fn command(&self, runner: &Runner) -> Command {
        let (memory, split) = (self.memory_mib.to_string(), self.split_mib.to_string());
        let mut command = match runner {
            Runner::Processes(kontiki) => {
                let mut command = Command::new(kontiki);
                command.args(["mr", "run", "--workers", "2", "--slots", "1"]);
                command.args(["--memory", &format!("{memory} MiB")]);
                command.args(["--split-size", &format!("{split} MiB")]);
                if let What::Builtin(name, _) = self.what {
                    command.arg(name);
                }
                command
            }
            Runner::Threads(local) => {
                let mut command = Command::new(local);
                command.args([
                    "--slots",
                    "2",
                    "--memory-mib",
                    &memory,
                    "--split-mib",
                    &split,
                ]);
                if let What::Builtin(name, _) = self.what {
                    command.args(["--job", name]);
                }
                command
            }
        };
        match self.what {
            What::Builtin(_, None) => {}
            What::Builtin(_, Some(argument)) => {
                command.args(["--arg", argument]);
            }
            What::Streaming(map, reduce) => {
                command.args(["--map", map, "--reduce", reduce]);
            }
        }
        command.arg("--input").arg(self.input);
        command.arg("--output").arg(self.output);
        command.args(["--reduces", &self.reduces.to_string()]);
        command
    }
}
