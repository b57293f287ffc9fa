//! Seeded random entries, over few keys so that commands meet.

use bytes::BytesMut;
use kv_core::{
    AppendReturning, Batch, Command, Condition, Deadline, ExpireCondition, Expiry, Put, Returning,
    begin_payload,
};
use stdx::Prng;

/// A directory that is gone after the test; in memory where the system has such a file
/// system, since hundreds of checkpoints wait for hundreds of fsyncs.
pub(crate) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Draws entries.
pub(crate) struct Workload {
    pub(crate) prng: Prng,
    pub(crate) keys: u64,
    pub(crate) now_ms: u64,
    /// Whether entries may clear everything.
    pub(crate) clears: bool,
}

impl Workload {
    pub(crate) fn new(seed: u64, keys: u64) -> Self {
        Self {
            prng: Prng::from_seed(seed),
            keys,
            now_ms: 1_000_000,
            clears: true,
        }
    }

    /// A key; some share a slot by a hash tag.
    pub(crate) fn key(&mut self) -> Vec<u8> {
        let number = self.prng.below(self.keys);
        let name = if number.is_multiple_of(3) {
            format!("{{t}}:{number}")
        } else {
            format!("key:{number}")
        };
        name.into_bytes()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.prng.below(4) {
            0 => self.prng.below(1_000).to_string().into_bytes(),
            1 => b"1.5".to_vec(),
            _ => {
                let length = self.prng.index(200);
                let mut value = vec![0; length];
                self.prng.fill(&mut value);
                value
            }
        }
    }

    fn deadline(&mut self) -> Deadline {
        let offset = i64::try_from(self.prng.below(2_000)).unwrap() - 100;
        if self.prng.chance(1, 2) {
            Deadline::After(offset)
        } else {
            Deadline::At(i64::try_from(self.now_ms).unwrap() + offset)
        }
    }

    fn expiry(&mut self) -> Expiry {
        match self.prng.below(3) {
            0 => Expiry::Keep,
            1 => Expiry::Clear,
            _ => Expiry::Set(self.deadline()),
        }
    }

    /// A payload of one to twenty commands.
    pub(crate) fn payload(&mut self) -> BytesMut {
        if self.prng.chance(1, 3) {
            self.now_ms += self.prng.below(300);
        }
        let mut batch = Batch::new();
        for _ in 0..=self.prng.below(20) {
            self.command(&mut batch);
        }
        let mut payload = BytesMut::new();
        begin_payload(&mut payload, self.now_ms);
        payload.extend_from_slice(batch.bytes());
        payload
    }

    #[expect(clippy::too_many_lines, reason = "a flat list of commands")]
    fn command(&mut self, batch: &mut Batch) {
        let (key, other, value) = (self.key(), self.key(), self.value());
        let (key, other, value) = (&key[..], &other[..], &value[..]);
        let expiry = self.expiry();
        let deadline = self.deadline();
        let pick = self.prng.below(100);
        let command = match pick {
            0..35 => return batch.put(key, value),
            35..50 => Command::Put(Put {
                key,
                value,
                expiry,
                condition: match self.prng.below(5) {
                    0 => Condition::IfAbsent,
                    1 => Condition::IfPresent,
                    2 => Condition::IfVersion(self.prng.below(4)),
                    3 => Condition::IfValue(b"1.5"),
                    _ => Condition::Always,
                },
                returning: *self
                    .prng
                    .choose(&[Returning::Status, Returning::Old, Returning::Version])
                    .unwrap(),
            }),
            50..55 => Command::Append {
                key,
                value,
                returning: AppendReturning::OldLength,
            },
            55..58 => Command::SetRange {
                key,
                offset: self.prng.below(300),
                value,
            },
            58..68 => Command::Delete {
                keys: vec![key, other],
            },
            68..70 => Command::DeleteIf {
                key,
                condition: Condition::IfVersion(1),
            },
            70..75 => Command::Increment { key, by: 3 },
            75..78 => Command::IncrementFloat { key, by: b"0.25" },
            78..80 => Command::GetDelete { key },
            80..83 => Command::GetExpire { key, expiry },
            83..90 => Command::Expire {
                key,
                deadline,
                condition: *self
                    .prng
                    .choose(&[
                        ExpireCondition::Always,
                        ExpireCondition::IfNone,
                        ExpireCondition::IfLater,
                        ExpireCondition::IfSooner,
                    ])
                    .unwrap(),
            },
            90..92 => Command::Persist { key },
            92..95 => Command::MultiPut {
                pairs: vec![(key, value), (other, value)],
                only_if_none_exists: self.prng.chance(1, 2),
            },
            95..98 => Command::Rename {
                source: key,
                target: other,
                only_if_absent: self.prng.chance(1, 2),
            },
            98 if self.clears && self.prng.chance(1, 20) => Command::Clear,
            98 => Command::Get { key },
            _ => Command::Tick,
        };
        batch.push(&command);
    }
}
