//! Patterns of `KEYS` and `SCAN MATCH`, as Redis understands them.
//!
//! `*` any bytes, `?` one byte, `[abc]`, `[a-z]`, `[^a]` one byte of a class, `\` takes
//! the next byte literally. Every token but `*` matches exactly one byte, so when a
//! match fails it is enough to let the *last* `*` take one byte more: the time is at
//! most pattern times text, where the textbook recursion is exponential in the stars.

/// Whether the whole of `text` matches `pattern`.
#[must_use]
pub fn glob_match(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    // Behind the last star, and where its match ends so far.
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            at_pattern += 1;
            if at_pattern == pattern.len() {
                return true;
            }
            star = Some((at_pattern, at_text));
            continue;
        }
        match match_token(&pattern[at_pattern..], text[at_text]) {
            Some(length) => {
                at_pattern += length;
                at_text += 1;
            }
            None => match &mut star {
                Some((behind, end)) => {
                    *end += 1;
                    (at_pattern, at_text) = (*behind, *end);
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|&byte| byte == b'*')
}

/// The length of the pattern's first token if it matches the byte.
fn match_token(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (matches, length) = match_class(class, byte);
            matches.then_some(1 + length)
        }
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Whether the byte is in the class behind a `[`, and the class's length including its
/// `]`. A class without an end ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at..] {
            [] => return (found != negated, at),
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => return (found != negated, at + 1),
            [first, b'-', last, ..] => {
                found |= (*first.min(last)..=*first.max(last)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h*llo", "hllo", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"[\]]", "]", true),
            (r"a\", r"a\", true),
            ("[", "[", false),
            ("[a", "a", true),
            ("[^a", "b", true),
            ("[]", "]", false),
            ("[^]", "x", true),
            ("[a-]", "-", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**a**", "bab", true),
            ("user:*:name", "user:17:name", true),
            ("user:*:name", "user:17:names", false),
        ] {
            assert_eq!(
                glob_match(pattern.as_bytes(), text.as_bytes()),
                matches,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(200) + "b";
        let text = "a".repeat(4_000);
        assert!(!glob_match(pattern.as_bytes(), text.as_bytes()));
    }
}
