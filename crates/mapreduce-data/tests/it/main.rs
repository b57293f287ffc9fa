//! The data path as a whole: jobs give the result of a plain computation whatever the splits, the
//! threads and the memory; damage and failures are typed errors; programs are no trouble.
#![cfg(test)]

mod damage;
mod fuzzing;
mod inputs;
mod jobs;
mod memory;
mod native;
#[cfg(feature = "objects")]
mod objects;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "objects")]
mod s3;
mod streaming;
mod world;
