//! A buffer of aligned lines, seen as floats.

use crate::points::Line;

const LINE: usize = 16;

/// All floats of the lines.
pub(crate) fn values(lines: &[Line]) -> &[f32] {
    // SAFETY: `Line` is `repr(C)` around 16 floats and has no padding: its size is its
    // alignment.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
}

/// All floats of the lines, to write.
pub(crate) fn values_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as above, and the borrow is unique.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE) }
}
