//! Arbitrary bytes where a log should be, from a seeded generator.

use stdx::Prng;
use wal::disk::MemoryDisk;
use wal::{Append, Format};

use crate::model::{Generator, Operation, State, open};

/// What real logs look like, to start from.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = vec![vec![0], vec![1], vec![2], vec![3]];
    for (format, name, what, skip) in [
        (Format::Binary, "segment-0000000000000001.wal", 0, 64),
        (Format::escaped_text(), "group-1/logs.txt", 2, 0),
        (Format::escaped_text(), "group-1/metadata.txt", 3, 0),
    ] {
        let disk = MemoryDisk::new();
        let mut opened = open(&disk, &format).unwrap();
        let prng = Prng::from_seed(5);
        let mut generator = Generator {
            prng,
            groups: 3,
            payload_bytes_max: 40,
        };
        let mut state = State::new();
        for _ in 0..30 {
            if let Operation::Append(parts) = generator.operation(&state) {
                let batch: Vec<Append<'_>> = parts.iter().map(|part| part.borrow()).collect();
                opened.log.append(&batch).unwrap();
                parts.iter().for_each(|part| part.apply(&mut state));
            }
        }
        opened.log.sync().unwrap();
        let mut sample = vec![what];
        sample.extend_from_slice(&disk.content(name)[skip..]);
        samples.push(sample);
    }
    // Bodies of records: a vote, a base that resets, two entries.
    let mut bodies = vec![1];
    let mut body = vec![15, 0, 0, 0, 2, 0, 0, 0];
    for word in [1_u64, 4, 2, 7, 3] {
        body.extend_from_slice(&word.to_le_bytes());
    }
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&8_u64.to_le_bytes());
    for kind in [2, 1] {
        body.extend_from_slice(&3_u64.to_le_bytes());
        body.extend_from_slice(&[1, 0, 0, 0, kind, b'x']);
    }
    for _ in 0..3 {
        bodies.extend_from_slice(&u16::try_from(body.len()).unwrap().to_le_bytes());
        bodies.extend_from_slice(&body);
    }
    samples.push(bodies);
    samples
}

fn mutate(prng: &mut Prng, sample: &[u8]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..prng.range(1..6) {
        let at = prng.index(bytes.len());
        match prng.below(6) {
            0 => bytes[at] ^= 1 << prng.below(8),
            1 => bytes[at] = prng.next_u64().to_le_bytes()[0],
            2 => bytes.truncate(at.max(1)),
            3 => {
                let end = (at + prng.index(40)).min(bytes.len());
                let copied = bytes[at..end].to_vec();
                let to = prng.index(bytes.len());
                bytes.splice(to..to, copied);
            }
            4 => {
                let end = (at + prng.index(40)).min(bytes.len());
                bytes.drain(at.max(1)..end.max(at.max(1)));
            }
            _ => bytes[at] = *prng.choose(&[0, 1, 7, 0x7f, 0x80, 0xff]).unwrap(),
        }
    }
    bytes
}

#[test]
fn arbitrary_bytes_are_recovered_or_refused() {
    let samples = samples();
    for sample in &samples {
        wal::fuzz_recover(sample);
    }
    let mut prng = Prng::from_seed(11);
    for _ in 0..6_000 {
        let sample = &samples[prng.index(samples.len())];
        wal::fuzz_recover(&mutate(&mut prng, sample));
    }
}
