//! How a running job looks: bars on a terminal, now and then a line elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use mapreduce_core::{StageView, View};

use crate::spec::Status;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// Parts of a task on a bar.
const PARTS: f64 = 1000.0;

/// Where progress is shown.
#[derive(Debug)]
pub(crate) enum Display {
    Bars {
        maps: ProgressBar,
        reduces: ProgressBar,
        _all: MultiProgress,
    },
    Lines {
        last: Instant,
        text: String,
    },
}

impl Display {
    pub(crate) fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                last: Instant::now(),
                text: String::new(),
            };
        }
        let all = MultiProgress::new();
        let bar = |name: &'static str| {
            let template = "{prefix:>7} {bar:32} {percent:>3}% {msg} {elapsed_precise} left {eta}";
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            all.add(ProgressBar::new(0).with_style(style).with_prefix(name))
        };
        let (maps, reduces) = (bar("map"), bar("reduce"));
        Self::Bars {
            maps,
            reduces,
            _all: all,
        }
    }

    pub(crate) fn show(&mut self, status: &Status) {
        let Some(view) = &status.view else {
            return;
        };
        match self {
            Self::Bars { maps, reduces, .. } => {
                let bytes = HumanBytes(part(status.input_bytes, &view.maps));
                set(maps, &view.maps, &format!("{bytes},"));
                set(reduces, &view.reduces, "");
            }
            Self::Lines { last, text } => {
                let now = line(status, view);
                if last.elapsed() >= LINE_EVERY && now != *text {
                    eprintln!("{now}");
                    *last = Instant::now();
                    *text = now;
                }
            }
        }
    }

    pub(crate) fn finish(&self) {
        if let Self::Bars { maps, reduces, .. } = self {
            maps.finish_and_clear();
            reduces.finish_and_clear();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position on a bar"
)]
fn set(bar: &ProgressBar, view: &StageView, more: &str) {
    bar.set_length(u64::from(view.total) * PARTS as u64);
    bar.set_position((view.progress * PARTS) as u64);
    bar.set_message(format!(
        "{}/{} tasks, {} running, {more}",
        view.done, view.total, view.running
    ));
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "for people"
)]
fn part(bytes: u64, view: &StageView) -> u64 {
    (bytes as f64 * view.progress / f64::from(view.total.max(1))) as u64
}

fn line(status: &Status, view: &View) -> String {
    let workers = view.workers.iter().filter(|w| w.state != "lost").count();
    format!(
        "{}: map {}/{} reduce {}/{}, {} attempts on {workers} workers, {} failed, {:.1} s",
        status.summary.id,
        view.maps.done,
        view.maps.total,
        view.reduces.done,
        view.reduces.total,
        view.attempts.len(),
        view.failures,
        status.elapsed.as_secs_f64()
    )
}
