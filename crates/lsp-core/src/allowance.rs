//! How much may be sent to an address that hasn't proved that it receives.
//!
//! Anybody can write a Connect with somebody else's return address. Without a limit, one
//! small datagram would buy a victim epochs of our retransmissions. So until the address
//! answers with something that it can only know from what we sent there, it gets at most
//! a multiple of the bytes that came from it (RFC 9000, section 8.1).
//!
//! In version 1 the proof is weak: connection ids are counted from 1, so a forger may
//! guess the one to name. It stops the accident and the lazy; version 2's cookie is to
//! stop the rest.

/// The budget towards one address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    received: u64,
    sent: u64,
    factor: u32,
    proven: bool,
}

impl Allowance {
    /// No limit: we spoke first.
    pub(crate) const fn unlimited() -> Self {
        Self {
            received: 0,
            sent: 0,
            factor: 0,
            proven: true,
        }
    }

    /// At most `factor` times what is received; no limit if that is zero.
    pub(crate) const fn times(factor: u32) -> Self {
        Self {
            received: 0,
            sent: 0,
            factor,
            proven: factor == 0,
        }
    }

    pub(crate) const fn on_received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
    }

    pub(crate) const fn on_sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// The address proved that it receives.
    pub(crate) const fn prove(&mut self) {
        self.proven = true;
    }

    pub(crate) const fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether a datagram of this length may be sent.
    // spec: LSP-8.3
    pub(crate) const fn permits(&self, bytes: usize) -> bool {
        let limit = self.received.saturating_mul(self.factor as u64);
        self.proven || self.sent.saturating_add(bytes as u64) <= limit
    }
}
