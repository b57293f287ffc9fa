//! Version 2: the same virtual time, other networks.

mod goodput;
mod handshake;
mod life;
mod net;
mod path;
mod soak;
