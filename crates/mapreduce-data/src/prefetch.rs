//! Asking for memory before it is needed.
#![expect(
    unsafe_code,
    reason = "the instruction is only reachable through an intrinsic"
)]

/// Asks for the cache line at `bytes[at]`; does nothing where there is no such place.
#[inline]
pub(crate) fn prefetch(bytes: &[u8], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(byte) = bytes.get(at) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults and changes nothing but caches; the address is that of
        // a live byte.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(byte).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, at);
}
