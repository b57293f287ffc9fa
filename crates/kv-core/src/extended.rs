//! Decimal numbers with the precision of Redis on x86-64.
//!
//! `INCRBYFLOAT` computes in C's `long double`: 64 bits of mantissa, and prints with 17
//! decimals. With Rust's `f64` (53 bits) 10.5 + 0.1 would print 10.59999999999999964
//! where Redis prints 10.6. So the format is done in software: parse to the nearest
//! 64-bit mantissa, add with one rounding, print exactly. It is also the same on every
//! machine, which a replicated state machine needs anyway.

mod big;

use self::big::Big;
use crate::limits::FLOAT_TEXT_BYTES_MAX;

/// The exponent of the smallest number: it is a mantissa of 1 times 2 to this.
const EXPONENT_MIN: i32 = -16_445;
/// The exponent of the largest numbers, with a full mantissa.
const EXPONENT_MAX: i32 = 16_320;
/// Decimal exponents beyond which every number overflows or vanishes.
const DECIMAL_EXPONENT_MAX: i64 = 10_000;

/// A number in 80-bit extended precision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extended(Class);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    /// Plus or minus mantissa times 2 to the exponent. The mantissa's top bit is set
    /// unless the number is tiny or zero.
    Finite {
        negative: bool,
        mantissa: u64,
        exponent: i32,
    },
    /// Infinite, or not a number: a sum that Redis refuses.
    NotFinite { negative: bool },
}

impl Extended {
    /// Zero.
    pub const ZERO: Self = Self(Class::Finite {
        negative: false,
        mantissa: 0,
        exponent: 0,
    });

    /// Reads what C's `strtold` reads, all of it, without leading space: a sign, digits
    /// with a point, an exponent; hexadecimal; `inf`. Not `nan`, nor what overflows or
    /// vanishes.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > FLOAT_TEXT_BYTES_MAX {
            return None;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Some(Self(Class::NotFinite { negative }));
        }
        match rest {
            [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(negative, digits),
            digits => parse_decimal(negative, digits),
        }
    }

    /// The sum, rounded to the nearest number, ties to even.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "rounding addition deserves a call"
    )]
    pub fn add(self, other: Self) -> Self {
        let (Class::Finite { .. }, Class::Finite { .. }) = (self.0, other.0) else {
            return Self(Class::NotFinite { negative: false });
        };
        let (mut large, mut small) = (self.parts(), other.parts());
        if (large.2, large.1) < (small.2, small.1) || large.1 == 0 {
            core::mem::swap(&mut large, &mut small);
        }
        let (negative, mantissa, exponent) = large;
        if small.1 == 0 {
            return Self(Class::Finite {
                negative: negative && (small.0 || mantissa != 0),
                mantissa,
                exponent,
            });
        }
        // 62 bits below the larger mantissa, of which the lowest gathers what falls off
        // the smaller one: enough for correct rounding, and for a carry above.
        let distance = u32::try_from(exponent - small.2).unwrap_or(0);
        let high = u128::from(mantissa) << 62;
        let low = shift_right_jamming(u128::from(small.1) << 62, distance);
        if negative == small.0 {
            return round(negative, high + low, exponent - 62, false);
        }
        match high.cmp(&low) {
            core::cmp::Ordering::Equal => Self::ZERO,
            core::cmp::Ordering::Greater => round(negative, high - low, exponent - 62, false),
            core::cmp::Ordering::Less => round(!negative, low - high, exponent - 62, false),
        }
    }

    /// The decimal text with at most 17 decimals and no trailing zeros; `None` if the
    /// number is not finite.
    #[must_use]
    pub fn format(self) -> Option<String> {
        let Class::Finite {
            negative,
            mantissa,
            exponent,
        } = self.0
        else {
            return None;
        };
        let digits = if exponent >= 0 {
            let mut number = Big::from(mantissa);
            number.shift_left(exponent.unsigned_abs());
            number.to_decimal()
        } else {
            format_fraction(mantissa, exponent.unsigned_abs())
        };
        Some(if negative && digits != "0" {
            format!("-{digits}")
        } else {
            digits
        })
    }

    fn parts(self) -> (bool, u64, i32) {
        match self.0 {
            Class::Finite {
                negative,
                mantissa,
                exponent,
            } => (negative, mantissa, exponent),
            Class::NotFinite { negative } => (negative, 0, 0),
        }
    }
}

/// The decimal text of `mantissa / 2^shift` to 17 decimals, ties to even.
fn format_fraction(mantissa: u64, shift: u32) -> String {
    const SCALE: u128 = 100_000_000_000_000_000;
    let scaled = u128::from(mantissa) * SCALE;
    let (mut quotient, remainder, half) = if shift >= 128 {
        (0, 0, 1)
    } else {
        (
            scaled >> shift,
            scaled & ((1 << shift) - 1),
            1_u128 << (shift - 1),
        )
    };
    if remainder > half || (remainder == half && quotient & 1 == 1) {
        quotient += 1;
    }
    let text = format!("{}.{:017}", quotient / SCALE, quotient % SCALE);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn parse_decimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let mut digits = Vec::with_capacity(text.len());
    let mut decimals = 0_i64;
    let mut seen_point = false;
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match byte {
            b'0'..=b'9' => {
                digits.push(byte - b'0');
                decimals += i64::from(seen_point);
            }
            b'.' if !seen_point => seen_point = true,
            _ => break,
        }
        rest = tail;
    }
    if digits.is_empty() {
        return None;
    }
    let exponent = parse_exponent(rest, *b"eE")? - decimals;
    let mut number = Big::default();
    for &digit in &digits {
        number.multiply_add(10, u32::from(digit));
    }
    if number.is_zero() {
        return Some(zero(negative));
    }
    if !(-2 * DECIMAL_EXPONENT_MAX..=DECIMAL_EXPONENT_MAX).contains(&exponent) {
        return None;
    }
    let mut power = Big::from(1);
    for _ in 0..exponent.unsigned_abs() {
        power.multiply_add(10, 0);
    }
    finite_and_not_vanished(if exponent >= 0 {
        let product = number.multiply(&power);
        let (top, shift, inexact) = product.top_bits();
        round(negative, top, shift, inexact)
    } else {
        let (quotient, shift, inexact) = number.divide(power);
        round(negative, quotient, shift, inexact)
    })
}

fn parse_hexadecimal(negative: bool, text: &[u8]) -> Option<Extended> {
    let mut number = Big::default();
    let (mut binary_places, mut count) = (0_i64, 0_usize);
    let mut seen_point = false;
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match char::from(*byte).to_digit(16) {
            Some(digit) => {
                number.multiply_add(16, digit);
                binary_places += 4 * i64::from(seen_point);
                count += 1;
            }
            None if *byte == b'.' && !seen_point => seen_point = true,
            None => break,
        }
        rest = tail;
    }
    if count == 0 {
        return None;
    }
    let exponent = parse_exponent(rest, *b"pP")? - binary_places;
    if number.is_zero() {
        return Some(zero(negative));
    }
    let exponent = i32::try_from(exponent.clamp(-1_000_000, 1_000_000)).ok()?;
    let (top, shift, inexact) = number.top_bits();
    finite_and_not_vanished(round(negative, top, shift + exponent, inexact))
}

/// The exponent behind the digits, 0 if there is none; `None` if something else is there.
fn parse_exponent(text: &[u8], letters: [u8; 2]) -> Option<i64> {
    let [letter, rest @ ..] = text else {
        return Some(0);
    };
    if !letters.contains(letter) {
        return None;
    }
    let (sign, digits) = match rest {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        exponent = exponent
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
    }
    Some(sign * exponent.min(1 << 40))
}

const fn zero(negative: bool) -> Extended {
    Extended(Class::Finite {
        negative,
        mantissa: 0,
        exponent: 0,
    })
}

fn finite_and_not_vanished(number: Extended) -> Option<Extended> {
    match number.0 {
        Class::Finite { mantissa, .. } if mantissa != 0 => Some(number),
        _ => None,
    }
}

/// The number nearest to `bits * 2^exponent` (a little more if `inexact`), ties to even.
fn round(negative: bool, bits: u128, exponent: i32, inexact: bool) -> Extended {
    if bits == 0 {
        return zero(false);
    }
    let width = 128 - i32::try_from(bits.leading_zeros()).expect("at most 128");
    // Never below the smallest exponent: tiny numbers have fewer bits.
    let drop = (width - 64).max(EXPONENT_MIN - exponent);
    let (mut mantissa, mut exponent) = if drop <= 0 {
        let shift = u32::try_from(-drop).expect("it is not negative");
        (bits << shift, exponent + drop)
    } else {
        let shift = u32::try_from(drop).expect("it is positive");
        let kept = bits.checked_shr(shift).unwrap_or(0);
        let half = if shift <= 128 {
            1_u128 << (shift - 1)
        } else {
            0
        };
        let fallen = if shift >= 128 {
            bits
        } else {
            bits & ((1 << shift) - 1)
        };
        let up = half != 0 && (fallen > half || (fallen == half && (inexact || kept & 1 == 1)));
        (kept + u128::from(up), exponent + drop)
    };
    if mantissa >> 64 != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    match u64::try_from(mantissa) {
        Ok(mantissa) if exponent <= EXPONENT_MAX => Extended(Class::Finite {
            negative,
            mantissa,
            exponent,
        }),
        _ => Extended(Class::NotFinite { negative }),
    }
}

/// Shifts right; bits that fall off make the lowest bit 1.
fn shift_right_jamming(bits: u128, shift: u32) -> u128 {
    match bits.checked_shr(shift) {
        Some(kept) => kept | u128::from(kept << shift != bits),
        None => u128::from(bits != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        Extended::parse(a.as_bytes())?
            .add(Extended::parse(b.as_bytes())?)
            .format()
    }

    #[test]
    fn sums_print_as_redis_prints_them() {
        for (a, b, expected) in [
            ("10.50", "0.1", "10.6"),
            ("10.6", "-5", "5.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("0", "3", "3"),
            ("3.0", "1.000000000000000005", "4.00000000000000001"),
            ("1", "-1", "0"),
            ("-0", "0", "0"),
            ("0.1", "0.2", "0.3"),
            (".5", "5.", "5.5"),
            ("+1", "0x10", "17"),
            ("0x.8p1", "0", "1"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("18446744073709551615", "0", "18446744073709551615"),
            ("1e-18", "0", "0"),
            ("0.00000000000000001", "0", "0.00000000000000001"),
            ("-1e-30", "0", "0"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
    }

    #[test]
    fn refuses_what_strtold_does_not_take() {
        for text in [
            "", " 1", "1 ", "1e", "1e+", ".", "-", "nan", "abc", "1.2.3", "0x", "1e99999",
            "1e-99999", "--1",
        ] {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn infinite_sums_have_no_text() {
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
        assert!(sum("1e4931", "1e4931").is_some());
    }
}
