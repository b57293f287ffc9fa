//! The format that a person can read: for every group a directory with `logs.txt`, one line per
//! entry, and `metadata.txt`.
//!
//! Every group's files are kept by themselves, so what one batch writes for several groups does not
//! become durable together. Within a group the vote, the base and the entries of an append become
//! durable in this order. A full disk closes the log, as any failed write does.

mod dump;
mod group;
mod line;
mod payload;
mod reader;
mod recover;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use stdx::GroupId;

pub(crate) use dump::dump_groups;
pub(crate) use payload::escape;
pub use payload::{EscapedText, PayloadText};
pub(crate) use recover::{create, recover};

use crate::disk::Disk;
use crate::error::{PoisonCause, WalError};
use crate::log::{Append, Base, Log, LogReader, Usage};
use crate::shape::{BaseRule, Shape};

use group::{Group, LogFile, create_group, log_name, write_metadata};
use reader::{Shared, TextReader};

/// The writing end of a log in the text format.
#[derive(Debug)]
pub(crate) struct TextLog {
    disk: Arc<dyn Disk>,
    payloads: Arc<dyn PayloadText>,
    groups: BTreeMap<GroupId, Group>,
    shared: Arc<Shared>,
    poison: Option<Arc<PoisonCause>>,
    /// Keeps other processes out as long as it is open.
    _lock: Option<File>,
}

impl TextLog {
    fn new(
        disk: Arc<dyn Disk>,
        payloads: Arc<dyn PayloadText>,
        shared: Arc<Shared>,
        lock: Option<File>,
    ) -> Self {
        Self {
            disk,
            payloads,
            groups: BTreeMap::new(),
            shared,
            poison: None,
            _lock: lock,
        }
    }

    fn insert(&mut self, id: GroupId, group: Group) {
        self.shared.publish(id, group.log.clone());
        self.groups.insert(id, group);
    }

    fn check_poison(&self) -> Result<(), WalError> {
        self.poison
            .as_ref()
            .map_or(Ok(()), |cause| Err(WalError::Poisoned(Arc::clone(cause))))
    }

    fn poisoned(&mut self, id: GroupId, source: io::Error) -> WalError {
        let path = self.disk.path(&log_name(id));
        let cause = Arc::new(PoisonCause {
            action: "write",
            path,
            source,
        });
        self.poison = Some(Arc::clone(&cause));
        WalError::Poisoned(cause)
    }

    /// Checks a whole batch before anything of it is written.
    fn check(&self, batch: &[Append<'_>]) -> Result<(), WalError> {
        let mut shapes: BTreeMap<GroupId, Shape> = BTreeMap::new();
        for append in batch {
            let shape = shapes.entry(append.group).or_insert_with(|| {
                self.groups
                    .get(&append.group)
                    .map(|group| group.shape.clone())
                    .unwrap_or_default()
            });
            if let Some(base) = append
                .base
                .as_ref()
                .filter(|base| base.index > shape.base())
            {
                shape.rebase(
                    base.index,
                    base.term,
                    shape.base_rule(base.index, base.term),
                );
            }
            let gap = |(expected, found)| WalError::Gap {
                group: append.group,
                expected,
                found,
            };
            shape.check(append.entries).map_err(gap)?;
            for entry in append.entries {
                shape.push(entry.index, entry.term);
            }
        }
        Ok(())
    }

    fn write(&mut self, append: &Append<'_>) -> io::Result<()> {
        let id = append.group;
        let mut group = match self.groups.remove(&id) {
            Some(group) => group,
            None => self.make(id)?,
        };
        let written = self.write_to(&mut group, append);
        self.insert(id, group);
        written
    }

    fn make(&self, id: GroupId) -> io::Result<Group> {
        let file = create_group(&*self.disk, id)?;
        let base = Base::default();
        let log = LogFile::new(file, self.disk.path(&log_name(id)), id, base.index);
        let shape = Shape::default();
        Ok(Group {
            shape,
            vote: Default::default(),
            base,
            log,
            dirty: false,
            clean: true,
        })
    }

    fn write_to(&self, group: &mut Group, append: &Append<'_>) -> io::Result<()> {
        if let Some(vote) = append.vote.filter(|vote| *vote != group.vote) {
            group.sync()?;
            write_metadata(&*self.disk, append.group, vote, &group.base)?;
            group.vote = vote;
        }
        if let Some(base) = append
            .base
            .as_ref()
            .filter(|base| base.index > group.base.index)
        {
            let rule = group.shape.base_rule(base.index, base.term);
            self.rebase(group, append.group, base, rule)?;
        }
        let Some(first) = append.entries.first() else {
            return Ok(());
        };
        let continues = first.index == group.shape.last().next();
        for entry in append.entries {
            group.shape.push(entry.index, entry.term);
        }
        if continues {
            group.append(append.entries, &*self.payloads)
        } else {
            let (disk, payloads) = (&*self.disk, &*self.payloads);
            group.rewrite(disk, append.group, first.index, append.entries, payloads)
        }
    }

    fn rebase(
        &self,
        group: &mut Group,
        id: GroupId,
        base: &Base,
        rule: BaseRule,
    ) -> io::Result<()> {
        group.sync()?;
        write_metadata(&*self.disk, id, group.vote, base)?;
        group.base = base.clone();
        group.shape.rebase(base.index, base.term, rule);
        let keep_before = group.shape.last().next();
        group.rewrite(&*self.disk, id, keep_before, &[], &*self.payloads)
    }
}

impl Log for TextLog {
    fn append(&mut self, batch: &[Append<'_>]) -> Result<(), WalError> {
        self.check_poison()?;
        self.check(batch)?;
        for append in batch {
            if append.vote.is_none() && append.base.is_none() && append.entries.is_empty() {
                continue;
            }
            self.write(append)
                .map_err(|source| self.poisoned(append.group, source))?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WalError> {
        self.check_poison()?;
        let synced = self
            .groups
            .iter_mut()
            .try_for_each(|(&id, group)| group.sync().map_err(|source| (id, source)));
        synced.map_err(|(id, source)| self.poisoned(id, source))
    }

    fn compact(&mut self, id: GroupId, base: Base) -> Result<(), WalError> {
        self.check_poison()?;
        let found = self.groups.remove(&id);
        let Some(mut group) = found else {
            return Ok(());
        };
        let mut written = Ok(());
        if base.index > group.base.index {
            let within = base.index <= group.shape.last();
            let rule = if within {
                BaseRule::Keep
            } else {
                BaseRule::Reset
            };
            written = self.rebase(&mut group, id, &base, rule);
        }
        self.insert(id, group);
        written.map_err(|source| self.poisoned(id, source))
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(TextReader {
            shared: Arc::clone(&self.shared),
            payloads: Arc::clone(&self.payloads),
        })
    }

    fn usage(&self) -> Usage {
        let bytes = self.groups.values().map(|group| group.log.end).sum();
        let segments = self.groups.len() as u64;
        Usage {
            bytes,
            allocated_bytes: bytes,
            segments,
            spare_segments: 0,
        }
    }
}
