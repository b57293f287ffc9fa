//! Repository checks: what should hold everywhere and no compiler looks at.
//!
//! A check reads the [`Tree`] and reports findings as `path:line: what is wrong, what to do
//! instead`. Each check has a small test of its own; that the repository passes all of them
//! is a test too, so `cargo xtask test` covers it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::sh;

mod files;
mod layers;
mod manifests;
mod markdown;
mod sources;

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    "kontiki-data",
    "corpus",
    "artifacts",
    ".venv",
];
/// Larger files are looked at by size alone.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Something to mend.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Finding {
    path: String,
    /// Counted from 1; 0 when the whole file is meant.
    line: usize,
    text: String,
}

/// A file of the repository.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// From the root, with forward slashes.
    path: String,
    /// `None` when it is not UTF-8, or too large to be text.
    text: Option<String>,
    bytes: u64,
    executable: bool,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|found| found == extension)
    }

    fn text(&self) -> &str {
        self.text.as_deref().unwrap_or("")
    }
}

/// Every file of the repository.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: Vec<Source>,
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut directories = vec![root.to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in
                fs::read_dir(&directory).with_context(|| directory.display().to_string())?
            {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                    continue;
                } else if metadata.is_dir() {
                    directories.push(entry.path());
                } else if metadata.is_file() {
                    files.push(read_file(root, &entry.path(), &metadata)?);
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    fn get(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The directories right under `crates/`, sorted.
    fn crates(&self) -> Vec<&str> {
        let manifests = self.files.iter().filter_map(|file| {
            file.path
                .strip_prefix("crates/")
                .and_then(|path| path.strip_suffix("/Cargo.toml"))
        });
        manifests.filter(|name| !name.contains('/')).collect()
    }

    #[cfg(test)]
    fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| Source {
            path: (*path).to_owned(),
            text: Some((*text).to_owned()),
            bytes: text.len() as u64,
            executable: false,
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }
}

fn read_file(root: &Path, path: &Path, metadata: &fs::Metadata) -> Result<Source> {
    let short = path
        .strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/");
    let text = if metadata.len() > TEXT_BYTES_MAX {
        None
    } else {
        String::from_utf8(fs::read(path).with_context(|| short.clone())?).ok()
    };
    let executable = metadata.permissions().mode() & 0o111 != 0;
    Ok(Source {
        path: short,
        text,
        bytes: metadata.len(),
        executable,
    })
}

/// What a check reports to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, path: &str, line: usize, text: impl Into<String>) {
        self.findings.push(Finding {
            path: path.to_owned(),
            line,
            text: text.into(),
        });
    }

    #[cfg(test)]
    fn lines(&self) -> Vec<String> {
        self.findings
            .iter()
            .map(|f| format!("{}:{}: {}", f.path, f.line, f.text))
            .collect()
    }
}

const CHECKS: &[fn(&Tree, &mut Report)] = &[
    files::check_sizes,
    files::check_executables,
    files::check_places,
    layers::check,
    manifests::check,
    manifests::check_core_lints,
    markdown::check,
    markdown::check_architecture,
    sources::check_lengths,
    sources::check_words,
    sources::check_module_docs,
    sources::check_ascii,
];

fn check(tree: &Tree) -> Vec<Finding> {
    let mut report = Report::default();
    for check in CHECKS {
        check(tree, &mut report);
    }
    report.findings.sort();
    report.findings
}

/// Runs every check on the repository.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read(&sh::root())?;
    let findings = check(&tree);
    for Finding { path, line, text } in &findings {
        eprintln!("{path}:{line}: {text}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    println!("tidy: {} files are in order", tree.files.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let tree = Tree::read(&sh::root()).unwrap();
        assert!(tree.get("Cargo.toml").is_some(), "the root was found");
        let findings = check(&tree);
        assert!(findings.is_empty(), "{findings:#?}");
    }

    #[test]
    fn the_tree_skips_what_is_not_ours() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("target/debug")).unwrap();
        fs::create_dir_all(root.path().join("crates/a/src")).unwrap();
        fs::write(root.path().join("target/debug/junk"), "x").unwrap();
        fs::write(root.path().join("crates/a/Cargo.toml"), "x").unwrap();
        fs::write(root.path().join("crates/a/src/lib.rs"), [0xff]).unwrap();
        let tree = Tree::read(root.path()).unwrap();
        let paths: Vec<_> = tree
            .files
            .iter()
            .map(|f| (f.path.as_str(), f.text.is_some()))
            .collect();
        assert_eq!(
            paths,
            [
                ("crates/a/Cargo.toml", true),
                ("crates/a/src/lib.rs", false)
            ]
        );
        assert_eq!(tree.crates(), ["a"]);
    }
}
