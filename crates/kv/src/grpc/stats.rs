//! What the gRPC door counts.

use core::sync::atomic::{AtomicU64, Ordering};

/// The calls that are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Put,
    Get,
    Append,
    Delete,
    CompareAndSet,
    List,
    Batch,
    Pipeline,
}

impl Method {
    pub(crate) const ALL: [Self; 8] = [
        Self::Put,
        Self::Get,
        Self::Append,
        Self::Delete,
        Self::CompareAndSet,
        Self::List,
        Self::Batch,
        Self::Pipeline,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Append => "append",
            Self::Delete => "delete",
            Self::CompareAndSet => "compare_and_set",
            Self::List => "list",
            Self::Batch => "batch",
            Self::Pipeline => "pipeline",
        }
    }
}

/// Counters of calls.
#[derive(Debug, Default)]
pub(crate) struct GrpcStats {
    calls: [AtomicU64; Method::ALL.len()],
    errors: AtomicU64,
    operations: AtomicU64,
}

impl GrpcStats {
    /// Counts a call of so many operations, and whether it failed.
    pub(crate) fn record(&self, method: Method, operations: u64, failed: bool) {
        self.calls[method as usize].fetch_add(1, Ordering::Relaxed);
        self.operations.fetch_add(operations, Ordering::Relaxed);
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts operations of a call that was counted when it began.
    pub(crate) fn add_operations(&self, operations: u64) {
        self.operations.fetch_add(operations, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self, method: Method) -> u64 {
        self.calls[method as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }
}
