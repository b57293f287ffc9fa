//! Fields of a line: with quotes as in CSV (RFC 4180), where a field starts with one.

use std::borrow::Cow;

/// The fields of a line, as they are written.
pub(crate) fn split(line: &[u8], delimiter: u8) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let mut start = 0;
    while start <= line.len() {
        let len = field_len(&line[start..], delimiter);
        fields.push(&line[start..start + len]);
        start += len + 1;
    }
    fields
}

/// How long the first field is.
fn field_len(bytes: &[u8], delimiter: u8) -> usize {
    let mut at = 0;
    if bytes.first() == Some(&b'"') {
        at = 1;
        loop {
            let Some(quote) = memchr::memchr(b'"', &bytes[at..]) else {
                // The quotes never end: the field is all there is.
                return bytes.len();
            };
            at += quote + 1;
            if bytes.get(at) != Some(&b'"') {
                break;
            }
            // Two quotes stand for one.
            at += 1;
        }
    }
    memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |found| at + found)
}

/// What a field says.
pub(crate) fn unquote(field: &[u8]) -> Cow<'_, [u8]> {
    let inner = field
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let Some(inner) = inner else {
        return Cow::Borrowed(field);
    };
    if !inner.contains(&b'"') {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut quoted = false;
    for byte in inner {
        quoted = *byte == b'"' && !quoted;
        if !quoted {
            text.push(*byte);
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_protect_delimiters() {
        let fields = split(br#"a,"b,""c",,d"#, b',');
        assert_eq!(fields, [&b"a"[..], br#""b,""c""#, b"", b"d"]);
        let said: Vec<_> = fields.into_iter().map(unquote).collect();
        assert_eq!(said, [&b"a"[..], b"b,\"c", b"", b"d"]);
        assert_eq!(split(b"", b','), [b""]);
        assert_eq!(split(b"a\"b,c", b','), [&b"a\"b"[..], b"c"]);
        assert_eq!(split(b"\"open,a", b','), [b"\"open,a"], "no end: all of it");
    }
}
