//! A bar on stderr: how far, how fast, how long still. Lines, where nobody watches.

use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    /// When how much was done first.
    first: Option<(Instant, u64)>,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self {
            bar: ProgressBar::new(0),
            first: None,
        }
    }

    /// Shows that `done` of `total` nonces are done.
    ///
    /// The rate is that since the first report, not since the job began: a job that was taken
    /// up again had no workers in between.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        let (start, before) = *self.first.get_or_insert_with(|| (Instant::now(), done));
        let seconds = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let (new, left) = (
            done.saturating_sub(before) as f64,
            total.saturating_sub(done) as f64,
        );
        let mut message = String::from("waiting for workers");
        if new > 0.0 && seconds > 0.0 {
            let rate = new / seconds;
            message = format!("{:.1} million/s, {:.0} s left", rate / 1e6, left / rate);
        }
        if !std::io::stderr().is_terminal() {
            eprintln!("{done} of {total}, {message}");
            return;
        }
        let style = ProgressStyle::with_template("{bar:40} {percent:>3}% {msg}");
        if let Ok(style) = style {
            self.bar.set_style(style);
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.bar.set_message(message);
    }

    pub(super) fn end(self) {
        self.bar.finish_and_clear();
    }
}
