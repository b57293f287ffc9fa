//! Bodies of fuzz targets. Public so that a fuzzer outside the workspace and the tests within it
//! run the same code; no part of the interface.

use crate::input::{npy, text};

/// A line that is a point, written again, is the same point.
///
/// # Panics
///
/// When it isn't: that is what a fuzzer looks for.
pub fn lines(bytes: &[u8]) {
    let mut row = Vec::new();
    let mut again = Vec::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        if text::parse(line, &mut row).is_err() {
            continue;
        }
        assert!(row.iter().all(|value| value.is_finite()), "{row:?}");
        let written = crate::output::csv(&row, row.len());
        let read = text::parse(written.trim_end().as_bytes(), &mut again);
        assert_eq!(read, Ok(()), "{written}");
        assert_eq!(row, again, "{written}");
    }
}

/// A header of `.npy` is understood or refused.
///
/// # Panics
///
/// When one is understood that has no shape.
pub fn npy_header(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let understood = npy::understand(text);
        assert!(!understood || text.contains("shape"), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use stdx::Prng;

    #[test]
    fn mutated_input_keeps_the_promises() {
        let samples: [&[u8]; 3] = [
            b"0.4, 7.2 \n-1e-3;2E+5\t.5 5.\n# x\n1234567890123456789012,0.1\n",
            b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }",
            b"nan,inf,-0,1e400,1e-400,0x10,1_000,\xff\n",
        ];
        let mut prng = Prng::from_seed(3);
        for _ in 0..20_000 {
            let mut bytes = samples[prng.index(samples.len())].to_vec();
            for _ in 0..=prng.index(4) {
                let at = prng.index(bytes.len());
                match prng.index(3) {
                    0 => bytes[at] = prng.next_u64().to_le_bytes()[0],
                    1 => bytes.insert(at, b"0123456789.,;eE+- \n'()"[prng.index(22)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            super::lines(&bytes);
            super::npy_header(&bytes);
        }
    }
}
