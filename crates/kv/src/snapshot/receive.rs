//! Snapshots from a leader: collected in a file, installed as a whole.
//!
//! Installing changes two things on disk that can't be changed at once: the engine and the log.
//! A third file makes it one step. It says "the log shall begin after index i with these members,
//! and `install.data` is the state there". It is written when all data is durable, and removed
//! when the log has its new beginning. A start that finds it does everything again, which changes
//! nothing that was done already.
//!
//! ```text
//! receiving       pieces so far; removed at a start
//! install.data    the complete snapshot
//! install.meta    "KINS" version u8 | group u64 | index u64 | term u64 | length u32 | members |
//!                 crc32c u32
//! ```

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use engine::{Engine, EngineError};
use raft::{LogBase, SnapshotId};
use stdx::{GroupId, LogIndex, Term};
use thiserror::Error;

use crate::node::disk::{sync_directory_of, write_atomically};
use crate::node::error::StartError;
use crate::node::log_writer::describe;

const MAGIC: &[u8; 5] = b"KINS\x01";

/// Why a snapshot could not be installed. Nothing was changed.
#[derive(Debug, Error)]
pub(super) enum InstallError {
    #[error("not all of it is here")]
    Incomplete,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(EngineError),
    #[error("it stands at {found}, not at {expected}")]
    WrongIndex { found: LogIndex, expected: LogIndex },
}

/// The snapshot that is being received.
#[derive(Debug)]
struct Receiving {
    id: SnapshotId,
    file: File,
    bytes: u64,
}

/// The receiving side.
#[derive(Debug)]
pub(super) struct Receiver {
    dir: PathBuf,
    receiving: Option<Receiving>,
}

impl Receiver {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            receiving: None,
        }
    }

    /// Keeps a piece. Returns how many bytes are here, from the start.
    pub(super) fn store(&mut self, id: SnapshotId, offset: u64, data: &[u8]) -> io::Result<u64> {
        if offset == 0 {
            let path = self.dir.join("receiving");
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)?;
            self.receiving = Some(Receiving { id, file, bytes: 0 });
        }
        let receiving = self
            .receiving
            .as_mut()
            .filter(|receiving| receiving.id == id);
        let Some(receiving) = receiving.filter(|receiving| receiving.bytes == offset) else {
            return Err(io::Error::other("a piece does not follow the last one"));
        };
        receiving.file.write_all_at(data, offset)?;
        receiving.bytes += data.len() as u64;
        Ok(receiving.bytes)
    }

    /// Puts a complete snapshot in place of the engine's state, durably.
    ///
    /// The outer error is one that the node can't go on after.
    pub(super) fn install(
        &mut self,
        engine: &dyn Engine,
        group: GroupId,
        id: SnapshotId,
        base: &LogBase,
    ) -> Result<Result<(), InstallError>, String> {
        if let Err(error) = self.prepare(group, id, base) {
            return Ok(Err(error));
        }
        match install_file(engine, &self.dir, base.index) {
            Ok(()) => Ok(Ok(())),
            Err(InstallError::Damaged(
                error @ (EngineError::Snapshot { .. }
                | EngineError::SnapshotRead(_)
                | EngineError::DiskFull { .. }),
            )) => {
                self.forget();
                Ok(Err(InstallError::Damaged(error)))
            }
            // The engine may have lost its state: only a restart finds out.
            Err(error) => Err(describe(&error)),
        }
    }

    /// Makes the snapshot, and what to do with it, durable.
    fn prepare(
        &mut self,
        group: GroupId,
        id: SnapshotId,
        base: &LogBase,
    ) -> Result<(), InstallError> {
        let complete = self.receiving.take().filter(|receiving| receiving.id == id);
        let Some(receiving) = complete else {
            return Err(InstallError::Incomplete);
        };
        receiving.file.sync_all()?;
        let data = self.dir.join("install.data");
        fs::rename(self.dir.join("receiving"), &data)?;
        sync_directory_of(&data)?;
        let meta = Installation {
            group,
            base: base.clone(),
        };
        write_atomically(&self.dir.join("install.meta"), &meta.encode())?;
        Ok(())
    }

    /// Forgets the pieces of a snapshot that is not wanted any more.
    pub(super) fn discard(&mut self, id: SnapshotId) {
        if self
            .receiving
            .take_if(|receiving| receiving.id == id)
            .is_some()
        {
            remove(&self.dir.join("receiving"));
        }
    }

    /// The log stands on the snapshot.
    pub(super) fn forget(&self) {
        // The data last: a meta file without it would stop the next start.
        remove(&self.dir.join("install.meta"));
        remove(&self.dir.join("install.data"));
    }
}

fn install_file(engine: &dyn Engine, dir: &Path, expected: LogIndex) -> Result<(), InstallError> {
    let mut source = BufReader::with_capacity(1 << 20, File::open(dir.join("install.data"))?);
    let (found, _) = engine.install(&mut source).map_err(InstallError::Damaged)?;
    if found == expected {
        Ok(())
    } else {
        Err(InstallError::WrongIndex { found, expected })
    }
}

/// Removes a file that may not be there; what stays is removed at the next start.
fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("could not remove {}: {error}", path.display()),
    }
}

/// A snapshot whose installation was begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Installation {
    pub(crate) group: GroupId,
    pub(crate) base: LogBase,
}

impl Installation {
    fn encode(&self) -> Bytes {
        let mut members = BytesMut::new();
        raft::wire::encode_membership(&self.base.membership, &mut members);
        let mut meta = BytesMut::new();
        meta.put_slice(MAGIC);
        meta.put_u64_le(self.group.get());
        meta.put_u64_le(self.base.index.get());
        meta.put_u64_le(self.base.term.get());
        meta.put_u32_le(u32::try_from(members.len()).expect("a membership is short"));
        meta.put_slice(&members);
        let checksum = crc32c::crc32c(&meta);
        meta.put_u32_le(checksum);
        meta.freeze()
    }

    fn decode(mut meta: Bytes) -> Option<Self> {
        let checked = meta.len().checked_sub(4)?;
        let checksum = u32::from_le_bytes(meta.get(checked..)?.try_into().ok()?);
        meta.truncate(checked);
        if crc32c::crc32c(&meta) != checksum || !meta.starts_with(MAGIC) {
            return None;
        }
        meta.advance(MAGIC.len());
        let group = GroupId::new(meta.try_get_u64_le().ok()?);
        let index = LogIndex::new(meta.try_get_u64_le().ok()?);
        let term = Term::new(meta.try_get_u64_le().ok()?);
        let length = meta.try_get_u32_le().ok()? as usize;
        if length != meta.len() {
            return None;
        }
        let membership = Arc::new(raft::wire::decode_membership(&mut meta).ok()?);
        Some(Self {
            group,
            base: LogBase {
                index,
                term,
                membership,
            },
        })
    }
}

/// Finishes an installation that a crash interrupted, as far as the engine is concerned. The log
/// must then get the base that is returned, and [`clean_up`] be called.
pub(crate) fn pending_installation(
    dir: &Path,
    engine: &dyn Engine,
) -> Result<Option<Installation>, StartError> {
    let path = dir.join("install.meta");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(StartError::Io {
                action: "read",
                path,
                source,
            });
        }
    };
    let what = "it is damaged";
    let Some(installation) = Installation::decode(bytes.into()) else {
        return Err(StartError::Malformed {
            file: path,
            line: 1,
            what,
        });
    };
    if engine.applied() < installation.base.index {
        install_file(engine, dir, installation.base.index).map_err(|error| match error {
            InstallError::Damaged(source) => StartError::Engine {
                dir: dir.to_path_buf(),
                source,
            },
            InstallError::Io(source) => StartError::Io {
                action: "read the snapshot in",
                path: dir.to_path_buf(),
                source,
            },
            InstallError::Incomplete | InstallError::WrongIndex { .. } => StartError::Malformed {
                file: dir.join("install.data"),
                line: 1,
                what,
            },
        })?;
    }
    Ok(Some(installation))
}

/// Removes everything that an earlier run left.
pub(crate) fn clean_up(dir: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Io {
        action: "clean up",
        path: dir.to_path_buf(),
        source,
    };
    // The order matters: without its data, a leftover meta file would stop the next start.
    remove(&dir.join("install.meta"));
    for entry in fs::read_dir(dir).map_err(failed)? {
        remove(&entry.map_err(failed)?.path());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine::MemoryEngine;
    use kv_core::begin_payload;
    use raft::Membership;
    use stdx::NodeId;

    use super::*;

    fn filled_engine() -> MemoryEngine {
        let engine = MemoryEngine::new();
        let mut payload = BytesMut::new();
        begin_payload(&mut payload, 1);
        kv_core::encode_put(&mut payload, b"key", b"value");
        engine
            .apply(LogIndex::new(1), Term::new(1), &payload, None)
            .unwrap();
        engine
    }

    fn base() -> LogBase {
        LogBase {
            index: LogIndex::new(1),
            term: Term::new(1),
            membership: Arc::new(Membership::of_voters([NodeId::new(1)])),
        }
    }

    fn receive(dir: &Path) -> Receiver {
        let mut bytes = Vec::new();
        io::copy(&mut filled_engine().snapshot().unwrap(), &mut bytes).unwrap();
        let mut receiver = Receiver::new(dir.to_path_buf());
        let mut offset = 0;
        for piece in bytes.chunks(7) {
            offset = receiver.store(SnapshotId(9), offset, piece).unwrap();
        }
        receiver
    }

    #[test]
    fn an_interrupted_installation_is_finished_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut receiver = receive(dir.path());
        receiver
            .prepare(GroupId::new(1), SnapshotId(9), &base())
            .unwrap();
        drop(receiver);
        let engine = MemoryEngine::new();
        let found = pending_installation(dir.path(), &engine).unwrap().unwrap();
        assert_eq!(
            found,
            Installation {
                group: GroupId::new(1),
                base: base()
            }
        );
        assert_eq!(engine.applied(), LogIndex::new(1));
        assert!(engine.view().exists(b"key").unwrap());
        clean_up(dir.path()).unwrap();
        assert_eq!(pending_installation(dir.path(), &engine).unwrap(), None);
    }

    #[test]
    fn a_snapshot_is_installed_only_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let engine = MemoryEngine::new();
        let mut receiver = receive(dir.path());
        let other = receiver
            .install(&engine, GroupId::new(1), SnapshotId(8), &base())
            .unwrap();
        assert!(matches!(other, Err(InstallError::Incomplete)));
        let mut receiver = receive(dir.path());
        receiver
            .install(&engine, GroupId::new(1), SnapshotId(9), &base())
            .unwrap()
            .unwrap();
        assert_eq!(engine.applied(), LogIndex::new(1));
    }

    #[test]
    fn a_damaged_meta_file_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let mut receiver = receive(dir.path());
        receiver
            .prepare(GroupId::new(1), SnapshotId(9), &base())
            .unwrap();
        let path = dir.path().join("install.meta");
        let mut meta = fs::read(&path).unwrap();
        meta[10] ^= 1;
        fs::write(&path, meta).unwrap();
        let error = pending_installation(dir.path(), &MemoryEngine::new()).unwrap_err();
        assert!(error.to_string().contains("install.meta"), "{error}");
    }
}
