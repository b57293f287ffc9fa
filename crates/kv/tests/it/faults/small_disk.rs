//! A small file system of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::TestCluster;

/// Mounted until it is dropped.
pub(super) struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, with a message, when this process may not mount anything.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub(super) fn mount(options: &str) -> Option<Self> {
        let disk = Self(TempDir::new().unwrap());
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(disk.0.path())
            .output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(disk);
        }
        eprintln!("skipped: mounting a small file system needs root");
        None
    }

    /// One node with its files here.
    pub(super) fn cluster(&self) -> TestCluster {
        TestCluster::new_in(self.0.path(), 1)
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Takes all space but so many bytes.
    pub(super) fn fill(&self, but: u64) {
        let stat = rustix::fs::statvfs(self.0.path()).unwrap();
        let free = stat.f_bavail * stat.f_frsize;
        let mut file = File::create(self.ballast()).unwrap();
        let mut left = free.saturating_sub(but);
        let block = vec![1; 1 << 20];
        while left > 0 {
            let count = usize::try_from(left).unwrap().min(block.len());
            if file.write_all(&block[..count]).is_err() {
                // The node took some of it meanwhile.
                return;
            }
            left -= count as u64;
        }
    }

    /// Gives it back.
    pub(super) fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nodes may still run here in a test that failed, so it goes when they are gone.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        drop(unmounted);
    }
}
