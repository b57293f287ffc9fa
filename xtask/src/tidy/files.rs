//! Checks on files as files: size, permission, and no traces of one person's machine.

use crate::tidy::{Report, Tree};

/// A repository is for sources; data this large belongs elsewhere.
const FILE_BYTES_MAX: u64 = 512 << 10;

pub(crate) fn check_sizes(tree: &Tree, report: &mut Report) {
    for file in tree.files.iter().filter(|file| file.bytes > FILE_BYTES_MAX) {
        let text = format!(
            "{} bytes; the limit is {FILE_BYTES_MAX}: generate it",
            file.bytes
        );
        report.add(&file.path, 0, text);
    }
}

pub(crate) fn check_executables(tree: &Tree, report: &mut Report) {
    for file in &tree.files {
        if file.executable && !file.text().starts_with("#!") {
            report.add(&file.path, 0, "is executable but no script: chmod -x");
        }
    }
}

/// Paths outside the repository: they mean nothing on the reader's machine.
pub(crate) fn check_places(tree: &Tree, report: &mut Report) {
    // Written in pieces, or this file would be a finding.
    let places =
        ["/wo,rk/", "/ho,me/", "/ro,ot/", "/Us,ers/", "../sh,ared"].map(|p| p.replace(',', ""));
    for file in &tree.files {
        for (number, line) in file.text().lines().enumerate() {
            for place in &places {
                let Some(at) = line.find(place.as_str()) else {
                    continue;
                };
                // `net/work/` is a path of ours; ` /work/` starts at the root of a machine.
                let before = line[..at].chars().next_back();
                if !before
                    .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
                {
                    let text = format!("`{place}` is a place on one machine: use a relative path");
                    report.add(&file.path, number + 1, text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(check: fn(&Tree, &mut Report), tree: &Tree) -> Vec<String> {
        let mut report = Report::default();
        check(tree, &mut report);
        report.lines()
    }

    #[test]
    fn large_files_are_found() {
        let mut tree = Tree::of(&[("a.bin", ""), ("b.bin", "")]);
        tree.files[1].bytes = FILE_BYTES_MAX + 1;
        let lines = run(check_sizes, &tree);
        assert_eq!(
            lines,
            ["b.bin:0: 524289 bytes; the limit is 524288: generate it"]
        );
    }

    #[test]
    fn only_scripts_are_executable() {
        let mut tree = Tree::of(&[
            ("run", "#!/bin/sh\n"),
            ("a.rs", "fn main() {}"),
            ("b.rs", ""),
        ]);
        tree.files[0].executable = true;
        tree.files[1].executable = true;
        assert_eq!(
            run(check_executables, &tree),
            ["a.rs:0: is executable but no script: chmod -x"]
        );
    }

    #[test]
    fn places_on_one_machine_are_found() {
        let place = ["see /wo", "rk/notes"].concat();
        let tree = Tree::of(&[("a.md", &place), ("b.md", "crates/net/work/x is ours")]);
        let lines = run(check_places, &tree);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("a.md:1: "), "{lines:?}");
    }
}
