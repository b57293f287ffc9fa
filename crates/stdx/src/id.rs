//! Numbers that can't be mixed up.
//!
//! A term and a log index are both `u64`, and swapping them compiles in most Raft
//! implementations. Here each kind of number has its own type whose `Debug` and
//! `Display` carry a one-letter kind, so that a trace line reads `n1 t7 i42`.

/// Defines a numeric id type with a one-letter prefix for traces.
///
/// The type has `new`, `get`, `Ord`, `Hash`, and prints itself as prefix and number.
#[macro_export]
macro_rules! id {
    ($(#[$meta:meta])* $vis:vis struct $name:ident($prefix:literal);) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        $vis struct $name(u64);

        impl $name {
            /// The zero of this kind of number.
            pub const ZERO: Self = Self(0);

            /// Wraps a plain number.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The plain number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(self, f)
            }
        }
    };
}

id! {
    /// A member of a cluster. Never zero for a real node, and never used again for
    /// another machine or after the node's data was lost.
    pub struct NodeId("n");
}

id! {
    /// An election period of a Raft group (Raft paper, section 5.1). Zero is the time
    /// before the first election.
    pub struct Term("t");
}

id! {
    /// A position in a Raft group's log. The first entry is 1; zero is "before the log".
    pub struct LogIndex("i");
}

id! {
    /// A Raft group: one replicated log and one replicated state machine. Group 0 is
    /// the controller of the cluster.
    pub struct GroupId("g");
}

impl Term {
    /// The term after this one.
    ///
    /// # Panics
    ///
    /// When the term is `u64::MAX`, which no election sequence reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl LogIndex {
    /// The position after this one.
    ///
    /// # Panics
    ///
    /// When the index is `u64::MAX`, which no log reaches.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The position `count` entries further on.
    ///
    /// # Panics
    ///
    /// When the sum exceeds `u64::MAX`.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }

    /// How many entries lie in `(earlier, self]`; zero if `earlier` is not earlier.
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_their_kind() {
        let line = format!(
            "{} {} {:?}",
            NodeId::new(1),
            Term::new(7),
            LogIndex::new(42)
        );
        assert_eq!(line, "n1 t7 i42");
    }

    #[test]
    fn log_index_arithmetic_saturates_at_the_front() {
        assert_eq!(LogIndex::ZERO.previous(), LogIndex::ZERO);
        assert_eq!(LogIndex::new(3).distance_from(LogIndex::new(5)), 0);
        assert_eq!(LogIndex::new(5).distance_from(LogIndex::new(3)), 2);
    }
}
