//! Whole numbers as the protocol writes them.

/// Reads a decimal number as strictly as Redis: no sign but `-`, no leading zero, no
/// spaces, nothing that doesn't fit.
///
/// Strict, because what is read must print as the same bytes: only then may a value be
/// kept as a number.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= DIGITS_MAX => {}
        _ => return None,
    }
    let mut number: i64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Built as a negative number: the negative range is one larger.
        number = number
            .checked_mul(10)?
            .checked_sub(i64::from(digit - b'0'))?;
    }
    if negative {
        Some(number)
    } else {
        number.checked_neg()
    }
}

/// Digits of the largest `i64`.
const DIGITS_MAX: usize = 19;

/// Room for the digits of any `u64`.
pub const U64_DIGITS_MAX: usize = 20;

/// Writes `number` in decimal at the end of `buffer` and returns the written part.
#[must_use]
pub fn format_u64(mut number: u64, buffer: &mut [u8; U64_DIGITS_MAX]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        let digit = (number % 10) as u8;
        buffer[start] = b'0' + digit;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_redis_reads() {
        for number in [0, 1, -1, 7, 10, 123_456, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
        for text in [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            " 1",
            "1 ",
            "1a",
            "0x10",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn writes_all_digits() {
        for number in [0, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut buffer = [0; U64_DIGITS_MAX];
            assert_eq!(
                format_u64(number, &mut buffer),
                number.to_string().as_bytes()
            );
        }
    }
}
