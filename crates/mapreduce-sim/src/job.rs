//! A word count that fits in a hand: what maps and reduces do, and what must come out.

use std::collections::BTreeMap;

use mapreduce_core::{Consumed, Digest, MapDone, ReduceDone, Tally};

/// Words are numbers.
pub(crate) type Word = u32;
/// What a reduce writes: each word and how often it was there.
pub(crate) type Counts = BTreeMap<Word, u64>;

/// The job's input and its quirks.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// The words of each map's split.
    pub(crate) splits: Vec<Vec<Word>>,
    pub(crate) reduces: u32,
    /// Records on which the map fails: the map and the record.
    pub(crate) bad: Vec<(u32, u64)>,
    /// A map that gives something else each time.
    pub(crate) unsteady: Option<u32>,
}

fn hash(word: Word) -> u128 {
    let mut x = u64::from(word) ^ 0x9e37_79b9_7f4a_7c15;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u128::from(x ^ (x >> 31)) * 0x1_0000_0001_0000_0001
}

pub(crate) fn tally(words: &[Word]) -> Tally {
    let digest = words
        .iter()
        .fold(Digest(0), |sum, w| sum.plus(Digest(hash(*w))));
    Tally {
        records: words.len() as u64,
        bytes: words.len() as u64 * 4,
        digest,
    }
}

/// Executes a map; an error names the bad record.
pub(crate) fn map(
    input: &Input,
    map: u32,
    skip: &[u64],
    salt: u32,
) -> Result<(MapDone, Vec<Vec<Word>>), u64> {
    let split = &input.splits[map as usize];
    let mut parts = vec![Vec::new(); input.reduces as usize];
    let mut skipped = Vec::new();
    for (record, word) in (0_u64..).zip(split) {
        if skip.contains(&record) {
            skipped.push(record);
            continue;
        }
        if input.bad.contains(&(map, record)) {
            return Err(record);
        }
        parts[(word % input.reduces) as usize].push(*word);
    }
    if input.unsteady == Some(map) {
        let word = 1_000 + salt;
        parts[(word % input.reduces) as usize].push(word);
    }
    let words = i64::try_from(split.len() - skipped.len()).unwrap_or(0);
    let done = MapDone {
        input: tally(split),
        extents: parts.iter().map(|part| tally(part)).collect(),
        skipped,
        counters: BTreeMap::from([("words".to_owned(), words)]),
    };
    Ok((done, parts))
}

/// Executes a reduce.
pub(crate) fn reduce(parts: &BTreeMap<u32, Vec<Word>>, file: String) -> (ReduceDone, Counts) {
    let mut counts = Counts::new();
    for word in parts.values().flatten() {
        *counts.entry(*word).or_insert(0) += 1;
    }
    let consumed = parts.iter().map(|(map, words)| {
        let tally = tally(words);
        Consumed {
            map: *map,
            records: tally.records,
            digest: tally.digest,
        }
    });
    let mut digest = Digest(0);
    for (word, count) in &counts {
        digest = digest.plus(Digest(hash(*word).wrapping_mul(u128::from(*count) * 2 + 1)));
    }
    let keys = i64::try_from(counts.len()).unwrap_or(0);
    let done = ReduceDone {
        output: Tally {
            records: counts.len() as u64,
            bytes: counts.len() as u64 * 8,
            digest,
        },
        file,
        consumed: consumed.collect(),
        counters: BTreeMap::from([("keys".to_owned(), keys)]),
    };
    (done, counts)
}

/// What one process would make of it: the counts, and the counters.
pub(crate) fn sequential(input: &Input) -> (Counts, BTreeMap<String, i64>) {
    let mut counts = Counts::new();
    let mut words = 0;
    for (map, split) in (0..).zip(&input.splits) {
        for (record, word) in (0..).zip(split) {
            if !input.bad.contains(&(map, record)) {
                *counts.entry(*word).or_insert(0) += 1;
                words += 1;
            }
        }
    }
    let keys = i64::try_from(counts.len()).unwrap_or(0);
    let counters = BTreeMap::from([("keys".to_owned(), keys), ("words".to_owned(), words)]);
    (counts, counters)
}
