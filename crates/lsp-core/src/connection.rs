//! One connection, seen from one side.
//!
//! The files beside this one hold its concerns: what arrives
//! ([`arriving`]), what leaves ([`leaving`]) and what the
//! application asks for ([`serving`]). This one holds the state and the
//! clock.

mod arriving;
mod leaving;
mod serving;

use std::collections::VecDeque;

use stdx::Instant;

use crate::acks::AckQueue;
use crate::allowance::Allowance;
use crate::config::{self, ValidConfig};
use crate::epoch::{EpochClock, Tick};
use crate::message::{ConnId, SeqNum};
use crate::receive_window::ReceiveWindow;
use crate::recovery::{Path, Recovery};
use crate::send_window::SendWindow;
use crate::state::{Phase, Trigger};

pub use self::serving::{CloseError, ReadError, WriteError};

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Side {
    /// The end that sent the Connect.
    Client,
    /// The end that received it.
    Server,
}

/// What the application should know.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Event {
    /// The connection is open and has its id. On a server: a client connected.
    Connected,
    /// There is something to read where there was nothing.
    Readable,
    /// There is room to write again after [`WriteError::Full`].
    Writable,
    /// Closed by us, and all that was written was acknowledged. The connection is gone.
    Closed,
    /// The peer was silent for too long. What it sent in order can still be read; what
    /// was written and not acknowledged may or may not have arrived.
    Lost,
}

/// What happened on a connection, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Data messages sent for the first time.
    pub data_sent: u64,
    /// Data messages sent again.
    pub data_resent: u64,
    /// Losses found by round trips, probes included.
    pub losses: u64,
    /// Data messages that arrived for the first time and were kept.
    pub data_received: u64,
    /// Data messages that had arrived before.
    pub duplicates: u64,
    /// Data messages dropped for want of room or for being too early.
    pub data_dropped: u64,
    /// Messages that name another connection, or make no sense in this phase.
    pub strays: u64,
}

/// The Live Sequence Protocol between two ends, as one of them sees it.
///
/// It does no IO and reads no clock. It has four kinds of methods:
///
/// * **inputs**, which take the time: [`on_message`](Self::on_message) and
///   [`on_received_bytes`](Self::on_received_bytes) for what the network brings,
///   [`on_timeout`](Self::on_timeout) for the clock;
/// * **commands** of the application: [`write`](Self::write), [`read`](Self::read),
///   [`close`](Self::close);
/// * **outputs**, polled after every input and command until they return `None`:
///   [`poll_transmit`](Self::poll_transmit) for messages to send,
///   [`poll_event`](Self::poll_event) for the application, and then
///   [`poll_timeout`](Self::poll_timeout) for when to call `on_timeout`;
/// * **views**.
///
/// An [`Endpoint`](crate::Endpoint) drives it; there is rarely a reason to use it alone.
///
/// ```
/// use bytes::Bytes;
/// use lsp_core::{Config, Connection, Message, SeqNum};
/// use stdx::Instant;
///
/// let config = Config::default().validate()?;
/// let now = Instant::EPOCH;
/// let mut client = Connection::connect(config.clone(), SeqNum::new(7), now);
/// let Some(Message::Connect { isn, .. }) = client.poll_transmit(now) else {
///     panic!("a client speaks first");
/// };
/// let mut server = Connection::accept(config, lsp_core::ConnId::new(1), isn, now);
/// server.on_received_bytes(69);
/// let ack = server.poll_transmit(now).expect("the server answers");
/// client.on_message(now, ack);
/// client.write(Bytes::from_static(b"hello"))?;
/// let data = client.poll_transmit(now).expect("the window is open");
/// server.on_message(now, data);
/// assert_eq!(server.read()?.as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Time never goes back: each `now` is at least the one before. After a command, call
/// `poll_transmit`; after every call, `poll_timeout` may have changed.
///
/// It never panics on what a peer sends, and what it holds is bounded by its
/// [`Config`](crate::Config).
#[derive(Clone, Debug)]
pub struct Connection {
    config: ValidConfig,
    side: Side,
    phase: Phase,
    /// Invariant: zero exactly while a client's connection was never open.
    id: ConnId,
    isn: SeqNum,
    clock: EpochClock,
    send: SendWindow,
    receive: ReceiveWindow,
    acks: AckQueue,
    /// Present in adaptive recovery only.
    recovery: Option<Box<Recovery>>,
    allowance: Allowance,
    due: Due,
    /// When the Connect was sent, if it was sent once.
    connect_sent_at: Option<Instant>,
    /// Transmissions of Data so far.
    transmissions: u64,
    events: VecDeque<Event>,
    /// Whether a write was refused since the last [`Event::Writable`].
    writer_waits: bool,
    stats: Stats,
}

/// Messages other than Data and Acks that are due. A set of flags: each is sent once.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    connect: bool,
    connect_ack: bool,
    heartbeat: bool,
}

impl Connection {
    /// The client's end: asks for a connection whose data starts after `isn`.
    ///
    /// Choose `isn` at random and not zero: with zero, the acknowledgement of the Connect
    /// looks like a heartbeat of an earlier connection from the same port.
    // spec: LSP-1.3 LSP-3.3
    #[must_use]
    pub fn connect(config: ValidConfig, isn: SeqNum, now: Instant) -> Self {
        let mut connection = Self::new(config, Side::Client, ConnId::ZERO, isn, now);
        connection.due.connect = true;
        connection
    }

    /// The server's end: answers a Connect.
    ///
    /// # Panics
    ///
    /// When `id` is zero, which is no connection's id.
    // spec: LSP-3.4
    #[must_use]
    pub fn accept(config: ValidConfig, id: ConnId, isn: SeqNum, now: Instant) -> Self {
        assert!(id != ConnId::ZERO, "zero is no connection's id");
        let mut connection = Self::new(config, Side::Server, id, isn, now);
        connection.phase = Phase::Open;
        connection.due.connect_ack = true;
        connection.events.push_back(Event::Connected);
        connection
    }

    fn new(config: ValidConfig, side: Side, id: ConnId, isn: SeqNum, now: Instant) -> Self {
        let recovery = match config.recovery {
            config::Recovery::Epochs => None,
            config::Recovery::Adaptive => Some(Box::new(Recovery::new(now, &config))),
        };
        let allowance = match side {
            Side::Client => Allowance::unlimited(),
            Side::Server => Allowance::times(config.amplification_factor),
        };
        Self {
            side,
            phase: Phase::Connecting,
            id,
            isn,
            clock: EpochClock::start(now, config.epoch),
            send: SendWindow::new(isn.next()),
            receive: ReceiveWindow::new(isn.next()),
            acks: AckQueue::new(config.acks),
            recovery,
            allowance,
            due: Due::default(),
            connect_sent_at: None,
            transmissions: 0,
            events: VecDeque::new(),
            writer_waits: false,
            stats: Stats::default(),
            config,
        }
    }

    /// Does what is due by the clock. Calling it early, or twice, does nothing.
    // spec: LSP-6.1
    pub fn on_timeout(&mut self, now: Instant) {
        if self.phase.is_over() {
            return;
        }
        if let Some(tick) = self.clock.tick(now, self.config.epoch) {
            self.on_epoch(tick);
        }
        if let Some(recovery) = &mut self.recovery {
            self.stats.losses += recovery.on_timeout(now, &mut self.send);
        }
    }

    // spec: LSP-6.2 LSP-6.3 LSP-6.4 LSP-3.3
    fn on_epoch(&mut self, tick: Tick) {
        if tick.silent >= self.config.epoch_limit {
            self.shift(Trigger::SilenceLimit);
            return;
        }
        if self.phase == Phase::Connecting {
            self.due.connect = true;
            return;
        }
        let resends = match self.recovery {
            None => self.send.on_epoch(self.config.max_backoff_interval),
            Some(_) => false,
        };
        if !resends && !tick.spoke {
            self.due.heartbeat = true;
            self.shrink();
        }
    }

    /// Gives back the memory of busier times: an idle connection should cost little.
    fn shrink(&mut self) {
        if self.send.is_empty() {
            self.send.shrink();
        }
        self.receive.shrink();
        self.acks.shrink();
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    /// Moves to the phase that the table says; the only place that assigns it.
    fn shift(&mut self, trigger: Trigger) {
        let Some(next) = self.phase.next(trigger) else {
            return;
        };
        self.phase = next;
        match next {
            Phase::Connecting | Phase::Draining => {}
            Phase::Open => self.events.push_back(Event::Connected),
            Phase::Closed => self.end(Event::Closed),
            Phase::Lost => self.end(Event::Lost),
        }
    }

    /// Forgets all that the end of a connection makes useless.
    // spec: LSP-7.4
    fn end(&mut self, event: Event) {
        self.send.clear();
        self.acks.clear();
        self.receive.drop_early();
        if event == Event::Closed {
            self.receive.discard();
        }
        self.recovery = None;
        self.due = Due::default();
        self.events.push_back(event);
    }

    /// When [`on_timeout`](Self::on_timeout) or [`poll_transmit`](Self::poll_transmit)
    /// has something to do; `None` when the connection is over.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.phase.is_over() {
            return None;
        }
        let mut next = self.clock.next();
        if let Some(recovery) = &self.recovery {
            if let Some(at) = recovery.poll_timeout() {
                next = next.min(at);
            }
            if let Some(at) = self.paced_until(recovery, now) {
                next = next.min(at);
            }
        }
        Some(next)
    }

    /// The next thing that the application should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Which end this is.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Where the connection is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The connection's id; zero before a client knows it.
    #[must_use]
    pub const fn id(&self) -> ConnId {
        self.id
    }

    /// The initial sequence number.
    #[must_use]
    pub const fn isn(&self) -> SeqNum {
        self.isn
    }

    /// What happened so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// What is known of the path; `None` unless recovery is adaptive.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.recovery.as_ref().map(|recovery| recovery.path())
    }

    /// Whether the peer proved that it receives what is sent to its address.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.allowance.is_proven()
    }

    /// Bytes received and not read.
    #[must_use]
    pub const fn received_bytes(&self) -> usize {
        self.receive.bytes()
    }

    /// Messages written and not acknowledged.
    #[must_use]
    pub fn unsent_or_unacked(&self) -> usize {
        self.send.len()
    }

    /// Messages sent and not acknowledged.
    #[must_use]
    pub const fn unacked(&self) -> usize {
        self.send.unacked()
    }

    /// The oldest unacknowledged number, and how many from it on were sent.
    #[must_use]
    pub fn window(&self) -> (SeqNum, usize) {
        self.send.span()
    }

    /// Whether an Ack is withheld because the application doesn't read.
    #[must_use]
    pub const fn is_withholding(&self) -> bool {
        self.receive.is_withholding()
    }

    /// Asserts what always holds; tests call it after every input.
    ///
    /// # Panics
    ///
    /// When something that always holds doesn't: a bug.
    pub fn check_invariants(&self) {
        self.send.check_invariants();
        self.receive.check_invariants();
        let (_, span) = self.send.span();
        assert!(
            span <= self.config.window_size,
            "the window bounds what is sent"
        );
        assert!(
            self.send.unacked() <= self.config.max_unacked_messages,
            "the limit of unacknowledged messages holds"
        );
        if let Some(recovery) = &self.recovery {
            recovery.check_invariants(&self.send);
        }
        if self.phase == Phase::Draining {
            assert!(!self.send.is_empty(), "a drained connection is closed");
        }
        if self.phase.is_over() {
            assert!(self.send.is_empty(), "what is over sends nothing");
        }
    }
}
