//! A disk that forgets what wasn't synced, tears what was half written, rots, stalls and
//! runs full.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use stdx::{Instant, Prng};

use crate::network::exponential;

/// How a disk behaves.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// The shortest time a sync takes.
    pub sync_min: Duration,
    /// The mean of what a sync takes on top.
    pub sync_mean: Duration,
    /// Crashes in a thousand that lose the cache of the machine (power loss) rather than
    /// only the process.
    pub power_loss_per_mille: u64,
    /// Whether a write cut short by power loss may be there in part.
    pub torn_writes: bool,
    /// Bytes that fit.
    pub capacity_bytes: u64,
}

impl DiskOptions {
    /// A quick disk whose machine loses power at every crash.
    pub const QUICK: Self = Self {
        sync_min: Duration::from_micros(100),
        sync_mean: Duration::from_micros(300),
        power_loss_per_mille: 1_000,
        torn_writes: true,
        capacity_bytes: u64::MAX,
    };
}

/// Names a sync whose end is awaited. Syncs end in the order in which they began.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SyncId(u64);

/// Why a disk refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DiskError {
    /// No space left.
    Full,
    /// The sync failed; what it covered may or may not be durable.
    SyncFailed,
}

impl core::fmt::Display for DiskError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "no space left on the disk",
            Self::SyncFailed => "the sync failed",
        })
    }
}

impl core::error::Error for DiskError {}

/// Files with a live image, which the process sees, and a durable one, which survives.
#[derive(Debug)]
pub struct Disk {
    options: DiskOptions,
    prng: Prng,
    files: BTreeMap<String, File>,
    writes: u64,
    syncs: VecDeque<Sync>,
    sync_count: u64,
    last_sync_end: Instant,
    stalled_until: Instant,
    full: bool,
    fail_next_sync: bool,
}

#[derive(Debug, Default)]
struct File {
    /// Logical offset of the images' first byte: what is before it was deleted.
    start: u64,
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: VecDeque<(u64, Pending)>,
}

#[derive(Debug)]
enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate { len: u64 },
    Replace { bytes: Vec<u8> },
}

#[derive(Clone, Copy, Debug)]
struct Sync {
    id: SyncId,
    /// Covers the writes numbered up to this.
    through: u64,
    fails: bool,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub const fn new(options: DiskOptions, prng: Prng) -> Self {
        Self {
            options,
            prng,
            files: BTreeMap::new(),
            writes: 0,
            syncs: VecDeque::new(),
            sync_count: 0,
            last_sync_end: Instant::EPOCH,
            stalled_until: Instant::EPOCH,
            full: false,
            fail_next_sync: false,
        }
    }

    /// Changes the disk's behaviour from now on.
    pub const fn set_options(&mut self, options: DiskOptions) {
        self.options = options;
    }

    /// Adds bytes at the end of a file and says at which offset.
    ///
    /// # Errors
    ///
    /// When the disk is full; then nothing is written.
    pub fn append(&mut self, name: &str, bytes: &[u8]) -> Result<u64, DiskError> {
        let offset = self.len(name);
        self.write(name, offset, bytes)?;
        Ok(offset)
    }

    /// Writes bytes at an offset; a gap before them reads as zeros.
    ///
    /// # Errors
    ///
    /// When the disk is full; then nothing is written.
    ///
    /// # Panics
    ///
    /// When the offset is in a part of the file that was trimmed.
    pub fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.reserve(bytes.len() as u64)?;
        let number = self.next_write();
        let file = self.file(name);
        assert!(offset >= file.start, "a write into the trimmed part");
        put(&mut file.live, offset - file.start, bytes);
        let bytes = bytes.to_vec();
        file.pending
            .push_back((number, Pending::Write { offset, bytes }));
        Ok(())
    }

    /// Replaces a whole file, atomically: a crash leaves the old or the new one.
    ///
    /// # Errors
    ///
    /// When the disk is full; then nothing is written.
    pub fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        self.reserve(bytes.len() as u64)?;
        let number = self.next_write();
        let file = self.file(name);
        file.start = 0;
        file.live = bytes.to_vec();
        let bytes = bytes.to_vec();
        file.pending.push_back((number, Pending::Replace { bytes }));
        Ok(())
    }

    /// Cuts a file's end off.
    pub fn truncate(&mut self, name: &str, len: u64) {
        let number = self.next_write();
        let file = self.file(name);
        file.live.truncate(to_usize(len.saturating_sub(file.start)));
        file.pending.push_back((number, Pending::Truncate { len }));
    }

    /// Deletes a file's bytes before `offset`, at once and for good: the worst case for a
    /// caller that deletes before what replaces it is durable. Offsets stay what they were.
    pub fn trim_front(&mut self, name: &str, offset: u64) {
        let file = self.file(name);
        let count = to_usize(offset.saturating_sub(file.start));
        file.live.drain(..count.min(file.live.len()));
        file.durable.drain(..count.min(file.durable.len()));
        file.start = file.start.max(offset);
    }

    /// Where a file's bytes begin, and the bytes: the live image.
    #[must_use]
    pub fn read(&self, name: &str) -> (u64, &[u8]) {
        self.files
            .get(name)
            .map_or((0, &[]), |file| (file.start, &file.live))
    }

    /// The offset of a file's end.
    #[must_use]
    pub fn len(&self, name: &str) -> u64 {
        self.files
            .get(name)
            .map_or(0, |file| file.start + file.live.len() as u64)
    }

    /// Bytes in all files.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| file.live.len() as u64).sum()
    }

    /// Begins to make durable what was written so far; says when that will be done.
    pub fn begin_sync(&mut self, now: Instant) -> (SyncId, Instant) {
        self.sync_count += 1;
        let id = SyncId(self.sync_count);
        self.syncs.push_back(Sync {
            id,
            through: self.writes,
            fails: core::mem::take(&mut self.fail_next_sync),
        });
        let span = self.options.sync_min + exponential(&mut self.prng, self.options.sync_mean);
        let end = now
            .after(span)
            .max(self.stalled_until)
            .max(self.last_sync_end);
        self.last_sync_end = end;
        (id, end)
    }

    /// Ends a sync: what it covers is durable. A sync that a crash forgot is ignored.
    ///
    /// # Errors
    ///
    /// When the sync fails.
    pub fn end_sync(&mut self, id: SyncId) -> Result<(), DiskError> {
        let Some(sync) = self.syncs.pop_front_if(|sync| sync.id == id) else {
            return Ok(());
        };
        if sync.fails {
            return Err(DiskError::SyncFailed);
        }
        for file in self.files.values_mut() {
            while let Some((_, pending)) = file
                .pending
                .pop_front_if(|(number, _)| *number <= sync.through)
            {
                file.settle(pending);
            }
        }
        Ok(())
    }

    /// The process dies, or the machine: syncs under way are forgotten, and after power
    /// loss each write that wasn't synced is there, or not, or in part.
    pub fn crash(&mut self) {
        let power_loss = self.prng.chance(self.options.power_loss_per_mille, 1_000);
        self.syncs.clear();
        self.last_sync_end = Instant::EPOCH;
        // Power lost at a random moment: usually a prefix of the writes got through.
        let mode = self.prng.below(3);
        for file in self.files.values_mut() {
            let mut lost_the_rest = false;
            for (_, pending) in core::mem::take(&mut file.pending) {
                if power_loss {
                    lost_the_rest |= self.prng.chance(1, 3);
                    let kept = match mode {
                        0 => false,
                        1 => !lost_the_rest,
                        _ => self.prng.chance(1, 2),
                    };
                    let torn = self.options.torn_writes && self.prng.chance(1, 2);
                    if kept {
                        file.settle(pending);
                    } else if torn {
                        file.settle_torn(pending, &mut self.prng);
                    }
                } else {
                    file.settle(pending);
                }
            }
            file.live.clone_from(&file.durable);
        }
    }

    /// Turns one bit round, in what the process sees and in what survives.
    pub fn flip_bit(&mut self, name: &str, offset: u64, bit: u8) {
        let file = self.file(name);
        let Some(at) = offset.checked_sub(file.start).map(to_usize) else {
            return;
        };
        for image in [&mut file.live, &mut file.durable] {
            if let Some(byte) = image.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// No sync ends before `until`.
    pub fn stall(&mut self, until: Instant) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// Whether every write is refused.
    pub const fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// The next sync that begins will fail.
    pub const fn fail_next_sync(&mut self) {
        self.fail_next_sync = true;
    }

    /// Ends the disk's faults: room, no stall, no sync that is bound to fail.
    pub const fn heal(&mut self) {
        self.full = false;
        self.fail_next_sync = false;
        self.stalled_until = Instant::EPOCH;
    }

    /// Takes every file away: a replaced machine.
    pub fn wipe(&mut self) {
        self.files.clear();
        self.syncs.clear();
    }

    fn reserve(&self, bytes: u64) -> Result<(), DiskError> {
        if self.full || self.used_bytes() + bytes > self.options.capacity_bytes {
            return Err(DiskError::Full);
        }
        Ok(())
    }

    const fn next_write(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    fn file(&mut self, name: &str) -> &mut File {
        if !self.files.contains_key(name) {
            self.files.insert(name.to_owned(), File::default());
        }
        self.files.get_mut(name).expect("it was just put there")
    }
}

impl File {
    fn settle(&mut self, pending: Pending) {
        match pending {
            Pending::Write { offset, bytes } => self.settle_write(offset, &bytes),
            Pending::Truncate { len } => {
                let len = to_usize(len.saturating_sub(self.start));
                self.durable.truncate(len);
            }
            Pending::Replace { bytes } => self.durable = bytes,
        }
    }

    /// A write got through in part: its front, or its end after a hole of zeros.
    fn settle_torn(&mut self, pending: Pending, prng: &mut Prng) {
        let Pending::Write { offset, mut bytes } = pending else {
            return;
        };
        let cut = prng.index(bytes.len() + 1);
        if prng.chance(3, 4) {
            bytes.truncate(cut);
        } else {
            bytes[..cut].fill(0);
        }
        self.settle_write(offset, &bytes);
    }

    fn settle_write(&mut self, offset: u64, bytes: &[u8]) {
        let skipped = to_usize(self.start.saturating_sub(offset)).min(bytes.len());
        put(
            &mut self.durable,
            offset.saturating_sub(self.start),
            &bytes[skipped..],
        );
    }
}

fn put(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let offset = to_usize(offset);
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    image[offset..end].copy_from_slice(bytes);
}

fn to_usize(offset: u64) -> usize {
    usize::try_from(offset).expect("a simulated file fits in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(seed: u64) -> Disk {
        Disk::new(DiskOptions::QUICK, Prng::from_seed(seed))
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let mut fates = [0; 3];
        for seed in 0..200 {
            let mut disk = disk(seed);
            disk.append("log", b"first").unwrap();
            let (sync, end) = disk.begin_sync(Instant::EPOCH);
            disk.append("log", b"second").unwrap();
            assert!(end > Instant::EPOCH);
            disk.end_sync(sync).unwrap();
            disk.crash();
            let (_, bytes) = disk.read("log");
            assert!(bytes.starts_with(b"first"));
            let fate = match bytes.len() {
                5 => 0,
                11 if bytes.ends_with(b"second") => 1,
                _ => 2,
            };
            fates[fate] += 1;
        }
        assert!(fates.iter().all(|&count| count > 10), "{fates:?}");
    }

    #[test]
    fn a_killed_process_loses_nothing_that_it_wrote() {
        let mut disk = disk(1);
        disk.set_options(DiskOptions {
            power_loss_per_mille: 0,
            ..DiskOptions::QUICK
        });
        disk.append("log", b"never synced").unwrap();
        disk.crash();
        assert_eq!(disk.read("log").1, b"never synced");
    }

    #[test]
    fn a_replaced_file_is_old_or_new_never_mixed() {
        let mut seen = [false; 2];
        for seed in 0..50 {
            let mut disk = disk(seed);
            disk.replace("snapshot", b"old one").unwrap();
            let (sync, _) = disk.begin_sync(Instant::EPOCH);
            disk.end_sync(sync).unwrap();
            disk.replace("snapshot", b"new").unwrap();
            disk.crash();
            match disk.read("snapshot").1 {
                b"old one" => seen[0] = true,
                b"new" => seen[1] = true,
                other => panic!("a mixture: {other:?}"),
            }
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn trimming_keeps_offsets_and_syncs_end_in_order() {
        let mut disk = disk(3);
        disk.append("log", b"0123456789").unwrap();
        let (first, first_end) = disk.begin_sync(Instant::EPOCH);
        disk.stall(Instant::from_nanos(50_000_000));
        let (second, second_end) = disk.begin_sync(Instant::EPOCH);
        assert!(first_end <= second_end);
        assert_eq!(second_end, Instant::from_nanos(50_000_000));
        disk.end_sync(first).unwrap();
        disk.end_sync(second).unwrap();
        disk.trim_front("log", 4);
        assert_eq!(disk.append("log", b"ab").unwrap(), 10);
        assert_eq!(disk.read("log"), (4, &b"456789ab"[..]));
        disk.flip_bit("log", 5, 0);
        assert_eq!(disk.read("log").1[1], b'5' ^ 1);
    }

    #[test]
    fn a_full_disk_and_a_failing_sync_say_so() {
        let mut disk = disk(4);
        disk.set_full(true);
        assert_eq!(disk.append("log", b"x"), Err(DiskError::Full));
        disk.set_full(false);
        disk.append("log", b"x").unwrap();
        disk.fail_next_sync();
        let (sync, _) = disk.begin_sync(Instant::EPOCH);
        assert_eq!(disk.end_sync(sync), Err(DiskError::SyncFailed));
    }
}
