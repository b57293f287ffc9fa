//! All other nodes, as this node knows them.

use core::future::Future;
use core::pin::Pin;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use bytes::{BufMut, Bytes};
use kv_core::Batch;
use parking_lot::{Mutex, RwLock};
use stdx::{GroupId, NodeId};
use tokio::runtime;
use tokio::sync::watch;

use crate::node::clock;
use crate::node::error::{AdminError, ExecuteError};
use crate::node::inbox::Received;
use crate::node::submission::{Outcome, Submission};
use crate::transport::frame::{FrameError, ItemBuilder, Kind, take_u64};
use crate::transport::link::{Link, WantedLink};
use crate::transport::{Book, Identity};

/// What another node, not necessarily a member yet, may ask for.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// To become a learner.
    Join { node: NodeId, address: Box<str> },
    /// To be given a vote.
    Promote { node: NodeId },
}

/// The node behind a transport.
pub(crate) trait Owner: Send + Sync {
    /// Raft messages arrived. False if they were dropped.
    fn receive(&self, received: Received) -> bool;
    /// A forwarded write arrived.
    fn submit(&self, submission: Submission);
    /// Another node asks for something.
    fn asked(
        &self,
        asked: Asked,
    ) -> Pin<Box<dyn Future<Output = Result<(), AdminError>> + Send + '_>>;
}

struct Inner {
    identity: Identity,
    queue_bytes_max: usize,
    book_file: PathBuf,
    book: Mutex<Book>,
    links: RwLock<BTreeMap<NodeId, WantedLink>>,
    /// Set when all tasks are to end.
    closed: watch::Sender<bool>,
    owner: Arc<dyn Owner>,
    runtime: runtime::Handle,
}

impl core::fmt::Debug for Inner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Transport")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The connections to all other nodes.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    inner: Arc<Inner>,
}

/// A [`Transport`] that may be gone.
#[derive(Debug)]
pub(crate) struct WeakTransport {
    inner: Weak<Inner>,
}

impl WeakTransport {
    pub(crate) fn upgrade(&self) -> Option<Transport> {
        Some(Transport {
            inner: self.inner.upgrade()?,
        })
    }
}

/// What a transport is made of.
pub(crate) struct Parts {
    pub(crate) identity: Identity,
    pub(crate) queue_bytes_max: usize,
    pub(crate) book_file: PathBuf,
    pub(crate) book: Book,
    pub(crate) owner: Arc<dyn Owner>,
}

impl Transport {
    /// Makes the transport; connections are made when there is something to send.
    pub(crate) fn new(parts: Parts, runtime: runtime::Handle) -> Self {
        let Parts {
            identity,
            queue_bytes_max,
            book_file,
            book,
            owner,
        } = parts;
        Self {
            inner: Arc::new(Inner {
                identity,
                queue_bytes_max,
                book_file,
                book: Mutex::new(book),
                links: RwLock::default(),
                closed: watch::Sender::new(false),
                owner,
                runtime,
            }),
        }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.inner.identity
    }

    pub(crate) fn owner(&self) -> &dyn Owner {
        &*self.inner.owner
    }

    pub(crate) fn queue_bytes_max(&self) -> usize {
        self.inner.queue_bytes_max
    }

    /// Runs a task until it is done or the transport is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut closed = self.inner.closed.subscribe();
        let task = async move {
            tokio::select! {
                () = task => {}
                _ = closed.wait_for(|closed| *closed) => {}
            }
        };
        drop(self.inner.runtime.spawn(task));
    }

    /// A reference that doesn't keep the transport alive.
    pub(crate) fn downgrade(&self) -> WeakTransport {
        WeakTransport {
            inner: Arc::downgrade(&self.inner),
        }
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<Arc<str>> {
        self.inner.book.lock().address(node)
    }

    /// Sends Raft messages, or drops them.
    pub(crate) fn send(&self, to: NodeId, item: Bytes) {
        if let Some(link) = self.link(to) {
            link.outbox.push_raft(item);
        }
    }

    /// Has another node execute commands.
    pub(crate) async fn forward(
        &self,
        to: NodeId,
        group: GroupId,
        batch: &Batch,
        given_up: impl Future<Output = ()>,
    ) -> Outcome {
        match self.link(to) {
            Some(link) => link.forward(group, batch, given_up).await,
            None => Err(ExecuteError::NoLeader { leader: Some(to) }),
        }
    }

    fn link(&self, to: NodeId) -> Option<Arc<Link>> {
        if let Some(wanted) = self.inner.links.read().get(&to) {
            return Some(Arc::clone(&wanted.link));
        }
        if to == self.inner.identity.node || to == NodeId::ZERO {
            return None;
        }
        let mut links = self.inner.links.write();
        let wanted = links.entry(to).or_insert_with(|| Link::start(self, to));
        Some(Arc::clone(&wanted.link))
    }

    /// Connects to these nodes from now on, and to no others.
    pub(crate) fn set_members(&self, members: &BTreeSet<NodeId>) {
        self.inner
            .links
            .write()
            .retain(|node, _| members.contains(node));
        for member in members {
            // The link is kept in the map; making it starts the connection.
            drop(self.link(*member));
        }
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        self.inner.closed.send_replace(true);
        self.inner.links.write().clear();
    }

    /// States where a node is, and tells the others if that is news.
    pub(crate) fn learn(&self, node: NodeId, address: &str) {
        let changed = self.inner.book.lock().set(node, address, clock::wall_ms());
        if changed {
            self.book_changed();
        }
    }

    pub(crate) fn merge_book(&self, other: &Book) {
        let changed = {
            let mut book = self.inner.book.lock();
            let own = book.address(self.inner.identity.node);
            let changed = book.merge(other);
            // Only this node knows where it is.
            if let Some(own) = own {
                book.set(self.inner.identity.node, &own, clock::wall_ms());
            }
            changed
        };
        if changed {
            self.book_changed();
        }
    }

    pub(crate) fn book(&self) -> Book {
        self.inner.book.lock().clone()
    }

    fn book_changed(&self) {
        let book = self.book();
        if let Err(error) = book.save(&self.inner.book_file) {
            let file = self.inner.book_file.display();
            tracing::warn!("could not write {file}: {error}; addresses may be old after a restart");
        }
        let item = book_item(&book);
        for wanted in self.inner.links.read().values() {
            wanted.link.outbox.push_kept(item.clone());
        }
    }

    /// The first item on a connection to `to`.
    pub(crate) fn hello(&self, to: NodeId) -> Bytes {
        let mut item = ItemBuilder::new(Kind::Hello);
        let body = item.body();
        body.put_u64_le(self.inner.identity.cluster);
        body.put_u64_le(self.inner.identity.node.get());
        body.put_u64_le(to.get());
        self.book().encode(body);
        item.finish()
    }

    /// Checks the first item of a connection. Returns who is there.
    pub(crate) fn check_hello(
        &self,
        kind: Kind,
        mut body: Bytes,
        expected: Option<NodeId>,
    ) -> Result<NodeId, FrameError> {
        match kind {
            Kind::Hello => {}
            Kind::Refusal => {
                let text = String::from_utf8_lossy(&body).into_owned();
                return Err(FrameError::Io(std::io::Error::other(text)));
            }
            _ => {
                return Err(FrameError::Malformed {
                    what: "the first item",
                });
            }
        }
        let cluster = take_u64(&mut body)?;
        let from = NodeId::new(take_u64(&mut body)?);
        let to = NodeId::new(take_u64(&mut body)?);
        let Identity {
            cluster: own_cluster,
            node: own,
        } = self.inner.identity;
        let refusal = if cluster != own_cluster {
            Some(format!(
                "wrong cluster: {from} belongs to cluster {cluster:016x}, {own} to {own_cluster:016x}"
            ))
        } else if to != own {
            Some(format!(
                "wrong node: {from} wants to talk to {to}, but this is {own}"
            ))
        } else if expected.is_some_and(|expected| expected != from) || from == own {
            Some(format!(
                "wrong node: expected {}, but {from} answered",
                expected.unwrap_or(own)
            ))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err(FrameError::Io(std::io::Error::other(refusal)));
        }
        self.merge_book(&Book::decode(&mut body)?);
        Ok(from)
    }

    /// Bytes that wait to be sent, and items dropped, per node.
    pub(crate) fn measure(&self) -> Vec<(NodeId, usize, u64)> {
        let links = self.inner.links.read();
        let measured = links.iter().map(|(node, wanted)| {
            let (bytes, dropped) = wanted.link.outbox.measure();
            (*node, bytes, dropped)
        });
        measured.collect()
    }
}

fn book_item(book: &Book) -> Bytes {
    let mut item = ItemBuilder::new(Kind::Book);
    book.encode(item.body());
    item.finish()
}
