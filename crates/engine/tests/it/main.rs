//! What the storage engines promise: that the one on disk behaves as the one in
//! memory whatever is evicted, checkpointed, reopened or installed; that a crash loses
//! nothing that the log can't bring back; that damage is refused.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod crash;
mod damage;
mod full;
mod model;
mod readers;
mod redis;
mod scan;
mod snapshots;
mod workload;
