//! The original's five parameters, and ours.
//!
//! The default is the specification to the letter: its timing, one Ack a message, every
//! retransmission on an epoch. [`Config::adaptive`] turns on what a peer can't see except
//! as speed. Limits hold in both.

use core::time::Duration;
use std::sync::Arc;

use stdx::Prng;
use thiserror::Error;

use crate::keys::{PublicKey, SecretKey, SharedKey};
use crate::limits::{
    DATAGRAM_BYTES_BASE, LENGTH_BYTES_MAX, PAYLOAD_BYTES_MAX, UDP_BYTES_MAX, WINDOW_MESSAGES_MAX,
};

/// How lost messages are found and sent again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Recovery {
    /// On epochs only, each message backing off on its own: the specification.
    #[default]
    Epochs,
    /// From measured round trips: fast retransmission by packet and time threshold,
    /// probe timeouts, pacing under a bandwidth model. Epochs keep heartbeats and loss of
    /// the connection.
    Adaptive,
}

/// How received messages are acknowledged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Acks {
    /// One Ack for each Data message, duplicates included: the specification's habit.
    #[default]
    Each,
    /// One `CAck` for all that arrived in order between two calls of `poll_transmit`, and
    /// an Ack for each one beyond a gap. Never delayed: batches come from load.
    Coalesced,
}

/// Which version of the protocol an endpoint speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    /// Version 1 only: to a peer indistinguishable from an original.
    #[default]
    V1,
    /// Version 2 only. A client takes no version 1 answer, a server answers no version 1
    /// Connect. Nobody in between can make the ends talk in the clear.
    V2,
    /// Version 2 with those who know it, version 1 with the others. Whoever can forge an
    /// answer of the server can force version 1.
    Auto,
}

/// When a server asks a client to prove its address before it keeps anything of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Validation {
    /// While more than a quarter of `unproven_connections_max` are unproven. Until then a
    /// handshake takes one round trip.
    #[default]
    UnderLoad,
    /// Always: every handshake takes two round trips, a forged address costs no memory.
    Always,
}

/// The secrets of version 2.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keys {
    /// A server's identity. Without one, each endpoint draws its own, and nobody can know
    /// it again.
    pub secret: Option<SecretKey>,
    /// The server that a client talks to, and no other. Without it, whoever answers is
    /// believed: nobody can listen, but anybody in between can pretend.
    pub server: Option<PublicKey>,
    /// A secret that both ends must have.
    pub shared: Option<SharedKey>,
}

/// How connections of an endpoint behave.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Epochs without any message after which the peer is lost. Default 5, at least 1.
    pub epoch_limit: u32,
    /// The length of an epoch: retransmissions (in [`Recovery::Epochs`]), heartbeats
    /// and the loss of connections happen on its ticks. Default 2 s, at least 1 ms.
    pub epoch: Duration,
    /// How far past the oldest unacknowledged message another may be sent, itself
    /// included. Default 1, at most 65,536.
    pub window_size: usize,
    /// The longest pause, in epochs, between two sends of a message. Default 0: it is sent
    /// in every epoch. Has no effect in [`Recovery::Adaptive`].
    pub max_backoff_interval: u32,
    /// How many messages may be unacknowledged. Default 1. Binds beside
    /// `window_size`; larger than it, it has no effect.
    pub max_unacked_messages: usize,

    /// How losses are repaired. Default [`Recovery::Epochs`].
    pub recovery: Recovery,
    /// How messages are acknowledged. Default [`Acks::Each`].
    pub acks: Acks,
    /// What to assume of a round trip before one is measured, in [`Recovery::Adaptive`].
    /// Default 333 ms (RFC 9002).
    pub initial_rtt: Duration,
    /// How many times the bytes received from a client a server sends to it before the
    /// client proved that it receives. Default 3 (RFC 9000). Zero is no limit: only for
    /// networks where nobody forges a sender's address.
    pub amplification_factor: u32,

    /// The longest payload that may be written. Default 1,000: with it, a datagram fits
    /// Ethernet. At most [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes_max: usize,
    /// Messages written and not yet acknowledged on a connection; one more is refused.
    /// Default 16,384.
    pub send_messages_max: usize,
    /// Bytes written and not yet acknowledged on a connection. Default 16 MiB.
    pub send_bytes_max: usize,
    /// Messages received in order that the application hasn't read; with this many, the
    /// oldest Ack is withheld, so that the peer's window closes. Default 4,096.
    pub receive_messages_max: usize,
    /// The same in bytes, those that arrived early included. Default 4 MiB.
    pub receive_bytes_max: usize,
    /// How far past the next message in order one is kept. Beyond, it is dropped
    /// unacknowledged. Default 2,048. Should be at least the peer's window.
    pub reorder_messages_max: usize,

    /// Which versions are spoken. Default [`Protocol::V1`]. The fields below up to
    /// `key_update_packets` are of version 2, which in turn has no use for `window_size`,
    /// `max_unacked_messages`, `max_backoff_interval`, `recovery`, `acks`,
    /// `payload_bytes_max`, `receive_messages_max` and `reorder_messages_max`.
    pub protocol: Protocol,
    /// The secrets of version 2. Default none.
    pub keys: Keys,
    /// When a server demands proof of an address first.
    pub validation: Validation,
    /// The longest message that may be written, and that a peer may write, in version 2.
    /// Default 1 MiB; less than `send_bytes_max` and `receive_bytes_max`.
    pub message_bytes_max: usize,
    /// The longest datagram that is tried on a path, without the headers of IP and UDP.
    /// Default 1,472: Ethernet with IPv4. At least 1,200, at most 65,507.
    pub datagram_bytes_max: usize,
    /// How long an acknowledgement may wait for company. Default 5 ms, at least 1 ms.
    pub ack_delay_max: Duration,
    /// While no more than this is unacknowledged, it is repeated in every datagram with new
    /// data: a lost message then waits for the next one, not for a timer. Default 1,024;
    /// zero repeats nothing.
    pub repeat_bytes_max: usize,
    /// Datagrams after which the keys of a direction change. Default 2^24; at least 16.
    pub key_update_packets: u64,

    /// Connections of an endpoint, those that are over but not read out included.
    /// Default 16,384. A Connect beyond it is dropped.
    pub connections_max: usize,
    /// Connections from one IP address. Default 4,096.
    pub connections_per_address_max: usize,
    /// Connections whose client hasn't proved yet that it receives. Default 1,024.
    pub unproven_connections_max: usize,
    /// Received bytes that all connections of an endpoint hold. Data beyond it is
    /// dropped unacknowledged. Default 256 MiB.
    pub endpoint_bytes_max: usize,
}

impl Default for Config {
    // spec: LSP-1.2
    fn default() -> Self {
        Self {
            epoch_limit: 5,
            epoch: Duration::from_millis(2_000),
            window_size: 1,
            max_backoff_interval: 0,
            max_unacked_messages: 1,
            recovery: Recovery::Epochs,
            acks: Acks::Each,
            initial_rtt: Duration::from_millis(333),
            amplification_factor: 3,
            payload_bytes_max: 1_000,
            send_messages_max: 16_384,
            send_bytes_max: 16 << 20,
            receive_messages_max: 4_096,
            receive_bytes_max: 4 << 20,
            reorder_messages_max: 2_048,
            protocol: Protocol::V1,
            keys: Keys::default(),
            validation: Validation::UnderLoad,
            message_bytes_max: 1 << 20,
            datagram_bytes_max: 1_472,
            ack_delay_max: Duration::from_millis(5),
            repeat_bytes_max: 1_024,
            key_update_packets: 1 << 24,
            connections_max: 16_384,
            connections_per_address_max: 4_096,
            unproven_connections_max: 1_024,
            endpoint_bytes_max: 256 << 20,
        }
    }
}

impl Config {
    /// What we use between our own ends and towards an original: a window of 200, losses
    /// repaired from round trips, acknowledgements coalesced.
    #[must_use]
    pub fn adaptive() -> Self {
        Self {
            window_size: 200,
            max_unacked_messages: 200,
            recovery: Recovery::Adaptive,
            acks: Acks::Coalesced,
            ..Self::default()
        }
    }

    /// A random legal configuration, for simulations.
    ///
    /// # Panics
    ///
    /// Never: the lists to draw from aren't empty.
    #[must_use]
    pub fn swarm(prng: &mut Prng) -> Self {
        let window_size = *prng.choose(&[1, 2, 5, 20, 64, 200]).expect("not empty");
        let unacked = *prng
            .choose(&[1, window_size / 2, window_size])
            .expect("not empty");
        Self {
            epoch_limit: u32::try_from(prng.range(4..16)).expect("small"),
            epoch: prng.duration(Duration::from_millis(200)..Duration::from_millis(2_000)),
            window_size,
            max_backoff_interval: u32::try_from(prng.below(3)).expect("small"),
            max_unacked_messages: unacked.max(1),
            recovery: *prng
                .choose(&[Recovery::Epochs, Recovery::Adaptive])
                .expect("not empty"),
            acks: *prng
                .choose(&[Acks::Each, Acks::Coalesced])
                .expect("not empty"),
            receive_messages_max: *prng.choose(&[1, 8, 4_096]).expect("not empty"),
            reorder_messages_max: *prng
                .choose(&[1, 16, 2_048, 2_048, 2_048, 2_048])
                .expect("not empty"),
            ..Self::default()
        }
    }

    /// Checks every field against its bounds.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that is out of bounds.
    pub fn validate(self) -> Result<ValidConfig, ConfigError> {
        for (field, value, min, max) in self.numbers() {
            let (value, min, max) = (value as u64, min as u64, max as u64);
            if value < min || value > max {
                return Err(ConfigError::OutOfBounds {
                    field,
                    value,
                    min,
                    max,
                });
            }
        }
        for (field, span) in [
            ("epoch", self.epoch),
            ("initial_rtt", self.initial_rtt),
            ("ack_delay_max", self.ack_delay_max),
        ] {
            if span < Duration::from_millis(1) || span > Duration::from_secs(3_600) {
                return Err(ConfigError::Span { field, span });
            }
        }
        Ok(ValidConfig(Arc::new(self)))
    }

    /// Every number with its bounds.
    fn numbers(&self) -> Vec<(&'static str, usize, usize, usize)> {
        let limit = usize::try_from(self.epoch_limit).unwrap_or(usize::MAX);
        let update = usize::try_from(self.key_update_packets).unwrap_or(usize::MAX);
        let window = WINDOW_MESSAGES_MAX;
        let whole = usize::MAX;
        let mut numbers = vec![
            ("epoch_limit", limit, 1, 1_000_000),
            ("window_size", self.window_size, 1, window),
            ("max_unacked_messages", self.max_unacked_messages, 1, whole),
            (
                "payload_bytes_max",
                self.payload_bytes_max,
                1,
                PAYLOAD_BYTES_MAX,
            ),
            ("send_messages_max", self.send_messages_max, 1, whole),
            ("send_bytes_max", self.send_bytes_max, 1, whole),
            ("receive_messages_max", self.receive_messages_max, 1, whole),
            ("receive_bytes_max", self.receive_bytes_max, 1, whole),
            ("reorder_messages_max", self.reorder_messages_max, 1, window),
            ("connections_max", self.connections_max, 1, whole),
            ("endpoint_bytes_max", self.endpoint_bytes_max, 1, whole),
        ];
        if self.protocol != Protocol::V1 {
            // A message waits whole on either side, with its length before it.
            let room = self.send_bytes_max.min(self.receive_bytes_max);
            let longest = room.saturating_sub(LENGTH_BYTES_MAX);
            let (base, most) = (DATAGRAM_BYTES_BASE, UDP_BYTES_MAX);
            numbers.extend([
                ("message_bytes_max", self.message_bytes_max, 1, longest),
                ("datagram_bytes_max", self.datagram_bytes_max, base, most),
                ("key_update_packets", update, 16, 1 << 48),
            ]);
        }
        numbers
    }
}

/// A configuration whose bounds were checked; cheap to clone.
#[derive(Clone, Debug)]
pub struct ValidConfig(Arc<Config>);

impl core::ops::Deref for ValidConfig {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.0
    }
}

/// A field of a [`Config`] that makes no sense.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ConfigError {
    /// A number out of its bounds.
    #[error("{field} is {value}, must be between {min} and {max}")]
    OutOfBounds {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The least that it may be.
        min: u64,
        /// The most that it may be.
        max: u64,
    },
    /// A span out of its bounds.
    #[error("{field} is {span:?}, must be between 1 ms and 1 h")]
    Span {
        /// The field.
        field: &'static str,
        /// Its value.
        span: Duration,
    },
}
