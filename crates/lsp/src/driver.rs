//! The task that owns the socket.
//!
//! Each turn receives what there is, gives it to the core, sends what the core has and
//! tells who waits; then it sleeps until a datagram, a wish or a timer. A turn is bounded,
//! so that one busy socket leaves the thread to others.

use std::io;
use std::sync::Arc;

use tokio::time::Sleep;

use crate::shared::Shared;
use crate::socket::{Buffers, Socket};

/// Batches received or sent before others have their turn.
const ROUNDS_MAX: usize = 16;
/// Bytes that the core may hand out at once.
const OUTGOING_BYTES_MAX: usize = 256 << 10;
/// Datagrams that the core may hand out at once.
const TRANSMITS_MAX: usize = 512;

/// Carries between one socket and one core.
#[derive(Debug)]
pub(crate) struct Driver {
    shared: Arc<Shared>,
    socket: Socket,
}

/// What follows a turn.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// There is more to do.
    Turn,
    /// Nothing to do until then, unless something happens.
    Sleep(Option<stdx::Instant>),
    /// All connections are over and there will be no more.
    End,
}

/// What one hold of the lock brought about.
#[derive(Clone, Copy, Debug)]
struct Stepped {
    timeout: Option<stdx::Instant>,
    /// Whether the core may have more to send.
    more: bool,
    /// Whether another socket waits.
    moves: bool,
    over: bool,
}

impl Driver {
    /// Starts the task. It ends by itself when the endpoint is over.
    pub(crate) fn spawn(shared: Arc<Shared>, socket: Socket) {
        tokio::spawn(Self { shared, socket }.run());
    }

    async fn run(mut self) {
        let outcome = self.drive().await;
        let mut state = self.shared.lock();
        state.over = true;
        if let Err(error) = outcome {
            tracing::error!(local = %state.local, %error, "a UDP socket failed");
            state.failure = Some(Arc::new(error));
        }
        state.wake_writers();
        drop(state);
        // The socket is closed before anybody hears that it is.
        let Self { shared, socket } = self;
        drop(socket);
        shared.news.notify_waiters();
        shared.ended.notify_waiters();
    }

    async fn drive(&mut self) -> io::Result<()> {
        let sleep = tokio::time::sleep_until(tokio::time::Instant::now());
        tokio::pin!(sleep);
        loop {
            match Buffers::with(|buffers| self.turn(buffers))? {
                Next::End => return Ok(()),
                Next::Turn => tokio::task::yield_now().await,
                Next::Sleep(until) => self.sleep(until, sleep.as_mut()).await?,
            }
        }
    }

    async fn sleep(
        &self,
        until: Option<stdx::Instant>,
        mut sleep: core::pin::Pin<&mut Sleep>,
    ) -> io::Result<()> {
        if let Some(at) = until {
            let deadline = self.shared.clock.deadline(at);
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
        }
        tokio::select! {
            ready = self.socket.ready() => ready,
            () = self.shared.wake.notified() => Ok(()),
            () = sleep, if until.is_some() => Ok(()),
        }
    }

    fn turn(&mut self, buffers: &mut Buffers) -> io::Result<Next> {
        self.socket.send_waiting();
        for _ in 0..ROUNDS_MAX {
            let slots = self.socket.receive(buffers)?;
            let blocked = self.socket.is_blocked();
            let stepped = self.step(buffers, slots, blocked);
            if !blocked {
                self.socket.send(buffers);
            }
            if stepped.over && !self.socket.is_blocked() {
                return Ok(Next::End);
            }
            if stepped.moves {
                self.go_over();
                return Ok(Next::Turn);
            }
            if slots == 0 && !stepped.more {
                return Ok(Next::Sleep(stepped.timeout));
            }
        }
        Ok(Next::Turn)
    }

    /// Goes over to the socket that waits. What is on its way to the old one is lost, and
    /// sent again.
    fn go_over(&mut self) {
        let mut state = self.shared.lock();
        let Some(socket) = state.rebound.take() else {
            return;
        };
        self.socket = *socket;
        state.local = self.socket.local();
        let now = self.shared.clock.now();
        state.endpoint.on_rebound(now);
        drop(state);
        self.shared.news.notify_waiters();
    }

    /// Gives the core what arrived and the time, and takes what it wants to send.
    fn step(&self, buffers: &mut Buffers, slots: usize, blocked: bool) -> Stepped {
        buffers.outgoing.clear();
        buffers.transmits.clear();
        let mut state = self.shared.lock();
        state.asked = false;
        let now = self.shared.clock.now();
        for (from, datagram) in buffers.datagrams(slots) {
            state.endpoint.on_datagram(now, from, datagram);
        }
        state.endpoint.on_timeout(now);
        let mut full = false;
        while !blocked && !full {
            let Some(transmit) = state.endpoint.poll_transmit(now, &mut buffers.outgoing) else {
                break;
            };
            buffers.transmits.push(transmit);
            full = buffers.transmits.len() >= TRANSMITS_MAX
                || buffers.outgoing.len() >= OUTGOING_BYTES_MAX;
        }
        let news = state.take_events(now);
        let stepped = Stepped {
            timeout: state.endpoint.poll_timeout(),
            more: full,
            moves: state.rebound.is_some(),
            over: state.endpoint.is_empty() && state.closing,
        };
        drop(state);
        if news {
            self.shared.news.notify_waiters();
        }
        stepped
    }
}
