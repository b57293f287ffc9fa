//! Map output that this worker keeps for others.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mapreduce_core::AttemptId;
use mapreduce_data::Extent;

/// An attempt of a job.
pub(crate) type Key = (String, AttemptId);

/// What one attempt of a map left.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) file: PathBuf,
    pub(crate) extents: Vec<Extent>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    by_attempt: Mutex<HashMap<Key, Output>>,
}

impl Outputs {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Output>> {
        // A panic elsewhere can't leave the table half changed.
        self.by_attempt
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, key: Key, output: Output) {
        self.lock().insert(key, output);
    }

    pub(crate) fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    pub(crate) fn remove_job(&self, job: &str) {
        self.lock().retain(|(of, _), _| of != job);
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.lock().keys().cloned().collect()
    }

    /// A file that stands at the start of an extent, and the extent.
    pub(crate) fn open(
        &self,
        key: &Key,
        partition: u32,
    ) -> std::io::Result<Option<(File, Extent)>> {
        let found = self.lock().get(key).and_then(|output| {
            let extent = *output.extents.get(partition as usize)?;
            Some((output.file.clone(), extent))
        });
        let Some((path, extent)) = found else {
            return Ok(None);
        };
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(extent.offset))?;
        Ok(Some((file, extent)))
    }
}
