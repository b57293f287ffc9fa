//! Checks on Rust sources: length, words, a first comment that says what the file is.

use crate::tidy::manifests::CORES;
use crate::tidy::{Report, Source, Tree};

/// A longer file holds more than one idea.
const CODE_LINES_MAX: usize = 700;
const TEST_LINES_MAX: usize = 1000;
/// Files that may be longer, each with its reason.
const LONG: &[(&str, &str)] = &[];
/// Shells whose every file must say what it is, as the cores must.
const DOCUMENTED: &[&str] = &["cli", "engine", "kv", "wal"];

/// Words that never land, and what to do about them. In pieces, so that this file passes.
fn banned() -> [(String, &'static str); 6] {
    [
        (["FIX", "ME"].concat(), "mend it, or write an issue"),
        (["XX", "X"].concat(), "mend it, or write an issue"),
        (
            ["HA", "CK"].concat(),
            "say why it is needed and when it can go",
        ),
        (["dbg", "!("].concat(), "use tracing, or a test"),
        (["util", "ize"].concat(), "use"),
        (["black", "list"].concat(), "deny-list"),
    ]
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.contains("/benches/")
}

/// The part before an inline test module.
fn code_lines(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or("");
        if line == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
            break;
        }
        count += 1;
    }
    count
}

fn rust(tree: &Tree) -> impl Iterator<Item = &Source> {
    tree.files.iter().filter(|file| file.is("rs"))
}

pub(crate) fn check_lengths(tree: &Tree, report: &mut Report) {
    for file in rust(tree).filter(|file| !LONG.iter().any(|(path, _)| *path == file.path)) {
        let (count, max) = if is_test(&file.path) {
            (file.text().lines().count(), TEST_LINES_MAX)
        } else {
            (code_lines(file.text()), CODE_LINES_MAX)
        };
        if count > max {
            let text = format!("{count} lines; the limit is {max}: split it by concern");
            report.add(&file.path, 0, text);
        }
    }
}

pub(crate) fn check_words(tree: &Tree, report: &mut Report) {
    let banned = banned();
    let todo = ["TO", "DO"].concat();
    for file in rust(tree).chain(tree.files.iter().filter(|file| file.is("md"))) {
        for (number, line) in file.text().lines().enumerate() {
            for (word, instead) in &banned {
                if line.contains(word.as_str()) {
                    report.add(&file.path, number + 1, format!("`{word}`: {instead}"));
                }
            }
            if line.contains(&todo) && !line.contains("when ") {
                let text = format!("`{todo}` without a condition: say when it becomes due");
                report.add(&file.path, number + 1, text);
            }
        }
    }
}

/// Every source file of a listed crate starts by saying what it is for.
pub(crate) fn check_module_docs(tree: &Tree, report: &mut Report) {
    for file in rust(tree).filter(|file| !is_test(&file.path)) {
        let listed = CORES.iter().chain(DOCUMENTED).any(|name| {
            file.path.strip_prefix("crates/").is_some_and(|path| {
                path.strip_prefix(name)
                    .is_some_and(|path| path.starts_with("/src/"))
            })
        });
        let first = file
            .text()
            .lines()
            .find(|line| !line.starts_with("// ") && !line.is_empty());
        if (listed || file.path.starts_with("xtask/"))
            && !first.is_some_and(|line| line.starts_with("//!"))
        {
            report.add(
                &file.path,
                1,
                "must start with `//!`: what is this file for?",
            );
        }
    }
}

pub(crate) fn check_ascii(tree: &Tree, report: &mut Report) {
    let sources = rust(tree).chain(
        tree.files
            .iter()
            .filter(|file| file.is("proto") || file.is("toml")),
    );
    for file in sources.filter(|file| !file.path.contains("/testdata/")) {
        for (number, line) in file.text().lines().enumerate() {
            if let Some(found) = line.chars().find(|c| !c.is_ascii()) {
                let text = format!("`{}` is not ASCII: write it so", found.escape_unicode());
                report.add(&file.path, number + 1, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(check: fn(&Tree, &mut Report), path: &str, text: &str) -> Vec<String> {
        let mut report = Report::default();
        check(&Tree::of(&[(path, text)]), &mut report);
        report.lines()
    }

    #[test]
    fn long_files_are_found_and_inline_tests_do_not_count() {
        let code = "fn f() {}\n".repeat(CODE_LINES_MAX);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(run(check_lengths, "crates/a/src/b.rs", &tests), [""; 0]);
        let lines = run(check_lengths, "crates/a/src/b.rs", &format!("{code}\n"));
        assert_eq!(
            lines,
            ["crates/a/src/b.rs:0: 701 lines; the limit is 700: split it by concern"]
        );
        assert_eq!(
            run(
                check_lengths,
                "crates/a/tests/it/b.rs",
                &format!("{code}\n")
            ),
            [""; 0]
        );
    }

    #[test]
    fn banned_words_are_found_with_their_line() {
        for (word, _) in banned() {
            let lines = run(check_words, "a.rs", &format!("fine\n// {word}\n"));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(lines[0].starts_with("a.rs:2: "), "{lines:?}");
        }
        let todo = ["TO", "DO"].concat();
        assert_eq!(
            run(check_words, "a.rs", &format!("// {todo} when shards merge")),
            [""; 0]
        );
        assert_eq!(
            run(check_words, "a.rs", &format!("// {todo} later")).len(),
            1
        );
    }

    #[test]
    fn a_file_without_a_first_comment_is_found() {
        assert_eq!(
            run(
                check_module_docs,
                "crates/raft/src/log.rs",
                "//! The log.\n"
            ),
            [""; 0]
        );
        assert_eq!(
            run(check_module_docs, "crates/raft/src/log.rs", "use a::b;\n").len(),
            1
        );
        assert_eq!(
            run(
                check_module_docs,
                "crates/raft/tests/it/log.rs",
                "use a::b;\n"
            ),
            [""; 0]
        );
    }

    #[test]
    fn sources_are_ascii() {
        assert_eq!(run(check_ascii, "a.rs", "let a = 'b';"), [""; 0]);
        assert_eq!(
            run(check_ascii, "a.rs", "// 5 \u{b5}s"),
            ["a.rs:1: `\\u{b5}` is not ASCII: write it so"]
        );
    }
}
