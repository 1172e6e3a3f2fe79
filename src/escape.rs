//! Makes text that others wrote (servers, mail) harmless on a screen and in a file.

use std::borrow::Cow;
use std::fmt::Write;

/// The longest text that [`display`] shows, in characters.
const CHARACTERS_MAX: usize = 400;

/// The text for a person's screen: control characters escaped, cut at 400 characters.
#[must_use]
pub fn display(text: &str) -> Cow<'_, str> {
    let escaped = escaped(text);
    match escaped.char_indices().nth(CHARACTERS_MAX) {
        None => escaped,
        Some(_) => {
            let kept = escaped.chars().take(CHARACTERS_MAX - 1);
            Cow::Owned(kept.chain(['…']).collect())
        }
    }
}

/// The text with every character that steers a terminal, ends a line or turns the direction of
/// writing as `\u{..}`.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if steers(character) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

fn steers(character: char) -> bool {
    // C0, DEL and C1; then line and paragraph separators; then all that Unicode has for bidi.
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_and_not_obeyed() {
        assert_eq!(display("a\u{1b}[2Jb\r\n"), "a\\u{1b}[2Jb\\u{d}\\u{a}");
        assert_eq!(display("\u{7f}\u{9b}\u{85}"), "\\u{7f}\\u{9b}\\u{85}");
        assert_eq!(display("exe\u{202e}fdp"), "exe\\u{202e}fdp");
        assert_eq!(display("a\u{2028}b\u{2067}"), "a\\u{2028}b\\u{2067}");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in ["", "Entwürfe/2019 \"x\" \\", "日本語", "\u{1f468}\u{200d}\u{1f469}"] {
            assert!(matches!(display(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(display(&"ä".repeat(400)), "ä".repeat(400));
        let cut = display(&"ä".repeat(401)).into_owned();
        assert_eq!(cut, "ä".repeat(399) + "…");
        assert_eq!(display(&"\0".repeat(1_000)).chars().count(), 400);
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in any::<String>()) {
            prop_assert!(!display(&text).contains(steers));
            prop_assert!(display(&text).chars().count() <= CHARACTERS_MAX);
        }
    }
}
