//! A peer that is suddenly elsewhere.
//!
//! A client's address changes when it changes networks, or when a router on its way forgets
//! it. The server sees a packet that passes the cipher from another address. It may be the
//! client, or somebody who copied the packet and was faster. So the server goes on sending
//! to the old address, and sends a challenge to the new one; when the answer comes from
//! there, it moves. Until then the new address gets at most three times what came from it.

use core::time::Duration;
use std::net::SocketAddr;

use stdx::Instant;

use crate::keys::Random;
use crate::v2::connection::leaving::PATH_PACKET_BYTES;
use crate::v2::connection::{Connection, Fate};

/// Challenges before an address is given up.
const CHALLENGES_MAX: u32 = 4;

/// An address that the peer may be at.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    pub(super) word: u64,
    /// Challenges sent.
    pub(super) sent: u32,
    next_at: Instant,
    /// Bytes from there and to there.
    received: usize,
    spent: usize,
}

impl Candidate {
    pub(super) const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Whether another challenge is within what came from there.
    const fn affords(&self, factor: u32) -> bool {
        let most = self.received.saturating_mul(factor as usize);
        factor == 0 || self.spent + PATH_PACKET_BYTES <= most
    }
}

impl Connection {
    /// Takes note of an authenticated packet, the newest so far, from another address.
    // spec: LSP2-7.3
    pub(super) fn on_elsewhere(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: usize,
        random: &mut Random,
    ) {
        if let Some(candidate) = &mut self.candidate
            && candidate.address == from
        {
            candidate.received += bytes;
            return;
        }
        self.candidate = Some(Box::new(Candidate {
            address: from,
            word: random.word(),
            sent: 0,
            next_at: now,
            received: bytes,
            spent: 0,
        }));
    }

    /// The challenge to send now, if one is due and may be sent.
    pub(super) fn challenge(&self, now: Instant, factor: u32) -> Option<(SocketAddr, u64)> {
        let candidate = self.candidate.as_deref()?;
        let due = candidate.next_at <= now && candidate.affords(factor);
        due.then_some((candidate.address, candidate.word))
    }

    pub(super) fn on_challenge_sent(&mut self, now: Instant, bytes: usize) {
        let wait = self.recovery.probe_timeout().max(Duration::from_millis(10));
        if let Some(candidate) = &mut self.candidate {
            candidate.spent += bytes;
            candidate.sent += 1;
            candidate.next_at = now.after(wait);
        }
    }

    /// Gives up a candidate that doesn't answer, or that we can't afford to ask.
    pub(super) fn tend_candidate(&mut self, now: Instant) {
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        if candidate.next_at > now {
            return;
        }
        let factor = self.config.amplification_factor;
        if candidate.sent >= CHALLENGES_MAX || !candidate.affords(factor) {
            self.candidate = None;
        }
    }

    /// Takes the answer to a challenge.
    // spec: LSP2-7.3
    pub(super) fn on_response(&mut self, now: Instant, from: SocketAddr, word: u64) {
        let Some(candidate) = &self.candidate else {
            return;
        };
        if candidate.word != word || candidate.address != from {
            return;
        }
        let same_host = from.ip() == self.remote.ip();
        self.remote = from;
        self.candidate = None;
        if same_host {
            // A router gave the client another port: the path is the same. What went to the
            // old one meanwhile is probably lost.
            self.recovery.on_reachable();
            return;
        }
        let mut fate = Fate::default();
        let (send, mtu) = (&mut self.send, &mut self.mtu);
        let initial = self.config.initial_rtt;
        self.recovery
            .restart(now, initial, |flight| fate.lose(now, flight, send, mtu));
        self.mtu.restart(now);
        self.suffer(fate);
    }
}
