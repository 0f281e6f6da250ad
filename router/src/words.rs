//! Texts of others in the router's own words: quoted and cut, since an error travels through logs, headers and metrics.

/// Characters of what somebody else wrote.
const SHOWN: usize = 64;

/// Cuts a text.
pub fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// Cuts a text and puts it between quotes.
pub fn quoted(text: &str) -> String {
    let end = text.char_indices().nth(SHOWN).map(|(end, _)| end);
    match end {
        None => format!("{text:?}"),
        Some(end) => format!("{:?}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!((quoted("a\"b"), cut("ü".to_owned())), (r#""a\"b""#.to_owned(), "ü".to_owned()));
        let long = "ü".repeat(SHOWN + 1);
        assert_eq!(quoted(&long), format!("\"{}\"...", "ü".repeat(SHOWN)));
        assert_eq!(cut(long), format!("{}...", "ü".repeat(SHOWN)));
    }
}
