//! Tables: to the terminal, to docs/benchmarks.md, and as JSON under target/bench.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{bench, sh};

/// A comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) kontiki: Option<f64>,
    pub(crate) peer: Option<f64>,
    pub(crate) peer_name: String,
    pub(crate) unit: String,
    /// Kontiki divided by the peer.
    pub(crate) ratio: Option<f64>,
    /// What the ratio, or the figure itself, should be.
    pub(crate) aim: String,
    pub(crate) met: Option<bool>,
}

impl Row {
    /// A row whose aim is a ratio of at least `aim`.
    pub(crate) fn at_least(
        what: &str,
        pair: (Option<f64>, Option<f64>),
        peer: &str,
        aim: f64,
    ) -> Self {
        let ratio = ratio(pair);
        Self {
            what: what.to_owned(),
            kontiki: pair.0,
            peer: pair.1,
            peer_name: peer.to_owned(),
            unit: "1/s".to_owned(),
            ratio,
            aim: format!(">= {aim:.1} x"),
            met: ratio.map(|ratio| ratio >= aim),
        }
    }

    /// A row whose aim is to be no more than the peer; without a peer it is only reported.
    pub(crate) fn at_most(
        what: &str,
        pair: (Option<f64>, Option<f64>),
        peer: &str,
        unit: &str,
    ) -> Self {
        let ratio = ratio(pair);
        Self {
            unit: unit.to_owned(),
            aim: "<= 1.0 x".to_owned(),
            met: ratio.map(|ratio| ratio <= 1.0),
            ..Self::at_least(what, pair, peer, 1.0)
        }
    }

    /// A row that is only reported.
    pub(crate) fn reported(mut self) -> Self {
        self.aim.clear();
        self.met = None;
        self
    }
}

/// The result of a benchmark.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Also the name of the JSON file.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// How it was measured, in whole sentences.
    pub(crate) method: String,
    pub(crate) rows: Vec<Row>,
    pub(crate) command: String,
}

impl Table {
    /// The section of docs/benchmarks.md.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n\n", self.title, self.method);
        text.push_str("| what | Kontiki | peer | | unit | ratio | aim | |\n");
        text.push_str("| --- | ---: | ---: | --- | --- | ---: | --- | --- |\n");
        for row in &self.rows {
            let met = row.met.map_or("", |met| if met { "met" } else { "missed" });
            let ratio = row
                .ratio
                .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
            let (kontiki, peer) = (number(row.kontiki), number(row.peer));
            let Row {
                what,
                peer_name,
                unit,
                aim,
                ..
            } = row;
            writeln!(
                text,
                "| {what} | {kontiki} | {peer} | {peer_name} | {unit} | {ratio} | {aim} | {met} |"
            )
            .expect("writing to a string cannot fail");
        }
        write!(text, "\nCommand: `{}`. {}\n", self.command, circumstances())
            .expect("writing to a string cannot fail");
        text
    }

    /// Writes the JSON, and unless `dry` the section in docs/benchmarks.md.
    pub(crate) fn save(&self, dry: bool) -> Result<()> {
        let path = bench::directory()?.join(format!("{}.json", self.name));
        fs::write(&path, serde_json::to_string_pretty(&self.rows)? + "\n")?;
        println!("written: {}", path.display());
        if dry {
            return Ok(());
        }
        let path = sh::root().join("docs/benchmarks.md");
        let old = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
        let new = replace_section(&old, self.title, &self.markdown());
        fs::write(&path, new).with_context(|| path.display().to_string())?;
        println!("written: {}", path.display());
        Ok(())
    }
}

const HEAD: &str = "# Benchmarks\n\n\
Kontiki beside what one would use instead, on the same machine, in one run. The tables are\n\
written by `cargo xtask bench`. Only one system runs at a time, each on a fresh directory on\n\
the same disk; rounds are interleaved and the figures are medians.\n\n";

/// Puts a section in the place of the one with the same title, or at the end.
fn replace_section(document: &str, title: &str, section: &str) -> String {
    let heading = format!("## {title}\n");
    let Some(start) = document.find(&heading) else {
        return format!("{}\n\n{section}", document.trim_end());
    };
    let rest = &document[start + heading.len()..];
    let end = rest
        .find("\n## ")
        .map_or(document.len(), |at| start + heading.len() + at + 1);
    let mut text = document[..start].to_owned();
    text.push_str(section);
    if end < document.len() {
        text.push('\n');
        text.push_str(&document[end..]);
    }
    text
}

/// Kontiki divided by the peer; nothing where the peer needed none at all.
fn ratio((kontiki, peer): (Option<f64>, Option<f64>)) -> Option<f64> {
    let peer = peer.filter(|peer| *peer > 0.0)?;
    Some(kontiki? / peer)
}

/// Digits that mean something: 412,345 but 3.21.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    if value < 1000.0 {
        return if value < 100.0 {
            format!("{value:.2}")
        } else {
            format!("{value:.0}")
        };
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// When and where, as far as it matters to the figures.
fn circumstances() -> String {
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program)
            .args(args)
            .current_dir(sh::root())
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let date = output("date", &["+%Y-%m-%d %H:%M"]).unwrap_or_default();
    let commit = output("git", &["describe", "--always", "--dirty"]).unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split_whitespace().take(3).collect();
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse::<u64>().ok());
    let gigabytes = kib.unwrap_or(0) >> 20;
    format!(
        "Machine: {processors} cores, {gigabytes} GiB, shared with other work; \
         commit {commit}, {date}; load average at the end {}.",
        load.join(" ")
    )
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_in_its_place() {
        let document = "# T\n\n## A\n\nold\n\n## B\n\nkept\n";
        let text = replace_section(document, "A", "## A\n\nnew\n");
        assert_eq!(text, "# T\n\n## A\n\nnew\n\n## B\n\nkept\n");
        let text = replace_section(&text, "B", "## B\n\nnewer\n");
        assert_eq!(text, "# T\n\n## A\n\nnew\n\n## B\n\nnewer\n");
        let text = replace_section(&text, "C", "## C\n");
        assert_eq!(text, "# T\n\n## A\n\nnew\n\n## B\n\nnewer\n\n## C\n");
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(Some(1_234_567.8)), "1,234,568");
        assert_eq!(number(Some(999.6)), "1000");
        assert_eq!(number(Some(3.214)), "3.21");
        assert_eq!(number(None), "-");
    }

    #[test]
    fn aims_are_judged() {
        let row = Row::at_least("sets", (Some(50.0), Some(100.0)), "Redis", 0.5);
        assert_eq!((row.ratio, row.met), (Some(0.5), Some(true)));
        let row = Row::at_most("memory", (Some(101.0), Some(100.0)), "etcd", "MB");
        assert_eq!(row.met, Some(false));
        assert_eq!(
            Row::at_least("x", (Some(1.0), None), "etcd", 10.0).met,
            None
        );
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
