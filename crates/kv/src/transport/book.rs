//! Who can be reached where.
//!
//! Raft knows members by their ids only. The addresses are kept beside it, by every node in a
//! small file, and spread by themselves: whoever connects shows its book, and whoever learns
//! something new tells the others. The newest statement about a node wins; a wrong or old address
//! costs reachability, never safety, because a connection begins with both sides' identities.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use stdx::NodeId;

use crate::node::disk::write_atomically;
use crate::node::error::StartError;
use crate::transport::frame::{FrameError, put_text, take_text, take_u64};

/// Most entries taken from another node.
const ENTRIES_MAX: u64 = 1_024;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Entry {
    address: Arc<str>,
    /// When it was stated, in milliseconds since 1970 on the clock of whoever stated it.
    stamp: u64,
}

/// Addresses of nodes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Book {
    entries: BTreeMap<NodeId, Entry>,
}

impl Book {
    pub(crate) fn address(&self, node: NodeId) -> Option<Arc<str>> {
        self.entries
            .get(&node)
            .map(|entry| Arc::clone(&entry.address))
    }

    /// States where a node is. True if that is news.
    pub(crate) fn set(&mut self, node: NodeId, address: &str, now_ms: u64) -> bool {
        if self
            .entries
            .get(&node)
            .is_some_and(|entry| &*entry.address == address)
        {
            return false;
        }
        let newer = self.entries.get(&node).map_or(0, |entry| entry.stamp + 1);
        self.entries.insert(
            node,
            Entry {
                address: address.into(),
                stamp: now_ms.max(newer),
            },
        );
        true
    }

    /// A first guess, which any statement overrides.
    pub(crate) fn suggest(&mut self, node: NodeId, address: &str) {
        self.entries.entry(node).or_insert_with(|| Entry {
            address: address.into(),
            stamp: 0,
        });
    }

    /// Takes over what is newer in another book. True if anything was.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (node, entry) in &other.entries {
            let newer = self
                .entries
                .get(node)
                .is_none_or(|known| known.stamp < entry.stamp);
            if newer && *node != NodeId::ZERO {
                self.entries.insert(*node, entry.clone());
                changed = true;
            }
        }
        changed
    }

    pub(crate) fn encode(&self, body: &mut BytesMut) {
        body.put_u64_le(self.entries.len() as u64);
        for (node, entry) in &self.entries {
            body.put_u64_le(node.get());
            body.put_u64_le(entry.stamp);
            put_text(body, &entry.address);
        }
    }

    pub(crate) fn decode(body: &mut Bytes) -> Result<Self, FrameError> {
        let count = take_u64(body)?;
        if count > ENTRIES_MAX {
            return Err(FrameError::Malformed {
                what: "an address book",
            });
        }
        let mut book = Self::default();
        for _ in 0..count {
            let node = NodeId::new(take_u64(body)?);
            let stamp = take_u64(body)?;
            let address = take_text(body)?.into();
            book.entries.insert(node, Entry { address, stamp });
        }
        Ok(book)
    }

    /// Reads the file; an absent one is an empty book.
    pub(crate) fn load(file: &Path) -> Result<Self, StartError> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => {
                return Err(StartError::Io {
                    action: "read",
                    path: file.to_path_buf(),
                    source,
                });
            }
        };
        let mut book = Self::default();
        for (number, line) in text.lines().enumerate() {
            let entry = parse_line(line).ok_or_else(|| StartError::Malformed {
                file: file.to_path_buf(),
                line: number + 1,
                what: "expected a node's id, a time and an address",
            })?;
            book.entries.insert(entry.0, entry.1);
        }
        Ok(book)
    }

    pub(crate) fn save(&self, file: &Path) -> std::io::Result<()> {
        let mut text = String::new();
        for (node, Entry { address, stamp }) in &self.entries {
            text.push_str(&format!("{} {stamp} {address}\n", node.get()));
        }
        write_atomically(file, text.as_bytes())
    }
}

fn parse_line(line: &str) -> Option<(NodeId, Entry)> {
    let mut words = line.split(' ');
    let node = NodeId::new(words.next()?.parse().ok()?);
    let stamp = words.next()?.parse().ok()?;
    let address = words.next()?.into();
    words
        .next()
        .is_none()
        .then_some((node, Entry { address, stamp }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_statement_wins_in_whatever_order_it_arrives() {
        let n = NodeId::new;
        let mut old = Book::default();
        old.set(n(1), "a:1", 10);
        old.suggest(n(2), "b:1");
        let mut new = Book::default();
        new.set(n(1), "a:2", 20);
        new.set(n(2), "b:2", 5);
        let mut one = old.clone();
        assert!(one.merge(&new));
        let mut two = new.clone();
        assert!(!two.merge(&old));
        assert_eq!(one, two);
        assert_eq!(one.address(n(1)).as_deref(), Some("a:2"));
    }

    #[test]
    fn a_book_survives_the_wire_and_the_file() {
        let mut book = Book::default();
        book.set(NodeId::new(1), "localhost:7379", 10);
        book.set(NodeId::new(2), "[::1]:7380", 11);
        let mut body = BytesMut::new();
        book.encode(&mut body);
        assert_eq!(Book::decode(&mut body.freeze()).unwrap(), book);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("PEERS");
        assert_eq!(Book::load(&file).unwrap(), Book::default());
        book.save(&file).unwrap();
        assert_eq!(Book::load(&file).unwrap(), book);
        std::fs::write(&file, "1 x y\n").unwrap();
        let error = Book::load(&file).unwrap_err().to_string();
        assert!(error.contains("PEERS line 1"), "{error}");
    }
}
