//! What happened, as fixed-width lines, and a running hash of it.

use std::collections::VecDeque;

use stdx::{Instant, NodeId};

/// How many of the trace's lines are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recording {
    /// None: only the hash is computed, which costs next to nothing.
    Off,
    /// The last so many.
    Last(usize),
}

/// A record of a run.
///
/// The hash covers every event's time, node, code and words whether or not lines are
/// kept, so a run can be made without recording and repeated with it when it failed.
///
/// A line is `   12.345678 n3    append  t4 i17..19`: world's time in seconds (12
/// columns), node (5), code (9), detail. The legend of codes is in
/// `docs/internals/simulation.md`.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    recording: Recording,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub const fn new(recording: Recording) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            recording,
            lines: VecDeque::new(),
        }
    }

    /// Records one event. `detail` is called only if lines are kept; whatever it prints
    /// must follow from `words`, or the hash doesn't cover it.
    pub fn event(
        &mut self,
        at: Instant,
        node: NodeId,
        code: &'static str,
        words: &[u64],
        detail: impl FnOnce() -> String,
    ) {
        self.events += 1;
        self.mix(at.as_nanos());
        self.mix(node.get());
        for byte in code.bytes() {
            self.mix(u64::from(byte));
        }
        for &word in words {
            self.mix(word);
        }
        if let Recording::Last(count) = self.recording {
            if self.lines.len() == count {
                self.lines.pop_front();
            }
            let nanos = at.as_nanos();
            let seconds = nanos / 1_000_000_000;
            let micros = nanos % 1_000_000_000 / 1_000;
            let node = if node == NodeId::ZERO {
                "-".to_owned()
            } else {
                node.to_string()
            };
            let line = format!("{seconds:>5}.{micros:06} {node:<4} {code:<8} {}", detail());
            self.lines.push_back(line);
        }
    }

    /// The hash of everything recorded so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events were recorded.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The kept lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// FNV-1a, a word at a time, with a final shift so that high bits reach low ones.
    const fn mix(&mut self, word: u64) {
        let hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.hash = hash ^ (hash >> 29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(recording: Recording, last_word: u64) -> Trace {
        let mut trace = Trace::new(recording);
        for word in [1, 2, last_word] {
            trace.event(
                Instant::from_nanos(word * 1_500_000_000),
                NodeId::new(3),
                "vote",
                &[word],
                || format!("t{word}"),
            );
        }
        trace
    }

    #[test]
    fn the_hash_covers_the_words_and_not_the_recording() {
        let silent = run(Recording::Off, 3);
        let recorded = run(Recording::Last(2), 3);
        assert_eq!(silent.hash(), recorded.hash());
        assert_ne!(silent.hash(), run(Recording::Off, 4).hash());
        assert_eq!(silent.lines().count(), 0);
    }

    #[test]
    fn lines_have_fixed_columns() {
        let lines: Vec<String> = run(Recording::Last(2), 3).lines().map(Into::into).collect();
        assert_eq!(
            lines,
            [
                "    3.000000 n3   vote     t2",
                "    4.500000 n3   vote     t3"
            ]
        );
    }
}
