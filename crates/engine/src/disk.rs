//! The disk half: an LSM in a directory of its own, and which directory counts.
//!
//! ```text
//! DIR/CURRENT           "kontiki-engine 1 generation 7\n": the format and what counts
//! DIR/generation-7/     a fjall database with one keyspace, "records"
//! ```
//!
//! Everything that replaces all records (installing a snapshot, the first checkpoint
//! after a `Clear`) writes a new generation beside the old one and then replaces
//! `CURRENT` by an fsynced rename. Whatever else a crash leaves behind is deleted at
//! the next start.
//!
//! **fjall's journal is not used.** Records go in as *ingestions*: sorted tables,
//! written and fsynced, that become visible together by one atomic, fsynced change of
//! fjall's manifest. Measured against its write batches this costs two thirds of the
//! processor time, and it leaves nothing for its journal to lose or to get wrong.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut};
use fjall::compaction::Leveled;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};
use kv_core::layout::{KIND_RECORD, KIND_STATE, STATE_SLOT, prefix};
use stdx::{LogIndex, Term};

use crate::error::{EngineError, says_disk_full};
use crate::options::Options;

/// The version of everything in the directory.
const FORMAT_VERSION: u32 = 1;
/// The first word of `CURRENT`.
const MAGIC: &str = "kontiki-engine";
/// Checkpoints that wait to be merged.
const LEVEL_0_TABLES_MAX: u8 = 8;
/// How often an LSM that was just closed is tried to be opened, and the pause in between.
const REOPEN_ATTEMPTS: u32 = 200;
const REOPEN_PAUSE: Duration = Duration::from_millis(10);
/// The version byte of the group's state.
const STATE_VERSION: u8 = 1;
/// The bytes of the group's state.
const STATE_BYTES: usize = 1 + 5 * 8;

/// The group's own state as of a checkpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Saved {
    /// The last applied entry.
    pub(crate) applied: LogIndex,
    /// Its term.
    pub(crate) term: Term,
    /// The replicated time.
    pub(crate) now_ms: u64,
    /// The number of keys.
    pub(crate) keys: u64,
    /// The bytes of keys and values.
    pub(crate) data_bytes: u64,
}

impl Saved {
    fn encode(self) -> Vec<u8> {
        let mut bytes = vec![STATE_VERSION];
        for number in [
            self.applied.get(),
            self.term.get(),
            self.now_ms,
            self.keys,
            self.data_bytes,
        ] {
            bytes.put_u64_le(number);
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() != STATE_BYTES || bytes.get_u8() != STATE_VERSION {
            return None;
        }
        Some(Self {
            applied: LogIndex::new(bytes.get_u64_le()),
            term: Term::new(bytes.get_u64_le()),
            now_ms: bytes.get_u64_le(),
            keys: bytes.get_u64_le(),
            data_bytes: bytes.get_u64_le(),
        })
    }
}

/// One generation, open.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) generation: u64,
    group: u32,
    /// `None` only while it is dropped or opened again.
    lsm: Option<(Database, Keyspace)>,
    /// Bytes that checkpoints may still write before they find the disk full; for tests.
    budget: Arc<AtomicU64>,
    /// Delete the directory when nobody uses it any more.
    retired: AtomicBool,
    reads: AtomicU64,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens the current generation; makes the first one in an empty directory.
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Self, EngineError> {
        fs::create_dir_all(dir).map_err(file_error("create", dir))?;
        let Some(generation) = read_current(dir)? else {
            return Self::create(dir, options);
        };
        for stale in list_generations(dir)? {
            if stale != generation {
                remove_generation(&generation_path(dir, stale))?;
            }
        }
        Self::open_generation(dir, generation, options)
    }

    /// Makes the first generation, also where a crash interrupted that before.
    fn create(dir: &Path, options: &Options) -> Result<Self, EngineError> {
        let lost = || EngineError::Corrupt {
            path: dir.to_owned(),
            what: "CURRENT is missing",
        };
        let disk = match &list_generations(dir)?[..] {
            [] => Self::open_generation(dir, 1, options)?,
            [1] => match Self::open_generation(dir, 1, options) {
                Ok(disk) if disk.saved()? == Saved::default() => disk,
                Ok(_) => return Err(lost()),
                Err(EngineError::InUse { path }) => return Err(EngineError::InUse { path }),
                Err(_) => {
                    // Nothing was ever in it: `CURRENT` comes before the first checkpoint.
                    remove_generation(&generation_path(dir, 1))?;
                    Self::open_generation(dir, 1, options)?
                }
            },
            _ => return Err(lost()),
        };
        write_current(dir, 1)?;
        Ok(disk)
    }

    /// Makes the next generation, empty. It counts once [`Self::promote`] returned.
    pub(crate) fn next_generation(
        &self,
        dir: &Path,
        options: &Options,
    ) -> Result<Self, EngineError> {
        let generation = self.generation + 1;
        let path = generation_path(dir, generation);
        if path.exists() {
            remove_generation(&path)?;
        }
        let mut disk = Self::open_generation(dir, generation, options)?;
        disk.budget = Arc::clone(&self.budget);
        disk.retired.store(true, Ordering::Relaxed);
        Ok(disk)
    }

    /// Makes this generation the one that counts, and the other one go away when its
    /// last user does.
    ///
    /// [`EngineError::DiskFull`] means that nothing happened. After any other error nobody
    /// knows which one counts, so neither goes away.
    pub(crate) fn promote(&self, dir: &Path, other: &Self) -> Result<(), EngineError> {
        stage_current(dir, self.generation)?;
        self.retired.store(false, Ordering::Relaxed);
        replace_current(dir)?;
        other.retired.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn open_generation(
        dir: &Path,
        generation: u64,
        options: &Options,
    ) -> Result<Self, EngineError> {
        let path = generation_path(dir, generation);
        Ok(Self {
            group: options.group,
            lsm: Some(open_lsm(&path, options)?),
            budget: Arc::new(AtomicU64::new(u64::MAX)),
            retired: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            generation,
            path,
        })
    }

    /// Closes and opens the LSM, which removes what failed checkpoints and compactions left
    /// behind, and starts its background thread again if that ended with an error.
    pub(crate) fn reopen(&mut self, options: &Options) -> Result<(), EngineError> {
        drop(self.lsm.take());
        let mut attempts = REOPEN_ATTEMPTS;
        loop {
            match open_lsm(&self.path, options) {
                Ok(lsm) => {
                    self.lsm = Some(lsm);
                    return Ok(());
                }
                // Its thread needs a moment to let go of the lock, and gives no sign of it.
                Err(EngineError::InUse { .. }) if attempts > 0 => {
                    attempts -= 1;
                    std::thread::sleep(REOPEN_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the LSM's background thread ended with an error.
    pub(crate) fn is_lame(&self) -> bool {
        // Nothing is ever in its journal, so this writes nothing.
        self.database()
            .is_ok_and(|database| database.persist(PersistMode::Buffer).is_err())
    }

    /// Bytes that checkpoints may still write; for tests.
    pub(crate) fn budget(&self) -> &AtomicU64 {
        &self.budget
    }

    fn lsm(&self) -> Result<&(Database, Keyspace), EngineError> {
        // Without it the engine is poisoned, which doesn't keep readers out.
        self.lsm.as_ref().ok_or(EngineError::Poisoned)
    }

    pub(crate) fn database(&self) -> Result<&Database, EngineError> {
        self.lsm().map(|(database, _)| database)
    }

    pub(crate) fn keyspace(&self) -> Result<&Keyspace, EngineError> {
        self.lsm().map(|(_, keyspace)| keyspace)
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.keyspace().map_or(0, Keyspace::disk_space)
    }

    /// The stored value of a key.
    pub(crate) fn get(&self, slot: u16, key: &[u8]) -> Result<Option<Slice>, EngineError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.keyspace()?
            .get(self.record_key(slot, key))
            .map_err(self.failed("read a record"))
    }

    /// The state as of the last checkpoint; all zeros before the first.
    pub(crate) fn saved(&self) -> Result<Saved, EngineError> {
        let state = self
            .keyspace()?
            .get(self.state_key())
            .map_err(self.failed("read the state"))?;
        match state {
            Some(bytes) => Saved::decode(&bytes).ok_or_else(|| self.corrupt("the group's state")),
            None => Ok(Saved::default()),
        }
    }

    /// The key under which a record is stored.
    pub(crate) fn record_key(&self, slot: u16, key: &[u8]) -> Vec<u8> {
        [&prefix(self.group, slot, KIND_RECORD), key].concat()
    }

    pub(crate) fn state_key(&self) -> [u8; kv_core::layout::PREFIX_BYTES] {
        prefix(self.group, STATE_SLOT, KIND_STATE)
    }

    /// The first bytes of all records of a slot.
    pub(crate) fn slot_prefix(&self, slot: u16) -> [u8; kv_core::layout::PREFIX_BYTES] {
        prefix(self.group, slot, KIND_RECORD)
    }

    /// Look-ups so far.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// An error of the LSM.
    pub(crate) fn failed(&self, action: &'static str) -> impl FnOnce(fjall::Error) -> EngineError {
        let path = self.path.clone();
        move |source| lsm_error(action, path, source)
    }

    pub(crate) fn corrupt(&self, what: &'static str) -> EngineError {
        EngineError::Corrupt {
            path: self.path.clone(),
            what,
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.lsm.take());
        if self.retired.load(Ordering::Relaxed)
            && let Err(error) = remove_generation(&self.path)
        {
            // The next start tries again.
            tracing::warn!(path = %self.path.display(), %error, "an old generation stays on disk");
        }
    }
}

/// Puts a stored value under a stored key, or a tombstone.
type PutStored<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> fjall::Result<()> + 'a;

/// Takes the records of a change, in ascending order of their keys.
pub(crate) struct Sink<'a> {
    disk: &'a Disk,
    key: Vec<u8>,
    write: &'a mut PutStored<'a>,
}

impl Sink<'_> {
    /// Writes a record, or removes it if there is no value.
    pub(crate) fn put(
        &mut self,
        slot: u16,
        key: &[u8],
        stored: Option<&[u8]>,
    ) -> Result<(), EngineError> {
        self.key.clear();
        self.key.extend_from_slice(&self.disk.slot_prefix(slot));
        self.key.extend_from_slice(key);
        self.disk
            .spend(self.key.len() + stored.map_or(0, <[u8]>::len))?;
        (self.write)(&self.key, stored).map_err(self.disk.failed("write a checkpoint"))
    }
}

impl Disk {
    /// Takes from the budget.
    fn spend(&self, bytes: usize) -> Result<(), EngineError> {
        let left = self.budget.load(Ordering::Relaxed);
        if left == u64::MAX {
            return Ok(());
        }
        match left.checked_sub(bytes as u64) {
            Some(left) => {
                self.budget.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err(EngineError::DiskFull {
                action: "write a checkpoint",
                path: self.path.clone(),
            }),
        }
    }

    /// Changes records atomically and durably: `fill` puts them, and says what the
    /// state is with them; if it says `None`, nothing is changed.
    pub(crate) fn change(
        &self,
        fill: impl FnOnce(&mut Sink<'_>) -> Result<Option<Saved>, EngineError>,
    ) -> Result<Option<Saved>, EngineError> {
        let ingestion = self.keyspace()?.start_ingestion();
        let mut ingestion = ingestion.map_err(self.failed("begin a checkpoint"))?;
        let mut write = |key: &[u8], stored: Option<&[u8]>| match stored {
            Some(stored) => ingestion.write(key, stored),
            None => ingestion.write_tombstone(key),
        };
        let mut sink = Sink {
            disk: self,
            key: Vec::new(),
            write: &mut write,
        };
        let Some(saved) = fill(&mut sink)? else {
            return Ok(None);
        };
        let state = ingestion.write(self.state_key().as_slice(), saved.encode());
        state.map_err(self.failed("write a checkpoint"))?;
        ingestion
            .finish()
            .map_err(self.failed("finish a checkpoint"))?;
        Ok(Some(saved))
    }
}

/// Each checkpoint is a run in level 0. Merging them down rewrites much of the level
/// below, so more of them than fjall's four wait for it; only reads of records that are
/// not in memory look through them.
fn keyspace_options() -> KeyspaceCreateOptions {
    let strategy = Leveled::default().with_l0_threshold(LEVEL_0_TABLES_MAX);
    KeyspaceCreateOptions::default().compaction_strategy(Arc::new(strategy))
}

fn generation_path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("generation-{generation}"))
}

fn list_generations(dir: &Path) -> Result<Vec<u64>, EngineError> {
    let failed = file_error("list", dir);
    let entries: Result<Vec<_>, io::Error> = fs::read_dir(dir).and_then(Iterator::collect);
    let names = entries
        .map_err(failed)?
        .into_iter()
        .map(|entry| entry.file_name());
    Ok(names
        .filter_map(|name| name.to_str()?.strip_prefix("generation-")?.parse().ok())
        .collect())
}

fn remove_generation(path: &Path) -> Result<(), EngineError> {
    fs::remove_dir_all(path).map_err(file_error("remove", path))
}

/// The generation that counts, if the directory has one.
fn read_current(dir: &Path) -> Result<Option<u64>, EngineError> {
    let path = dir.join("CURRENT");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error("read", &path)(error)),
    };
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        [MAGIC, version, ..] if version != FORMAT_VERSION.to_string() => {
            let (found, expected) = (version.to_owned(), FORMAT_VERSION);
            Err(EngineError::Format {
                path,
                found,
                expected,
            })
        }
        [MAGIC, _, "generation", generation] if generation.parse::<u64>().is_ok() => {
            Ok(generation.parse().ok())
        }
        _ => Err(EngineError::Corrupt {
            path,
            what: "it doesn't name a generation",
        }),
    }
}

fn write_current(dir: &Path, generation: u64) -> Result<(), EngineError> {
    stage_current(dir, generation)?;
    replace_current(dir)
}

/// Writes what is to be `CURRENT`, under another name.
fn stage_current(dir: &Path, generation: u64) -> Result<(), EngineError> {
    let staged = dir.join("CURRENT.new");
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&staged)?;
        writeln!(file, "{MAGIC} {FORMAT_VERSION} generation {generation}")?;
        file.sync_all()
    };
    write().map_err(file_error("write", &staged))
}

/// Replaces `CURRENT`. After an error the old one or the new one counts.
fn replace_current(dir: &Path) -> Result<(), EngineError> {
    let path = dir.join("CURRENT");
    let replaced =
        fs::rename(dir.join("CURRENT.new"), &path).and_then(|()| fs::File::open(dir)?.sync_all());
    // Never `DiskFull`, which says that nothing happened.
    replaced.map_err(|source| EngineError::File {
        action: "replace",
        path,
        source,
    })
}

fn open_lsm(path: &Path, options: &Options) -> Result<(Database, Keyspace), EngineError> {
    let failed = |source| match source {
        fjall::Error::Locked => EngineError::InUse {
            path: path.parent().unwrap_or(path).to_owned(),
        },
        source => lsm_error("open", path.to_owned(), source),
    };
    let database = Database::builder(path)
        .worker_threads(1)
        .cache_size(options.cache_bytes.get())
        .manual_journal_persist(true)
        .open()
        .map_err(failed)?;
    let keyspace = database
        .keyspace("records", keyspace_options)
        .map_err(failed)?;
    Ok((database, keyspace))
}

fn lsm_error(action: &'static str, path: PathBuf, source: fjall::Error) -> EngineError {
    if says_disk_full(&source) {
        return EngineError::DiskFull { action, path };
    }
    EngineError::Lsm {
        action,
        path,
        source,
    }
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EngineError {
    let path = path.to_owned();
    move |source| {
        if says_disk_full(&source) {
            return EngineError::DiskFull { action, path };
        }
        EngineError::File {
            action,
            path,
            source,
        }
    }
}
