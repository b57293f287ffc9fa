//! Every bound of the RESP door, by name.

use core::time::Duration;

use kv_core::limits::{BATCH_BYTES_MAX, VALUE_BYTES_MAX};
use resp::Limits;

/// Bytes that one read asks for.
pub(super) const READ_BYTES: usize = 16 << 10;

/// Room made ahead for a large argument that is arriving. More is made when this is full, so a
/// client can't make the server reserve what it never sends.
pub(super) const READ_AHEAD_BYTES_MAX: usize = 1 << 20;

/// Replies that gather before they are sent, a single large one excepted. A client that doesn't
/// read its replies isn't read from either, so this bounds what it can make the server hold.
pub(super) const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// One reply. Redis has no such bound and buffers until its memory is full.
pub(super) const REPLY_BYTES_MAX: usize = 512 << 20;

/// Memory of an output buffer that an idle connection keeps.
pub(super) const OUTPUT_BYTES_KEPT: usize = 2 << 10;

/// Commands of one pipeline that are proposed together.
pub(super) const BATCH_COMMANDS_MAX: usize = 4_096;

/// Encoded bytes of commands that are proposed together; a single command may have more.
pub(super) const BATCH_BYTES_AIM: usize = 512 << 10;

/// Bytes of a request whose command goes into the log: the encoded form is never larger.
pub(super) const WRITE_REQUEST_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// Reads of one pipeline that share a view, because a view holds up writes.
pub(super) const READS_PER_VIEW_MAX: usize = 256;

/// Clients at once, unless configured.
pub(super) const CLIENTS_MAX: usize = 10_000;

/// Connections that wait to be taken by their thread.
pub(super) const HANDOFF_MAX: usize = 1_024;

/// Connections that wait in the kernel to be accepted.
pub(super) const BACKLOG: i32 = 1_024;

/// A pause after a failure to accept: usually the process has no file descriptor left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Idle time after which the kernel asks whether the peer is still there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(300);

/// Bytes of a client's name, library name and version.
pub(super) const LABEL_BYTES_MAX: usize = 1_024;

/// The longest `DEBUG SLEEP`.
pub(super) const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What a client may send in one request.
pub(super) const REQUEST: Limits = Limits {
    bulk_bytes_max: VALUE_BYTES_MAX,
    arguments_max: 1 << 20,
    line_bytes_max: 64 << 10,
    request_bytes_max: 64 << 20,
};
