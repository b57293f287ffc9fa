//! Requests that a person types into a terminal: words in a line, with quotes.

/// A word lacks its closing quote, or something follows the quote without a space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct UnbalancedQuotes;

/// Splits `line` into words as `redis-cli` and the server do, appends their bytes to
/// `words`, and calls `word(start, end)` with the place of each.
///
/// In double quotes a backslash introduces `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` or stands
/// for the character after it; in single quotes only `\'` is special.
pub(crate) fn split(
    line: &[u8],
    words: &mut Vec<u8>,
    mut word: impl FnMut(usize, usize),
) -> Result<(), UnbalancedQuotes> {
    // The reference implementation works on C strings.
    let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        // The reference also skips a vertical tab, which Rust doesn't count as space.
        if let [0x0b, tail @ ..] = rest {
            rest = tail;
            continue;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = words.len();
        rest = take_word(rest, words)?;
        word(start, words.len());
    }
}

/// Appends the word that `rest` begins with and returns what follows it.
fn take_word<'a>(mut rest: &'a [u8], words: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', tail @ ..] => return take_double_quoted(tail, words),
            [b'\'', tail @ ..] => return take_single_quoted(tail, words),
            [byte, tail @ ..] => {
                words.push(*byte);
                rest = tail;
            }
        }
    }
}

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    words: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return after_quote(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), tail)
            }
            [b'\\', byte, tail @ ..] => (unescape(*byte), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        words.push(byte);
        rest = tail;
    }
}

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    words: &mut Vec<u8>,
) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return after_quote(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        words.push(byte);
        rest = tail;
    }
}

/// A closing quote ends the word: only a space or nothing may follow.
fn after_quote(tail: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match tail {
        [] => Ok(tail),
        [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => Ok(tail),
        _ => Err(UnbalancedQuotes),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, UnbalancedQuotes> {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut bytes, |start, end| {
            spans.push((start, end));
        })?;
        Ok(spans
            .iter()
            .map(|&(start, end)| bytes[start..end].escape_ascii().to_string())
            .collect())
    }

    #[test]
    fn splits_like_a_shell_for_keys() {
        for (line, expected) in [
            ("", vec![]),
            ("  \t ", vec![]),
            ("ping", vec!["ping"]),
            (" set  a\tb ", vec!["set", "a", "b"]),
            (r#"set k "hello world""#, vec!["set", "k", "hello world"]),
            (r#"set k "\x41\n\"\q""#, vec!["set", "k", r#"A\n\"q"#]),
            (r#"set k "\xZZ""#, vec!["set", "k", "xZZ"]),
            (r"set k 'it\'s \n'", vec!["set", "k", r"it\'s \\n"]),
            (r#"echo """#, vec!["echo", ""]),
            (r#"echo foo"bar""#, vec!["echo", "foobar"]),
            ("ping\0ignored", vec!["ping"]),
        ] {
            assert_eq!(words(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn refuses_unbalanced_quotes() {
        for line in [
            r#"set "k"#,
            "set 'k",
            r#"set "k"v"#,
            "set 'k'v",
            r#"set "k\"#,
            r#"set k ""#,
        ] {
            assert_eq!(words(line), Err(UnbalancedQuotes), "{line:?}");
        }
    }
}
