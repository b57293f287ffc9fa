//! Every bound of the protocol that isn't a matter of configuration.
//!
//! Whatever a stranger can make us hold is bounded by a product of these and of the
//! fields of [`Config`](crate::Config): datagrams by [`DATAGRAM_BYTES_MAX`], messages of
//! one connection by its queues, connections by the endpoint's limits.

/// The longest datagram that is read or written: what the original's harness reads.
///
/// A datagram of this length needs IP fragments on Ethernet; the payload of 1,000 bytes
/// that the original asks for makes one of 1,410 bytes, which doesn't.
pub const DATAGRAM_BYTES_MAX: usize = 2_000;

/// The longest payload of one message.
pub const PAYLOAD_BYTES_MAX: usize = 1_400;

/// The longest datagram without its payload: six field names and five numbers.
pub const ENVELOPE_BYTES_MAX: usize = 112;

/// The largest window: how many messages one connection may have under way.
pub const WINDOW_MESSAGES_MAX: usize = 65_536;

/// Acknowledgements that wait to be sent on one connection.
///
/// One more is dropped: the peer sends its message again, and that is acknowledged.
pub const ACKS_PENDING_MAX: usize = 4_096;

/// The largest number that fits every peer's sequence number (Go's `int`).
pub const WIRE_NUMBER_MAX: u64 = i64::MAX.unsigned_abs();

/// The length of a datagram that every path of version 2 must carry.
pub const DATAGRAM_BYTES_BASE: usize = 1_200;

/// The longest datagram that UDP carries over IPv4.
pub const UDP_BYTES_MAX: usize = 65_507;

/// What version 2 writes before a message: its length.
pub const LENGTH_BYTES_MAX: usize = 8;

const _: () = assert!(
    PAYLOAD_BYTES_MAX.div_ceil(3) * 4 + ENVELOPE_BYTES_MAX <= DATAGRAM_BYTES_MAX,
    "the longest payload fits the longest datagram in base64"
);
