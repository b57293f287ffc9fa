//! Inputs, expected results, and processes that end with the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The example with the jobs, which cargo has built beside the tests.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().unwrap().parent().unwrap();
    let program = target.join("examples/mr_jobs");
    assert!(
        program.exists(),
        "{} is not built: cargo build -p mapreduce --example mr_jobs",
        program.display()
    );
    program
}

/// A directory with input files and room for results.
pub(crate) struct Lab {
    pub(crate) dir: TempDir,
}

impl Lab {
    /// With this many files of words.
    pub(crate) fn new(files: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let input = dir.path().join("in");
        fs::create_dir(&input).unwrap();
        for file in 0..files {
            let mut text = String::new();
            for line in 0..40 {
                for word in 0..5 {
                    let number = (file * 31 + line * 7 + word * 13) % 60;
                    text.push_str(&format!("w{} ", letters(number)));
                }
                text.push('\n');
            }
            fs::write(input.join(format!("pg-{file}.txt")), text).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn input(&self) -> PathBuf {
        self.path("in")
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.path("out")
    }

    /// A directory with tokens for a fault.
    pub(crate) fn tokens(&self, name: &str, count: usize) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        for token in 0..count {
            fs::write(dir.join(token.to_string()), "").unwrap();
        }
        dir
    }

    /// Runs a job with its own coordinator and workers.
    pub(crate) fn run(&self, job: &str, more: &[&str]) -> Output {
        self.command(job, more).output().unwrap()
    }

    pub(crate) fn command(&self, job: &str, more: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(["run", job, "--input"])
            .arg(self.input())
            .arg("--output")
            .arg(self.output())
            .args(more);
        command
    }

    /// All lines of the output, sorted.
    pub(crate) fn lines(&self) -> Vec<String> {
        read_lines(&self.output())
    }

    /// What one process would count.
    pub(crate) fn expected_words(&self) -> Vec<String> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        self.each_word(|word, _| *counts.entry(word.to_owned()).or_insert(0) += 1);
        sorted(counts.iter().map(|(w, n)| format!("{w}\t{n}")))
    }

    /// The index that one process would make.
    pub(crate) fn expected_index(&self) -> Vec<String> {
        let mut index: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        self.each_word(|word, path| {
            let path = path.to_string_lossy().into_owned();
            index.entry(word.to_owned()).or_default().insert(path);
        });
        sorted(index.iter().map(|(word, files)| {
            let list: Vec<&str> = files.iter().map(String::as_str).collect();
            format!("{word}\t{} {}", files.len(), list.join(","))
        }))
    }

    fn each_word(&self, mut take: impl FnMut(&str, &Path)) {
        for entry in fs::read_dir(self.input()).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphabetic());
            words
                .filter(|word| !word.is_empty())
                .for_each(|word| take(word, &path));
        }
    }
}

fn letters(number: usize) -> String {
    let letter = |n: usize| char::from(b'a' + u8::try_from(n).unwrap());
    [letter(number / 8), letter(number % 8)].iter().collect()
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines
}

pub(crate) fn read_lines(output: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(output).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("mr-out-")
        {
            lines.extend(
                fs::read_to_string(&path)
                    .unwrap()
                    .lines()
                    .map(str::to_owned),
            );
        }
    }
    lines.sort();
    lines
}

pub(crate) fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// The output of a command that must have succeeded.
#[track_caller]
pub(crate) fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}\n{text}\n{errors}",
        output.status
    );
    text
}

/// What a command that must have failed said.
#[track_caller]
pub(crate) fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A process that is killed when the test ends.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Process {
    pub(crate) fn start(words: &[&str]) -> Self {
        let child = Command::new(program())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// A coordinator on a directory; returns its address.
    pub(crate) fn coordinator(listen: &str, store: &Path) -> (Self, String) {
        let mut child = Command::new(program())
            .args(["coordinator", "--listen", listen, "--store"])
            .arg(store)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("ready ").unwrap().to_owned();
        (Self(child), address)
    }

    pub(crate) fn worker(coordinator: &str, dir: &Path) -> Self {
        let dir = dir.to_string_lossy();
        Self::start(&[
            "worker",
            "--coordinator",
            coordinator,
            "--slots",
            "1",
            "--dir",
            &dir,
        ])
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }
}

/// Waits until something holds; a bound, not an expectation of speed.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{what}: not within 60 s"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
