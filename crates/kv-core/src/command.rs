//! What can be asked of the state machine.
//!
//! A [`Command`] borrows its keys and values: from the client's request when a front
//! door encodes it, from the log entry when a replica decodes it. Nothing is copied
//! and no reference count is touched on the way from the log to the table.
//!
//! Every command, also one that only looks, takes exactly one position in the log and
//! yields exactly one [`crate::Reply`].

/// One operation, applied at one position of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command<'a> {
    /// Reads a value through the log. Reply: `Value`.
    Get {
        /// The key.
        key: &'a [u8],
    },
    /// Writes a value if a condition holds.
    ///
    /// Reply: what `returning` asks for; if the condition fails, `Nil` (`IfAbsent`,
    /// `IfPresent`), or an error with the current version (`IfVersion`, `IfValue`).
    /// With [`Returning::Old`] the reply is always the old value, as Redis's `SET GET`.
    Put(Put<'a>),
    /// Appends to a value, creating it if absent. Reply: see [`AppendReturning`].
    Append {
        /// The key.
        key: &'a [u8],
        /// What to append.
        value: &'a [u8],
        /// What to answer.
        returning: AppendReturning,
    },
    /// Overwrites part of a value, padding with zero bytes. Reply: `Integer`, the new
    /// length.
    SetRange {
        /// The key.
        key: &'a [u8],
        /// Where to write.
        offset: u64,
        /// What to write; nothing changes if it is empty.
        value: &'a [u8],
    },
    /// Removes keys. Reply: `Integer`, how many existed.
    Delete {
        /// The keys; a key named twice counts once.
        keys: Vec<&'a [u8]>,
    },
    /// Removes one key if a condition holds. Reply: `Integer` 1 or 0, or the
    /// condition's error.
    DeleteIf {
        /// The key.
        key: &'a [u8],
        /// The condition.
        condition: Condition<'a>,
    },
    /// Adds to a whole number, zero if absent. Reply: `Integer`, the sum.
    Increment {
        /// The key.
        key: &'a [u8],
        /// The number to add.
        by: i64,
    },
    /// Adds to a decimal number, zero if absent. Reply: `Float`, the sum.
    IncrementFloat {
        /// The key.
        key: &'a [u8],
        /// The number to add, as text; check it with [`crate::Extended::parse`].
        by: &'a [u8],
    },
    /// Removes a key. Reply: `Value`, what it held.
    GetDelete {
        /// The key.
        key: &'a [u8],
    },
    /// Reads a value and changes its expiry. Reply: `Value`.
    GetExpire {
        /// The key.
        key: &'a [u8],
        /// The new expiry.
        expiry: Expiry,
    },
    /// Sets a key's deadline; a deadline that has passed removes the key. Reply:
    /// `Integer` 1, or 0 if the key is absent or the condition fails.
    Expire {
        /// The key.
        key: &'a [u8],
        /// The deadline.
        deadline: Deadline,
        /// The condition on the present deadline.
        condition: ExpireCondition,
    },
    /// Removes a key's deadline. Reply: `Integer` 1, or 0 if it had none.
    Persist {
        /// The key.
        key: &'a [u8],
    },
    /// Writes several keys at once. Reply: `Ok`, or with `only_if_none_exists`
    /// `Integer` 1 or 0 (nothing written).
    MultiPut {
        /// Keys and values; of a key named twice the last value counts.
        pairs: Vec<(&'a [u8], &'a [u8])>,
        /// Write nothing if any of the keys exists.
        only_if_none_exists: bool,
    },
    /// Renames a key, replacing the target. Reply: `Ok` or `NoSuchKey`; with
    /// `only_if_absent` `Integer` 1, or 0 if the target exists.
    Rename {
        /// The key to rename.
        source: &'a [u8],
        /// Its new name.
        target: &'a [u8],
        /// Refuse to replace an existing target.
        only_if_absent: bool,
    },
    /// Removes every key. Reply: `Ok`.
    Clear,
    /// Does nothing but carry the entry's time, so that keys expire. Reply: `Ok`.
    Tick,
}

impl<'a> Command<'a> {
    /// The key that the command is about, or the first of several.
    #[inline]
    #[must_use]
    pub fn first_key(&self) -> Option<&'a [u8]> {
        match self {
            Self::Put(put) => Some(put.key),
            Self::Get { key }
            | Self::Append { key, .. }
            | Self::SetRange { key, .. }
            | Self::DeleteIf { key, .. }
            | Self::Increment { key, .. }
            | Self::IncrementFloat { key, .. }
            | Self::GetDelete { key }
            | Self::GetExpire { key, .. }
            | Self::Expire { key, .. }
            | Self::Persist { key }
            | Self::Rename { source: key, .. } => Some(key),
            Self::Delete { keys } => keys.first().copied(),
            Self::MultiPut { pairs, .. } => pairs.first().map(|(key, _)| *key),
            Self::Clear | Self::Tick => None,
        }
    }
}

/// The fields of [`Command::Put`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Put<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// What becomes of the key's expiry.
    pub expiry: Expiry,
    /// When to write.
    pub condition: Condition<'a>,
    /// What to answer.
    pub returning: Returning,
}

impl<'a> Put<'a> {
    /// An unconditional write that clears the expiry, answered with `Ok`.
    #[must_use]
    pub const fn new(key: &'a [u8], value: &'a [u8]) -> Self {
        Self {
            key,
            value,
            expiry: Expiry::Clear,
            condition: Condition::Always,
            returning: Returning::Status,
        }
    }

    /// Whether this is what [`Self::new`] makes.
    #[inline]
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(
            self,
            Self {
                expiry: Expiry::Clear,
                condition: Condition::Always,
                returning: Returning::Status,
                ..
            }
        )
    }
}

/// What a write does to a key's expiry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// Leaves it as it is.
    Keep,
    /// Removes it: the key lives until it is deleted.
    Clear,
    /// Sets it. A deadline that has passed removes the key.
    Set(Deadline),
}

/// When a key expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deadline {
    /// At this many milliseconds since 1970.
    At(i64),
    /// This many milliseconds after the log entry's time: no clock but the leader's
    /// takes part.
    After(i64),
}

/// When a put or a conditional delete acts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition<'a> {
    /// Always.
    Always,
    /// If the key is absent.
    IfAbsent,
    /// If the key is present.
    IfPresent,
    /// If the key has this version; version 0 means absent.
    IfVersion(u64),
    /// If the key holds this value.
    IfValue(&'a [u8]),
}

/// What a put answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Returning {
    /// `Ok`.
    Status,
    /// `Value`: what the key held before, whether or not it was written.
    Old,
    /// `Version`: the key's version after the write.
    Version,
}

/// What an append answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppendReturning {
    /// `Integer`: the length after it.
    NewLength,
    /// `Integer`: the length before it.
    OldLength,
    /// `Value`: what the key held before.
    OldValue,
}

/// When `Expire` acts, given that the key exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExpireCondition {
    /// Always.
    Always,
    /// If the key has no deadline (`NX`).
    IfNone,
    /// If the key has a deadline (`XX`).
    IfSome,
    /// If the key has a deadline and the new one is later (`GT`): no deadline is later
    /// than any.
    IfLater,
    /// If the new deadline is sooner, or the key has none (`LT`).
    IfSooner,
    /// If the key has a deadline and the new one is sooner (`XX LT`).
    IfSomeAndSooner,
}
