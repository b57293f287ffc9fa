//! Peers from PyPI, in an environment of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::directory;
use crate::sh;

/// A Python that has these packages (as pip names them, and as `import` does), installing them
/// if need be. `None`, with a message, where that can't be had.
pub(crate) fn with(packages: &[(&str, &str)]) -> Result<Option<PathBuf>> {
    let venv = directory()?.join("venv");
    let python = venv.join("bin/python");
    let shown = python.display().to_string();
    if !python.exists() && !sh::have("python3", &["-m", "venv", &venv.display().to_string()]) {
        eprintln!("skip: python3 cannot make an environment here: no peers from PyPI");
        return Ok(None);
    }
    for (package, module) in packages {
        let import = format!("import {module}");
        if !sh::have(&shown, &["-c", &import]) {
            eprintln!("  installing {package} from PyPI");
            if !sh::have(&shown, &["-m", "pip", "install", "-q", package])
                || !sh::have(&shown, &["-c", &import])
            {
                eprintln!("skip: {package} is not to be had here");
                return Ok(None);
            }
        }
    }
    Ok(Some(python))
}

/// Runs a script that prints its own seconds as its last line.
pub(crate) fn seconds(python: &Path, script: &str, args: &[&Path]) -> Result<f64> {
    let output = Command::new(python)
        .arg("-c")
        .arg(script)
        .args(args)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let seconds = text
        .lines()
        .last()
        .and_then(|line| line.trim().parse().ok());
    seconds
        .filter(|_| output.status.success())
        .with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("{}: {text}{errors}", output.status)
        })
}
