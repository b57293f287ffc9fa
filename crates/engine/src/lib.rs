//! Storage engines behind kv-core's table: memory, and a write-back slot table over an LSM.

mod cursor;
mod engine;
mod error;
mod memory;
mod snapshot;
mod view;

pub use engine::{Engine, EngineStats, SnapshotSource};
pub use error::EngineError;
pub use memory::MemoryEngine;
pub use view::{Found, ListItem, ListPage, ReadView, ScanPage};
