//! One process of any kind, as the world runs it.

use sim::{Context, DiskError, Process, SyncId};
use stdx::{Instant, NodeId};

use crate::coordinator::Coordinator;
use crate::message::Message;
use crate::scenario::Scenario;
use crate::store::Store;
use crate::worker::Worker;

/// What a process is started with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) scenario: Scenario,
    pub(crate) kind: Kind,
}

/// Which kind of process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Store,
    Coordinator,
    /// The n-th worker.
    Worker(u32),
}

/// A process.
#[derive(Debug)]
pub(crate) enum Node {
    Store(Box<Store>),
    Coordinator(Box<Coordinator>),
    Worker(Box<Worker>),
}

impl Process for Node {
    type Config = Start;
    type Message = Message;

    fn boot(start: &Start, context: &mut Context<'_, Message>) -> Result<Self, String> {
        Ok(match start.kind {
            Kind::Store => Self::Store(Box::new(Store::new(&start.scenario))),
            Kind::Coordinator => {
                Self::Coordinator(Box::new(Coordinator::new(&start.scenario, context)))
            }
            Kind::Worker(at) => Self::Worker(Box::new(Worker::new(&start.scenario, at, context))),
        })
    }

    fn on_message(&mut self, context: &mut Context<'_, Message>, from: NodeId, message: Message) {
        match self {
            Self::Store(store) => store.on_message(context, from, message),
            Self::Coordinator(coordinator) => coordinator.on_message(context, from, message),
            Self::Worker(worker) => worker.on_message(context, from, message),
        }
    }

    fn on_timeout(&mut self, context: &mut Context<'_, Message>) {
        match self {
            Self::Store(_) => {}
            Self::Coordinator(coordinator) => coordinator.on_timeout(context),
            Self::Worker(worker) => worker.on_timeout(context),
        }
    }

    fn on_synced(&mut self, _: &mut Context<'_, Message>, _: SyncId, _: Result<(), DiskError>) {}

    fn timeout(&self) -> Option<Instant> {
        match self {
            Self::Store(_) => None,
            Self::Coordinator(coordinator) => Some(coordinator.wakes),
            Self::Worker(worker) => worker.timeout(),
        }
    }
}
