//! Checks on documents: one title, links that lead somewhere, every crate on the map.

use std::path::{Component, Path, PathBuf};

use crate::tidy::{Report, Tree};

pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for file in tree.files.iter().filter(|file| file.is("md")) {
        let prose = prose_lines(file.text());
        let titles: Vec<usize> = prose
            .iter()
            .filter(|(_, line)| line.starts_with("# "))
            .map(|(at, _)| *at)
            .collect();
        if titles.first() != Some(&1) {
            report.add(&file.path, 1, "must start with its title: `# Title`");
        }
        for &line in titles.iter().skip(1) {
            report.add(&file.path, line, "a second title: use `##`");
        }
        for (number, line) in prose {
            for target in link_targets(line) {
                check_link(tree, &file.path, number, target, report);
            }
        }
    }
}

/// The lines outside fenced code, numbered from 1.
fn prose_lines(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((at + 1, line));
        }
    }
    lines
}

/// The targets of `[text](target)` in a line.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

fn check_link(tree: &Tree, path: &str, line: usize, target: &str, report: &mut Report) {
    if target.contains("utm_") {
        report.add(path, line, "a link with tracking parameters: cut them");
    }
    let file = target.split('#').next().unwrap_or(target);
    if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return;
    }
    let base = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
    let resolved = normal(&base.join(file));
    let found = tree
        .files
        .iter()
        .any(|f| Path::new(&f.path).starts_with(&resolved));
    if !found {
        report.add(path, line, format!("the link to `{target}` leads nowhere"));
    }
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::Normal(part) => normal.push(part),
            _ => {}
        }
    }
    normal
}

/// ARCHITECTURE.md has a paragraph for every crate.
pub(crate) fn check_architecture(tree: &Tree, report: &mut Report) {
    const MAP: &str = "ARCHITECTURE.md";
    let Some(map) = tree.get(MAP) else {
        return report.add(MAP, 0, "is missing");
    };
    for name in tree.crates() {
        if !map.text().contains(&format!("`{name}`")) {
            report.add(
                MAP,
                0,
                format!("does not mention the crate `{name}`: add a paragraph"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(check: fn(&Tree, &mut Report), files: &[(&str, &str)]) -> Vec<String> {
        let mut report = Report::default();
        check(&Tree::of(files), &mut report);
        report.lines()
    }

    #[test]
    fn a_document_has_one_title_on_its_first_line() {
        assert_eq!(
            run(check, &[("a.md", "# A\n\n```sh\n# a comment\n```\n")]),
            [""; 0]
        );
        assert_eq!(
            run(check, &[("a.md", "A\n# B\n")]),
            ["a.md:1: must start with its title: `# Title`"]
        );
        assert_eq!(
            run(check, &[("a.md", "# A\n# B\n")]),
            ["a.md:2: a second title: use `##`"]
        );
    }

    #[test]
    fn relative_links_lead_somewhere() {
        let text =
            "# A\n[b](../b.md#part) [c](c/) [web](https://example.org) [here](#a) [no](no.md)";
        let files = [("docs/a.md", text), ("b.md", "# B"), ("docs/c/d.txt", "")];
        assert_eq!(
            run(check, &files),
            ["docs/a.md:2: the link to `no.md` leads nowhere"]
        );
    }

    #[test]
    fn every_crate_is_on_the_map() {
        let files = [
            ("ARCHITECTURE.md", "# Architecture\n`a` is here\n"),
            ("crates/a/Cargo.toml", ""),
            ("crates/b/Cargo.toml", ""),
        ];
        assert_eq!(
            run(check_architecture, &files),
            ["ARCHITECTURE.md:0: does not mention the crate `b`: add a paragraph"]
        );
    }
}
