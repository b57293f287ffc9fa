//! Sizes in bytes, as people write them.

use core::fmt;
use core::str::FromStr;

/// A number of bytes.
///
/// Parses whole numbers with an optional binary unit (`1500`, `64k`, `3 MiB`); prints the
/// largest unit that divides it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(u64);

/// Units from the largest: name and number of bytes.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

impl ByteSize {
    /// A size in bytes.
    #[must_use]
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// A size in units of 1,024 bytes.
    ///
    /// # Panics
    ///
    /// When the size exceeds `u64::MAX` bytes.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count * (1 << 10))
    }

    /// A size in units of 1,024 KiB.
    ///
    /// # Panics
    ///
    /// When the size exceeds `u64::MAX` bytes.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count * (1 << 20))
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; the largest there is if it is more.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, unit) in UNITS {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{} {name}", self.0 / unit);
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// A size that can't be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseByteSizeError {
    text: Box<str>,
}

impl fmt::Display for ParseByteSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a size: {:?} (write a whole number with B, KiB, MiB, GiB or TiB)",
            self.text
        )
    }
}

impl core::error::Error for ParseByteSizeError {}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseByteSizeError { text: text.into() };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return Err(error()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_parses() {
        for (text, printed) in [
            ("0", "0 B"),
            ("1500", "1500 B"),
            ("64k", "64 KiB"),
            ("3 MiB", "3 MiB"),
            ("2g", "2 GiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.to_string(), printed);
            assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5g",
            "3 parsecs",
            "99999999999999999999",
            "99999999999g",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?} parsed");
        }
    }
}
