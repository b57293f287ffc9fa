//! Checks on `Cargo.toml` files: one place for every version, the same keys everywhere.

use crate::tidy::{Report, Tree};

/// Keys that every member takes from the workspace.
const INHERITED: &[&str] = &["version", "edition", "rust-version", "license", "publish"];
/// The pure crates: what may be simulated must not read a clock.
pub(crate) const CORES: &[&str] = &[
    "kv-core",
    "lsp-core",
    "mapreduce-core",
    "mapreduce-sim",
    "miner-core",
    "raft",
    "raft-sim",
    "resp",
    "sim",
    "stdx",
];

pub(crate) fn check(tree: &Tree, report: &mut Report) {
    for file in &tree.files {
        let Some(directory) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        if directory == "xtask" || directory.starts_with("crates/") {
            let name = directory.trim_start_matches("crates/");
            check_member(name, &file.path, file.text(), report);
        }
    }
}

fn check_member(name: &str, path: &str, text: &str, report: &mut Report) {
    let manifest = match text.parse::<toml::Table>() {
        Ok(manifest) => manifest,
        Err(error) => return report.add(path, 0, format!("is not TOML: {}", error.message())),
    };
    let package = manifest.get("package").and_then(toml::Value::as_table);
    let Some(package) = package else {
        return report.add(path, 0, "has no [package]");
    };
    if package.get("name").and_then(toml::Value::as_str) != Some(name) {
        report.add(
            path,
            0,
            format!("the package must be named like its directory, {name}"),
        );
    }
    if package
        .get("description")
        .and_then(toml::Value::as_str)
        .is_none_or(str::is_empty)
    {
        report.add(path, 0, "has no description: say in one line what it is");
    }
    let inherits = |value: Option<&toml::Value>| {
        let inherited = value
            .and_then(toml::Value::as_table)
            .and_then(|t| t.get("workspace"));
        inherited.and_then(toml::Value::as_bool) == Some(true)
    };
    for key in INHERITED {
        if !inherits(package.get(*key)) {
            report.add(
                path,
                0,
                format!("`{key}` must be inherited: {key}.workspace = true"),
            );
        }
    }
    if manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"))
        .is_none()
    {
        report.add(path, 0, "must inherit the lints: [lints] workspace = true");
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let found = manifest.get(section).and_then(toml::Value::as_table);
        for (dependency, value) in found.into_iter().flatten() {
            if !inherits(Some(value)) {
                let text = format!("`{dependency}`: versions live in the root: .workspace = true");
                report.add(path, 0, text);
            }
        }
    }
}

/// Clippy takes the nearest `clippy.toml` and merges nothing, so the cores carry copies of
/// one file; a copy that drifts would let a clock into a core.
pub(crate) fn check_core_lints(tree: &Tree, report: &mut Report) {
    let first = tree
        .get(&format!("crates/{}/clippy.toml", CORES[0]))
        .map_or("", |file| file.text());
    for name in CORES {
        let path = format!("crates/{name}/clippy.toml");
        match tree.get(&path) {
            None if tree.crates().contains(name) => {
                report.add(&path, 0, "a core without clippy.toml: copy another core's");
            }
            Some(file) if file.text() != first => {
                let text = format!(
                    "differs from crates/{}/clippy.toml: they are copies",
                    CORES[0]
                );
                report.add(&path, 0, text);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [package]
        name = "a"
        description = "An example"
        version.workspace = true
        edition.workspace = true
        rust-version.workspace = true
        license.workspace = true
        publish.workspace = true
        [dependencies]
        bytes.workspace = true
        [lints]
        workspace = true
    "#;

    fn run(path: &str, text: &str) -> Vec<String> {
        let mut report = Report::default();
        check(&Tree::of(&[(path, text)]), &mut report);
        report.lines()
    }

    #[test]
    fn a_manifest_in_order_passes() {
        assert_eq!(run("crates/a/Cargo.toml", GOOD), [""; 0]);
    }

    #[test]
    fn each_kind_of_disorder_is_found() {
        let broken = [
            ("name = \"a\"", "name = \"b\"", "named like its directory"),
            (
                "edition.workspace = true",
                "edition = \"2021\"",
                "`edition` must be inherited",
            ),
            (
                "bytes.workspace = true",
                "bytes = \"1\"",
                "`bytes`: versions live in the root",
            ),
            ("[lints]", "[other]", "must inherit the lints"),
            ("An example", "", "has no description"),
            ("[package]", "[package", "is not TOML"),
        ];
        for (from, to, expected) in broken {
            let lines = run("crates/a/Cargo.toml", &GOOD.replace(from, to));
            assert_eq!(lines.len(), 1, "{to}: {lines:?}");
            assert!(lines[0].contains(expected), "{to}: {lines:?}");
        }
    }

    #[test]
    fn the_cores_share_one_clippy_toml() {
        let mut report = Report::default();
        let tree = Tree::of(&[
            ("crates/kv-core/clippy.toml", "x = 1"),
            ("crates/raft/clippy.toml", "x = 2"),
            ("crates/sim/Cargo.toml", ""),
        ]);
        check_core_lints(&tree, &mut report);
        assert_eq!(
            report.lines(),
            [
                "crates/raft/clippy.toml:0: differs from crates/kv-core/clippy.toml: they are copies",
                "crates/sim/clippy.toml:0: a core without clippy.toml: copy another core's",
            ]
        );
    }
}
