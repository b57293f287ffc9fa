//! Where separators are, 64 bytes at a time.
#![expect(unsafe_code, reason = "vector instructions are chosen at run time")]

/// Writes down the places of white space in `piece`, counted from `base` on, and says how many
/// there are. `out` must have room for one for each byte and 64 more.
pub(super) fn spaces(piece: &[u8], base: usize, out: &mut [u32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if wide() {
        // SAFETY: the processor has these instructions.
        return unsafe { x86::spaces(piece, base, out) };
    }
    scan(piece, base, out, |chunk| {
        mask(chunk, |byte| byte == b' ' || byte.wrapping_sub(9) < 5)
    })
}

/// The same for everything but ASCII's letters.
pub(super) fn others(piece: &[u8], base: usize, out: &mut [u32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    if wide() {
        // SAFETY: the processor has these instructions.
        return unsafe { x86::others(piece, base, out) };
    }
    scan(piece, base, out, |chunk| {
        mask(chunk, |byte| !byte.is_ascii_alphabetic())
    })
}

#[cfg(target_arch = "x86_64")]
fn wide() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("bmi1")
        && std::arch::is_x86_feature_detected!("popcnt")
}

/// One bit for each byte.
fn mask(chunk: &[u8; 64], separates: impl Fn(u8) -> bool) -> u64 {
    let bits = chunk.iter().enumerate();
    bits.fold(0, |mask, (at, byte)| {
        mask | u64::from(separates(*byte)) << at
    })
}

#[inline(always)]
fn scan(piece: &[u8], base: usize, out: &mut [u32], mask: impl Fn(&[u8; 64]) -> u64) -> usize {
    assert!(
        out.len() >= piece.len() + 64,
        "there is room for every byte"
    );
    let mut at = u32::try_from(base).expect("blocks are shorter than 4 GiB");
    let mut found = 0;
    let (chunks, rest) = piece.as_chunks::<64>();
    for chunk in chunks {
        found += flatten(mask(chunk), at, &mut out[found..]);
        at = at.wrapping_add(64);
    }
    if !rest.is_empty() {
        let mut chunk = [0; 64];
        chunk[..rest.len()].copy_from_slice(rest);
        let real = (1 << rest.len()) - 1;
        found += flatten(mask(&chunk) & real, at, &mut out[found..]);
    }
    found
}

/// Writes down where bits are set. It writes eight places without looking, whether there are as
/// many or not: that costs less than a loop whose end the processor can't foresee.
#[inline(always)]
fn flatten(mask: u64, at: u32, out: &mut [u32]) -> usize {
    let out = out.first_chunk_mut::<64>().expect("scan has seen to it");
    let count = mask.count_ones() as usize;
    let mut left = mask;
    let mut next = || {
        let place = at.wrapping_add(left.trailing_zeros());
        left &= left.wrapping_sub(1);
        place
    };
    for slot in &mut out[..8] {
        *slot = next();
    }
    if count > 8 {
        for slot in &mut out[8..16] {
            *slot = next();
        }
        if count > 16 {
            for slot in &mut out[16..count] {
                *slot = next();
            }
        }
    }
    count
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m256i, _mm256_add_epi8, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8,
        _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    };

    #[target_feature(enable = "avx2,bmi1,popcnt")]
    pub(super) fn spaces(piece: &[u8], base: usize, out: &mut [u32]) -> usize {
        // SAFETY: this function has the instructions, and it is inlined here.
        super::scan(piece, base, out, |chunk| unsafe {
            masks(chunk, space_mask)
        })
    }

    #[target_feature(enable = "avx2,bmi1,popcnt")]
    pub(super) fn others(piece: &[u8], base: usize, out: &mut [u32]) -> usize {
        // SAFETY: this function has the instructions, and it is inlined here.
        super::scan(piece, base, out, |chunk| !unsafe {
            masks(chunk, letter_mask)
        })
    }

    /// # Safety
    ///
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn masks(chunk: &[u8; 64], mask: unsafe fn(__m256i) -> u32) -> u64 {
        // SAFETY: both loads are within the 64 bytes; the instructions are there.
        unsafe {
            let low = _mm256_loadu_si256(chunk.as_ptr().cast());
            let high = _mm256_loadu_si256(chunk.as_ptr().add(32).cast());
            u64::from(mask(low)) | u64::from(mask(high)) << 32
        }
    }

    /// White space: 32, or 9 to 13.
    ///
    /// # Safety
    ///
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn space_mask(bytes: __m256i) -> u32 {
        // SAFETY: the instructions are there.
        unsafe {
            let blank = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(32));
            let shifted = _mm256_add_epi8(bytes, _mm256_set1_epi8(-9));
            let least = _mm256_min_epu8(shifted, _mm256_set1_epi8(4));
            let control = _mm256_cmpeq_epi8(shifted, least);
            _mm256_movemask_epi8(_mm256_or_si256(blank, control)).cast_unsigned()
        }
    }

    /// Letters: 97 to 122 once bit 5 is set.
    ///
    /// # Safety
    ///
    /// The processor must have AVX2.
    #[inline(always)]
    unsafe fn letter_mask(bytes: __m256i) -> u32 {
        // SAFETY: the instructions are there.
        unsafe {
            let lower = _mm256_or_si256(bytes, _mm256_set1_epi8(32));
            let shifted = _mm256_add_epi8(lower, _mm256_set1_epi8(-97));
            let least = _mm256_min_epu8(shifted, _mm256_set1_epi8(25));
            _mm256_movemask_epi8(_mm256_cmpeq_epi8(shifted, least)).cast_unsigned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_find_what_the_plain_way_finds() {
        let bytes: Vec<u8> = (0..=255).cycle().step_by(7).take(1_000).collect();
        for len in [0, 1, 63, 64, 65, 1_000] {
            let mut out = vec![0; len + 64];
            let places = |separates: &dyn Fn(u8) -> bool| {
                let at = (0_u32..).zip(&bytes[..len]);
                at.filter(|(_, byte)| separates(**byte))
                    .map(|(at, _)| at + 5)
                    .collect::<Vec<_>>()
            };
            let found = spaces(&bytes[..len], 5, &mut out);
            let is_space = |byte| byte == b' ' || (9..=13).contains(&byte);
            assert_eq!(out[..found], places(&is_space));
            let found = others(&bytes[..len], 5, &mut out);
            assert_eq!(out[..found], places(&|byte| !byte.is_ascii_alphabetic()));
        }
    }
}
