//! A job's history: what happened when, a line of JSON each, in a file beside the output.
//!
//! It is for people and the timeline; nothing depends on it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use mapreduce_core::Event;
use serde::{Deserialize, Serialize};

use crate::spec::wall_ms;

/// An entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// A coordinator began.
    Opened(u64),
    /// A worker's name.
    Named(String, String),
    /// An event of the job.
    Event(Event),
    /// The end, in words.
    Ended(String),
}

/// The file, open at its end.
#[derive(Debug)]
pub(crate) struct History {
    path: PathBuf,
    file: Option<File>,
}

impl History {
    pub(crate) fn open(dir: &Path) -> Self {
        let path = dir.join("history.jsonl");
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let file = match opened {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "there will be no history");
                None
            }
        };
        Self { path, file }
    }

    pub(crate) fn add(&mut self, what: What) {
        let at = wall_ms();
        let Some(file) = &mut self.file else {
            return;
        };
        let written = serde_json::to_vec(&Entry { at, what })
            .map_err(std::io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                file.write_all(&line)
            });
        if let Err(error) = written {
            tracing::warn!(%error, "the history ends here");
            self.file = None;
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a history; a torn last line is left out.
pub(crate) fn read(path: &Path) -> std::io::Result<Vec<Entry>> {
    let file = BufReader::new(File::open(path)?);
    let mut entries = Vec::new();
    for line in file.lines() {
        if let Ok(entry) = serde_json::from_str(&line?) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

impl Entry {
    /// For people; `start` is the first entry's time.
    pub(crate) fn line(&self, start: u64) -> String {
        let seconds = self.at.saturating_sub(start) / 1000;
        let millis = self.at.saturating_sub(start) % 1000;
        format!("{seconds:>5}.{millis:03}  {}", self.words())
    }

    fn words(&self) -> String {
        match &self.what {
            What::Opened(epoch) => format!("coordinator of epoch {epoch} begins"),
            What::Named(worker, name) => format!("{worker} is {name}"),
            What::Ended(how) => format!("the end: {how}"),
            What::Event(event) => match event {
                Event::Joined(worker) => format!("{worker} joined"),
                Event::Lost(worker) => format!("{worker} is lost"),
                Event::Benched(worker) => {
                    format!("{worker} failed often: others are preferred")
                }
                Event::Started {
                    attempt,
                    task,
                    worker,
                    purpose,
                } => format!("{task} {attempt} starts on {worker} ({purpose:?})"),
                Event::Done {
                    attempt,
                    task,
                    worker,
                    how,
                } => format!("{task} {attempt} on {worker}: {}", how_words(how)),
                Event::OutputLost { map } => format!("the output of m{map} is lost"),
                Event::Skipped { map, record } => {
                    format!("record {record} of m{map} is skipped")
                }
            },
        }
    }
}

fn how_words(how: &mapreduce_core::How) -> String {
    use mapreduce_core::How;
    match how {
        How::Won => "done".to_owned(),
        How::Beaten => "not needed any more".to_owned(),
        How::Audited { same: true } => "audited, the same".to_owned(),
        How::Audited { same: false } => "audited, DIFFERENT".to_owned(),
        How::Failed(failure) => format!("FAILED: {failure}"),
    }
}
