//! Storage engines behind kv-core's table: memory, and a write-back slot table over an LSM.

mod checkpoint;
mod cursor;
mod disk;
mod engine;
mod entry;
mod error;
mod fjall_engine;
mod fjall_view;
mod load;
mod memory;
mod options;
mod slots;
mod snapshot;
mod store;
mod view;

pub use engine::{Engine, EngineStats, SnapshotSource};
pub use error::EngineError;
pub use fjall_engine::FjallEngine;
pub use memory::MemoryEngine;
pub use options::Options;
pub use view::{Found, ListItem, ListPage, ReadView, ScanPage};
