//! The data directory: whose it is, and the small files in it.
//!
//! ```text
//! LOCK          held while a node runs here
//! IDENTITY      format version, cluster, node, first voters (text)
//! PEERS         addresses of nodes (text; see transport/book.rs)
//! wal/          the log
//! engine/       the state machine
//! snapshots/    snapshots being sent and received
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use stdx::NodeId;

use crate::node::error::StartError;

/// The version of the directory's layout.
const LAYOUT_VERSION: u32 = 1;

/// Whose directory it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) cluster: u64,
    pub(crate) node: NodeId,
    /// The first voters of the cluster, decided for ever when this node first started; none if it
    /// joined later.
    pub(crate) voters: Vec<NodeId>,
    /// The node asked to join and has no vote yet.
    pub(crate) joining: bool,
}

/// A locked data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The lock lasts as long as the file is open.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if necessary, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        let failed = |action: &'static str, at: &Path| {
            let at = at.to_path_buf();
            move |source| StartError::Io {
                action,
                path: at,
                source,
            }
        };
        fs::create_dir_all(path).map_err(failed("create", path))?;
        let lock_file = path.join("LOCK");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_file)
            .map_err(failed("open", &lock_file))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_path_buf(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StartError::DirectoryInUse {
                dir: path.to_path_buf(),
            }),
            Err(error) => Err(failed("lock", &lock_file)(error.into())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Whose directory it is; `None` if it is new.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, StartError> {
        let file = self.join("IDENTITY");
        match fs::read_to_string(&file) {
            Ok(text) => parse_identity(&file, &text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StartError::Io {
                action: "read",
                path: file,
                source,
            }),
        }
    }

    pub(crate) fn set_identity(&self, identity: &Identity) -> Result<(), StartError> {
        let file = self.join("IDENTITY");
        let Identity {
            cluster,
            node,
            voters,
            joining,
        } = identity;
        let voters: Vec<String> = voters.iter().map(|voter| voter.get().to_string()).collect();
        let state = if *joining { "joining" } else { "member" };
        let text = format!(
            "kontiki {LAYOUT_VERSION}\ncluster {cluster:016x}\nnode {}\n\
             voters {}\nstate {state}\n",
            node.get(),
            voters.join(",")
        );
        write_atomically(&file, text.as_bytes()).map_err(|source| StartError::Io {
            action: "write",
            path: file,
            source,
        })
    }
}

fn parse_identity(file: &Path, text: &str) -> Result<Identity, StartError> {
    let mut lines = text.lines();
    let mut number = 0;
    let mut value = |name: &'static str, what: &'static str| {
        number += 1;
        let found = lines
            .next()
            .and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let malformed = StartError::Malformed {
            file: file.to_path_buf(),
            line: number,
            what,
        };
        found.ok_or(malformed)
    };
    let malformed = |line, what| StartError::Malformed {
        file: file.to_path_buf(),
        line,
        what,
    };
    // Line by line, so that the first one that is wrong is named: another version may have others.
    let version = value("kontiki", "expected `kontiki` and the layout's version")?;
    if version.parse() != Ok(LAYOUT_VERSION) {
        return Err(malformed(
            1,
            "another program version's layout, use that version",
        ));
    }
    let cluster = value("cluster", "expected `cluster` and 16 hexadecimal digits")?;
    let cluster = u64::from_str_radix(cluster, 16)
        .map_err(|_| malformed(2, "expected 16 hexadecimal digits"))?;
    let node = value("node", "expected `node` and a number")?;
    let node = node
        .parse()
        .map_err(|_| malformed(3, "expected a number"))?;
    let voters = value(
        "voters",
        "expected `voters` and numbers with commas between them",
    )?;
    let voters = voters.split(',').filter(|voter| !voter.is_empty());
    let voters: Result<Vec<_>, _> = voters.map(|voter| voter.parse().map(NodeId::new)).collect();
    let voters = voters.map_err(|_| malformed(4, "expected numbers"))?;
    let joining = match value("state", "expected `state member` or `state joining`")? {
        "joining" => true,
        "member" => false,
        _ => return Err(malformed(5, "expected `member` or `joining`")),
    };
    Ok(Identity {
        cluster,
        node: NodeId::new(node),
        voters,
        joining,
    })
}

/// Replaces a small file so that a crash leaves the old or the new content.
pub(crate) fn write_atomically(file: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension("new");
    let mut out = File::create(&temporary)?;
    out.write_all(content)?;
    out.sync_all()?;
    fs::rename(&temporary, file)?;
    sync_directory_of(file)
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_directory_of(file: &Path) -> io::Result<()> {
    let dir = file.parent().unwrap_or_else(|| Path::new("."));
    File::open(dir)?.sync_all()
}

/// Free bytes of the file system that a directory is on.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time_and_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/data");
        let data = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        assert!(error.contains("is in use by another process"), "{error}");
        assert_eq!(data.identity().unwrap(), None);
        let identity = Identity {
            cluster: 0xabc,
            node: NodeId::new(3),
            voters: vec![NodeId::new(1), NodeId::new(3)],
            joining: true,
        };
        data.set_identity(&identity).unwrap();
        drop(data);
        assert_eq!(
            DataDir::open(&path).unwrap().identity().unwrap(),
            Some(identity)
        );
    }

    #[test]
    fn a_damaged_identity_says_which_line() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let cases = [
            ("kontiki 9\ncluster 1\nnode 1\nstate member\n", "line 1"),
            ("kontiki 1\ncluster x\nnode 1\nstate member\n", "line 2"),
            ("kontiki 1\ncluster 1\nnode\n", "line 3"),
            (
                "kontiki 1\ncluster 1\nnode 1\nvoters 1,b\nstate member\n",
                "line 4",
            ),
            (
                "kontiki 1\ncluster 1\nnode 1\nvoters \nstate odd\n",
                "line 5",
            ),
        ];
        for (text, line) in cases {
            fs::write(dir.path().join("IDENTITY"), text).unwrap();
            let error = data.identity().unwrap_err().to_string();
            assert!(error.contains(line), "{error}");
        }
    }
}
