//! Snapshots for followers: written to a file once, read in pieces by any number of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use engine::{Engine, EngineError};
use raft::{ChunkRead, SnapshotId};
use stdx::{LogIndex, NodeId};
use thiserror::Error;

use crate::node::clock;
use crate::snapshot::Piece;

/// Files kept at once; a follower whose file is gone starts over with a newer one.
const SPOOLS_MAX: usize = 2;

/// Why a piece can't be read.
#[derive(Debug, Error)]
pub(super) enum SendError {
    #[error("the engine could not make a snapshot: {0}")]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the snapshot is not kept any more")]
    Gone,
}

/// A snapshot in a file.
#[derive(Debug)]
struct Spool {
    id: SnapshotId,
    index: LogIndex,
    path: PathBuf,
    file: File,
    length: u64,
    users: BTreeSet<NodeId>,
}

/// All snapshots that are being sent.
#[derive(Debug)]
pub(super) struct Spools {
    dir: PathBuf,
    spools: Vec<Spool>,
}

impl Spools {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            spools: Vec::new(),
        }
    }

    /// A piece of the snapshot that a follower is getting, or the first one of a good one.
    pub(super) fn read(
        &mut self,
        engine: &dyn Engine,
        piece: Piece,
    ) -> Result<ChunkRead, SendError> {
        let Piece {
            to,
            snapshot,
            offset,
            bytes_max,
            floor,
        } = piece;
        let known = self.spools.iter().position(|spool| match snapshot {
            Some(id) => spool.id == id,
            None => spool.index >= floor && spool.index > LogIndex::ZERO,
        });
        let position = match (known, snapshot) {
            (Some(position), _) => position,
            (None, Some(_)) => return Err(SendError::Gone),
            (None, None) => self.spool(engine)?,
        };
        let spool = &mut self.spools[position];
        spool.users.insert(to);
        let wanted = spool.length.saturating_sub(offset).min(bytes_max as u64);
        let mut data = BytesMut::zeroed(usize::try_from(wanted).unwrap_or(bytes_max));
        spool.file.read_exact_at(&mut data, offset)?;
        Ok(ChunkRead {
            to,
            snapshot: spool.id,
            index: spool.index,
            offset,
            done: offset + wanted >= spool.length,
            data: data.freeze(),
        })
    }

    /// Writes a snapshot of now to a file.
    fn spool(&mut self, engine: &dyn Engine) -> Result<usize, SendError> {
        while self.spools.len() >= SPOOLS_MAX {
            remove(&self.spools.remove(0));
        }
        let mut source = engine.snapshot()?;
        // Never repeats: the time of day, and bits of the other clock within a millisecond.
        let id = (clock::wall_ms() << 10) | ((clock::now().as_nanos() >> 10) & 0x3ff);
        let path = self.dir.join(format!("sending-{id:016x}"));
        let (file, length) = match write_file(&path, &mut source) {
            Ok(written) => written,
            Err(error) => {
                // Half a snapshot must not keep a full disk full. It may not even be there.
                drop(fs::remove_file(&path));
                return Err(error.into());
            }
        };
        let index = source.index();
        tracing::info!(
            "wrote a snapshot at {index} of {} KiB for followers",
            length >> 10
        );
        let id = SnapshotId(id);
        self.spools.push(Spool {
            id,
            index,
            path,
            file,
            length,
            users: BTreeSet::new(),
        });
        Ok(self.spools.len() - 1)
    }

    /// A follower needs a snapshot no more; the last one to leave removes it.
    pub(super) fn release(&mut self, to: NodeId, snapshot: SnapshotId) {
        for spool in &mut self.spools {
            if spool.id == snapshot {
                spool.users.remove(&to);
            }
        }
        for unused in self.spools.extract_if(.., |spool| spool.users.is_empty()) {
            remove(&unused);
        }
    }
}

fn write_file(path: &Path, source: &mut dyn io::Read) -> io::Result<(File, u64)> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let length = io::copy(source, &mut writer)?;
    let file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    Ok((file, length))
}

fn remove(spool: &Spool) {
    // What stays behind is removed at the next start.
    if let Err(error) = fs::remove_file(&spool.path) {
        tracing::warn!("could not remove {}: {error}", spool.path.display());
    }
}

impl Drop for Spools {
    fn drop(&mut self) {
        self.spools.iter().for_each(remove);
    }
}
