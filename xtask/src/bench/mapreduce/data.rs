//! Inputs, made from a seed: the same bytes on every machine. They are made once and kept.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A sequence of numbers: `SplitMix64`, any element of which can be had at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    state: u64,
}

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn byte(&mut self, bound: u8) -> u8 {
        u8::try_from(self.below(u64::from(bound))).expect("it is below the bound")
    }

    fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

/// A file with these bytes, made by `write` unless it is there already.
fn kept(path: PathBuf, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<PathBuf> {
    if !path.exists() {
        eprintln!("  generating {}", path.display());
        let part = path.with_extension("part");
        let file = File::create(&part).with_context(|| part.display().to_string())?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        out.flush()?;
        fs::rename(&part, &path)?;
    }
    Ok(path)
}

/// How many different words the text has.
pub(crate) const WORDS: usize = 50_000;

/// Text of about `bytes` bytes: lines of 4 to 16 words of 2 to 12 letters, whose frequencies follow
/// Zipf's law with exponent 1.
pub(crate) fn text(dir: &Path, bytes: u64) -> Result<PathBuf> {
    kept(dir.join(format!("text-{bytes}.txt")), |out| {
        let mut numbers = Numbers::new(1);
        let words = vocabulary(&mut numbers);
        let mut sums = Vec::with_capacity(WORDS);
        let mut sum = 0.0;
        for rank in 1..=WORDS {
            sum += 1.0 / rank as f64;
            sums.push(sum);
        }
        let (mut written, mut line) = (0, Vec::new());
        while written < bytes {
            line.clear();
            for _ in 0..4 + numbers.below(13) {
                let at = numbers.unit() * sum;
                let rank = sums.partition_point(|sum| *sum <= at).min(WORDS - 1);
                line.extend_from_slice(&words[rank]);
                line.push(b' ');
            }
            *line.last_mut().context("a line has four words at least")? = b'\n';
            out.write_all(&line)?;
            written += line.len() as u64;
        }
        Ok(())
    })
}

/// Different words; the frequent ones are a little shorter.
fn vocabulary(numbers: &mut Numbers) -> Vec<Vec<u8>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut words = Vec::with_capacity(WORDS);
    while words.len() < WORDS {
        let longest = if words.len() < 500 { 5 } else { 11 };
        let len = 2 + numbers.below(longest);
        let word: Vec<u8> = (0..len).map(|_| b'a' + numbers.byte(26)).collect();
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

/// The length of a record.
pub(crate) const RECORD_BYTES: u64 = 100;

/// `count` records of 100 bytes: a key of ten random printable characters, the number of the
/// record, filler, a line feed.
pub(crate) fn records(dir: &Path, count: u64) -> Result<PathBuf> {
    kept(dir.join(format!("records-{count}.txt")), |out| {
        for index in 0..count {
            out.write_all(&record(index))?;
        }
        Ok(())
    })
}

fn record(index: u64) -> [u8; 100] {
    let mut record = [b' '; 100];
    let mut numbers = Numbers::new(index.wrapping_mul(0x2545_f491_4f6c_dd1d));
    for byte in &mut record[..10] {
        *byte = b'!' + numbers.byte(94);
    }
    record[12..44].copy_from_slice(format!("{index:032X}").as_bytes());
    for byte in &mut record[46..99] {
        *byte = b'A' + numbers.byte(26);
    }
    record[99] = b'\n';
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_inputs_are_what_they_say() {
        let dir = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(text(dir.path(), 100_000).unwrap()).unwrap();
        assert!((100_000..100_300).contains(&text.len()));
        let lines = text
            .lines()
            .all(|line| (4..=16).contains(&line.split(' ').count()));
        assert!(lines && text.ends_with('\n'));
        let records = fs::read(records(dir.path(), 50).unwrap()).unwrap();
        assert_eq!(records.len(), 5_000);
        let key = |record: &[u8]| record[..10].iter().all(|byte| (b'!'..=b'~').contains(byte));
        assert!(
            records
                .chunks(100)
                .all(|record| key(record) && record[99] == b'\n')
        );
        assert_ne!(records[..10], records[100..110]);
    }
}
