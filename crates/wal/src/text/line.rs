//! Lines of `logs.txt`.
//!
//! ```text
//! 7 3 set name1 Jaggu #0d3a1c77
//! 8 3 set name2 Raju #214:9be01f02
//! . 262
//! ```
//!
//! Index, term, kind, payload, and a checksum that a person can ignore. It covers the line and the
//! checksum of the line before. Where there is a number before the checksum, everything before that
//! byte of the file was durable when the line was written. The line with the dot says so for the
//! whole file; the next entry takes its place.

use std::borrow::Cow;

use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use stdx::{GroupId, LogIndex, Term};

use super::payload::{PayloadText, escape, unescape};
use crate::log::LogEntry;

/// Stands behind the last line when everything is durable. It is shorter than any line of an entry,
/// so that none of it is left when one takes its place.
pub(super) fn mark(end: u64) -> String {
    format!(". {end}\n")
}

/// What the first line of a group's file is chained to.
pub(super) fn first_link(group: GroupId) -> u32 {
    crc32c(&group.get().to_le_bytes())
}

/// Appends the line of an entry; answers its checksum.
///
/// `durable` is where the line begins, if all before that is known to be durable.
pub(super) fn write_line(
    out: &mut Vec<u8>,
    entry: &LogEntry,
    payloads: &dyn PayloadText,
    link: u32,
    durable: Option<u64>,
) -> u32 {
    let start = out.len();
    let (kind, payload) = fields(entry, payloads);
    out.extend_from_slice(format!("{} {} {kind}", entry.index.get(), entry.term.get()).as_bytes());
    if !payload.is_empty() {
        out.push(b' ');
        out.extend_from_slice(payload.as_bytes());
    }
    seal_line(out, start, link, durable)
}

/// Appends the checksum to a line that begins at `start`.
pub(super) fn seal_line(out: &mut Vec<u8>, start: usize, link: u32, durable: Option<u64>) -> u32 {
    out.extend_from_slice(b" #");
    if let Some(durable) = durable {
        out.extend_from_slice(format!("{durable}:").as_bytes());
    }
    let link = crc32c_append(link, &out[start..]);
    out.extend_from_slice(format!("{link:08x}\n").as_bytes());
    link
}

/// The kind and the payload as they are shown.
pub(super) fn fields(entry: &LogEntry, payloads: &dyn PayloadText) -> (Cow<'static, str>, String) {
    let shown = payloads.render(entry.kind, &entry.payload).filter(|text| {
        !text.contains(char::is_control)
            && payloads
                .parse(entry.kind, text)
                .is_some_and(|payload| payload == entry.payload)
    });
    match shown {
        Some(text) => {
            let named = payloads.kind_name(entry.kind);
            let name =
                named.filter(|name| is_name(name) && payloads.kind_named(name) == Some(entry.kind));
            (name.unwrap_or_else(|| entry.kind.to_string().into()), text)
        }
        None => (format!("{}!", entry.kind).into(), escape(&entry.payload)),
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || char == '-' || char == '_')
}

/// A line with the right checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Everything before the checksum.
    pub(super) text: &'a str,
    pub(super) link: u32,
    /// What it says was durable.
    pub(super) durable: Option<u64>,
}

impl<'a> Line<'a> {
    /// A line without its line feed; `None` if it isn't whole or doesn't follow on `link`.
    pub(super) fn parse(line: &'a [u8], link: u32) -> Option<Self> {
        const DIGITS: usize = 8;
        let line = str::from_utf8(line).ok()?;
        let (covered, checksum) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
        let own = crc32c_append(link, covered.as_bytes());
        if checksum != format!("{own:08x}") {
            return None;
        }
        let (text, durable) = covered.rsplit_once(" #")?;
        let durable = match durable.strip_suffix(':') {
            Some(offset) => Some(offset.parse().ok()?),
            None if durable.is_empty() => None,
            None => return None,
        };
        Some(Self {
            text,
            link: own,
            durable,
        })
    }

    /// The entry's index and term, without its payload.
    pub(super) fn position(&self) -> Option<(LogIndex, Term)> {
        let mut fields = self.text.splitn(3, ' ');
        let index = fields
            .next()?
            .parse()
            .ok()
            .filter(|&index| index > 0 && index < u64::MAX)?;
        Some((
            LogIndex::new(index),
            Term::new(fields.next()?.parse().ok()?),
        ))
    }

    /// The entry.
    pub(super) fn entry(&self, payloads: &dyn PayloadText) -> Option<LogEntry> {
        let (index, term) = self.position()?;
        let mut fields = self.text.splitn(4, ' ').skip(2);
        let kind = fields.next()?;
        let text = fields.next().unwrap_or_default();
        let (kind, payload) = parse_payload(kind, text, payloads)?;
        Some(LogEntry {
            index,
            term,
            kind,
            payload,
        })
    }
}

fn parse_payload(kind: &str, text: &str, payloads: &dyn PayloadText) -> Option<(u8, Bytes)> {
    if let Some(number) = kind.strip_suffix('!') {
        return Some((number.parse().ok()?, unescape(text)?));
    }
    let number = if is_name(kind) {
        payloads.kind_named(kind)?
    } else {
        kind.parse().ok()?
    };
    Some((number, payloads.parse(number, text)?))
}

/// Whether anything from a bad line on says that more than `end` bytes of the file were durable.
///
/// Line feeds may be damaged too, so what a line claims counts wherever in it the claim stands, but
/// only if it speaks of what comes before itself.
pub(super) fn find_evidence(content: &[u8], end: usize) -> Option<usize> {
    let mut start = end;
    for line in content[end..].split_inclusive(|&byte| byte == b'\n') {
        let at = start;
        start += line.len();
        let claim = line.strip_suffix(b"\n").and_then(claim);
        if claim.is_some_and(|durable| durable > end && durable < start) {
            return Some(at);
        }
    }
    None
}

/// What the end of a line says was durable.
fn claim(line: &[u8]) -> Option<usize> {
    let number = |digits: &[u8]| str::from_utf8(digits).ok()?.parse::<usize>().ok();
    let digits = line
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (before, offset) = line.split_at(line.len() - digits);
    if before.ends_with(b". ") {
        return number(offset);
    }
    let (before, checksum) = line.split_at_checked(line.len().checked_sub(9)?)?;
    if checksum[0] != b':' || !checksum[1..].iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digits = before
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (before, offset) = before.split_at(before.len() - digits);
    if before.ends_with(b" #") {
        number(offset)
    } else {
        None
    }
}
