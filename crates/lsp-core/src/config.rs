//! The original's five parameters, and ours.
//!
//! The default is the specification to the letter: its timing, one Ack a message, every
//! retransmission on an epoch. [`Config::adaptive`] turns on what a peer can't see except
//! as speed. Limits hold in both.

use core::time::Duration;
use std::sync::Arc;

use stdx::Prng;
use thiserror::Error;

use crate::limits::{PAYLOAD_BYTES_MAX, WINDOW_MESSAGES_MAX};

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
        let whole = usize::MAX as u64;
        let fields = [
            ("epoch_limit", u64::from(self.epoch_limit), 1, 1_000_000),
            (
                "window_size",
                self.window_size as u64,
                1,
                WINDOW_MESSAGES_MAX as u64,
            ),
            (
                "max_unacked_messages",
                self.max_unacked_messages as u64,
                1,
                whole,
            ),
            (
                "payload_bytes_max",
                self.payload_bytes_max as u64,
                1,
                PAYLOAD_BYTES_MAX as u64,
            ),
            ("send_messages_max", self.send_messages_max as u64, 1, whole),
            ("send_bytes_max", self.send_bytes_max as u64, 1, whole),
            (
                "receive_messages_max",
                self.receive_messages_max as u64,
                1,
                whole,
            ),
            ("receive_bytes_max", self.receive_bytes_max as u64, 1, whole),
            (
                "reorder_messages_max",
                self.reorder_messages_max as u64,
                1,
                WINDOW_MESSAGES_MAX as u64,
            ),
            ("connections_max", self.connections_max as u64, 1, whole),
            (
                "endpoint_bytes_max",
                self.endpoint_bytes_max as u64,
                1,
                whole,
            ),
        ];
        for (field, value, min, max) in fields {
            if value < min || value > max {
                return Err(ConfigError::OutOfBounds {
                    field,
                    value,
                    min,
                    max,
                });
            }
        }
        for (field, span) in [("epoch", self.epoch), ("initial_rtt", self.initial_rtt)] {
            if span < Duration::from_millis(1) || span > Duration::from_secs(3_600) {
                return Err(ConfigError::Span { field, span });
            }
        }
        Ok(ValidConfig(Arc::new(self)))
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
