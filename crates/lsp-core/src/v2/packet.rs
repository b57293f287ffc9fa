//! What version 2 puts into datagrams besides the Connect: four kinds of packet.
//!
//! The first byte has its highest bit set, which no JSON text has, so that one socket can
//! serve both versions. Then comes the id that the receiver chose for the connection; what
//! follows depends on the kind. The offer within a Connect is here, too.
//!
//! ```text
//!   data     1 0 0 0 0 0 0 k | connection id, 8 | packet number, 8 | frames, tag of 16
//!   accept   1 0 0 1 0 0 0 0 | connection id, 8 | the handshake's second message
//!   retry    1 0 1 0 0 0 0 0 | connection id, 8 | cookie
//!   reset    1 0 1 1 0 0 0 0 | connection id, 8 | proof, 16
//! ```

use crate::v2::varint;

/// What every data packet has besides its frames.
pub(crate) const DATA_OVERHEAD: usize = HEADER_BYTES + TAG_BYTES;
/// A data packet's header: authenticated, not encrypted.
pub(crate) const HEADER_BYTES: usize = 17;
pub(crate) const TAG_BYTES: usize = 16;
/// The proof in a reset.
pub(crate) const PROOF_BYTES: usize = 16;
/// The longest cookie that a client repeats.
pub(crate) const COOKIE_BYTES_MAX: usize = 64;

const DATA: u8 = 0x80;
const ACCEPT: u8 = 0x90;
const RETRY: u8 = 0xa0;
const RESET: u8 = 0xb0;

const MAGIC: &[u8; 4] = b"LSP2";
const REVISION: u8 = 1;

/// A connection as one end names it to the other: random, 64 bits.
pub(crate) type PathId = u64;

/// One datagram's outer form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Packet<'a> {
    /// Frames under encryption.
    Data {
        to: PathId,
        number: u64,
        /// The parity of the key's generation.
        odd: bool,
        header: &'a [u8],
        sealed: &'a [u8],
    },
    /// The server's half of the handshake.
    Accept { to: PathId, message: &'a [u8] },
    /// "Ask again, with this cookie."
    Retry { to: PathId, cookie: &'a [u8] },
    /// "I know no such connection"; `about` is what the sender of the reset was called.
    Reset { about: PathId, proof: [u8; 16] },
}

/// Whether a datagram is of version 2 at all.
// spec: LSP2-2.1
pub(crate) fn is_binary(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 != 0)
}

/// Reads the outer form of a datagram.
// spec: LSP2-2.1 LSP2-2.2
pub(crate) fn decode(datagram: &[u8]) -> Option<Packet<'_>> {
    let (&first, rest) = datagram.split_first()?;
    let (id, rest) = rest.split_first_chunk()?;
    let id = PathId::from_be_bytes(*id);
    match first {
        DATA | 0x81 => {
            let (number, sealed) = rest.split_first_chunk()?;
            let number = u64::from_be_bytes(*number);
            if sealed.len() < TAG_BYTES || number > varint::MAX {
                return None;
            }
            Some(Packet::Data {
                to: id,
                number,
                odd: first & 1 != 0,
                header: &datagram[..HEADER_BYTES],
                sealed,
            })
        }
        ACCEPT => Some(Packet::Accept {
            to: id,
            message: rest,
        }),
        RETRY if rest.len() <= COOKIE_BYTES_MAX => Some(Packet::Retry {
            to: id,
            cookie: rest,
        }),
        RESET => Some(Packet::Reset {
            about: id,
            proof: rest.try_into().ok()?,
        }),
        _ => None,
    }
}

/// Appends the header of a data packet.
pub(crate) fn put_data_header(buffer: &mut Vec<u8>, to: PathId, number: u64, odd: bool) {
    buffer.push(DATA | u8::from(odd));
    buffer.extend_from_slice(&to.to_be_bytes());
    buffer.extend_from_slice(&number.to_be_bytes());
}

/// Appends an accept up to the handshake's message.
pub(crate) fn put_accept(buffer: &mut Vec<u8>, to: PathId) {
    buffer.push(ACCEPT);
    buffer.extend_from_slice(&to.to_be_bytes());
}

/// Appends a retry.
pub(crate) fn put_retry(buffer: &mut Vec<u8>, to: PathId, cookie: &[u8]) {
    buffer.push(RETRY);
    buffer.extend_from_slice(&to.to_be_bytes());
    buffer.extend_from_slice(cookie);
}

/// Appends a reset.
pub(crate) fn put_reset(buffer: &mut Vec<u8>, about: PathId, proof: &[u8; PROOF_BYTES]) {
    buffer.push(RESET);
    buffer.extend_from_slice(&about.to_be_bytes());
    buffer.extend_from_slice(proof);
}

/// What a Connect carries for a server of version 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Offer<'a> {
    /// What the client calls the connection.
    pub(crate) client: PathId,
    /// The cookie of a retry; empty at first.
    pub(crate) cookie: &'a [u8],
    /// The handshake's first message.
    pub(crate) message: &'a [u8],
}

impl<'a> Offer<'a> {
    /// Reads an offer; `None` when it is none, or one of a revision that we don't know.
    // spec: LSP2-1.2
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (&[revision], rest) = rest.split_first_chunk()?;
        if revision != REVISION {
            return None;
        }
        let (client, rest) = rest.split_first_chunk()?;
        let (&[length], rest) = rest.split_first_chunk()?;
        let (cookie, message) = rest.split_at_checked(usize::from(length))?;
        (cookie.len() <= COOKIE_BYTES_MAX).then_some(Self {
            client: PathId::from_be_bytes(*client),
            cookie,
            message,
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(MAGIC);
        bytes.push(REVISION);
        bytes.extend_from_slice(&self.client.to_be_bytes());
        bytes.push(u8::try_from(self.cookie.len()).expect("a cookie is short"));
        bytes.extend_from_slice(self.cookie);
        bytes.extend_from_slice(self.message);
        bytes
    }

    /// What both ends mix into the handshake first: all that the offer says in the clear,
    /// but the cookie, which changes.
    // spec: LSP2-3.1
    pub(crate) fn prologue(client: PathId, isn: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24);
        bytes.extend_from_slice(MAGIC);
        bytes.push(REVISION);
        bytes.extend_from_slice(&client.to_be_bytes());
        bytes.extend_from_slice(&isn.to_be_bytes());
        bytes
    }
}

/// What an end promises in the handshake.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Params {
    /// How many bytes of the stream it takes at first.
    pub(crate) window: u64,
    /// The longest message that it takes.
    pub(crate) message_bytes_max: u64,
    /// How long its acknowledgements may be late, in microseconds.
    pub(crate) ack_delay_micros: u64,
    /// The longest datagram that it wants to be sent.
    pub(crate) datagram_bytes_max: u64,
    /// The server's only: the connection's number, what the server calls it, and what
    /// proves a reset.
    pub(crate) server: Option<ServerParams>,
}

/// What only a server says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ServerParams {
    pub(crate) id: u64,
    pub(crate) path: PathId,
    pub(crate) proof: [u8; PROOF_BYTES],
}

impl Params {
    /// Reads promises. What follows them is for a later revision, and ignored.
    // spec: LSP2-3.4
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let mut params = Self {
            window: varint::take(bytes)?,
            message_bytes_max: varint::take(bytes)?,
            ack_delay_micros: varint::take(bytes)?,
            datagram_bytes_max: varint::take(bytes)?,
            server: None,
        };
        let from_server = varint::take(bytes)?;
        if from_server == 1 {
            let id = varint::take(bytes)?;
            let (path, rest) = bytes.split_first_chunk()?;
            let (&proof, _later) = rest.split_first_chunk()?;
            let path = PathId::from_be_bytes(*path);
            params.server = Some(ServerParams { id, path, proof });
        }
        Some(params)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        for value in [
            self.window,
            self.message_bytes_max,
            self.ack_delay_micros,
            self.datagram_bytes_max,
        ] {
            varint::put(&mut bytes, value.min(varint::MAX));
        }
        varint::put(&mut bytes, u64::from(self.server.is_some()));
        if let Some(server) = &self.server {
            varint::put(&mut bytes, server.id);
            bytes.extend_from_slice(&server.path.to_be_bytes());
            bytes.extend_from_slice(&server.proof);
        }
        bytes
    }
}
