//! Files that are allocated before they are needed, and reused when they are not.

use std::sync::Arc;

use super::Failure;
use super::segment::{Segment, SegmentHeader, segment_name, spare_name, spare_number};
use crate::disk::{Disk, DiskFile};

/// Spare files.
#[derive(Debug)]
pub(super) struct Pool {
    spares: Vec<Spare>,
    next_number: u64,
    /// The usual length.
    segment_bytes: u32,
    count_max: usize,
}

#[derive(Debug)]
struct Spare {
    name: String,
    file: Arc<dyn DiskFile>,
    bytes: u32,
}

impl Pool {
    pub(super) const fn new(segment_bytes: u32, count_max: usize) -> Self {
        Self {
            spares: Vec::new(),
            next_number: 1,
            segment_bytes,
            count_max,
        }
    }

    /// Takes in the spare files that an earlier process left, and removes those that can't be used.
    pub(super) fn adopt(&mut self, disk: &dyn Disk, names: &[String]) -> Result<(), Failure> {
        for name in names {
            let Some(number) = spare_number(name) else {
                continue;
            };
            self.next_number = self.next_number.max(number.saturating_add(1));
            let file = disk
                .open(name)
                .map_err(Failure::on("open", disk.path(name)))?;
            let size = file
                .size()
                .map_err(Failure::on("read the size of", disk.path(name)))?;
            if size == u64::from(self.segment_bytes) && self.spares.len() < self.count_max {
                let name = name.clone();
                self.spares.push(Spare {
                    name,
                    file,
                    bytes: self.segment_bytes,
                });
            } else {
                disk.remove(name)
                    .map_err(Failure::on("remove", disk.path(name)))?;
            }
        }
        Ok(())
    }

    /// The usual length of a segment.
    pub(super) const fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    /// How many files there are.
    pub(super) const fn count(&self) -> usize {
        self.spares.len()
    }

    /// What they take on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.spares.iter().map(|spare| u64::from(spare.bytes)).sum()
    }

    /// Allocates files until those of the wanted lengths are there.
    pub(super) fn reserve(&mut self, disk: &dyn Disk, wanted: &[u32]) -> Result<(), Failure> {
        for (at, &bytes) in wanted.iter().enumerate() {
            let needed = wanted[..=at]
                .iter()
                .filter(|&&other| other == bytes)
                .count();
            let there = self
                .spares
                .iter()
                .filter(|spare| spare.bytes == bytes)
                .count();
            if there < needed {
                self.allocate(disk, bytes)?;
            }
        }
        Ok(())
    }

    fn allocate(&mut self, disk: &dyn Disk, bytes: u32) -> Result<(), Failure> {
        let name = spare_name(self.next_number);
        self.next_number += 1;
        let path = disk.path(&name);
        let file = disk
            .create(&name)
            .map_err(Failure::on("create", path.clone()))?;
        if let Err(source) = file.allocate(u64::from(bytes)) {
            // A leftover is removed at the next start, should this fail too.
            drop(disk.remove(&name));
            return Err(Failure {
                action: "allocate space for",
                path,
                source,
            });
        }
        self.spares.push(Spare { name, file, bytes });
        Ok(())
    }

    /// Makes a reserved file a segment. When this returns, it is durable that the segment exists.
    pub(super) fn begin(
        &mut self,
        disk: &dyn Disk,
        header: SegmentHeader,
    ) -> Result<Arc<Segment>, Failure> {
        let at = self
            .spares
            .iter()
            .position(|spare| spare.bytes == header.bytes);
        let spare = self
            .spares
            .swap_remove(at.expect("files are reserved before they are used"));
        let (bytes, salt) = header.to_bytes();
        let old_path = disk.path(&spare.name);
        spare
            .file
            .write_all_at(&bytes, 0)
            .map_err(Failure::on("write", old_path.clone()))?;
        spare
            .file
            .sync_data()
            .map_err(Failure::on("fsync", old_path.clone()))?;
        let name = segment_name(header.sequence);
        disk.rename(&spare.name, &name)
            .map_err(Failure::on("rename", old_path))?;
        disk.sync_dir("")
            .map_err(Failure::on("fsync", disk.root().to_path_buf()))?;
        Ok(Arc::new(Segment {
            sequence: header.sequence,
            file: spare.file,
            path: disk.path(&name),
            name,
            salt,
            bytes: header.bytes,
        }))
    }

    /// Takes the file of a segment that nobody needs. When this returns, it is durable that the
    /// segment is gone.
    pub(super) fn retire(&mut self, disk: &dyn Disk, segment: Arc<Segment>) -> Result<(), Failure> {
        let reusable = segment.bytes == self.segment_bytes && self.spares.len() < self.count_max;
        match Arc::try_unwrap(segment) {
            Ok(segment) if reusable => {
                let name = spare_name(self.next_number);
                self.next_number += 1;
                disk.rename(&segment.name, &name)
                    .map_err(Failure::on("rename", segment.path))?;
                self.spares.push(Spare {
                    name,
                    file: segment.file,
                    bytes: segment.bytes,
                });
            }
            // A reader that still has it open can go on reading.
            Ok(Segment { name, path, .. }) => remove(disk, &name, path)?,
            Err(shared) => remove(disk, &shared.name, shared.path.clone())?,
        }
        disk.sync_dir("")
            .map_err(Failure::on("fsync", disk.root().to_path_buf()))
    }
}

fn remove(disk: &dyn Disk, name: &str, path: std::path::PathBuf) -> Result<(), Failure> {
    disk.remove(name).map_err(Failure::on("remove", path))
}
