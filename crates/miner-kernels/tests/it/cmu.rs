//! The smallest hash over ranges, compared with hashing every nonce by itself.

use core::ops::RangeInclusive;

use miner_kernels::{Best, Kernel, Message};
use sha2::{Digest as _, Sha256};
use stdx::Prng;

fn plain_hash(message: &[u8], nonce: u64) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(message);
    hasher.update(format!(" {nonce}"));
    let digest = hasher.finalize();
    u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

fn plain_minimum(message: &[u8], nonces: RangeInclusive<u64>) -> Option<Best> {
    nonces
        .map(|nonce| Best {
            hash: plain_hash(message, nonce),
            nonce,
        })
        .min()
}

fn check(message: &[u8], nonces: RangeInclusive<u64>) {
    let expected = plain_minimum(message, nonces.clone());
    let prepared = Message::new(message);
    if let Some(best) = expected {
        assert_eq!(prepared.hash(best.nonce), best.hash);
    }
    for kernel in Kernel::all() {
        let found = prepared.minimum(kernel, nonces.clone());
        let length = message.len();
        assert_eq!(found, expected, "{kernel}, {length} bytes, {nonces:?}");
    }
}

fn text(prng: &mut Prng, length: usize) -> Vec<u8> {
    let mut message = vec![0; length];
    prng.fill(&mut message);
    message
}

#[test]
fn the_course_s_own_hashes() {
    let message = Message::new(b"msg");
    assert_eq!(message.hash(0), 13_781_283_048_668_101_583);
    assert_eq!(message.hash(1), 4_754_799_531_757_243_342);
    assert_eq!(message.hash(2), 5_611_725_180_048_225_792);
    for kernel in Kernel::all() {
        let best = message.minimum(kernel, 0..=2).unwrap();
        assert_eq!((best.hash, best.nonce), (4_754_799_531_757_243_342, 1));
    }
}

#[test]
fn messages_of_every_length() {
    let mut prng = Prng::from_seed(1);
    // Lengths that put every digit at every place of a block, with and without a second one.
    for length in 0..=200 {
        let message = text(&mut prng, length);
        let start = 10_u64.pow(u32::try_from(length % 19).unwrap()) + prng.below(500);
        check(&message, start..=start + 60);
        check(&message, 990..=1_070);
    }
}

#[test]
fn every_number_of_digits_at_every_place() {
    let mut prng = Prng::from_seed(2);
    for digits in 4..=20 {
        for place in 0..64 {
            let message = text(&mut prng, place);
            let smallest = 10_u64.pow(digits - 1);
            let start = smallest.saturating_add(prng.below(u64::MAX - smallest) % smallest);
            check(&message, start..=start.saturating_add(33));
        }
    }
}

#[test]
fn the_number_of_digits_changes_within_a_range() {
    let mut prng = Prng::from_seed(3);
    for power in 1..=19 {
        let border = 10_u64.pow(power);
        for length in [0, 3, 40, 53, 54, 55, 56, 60, 63, 64, 100] {
            let message = text(&mut prng, length);
            check(&message, border - 20.min(border)..=border + 20);
            check(&message, border - 1..=border);
        }
    }
}

#[test]
fn both_ends_are_included() {
    let mut prng = Prng::from_seed(4);
    for _ in 0..300 {
        let length = prng.index(80);
        let message = text(&mut prng, length);
        let nonces = (0..50).map(|_| prng.below(3_000_000)).collect::<Vec<_>>();
        // A range that has its best at the very end or the very start must find it there.
        let best = nonces
            .iter()
            .map(|nonce| (plain_hash(&message, *nonce), *nonce));
        let (hash, nonce) = best.min().unwrap();
        let prepared = Message::new(&message);
        for kernel in Kernel::all() {
            assert_eq!(
                prepared.minimum(kernel, nonce..=nonce),
                Some(Best { hash, nonce })
            );
        }
        check(&message, nonce.saturating_sub(1)..=nonce);
        check(&message, nonce..=nonce + 1);
    }
}

#[test]
fn the_last_nonces_of_all() {
    for length in [0, 17, 33, 34, 35, 36, 43, 44, 63] {
        let message = vec![b'm'; length];
        check(&message, u64::MAX - 700..=u64::MAX);
        check(&message, u64::MAX..=u64::MAX);
        check(&message, u64::MAX - 1..=u64::MAX);
    }
}

#[test]
fn ranges_of_every_small_size() {
    for first in [0, 1, 5, 999, 1_000, 1_001, 123_456, 123_990] {
        for count in 0..40 {
            check(b"small", first..=first + count);
        }
    }
}

#[test]
fn random_ranges() {
    let mut prng = Prng::from_seed(5);
    for _ in 0..60 {
        let length = prng.index(200);
        let message = text(&mut prng, length);
        let digits = u32::try_from(prng.range(1..20)).unwrap();
        let first = prng.below(10_u64.pow(digits));
        let count = prng.below(4_000);
        check(&message, first..=first.saturating_add(count));
    }
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "that is what is tested")]
fn an_empty_range_has_no_minimum() {
    for kernel in Kernel::all() {
        let message = Message::new(b"m");
        assert_eq!(message.minimum(kernel, 5..=4), None);
        assert_eq!(message.minimum(kernel, u64::MAX..=u64::MAX - 1), None);
    }
}
