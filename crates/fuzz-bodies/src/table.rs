//! A table in memory for the state machine.

use std::collections::BTreeMap;
use std::convert::Infallible;

use kv_core::{Kind, Meta, Record, Table};

/// Records in a map.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct MapTable {
    records: BTreeMap<Vec<u8>, (Meta, Vec<u8>)>,
}

impl Table for MapTable {
    type Key<'k> = &'k [u8];
    type Error = Infallible;

    fn key<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Record<'_>>, Infallible> {
        Ok(self
            .records
            .get(key)
            .map(|(meta, value)| Record { meta: *meta, value }))
    }

    fn put(&mut self, key: &[u8], meta: Meta, value: &[u8]) -> Result<(), Infallible> {
        assert!(meta.version > 0, "versions count from 1");
        self.records.insert(key.to_vec(), (meta, value.to_vec()));
        Ok(())
    }

    fn overwrite(&mut self, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        let version = self.records.get(key).map_or(0, |(meta, _)| meta.version) + 1;
        let meta = Meta {
            kind: Kind::String,
            version,
            expires_ms: 0,
        };
        self.put(key, meta, value)
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, Infallible> {
        Ok(self.records.remove(key).is_some())
    }

    fn clear(&mut self) -> Result<(), Infallible> {
        self.records.clear();
        Ok(())
    }

    fn expire(&mut self, now_ms: u64, count_max: usize) -> Result<usize, Infallible> {
        let due = self
            .records
            .iter()
            .filter(|(_, (meta, _))| meta.expires_ms != 0 && meta.expires_ms <= now_ms);
        let keys: Vec<_> = due.map(|(key, _)| key.clone()).take(count_max).collect();
        for key in &keys {
            self.records.remove(key);
        }
        Ok(keys.len())
    }
}
