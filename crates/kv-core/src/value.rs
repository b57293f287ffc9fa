//! What the table keeps beside each value.

/// The type of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A byte string.
    String = 1,
}

/// What is known of a key besides its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Meta {
    /// The type of the value.
    pub kind: Kind,
    /// The number of writes since the key came into being; starts at 1. Whatever
    /// changes the key's value or deadline counts as a write.
    pub version: u64,
    /// When the key expires, in milliseconds since 1970; 0 means never.
    pub expires_ms: u64,
}

impl Kind {
    /// The type with this number.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::String),
            _ => None,
        }
    }
}
