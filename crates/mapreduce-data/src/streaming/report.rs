//! What a program says on standard error.

use crate::limits;

/// A line of standard error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Report<'a> {
    /// `reporter:counter:GROUP,NAME,AMOUNT`
    Counter {
        group: &'a str,
        name: &'a str,
        amount: i64,
    },
    /// `reporter:status:TEXT`
    Status(&'a str),
    /// Anything else, also what only looks like a report.
    Text,
}

/// Reads a line without its end.
pub(crate) fn parse(line: &[u8]) -> Report<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(report) = line.strip_prefix(b"reporter:") else {
        return Report::Text;
    };
    let Ok(report) = core::str::from_utf8(report) else {
        return Report::Text;
    };
    if let Some(text) = report.strip_prefix("status:") {
        return Report::Status(text);
    }
    let counter = report.strip_prefix("counter:").and_then(|counter| {
        let (group, rest) = counter.split_once(',')?;
        let (name, amount) = rest.rsplit_once(',')?;
        let amount = amount.trim().parse().ok()?;
        Some(Report::Counter {
            group,
            name,
            amount,
        })
    });
    counter.unwrap_or(Report::Text)
}

/// Standard error as it comes: whole lines are read, the last of the text is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    partial: Vec<u8>,
    tail: Vec<u8>,
}

impl Errors {
    /// Takes what came; `take` gets each whole line's report.
    pub(crate) fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(Report<'_>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            let too_long = self.partial.len() > limits::STDERR_TAIL_BYTES;
            if piece.last() == Some(&b'\n') || too_long {
                self.end_line(take);
            }
        }
    }

    /// Takes the last line, which had no end.
    pub(crate) fn finish(&mut self, take: &mut dyn FnMut(Report<'_>)) {
        if !self.partial.is_empty() {
            self.end_line(take);
        }
    }

    fn end_line(&mut self, take: &mut dyn FnMut(Report<'_>)) {
        let line = self.partial.strip_suffix(b"\n").unwrap_or(&self.partial);
        match parse(line) {
            Report::Text => {
                self.tail.extend_from_slice(&self.partial);
                if self.tail.len() > 2 * limits::STDERR_TAIL_BYTES {
                    self.tail
                        .drain(..self.tail.len() - limits::STDERR_TAIL_BYTES);
                }
            }
            report => take(report),
        }
        self.partial.clear();
    }

    /// The end of the text that was no report.
    pub(crate) fn tail(&self) -> String {
        let start = self.tail.len().saturating_sub(limits::STDERR_TAIL_BYTES);
        String::from_utf8_lossy(&self.tail[start..])
            .trim_end()
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let counter = |group, name, amount| Report::Counter {
            group,
            name,
            amount,
        };
        assert_eq!(parse(b"reporter:counter:g,n,5"), counter("g", "n", 5));
        assert_eq!(
            parse(b"reporter:counter:g,a,b,-1\r"),
            counter("g", "a,b", -1)
        );
        assert_eq!(
            parse(b"reporter:status:half: done"),
            Report::Status("half: done")
        );
        for text in [
            &b"reporter:counter:g,5"[..],
            b"reporter:counter:g,n,x",
            b"hello",
            b"",
        ] {
            assert_eq!(parse(text), Report::Text);
        }
    }

    #[test]
    fn the_end_of_the_text_is_kept_however_it_comes() {
        let text = "a traceback\nreporter:counter:g,n,1\n".repeat(2_000) + "the end";
        let mut errors = Errors::default();
        let mut counters = 0;
        for piece in text.as_bytes().chunks(7) {
            errors.push(piece, &mut |_| counters += 1);
        }
        errors.finish(&mut |_| counters += 1);
        assert_eq!(counters, 2_000);
        let tail = errors.tail();
        assert!(tail.ends_with("a traceback\nthe end") && !tail.contains("reporter"));
        assert!(tail.len() <= limits::STDERR_TAIL_BYTES);
    }
}
