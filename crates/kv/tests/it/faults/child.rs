//! Processes that must end at once: this program runs itself, with only [`child`] in it.

use std::env;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kv::config::{Cluster, Config, OnFatal};
use kv::node::Node;
use wal::disk::{Disk, DiskFile, MemoryDisk};

use crate::cluster::{put, within};

/// Tells the child what it is to suffer from; nothing is set in an ordinary run.
const FAULT: &str = "KONTIKI_TEST_CHILD_FAULT";

/// The number of `SIGABRT`.
const ABORTED: i32 = 6;

/// Runs a child that has a fault.
fn run(fault: &str) -> Output {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "faults::child::child", "--nocapture"])
        .env(FAULT, fault)
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(ABORTED), "{output:?}");
    output
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let fatal = text.lines().rfind(|line| line.starts_with("fatal: "));
    fatal
        .unwrap_or_else(|| panic!("no line says why: {text}"))
        .to_owned()
}

#[test]
fn a_panic_in_a_thread_of_the_node_aborts_the_process_and_says_so() {
    let line = last_line(&run("panic"));
    assert_eq!(line, "fatal: n1 can't go on: the thread n1-log panicked");
}

#[test]
fn a_failed_fsync_aborts_the_process_and_says_what_to_do() {
    let line = last_line(&run("fsync"));
    assert!(
        line.contains("check the disk, then restart the node"),
        "{line}"
    );
    assert!(line.contains("could not fsync"), "{line}");
}

/// The child. In an ordinary run it has nothing to do.
#[tokio::test]
async fn child() {
    let Ok(fault) = env::var(FAULT) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (memory, panics) = (MemoryDisk::new(), Arc::new(AtomicBool::new(false)));
    let disk = PanickingDisk {
        memory: memory.clone(),
        panics: Arc::clone(&panics),
    };
    let config = Config {
        data_dir: dir.path().to_path_buf(),
        cluster: Cluster::Embedded,
        on_fatal: OnFatal::Abort,
        log_disk: Some(Arc::new(disk)),
        ..Config::default()
    };
    let node = Node::start(config.validate().unwrap()).await.unwrap();
    let handle = node.handle();
    within("a write", handle.execute(put("key", "value")))
        .await
        .unwrap();
    match fault.as_str() {
        "panic" => panics.store(true, Ordering::Relaxed),
        _ => memory.fail_syncs(Some(io::ErrorKind::Other)),
    }
    // Nobody may hear that this one succeeded, or go on afterwards.
    let answer = handle.execute(put("key", "other")).await;
    panic!("the process lives on, and says {answer:?}");
}

/// A disk with a bug.
#[derive(Debug)]
struct PanickingDisk {
    memory: MemoryDisk,
    panics: Arc<AtomicBool>,
}

struct PanickingFile {
    inner: Arc<dyn DiskFile>,
    panics: Arc<AtomicBool>,
}

impl fmt::Debug for PanickingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PanickingDisk {
    fn wrap(&self, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(PanickingFile {
            inner,
            panics: Arc::clone(&self.panics),
        })
    }
}

impl Disk for PanickingDisk {
    fn root(&self) -> &Path {
        self.memory.root()
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.memory.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.create_dir(dir)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.memory.create(name).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.memory.open(name).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.memory.sync_dir(dir)
    }
}

impl DiskFile for PanickingFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(buf, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.inner.allocate(bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        assert!(!self.panics.load(Ordering::Relaxed), "a bug in the disk");
        self.inner.sync_data()
    }
}
