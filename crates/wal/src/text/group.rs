//! The two files of one group, and what is known of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use stdx::{GroupId, LogIndex, NodeId, Term};

use super::line::{Line, first_link, mark, seal_line, write_line};
use super::payload::{PayloadText, escape, unescape};
use crate::disk::{Disk, DiskFile, parent, read_full_at, replace_file};
use crate::limits::INDEX_STEP_BYTES;
use crate::log::{Base, LogEntry, Vote};
use crate::open::checked_text;
use crate::shape::Shape;

/// The directory of a group.
pub(super) fn group_dir(group: GroupId) -> String {
    format!("group-{}", group.get())
}

/// The group of a directory.
pub(super) fn group_of_dir(dir: &str) -> Option<GroupId> {
    let group = GroupId::new(dir.strip_prefix("group-")?.parse().ok()?);
    (group_dir(group) == dir).then_some(group)
}

pub(super) fn log_name(group: GroupId) -> String {
    format!("{}/logs.txt", group_dir(group))
}

pub(super) fn metadata_name(group: GroupId) -> String {
    format!("{}/metadata.txt", group_dir(group))
}

/// Makes the files of a new group.
pub(super) fn create_group(disk: &dyn Disk, group: GroupId) -> io::Result<Arc<dyn DiskFile>> {
    disk.create_dir(&group_dir(group))?;
    disk.sync_dir("")?;
    let file = disk.create(&log_name(group))?;
    // The metadata file says that the group is complete, so it comes last.
    sync_group_dir(disk, group)?;
    write_metadata(disk, group, Vote::default(), &Base::default())?;
    Ok(file)
}

/// Replaces the metadata file.
pub(super) fn write_metadata(
    disk: &dyn Disk,
    group: GroupId,
    vote: Vote,
    base: &Base,
) -> io::Result<()> {
    let voted = vote
        .vote
        .map_or_else(|| "nobody".to_owned(), |node| node.get().to_string());
    let text = format!(
        "term {}\nvoted for {voted}\nbase index {}\nbase term {}\nbase data {}\n",
        vote.term.get(),
        base.index.get(),
        base.term.get(),
        escape(&base.data)
    );
    let checksum = crc32c::crc32c(text.as_bytes());
    let text = format!("{text}checksum {checksum:08x}\n");
    replace_file(disk, &metadata_name(group), text.as_bytes()).map(drop)
}

/// What a metadata file says; `None` if it is damaged.
pub(super) fn parse_metadata(content: &[u8]) -> Option<(Vote, Base)> {
    let mut lines = checked_text(content)?.lines();
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let term = Term::new(field("term")?.parse().ok()?);
    let vote = match field("voted for")? {
        "nobody" => None,
        node => Some(NodeId::new(node.parse().ok()?)),
    };
    let index: u64 = field("base index")?.parse().ok()?;
    let base = Base {
        index: LogIndex::new(index).min(LogIndex::new(u64::MAX - 1)),
        term: Term::new(field("base term")?.parse().ok()?),
        data: unescape(field("base data")?)?,
    };
    Some((Vote { term, vote }, base))
}

/// Lines from `first` on, up to the next point, begin at or after this offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) first: LogIndex,
    pub(super) offset: u64,
    /// Checksum of the line before.
    pub(super) link: u32,
}

/// The log file of a group, as readers see it.
#[derive(Clone, Debug)]
pub(super) struct LogFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
    pub(super) base: LogIndex,
    pub(super) last: LogIndex,
    points: Vec<Point>,
    /// After the last line, and its checksum.
    pub(super) end: u64,
    pub(super) link: u32,
}

impl LogFile {
    /// A file without lines.
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        path: PathBuf,
        group: GroupId,
        base: LogIndex,
    ) -> Self {
        let link = first_link(group);
        Self {
            file,
            path,
            base,
            last: base,
            points: Vec::new(),
            end: 0,
            link,
        }
    }

    /// Takes in a line that was put at the end.
    pub(super) fn push(&mut self, index: LogIndex, line_bytes: usize, link: u32) {
        let near = self
            .points
            .last()
            .is_some_and(|point| self.end - point.offset < u64::from(INDEX_STEP_BYTES));
        if !near {
            self.points.push(Point {
                first: index,
                offset: self.end,
                link: self.link,
            });
        }
        self.end += line_bytes as u64;
        self.link = link;
        self.last = index;
    }

    /// Where to start reading for an entry.
    pub(super) fn point(&self, index: LogIndex) -> Option<Point> {
        let after = self.points.partition_point(|point| point.first <= index);
        after.checked_sub(1).map(|at| self.points[at])
    }

    /// All lines, read back.
    pub(super) fn content(&self) -> io::Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(self.end).map_err(io::Error::other)?];
        let filled = read_full_at(&*self.file, &mut content, 0)?;
        content.truncate(filled);
        Ok(content)
    }
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) shape: Shape,
    pub(super) vote: Vote,
    pub(super) base: Base,
    pub(super) log: LogFile,
    /// Lines were written that may not be durable.
    pub(super) dirty: bool,
    /// Everything before the next line is durable.
    pub(super) clean: bool,
}

impl Group {
    /// Appends lines for entries that continue the log.
    pub(super) fn append(
        &mut self,
        entries: &[LogEntry],
        payloads: &dyn PayloadText,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        let mut log = self.log.clone();
        for entry in entries {
            let start = text.len();
            let durable = self.clean.then_some(log.end);
            self.clean = false;
            let link = write_line(&mut text, entry, payloads, log.link, durable);
            log.push(entry.index, text.len() - start, link);
        }
        self.dirty = true;
        self.log.file.write_all_at(&text, self.log.end)?;
        self.log = log;
        Ok(())
    }

    /// Replaces the file by one with the lines of the entries `shape.first()..keep_before` and of
    /// `entries`. It is durable when this returns.
    pub(super) fn rewrite(
        &mut self,
        disk: &dyn Disk,
        group: GroupId,
        keep_before: LogIndex,
        entries: &[LogEntry],
        payloads: &dyn PayloadText,
    ) -> io::Result<()> {
        let old = self.log.content()?;
        let name = log_name(group);
        let base = self.base.index;
        let file = Arc::clone(&self.log.file);
        let mut log = LogFile::new(file, disk.path(&name), group, base);
        let mut text = Vec::new();
        for (index, line) in kept_lines(&old, group, base, keep_before)? {
            let start = text.len();
            text.extend_from_slice(line.as_bytes());
            let link = seal_line(&mut text, start, log.link, None);
            log.push(index, text.len() - start, link);
        }
        for entry in entries {
            let start = text.len();
            let link = write_line(&mut text, entry, payloads, log.link, None);
            log.push(entry.index, text.len() - start, link);
        }
        text.extend_from_slice(mark(log.end).as_bytes());
        log.file = replace_file(disk, &name, &text)?;
        self.log = log;
        self.dirty = false;
        self.clean = true;
        Ok(())
    }

    /// Makes all lines durable and says so in the file.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.log.file.sync_data()?;
            self.log
                .file
                .write_all_at(mark(self.log.end).as_bytes(), self.log.end)?;
            self.dirty = false;
            self.clean = true;
        }
        Ok(())
    }
}

/// The lines after `base` and before `keep_before`, without their checksums.
fn kept_lines(
    content: &[u8],
    group: GroupId,
    base: LogIndex,
    keep_before: LogIndex,
) -> io::Result<Vec<(LogIndex, &str)>> {
    let mut link = first_link(group);
    let mut kept = Vec::new();
    for line in content.split_inclusive(|&byte| byte == b'\n') {
        let line = line
            .strip_suffix(b"\n")
            .and_then(|line| Line::parse(line, link));
        let (line, index) = line
            .and_then(|line| line.position().map(|(index, _)| (line, index)))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a line was damaged"))?;
        link = line.link;
        if index > base && index < keep_before {
            kept.push((index, line.text));
        }
    }
    Ok(kept)
}

/// The directory that must be synced when a group's files change their names.
pub(super) fn sync_group_dir(disk: &dyn Disk, group: GroupId) -> io::Result<()> {
    disk.sync_dir(parent(&log_name(group)))
}
