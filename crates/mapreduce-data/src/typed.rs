//! Jobs with types: keys and values are Rust values, and the engine sees their bytes.
//!
//! ```
//! use mapreduce_data::typed::{Pairs, Typed, TypedJob};
//! use mapreduce_data::{Output, Record, Registry, UserError};
//!
//! /// How many lines have each length.
//! #[derive(Debug)]
//! struct Lengths;
//!
//! impl TypedJob for Lengths {
//!     type Key = u64;
//!     type Value = u64;
//!
//!     fn map(&self, record: &Record<'_>, pairs: &mut Pairs<'_, Self>) -> Result<(), UserError> {
//!         pairs.emit(&(record.bytes.len() as u64), &1)
//!     }
//!
//!     fn combines(&self) -> bool {
//!         true
//!     }
//!
//!     fn combine(&self, _: &u64, left: u64, right: u64) -> u64 {
//!         left + right
//!     }
//!
//!     fn reduce(
//!         &self,
//!         length: u64,
//!         counts: &mut dyn Iterator<Item = u64>,
//!         out: &mut dyn Output,
//!     ) -> Result<(), UserError> {
//!         let count: u64 = counts.sum();
//!         out.write(length.to_string().as_bytes(), count.to_string().as_bytes())?;
//!         Ok(())
//!     }
//! }
//!
//! let registry = Registry::new().with("lengths", |_| Ok(Typed::job(Lengths)));
//! assert_eq!(registry.names().collect::<Vec<_>>(), ["lengths"]);
//! ```

use core::fmt::Debug;
use core::marker::PhantomData;
use std::sync::Arc;

use crate::error::UserError;
use crate::function::{
    Combiner, Emit, HashPartitioner, Job, Mapper, Output, Partitioner, Record, Reducer,
    TaskContext, Values,
};

/// A value that has bytes. Those of a key must be in the order in which keys should come.
pub trait Datum: Sized {
    /// Appends the bytes.
    fn encode(&self, into: &mut Vec<u8>);

    /// From the bytes; `None` if there are no such bytes.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Datum for String {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

impl Datum for Vec<u8> {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(self);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

impl Datum for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl Datum for u64 {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl Datum for i64 {
    fn encode(&self, into: &mut Vec<u8>) {
        // With the sign turned around, negative numbers come first.
        (self.cast_unsigned() ^ 1 << 63).encode(into);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        u64::decode(bytes).map(|number| (number ^ 1 << 63).cast_signed())
    }
}

impl Datum for f64 {
    fn encode(&self, into: &mut Vec<u8>) {
        // IEEE 754's total order.
        let bits = self.to_bits();
        let ordered = if bits >> 63 == 0 {
            bits | 1 << 63
        } else {
            !bits
        };
        ordered.encode(into);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let ordered = u64::decode(bytes)?;
        let bits = if ordered >> 63 == 1 {
            ordered & !(1 << 63)
        } else {
            !ordered
        };
        Some(Self::from_bits(bits))
    }
}

/// What a job does, with types. Its functions must depend on their arguments alone.
pub trait TypedJob: Debug + Send + Sync + 'static {
    /// What pairs are grouped by.
    type Key: Datum;
    /// What belongs to a key.
    type Value: Datum;

    /// Makes pairs of a record.
    ///
    /// # Errors
    ///
    /// What the function itself finds wrong, or what `pairs` answered.
    fn map(&self, record: &Record<'_>, pairs: &mut Pairs<'_, Self>) -> Result<(), UserError>
    where
        Self: Sized;

    /// Whether [`TypedJob::combine`] may be used.
    fn combines(&self) -> bool {
        false
    }

    /// Merges two values of a key early; must be associative.
    fn combine(&self, key: &Self::Key, left: Self::Value, right: Self::Value) -> Self::Value {
        let _ = (key, right);
        left
    }

    /// The partition of a key; `None` leaves it to the hash of its bytes.
    fn partition(&self, key: &Self::Key, partitions: u32) -> Option<u32> {
        let _ = (key, partitions);
        None
    }

    /// Makes output of a key and its values.
    ///
    /// # Errors
    ///
    /// What the function itself finds wrong, or what `out` answered.
    fn reduce(
        &self,
        key: Self::Key,
        values: &mut dyn Iterator<Item = Self::Value>,
        out: &mut dyn Output,
    ) -> Result<(), UserError>;
}

/// Takes the pairs of a mapper.
pub struct Pairs<'a, T> {
    out: &'a mut dyn Emit,
    key: &'a mut Vec<u8>,
    value: &'a mut Vec<u8>,
    job: PhantomData<T>,
}

impl<T> Debug for Pairs<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

impl<T: TypedJob> Pairs<'_, T> {
    /// Takes a pair.
    ///
    /// # Errors
    ///
    /// When the task can't go on: return it.
    pub fn emit(&mut self, key: &T::Key, value: &T::Value) -> Result<(), UserError> {
        self.key.clear();
        self.value.clear();
        key.encode(self.key);
        value.encode(self.value);
        self.out.emit(self.key, self.value)?;
        Ok(())
    }

    /// Adds to a counter of the task.
    pub fn count(&mut self, group: &str, name: &str, amount: i64) {
        self.out.count(group, name, amount);
    }
}

/// A typed job as the engine sees it.
#[derive(Debug)]
pub struct Typed<T> {
    job: Arc<T>,
}

impl<T: TypedJob> Typed<T> {
    /// For a [`crate::Registry`].
    #[must_use]
    pub fn job(job: T) -> Arc<dyn Job> {
        Arc::new(Self { job: Arc::new(job) })
    }
}

impl<T: TypedJob> Job for Typed<T> {
    fn mapper(&self, _: &TaskContext) -> Result<Box<dyn Mapper>, UserError> {
        Ok(Box::new(Functions::new(&self.job)))
    }

    fn reducer(&self, _: &TaskContext) -> Result<Box<dyn Reducer>, UserError> {
        Ok(Box::new(Functions::new(&self.job)))
    }

    fn combiner(&self) -> Option<Box<dyn Combiner>> {
        let combiner = || Box::new(Functions::new(&self.job)) as Box<dyn Combiner>;
        self.job.combines().then(combiner)
    }

    fn partitioner(&self) -> Box<dyn Partitioner> {
        Box::new(Functions::new(&self.job))
    }
}

struct Functions<T> {
    job: Arc<T>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<T> Functions<T> {
    fn new(job: &Arc<T>) -> Self {
        Self {
            job: Arc::clone(job),
            key: Vec::new(),
            value: Vec::new(),
        }
    }
}

fn decoded<D: Datum>(bytes: &[u8]) -> Result<D, UserError> {
    D::decode(bytes).ok_or_else(|| UserError::new("bytes that are no value of the job's type"))
}

impl<T: TypedJob> Mapper for Functions<T> {
    fn map(&mut self, record: &Record<'_>, out: &mut dyn Emit) -> Result<(), UserError> {
        let mut pairs = Pairs {
            out,
            key: &mut self.key,
            value: &mut self.value,
            job: PhantomData,
        };
        self.job.map(record, &mut pairs)
    }
}

impl<T: TypedJob> Combiner for Functions<T> {
    fn merge(&mut self, key: &[u8], into: &mut Vec<u8>, value: &[u8]) -> Result<(), UserError> {
        let merged = self
            .job
            .combine(&decoded(key)?, decoded(into)?, decoded(value)?);
        into.clear();
        merged.encode(into);
        Ok(())
    }
}

impl<T: TypedJob> Partitioner for Functions<T> {
    fn partition(&self, key: &[u8], partitions: u32) -> u32 {
        let chosen = T::Key::decode(key).and_then(|key| self.job.partition(&key, partitions));
        chosen.unwrap_or_else(|| HashPartitioner.partition(key, partitions))
    }
}

impl<T: TypedJob> Reducer for Functions<T> {
    fn reduce(
        &mut self,
        key: &[u8],
        values: &mut dyn Values,
        out: &mut dyn Output,
    ) -> Result<(), UserError> {
        // An iterator can't answer with an error, so it ends, and the error is kept.
        let mut failure = None;
        let mut next = || {
            let value = values.next().map_err(UserError::from);
            let value = value.and_then(|value| value.map(decoded).transpose());
            value.unwrap_or_else(|error| {
                failure = Some(error);
                None
            })
        };
        let result = self
            .job
            .reduce(decoded(key)?, &mut core::iter::from_fn(&mut next), out);
        failure.map_or(result, Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<D: Datum>(value: &D) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        bytes
    }

    #[test]
    fn numbers_survive_and_keep_their_order_as_bytes() {
        let signed = [i64::MIN, -1, 0, 1, i64::MAX];
        assert!(signed.map(|n| bytes(&n)).is_sorted());
        assert_eq!(signed.map(|n| i64::decode(&bytes(&n)).unwrap()), signed);
        let floats = [
            f64::NEG_INFINITY,
            -1.5,
            -0.0,
            0.0,
            1e-300,
            2.0,
            f64::INFINITY,
        ];
        assert!(floats.map(|n| bytes(&n)).is_sorted());
        for float in floats {
            assert_eq!(
                f64::decode(&bytes(&float)).unwrap().to_bits(),
                float.to_bits()
            );
        }
        assert_eq!(u64::decode(&[1, 2]), None);
        assert_eq!(String::decode(&[0xff]), None);
        assert_eq!(<()>::decode(&[]), Some(()));
    }
}
