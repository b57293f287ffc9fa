//! `sort`: all lines in the order of their bytes, over all output files.
//!
//! Each partition takes a range of keys. The ranges come from a sample of the inputs that is drawn
//! once, before the first task, and kept in the arguments.

use core::fmt::Write as _;
use std::sync::Arc;

use crate::builtin::Arguments;
use crate::error::{SpecError, TaskError, UserError};
use crate::function::{
    Emit, Job, Mapper, Output, Partitioner, Record, Reducer, TaskContext, Values,
};
use crate::input::Reader;
use crate::progress::Cancel;
use crate::run::prefix;
use crate::spec::Args;
use crate::split::{Compression, Split};

/// A boundary needs no more than this of a key.
const BOUNDARY_BYTES_MAX: usize = 64;
/// In so many places the inputs are looked at, at least, and for each partition.
const PLACES_MIN: u64 = 64;
const PLACES_EACH: u64 = 8;
const PLACES_MAX: u64 = 4_096;
/// How many bytes of records are taken in each.
const PLACE_BYTES: u64 = 8 << 10;

pub(crate) fn make(arguments: &Arguments<'_>) -> Result<Arc<dyn Job>, SpecError> {
    let boundaries = match arguments.value("boundaries") {
        None | Some("") => Vec::new(),
        Some(text) => {
            let parsed: Option<Vec<Vec<u8>>> = text.split(',').map(from_hex).collect();
            let parsed = parsed.filter(|keys| keys.is_sorted());
            parsed.ok_or_else(|| {
                arguments.error(
                    "boundaries",
                    "must be sorted keys in hexadecimal, with commas between",
                )
            })?
        }
    };
    Ok(Arc::new(Sort {
        boundaries: Arc::new(boundaries),
    }))
}

#[derive(Debug)]
struct Sort {
    /// The first keys of all partitions but the first.
    boundaries: Arc<Vec<Vec<u8>>>,
}

impl Job for Sort {
    fn mapper(&self, _: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(Line))
    }

    fn reducer(&self, _: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(Box::new(Line))
    }

    fn partitioner(&self) -> Box<dyn Partitioner> {
        Box::new(Ranges {
            heads: self.boundaries.iter().map(|key| prefix(key)).collect(),
            boundaries: Arc::clone(&self.boundaries),
        })
    }

    fn prepare(
        &self,
        splits: &[Split],
        partitions: u32,
        cancel: &Cancel,
    ) -> Result<Args, TaskError> {
        let mut sample = sample(splits, partitions, cancel)?;
        sample.sort_unstable();
        let mut boundaries = Vec::new();
        for partition in 1..u64::from(partitions) {
            let at = sample.len() as u64 * partition / u64::from(partitions);
            let Some(key) = sample.get(usize::try_from(at).unwrap_or(usize::MAX)) else {
                break;
            };
            boundaries.push(to_hex(&key[..key.len().min(BOUNDARY_BYTES_MAX)]));
        }
        Ok(Args::from([(
            "boundaries".to_owned(),
            boundaries.join(","),
        )]))
    }
}

/// Lines from all over the inputs.
fn sample(splits: &[Split], partitions: u32, cancel: &Cancel) -> Result<Vec<Vec<u8>>, TaskError> {
    let total: u64 = splits.iter().map(|split| split.len).sum();
    let places = (u64::from(partitions) * PLACES_EACH).clamp(PLACES_MIN, PLACES_MAX);
    let mut sample = Vec::new();
    for split in splits {
        let share = u128::from(places) * u128::from(split.len);
        let share = u64::try_from(share.div_ceil(u128::from(total.max(1)))).unwrap_or(places);
        // What is packed can only be read from its start.
        let packed = split.compression != Compression::None || split.len < share * PLACE_BYTES;
        for place in 0..if packed { 1 } else { share } {
            cancel.check()?;
            let mut part = split.clone();
            if !packed {
                part.start += split.len / share * place;
                part.len = PLACE_BYTES;
            }
            let most = if packed {
                share * PLACE_BYTES
            } else {
                PLACE_BYTES
            };
            take_lines(&part, most, &mut sample)?;
        }
    }
    Ok(sample)
}

fn take_lines(part: &Split, most: u64, sample: &mut Vec<Vec<u8>>) -> Result<(), TaskError> {
    let mut reader = Reader::open(part)?;
    let mut taken = 0;
    while let Some(block) = reader.next_block()? {
        for (_, line) in block.records() {
            sample.push(line[..line.len().min(BOUNDARY_BYTES_MAX)].to_vec());
            taken += line.len() as u64 + 1;
            if taken >= most {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    digits
        .map(|digits| u8::from_str_radix(digits, 16).ok())
        .collect()
}

struct Ranges {
    heads: Vec<u64>,
    boundaries: Arc<Vec<Vec<u8>>>,
}

impl Partitioner for Ranges {
    #[inline]
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        let head = prefix(key);
        // Boundaries whose first eight bytes agree with the key's are looked at in full.
        let mut at = self.heads.partition_point(|boundary| *boundary < head);
        while at < self.heads.len()
            && self.heads[at] == head
            && self.boundaries[at].as_slice() <= key
        {
            at += 1;
        }
        u32::try_from(at).unwrap_or(u32::MAX).min(partitions - 1)
    }
}

struct Line;

impl Mapper for Line {
    #[inline]
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        out.emit(record.bytes, b"")?;
        Ok(())
    }
}

impl Reducer for Line {
    #[inline]
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        while values.next()?.is_some() {
            out.write_line(key)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_to_their_range() {
        let keys = ["b", "longer-than-8-a", "longer-than-8-b"];
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        let ranges = Ranges {
            heads: keys.iter().map(|key| prefix(key)).collect(),
            boundaries: Arc::new(keys),
        };
        let expected = [
            ("", 0),
            ("a", 0),
            ("b", 1),
            ("b\0", 1),
            ("longer-than-8-", 1),
            ("longer-than-8-a", 2),
            ("longer-than-8-az", 2),
            ("longer-than-8-b", 3),
            ("z", 3),
        ];
        for (key, partition) in expected {
            assert_eq!(ranges.partition(key.as_bytes(), 4), partition, "{key}");
        }
        assert_eq!(ranges.partition(b"z", 2), 1, "there are no more partitions");
    }

    #[test]
    fn boundaries_survive_as_text() {
        let bytes = [0, 1, 0xab, 0xff];
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes.to_vec()));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
