//! The picture of a job: a row for each worker's slot, a bar for each attempt.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use mapreduce_core::{AttemptId, Event, How, Purpose, Stage, TaskId, WorkerId};

use crate::coordinator::history::{self, Entry, What};
use crate::error::{Context as _, Error};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 150.0;
const ROW: f64 = 22.0;
const TOP: f64 = 60.0;
/// More bars than this would be a picture that nobody can open.
const BARS_MAX: usize = 20_000;

struct Bar {
    task: TaskId,
    attempt: AttemptId,
    worker: WorkerId,
    purpose: Purpose,
    start: u64,
    end: u64,
    how: Option<How>,
}

/// Draws `timeline.svg` beside a history.
pub(crate) fn draw(history: &Path) -> Result<(), Error> {
    let entries = history::read(history).context(format!("cannot read {}", history.display()))?;
    let svg = render(&entries);
    let path = history.with_file_name("timeline.svg");
    std::fs::write(&path, svg).context(format!("cannot write {}", path.display()))
}

fn bars(entries: &[Entry], end: u64) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    let mut open: BTreeMap<AttemptId, usize> = BTreeMap::new();
    for entry in entries {
        match &entry.what {
            What::Event(Event::Started {
                attempt,
                task,
                worker,
                purpose,
                // A coordinator that takes over names those that run once more.
            }) if bars.len() < BARS_MAX && !open.contains_key(attempt) => {
                open.insert(*attempt, bars.len());
                bars.push(Bar {
                    task: *task,
                    attempt: *attempt,
                    worker: *worker,
                    purpose: *purpose,
                    start: entry.at,
                    end,
                    how: None,
                });
            }
            What::Event(Event::Done { attempt, how, .. }) => {
                if let Some(bar) = open.get(attempt).and_then(|at| bars.get_mut(*at))
                    && bar.how.is_none()
                {
                    bar.end = entry.at;
                    bar.how = Some(how.clone());
                }
            }
            _ => {}
        }
    }
    bars
}

fn colour(bar: &Bar) -> &'static str {
    match (&bar.how, bar.task.stage, bar.purpose) {
        (Some(How::Failed(_) | How::Audited { same: false }), _, _) => "#d62728",
        (None | Some(How::Beaten), _, _) => "#bbbbbb",
        (_, _, Purpose::Audit) => "#9467bd",
        (_, Stage::Map, _) => "#1f77b4",
        (_, Stage::Reduce, _) => "#2ca02c",
    }
}

fn words(bar: &Bar) -> String {
    let how = match &bar.how {
        None => "did not end".to_owned(),
        Some(How::Won) => "done".to_owned(),
        Some(How::Beaten) => "not needed any more".to_owned(),
        Some(How::Audited { same: true }) => "audited, the same".to_owned(),
        Some(How::Audited { same: false }) => "audited, different".to_owned(),
        Some(How::Failed(failure)) => format!("failed: {failure}"),
    };
    let purpose = match bar.purpose {
        Purpose::Regular => "",
        Purpose::Backup => ", backup",
        Purpose::Audit => ", audit",
    };
    let millis = bar.end.saturating_sub(bar.start);
    format!("{} {}{purpose}, {millis} ms: {how}", bar.task, bar.attempt)
}

/// Puts each worker's bars into as few rows as don't overlap.
fn rows(bars: &[Bar]) -> Vec<(WorkerId, Vec<usize>)> {
    let mut by_worker: BTreeMap<WorkerId, Vec<(u64, Vec<usize>)>> = BTreeMap::new();
    for (at, bar) in bars.iter().enumerate() {
        let rows = by_worker.entry(bar.worker).or_default();
        match rows.iter_mut().find(|(end, _)| *end <= bar.start) {
            Some((end, row)) => {
                *end = bar.end;
                row.push(at);
            }
            None => rows.push((bar.end, vec![at])),
        }
    }
    let flat = by_worker
        .into_iter()
        .flat_map(|(worker, rows)| rows.into_iter().map(move |(_, row)| (worker, row)));
    flat.collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn render(entries: &[Entry]) -> String {
    let start = entries.first().map_or(0, |entry| entry.at);
    let end = entries
        .last()
        .map_or(start, |entry| entry.at)
        .max(start + 1);
    let bars = bars(entries, end);
    let rows = rows(&bars);
    let names: BTreeMap<&str, &str> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Named(worker, name) => Some((worker.as_str(), name.as_str())),
            _ => None,
        })
        .collect();
    let scale = (WIDTH - LEFT - 20.0) / (end - start) as f64;
    let height = TOP + ROW * rows.len() as f64 + 20.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let seconds = (end - start) as f64 / 1000.0;
    put(
        &mut svg,
        format_args!(
            "<text x=\"10\" y=\"18\" font-size=\"13\">{} attempts, {seconds:.2} s</text>\n\
         <text x=\"10\" y=\"34\">blue: map, green: reduce, purple: audit, grey: not needed, red: failed, outlined: backup</text>\n",
            bars.len()
        ),
    );
    draw_grid(&mut svg, height, seconds);
    for (at, (worker, row)) in rows.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        let id = worker.to_string();
        let name = escape(names.get(id.as_str()).copied().unwrap_or(&id));
        put(
            &mut svg,
            format_args!("<text x=\"10\" y=\"{:.1}\">{name}</text>\n", y + 15.0),
        );
        for bar in row.iter().filter_map(|at| bars.get(*at)) {
            let x = LEFT + bar.start.saturating_sub(start) as f64 * scale;
            let width = (bar.end.saturating_sub(bar.start) as f64 * scale).max(1.0);
            let stroke = if bar.purpose == Purpose::Backup {
                " stroke=\"black\""
            } else {
                ""
            };
            put(
                &mut svg,
                format_args!(
                    "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"{stroke}>\
                 <title>{}</title></rect>\n",
                    y + 2.0,
                    ROW - 4.0,
                    colour(bar),
                    escape(&words(bar))
                ),
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_grid(svg: &mut String, height: f64, seconds: f64) {
    for tenth in 0..=10_u32 {
        let part = f64::from(tenth) / 10.0;
        let x = LEFT + part * (WIDTH - LEFT - 20.0);
        put(
            svg,
            format_args!(
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{height}\" stroke=\"#eeeeee\"/>\
             <text x=\"{x:.1}\" y=\"52\" fill=\"#666666\">{:.2}</text>\n",
                seconds * part
            ),
        );
    }
}

fn put(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _infallible = svg.write_fmt(text);
}
