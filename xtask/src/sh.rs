//! Running other programs: shown before they run, from the repository's root.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

/// The repository's root directory.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent()
        .map_or_else(|| here.clone(), Path::to_path_buf)
}

/// The cargo that runs us, so that a toolchain override stays in force.
pub(crate) fn cargo() -> String {
    env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Says whether `program --version` (or what `args` say) can be run.
pub(crate) fn have(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs cargo with these arguments and environment, after printing the command.
pub(crate) fn run_cargo<S: AsRef<OsStr>>(args: &[S], env: &[(&str, &str)]) -> Result<()> {
    run(&cargo(), args, env)
}

/// Runs a program to its end; an exit code other than zero is an error.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, args: &[S], env: &[(&str, &str)]) -> Result<()> {
    let shown = shown(program, args, env);
    eprintln!("$ {shown}");
    let started = Instant::now();
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run {program}: is it installed and on PATH?"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    eprintln!("  took {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn shown<S: AsRef<OsStr>>(program: &str, args: &[S], env: &[(&str, &str)]) -> String {
    let name = Path::new(program)
        .file_name()
        .unwrap_or_else(|| OsStr::new(program));
    let mut words: Vec<String> = env
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    words.push(name.to_string_lossy().into_owned());
    words.extend(
        args.iter()
            .map(|arg| arg.as_ref().to_string_lossy().into_owned()),
    );
    words.join(" ")
}

/// A number made from the hash of the checked-out commit.
pub(crate) fn commit_seed() -> Option<u64> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    u64::from_str_radix(String::from_utf8(output.stdout).ok()?.trim(), 16).ok()
}
