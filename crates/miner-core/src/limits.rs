//! Every bound of the pool that is not in the configuration.

/// Bytes of a message to mine. With its escapes in JSON it must fit a datagram.
pub const MESSAGE_BYTES_MAX: usize = 1_000;

/// Bytes of the encoded form of any message of the protocol.
pub const WIRE_BYTES_MAX: usize = 8 * 1_024;

/// Bytes of a job's key.
pub const KEY_BYTES_MAX: usize = 64;

/// The pieces of a range whose minima a worker of ours reports.
pub const PIECES: usize = 16;

/// Ranges that one worker holds at most, whatever their size.
pub const OUTSTANDING_MAX: usize = 32;

/// Samples that wait for the server's own kernel at most. The first results of workers are
/// checked however many there are.
pub const CHECKS_MAX: usize = 16;

/// The fastest that a worker may say it is: above every machine of today, and such that
/// the sums of many stay numbers.
pub const SPEED_MAX: f64 = 1e15;

/// Bytes of a job's record in the store.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(
    KEY_BYTES_MAX < MESSAGE_BYTES_MAX,
    "a key is shorter than a message"
);
