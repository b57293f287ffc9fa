//! The Live Sequence Protocol, version 2.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the connection of version 2 is the next commit")
)]
pub(crate) mod noise;
