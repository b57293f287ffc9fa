//! The simplest table there is.

use std::collections::BTreeMap;
use std::convert::Infallible;

use kv_core::{Kind, Meta, Record, Table};

/// Records in a map.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct MapTable(pub(crate) BTreeMap<Vec<u8>, (Meta, Vec<u8>)>);

impl Table for MapTable {
    type Key<'k> = &'k [u8];
    type Error = Infallible;

    fn key<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        key
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Record<'_>>, Infallible> {
        Ok(self
            .0
            .get(key)
            .map(|(meta, value)| Record { meta: *meta, value }))
    }

    fn put(&mut self, key: &[u8], meta: Meta, value: &[u8]) -> Result<(), Infallible> {
        self.0.insert(key.to_vec(), (meta, value.to_vec()));
        Ok(())
    }

    fn overwrite(&mut self, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        let version = self.0.get(key).map_or(0, |(meta, _)| meta.version) + 1;
        self.put(
            key,
            Meta {
                kind: Kind::String,
                version,
                expires_ms: 0,
            },
            value,
        )
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool, Infallible> {
        Ok(self.0.remove(key).is_some())
    }

    fn clear(&mut self) -> Result<(), Infallible> {
        self.0.clear();
        Ok(())
    }

    fn expire(&mut self, now_ms: u64, count_max: usize) -> Result<usize, Infallible> {
        let expired =
            |(meta, _): &(Meta, Vec<u8>)| meta.expires_ms != 0 && meta.expires_ms <= now_ms;
        let records = self.0.iter().filter(|(_, record)| expired(record));
        let keys: Vec<_> = records
            .map(|(key, _)| key.clone())
            .take(count_max)
            .collect();
        for key in &keys {
            self.0.remove(key);
        }
        Ok(keys.len())
    }
}
