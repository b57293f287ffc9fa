//! A disk in memory that can be crashed, filled up and damaged.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use stdx::Prng;

use super::{Disk, DiskFile, parent};

/// What a disk may keep or lose in one piece.
const SECTOR_BYTES: usize = 512;

/// What a power loss leaves of everything that wasn't synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CrashPlan {
    /// Nothing.
    LoseUnsynced,
    /// Everything.
    KeepUnsynced,
    /// Any subset of the sectors of any subset of the writes, and any subset of the creations,
    /// renames and removals: what a disk leaves that writes in an order of its own.
    Sectors {
        /// Chooses the subset.
        seed: u64,
    },
    /// All writes to some point, and the next one cut at any byte.
    Torn {
        /// Chooses the point.
        seed: u64,
    },
}

/// A disk in memory: what programs see (live) and what a crash would leave (durable) are kept
/// apart.
///
/// Clones are the same disk. Built for tests and simulations; a failure of an inner assertion is a
/// bug of the test.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    /// Rung when a stall ends.
    bell: Arc<Condvar>,
    /// Where it says that it is.
    root: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    names_pending: Vec<(String, NameChange)>,
    dirs: Vec<String>,
    files: Vec<FileState>,
    operations: u64,
    crash_at: Option<u64>,
    fail_at: Option<(u64, io::ErrorKind)>,
    capacity_bytes: Option<u64>,
    fail_syncs: Option<io::ErrorKind>,
    stalled: bool,
}

/// A change of a directory that isn't synced yet.
#[derive(Clone, Debug)]
enum NameChange {
    Set(usize),
    Remove,
    RenameFrom(String),
}

#[derive(Clone, Debug, Default)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk that stands in for a directory: messages name files there.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: Some(root.to_path_buf()),
            ..Self::default()
        }
    }

    /// Every operation that changes the disk, from the one with this number on, fails, and the
    /// operation itself may be half done. See [`MemoryDisk::operations`].
    pub fn crash_at(&self, operation: u64) {
        self.lock().crash_at = Some(operation);
    }

    /// The one operation with this number fails and does nothing.
    pub fn fail_at(&self, operation: u64, kind: io::ErrorKind) {
        self.lock().fail_at = Some((operation, kind));
    }

    /// Files can take so many bytes together; `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity_bytes = bytes;
    }

    /// From now on every sync fails and makes nothing durable; `None` ends that.
    pub fn fail_syncs(&self, kind: Option<io::ErrorKind>) {
        self.lock().fail_syncs = kind;
    }

    /// From now on every sync waits until this is called with `false`.
    pub fn stall(&self, stalled: bool) {
        self.lock().stalled = stalled;
        self.bell.notify_all();
    }

    /// How many operations have changed the disk, or tried to.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().live.keys().cloned().collect()
    }

    /// The content of a file; empty if there is none.
    #[must_use]
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        state
            .live
            .get(name)
            .map_or_else(Vec::new, |&id| state.files[id].live.clone())
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, content: &[u8]) {
        let mut state = self.lock();
        let id = state.files.len();
        state.files.push(FileState {
            live: content.to_vec(),
            durable: content.to_vec(),
            pending: Vec::new(),
        });
        state.live.insert(name.to_owned(), id);
        state.durable.insert(name.to_owned(), id);
        let dir = parent(name).to_owned();
        if !state.dirs.contains(&dir) {
            state.dirs.push(dir);
        }
    }

    /// Flips the bits of `mask` in one byte, as a failing disk does.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut content = self.content(name);
        content[offset] ^= mask;
        self.put(name, &content);
    }

    /// The disk after a power loss.
    #[must_use]
    pub fn crash(&self, plan: CrashPlan) -> Self {
        let state = self.lock();
        let mut prng = match plan {
            CrashPlan::Sectors { seed } | CrashPlan::Torn { seed } => Prng::from_seed(seed),
            CrashPlan::LoseUnsynced | CrashPlan::KeepUnsynced => Prng::from_seed(0),
        };
        let mut after = State {
            dirs: state.dirs.clone(),
            files: state
                .files
                .iter()
                .map(|file| file.crash(plan, &mut prng))
                .collect(),
            ..State::default()
        };
        let mut names = state.durable.clone();
        for (name, change) in &state.names_pending {
            let keep = match plan {
                CrashPlan::LoseUnsynced => false,
                CrashPlan::KeepUnsynced => true,
                CrashPlan::Sectors { .. } | CrashPlan::Torn { .. } => prng.chance(1, 2),
            };
            if keep {
                change_name(&mut names, name, change);
            }
        }
        after.live.clone_from(&names);
        after.durable = names;
        Self {
            state: Arc::new(Mutex::new(after)),
            bell: Arc::default(),
            root: self.root.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a changing operation. `Ok(true)`: do it; `Ok(false)`: do it and fail (a crash in the
    /// middle of it).
    fn begin(&mut self) -> io::Result<bool> {
        let number = self.operations;
        self.operations += 1;
        if let Some((at, kind)) = self.fail_at
            && at == number
        {
            return Err(io::Error::new(kind, "injected failure"));
        }
        match self.crash_at {
            Some(at) if number > at => Err(crashed()),
            Some(at) => Ok(number < at),
            None => Ok(true),
        }
    }

    fn used_bytes(&self) -> u64 {
        self.live
            .values()
            .map(|&id| self.files[id].live.len() as u64)
            .sum()
    }

    fn room_for(&self, id: usize, size: usize) -> io::Result<()> {
        let growth = size.saturating_sub(self.files[id].live.len()) as u64;
        match self.capacity_bytes {
            Some(capacity) if growth > 0 && self.used_bytes() + growth > capacity => {
                Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
            }
            _ => Ok(()),
        }
    }

    fn change(&mut self, name: &str, change: NameChange) {
        change_name(&mut self.live, name, &change);
        self.names_pending.push((name.to_owned(), change));
    }
}

fn crashed() -> io::Error {
    io::Error::other("the machine has crashed")
}

fn finish(complete: bool) -> io::Result<()> {
    if complete { Ok(()) } else { Err(crashed()) }
}

fn change_name(names: &mut BTreeMap<String, usize>, name: &str, change: &NameChange) {
    match change {
        NameChange::Set(id) => {
            names.insert(name.to_owned(), *id);
        }
        NameChange::Remove => {
            names.remove(name);
        }
        NameChange::RenameFrom(from) => {
            if let Some(id) = names.remove(from) {
                names.insert(name.to_owned(), id);
            }
        }
    }
}

impl FileState {
    fn crash(&self, plan: CrashPlan, prng: &mut Prng) -> Self {
        let mut content = self.durable.clone();
        let whole = match plan {
            CrashPlan::LoseUnsynced => 0,
            CrashPlan::KeepUnsynced | CrashPlan::Sectors { .. } => self.pending.len(),
            CrashPlan::Torn { .. } => prng.index(self.pending.len() + 1),
        };
        for (offset, bytes) in &self.pending[..whole] {
            match plan {
                CrashPlan::Sectors { .. } => write_sectors(&mut content, *offset, bytes, prng),
                _ => write(&mut content, *offset, bytes),
            }
        }
        if let (CrashPlan::Torn { .. }, Some((offset, bytes))) = (plan, self.pending.get(whole)) {
            write(&mut content, *offset, &bytes[..prng.index(bytes.len() + 1)]);
        }
        Self {
            live: content.clone(),
            durable: content,
            pending: Vec::new(),
        }
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn write_sectors(content: &mut Vec<u8>, offset: usize, bytes: &[u8], prng: &mut Prng) {
    let mut start = 0;
    while start < bytes.len() {
        let end = (start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES).min(bytes.len());
        if prng.chance(1, 2) {
            write(content, offset + start, &bytes[start..end]);
        }
        start = end;
    }
}

impl Disk for MemoryDisk {
    fn root(&self) -> &Path {
        let nowhere = || Path::new("/memory");
        self.root.as_deref().unwrap_or_else(nowhere)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        let state = self.lock();
        let inside = state.live.keys().chain(&state.dirs).filter_map(|name| {
            let rest = name.strip_prefix(&prefix)?;
            rest.split('/').next().filter(|first| !first.is_empty())
        });
        let mut names: Vec<String> = inside.map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        let complete = state.begin()?;
        if !state.dirs.iter().any(|known| known == dir) {
            state.dirs.push(dir.to_owned());
        }
        finish(complete)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let complete = state.begin()?;
        let id = state.files.len();
        state.files.push(FileState::default());
        state.change(name, NameChange::Set(id));
        finish(complete)?;
        Ok(self.file(name, id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = self.lock().live.get(name).copied();
        id.map_or_else(
            || Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
            |id| Ok(self.file(name, id)),
        )
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let complete = state.begin()?;
        assert!(
            state.live.contains_key(from),
            "{from} is renamed but doesn't exist"
        );
        state.change(to, NameChange::RenameFrom(from.to_owned()));
        finish(complete)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let complete = state.begin()?;
        assert!(
            state.live.contains_key(name),
            "{name} is removed but doesn't exist"
        );
        state.change(name, NameChange::Remove);
        finish(complete)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.lock();
        if !state.begin()? {
            return Err(crashed());
        }
        let pending = std::mem::take(&mut state.names_pending);
        for (name, change) in pending {
            if parent(&name) == dir {
                change_name(&mut state.durable, &name, &change);
            } else {
                state.names_pending.push((name, change));
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }
}

impl MemoryDisk {
    fn file(&self, name: &str, id: usize) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile {
            disk: self.clone(),
            name: name.to_owned(),
            id,
        })
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    #[expect(
        dead_code,
        reason = "shown by Debug, so that a failing test names the file"
    )]
    name: String,
    id: usize,
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.id].live.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.lock();
        let live = &state.files[self.id].live;
        let start = usize::try_from(offset)
            .map_err(io::Error::other)?
            .min(live.len());
        let count = buf.len().min(live.len() - start);
        buf[..count].copy_from_slice(&live[start..start + count]);
        Ok(count)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let mut state = self.disk.lock();
        let complete = state.begin()?;
        state.room_for(self.id, offset + buf.len())?;
        let file = &mut state.files[self.id];
        write(&mut file.live, offset, buf);
        file.pending.push((offset, buf.to_vec()));
        finish(complete)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        let mut state = self.disk.lock();
        let complete = state.begin()?;
        state.room_for(self.id, bytes)?;
        let file = &mut state.files[self.id];
        let start = file.live.len();
        if start < bytes {
            let zeros = vec![0; bytes - start];
            write(&mut file.live, start, &zeros);
            file.pending.push((start, zeros));
        }
        finish(complete)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        while state.stalled {
            let woken = self.disk.bell.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(kind) = state.fail_syncs {
            return Err(io::Error::new(kind, "injected failure"));
        }
        if !state.begin()? {
            return Err(crashed());
        }
        let file = &mut state.files[self.id];
        file.pending.clear();
        file.durable.clone_from(&file.live);
        Ok(())
    }
}
