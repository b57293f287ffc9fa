//! Command lines to words, as a shell does it: white space between words, quotes, backslashes.
//! Nothing is expanded.

use crate::error::SpecError;

/// The words of a command line; at least one.
pub(crate) fn split(command: &str) -> Result<Vec<String>, SpecError> {
    let error = |reason: &str| SpecError::CommandLine {
        command: command.to_owned(),
        reason: reason.to_owned(),
    };
    let mut words = Vec::new();
    // `None` between words: an empty pair of quotes is a word too.
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = command.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some('"'), '\\')
                if characters
                    .peek()
                    .is_some_and(|next| "\\\"$`".contains(*next)) =>
            {
                word.get_or_insert_default().extend(characters.next());
            }
            (None, '\\') => {
                let next = characters
                    .next()
                    .ok_or_else(|| error("ends with a backslash"))?;
                word.get_or_insert_default().push(next);
            }
            (None, _) if character.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(error("a quotation mark is not closed"));
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err(error("names no program"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(error("holds a zero byte"));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_like_a_shell_does() {
        let cases: &[(&str, &[&str])] = &[
            ("python3 m.py", &["python3", "m.py"]),
            ("  a\t'b c'  \"d \\\" e\" ", &["a", "b c", "d \" e"]),
            ("a '' b\\ c", &["a", "", "b c"]),
            (
                "sh -c 'cut -f1 | tr a-z A-Z'",
                &["sh", "-c", "cut -f1 | tr a-z A-Z"],
            ),
            ("a\"b\"'c'", &["abc"]),
            ("a \"\\n\" '\\'", &["a", "\\n", "\\"]),
        ];
        for (command, expected) in cases {
            assert_eq!(split(command).unwrap(), *expected, "{command}");
        }
        for command in ["", "  ", "'a", "\"a", "a\\", "'' a", "a \0"] {
            assert!(split(command).is_err(), "{command:?}");
        }
    }
}
