//! Who found the disk full. As long as anybody did, no write is taken: reads go on.

use core::sync::atomic::{AtomicU8, Ordering};

/// Who says so.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Finder {
    /// Less free space than the configured reserve.
    Reserve = 1,
    /// The log can't be written.
    Log = 2,
    /// A checkpoint can't be written.
    Checkpoint = 4,
}

/// The state of the disk.
#[derive(Debug, Default)]
pub(crate) struct FullDisk(AtomicU8);

impl FullDisk {
    /// Whether anybody finds the disk full.
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// States what somebody finds. True if that is news.
    pub(crate) fn state(&self, finder: Finder, is_full: bool) -> bool {
        let bit = finder as u8;
        let before = if is_full {
            self.0.fetch_or(bit, Ordering::AcqRel)
        } else {
            self.0.fetch_and(!bit, Ordering::AcqRel)
        };
        (before & bit != 0) != is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_full_as_long_as_anybody_says_so() {
        let disk = FullDisk::default();
        assert!(!disk.is_full());
        assert!(!disk.state(Finder::Log, false));
        assert!(disk.state(Finder::Log, true));
        assert!(!disk.state(Finder::Log, true));
        assert!(disk.state(Finder::Reserve, true));
        assert!(disk.state(Finder::Log, false));
        assert!(disk.is_full());
        assert!(disk.state(Finder::Reserve, false));
        assert!(!disk.is_full());
    }
}
