//! Checking a job's output again, without the job: the receipt in itself, then the files.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use mapreduce_core::{Receipt, Verdict, check_receipt};
use mapreduce_data::Digest;

use crate::coordinator::publish::{Manifest, OutputFile, meta_dir};
use crate::error::{Context as _, Error};

/// What was checked.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The job.
    pub job: String,
    /// What the receipt says.
    pub verdict: Verdict,
    /// Files that hold what the receipt says.
    pub files: usize,
}

/// Reads the receipt in an output directory.
///
/// # Errors
///
/// When there is none, or it is damaged.
pub fn read_receipt(output: &Path) -> Result<Receipt, Error> {
    read_json(&meta_dir(output).join("receipt.json"))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = std::fs::read(path).map_err(|error| {
        Error::new(format!("cannot read {}", path.display()))
            .because(error)
            .hint("name the output directory of a job that succeeded")
    })?;
    serde_json::from_slice(&bytes).context(format!("{} is damaged", path.display()))
}

/// Checks an output directory: the receipt adds up, the manifest says the same, and every file
/// holds the records that the receipt names.
///
/// # Errors
///
/// What doesn't hold.
pub fn verify(output: &Path) -> Result<Verified, Error> {
    let manifest: Manifest = read_json(&meta_dir(output).join("manifest.json"))?;
    let receipt = read_receipt(output)?;
    let verdict = check_receipt(&receipt)
        .map_err(|why| Error::new("the receipt does not add up").because(Error::new(why)))?;
    if !output.join("_SUCCESS").exists() {
        return Err(Error::new(format!("{} has no _SUCCESS", output.display()))
            .hint("the job is still being published, or files were removed"));
    }
    if manifest.files.len() != receipt.reduces.len() {
        return Err(Error::new(
            "the manifest and the receipt name different files",
        ));
    }
    for (file, reduce) in manifest.files.iter().zip(&receipt.reduces) {
        let named = &reduce.done.output;
        if file.attempt_file != reduce.done.file || file.digest != named.digest.to_string() {
            return Err(Error::new(format!(
                "the manifest and the receipt differ about {}",
                file.name
            )));
        }
        check_file(output, file)?;
    }
    Ok(Verified {
        job: manifest.job,
        verdict,
        files: manifest.files.len(),
    })
}

fn check_file(output: &Path, file: &OutputFile) -> Result<(), Error> {
    let path = output.join(&file.name);
    let cannot = || format!("cannot read {}", path.display());
    let mut reader = BufReader::with_capacity(1 << 20, File::open(&path).context(cannot())?);
    let (mut bytes, mut records, mut digest) = (0, 0, Digest::EMPTY);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).context(cannot())?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        records += 1;
        digest.add(Digest::of(line.strip_suffix(b"\n").unwrap_or(&line), b""));
    }
    if (bytes, records) != (file.bytes, file.records) || digest.to_string() != file.digest {
        return Err(Error::new(format!(
            "{} was altered: it has {records} records ({bytes} bytes, digest {digest}), and the \
             receipt says {} ({} bytes, digest {})",
            path.display(),
            file.records,
            file.bytes,
            file.digest
        )));
    }
    Ok(())
}
