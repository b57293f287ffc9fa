//! Finding inputs and cutting them into splits.

use std::fs;
use std::path::Path;

use crate::error::InputError;
use crate::limits;
use crate::split::{Compression, CsvOptions, Format, InputOptions, Split};

/// A file or object that an input names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Which of the inputs, counted from 0.
    pub input: u32,
    /// A path, or a URL of an object.
    pub location: String,
    /// Its bytes.
    pub len: u64,
}

impl Found {
    /// What its name says of it.
    #[must_use]
    pub fn guess(&self) -> (Format, Compression) {
        guess(&self.location)
    }
}

/// Finds the files and objects that `inputs` name, as [`crate::plan_splits`] does, without looking
/// into them.
///
/// # Errors
///
/// When an input names nothing, or can't be looked at.
pub fn find_inputs(inputs: &[String]) -> Result<Vec<Found>, InputError> {
    let mut found = Vec::new();
    for (input, location) in (0_u32..).zip(inputs) {
        find(input, location, &mut found)?;
    }
    Ok(found)
}

pub(crate) fn plan(inputs: &[String], options: &InputOptions) -> Result<Vec<Split>, InputError> {
    let found = find_inputs(inputs)?;
    let total: u64 = found.iter().map(|found| found.len).sum();
    let at_least = u64::try_from(options.splits_min).unwrap_or(u64::MAX).max(1);
    let split_bytes = options.split_bytes.min(total.div_ceil(at_least)).max(1);
    let mut splits = Vec::new();
    for found in found {
        cut(found, options, split_bytes, &mut splits)?;
        if splits.len() > limits::SPLITS_MAX {
            return Err(InputError::TooManySplits {
                limit: limits::SPLITS_MAX,
            });
        }
    }
    Ok(splits)
}

fn find(input: u32, location: &str, found: &mut Vec<Found>) -> Result<(), InputError> {
    if is_url(location) {
        return find_objects(input, location, found);
    }
    let path = Path::new(location);
    if path.is_dir() {
        return walk(input, path, found);
    }
    if path.exists() {
        return add(input, path, found);
    }
    let missing = || InputError::Missing {
        location: location.to_owned(),
    };
    if !location.contains(['*', '?', '[']) {
        return Err(missing());
    }
    let unsupported = |error: glob::PatternError| InputError::Unsupported {
        location: location.to_owned(),
        reason: format!("the pattern can't be read: {error}"),
    };
    let before = found.len();
    for path in glob::glob(location).map_err(unsupported)? {
        let path = path.map_err(|error| {
            let shown = error.path().display().to_string();
            InputError::io(&shown, error.into())
        })?;
        if path.is_file() {
            add(input, &path, found)?;
        }
    }
    if found.len() == before {
        return Err(missing());
    }
    Ok(())
}

/// Whether an input is in an object store.
pub(super) fn is_url(location: &str) -> bool {
    ["s3://", "gs://", "az://"]
        .iter()
        .any(|scheme| location.starts_with(scheme))
}

#[cfg(feature = "objects")]
fn find_objects(input: u32, location: &str, found: &mut Vec<Found>) -> Result<(), InputError> {
    let objects = super::objects::list(location)?;
    if objects.is_empty() {
        return Err(InputError::Missing {
            location: location.to_owned(),
        });
    }
    found.extend(objects.into_iter().map(|(location, len)| Found {
        input,
        location,
        len,
    }));
    Ok(())
}

#[cfg(not(feature = "objects"))]
fn find_objects(_: u32, location: &str, _: &mut Vec<Found>) -> Result<(), InputError> {
    Err(super::source::no_objects(location))
}

fn add(input: u32, path: &Path, found: &mut Vec<Found>) -> Result<(), InputError> {
    let location = path.display().to_string();
    let text = path.to_str().ok_or_else(|| InputError::Unsupported {
        location: location.clone(),
        reason: "its name is not UTF-8".to_owned(),
    })?;
    let metadata = fs::metadata(path).map_err(|error| InputError::io(text, error))?;
    found.push(Found {
        input,
        location,
        len: metadata.len(),
    });
    Ok(())
}

/// All files under a directory, in the order of their names.
fn walk(input: u32, directory: &Path, found: &mut Vec<Found>) -> Result<(), InputError> {
    let shown = directory.display().to_string();
    let failed = |error| InputError::io(&shown, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") && !name.as_encoded_bytes().starts_with(b"_")
        {
            paths.push(entry.path());
        }
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(input, &path, found)?;
        } else {
            add(input, &path, found)?;
        }
    }
    Ok(())
}

/// What the name says of a file.
fn guess(location: &str) -> (Format, Compression) {
    let path = Path::new(location);
    let is = |path: &Path, known: &[&str]| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|found| known.iter().any(|known| found.eq_ignore_ascii_case(known)))
    };
    let compression = if is(path, &["gz", "gzip"]) {
        Compression::Gzip
    } else if is(path, &["zst", "zstd"]) {
        Compression::Zstd
    } else if is(path, &["lz4"]) {
        Compression::Lz4
    } else {
        Compression::None
    };
    let inner = match compression {
        Compression::None => path.to_path_buf(),
        _ => path.with_extension(""),
    };
    let format = if is(&inner, &["csv"]) {
        Format::Csv(CsvOptions::default())
    } else if is(&inner, &["tsv"]) {
        Format::Csv(CsvOptions {
            delimiter: b'\t',
            ..CsvOptions::default()
        })
    } else if is(&inner, &["jsonl", "ndjson"]) {
        Format::JsonLines
    } else if is(&inner, &["parquet"]) {
        Format::Parquet
    } else {
        Format::Text
    };
    (format, compression)
}

fn cut(
    found: Found,
    options: &InputOptions,
    split_bytes: u64,
    splits: &mut Vec<Split>,
) -> Result<(), InputError> {
    let Found {
        input,
        location,
        len,
    } = found;
    let (guessed, compression) = guess(&location);
    let format = options.format.clone().unwrap_or(guessed);
    let whole =
        compression != Compression::None || matches!(&format, Format::Csv(csv) if csv.multiline);
    if format == Format::Parquet {
        return cut_parquet(
            &Found {
                input,
                location,
                len,
            },
            split_bytes,
            splits,
        );
    }
    // Equal parts, so that the last one is no crumb.
    let count = if whole {
        1
    } else {
        len.div_ceil(split_bytes).max(1)
    };
    if count > limits::SPLITS_MAX as u64 {
        return Err(InputError::TooManySplits {
            limit: limits::SPLITS_MAX,
        });
    }
    let part = |index: u64| {
        let at = u128::from(len) * u128::from(index) / u128::from(count);
        u64::try_from(at).expect("it is at most the length")
    };
    for index in 0..count {
        let start = part(index);
        splits.push(Split {
            input,
            location: location.clone(),
            start,
            len: part(index + 1) - start,
            file_len: len,
            format: format.clone(),
            compression,
        });
    }
    Ok(())
}

/// Neighbouring row groups, as many as make a split.
#[cfg(feature = "parquet")]
fn cut_parquet(found: &Found, split_bytes: u64, splits: &mut Vec<Split>) -> Result<(), InputError> {
    let groups = super::parquet::row_groups(&found.location, found.len)?;
    let (mut start, mut bytes) = (0, 0);
    for (group, len) in (0_u64..).zip(&groups) {
        bytes += len;
        if bytes >= split_bytes || group + 1 == groups.len() as u64 {
            splits.push(Split {
                input: found.input,
                location: found.location.clone(),
                start,
                len: group + 1 - start,
                file_len: found.len,
                format: Format::Parquet,
                compression: Compression::None,
            });
            (start, bytes) = (group + 1, 0);
        }
    }
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn cut_parquet(found: &Found, _: u64, _: &mut Vec<Split>) -> Result<(), InputError> {
    Err(super::source::no_parquet(&found.location))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        assert_eq!(
            guess("a/b.csv.gz"),
            (Format::Csv(CsvOptions::default()), Compression::Gzip)
        );
        assert_eq!(guess("b.JSONL"), (Format::JsonLines, Compression::None));
        assert_eq!(guess("b.zst"), (Format::Text, Compression::Zstd));
        assert_eq!(guess("b"), (Format::Text, Compression::None));
    }

    #[test]
    fn inputs_are_files_directories_and_patterns_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b.txt",
            "a.txt",
            "_SUCCESS",
            ".hidden",
            "sub/c.txt",
            "d.log",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x\n").unwrap();
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let names = |inputs: &[String]| {
            let splits = plan(inputs, &InputOptions::default()).unwrap();
            let name = |split: Split| split.location.strip_prefix(&at("")).unwrap().to_owned();
            splits.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[at("")]), ["a.txt", "b.txt", "d.log", "sub/c.txt"]);
        assert_eq!(
            names(&[at("*.txt"), at("d.log")]),
            ["a.txt", "b.txt", "d.log"]
        );
        assert_eq!(names(&[at("**/c.txt")]), ["sub/c.txt"]);
        for missing in [at("none"), at("*.none")] {
            let error = plan(&[missing], &InputOptions::default()).unwrap_err();
            assert!(matches!(error, InputError::Missing { .. }), "{error}");
        }
    }

    #[test]
    fn a_large_file_is_cut_evenly() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, vec![b'\n'; 1_001]).unwrap();
        let inputs = [path.display().to_string()];
        let options = InputOptions {
            split_bytes: 500,
            ..InputOptions::default()
        };
        let splits = plan(&inputs, &options).unwrap();
        let parts: Vec<_> = splits
            .iter()
            .map(|split| (split.start, split.len))
            .collect();
        assert_eq!(parts, [(0, 333), (333, 334), (667, 334)]);
        let options = InputOptions {
            splits_min: 10,
            ..InputOptions::default()
        };
        assert_eq!(plan(&inputs, &options).unwrap().len(), 10);
    }
}
