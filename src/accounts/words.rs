//! Splits a command into its arguments, as a shell would, without one.

/// Splits at spaces; quotes keep spaces, and a backslash keeps the next character.
pub(super) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default(); // A pair of quotes is a word, if an empty one.
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("ends with a backslash")?;
                // Between double quotes a shell keeps the backslash before most characters.
                if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                    word.get_or_insert_default().push(c);
                }
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err("names no program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_keep_what_a_shell_would_keep() {
        let cases: [(&str, &[&str]); 5] = [
            ("pass show  mail/anna", &["pass", "show", "mail/anna"]),
            (r#"op read "op://Old mail/anna""#, &["op", "read", "op://Old mail/anna"]),
            (r"a\ b 'c d\'", &["a b", r"c d\"]),
            (r#"x "" "\d\"""#, &["x", "", r#"\d""#]),
            ("x $HOME `id`;|", &["x", "$HOME", "`id`;|"]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text).expect(text), words, "{text}");
        }
    }

    #[test]
    fn a_command_that_is_not_whole_is_refused() {
        for text in ["", "  ", "''", "a 'b", "a \"b", "a \\"] {
            assert!(split(text).is_err(), "{text:?}");
        }
    }
}
