//! The engine of real nodes: records in memory, checkpoints in an LSM.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use fjall::Readable;
use kv_core::layout::{split_key, split_value};
use kv_core::machine::EXPIRE_CHUNK;
use kv_core::{Command, Reply, SLOT_COUNT, StateMachine, Table};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use stdx::{LogIndex, Term};

use crate::disk::{Disk, Saved};
use crate::engine::{Engine, EngineStats, SnapshotSource};
use crate::error::EngineError;
use crate::fjall_view::FjallView;
use crate::load::load;
use crate::options::Options;
use crate::slots::{Located, WARM_COUNT};
use crate::snapshot::{self, Header, Writer};
use crate::store::{Checkpoint, Store};
use crate::view::{ReadView, Source};

/// Bits that remember which records were read lately, a byte each.
const REFERENCED_COUNT: usize = 1 << 20;
/// Tries for the lock before a reader sleeps: 10 to 40 us.
const READ_SPINS: usize = 1_000;
/// Slots that an apply looks through for something to evict.
const EVICT_SLOTS: usize = 64;

/// A storage engine that keeps records in memory and checkpoints them into fjall.
#[derive(Debug)]
pub struct FjallEngine {
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    /// Held while an entry is applied. Locks are taken in the order of these fields:
    /// `checkpoint`, `apply_lock`, `state`.
    checkpoint: Mutex<CheckpointState>,
    pub(crate) apply_lock: Mutex<EvictHand>,
    pub(crate) state: RwLock<State>,
    poisoned: AtomicBool,
    /// The last checkpoint found no room.
    disk_full: AtomicBool,
    referenced: Box<[AtomicU8]>,
    evictions: AtomicU64,
    /// `CheckpointState::index`, for those who won't wait for a running checkpoint.
    checkpoint_index: AtomicU64,
    checkpoints: AtomicU64,
}

/// What only the writer of a checkpoint touches.
#[derive(Debug, Default)]
pub(crate) struct CheckpointState {
    /// The applied index of the last one.
    pub(crate) index: LogIndex,
    /// A failed one left files behind.
    pub(crate) has_leftovers: bool,
}

/// The slot at which eviction goes on.
#[derive(Debug, Default)]
pub(crate) struct EvictHand(u16);

/// What readers see.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) applied: LogIndex,
    pub(crate) term: Term,
    pub(crate) machine: StateMachine,
    pub(crate) store: Store,
}

impl State {
    fn new(store: Store, saved: Saved) -> Self {
        Self {
            applied: saved.applied,
            term: saved.term,
            machine: StateMachine::new(saved.now_ms),
            store,
        }
    }
}

impl FjallEngine {
    /// Opens the engine of a directory, which it makes if need be, at the state of the
    /// last checkpoint. Entries behind it must be applied again.
    ///
    /// # Errors
    ///
    /// When the directory can't be used, is in use, holds another format or is corrupt.
    pub fn open(dir: &Path, options: Options) -> Result<Self, EngineError> {
        let disk = Arc::new(Disk::open(dir, &options)?);
        let (store, saved) = load(disk, &options)?;
        Ok(Self {
            dir: dir.to_owned(),
            options,
            checkpoint: Mutex::new(CheckpointState {
                index: saved.applied,
                has_leftovers: false,
            }),
            apply_lock: Mutex::default(),
            state: RwLock::new(State::new(store, saved)),
            poisoned: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            referenced: (0..REFERENCED_COUNT).map(|_| AtomicU8::new(0)).collect(),
            evictions: AtomicU64::new(0),
            checkpoint_index: AtomicU64::new(saved.applied.get()),
            checkpoints: AtomicU64::new(0),
        })
    }

    /// The state, for reading.
    ///
    /// The applier holds the lock for some microseconds and comes back for it after one
    /// or two. Who goes to sleep meanwhile is woken too late again and again; so a
    /// reader tries for about as long as a few chunks take before it does.
    pub(crate) fn read_state(&self) -> RwLockReadGuard<'_, State> {
        for _ in 0..READ_SPINS {
            if let Some(state) = self.state.try_read() {
                return state;
            }
            std::hint::spin_loop();
        }
        self.state.read()
    }

    /// Lets checkpoints write so many more bytes before they find the disk full. For tests.
    #[doc(hidden)]
    pub fn set_checkpoint_budget(&self, bytes: Option<u64>) {
        let state = self.state.read();
        let budget = state.store.disk.budget();
        budget.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Notes that a checkpoint is on disk.
    pub(crate) fn checkpointed(&self, state: &mut CheckpointState, index: LogIndex) {
        state.index = index;
        self.checkpoint_index.store(index.get(), Ordering::Release);
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    /// Marks a record as read lately.
    pub(crate) fn mark_referenced(&self, hash: u64) {
        let mark = &self.referenced[reference_of(hash)];
        if mark.load(Ordering::Relaxed) == 0 {
            mark.store(1, Ordering::Relaxed);
        }
    }

    fn check_poisoned(&self) -> Result<(), EngineError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(EngineError::Poisoned);
        }
        Ok(())
    }

    fn poison_on_error<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if result.as_ref().is_err_and(|error| !error.is_disk_full()) {
            self.poisoned.store(true, Ordering::Release);
        }
        result
    }

    fn apply_locked(
        &self,
        hand: &mut EvictHand,
        (index, term): (LogIndex, Term),
        payload: &[u8],
        replies: Option<&mut Vec<Reply>>,
    ) -> Result<(), EngineError> {
        let applied = self.state.read().applied;
        if index <= applied {
            return Ok(());
        }
        if index != applied.next() {
            let (index, applied) = (index.get(), applied.get());
            return Err(EngineError::Gap { index, applied });
        }
        if !payload.is_empty() {
            self.run(payload, replies)?;
        }
        let mut state = self.state.write();
        (state.applied, state.term) = (index, term);
        self.evict_some(&mut state, hand);
        Ok(())
    }

    /// Runs an entry's commands, letting readers in between.
    fn run(&self, payload: &[u8], mut replies: Option<&mut Vec<Reply>>) -> Result<(), EngineError> {
        let mut commands = self.begin(payload)?;
        let wanted = replies.is_some();
        let mut chunk = Vec::with_capacity(WARM_COUNT);
        let mut keys = Vec::with_capacity(WARM_COUNT);
        while !commands.is_empty() {
            // All that needs no lock first.
            chunk.clear();
            keys.clear();
            while chunk.len() < WARM_COUNT && !commands.is_empty() {
                let command = Command::decode(&mut commands).map_err(EngineError::Entry)?;
                let key = command.first_key().map(Located::new);
                keys.extend(key);
                chunk.push((command, key));
            }
            let mut state = self.state.write();
            let live = &mut *state;
            live.store.slots.warm(&keys);
            for (command, key) in &chunk {
                let machine = live.machine;
                let reply = machine.execute_located(&mut live.store, command, *key, wanted)?;
                if let Some(replies) = &mut replies {
                    replies.push(reply);
                }
            }
        }
        Ok(())
    }

    /// Moves the time forward and drops what has expired; the entry's commands.
    fn begin<'p>(&self, payload: &'p [u8]) -> Result<&'p [u8], EngineError> {
        let mut state = self.state.write();
        let commands = state.machine.begin(payload).map_err(EngineError::Entry)?;
        let now_ms = state.machine.now_ms();
        while state.store.expire(now_ms, EXPIRE_CHUNK)? == EXPIRE_CHUNK {
            RwLockWriteGuard::bump(&mut state);
        }
        Ok(commands)
    }

    /// Drops a few records from memory if there are too many.
    fn evict_some(&self, state: &mut State, hand: &mut EvictHand) {
        let store = &mut state.store;
        let limit = self.options.memory_bytes_max.get();
        if store.resident_bytes <= limit || store.checkpoint != Checkpoint::Idle {
            return;
        }
        for _ in 0..EVICT_SLOTS {
            let evicted = store.evict(hand.0, |hash| {
                self.referenced[reference_of(hash)].swap(0, Ordering::Relaxed) != 0
            });
            self.evictions.fetch_add(evicted, Ordering::Relaxed);
            hand.0 = (hand.0 + 1) % SLOT_COUNT;
            if store.resident_bytes <= limit {
                return;
            }
        }
    }

    /// Drops records until memory is within its limit, or until two rounds found
    /// nothing more to drop.
    fn evict_after_checkpoint(&self) {
        for _ in 0..2 * usize::from(SLOT_COUNT) / EVICT_SLOTS {
            let mut hand = self.apply_lock.lock();
            let mut state = self.state.write();
            if state.store.resident_bytes <= self.options.memory_bytes_max.get() {
                return;
            }
            self.evict_some(&mut state, &mut hand);
        }
    }

    fn checkpoint_now(&self) -> Result<LogIndex, EngineError> {
        let mut checkpoint = self.checkpoint.lock();
        self.check_poisoned()?;
        let written = self.poison_on_error(self.checkpoint_locked(&mut checkpoint));
        let disk_full = written.as_ref().is_err_and(EngineError::is_disk_full);
        self.disk_full.store(disk_full, Ordering::Release);
        let index = written?;
        self.evict_after_checkpoint();
        Ok(index)
    }

    /// Writes a snapshot into a generation of its own.
    fn receive(source: &mut dyn Read, target: &Disk) -> Result<Header, EngineError> {
        let mut header = None;
        target.change(|sink| {
            let (mut saved, mut last) = (Saved::default(), None::<(u16, Vec<u8>)>);
            let mut stored = Vec::new();
            let read = snapshot::read(source, |key, meta, value| {
                let slot = kv_core::hash_slot(key);
                if last.as_ref().is_some_and(|(last_slot, last_key)| {
                    (slot, key) <= (*last_slot, last_key.as_slice())
                }) {
                    return Err(EngineError::Snapshot {
                        what: "its records are out of order",
                    });
                }
                last = Some((slot, key.to_vec()));
                stored.clear();
                kv_core::layout::put_header(&mut stored, meta);
                stored.extend_from_slice(value);
                saved.keys += 1;
                saved.data_bytes += (key.len() + value.len()) as u64;
                sink.put(slot, key, Some(&stored))
            })?;
            header = Some(read);
            saved.applied = read.index;
            saved.term = read.term;
            saved.now_ms = read.now_ms;
            Ok(Some(saved))
        })?;
        Ok(header.expect("the change was made, so the header was read"))
    }
}

fn reference_of(hash: u64) -> usize {
    usize::try_from(hash).expect("usize has 64 bits") & (REFERENCED_COUNT - 1)
}

impl Engine for FjallEngine {
    fn applied(&self) -> LogIndex {
        self.state.read().applied
    }

    fn applied_term(&self) -> Term {
        self.state.read().term
    }

    fn apply(
        &self,
        index: LogIndex,
        term: Term,
        payload: &[u8],
        replies: Option<&mut Vec<Reply>>,
    ) -> Result<(), EngineError> {
        self.check_poisoned()?;
        let dirty = self.state.read().store.dirty_bytes;
        if dirty > self.options.dirty_bytes_max.get() && !self.disk_full.load(Ordering::Acquire) {
            match self.checkpoint_now() {
                // The log will soon find the disk full as well, which bounds what is to be kept
                // in memory. Another attempt is for whoever calls `checkpoint` in the background.
                Err(error) if error.is_disk_full() => {}
                other => {
                    other?;
                }
            }
        }
        let mut hand = self.apply_lock.lock();
        self.poison_on_error(self.apply_locked(&mut hand, (index, term), payload, replies))
    }

    fn view(&self) -> ReadView<'_> {
        ReadView(Source::Fjall(FjallView::new(self)))
    }

    fn checkpoint(&self) -> Result<LogIndex, EngineError> {
        self.checkpoint_now()
    }

    fn persist(&self) -> Result<LogIndex, EngineError> {
        // Every checkpoint is fsynced; see `disk`.
        self.checkpoint_now()
    }

    fn snapshot(&self) -> Result<Box<dyn SnapshotSource>, EngineError> {
        let mut checkpoint = self.checkpoint.lock();
        self.check_poisoned()?;
        self.poison_on_error(self.checkpoint_locked(&mut checkpoint))?;
        let disk = Arc::clone(&self.state.read().store.disk);
        let view = disk.database()?.snapshot();
        let saved = disk.saved()?;
        let (from, to) = (disk.slot_prefix(0), disk.slot_prefix(SLOT_COUNT));
        let records = view.range(disk.keyspace()?, from..to);
        drop(checkpoint);
        let header = Header {
            index: saved.applied,
            term: saved.term,
            now_ms: saved.now_ms,
        };
        Ok(Box::new(Stream {
            header,
            writer: Some(Writer::new(header)),
            records,
            ready: io::Cursor::default(),
            disk,
        }))
    }

    fn install(&self, source: &mut dyn Read) -> Result<(LogIndex, Term), EngineError> {
        let mut checkpoint = self.checkpoint.lock();
        let _between_entries = self.apply_lock.lock();
        self.check_poisoned()?;
        let old = Arc::clone(&self.state.read().store.disk);
        let target = Arc::new(old.next_generation(&self.dir, &self.options)?);
        let header = Self::receive(source, &target)?;
        let (store, saved) = load(Arc::clone(&target), &self.options)?;
        self.poison_on_error(target.promote(&self.dir, &old))?;
        let replaced = std::mem::replace(&mut *self.state.write(), State::new(store, saved));
        self.checkpointed(&mut checkpoint, header.index);
        drop(replaced);
        Ok((header.index, header.term))
    }

    fn next_deadline(&self) -> Option<u64> {
        self.state
            .read()
            .store
            .deadlines
            .first()
            .map(|(deadline, _)| *deadline)
    }

    fn stats(&self) -> EngineStats {
        let state = self.state.read();
        let store = &state.store;
        EngineStats {
            keys: store.keys,
            data_bytes: store.data_bytes,
            resident_keys: store.resident_keys,
            resident_bytes: store.resident_bytes,
            dirty_bytes: store.dirty_bytes,
            checkpoint_index: self.checkpoint_index.load(Ordering::Acquire),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            disk_reads: store.disk.reads(),
            evictions: self.evictions.load(Ordering::Relaxed),
            disk_bytes: store.disk.bytes(),
        }
    }
}

/// A snapshot being streamed from the LSM's own snapshot.
struct Stream {
    header: Header,
    /// `None` when the stream has ended.
    writer: Option<Writer>,
    records: fjall::Iter,
    ready: io::Cursor<Vec<u8>>,
    disk: Arc<Disk>,
}

impl Stream {
    /// Makes the next bytes ready; false at the end.
    fn refill(&mut self) -> Result<bool, EngineError> {
        let Some(mut writer) = self.writer.take() else {
            return Ok(false);
        };
        for _ in 0..1_024 {
            let Some(pair) = self.records.next() else {
                self.ready = io::Cursor::new(writer.finish());
                return Ok(true);
            };
            let pair = pair.into_inner();
            let (stored_key, stored) = pair.map_err(self.disk.failed("read a snapshot"))?;
            let (.., key) = split_key(&stored_key).ok_or_else(|| self.disk.corrupt("a key"))?;
            split_value(&stored).ok_or_else(|| self.disk.corrupt("a record's header"))?;
            writer.stored(key, &[&stored]);
        }
        self.ready = io::Cursor::new(writer.take());
        self.writer = Some(writer);
        Ok(true)
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.ready.read(buf)?;
            if count > 0 || buf.is_empty() {
                return Ok(count);
            }
            if !self.refill().map_err(io::Error::other)? {
                return Ok(0);
            }
        }
    }
}

impl SnapshotSource for Stream {
    fn index(&self) -> LogIndex {
        self.header.index
    }

    fn term(&self) -> Term {
        self.header.term
    }
}
