//! Publishing a job's output.
//!
//! Attempts write files of their own into `_kontiki/attempts`. The manifest names the winners'
//! and is created only if there is none: that is the moment in which the job's output comes
//! into being. What follows (giving the files their names, the receipt, `_SUCCESS`) can be done
//! again by whoever finds it unfinished.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use mapreduce_core::Receipt;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error};
use crate::limits;

/// What readers trust.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) job: String,
    pub(crate) files: Vec<OutputFile>,
}

/// One file of the output.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct OutputFile {
    /// In the output directory.
    pub(crate) name: String,
    /// What the attempt called it.
    pub(crate) attempt_file: String,
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) digest: String,
}

/// The directory for everything that isn't output.
pub(crate) fn meta_dir(output: &Path) -> PathBuf {
    output.join("_kontiki")
}

/// The directory for attempts' files.
pub(crate) fn attempts_dir(output: &Path) -> PathBuf {
    meta_dir(output).join("attempts")
}

/// Makes an output directory ready for a job.
pub(crate) fn prepare(output: &Path, overwrite: bool) -> Result<(), Error> {
    match fs::read_dir(output) {
        Ok(mut entries) => {
            // What `run` keeps there while it runs isn't output.
            let foreign = entries.any(|entry| {
                entry.is_ok_and(|e| e.file_name() != "_kontiki" || meta_is_used(output))
            });
            if foreign && !overwrite {
                return Err(Error::new(format!(
                    "the output directory {} is not empty",
                    output.display()
                ))
                .hint("choose another --output, or add --overwrite to replace what is there"));
            }
            if foreign {
                clear(output)?;
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(Error::new(format!("cannot look at {}", output.display())).because(error));
        }
    }
    // What a job that failed left to look at.
    for name in ["history.jsonl", "timeline.svg"] {
        let path = meta_dir(output).join(name);
        remove(&path).context(format!("cannot remove {}", path.display()))?;
    }
    let attempts = attempts_dir(output);
    fs::create_dir_all(&attempts).context(format!("cannot create {}", attempts.display()))
}

fn meta_is_used(output: &Path) -> bool {
    let meta = meta_dir(output);
    meta.join("manifest.json").exists() || meta.join("attempts").exists()
}

/// Removes what an earlier job left, and nothing else.
fn clear(output: &Path) -> Result<(), Error> {
    let meta = meta_dir(output);
    let failed = |path: &Path| format!("cannot remove {}", path.display());
    // First what says that the output is whole.
    for path in [output.join("_SUCCESS"), meta.join("manifest.json")] {
        remove(&path).context(failed(&path))?;
    }
    for entry in fs::read_dir(output).context(failed(output))? {
        let path = entry.context(failed(output))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("mr-out-") {
            remove(&path).context(failed(&path))?;
        } else if name != "_kontiki" {
            return Err(Error::new(format!("{} is not of a job", path.display()))
                .hint("--overwrite replaces the output of a job only: choose another --output"));
        }
    }
    for name in ["receipt.json", "history.jsonl", "timeline.svg"] {
        let path = meta.join(name);
        remove(&path).context(failed(&path))?;
    }
    match fs::remove_dir_all(meta.join("attempts")) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::new(failed(&meta)).because(error))
        }
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Publishes; may be called again after a crash, and by two coordinators at once.
pub(crate) fn publish(output: &Path, job: &str, receipt: &Receipt) -> Result<(), Error> {
    let meta = meta_dir(output);
    let manifest = manifest_of(job, receipt);
    let json = serde_json::to_vec_pretty(&manifest).context("cannot write the manifest")?;
    let path = meta.join("manifest.json");
    create_once(&path, &json).context(format!("cannot create {}", path.display()))?;
    // It may be another's; then it must say the same.
    let found = fs::read(&path).context(format!("cannot read {}", path.display()))?;
    let found: Manifest =
        serde_json::from_slice(&found).context(format!("{} is damaged", path.display()))?;
    if found != manifest {
        return Err(Error::new(format!(
            "{} is the manifest of another result (job {})",
            path.display(),
            found.job
        )));
    }
    for file in &manifest.files {
        place(output, file)?;
    }
    let json = serde_json::to_vec_pretty(receipt).context("cannot write the receipt")?;
    replace(&meta.join("receipt.json"), &json)
        .and_then(|()| sync_dir(&meta))
        .and_then(|()| sync_dir(output))
        .and_then(|()| replace(&output.join("_SUCCESS"), b""))
        .and_then(|()| sync_dir(output))
        .context(format!("cannot finish {}", output.display()))?;
    match fs::remove_dir_all(attempts_dir(output)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, "files of attempts stay behind");
        }
        _ => {}
    }
    Ok(())
}

fn manifest_of(job: &str, receipt: &Receipt) -> Manifest {
    let file = |(at, reduce): (
        usize,
        &mapreduce_core::TaskReceipt<mapreduce_core::ReduceDone>,
    )| {
        OutputFile {
            name: format!("mr-out-{at}"),
            attempt_file: reduce.done.file.clone(),
            bytes: reduce.done.output.bytes,
            records: reduce.done.output.records,
            digest: reduce.done.output.digest.to_string(),
        }
    };
    Manifest {
        format: limits::FORMAT,
        job: job.to_owned(),
        files: receipt.reduces.iter().enumerate().map(file).collect(),
    }
}

/// Gives a winner's file its name; nothing if it has it already.
fn place(output: &Path, file: &OutputFile) -> Result<(), Error> {
    let from = attempts_dir(output).join(&file.attempt_file);
    let to = output.join(&file.name);
    match fs::rename(&from, &to) {
        Err(error) if error.kind() == ErrorKind::NotFound && to.exists() => Ok(()),
        other => other.context(format!("cannot name {}", to.display())),
    }
}

/// Creates a file with this content, whole or not at all, unless it exists.
fn create_once(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{:x}", crate::spec::random()));
    write_synced(&temporary, content)?;
    let linked = match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&temporary)?;
    linked?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{:x}", crate::spec::random()));
    write_synced(&temporary, content)?;
    fs::rename(&temporary, path)
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_data()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mapreduce_core::{AttemptId, Epoch, Plan, ReduceDone, Tally, TaskReceipt, WorkerId};

    use super::*;

    fn receipt(file: &str) -> Receipt {
        let done = ReduceDone {
            output: Tally {
                records: 1,
                bytes: 2,
                ..Tally::default()
            },
            file: file.to_owned(),
            ..ReduceDone::default()
        };
        let attempt = AttemptId {
            epoch: Epoch(1),
            number: 1,
        };
        Receipt {
            version: 1,
            plan: Plan {
                maps: 0,
                reduces: 1,
                seed: 0,
            },
            maps: Vec::new(),
            reduces: vec![TaskReceipt {
                attempt,
                worker: WorkerId(1),
                done,
            }],
            counters: BTreeMap::new(),
            audits: Vec::new(),
            skipped: 0,
            failures: 0,
        }
    }

    #[test]
    fn publishing_again_changes_nothing_and_another_result_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out");
        prepare(&output, false).unwrap();
        for file in ["a", "b"] {
            fs::write(attempts_dir(&output).join(file), format!("{file}\n")).unwrap();
        }
        publish(&output, "j1", &receipt("a")).unwrap();
        assert_eq!(fs::read_to_string(output.join("mr-out-0")).unwrap(), "a\n");
        assert!(output.join("_SUCCESS").exists());
        // As by a coordinator that died right after, and its successor.
        publish(&output, "j1", &receipt("a")).unwrap();
        let error = publish(&output, "j1", &receipt("b")).unwrap_err();
        assert!(error.to_string().contains("another result"), "{error}");
        assert_eq!(fs::read_to_string(output.join("mr-out-0")).unwrap(), "a\n");
        assert!(prepare(&output, false).is_err(), "it is in use");
    }

    #[test]
    fn publishing_that_was_interrupted_is_finished_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out");
        prepare(&output, false).unwrap();
        fs::write(attempts_dir(&output).join("a"), "a\n").unwrap();
        // The manifest is there, and nothing else was done.
        let manifest = serde_json::to_vec(&manifest_of("j1", &receipt("a"))).unwrap();
        create_once(&meta_dir(&output).join("manifest.json"), &manifest).unwrap();
        assert!(!output.join("mr-out-0").exists());
        publish(&output, "j1", &receipt("a")).unwrap();
        assert!(output.join("mr-out-0").exists() && output.join("_SUCCESS").exists());
    }
}
