//! Headers, compared with hashing each nonce by itself.

use miner_kernels::{Best, Header, Kernel, Puzzle, Target};
use sha2::{Digest as _, Sha256};
use stdx::Prng;

fn plain_hash(header: &Header) -> [u8; 32] {
    Sha256::digest(Sha256::digest(header.as_bytes())).into()
}

fn plain_search(header: Header, target: Target, first: u32, last: u32) -> Option<u32> {
    let number = |nonce| {
        let mut hash = plain_hash(&header.with_nonce(nonce));
        hash.reverse();
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    (first..=last).find(|nonce| number(*nonce) <= target.to_string())
}

fn random_header(prng: &mut Prng) -> Header {
    let mut bytes = [0; 80];
    prng.fill(&mut bytes);
    Header::new(bytes)
}

#[test]
fn random_headers_and_targets() {
    let mut prng = Prng::from_seed(1);
    for _ in 0..150 {
        let header = random_header(&mut prng);
        assert_eq!(header.hash().0, plain_hash(&header));
        let mantissa = u32::try_from(prng.range(0x8000..0x7f_ffff)).unwrap();
        // From one in two to none in a few hundred.
        let exponent = u32::try_from(prng.range(30..33)).unwrap();
        let target = Target::from_bits((exponent << 24) | mantissa).unwrap();
        let count = u32::try_from(prng.below(600)).unwrap();
        let last_start = u64::from(u32::MAX - count) + 1;
        let first = match prng.below(4) {
            0 => 0,
            1 => u32::MAX - count,
            _ => u32::try_from(prng.below(last_start)).unwrap(),
        };
        let last = first + count;
        let expected = plain_search(header, target, first, last);
        for kernel in Kernel::all() {
            let found = header.search(kernel, target, first..=last);
            assert_eq!(found, expected, "{kernel}, {first}..={last}, {target}");
        }
    }
}

#[test]
fn both_ends_are_included() {
    let mut prng = Prng::from_seed(2);
    let target = Target::from_bits(0x207f_ffff).unwrap();
    for _ in 0..50 {
        let header = random_header(&mut prng);
        let met = header
            .search(Kernel::PORTABLE, target, 0..=u32::MAX)
            .unwrap();
        for kernel in Kernel::all() {
            assert_eq!(header.search(kernel, target, met..=met), Some(met));
            assert_eq!(header.search(kernel, target, 0..=met), Some(met));
            if let Some(before) = met.checked_sub(1) {
                assert_eq!(header.search(kernel, target, 0..=before), None);
            }
        }
    }
}

/// The first 64 bits of the hash as explorers show it.
fn plain_top(header: Header, nonce: u32) -> u64 {
    let hash = plain_hash(&header.with_nonce(nonce));
    let top = hash.iter().rev().take(8);
    top.fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[test]
fn the_smallest_hash_of_a_range() {
    let mut prng = Prng::from_seed(3);
    for round in 0..40_u32 {
        let header = random_header(&mut prng);
        let count = u32::try_from(prng.below(400)).unwrap();
        let first = match round % 4 {
            0 => 0,
            1 => u32::MAX - count,
            _ => u32::try_from(prng.below(1 << 31)).unwrap(),
        };
        let bests = (first..=first + count).map(|nonce| Best {
            hash: plain_top(header, nonce),
            nonce: nonce.into(),
        });
        let expected = bests.min();
        for kernel in Kernel::all() {
            let found = header.minimum(kernel, first..=first + count);
            assert_eq!(found, expected, "{kernel}, {count} from {first}");
        }
    }
}

#[test]
fn a_puzzle_is_either_problem() {
    let mut prng = Prng::from_seed(4);
    let mut bytes = [0; 80];
    prng.fill(&mut bytes);
    bytes[72..76].copy_from_slice(&0x1f7f_ffff_u32.to_le_bytes());
    let header = Header::new(bytes);
    let puzzle = Puzzle::header(header).unwrap();
    let target = header.target().unwrap();
    let solved = header.search(Kernel::PORTABLE, target, 0..=u32::MAX);
    let solved = solved.unwrap();
    assert_eq!(puzzle.hash(7), plain_top(header, 7));
    for nonce in solved.saturating_sub(50)..=solved {
        assert_eq!(puzzle.is_solved_by(nonce.into()), nonce == solved);
    }
    // Nonces that a header has no room for are none.
    let past = u64::from(u32::MAX) + 1;
    assert!(!puzzle.is_solved_by(past + u64::from(solved)));
    assert_eq!(puzzle.hash(past), u64::MAX);
    for kernel in Kernel::all() {
        let best = puzzle.minimum(kernel, past - 1..=u64::MAX).unwrap();
        assert_eq!(best.nonce, past - 1);
        assert_eq!(puzzle.minimum(kernel, past..=u64::MAX), None);
        let best = puzzle.minimum(kernel, 0..=solved.into()).unwrap();
        assert_eq!(best.nonce, solved.into());
    }
    bytes[72..76].fill(0);
    assert!(Puzzle::header(Header::new(bytes)).is_err());
}
