//! What can go wrong when a node is asked for something.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use stdx::NodeId;
use thiserror::Error;

/// Why commands were not executed, or may not have been.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ExecuteError {
    /// Certainly not executed: nobody leads right now, or the leader can't be reached.
    #[error("no leader: try again")]
    NoLeader {
        /// Who is thought to lead.
        leader: Option<NodeId>,
    },
    /// Certainly not executed: too much is under way.
    #[error("overloaded: too many writes are under way; try again later")]
    Overloaded,
    /// Certainly not executed: it can never be.
    #[error("{bytes} bytes of commands exceed the limit of {bytes_max}")]
    TooLarge {
        /// Encoded size of the commands.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Certainly not executed: the node is on its way out.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// Certainly not executed: the leader's disk is full.
    #[error("the disk is full: writes are refused until there is space again")]
    DiskFull,
    /// The commands may have been executed, may be executed later, or never.
    #[error("the outcome is unknown: the commands may have been executed")]
    Unknown,
}

/// Why a linearizable read can't be served. Nothing happened: try again.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ReadError {
    /// Nobody leads right now, or the leader can't be reached.
    #[error("no leader: try again")]
    NoLeader {
        /// Who is thought to lead.
        leader: Option<NodeId>,
    },
    /// Too many reads wait.
    #[error("overloaded: too many reads wait; try again later")]
    Overloaded,
    /// The node is on its way out.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The confirmation did not come in time.
    #[error("timed out while waiting for the leader's confirmation: try again")]
    TimedOut,
}

/// Why a change of members or of the leader was not made.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum AdminError {
    /// Only the leader can do it.
    #[error("this node is not the leader{}", leader_hint(*leader, address.as_deref()))]
    NotLeader {
        /// Who leads, if known.
        leader: Option<NodeId>,
        /// The address of its gRPC door, if known.
        address: Option<Arc<str>>,
    },
    /// It makes no sense, or not now.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: Box<str>,
    },
    /// It did not happen in time; it may still.
    #[error("timed out; it may still happen: look at the status")]
    TimedOut,
    /// The node is on its way out.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// Leadership was lost on the way: it may have happened.
    #[error("the outcome is unknown: look at the status")]
    Unknown,
}

fn leader_hint(leader: Option<NodeId>, address: Option<&str>) -> String {
    match (leader, address) {
        (Some(leader), Some(address)) => format!("; {leader} at {address} is"),
        (Some(leader), None) => format!("; {leader} is"),
        (None, _) => "; nobody is at the moment".to_owned(),
    }
}

/// Why a node could not start. Each message says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address is taken.
    #[error("port in use: something listens on {address} already; stop it or choose another port")]
    PortInUse {
        /// The address.
        address: Box<str>,
    },
    /// The address can't be used.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: Box<str>,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Another process works in the directory.
    #[error("the data directory {} is in use by another process; stop it or choose another directory", dir.display())]
    DirectoryInUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory belongs to another node or cluster.
    #[error(
        "the data directory {} belongs to {found}, but this is {expected}: choose the directory of \
         this node, or an empty one", dir.display()
    )]
    OtherIdentity {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: Box<str>,
        /// Who wanted to use it.
        expected: Box<str>,
    },
    /// The directory's node has company that an embedded node could not reach.
    #[error(
        "the data directory {} belongs to a cluster of several nodes: run its node with `kontiki serve`, \
         and use the addresses of the cluster instead of the directory", dir.display()
    )]
    NotAlone {
        /// The directory.
        dir: PathBuf,
    },
    /// A file that says whose the directory is can't be understood.
    #[error("{} line {line} is not understood: {what}; restore the file from a backup of this node", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The log can't be opened.
    #[error(transparent)]
    Log(#[from] wal::OpenError),
    /// The log can't be read or written during start.
    #[error(transparent)]
    LogWrite(#[from] wal::WalError),
    /// A membership in the log can't be understood.
    #[error(
        "the log holds a membership that this program does not understand: use the program that wrote it, or a newer one"
    )]
    Membership,
    /// Log and state machine don't fit each other.
    #[error(
        "the state machine in {} stands at {applied}, but the log ends at {last} and no snapshot explains it: \
         parts of the data directory are missing or of different age; restore all of it from one backup, \
         or remove the node and add it again under a new id with an empty directory", dir.display()
    )]
    Mismatch {
        /// The directory.
        dir: PathBuf,
        /// Where the state machine stands.
        applied: stdx::LogIndex,
        /// Where the log ends.
        last: stdx::LogIndex,
    },
    /// The storage engine can't be opened.
    #[error("could not open the storage engine in {}", dir.display())]
    Engine {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: engine::EngineError,
    },
    /// The cluster did not take this node in.
    #[error("could not join: {reason}")]
    Join {
        /// Why.
        reason: Box<str>,
    },
    /// The operating system refused something.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}
