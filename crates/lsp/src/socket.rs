//! A UDP socket that sends and receives in batches.
//!
//! Receiving takes up to [`BATCH_SIZE`] buffers from the kernel in one call, each of which
//! may hold many datagrams of one length that the kernel joined (GRO). Sending hands over
//! runs of equal datagrams to one address in one call (GSO). Where the kernel has neither,
//! both work one by one.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

use lsp_core::Transmit;
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::config::SocketOptions;

/// The longest datagram that UDP carries, rounded up: what joined datagrams fit in.
const SLOT_BYTES: usize = 1 << 16;
/// The most bytes that one call may send: a little less than an IP packet.
const RUN_BYTES_MAX: usize = 60_000;

/// Buffers for one turn. A thread has one set, since no turn waits within itself: ten
/// thousand sockets don't need ten thousand sets.
#[derive(Debug)]
pub(crate) struct Buffers {
    slots: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    /// Datagrams to send, back to back.
    pub(crate) outgoing: Vec<u8>,
    pub(crate) transmits: Vec<Transmit>,
}

thread_local! {
    static BUFFERS: RefCell<Option<Box<Buffers>>> = const { RefCell::new(None) };
}

impl Buffers {
    /// Borrows this thread's set. Nothing that runs within may wait, or take it again.
    pub(crate) fn with<R>(run: impl FnOnce(&mut Self) -> R) -> R {
        BUFFERS.with_borrow_mut(|buffers| run(buffers.get_or_insert_with(Self::new)))
    }

    fn new() -> Box<Self> {
        Box::new(Self {
            // Zeroed by the kernel, and only touched where datagrams arrive.
            slots: vec![0; SLOT_BYTES * BATCH_SIZE],
            metas: [RecvMeta::default(); BATCH_SIZE],
            outgoing: Vec::new(),
            transmits: Vec::new(),
        })
    }

    /// The datagrams in the first `slots` slots, and where each came from.
    pub(crate) fn datagrams(&self, slots: usize) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let filled = self.slots.chunks_exact(SLOT_BYTES).zip(&self.metas);
        filled.take(slots).flat_map(|(slot, meta)| {
            let stride = meta.stride.max(1);
            let from = meta.addr;
            // An empty datagram is one, too.
            let empty = (meta.len == 0).then_some(&slot[..0]);
            let datagrams = slot[..meta.len].chunks(stride).chain(empty);
            datagrams.map(move |datagram| (from, datagram))
        })
    }
}

/// The socket, its state in the kernel, and what couldn't be sent yet.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    waiting: Waiting,
    /// The longest datagram worth joining with others: the kernel doesn't join what an
    /// interface can't take whole.
    segment_bytes_max: usize,
    /// Datagrams that the kernel refused, other than for want of room.
    pub(crate) refused: u64,
}

/// Datagrams that didn't fit the kernel's buffer.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    transmits: Vec<Transmit>,
}

impl Socket {
    pub(crate) fn bind(local: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let buffer_bytes = options.buffer_bytes;
        let socket =
            socket2::Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&local.into())?;
        // The kernel caps them silently; less is slower, not wrong.
        socket.set_recv_buffer_size(buffer_bytes)?;
        socket.set_send_buffer_size(buffer_bytes)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        if local.is_ipv4() && options.fragments {
            // Version 1 knows nothing of the path's limit: a message that is too long for
            // it must travel in fragments rather than never.
            sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
        }
        let io = UdpSocket::from_std(socket.into())?;
        Ok(Self {
            local: io.local_addr()?,
            io,
            state,
            waiting: Waiting::default(),
            segment_bytes_max: usize::MAX,
            refused: 0,
        })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there is something to receive, or room for what waits to be sent.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        let interest = if self.is_blocked() {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        self.io.ready(interest).await.map(|_ready| ())
    }

    /// Whether the kernel's buffer is full.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.waiting.transmits.is_empty()
    }

    /// Receives a batch; how many slots were filled. Zero: there is nothing.
    pub(crate) fn receive(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let Buffers { slots, metas, .. } = buffers;
        let mut chunks = slots.chunks_exact_mut(SLOT_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] = core::array::from_fn(|_| {
            IoSliceMut::new(chunks.next().expect("there are as many slots as slices"))
        });
        let received = self.io.try_io(Interest::READABLE, || {
            self.state.recv((&self.io).into(), &mut slices, metas)
        });
        match received {
            Ok(count) => Ok(count),
            Err(error) if is_transient(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Sends what is in `buffers`, and keeps what the kernel has no room for. Must not be
    /// called while [`is_blocked`](Self::is_blocked).
    pub(crate) fn send(&mut self, buffers: &Buffers) {
        let sent = self.send_runs(&buffers.outgoing, &buffers.transmits);
        let Sent { transmits, bytes } = sent;
        if transmits < buffers.transmits.len() {
            self.waiting
                .bytes
                .extend_from_slice(&buffers.outgoing[bytes..]);
            self.waiting
                .transmits
                .extend_from_slice(&buffers.transmits[transmits..]);
        }
    }

    /// Tries again what waits.
    pub(crate) fn send_waiting(&mut self) {
        let waiting = core::mem::take(&mut self.waiting);
        let Sent { transmits, bytes } = self.send_runs(&waiting.bytes, &waiting.transmits);
        if transmits < waiting.transmits.len() {
            self.waiting
                .bytes
                .extend_from_slice(&waiting.bytes[bytes..]);
            self.waiting
                .transmits
                .extend_from_slice(&waiting.transmits[transmits..]);
        }
    }

    fn send_runs(&mut self, bytes: &[u8], transmits: &[Transmit]) -> Sent {
        let mut sent = Sent::default();
        while let Some(run) = self.first_run(&transmits[sent.transmits..]) {
            let contents = &bytes[sent.bytes..sent.bytes + run.bytes];
            let transmit = quinn_udp::Transmit {
                destination: run.to,
                ecn: None,
                contents,
                segment_size: (run.transmits > 1).then_some(run.segment_bytes),
                src_ip: None,
            };
            let outcome = self.io.try_io(Interest::WRITABLE, || {
                self.state.try_send((&self.io).into(), &transmit)
            });
            match outcome {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                Err(error) if run.transmits > 1 => {
                    tracing::debug!(to = %run.to, %error, "datagrams can't be joined");
                    self.segment_bytes_max = run.segment_bytes - 1;
                    continue;
                }
                // As if the network had lost them: a route that is down, a datagram longer
                // than the interface takes. The protocol sends them again.
                Err(error) => {
                    self.refused += run.transmits as u64;
                    tracing::debug!(to = %run.to, %error, "the kernel refused a datagram");
                }
            }
            sent.transmits += run.transmits;
            sent.bytes += run.bytes;
        }
        sent
    }

    fn first_run(&self, transmits: &[Transmit]) -> Option<Run> {
        let joins = transmits.first()?.bytes <= self.segment_bytes_max;
        let segments_max = if joins {
            self.state.max_gso_segments()
        } else {
            1
        };
        Run::first(transmits, segments_max)
    }
}

/// How far sending came.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    transmits: usize,
    bytes: usize,
}

/// Datagrams that one call can send: to one address, all of one length but the last, which
/// may be shorter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Run {
    to: SocketAddr,
    transmits: usize,
    bytes: usize,
    segment_bytes: usize,
}

impl Run {
    fn first(transmits: &[Transmit], segments_max: usize) -> Option<Self> {
        let (
            &Transmit {
                to,
                bytes: segment_bytes,
            },
            rest,
        ) = transmits.split_first()?;
        let mut run = Self {
            to,
            transmits: 1,
            bytes: segment_bytes,
            segment_bytes,
        };
        for next in rest {
            let fits = run.transmits < segments_max && run.bytes + next.bytes <= RUN_BYTES_MAX;
            if next.to != to || next.bytes > segment_bytes || !fits {
                break;
            }
            run.transmits += 1;
            run.bytes += next.bytes;
            if next.bytes < segment_bytes {
                break;
            }
        }
        Some(run)
    }
}

/// Whether an error of receiving is about one datagram, or about nothing, and not about the
/// socket.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            // An earlier datagram found nobody: ICMP says so, and anybody can forge that.
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transmits(lengths: &[usize]) -> Vec<Transmit> {
        let to = SocketAddr::from(([127, 0, 0, 1], 1));
        lengths
            .iter()
            .map(|&bytes| Transmit { to, bytes })
            .collect()
    }

    fn runs(mut rest: &[Transmit], segments_max: usize) -> Vec<usize> {
        let mut counts = Vec::new();
        while let Some(run) = Run::first(rest, segments_max) {
            counts.push(run.transmits);
            rest = &rest[run.transmits..];
        }
        counts
    }

    #[test]
    fn a_run_is_of_equal_lengths_with_a_shorter_one_at_most_at_its_end() {
        assert_eq!(runs(&transmits(&[10, 10, 10, 7, 10, 11]), 64), [4, 1, 1]);
        assert_eq!(runs(&transmits(&[10; 5]), 2), [2, 2, 1]);
        assert_eq!(runs(&transmits(&[10, 10]), 1), [1, 1]);
        assert_eq!(runs(&transmits(&[25_000; 5]), 64), [2, 2, 1]);
        assert_eq!(runs(&[], 64), [0; 0]);
    }

    #[test]
    fn a_run_has_one_destination() {
        let mut mixed = transmits(&[10; 4]);
        mixed[2].to = SocketAddr::from(([127, 0, 0, 1], 2));
        assert_eq!(runs(&mixed, 64), [2, 1, 1]);
    }
}
