//! Cookies: how a server remembers a stranger's address without keeping anything.
//!
//! A cookie holds the time, sealed under a key that only the endpoint knows and bound to
//! the address and to what the client calls its connection. Whoever brings one back
//! receives what is sent to that address.

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};

use chacha20poly1305::aead::AeadInPlace as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use stdx::Instant;

use crate::keys::KEY_BYTES;
use crate::v2::packet::{PathId, TAG_BYTES};

/// How long a cookie is good.
const AGE_MAX: Duration = Duration::from_secs(15);
const NONCE_BYTES: usize = 12;
const COOKIE_BYTES: usize = NONCE_BYTES + 8 + TAG_BYTES;

/// Bakes and checks cookies.
pub(crate) struct Oven(ChaCha20Poly1305);

impl Oven {
    pub(crate) fn new(key: [u8; KEY_BYTES]) -> Self {
        Self(ChaCha20Poly1305::new(&key.into()))
    }

    /// A cookie for a client; `nonce` is random.
    // spec: LSP2-3.7
    pub(crate) fn bake(
        &self,
        now: Instant,
        nonce: [u8; NONCE_BYTES],
        to: SocketAddr,
        client: PathId,
    ) -> [u8; COOKIE_BYTES] {
        let mut cookie = [0; COOKIE_BYTES];
        let (head, rest) = cookie.split_at_mut(NONCE_BYTES);
        let (time, tag) = rest.split_at_mut(8);
        head.copy_from_slice(&nonce);
        time.copy_from_slice(&now.as_nanos().to_be_bytes());
        let made = self
            .0
            .encrypt_in_place_detached(&nonce.into(), &bound(to, client), time)
            .expect("eight bytes are not too many");
        tag.copy_from_slice(&made);
        cookie
    }

    /// Whether a cookie is ours, of this client, and fresh.
    // spec: LSP2-3.7
    pub(crate) fn accepts(
        &self,
        now: Instant,
        cookie: &[u8],
        from: SocketAddr,
        client: PathId,
    ) -> bool {
        let Some((nonce, rest)) = cookie.split_first_chunk::<NONCE_BYTES>() else {
            return false;
        };
        let Some((time, tag)) = rest.split_first_chunk::<8>() else {
            return false;
        };
        let Ok(tag) = <[u8; TAG_BYTES]>::try_from(tag) else {
            return false;
        };
        let mut time = *time;
        let opened = self.0.decrypt_in_place_detached(
            &(*nonce).into(),
            &bound(from, client),
            &mut time,
            &tag.into(),
        );
        let baked = Instant::from_nanos(u64::from_be_bytes(time));
        opened.is_ok() && baked <= now && now.since(baked) <= AGE_MAX
    }
}

impl core::fmt::Debug for Oven {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Oven")
    }
}

fn bound(address: SocketAddr, client: PathId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(26);
    match address.ip() {
        IpAddr::V4(ip) => bytes.extend_from_slice(&ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
    }
    bytes.extend_from_slice(&address.port().to_be_bytes());
    bytes.extend_from_slice(&client.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: LSP2-3.7
    #[test]
    fn a_cookie_is_good_for_its_client_for_a_while() {
        let oven = Oven::new([1; 32]);
        let now = Instant::EPOCH.after(Duration::from_secs(100));
        let address: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let cookie = oven.bake(now, [7; 12], address, 5);
        assert!(oven.accepts(now, &cookie, address, 5));
        assert!(oven.accepts(now.after(AGE_MAX), &cookie, address, 5));
        let late = now.after(AGE_MAX + Duration::from_nanos(1));
        assert!(!oven.accepts(late, &cookie, address, 5));
        assert!(!oven.accepts(now, &cookie, address, 6));
        assert!(!oven.accepts(now, &cookie, "10.0.0.1:4001".parse().unwrap(), 5));
        assert!(!oven.accepts(now, &cookie, "10.0.0.2:4000".parse().unwrap(), 5));
        assert!(!Oven::new([2; 32]).accepts(now, &cookie, address, 5));
        for length in 0..cookie.len() {
            assert!(!oven.accepts(now, &cookie[..length], address, 5));
        }
    }
}
