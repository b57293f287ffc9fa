//! The storage engines of the replicated key/value state machine.
//!
//! [`Engine`] is the interface: one thread applies committed log entries, many threads
//! read through views. [`MemoryEngine`] is for the simulator, and the model that the
//! other one is tested against. [`FjallEngine`] is for real nodes: all records in hash
//! tables in memory (as many as a limit allows), and now and then a *checkpoint* of what
//! changed, with the index of the last applied entry, into an LSM on disk.
//!
//! What a node does with it:
//!
//! ```text
//! engine = open(dir)                       state of the last checkpoint
//! apply(index, term, payload, replies)     entries behind engine.applied(), in order
//! view().get(key) ...                      from any thread, short
//! checkpoint() / persist()                 from a background thread, by volume
//! log.cut(through what persist() returned)
//! snapshot() -> stream, install(stream)    for replicas that are far behind
//! ```
//!
//! # Trade-offs
//!
//! * Memory first: a write costs a hash table's price, a restart costs reading
//!   everything (a million records take half a second to a second).
//! * One lock: simple, and the applier, which is one thread anyway, takes it for
//!   microseconds at a time; a view held for long holds up the applier.
//! * Checkpoints are durable and atomic by themselves, so nothing depends on the LSM's
//!   journal; small ones are relatively expensive.
//!
//! # It is not
//!
//! * A journal: what was applied since the last checkpoint comes back from the log.
//! * A store of several versions: a snapshot is of one moment, the latest.
//!
//! `docs/internals/storage.md` has the formats, the argument for safety, and figures.

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
