//! Object stores: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`.
//!
//! How to reach and sign in to a store comes from the environment, as its own tools read it
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, ..).
//! Tasks are blocking code, so requests run on a small runtime of this module's own, and the caller
//! waits on a channel: that works on any thread, also on one of another runtime. One range is fetched
//! ahead of the one that is read.

use std::future::Future;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tokio_stream::StreamExt as _;

use crate::error::InputError;

/// What one request asks for.
const RANGE_BYTES: u64 = 8 << 20;

/// The objects that a URL names, with their lengths, in the order of their names: one object, all
/// under a prefix, or those that match a pattern.
pub(super) fn list(location: &str) -> Result<Vec<(String, u64)>, InputError> {
    let (base, key) = split_url(location)?;
    let first_special = key.find(['*', '?', '[']);
    let prefix = match first_special {
        Some(at) => &key[..key[..at].rfind('/').map_or(0, |slash| slash + 1)],
        None => key,
    };
    let store = connect(&format!("{base}/"))?;
    let failed = |error: object_store::Error| InputError::io(location, io::Error::other(error));
    let runtime = runtime(location)?;
    if first_special.is_none() && !key.is_empty() && !key.ends_with('/') {
        let (store, path) = (Arc::clone(&store), parse(location, key)?);
        match Pending::start(runtime, async move { store.head(&path).await }).wait() {
            Ok(found) => return Ok(vec![(format!("{base}/{}", found.location), found.size)]),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let pattern = glob::Pattern::new(key).map_err(|error| InputError::Unsupported {
        location: location.to_owned(),
        reason: format!("the pattern can't be read: {error}"),
    })?;
    let path = parse(location, prefix.trim_end_matches('/'))?;
    let listed = Pending::start(runtime, async move {
        let mut objects = store.list(Some(&path));
        let mut found = Vec::new();
        while let Some(object) = objects.next().await {
            let object = object?;
            found.push((object.location.to_string(), object.size));
        }
        Ok(found)
    });
    let wanted = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        let hidden = file.starts_with(['.', '_']);
        !hidden && (first_special.is_none() || pattern.matches(name))
    };
    let mut found: Vec<(String, u64)> = listed.wait().map_err(failed)?;
    found.retain(|(name, _)| wanted(name));
    found.sort();
    let located = found.into_iter();
    Ok(located
        .map(|(name, size)| (format!("{base}/{name}"), size))
        .collect())
}

/// Reads any part of an object, a window at a time: what Parquet needs, whose columns are read side
/// by side.
#[cfg(feature = "parquet")]
pub(super) struct Windows {
    store: Arc<dyn ObjectStore>,
    runtime: &'static Runtime,
    path: Path,
    len: u64,
    /// The numbers of the windows that were used last, with their bytes; the latest comes last.
    kept: std::sync::Mutex<std::collections::VecDeque<(u64, Bytes)>>,
}

#[cfg(feature = "parquet")]
impl Windows {
    /// What one request asks for.
    const BYTES: u64 = 1 << 20;
    /// More columns than this, and windows are fetched again and again.
    const KEPT_MAX: usize = 64;

    pub(super) fn open(location: &str, len: u64) -> Result<Self, InputError> {
        let (base, key) = split_url(location)?;
        Ok(Self {
            store: connect(&format!("{base}/"))?,
            runtime: runtime(location)?,
            path: parse(location, key)?,
            len,
            kept: std::sync::Mutex::default(),
        })
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Some bytes at a place, at least one unless the object ends there.
    pub(super) fn at(&self, start: u64) -> io::Result<Bytes> {
        if start >= self.len {
            return Ok(Bytes::new());
        }
        let number = start / Self::BYTES;
        // Nothing can be half done in there: a panic elsewhere does no harm.
        let mut kept = self
            .kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = kept.iter().position(|(known, _)| *known == number);
        let window = match found.and_then(|at| kept.remove(at)) {
            Some((_, bytes)) => bytes,
            None => self.fetch(number)?,
        };
        kept.push_back((number, window.clone()));
        if kept.len() > Self::KEPT_MAX {
            kept.pop_front();
        }
        let skip = usize::try_from(start - number * Self::BYTES).map_err(io::Error::other)?;
        Ok(window.slice(skip..))
    }

    fn fetch(&self, number: u64) -> io::Result<Bytes> {
        let start = number * Self::BYTES;
        let range = start..self.len.min(start + Self::BYTES);
        fetch(self.runtime, &self.store, &self.path, range)
            .wait()
            .map_err(io::Error::other)
    }
}

/// The bytes of an object from `start` to `end`.
pub(super) fn open(location: &str, start: u64, end: u64) -> Result<Box<dyn Read>, InputError> {
    let (base, key) = split_url(location)?;
    let mut object = Object {
        store: connect(&format!("{base}/"))?,
        runtime: runtime(location)?,
        path: parse(location, key)?,
        rest: start..end.max(start),
        ahead: None,
        bytes: Bytes::new(),
    };
    object.ask();
    Ok(Box::new(object))
}

/// `s3://bucket` and `key`.
fn split_url(location: &str) -> Result<(&str, &str), InputError> {
    let place = location.find("://").map(|at| at + 3);
    let bucket = place.and_then(|at| {
        let rest = &location[at..];
        let end = rest.find('/').unwrap_or(rest.len());
        (end > 0).then_some(at + end)
    });
    let end = bucket.ok_or_else(|| InputError::Unsupported {
        location: location.to_owned(),
        reason: "it names no bucket: write scheme://bucket/key".to_owned(),
    })?;
    Ok((&location[..end], location[end..].trim_start_matches('/')))
}

fn parse(location: &str, key: &str) -> Result<Path, InputError> {
    Path::parse(key).map_err(|error| InputError::io(location, io::Error::other(error)))
}

fn connect(base: &str) -> Result<Arc<dyn ObjectStore>, InputError> {
    let failed = |reason: String| InputError::Unsupported {
        location: base.to_owned(),
        reason,
    };
    // Chosen here, or the client panics. One that is there already is as good.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let url = url::Url::parse(base).map_err(|error| failed(error.to_string()))?;
    let text = |name: std::ffi::OsString| name.into_string().ok();
    let options = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
    let store = object_store::parse_url_opts(&url, options);
    let (store, _) = store.map_err(|error| failed(error.to_string()))?;
    Ok(store.into())
}

/// Made at first use: most jobs read files.
fn runtime(location: &str) -> Result<&'static Runtime, InputError> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("objects")
            .enable_all()
            .build()
    });
    runtime
        .as_ref()
        .map_err(|error| InputError::io(location, io::Error::new(error.kind(), error.to_string())))
}

/// A request under way; given up when dropped.
struct Pending<T> {
    answer: Receiver<object_store::Result<T>>,
    task: AbortHandle,
}

impl<T: Send + 'static> Pending<T> {
    fn start(
        runtime: &Runtime,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Self {
        let (sender, answer) = sync_channel(1);
        let task = runtime.spawn(async move {
            // Nobody waits any longer if the reader was dropped.
            let _unread = sender.send(request.await);
        });
        Self {
            answer,
            task: task.abort_handle(),
        }
    }

    fn wait(&self) -> object_store::Result<T> {
        let answer = self.answer.recv();
        answer.unwrap_or_else(|_| Err(failure("the request was cut short by a panic")))
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn failure(what: &'static str) -> object_store::Error {
    object_store::Error::Generic {
        store: "objects",
        source: what.into(),
    }
}

/// Asks for a range of an object.
fn fetch(
    runtime: &Runtime,
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    range: Range<u64>,
) -> Pending<Bytes> {
    let (store, path) = (Arc::clone(store), path.clone());
    Pending::start(runtime, async move {
        let len = range.end - range.start;
        let bytes = store.get_range(&path, range).await?;
        if bytes.len() as u64 == len {
            return Ok(bytes);
        }
        Err(failure(
            "the object is shorter than when the job was planned",
        ))
    })
}

struct Object {
    store: Arc<dyn ObjectStore>,
    runtime: &'static Runtime,
    path: Path,
    /// Not asked for yet.
    rest: Range<u64>,
    ahead: Option<Pending<Bytes>>,
    bytes: Bytes,
}

impl Object {
    /// Asks for the next range.
    fn ask(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let range = self.rest.start..self.rest.end.min(self.rest.start + RANGE_BYTES);
        self.rest.start = range.end;
        self.ahead = Some(fetch(self.runtime, &self.store, &self.path, range));
    }
}

impl Read for Object {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            let Some(ahead) = self.ahead.take() else {
                return Ok(0);
            };
            self.bytes = ahead.wait().map_err(io::Error::other)?;
            self.ask();
        }
        let count = self.bytes.len().min(into.len());
        into[..count].copy_from_slice(&self.bytes.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url: &'static str| split_url(url).unwrap();
        assert_eq!(parts("s3://bucket/a/b"), ("s3://bucket", "a/b"));
        assert_eq!(parts("gs://bucket"), ("gs://bucket", ""));
        assert!(split_url("s3:///a").is_err());
    }
}
