//! Every bound of the key/value state machine, by name.
//!
//! A front door refuses what exceeds them before anything is proposed; the codec
//! refuses it again, so that a byte string from outside can't make a replica allocate
//! more than these numbers say.

/// The longest key, in bytes. One byte below 64 KiB minus the key layout's prefix, so
/// that a key with its prefix stays within the storage engine's own 65,536 bytes.
pub const KEY_BYTES_MAX: usize = 65_536 - 64;

/// The longest value, in bytes: 16 MiB less room for the framing of the command that
/// writes it.
pub const VALUE_BYTES_MAX: usize = (16 << 20) - (KEY_BYTES_MAX + 1_024);

/// The longest encoded batch of commands, in bytes; also the longest log entry but for
/// the entry's own header.
pub const BATCH_BYTES_MAX: usize = 16 << 20;

/// The most commands in one batch.
pub const BATCH_COMMANDS_MAX: usize = 1 << 16;

/// The most keys that one `Delete` or `MultiPut` names.
pub const COMMAND_KEYS_MAX: usize = 1 << 20;

/// The longest text of a number that is parsed as a float.
pub const FLOAT_TEXT_BYTES_MAX: usize = 5 * 1_024 - 1;

const _: () = assert!(
    KEY_BYTES_MAX + VALUE_BYTES_MAX < BATCH_BYTES_MAX,
    "the largest put fits a batch"
);
