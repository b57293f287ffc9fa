//! Opening a log in the text format.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use stdx::{GroupId, LogIndex};

use super::TextLog;
use super::group::{
    Group, LogFile, group_of_dir, log_name, metadata_name, parse_metadata, sync_group_dir,
};
use super::line::{Line, find_evidence, mark};
use super::payload::PayloadText;
use super::reader::Shared;
use crate::disk::{Disk, DiskFile, read_all};
use crate::error::{CorruptError, OpenError};
use crate::log::{Base, LogEntry, Opened, Recovered, Vote};
use crate::open::IDENTITY_NAME;
use crate::options::Options;
use crate::shape::{BaseRule, Shape};

/// Makes sure that a directory without an identity file holds no log.
pub(crate) fn create(disk: &dyn Disk) -> Result<(), OpenError> {
    let names = disk
        .list("")
        .map_err(fail("list", disk.root().to_path_buf()))?;
    match names.iter().find(|name| group_of_dir(name).is_some()) {
        Some(name) => Err(OpenError::Corrupt(CorruptError {
            file: disk.path(IDENTITY_NAME),
            offset: 0,
            expected: "the file that says whose log this is".into(),
            found: format!("no such file, but the log {name}").into(),
        })),
        None => Ok(()),
    }
}

/// Opens the log in a directory whose identity file was checked.
pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    options: &Options,
    payloads: Arc<dyn PayloadText>,
    lock: Option<File>,
) -> Result<Opened, OpenError> {
    let names = disk
        .list("")
        .map_err(fail("list", disk.root().to_path_buf()))?;
    let mut found = BTreeMap::new();
    for id in names.iter().filter_map(|name| group_of_dir(name)) {
        let reading = Reading {
            disk: &*disk,
            id,
            payloads: &*payloads,
        };
        if let Some(group) = reading.group(&options.special_kinds)? {
            found.insert(id, group);
        }
    }
    // All groups are readable: only now is anything changed.
    let shared = Arc::new(Shared::default());
    let mut log = TextLog::new(disk, payloads, shared, lock);
    let mut groups = BTreeMap::new();
    let mut torn_bytes = 0;
    for (
        id,
        FoundGroup {
            mut group,
            special,
            torn,
            stale,
        },
    ) in found
    {
        torn_bytes += torn;
        let made_durable = if stale || torn > 0 {
            let end = group.shape.last().next();
            group.rewrite(&*log.disk, id, end, &[], &*log.payloads)
        } else {
            group.dirty = true;
            group.sync()
        };
        let synced = made_durable.and_then(|()| sync_group_dir(&*log.disk, id));
        synced.map_err(fail("rewrite", group.log.path.clone()))?;
        groups.insert(id, recovered(&group, special));
        log.insert(id, group);
    }
    log.disk
        .sync_dir("")
        .map_err(fail("fsync", log.disk.root().to_path_buf()))?;
    let identity = options.identity;
    Ok(Opened {
        log: Box::new(log),
        groups,
        identity,
        torn_bytes,
    })
}

fn fail(action: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io {
        action,
        path,
        source,
    }
}

fn recovered(group: &Group, special: Vec<LogEntry>) -> Recovered {
    Recovered {
        vote: group.vote,
        base: group.base.clone(),
        last_index: group.shape.last(),
        terms: group.shape.terms().to_vec(),
        special,
    }
}

/// A group as its files say.
#[derive(Debug)]
struct FoundGroup {
    group: Group,
    special: Vec<LogEntry>,
    /// Bytes of an unfinished write.
    torn: u64,
    /// The file has lines that don't count any more.
    stale: bool,
}

/// An open file and all that is in it.
type WithContent = (Arc<dyn DiskFile>, Vec<u8>);

/// Reading the files of one group.
#[derive(Clone, Copy, Debug)]
struct Reading<'a> {
    disk: &'a dyn Disk,
    id: GroupId,
    payloads: &'a dyn PayloadText,
}

impl Reading<'_> {
    /// The group; `None` if making it was interrupted.
    fn group(self, special_kinds: &[u8]) -> Result<Option<FoundGroup>, OpenError> {
        let metadata = self.file(&metadata_name(self.id))?;
        let log = self.file(&log_name(self.id))?;
        match (metadata, log) {
            (Some((_, metadata)), Some((file, content))) => {
                let (vote, base) = parse_metadata(&metadata).ok_or_else(|| CorruptError {
                    file: self.disk.path(&metadata_name(self.id)),
                    offset: 0,
                    expected: "term, vote and base of the group, and the checksum of that".into(),
                    found: shown(&metadata),
                })?;
                Ok(Some(self.log(vote, base, file, &content, special_kinds)?))
            }
            (None, None) => Ok(None),
            (None, Some((_, content))) if content.is_empty() => Ok(None),
            (metadata, _) => {
                let name = if metadata.is_none() {
                    metadata_name(self.id)
                } else {
                    log_name(self.id)
                };
                Err(OpenError::Corrupt(CorruptError {
                    file: self.disk.path(&name),
                    offset: 0,
                    expected: "a file of the group's log".into(),
                    found: "no such file".into(),
                }))
            }
        }
    }

    fn file(self, name: &str) -> Result<Option<WithContent>, OpenError> {
        let opened = self.disk.open(name).and_then(|file| {
            let content = read_all(&*file)?;
            Ok((file, content))
        });
        match opened {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(fail("read", self.disk.path(name))(source)),
        }
    }

    fn log(
        self,
        vote: Vote,
        base: Base,
        file: Arc<dyn DiskFile>,
        content: &[u8],
        special_kinds: &[u8],
    ) -> Result<FoundGroup, CorruptError> {
        let path = self.disk.path(&log_name(self.id));
        let log = LogFile::new(file, path, self.id, LogIndex::ZERO);
        let mut lines = Lines {
            log,
            shape: Shape::default(),
            special: Vec::new(),
        };
        let mut end = 0;
        while let Some(line) = line_at(content, end) {
            let Some(parsed) = Line::parse(line, lines.log.link) else {
                break;
            };
            lines.push(&parsed, line.len() + 1, self.payloads, special_kinds)?;
            end += line.len() + 1;
        }
        let at_mark = content[end..].starts_with(mark(end as u64).as_bytes());
        if let Some(evidence) = find_evidence(content, end) {
            return Err(lines.corrupt(
                format!(
                    "a whole line (the one at byte {evidence} says that all before it was durable)"
                ),
                shown(line_at(content, end).unwrap_or_default()),
            ));
        }
        let torn = if at_mark {
            0
        } else {
            (content.len() - end) as u64
        };
        let before = lines.shape.clone();
        lines.rebase(&base)?;
        let Lines {
            mut log,
            shape,
            special,
        } = lines;
        log.base = shape.base();
        log.last = shape.last();
        let stale = shape.first() != before.first() || shape.last() != before.last();
        let group = Group {
            shape,
            vote,
            base,
            log,
            dirty: false,
            clean: false,
        };
        Ok(FoundGroup {
            group,
            special,
            torn,
            stale,
        })
    }
}

/// The lines of a file, as they are read.
#[derive(Debug)]
struct Lines {
    log: LogFile,
    shape: Shape,
    special: Vec<LogEntry>,
}

impl Lines {
    fn push(
        &mut self,
        line: &Line<'_>,
        line_bytes: usize,
        payloads: &dyn PayloadText,
        special_kinds: &[u8],
    ) -> Result<(), CorruptError> {
        let entry = line.entry(payloads).ok_or_else(|| {
            let found = "one with the right checksum that the payload format can't read";
            self.corrupt(
                "an entry".to_owned(),
                format!("{found}: {}", line.text).into(),
            )
        })?;
        let expected = self.shape.last().next();
        if !self.shape.is_empty() && entry.index != expected {
            return Err(self.corrupt(format!("entry {expected}"), line.text.into()));
        }
        if line.durable.is_some_and(|durable| durable > self.log.end) {
            return Err(self.corrupt("a line that is durable".to_owned(), line.text.into()));
        }
        self.shape.push(entry.index, entry.term);
        self.log.push(entry.index, line_bytes, line.link);
        if special_kinds.contains(&entry.kind) {
            self.special.push(entry);
        }
        Ok(())
    }

    /// Applies the base of the metadata file, which is written before the log file.
    fn rebase(&mut self, base: &Base) -> Result<(), CorruptError> {
        let rule = match self.shape.term_at(base.index) {
            Some(term) if term != base.term && !self.shape.is_empty() => BaseRule::Reset,
            _ => BaseRule::Keep,
        };
        self.shape.rebase(base.index, base.term, rule);
        if !self.shape.is_complete() {
            let expected = format!("entry {}", base.index.next());
            return Err(self.corrupt(expected, format!("{}", self.shape.first()).into()));
        }
        let kept = self.shape.first()..=self.shape.last();
        self.special.retain(|entry| kept.contains(&entry.index));
        Ok(())
    }

    fn corrupt(&self, expected: String, found: Box<str>) -> CorruptError {
        CorruptError {
            file: self.log.path.clone(),
            offset: self.log.end,
            expected: expected.into(),
            found,
        }
    }
}

/// The line that begins at `start`, without its line feed; `None` if there is none.
fn line_at(content: &[u8], start: usize) -> Option<&[u8]> {
    let rest = &content[start..];
    rest.iter()
        .position(|&byte| byte == b'\n')
        .map(|count| &rest[..count])
}

/// The beginning of something damaged, for a message.
fn shown(bytes: &[u8]) -> Box<str> {
    const SHOWN_BYTES: usize = 100;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]);
    format!("{text:?}").into()
}
