//! The processor's SHA instructions: four rounds take two instructions, each of which waits
//! for the one before it. Four independent nonces are interleaved to fill the wait.
//!
//! The instructions keep the state as two vectors, `abef` and `cdgh` (most significant word
//! first), and take words and constants four at a time.

use core::arch::x86_64::*;

use crate::bitcoin::Grind;
use crate::cmu::{Best, Run};
use crate::plan::Plan;
use crate::sha256::{INITIAL, K, State, keyed_schedule};

/// How many nonces are interleaved.
const STREAMS: usize = 4;

/// The state of one stream.
#[derive(Clone, Copy)]
struct Halves {
    abef: __m128i,
    cdgh: __m128i,
}

type Halfs = [Halves; STREAMS];
/// The words of a block in each stream, four to a vector.
type Words = [[__m128i; 4]; STREAMS];

#[target_feature(enable = "sha,avx")]
#[inline]
fn vector(lowest_first: [u32; 4]) -> __m128i {
    let [a, b, c, d] = lowest_first.map(u32::cast_signed);
    _mm_setr_epi32(a, b, c, d)
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn words_of(x: __m128i) -> [u32; 4] {
    let mut words = [0; 4];
    // SAFETY: the array has as many words as the vector; the store needs no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), x) };
    words
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn halves([a, b, c, d, e, f, g, h]: State) -> Halves {
    Halves {
        abef: vector([f, e, b, a]),
        cdgh: vector([h, g, d, c]),
    }
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn quads<const WORDS: usize, const QUADS: usize>(words: &[u32; WORDS]) -> [__m128i; QUADS] {
    let mut quads = [_mm_setzero_si128(); QUADS];
    for (quad, words) in quads.iter_mut().zip(words.as_chunks::<4>().0) {
        *quad = vector(*words);
    }
    quads
}

/// Runs the groups of four rounds `FIRST..16` in all streams.
///
/// `w` holds the block's words; the rounds before `4 * FIRST` were done.
#[target_feature(enable = "sha,avx")]
#[inline]
fn rounds<const FIRST: usize>(mut v: Halfs, mut w: Words) -> Halfs {
    macro_rules! group {
        ($g:literal) => {
            if $g >= FIRST {
                let k = vector([K[4 * $g], K[4 * $g + 1], K[4 * $g + 2], K[4 * $g + 3]]);
                for stream in 0..STREAMS {
                    let Halves { abef, cdgh } = v[stream];
                    let keyed = _mm_add_epi32(w[stream][$g % 4], k);
                    let cdgh = _mm_sha256rnds2_epu32(cdgh, abef, keyed);
                    let keyed = _mm_shuffle_epi32::<0x0e>(keyed);
                    let abef = _mm_sha256rnds2_epu32(abef, cdgh, keyed);
                    v[stream] = Halves { abef, cdgh };
                }
            }
            if $g < 12 {
                for stream in 0..STREAMS {
                    let w = &mut w[stream];
                    let sum = _mm_sha256msg1_epu32(w[$g % 4], w[($g + 1) % 4]);
                    let middle = _mm_alignr_epi8::<4>(w[($g + 3) % 4], w[($g + 2) % 4]);
                    w[$g % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(sum, middle), w[($g + 3) % 4]);
                }
            }
        };
    }
    sixteen!(group);
    v
}

/// Runs all rounds of a block that is the same for all nonces.
#[target_feature(enable = "sha,avx")]
#[inline]
fn settled_rounds(mut v: Halfs, keyed: &[__m128i; 16]) -> Halfs {
    for low in keyed {
        let high = _mm_shuffle_epi32::<0x0e>(*low);
        for stream in &mut v {
            let Halves { abef, cdgh } = *stream;
            let cdgh = _mm_sha256rnds2_epu32(cdgh, abef, *low);
            let abef = _mm_sha256rnds2_epu32(abef, cdgh, high);
            *stream = Halves { abef, cdgh };
        }
    }
    v
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn add(mut v: Halfs, state: &Halfs) -> Halfs {
    for (v, state) in v.iter_mut().zip(state) {
        v.abef = _mm_add_epi32(v.abef, state.abef);
        v.cdgh = _mm_add_epi32(v.cdgh, state.cdgh);
    }
    v
}

#[target_feature(enable = "sha,avx")]
pub(super) fn minimum(run: &Run, best: Option<Best>) -> Option<Best> {
    match run.word / 4 {
        0 => minimum_from::<0, 4>(run, best),
        1 => minimum_from::<1, 4>(run, best),
        2 => minimum_from::<2, 4>(run, best),
        _ => minimum_from::<3, 4>(run, best),
    }
}

/// Where the two words of a suffix go within a vector of four words that begins at word
/// `quad`, when the suffix begins at `word`: a shuffle that leaves the rest zero.
#[target_feature(enable = "sha,avx")]
#[inline]
fn placement(word: usize, quad: usize) -> __m128i {
    let mut bytes = [0x80_u8; 16];
    for (half, to) in [(0, word), (1, word + 1)] {
        if (quad..quad + 4).contains(&to) {
            for byte in 0..4 {
                bytes[(to - quad) * 4 + byte] = [0, 1, 2, 3, 4, 5, 6, 7][half * 4 + byte];
            }
        }
    }
    // SAFETY: the array has as many bytes as the vector; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "sha,avx")]
fn minimum_from<const FIRST: usize, const QUADS: usize>(
    run: &Run,
    mut best: Option<Best>,
) -> Option<Best> {
    let plan = match FIRST {
        0 => Plan::new::<0, 15>(run.state, &run.block),
        1 => Plan::new::<4, 15>(run.state, &run.block),
        2 => Plan::new::<8, 15>(run.state, &run.block),
        _ => Plan::new::<12, 15>(run.state, &run.block),
    };
    let (early, state) = ([halves(plan.early); STREAMS], [halves(plan.state); STREAMS]);
    let words = quads(&run.block);
    let here = placement(run.word, 4 * FIRST);
    let spill = placement(run.word, 4 * FIRST + 4);
    let spill_block = run.spill().map(|block| quads(&block));
    let tail = run
        .settled_tail()
        .map(|block| quads(&keyed_schedule(&block)));
    let mut limit = Best::limit(best);
    let mut at = run.first;
    while at <= run.last {
        let mut w = [words; STREAMS];
        let mut spilled = [_mm_setzero_si128(); STREAMS];
        for stream in 0..STREAMS {
            // Past the end the last nonce is hashed again.
            let suffix = run.suffixes.both[(at + stream).min(run.last)];
            let suffix = _mm_cvtsi64_si128(suffix.cast_signed());
            w[stream][FIRST] = _mm_or_si128(words[FIRST], _mm_shuffle_epi8(suffix, here));
            spilled[stream] = _mm_shuffle_epi8(suffix, spill);
            if FIRST + 1 < QUADS {
                w[stream][(FIRST + 1) % 4] = _mm_or_si128(words[(FIRST + 1) % 4], spilled[stream]);
            }
        }
        let mut hash = add(rounds::<FIRST>(early, w), &state);
        if let Some(tail) = &tail {
            hash = add(settled_rounds(hash, tail), &hash);
        } else if let Some(block) = spill_block {
            let mut w = [block; STREAMS];
            if FIRST + 1 == QUADS {
                for (w, spilled) in w.iter_mut().zip(spilled) {
                    w[0] = _mm_or_si128(w[0], spilled);
                }
            }
            hash = add(rounds::<0>(hash, w), &hash);
        }
        let high = tops(&hash);
        let limits = vector([limit; 4]);
        let at_most = _mm_cmpeq_epi32(_mm_min_epu32(high, limits), high);
        if _mm_movemask_epi8(at_most) != 0 {
            for (stream, hash) in hash.into_iter().enumerate() {
                let [_, _, low, high] = words_of(hash.abef);
                best = run.better(best, at + stream, high, low);
            }
            limit = Best::limit(best);
        }
        at += STREAMS;
    }
    best
}

/// The first words of the four hashes.
#[target_feature(enable = "sha,avx")]
#[inline]
fn tops(hash: &Halfs) -> __m128i {
    let [a, b, c, d] = hash.map(|halves| halves.abef);
    _mm_unpackhi_epi64(_mm_unpackhi_epi32(a, c), _mm_unpackhi_epi32(b, d))
}

/// The last words of the four hashes.
#[target_feature(enable = "sha,avx")]
#[inline]
fn bottoms(hash: &Halfs) -> __m128i {
    let [a, b, c, d] = hash.map(|halves| halves.cdgh);
    _mm_unpacklo_epi64(_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d))
}

/// The block that hashes a digest once more, from the digest in the form of the rounds.
#[target_feature(enable = "sha,avx")]
#[inline]
fn second_block(hash: Halves, padding: &[__m128i; 4]) -> [__m128i; 4] {
    // abef is [f, e, b, a] and cdgh is [h, g, d, c], lowest first.
    let dcba = _mm_unpackhi_epi64(hash.cdgh, hash.abef);
    let hgfe = _mm_unpacklo_epi64(hash.cdgh, hash.abef);
    [
        _mm_shuffle_epi32::<0b00_01_10_11>(dcba),
        _mm_shuffle_epi32::<0b00_01_10_11>(hgfe),
        padding[2],
        padding[3],
    ]
}

#[target_feature(enable = "sha,avx")]
pub(super) fn grind(grind: &Grind, first: u32, last: u32) -> Option<u32> {
    let state = [halves(grind.state); STREAMS];
    let initial = [halves(INITIAL); STREAMS];
    let words = quads(&grind.block);
    let padding = quads(&grind.second_block());
    let order = vector([0x0001_0203, 0x0405_0607, 0x0809_0a0b, 0x0c0d_0e0f]);
    let limit = vector([grind.limit; 4]);
    let mut at = u64::from(first);
    while at <= u64::from(last) {
        let mut w = [words; STREAMS];
        for (nonce, w) in (at..).zip(&mut w) {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "what is too large is left out below"
            )]
            let nonce = (nonce as u32).swap_bytes().cast_signed();
            w[0] = _mm_insert_epi32::<3>(words[0], nonce);
        }
        let hash = add(rounds::<0>(state, w), &state);
        let w = hash.map(|hash| second_block(hash, &padding));
        let hash = add(rounds::<0>(initial, w), &initial);
        let top = _mm_shuffle_epi8(bottoms(&hash), order);
        let at_most = _mm_cmpeq_epi32(_mm_min_epu32(top, limit), top);
        if _mm_movemask_epi8(at_most) != 0 {
            let nonces = (at..at + STREAMS as u64).filter_map(|nonce| u32::try_from(nonce).ok());
            let met = |nonce: &u32| *nonce <= last && grind.is_met(*nonce);
            if let Some(nonce) = nonces.into_iter().find(met) {
                return Some(nonce);
            }
        }
        at += STREAMS as u64;
    }
    None
}
