//! The handshake: `Noise_NX` or, with a shared key, `Noise_NXpsk2`.
//!
//! The client's ephemeral key travels in the Connect's offer, in the clear as NX has it;
//! the server answers with its own, its static key under encryption, and what it promises.
//! After these two messages both ends have two keys, one a direction, that nobody who only
//! listens can know, and the client knows whom it talks to if it pinned the server's key.
//! Whatever both sides saw so far is mixed in (the prologue and the messages), so that
//! nobody can have changed an offer on its way and go unnoticed.
//!
//! Snow runs the pattern; the data phase has a cipher of its own ([`crypto`](super::crypto)),
//! because it authenticates headers and changes keys.

use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random as SnowRandom};
use snow::{Builder, HandshakeState};

use crate::keys::{KEY_BYTES, PublicKey, SharedKey};

const NX: &str = "Noise_NX_25519_ChaChaPoly_SHA256";
const NX_SHARED: &str = "Noise_NXpsk2_25519_ChaChaPoly_SHA256";
/// Where the shared key is mixed in: after the second message.
const SHARED_PLACE: u8 = 2;

/// Bytes that the first message adds to its payload: an ephemeral key; with a shared key
/// the payload is under encryption and has a tag.
pub(crate) const FIRST_BYTES_MAX: usize = KEY_BYTES + TAG_BYTES;
/// Bytes that the second adds: an ephemeral key, a static one with its tag, a tag.
pub(crate) const SECOND_BYTES: usize = 2 * KEY_BYTES + 2 * TAG_BYTES;
const TAG_BYTES: usize = 16;

/// The keys of one connection, by direction.
pub(crate) struct Split {
    pub(crate) to_server: [u8; KEY_BYTES],
    pub(crate) to_client: [u8; KEY_BYTES],
}

/// The handshake failed: bytes of another protocol, other keys, or a forgery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refused;

impl From<snow::Error> for Refused {
    fn from(_: snow::Error) -> Self {
        Self
    }
}

/// The public half of a private key.
pub(crate) fn public_key(secret: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    let mut dh = DefaultResolver
        .resolve_dh(&DHChoice::Curve25519)
        .expect("the feature for X25519 is on");
    dh.set(secret);
    dh.pubkey().try_into().expect("a public key has 32 bytes")
}

/// The client's half while it waits for the server's.
pub(crate) struct Initiator(Box<HandshakeState>);

impl Initiator {
    /// Begins a handshake; `ephemeral` is random and used once. Appends the first message.
    pub(crate) fn start(
        ephemeral: [u8; KEY_BYTES],
        shared: Option<&SharedKey>,
        prologue: &[u8],
        payload: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<Self, Refused> {
        let mut state = builder(ephemeral, shared)?
            .prologue(prologue)?
            .build_initiator()?;
        write(&mut state, payload, FIRST_BYTES_MAX, message)?;
        Ok(Self(Box::new(state)))
    }

    /// Takes the server's answer; its payload, and the keys.
    ///
    /// A forged answer must not end the handshake, and a failed read leaves the state as it
    /// was: snow restores it.
    pub(crate) fn finish(
        &mut self,
        pinned: Option<&PublicKey>,
        message: &[u8],
    ) -> Result<(Vec<u8>, Split), Refused> {
        let mut payload = vec![0; message.len()];
        let length = self.0.read_message(message, &mut payload)?;
        payload.truncate(length);
        let server = self.0.get_remote_static().ok_or(Refused)?;
        if pinned.is_some_and(|pinned| pinned.as_bytes() != server) {
            return Err(Refused);
        }
        Ok((payload, split(&mut self.0)))
    }
}

impl core::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Initiator")
    }
}

/// The server's half, which has nothing to wait for: reads the first message, hands its
/// payload to `answer`, and appends the second with what that returns.
pub(crate) fn respond<T>(
    ephemeral: [u8; KEY_BYTES],
    secret: &[u8; KEY_BYTES],
    shared: Option<&SharedKey>,
    prologue: &[u8],
    first: &[u8],
    answer: impl FnOnce(&[u8]) -> Option<(T, Vec<u8>)>,
    message: &mut Vec<u8>,
) -> Result<(T, Split), Refused> {
    let mut state = builder(ephemeral, shared)?
        .local_private_key(secret)?
        .prologue(prologue)?
        .build_responder()?;
    let mut payload = vec![0; first.len()];
    let length = state.read_message(first, &mut payload)?;
    let (outcome, payload) = answer(&payload[..length]).ok_or(Refused)?;
    write(&mut state, &payload, SECOND_BYTES, message)?;
    Ok((outcome, split(&mut state)))
}

fn builder<'a>(
    ephemeral: [u8; KEY_BYTES],
    shared: Option<&'a SharedKey>,
) -> Result<Builder<'a>, Refused> {
    let name = if shared.is_some() { NX_SHARED } else { NX };
    let params: NoiseParams = name.parse()?;
    let builder = Builder::with_resolver(params, Box::new(Resolver(ephemeral)));
    Ok(match shared {
        Some(key) => builder.psk(SHARED_PLACE, key.as_bytes())?,
        None => builder,
    })
}

fn write(
    state: &mut HandshakeState,
    payload: &[u8],
    overhead: usize,
    message: &mut Vec<u8>,
) -> Result<(), Refused> {
    let start = message.len();
    message.resize(start + payload.len() + overhead, 0);
    let length = state.write_message(payload, &mut message[start..])?;
    message.truncate(start + length);
    Ok(())
}

fn split(state: &mut HandshakeState) -> Split {
    let (to_server, to_client) = state.dangerously_get_raw_split();
    Split {
        to_server,
        to_client,
    }
}

/// The pure Rust primitives, and one draw of randomness: the ephemeral key.
struct Resolver([u8; KEY_BYTES]);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn SnowRandom>> {
        Some(Box::new(Ephemeral(Some(self.0))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Randomness for exactly one key: a second draw would repeat it, and is refused.
struct Ephemeral(Option<[u8; KEY_BYTES]>);

impl SnowRandom for Ephemeral {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), snow::Error> {
        let key = self.0.take().ok_or(snow::Error::Rng)?;
        if bytes.len() != key.len() {
            return Err(snow::Error::Rng);
        }
        bytes.copy_from_slice(&key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    const SERVER: [u8; KEY_BYTES] = [3; KEY_BYTES];

    /// A handshake; what the server read, what the client read, whether the keys agree.
    fn shake(
        pinned: Option<PublicKey>,
        shared: &[Option<SharedKey>; 2],
        prologues: [&[u8]; 2],
        damage: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(Vec<u8>, Vec<u8>), Refused> {
        let mut first = Vec::new();
        let ours = shared[0].as_ref();
        let mut client = Initiator::start([1; 32], ours, prologues[0], b"offer", &mut first)?;
        let mut second = Vec::new();
        let (read, server_keys) = respond(
            [2; 32],
            &SERVER,
            shared[1].as_ref(),
            prologues[1],
            &first,
            |payload| Some((payload.to_vec(), b"answer".to_vec())),
            &mut second,
        )?;
        damage(&mut second);
        let (answer, keys) = client.finish(pinned.as_ref(), &second)?;
        assert_eq!(keys.to_server, server_keys.to_server);
        assert_eq!(keys.to_client, server_keys.to_client);
        assert_ne!(keys.to_client, keys.to_server);
        Ok((read, answer))
    }

    // spec: LSP2-3.1 LSP2-3.2
    #[test]
    fn both_ends_have_the_same_keys() {
        let good = Ok((b"offer".to_vec(), b"answer".to_vec()));
        let public = SecretKey::new(SERVER).public();
        let shared = || Some(SharedKey::new([9; 32]));
        assert_eq!(shake(None, &[None, None], [b"p", b"p"], |_| ()), good);
        assert_eq!(shake(Some(public), &[None, None], [b"", b""], |_| ()), good);
        let both = [shared(), shared()];
        assert_eq!(shake(Some(public), &both, [b"", b""], |_| ()), good);
    }

    // spec: LSP2-3.2 LSP2-3.3
    #[test]
    fn whoever_is_another_is_refused() {
        let other = SecretKey::new([4; 32]).public();
        let shared = |byte| Some(SharedKey::new([byte; 32]));
        let refused = Err(Refused);
        assert_eq!(
            shake(Some(other), &[None, None], [b"", b""], |_| ()),
            refused
        );
        assert_eq!(
            shake(None, &[shared(1), shared(2)], [b"", b""], |_| ()),
            refused
        );
        assert_eq!(shake(None, &[shared(1), None], [b"", b""], |_| ()), refused);
        assert_eq!(shake(None, &[None, shared(1)], [b"", b""], |_| ()), refused);
        assert_eq!(shake(None, &[None, None], [b"a", b"b"], |_| ()), refused);
        let flip = |message: &mut Vec<u8>| message[70] ^= 1;
        assert_eq!(shake(None, &[None, None], [b"", b""], flip), refused);
    }

    #[test]
    fn a_forged_answer_does_not_spoil_the_true_one() {
        let mut first = Vec::new();
        let mut client = Initiator::start([1; 32], None, b"", b"", &mut first).unwrap();
        let mut second = Vec::new();
        respond(
            [2; 32],
            &SERVER,
            None,
            b"",
            &first,
            |_| Some(((), b"yes".to_vec())),
            &mut second,
        )
        .unwrap();
        let mut forged = second.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(client.finish(None, &forged).is_err());
        assert!(client.finish(None, b"short").is_err());
        assert_eq!(client.finish(None, &second).unwrap().0, b"yes");
    }
}
