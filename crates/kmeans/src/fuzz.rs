//! Bodies of fuzz targets. Public so that a fuzzer outside the workspace and the tests within it
//! run the same code; no part of the interface.

use std::path::PathBuf;
use std::thread;

use crate::input::{self, Dataset, npy, text};
use crate::remote::fuzz_message;

pub use crate::remote::fuzz_message_samples as message_samples;

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

/// Good lines.
#[must_use]
pub fn line_samples() -> Vec<Vec<u8>> {
    [
        "0.4, 7.2 \n-1e-3;2E+5\t.5 5.\n# x\n1234567890123456789012,0.1\n",
        "x,y\n1,2\n\n3,4\r\n",
        "nan,inf,-0,1e400,1e-400,0x10,1_000\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A file of points or centroids is refused, or has the same points for any division into parts.
/// The first byte says what its name ends with.
///
/// # Panics
///
/// When that isn't so, or no temporary file can be written.
pub fn file(bytes: &[u8]) {
    let Some((what, contents)) = bytes.split_first() else {
        return;
    };
    if let Some((rows, columns, data)) = npy::understand(contents) {
        assert!(columns > 0 && data >= 10, "{rows} x {columns} at {data}");
    }
    let kind = ["csv", "npy"][usize::from(what % 2)];
    let path = Temporary::write(kind, contents);
    let name = path.0.display().to_string();
    let Ok(dataset) = Dataset::inspect(&[name]) else {
        return;
    };
    let read = |parts: usize| -> Option<Vec<u32>> {
        let mut bits = Vec::new();
        for part in dataset.split(parts) {
            let points = input::read(&part, dataset.dimension(), dataset.shift()).ok()?;
            for row in 0..points.rows() {
                bits.extend(points.row(row).iter().map(|value| value.to_bits()));
            }
        }
        Some(bits)
    };
    assert_eq!(read(1), read(3), "the division shows");
}

/// Good files.
///
/// # Panics
///
/// Never: the headers are short.
#[must_use]
pub fn file_samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = line_samples()
        .into_iter()
        .map(|lines| [vec![0], lines].concat())
        .collect();
    for (kind, numbers) in [("<f4", 24), ("<i8", 48), ("|u1", 6)] {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (3, 2), }}\n");
        let mut npy = b"\x01\x93NUMPY\x01\x00".to_vec();
        npy.push(u8::try_from(header.len()).expect("a header is short"));
        npy.push(0);
        npy.extend(header.bytes());
        npy.extend((0..numbers).map(|n| u8::from(n % 4 == 0)));
        samples.push(npy);
    }
    samples
}

/// A file that is removed when dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn write(kind: &str, contents: &[u8]) -> Self {
        let name = format!(
            "kontiki-fuzz-{}-{:?}.{kind}",
            std::process::id(),
            thread::current().id()
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, contents).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The next input overwrites it if this fails.
        let _kept = std::fs::remove_file(&self.0);
    }
}

/// A request or an answer between processes: understood or refused, and whatever is understood
/// travels on as the same.
///
/// # Panics
///
/// When it doesn't: that is what a fuzzer looks for.
pub fn message(bytes: &[u8]) {
    fuzz_message(bytes);
}

#[cfg(test)]
mod tests {
    use stdx::Prng;

    fn mutated(rounds: usize, samples: &[Vec<u8>], run: fn(&[u8])) {
        let mut prng = Prng::from_seed(3);
        for sample in samples {
            run(sample);
        }
        for _ in 0..rounds {
            let mut bytes = samples[prng.index(samples.len())].clone();
            for _ in 0..=prng.index(4) {
                let at = prng.index(bytes.len());
                match prng.index(3) {
                    0 => bytes[at] = prng.next_u64().to_le_bytes()[0],
                    1 => bytes.insert(at, b"0123456789.,;eE+- \n'()"[prng.index(22)]),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            run(&bytes);
        }
    }

    #[test]
    fn mutated_input_keeps_the_promises() {
        mutated(10_000, &super::line_samples(), super::lines);
        mutated(1_000, &super::file_samples(), super::file);
        mutated(5_000, &super::message_samples(), super::message);
    }
}
